"""The same schema, house and event hub behind Strawberry's own ASGI application: what benchmarks.subscriptions compares with."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from strawberry.asgi import GraphQL

from domain.budget import Ask
from gateway.execution import Following
from gateway.settings import read_settings
from gateway.standing import Standing, open_house
from resolvers.context import Caller, Context
from schema.root import schema
from schema.scopes import ALL


class Plain:
    """The house stands for as long as the server runs."""

    def __init__(self) -> None:
        self._standing: Standing | None = None
        self._graphql = _GraphQL(self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._graphql(scope, receive, send)
            return
        await receive()
        self._standing = await open_house(read_settings())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._standing.close()
        await send({"type": "lifespan.shutdown.complete"})

    def context(self) -> Context:
        """Anybody may see everything here."""
        assert self._standing is not None
        return Following(self._standing.shelf, Caller("benchmark", ALL), Ask(), "benchmark")


class _GraphQL(GraphQL[Context, None]):
    def __init__(self, plain: Plain) -> None:
        super().__init__(schema)
        self._plain = plain

    async def get_context(self, request: Any, response: Any) -> Context:
        return self._plain.context()


if __name__ == "__main__":
    uvicorn.run(
        Plain(), port=int(os.environ["ACORN_PORT"]), log_level="warning", backlog=2_048, timeout_graceful_shutdown=3
    )
