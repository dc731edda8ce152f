"""Access tokens of every kind: renewed once, shared by all, and never lost, whoever dies when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import orjson
import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from sqlalchemy import text

from adapters.budget import Budgets
from adapters.shopify.config import Kind, ShopifyConfig
from adapters.shopify.consent import ShopifyConsent
from adapters.shopify.login import Login
from adapters.shopify.platform import ShopifyPort
from adapters.tokens import TokenStore
from adapters.transport import Answer, Transport
from adapters.vault import OwnMemory
from domain.budget import Ask
from domain.errors import Invalid, Transient, Unauthorized
from domain.grant import Kept, Source
from domain.ids import ChannelId
from store import grant
from store.grant import TOKENS, Grants
from store.keyring import Keyring
from store.session import Store
from tests.adapters.shopify.bench import CHANNEL, OpenPort, Sandbox

RING = Keyring([Fernet.generate_key().decode()])
APP = {"client_id": "sandbox-client", "client_secret": "sandbox-secret", "redirect_uri": "http://us.test/back"}
CHECK = "shop+currentAppInstallation"


def config(kind: Kind, endpoint: str = "http://shop.test", **settings: Any) -> ShopifyConfig:
    app = {} if kind is Kind.TOKEN else APP
    return ShopifyConfig(CHANNEL, "acorn.myshopify.com", endpoint=endpoint, grant=kind, **(app | settings))


@dataclass
class Rig:
    """A shop, and processes of ours that share one database and one Redis."""

    sandbox: Sandbox
    store: Store
    redis: Redis
    budgets: Budgets
    transport: Transport
    stores: list[TokenStore] = field(default_factory=list)

    def process(self, kind: Kind, *, prefix: str = "acorn:token", **settings: Any) -> ShopifyPort:
        """Another one of them; with a `prefix` of its own it sees nothing in Redis of the others, as if it had been emptied."""
        self.stores.append(TokenStore(self.redis, prefix=prefix))
        grants = Grants(self.store, RING)
        return ShopifyPort(
            config(kind, self.sandbox.url, **settings), self.transport, self.stores[-1], self.budgets, grants
        )

    async def consent(self, kind: Kind) -> None:
        """The owner lets us in, and what comes back is kept."""
        asked = ShopifyConsent(config(kind, self.sandbox.url), self.transport, Grants(self.store, RING))
        await self.sandbox.post("app", shop="acorn.myshopify.com")
        page = await self.sandbox.http.get(asked.url("state"), follow_redirects=False)
        query = parse_qsl(urlsplit(page.headers["location"]).query)
        given = await asked.exchange(asked.code(query, datetime.now(UTC)))
        assert given.but == ""
        expires_at = None if given.life is None else datetime.now(UTC) + given.life
        async with self.store.begin() as tx:
            await grant.keep_token(tx, RING, CHANNEL.id, asked.account, given.token, Source.CONSENT, expires_at)

    async def paste(self, token: str) -> None:
        async with self.store.begin() as tx:
            await grant.keep_token(tx, RING, CHANNEL.id, "acorn.myshopify.com", token, Source.PASTED)

    async def kept(self) -> Kept:
        return await Grants(self.store, RING).fresh(CHANNEL.id, "sandbox-client")


@pytest.fixture
async def rig(sandbox: Sandbox, store: Store, redis: Redis, budgets: Budgets) -> AsyncIterator[Rig]:
    transport = Transport()
    made = Rig(sandbox, store, redis, budgets, transport)
    yield made
    for one in made.stores:
        await one.settle()
    await transport.close()
    await sandbox.post("app", installed=True, mustExpire=False)


async def test_a_lasting_token_of_a_consent_is_used_as_it_is(rig: Rig) -> None:
    await rig.consent(Kind.LASTING)
    journal = await rig.sandbox.journal()
    await rig.process(Kind.LASTING).check(Ask())
    assert await journal.calls() == [CHECK]
    # Nothing of it lies in the database for others to read.
    async with rig.store.begin() as tx:
        sealed = await tx.scalar(text("select sealed from account_grant"))
    assert "shpat_" not in str(sealed)


async def test_a_pasted_token_goes_before_the_configured_one_and_is_found_when_that_is_refused(rig: Rig) -> None:
    port = rig.process(Kind.TOKEN, access_token="shpat_old")
    with pytest.raises(Unauthorized, match="refuses the access token"):
        await port.check(Ask())
    await rig.paste("shpat_sandbox")
    # The same process, which believes for a few seconds what it has read.
    journal = await rig.sandbox.journal()
    await port.check(Ask())
    assert await journal.calls() == [CHECK, CHECK]


async def test_without_any_token_nobody_is_asked(rig: Rig) -> None:
    journal = await rig.sandbox.journal()
    for kind, words in (
        (Kind.TOKEN, "channels token shopify shop"),
        (Kind.EXPIRING, "channels authorize shopify shop"),
    ):
        with pytest.raises(Unauthorized, match=words):
            await rig.process(kind).check(Ask())
    assert await journal.calls() == []


async def test_however_many_ask_one_process_refreshes(rig: Rig) -> None:
    await rig.consent(Kind.EXPIRING)
    first = (await rig.kept()).refresh_token
    processes = [rig.process(Kind.EXPIRING) for _ in range(4)]
    journal = await rig.sandbox.journal()
    await asyncio.gather(*(port.check(Ask()) for port in processes for _ in range(5)))
    calls = await journal.calls()
    assert (calls.count("access_token"), calls.count(CHECK)) == (1, 20)
    kept = await rig.kept()
    assert kept.older == (first,)
    assert kept.refresh_token not in (None, first)


async def test_a_token_that_has_run_out_is_renewed_once_and_nobody_hears_of_it(rig: Rig) -> None:
    await rig.consent(Kind.EXPIRING)
    port = rig.process(Kind.EXPIRING)
    await port.check(Ask())
    # By the shop's clock the hour is over; ours has not noticed.
    await rig.sandbox.post("clock", advance=3600)
    journal = await rig.sandbox.journal()
    await port.check(Ask())
    assert await journal.calls() == [CHECK, "access_token", CHECK]


async def test_each_refresh_moves_the_end_of_the_consent(rig: Rig) -> None:
    await rig.consent(Kind.EXPIRING)
    async with rig.store.begin() as tx:
        await tx.execute(text("update account_grant set expires_at = now() + interval '1 day'"))
    await rig.process(Kind.EXPIRING).check(Ask())
    async with rig.store.begin() as tx:
        state = (await grant.states(tx))[CHANNEL.id]
    assert state.source is Source.RENEWED
    assert state.expires_at is not None
    assert timedelta(days=89) < state.expires_at - datetime.now(UTC) <= timedelta(days=90)


async def test_what_is_in_redis_may_be_lost_at_any_time(rig: Rig) -> None:
    await rig.consent(Kind.EXPIRING)
    for number in range(3):
        # A process that sees none of the others' tokens, and ends theirs with each refresh.
        await rig.process(Kind.EXPIRING, prefix=f"acorn:token:{number}").check(Ask())
    # The first one finds its own ended, and goes on.
    await rig.process(Kind.EXPIRING, prefix="acorn:token:0").check(Ask())


async def test_an_uninstalled_app_is_told_and_goes_on_after_a_new_consent(rig: Rig) -> None:
    await rig.consent(Kind.EXPIRING)
    port = rig.process(Kind.EXPIRING)
    await port.check(Ask())
    await rig.sandbox.post("app", installed=False)
    with pytest.raises(Unauthorized, match=r"app_not_installed.*acorn channels authorize shopify shop"):
        await port.check(Ask())
    await rig.consent(Kind.EXPIRING)
    await port.check(Ask())


async def test_client_credentials_of_an_uninstalled_app_are_refused_with_what_to_do(rig: Rig) -> None:
    port = rig.process(Kind.CLIENT_CREDENTIALS)
    await port.check(Ask())
    await rig.sandbox.post("app", installed=False)
    with pytest.raises(Unauthorized, match="Is the app still installed"):
        await port.check(Ask())


async def test_a_token_that_may_last_no_longer_says_what_to_do(rig: Rig) -> None:
    await rig.sandbox.post("app", mustExpire=True)
    with pytest.raises(Unauthorized, match='Set grant = "expiring"'):
        await rig.process(Kind.TOKEN, access_token="shpat_sandbox").check(Ask())


async def test_while_the_database_is_away_nothing_is_refreshed_and_the_token_goes_on(rig: Rig) -> None:
    await rig.consent(Kind.EXPIRING)
    port = rig.process(Kind.EXPIRING)
    await port.check(Ask())
    vault = port._vault

    class Away(OwnMemory):
        async def fresh(self, channel: ChannelId, client_id: str) -> Kept:
            raise Transient("The database does not answer.")

    login = port._client._login
    login._vault = Away()
    journal = await rig.sandbox.journal()
    with pytest.raises(Transient, match="database"):
        await login._bought()
    assert await journal.calls() == []
    login._vault = vault
    await port.check(Ask())


def test_kinds_want_what_they_need() -> None:
    for kind in (Kind.CLIENT_CREDENTIALS, Kind.EXPIRING, Kind.LASTING):
        with pytest.raises(Invalid, match=f'client_secret for grant = "{kind.value}"'):
            ShopifyConfig(CHANNEL, "acorn.myshopify.com", grant=kind)
        with pytest.raises(Invalid, match="has no use for"):
            config(kind, access_token="shpat_1")
    assert config(Kind.TOKEN).again == "acorn channels token shopify shop"
    assert ShopifyConfig(CHANNEL, "acorn.myshopify.com", access_token="a").kind is Kind.TOKEN
    assert (
        ShopifyConfig(CHANNEL, "acorn.myshopify.com", client_id="a", client_secret="b").kind is Kind.CLIENT_CREDENTIALS
    )


# Processes that refresh at once, step by step, in any order and dying anywhere: a shop of the strictest kind, which takes the
# newest refresh token and, until it is used, the one that bought it.


class Turn:
    """Gives the turn to whoever drives the coroutine."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class Shop:
    """What the token endpoint knows. `last` is the newest pair's number, `grace` the token that bought it."""

    last: int = 1
    grace: int | None = None

    async def send(self, method: str, url: str, *, content: bytes, **_: Any) -> Answer:
        await Turn()
        [told] = parse_qs(content.decode())["refresh_token"]
        number = int(told.removeprefix("R"))
        if number not in (self.last, self.grace):
            return Answer(400, {}, orjson.dumps({"error": "invalid_grant"}), None)
        self.last, self.grace = self.last + 1, number
        await Turn()
        pair = {"access_token": f"A{self.last}", "expires_in": 3600, "refresh_token": f"R{self.last}"}
        return Answer(200, {}, orjson.dumps(pair), None)

    def used(self, access_token: str) -> bool:
        """Whether it is taken. Its use ends the grace of the token before it."""
        if access_token != f"A{self.last}":
            return False
        self.grace = None
        return True


@dataclass
class Shelf(OwnMemory):
    """What the database keeps, by the same rule as store.grant.Grants."""

    tokens: list[str] = field(default_factory=lambda: ["R1"])

    async def fresh(self, channel: ChannelId, client_id: str) -> Kept:
        await Turn()
        return replace(Kept(self.tokens[0]), older=tuple(self.tokens[1:]))

    async def renew(
        self, channel: ChannelId, account: str, used: str, new: str, *, lives: timedelta | None = None
    ) -> bool:
        await Turn()
        if used not in self.tokens:
            return False
        self.tokens[:] = [new, *self.tokens][:TOKENS]
        await Turn()
        return True


def login_of(shop: Shop, shelf: Shelf) -> Login:
    return Login(config(Kind.EXPIRING), shop, None, shelf)  # type: ignore[arg-type]  # all that it needs of a transport


async def worked(shop: Shop, shelf: Shelf) -> None:
    """A process that refreshes and uses what it got."""
    token, _ = await login_of(shop, shelf)._bought()
    await Turn()
    shop.used(token)


def to_the_end(work: Any) -> Any:
    try:
        while True:
            work.send(None)
    except StopIteration as end:
        return end.value


@given(st.lists(st.integers(0, 2), max_size=40))
def test_whoever_dies_when_the_next_process_gets_a_token_that_the_shop_takes(turns: list[int]) -> None:
    shop, shelf = Shop(), Shelf()
    processes: dict[int, Any] = {number: worked(shop, shelf) for number in range(3)}
    for number in turns:
        if number in processes:
            try:
                processes[number].send(None)
            except (StopIteration, Transient):
                # Nobody is told that the consent is gone while it is there: that would be Unauthorized.
                del processes[number]
    for one in processes.values():
        one.close()
    token, _ = to_the_end(login_of(shop, shelf)._bought())
    assert shop.used(token)


def test_the_shop_above_does_end_what_was_used() -> None:
    shop, lost = Shop(), Shelf()
    token, _ = to_the_end(login_of(shop, Shelf())._bought())
    assert shop.used(token)
    # The same with a shelf that has kept nothing of it.
    with pytest.raises(Unauthorized):
        to_the_end(login_of(shop, lost)._bought())


async def test_a_pair_that_was_not_kept_is_not_used(open_port: OpenPort, caplog: pytest.LogCaptureFixture) -> None:
    class Full(OwnMemory):
        async def kept(self, channel: ChannelId, client_id: str) -> Kept:
            return Kept("R1")

        async def renew(
            self, channel: ChannelId, account: str, used: str, new: str, *, lives: timedelta | None = None
        ) -> bool:
            raise Transient("The database does not answer.")

    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"access_token": "A2", "expires_in": 3600, "refresh_token": "R2"})

    port = open_port(wire=httpx.MockTransport(handle), vault=Full(), access_token=None, grant=Kind.EXPIRING, **APP)
    for _ in range(2):
        with pytest.raises(Transient, match="database"):
            await port.check(Ask())
    assert asked == ["/admin/oauth/access_token"] * 2
    assert not [one for one in caplog.records if "A2" in one.getMessage() or "R2" in one.getMessage()]
