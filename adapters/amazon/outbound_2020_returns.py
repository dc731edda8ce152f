"""Fulfillment Outbound 2020-07-01, what comes back: createFulfillmentReturn, listReturnReasonCodes, and what orders show."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.amazon.outbound import AmazonOutbound
from adapters.amazon.outbound_2020_wire import (
    LEFT,
    PATH,
    Authorization,
    OrderAnswer,
    ReturnItem,
    WireOrder,
    order_path,
    returned,
)
from adapters.port import BeforeSend
from adapters.wire import Unclear, Wire
from domain.budget import Ask
from domain.errors import Conflict, HouseError, NotFound, OutcomeUnknown, Refused
from domain.ids import ChannelSku
from domain.outbound_return import Announced, ReturnedUnit, ReturnReason, ReturnUnit, ReturnWanted

TAKEN_BEFORE = "DuplicateRequest"
NOT_RETURNABLE = frozenset({"NoCompletedShipItems", "NoReturnableQuantity"})


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


class Returns2020(AmazonOutbound):
    """The part of `adapters.fulfillment.Outbound` that brings units back; see there."""

    async def _wire(self, order_id: str, ask: Ask) -> tuple[WireOrder, str | None]:
        answer, request_id = await self._client.get_with_id(
            "getFulfillmentOrder", order_path(order_id), {}, ask, OrderAnswer
        )
        return answer.payload, request_id

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
                f"{order_path(wanted.order_id)}/return",
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
            units = _ours(wanted, returned(items, (*wire.return_authorizations, *result.return_authorizations)))
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


def _ours(wanted: ReturnWanted, shown: Sequence[ReturnedUnit]) -> tuple[ReturnedUnit, ...]:
    ids = {one.id for one in wanted.units}
    return tuple(one for one in shown if one.id in ids)
