"""A shop's token endpoint, and the access tokens that come of it, whichever kind they are.

Of expiring tokens there is one pair per app and shop: a refresh gives a new pair and ends the one before, but the refresh token
that was used stays good until the new pair is used for the first time. So nothing of a new pair is used, or shown to anybody,
before its refresh token is kept. Whoever dies before that leaves the old one good; whoever dies after it leaves the new one in
the database. Processes take turns through Redis; should two of them refresh at once all the same, since Redis was emptied or
one was slow, both refresh tokens are kept, and the one that the shop takes goes on.
Source: Shopify's documentation, "About offline access tokens"; its changelog of 2026-08-28 on refreshes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from urllib.parse import urlencode

import orjson
from pydantic import ConfigDict, PositiveFloat

from adapters.shopify.config import Kind, ShopifyConfig
from adapters.shopify.documents import CURRENCY
from adapters.shopify.errors import INVALID_CLIENT, graphql_failure, http_failure, login_failure
from adapters.tokens import TokenStore
from adapters.transport import Call, Transport, Unreadable
from adapters.vault import Vault
from adapters.wire import Unclear, Wire, read
from domain.errors import Transient, Unauthorized
from domain.grant import Kept

log = logging.getLogger(__name__)

REFRESH_LIFE = timedelta(days=90)


class Granted(Wire):
    """What the token endpoint gives, in snake_case. Times are seconds from now; a token that lasts has none."""

    model_config = ConfigDict(alias_generator=None)

    access_token: str
    scope: str | None = None
    expires_in: PositiveFloat | None = None
    refresh_token: str | None = None
    refresh_token_expires_in: PositiveFloat | None = None


class Login:
    """One shop's way to its access token."""

    def __init__(self, config: ShopifyConfig, transport: Transport, tokens: TokenStore | None, vault: Vault) -> None:
        self._config = config
        self._channel = config.channel.id
        self._client_id = config.client_id or ""
        self._transport = transport
        self._tokens = tokens
        self._vault = vault
        # What a token is shared under. The secret that opens it must not change with each refresh.
        self._material = f"{config.client_id}\n{config.client_secret}"
        whose = f"{config.kind.value}\n{config.shop}\n{self._material}"
        self._name = f"{self._channel}:{hashlib.sha256(whose.encode()).hexdigest()[:12]}"

    async def kept(self) -> Kept:
        """What is kept of the shop: its token, and what is refused for want of a scope."""
        return await self._vault.kept(self._channel, self._client_id)

    async def token(self) -> str:
        """The access token. Raises Unauthorized where there is none to be had, Throttled and Transient."""
        if self._config.kind.lasts:
            found = (await self.kept()).refresh_token or self._config.access_token
            if found is None:
                raise self._none()
            return found
        assert self._tokens is not None
        return await self._tokens.token(self._name, self._material, self._bought)

    async def another(self, refused: str) -> str | None:
        """In place of a token that the shop has refused: a new one, or one that somebody gave meanwhile; None for want of any.

        Raises as `token` does.
        """
        if self._config.kind.lasts:
            self._vault.forget(self._channel)
        else:
            assert self._tokens is not None
            await self._tokens.forget(self._name, refused)
        found = await self.token()
        return None if found == refused else found

    async def exchange(self, code: str) -> Granted:
        """What the shop gives for a code of its consent page, which works once. Raises Unauthorized, Throttled and Transient."""
        expiring = "1" if self._config.kind is Kind.EXPIRING else "0"
        return await self._granted({"code": code, "expiring": expiring})

    async def prove(self, refresh_token: str) -> Granted:
        """A new pair for a refresh token that somebody has typed. Raises Unauthorized, Throttled and Transient."""
        return await self._refreshed(refresh_token)

    def refresh_token(self, granted: Granted) -> tuple[str, timedelta]:
        """The refresh token of a pair, and how long it lives. Raises Transient where there is none."""
        if granted.refresh_token is None:
            raise Transient(f"{self._config.shop} gave no refresh token beside the access token.")
        life_s = granted.refresh_token_expires_in
        return granted.refresh_token, REFRESH_LIFE if life_s is None else timedelta(seconds=life_s)

    async def tried(self, access_token: str) -> None:
        """Raises what the shop says to a token that somebody has typed. Source: Admin GraphQL API, shop."""
        config = self._config
        answer = await self._transport.send(
            "POST",
            config.api,
            write=False,
            headers={"Content-Type": "application/json", "X-Shopify-Access-Token": access_token},
            content=orjson.dumps({"query": CURRENCY.text}),
            call=Call(self._channel, CURRENCY.operation),
        )
        try:
            body = answer.json()
        except Unreadable:
            body = None
        problem = http_failure(answer, body, config.shop, write=False)
        if problem is None and isinstance(body, dict):
            problem = graphql_failure(body.get("errors"), None, config.shop, answer.request_id, write=False)
        if problem is not None:
            raise problem

    async def _bought(self) -> tuple[str, float]:
        """A new access token and the seconds it lives."""
        granted = await (self._rotated() if self._config.kind is Kind.EXPIRING else self._own())
        if granted.expires_in is None:
            raise Transient(f"{self._config.shop} gave an access token and no word on how long it lives.")
        return granted.access_token, granted.expires_in

    async def _own(self) -> Granted:
        """The client-credentials grant, which has no refresh token and may be asked at any time."""
        return await self._granted({"grant_type": "client_credentials"})

    async def _rotated(self) -> Granted:
        """The next pair, its refresh token kept. Without the database nobody is asked: what came could not be kept."""
        tried: set[str] = set()
        while True:
            kept = await self._vault.fresh(self._channel, self._client_id)
            if kept.refresh_token is None:
                raise self._none()
            untried = [one for one in (kept.refresh_token, *kept.older) if one not in tried]
            try:
                used, granted = await self._next(untried)
                break
            except Unauthorized as problem:
                # Somebody may have kept a newer one while this was on its way.
                tried |= set(untried)
                if problem.upstream_code == INVALID_CLIENT or not await self._newer(tried):
                    raise
        new, lives = self.refresh_token(granted)
        if not await self._vault.renew(self._channel, self._config.shop, used, new, lives=lives):
            # Another consent has ended this pair: it is never used.
            raise Transient(f"{self._config.shop} was authorized anew at this very moment; its new token comes next.")
        log.info("grant.renewed", extra={"channel": self._channel})
        return granted

    async def _newer(self, tried: set[str]) -> bool:
        return (await self._vault.fresh(self._channel, self._client_id)).refresh_token not in {None, *tried}

    async def _next(self, tokens: Sequence[str]) -> tuple[str, Granted]:
        """The first of the refresh tokens that the shop takes, and what it gives for it."""
        *others, last = tokens
        for used in others:
            try:
                return used, await self._refreshed(used)
            except Unauthorized as problem:
                if problem.upstream_code == INVALID_CLIENT:
                    raise
        return last, await self._refreshed(last)

    async def _refreshed(self, refresh_token: str) -> Granted:
        return await self._granted({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def _none(self) -> Unauthorized:
        return Unauthorized(f"{self._channel} has no access token yet. Run `{self._config.again}`.")

    async def _granted(self, grant: Mapping[str, str]) -> Granted:
        config = self._config
        form = {**grant, "client_id": config.client_id, "client_secret": config.client_secret}
        answer = await self._transport.send(
            "POST",
            config.login,
            write=False,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=urlencode(form).encode(),
            call=Call(self._channel, "login"),
        )
        if answer.status != 200:
            raise login_failure(answer, config.shop, again=config.again)
        try:
            return read(Granted, answer.json())
        except (Unreadable, Unclear) as problem:
            raise Transient(f"{config.shop} gave no access token: {problem}.") from problem
