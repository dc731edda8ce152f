"""What an order still wants and what has left of it, after refunds and edits too."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from adapters.port import OrderKey
from adapters.shopify.orders import order_status
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.errors import NotFound, Refused
from domain.order import Order, OrderStatus
from sandbox.options import Options
from sandbox.shopify.app import build
from tests.adapters.shopify.bench import CHANNEL, LAG_S, OpenPort, Sandbox, Script, connection, key_of, parcel_of
from tests.adapters.shopify.test_orders import fulfillment, line, raw

KEY = OrderKey("gid://shopify/Order/1", None)


async def no_wait() -> None:
    return None


def counts(order: Order) -> list[tuple[int, int]]:
    return [(each.quantity, each.quantity_shipped) for each in order.lines]


@pytest.fixture
async def own() -> AsyncIterator[Sandbox]:
    """A shop of this test's own, in process, whose clock stands still until it is moved."""
    app = build(Options(products=60, orders=0, speed=0.0, lag_s=LAG_S))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop.test") as http:
        made = Sandbox("http://shop.test", http)
        await made.post("plans", maximumAvailable=1_000_000, restoreRate=100)
        yield made


@pytest.fixture
def own_port(own: Sandbox, open_port: OpenPort) -> ShopifyPort:
    return open_port(own.url, wire=own.http._transport)


async def test_whatever_is_sent_and_refunded_the_counts_are_those_of_the_work(
    own: Sandbox, own_port: ShopifyPort
) -> None:
    """Open units are what fulfillment orders have left, sent ones what parcels hold."""
    skus = [entry["sku"] for entry in (await own.get("world", limit=40))["skus"]]
    dice = random.Random(11)
    seen: Counter[str] = Counter()
    for turn in range(12):
        wanted = [{"sku": skus[turn * 2 + n], "quantity": dice.randint(1, 4)} for n in (0, 1)]
        placed = await own.place_order(*wanted)
        key, lines = key_of(placed), [each["id"] for each in placed["lines"]]
        for step in range(4):
            before = {each.external_id: each for each in (await own_port.order(key, Ask())).lines}
            gid = dice.choice(lines)
            sent, refundable = before[gid].quantity_shipped, await _refundable(own_port, key, gid)
            what = dice.choice(["ship", "CANCEL", "RETURN", "NO_RESTOCK"])
            if what == "ship" and before[gid].quantity_open:
                units = dice.randint(1, before[gid].quantity_open)
                parcel = parcel_of(f"{turn}-{step}", (gid, units))
                await own_port.confirm_shipment(key, parcel, Ask(), no_wait)
                await own.show()
            elif (what == "CANCEL" and before[gid].quantity_open and refundable) or (
                what in ("RETURN", "NO_RESTOCK") and sent and refundable
            ):
                row = {"id": gid, "quantity": 1, "restock": what}
                await own.post("refunds", order=placed["id"], lines=[row])
            else:
                continue
            seen[what] += 1
            order = await own_port.order(key, Ask())
            left, gone = await _work(own_port, key), await _parcels(own, placed["id"])
            for each in order.lines:
                assert (each.quantity_open, each.quantity_shipped) == (left[each.external_id], gone[each.external_id])
    assert min(seen[what] for what in ("ship", "CANCEL", "RETURN", "NO_RESTOCK")) >= 2


async def _work(port: ShopifyPort, key: OrderKey) -> Counter[str]:
    left: Counter[str] = Counter()
    for work in await port.fulfillment_orders(key, Ask()):
        for each in work.lines:
            left[each.order_line] += each.remaining
    return left


async def _parcels(sandbox: Sandbox, gid: str) -> Counter[str]:
    query = """query($id: ID!) { order(id: $id) { fulfillments(first: 50) { status
      fulfillmentLineItems(first: 50) { nodes { quantity lineItem { id } } } } } }"""
    answer = await sandbox.http.post(
        "/admin/api/2026-07/graphql.json",
        headers={"X-Shopify-Access-Token": "shpat_sandbox"},
        json={"query": query, "variables": {"id": gid}},
    )
    gone: Counter[str] = Counter()
    for parcel in answer.json()["data"]["order"]["fulfillments"]:
        for each in parcel["fulfillmentLineItems"]["nodes"]:
            gone[each["lineItem"]["id"]] += each["quantity"]
    return gone


async def _refundable(port: ShopifyPort, key: OrderKey, gid: str) -> int:
    """Units of a line that were not refunded."""
    refunded = sum(each.quantity for one in await port.refunds(key, Ask()) for each in one.lines if each.line_id == gid)
    raw_line = next(each for each in (await port.order(key, Ask())).lines if each.external_id == gid)
    return max(0, raw_line.quantity - refunded)


# of a script


def parcels_of(*units: tuple[int, int]) -> dict[str, Any]:
    """What TASKS tells of parcels: (line, units) of one."""
    rows = [{"quantity": count, "lineItem": {"id": f"gid://shopify/LineItem/{number}"}} for number, count in units]
    return {
        "id": "gid://shopify/Fulfillment/1",
        "status": "SUCCESS",
        "trackingInfo": [{"number": "T-1"}],
        "fulfillmentLineItems": connection(*rows),
    }


def work_of(status: str, *units: tuple[int, int, int]) -> dict[str, Any]:
    """What TASKS tells of a fulfillment order: (line, total, remaining)."""
    rows = [
        {
            "id": f"gid://shopify/FulfillmentOrderLineItem/{number}",
            "totalQuantity": total,
            "remainingQuantity": remaining,
            "lineItem": {"id": f"gid://shopify/LineItem/{number}", "unfulfilledQuantity": remaining},
        }
        for number, total, remaining in units
    ]
    return {
        "id": "gid://shopify/FulfillmentOrder/1",
        "status": status,
        "assignedLocation": {"location": {"id": "gid://shopify/Location/1"}},
        "supportedActions": [{"action": "CREATE_FULFILLMENT"}],
        "lineItems": connection(*rows),
    }


def shop_with(row: dict[str, Any], *works: dict[str, Any], parcel: dict[str, Any] | None = None) -> Script:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "OrdersNamed":
            return {"nodes": [row]}
        order = {"id": row["id"], "name": row["name"], "cancelledAt": None}
        parcels = [] if parcel is None else [parcel]
        return {"nodes": [order | {"fulfillments": parcels, "fulfillmentOrders": connection(*works)}]}

    return Script(answer)


def asked(script: Script) -> list[str]:
    return [name for name, _ in script.asked]


async def test_units_that_were_taken_out_before_anything_left_are_no_longer_wanted(open_port: OpenPort) -> None:
    script = shop_with(
        raw(1, [line(1, quantity=3, current=2, unfulfilled=2), line(2, quantity=2, current=0, unfulfilled=0)])
    )
    order = await open_port(wire=script.wire()).order(KEY, Ask())
    assert counts(order) == [(2, 0), (0, 0)]
    assert asked(script) == ["OrdersNamed"]


@pytest.mark.parametrize(
    ("unfulfilled", "parcel", "work", "expected"),
    [
        # One of three left and came back: two still wait. One of three was taken out: one still waits. The shop shows both alike.
        (2, (1, 1), (1, 3, 2), (3, 1)),
        (2, (1, 1), (1, 2, 1), (2, 1)),
        # The parcel is not shown yet by what the work says.
        (1, (1, 1), (1, 2, 0), (2, 1)),
    ],
)
async def test_after_a_refund_of_a_partly_sent_order_units_are_counted(
    open_port: OpenPort,
    unfulfilled: int,
    parcel: tuple[int, int],
    work: tuple[int, int, int],
    expected: tuple[int, int],
) -> None:
    row = raw(
        1,
        [line(1, quantity=3, current=2, unfulfilled=unfulfilled)],
        displayFulfillmentStatus="PARTIALLY_FULFILLED",
        fulfillments=[fulfillment(1, "SUCCESS", ("UPS", "T-1"))],
    )
    script = shop_with(row, work_of("IN_PROGRESS", work), parcel=parcels_of(parcel))
    order = await open_port(wire=script.wire()).order(KEY, Ask())
    assert counts(order) == [expected]
    assert asked(script) == ["OrdersNamed", "Tasks"]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (3, [(3, 3)]),  # all left, and some came back
        (2, [(2, 2)]),  # some were taken out before
    ],
)
async def test_a_sent_order_whose_parcels_say_all_costs_no_further_call(
    open_port: OpenPort, left: int, expected: list[tuple[int, int]]
) -> None:
    row = raw(
        1,
        [line(1, quantity=3, current=2, unfulfilled=0)],
        displayFulfillmentStatus="FULFILLED",
        displayFinancialStatus="PARTIALLY_REFUNDED",
        fulfillments=[fulfillment(1, "SUCCESS", ("UPS", "T-1"), units=left), fulfillment(2, "CANCELLED", units=3)],
    )
    script = shop_with(row)
    order = await open_port(wire=script.wire()).order(KEY, Ask())
    assert (counts(order), order.status) == (expected, OrderStatus.SHIPPED)
    assert asked(script) == ["OrdersNamed"]


async def test_where_the_work_may_not_be_seen_the_shops_own_numbers_stand(open_port: OpenPort) -> None:
    row = raw(
        1,
        [line(1, quantity=3, current=2, unfulfilled=1)],
        displayFulfillmentStatus="PARTIALLY_FULFILLED",
        fulfillments=[fulfillment(1, "SUCCESS", ("UPS", "T-1"))],
    )
    order = await open_port(wire=shop_with(row, parcel=parcels_of((1, 1))).wire()).order(KEY, Ask())
    assert counts(order) == [(2, 1)]


@pytest.mark.parametrize("payment", ["PAID", "PARTIALLY_REFUNDED", "PENDING"])
async def test_an_order_that_nothing_is_left_of_is_over_in_every_version(open_port: OpenPort, payment: str) -> None:
    gone = [line(1, quantity=3, current=0, unfulfilled=0)]
    for word in ("UNFULFILLED", "FULFILLMENT_NOT_REQUIRED"):
        row = raw(1, gone, displayFulfillmentStatus=word, displayFinancialStatus=payment)
        order = await open_port(wire=shop_with(row).wire()).order(KEY, Ask())
        assert order.status is OrderStatus.CANCELLED
    assert order_status("UNFULFILLED", payment) is not OrderStatus.CANCELLED


async def test_lines_that_an_edit_added_or_took_out(open_port: OpenPort) -> None:
    script = shop_with(
        raw(1, [line(1, quantity=1, current=0, unfulfilled=0), line(2, quantity=2, current=2, unfulfilled=2)])
    )
    order = await open_port(wire=script.wire()).order(KEY, Ask())
    assert counts(order) == [(0, 0), (2, 0)]
    assert order.status is OrderStatus.UNSHIPPED


async def test_a_test_order_is_none(open_port: OpenPort) -> None:
    with pytest.raises(Refused, match="#1001 is a test order") as told:
        await open_port(wire=shop_with(raw(1, test=True)).wire()).order(KEY, Ask())
    assert not isinstance(told.value, NotFound)  # which whoever was told of the order would wait for
    assert (await open_port(wire=shop_with(raw(1)).wire()).order(KEY, Ask())).channel == CHANNEL.id


async def test_an_order_behind_the_wall_of_60_days_is_not_found_and_the_words_say_why(
    own: Sandbox, own_port: ShopifyPort, open_port: OpenPort
) -> None:
    sku = (await own.get("world", limit=1))["skus"][0]["sku"]
    placed = await own.place_order({"sku": sku, "quantity": 1})
    await own.post("tokens", token="shpat_walled", scopes=["read_orders", "read_products"])
    walled = open_port(own.url, wire=own.http._transport, access_token="shpat_walled")
    assert (await walled.order(key_of(placed), Ask())).external_id == placed["id"]
    await own.post("clock", advance=61 * 86_400)
    with pytest.raises(NotFound, match="older than 60 days and the app lacks read_all_orders"):
        await walled.order(key_of(placed), Ask())
    assert (await own_port.order(key_of(placed), Ask())).external_id == placed["id"]
