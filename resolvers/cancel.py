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
from domain.label import KeptLabel, LabelStatus
from domain.operation import Capability, Kind, NewItem
from domain.order import OPEN, Order, OrderStatus
from domain.product import FulfilledBy
from domain.shipment import check_whole, resource
from resolvers.request import Accepted, Asked, Made, contents_hash, keep
from resolvers.shelf import Shelf
from store import agenda, label, order, shipment

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

    async def lock(tx: AsyncConnection) -> dict[OrderId, Order]:
        return await order.lock(tx, {one.order for one in requests})

    async def make(tx: AsyncConnection, orders: Mapping[OrderId, Order]) -> Made:
        return await _items(tx, shelf, requested_by, requests, orders)

    asked = Asked(requested_by, correlation_id, contents, idempotency_key, dry_run)
    return await keep(shelf, asked, Kind.CANCEL_ORDERS, lock, make)


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
    labels = await label.by_orders(tx, orders)
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
            _check_labels(found, labels.get(found.id, ()))
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


def _check_labels(found: Order, labels: Sequence[KeptLabel]) -> None:
    """A label in hand is money, and a parcel that somebody may still send."""
    names = ", ".join(each.id for each in labels if each.status is LabelStatus.BOUGHT)
    if names:
        raise Conflict(
            f"A label was bought for order {found.external_id} ({names}). Give it back by voidLabels, then cancel the order."
        )


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
