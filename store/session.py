"""The engine, and `begin()`: the one way into a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar

import orjson
from asyncpg import InternalClientError, PostgresError
from sqlalchemy import ColumnElement, FromClause, Pool, Row, Text, any_, event, func, literal, make_url, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.util import await_only

T = TypeVar("T")
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

# What a database that is away or full answers with; a retry a little later is the cure.
UNAVAILABLE: tuple[type[Exception], ...] = (OperationalError, InterfaceError, PoolTimeout, OSError)
# Classes of SQLSTATE that say the same: connection exception, a user or a database that is not let in or not there (yet),
# insufficient resources, operator intervention (a shutdown, a connection that was terminated, a statement that took too long).
_AWAY = ("08", "28", "3D", "53", "57")

# The first statement of a transaction whose statements are all to see the same moment.
ONE_SNAPSHOT = text("set transaction isolation level repeatable read, read only")


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
    """Connections to our database. Make one per process, close it at the end.

    `pool_timeout_s` is how long a caller waits for one of `pool_size` connections, first come, first served: a crowd is no reason
    to call a healthy database unavailable.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pool_timeout_s: float = 10.0,
        statement_timeout_s: float = 30.0,
        application_name: str = "acorn",
    ) -> None:
        self._alone = partial(
            Store, url, pool_size=1, statement_timeout_s=statement_timeout_s, application_name=application_name
        )
        self._pool_timeout_s = pool_timeout_s
        self._turns = asyncio.Semaphore(pool_size)
        self._engine = create_async_engine(
            driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            # Whoever has a turn finds a connection: nobody waits here.
            pool_timeout=pool_timeout_s,
            # Rows hold what belongs to people; a log is no place for them.
            hide_parameters=True,
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

        _begin_at_once(self._engine.sync_engine.pool)

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back by an exception. No network call belongs inside, nor
        another transaction of this store: all could be waiting for each other's connection.

        A database that goes away in the middle is one of UNAVAILABLE too.
        """
        return self._begin()

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(self._pool_timeout_s):
                await self._turns.acquire()
        except TimeoutError as problem:
            raise PoolTimeout(f"No connection became free within {self._pool_timeout_s:g} s.") from problem
        try:
            with unavailable():
                async with aclosing(await self._connection()) as tx, tx.begin():
                    yield tx
        finally:
            self._turns.release()

    async def _connection(self) -> AsyncConnection:
        try:
            return await self._engine.connect()
        except InvalidRequestError as problem:
            # What SQLAlchemy says when new connections die at once, too.
            raise OperationalError(None, None, problem, hide_parameters=True) from problem

    def alone(self) -> Store:
        """One more connection to the same database, for work in an event loop of its own. Close it at its end."""
        return self._alone()

    async def ping(self) -> None:
        """Ask the database for a sign of life. Raises one of UNAVAILABLE."""
        async with self.begin() as tx:
            await tx.execute(text("select 1"))

    async def close(self) -> None:
        """Give all connections back."""
        await self._engine.dispose()


def _begin_at_once(pool: Pool) -> None:
    """Let BEGIN, which is due anyway, prove that a connection is alive: one that is not is replaced before anybody has it. To ask
    first (`pool_pre_ping`) takes three round trips more, as many as a transaction of one statement."""

    @event.listens_for(pool, "checkout")
    def taken(connection: Any, _record: Any, _proxy: Any) -> None:
        said = ""
        try:
            # There is no public way to begin before the first statement.
            await_only(connection._start_transaction())
        except (connection.dbapi.Error, OSError) as problem:
            said = str(problem) or type(problem).__name__
        if said:
            # Not out of the `except`: should closing it be cancelled, the fewer exceptions hang together, the sooner its place in
            # the pool is free.
            raise DisconnectionError(f"The connection does not answer: {said}")


@contextmanager
def unavailable() -> Iterator[None]:
    """Whatever says that the database is not to be had becomes one of UNAVAILABLE."""
    try:
        yield
    except (DBAPIError, PostgresError) as problem:
        if not isinstance(problem, UNAVAILABLE) and _away(problem):
            raise OperationalError(None, None, problem, hide_parameters=True) from problem
        raise


def why(problem: Exception) -> str:
    """Why the database is not to be had: its own words, where it said some, or what became of the attempt."""
    said: BaseException | None = problem
    while said is not None and not isinstance(said, PostgresError):
        said = said.__cause__
    return str(said).partition("\n")[0] if said else type(problem).__name__


def _away(problem: DBAPIError | PostgresError) -> bool:
    """Whether the database says, or shows, that it is not to be had now. What connecting meets SQLAlchemy leaves as it is."""
    if isinstance(problem, DBAPIError) and problem.connection_invalidated:
        return True
    if isinstance(problem, DBAPIError) and isinstance(getattr(problem.orig, "__cause__", None), InternalClientError):
        # What asyncpg says of a connection that was ended between two steps of one statement.
        return True
    state = getattr(problem.orig if isinstance(problem, DBAPIError) else problem, "sqlstate", None)
    return str(state or "")[:2] in _AWAY


def among(column: ColumnElement[T], values: Collection[T]) -> ColumnElement[bool]:
    """`column` is one of `values`. One array parameter, so that the statement stays the same for any number of values."""
    return column == any_(literal(list(values), ARRAY(column.type)))


def as_table(**columns: Sequence[str]) -> FromClause:
    """Lists of equal length as the columns of a table, in one array parameter each."""
    arrays = (literal(list(values), ARRAY(Text)) for values in columns.values())
    return func.unnest(*arrays).table_valued(*columns).render_derived(name="asked")


def from_now(seconds: float) -> ColumnElement[datetime]:
    """The instant that comes `seconds` after the statement runs."""
    # Not now(): that is when the transaction began, and it may have waited for a lock since.
    return func.clock_timestamp() + timedelta(seconds=seconds)


async def take_time(tx: AsyncConnection, seconds: int = 300) -> None:
    """What this transaction does may take as long."""
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        await tx.execute(text("select set_config(:name, :value, true)"), {"name": name, "value": f"{seconds}s"})


def storable(words: str) -> str:
    """What PostgreSQL can hold of a text from outside: no NUL, no half characters."""
    return words.replace("\x00", "").encode("utf-8", "replace").decode()


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
