"""Fulfillment Outbound 2020-07-01: where its orders are, its words, the shapes of its answers, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from adapters.amazon.outbound import Contents, by_word, destination, known, spread
from adapters.amazon.wire import Count, Instant
from adapters.wire import Amount, Wire, money
from domain.ids import ChannelSku
from domain.outbound import (
    HOLD_LIFE,
    Action,
    Fee,
    LineState,
    OutboundPackage,
    OutboundState,
    OutboundStatus,
    Shortfall,
    Speed,
    SpeedPreview,
    Whereabouts,
)
from domain.outbound_return import ReturnCondition, ReturnedUnit

PATH = "/fba/outbound/2020-07-01/fulfillmentOrders"

SPEEDS = {
    Speed.STANDARD: "Standard",
    Speed.EXPEDITED: "Expedited",
    Speed.PRIORITY: "Priority",
    Speed.SCHEDULED: "ScheduledDelivery",
}
OF_SPEED = by_word({word: speed for speed, word in SPEEDS.items()})
ACTIONS = {Action.SHIP: "Ship", Action.HOLD: "Hold"}
OF_ACTION = by_word({word: action for action, word in ACTIONS.items()})
STATUSES = by_word(
    {
        "New": OutboundStatus.RECEIVED,
        "Received": OutboundStatus.RECEIVED,
        "Planning": OutboundStatus.RECEIVED,
        "Processing": OutboundStatus.PROCESSING,
        "Complete": OutboundStatus.COMPLETE,
        "CompletePartialled": OutboundStatus.PARTLY_COMPLETE,
        "Cancelled": OutboundStatus.CANCELLED,
        "Unfulfillable": OutboundStatus.UNFULFILLABLE,
        "Invalid": OutboundStatus.INVALID,
    }
)
WHEREABOUTS = by_word(
    {
        "IN_TRANSIT": Whereabouts.IN_TRANSIT,
        "OUT_FOR_DELIVERY": Whereabouts.OUT_FOR_DELIVERY,
        "DELAYED": Whereabouts.DELAYED,
        "DELIVERY_ATTEMPTED": Whereabouts.DELIVERY_ATTEMPTED,
        "AVAILABLE_FOR_PICKUP": Whereabouts.AVAILABLE_FOR_PICKUP,
        "DELIVERED": Whereabouts.DELIVERED,
        "UNDELIVERABLE": Whereabouts.UNDELIVERABLE,
        "RETURNING": Whereabouts.RETURNING,
        "RETURNED": Whereabouts.RETURNED,
        "RETURN_RECEIVED_IN_FC": Whereabouts.RETURNED,
        "CUSTOMER_ACTION": Whereabouts.OTHER,
        "PICKUP_SCHEDULED": Whereabouts.OTHER,
        "PICKUP_ATTEMPTED": Whereabouts.OTHER,
        "PICKUP_SUCCESSFUL": Whereabouts.OTHER,
        "PICKUP_CANCELLED": Whereabouts.OTHER,
        "RETURN_REQUEST_ACCEPTED": Whereabouts.OTHER,
        "REFUND_ISSUED": Whereabouts.OTHER,
        "UNKNOWN": Whereabouts.OTHER,
    }
)
LEFT = "SHIPPED"
CONDITIONS = by_word(
    {
        "Sellable": ReturnCondition.SELLABLE,
        "Defective": ReturnCondition.DEFECTIVE,
        "CustomerDamaged": ReturnCondition.CUSTOMER_DAMAGED,
        "CarrierDamaged": ReturnCondition.CARRIER_DAMAGED,
        "FulfillerDamaged": ReturnCondition.FULFILLER_DAMAGED,
    }
)
RETURNED = by_word({"New": False, "Processed": True})


class Value(Wire):
    """An amount of money."""

    currency_code: str
    value: Amount


class NamedFee(Wire):
    """One of the estimated fees."""

    name: str
    amount: Value


class PreviewShipment(Wire):
    """A shipment as it is planned."""

    earliest_ship_date: Instant | None = None
    latest_ship_date: Instant | None = None
    earliest_arrival_date: Instant | None = None
    latest_arrival_date: Instant | None = None


class UnfulfillableItem(Wire):
    """Units that cannot be shipped."""

    seller_sku: str
    quantity: Count
    seller_fulfillment_order_item_id: str
    item_unfulfillable_reasons: tuple[str, ...] = ()


class OnePreview(Wire):
    """The order at one speed."""

    shipping_speed_category: str
    is_fulfillable: bool
    estimated_fees: tuple[NamedFee, ...] = ()
    fulfillment_preview_shipments: tuple[PreviewShipment, ...] = ()
    unfulfillable_preview_items: tuple[UnfulfillableItem, ...] = ()
    order_unfulfillable_reasons: tuple[str, ...] = ()


class Previews(Wire):
    """What getFulfillmentPreview finds."""

    fulfillment_previews: tuple[OnePreview, ...] = ()


class PreviewAnswer(Wire):
    """Its envelope."""

    payload: Previews


class Problem(Wire):
    """An error inside an answer that calls itself a success."""

    code: str


class Done(Wire):
    """The answer of createFulfillmentOrder: nothing, or errors."""

    errors: tuple[Problem, ...] = ()


class Destination(Wire):
    """As much of the address as tells whether it is the one that we sent."""

    name: Annotated[str, Field(repr=False)]
    address_line1: Annotated[str, Field(alias="addressLine1", repr=False)]
    postal_code: Annotated[str, Field(repr=False)]
    country_code: str


class Head(Wire):
    """The order itself. Strings, not enums: a new word must not make the order unreadable."""

    seller_fulfillment_order_id: str
    shipping_speed_category: str
    destination_address: Destination | None = None
    fulfillment_action: str | None = None
    received_date: Instant
    fulfillment_order_status: str
    status_updated_date: Instant | None = None


class Item(Wire):
    """One line."""

    seller_sku: str
    seller_fulfillment_order_item_id: str
    quantity: Count
    cancelled_quantity: Count = 0
    unfulfillable_quantity: Count = 0


class ShipmentItem(Wire):
    """Units of a line in a shipment; without a package number until it is packed."""

    seller_fulfillment_order_item_id: str
    quantity: Count
    package_number: int | None = None


class Package(Wire):
    """A parcel."""

    package_number: int
    carrier_code: str | None = None
    tracking_number: str | None = None
    amazon_fulfillment_tracking_number: str | None = None
    estimated_arrival_date: Instant | None = None


class Shipment(Wire):
    """What leaves one fulfillment center."""

    amazon_shipment_id: str
    fulfillment_shipment_status: str
    shipping_date: Instant | None = None
    estimated_arrival_date: Instant | None = None
    fulfillment_shipment_item: tuple[ShipmentItem, ...] = ()
    fulfillment_shipment_package: tuple[Package, ...] = ()


class ReturnItem(Wire):
    """One unit that comes back."""

    seller_return_item_id: str
    seller_fulfillment_order_item_id: str
    amazon_shipment_id: str
    seller_return_reason_code: str = ""
    status: str
    status_changed_date: Instant
    return_authorization_id: str | None = None
    return_received_condition: str | None = None


class Authorization(Wire):
    """As what a fulfillment center knows a parcel. The page with its label is not read: it may show an address."""

    return_authorization_id: str
    fulfillment_center_id: str
    amazon_rma_id: str


class Listed(Wire):
    """What listAllFulfillmentOrders finds: orders without lines and parcels."""

    next_token: str | None = None
    fulfillment_orders: tuple[Head, ...] = ()


class ListAnswer(Wire):
    """Its envelope."""

    payload: Listed


class WireOrder(Wire):
    """What getFulfillmentOrder finds."""

    fulfillment_order: Head
    fulfillment_order_items: tuple[Item, ...]
    fulfillment_shipments: tuple[Shipment, ...] = ()
    return_items: tuple[ReturnItem, ...] = ()
    return_authorizations: tuple[Authorization, ...] = ()


class OrderAnswer(Wire):
    """Its envelope."""

    payload: WireOrder


class Tracking(Wire):
    """Where a parcel is."""

    current_status: str | None = None


class TrackingAnswer(Wire):
    """Its envelope."""

    payload: Tracking


def order_path(order_id: str) -> str:
    """Where one order is."""
    return f"{PATH}/{quote(order_id, safe='')}"


def speed_preview(one: OnePreview) -> SpeedPreview:
    """Raises Unclear for a speed or a currency that there is not."""
    shipments = one.fulfillment_preview_shipments
    return SpeedPreview(
        speed=known(OF_SPEED, one.shipping_speed_category, "shippingSpeedCategory"),
        possible=one.is_fulfillable,
        ships_from=spread([each.earliest_ship_date for each in shipments], last=False),
        ships_until=spread([each.latest_ship_date for each in shipments], last=True),
        arrives_from=spread([each.earliest_arrival_date for each in shipments], last=False),
        arrives_until=spread([each.latest_arrival_date for each in shipments], last=True),
        fees=tuple(Fee(fee.name, money(fee.amount.value, fee.amount.currency_code)) for fee in one.estimated_fees),
        shortfalls=tuple(
            Shortfall(
                item.seller_fulfillment_order_item_id,
                ChannelSku(item.seller_sku),
                item.quantity,
                item.item_unfulfillable_reasons,
            )
            for item in one.unfulfillable_preview_items
        ),
        reasons=one.order_unfulfillable_reasons,
    )


def contents_of(wire: WireOrder) -> Contents:
    """What was ordered, for whom."""
    head, to = wire.fulfillment_order, wire.fulfillment_order.destination_address
    return Contents(
        frozenset(
            (item.seller_fulfillment_order_item_id, item.seller_sku, item.quantity)
            for item in wire.fulfillment_order_items
        ),
        OF_SPEED.get(head.shipping_speed_category.upper()),
        destination(to.name, to.address_line1, to.postal_code, to.country_code) if to else None,
    )


def state_of(wire: WireOrder, request_id: str | None) -> OutboundState:
    """Where the order stands. Raises Unclear."""
    head = wire.fulfillment_order
    status = known(STATUSES, head.fulfillment_order_status, "fulfillmentOrderStatus")
    action = known(OF_ACTION, head.fulfillment_action or "Ship", "fulfillmentAction")
    received = head.received_date.astimezone(UTC)
    held = action is Action.HOLD and status is OutboundStatus.RECEIVED
    return OutboundState(
        id=head.seller_fulfillment_order_id,
        status=status,
        channel_status=head.fulfillment_order_status,
        received_at=received,
        updated_at=head.status_updated_date.astimezone(UTC) if head.status_updated_date else None,
        action=action,
        lines=tuple(
            LineState(
                item.seller_fulfillment_order_item_id,
                ChannelSku(item.seller_sku),
                item.quantity,
                item.cancelled_quantity,
                item.unfulfillable_quantity,
            )
            for item in wire.fulfillment_order_items
        ),
        packages=tuple(package for shipment in wire.fulfillment_shipments for package in _packages(shipment)),
        ends_at=received + HOLD_LIFE if held else None,
        upstream_request_id=request_id,
        returns=returned(wire.return_items, wire.return_authorizations),
    )


def _packages(shipment: Shipment) -> list[OutboundPackage]:
    left = shipment.fulfillment_shipment_status == LEFT and shipment.shipping_date
    return [
        OutboundPackage(
            id=str(package.package_number),
            carrier=package.carrier_code,
            tracking_number=package.tracking_number or package.amazon_fulfillment_tracking_number,
            shipped_at=left.astimezone(UTC) if left else None,
            arrives_at=spread([package.estimated_arrival_date or shipment.estimated_arrival_date], last=True),
            lines=tuple(
                (item.seller_fulfillment_order_item_id, item.quantity)
                for item in shipment.fulfillment_shipment_item
                if item.package_number == package.package_number
            ),
        )
        for package in shipment.fulfillment_shipment_package
    ]


def returned(items: Sequence[ReturnItem], authorizations: Sequence[Authorization]) -> tuple[ReturnedUnit, ...]:
    """The units that come back, one for each id of ours. Raises Unclear for a word that we do not know."""
    of = {one.return_authorization_id: one for one in authorizations}
    found = {}
    for item in items:
        by = of.get(item.return_authorization_id or "")
        found[item.seller_return_item_id] = ReturnedUnit(
            id=item.seller_return_item_id,
            line_id=item.seller_fulfillment_order_item_id,
            reason=item.seller_return_reason_code,
            changed_at=item.status_changed_date.astimezone(UTC),
            rma=by.amazon_rma_id if by else None,
            center=by.fulfillment_center_id if by else None,
            processed=known(RETURNED, item.status, "return status"),
            condition=known(CONDITIONS, item.return_received_condition, "returnReceivedCondition")
            if item.return_received_condition
            else None,
        )
    return tuple(found.values())
