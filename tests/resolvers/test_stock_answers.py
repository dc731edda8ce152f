"""Answers that are told again for a moment: never what would not be answered anew, but for when it was counted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select, update

from domain.freshness import Freshness
from domain.ids import RuleId, Sku
from domain.rule import Rule, SafetyStock
from domain.stock import Stock
from resolvers import stock, stock_cache
from resolvers.stock_cache import StockCache
from store import rule
from store.session import Store
from store.tables import reservation_hold, stock_level
from tests.resolvers.test_stock import NOW, OLD, House, patient
from tests.resolvers.test_stock_cache import running, until

SKUS = [Sku("A1"), Sku("B2"), Sku("SET")]
SECOND = timedelta(seconds=1)
AHEAD = timedelta(minutes=30)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def house(store: Store, redis: Redis, clock: Clock) -> AsyncIterator[House]:
    """A house whose cache is at work, and whose clock stands."""
    made = House(store, redis)
    made.shelf = replace(made.shelf, clock=clock)
    async with running(made.shelf.stock_cache):
        yield made


async def no_calls(_: object) -> bool:
    return False


async def told(house: House, *skus: str, max_age: timedelta = OLD) -> list[Stock]:
    """What is answered without asking a platform, however old that is."""
    ask = replace(patient(), before_calls=no_calls)
    answers = await stock.by_skus(house.shelf, ask, [Sku(one) for one in skus], max_age)
    return [one.stock for one in answers if one is not None]


async def told_again(house: House, sku: str, max_age: timedelta = OLD) -> Stock:
    """What is told of it once it is told again."""
    before: list[Stock] = []

    async def again() -> bool:
        (one,) = await told(house, sku, max_age=max_age)
        before.append(one)
        return len(before) > 1 and before[-2] is one

    await until(again)
    return before[-1]


async def book(house: House, sku: str, units: int) -> None:
    """Units come or go, by this process."""
    await house.book(sku, units)
    house.shelf.stock_cache.wrote([Sku(sku)])


def undated(one: Stock) -> Any:
    """A stock but for when it was counted."""
    return (
        replace(one, as_of=None, levels=[], explanation=[]),
        [replace(level, as_of=None) for level in one.levels],
        [replace(term, as_of=None) for term in one.explanation],
    )


def dates(one: Stock) -> list[datetime | None]:
    return [one.as_of, *(level.as_of for level in one.levels), *(term.as_of for term in one.explanation)]


async def test_at_any_instant_it_is_what_would_be_answered_anew_but_for_when_it_was_counted(
    house: House, store: Store, clock: Clock
) -> None:
    await house.make_kit("SET", A1=2, B2=1)
    for sku in ("A1", "B2"):
        await house.book(sku, 20)
    await house.stock("A1", "B2", max_age=NOW)  # the platforms are read
    async with store.begin() as tx:
        read_at = await tx.scalar(select(func.max(stock_level.c.as_of)))
    assert read_at is not None
    clock.now = began = read_at + AHEAD  # the database has a clock of its own, which must not come near
    for sku, units, seconds in (("A1", 3, 2.5), ("B2", 5, 4.0)):
        await house.hold(sku, units)
        ends = update(reservation_hold).where(reservation_hold.c.sku == sku)
        async with store.begin() as tx:
            await tx.execute(ends.values(expires_at=began + timedelta(seconds=seconds)))
    rules = [
        Rule(RuleId(""), "soon", SafetyStock(4), sku=Sku("A1"), starts_at=began + timedelta(seconds=1.5)),
        Rule(RuleId(""), "over soon", SafetyStock(2), sku=Sku("B2"), ends_at=began + timedelta(seconds=3.2)),
    ]
    async with store.begin() as tx:
        for scheduled in rules:
            await rule.save(tx, scheduled, "test")
    await house.events()
    house.shelf.stock_cache.forget_all()  # as this process does that writes a rule
    # Nobody looks at the log for this one: it reads all from the rows.
    anew = House(store, house.redis)
    anew.shelf = replace(anew.shelf, clock=clock)
    chance, ages = random.Random(3), [AHEAD + timedelta(seconds=3), AHEAD + OLD]
    before: dict[tuple[str, timedelta], Stock] = {}
    again = 0
    numbers: set[tuple[str, int]] = set()
    grades: set[Freshness] = set()
    while clock.now < began + timedelta(seconds=6):
        clock.now += timedelta(seconds=chance.choice([0.0, 0.001, 0.01, 0.05, 0.1, -0.02]))
        for max_age in ages:
            given, expected = [await told(each, *SKUS, max_age=max_age) for each in (house, anew)]
            for one, other in zip(given, expected, strict=True):
                assert undated(one) == undated(other), clock.now - began
                for mine, theirs in zip(dates(one), dates(other), strict=True):
                    assert mine is None or theirs is None or timedelta(0) <= theirs - mine < SECOND
                for term in one.explanation:
                    assert (term.age_seconds is None) == (term.as_of is None)
                again += before.get((one.sku, max_age)) is one
                before[one.sku, max_age] = one
                numbers.add((one.sku, one.available_to_sell))
                grades.add(one.freshness)
    # There was something to be wrong about.
    assert again > 50
    assert len(numbers) > 6
    assert grades == {Freshness.FRESH, Freshness.STALE}


async def test_it_is_told_again_for_a_second_with_the_moment_when_it_was_counted(house: House, clock: Clock) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    await book(house, "A1", 8)
    one = await told_again(house, "A1")
    clock.now += SECOND / 2
    assert (await told(house, "A1"))[0] is one
    clock.now += SECOND / 2
    (later,) = await told(house, "A1")
    assert later is not one
    ours = [next(level.as_of for level in each.levels if level.location.ours) for each in (one, later)]
    assert ours == [clock.now - SECOND, clock.now]


async def test_a_change_ends_it_at_once(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    await book(house, "A1", 8)
    one = await told_again(house, "A1")
    await book(house, "A1", -3)
    (after,) = await told(house, "A1")
    assert after.available_to_sell == one.available_to_sell - 3


async def test_at_hand_is_what_is_told_again_of_all_that_is_asked_or_nothing(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    await book(house, "A1", 8)
    same: list[bool] = []

    async def there() -> bool:
        """Not while the next look is late."""
        one = await told_again(house, "A1")
        same[:] = [answer.stock is one for answer in stock.at_hand(house.shelf, [Sku("A1"), Sku("A1")], OLD) or ()]
        return bool(same)

    await until(there)
    assert same == [True, True]
    assert stock.at_hand(house.shelf, [Sku("A1"), Sku("?")], OLD) is None
    assert stock.at_hand(house.shelf, [Sku("A1")], NOW) is None
    assert stock.at_hand(house.shelf, [Sku("A1")] * (stock.MOST_SKUS + 1), OLD) is None
    await book(house, "A1", -3)
    assert stock.at_hand(house.shelf, [Sku("A1")], OLD) is None


async def test_who_asks_for_a_live_answer_is_told_nothing_again(house: House, clock: Clock) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    found, calls = [await told_again(house, "A1")], len(house.shop.calls)
    for _ in range(2):
        clock.now = datetime.now(UTC)
        (answer,) = await stock.by_skus(house.shelf, patient(), [Sku("A1")], NOW)
        assert answer is not None
        found.append(answer.stock)
    assert len({id(one) for one in found}) == 3
    assert len(house.shop.calls) == calls + 2


async def test_no_more_is_kept_than_there_is_room_for(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_cache, "MOST_ANSWERS", 2)
    cache: StockCache = house.shelf.stock_cache
    await house.list_everywhere("A1", "B2", "C3")
    await house.stock("A1", "B2", "C3")

    async def the_last_two() -> bool:
        for sku in ("A1", "B2", "C3"):
            await told_again(house, sku)
        return list(await cache.answers_soon(OLD, clock)) == ["B2", "C3"]

    # What happened while the house was filled may be told of late, and takes an answer away.
    await until(the_last_two)
    for seconds in range(2, 2 + 2 * stock_cache.MOST_WISHES):
        await told(house, "C3", max_age=timedelta(minutes=seconds))
    clock.now += 2 * SECOND
    await told_again(house, "A1")
    assert list(await cache.answers_soon(OLD, clock)) == ["A1"]
