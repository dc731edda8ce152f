"""The orders a shop starts with, the very ones of the Shopify sandbox, and how one comes in from outside."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sandbox.buying import Wanted, basket, houses, later, past_orders, tracking
from sandbox.shop import till
from sandbox.shop.orders import Line, Order, Refund, Shipment
from sandbox.shop.state import CENT, Shop
from sandbox.world import WAREHOUSES

_COUNTRIES = ("US", "US", "DE", "FR", "JP")
_PEOPLE = 10
_DAY = timedelta(days=1)


def seed(shop: Shop) -> None:
    """Fill an empty shop with the world's orders, all placed before the clock's start, and pay out what they brought."""
    for dice, kind, at in past_orders(shop.core):
        _seeded(shop, dice, kind, at)
    _told_in_order(shop)
    _booked(shop)


def place_order(
    shop: Shop,
    wanted: Sequence[Wanted],
    at: datetime,
    dice: random.Random,
    *,
    id: str | None = None,
    payment: str = "paid",
) -> Order:
    """Take in one order and reserve its units, each line in one warehouse."""
    place = len(shop.orders)
    country = dice.choice(_COUNTRIES)
    # The Shopify sandbox throws the same dice for the buyer, whom nobody here knows.
    dice.choice(range(_PEOPLE)), dice.randint(1000, 9999), dice.random()
    order = Order(
        id=id or f"ord_{place + 1}",
        number=str(1001 + place),
        placed_at=at,
        updated_at=at,
        payment=payment,
        country=country,
        shipping=Decimal(dice.choice(("0", "4.95", "9.90"))),
    )
    for index, (want, house) in enumerate(zip(wanted, houses(dice, wanted, shop.free), strict=True), 1):
        price = want.product.prices["USD"] if want.price is None else want.price
        order.lines.append(Line(f"lin_{place + 1}_{index}", want.product, want.quantity, price, house))
    shop.add(order)
    return order


def _seeded(shop: Shop, dice: random.Random, kind: str, at: datetime) -> None:
    payment = {"pending": "pending", "cancelled": "voided", "refunded": "refunded"}.get(kind, "paid")
    order = place_order(shop, basket(shop.core.world, dice, kind, shop.free), at, dice, payment=payment)
    if dice.random() < 0.1:
        order.lines[0].discount = (order.lines[0].price * order.lines[0].quantity / 10).quantize(CENT)
    then = later(dice, at, shop.core.clock.start)
    order.on_hold = kind == "on_hold"
    if kind == "cancelled":
        order.cancelled_at = order.updated_at = then
        order.cancel_reason = dice.choice(("customer", "fraud", "inventory", "other"))
        for line in order.lines:
            line.cancelled = line.quantity
    elif kind in ("fulfilled", "refunded"):
        for house in WAREHOUSES:
            lines = [(line, line.quantity) for line in order.lines if line.house is house]
            if lines:
                _shipped(shop, order, lines, then, dice)
    elif kind == "partial":
        _shipped(shop, order, [(order.lines[0], order.lines[0].quantity - 1)], then, dice)
    if kind == "refunded":
        gone = tuple((line, line.quantity, "none", None, None) for line in order.lines)
        order.refunds.append(Refund(shop.refund_id(), order.grand, then, gone))
        for line in order.lines:
            line.refunded = line.quantity
    for line in order.lines:
        # What has left did so before the world's stock was counted.
        key = (line.product.sku, line.house.number)
        shop.stock.seeded_reserved[key] = shop.stock.seeded_reserved.get(key, 0) + line.left


def _shipped(shop: Shop, order: Order, lines: list[tuple[Line, int]], at: datetime, dice: random.Random) -> None:
    carrier, number, url = tracking(dice)
    shipment = Shipment(
        id=f"shp_{len(shop.shipments) + 1}",
        order=order,
        lines=lines,
        carrier=carrier,
        tracking_number=number,
        tracking_url=url,
        shipped_at=at,
        updated_at=at,
    )
    for line, units in lines:
        line.shipped += units
    order.updated_at = at
    order.shipments.append(shipment)
    shop.shipments[shipment.id] = shipment


def _told_in_order(shop: Shop) -> None:
    last = shop.origin
    for order in sorted(shop.orders, key=lambda order: order.updated_at):
        last = order.updated_at = max(order.updated_at, last + timedelta(microseconds=1))
        shop.order_feed.touch(order.id, last)


def _booked(shop: Shop) -> None:
    """Charges and refunds as they happened, and at each midnight a payout of the day before."""
    happened: list[tuple[datetime, Order, Refund | None]] = [
        (order.placed_at, order, None) for order in shop.orders if order.captured
    ]
    happened += [(refund.created_at, order, refund) for order in shop.orders for refund in order.refunds]
    happened.sort(key=lambda entry: entry[0])
    last, midnight = shop.origin, shop.origin.replace(hour=0, minute=0, second=0, microsecond=0)
    for at, order, refund in happened:
        while midnight + _DAY <= at:
            midnight += _DAY
            _paid_out(shop, midnight)
        last = max(at, last + timedelta(microseconds=1))
        if refund is None:
            till.charged(shop, order, last)
        else:
            till.refunded(shop, order, refund, last)


def _paid_out(shop: Shop, midnight: datetime) -> None:
    payout = till.pay_out(shop, midnight, midnight)
    if payout is not None:
        for one in payout.transactions:
            one.payout_id = payout.id
