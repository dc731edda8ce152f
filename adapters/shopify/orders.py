"""Orders from `orders` and `order`. Nothing about the buyer is asked for.

A shop has no one status: `cancelledAt`, `displayFulfillmentStatus` and `displayFinancialStatus` together say where an order
stands. A value that we do not know rejects the order instead of guessing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from adapters.port import Page
from adapters.shopify.client import ShopClient
from adapters.shopify.documents import ORDER, ORDER_LINES, ORDERS
from adapters.shopify.paging import Search, answered, pages, whole
from adapters.shopify.wire import Connection, Instant, MoneyBag, quoted, rejected, stamp
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import NotFound, Transient
from domain.ids import ChannelId, ChannelSku, line_id, node_id, order_id
from domain.order import Order, OrderLine, OrderStatus, Shipment
from domain.product import FulfilledBy

log = logging.getLogger(__name__)

# An order that changes while pages are read moves to their end, and the search index may trail the orders.
OVERLAP = timedelta(minutes=5)

# The note attribute by which a storefront says which of our reservations an order was bought with.
RESERVATION = "acorn_reservation"
LONGEST_REFERENCE = 100  # characters; buyers can write into a cart's attributes whatever they like

# Fulfillments that are, or will be, a parcel; the others never left.
SENT = frozenset({"SUCCESS", "OPEN", "PENDING"})


class _Line(Wire):
    id: str
    sku: str | None
    title: str
    current_quantity: int
    unfulfilled_quantity: int
    original_unit_price_set: MoneyBag
    discounted_total_set: MoneyBag


class _Tracking(Wire):
    company: str | None
    number: str | None


class _Fulfillment(Wire):
    id: str
    status: str
    display_status: str | None
    created_at: Instant
    tracking_info: list[_Tracking]


class _Attribute(Wire):
    key: str
    value: str | None


class _Order(Wire):
    id: str
    name: str
    processed_at: Instant
    updated_at: Instant
    cancelled_at: Instant | None
    test: bool
    display_financial_status: str | None
    display_fulfillment_status: str
    current_total_price_set: MoneyBag
    custom_attributes: list[_Attribute]
    line_items: Connection[_Line]
    fulfillments: list[_Fulfillment]

    @property
    def sent(self) -> list[_Fulfillment]:
        return [each for each in self.fulfillments if each.status in SENT]

    @property
    def reservation(self) -> str | None:
        # By its public id, as the API tells it, or by the key in it.
        told = (
            one.value.strip().removeprefix(node_id("Reservation", ""))
            for one in self.custom_attributes
            if one.key == RESERVATION and one.value
        )
        # No table takes a NUL, and a buyer must not stop all orders by one.
        return next((value for value in told if 0 < len(value) <= LONGEST_REFERENCE and value.isprintable()), None)


async def order_pages(client: ShopClient, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
    """Orders changed since then, oldest change first, an order again only when it has changed again.

    Test orders are left out. `until` is the newest change told so far. Without the scope read_all_orders a shop shows no order
    older than 60 days. Source: orders.
    """
    told: dict[str, datetime] = {}
    until = since
    tests = 0
    async for batch in pages(client, ORDERS, _changed_since(since), ask):
        page: Page[Order] = Page([])
        for row in map(_discreet, batch.rows):
            try:
                wire = read(_Order, row)
                until = max(until, wire.updated_at)
                if told.get(wire.id) == wire.updated_at:
                    continue
                told[wire.id] = wire.updated_at
                if wire.test:
                    tests += 1
                    continue
                page.items.append(await _order(client, wire, ask))
            except Unclear as problem:
                page.rejected.append(rejected(client.config.channel.id, "order", row, str(problem)))
        page.until = until
        yield page
    if tests:
        log.info("shop.test_orders_left_out", extra={"channel": client.config.channel.id, "count": tests})


async def order(client: ShopClient, gid: str, ask: Ask) -> Order:
    """One order as it stands now. Raises NotFound; Transient for one that we do not understand. Source: order."""
    reply = await client.run(ORDER, {"id": gid}, ask)
    raw = reply.data["order"]
    if raw is None:
        raise NotFound(f"{client.config.shop} has no order {gid}.", upstream_request_id=reply.request_id)
    try:
        return await _order(client, read(_Order, raw), ask)
    except Unclear as problem:
        raise Transient(f"The order {gid} cannot be read: {problem}", upstream_request_id=reply.request_id) from problem


def _discreet(row: object) -> object:
    """The row without attributes that are not ours: buyers write into them, and a row may end in quarantine."""
    told = row.get("customAttributes") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(told, list):
        return row
    return {**row, "customAttributes": [one for one in told if isinstance(one, dict) and one.get("key") == RESERVATION]}


def _changed_since(since: datetime) -> Search:
    def search(beyond: object | None) -> str | None:
        at = since - OVERLAP if beyond is None else answered(_Changed, beyond).updated_at
        return f"updated_at:>={quoted(stamp(at))}"

    return search


class _Changed(Wire):
    updated_at: Instant


async def _order(client: ShopClient, wire: _Order, ask: Ask) -> Order:
    """Raises Unclear."""
    lines = await whole(client, ORDER_LINES, wire.id, _Line, wire.line_items.nodes, wire.line_items.page_info, ask)
    channel = client.config.channel.id
    return Order(
        id=order_id(channel, wire.id),
        channel=channel,
        marketplace=None,
        external_id=wire.id,
        status=order_status(
            wire.display_fulfillment_status,
            wire.display_financial_status,
            cancelled=wire.cancelled_at is not None,
            sent=bool(wire.sent),
            delivered=bool(wire.sent) and all(each.display_status == "DELIVERED" for each in wire.sent),
        ),
        channel_status=f"{wire.display_fulfillment_status}/{wire.display_financial_status or 'UNKNOWN'}",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=wire.processed_at,
        updated_at=wire.updated_at,
        lines=[_line(channel, wire.id, line) for line in lines],
        total=wire.current_total_price_set.money(),
        shipments=[shipment for each in wire.sent for shipment in _shipments(each)],
        refs={"name": wire.name} | ({"reservation": wire.reservation} if wire.reservation else {}),
    )


def _line(channel: ChannelId, order_gid: str, line: _Line) -> OrderLine:
    """`channel_sku` is "" for a line that has none, such as one typed in by hand."""
    return OrderLine(
        id=line_id(order_id(channel, order_gid), line.id),
        external_id=line.id,
        channel_sku=ChannelSku(line.sku or ""),
        quantity=line.current_quantity,
        quantity_shipped=max(0, line.current_quantity - line.unfulfilled_quantity),
        title=line.title,
        unit_price=line.original_unit_price_set.money(),
        total=line.discounted_total_set.money(),
    )


def _shipments(fulfillment: _Fulfillment) -> list[Shipment]:
    """One for each tracking number; the second and further of one fulfillment are told apart by their place in it."""
    marks = fulfillment.tracking_info or [_Tracking(company=None, number=None)]
    return [
        Shipment(
            reference=fulfillment.id if place == 0 else f"{fulfillment.id}#{place + 1}",
            carrier=mark.company or "",
            tracking_number=mark.number or "",
            shipped_at=fulfillment.created_at,
            channel_confirmed_at=fulfillment.created_at,
        )
        for place, mark in enumerate(marks)
    ]


# What is left to do, where nothing has been shipped yet: it depends on the money.
_BY_PAYMENT = {
    "PAID": OrderStatus.UNSHIPPED,
    "AUTHORIZED": OrderStatus.UNSHIPPED,  # taken when it ships
    "PARTIALLY_REFUNDED": OrderStatus.UNSHIPPED,
    "PENDING": OrderStatus.PENDING,
    "PARTIALLY_PAID": OrderStatus.PENDING,
    "EXPIRED": OrderStatus.PENDING,
    "REFUNDED": OrderStatus.CANCELLED,
    "VOIDED": OrderStatus.CANCELLED,
    None: OrderStatus.PENDING,
}
_BY_FULFILLMENT = {
    "FULFILLED": OrderStatus.SHIPPED,
    "PARTIALLY_FULFILLED": OrderStatus.PARTIALLY_SHIPPED,
    "ON_HOLD": OrderStatus.ON_HOLD,
    "REQUEST_DECLINED": OrderStatus.ON_HOLD,  # someone else was asked to ship it and will not
    "SCHEDULED": OrderStatus.PENDING,
    "RESTOCKED": OrderStatus.CANCELLED,
    "FULFILLMENT_NOT_REQUIRED": OrderStatus.SHIPPED,  # where a parcel has left; else there never was anything to do
}
_NOT_SHIPPED = frozenset({"UNFULFILLED", "OPEN", "IN_PROGRESS", "PENDING_FULFILLMENT"})


def order_status(
    fulfillment: str, payment: str | None, *, cancelled: bool = False, sent: bool = False, delivered: bool = False
) -> OrderStatus:
    """From the two display statuses; `sent`: a parcel has left, `delivered`: all that left have arrived.

    Raises Unclear for a value that was not published when this was written.
    """
    if payment not in _BY_PAYMENT:
        raise Unclear(f"unknown displayFinancialStatus {payment}")
    if fulfillment not in _NOT_SHIPPED and fulfillment not in _BY_FULFILLMENT:
        raise Unclear(f"unknown displayFulfillmentStatus {fulfillment}")
    if cancelled:
        return OrderStatus.CANCELLED
    if fulfillment in _NOT_SHIPPED:
        return _BY_PAYMENT[payment]
    status = _BY_FULFILLMENT[fulfillment]
    if fulfillment == "FULFILLMENT_NOT_REQUIRED" and not sent:
        return OrderStatus.CANCELLED
    return OrderStatus.DELIVERED if status is OrderStatus.SHIPPED and delivered else status
