"""A shop of 60 SKUs and 40 orders, in process, with a clock that stands still until it is moved."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from sandbox.options import Options
from sandbox.shopify.app import build

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to one sandbox. `ask` gives the whole GraphQL answer, `data` only its data and insists on no errors."""

    http: httpx.AsyncClient

    async def post(
        self,
        query: str,
        variables: dict[str, Any] | None = None,
        token: str = "shpat_sandbox",
        version: str = "2026-07",
        operation: str | None = None,
    ) -> httpx.Response:
        body = {"query": query, "variables": variables or {}, "operationName": operation}
        headers = {"X-Shopify-Access-Token": token}
        return await self.http.post(f"/admin/api/{version}/graphql.json", json=body, headers=headers)

    async def ask(self, query: str, variables: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
        response = await self.post(query, variables, **kwargs)
        assert response.status_code == 200
        answer: dict[str, Any] = response.json()
        return answer

    async def data(self, query: str, variables: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
        answer = await self.ask(query, variables, **kwargs)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    async def control(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = await (
            self.http.get(f"/_sandbox/{path}") if body is None else self.http.post(f"/_sandbox/{path}", json=body)
        )
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def effects(self) -> list[dict[str, Any]]:
        effects: list[dict[str, Any]] = (await self.control("journal"))["effects"]
        return effects


@pytest.fixture
async def open_shop() -> AsyncIterator[Callable[..., Any]]:
    """Opens a sandbox with other options than the usual ones."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Client:
            chosen = {"products": 60, "orders": 100, "speed": 0.0, "start": START, **options}
            transport = httpx.ASGITransport(app=build(Options(**chosen)))
            return Client(
                await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://shop"))
            )

        yield make


@pytest.fixture
async def shop(open_shop: Callable[..., Any]) -> Client:
    client: Client = await open_shop()
    return client
