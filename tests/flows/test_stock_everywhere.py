"""Stock of our own over both platforms: what is sold on one side is gone on the other, and every number can be explained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from benchmarks.whole import Whole, whole_house, working
from domain.channel import StreamName, StreamState
from domain.ids import ChannelId, ReservationId
from store import stream
from tests.store.warehouse import expire
from workers.deps import Timing

QUICK = Timing(settle_s=0.5)
SHOP, AMAZON = ChannelId("shop"), ChannelId("amazon-na")

STOCK = """query($sku: String!) { stock(skus: [$sku]) {
  availableToSell onHand reserved safetyStock
  levels { location { code } onHand reserved }
  explanation { label quantity }
  channels { channel { id } quantity target confirmedAt shown }
  exposure { sellable existing beyond } } }"""
ADJUST = """mutation($input: AdjustStockInput!) { adjustStock(input: $input) {
  operation { id status items { nodes { status before after } } } userErrors { code field message } } }"""
RESERVE = """mutation($input: ReserveStockInput!) { reserveStock(input: $input) {
  reservation { id status expiresAt } userErrors { code message } } }"""
RULE = """mutation($input: StockRuleInput!) { setStockRule(input: $input) {
  rule { id name } userErrors { code message } } }"""


# What concerns the shop holds of either one.
EITHER_SHOP = pytest.mark.parametrize("whole", ["shopify", "rest"], indirect=True, scope="module")
ONE_HOUSE = pytest.mark.parametrize("whole", ["shopify"], indirect=True, scope="module")


@pytest.fixture(scope="module")
async def whole(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Whole]:
    folder = tmp_path_factory.mktemp("stock")
    async with (
        whole_house(
            new_database(), redis_url, folder, speed=40, ledger=True, shop=request.param, products=120, orders=40
        ) as made,
        working(made, QUICK),
    ):
        yield made


@pytest.fixture(scope="module")
async def skus(whole: Whole) -> list[str]:
    """SKUs that we send ourselves for Amazon US and for the shop."""
    told = (await whole.amazon.get("world?limit=500"))["skus"]
    ours = [one["sku"] for one in told if "US" in one["marketplaces"] and one["fulfilledBy"] != "AMAZON"]
    assert len(ours) >= 8
    return ours


async def stock_of(whole: Whole, sku: str) -> dict[str, Any]:
    """What the gateway says of it; the terms always sum to the number."""
    told: dict[str, Any] = (await whole.data(STOCK, sku=sku))["stock"][0]
    assert sum(term["quantity"] for term in told["explanation"]) == told["availableToSell"]
    assert told["availableToSell"] == max(0, told["onHand"] - told["reserved"] - told["safetyStock"])
    return told


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = 90.0) -> Any:
    """Wait until the condition holds; what it held."""
    async with asyncio.timeout(within_s):
        while not (held := await condition()):
            await asyncio.sleep(0.05)
    return held


def told(stock: dict[str, Any], channel: ChannelId) -> dict[str, Any]:
    return next(one for one in stock["channels"] if one["channel"]["id"] == f"Channel:{channel}")


async def everywhere(whole: Whole, sku: str, units: int) -> None:
    """Until both channels show so many, as the platforms themselves tell."""

    async def shown() -> bool:
        stock = await stock_of(whole, sku)
        ours = [told(stock, channel) for channel in (SHOP, AMAZON)]
        return all(one["quantity"] == one["shown"] == units and one["confirmedAt"] is not None for one in ours)

    try:
        await until(shown)
    except TimeoutError:
        raise AssertionError(f"not {units} everywhere: {await stock_of(whole, sku)}") from None


async def have(whole: Whole, sku: str, units: int) -> None:
    """So many free units in Berlin, none in Reno, and both channels know."""
    stock = await stock_of(whole, sku)
    promised = {level["location"]["code"]: level["reserved"] for level in stock["levels"]}
    adjustments = [
        {"sku": sku, "location": "BER", "setTo": units + promised.get("BER", 0)},
        {"sku": sku, "location": "RNO", "setTo": promised.get("RNO", 0)},
    ]
    payload = (await whole.data(ADJUST, input={"reason": "stock-taking", "adjustments": adjustments}))["adjustStock"]
    assert payload["userErrors"] == []
    assert payload["operation"]["status"] == "SUCCEEDED"
    await everywhere(whole, sku, units)


async def reserve(whole: Whole, sku: str, units: int, **more: Any) -> dict[str, Any]:
    """The payload of reserveStock."""
    told = await whole.data(RESERVE, input={"lines": [{"sku": sku, "quantity": units}], **more})
    payload: dict[str, Any] = told["reserveStock"]
    return payload


async def read_orders(whole: Whole, channel: ChannelId) -> None:
    """Read the channel's orders now, to the end."""
    store = whole.app.standing.house.store

    async def state() -> StreamState:
        async with store.begin() as tx:
            return next(one for one in await stream.states(tx, [channel]) if one.name is StreamName.ORDERS)

    before = (await state()).last_success_at
    async with store.begin() as tx:
        await stream.force(tx, channel, StreamName.ORDERS)

    async def read() -> bool:
        return (await state()).last_success_at != before

    await until(read)


async def sold(whole: Whole, channel: ChannelId, sku: str, left: int) -> None:
    """Read the orders until the sale has been seen; platforms list a new order a little late."""

    async def seen() -> bool:
        await read_orders(whole, channel)
        return bool((await stock_of(whole, sku))["availableToSell"] == left)

    await until(seen)


@EITHER_SHOP
async def test_an_adjustment_reaches_every_channel(whole: Whole, skus: list[str]) -> None:
    await have(whole, skus[0], 23)
    stock = await stock_of(whole, skus[0])
    assert stock["availableToSell"] == 23
    assert stock["exposure"]["existing"] == 23


@EITHER_SHOP
async def test_a_sale_in_the_shop_lowers_amazon_and_is_reserved_once(whole: Whole, skus: list[str]) -> None:
    sku = skus[1]
    await have(whole, sku, 9)
    bought = await whole.shop.post("buy", {"lines": [{"sku": sku, "quantity": 2}]})
    assert bought["order"]
    await sold(whole, SHOP, sku, 7)
    await everywhere(whole, sku, 7)
    await read_orders(whole, SHOP)
    await read_orders(whole, AMAZON)
    stock = await stock_of(whole, sku)
    assert stock["availableToSell"] == 7


@ONE_HOUSE
async def test_a_sale_on_amazon_lowers_the_shop_while_it_is_still_pending(whole: Whole, skus: list[str]) -> None:
    sku = skus[2]
    await have(whole, sku, 6)
    await whole.amazon.post("buy", {"marketplace": "US", "lines": [{"sku": sku, "quantity": 4}], "pending": True})
    await sold(whole, AMAZON, sku, 2)
    await everywhere(whole, sku, 2)


@ONE_HOUSE
async def test_a_reservation_is_felt_everywhere_and_given_back(whole: Whole, skus: list[str]) -> None:
    sku = skus[3]
    await have(whole, sku, 5)
    refused = await reserve(whole, sku, 6)
    assert refused["reservation"] is None
    assert [one["code"] for one in refused["userErrors"]] == ["INSUFFICIENT_STOCK"]
    held = await reserve(whole, sku, 3, ttl="PT10M", idempotencyKey=uuid4().hex)
    await everywhere(whole, sku, 2)
    await whole.data(
        "mutation($id: ID!) { releaseReservation(id: $id) { reservation { status } } }", id=held["reservation"]["id"]
    )
    await everywhere(whole, sku, 5)


@ONE_HOUSE
async def test_a_reservation_ends_by_itself(whole: Whole, skus: list[str]) -> None:
    sku = skus[4]
    await have(whole, sku, 4)
    held = (await reserve(whole, sku, 4, ttl="PT10M"))["reservation"]
    assert held["status"] == "OPEN"
    assert (await stock_of(whole, sku))["availableToSell"] == 0
    assert (await reserve(whole, sku, 1))["reservation"] is None
    await expire(whole.app.standing.house.store, ReservationId(held["id"].partition(":")[2]))

    async def over() -> bool:
        return bool((await stock_of(whole, sku))["availableToSell"] == 4)

    await until(over)
    await everywhere(whole, sku, 4)
    assert (await reserve(whole, sku, 4, ttl="PT1S"))["userErrors"] == []


@ONE_HOUSE
async def test_a_number_that_somebody_changed_is_set_right(whole: Whole, skus: list[str]) -> None:
    sku = skus[5]
    await have(whole, sku, 8)
    await whole.amazon.post("state", {"stock": [{"sku": sku, "marketplace": "US", "quantity": 40}]})
    async with whole.app.standing.house.store.begin() as tx:
        await stream.force(tx, AMAZON, StreamName.SHOWN)

    async def right() -> bool:
        there = (await whole.amazon.get("world?limit=500"))["skus"]
        return bool(next(one["merchantQuantity"]["NA"] for one in there if one["sku"] == sku) == 8)

    await until(right)
    await everywhere(whole, sku, 8)


@ONE_HOUSE
async def test_the_last_unit_has_one_seller(whole: Whole, skus: list[str]) -> None:
    sku = skus[6]
    await have(whole, sku, 3)
    made = await whole.data(RULE, input={"name": f"last of {sku}", "kind": "LAST_UNITS", "sku": sku, "units": 3})
    assert made["setStockRule"]["userErrors"] == []

    async def settled() -> bool:
        stock = await stock_of(whole, sku)
        numbers = sorted(one["quantity"] for one in stock["channels"])
        confirmed = all(one["confirmedAt"] for one in stock["channels"])
        return confirmed and numbers == [0, 0, 0, 3] and stock["exposure"]["beyond"] == 0

    await until(settled)


@EITHER_SHOP
async def test_the_ledger_adds_up_after_all_that(whole: Whole) -> None:
    checked = await whole.data("mutation { checkLedger { check { balances wrong { sku } } } }")
    assert checked["checkLedger"]["check"]["wrong"] == []
    assert checked["checkLedger"]["check"]["balances"] > 100
