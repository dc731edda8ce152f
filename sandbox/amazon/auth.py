"""Login with Amazon: the token endpoint, and whose access token it is. Source: the SP-API developer guide."""

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from sandbox.amazon.errors import Failure, denied, expired
from sandbox.clock import Clock

CLIENT_ID = "amzn1.application-oa2-client.sandbox"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105  a stand-in's, printed in its documentation
LIFE_S = 3600
_SCOPES = ("sellingpartnerapi::notifications", "sellingpartnerapi::client_credential:rotation")


@dataclass(slots=True)
class Account:
    """One selling account in one region; `fba` is the channel code of Amazon's own stock there."""

    refresh_token: str
    seller: str
    region: str
    fba: str
    warehouse: str
    marketplaces: tuple[str, ...]
    revoked: bool = False


def accounts(marketplaces: tuple[str, ...]) -> list[Account]:
    """The three accounts, with those of their marketplaces that this world has."""
    regions = (
        ("na", "NA", "AMAZON_NA", "Reno", ("US",)),
        ("eu", "EU", "AMAZON_EU", "Berlin", ("DE", "FR")),
        ("fe", "FE", "AMAZON_JP", "Berlin", ("JP",)),
    )
    return [
        Account(
            refresh_token=f"Atzr|sandbox-{name}",
            seller=f"A1SANDBOX{region}",
            region=region,
            fba=fba,
            warehouse=warehouse,
            marketplaces=tuple(code for code in codes if code in marketplaces),
        )
        for name, region, fba, warehouse, codes in regions
    ]


class Refused(Exception):
    """An OAuth error answer of the token endpoint."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


@dataclass(slots=True)
class Login:
    """Issues access tokens and knows whose they are."""

    clock: Clock
    accounts: list[Account]
    secret: str = CLIENT_SECRET
    _tokens: dict[str, tuple[Account | None, float]] = field(default_factory=dict)

    def token(self, content_type: str, body: bytes) -> dict[str, Any]:
        """The answer of POST /auth/o2/token; raises Refused."""
        if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise Refused(400, "invalid_request", "The Content-Type must be application/x-www-form-urlencoded")
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        grant = _needed(form, "grant_type")
        if grant not in ("refresh_token", "client_credentials", "authorization_code"):
            raise Refused(
                400,
                "unsupported_grant_type",
                "The authorization grant type is not supported by the authorization server",
            )
        if (_needed(form, "client_id"), _needed(form, "client_secret")) != (CLIENT_ID, self.secret):
            raise Refused(401, "invalid_client", "Client authentication failed")
        if grant == "client_credentials":
            return self._grantless(_needed(form, "scope"))
        if grant == "authorization_code":
            _needed(form, "code")
            raise _invalid_grant("code")
        account = self._account(_needed(form, "refresh_token"))
        if account is None or account.revoked:
            raise _invalid_grant("refresh_token")
        return {**self._issue("Atza|", account), "refresh_token": account.refresh_token}

    def seller(self, token: str | None) -> Account:
        """The account an access token speaks for; raises 401 or 403."""
        if token is None:
            raise _unauthorized("Access token is missing in the request header.")
        if not token.startswith(("Atza|", "Atc|")):
            raise _unauthorized("The access token you provided is malformed.")
        account, until = self._tokens.get(token, (None, 0.0))
        if account is None or account.revoked:
            raise denied()
        if self.clock.seconds() >= until:
            raise expired()
        return account

    def change(self, body: dict[str, Any]) -> dict[str, Any]:
        """Revoke or restore a consent, rotate the secret; ValueError changes nothing."""
        if not body or set(body) - {"refreshToken", "revoked", "clientSecret"}:
            raise ValueError('send {"refreshToken": ..., "revoked": true|false} or {"clientSecret": ...}')
        if "refreshToken" in body or "revoked" in body:
            account = self._account(body["refreshToken"])
            if account is None:
                raise ValueError(f"no account has the refresh token {body['refreshToken']!r}")
            if not isinstance(body["revoked"], bool):
                raise ValueError("revoked is true or false")
            account.revoked = body["revoked"]
        if "clientSecret" in body:
            self.secret = str(body["clientSecret"])
        return self.shown()

    def shown(self) -> dict[str, Any]:
        return {
            "clientId": CLIENT_ID,
            "accounts": [
                {
                    "refreshToken": account.refresh_token,
                    "sellerId": account.seller,
                    "region": account.region,
                    "marketplaces": list(account.marketplaces),
                    "revoked": account.revoked,
                }
                for account in self.accounts
            ],
        }

    def _account(self, refresh_token: object) -> Account | None:
        return next((one for one in self.accounts if one.refresh_token == refresh_token), None)

    def _grantless(self, scope: str) -> dict[str, Any]:
        if any(one not in _SCOPES for one in scope.split()):
            raise Refused(400, "invalid_scope", "The request has an invalid parameter : scope")
        return {**self._issue("Atc|", None), "scope": scope}

    def _issue(self, prefix: str, account: Account | None) -> dict[str, Any]:
        # Not seeded: a token of an earlier start must not come to mean another account.
        token = prefix + secrets.token_hex(32)
        self._tokens[token] = (account, self.clock.seconds() + LIFE_S)
        return {"access_token": token, "token_type": "bearer", "expires_in": LIFE_S}


def _needed(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise Refused(400, "invalid_request", f"The request is missing a required parameter : {name}")
    return form[name]


def _invalid_grant(name: str) -> Refused:
    return Refused(
        400,
        "invalid_grant",
        f"The request has an invalid grant parameter : {name}. User may have revoked or didn't grant the permission.",
    )


def _unauthorized(details: str) -> Failure:
    return Failure(401, "Unauthorized", "Access to requested resource is denied.", details)
