"""What is made of a shop's answers: listings, levels, orders; and what is not understood is kept apart, without its buyers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from adapters.port import Page, StockKey
from adapters.rest.orders import OVERLAP, order_status
from adapters.storefront import Places
from domain.budget import Ask
from domain.errors import Invalid, NotFound, Transient
from domain.ids import ChannelSku
from domain.money import Money
from domain.order import OrderStatus
from domain.place import ChannelPlace, misplaced
from domain.product import Rejected
from domain.route import Way
from tests.adapters.rest.bench import (
    CHANNEL,
    LONG_AGO,
    Asked,
    OpenPort,
    Script,
    euros,
    key_of,
    level,
    location,
    offered,
    ok,
    order,
    parcel_of,
    problem,
    shipment,
)

T = TypeVar("T")
BERLIN, RENO = location("BER", "loc_1"), location("RNO", "loc_2")


def listed(*rows: Any, after: str | None = None, **more: Any) -> Any:
    """A page; `after` is the cursor of the next one."""
    link = {} if after is None else {"Link": f'<https://shop.example/x?cursor={after}>; rel="next"'}
    return ok({"data": list(rows), "next_cursor": after, **more}, headers=link)


async def all_of(pages: AsyncIterator[Page[T]]) -> tuple[list[T], list[Rejected], datetime | None]:
    items: list[T] = []
    rejected: list[Rejected] = []
    until = None
    async for page in pages:
        items += page.items
        rejected += page.rejected
        until = page.until or until
    return items, rejected, until


def variant(sku: str, price: str = "26.90", **more: Any) -> dict[str, Any]:
    return {
        "id": f"var_{sku}",
        "product_id": "prd_1",
        "rev": "1",
        "sku": sku,
        "title": "Red",
        "price": euros(price),
        "tracked": True,
        "updated_at": "2026-11-23T08:00:00Z",
        **more,
    }


def product(*variants: Any, id: str = "prd_1", at: str = "2026-11-23T08:00:00Z", **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "rev": "7",
        "title": "Mug",
        "status": "active",
        "updated_at": at,
        "variants": list(variants),
        **more,
    }


async def test_a_variant_is_a_listing(open_port: OpenPort) -> None:
    red = variant(
        "MUG-R",
        "24.90",
        compare_at_price=euros("26.90"),
        unit_cost=euros("9.10"),
        options={"Color": "Red", "Size": "L"},
    )
    script = Script(lambda asked: listed(product(red, variant("MUG-B", title="Mug"), brand="Nordhaven")))
    items, rejected, until = await all_of(open_port(wire=script.wire()).listing_pages(None, Ask()))
    assert rejected == []
    assert until == datetime(2026, 11, 23, 8, tzinfo=UTC)
    first, second = items
    assert (first.channel_sku, first.external_id, first.status) == ("MUG-R", "var_MUG-R", "active")
    assert (first.title, second.title, first.brand) == ("Mug - Red", "Mug", "Nordhaven")
    assert (first.price, first.sale_price) == (Money(Decimal("26.90"), "EUR"), Money(Decimal("24.90"), "EUR"))
    assert (second.price, second.sale_price) == (Money(Decimal("26.90"), "EUR"), None)
    assert first.unit_cost == Money(Decimal("9.10"), "EUR")
    assert [(one.name, one.value) for one in first.attributes] == [("color", "Red"), ("size", "L")]
    assert first.refs == {"variant": "var_MUG-R", "product": "prd_1"}


async def test_listings_changed_since_are_asked_with_an_overlap_and_the_shops_page(open_port: OpenPort) -> None:
    script = Script(lambda asked: listed(), shop=offered(page=40))
    since = datetime(2026, 11, 23, 8, tzinfo=UTC)
    await all_of(open_port(wire=script.wire()).listing_pages(since, Ask()))
    assert script.of("listProducts")[0].query == {"limit": "40", "updated_since": "2026-11-23T07:55:00Z"}


async def test_what_cannot_be_read_is_kept_apart_and_spoils_nothing(open_port: OpenPort) -> None:
    script = Script(
        lambda asked: listed(
            product(variant("A"), variant("B") | {"price": {"amount": 26.9, "currency": "EUR"}}),
            product(variant("C"), id="prd_2", status="on sale"),
            product(variant("A", id="var_other"), id="prd_3"),
            product(variant(" "), id="prd_4"),
            "nonsense",
        ),
        loose=True,
    )
    items, rejected, _ = await all_of(open_port(wire=script.wire()).listing_pages(None, Ask()))
    assert [one.channel_sku for one in items] == ["A"]
    assert [(one.key, one.reason.partition(":")[0]) for one in rejected] == [
        ("var_B", "price.amount"),
        ("prd_2", "status"),
        ("var_other", "the SKU A is on two variants"),
        ("var_ ", "no SKU"),
        ("?", ""),
    ]


async def test_single_listings_by_product_and_by_sku_leave_out_what_is_gone(open_port: OpenPort) -> None:
    def answer(asked: Asked) -> Any:
        if asked.operation == "listVariants":
            return {"data": [variant("A")], "missing": ["GONE"]}
        return product(variant("A"), variant("B")) if asked.path == "/products/prd_1" else problem(404, "not-found")

    port = open_port(wire=Script(answer).wire())
    by_item = await port.listings_named("ITEM", ["prd_1", "prd_2"], Ask())
    assert [one.channel_sku for one in by_item.items] == ["A", "B"]
    by_sku = await port.listings_named("SKU", ["A", "GONE"], Ask())
    assert [one.channel_sku for one in by_sku.items] == ["A"]


async def test_stock_is_one_reading_per_place_and_key(open_port: OpenPort) -> None:
    script = Script(
        lambda asked: listed(
            level("A", "loc_1", 4, reserved=1, on_hand=5, incoming=7), level("A", "loc_9", 3), missing=["B"]
        )
    )
    keys = [StockKey(ChannelSku(sku)) for sku in "AB"]
    readings = await open_port(wire=script.wire()).stock([BERLIN, RENO], keys, Ask())
    found = {(one.channel_sku, one.location): (one.on_hand, one.reserved, one.inbound) for one in readings}
    nothing = (0, 0, 0)
    assert found == {("A", "BER"): (5, 1, 7), ("A", "RNO"): nothing, ("B", "BER"): nothing, ("B", "RNO"): nothing}
    assert {one.upstream_request_id for one in readings} == {"req_1"}


async def test_a_level_that_cannot_be_read_is_not_taken_for_nothing(open_port: OpenPort) -> None:
    bad = level("A", "loc_1", 4)
    del bad["on_hand"]
    script = Script(lambda asked: listed(bad), loose=True)
    port = open_port(wire=script.wire())
    with pytest.raises(Transient, match="on_hand"):
        await port.stock([BERLIN], [StockKey(ChannelSku("A"))], Ask())
    items, rejected, _ = await all_of(port.stock_pages([BERLIN], Ask()))
    assert items == []
    assert [(one.what, one.key) for one in rejected] == [("stock", "A")]


async def test_more_skus_than_a_call_takes_are_refused_before_one(open_port: OpenPort) -> None:
    script = Script(lambda asked: listed())
    port = open_port(wire=script.wire())
    with pytest.raises(Invalid):
        await port.stock([BERLIN], [StockKey(ChannelSku(str(one))) for one in range(101)], Ask())
    assert script.asked == []


async def test_routes_say_what_they_cost(open_port: OpenPort) -> None:
    port = open_port(wire=Script(lambda asked: listed()).wire())
    batch, pages = await port.stock_routes([BERLIN, RENO], 250, 1000)
    assert [(one.way, one.calls, one.whole) for one in (batch, pages)] == [
        (Way.BATCH, 3, False),
        (Way.PAGES, 8, True),
    ]


async def test_the_places_of_a_shop(open_port: OpenPort) -> None:
    """A wrong id in acorn.toml would read as no stock at all: the doctor compares them."""
    rows = [
        {"id": "loc_1", "name": "Berlin", "country": "DE", "active": True},
        {"id": "loc_2", "name": "Old", "active": False},
    ]
    port = open_port(wire=Script(lambda asked: ok({"data": rows, "next_cursor": None})).wire())
    assert isinstance(port, Places)
    places = await port.places(Ask())
    assert places == [
        ChannelPlace("loc_1", "Berlin", active=True, sells_online=True, country="DE"),
        ChannelPlace("loc_2", "Old", active=False, sells_online=False),
    ]
    assert [one.found for one in misplaced(CHANNEL.id, [BERLIN, RENO, location("X", "loc_9")], places)] == [
        "RNO is Old there, which is deactivated: its stock is neither read nor sold.",
        "X is loc_9 there, and shop has no such place.",
    ]


async def test_an_order_as_we_know_it(open_port: OpenPort) -> None:
    told = order(
        shipments=[shipment("shp_1", "JD1", ("lin_1", 1), reference="7")],
        fulfilment_status="partial",
        ship_by="2026-11-25T12:00:00+01:00",
        reservation="Reservation:abc",
    )
    told["lines"][0] |= {"shipped": 1}
    script = Script(lambda asked: told, loose=True)
    found = await open_port(wire=script.wire()).order(key_of("ord_1"), Ask())
    (line,) = found.lines
    assert (found.status, found.channel_status) == (OrderStatus.PARTIALLY_SHIPPED, "open/paid/partial")
    assert (line.quantity, line.quantity_shipped, line.quantity_open) == (2, 1, 1)
    assert (line.unit_price, line.total) == (Money(Decimal("26.90"), "EUR"), Money(Decimal("79.70"), "EUR"))
    assert found.total == Money(Decimal("58.70"), "EUR")
    assert found.ship_by == datetime(2026, 11, 25, 11, tzinfo=UTC)
    assert found.refs == {"name": "1001", "reservation": "abc"}
    assert [(one.reference, one.tracking_number) for one in found.shipments] == [("shp_1", "JD1")]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("open", "pending", "unfulfilled"), OrderStatus.PENDING),
        (("open", "authorized", "unfulfilled"), OrderStatus.UNSHIPPED),
        (("open", "paid", "unfulfilled"), OrderStatus.UNSHIPPED),
        (("open", "partially_refunded", "unfulfilled"), OrderStatus.UNSHIPPED),
        (("open", "refunded", "unfulfilled"), OrderStatus.CANCELLED),
        (("open", "voided", "unfulfilled"), OrderStatus.CANCELLED),
        (("open", "paid", "partial"), OrderStatus.PARTIALLY_SHIPPED),
        (("open", "paid", "fulfilled"), OrderStatus.SHIPPED),
        (("closed", "paid", "fulfilled"), OrderStatus.SHIPPED),
        (("closed", "refunded", "returned"), OrderStatus.SHIPPED),
        (("closed", "paid", "partial"), OrderStatus.SHIPPED),
        (("closed", "paid", "unfulfilled"), OrderStatus.CANCELLED),
        (("cancelled", "paid", "partial"), OrderStatus.CANCELLED),
    ],
)
def test_three_words_make_a_status(words: tuple[Any, Any, Any], status: OrderStatus) -> None:
    assert order_status(*words) is status


def test_what_is_on_hold_waits_unless_nothing_is_left_to_ship() -> None:
    assert order_status("open", "paid", "unfulfilled", on_hold=True) is OrderStatus.ON_HOLD
    assert order_status("open", "paid", "fulfilled", on_hold=True) is OrderStatus.SHIPPED


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "archived"},
        {"payment_status": "disputed"},
        {"fulfilment_status": "lost"},
        {"lines": []},
        {"placed_at": "2026-11-23T08:00:00"},
        {"placed_at": 1795420800},
    ],
    ids=str,
)
async def test_an_order_with_a_word_of_its_own_is_kept_apart_without_its_buyer(
    open_port: OpenPort, wrong: dict[str, Any]
) -> None:
    bad = order("ord_2", ship_to={"name": "Erika Musterfrau", "country": "DE"}, email="e@example.com", **wrong)
    script = Script(lambda asked: listed(order(), bad), loose=True)
    items, rejected, _ = await all_of(open_port(wire=script.wire()).order_pages(LONG_AGO, Ask()))
    assert [one.external_id for one in items] == ["ord_1"]
    (kept,) = rejected
    assert (kept.what, kept.key) == ("order", "ord_2")
    assert "Muster" not in kept.raw
    assert "example.com" not in kept.raw
    assert "Muster" not in kept.reason


async def test_orders_come_with_an_overlap_and_once_unless_they_change(open_port: OpenPort) -> None:
    later = order("ord_1", updated_at="2026-11-23T09:00:00Z")

    def answer(asked: Asked) -> Any:
        return listed(later, order("ord_2")) if "cursor" in asked.query else listed(order(), order(), after="c1")

    script = Script(answer)
    since = datetime(2026, 11, 23, 8, tzinfo=UTC)
    items, _, until = await all_of(open_port(wire=script.wire()).order_pages(since, Ask()))
    assert [one.external_id for one in items] == ["ord_1", "ord_1", "ord_2"]
    assert until == datetime(2026, 11, 23, 9, tzinfo=UTC)
    asked = script.of("listOrders")[0].query["updated_since"]
    assert datetime.fromisoformat(asked) == since - OVERLAP


async def test_a_cursor_that_is_too_old_is_replaced_by_an_instant(open_port: OpenPort) -> None:
    def answer(asked: Asked) -> Any:
        if asked.query.get("cursor") == "old":
            return problem(400, "invalid-cursor")
        if asked.query.get("updated_since") == "2026-11-23T08:00:00Z":
            return listed(order("ord_1"), order("ord_2", updated_at="2026-11-23T09:00:00Z"))
        return listed(order("ord_1"), after="old")

    items, _, _ = await all_of(open_port(wire=Script(answer).wire()).order_pages(LONG_AGO, Ask()))
    assert [one.external_id for one in items] == ["ord_1", "ord_2"]


async def test_a_cursor_that_never_holds_ends_the_walk(open_port: OpenPort) -> None:
    def answer(asked: Asked) -> Any:
        return problem(400, "invalid-cursor") if "cursor" in asked.query else listed(order("ord_1"), after="old")

    script = Script(answer)
    with pytest.raises(Invalid, match="invalid cursor"):
        await all_of(open_port(wire=script.wire()).order_pages(LONG_AGO, Ask()))
    assert len(script.of("listOrders")) == 4


async def test_an_order_that_there_is_none_of(open_port: OpenPort) -> None:
    port = open_port(wire=Script(lambda asked: problem(404, "not-found")).wire())
    with pytest.raises(NotFound):
        await port.order(key_of("ord_9"), Ask())
    with pytest.raises(NotFound):
        await port.parcel_seen(key_of("ord_9"), parcel_of("JD1", ("lin_1", 1)), Ask())


async def test_payouts_and_the_movements_that_make_them(open_port: OpenPort) -> None:
    movement = {
        "id": "txn_1",
        "kind": "charge",
        "amount": euros("58.70"),
        "fee": euros("2.00"),
        "net": euros("56.70"),
        "order_id": "ord_1",
        "payout_id": "pay_1",
        "occurred_at": "2026-11-23T08:00:00Z",
        "updated_at": "2026-11-24T00:00:00Z",
    }
    payout = {
        "id": "pay_1",
        "status": "paid",
        "issued_at": "2026-11-24T00:00:00Z",
        "updated_at": "2026-11-24T00:00:00Z",
        "net": euros("56.70"),
        "reference": "SHOP-1",
        "totals": {"charges": euros("58.70")},
    }
    strange = movement | {"id": "txn_2", "net": euros("56.71")}
    other = movement | {"id": "txn_3", "payout_id": None}
    script = Script(
        lambda asked: listed(payout) if asked.operation == "listPayouts" else listed(movement, strange, other)
    )
    port = open_port(wire=script.wire())
    (found,), _, until = await all_of(port.payout_pages(LONG_AGO, Ask()))
    assert (found.id, found.status, found.net, found.reference) == (
        "pay_1",
        "paid",
        Money(Decimal("56.70"), "EUR"),
        "SHOP-1",
    )
    assert until == datetime(2026, 11, 24, tzinfo=UTC)
    (one,), rejected, _ = await all_of(port.movement_pages("pay_1", Ask()))
    assert (one.id, one.kind, one.total) == ("txn_1", "charge", found.net)
    assert one.related == (("PAYOUT_ID", "pay_1"), ("ORDER_ID", "ord_1"))
    assert [kept.key for kept in rejected] == ["txn_2", "txn_3"]


async def test_until_never_passes_what_was_told(open_port: OpenPort) -> None:
    script = Script(lambda asked: listed())
    since = datetime(2026, 11, 23, tzinfo=UTC) - timedelta(days=1)
    assert (await all_of(open_port(wire=script.wire()).order_pages(since, Ask())))[2] == since
