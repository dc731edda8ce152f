"""The engine, and `begin()`: the one way into a transaction."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias, TypeVar

import orjson
from sqlalchemy import ColumnElement, Row, any_, literal, make_url, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

T = TypeVar("T")
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

# What a database that is away or full answers with; a retry a little later is the cure.
UNAVAILABLE: tuple[type[Exception], ...] = (OperationalError, InterfaceError, PoolTimeout, OSError)


def driver_url(url: str) -> URL:
    """`url` of any PostgreSQL flavor, such as `postgres://…` or `postgresql:///acorn?host=/a/socket/directory`, for asyncpg."""
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(
            f"{parsed.render_as_string()} is not a PostgreSQL URL such as postgresql://user@host/database."
        )
    query = dict(parsed.query)
    if "sslmode" in query:
        # asyncpg takes libpq's words under another name.
        query["ssl"] = query.pop("sslmode")
    return parsed.set(drivername="postgresql+asyncpg", query=query)


class Store:
    """Connections to our database. Make one per process, close it at the end."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pool_timeout_s: float = 1.0,
        statement_timeout_s: float = 30.0,
        application_name: str = "acorn",
    ) -> None:
        self._engine = create_async_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_s,
            pool_pre_ping=True,
            json_serializer=_json,
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": 5,
                "server_settings": {
                    "application_name": application_name,
                    "statement_timeout": f"{int(statement_timeout_s * 1000)}",
                    "idle_in_transaction_session_timeout": "30000",
                    "timezone": "UTC",
                    # Our statements are short; compiling them costs more than running them.
                    "jit": "off",
                },
            },
        )

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back by an exception. No network call belongs inside."""
        return self._engine.begin()

    async def ping(self) -> None:
        """Ask the database for a sign of life. Raises one of UNAVAILABLE."""
        async with self.begin() as tx:
            await tx.execute(text("select 1"))

    async def close(self) -> None:
        """Give all connections back."""
        await self._engine.dispose()


def among(column: ColumnElement[T], values: Collection[T]) -> ColumnElement[bool]:
    """`column` is one of `values`. One array parameter, so that the statement stays the same for any number of values."""
    return column == any_(literal(list(values), ARRAY(column.type)))


def storable(words: str) -> str:
    """What PostgreSQL can hold of a text from outside: no NUL, no half characters."""
    return words.replace("\x00", "").encode("utf-8", "replace").decode()


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
