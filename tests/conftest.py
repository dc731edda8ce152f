"""The engines under the tests: real PostgreSQL and Redis, made for this run and gone after it.

A server named by ACORN_DATABASE_URL or ACORN_REDIS_URL is used instead of the embedded one, and what it holds is left alone:
tests make databases of their own beside the one named, and take only a Redis database that is empty.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis
from sqlalchemy import make_url, text

from gateway import patience, quota
from gateway.engines import Engines, start
from store import migrate
from store.session import Store
from store.tables import metadata

T = TypeVar("T")

_KEPT = pytest.StashKey[Engines]()

# How quick the machine is says nothing about a property; and who breaks one finds the same case again.
settings.register_profile(
    "usual",
    deadline=None,
    derandomize=True,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("long", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("long" if os.environ.get("HYPOTHESIS_PROFILE") == "long" else "usual")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays until the end: the collector of garbage has no need to look through it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# The folders whose files take longest come first: what comes last should keep no worker waiting for another.
SLOWEST = ("flows", "gateway", "workers", "store", "conformance", "schema")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow folders in front; within a folder files stay in their order."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return SLOWEST.index(folder) if folder in SLOWEST else len(SLOWEST)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """With pytest-xdist one PostgreSQL serves all workers: the controller starts it and tells them."""
    if _KEPT not in node.config.stash:
        # Each worker has a Redis of its own, so that a test may flush all of it.
        node.config.stash[_KEPT] = start(
            _directory(), environ={**os.environ, "ACORN_REDIS_URL": "unused"}, throwaway=True
        )
    node.workerinput["acorn_database_url"] = node.config.stash[_KEPT].database_url


def pytest_unconfigure(config: pytest.Config) -> None:
    """The controller's end of it."""
    kept = config.stash.get(_KEPT, None)
    if kept is not None:
        kept.stop()


@pytest.fixture(scope="session", autouse=True)
def _patient() -> Iterator[None]:
    """However busy this machine is, Redis is waited for: what a gateway does without it is another answer."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (patience, quota):
            patch.setattr(module, "PATIENCE_S", 30.0)
        yield


@pytest.fixture(scope="session")
def engines(request: pytest.FixtureRequest) -> Iterator[Engines]:
    """Both engines. Their URLs name servers; `database_url` and `redis_url` name what a test may use of them."""
    environ = dict(os.environ)
    given = getattr(request.config, "workerinput", {})
    if "acorn_database_url" in given:
        environ["ACORN_DATABASE_URL"] = given["acorn_database_url"]
    started = start(_directory(), environ=environ, throwaway=True)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def new_database(engines: Engines) -> Iterator[Callable[[], str]]:
    """Makes a migrated, empty database each time it is called and answers its URL; all of them go at the end."""
    name = f"acorn_test_{uuid4().hex[:12]}"
    numbers = count(1)
    made: list[str] = []

    def url_of(database: str) -> str:
        return make_url(engines.database_url).set(database=database).render_as_string(hide_password=False)

    def make(template: str | None = name) -> str:
        database = name if template is None else f"{name}_{next(numbers)}"
        made.append(database)
        _on_server(engines.database_url, f"create database {database} template {template or 'template0'}")
        return url_of(database)

    migrate.upgrade(make(template=None))
    yield make
    for database in reversed(made):
        _on_server(engines.database_url, f"drop database if exists {database} with (force)")


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """A migrated database that this process has for itself."""
    return new_database()


@pytest.fixture(scope="session")
def redis_url(engines: Engines, request: pytest.FixtureRequest) -> str:
    """A Redis database that this process has for itself."""
    if not os.environ.get("ACORN_REDIS_URL"):
        return engines.redis_url
    worker = getattr(request.config, "workerinput", {}).get("workerid", "gw0")
    # From the last of Redis' 16 databases down, one for each worker.
    number = 15 - int(worker.removeprefix("gw"))
    parts = urlsplit(engines.redis_url)
    unix = parts.scheme == "unix"
    url = urlunsplit(parts._replace(query=f"db={number}") if unix else parts._replace(path=f"/{number}"))
    if _apart(_redis_size(url)):
        pytest.exit(
            f"Database {number} of ACORN_REDIS_URL is not empty, and tests would wipe it. Empty it or unset the variable."
        )
    return url


@pytest.fixture(scope="session")
async def session_store(database_url: str) -> AsyncIterator[Store]:
    """The connections that `store` uses."""
    made = Store(database_url, application_name="acorn-test")
    yield made
    await made.close()


@pytest.fixture
async def store(session_store: Store) -> Store:
    """A store whose tables are all empty."""
    await emptied(session_store)
    return session_store


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty Redis; answers are bytes."""
    client = Redis.from_url(redis_url)
    await client.flushdb()
    yield client
    await client.aclose()


KEPT = ("stock_entry", "stock_balance", "reservation_hold")


async def emptied(store: Store) -> None:
    """Empty all tables and start their numbers anew; those that nothing was written to are left alone."""
    preparer = make_url("postgresql://").get_dialect()().identifier_preparer
    names = [preparer.format_table(table) for table in metadata.sorted_tables]
    touched = " union all ".join(f"select '{name}' where exists (select from {name})" for name in names)
    async with store.begin() as tx:
        full = list(await tx.scalars(text(touched)))
        # The ledger refuses to be emptied; only the owner of its tables may look away.
        kept = KEPT if {*KEPT, "product", "reservation"} & set(full) else ()
        for name in kept:
            await tx.execute(text(f"alter table {name} disable trigger user"))
        if full:
            await tx.execute(text(f"truncate {', '.join(full)} restart identity cascade"))
        for name in kept:
            await tx.execute(text(f"alter table {name} enable trigger user"))


def _directory() -> Path:
    # Made by whoever starts something in it.
    return Path(tempfile.gettempdir()) / f"acorn-test-{uuid4().hex[:12]}"


def _on_server(url: str, statement: str) -> None:
    """Run one statement outside any transaction, such as `create database`."""

    async def run() -> None:
        parsed = make_url(url)
        connection = await asyncpg.connect(parsed.set(drivername="postgresql").render_as_string(hide_password=False))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    _apart(run())


def _apart(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own, whether or not one is running here."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _redis_size(url: str) -> int:
    async with Redis.from_url(url) as client:
        return int(await client.dbsize())
