"""Bring a database to the newest schema. Needs nothing but this package: no alembic.ini, no working directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from store import locks
from store.session import driver_url, unavailable

T = TypeVar("T")


def upgrade(url: str, revision: str = "head") -> None:
    """Run the migrations that are missing, one transaction each. Of several callers at once, one works and the others wait.

    A statement that cannot get its lock within two seconds fails, and its migration with it; nothing is left half done.
    """

    def run(connection: Connection) -> None:
        connection.execute(text(f"select pg_advisory_lock({locks.MIGRATION})"))
        connection.commit()
        try:
            script = config()
            script.attributes["connection"] = connection
            command.upgrade(script, revision)
        finally:
            connection.rollback()
            connection.execute(text(f"select pg_advisory_unlock({locks.MIGRATION})"))
            connection.commit()

    _connected(url, run)


def current(url: str) -> str | None:
    """The revision a database is at; None before the first."""
    return _connected(url, lambda connection: MigrationContext.configure(connection).get_current_revision())


def head() -> str:
    """The newest revision there is."""
    revision = ScriptDirectory.from_config(config()).get_current_head()
    assert revision is not None
    return revision


def config() -> Config:
    """What Alembic must know to find our migrations, also for `alembic.command.revision`."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


def _connected(url: str, work: Callable[[Connection], T]) -> T:
    """Do `work`, which is synchronous as Alembic is, over the one driver we have, which is not.

    The thread has an event loop of its own, so that this may be called with or without one running.
    """

    async def run() -> T:
        engine = create_async_engine(driver_url(url), poolclass=pool.NullPool)
        try:
            with unavailable():
                async with engine.connect() as connection:
                    return await connection.run_sync(work)
        finally:
            await engine.dispose()

    with ThreadPoolExecutor(1, thread_name_prefix="migrate") as thread:
        return thread.submit(asyncio.run, run()).result()
