"""Orders from `listOrders` and `getOrder`. Who bought is asked for where the channel is to tell it; a token without the scope for
that gets the orders without. What a shop tells all the same is not kept.

A shop has no one status: `status`, `payment_status` and `fulfilment_status` together say where an order stands. A word that we do
not know rejects the order instead of guessing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from adapters.port import Page
from adapters.rest.client import Reply, RestClient
from adapters.rest.offers import Offers
from adapters.rest.operations import GET_ORDER, LIST_ORDERS
from adapters.rest.paging import Batch, pages
from adapters.rest.wire import Body, Count, Instant, Name, Price, rejected, stamp
from adapters.wire import Unclear, money, read
from domain.budget import Ask
from domain.charge import Charge, ChargeKind
from domain.errors import Invalid, MissingRole, Transient
from domain.ids import ChannelId, ChannelSku, line_id, node_id, order_id
from domain.money import Money
from domain.order import CancelledBy, Order, OrderLine, OrderStatus, Shipment
from domain.person import Destination, Person, Recipient
from domain.product import FulfilledBy

log = logging.getLogger(__name__)

# A change may become visible a little after the instant that it carries.
OVERLAP = timedelta(minutes=5)
LONGEST_REFERENCE = 100

# What is kept of an order that cannot be read: nothing of people, whatever a shop adds.
_LINE = ("id", "sku", "quantity", "unit_price", "discount", "tax", "shipped", "cancelled", "refunded")
_PARCEL = ("id", "carrier", "tracking_number", "shipped_at", "updated_at", "lines", "reference")
_ORDER = (
    "id",
    "number",
    "rev",
    "status",
    "payment_status",
    "fulfilment_status",
    "on_hold",
    "placed_at",
    "updated_at",
    "taxes_included",
    "totals",
    "service",
)
# What is asked for where the channel is to tell who bought.
BUYER = {"include": "buyer"}

Payment = Literal["pending", "authorized", "paid", "partially_refunded", "refunded", "voided"]
Fulfilment = Literal["unfulfilled", "partial", "fulfilled", "returned"]


class _Line(Body):
    id: Name
    sku: Name
    title: str | None = None
    quantity: Count
    unit_price: Price
    discount: Price | None = None
    tax: Price | None = None
    shipped: Count
    cancelled: Count


class ParcelLine(Body):
    """Units of an order line in a parcel."""

    line_id: str
    quantity: Count


class Parcel(Body):
    """A parcel as the shop shows it; `reference` is ours where the shop keeps it."""

    id: str
    carrier: str
    tracking_number: str
    shipped_at: Instant
    updated_at: Instant
    lines: list[ParcelLine]
    reference: str | None = None


class _Totals(Body):
    grand: Price
    shipping: Price | None = None
    shipping_tax: Price | None = None
    tax: Price | None = None
    discount: Price | None = None


class _Buyer(Body):
    name: str | None = None
    email: str | None = None


class _ShipTo(Body):
    country: str | None = None
    name: str | None = None
    company: str | None = None
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    phone: str | None = None


def _each_once(lines: list[_Line]) -> list[_Line]:
    if len({one.id for one in lines}) != len(lines):
        raise ValueError("should not give one id to two lines")
    return lines


class Wanted(Body):
    """An order as the shop shows it."""

    id: Name
    number: str
    status: Literal["open", "cancelled", "closed"]
    payment_status: Payment
    fulfilment_status: Fulfilment
    on_hold: bool = False
    placed_at: Instant
    updated_at: Instant
    ship_by: Instant | None = None
    deliver_by: Instant | None = None
    service: str | None = None
    taxes_included: bool = True
    totals: _Totals
    lines: Annotated[list[_Line], Field(min_length=1), AfterValidator(_each_once)]
    shipments: list[Parcel]
    reservation: str | None = None
    cancel_reason: str | None = None
    buyer: _Buyer | None = None
    ship_to: _ShipTo | None = None

    @property
    def recipient(self) -> Recipient | None:
        """None without a country."""
        at = self.ship_to
        if at is None or not at.country:
            return None
        return Recipient(
            country=at.country,
            name=at.name or None,
            line1=at.line1 or None,
            line2=at.line2 or None,
            city=at.city or None,
            region=at.region or None,
            postal_code=at.postal_code or None,
            phone=at.phone or None,
            company=at.company or None,
        )

    @property
    def person(self) -> Person | None:
        """None where nobody is named."""
        told, at = self.buyer or _Buyer(), self.recipient
        named = told.name or told.email or (at is not None and (at.name or at.company or at.line1))
        return Person(told.name or None, told.email or None, at) if named else None

    @property
    def reserved(self) -> str | None:
        """Our reservation that it was bought with, by its public id or the key in it."""
        told = (self.reservation or "").strip().removeprefix(node_id("Reservation", ""))
        return told if 0 < len(told) <= LONGEST_REFERENCE and told.isprintable() else None


async def order_pages(client: RestClient, offers: Offers, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
    """Orders changed since then, oldest change first, an order again only when it has changed again. Source: listOrders."""
    shop = await offers.need(LIST_ORDERS, ask)
    told: dict[str, datetime] = {}
    query = {"updated_since": stamp(since - OVERLAP)}
    async for batch in _batches(client, query, ask, size=shop.limits.page):
        page: Page[Order] = Page([], until=batch.until(since))
        for row in batch.rows:
            try:
                wanted = read(Wanted, row)
                if told.get(wanted.id) == wanted.updated_at:
                    continue
                told[wanted.id] = wanted.updated_at
                page.items.append(order_of(client.channel, wanted, batch.request_id, people=client.config.buyers))
            except Unclear as problem:
                page.rejected.append(rejected(client.channel, "order", _discreet(row), str(problem)))
        yield page


async def _batches(client: RestClient, query: Mapping[str, str], ask: Ask, *, size: int) -> AsyncIterator[Batch]:
    """With who bought, and once that is refused, from the beginning without."""
    if client.config.buyers:
        try:
            async for batch in pages(client, LIST_ORDERS, {**query, **BUYER}, ask, size=size):
                yield batch
        except MissingRole as problem:
            log.warning("buyers.refused", extra={"channel": client.channel, "reason": problem.message})
        else:
            return
    async for batch in pages(client, LIST_ORDERS, query, ask, size=size):
        yield batch


async def order(client: RestClient, offers: Offers, id: str, ask: Ask) -> Order:
    """One order as it stands now. Raises NotFound; Transient for one that we do not understand. Source: getOrder."""
    wanted, reply = await order_as_told(client, offers, id, ask)
    try:
        return order_of(client.channel, wanted, reply.request_id, people=client.config.buyers)
    except Unclear as problem:
        raise _unreadable(id, problem, reply) from problem


async def order_as_told(client: RestClient, offers: Offers, id: str, ask: Ask) -> tuple[Wanted, Reply]:
    """The same in the shop's own words."""
    await offers.need(GET_ORDER, ask)
    try:
        reply = await client.call(GET_ORDER, ask, at={"id": id}, query=BUYER if client.config.buyers else None)
    except MissingRole:
        if not client.config.buyers:
            raise
        reply = await client.call(GET_ORDER, ask, at={"id": id})
    try:
        return read(Wanted, reply.body), reply
    except Unclear as problem:
        raise _unreadable(id, problem, reply) from problem


def _unreadable(id: str, problem: Unclear, reply: Reply) -> Transient:
    return Transient(f"The order {id} cannot be read: {problem}", upstream_request_id=reply.request_id)


def order_of(channel: ChannelId, wanted: Wanted, request_id: str | None = None, *, people: bool = False) -> Order:
    """Without `people` nothing of a buyer is taken over but the country. Raises Unclear."""
    try:
        charges = tuple(_charges(wanted))
    except Invalid as problem:
        raise Unclear(problem.message) from problem
    at = wanted.recipient.destination if wanted.recipient else None
    return Order(
        id=order_id(channel, wanted.id),
        upstream_request_id=request_id,
        channel=channel,
        marketplace=None,
        external_id=wanted.id,
        status=order_status(wanted.status, wanted.payment_status, wanted.fulfilment_status, on_hold=wanted.on_hold),
        channel_status=f"{wanted.status}/{wanted.payment_status}/{wanted.fulfilment_status}",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=wanted.placed_at,
        updated_at=wanted.updated_at,
        lines=[_line(channel, wanted, line) for line in wanted.lines],
        ship_by=wanted.ship_by,
        deliver_by=wanted.deliver_by,
        service=wanted.service or None,
        destination=at if at is None or people else Destination(at.country),
        total=wanted.totals.grand.money(),
        shipments=[
            Shipment(one.id, one.carrier, one.tracking_number, one.shipped_at, channel_confirmed_at=one.updated_at)
            for one in wanted.shipments
        ],
        refs={"name": wanted.number} | ({"reservation": wanted.reserved} if wanted.reserved else {}),
        charges=charges,
        charged=wanted.totals.grand.money(),
        prices_with_tax=wanted.taxes_included,
        person=wanted.person if people else None,
    )


def _charges(wanted: Wanted) -> Iterator[Charge]:
    """What belongs to no line. Of the tax of the whole that is what neither a line nor the shipping tells as its own. Raises
    Invalid for two currencies."""
    totals, contained = wanted.totals, wanted.taxes_included
    if totals.shipping is not None:
        yield Charge(ChargeKind.SHIPPING, totals.shipping.money())
    if totals.discount is not None:
        off = sum((one.discount.money() for one in wanted.lines if one.discount), -totals.discount.money())
        if off.amount:
            yield Charge(ChargeKind.DISCOUNT, off)
    if totals.shipping_tax is not None:
        yield Charge(ChargeKind.SHIPPING_TAX, totals.shipping_tax.money(), contained=contained)
    if totals.tax is not None:
        of_lines = [one.tax.money() for one in wanted.lines if one.tax]
        apart = [*of_lines, *([totals.shipping_tax.money()] if totals.shipping_tax else [])]
        rest = sum((-one for one in apart), totals.tax.money())
        if rest.amount or not of_lines:
            yield Charge(ChargeKind.OTHER_TAX if of_lines else ChargeKind.TAX, rest, contained=contained)


# Who a shop's reasons for a cancellation speak of.
CANCELLED_BY: Mapping[str, CancelledBy | None] = {
    "customer": CancelledBy.BUYER,
    "fraud": CancelledBy.SELLER,
    "inventory": CancelledBy.SELLER,
    "declined": CancelledBy.SELLER,
    "other": None,
}


def _line(channel: ChannelId, order: Wanted, line: _Line) -> OrderLine:
    price = line.unit_price.money()
    charges = [Charge(ChargeKind.GOODS, price * line.quantity)]
    if line.discount is not None:
        charges.append(Charge(ChargeKind.DISCOUNT, -line.discount.money()))
    if line.tax is not None:
        charges.append(Charge(ChargeKind.TAX, line.tax.money(), contained=order.taxes_included))
    return OrderLine(
        id=line_id(order_id(channel, order.id), line.id),
        external_id=line.id,
        channel_sku=ChannelSku(line.sku),
        quantity=max(0, line.quantity - line.cancelled),
        quantity_shipped=line.shipped,
        title=line.title,
        unit_price=price,
        total=_total(price, line),
        quantity_cancelled=min(line.cancelled, line.quantity),
        cancelled_by=CANCELLED_BY.get(order.cancel_reason or "") if line.cancelled else None,
        charges=tuple(charges),
    )


def _total(price: Money, line: _Line) -> Money:
    """What the ordered units cost, less the discount."""
    if line.discount is None:
        return price * line.quantity
    off = line.discount.money()
    if off.currency != price.currency:
        raise Unclear(f"the price of line {line.id} is in {price.currency}, its discount in {off.currency}")
    return money((price * line.quantity).amount - off.amount, price.currency)


# What is left to do, where nothing has been shipped yet: it depends on the money.
_BY_PAYMENT: Mapping[str, OrderStatus] = {
    "pending": OrderStatus.PENDING,
    "authorized": OrderStatus.UNSHIPPED,  # taken when it ships
    "paid": OrderStatus.UNSHIPPED,
    "partially_refunded": OrderStatus.UNSHIPPED,
    "refunded": OrderStatus.CANCELLED,
    "voided": OrderStatus.CANCELLED,
}


def order_status(status: str, payment: Payment, fulfilment: Fulfilment, *, on_hold: bool = False) -> OrderStatus:
    """From the three words. What is closed has nothing left to ship."""
    if status == "cancelled":
        return OrderStatus.CANCELLED
    match fulfilment:
        case "fulfilled" | "returned":
            return OrderStatus.SHIPPED
        case "partial" if status == "closed":
            return OrderStatus.SHIPPED
        case "unfulfilled" if status == "closed":
            return OrderStatus.CANCELLED
    if on_hold:
        return OrderStatus.ON_HOLD
    return OrderStatus.PARTIALLY_SHIPPED if fulfilment == "partial" else _BY_PAYMENT[payment]


def _discreet(row: object) -> object:
    """What may be kept of an order that cannot be read."""
    if not isinstance(row, dict):
        return None
    return {
        **_only(row, _ORDER),
        "lines": _each(row.get("lines"), _LINE),
        "shipments": _each(row.get("shipments"), _PARCEL),
    }


def _each(rows: object, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [_only(one, names) for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []


def _only(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row}
