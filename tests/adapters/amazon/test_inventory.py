"""FBA stock out of written answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from adapters.amazon import inventory
from adapters.port import Page, StockKey
from domain.budget import Ask
from domain.errors import Invalid, Transient
from domain.ids import ChannelSku
from domain.stock import Reading
from tests.adapters.amazon.bench import IDS, Desk, Line, make_config, make_desk, make_pool


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """With a budget that pages do not exhaust."""
    plan = desk.port.stock_plan
    await desk.budgets.states([(desk.channel, plan)])
    await desk.budgets.adopt(desk.channel, plan.operation, rate=1000)
    return desk


def summary(sku: str, **changes: Any) -> dict[str, Any]:
    """Amazon's own example of the shape; 5 can be sold, 3 are promised, 7 come."""
    details = {
        "fulfillableQuantity": 5,
        "inboundWorkingQuantity": 1,
        "inboundShippedQuantity": 2,
        "inboundReceivingQuantity": 4,
        "reservedQuantity": {
            "totalReservedQuantity": 3,
            "pendingCustomerOrderQuantity": 1,
            "pendingTransshipmentQuantity": 1,
            "fcProcessingQuantity": 1,
        },
        "researchingQuantity": {"totalResearchingQuantity": 8},
        "unfulfillableQuantity": {"totalUnfulfillableQuantity": 9},
    }
    return {"asin": "B00", "sellerSku": sku, "totalQuantity": 32, "inventoryDetails": details | changes}


def page(*summaries: Any, token: str | None = None) -> httpx.Response:
    body: dict[str, Any] = {"payload": {"inventorySummaries": list(summaries)}}
    if token is not None:
        body["pagination"] = {"nextToken": token}
    return httpx.Response(200, json=body, headers={"x-amzn-RateLimit-Limit": "1000", "x-amzn-RequestId": "call-1"})


def dead() -> httpx.Response:
    error = {"code": "InvalidInput", "message": "Invalid Input", "details": "'nextToken' has expired."}
    return httpx.Response(400, json={"errors": [error]})


def keys(*skus: str) -> list[StockKey]:
    return [StockKey(ChannelSku(sku)) for sku in skus]


def numbers(readings: Sequence[Reading]) -> list[tuple[str, int, int, int]]:
    return [(reading.channel_sku, reading.on_hand, reading.reserved, reading.inbound) for reading in readings]


async def sweep(desk: Desk) -> list[Page[Reading]]:
    return [page async for page in desk.port.stock_pages([make_pool(desk.config)], Ask())]


async def test_what_lies_there_and_what_is_promised_and_what_comes(desk: Desk, line: Line) -> None:
    line.answers.append(page(summary("A1")))
    pool = make_pool(desk.config)
    (reading,) = await desk.port.stock([pool], keys("A1"), Ask())
    assert numbers([reading]) == [("A1", 8, 3, 7)]
    assert (reading.location, reading.channel) == (pool.code, desk.channel)
    assert reading.as_of.tzinfo is not None


async def test_one_reading_per_key_in_the_order_asked_with_zeros_for_the_unknown(desk: Desk, line: Line) -> None:
    line.answers.append(page(summary("B2"), summary("other")))
    readings = await desk.port.stock([make_pool(desk.config)], keys("A1", "B2"), Ask())
    assert numbers(readings) == [("A1", 0, 0, 0), ("B2", 8, 3, 7)]


async def test_each_reading_names_the_call_that_told_it(desk: Desk, line: Line) -> None:
    line.answers.append(page(summary("B2")))
    readings = await desk.port.stock([make_pool(desk.config)], keys("A1", "B2"), Ask())
    readings += [reading for page in await sweep(desk) for reading in page.items]
    assert [one.upstream_request_id for one in readings] == ["call-1"] * 3


async def test_a_pool_can_be_asked_through_each_of_its_marketplaces(line: Line, redis: Redis) -> None:
    config = make_config("eu")
    eu = make_desk(redis, config, httpx.MockTransport(line))
    line.answers.append(page(summary("A1")))
    through = replace(make_pool(config), external_id="FR")
    readings = await eu.port.stock([through], keys("A1"), Ask())
    readings += [reading async for page in eu.port.stock_pages([through], Ask()) for reading in page.items]
    assert [one.location for one in readings] == ["fba-de", "fba-de"]
    assert {call.url.params["marketplaceIds"] for call in line.calls} == {IDS["FR"]}
    assert {call.url.params["granularityId"] for call in line.calls} == {IDS["FR"]}
    await eu.close()


async def test_a_second_page_is_followed_with_the_same_parameters(desk: Desk, line: Line) -> None:
    line.answers.extend([page(summary("A1"), token="x+/="), page(summary("B2"), token="")])
    readings = await desk.port.stock([make_pool(desk.config)], keys("A1", "B2"), Ask())
    assert numbers(readings) == [("A1", 8, 3, 7), ("B2", 8, 3, 7)]
    first, second = (str(call.url) for call in line.calls)
    assert second == first + "&nextToken=x%2B%2F%3D"


async def test_no_keys_no_call(desk: Desk, line: Line) -> None:
    assert await desk.port.stock([make_pool(desk.config)], [], Ask()) == []
    assert line.calls == []


async def test_more_than_fifty_skus_are_refused_before_any_call(desk: Desk, line: Line) -> None:
    with pytest.raises(Invalid):
        await desk.port.stock([make_pool(desk.config)], keys(*(f"S{n}" for n in range(51))), Ask())
    assert line.calls == []


@pytest.mark.parametrize(
    "broken",
    [
        {"fulfillableQuantity": None},
        {"fulfillableQuantity": -1},
        {"reservedQuantity": {}},
        {"inboundReceivingQuantity": None},
    ],
)
async def test_an_unreadable_sku_never_becomes_a_zero(desk: Desk, line: Line, broken: dict[str, Any]) -> None:
    line.answers.append(page(summary("A1", **broken)))
    with pytest.raises(Transient, match="A1"):
        await desk.port.stock([make_pool(desk.config)], keys("A1"), Ask())


async def test_a_sweep_tells_all_pages_and_rejects_what_is_broken(desk: Desk, line: Line) -> None:
    line.answers.extend([page(summary("A1"), {"sellerSku": "B2"}, token="t1"), page("odd", summary("C3"))])
    first, second = await sweep(desk)
    assert numbers(first.items) == [("A1", 8, 3, 7)]
    assert [(item.what, item.key, item.reason) for item in first.rejected] == [
        ("stock", "B2", "inventoryDetails: Field required")
    ]
    assert first.until is None
    assert numbers(second.items) == [("C3", 8, 3, 7)]
    assert [item.key for item in second.rejected] == ["?"]
    assert second.until is not None
    assert "sellerSkus" not in str(line.calls[0].url)


@pytest.mark.parametrize("untold", ["inboundWorkingQuantity", "inboundShippedQuantity", "inboundReceivingQuantity"])
async def test_a_count_that_is_not_told_is_no_zero(desk: Desk, line: Line, untold: str) -> None:
    without = summary("A1")
    del without["inventoryDetails"][untold]
    line.answers.append(page(without, summary("B2")))
    (told,) = await sweep(desk)
    assert numbers(told.items) == [("B2", 8, 3, 7)]
    assert [(item.key, item.reason) for item in told.rejected] == [("A1", f"inventoryDetails.{untold}: Field required")]
    assert line.calls[0].url.params["details"] == "true"


async def test_a_dead_page_token_begins_the_sweep_again(desk: Desk, line: Line) -> None:
    line.answers.extend([page(summary("A1"), token="t1"), dead(), page(summary("A1"), token="t2"), page(summary("B2"))])
    pages = await sweep(desk)
    assert [numbers(page.items) for page in pages] == [[("A1", 8, 3, 7)], [], [("B2", 8, 3, 7)]]
    assert [page.until is None for page in pages] == [True, True, False]


async def test_a_token_grown_old_is_not_even_tried(desk: Desk, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "TOKEN_LIFE_S", 0.0)
    line.answers.append(page(summary("A1"), token="t1"))
    with pytest.raises(Transient, match="30 s"):
        await sweep(desk)
    assert len(line.calls) == inventory.SWEEPS
    assert not any("nextToken" in str(call.url) for call in line.calls)


async def test_a_refusal_of_the_first_page_is_a_refusal(desk: Desk, line: Line) -> None:
    line.answers.append(dead())
    with pytest.raises(Invalid):
        await sweep(desk)
    assert len(line.calls) == 1


def test_each_pool_is_asked_alone(desk: Desk) -> None:
    config = make_config("eu")
    first, second = make_pool(config, "DE"), make_pool(config, "FR")
    assert desk.port.stock_groups([first, second]) == [[first], [second]]
