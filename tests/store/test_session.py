"""The way into a transaction, and its bounds."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from store import beat
from store.session import UNAVAILABLE, Store, driver_url


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgres://u:p@db:5433/acorn", "postgresql+asyncpg://u:p@db:5433/acorn"),
        ("postgresql+psycopg://u@db/acorn?sslmode=require", "postgresql+asyncpg://u@db/acorn?ssl=require"),
        ("postgresql://postgres:@/acorn?host=/a/b", "postgresql+asyncpg://postgres:@/acorn?host=%2Fa%2Fb"),
    ],
)
def test_any_postgresql_url_will_do(given: str, expected: str) -> None:
    assert driver_url(given).render_as_string(hide_password=False) == expected


def test_another_database_is_refused_without_telling_the_password() -> None:
    with pytest.raises(ValueError, match="is not a PostgreSQL URL") as refused:
        driver_url("mysql://root:secret@db/acorn")
    assert "secret" not in str(refused.value)


async def test_a_block_commits_and_an_exception_rolls_back(store: Store) -> None:
    async with store.begin() as tx:
        await beat.beat(tx, "kept")

    async def fail() -> None:
        async with store.begin() as tx:
            await beat.beat(tx, "lost")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with store.begin() as tx:
        assert await beat.alive(tx, 60) == 1


async def test_its_connections_are_bounded_and_named(database_url: str) -> None:
    store = Store(database_url, pool_size=1, pool_timeout_s=0.05, statement_timeout_s=0.2, application_name="acorn-x")
    try:
        async with store.begin() as tx:
            assert await tx.scalar(text("show application_name")) == "acorn-x"
            assert await tx.scalar(text("show idle_in_transaction_session_timeout")) == "30s"
            assert await tx.scalar(text("show timezone")) == "UTC"
            with pytest.raises(PoolTimeout):
                await store.ping()
            with pytest.raises(DBAPIError, match="statement timeout"):
                await tx.execute(text("select pg_sleep(5)"))
        await store.ping()
    finally:
        await store.close()


async def test_a_lost_connection_is_replaced(database_url: str, store: Store) -> None:
    other = Store(database_url, pool_size=1, application_name="acorn-lost")
    try:
        await other.ping()
        async with store.begin() as tx:
            killed = await tx.scalar(
                text(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'acorn-lost'"
                )
            )
            assert killed == 1
        await other.ping()
    finally:
        await other.close()


async def test_no_database_is_one_of_the_ways_to_be_unavailable(database_url: str) -> None:
    nowhere = make_url(database_url).set(query={"host": "/nowhere"})
    for url in (nowhere, make_url("postgresql://postgres@127.0.0.1:1/acorn")):
        store = Store(url.render_as_string(hide_password=False))
        with pytest.raises(UNAVAILABLE):
            await asyncio.wait_for(store.ping(), 10)
        await store.close()
