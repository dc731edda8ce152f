"""Cancelling orders at their channels: what was asked is checked against the orders as they stand, then kept as an operation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storefront import Cancels
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.ids import OperationId, OrderId
from domain.operation import Capability, Kind, NewItem, OperationStatus
from domain.order import OPEN, Order, OrderStatus
from domain.product import FulfilledBy
from domain.shipment import check_whole, resource
from resolvers.request import Accepted, check_key, contents_hash
from resolvers.shelf import Shelf
from store import agenda, operation, order, shipment

MOST_ORDERS = 500


class CancelReason(Enum):
    """Why an order is cancelled, as channels want to know."""

    BUYER = "CUSTOMER"  # the value is what platforms call it
    DECLINED = "DECLINED"
    FRAUD = "FRAUD"
    INVENTORY = "INVENTORY"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A whole order that is to be cancelled. `restock` and `refund` say what a shop is to do with its own units and with the
    money; `despite_hold`: although we hold it."""

    order: OrderId
    reason: CancelReason
    restock: bool = True
    refund: bool = True
    despite_hold: bool = False


async def cancel(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    requests: Sequence[CancelRequest],
    *,
    idempotency_key: str | None,
    dry_run: bool,
) -> Accepted:
    """Keep an operation that cancels the orders, all or none, and wake its lanes.

    A repeated idempotency key answers the first operation as it stands; with other contents it is a Conflict. The units of an
    order are given back when its channel shows it cancelled, not before.
    """
    if not 1 <= len(requests) <= MOST_ORDERS:
        problem = Invalid(f"Cancel 1 to {MOST_ORDERS} orders at a time; these are {len(requests)}.", field=("orders",))
        return Accepted(None, [problem])
    contents = contents_hash("cancel", dry_run, [asdict(one) | {"reason": one.reason.value} for one in requests])
    try:
        check_key(idempotency_key)
        async with shelf.store.begin() as tx:
            orders = await order.lock(tx, {one.order for one in requests})
            first = await operation.by_key(tx, requested_by, idempotency_key, contents)
            if first is not None:
                return Accepted(first, [])
            items, problems = await _items(tx, shelf, requested_by, requests, orders)
            if problems:
                return Accepted(None, problems)
            kept, created = await operation.create(
                tx,
                kind=Kind.CANCEL_ORDERS,
                requested_by=requested_by,
                idempotency_key=idempotency_key,
                request_hash=contents,
                dry_run=dry_run,
                status=OperationStatus.PREVIEW if dry_run else OperationStatus.QUEUED,
                items=items,
                correlation_id=correlation_id,
            )
    except Refused as problem:
        return Accepted(None, [problem])
    if created and not dry_run:
        for channel in sorted({orders[one.order].channel for one in requests}):
            await shelf.bell.ring(channel, Capability.CANCELS)
    return Accepted(kept, [])


async def recheck(shelf: Shelf, tx: AsyncConnection, one: OperationId) -> None:
    """A preview holds nothing: before it is approved its orders must still be such. Raises Conflict naming those that are not."""
    payloads = await agenda.payloads(tx, one)
    requests = [
        CancelRequest(
            OrderId(str(payload["order_id"])),
            CancelReason(str(payload["reason"])),
            bool(payload["restock"]),
            bool(payload["refund"]),
            bool(payload["despite_hold"]),
        )
        for payload in payloads
    ]
    orders = await order.lock(tx, {request.order for request in requests})
    _, problems = await _items(tx, shelf, "", requests, orders)
    if problems:
        raise Conflict(f"{problems[0].message} Ask for a new preview.", field=("id",))


async def _items(
    tx: AsyncConnection,
    shelf: Shelf,
    by: str,
    requests: Sequence[CancelRequest],
    orders: Mapping[OrderId, Order],
) -> tuple[list[NewItem], list[Refused]]:
    shipping, cancelling = await shipment.moving(tx, orders)
    items: list[NewItem] = []
    problems: list[Refused] = []
    for index, one in enumerate(requests):
        try:
            found = orders.get(one.order)
            if found is None:
                raise NotFound(f"There is no order {one.order}.")
            _check(shelf, found, one)
            if found.id in shipping:
                raise Conflict(
                    f"A parcel of order {found.external_id}, or a label for it, is on its way. Withdraw it by cancelOperation "
                    "while it waits; what has left is refunded when it comes back."
                )
            if found.id in cancelling:
                raise Conflict(f"Order {found.external_id} is being cancelled already.")
        except Refused as problem:
            problem.field = ("orders", str(index), "orderId")
            problems.append(problem)
            continue
        cancelling.add(found.id)
        items.append(_item(found, one, by))
    return items, problems


def _check(shelf: Shelf, found: Order, one: CancelRequest) -> None:
    name = found.external_id
    check_whole(found)
    if found.fulfilled_by is FulfilledBy.CHANNEL:
        raise Invalid(f"Order {name} is shipped by its channel: cancel it there.")
    if found.status is OrderStatus.PARTIALLY_SHIPPED or any(line.quantity_shipped for line in found.lines):
        raise Conflict(f"A part of order {name} has left: it cannot be cancelled as a whole. Refund what is not sent.")
    if found.status not in OPEN:
        raise Conflict(f"Order {name} is {found.status.value}: there is nothing to cancel.")
    if found.held is not None and not one.despite_hold:
        raise Conflict(f"Order {name} is held: {found.held} Release it first, or say `despiteHold: true`.")
    if not isinstance(shelf.ports.get(found.channel), Cancels):
        raise Invalid(f"{found.channel} cannot be asked to cancel orders: cancel {name} there.")


def _item(found: Order, one: CancelRequest, by: str) -> NewItem:
    return NewItem(
        channel=found.channel,
        capability=Capability.CANCELS,
        resource=resource(found.id),
        key=f"{found.channel}/{found.external_id}",
        payload={
            "order_id": found.id,
            "external_id": found.external_id,
            "marketplace": found.marketplace,
            "refs": dict(found.refs),
            "reason": one.reason.value,
            "restock": one.restock,
            "refund": one.refund,
            "despite_hold": one.despite_hold,
            "by": by,
        },
        before=json.dumps({"status": found.channel_status}),
        after=json.dumps({"status": OrderStatus.CANCELLED.value, "reason": one.reason.name}),
    )
