"""The port and the sandbox, over HTTP. What was called is read from the sandbox's journal, what is true from its world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.port import Checked, OrderKey, Receipt, ShownKey, StockKey, StockWrite
from domain.budget import Ask
from domain.errors import HouseError, Invalid, NotFound, OutcomeUnknown, Refused, Throttled, Transient, Unauthorized
from domain.ids import ChannelSku
from domain.order import Order, OrderStatus
from domain.product import FulfilledBy
from domain.stock import Reading
from sandbox.amazon.visit import Seller
from tests.adapters.amazon.bench import MARKETPLACES, Desk, Sandbox, go, make_parcel, make_pool

OpenDesk = Callable[..., Desk]


async def world(sandbox: Sandbox, what: str) -> list[dict[str, Any]]:
    """All SKUs or all open orders that the sandbox has."""
    return list((await sandbox.get("world", limit=100_000))[what])


async def skus_in(sandbox: Sandbox, marketplace: str, party: str = "AMAZON") -> list[dict[str, Any]]:
    return [
        one
        for one in await world(sandbox, "skus")
        if marketplace in one["marketplaces"] and one["fulfilledBy"] == party
    ]


def keys(skus: list[str]) -> list[StockKey]:
    return [StockKey(ChannelSku(sku)) for sku in skus]


def counts(readings: list[Reading]) -> dict[str, tuple[int, int, int]]:
    return {one.channel_sku: (one.on_hand, one.reserved, one.inbound) for one in readings}


def true_counts(entries: list[dict[str, Any]], pool: str) -> dict[str, tuple[int, int, int]]:
    held = {one["sku"]: one["pools"][pool] for one in entries}
    return {
        sku: (pool["fulfillable"] + pool["reserved"], pool["reserved"], pool["inbound"]) for sku, pool in held.items()
    }


async def open_order(sandbox: Sandbox, region: str = "na") -> tuple[OrderKey, dict[str, Any]]:
    """A new order for us to ship, with two units of one SKU, and the SKU's entry in the world."""
    marketplace = MARKETPLACES[region][0]
    sku = (await skus_in(sandbox, marketplace, "MERCHANT"))[0]["sku"]
    placed = {"marketplace": marketplace, "fulfilledBy": "MERCHANT", "lines": [{"sku": sku, "quantity": 2}]}
    order_id = (await sandbox.post("state", {"orders": [placed]}))["orders"][0]
    order = next(one for one in await world(sandbox, "orders") if one["id"] == order_id)
    return OrderKey(order_id, marketplace), order


# Stock


async def test_250_skus_cost_five_calls_and_tell_the_truth(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    pool = make_pool(desk.config)
    entries = (await skus_in(sandbox, "US"))[:250]
    skus = [one["sku"] for one in entries]
    since, ask = await sandbox.mark(), Ask()
    readings: list[Reading] = []
    for start in range(0, 250, desk.port.stock_batch):
        readings += await desk.port.stock([pool], keys(skus[start : start + desk.port.stock_batch]), ask)
    assert [one.channel_sku for one in readings] == skus
    assert counts(readings) == true_counts(entries, "US")
    calls = await sandbox.calls(since)
    assert [(call["operation"], call["status"], len(call["ids"])) for call in calls] == [
        ("getInventorySummaries", 200, 50)
    ] * 5
    assert ask.bill.lines[desk.channel, "getInventorySummaries"].calls == 5


async def test_a_strange_sku_arrives_as_it_is_written(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    strange = ["A,B/C", "50% off & more+", "Über 1"]
    since = await sandbox.mark()
    readings = await desk.port.stock([make_pool(desk.config)], keys(strange), Ask())
    assert counts(readings) == dict.fromkeys(strange, (0, 0, 0))
    (call,) = await sandbox.calls(since)
    assert call["ids"] == strange
    assert "sellerSkus=A%2CB%2FC,50%25%20off%20%26%20more%2B,%C3%9Cber%201" in call["query"]


async def test_a_merchants_sku_lies_in_no_pool(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    sku = (await skus_in(sandbox, "US", "MERCHANT"))[0]["sku"]
    assert counts(await desk.port.stock([make_pool(desk.config)], keys([sku]), Ask())) == {sku: (0, 0, 0)}


async def test_a_sweep_tells_the_whole_pool(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.generous("getInventorySummaries")
    desk = open_desk(sandbox, "eu")
    entries = await skus_in(sandbox, "DE")
    since = await sandbox.mark()
    pages = [page async for page in desk.port.stock_pages([make_pool(desk.config)], Ask())]
    readings = [reading for page in pages for reading in page.items]
    assert len(readings) == len(entries)
    assert counts(readings) == true_counts(entries, "EU")
    assert [page.until is None for page in pages] == [True] * (len(pages) - 1) + [False]
    assert len(await sandbox.calls(since)) == -(-len(entries) // 50)


async def test_a_sweep_whose_page_token_died_begins_again(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.generous("getInventorySummaries")
    desk = open_desk(sandbox, "eu")
    entries = await skus_in(sandbox, "DE")
    since, told = await sandbox.mark(), 0
    readings: list[Reading] = []
    async for page in desk.port.stock_pages([make_pool(desk.config)], Ask()):
        if told == 1:
            await sandbox.post("clock", {"advance": 31})
        told += 1
        readings += page.items
    assert counts(readings) == true_counts(entries, "EU")
    statuses = [call["status"] for call in await sandbox.calls(since)]
    assert statuses == [200, 200, 400] + [200] * -(-len(entries) // 50)


# Listings


@pytest.mark.parametrize("region", ["na", "eu", "fe"])
async def test_all_listings_of_an_account(sandbox: Sandbox, open_desk: OpenDesk, region: str) -> None:
    await sandbox.generous("searchListingsItems")
    desk = open_desk(sandbox, region)
    pages = [page async for page in desk.port.listing_pages(None, Ask())]
    told = [
        (one.marketplace, one.channel_sku, one.external_id, str(one.price.amount), one.fulfilled_by)
        for page in pages
        for one in page.items
        if one.price is not None
    ]
    parties = {"AMAZON": FulfilledBy.CHANNEL, "MERCHANT": FulfilledBy.MERCHANT}
    true = [
        (code, one["sku"], one["asin"], one["prices"][code], parties[one["fulfilledBy"]])
        for code in MARKETPLACES[region]
        for one in await world(sandbox, "skus")
        if code in one["marketplaces"] and one["prices"][code] is not None
    ]
    assert sorted(told) == sorted(true, key=lambda entry: entry[:2])
    assert [entry for page in pages for entry in page.rejected] == []
    assert pages[-1].expected == len([one for page in pages for one in page.items])


async def test_only_changed_listings_are_told(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.generous("searchListingsItems")
    desk = open_desk(sandbox)
    sku = (await skus_in(sandbox, "US"))[7]["sku"]
    since = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    await sandbox.post("state", {"prices": [{"sku": sku, "marketplace": "US", "amount": "31.45"}]})
    pages = [page async for page in desk.port.listing_pages(since, Ask())]
    assert [(one.channel_sku, str(one.price)) for page in pages for one in page.items] == [
        (sku, "Money(amount=Decimal('31.45'), currency='USD')")
    ]


@pytest.fixture
async def wide_sandbox() -> AsyncIterator[Sandbox]:
    """More listings than Amazon lets one search page through."""
    started = Sandbox("--products", "1300", "--orders", "0")
    yield started
    await started.close()


async def test_the_walk_passes_the_thousand(wide_sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await wide_sandbox.generous("searchListingsItems")
    desk = open_desk(wide_sandbox)
    pages = [page async for page in desk.port.listing_pages(None, Ask())]
    told = [one.channel_sku for page in pages for one in page.items]
    assert len(told) == 1300
    assert set(told) == {one["sku"] for one in await world(wide_sandbox, "skus")}
    assert [entry for page in pages for entry in page.rejected] == []
    assert pages[0].expected == 1300
    calls = await wide_sandbox.calls(0, "searchListingsItems")
    assert {call["status"] for call in calls} == {200}
    # 50 pages of 20, then 300 more listings and the one where the first search had to stop.
    assert len(calls) == 50 + 16


# Numbers that our own offers show


async def own_offer(sandbox: Sandbox, desk: Desk, nth: int, units: int) -> ShownKey:
    """An offer of ours that shows `units`, with the refs of its listing."""
    await sandbox.generous("searchListingsItems")
    marketplace = desk.config.channel.marketplaces[0]
    sku = (await skus_in(sandbox, marketplace, "MERCHANT"))[nth]["sku"]
    since = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    await sandbox.post("state", {"stock": [{"sku": sku, "marketplace": marketplace, "quantity": units}]})
    pages = [page async for page in desk.port.listing_pages(since, Ask())]
    (listing, *_) = [one for page in pages for one in page.items if one.channel_sku == sku]
    return ShownKey(ChannelSku(sku), refs=tuple(sorted(listing.refs.items())))


async def told(desk: Desk, key: ShownKey, quantity: int) -> Receipt | HouseError:
    (answer,) = await desk.port.tell_stock([StockWrite(key, quantity, None, "1")], Ask(), go)
    return answer


async def shown(desk: Desk, *keys: ShownKey) -> list[int | None]:
    return [one.quantity for one in await desk.port.shown_stock(keys, Ask())]


@pytest.mark.parametrize("region", ["na", "eu", "fe"])
async def test_a_number_is_taken_first_and_shown_later(sandbox: Sandbox, open_desk: OpenDesk, region: str) -> None:
    await sandbox.post("lag", {"seconds": 60})
    desk = open_desk(sandbox, region)
    key = await own_offer(sandbox, desk, 20, 9)
    since = await sandbox.mark()
    receipt = await told(desk, key, 4)
    assert isinstance(receipt, Receipt)
    assert await shown(desk, key) == [9]
    await sandbox.post("clock", {"advance": 61})
    assert await shown(desk, key) == [4]
    (effect,) = await sandbox.effects(since)
    assert (effect["key"], effect["detail"]["submissionId"]) == (key.channel_sku, receipt.reference)
    assert effect["detail"]["patches"][0]["op"] == "merge"


async def test_what_stands_beside_the_number_survives(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    key = await own_offer(sandbox, desk, 21, 9)
    await told(desk, key, 4)
    await sandbox.post("clock", {"advance": 3})
    seller = await Seller.login(sandbox.http)
    item = (await seller.listing("US", key.channel_sku, includedData="attributes")).json()
    assert item["attributes"]["fulfillment_availability"] == [
        {"fulfillment_channel_code": "DEFAULT", "quantity": 4, "lead_time_to_ship_max_days": 2}
    ]


async def test_a_number_without_effect_is_found_by_reading_back(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    key = await own_offer(sandbox, desk, 22, 9)
    await sandbox.post("ignored-patches", {"sku": key.channel_sku, "count": 1})
    assert isinstance(await told(desk, key, 4), Receipt)
    await sandbox.post("clock", {"advance": 3})
    assert await shown(desk, key) == [9]
    assert isinstance(await told(desk, key, 4), Receipt)
    await sandbox.post("clock", {"advance": 3})
    assert await shown(desk, key) == [4]


async def test_amazons_own_stock_and_an_unknown_sku_are_refused(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    sku = (await skus_in(sandbox, "US"))[3]["sku"]
    since = await sandbox.mark()
    amazons = ShownKey(ChannelSku(sku), refs=(("fulfillmentChannel", "AMAZON_NA"), ("marketplace", "US")))
    assert isinstance(await told(desk, amazons, 4), Refused)
    assert await sandbox.calls(since) == []
    assert isinstance(await told(desk, ShownKey(ChannelSku("NO/SUCH")), 4), NotFound)
    wrong_type = ShownKey((await own_offer(sandbox, desk, 23, 9)).channel_sku, refs=(("productType", "LUGGAGE"),))
    answer = await told(desk, wrong_type, 4)
    assert isinstance(answer, Refused)
    assert "'LUGGAGE' is not that of the listing" in answer.message
    assert [one for one in await sandbox.effects(since) if one["operation"] == "patchListingsItem"] == []
    assert await shown(desk, amazons, ShownKey(ChannelSku("NO/SUCH")), wrong_type) == [None, None, 9]


@pytest.mark.parametrize(
    ("kind", "applied"), [("apply_then_reset", True), ("apply_then_status", True), ("reset", False)]
)
async def test_a_number_whose_answer_was_lost_is_told_by_reading_back(
    sandbox: Sandbox, open_desk: OpenDesk, kind: str, applied: bool
) -> None:
    desk = open_desk(sandbox)
    key = await own_offer(sandbox, desk, 24, 9)
    await sandbox.post("faults", {"faults": [{"operation": "patchListingsItem", "kind": kind, "count": 1}]})
    with pytest.raises(OutcomeUnknown):
        await told(desk, key, 4)
    await sandbox.post("clock", {"advance": 3})
    assert await shown(desk, key) == [4 if applied else 9]


async def test_a_buyers_order_lowers_what_is_shown_while_it_is_pending(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox, "eu")
    key = await own_offer(sandbox, desk, 25, 3)
    lines = [{"sku": key.channel_sku, "quantity": 2}]
    bought = await sandbox.post("buy", {"marketplace": "FR", "lines": lines, "pending": True})
    assert await shown(desk, key) == [1]
    order_key = OrderKey(bought["order"], "FR")
    assert (await desk.port.order(order_key, Ask())).status is OrderStatus.PENDING
    refused = await sandbox.http.post("/_sandbox/buy", json={"marketplace": "DE", "lines": lines})
    assert refused.status_code == 409
    await sandbox.post("orders", {"id": bought["order"], "status": "UNSHIPPED"})
    assert (await desk.port.order(order_key, Ask())).status is OrderStatus.UNSHIPPED
    assert await shown(desk, key) == [1]


@pytest.mark.parametrize("region", ["na", "eu", "fe"])
async def test_a_sweep_tells_every_offer_of_ours_once(sandbox: Sandbox, open_desk: OpenDesk, region: str) -> None:
    await sandbox.generous("searchListingsItems")
    desk = open_desk(sandbox, region)
    pages = [page async for page in desk.port.shown_pages([""], Ask())]
    said = [(one.key.channel_sku, one.quantity) for page in pages for one in page.items]
    true = [
        (one["sku"], one["merchantQuantity"][region.upper()])
        for one in await world(sandbox, "skus")
        if one["fulfilledBy"] == "MERCHANT" and set(one["marketplaces"]) & set(MARKETPLACES[region])
    ]
    assert len(true) == 50
    assert sorted(said) == sorted(true)
    assert [page.until is not None for page in pages] == [False] * (len(pages) - 1) + [True]
    assert [entry for page in pages for entry in page.rejected] == []


# Pools


async def test_a_marketplace_that_disagrees_with_its_pool_can_be_found(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.generous("getInventorySummaries")
    desk = open_desk(sandbox, "eu")
    pool = make_pool(desk.config)
    french = replace(pool, external_id="FR")
    sku = (await skus_in(sandbox, "FR"))[0]["sku"]
    await sandbox.post("state", {"stock": [{"sku": sku, "pool": "EU", "quantity": 40}]})

    async def differing() -> dict[str, tuple[int, int]]:
        """What the two marketplaces tell apart: by single readings, and by sweeps."""
        found = []
        for read in (
            [one for place in (pool, french) for one in await desk.port.stock([place], keys([sku]), Ask())],
            [one async for page in desk.port.stock_pages([pool], Ask()) for one in page.items]
            + [one async for page in desk.port.stock_pages([french], Ask()) for one in page.items],
        ):
            assert {one.location for one in read} == {pool.code}
            assert all(one.upstream_request_id for one in read)
            told: dict[str, list[int]] = {}
            for one in read:
                told.setdefault(one.channel_sku, []).append(one.on_hand - one.reserved)
            found.append({name: (units[0], units[1]) for name, units in told.items() if len(set(units)) > 1})
        assert found[0] == found[1]
        return found[0]

    assert await differing() == {}
    await sandbox.post("disagreements", {"disagreements": [{"sku": sku, "marketplace": "FR", "units": -7}]})
    assert await differing() == {sku: (40, 33)}
    await sandbox.post("disagreements", {"disagreements": []})
    assert await differing() == {}


# Orders


async def all_orders(desk: Desk) -> list[Order]:
    since = datetime.now(UTC) - timedelta(days=60)
    pages = [page async for page in desk.port.order_pages(since, Ask())]
    assert [entry for page in pages for entry in page.rejected] == []
    assert [page.until is not None for page in pages] == [False] * (len(pages) - 1) + [True]
    return [order for page in pages for order in page.items]


async def test_the_first_load_tells_every_order_within_the_published_plan(
    sandbox: Sandbox, open_desk: OpenDesk
) -> None:
    # What changed within the last two minutes is not searched yet.
    await sandbox.post("clock", {"advance": 180})
    since = await sandbox.mark()
    loaded = [order for region in MARKETPLACES for order in await all_orders(open_desk(sandbox, region))]
    assert len({order.external_id for order in loaded}) == len(loaded)
    parties = {FulfilledBy.MERCHANT: "MERCHANT", FulfilledBy.CHANNEL: "AMAZON"}
    told = {
        order.external_id: (
            order.channel_status,
            order.marketplace,
            parties[order.fulfilled_by],
            [(row.external_id, row.channel_sku, row.quantity, row.quantity_open) for row in order.lines],
        )
        for order in loaded
    }
    true = {
        one["id"]: (
            one["status"],
            one["marketplace"],
            one["fulfilledBy"],
            [(row["id"], row["sku"], row["quantity"], row["unshipped"]) for row in one["lines"]],
        )
        for one in await world(sandbox, "orders")
    }
    assert {id: told.get(id) for id in true} == true
    over = {order.status.value for order in loaded if order.external_id not in true}
    assert over >= {"SHIPPED", "CANCELLED"}
    calls = await sandbox.calls(since)
    assert {(call["operation"], call["status"]) for call in calls} == {("searchOrders", 200)}
    assert len(calls) < 20


async def test_a_changed_order_is_told_again(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.post("clock", {"advance": 180})
    desk = open_desk(sandbox)
    first = [page async for page in desk.port.order_pages(datetime.now(UTC) - timedelta(days=60), Ask())]
    until = first[-1].until
    assert until is not None
    await sandbox.post("clock", {"advance": 180})
    key, _ = await open_order(sandbox)
    await sandbox.post("clock", {"advance": 180})
    pages = [page async for page in desk.port.order_pages(until, Ask())]
    assert key.external_id in [order.external_id for page in pages for order in page.items]


async def test_one_order_by_its_id(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    key, true = await open_order(sandbox)
    order = await desk.port.order(key, Ask())
    assert (order.external_id, order.channel_status) == (true["id"], "UNSHIPPED")
    assert [(row.external_id, row.quantity_open) for row in order.lines] == [(true["lines"][0]["id"], 2)]
    with pytest.raises(NotFound):
        await desk.port.order(OrderKey("902-0000000-0000000", "US"), Ask())


# Shipments


async def confirmations(sandbox: Sandbox, since: int, order_id: str) -> list[dict[str, Any]]:
    return [
        one["detail"]
        for one in await sandbox.effects(since)
        if (one["operation"], one["key"]) == ("confirmShipment", order_id)
    ]


async def test_a_confirmation_is_taken_first_and_seen_later(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.post("lag", {"seconds": 60})
    desk = open_desk(sandbox)
    key, true = await open_order(sandbox)
    at = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    parcel = make_parcel((true["lines"][0]["id"], 1), shipped_at=at)
    since = await sandbox.mark()
    receipt = await desk.port.confirm_shipment(key, parcel, Ask(), go)
    assert receipt.upstream_request_id
    assert not (await desk.port.parcel_seen(key, parcel, Ask())).found
    await sandbox.post("clock", {"advance": 61})
    sighting = await desk.port.parcel_seen(key, parcel, Ask())
    assert sighting.found
    assert len(await confirmations(sandbox, since, key.external_id)) == 1
    order = await desk.port.order(key, Ask())
    assert sighting.order == order, "one call answers both questions"
    assert order.status.value == "PARTIALLY_SHIPPED"
    assert (order.lines[0].quantity, order.lines[0].quantity_shipped) == (2, 1)
    assert [(one.reference, one.carrier, one.tracking_number) for one in order.shipments] == [
        (parcel.reference, "DHL", parcel.tracking_number)
    ]


async def test_a_carrier_without_a_code_is_named(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    key, true = await open_order(sandbox)
    at = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    parcel = make_parcel((true["lines"][0]["id"], 2), carrier="Two Cousins Couriers", shipped_at=at)
    since = await sandbox.mark()
    await desk.port.confirm_shipment(key, parcel, Ask(), go)
    assert [one["carrierCode"] for one in await confirmations(sandbox, since, key.external_id)] == ["Other"]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "apply_then_status", "status": 500},
        {"kind": "apply_then_status", "status": 503},
        {"kind": "apply_then_reset"},
        {"kind": "apply_then_hang", "seconds": 0.1},
    ],
)
async def test_a_confirmation_whose_answer_was_lost_is_found_by_reading_back(
    sandbox: Sandbox, open_desk: OpenDesk, fault: dict[str, Any]
) -> None:
    desk = open_desk(sandbox)
    key, true = await open_order(sandbox)
    at = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    parcel = make_parcel((true["lines"][0]["id"], 2), shipped_at=at)
    since = await sandbox.mark()
    await sandbox.post("faults", {"faults": [{"operation": "confirmShipment", "count": 1, **fault}]})
    with pytest.raises(OutcomeUnknown):
        await desk.port.confirm_shipment(key, parcel, Ask(), go)
    await sandbox.post("clock", {"advance": 3})
    assert (await desk.port.parcel_seen(key, parcel, Ask())).found
    assert len(await confirmations(sandbox, since, key.external_id)) == 1


async def test_a_confirmation_that_never_happened_is_not_found(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    key, true = await open_order(sandbox)
    parcel = make_parcel((true["lines"][0]["id"], 2))
    since = await sandbox.mark()
    await sandbox.post("faults", {"faults": [{"operation": "confirmShipment", "count": 1, "kind": "reset"}]})
    with pytest.raises(OutcomeUnknown):
        await desk.port.confirm_shipment(key, parcel, Ask(), go)
    await sandbox.post("clock", {"advance": 3})
    assert not (await desk.port.parcel_seen(key, parcel, Ask())).found
    assert await confirmations(sandbox, since, key.external_id) == []


async def test_the_same_parcel_again_edits_and_ships_nothing_twice(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    key, true = await open_order(sandbox)
    at = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    parcel = make_parcel((true["lines"][0]["id"], 2), shipped_at=at)
    since = await sandbox.mark()
    await desk.port.confirm_shipment(key, parcel, Ask(), go)
    await desk.port.confirm_shipment(key, parcel, Ask(), go)
    assert [one["edit"] for one in await confirmations(sandbox, since, key.external_id)] == [False, True]
    await sandbox.post("clock", {"advance": 3})
    assert len((await desk.port.order(key, Ask())).shipments) == 1


async def test_a_refused_confirmation_changes_nothing(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    key, true = await open_order(sandbox)
    since = await sandbox.mark()
    with pytest.raises(Invalid, match=r"3 is more than the 2 not yet shipped"):
        await desk.port.confirm_shipment(key, make_parcel((true["lines"][0]["id"], 3)), Ask(), go)
    assert await confirmations(sandbox, since, key.external_id) == []


# Moods


async def test_a_token_that_expires_in_the_middle_is_renewed(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    key, _ = await open_order(sandbox)
    await desk.port.order(key, Ask())
    since = await sandbox.mark()
    await sandbox.post("clock", {"advance": 3601})
    await desk.port.order(key, Ask())
    calls = (await sandbox.get("journal", since=since))["calls"]
    assert [(call["operation"], call["status"]) for call in calls] == [
        ("getOrder", 403),
        ("getToken", 200),
        ("getOrder", 200),
    ]


async def test_a_withdrawn_consent_is_told_in_words(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk, late = open_desk(sandbox), open_desk(sandbox)
    key, _ = await open_order(sandbox)
    await desk.port.order(key, Ask())
    await sandbox.post("accounts", {"refreshToken": "Atzr|sandbox-na", "revoked": True})
    try:
        with pytest.raises(Unauthorized, match="Amazon refuses getOrder"):
            await desk.port.order(key, Ask())
        with pytest.raises(Unauthorized, match="withdrawn the consent"):
            await late.port.order(key, Ask())
    finally:
        await sandbox.post("accounts", {"refreshToken": "Atzr|sandbox-na", "revoked": False})


async def test_a_wrong_secret_is_told_in_words(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    with pytest.raises(Unauthorized, match="does not know this client id and secret"):
        await open_desk(sandbox, client_secret="old").port.check(Ask())


@pytest.mark.parametrize("kind", ["status", "reset"])
async def test_a_login_that_is_down_may_be_up_later(sandbox: Sandbox, open_desk: OpenDesk, kind: str) -> None:
    await sandbox.post("faults", {"faults": [{"operation": "getToken", "kind": kind, "status": 503}]})
    desk = open_desk(sandbox)
    since = await sandbox.mark()
    with pytest.raises(Transient):
        await desk.port.check(Ask())
    assert await sandbox.calls(since) == []
    await sandbox.post("faults", {"faults": []})
    await desk.port.check(Ask())


@pytest.mark.parametrize("kind", ["status", "reset", "truncate"])
async def test_a_broken_read_may_work_later(sandbox: Sandbox, open_desk: OpenDesk, kind: str) -> None:
    await sandbox.post("faults", {"faults": [{"operation": "getInventorySummaries", "kind": kind, "count": 1}]})
    desk = open_desk(sandbox)
    since = await sandbox.mark()
    sku = (await skus_in(sandbox, "US"))[0]["sku"]
    with pytest.raises(Transient):
        await desk.port.stock([make_pool(desk.config)], keys([sku]), Ask())
    assert len(await sandbox.calls(since)) == 1
    await desk.port.stock([make_pool(desk.config)], keys([sku]), Ask())


async def test_a_plan_that_is_tighter_than_published_throttles(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.post("plans", {"getOrder": {"rate": 0.001, "burst": 1}})
    desk, other = open_desk(sandbox), open_desk(sandbox)
    key, _ = await open_order(sandbox)
    await desk.port.order(key, Ask())
    # Another channel id, so its budget knows nothing of the first call.
    with pytest.raises(Throttled) as caught:
        await other.port.order(key, Ask())
    assert caught.value.upstream_code == "QuotaExceeded"
    assert (await other.state("getOrder"))[2] == 1


async def test_check_names_where_the_account_sells(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    assert await open_desk(sandbox, "eu").port.check(Ask()) == Checked("Amazon account A1SANDBOXEU sells in DE, FR.")
    desk = open_desk(sandbox, "eu")
    desk.config.channel.marketplaces = ("DE", "IT")
    checked = await desk.port.check(Ask())
    assert checked.said == "Amazon account A1SANDBOXEU sells in DE."
    assert [one.found for one in checked.warnings] == ["Amazon account A1SANDBOXEU does not take part in IT."]
