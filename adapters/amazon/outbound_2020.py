"""Fulfillment Outbound 2020-07-01: getFulfillmentPreview, createFulfillmentOrder, getFulfillmentOrder, cancelFulfillmentOrder,
getPackageTrackingDetails, listAllFulfillmentOrders, createFulfillmentReturn, listReturnReasonCodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from adapters.amazon.listings import iso
from adapters.amazon.marketplaces import marketplace
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
)
from adapters.amazon.wire import Count, Instant
from adapters.port import BeforeSend
from adapters.wire import Amount, Unclear, Wire, money
from domain.budget import Ask
from domain.errors import Conflict, HouseError, NotFound, OutcomeUnknown, Refused, Throttled, Transient
from domain.ids import ChannelSku
from domain.money import Money
from domain.outbound import (
    HOLD_LIFE,
    Action,
    Fee,
    LineState,
    OutboundOrder,
    OutboundPackage,
    OutboundState,
    OutboundStatus,
    Policy,
    Preview,
    Shortfall,
    Speed,
    SpeedPreview,
    Standing,
    Whereabouts,
)
from domain.outbound_return import Announced, ReturnCondition, ReturnedUnit, ReturnReason, ReturnUnit, ReturnWanted

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
POLICIES = {
    Policy.FILL_OR_KILL: "FillOrKill",
    Policy.FILL_ALL: "FillAll",
    Policy.FILL_ALL_AVAILABLE: "FillAllAvailable",
}
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
TAKEN_BEFORE = "DuplicateRequest"
NOT_RETURNABLE = frozenset({"NoCompletedShipItems", "NoReturnableQuantity"})


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


class InvalidReason(Wire):
    """Why a unit cannot come back."""

    invalid_item_reason_code: str
    description: str = ""


class InvalidReturnItem(Wire):
    """A unit that Amazon did not take."""

    seller_return_item_id: str
    invalid_item_reason: InvalidReason


class ReturnResult(Wire):
    """What createFulfillmentReturn did."""

    return_items: tuple[ReturnItem, ...] = ()
    invalid_return_items: tuple[InvalidReturnItem, ...] = ()
    return_authorizations: tuple[Authorization, ...] = ()


class ReturnAnswer(Wire):
    """Its envelope."""

    payload: ReturnResult


class ReasonCode(Wire):
    """A reason."""

    return_reason_code: str
    description: str


class Reasons(Wire):
    """What listReturnReasonCodes finds."""

    reason_code_details: tuple[ReasonCode, ...] = ()


class ReasonsAnswer(Wire):
    """Its envelope."""

    payload: Reasons


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


class Outbound2020(AmazonOutbound):
    """Satisfies `adapters.fulfillment.Outbound`; see there."""

    async def _preview(self, order: OutboundOrder, speeds: Sequence[Speed], ask: Ask) -> Preview:
        as_of = datetime.now(UTC)
        body = preview_body(order, speeds)
        answer, request_id = await self._client.read(
            "getFulfillmentPreview", f"{PATH}/preview", body, ask, PreviewAnswer
        )
        try:
            found = [speed_preview(one) for one in answer.payload.fulfillment_previews]
        except Unclear as problem:
            raise Transient(f"Amazon's preview cannot be read: {problem}.", upstream_request_id=request_id) from problem
        return Preview(as_of, answered(speeds, {one.speed: one for one in found}), request_id)

    async def _create(self, order: OutboundOrder, ask: Ask, before_send: BeforeSend) -> str | None:
        done, request_id = await self._client.change(
            "createFulfillmentOrder", "POST", PATH, ask, before_send, Done, body=order_body(order)
        )
        if done.errors:
            code = done.errors[0].code
            raise Refused(f"Amazon refuses the order {order.id}.", upstream_request_id=request_id, upstream_code=code)
        return request_id

    async def _read(self, order_id: str, ask: Ask) -> Seen:
        wire, request_id = await self._wire(order_id, ask)
        try:
            return Seen(contents_of(wire), state_of(wire, request_id))
        except Unclear as problem:
            return Seen(contents_of(wire), None, str(problem))

    async def _wire(self, order_id: str, ask: Ask) -> tuple[WireOrder, str | None]:
        answer, request_id = await self._client.get_with_id(
            "getFulfillmentOrder", _path(order_id), {}, ask, OrderAnswer
        )
        return answer.payload, request_id

    async def _page(self, since: datetime, token: str | None, ask: Ask) -> tuple[dict[str, Standing], str | None]:
        query = {"nextToken": token} if token else {"queryStartDate": iso(since)}
        answer = await self._client.get("listAllFulfillmentOrders", PATH, query, ask, ListAnswer)
        found = {
            head.seller_fulfillment_order_id: Standing(head.fulfillment_order_status, head.status_updated_date)
            for head in answer.payload.fulfillment_orders
        }
        return found, answer.payload.next_token

    async def return_reasons(self, order_id: str, channel_sku: ChannelSku, ask: Ask) -> list[ReturnReason]:
        """Source: listReturnReasonCodes."""
        query = {"sellerSku": channel_sku, "sellerFulfillmentOrderId": order_id}
        path = PATH.removesuffix("/fulfillmentOrders") + "/returnReasonCodes"
        answer = await self._client.get("listReturnReasonCodes", path, query, ask, ReasonsAnswer)
        return [ReturnReason(one.return_reason_code, one.description) for one in answer.payload.reason_code_details]

    async def announce_return(
        self, wanted: ReturnWanted, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Announced:
        """Source: createFulfillmentReturn. Each of its items is one unit, and an id of ours is taken once."""
        wire, _ = await self._wire(wanted.order_id, ask)
        shown = {item.seller_return_item_id for item in wire.return_items}
        missing = tuple(one for one in wanted.units if one.id not in shown)
        if not missing:
            return self._announced(wanted, wire, ReturnResult(), None)
        try:
            await self._check_reason(wanted, wire, missing, ask)
            body = {"items": return_items(wanted, wire, missing)}
            answer, request_id = await self._client.change(
                "createFulfillmentReturn",
                "PUT",
                f"{_path(wanted.order_id)}/return",
                ask,
                before_send,
                ReturnAnswer,
                body=body,
            )
            return self._announced(wanted, wire, answer.payload, request_id)
        except OutcomeUnknown as problem:
            if (there := await self._shown(wanted, ask)) is not None:
                return there
            raise problem from None
        except NotFound:
            raise
        except Refused as problem:
            if not sent_before:
                raise
            # Amazon may show late what it took, and the units that are missing may be those.
            raise OutcomeUnknown(
                f"Amazon does not take the return of {wanted.order_id}, and does not show it either; an earlier attempt may have "
                f"been taken. Look at the order in Seller Central. {problem.message}",
                upstream_request_id=problem.upstream_request_id,
                upstream_code=problem.upstream_code,
            ) from problem

    def _announced(
        self, wanted: ReturnWanted, wire: WireOrder, result: ReturnResult, request_id: str | None
    ) -> Announced:
        """Raises Refused where none of it was taken."""
        wrong = {one.seller_return_item_id: one.invalid_item_reason for one in result.invalid_return_items}
        already = tuple(id for id, why in wrong.items() if why.invalid_item_reason_code == TAKEN_BEFORE)
        refused = [why for id, why in wrong.items() if id not in already]
        words = "; ".join(dict.fromkeys(f"{why.invalid_item_reason_code}: {why.description}" for why in refused))
        items = (*wire.return_items, *result.return_items)
        try:
            units = _ours(wanted, _returns(items, (*wire.return_authorizations, *result.return_authorizations)))
        except Unclear as problem:
            raise OutcomeUnknown(
                f"Amazon's answer about the return cannot be read: {problem}.", upstream_request_id=request_id
            ) from problem
        if refused and not units and not already:
            code = refused[0].invalid_item_reason_code
            kind = Conflict if code in NOT_RETURNABLE else Refused
            raise kind(
                f"Amazon takes none of these units of {wanted.order_id} back. {words}",
                upstream_request_id=request_id,
                upstream_code=code,
            )
        return Announced(units, already, words, request_id)

    async def _check_reason(
        self, wanted: ReturnWanted, wire: WireOrder, missing: Sequence[ReturnUnit], ask: Ask
    ) -> None:
        """Amazon takes the codes that it lists for the SKU, and tells of another one only that something is wrong."""
        skus = {item.seller_fulfillment_order_item_id: item.seller_sku for item in wire.fulfillment_order_items}
        for sku in sorted({skus[one.line_id] for one in missing if one.line_id in skus}):
            codes = [one.code for one in await self.return_reasons(wanted.order_id, ChannelSku(sku), ask)]
            if codes and wanted.reason not in codes:
                raise Refused(f"{wanted.reason} is no reason for {sku} to come back; there are {', '.join(codes)}.")

    async def _shown(self, wanted: ReturnWanted, ask: Ask) -> Announced | None:
        """All of it as the order shows it; None where it does not, or cannot be read just now."""
        try:
            wire, request_id = await self._wire(wanted.order_id, ask)
        except HouseError:
            return None
        there = self._announced(wanted, wire, ReturnResult(), request_id)
        return there if len(there.units) == len(wanted.units) else None

    async def _cancel(self, order_id: str, ask: Ask, before_send: BeforeSend) -> str | None:
        path = f"{_path(order_id)}/cancel"
        return await self._client.change_unanswered("cancelFulfillmentOrder", "PUT", path, ask, before_send, status=200)

    async def _whereabouts(self, state: OutboundState, ask: Ask) -> OutboundState:
        """One call for each parcel that has left; what cannot be told now is left open."""
        packages = [await self._located(package, ask) if package.shipped_at else package for package in state.packages]
        return replace(state, packages=tuple(packages))

    async def _located(self, package: OutboundPackage, ask: Ask) -> OutboundPackage:
        path = PATH.removesuffix("/fulfillmentOrders") + "/tracking"
        try:
            answer = await self._client.get(
                "getPackageTrackingDetails", path, {"packageNumber": package.id}, ask, TrackingAnswer
            )
        except (Refused, Throttled, Transient):
            return package
        word = answer.payload.current_status
        if word is None:
            return package
        try:
            return replace(package, whereabouts=known(WHEREABOUTS, word, "currentStatus"), channel_status=word)
        except Unclear as problem:
            raise Transient(f"Amazon's parcel {package.id} cannot be read: {problem}.") from problem


def _path(order_id: str) -> str:
    return f"{PATH}/{quote(order_id, safe='')}"


def preview_body(order: OutboundOrder, speeds: Sequence[Speed]) -> dict[str, Any]:
    """The body of getFulfillmentPreview."""
    return {
        "marketplaceId": marketplace(order.marketplace).id,
        "address": address_body(order.address),
        "items": _items(order),
        "shippingSpeedCategories": [SPEEDS[speed] for speed in speeds],
        "featureConstraints": _features(order),
    }


def order_body(order: OutboundOrder) -> dict[str, Any]:
    """The body of createFulfillmentOrder."""
    return {
        "marketplaceId": marketplace(order.marketplace).id,
        "sellerFulfillmentOrderId": order.id,
        "displayableOrderId": order.shown_id,
        "displayableOrderDate": iso(order.placed_at),
        "displayableOrderComment": order.comment,
        "shippingSpeedCategory": SPEEDS[order.speed],
        "destinationAddress": address_body(order.address),
        "fulfillmentAction": ACTIONS[order.action],
        "fulfillmentPolicy": POLICIES[order.policy],
        "featureConstraints": _features(order),
        "items": _items(order),
    }


def _features(order: OutboundOrder) -> list[dict[str, str]]:
    names = sorted(feature.value for feature in order.features)
    return [{"featureName": name, "featureFulfillmentPolicy": "Required"} for name in names]


def _items(order: OutboundOrder) -> list[dict[str, Any]]:
    return [
        {"sellerSku": line.channel_sku, "sellerFulfillmentOrderItemId": line.id, "quantity": line.quantity}
        | ({"perUnitDeclaredValue": _value(line.declared_value)} if line.declared_value else {})
        for line in order.lines
    ]


def _value(amount: Money) -> dict[str, str]:
    return {"currencyCode": amount.currency, "value": f"{amount.amount:f}"}


def return_items(wanted: ReturnWanted, wire: WireOrder, missing: Sequence[ReturnUnit]) -> list[dict[str, str]]:
    """The items of createFulfillmentReturn, each a unit of a shipment that has left and that no other item has. Raises Conflict
    where there are fewer."""
    free: dict[tuple[str, str], int] = {}
    for shipment in wire.fulfillment_shipments:
        for item in shipment.fulfillment_shipment_item if shipment.fulfillment_shipment_status == LEFT else ():
            key = item.seller_fulfillment_order_item_id, shipment.amazon_shipment_id
            free[key] = free.get(key, 0) + item.quantity
    for known_item in wire.return_items:
        key = known_item.seller_fulfillment_order_item_id, known_item.amazon_shipment_id
        free[key] = free.get(key, 0) - 1
    items = []
    for one in missing:
        key = next((each for each, units in free.items() if each[0] == one.line_id and units > 0), ("", ""))
        if not key[1]:
            raise Conflict(
                f"Fewer units of {wanted.order_id} have left, and are not announced yet, than are to come back."
            )
        free[key] -= 1
        items.append(
            {
                "sellerReturnItemId": one.id,
                "sellerFulfillmentOrderItemId": one.line_id,
                "amazonShipmentId": key[1],
                "returnReasonCode": wanted.reason,
                **({"returnComment": wanted.comment} if wanted.comment else {}),
            }
        )
    return items


def _returns(items: Sequence[ReturnItem], authorizations: Sequence[Authorization]) -> tuple[ReturnedUnit, ...]:
    """Raises Unclear for a word that we do not know."""
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


def _ours(wanted: ReturnWanted, shown: Sequence[ReturnedUnit]) -> tuple[ReturnedUnit, ...]:
    ids = {one.id for one in wanted.units}
    return tuple(one for one in shown if one.id in ids)


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
        returns=_returns(wire.return_items, wire.return_authorizations),
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
