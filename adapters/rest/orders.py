"""Orders from `listOrders` and `getOrder`. The contract tells nothing of the buyer; what a shop tells all the same is not kept.

A shop has no one status: `status`, `payment_status` and `fulfilment_status` together say where an order stands. A word that we do
not know rejects the order instead of guessing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from adapters.port import Page
from adapters.rest.client import Reply, RestClient
from adapters.rest.offers import Offers
from adapters.rest.operations import GET_ORDER, LIST_ORDERS
from adapters.rest.paging import pages
from adapters.rest.wire import Body, Count, Instant, Name, Price, rejected, stamp
from adapters.wire import Unclear, money, read
from domain.budget import Ask
from domain.errors import Transient
from domain.ids import ChannelId, ChannelSku, line_id, node_id, order_id
from domain.money import Money
from domain.order import Order, OrderLine, OrderStatus, Shipment
from domain.product import FulfilledBy

# A change may become visible a little after the instant that it carries.
OVERLAP = timedelta(minutes=5)
LONGEST_REFERENCE = 100

# What is kept of an order that cannot be read: nothing of people, whatever a shop adds.
_LINE = ("id", "sku", "quantity", "unit_price", "discount", "shipped", "cancelled", "refunded")
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
    "totals",
)

Payment = Literal["pending", "authorized", "paid", "partially_refunded", "refunded", "voided"]
Fulfilment = Literal["unfulfilled", "partial", "fulfilled", "returned"]


class _Line(Body):
    id: Name
    sku: Name
    title: str | None = None
    quantity: Count
    unit_price: Price
    discount: Price | None = None
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
    totals: _Totals
    lines: Annotated[list[_Line], Field(min_length=1), AfterValidator(_each_once)]
    shipments: list[Parcel]
    reservation: str | None = None

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
    async for batch in pages(client, LIST_ORDERS, query, ask, size=shop.limits.page):
        page: Page[Order] = Page([], until=batch.until(since))
        for row in batch.rows:
            try:
                wanted = read(Wanted, row)
                if told.get(wanted.id) == wanted.updated_at:
                    continue
                told[wanted.id] = wanted.updated_at
                page.items.append(order_of(client.channel, wanted))
            except Unclear as problem:
                page.rejected.append(rejected(client.channel, "order", _discreet(row), str(problem)))
        yield page


async def order(client: RestClient, offers: Offers, id: str, ask: Ask) -> Order:
    """One order as it stands now. Raises NotFound; Transient for one that we do not understand. Source: getOrder."""
    wanted, reply = await order_as_told(client, offers, id, ask)
    try:
        return order_of(client.channel, wanted)
    except Unclear as problem:
        raise _unreadable(id, problem, reply) from problem


async def order_as_told(client: RestClient, offers: Offers, id: str, ask: Ask) -> tuple[Wanted, Reply]:
    """The same in the shop's own words."""
    await offers.need(GET_ORDER, ask)
    reply = await client.call(GET_ORDER, ask, at={"id": id})
    try:
        return read(Wanted, reply.body), reply
    except Unclear as problem:
        raise _unreadable(id, problem, reply) from problem


def _unreadable(id: str, problem: Unclear, reply: Reply) -> Transient:
    return Transient(f"The order {id} cannot be read: {problem}", upstream_request_id=reply.request_id)


def order_of(channel: ChannelId, wanted: Wanted) -> Order:
    """Raises Unclear."""
    return Order(
        id=order_id(channel, wanted.id),
        channel=channel,
        marketplace=None,
        external_id=wanted.id,
        status=order_status(wanted.status, wanted.payment_status, wanted.fulfilment_status, on_hold=wanted.on_hold),
        channel_status=f"{wanted.status}/{wanted.payment_status}/{wanted.fulfilment_status}",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=wanted.placed_at,
        updated_at=wanted.updated_at,
        lines=[_line(channel, wanted.id, line) for line in wanted.lines],
        ship_by=wanted.ship_by,
        total=wanted.totals.grand.money(),
        shipments=[
            Shipment(one.id, one.carrier, one.tracking_number, one.shipped_at, channel_confirmed_at=one.updated_at)
            for one in wanted.shipments
        ],
        refs={"name": wanted.number} | ({"reservation": wanted.reserved} if wanted.reserved else {}),
    )


def _line(channel: ChannelId, order: str, line: _Line) -> OrderLine:
    price = line.unit_price.money()
    return OrderLine(
        id=line_id(order_id(channel, order), line.id),
        external_id=line.id,
        channel_sku=ChannelSku(line.sku),
        quantity=max(0, line.quantity - line.cancelled),
        quantity_shipped=line.shipped,
        title=line.title,
        unit_price=price,
        total=_total(price, line),
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
