"""What is kept of stock in memory: it costs nothing while nothing changes, and is never believed for longer than it is proven."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy.exc import OperationalError

from domain.event import EventKind, NewEvent
from domain.ids import RuleId, Sku
from domain.policy import Facts
from domain.rule import Rule, SafetyStock
from resolvers import stock, stock_cache, stock_changes
from resolvers.stock_cache import StockCache
from store import event, product, rule
from store import facts as facts_rows
from store.session import Store
from tests.resolvers.platform import make_listing
from tests.resolvers.test_operation import PolledLog
from tests.resolvers.test_stock import OLD, House, patient
from workers.watch import end

SOON_S = 60.0  # a busy machine; how soon it is on a quiet one is for the benchmark


@asynccontextmanager
async def running(cache: StockCache) -> AsyncIterator[None]:
    """Whoever asks waits for the next look, also on a machine that stands still for a while; so only what is missing is read from
    the rows. And the log is looked at although a test asks nothing meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stock_cache, "PATIENCE_S", SOON_S)
        for name in ("IDLE_S", "KEPT_S"):
            patch.setattr(stock_cache, name, 3600.0)
        task = asyncio.create_task(cache.run())
        try:
            yield
        finally:
            await end([task])


@pytest.fixture
async def house(store: Store, redis: Redis) -> AsyncIterator[House]:
    """A house whose cache is at work. The platforms' readings are young for the length of a test."""
    made = House(store, redis)
    async with running(made.shelf.stock_cache):
        yield made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[Sku]]:
    """The SKUs of each reading of rows."""
    made: list[list[Sku]] = []
    real = facts_rows.facts

    async def counting(tx: Any, skus: Sequence[Sku], **more: Any) -> Any:
        made.append(sorted(skus))
        return await real(tx, skus, **more)

    monkeypatch.setattr(facts_rows, "facts", counting)
    return made


async def number(house: House, sku: str = "A1") -> int | None:
    """What can be sold, as a storefront is told."""
    (answer,) = await stock.by_skus(house.shelf, patient(), [Sku(sku)], OLD)
    return None if answer is None else answer.stock.available_to_sell


async def until(seen: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so."""
    begun = time.monotonic()
    while not await seen():
        assert time.monotonic() - begun < SOON_S, "never seen"
        await asyncio.sleep(0.005)


async def settled(house: House, reads: list[list[Sku]], sku: str = "A1") -> None:
    """Ask until it is answered from memory: events of what a test has prepared may still come."""

    async def from_memory() -> bool:
        count = len(reads)
        await number(house, sku)
        return len(reads) == count

    await house.events()
    await until(from_memory)
    for _ in range(3):
        await asyncio.sleep(stock_cache.LOOK_S)
        await until(from_memory)


async def test_a_question_asked_again_costs_no_statement_and_a_change_costs_one_reading(
    house: House, reads: list[list[Sku]]
) -> None:
    skus = [f"A{position}" for position in range(250)]
    await house.list_everywhere(*skus)
    await house.stock(*skus)
    await settled(house, reads)
    await house.stock(*skus)
    count = len(reads)
    for _ in range(5):
        assert len(await house.stock(*skus)) == 250
    assert len(reads) == count
    await house.book("A7", 5)

    async def seen() -> bool:
        return (await house.stock(*skus))[7].available_to_sell == 5

    await until(seen)
    assert ["A7"] in reads[count:]


async def test_a_committed_change_is_seen_although_no_relay_and_no_bell_tells_of_it(
    house: House, reads: list[list[Sku]]
) -> None:
    await house.list_everywhere("A1")
    await settled(house, reads)
    for units in range(1, 6):
        await house.book("A1", 1)

        async def seen(units: int = units) -> bool:
            return await number(house) == units

        await until(seen)


async def test_who_has_been_told_of_a_change_never_reads_how_it_was_before(
    house: House, reads: list[list[Sku]]
) -> None:
    await house.list_everywhere("A1")
    await settled(house, reads)
    shelf = replace(house.shelf, events=PolledLog(house.store))
    told = stock_changes.follow(shelf, [Sku("A1")], None)
    await anext(told)
    for units in range(1, 20):
        await number(house)  # so that it is in memory
        await house.book("A1", 1)
        while (await anext(told))[1].available_to_sell < units:
            pass
        assert await number(house) == units
    await told.aclose()


async def test_what_was_read_before_a_change_and_comes_after_it_is_not_kept(
    house: House, reads: list[list[Sku]]
) -> None:
    await house.list_everywhere("A1")
    await settled(house, reads)
    cache = house.shelf.stock_cache
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(skus: Sequence[Sku]) -> Mapping[Sku, Facts]:
        known = {sku: Facts(sku) for sku in skus}
        begun.set()
        await go_on.wait()
        return known

    reading = asyncio.create_task(cache.facts([Sku("NEW")], slow))
    await begun.wait()
    async with house.store.begin() as tx:
        await event.append(tx, [NewEvent(EventKind.STOCK_CHANGED, "NEW", {})])
    looked = cache._looked_at
    await until(lambda: _is(cache._looked_at > looked))
    await until(lambda: _is(cache._looked_at > looked + stock_cache.LOOK_S))
    go_on.set()
    assert set(await reading) == {"NEW"}
    assert "NEW" not in cache._kept
    await cache.facts([Sku("OTHER")], slow)  # the twin: nothing changed, so it is kept
    assert "OTHER" in cache._kept


async def _is(true: bool) -> bool:
    return true


async def test_a_kit_changes_with_its_components_and_with_what_it_is_made_of(
    house: House, reads: list[list[Sku]]
) -> None:
    await house.make_kit("SET", A1=2)
    await house.book("A1", 8)
    await settled(house, reads, "SET")
    assert await number(house, "SET") == 4
    await house.book("A1", -6)
    await until(lambda: _number_is(house, "SET", 1))
    await settled(house, reads, "SET")
    await house.make_kit("SET", A1=1)
    await until(lambda: _number_is(house, "SET", 2))


async def _number_is(house: House, sku: str, units: int | None) -> bool:
    return await number(house, sku) == units


async def test_a_changed_rule_is_seen(house: House, reads: list[list[Sku]]) -> None:
    await house.list_everywhere("A1")
    await house.book("A1", 8)
    await settled(house, reads)
    async with house.store.begin() as tx:
        await rule.save(tx, Rule(RuleId(""), "keep three", SafetyStock(3)), "test")
    await until(lambda: _number_is(house, "A1", 5))


async def test_what_ends_by_time_alone_needs_no_news(house: House, reads: list[list[Sku]]) -> None:
    await house.list_everywhere("A1")
    await house.book("A1", 8)
    await house.hold("A1", 3, seconds=900)
    await settled(house, reads)
    assert await number(house) == 5
    count = len(reads)
    later = replace(
        house.shelf, clock=lambda: datetime.now(UTC) + timedelta(seconds=901), stock_max_age=timedelta(days=1)
    )
    (answer,) = await stock.by_skus(later, patient(), [Sku("A1")], timedelta(days=1))
    assert answer is not None
    assert (answer.stock.available_to_sell, len(reads)) == (8, count)


async def test_an_emptied_redis_hides_no_change(house: House, reads: list[list[Sku]]) -> None:
    await house.list_everywhere("A1")
    await settled(house, reads)
    await house.redis.flushall()
    await house.book("A1", 4)
    await until(lambda: _number_is(house, "A1", 4))


async def test_while_the_log_cannot_be_read_nothing_kept_is_believed(
    house: House, reads: list[list[Sku]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.list_everywhere("A1")
    await settled(house, reads)
    monkeypatch.setattr(stock_cache, "REST_S", 0.05)
    real, away = event.since, asyncio.Event()

    async def since(*args: Any, **more: Any) -> Any:
        if away.is_set():
            raise OperationalError("select", None, Exception("the database went away"))
        return await real(*args, **more)

    monkeypatch.setattr(event, "since", since)
    away.set()

    async def from_rows() -> bool:
        # More than once in a row: the first may be a look that had ended before the log was away.
        count = len(reads)
        for _ in range(3):
            await number(house)
        return len(reads) >= count + 3

    await until(from_rows)
    count = len(reads)
    for units in range(1, 6):
        await house.book("A1", 1)
        assert await number(house) == units  # at once: from the rows
    assert len(reads) == count + 5
    away.clear()
    await settled(house, reads)
    assert await number(house) == 5
    await house.book("A1", 1)
    await until(lambda: _number_is(house, "A1", 6))


async def test_without_anybody_looking_all_is_read_from_the_rows(
    store: Store, redis: Redis, reads: list[list[Sku]]
) -> None:
    house = House(store, redis)
    await house.list_everywhere("A1")
    await number(house)
    count = len(reads)
    await number(house)
    assert (len(reads), len(house.shelf.stock_cache)) == (count + 1, 0)


async def test_when_very_much_changes_at_once_everything_is_read_anew(
    house: House, reads: list[list[Sku]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_cache, "MOST_TOLD", 2)
    await house.list_everywhere("A1", "B2", "C3", "D4")
    await settled(house, reads)
    for sku in ("A1", "B2", "C3", "D4"):
        await house.book(sku, 3)
    await until(lambda: _number_is(house, "A1", 3))
    assert [await number(house, sku) for sku in ("B2", "C3", "D4")] == [3, 3, 3]


async def test_a_new_sku_is_known_within_a_moment(
    house: House, reads: list[list[Sku]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stock_cache.UNKNOWN_S <= 1.0
    await house.list_everywhere("A1")
    await settled(house, reads)
    monkeypatch.setattr(stock_cache, "UNKNOWN_S", 3600.0)
    assert await number(house, "NEW") is None
    count = len(reads)
    assert await number(house, "NEW") is None
    assert len(reads) == count  # who asks for what there is not costs nothing either
    async with house.store.begin() as tx:
        await product.upsert_listings(tx, [make_listing("NEW", house.shop)])
    monkeypatch.setattr(stock_cache, "UNKNOWN_S", 0.05)

    async def known() -> bool:
        return await number(house, "NEW") is not None

    await until(known)


async def test_no_more_is_kept_than_there_is_room_for_and_the_longest_unasked_goes_first(store: Store) -> None:
    cache = StockCache(store, most=3)
    read_skus: list[Sku] = []

    async def read(skus: Sequence[Sku]) -> Mapping[Sku, Facts]:
        read_skus.extend(skus)
        return {sku: Facts(sku, components=[(Facts(Sku("PART")), 1)]) for sku in skus}

    async with running(cache):
        await until(lambda: _kept(cache, read, "A1"))
        for sku in ("B2", "C3", "A1", "D4"):
            await cache.facts([Sku(sku)], read)
        assert list(cache._kept) == ["C3", "A1", "D4"]
        assert cache._kits == {"PART": {"C3", "A1", "D4"}}


async def test_what_there_is_not_is_kept_apart_and_pushes_out_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_cache, "MOST_UNKNOWN", 3)
    cache = StockCache(store, most=2)
    told: list[Sku | None] = []

    async def read(skus: Sequence[Sku]) -> Mapping[Sku, Facts]:
        return {sku: Facts(sku) for sku in skus if sku == "A1"}

    async with running(cache):
        await until(lambda: _kept(cache, read, "A1"))
        cache.watch(told.append)
        for number in range(20):
            await cache.facts([Sku(f"NONE{number}")], read)
        assert list(cache._kept) == ["A1"]
        assert list(cache._unknown) == ["NONE17", "NONE18", "NONE19"]
        assert told == [f"NONE{number}" for number in range(17)]  # whoever had an answer about them
        assert cache.keeps([Sku("A1"), Sku("NONE19")])
        assert not cache.keeps([Sku("NONE0")])
        cache.forget(Sku("NONE19"))
        assert not cache.keeps([Sku("NONE19")])


async def _kept(cache: StockCache, read: stock_cache.Read, sku: str) -> bool:
    await cache.facts([Sku(sku)], read)
    return len(cache) == 1


async def test_a_crowd_that_asks_for_the_same_at_once_reads_it_once(
    house: House, reads: list[list[Sku]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.list_everywhere("A1", "A2")
    await house.stock("A1", "A2")
    await settled(house, reads)
    # The last of them may come to it late on a machine that stands still for a while.
    monkeypatch.setattr(stock_cache, "TRUST_S", SOON_S)
    house.shelf.stock_cache.forget_all()
    count = len(reads)
    told = await asyncio.gather(*(house.stock("A1", "A2") for _ in range(20)))
    assert len({str([one.available_to_sell for one in answer]) for answer in told}) == 1
    assert reads[count:] == [["A1", "A2"]]


async def test_what_changes_while_a_crowd_reads_is_read_by_those_who_ask_after_it(house: House) -> None:
    await house.list_everywhere("A1")
    before = await stock.facts(house.shelf, [Sku("A1")])
    cache, begun, go = StockCache(house.store), asyncio.Event(), asyncio.Event()
    reading: list[str] = []

    async def slow(skus: Sequence[Sku]) -> Mapping[Sku, Facts]:
        reading.append("slow")
        begun.set()
        await go.wait()
        return before

    async def quick(skus: Sequence[Sku]) -> Mapping[Sku, Facts]:
        reading.append("quick")
        return before

    async with running(cache):
        first = asyncio.create_task(cache.facts([Sku("A1")], slow))
        await begun.wait()
        cache.wrote([Sku("A1")])
        await cache.facts([Sku("A1")], quick)
        go.set()
        await first
    assert reading == ["slow", "quick"]


async def test_a_reading_that_fails_leaves_each_of_the_crowd_to_its_own(house: House) -> None:
    await house.list_everywhere("A1")
    before = await stock.facts(house.shelf, [Sku("A1")])
    cache, begun, go = StockCache(house.store), asyncio.Event(), asyncio.Event()

    async def failing(skus: Sequence[Sku]) -> Mapping[Sku, Facts]:
        begun.set()
        await go.wait()
        raise OperationalError("select", None, Exception("away"))

    async def good(skus: Sequence[Sku]) -> Mapping[Sku, Facts]:
        return before

    async with running(cache):
        first = asyncio.create_task(cache.facts([Sku("A1")], failing))
        await begun.wait()
        second = asyncio.create_task(cache.facts([Sku("A1")], good))
        go.set()
        with pytest.raises(OperationalError):
            await first
        assert await second == before
