"""Orders from `orders` and `order`. Who bought is asked for where the channel is to tell it; while the platform has not approved
the app for that, the orders come without.

A shop has no one status: `cancelledAt`, `displayFulfillmentStatus` and `displayFinancialStatus` together say where an order
stands. A value that we do not know rejects the order instead of guessing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

from adapters.port import Page
from adapters.shopify.bulk_query import BulkQuery, Load, cheaper, loaded, routes
from adapters.shopify.client import Node, ShopClient
from adapters.shopify.documents import (
    LINE,
    ORDER_ALONE,
    ORDER_LINES,
    ORDERS,
    ORDERS_AND_BUYERS,
    ORDERS_COUNT,
    ORDERS_NAMED,
    ORDERS_NAMED_AND_BUYERS,
)
from adapters.shopify.fulfillment import standing
from adapters.shopify.order_money import MoneyOfLine, Shipping, of_line, of_order
from adapters.shopify.paging import Batch, Search, answered, fullest, pages, whole
from adapters.shopify.wire import SENT, Connection, Instant, MoneyBag, literal, quoted, rejected, stamp
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import MissingRole, NotFound, Refused, Transient
from domain.ids import ChannelId, ChannelSku, line_id, node_id, order_id
from domain.order import CancelledBy, Order, OrderLine, OrderStatus, Shipment
from domain.person import Person, Recipient
from domain.product import FulfilledBy
from domain.route import Route, Way

log = logging.getLogger(__name__)

# An order that changes while pages are read moves to their end, and the search index may trail the orders.
OVERLAP = timedelta(minutes=5)
# Changes of so long may be many: then they are counted, and the cheaper way to all of them is taken.
LONG = timedelta(days=7)
PAGE = 100  # orders on a page of ORDERS
BATCH = 50  # of ORDERS_NAMED, which costs what one order does

# The note attribute by which a storefront says which of our reservations an order was bought with.
RESERVATION = "acorn_reservation"
LONGEST_REFERENCE = 100  # characters; buyers can write into a cart's attributes whatever they like


class _Line(MoneyOfLine):
    id: str
    sku: str | None
    title: str
    quantity: int
    current_quantity: int
    unfulfilled_quantity: int
    original_unit_price_set: MoneyBag
    discounted_total_set: MoneyBag


class _Named(Wire):
    name: str | None


class _Address(Wire):
    name: str | None
    company: str | None
    address1: str | None
    address2: str | None
    city: str | None
    province_code: str | None
    zip: str | None
    country_code_v2: str | None
    phone: str | None

    def recipient(self) -> Recipient | None:
        """None without a country."""
        if not self.country_code_v2:
            return None
        return Recipient(
            country=self.country_code_v2,
            name=self.name or None,
            line1=self.address1 or None,
            line2=self.address2 or None,
            city=self.city or None,
            region=self.province_code or None,
            postal_code=self.zip or None,
            phone=self.phone or None,
            company=self.company or None,
        )


class _Tracking(Wire):
    company: str | None
    number: str | None


class _Fulfillment(Wire):
    id: str
    status: str
    display_status: str | None
    created_at: Instant
    delivered_at: Instant | None
    total_quantity: int
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
    cancel_reason: str | None
    test: bool
    display_financial_status: str | None
    display_fulfillment_status: str
    current_total_price_set: MoneyBag
    total_price_set: MoneyBag
    total_tip_received_set: MoneyBag
    taxes_included: bool
    shipping_line: Shipping | None
    custom_attributes: list[_Attribute]
    line_items: Connection[_Line]
    fulfillments: list[_Fulfillment]
    email: str | None = None
    billing_address: _Named | None = None
    shipping_address: _Address | None = None

    @property
    def person(self) -> Person | None:
        """None where nobody is named."""
        at = self.recipient
        name = (self.billing_address.name if self.billing_address else None) or (at.name if at else None)
        return Person(name, self.email or None, at) if name or self.email or (at and at.line1) else None

    @property
    def recipient(self) -> Recipient | None:
        return self.shipping_address.recipient() if self.shipping_address else None

    @property
    def delivered_at(self) -> datetime | None:
        """When the last parcel arrived; None while one has not, or nobody says when."""
        told = [each.delivered_at for each in self.sent]
        return max((at for at in told if at is not None), default=None) if None not in told else None

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


async def order_routes(client: ShopClient, changes: int) -> list[Route]:
    """What pages take for so many orders, and a bulk operation where it may be used."""
    ways = await routes(client, _load(datetime.now(UTC)), changes)
    return [one for one in ways if one.way is Way.PAGES or not client.config.buyers]


async def order_pages(
    client: ShopClient, since: datetime, ask: Ask, way: Way | None = None
) -> AsyncIterator[Page[Order]]:
    """Orders changed since then, oldest change first, an order again only when it has changed again.

    Where no `way` is given, those of a long time come by a bulk operation, in no order, where that is there first. Test orders
    are left out. `until` is the newest change told so far, of those without an order told with the last page, or a little
    before the asking where all is older. Without the scope read_all_orders a shop shows no order older than 60 days.
    Source: orders.
    """
    told: dict[str, datetime] = {}
    until, began = since, datetime.now(UTC)
    tests = 0
    async for batch in _batches(client, since, ask, way):
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
                page.items.append(await _order(client, wire, batch.request_id, ask))
            except Unclear as problem:
                page.rejected.append(rejected(client.config.channel.id, "order", _nobody(row), str(problem)))
        if batch.last:
            # A shop that sells nothing stays no more behind than its index may trail; a file tells of when it was begun.
            page.until = max(until, min(began, batch.as_of) - OVERLAP)
        elif batch.in_order:
            page.until = until
        yield page
    if tests:
        log.info("shop.test_orders_left_out", extra={"channel": client.config.channel.id, "count": tests})


async def _batches(client: ShopClient, since: datetime, ask: Ask, way: Way | None) -> AsyncIterator[Batch]:
    if client.config.buyers:
        # The file of a bulk operation lies on the disk while it is read, and nobody's address is to lie there.
        async for batch in pages(client, ORDERS, _changed_since(since), ask, fuller=ORDERS_AND_BUYERS):
            yield batch
        return
    load = _load(since)
    if way is None:
        many = since < datetime.now(UTC) - LONG
        way = await cheaper(client, load, ORDERS_COUNT, load.search(None), ask) if many else Way.PAGES
    async for batch in loaded(client, load, way, ask):
        yield batch


def _load(since: datetime) -> Load:
    return Load(ORDERS, _changed_since(since), all_orders(since), children=2, page=PAGE)


def all_orders(since: datetime) -> BulkQuery:
    """Whole days: who goes on after a breakdown asks for the same, and finds what is being made already."""
    day = (since - OVERLAP).replace(hour=0, minute=0, second=0, microsecond=0)
    terms = literal(f"updated_at:>={quoted(stamp(day))}")
    body = f"orders(query: {terms}) {{ edges {{ node {{ {ORDER_ALONE} lineItems {{ edges {{ node {{ {LINE} }} }} }} }} }} }}"
    return BulkQuery("AcornOrders", body, {"Order": {"LineItem": "lineItems"}})


async def order(client: ShopClient, gid: str, ask: Ask) -> Order:
    """One order as it stands now. Raises NotFound; Refused for a test order; Transient for one that we do not understand.

    Read together with others that are asked for at this time. Source: nodes.
    """
    found = await _named(client, gid, ask)
    if not found.told:
        words = (
            f"{client.config.shop} has no order {gid}, or it is older than 60 days and the app lacks read_all_orders."
        )
        raise NotFound(words, upstream_request_id=found.request_id)
    try:
        wire = read(_Order, _discreet(found.told))
        if wire.test:
            raise Refused(f"The order {wire.name} is a test order, which is none to us.")
        return await _order(client, wire, found.request_id, ask)
    except Unclear as problem:
        raise Transient(f"The order {gid} cannot be read: {problem}", upstream_request_id=found.request_id) from problem


async def _named(client: ShopClient, gid: str, ask: Ask) -> Node:
    if client.config.buyers:
        with contextlib.suppress(MissingRole):
            return await client.node(ORDERS_NAMED_AND_BUYERS, gid, ask)
    return await client.node(ORDERS_NAMED, gid, ask)


async def orders_named(client: ShopClient, gids: Sequence[str], ask: Ask) -> list[Order]:
    """Those of at most BATCH orders that `order` would tell; the others, whatever the reason, are missing. Source: nodes."""
    fuller = ORDERS_NAMED_AND_BUYERS if client.config.buyers else None
    reply = await fullest(client, ORDERS_NAMED, fuller, {"ids": list(gids)}, ask)
    found = []
    for row in reply.data["nodes"]:
        if row is not None:
            with contextlib.suppress(Unclear):
                wire = read(_Order, _discreet(row))
                if not wire.test:
                    found.append(await _order(client, wire, reply.request_id, ask))
    return found


def _discreet(row: object) -> object:
    """The row without attributes that are not ours: buyers write into them."""
    told = row.get("customAttributes") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(told, list):
        return row
    return {**row, "customAttributes": [one for one in told if isinstance(one, dict) and one.get("key") == RESERVATION]}


def _nobody(row: object) -> object:
    """What may be kept of a row that cannot be read."""
    people = ("email", "billingAddress", "shippingAddress")
    return {name: told for name, told in row.items() if name not in people} if isinstance(row, dict) else None


def _changed_since(since: datetime) -> Search:
    def search(beyond: object | None) -> str | None:
        at = since - OVERLAP if beyond is None else answered(_Changed, beyond).updated_at
        return f"updated_at:>={quoted(stamp(at))}"

    return search


class _Changed(Wire):
    updated_at: Instant


async def _order(client: ShopClient, wire: _Order, request_id: str | None, ask: Ask) -> Order:
    """Raises Unclear."""
    lines = await whole(client, ORDER_LINES, wire.id, _Line, wire.line_items.nodes, wire.line_items.page_info, ask)
    channel = client.config.channel.id
    counts = await _counts(client, wire, lines, ask)
    return Order(
        id=order_id(channel, wire.id),
        upstream_request_id=request_id,
        channel=channel,
        marketplace=None,
        external_id=wire.id,
        status=order_status(
            wire.display_fulfillment_status,
            wire.display_financial_status,
            cancelled=wire.cancelled_at is not None,
            sent=bool(wire.sent),
            emptied=bool(lines) and not any(wanted for wanted, _ in counts.values()),
            delivered=bool(wire.sent) and all(each.display_status == "DELIVERED" for each in wire.sent),
        ),
        channel_status=f"{wire.display_fulfillment_status}/{wire.display_financial_status or 'UNKNOWN'}",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=wire.processed_at,
        updated_at=wire.updated_at,
        lines=[_line(channel, wire, line, *counts[line.id]) for line in lines],
        service=(wire.shipping_line.title or None) if wire.shipping_line else None,
        destination=wire.recipient.destination if wire.recipient else None,
        total=wire.current_total_price_set.money(),
        shipments=[shipment for each in wire.sent for shipment in _shipments(each)],
        refs={"name": wire.name} | ({"reservation": wire.reservation} if wire.reservation else {}),
        charges=of_order(wire.shipping_line, wire.total_tip_received_set, contained=wire.taxes_included),
        charged=wire.total_price_set.money(),
        prices_with_tax=wire.taxes_included,
        delivered_at=wire.delivered_at,
        person=wire.person,
    )


async def _counts(client: ShopClient, wire: _Order, lines: list[_Line], ask: Ask) -> dict[str, tuple[int, int]]:
    """By line: the units that are wanted, those that have left included, and the units that have left.

    `currentQuantity` is without all units that were refunded, whether they had left or not, and what it leaves of
    `unfulfilledQuantity` is not published. So once units of an order that is partly sent were taken out, they are counted: by its
    parcels where those say all, else by its parcels and fulfillment orders.
    """
    told = {
        each.id: (each.current_quantity, max(0, each.current_quantity - each.unfulfilled_quantity)) for each in lines
    }
    if wire.cancelled_at is not None or not wire.sent or all(each.quantity == each.current_quantity for each in lines):
        return told
    left = sum(each.total_quantity for each in wire.sent)
    if left == sum(each.quantity for each in lines):
        return {each.id: (each.quantity, each.quantity) for each in lines}
    if wire.display_fulfillment_status == "FULFILLED" and left == sum(each.current_quantity for each in lines):
        return {each.id: (each.current_quantity, each.current_quantity) for each in lines}
    found = await standing(client, wire.id, ask)
    if found is None:
        return told
    # A parcel may be shown later than the work that it ends: what is neither sent nor open was not taken out.
    return {
        each.id: (max(each.current_quantity, found.sent[each.id] + found.open[each.id]), found.sent[each.id])
        for each in lines
    }


def _line(channel: ChannelId, order: _Order, line: _Line, wanted: int, left: int) -> OrderLine:
    """`channel_sku` is "" for a line that has none, such as one typed in by hand.

    Who wanted units not to be sent is told of an order that was canceled as a whole, and else of nobody.
    """
    taken = max(0, line.quantity - wanted)
    return OrderLine(
        id=line_id(order_id(channel, order.id), line.id),
        external_id=line.id,
        channel_sku=ChannelSku(line.sku or ""),
        quantity=wanted,
        quantity_shipped=left,
        title=line.title,
        unit_price=line.original_unit_price_set.money(),
        total=line.discounted_total_set.money(),
        quantity_cancelled=taken,
        cancelled_by=_cancelled_by(order.cancel_reason) if taken and order.cancelled_at is not None else None,
        charges=of_line(line, contained=order.taxes_included),
    )


CANCELLED_BY = {
    "CUSTOMER": CancelledBy.BUYER,
    "DECLINED": CancelledBy.SELLER,
    "FRAUD": CancelledBy.SELLER,
    "INVENTORY": CancelledBy.SELLER,
    "STAFF": CancelledBy.SELLER,
    "OTHER": None,
}


def _cancelled_by(reason: str | None) -> CancelledBy | None:
    if reason is not None and reason not in CANCELLED_BY:
        raise Unclear(f"unknown cancelReason {reason}")
    return CANCELLED_BY[reason] if reason else None


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
    fulfillment: str,
    payment: str | None,
    *,
    cancelled: bool = False,
    sent: bool = False,
    delivered: bool = False,
    emptied: bool = False,
) -> OrderStatus:
    """From the two display statuses; `sent`: a parcel has left, `delivered`: all that left have arrived, `emptied`: every unit
    was taken out of the order, which API versions before 2026-10 show as UNFULFILLED still.

    Raises Unclear for a value that was not published when this was written.
    """
    if payment not in _BY_PAYMENT:
        raise Unclear(f"unknown displayFinancialStatus {payment}")
    if fulfillment not in _NOT_SHIPPED and fulfillment not in _BY_FULFILLMENT:
        raise Unclear(f"unknown displayFulfillmentStatus {fulfillment}")
    if cancelled or (emptied and not sent and fulfillment in _NOT_SHIPPED):
        return OrderStatus.CANCELLED
    if fulfillment in _NOT_SHIPPED:
        return _BY_PAYMENT[payment]
    status = _BY_FULFILLMENT[fulfillment]
    if fulfillment == "FULFILLMENT_NOT_REQUIRED" and not sent:
        return OrderStatus.CANCELLED
    return OrderStatus.DELIVERED if status is OrderStatus.SHIPPED and delivered else status
