"""Login with Amazon: what the seller's consent, the application alone, or a code of the consent page buys."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import urlencode

from pydantic import ConfigDict, PositiveFloat

from adapters.amazon.config import AmazonConfig
from adapters.amazon.errors import INVALID_CLIENT, INVALID_GRANT, login_failure
from adapters.transport import Call, Transport, Unreadable
from adapters.vault import Vault
from adapters.wire import Unclear, Wire, read
from domain.errors import HouseError, Transient, Unauthorized
from domain.grant import Kept

log = logging.getLogger(__name__)


class Granted(Wire):
    """What Login with Amazon gives; it speaks in snake_case. The access token dies in `expires_in` seconds."""

    model_config = ConfigDict(alias_generator=None)

    access_token: str
    expires_in: PositiveFloat
    refresh_token: str | None = None


class Login:
    """One account's way to the token endpoint. The newest secret is tried first, then those before it that may still be good."""

    def __init__(self, config: AmazonConfig, transport: Transport, vault: Vault) -> None:
        self._config = config
        self._transport = transport
        self._vault = vault

    async def kept(self) -> Kept:
        """What is kept of the account now; the configuration fills in what is not."""
        config = self._config
        kept = await self._vault.kept(config.channel.id, config.client_id)
        secrets = dict.fromkeys((*kept.secrets, config.client_secret))
        return Kept(kept.refresh_token or config.refresh_token, tuple(secrets), kept.barred, kept.lacking)

    async def seller(self) -> tuple[str, float]:
        """A new access token of the seller's and the seconds it lives.

        Raises Unauthorized (no consent, one withdrawn or run out, a wrong secret) and Transient, saying which it is.
        """
        used = (await self.kept()).refresh_token or await self._newer(None)
        if used is None:
            id = self._config.channel.id
            raise Unauthorized(f"{id} has no consent of its account yet. Run `acorn channels authorize amazon {id}`.")
        try:
            granted = await self._granted({"grant_type": "refresh_token", "refresh_token": used})
        except Unauthorized as problem:
            # A consent given anew a moment ago may not be known here yet.
            if problem.upstream_code != INVALID_GRANT or (newer := await self._newer(used)) is None:
                raise
            used = newer
            granted = await self._granted({"grant_type": "refresh_token", "refresh_token": used})
        if granted.refresh_token is not None and granted.refresh_token != used:
            await self._renew(used, granted.refresh_token)
        return granted.access_token, granted.expires_in

    async def grantless(self, scope: str) -> tuple[str, float]:
        """A token of the application alone. Source: SP-API documentation, "Grantless Operations"."""
        granted = await self._granted({"grant_type": "client_credentials", "scope": scope})
        return granted.access_token, granted.expires_in

    async def exchange(self, code: str) -> str:
        """The refresh token for a code of the consent page, which lives for five minutes and works once.

        Raises Unauthorized for a code that is spent or too old. Source: SP-API documentation, "Website authorization workflow".
        """
        form = {"grant_type": "authorization_code", "code": code}
        if self._config.redirect_uri is not None:
            form["redirect_uri"] = self._config.redirect_uri
        granted = await self._granted(form)
        if granted.refresh_token is None:
            raise Transient("Login with Amazon gave no refresh token for the code.")
        return granted.refresh_token

    async def prove(self, refresh_token: str) -> str:
        """Buy an access token with it, for nobody; the refresh token that is good from now on.

        Raises Unauthorized and Transient.
        """
        granted = await self._granted({"grant_type": "refresh_token", "refresh_token": refresh_token})
        return granted.refresh_token or refresh_token

    async def _newer(self, used: str | None) -> str | None:
        self._vault.forget(self._config.channel.id)
        now = (await self.kept()).refresh_token
        return now if now != used else None

    async def _renew(self, used: str, new: str) -> None:
        channel = self._config.channel.id
        try:
            await self._vault.renew(channel, self._config.seller_id, used, new)
        except HouseError as problem:
            log.error("grant.not_kept", extra={"channel": channel, "reason": problem.message})  # noqa: TRY400  ours
        else:
            log.info("grant.renewed", extra={"channel": channel})

    async def _granted(self, grant: Mapping[str, str]) -> Granted:
        """With the first secret that Amazon takes."""
        tried: list[str] = []
        untried = list((await self.kept()).secrets)
        while True:
            tried.append(untried[0])
            try:
                return await self._asked(grant, untried[0])
            except Unauthorized as problem:
                if problem.upstream_code != INVALID_CLIENT:
                    raise
                self._vault.forget(self._config.channel.id)
                untried = [one for one in (await self.kept()).secrets if one not in tried]
                if not untried:
                    raise

    async def _asked(self, grant: Mapping[str, str], secret: str) -> Granted:
        form = {**grant, "client_id": self._config.client_id, "client_secret": secret}
        answer = await self._transport.send(
            "POST",
            self._config.login,
            write=False,
            headers={"content-type": "application/x-www-form-urlencoded;charset=UTF-8", "accept": "application/json"},
            content=urlencode(form).encode(),
            call=Call(self._config.channel.id, "login"),
        )
        if answer.status != 200:
            raise login_failure(answer)
        try:
            return read(Granted, answer.json())
        except (Unreadable, Unclear) as problem:
            raise Transient(f"Login with Amazon gave no access token: {problem}.") from problem
