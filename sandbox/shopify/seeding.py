"""The orders a shop starts with, and how one comes in from outside: "of all kinds", with more than half to be shipped."""

import random
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sandbox.buying import Wanted, basket, houses, later, past_orders, tracking
from sandbox.shopify import ids
from sandbox.shopify.money import CENT
from sandbox.shopify.orders import Address, Line, Order, Parcel, Refund, RefundLine, Tracking, Work, WorkLine
from sandbox.shopify.state import Shop
from sandbox.world import WAREHOUSES, Warehouse

_PEOPLE = (
    ("Ada", "Berg"), ("Noah", "Keller"), ("Mina", "Sato"), ("Léa", "Moreau"), ("Ruth", "Ortiz"),
    ("Jonas", "Weber"), ("Ivy", "Clarke"), ("Tom", "Haines"), ("Zoe", "Lindqvist"), ("Omar", "Reyes"),
)  # fmt: skip
_PLACES = (
    # street, city, zip, country, code, province, currency the buyer sees, dialling code
    ("12 Alder Road", "Portland", "97205", "United States", "US", "OR", "USD", "+1503555"),
    ("88 Summit Avenue", "Denver", "80203", "United States", "US", "CO", "USD", "+1303555"),
    ("Lindenweg 4", "Hamburg", "20095", "Germany", "DE", None, "EUR", "+4940555"),
    ("3 rue des Tilleuls", "Lyon", "69002", "France", "FR", None, "EUR", "+3347855"),
    ("2-11-3 Meguro", "Tokyo", "153-0063", "Japan", "JP", "JP-13", "JPY", "+81355550"),
)


def seed(shop: Shop) -> None:
    """Fill an empty shop with the world's orders, oldest first, all placed before the clock's start."""
    for dice, kind, at in past_orders(shop.core):
        _seeded(shop, dice, kind, at)
    shop.seeded = True


def place_order(
    shop: Shop,
    wanted: Sequence[Wanted],
    at: datetime,
    dice: random.Random,
    *,
    number: int | None = None,
    financial: str = "PAID",
    seen_at: datetime | None = None,
) -> Order:
    """Take in one order: its fulfillment orders are made, its units committed. One fulfillment order per location."""
    place = len(shop.orders)
    street, city, code, country, letters, province, presentment, dialing = dice.choice(_PLACES)
    first, last = dice.choice(_PEOPLE)
    order = Order(
        place=place,
        number=ids.number("Order", place) if number is None else number,
        name=f"#{1001 + place}",
        created_at=at,
        changed_at=at,
        financial=financial,
        presentment=presentment,
        address=Address(
            place, first, last, street, city, code, country, letters, province, f"{dialing}{dice.randint(1000, 9999)}"
        ),
        email=f"buyer{place + 1}@example.test",
        tags=["vip"] if dice.random() < 0.1 else [],
        shipping=Decimal(dice.choice(("0", "4.95", "9.90"))),
    )
    for index, want in enumerate(wanted, 1):
        price = want.product.prices["USD"] if want.price is None else want.price
        order.lines.append(Line(order, index, want.product, want.quantity, price))
    _assign(shop, order, wanted, dice, seen_at or at)
    shop.add(order)
    return order


def _assign(shop: Shop, order: Order, wanted: Sequence[Wanted], dice: random.Random, seen_at: datetime) -> None:
    parts: dict[int, list[Line]] = {}
    for line, chosen in zip(order.lines, houses(dice, wanted, shop.free), strict=True):
        parts.setdefault(chosen.number, []).append(line)
        _commit(shop, line.product.index, chosen, line.quantity)
    for warehouse in WAREHOUSES:
        if warehouse.number in parts:
            work = Work(order, len(order.works) + 1, warehouse, order.created_at, order.created_at, seen_at)
            work.lines = [WorkLine(line.place, line, line.quantity, line.quantity) for line in parts[warehouse.number]]
            order.works.append(work)


def _commit(shop: Shop, item: int, warehouse: Warehouse, units: int) -> None:
    key = (item, warehouse.number)
    if shop.seeded:
        shop.change(item, warehouse, available=-units, committed=units)
    else:
        shop.committed[key] = shop.committed.get(key, 0) + units


def _seeded(shop: Shop, dice: random.Random, kind: str, at: datetime) -> None:
    financial = {"pending": "PENDING", "cancelled": "VOIDED"}.get(kind, "PAID")
    order = place_order(shop, basket(shop.core.world, dice, kind, shop.free), at, dice, financial=financial)
    if dice.random() < 0.1:
        order.lines[0].discount = (order.lines[0].price * order.lines[0].quantity / 10).quantize(CENT)
    then = later(dice, at, shop.core.clock.start)
    if kind == "cancelled":
        for work in order.works:
            for line in work.lines:
                _commit(shop, line.line.product.index, work.warehouse, -line.remaining)
        order.cancelled_at, order.closed_at, order.changed_at = then, then, then
        order.cancel_reason = dice.choice(("CUSTOMER", "FRAUD", "INVENTORY", "OTHER"))
    elif kind == "on_hold":
        for work in order.works:
            work.on_hold = True
    elif kind in ("fulfilled", "refunded"):
        for work in order.works:
            _shipped(shop, work, [(line, line.remaining) for line in work.lines], then, dice)
        order.closed_at = then
        if kind == "refunded":
            _refunded(shop, order, then)
    elif kind == "partial":
        work = next(each for each in order.works if any(line.line.place == 1 for line in each.lines))
        line = next(line for line in work.lines if line.line.place == 1)
        _shipped(shop, work, [(line, line.remaining - 1)], then, dice)


def _refunded(shop: Shop, order: Order, at: datetime) -> None:
    """All the money went back, and the goods stayed with the buyer."""
    refund = Refund(len(shop.refunds), order, at, [], order.shipping, order.total)
    refund.lines = [RefundLine(line, line.quantity, 0, "NO_RESTOCK", None, line.total) for line in order.lines]
    order.refunds.append(refund)
    shop.refunds.append(refund)
    order.financial = "REFUNDED"


def _shipped(shop: Shop, work: Work, lines: list[tuple[WorkLine, int]], at: datetime, dice: random.Random) -> None:
    parcel = Parcel(
        place=len(shop.parcels),
        work=work,
        lines=lines,
        tracking=[Tracking(*tracking(dice))],
        created_at=at,
        updated_at=at,
        seen_at=at,
        name=f"{work.order.name}-F{len(work.order.parcels) + 1}",
    )
    for line, units in lines:
        line.remaining -= units
        # These units left before the world's stock was counted, so they are not committed and not on hand.
        _commit(shop, line.line.product.index, work.warehouse, -units)
    work.updated_at = work.order.changed_at = at
    work.order.parcels.append(parcel)
    shop.parcels.append(parcel)
