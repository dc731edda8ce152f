"""A self-built shop of 60 SKUs, in process, with a clock that stands still until it is moved; its wire is read along."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from sandbox.options import Options
from sandbox.shop.app import build
from tests.contracts.rest import Watched

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
BASE = "http://shop/api/v1"


@dataclass(slots=True)
class Client:
    """Speaks to one shop with its token. `wire` has what did not keep the contract."""

    http: httpx.AsyncClient
    wire: Watched
    keys: int = 0

    async def ask(self, method: str, path: str, *, token: str = "st_sandbox", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        return await self.http.request(method, BASE + path, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.ask("GET", path, **more)

    async def json(self, path: str) -> dict[str, Any]:
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def send(
        self, method: str, path: str, body: object, *, key: str | None = None, rev: str | None = None, **more: Any
    ) -> httpx.Response:
        """A write under a key of its own unless named, and under If-Match where `rev` is."""
        self.keys += 1
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f'"{key or self.keys}"',
            **more.pop("headers", {}),
        }
        if rev is not None:
            headers["If-Match"] = f'"{rev}"'
        return await self.ask(method, path, content=json.dumps(body), headers=headers, **more)

    async def control(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        where = f"http://shop/_sandbox/{path}"
        answer = await (self.http.get(where) if body is None else self.http.post(where, json=body))
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def effects(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.control("journal"))["effects"]
        return found


Open = Callable[..., Awaitable[Client]]


@pytest.fixture
async def open_shop() -> AsyncIterator[Open]:
    """Opens a shop with other options than the usual ones; at the end all that it said must have kept the contract."""
    async with AsyncExitStack() as stack:
        opened: list[Client] = []

        async def make(without: tuple[str, ...] = (), broken: tuple[str, ...] = (), **options: Any) -> Client:
            chosen = {"products": 60, "orders": 100, "speed": 0.0, "start": START, **options}
            wire = Watched(httpx.ASGITransport(app=build(Options(**chosen), without, broken)), BASE)
            client = Client(await stack.enter_async_context(httpx.AsyncClient(transport=wire)), wire)
            opened.append(client)
            return client

        yield make
        assert [fault for client in opened for fault in client.wire.faults] == []


@pytest.fixture
async def shop(open_shop: Open) -> Client:
    return await open_shop()
