"""What is predicted where platforms are down, budgets are empty, or others ask already: the calls that are then made."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from domain.budget import Ask, Plan
from domain.errors import Transient
from domain.ids import Sku
from resolvers import live, stock
from resolvers.forecast import Expected, Forecast
from store.session import Store
from tests.resolvers.platform import StockPlatform
from tests.resolvers.test_stock import NOW, OLD, House

DEADLINE_S = 10.0


@pytest.fixture
def house(store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> House:
    # What is down rests until the test is over, however long that takes.
    monkeypatch.setattr(live, "REST_S", (600.0, 600.0))
    return House(store, redis)


async def expected(house: House, *asked: tuple[list[str], timedelta], deadline_s: float = DEADLINE_S) -> list[Expected]:
    """What is predicted for questions that are asked one after another."""
    forecast = Forecast(house.shelf, deadline_s)
    calls = len(house.shop.calls) + len(house.amazon.calls)
    for skus, max_age in asked:
        ask = Ask(deadline=time.monotonic() + deadline_s, before_calls=forecast)
        await stock.by_skus(house.shelf, ask, [Sku(sku) for sku in skus], max_age)
    assert len(house.shop.calls) + len(house.amazon.calls) == calls, "a rehearsal asks nobody"
    return await forecast.expected()


def calls(found: list[Expected], platform: StockPlatform) -> int:
    return sum(one.calls for one in found if one.channel == platform.channel.id)


async def test_what_is_young_enough_is_not_asked_and_what_is_not_is(house: House) -> None:
    await house.list_everywhere("A1", "A2")
    found = await expected(house, (["A1", "A2"], OLD))
    assert sorted((one.channel, one.operation, one.calls) for one in found) == [
        ("amazon-eu", "readStock", 1),
        ("shop", "readStock", 1),
    ]
    await house.stock("A1", "A2")
    assert await expected(house, (["A1", "A2"], OLD)) == []
    assert calls(await expected(house, (["A1"], NOW)), house.amazon) == 1


async def test_what_the_operation_has_asked_itself_is_young_afterwards(house: House) -> None:
    await house.list_everywhere("A1")
    assert calls(await expected(house, (["A1"], OLD), (["A1"], OLD)), house.amazon) == 1
    assert calls(await expected(house, (["A1"], OLD), (["A1"], NOW)), house.amazon) == 2


async def test_fields_that_want_the_same_at_once_share_the_calls(house: House) -> None:
    skus = [f"S{number}" for number in range(60)]
    await house.list_everywhere(*skus)
    forecast = Forecast(house.shelf, DEADLINE_S)

    async def field() -> None:
        ask = Ask(deadline=time.monotonic() + DEADLINE_S, before_calls=forecast)
        await stock.by_skus(house.shelf, ask, [Sku(sku) for sku in skus], OLD)

    await asyncio.gather(*(field() for _ in range(5)))
    assert calls(await forecast.expected(), house.amazon) == 2


async def test_a_platform_that_is_down_is_not_asked(house: House) -> None:
    await house.list_everywhere("A1", "A2")
    await house.stock("A1")
    house.amazon.problem = Transient("away")
    await house.stock("A1", max_age=NOW)
    found = await expected(house, (["A1"], NOW))
    assert (calls(found, house.amazon), calls(found, house.shop)) == (0, 1)


async def test_an_empty_rate_budget_makes_no_call_for_what_has_an_answer(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    house.amazon.stock_plan = Plan("rare", rate=0.001, burst=1)
    await house.shelf.budgets.spend(house.amazon.channel.id, house.amazon.stock_plan, Ask())
    found = await expected(house, (["A1"], NOW))
    assert (calls(found, house.amazon), calls(found, house.shop)) == (0, 1)


async def test_calls_that_no_slot_comes_for_in_time_are_not_made(house: House) -> None:
    skus = [f"S{number}" for number in range(200)]
    await house.list_everywhere(*skus)
    house.amazon.stock_plan = Plan("readStock", rate=1, burst=2)
    (amazon,) = [one for one in await expected(house, (skus, OLD)) if one.channel == house.amazon.channel.id]
    assert amazon.calls == 4
    assert 2 < amazon.wait_s < 3, "two at once, and one a second"
    assert calls(await expected(house, (skus, OLD), deadline_s=0.5), house.amazon) == 2


async def test_what_others_are_asking_costs_nothing(house: House) -> None:
    await house.list_everywhere("A1")
    house.amazon.hold = asyncio.Event()
    first = asyncio.create_task(house.stock("A1"))
    while not (house.amazon.calls and house.shop.calls):
        await asyncio.sleep(0.01)
    assert calls(await expected(house, (["A1"], OLD)), house.amazon) == 0
    house.shelf = house.make_shelf()  # another process
    assert calls(await expected(house, (["A1"], OLD)), house.amazon) == 0
    house.amazon.hold.set()
    await first


async def test_it_says_how_long_a_call_has_taken_lately(house: House) -> None:
    await house.list_everywhere("A1")
    assert {one.takes_s for one in await expected(house, (["A1"], OLD))} == {0.0}
    await house.stock("A1")
    assert all(0 < one.takes_s < DEADLINE_S for one in await expected(house, (["A1"], NOW)))
