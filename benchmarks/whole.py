"""The whole house on both sandboxes: a served gateway with everything loaded by the real synchronization."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from pydantic import SecretStr
from redis.asyncio import Redis

from benchmarks.rehearsal import CONFIG, ledger_kept, self_built
from gateway.app import App
from gateway.auth import hash_secret, new_secret
from gateway.server import Server, listen
from gateway.server import config as server_config
from gateway.settings import Settings
from gateway.wiring import build_house
from gateway.worker import deps_of
from sandbox.visit import serving
from schema.scopes import ALL
from store import api_key
from workers.deps import Timing
from workers.streams import sync_once
from workers.worker import work

STOREFRONT = frozenset({"stock:read", "catalog:read"})


@dataclass(slots=True)
class Platform:
    """A sandbox and its control plane."""

    http: httpx.AsyncClient

    async def get(self, path: str) -> Any:
        """The answer of GET /_sandbox/…"""
        return (await self.http.get(f"/_sandbox/{path}")).raise_for_status().json()

    async def post(self, path: str, body: Any) -> Any:
        """The answer of POST /_sandbox/…"""
        return (await self.http.post(f"/_sandbox/{path}", json=body)).raise_for_status().json()

    async def mark(self) -> int:
        """The place in the journal now."""
        return int((await self.get("journal?since=999999999"))["next"])

    async def calls(self, since: int, operation: str = "") -> list[dict[str, Any]]:
        """The calls after a mark, of one operation where named."""
        told = (await self.get(f"journal?since={since}"))["calls"]
        return [call for call in told if operation in ("", call["operation"])]

    async def effects(self, since: int, operation: str) -> list[dict[str, Any]]:
        """What was truly done after a mark."""
        return [one for one in (await self.get(f"journal?since={since}"))["effects"] if one["operation"] == operation]

    async def faults(self, *faults: dict[str, Any]) -> None:
        """These faults and no others."""
        await self.post("faults", {"faults": list(faults)})


@dataclass(slots=True)
class Whole:
    """Both platforms, the gateway in front, and keys."""

    amazon: Platform
    shop: Platform
    app: App
    settings: Settings
    url: str
    http: httpx.AsyncClient
    admin: str
    storefront: str

    async def ask(self, query: str, key: str | None = None, bill: bool = False, **variables: Any) -> dict[str, Any]:
        """The whole answer to a query."""
        headers = {"authorization": f"Bearer {key or self.admin}"} | ({"x-acorn-bill": "1"} if bill else {})
        answer = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        told: dict[str, Any] = answer.json()
        return told

    async def data(self, query: str, key: str | None = None, **variables: Any) -> Any:
        """The data of a query that has no errors."""
        told = await self.ask(query, key, **variables)
        assert "errors" not in told, told["errors"]
        return told["data"]


@asynccontextmanager
async def whole_house(
    database_url: str,
    redis_url: str,
    folder: Path,
    *,
    speed: float = 50,
    load: bool = True,
    ledger: bool = False,
    shop: str = "shopify",
    **sizes: Any,
) -> AsyncIterator[Whole]:
    """Sandboxes, first load, a served gateway; `sizes` are options of the sandboxes. With `ledger` we count the warehouses.
    `shop` is what the shop runs on: "shopify", or "rest" for a self-built one."""
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()  # tokens and budgets of another house's sandboxes open nothing here
    async with AsyncExitStack() as stack:
        lag = {"lag": 0.3 * speed}
        # A self-built shop shows at once what it has taken.
        wanted = [("amazon", lag), ("shopify", lag) if shop == "shopify" else ("shop", {})]
        urls = [
            await stack.enter_async_context(serving(name, **{"speed": speed, **more, **sizes})) for name, more in wanted
        ]
        amazon, storefront = [
            Platform(await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))) for url in urls
        ]
        path = folder / "acorn.toml"
        config = CONFIG if shop == "shopify" else self_built(CONFIG)
        config = ledger_kept(config) if ledger else config
        path.write_text(config.format(amazon=urls[0], shop=urls[1]), encoding="utf-8")
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]  # a developer's own .env is no part of a test
            database_url=SecretStr(database_url),
            redis_url=SecretStr(redis_url),
            config=path,
            arq=True,
            key_calls_per_minute=100_000,  # time runs faster here
        )
        app = App(settings)
        _, url = await stack.enter_async_context(served(app))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        keys = [await key_for(app, name, scopes) for name, scopes in (("admin", ALL), ("storefront", STOREFRONT))]
        if load:
            problems = await sync_once(deps_of(app.standing.house), lambda *_: None)
            assert problems == {}
        yield Whole(amazon, storefront, app, settings, url, http, keys[0], keys[1])


@asynccontextmanager
async def working(whole: Whole, timing: Timing | None = None) -> AsyncIterator[None]:
    """A worker beside the gateway, in this process, on connections of its own."""
    house = await build_house(whole.settings)
    stop = asyncio.Event()
    task = asyncio.create_task(work(deps_of(house, timing), stop, bell_url=whole.settings.redis_url.get_secret_value()))
    try:
        yield
    finally:
        stop.set()
        await task
        await house.close()


@asynccontextmanager
async def served(
    app: App, *, connection_limit: int = 5_000, stop_within_s: int = 3
) -> AsyncIterator[tuple[Server, str]]:
    """A server on a free port and its URL, stopped at the end."""
    listener = listen("127.0.0.1", 0)
    server = Server(server_config(app, connection_limit=connection_limit, stop_within_s=stop_within_s), app)
    # `serve` would take the signals, which belong to pytest.
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)
    try:
        yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def key_for(app: App, name: str, scopes: frozenset[str]) -> str:
    """A new key of this name, to be sent as it is."""
    secret = new_secret()
    async with app.standing.house.store.begin() as tx:
        await api_key.create(tx, uuid4().hex, name, hash_secret(secret), scopes, None)
    return secret
