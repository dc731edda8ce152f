"""The way into a transaction, and its bounds."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
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
    store = Store(database_url, pool_size=1, pool_timeout_s=0.05, statement_timeout_s=2.0, application_name="acorn-x")
    try:
        async with store.begin() as tx:
            assert await tx.scalar(text("show application_name")) == "acorn-x"
            assert await tx.scalar(text("show idle_in_transaction_session_timeout")) == "30s"
            assert await tx.scalar(text("show timezone")) == "UTC"
            with pytest.raises(PoolTimeout):
                await store.ping()
            with pytest.raises(DBAPIError, match="statement timeout"):
                await tx.execute(text("select pg_sleep(600)"))
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


@pytest.mark.parametrize("steps", range(12))
async def test_whoever_is_cancelled_on_the_way_in_or_out_leaves_nothing_behind(
    database_url: str, store: Store, steps: int
) -> None:
    name = f"acorn-cancelled-{steps}"
    other = Store(database_url, pool_size=1, pool_timeout_s=5.0, application_name=name)
    open_ones = text("select count(*) from pg_stat_activity where application_name = :name and state like 'idle in%'")
    try:
        if steps % 2:
            await other.ping()
        task = asyncio.create_task(other.ping())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert other._engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        async with asyncio.timeout(30):
            while True:
                async with store.begin() as tx:
                    if not await tx.scalar(open_ones, {"name": name}):
                        break
        await other.ping()
    finally:
        await other.close()


async def test_a_driver_without_the_way_to_begin_is_no_database_that_is_away(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(AsyncAdapt_asyncpg_connection, "_start_transaction")
    other = Store(database_url, pool_size=1)
    try:
        with pytest.raises(AttributeError, match="_start_transaction"):
            await other.ping()
    finally:
        await other.close()


async def test_a_transaction_is_open_before_its_first_statement(database_url: str, store: Store) -> None:
    other = Store(database_url, pool_size=1, application_name="acorn-begun")
    begun = text("select state from pg_stat_activity where application_name = 'acorn-begun'")
    try:
        async with other.begin() as tx:
            async with store.begin() as watching:
                assert await watching.scalar(begun) == "idle in transaction"
            assert await tx.scalar(text("select now() < clock_timestamp()"))
        async with store.begin() as watching:
            assert await watching.scalar(begun) == "idle"
    finally:
        await other.close()


async def test_a_connection_lost_in_the_middle_is_one_of_the_ways_to_be_unavailable(
    database_url: str, store: Store
) -> None:
    other = Store(database_url, pool_size=1, application_name="acorn-lost")
    running = text("select count(*) from pg_stat_activity where application_name = 'acorn-lost' and state = 'active'")
    kill = text("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'acorn-lost'")

    async def active() -> bool:
        # A transaction of its own each time: within one, the view stays as it was.
        async with store.begin() as tx:
            return bool(await tx.scalar(running))

    async def long() -> None:
        async with other.begin() as tx:
            await tx.execute(text("select pg_sleep(30)"))

    async def idle() -> None:
        async with other.begin() as tx:
            await tx.execute(text("select 1"))
            async with store.begin() as killer:
                await killer.execute(kill)
            await tx.execute(text("select 1"))

    try:
        task = asyncio.create_task(long())
        async with asyncio.timeout(30):
            while not await active():
                pass
        async with store.begin() as tx:
            await tx.execute(kill)
        with pytest.raises(UNAVAILABLE):
            await task
        with pytest.raises(UNAVAILABLE):
            await idle()
        await other.ping()
    finally:
        await other.close()


async def test_a_statement_that_takes_too_long_is_unavailable_and_a_wrong_one_is_not(database_url: str) -> None:
    store = Store(database_url, pool_size=1, statement_timeout_s=2.0)

    async def run(statement: str, **values: str) -> None:
        async with store.begin() as tx:
            await tx.execute(text(statement), values)

    try:
        with pytest.raises(UNAVAILABLE, match="statement timeout"):
            await run("select pg_sleep(600)")
        with pytest.raises(DBAPIError) as wrong:
            await run("select cast(:word as text) from no_such_table", word="Mara Lindner")
        assert not isinstance(wrong.value, UNAVAILABLE)
        # What a row holds stays out of what a log gets.
        assert "no_such_table" in str(wrong.value)
        assert "Mara" not in str(wrong.value)
    finally:
        await store.close()


async def test_a_crowd_of_three_hundred_waits_its_turn(database_url: str) -> None:
    store, entered, ten = Store(database_url, pool_size=10, pool_timeout_s=120.0), list[int](), asyncio.Barrier(10)

    async def one(number: int) -> None:
        async with store.begin():
            entered.append(number)
            # None leaves before there are ten, however long the making of a connection takes.
            await ten.wait()

    try:
        async with asyncio.timeout(120):
            await asyncio.gather(*(one(number) for number in range(300)))
    finally:
        await store.close()
    # The ten that have a connection at the same time may change places; else it is first come, first served.
    assert [sorted(entered[at : at + 10]) for at in range(0, 300, 10)] == [
        list(range(at, at + 10)) for at in range(0, 300, 10)
    ]


async def test_no_database_is_one_of_the_ways_to_be_unavailable(database_url: str) -> None:
    nowhere = make_url(database_url).set(query={"host": "/nowhere"})
    for url in (nowhere, make_url("postgresql://postgres@127.0.0.1:1/acorn")):
        store = Store(url.render_as_string(hide_password=False))
        with pytest.raises(UNAVAILABLE):
            await asyncio.wait_for(store.ping(), 30)
        await store.close()
