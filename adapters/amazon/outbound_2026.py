"""Fulfillment Outbound 2026-07-04: getOrderPreview, createOrder, getOrder (here getOutboundOrder), listOrders, cancelOrder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from adapters.amazon.listings import iso
from adapters.amazon.outbound import (
    AmazonOutbound,
    Contents,
    Seen,
    address_body,
    answered,
    by_word,
    destination,
    known,
    spread,
    units,
)
from adapters.amazon.wire import Instant
from adapters.port import BeforeSend
from adapters.wire import Amount, Price, Unclear, Wire
from domain.budget import Ask
from domain.errors import Invalid, Transient
from domain.ids import ChannelSku
from domain.money import Money
from domain.outbound import (
    HOLD_LIFE,
    Action,
    Feature,
    Fee,
    LineState,
    OutboundOrder,
    OutboundPackage,
    OutboundState,
    OutboundStatus,
    Preview,
    Shortfall,
    Speed,
    SpeedPreview,
    Standing,
    Whereabouts,
)
from domain.outbound_return import Announced, ReturnReason, ReturnWanted

PATH = "/fulfillment/outbound/2026-07-04"

# The words of this version are those of our own enums, but for these.
STATUSES = by_word(
    {
        "PROCESSING": OutboundStatus.PROCESSING,
        "COMPLETE": OutboundStatus.COMPLETE,
        "COMPLETE_PARTIAL": OutboundStatus.PARTLY_COMPLETE,
        "CANCELLED": OutboundStatus.CANCELLED,
        "UNFULFILLABLE": OutboundStatus.UNFULFILLABLE,
        "INVALID": OutboundStatus.INVALID,
    }
)
WHEREABOUTS = by_word(
    {
        "PROCESSING": Whereabouts.PREPARING,
        "IN_TRANSIT": Whereabouts.IN_TRANSIT,
        "DELAYED": Whereabouts.DELAYED,
        "OUT_FOR_DELIVERY": Whereabouts.OUT_FOR_DELIVERY,
        "DELIVERED": Whereabouts.DELIVERED,
        "UNDELIVERABLE": Whereabouts.UNDELIVERABLE,
        "EXPIRED": Whereabouts.OTHER,
    }
)
OF_SPEED = {speed.value: speed for speed in Speed}
OF_ACTION = {action.value: action for action in Action}
# The model names no setting for the others, and one that Amazon would overlook is worse than none.
FEATURES = {Feature.BLANK_BOX: {"packagingOption": "UNBRANDED"}}
LEFT = "SHIPPED"


class Quantity(Wire):
    """A decimal amount; without a unit it is pieces."""

    unit: str | None = None
    value: Amount

    def units(self) -> int:
        """Raises Unclear."""
        return units(self.value, self.unit)


class Identifier(Wire):
    """What is shipped."""

    amazon_sku: str


class Product(Wire):
    """What was ordered."""

    product_identifier: Identifier


class PlannedItem(Wire):
    """Units in a planned shipment."""

    product_identifier: Identifier
    amount: Quantity


class Interval(Wire):
    """From, until."""

    start_time: Instant
    end_time: Instant


class OfferLevel(Wire):
    """A speed, with its times."""

    service_tier: str | None = None
    delivery_interval: Interval | None = None
    ship_interval: Interval | None = None


class OfferConfiguration(Wire):
    """How it would be shipped."""

    service_level: OfferLevel = OfferLevel()


class Rollup(Wire):
    """One part of the price."""

    type: str
    value: Price


class Estimate(Wire):
    """What it would cost."""

    rollup_prices: tuple[Rollup, ...]


class DeliveryOffer(Wire):
    """One way of shipping a planned shipment."""

    estimated_price: Estimate | None = None
    fulfillment_configuration: OfferConfiguration = OfferConfiguration()


class PlannedShipment(Wire):
    """A shipment as it is planned."""

    items: tuple[PlannedItem, ...]
    offers: tuple[DeliveryOffer, ...] = ()


class Constraint(Wire):
    """What stands in the way."""

    code: str


class PreviewAnswer(Wire):
    """The answer of getOrderPreview."""

    planned_shipments: tuple[PlannedShipment, ...]
    constraints: tuple[Constraint, ...] = ()


class Accepted(Wire):
    """The answer of createOrder: the order (200), or only its id while it is still looked at (202)."""

    order: object = None
    order_id: str | None = None


class Place(Wire):
    """As much of the address as tells whether it is the one that we sent."""

    name: Annotated[str, Field(repr=False)]
    address_line1: Annotated[str, Field(alias="addressLine1", repr=False)]
    postal_code: Annotated[str, Field(repr=False)]
    country_code: str


class Destination(Wire):
    """Where it goes."""

    delivery_address: Place


class Level(Wire):
    """The speeds wished for; the first one counts."""

    service_tiers: tuple[str, ...] = ()


class Configuration(Wire):
    """How the order is shipped."""

    service_level: Level = Level()
    action: str | None = None


class Line(Wire):
    """One line."""

    line_item_id: str
    product: Product
    amount: Quantity
    cancelled_amount: Quantity | None = None
    unfulfillable_amount: Quantity | None = None


class ShipmentItem(Wire):
    """Units of a line in a shipment."""

    line_item_id: str
    amount: Quantity
    package_id: str | None = None
    shipment_item_id: str | None = None


class Tracked(Wire):
    """A number that the carrier, or Amazon, knows the parcel by."""

    tracking_number: str | None = None
    carrier_code: str | None = None


class Tracking(Wire):
    """Both of them."""

    carrier: Tracked | None = None
    amazon: Tracked | None = None


class Package(Wire):
    """A parcel."""

    package_id: str
    delivery_time: Instant | None = None
    status: str | None = None
    tracking: Tracking = Tracking()
    shipment_item_ids: tuple[str, ...] = ()


class Shipment(Wire):
    """What leaves one fulfillment center."""

    status: str
    ship_time: Instant | None = None
    delivery_time: Instant | None = None
    items: tuple[ShipmentItem, ...]
    packages: tuple[Package, ...] = ()


class WireOrder(Wire):
    """The order."""

    order_id: str
    receive_time: Instant
    status: str | None = None
    status_update_time: Instant | None = None
    fulfillment_configuration: Configuration = Configuration()
    destination: Destination | None = None
    line_items: tuple[Line, ...]
    shipments: tuple[Shipment, ...] = ()


class OrderAnswer(Wire):
    """The answer of getOrder."""

    order: WireOrder


class Pagination(Wire):
    """Where the list goes on."""

    next_token: str | None = None


class ListAnswer(Wire):
    """The answer of listOrders."""

    orders: tuple[WireOrder, ...]
    pagination: Pagination | None = None


class Outbound2026(AmazonOutbound):
    """Satisfies `adapters.fulfillment.Outbound`; see there. It has no parameter for a marketplace: the country whose stock is
    taken goes as the origin."""

    async def _preview(self, order: OutboundOrder, speeds: Sequence[Speed], ask: Ask) -> Preview:
        as_of = datetime.now(UTC)
        answer, request_id = await self._client.read(
            "getOrderPreview", f"{PATH}/previews", preview_body(order, speeds), ask, PreviewAnswer
        )
        try:
            found = [speed_preview(order, speed, answer) for speed in speeds]
        except Unclear as problem:
            raise Transient(f"Amazon's preview cannot be read: {problem}.", upstream_request_id=request_id) from problem
        return Preview(as_of, answered(speeds, {one.speed: one for one in found}), request_id)

    async def _create(self, order: OutboundOrder, ask: Ask, before_send: BeforeSend) -> str | None:
        _, request_id = await self._client.change(
            "createOrder", "POST", f"{PATH}/orders", ask, before_send, Accepted, body=order_body(order)
        )
        return request_id

    async def _read(self, order_id: str, ask: Ask) -> Seen:
        answer, request_id = await self._client.get_with_id(
            "getOutboundOrder", _path(order_id), {"shipments": "INCLUDE"}, ask, OrderAnswer
        )
        try:
            what = contents_of(answer.order)
        except Unclear as problem:
            raise Transient(
                f"Amazon's outbound order {order_id} cannot be read: {problem}.", upstream_request_id=request_id
            ) from problem
        try:
            return Seen(what, state_of(answer.order, request_id))
        except Unclear as problem:
            return Seen(what, None, str(problem))

    async def _page(self, since: datetime, token: str | None, ask: Ask) -> tuple[dict[str, Standing], str | None]:
        query = {"updatedAfter": iso(since), "shipments": "INCLUDE", **({"pageToken": token} if token else {})}
        answer, request_id = await self._client.get_with_id("listOrders", f"{PATH}/orders", query, ask, ListAnswer)
        found = {order.order_id: _standing(order, request_id) for order in answer.orders}
        return found, answer.pagination.next_token if answer.pagination else None

    @property
    def no_returns(self) -> str:
        """Source: the model of 2026-07-04, which has no operation for it."""
        return (
            "Fulfillment Outbound 2026-07-04 announces no returns. Set the channel's outbound_version to 2020-07-01, which sees "
            "the same orders, or announce it in Seller Central."
        )

    async def return_reasons(self, order_id: str, channel_sku: ChannelSku, ask: Ask) -> list[ReturnReason]:
        raise Invalid(self.no_returns)

    async def announce_return(
        self, wanted: ReturnWanted, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Announced:
        raise Invalid(self.no_returns)

    async def _cancel(self, order_id: str, ask: Ask, before_send: BeforeSend) -> str | None:
        path = f"{_path(order_id)}/cancel"
        return await self._client.change_unanswered("cancelOrder", "PUT", path, ask, before_send, status=202)


def _path(order_id: str) -> str:
    return f"{PATH}/orders/{quote(order_id, safe='')}"


def preview_body(order: OutboundOrder, speeds: Sequence[Speed]) -> dict[str, Any]:
    """The body of getOrderPreview. Raises Invalid for a feature that this version has no setting for."""
    return {
        "fulfillmentConfiguration": {
            "serviceLevel": {"serviceTiers": [speed.value for speed in speeds]},
            "services": {"packaging": _packaging(order)},
        },
        "origin": {"countryCode": _country(order.marketplace)},
        "destination": _destination(order),
        "lineItems": [_item(order, number) for number in range(len(order.lines))],
    }


def order_body(order: OutboundOrder) -> dict[str, Any]:
    """The body of createOrder. Raises Invalid for a feature that this version has no setting for."""
    slip = {"orderId": order.shown_id, "orderTime": iso(order.placed_at), "orderText": order.comment}
    packaging = {**_packaging(order), "packingSlip": {"templateAttributes": slip}}
    return {
        "orderId": order.id,
        "fulfillmentConfiguration": {
            "serviceLevel": {"serviceTiers": [order.speed.value]},
            "action": order.action.value,
            "policy": order.policy.value,
            "services": {"packaging": packaging},
        },
        "origin": {"countryCode": _country(order.marketplace)},
        "destination": _destination(order),
        "lineItems": [{"lineItemId": line.id, **_item(order, number)} for number, line in enumerate(order.lines)],
    }


def _country(marketplace: str) -> str:
    return "GB" if marketplace == "UK" else marketplace


def _packaging(order: OutboundOrder) -> dict[str, str]:
    if strange := [feature.value for feature in order.features if feature not in FEATURES]:
        raise Invalid(
            f"Order {order.id} wants {', '.join(sorted(strange))}: Amazon names no setting for it in Fulfillment Outbound "
            "2026-07-04. Set the channel's outbound_version to 2020-07-01.",
            field=("features",),
        )
    return {name: value for feature in order.features for name, value in FEATURES[feature].items()}


def _destination(order: OutboundOrder) -> dict[str, Any]:
    email = {"email": order.address.email} if order.address.email else {}
    return {"deliveryAddress": {**address_body(order.address), **email}}


def _item(order: OutboundOrder, number: int) -> dict[str, Any]:
    line = order.lines[number]
    product: dict[str, Any] = {"productIdentifier": {"amazonSku": line.channel_sku}}
    if line.declared_value:
        product["perUnitDeclaredValue"] = _money(line.declared_value)
    return {"product": product, "amount": {"unit": "EACHES", "value": str(line.quantity)}}


def _money(amount: Money) -> dict[str, str]:
    return {"currencyCode": amount.currency, "amount": f"{amount.amount:f}"}


def speed_preview(order: OutboundOrder, speed: Speed, answer: PreviewAnswer) -> SpeedPreview:
    """One speed out of an answer that is told shipment by shipment: possible where all units are planned, and each shipment is
    offered at that speed. Raises Unclear."""
    shortfalls = _shortfalls(order, answer)
    offers = [
        next((offer for offer in each.offers if _tier(offer) == speed.value), None) for each in answer.planned_shipments
    ]
    there = [offer for offer in offers if offer is not None]
    levels = [offer.fulfillment_configuration.service_level for offer in there]
    ships = [level.ship_interval for level in levels if level.ship_interval]
    arrives = [level.delivery_interval for level in levels if level.delivery_interval]
    possible = bool(offers) and len(there) == len(offers) and not shortfalls
    return SpeedPreview(
        speed=speed,
        possible=possible,
        ships_from=spread([one.start_time for one in ships], last=False),
        ships_until=spread([one.end_time for one in ships], last=True),
        arrives_from=spread([one.start_time for one in arrives], last=False),
        arrives_until=spread([one.end_time for one in arrives], last=True),
        fees=_fees(there),
        shortfalls=shortfalls,
        reasons=() if possible else tuple(dict.fromkeys(one.code for one in answer.constraints)),
    )


def _tier(offer: DeliveryOffer) -> str | None:
    return offer.fulfillment_configuration.service_level.service_tier


def _fees(offers: Sequence[DeliveryOffer]) -> tuple[Fee, ...]:
    total: dict[str, Money] = {}
    for offer in offers:
        for part in offer.estimated_price.rollup_prices if offer.estimated_price else ():
            amount = part.value.money()
            if part.type in total and total[part.type].currency != amount.currency:
                raise Unclear(f"rollupPrices: {part.type} is told in two currencies")
            total[part.type] = total[part.type] + amount if part.type in total else amount
    return tuple(Fee(name, amount) for name, amount in total.items())


def _shortfalls(order: OutboundOrder, answer: PreviewAnswer) -> tuple[Shortfall, ...]:
    """Units that no shipment is planned for. Amazon tells them by SKU: of two lines of one SKU the later one goes short."""
    planned: dict[str, int] = {}
    for shipment in answer.planned_shipments:
        for item in shipment.items:
            sku = item.product_identifier.amazon_sku
            planned[sku] = planned.get(sku, 0) + item.amount.units()
    found = []
    for line in order.lines:
        got = min(line.quantity, planned.get(line.channel_sku, 0))
        planned[line.channel_sku] = planned.get(line.channel_sku, 0) - got
        if got < line.quantity:
            found.append(Shortfall(line.id, line.channel_sku, line.quantity - got))
    return tuple(found)


def contents_of(wire: WireOrder) -> Contents:
    """What was ordered, for whom. Raises Unclear."""
    to = wire.destination.delivery_address if wire.destination else None
    tiers = wire.fulfillment_configuration.service_level.service_tiers
    return Contents(
        frozenset(
            (line.line_item_id, line.product.product_identifier.amazon_sku, line.amount.units())
            for line in wire.line_items
        ),
        OF_SPEED.get(tiers[0]) if tiers else None,
        destination(to.name, to.address_line1, to.postal_code, to.country_code) if to else None,
    )


def state_of(wire: WireOrder, request_id: str | None) -> OutboundState:
    """Where the order stands. Raises Unclear."""
    if wire.status is None:
        raise Unclear("status: is missing")
    status = known(STATUSES, wire.status, "status")
    action = known(OF_ACTION, wire.fulfillment_configuration.action or "SHIP", "action")
    received = wire.receive_time.astimezone(UTC)
    held = action is Action.HOLD and status is OutboundStatus.PROCESSING
    return OutboundState(
        id=wire.order_id,
        status=status,
        channel_status=wire.status,
        received_at=received,
        updated_at=wire.status_update_time.astimezone(UTC) if wire.status_update_time else None,
        action=action,
        lines=tuple(
            LineState(
                line.line_item_id,
                ChannelSku(line.product.product_identifier.amazon_sku),
                line.amount.units(),
                line.cancelled_amount.units() if line.cancelled_amount else 0,
                line.unfulfillable_amount.units() if line.unfulfillable_amount else 0,
            )
            for line in wire.line_items
        ),
        packages=tuple(package for shipment in wire.shipments for package in _packages(shipment)),
        ends_at=received + HOLD_LIFE if held else None,
        upstream_request_id=request_id,
    )


def _standing(wire: WireOrder, request_id: str | None) -> Standing:
    updated_at = wire.status_update_time.astimezone(UTC) if wire.status_update_time else None
    try:
        return Standing(wire.status or "", updated_at, state_of(wire, request_id))
    except Unclear:
        return Standing(wire.status or "", None)


def _packages(shipment: Shipment) -> list[OutboundPackage]:
    return [
        OutboundPackage(
            id=package.package_id,
            carrier=package.tracking.carrier.carrier_code if package.tracking.carrier else None,
            tracking_number=_number(package.tracking),
            shipped_at=spread([shipment.ship_time if shipment.status == LEFT else None], last=True),
            arrives_at=spread([package.delivery_time or shipment.delivery_time], last=True),
            lines=tuple(
                (item.line_item_id, item.amount.units())
                for item in shipment.items
                if item.package_id == package.package_id or item.shipment_item_id in package.shipment_item_ids
            ),
            whereabouts=known(WHEREABOUTS, package.status, "package status") if package.status else None,
            channel_status=package.status,
        )
        for package in shipment.packages
    ]


def _number(tracking: Tracking) -> str | None:
    for one in (tracking.carrier, tracking.amazon):
        if one is not None and one.tracking_number:
            return one.tracking_number
    return None
