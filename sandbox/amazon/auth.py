"""Login with Amazon: the token endpoint, and whose access token it is. Source: the SP-API developer guide."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sandbox.amazon.errors import Failure, denied, expired
from sandbox.amazon.roles import ROLES, opens
from sandbox.clock import Clock
from sandbox.journal import iso

if TYPE_CHECKING:
    from sandbox.amazon.operation import Operation

CLIENT_ID = "amzn1.application-oa2-client.sandbox"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105  a stand-in's, printed in its documentation
LIFE_S = 3600
CODE_LIFE_S = 300
CONSENT_LIFE_S = 365 * 86_400
SECRET_LIFE = timedelta(days=180)
OVERLAP = timedelta(days=7)
STANDINGS = ("NORMAL", "AT_RISK", "DEACTIVATED")
_SCOPES = ("sellingpartnerapi::notifications", "sellingpartnerapi::client_credential:rotation")


@dataclass(slots=True)
class Account:
    """One selling account in one region; `fba` is the channel code of Amazon's own stock there. `cuts` are (marketplace, instant)
    at which a settlement ended before its time, oldest first.

    `others` are refresh tokens of later consents, `lacking` the roles that the application has lost; the next refresh gives a new
    token when it is `replacing`. The newest consent is of `granted_at`, in sandbox seconds. `standing` is what Amazon thinks of
    the seller, and changes nothing else.
    """

    refresh_token: str
    seller: str
    region: str
    fba: str
    warehouse: str
    marketplaces: tuple[str, ...]
    revoked: bool = False
    cuts: list[tuple[str, datetime]] = field(default_factory=list)
    granted_at: float = 0.0
    others: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    replacing: bool = False
    standing: str = "NORMAL"


@dataclass(frozen=True, slots=True)
class Code:
    """What the consent page gave: for which account, with which redirect URI, until when."""

    account: Account
    redirect_uri: str | None
    until: float


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
    enrolled: bool = False
    """Whether the application has a queue that new secrets are sent to."""
    queue: str | None = None
    """Its ARN; None keeps them here, to be looked at."""
    rotations: list[dict[str, str]] = field(default_factory=list)
    """What was sent there: the payload of each APPLICATION_OAUTH_CLIENT_NEW_SECRET."""
    _previous: tuple[str, datetime] | None = None
    _codes: dict[str, Code] = field(default_factory=dict)
    _tokens: dict[str, "_Held"] = field(default_factory=dict)

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
        if _needed(form, "client_id") != CLIENT_ID or not self._known(_needed(form, "client_secret")):
            raise Refused(401, "invalid_client", "Client authentication failed")
        if grant == "client_credentials":
            return self._grantless(_needed(form, "scope"))
        if grant == "authorization_code":
            return self._for_code(_needed(form, "code"), form.get("redirect_uri"))
        used = _needed(form, "refresh_token")
        account = self._account(used)
        if account is None or account.revoked or self.clock.seconds() - account.granted_at >= CONSENT_LIFE_S:
            raise _invalid_grant("refresh_token")
        if account.replacing:
            used = self._replace(account, used)
        return {**self._issue("Atza|", account), "refresh_token": used}

    def consent(self, account: Account, redirect_uri: str | None) -> str:
        """The seller consents: a code for the application, for five minutes and once."""
        code = "AN" + secrets.token_hex(10)
        self._codes[code] = Code(account, redirect_uri, self.clock.seconds() + CODE_LIFE_S)
        return code

    def rotate(self) -> None:
        """Make a new secret and send it to the application's queue; the old one lives on for a week."""
        now = self.clock.now()
        self._previous = self.secret, now + OVERLAP
        self.secret = f"amzn1.oa2-cs.v1.{secrets.token_hex(16)}"
        self.rotations.append(
            {
                "clientId": CLIENT_ID,
                "newClientSecret": self.secret,
                "newClientSecretExpiryTime": iso(now + SECRET_LIFE),
                "oldClientSecretExpiryTime": iso(now + OVERLAP),
            }
        )

    def holds(self, account: Account, role: str) -> bool:
        """Whether the application has the role in this account."""
        return role not in account.lacking

    def opened(self, token: str | None, operation: "Operation", path: str) -> Account:
        """The account a token speaks for in this call; raises 401 or 403. A grantless one speaks for the first account."""
        held = self._held(token)
        if held.scope != operation.scope or (operation.restricted and held.restricted is None):
            raise denied()
        covered = {(operation.method, path), (operation.method, operation.path)}
        if held.restricted is not None and not covered & held.restricted:
            raise denied()
        if held.account is not None and not opens(operation.name, held.account.lacking):
            raise denied()
        return held.account or self.accounts[0]

    def restrict(self, account: Account, calls: frozenset[tuple[str, str]]) -> dict[str, Any]:
        """A restricted data token for these (method, path); what createRestrictedDataToken answers."""
        token = self._issue("Atz.sprdt|", account, restricted=calls)["access_token"]
        return {"restrictedDataToken": token, "expiresIn": LIFE_S}

    def _held(self, token: str | None) -> "_Held":
        if token is None:
            raise _unauthorized("Access token is missing in the request header.")
        if not token.startswith(("Atza|", "Atc|", "Atz.sprdt|")):
            raise _unauthorized("The access token you provided is malformed.")
        held = self._tokens.get(token)
        if held is None or (held.account is not None and held.account.revoked):
            raise denied()
        if self.clock.seconds() >= held.until:
            raise expired()
        return held

    def change(self, body: dict[str, Any]) -> dict[str, Any]:
        """Revoke or restore a consent, take roles away or give them back, replace the refresh token at its next use, set the
        account's standing or the application's secret; ValueError changes nothing."""
        about = {"revoked", "roles", "replace", "standing"} & set(body)
        if not body or set(body) - {"refreshToken", "sellerId", "clientSecret", *about}:
            raise ValueError(
                'send {"refreshToken" or "sellerId": ..., "revoked", "roles", "replace", "standing"} or {"clientSecret": ...}'
            )
        account = self._named(body) if about or {"refreshToken", "sellerId"} & set(body) else None
        roles = body.get("roles", {})
        if not isinstance(roles, dict) or set(roles) - set(ROLES) or not _flags(roles.values()):
            raise ValueError(f"roles is {{name: true|false}} with names of {', '.join(ROLES)}")
        if not _flags(body[name] for name in about - {"roles", "standing"}):
            raise ValueError("revoked and replace are true or false")
        if body.get("standing", "NORMAL") not in STANDINGS:
            raise ValueError(f"standing is one of {', '.join(STANDINGS)}")
        if account is not None:
            account.revoked = body.get("revoked", account.revoked)
            account.replacing = body.get("replace", account.replacing)
            account.standing = body.get("standing", account.standing)
            account.lacking |= {role for role, held in roles.items() if not held}
            account.lacking -= {role for role, held in roles.items() if held}
        if "clientSecret" in body:
            self.secret, self._previous = str(body["clientSecret"]), None
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
                    "standing": account.standing,
                    "roles": {role: self.holds(account, role) for role in ROLES},
                }
                for account in self.accounts
            ],
        }

    def _account(self, refresh_token: object) -> Account | None:
        return next(
            (one for one in self.accounts if refresh_token == one.refresh_token or refresh_token in one.others), None
        )

    def of_seller(self, seller: object) -> Account | None:
        """The account with this seller id."""
        return next((one for one in self.accounts if one.seller == seller), None)

    def _named(self, body: dict[str, Any]) -> Account:
        by_token = "refreshToken" in body
        account = self._account(body["refreshToken"]) if by_token else self.of_seller(body["sellerId"])
        if account is None:
            named = f"the refresh token {body['refreshToken']!r}" if by_token else f"the seller id {body['sellerId']!r}"
            raise ValueError(f"no account has {named}")
        return account

    def _known(self, secret: str) -> bool:
        return secret == self.secret or (
            self._previous is not None and secret == self._previous[0] and self.clock.now() < self._previous[1]
        )

    def _for_code(self, text: str, redirect_uri: str | None) -> dict[str, Any]:
        # Used up by whatever comes with it.
        code = self._codes.pop(text, None)
        if code is None or code.until <= self.clock.seconds() or code.redirect_uri != redirect_uri:
            raise _invalid_grant("code")
        account = code.account
        if account.revoked or self.clock.seconds() - account.granted_at >= CONSENT_LIFE_S:
            account.others.clear()
            account.refresh_token = _refresh_token()
            new = account.refresh_token
        else:
            account.others.add(new := _refresh_token())
        account.revoked, account.granted_at = False, self.clock.seconds()
        return {**self._issue("Atza|", account), "refresh_token": new}

    def _replace(self, account: Account, used: str) -> str:
        account.replacing = False
        new = _refresh_token()
        if used == account.refresh_token:
            account.refresh_token = new
        else:
            account.others = {*account.others - {used}, new}
        return new

    def _grantless(self, scope: str) -> dict[str, Any]:
        if any(one not in _SCOPES for one in scope.split()):
            raise Refused(400, "invalid_scope", "The request has an invalid parameter : scope")
        return {**self._issue("Atc|", None, scope=scope), "scope": scope}

    def _issue(
        self,
        prefix: str,
        account: Account | None,
        *,
        scope: str | None = None,
        restricted: frozenset[tuple[str, str]] | None = None,
    ) -> dict[str, Any]:
        # Not seeded: a token of an earlier start must not come to mean another account.
        token = prefix + secrets.token_hex(32)
        self._tokens[token] = _Held(account, self.clock.seconds() + LIFE_S, scope, restricted)
        return {"access_token": token, "token_type": "bearer", "expires_in": LIFE_S}


@dataclass(frozen=True, slots=True)
class _Held:
    """A token that was issued: whose, until when, for which grantless scope, and for which restricted (method, path)."""

    account: Account | None
    until: float
    scope: str | None
    restricted: frozenset[tuple[str, str]] | None


def _refresh_token() -> str:
    return "Atzr|" + secrets.token_hex(32)


def _flags(values: Iterable[object]) -> bool:
    return all(isinstance(one, bool) for one in values)


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
