"""Orders and parcels. Sources: Orders 2026-01-01 (searchOrders, getOrder), Orders v0 (confirmShipment).

Data sets that hold buyers (BUYER, RECIPIENT) are asked for where the channel is to tell them; while their roles are missing, the
orders come without.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from adapters.amazon import order_money, people
from adapters.amazon.client import Client, Query, W
from adapters.amazon.listings import iso
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.order_money import ItemProceeds, Proceeds
from adapters.amazon.paging import Tokens
from adapters.amazon.wire import Count, Instant, Pagination, rejected
from adapters.port import BeforeSend, OrderKey, Page, Parcel, Receipt, Sighting
from adapters.wire import Price, Unclear, Wire, read
from domain.budget import Ask
from domain.carrier import sent_as
from domain.channel import Platform
from domain.errors import Invalid, MissingRole, NotFound, Transient
from domain.ids import ChannelId, ChannelSku, OrderId, line_id, order_id
from domain.order import CancelledBy, Order, OrderLine, OrderStatus, Shipment
from domain.product import FulfilledBy

INCLUDED = ("PROCEEDS", "FULFILLMENT", "PACKAGES", "CANCELLATION")
PAGE = 100

STATUSES = {
    "PENDING_AVAILABILITY": OrderStatus.PENDING,
    "PENDING": OrderStatus.PENDING,
    "UNSHIPPED": OrderStatus.UNSHIPPED,
    "PARTIALLY_SHIPPED": OrderStatus.PARTIALLY_SHIPPED,
    "SHIPPED": OrderStatus.SHIPPED,
    "CANCELLED": OrderStatus.CANCELLED,
    "UNFULFILLABLE": OrderStatus.ON_HOLD,
}
CANCELLED_BY = {"BUYER": CancelledBy.BUYER, "MERCHANT": CancelledBy.SELLER, "AMAZON": CancelledBy.CHANNEL}
FULFILLED_BY = {"MERCHANT": FulfilledBy.MERCHANT, "AMAZON": FulfilledBy.CHANNEL}


class SalesChannel(Wire):
    """Where it was ordered. NON_AMAZON: an own shop's order that Amazon only ships."""

    channel_name: str
    marketplace_id: str | None = None


class Window(Wire):
    """A promised time."""

    latest_date_time: Instant | None = None


class Fulfillment(Wire):
    """Where the order stands. Strings, not enums: a new word must reach the quarantine with its order."""

    fulfillment_status: str
    fulfilled_by: str | None = None
    fulfillment_service_level: str | None = None
    ship_by_window: Window | None = None
    deliver_by_window: Window | None = None


class ItemFulfillment(Wire):
    """Units shipped, and units still to ship."""

    quantity_fulfilled: Count | None = None
    quantity_unfulfilled: Count | None = None


class ProductPrice(Wire):
    """What one unit costs the buyer."""

    unit_price: Price | None = None


class Product(Wire):
    """What was ordered."""

    seller_sku: str | None = None
    title: str | None = None
    price: ProductPrice | None = None


class Execution(Wire):
    """BUYER, MERCHANT or AMAZON."""

    cancelled_by: str | None = None


class Wish(Wire):
    """BUYER, who asks for a cancellation that nobody has carried out yet."""

    requester: str | None = None


class Cancellation(Wire):
    """How units of a line came to be cancelled."""

    cancellation_execution: Execution | None = None
    cancellation_request: Wish | None = None


class Item(Wire):
    """One line."""

    order_item_id: str
    quantity_ordered: Count
    product: Product
    proceeds: ItemProceeds | None = None
    fulfillment: ItemFulfillment | None = None
    cancellation: Cancellation | None = None


class PackageStatus(Wire):
    """PENDING, IN_TRANSIT, SHIPPED, DELIVERED, CANCELLED or UNDELIVERABLE."""

    status: str


class PackageItem(Wire):
    """Units of one line in a parcel."""

    order_item_id: str
    quantity: Count


class Package(Wire):
    """A parcel of an order that the merchant fulfills."""

    package_reference_id: str
    package_status: PackageStatus | None = None
    carrier: str | None = None
    shipping_service: str | None = None
    tracking_number: str | None = None
    ship_time: Instant | None = None
    created_time: Instant | None = None
    package_items: tuple[PackageItem, ...] = ()

    @property
    def status(self) -> str | None:
        """Amazon's word for where it is."""
        return self.package_status.status if self.package_status else None


class WireOrder(Wire):
    """One order of the account."""

    order_id: str
    created_time: Instant
    last_updated_time: Instant
    sales_channel: SalesChannel
    order_items: list[Item]
    fulfillment: Fulfillment
    proceeds: Proceeds | None = None
    packages: tuple[Package, ...] = ()
    buyer: people.Buyer | None = None
    recipient: people.Delivery | None = None


class Origin(Wire):
    """As much of an order as tells whether it is Amazon's; read first, since nothing else of a foreign one matters."""

    sales_channel: SalesChannel


class Found(Wire):
    """One page of searchOrders. Amazon names the end of the window it has looked through."""

    orders: list[object]
    last_updated_before: Instant
    pagination: Pagination = Pagination()


class Listed(Wire):
    """One page of searchOrders, by whatever was searched."""

    orders: list[object]
    pagination: Pagination = Pagination()


class One(Wire):
    """The answer of getOrder."""

    order: object


class Parcels(Wire):
    """The answer of getOrder, as far as parcels go."""

    packages: tuple[Package, ...] = ()


class ParcelsOfOne(Wire):
    """Its envelope."""

    order: Parcels


async def order_pages(
    client: Client, codes: Mapping[str, str], since: datetime, ask: Ask
) -> AsyncIterator[Page[Order]]:
    """Orders of all the account's marketplaces changed since then. `codes` are country codes by marketplace id.

    At 0.0056 calls a second this is the slow, reconciling way; a page token lives 24 h.
    """
    query: dict[str, str | tuple[str, ...]] = {
        "lastUpdatedAfter": iso(since),
        "marketplaceIds": tuple(codes),
        "maxResultsPerPage": str(PAGE),
    }
    until: datetime | None = None
    tokens = Tokens("searchOrders")
    while True:
        found, request_id = await _told(client, "searchOrders", "/orders/2026-01-01/orders", query, ask, Found)
        # The earliest that any page names: what changed after it is asked for again.
        until = min(until or found.last_updated_before, found.last_updated_before)
        token = tokens.next(found.pagination.next_token)
        page = _page(client.channel, codes, found.orders, request_id)
        page.until = until.astimezone(UTC) if token is None else None
        yield page
        if token is None:
            return
        query["paginationToken"] = token


def orders_placed(
    client: Client, codes: Mapping[str, str], start: datetime, end: datetime, ask: Ask
) -> AsyncIterator[Page[Order]]:
    """Orders placed from `start` until before `end`, oldest first, as they stand now. Source: searchOrders by creation."""
    query: dict[str, str | tuple[str, ...]] = {
        "createdAfter": iso(start),
        "createdBefore": iso(end),
        "marketplaceIds": tuple(codes),
        "maxResultsPerPage": str(PAGE),
    }
    return _listed(client, codes, query, ask)


async def _listed(
    client: Client, codes: Mapping[str, str], query: dict[str, str | tuple[str, ...]], ask: Ask
) -> AsyncIterator[Page[Order]]:
    """All pages of a search, whose end nobody needs to know."""
    tokens = Tokens("searchOrders")
    while True:
        found, request_id = await _told(client, "searchOrders", "/orders/2026-01-01/orders", query, ask, Listed)
        token = tokens.next(found.pagination.next_token)
        yield _page(client.channel, codes, found.orders, request_id)
        if token is None:
            return
        query["paginationToken"] = token


def orders_to_ship(client: Client, codes: Mapping[str, str], since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
    """What we ship of the orders changed since then, and has not left. Source: searchOrders by fulfiller and status."""
    query: dict[str, str | tuple[str, ...]] = {
        "lastUpdatedAfter": iso(since),
        "marketplaceIds": tuple(codes),
        "fulfilledBy": ("MERCHANT",),
        "fulfillmentStatuses": ("UNSHIPPED", "PARTIALLY_SHIPPED"),
        "maxResultsPerPage": str(PAGE),
    }
    return _listed(client, codes, query, ask)


async def order(client: Client, codes: Mapping[str, str], key: OrderKey, ask: Ask) -> Order:
    """One order. Raises NotFound, and Transient when it says something we do not understand."""
    one, request_id = await _told(client, "getOrder", _path(key), {}, ask, One)
    try:
        found = order_of(client.channel, codes, one.order, request_id)
    except Unclear as problem:
        raise _unclear(key, problem, request_id) from problem
    if found is None:
        raise NotFound(f"{key.external_id} is not an order of an Amazon marketplace.", upstream_request_id=request_id)
    return found


async def _told(
    client: Client, operation: str, path: str, query: Query, ask: Ask, model: type[W]
) -> tuple[W, str | None]:
    """The answer with all data sets that we may have, and Amazon's id of the call."""
    if client.buyers:
        whole = {**query, "includedData": (*INCLUDED, *people.DATA_SETS)}
        with contextlib.suppress(MissingRole):
            return await client.get_with_id(operation, path, whole, ask, model, extra=people.DATA_SETS)
    return await client.get_with_id(operation, path, {**query, "includedData": INCLUDED}, ask, model)


async def confirm_shipment(client: Client, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend) -> Receipt:
    """Confirm one parcel. The same reference again edits the same parcel, so repeating it ships nothing twice."""
    if key.marketplace is None:
        raise Invalid(f"The marketplace of order {key.external_id} is not known, and Amazon asks for it.")
    request_id = await client.change_unanswered(
        "confirmShipment",
        "POST",
        f"/orders/v0/orders/{quote(key.external_id, safe='')}/shipmentConfirmation",
        ask,
        before_send,
        body=confirmation(key.marketplace, parcel),
    )
    return Receipt(request_id, parcel.reference)


def confirmation(country: str, parcel: Parcel) -> dict[str, object]:
    """The body of confirmShipment, for an order of the country's marketplace."""
    carrier = sent_as(parcel.carrier, Platform.AMAZON, country)
    return {
        "marketplaceId": marketplace(country).id,
        "packageDetail": {
            # Amazon refuses a number here since January 2026.
            "packageReferenceId": parcel.reference,
            "carrierCode": carrier.code,
            "carrierName": carrier.name,
            **({"shippingMethod": parcel.service} if parcel.service else {}),
            "trackingNumber": parcel.tracking_number,
            "shipDate": iso(parcel.shipped_at),
            "orderItems": [{"orderItemId": line, "quantity": units} for line, units in parcel.lines],
        },
    }


async def parcel_seen(
    client: Client,
    codes: Mapping[str, str],
    key: OrderKey,
    parcel: Parcel,
    ask: Ask,
    *,
    by_reference: bool = True,
) -> Sighting:
    """Whether getOrder shows a parcel with our reference, its tracking number and every one of its lines; a feed gives no
    reference.

    Raises Transient when the parcels cannot be read.
    """
    one, request_id = await _told(client, "getOrder", _path(key), {}, ask, One)
    try:
        packages = read(ParcelsOfOne, {"order": one.order}).order.packages
    except Unclear as problem:
        raise _unclear(key, problem, request_id) from problem
    try:
        whole = order_of(client.channel, codes, one.order, request_id)
    except Unclear:
        whole = None  # the parcel can be told from an order of which we do not understand the rest
    found = any(
        _is(one, parcel) for one in packages if not by_reference or one.package_reference_id == parcel.reference
    )
    return Sighting(found, request_id, whole)


def _unclear(key: OrderKey, problem: Unclear, request_id: str | None) -> Transient:
    return Transient(f"Amazon's order {key.external_id} cannot be read: {problem}.", upstream_request_id=request_id)


def _is(package: Package, parcel: Parcel) -> bool:
    inside: dict[str, int] = {}
    for item in package.package_items:
        inside[item.order_item_id] = inside.get(item.order_item_id, 0) + item.quantity
    return (
        package.tracking_number == parcel.tracking_number
        and package.status != "CANCELLED"
        and all(inside.get(line) == units for line, units in parcel.lines)
    )


def _path(key: OrderKey) -> str:
    return f"/orders/2026-01-01/orders/{quote(key.external_id, safe='')}"


def _page(channel: ChannelId, codes: Mapping[str, str], orders: list[object], request_id: str | None) -> Page[Order]:
    page: Page[Order] = Page([])
    for raw in orders:
        try:
            found = order_of(channel, codes, raw, request_id)
        except Unclear as problem:
            page.rejected.append(rejected(channel, "order", "orderId", raw, problem))
            continue
        if found is not None:
            page.items.append(found)
    return page


def order_of(channel: ChannelId, codes: Mapping[str, str], raw: object, request_id: str | None = None) -> Order | None:
    """The order as we tell it; None for an own shop's order that Amazon only ships. Raises Unclear."""
    if read(Origin, raw).sales_channel.channel_name == "NON_AMAZON":
        return None
    wire = read(WireOrder, raw)
    code = codes.get(wire.sales_channel.marketplace_id or "")
    if code is None:
        raise Unclear(f"salesChannel.marketplaceId: {wire.sales_channel.marketplace_id} is none of this channel's")
    id = order_id(channel, wire.order_id)
    lines = [_line(id, wire.fulfillment.fulfillment_status, item) for item in wire.order_items]
    at = people.recipient(wire.recipient)
    return Order(
        id=id,
        upstream_request_id=request_id,
        channel=channel,
        marketplace=code,
        external_id=wire.order_id,
        status=_status(wire),
        channel_status=wire.fulfillment.fulfillment_status,
        fulfilled_by=_fulfilled_by(wire.fulfillment),
        placed_at=wire.created_time.astimezone(UTC),
        updated_at=wire.last_updated_time.astimezone(UTC),
        lines=lines,
        ship_by=_end(wire.fulfillment.ship_by_window),
        deliver_by=_end(wire.fulfillment.deliver_by_window),
        service=wire.fulfillment.fulfillment_service_level or None,
        destination=None if at is None else at.destination,
        total=wire.proceeds.grand_total.money() if wire.proceeds and wire.proceeds.grand_total else None,
        shipments=[shipment for package in wire.packages if (shipment := _shipment(package))],
        charges=order_money.of_order(wire.proceeds, (charge for line in lines for charge in line.charges)),
        charged=wire.proceeds.grand_total.money() if wire.proceeds and wire.proceeds.grand_total else None,
        prices_with_tax=marketplace(code).prices_with_tax,
        person=people.person(wire.buyer, wire.recipient),
        cancellation_requested=any(
            item.cancellation is not None and item.cancellation.cancellation_request is not None
            for item in wire.order_items
        ),
    )


def _end(window: Window | None) -> datetime | None:
    return window.latest_date_time.astimezone(UTC) if window and window.latest_date_time else None


def _status(wire: WireOrder) -> OrderStatus:
    """By the table; a shipped order whose parcels have all arrived is delivered."""
    word = wire.fulfillment.fulfillment_status
    status = STATUSES.get(word)
    if status is None:
        raise Unclear(f"fulfillment.fulfillmentStatus: {word!r} is not known")
    sent = [package.status for package in wire.packages if package.status != "CANCELLED"]
    if status is OrderStatus.SHIPPED and sent and all(state == "DELIVERED" for state in sent):
        return OrderStatus.DELIVERED
    return status


def _fulfilled_by(fulfillment: Fulfillment) -> FulfilledBy:
    party = FULFILLED_BY.get(fulfillment.fulfilled_by or "")
    if party is None:
        raise Unclear(f"fulfillment.fulfilledBy: {fulfillment.fulfilled_by!r} is not known")
    return party


def _line(order: OrderId, status: str, item: Item) -> OrderLine:
    if not item.product.seller_sku:
        raise Unclear(f"orderItems: {item.order_item_id} has no seller SKU")
    wanted, shipped = _units(status, item)
    price, proceeds = item.product.price, item.proceeds
    return OrderLine(
        id=line_id(order, item.order_item_id),
        external_id=item.order_item_id,
        channel_sku=ChannelSku(item.product.seller_sku),
        quantity=wanted,
        quantity_shipped=shipped,
        title=item.product.title,
        unit_price=price.unit_price.money() if price and price.unit_price else None,
        total=proceeds.proceeds_total.money() if proceeds and proceeds.proceeds_total else None,
        quantity_cancelled=max(0, item.quantity_ordered - wanted),
        cancelled_by=_cancelled_by(item) if wanted < item.quantity_ordered else None,
        charges=order_money.of_item(proceeds),
    )


def _cancelled_by(item: Item) -> CancelledBy | None:
    execution = item.cancellation.cancellation_execution if item.cancellation else None
    who = execution.cancelled_by if execution else None
    if who is None:
        return None
    found = CANCELLED_BY.get(who)
    if found is None:
        raise Unclear(f"cancellationExecution.cancelledBy: {who!r} is not known")
    return found


def _units(status: str, item: Item) -> tuple[int, int]:
    """(still wanted, shipped): a cancelled unit is neither fulfilled nor unfulfilled.

    Amazon may leave the counts out where the order's status says the same.
    """
    counts = item.fulfillment
    if counts and counts.quantity_fulfilled is not None and counts.quantity_unfulfilled is not None:
        return counts.quantity_fulfilled + counts.quantity_unfulfilled, counts.quantity_fulfilled
    match status:
        case "PENDING_AVAILABILITY" | "PENDING" | "UNSHIPPED":
            return item.quantity_ordered, 0
        case "SHIPPED":
            return item.quantity_ordered, item.quantity_ordered
        case "CANCELLED":
            return 0, 0
    raise Unclear(f"orderItems: {item.order_item_id} does not say how many units were shipped")


def _shipment(package: Package) -> Shipment | None:
    """None for a parcel that never left: cancelled, or without a time."""
    at = package.ship_time or package.created_time
    if at is None or package.status == "CANCELLED" or (package.status == "PENDING" and not package.ship_time):
        return None
    return Shipment(
        reference=package.package_reference_id,
        carrier=package.carrier or "",
        tracking_number=package.tracking_number or "",
        shipped_at=at.astimezone(UTC),
        channel_confirmed_at=package.created_time.astimezone(UTC) if package.created_time else None,
        service=package.shipping_service or None,
    )
