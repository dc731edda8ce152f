"""A gateway with a small schema of its own on real engines, served by the real server on a free port."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncConnection
from typer.testing import CliRunner, Result

from benchmarks.whole import served as serving
from domain.event import EventKind, NewEvent
from gateway import cli, logs, patience
from gateway.app import App
from gateway.auth import hash_secret, new_secret
from gateway.config import read_config
from gateway.pages import install
from gateway.plan import SECOND_USE
from gateway.server import Server
from gateway.settings import Settings
from gateway.standing import Standing, stand
from gateway.wiring import build_house
from store import api_key, event
from store.session import Store
from tests.gateway import sample
from tests.store.bench import give_places

CHANNELS = """
[[channels]]
id = "shop"
platform = "shopify"
name = "The shop"
shop = "acorn.myshopify.com"
access_token = "shpat_test"
endpoint = "http://127.0.0.1:9"
"""


@dataclass(slots=True)
class Gateway:
    """A served application, and what tests do with it."""

    app: App
    server: Server
    url: str
    http: httpx.AsyncClient
    store: Store
    keys: dict[frozenset[str], str] = field(default_factory=dict)
    making: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def ws_url(self) -> str:
        return self.url.replace("http://", "ws://") + "/graphql"

    async def key(self, *scopes: str) -> str:
        """A key with these scopes."""
        wanted = frozenset(scopes or ("admin",))
        # One of a crowd makes it, and none has it before it counts.
        async with self.making:
            if wanted not in self.keys:
                secret, name = new_secret(), "-".join(sorted(wanted))
                async with self.store.begin() as tx:
                    await api_key.create(tx, uuid4().hex, name, hash_secret(secret), wanted, None)
                self.keys[wanted] = secret
        return self.keys[wanted]

    async def expire(self, *scopes: str) -> None:
        """Have the key of these scopes expire in a minute, in this process's memory."""
        keys: Any = self.app.standing.keys
        sent = f"Bearer {await self.key(*scopes)}"
        caller = await keys.caller(sent, "test")
        ends = datetime.now(UTC) + timedelta(minutes=1)
        keys._known[sent] = replace(caller, expires_at=ends), time.monotonic() + 60

    def let_expire(self) -> int:
        """As if that minute were over; how many connections have waited for it."""
        found, now = 0, asyncio.get_running_loop().time()
        app: Any = self.app
        for expiry in {app._sockets.expiry, app._streams._expiry}:
            for one in [one for one in expiry._watched if one.timer and 0 < one.timer.when() - now <= 60]:
                expiry._end(one)
                found += 1
        return found

    async def headers(self, *scopes: str, **more: str) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {"authorization": f"Bearer {await self.key(*scopes)}", "content-type": "application/json", **named}

    async def ask(
        self, query: str, *scopes: str, variables: dict[str, Any] | None = None, **headers: str
    ) -> httpx.Response:
        return await self.http.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers=await self.headers(*scopes, **headers),
        )

    async def tell(self, subject: str, count: int = 1, kind: EventKind = EventKind.STOCK_CHANGED) -> None:
        """Append events and give them their places."""
        async with self.store.begin() as tx:
            await event.append(tx, [NewEvent(kind, subject, {"sku": subject}) for _ in range(count)])
        await give_places(self.store)


def settings_of(database_url: str, redis_url: str, folder: Path, **more: Any) -> Settings:
    """Settings of a gateway with one shop, which is never asked."""
    path = folder / "acorn.toml"
    path.write_text(CHANNELS, encoding="utf-8")
    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # a developer's own .env is no part of a test
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        config=path,
        arq=False,
        **more,
    )


@asynccontextmanager
async def served(
    settings: Settings, compile_at: int | None = SECOND_USE, *, lasting: Collection[str] = ()
) -> AsyncIterator[Gateway]:
    """A gateway on a free port, stopped at the end. `lasting` are the fields whose answers may be shared and kept."""

    async def house(settings: Settings) -> Standing:
        return stand(await build_house(settings, read_config(settings.config)))

    app = App(
        settings,
        schema=sample.schema,
        scopes=sample.SCOPES,
        public=sample.PUBLIC,
        lasting=lasting,
        house=house,
        natives={},
        compile_at=compile_at,
    )
    async with (
        serving(app, connection_limit=1_000, stop_within_s=20) as (server, url),
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        yield Gateway(app, server, url, http, app.standing.house.store)


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings for the databases that `store` and `redis` empty before each test."""
    return settings_of(database_url, redis_url, tmp_path)


@pytest.fixture(scope="module")
async def gateway(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway that the tests of a file share; its database is no other's."""
    async with served(settings_of(new_database(), redis_url, tmp_path_factory.mktemp("gateway"))) as made:
        yield made


@pytest.fixture
async def fresh(store: Store, redis: object, settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway of one test only, on empty engines."""
    async with served(settings) as made:
        yield made


@pytest.fixture
async def hanging_redis(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Redis]:
    """A Redis that takes connections and never says a word."""
    monkeypatch.setattr(patience, "PATIENCE_S", 0.02)
    clients: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, client: clients.append(client), "127.0.0.1", 0)
    client = Redis(port=server.sockets[0].getsockname()[1])
    yield client
    await client.aclose()
    server.close()
    for one in clients:
        one.close()


async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    """(event, data) pairs of server-sent events; a comment is ("", None)."""
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data:"):
            data = line.removeprefix("data:").strip()
            yield name, json.loads(data) if data else None
        elif line == ":":
            yield "", None


# In milliseconds, one after the other: on a slow machine the first may be over before anything has begun.
DEADLINES = ("100", "1000", "10000")


async def early() -> None:
    """Returns when the minute, which budgets are counted by, has some seconds left."""
    while time.time() % 60 > 50:
        await asyncio.sleep(0.2)


async def until(true: Callable[[], object]) -> None:
    """Wait for something to become true; fails after half a minute, which a busy machine may need."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


Acorn = Callable[..., Result]


@pytest.fixture
def acorn(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: object) -> Acorn:
    """Runs `acorn` in a house of one shop, on empty engines."""
    # pytest's own handlers must stay.
    monkeypatch.setattr(logs, "set_up", lambda level, form: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acorn.toml").write_text(CHANNELS, encoding="utf-8")
    monkeypatch.setenv("ACORN_DATABASE_URL", database_url)
    monkeypatch.setenv("ACORN_REDIS_URL", redis_url)
    monkeypatch.setattr(install, "installed", lambda: True)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb"})

    return run


def in_store(url: str, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
    """What `work` answers in a transaction of its own."""

    async def once() -> Any:
        store = Store(url)
        try:
            async with store.begin() as tx:
                return await work(tx)
        finally:
            await store.close()

    return asyncio.run(once())


def plain(result: Result) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", result.output)
