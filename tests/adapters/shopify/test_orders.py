"""Orders of a shop."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from adapters.port import OrderKey, Page
from adapters.shopify import orders, paging
from adapters.shopify.document import DEEPEST
from adapters.shopify.orders import order_status
from adapters.shopify.paging import Batch
from adapters.shopify.platform import ShopifyPort
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import NotFound, Transient
from domain.money import Money
from domain.order import Order, OrderStatus
from tests.adapters.shopify.bench import LONG_AGO, OpenPort, Sandbox, Script, connection

SINCE = datetime(2026, 11, 1, tzinfo=UTC)


async def pages(port: ShopifyPort, since: datetime = SINCE) -> list[Page[Order]]:
    return [page async for page in port.order_pages(since, Ask())]


@pytest.mark.parametrize(
    ("fulfillment", "payment", "status"),
    [
        ("UNFULFILLED", "PAID", OrderStatus.UNSHIPPED),
        ("UNFULFILLED", "AUTHORIZED", OrderStatus.UNSHIPPED),
        ("UNFULFILLED", "PARTIALLY_REFUNDED", OrderStatus.UNSHIPPED),
        ("UNFULFILLED", "PENDING", OrderStatus.PENDING),
        ("UNFULFILLED", "PARTIALLY_PAID", OrderStatus.PENDING),
        ("UNFULFILLED", "EXPIRED", OrderStatus.PENDING),
        ("UNFULFILLED", None, OrderStatus.PENDING),
        ("UNFULFILLED", "REFUNDED", OrderStatus.CANCELLED),
        ("UNFULFILLED", "VOIDED", OrderStatus.CANCELLED),
        ("OPEN", "PAID", OrderStatus.UNSHIPPED),
        ("IN_PROGRESS", "PAID", OrderStatus.UNSHIPPED),
        ("PENDING_FULFILLMENT", "PAID", OrderStatus.UNSHIPPED),
        ("SCHEDULED", "PAID", OrderStatus.PENDING),
        ("ON_HOLD", "PAID", OrderStatus.ON_HOLD),
        ("REQUEST_DECLINED", "PAID", OrderStatus.ON_HOLD),
        ("PARTIALLY_FULFILLED", "PAID", OrderStatus.PARTIALLY_SHIPPED),
        ("FULFILLED", "PENDING", OrderStatus.SHIPPED),
        ("FULFILLED", "REFUNDED", OrderStatus.SHIPPED),
        ("RESTOCKED", "REFUNDED", OrderStatus.CANCELLED),
        ("FULFILLMENT_NOT_REQUIRED", "PAID", OrderStatus.CANCELLED),
    ],
)
def test_status(fulfillment: str, payment: str | None, status: OrderStatus) -> None:
    assert order_status(fulfillment, payment) is status
    assert order_status(fulfillment, payment, cancelled=True) is OrderStatus.CANCELLED


def test_status_of_what_was_sent() -> None:
    assert order_status("FULFILLED", "PAID", sent=True, delivered=True) is OrderStatus.DELIVERED
    assert order_status("PARTIALLY_FULFILLED", "PAID", sent=True, delivered=True) is OrderStatus.PARTIALLY_SHIPPED
    assert order_status("FULFILLMENT_NOT_REQUIRED", "PAID", sent=True) is OrderStatus.SHIPPED


@pytest.mark.parametrize(("fulfillment", "payment"), [("TELEPORTED", "PAID"), ("UNFULFILLED", "BARTERED")])
def test_an_unknown_status_is_not_guessed(fulfillment: str, payment: str) -> None:
    with pytest.raises(Unclear, match=r"TELEPORTED|BARTERED"):
        order_status(fulfillment, payment, cancelled=True)


async def test_all_orders_of_the_world(sandbox: Sandbox, port: ShopifyPort) -> None:
    journal = await sandbox.journal()
    told = await pages(port, LONG_AGO)
    orders = {order.external_id: order for page in told for order in page.items}
    assert sum(len(page.items) for page in told) == len(orders)
    assert [page.rejected for page in told] == [[]] * len(told)
    calls = await journal.calls()
    assert calls == ["ordersCount"] + ["orders"] * len(told)
    world = (await sandbox.get("world", limit=10_000))["orders"]
    assert len(world) > 100
    for row in world:
        order = orders[row["id"]]
        assert order.refs == {"name": row["name"]}
        assert order.channel_status == f"{row['status']}/{row['financialStatus']}"
        assert [(line.external_id, line.channel_sku, line.quantity) for line in order.lines] == [
            (line["id"], line["sku"], line["quantity"] - line["removed"]) for line in row["lines"]
        ]
        left = Counter[str]()
        for work in row["fulfillmentOrders"]:
            for line in work["lines"]:
                left[line["sku"]] += line["quantity"]
        assert {line.channel_sku: line.quantity_open for line in order.lines} == dict(left)
    found = Counter(order.status for order in orders.values())
    assert {status for status, count in found.items() if count} == set(OrderStatus) - {OrderStatus.DELIVERED}
    changes = [order.updated_at for page in told for order in page.items]
    assert changes == sorted(changes)
    assert told[-1].until == changes[-1]


async def test_only_what_has_changed_since(sandbox: Sandbox, port: ShopifyPort) -> None:
    sku = (await sandbox.get("world", limit=1))["skus"][0]["sku"]
    await sandbox.post("clock", advance=3600)
    before = datetime.fromisoformat((await sandbox.get("clock"))["now"]).replace(microsecond=0)
    placed = await sandbox.place_order({"sku": sku, "quantity": 2}, financialStatus="PENDING")
    (page,) = await pages(port, before)
    (order,) = page.items
    assert (order.external_id, order.status) == (placed["id"], OrderStatus.PENDING)
    assert page.until == order.updated_at
    assert before <= order.updated_at <= before + timedelta(seconds=30)
    assert await port.order(OrderKey(placed["id"], None), Ask()) == order


async def test_an_unknown_order(port: ShopifyPort) -> None:
    with pytest.raises(NotFound, match="has no order"):
        await port.order(OrderKey("gid://shopify/Order/1", None), Ask())
    with pytest.raises(NotFound, match="invalid id"):
        await port.order(OrderKey("1001", None), Ask())


async def test_named_orders_come_in_one_call_as_each_would_alone(sandbox: Sandbox, port: ShopifyPort) -> None:
    ids = [row["id"] for row in (await sandbox.get("world", limit=10))["orders"]]
    alone = [await port.order(OrderKey(id, None), Ask()) for id in ids]
    journal = await sandbox.journal()
    assert await port.orders_named([*ids, "gid://shopify/Order/1"], Ask()) == alone
    assert await journal.calls() == ["nodes"]


async def test_of_named_orders_those_are_missing_that_alone_would_be_refused(open_port: OpenPort) -> None:
    rows = [raw(1), raw(2, test=True), None, raw(3, displayFulfillmentStatus="TELEPORTED"), raw(4)]
    port = open_port(wire=Script(lambda name, given: {"nodes": rows}).wire())
    found = await port.orders_named([f"gid://shopify/Order/{number}" for number in range(5)], Ask())
    assert [one.external_id for one in found] == [rows[0]["id"], rows[4]["id"]]  # type: ignore[index]


def money(amount: str) -> dict[str, Any]:
    return {"shopMoney": {"amount": amount, "currencyCode": "EUR"}}


def line(
    number: int, sku: str | None = "A-1", current: int = 3, unfulfilled: int = 3, quantity: int | None = None
) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/LineItem/{number}",
        "sku": sku,
        "title": "Tee",
        "quantity": current if quantity is None else quantity,
        "currentQuantity": current,
        "unfulfilledQuantity": unfulfilled,
        "originalUnitPriceSet": money("10.0"),
        "originalTotalSet": money("30.0"),
        "discountedTotalSet": money("27.00"),
        "discountAllocations": [{"allocatedAmountSet": money("3.00")}],
        "taxLines": [{"priceSet": money("4.31")}],
    }


def raw(number: int = 1, lines: list[dict[str, Any]] | None = None, **told: Any) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/Order/{number}",
        "name": f"#{1000 + number}",
        "processedAt": "2026-11-20T08:00:00Z",
        "updatedAt": "2026-11-20T10:00:00Z",
        "cancelledAt": None,
        "cancelReason": None,
        "test": False,
        "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "UNFULFILLED",
        "currentTotalPriceSet": money("31.95"),
        "totalPriceSet": money("31.95"),
        "totalTipReceivedSet": money("0.0"),
        "taxesIncluded": True,
        "shippingLine": {
            "title": "Standard",
            "originalPriceSet": money("4.95"),
            "discountedPriceSet": money("4.95"),
            "taxLines": [{"priceSet": money("0.79")}],
        },
        "customAttributes": [],
        "lineItems": connection(*(lines or [line(1)])),
        "fulfillments": [],
    } | told


def fulfillment(
    number: int, status: str, *marks: tuple[str | None, str | None], display: str = "FULFILLED", units: int = 1
) -> Any:
    return {
        "id": f"gid://shopify/Fulfillment/{number}",
        "status": status,
        "displayStatus": display,
        "createdAt": "2026-11-20T09:00:00Z",
        "deliveredAt": None,
        "totalQuantity": units,
        "trackingInfo": [{"company": company, "number": tracking} for company, tracking in marks],
    }


def shop_with(*orders: dict[str, Any]) -> Script:
    return Script(lambda name, given: {"orders": connection(*orders)})


async def test_an_order(open_port: OpenPort) -> None:
    script = shop_with(raw(lines=[line(1, current=3, unfulfilled=1), line(2, sku=None)]))
    (page,) = await pages(open_port(wire=script.wire()))
    (order,) = page.items
    assert (order.channel, order.marketplace, order.external_id) == ("shop", None, "gid://shopify/Order/1")
    assert order.total == Money(Decimal("31.95"), "EUR")
    assert (order.placed_at.hour, order.updated_at.hour) == (8, 10)
    first, second = order.lines
    assert (first.quantity, first.quantity_shipped, first.quantity_open) == (3, 2, 1)
    assert (first.unit_price, first.total) == (Money(Decimal("10.0"), "EUR"), Money(Decimal("27.00"), "EUR"))
    assert second.channel_sku == ""
    assert script.asked[0][1] == {"query": "updated_at:>='2026-10-31T23:55:00Z'", "after": None}


async def test_shipments(open_port: OpenPort) -> None:
    parcels = [
        fulfillment(1, "SUCCESS", ("UPS", "1Z1"), ("UPS", "1Z2")),
        fulfillment(2, "CANCELLED", ("UPS", "1Z3")),
        fulfillment(3, "SUCCESS"),
    ]
    (page,) = await pages(open_port(wire=shop_with(raw(fulfillments=parcels)).wire()))
    assert [(each.reference, each.carrier, each.tracking_number) for each in page.items[0].shipments] == [
        ("gid://shopify/Fulfillment/1", "UPS", "1Z1"),
        ("gid://shopify/Fulfillment/1#2", "UPS", "1Z2"),
        ("gid://shopify/Fulfillment/3", "", ""),
    ]


async def test_delivered_when_every_parcel_has_arrived(open_port: OpenPort) -> None:
    there, away = (fulfillment(n, "SUCCESS", display=word) for n, word in enumerate(("DELIVERED", "IN_TRANSIT")))
    gone = fulfillment(3, "CANCELLED", display="CANCELED")
    rows = [
        raw(1, displayFulfillmentStatus="FULFILLED", fulfillments=[there, gone]),
        raw(2, displayFulfillmentStatus="FULFILLED", fulfillments=[there, away]),
        raw(3, displayFulfillmentStatus="FULFILLED"),
    ]
    (page,) = await pages(open_port(wire=shop_with(*rows).wire()))
    assert [order.status for order in page.items] == [OrderStatus.DELIVERED, OrderStatus.SHIPPED, OrderStatus.SHIPPED]


async def test_what_we_do_not_understand_is_rejected_alone(open_port: OpenPort) -> None:
    rows = [raw(1), raw(2, displayFulfillmentStatus="TELEPORTED"), raw(3, updatedAt="2026-11-20T10:00:00"), raw(4)]
    (page,) = await pages(open_port(wire=shop_with(*rows).wire()))
    assert [order.refs["name"] for order in page.items] == ["#1001", "#1004"]
    assert [(each.key, each.reason) for each in page.rejected] == [
        ("gid://shopify/Order/2", "unknown displayFulfillmentStatus TELEPORTED"),
        ("gid://shopify/Order/3", "updatedAt: Input should have timezone info"),
    ]


async def test_test_orders_are_left_out_and_counted(open_port: OpenPort, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (page,) = await pages(open_port(wire=shop_with(raw(1, test=True), raw(2), raw(3, test=True)).wire()))
    assert [order.refs["name"] for order in page.items] == ["#1002"]
    assert page.rejected == []
    told = [record for record in caplog.records if record.message == "shop.test_orders_left_out"]
    assert [record.__dict__["count"] for record in told] == [2]


async def test_an_order_that_moved_while_pages_were_read_is_told_again_only_if_it_changed(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if given["after"] is None:
            return {"orders": connection(raw(1), raw(2), after="c1")}
        return {"orders": connection(raw(2), raw(1, updatedAt="2026-11-20T11:00:00Z"))}

    told = await pages(open_port(wire=Script(answer).wire()))
    assert [[order.refs["name"] for order in page.items] for page in told] == [["#1001", "#1002"], ["#1001"]]
    assert told[0].until == datetime(2026, 11, 20, 10, tzinfo=UTC)
    # All there is was told, and it is long ago.
    assert told[1].until is not None
    assert told[1].until > datetime.now(UTC) - timedelta(minutes=10)


@pytest.mark.parametrize(("age", "told_until"), [(0, -5), (40, -45)])
async def test_where_nothing_is_new_it_is_told_up_to_a_little_before_the_asking(
    open_port: OpenPort, monkeypatch: pytest.MonkeyPatch, age: int, told_until: int
) -> None:
    """Also by a file that was begun long ago, whose run somebody else has left."""
    now = datetime.now(UTC)

    async def batches(*given: object) -> AsyncIterator[Batch]:
        yield Batch([], True, None, now - timedelta(minutes=age), in_order=False)

    monkeypatch.setattr(orders, "_batches", batches)
    (page,) = await pages(open_port(wire=shop_with().wire()))
    assert page.until is not None
    assert round((page.until - now) / timedelta(minutes=1)) == told_until


async def test_more_than_50_lines_are_read_on(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Orders":
            return {"orders": connection(raw(1) | {"lineItems": connection(*map(line, range(50)), after="c1")})}
        return {"order": {"rest": connection(*map(line, range(50, 60)))}}

    script = Script(answer)
    (page,) = await pages(open_port(wire=script.wire()))
    assert [each.external_id for each in page.items[0].lines] == [f"gid://shopify/LineItem/{n}" for n in range(60)]
    assert script.asked[1] == ("OrderLines", {"id": "gid://shopify/Order/1", "after": "c1"})


async def test_paging_starts_anew_where_no_page_goes_deeper(
    open_port: OpenPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DEEPEST == 25_000
    monkeypatch.setattr(paging, "DEEPEST", 500)

    def answer(name: str, given: dict[str, Any]) -> Any:
        start = int(given["after"] or 0)
        at = "2026-11-20T10:00:00Z"
        if given["query"].startswith("updated_at:>='2026-11-20"):
            assert given == {"query": f"updated_at:>='{at}'", "after": None}
            return {"orders": connection(raw(500), raw(501))}
        return {"orders": connection(*(raw(n) for n in range(start + 1, start + 101)), after=str(start + 100))}

    names = [o.refs["name"] for page in await pages(open_port(wire=Script(answer).wire())) for o in page.items]
    assert names == [f"#{1000 + n}" for n in range(1, 502)]


async def test_one_order_that_cannot_be_read(open_port: OpenPort) -> None:
    script = Script(lambda name, given: {"nodes": [raw(1, displayFulfillmentStatus="TELEPORTED")]})
    with pytest.raises(Transient, match="TELEPORTED"):
        await open_port(wire=script.wire()).order(OrderKey("gid://shopify/Order/1", None), Ask())


async def test_the_reservation_it_was_bought_with(sandbox: Sandbox, port: ShopifyPort) -> None:
    sku = (await sandbox.get("world", limit=1, offset=300))["skus"][0]["sku"]
    line = {"sku": sku, "quantity": 1}
    placed = await sandbox.place_order(line, attributes={"gift": "yes", "acorn_reservation": "R-1"})
    other = await sandbox.place_order(line, attributes={"gift": "R-1"})
    told = {order.external_id: order for page in await pages(port, LONG_AGO) for order in page.items}
    assert told[placed["id"]].refs == {"name": placed["name"], "reservation": "R-1"}
    assert told[other["id"]].refs == {"name": other["name"]}
    assert (await port.order(OrderKey(placed["id"], None), Ask())).refs["reservation"] == "R-1"


@pytest.mark.parametrize(
    ("value", "reservation"),
    [
        (" R-1 ", "R-1"),
        ("Reservation:R-1", "R-1"),
        ("Reservation:", None),
        ("", None),
        ("  ", None),
        (None, None),
        ("x" * 101, None),
        ("R\0-1", None),
    ],
)
async def test_a_reservation_is_a_short_text(open_port: OpenPort, value: str | None, reservation: str | None) -> None:
    row = raw(1, customAttributes=[{"key": "acorn_reservation", "value": value}])
    (page,) = await pages(open_port(wire=shop_with(row).wire()))
    assert page.items[0].refs.get("reservation") == reservation


async def test_what_buyers_wrote_is_not_kept_with_an_order_that_we_do_not_understand(open_port: OpenPort) -> None:
    written = [{"key": "message", "value": "for Ada"}, {"key": "acorn_reservation", "value": "R-1"}]
    row = raw(1, displayFulfillmentStatus="TELEPORTED", customAttributes=written)
    (page,) = await pages(open_port(wire=shop_with(row).wire()))
    (rejected,) = page.rejected
    assert "R-1" in rejected.raw
    assert "Ada" not in rejected.raw
