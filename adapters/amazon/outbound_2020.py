"""Fulfillment Outbound 2020-07-01: getFulfillmentPreview, createFulfillmentOrder, getFulfillmentOrder, cancelFulfillmentOrder,
getPackageTrackingDetails, listAllFulfillmentOrders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from adapters.amazon.listings import iso
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.outbound import Seen, address_body, answered, known
from adapters.amazon.outbound_2020_returns import Returns2020
from adapters.amazon.outbound_2020_wire import (
    ACTIONS,
    PATH,
    SPEEDS,
    WHEREABOUTS,
    Done,
    ListAnswer,
    PreviewAnswer,
    TrackingAnswer,
    contents_of,
    order_path,
    speed_preview,
    state_of,
)
from adapters.port import BeforeSend
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import Refused, Throttled, Transient
from domain.money import Money
from domain.outbound import OutboundOrder, OutboundPackage, OutboundState, Policy, Preview, Speed, Standing

POLICIES = {
    Policy.FILL_OR_KILL: "FillOrKill",
    Policy.FILL_ALL: "FillAll",
    Policy.FILL_ALL_AVAILABLE: "FillAllAvailable",
}


class Outbound2020(Returns2020):
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

    async def _page(self, since: datetime, token: str | None, ask: Ask) -> tuple[dict[str, Standing], str | None]:
        query = {"nextToken": token} if token else {"queryStartDate": iso(since)}
        answer = await self._client.get("listAllFulfillmentOrders", PATH, query, ask, ListAnswer)
        found = {
            head.seller_fulfillment_order_id: Standing(head.fulfillment_order_status, head.status_updated_date)
            for head in answer.payload.fulfillment_orders
        }
        return found, answer.payload.next_token

    async def _cancel(self, order_id: str, ask: Ask, before_send: BeforeSend) -> str | None:
        path = f"{order_path(order_id)}/cancel"
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
