"""The log of calls in PostgreSQL: months that come and go by themselves, and every way to find a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from domain.errors import Transient
from domain.exchange import Exchange
from domain.ids import ChannelId
from store import exchange
from store.exchange import ExchangeLog, Wanted
from store.session import Store
from tests.store.bench import blocked
from tests.workers.house import Away

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ALL = Wanted()


@pytest.fixture
async def months(store: Store) -> AsyncIterator[Store]:
    """A store without any month, before and after."""
    await without(store)
    yield store
    await without(store)


async def without(store: Store) -> None:
    async with store.begin() as tx:
        await exchange.drop_months(tx, datetime(2100, 1, 1, tzinfo=UTC))


def call(id: int, at: datetime = NOW, **changes: object) -> Exchange:
    told = Exchange(
        id=id,
        at=at,
        channel="amazon-na",
        operation="getOrder",
        method="GET",
        path="/orders/1",
        status=200,
        upstream_request_id=f"req-{id}",
        seconds=0.1,
        waited_s=0.0,
        failure=None,
        subjects=("order:1",),
        request_headers="",
        response_headers="",
        request=None,
        response='{"é": "…"}',
        request_bytes=0,
        response_bytes=12,
    )
    return replace(told, **changes)  # type: ignore[arg-type]  # by the names of its fields


async def found(store: Store, wanted: Wanted = ALL, first: int = 100) -> list[int]:
    async with store.begin() as tx:
        calls, _ = await exchange.page(tx, wanted, first=first)
        assert await exchange.count(tx, wanted) == len(calls)
    return [one.id for one in calls]


async def names(store: Store) -> list[str]:
    async with store.begin() as tx:
        return [f"{begin:%Y-%m}" for begin in await exchange.months(tx)]


async def test_a_call_comes_back_as_it_was_kept(months: Store) -> None:
    one = call(2**62, subjects=("order:1", "sku:Ä,1"), failure="X", request="{}")
    await ExchangeLog(months).keep([one])
    async with months.begin() as tx:
        assert await exchange.page(tx, Wanted(), first=1) == ([one], False)


async def test_a_month_that_nobody_has_made_is_made_by_who_needs_it(months: Store) -> None:
    log = ExchangeLog(months)
    turn = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    await log.keep([call(1, turn), call(2, turn + timedelta(seconds=1)), call(3)])
    assert await names(months) == ["2026-11", "2026-12", "2027-01"]

    async def kept(id: int) -> None:
        while True:
            try:
                return await log.keep([call(id, NOW + timedelta(days=200))])
            except Transient:
                pass  # who makes the month takes long

    async with asyncio.timeout(60):
        await asyncio.gather(*(kept(id) for id in range(4, 9)))
    assert len(await found(months)) == 8


async def test_a_batch_that_is_kept_twice_is_there_once(months: Store) -> None:
    log = ExchangeLog(months)
    batch = [call(1), call(2)]
    await log.keep(batch)
    await log.keep(batch)
    await log.keep([])
    assert await found(months) == [2, 1]


async def test_what_comes_to_a_batch_that_was_kept_before_its_answer_was_lost_is_kept_too(months: Store) -> None:
    log = ExchangeLog(months)
    await log.keep([call(1), call(2)])
    await log.keep([call(1), call(2), call(3, subjects=("order:1", "sku:Ä,1"))])
    assert await found(months) == [3, 2, 1]
    assert await found(months, Wanted(subjects=("sku:Ä,1",))) == [3]


async def test_a_month_that_cannot_be_made_yet_says_try_again(months: Store) -> None:
    log = ExchangeLog(months)
    async with months.begin() as reader:
        await reader.execute(text("lock table exchange in access share mode"))
        with pytest.raises(Transient, match="cannot be made yet"):
            await log.keep([call(1)])
    await log.keep([call(1)])
    assert await found(months) == [1]


async def test_old_months_are_dropped_whole_and_no_earlier(months: Store) -> None:
    begin = datetime(2025, 11, 1, tzinfo=UTC)
    await ExchangeLog(months).keep([call(1, begin - timedelta(seconds=1)), call(2, begin), call(3)])
    async with months.begin() as tx:
        assert await exchange.drop_months(tx, begin - timedelta(seconds=1)) == []
        assert await exchange.drop_months(tx, begin) == ["exchange_2025_10"]
    assert await found(months) == [3, 2]


async def test_a_database_that_is_away_says_try_again(months: Store) -> None:
    away = Away(months)
    away.times = 1
    with pytest.raises(Transient):
        await ExchangeLog(away).keep([call(1)])
    await ExchangeLog(away).keep([call(1)])
    assert await found(months) == [1]


async def test_months_are_not_waited_for_behind_a_long_reader(months: Store) -> None:
    async with months.begin() as reader:
        await reader.execute(text("lock table exchange in access share mode"))
        async with asyncio.timeout(30):
            with pytest.raises(Exception, match="lock timeout"):
                async with months.begin() as tx:
                    await exchange.make_months(tx, [NOW])
        await blocked(months, 0)
    assert await names(months) == []


async def test_every_way_to_find_a_call(months: Store) -> None:
    calls = [
        call(1),
        call(2, NOW + timedelta(hours=1), failure="InvalidInput", subjects=("item:7", "order:2"), status=400),
        call(3, NOW + timedelta(hours=2), channel="shop", operation="orders", subjects=("sku:A",)),
    ]
    await ExchangeLog(months).keep(calls)
    for wanted, ids in (
        (Wanted(), [3, 2, 1]),
        (Wanted(channel=ChannelId("shop")), [3]),
        (Wanted(operation="getOrder"), [2, 1]),
        (Wanted(subjects=("order:1", "sku:A")), [3, 1]),
        (Wanted(subjects=("item:7",)), [2]),
        (Wanted(upstream_request_id="req-1"), [1]),
        (Wanted(failed=True), [2]),
        (Wanted(failed=False), [3, 1]),
        (Wanted(failure="InvalidInput"), [2]),
        (Wanted(since=NOW + timedelta(hours=1)), [3, 2]),
        (Wanted(until=NOW + timedelta(hours=1)), [1]),
        (Wanted(subjects=("nothing",)), []),
    ):
        assert await found(months, wanted) == ids, wanted


async def test_pages_tile_whatever_comes_at_one_moment(months: Store) -> None:
    await ExchangeLog(months).keep([call(id) for id in range(1, 8)])
    seen: list[int] = []
    after = None
    more = True
    while more:
        async with months.begin() as tx:
            calls, more = await exchange.page(tx, Wanted(), first=3, after=after)
        seen += [one.id for one in calls]
        after = (calls[-1].at, calls[-1].id)
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_the_newest_about_each_of_many(months: Store) -> None:
    log = ExchangeLog(months)
    await log.keep([call(id, NOW + timedelta(seconds=id), subjects=(f"order:{id % 2}",)) for id in range(10)])
    await log.keep([call(50, NOW, channel="shop", subjects=("order:0",))])
    keys: list[tuple[str, ChannelId | None]] = [
        ("order:0", ChannelId("amazon-na")),
        ("order:1", None),
        ("order:9", None),
        ("order:0", ChannelId("shop")),
    ]
    async with months.begin() as tx:
        told = await exchange.by_subjects(tx, keys, 3)
    assert [[one.id for one in told[key]] for key in keys] == [[8, 6, 4], [9, 7, 5], [], [50]]
