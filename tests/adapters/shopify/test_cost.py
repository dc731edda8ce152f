"""What documents cost, learned by one process and known to all; what an answer tells of the shop's bucket."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from adapters.budget import Budgets
from adapters.shopify.client import PLAN
from adapters.shopify.cost import Cost, Costs, cost_of
from adapters.shopify.documents import ITEMS, STOCK
from adapters.usual import Usual
from domain.budget import Ask
from domain.errors import Throttled
from domain.ids import ChannelId
from tests.adapters.shopify.bench import CHANNEL, COST, OpenPort, Script, connection


def cost(requested: float, actual: float | None) -> Cost:
    return Cost(requested, actual, burst=None, remaining=None, rate=None)


def costs(redis: Redis, channel: str = "shop") -> Costs:
    """Those of a process that has just started."""
    return Costs(Usual(redis), ChannelId(channel))


async def test_a_document_costs_what_it_is_written_with_until_an_answer_has_told(redis: Redis) -> None:
    fresh = costs(redis)
    assert (await fresh.requested(STOCK), await fresh.actual(STOCK)) == (STOCK.cost, STOCK.cost)


async def test_what_one_process_has_learned_the_next_one_knows(redis: Redis) -> None:
    await costs(redis).learn(STOCK, cost(50, 12))
    heir = costs(redis)
    assert (await heir.requested(STOCK), await heir.actual(STOCK)) == (50, 12)
    other_shop, other_document = costs(redis, "another"), costs(redis)
    assert await other_shop.requested(STOCK) == STOCK.cost
    assert await other_document.requested(ITEMS) == ITEMS.cost
    rewritten = replace(STOCK, text=STOCK.text + " ")
    assert await costs(redis).requested(rewritten) == STOCK.cost


async def test_a_new_price_replaces_the_old_one_and_actual_costs_are_averaged(redis: Redis) -> None:
    learning = costs(redis)
    for requested, actual in ((10, 10), (50, 40)):
        await learning.learn(STOCK, cost(requested, actual))
    heir = costs(redis)
    assert await heir.requested(STOCK) == 50
    assert 10 < await heir.actual(STOCK) < 40


async def test_an_answer_without_an_actual_cost_teaches_the_price_alone(redis: Redis) -> None:
    await costs(redis).learn(STOCK, cost(50, None))
    heir = costs(redis)
    assert (await heir.requested(STOCK), await heir.actual(STOCK)) == (50, 50)


@pytest.mark.parametrize("number", [2000, 2000.0, Decimal("2000.0")])
def test_numbers_are_read_whole_or_not(number: Any) -> None:
    told = {"maximumAvailable": number, "currentlyAvailable": 7, "restoreRate": Decimal("100.0")}
    found = cost_of({"cost": {"requestedQueryCost": 13, "actualQueryCost": 10, "throttleStatus": told}})
    assert found == Cost(13.0, 10.0, burst=2000.0, remaining=7.0, rate=100.0)


@pytest.mark.parametrize("status", [{}, {"throttleStatus": None}, {"throttleStatus": "?"}])
def test_a_bucket_that_is_not_told_of_is_left_as_it_is(status: dict[str, Any]) -> None:
    found = cost_of({"cost": {"requestedQueryCost": 13, "actualQueryCost": "?", **status}})
    assert found == Cost(13.0, None, burst=None, remaining=None, rate=None)


async def test_points_are_spent_and_given_back_without_a_bucket_in_the_answer(
    budgets: Budgets, open_port: OpenPort
) -> None:
    def answer(name: str, variables: dict[str, Any]) -> httpx.Response:
        body = {"requestedQueryCost": 266, "actualQueryCost": 66}
        return httpx.Response(200, json={"data": {"inventoryItems": connection()}, "extensions": {"cost": body}})

    port = open_port(wire=Script(answer).wire())
    assert [page.items async for page in port.stock_pages([], Ask())] == [[]]
    (state,) = await budgets.states([(CHANNEL.id, PLAN)])
    assert 2000 - 66 - 10 < state.remaining <= 2000
    assert (state.rate, state.burst) == (PLAN.rate, PLAN.burst)


async def test_what_another_instance_of_the_app_has_drained_is_not_spent_again(
    budgets: Budgets, open_port: OpenPort
) -> None:
    drained = {"maximumAvailable": 2000, "currentlyAvailable": 31.5, "restoreRate": 1}

    def answer(name: str, variables: dict[str, Any]) -> httpx.Response:
        told = {**COST, "throttleStatus": drained}
        return httpx.Response(200, json={"data": {"inventoryItems": connection()}, "extensions": {"cost": told}})

    async for _ in open_port(wire=Script(answer).wire()).stock_pages([], Ask()):
        pass
    (state,) = await budgets.states([(CHANNEL.id, PLAN)])
    assert 31 < state.remaining < 60


async def test_a_throttled_document_leaves_what_is_left_and_says_how_long_to_wait(
    budgets: Budgets, open_port: OpenPort
) -> None:
    def answer(name: str, variables: dict[str, Any]) -> httpx.Response:
        status = {"maximumAvailable": 1000.0, "currentlyAvailable": 666, "restoreRate": 50.0}
        told = {"requestedQueryCost": 752, "actualQueryCost": None, "throttleStatus": status}
        problem = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
        return httpx.Response(200, json={"errors": [problem], "extensions": {"cost": told}})

    with pytest.raises(Throttled) as caught:
        await anext(aiter(open_port(wire=Script(answer).wire()).stock_pages([], Ask())))
    assert caught.value.retry_after_s == pytest.approx((752 - 666) / 50)
    (state,) = await budgets.states([(CHANNEL.id, PLAN)])
    assert state.throttled == 1
    assert 666 <= state.remaining < 1000
