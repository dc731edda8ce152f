"""Confirming shipments: what was asked is checked against the orders as they stand, then kept as an operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Platform
from domain.errors import Conflict, Invalid, Refused
from domain.ids import ChannelId, OperationId, OrderId
from domain.operation import Kind, NewItem
from domain.order import Order
from domain.shipment import Promises, ShipmentRequest, item_of, request_of
from resolvers.request import Accepted, Asked, Made, contents_hash, keep
from resolvers.shelf import Shelf
from store import agenda, shipment

MOST_SHIPMENTS = 1_000


async def confirm(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    requests: Sequence[ShipmentRequest],
    *,
    idempotency_key: str | None,
    dry_run: bool,
) -> Accepted:
    """Keep an operation that confirms the shipments, all or none, and wake its lanes.

    A repeated idempotency key answers the first operation as it stands; with other contents it is a Conflict.
    """
    if not 1 <= len(requests) <= MOST_SHIPMENTS:
        problem = Invalid(
            f"Confirm 1 to {MOST_SHIPMENTS} shipments at a time; these are {len(requests)}.", field=("shipments",)
        )
        return Accepted(None, [problem])
    contents = contents_hash(dry_run, [_contents(one) for one in requests])

    async def lock(tx: AsyncConnection) -> tuple[dict[OrderId, Order], Promises]:
        return await shipment.locked(tx, {one.order for one in requests})

    async def make(tx: AsyncConnection, found: tuple[dict[OrderId, Order], Promises]) -> Made:
        return _items(requests, *found, _platforms(shelf), shelf.clock())

    asked = Asked(requested_by, correlation_id, contents, idempotency_key, dry_run)
    return await keep(shelf, asked, Kind.CONFIRM_SHIPMENTS, lock, make)


def _contents(one: ShipmentRequest) -> dict[str, object]:
    """As JSON values; a service that is not told is left out."""
    told = asdict(one) | {"shipped_at": one.shipped_at.astimezone(UTC).isoformat()}
    return {name: value for name, value in told.items() if name != "service" or value is not None}


def _platforms(shelf: Shelf) -> dict[ChannelId, Platform]:
    return {id: one.platform for id, one in shelf.channels.items()}


async def recheck(shelf: Shelf, tx: AsyncConnection, one: OperationId) -> None:
    """A preview holds no units: before it is approved its parcels must still fit. Raises Conflict naming those that do not."""
    payloads = await agenda.payloads(tx, one)
    orders, promises = await shipment.locked(tx, {OrderId(str(payload["order_id"])) for payload in payloads})
    gone = []
    for payload in payloads:
        try:
            item_of(request_of(payload), orders, promises, _platforms(shelf), shelf.clock())
        except Refused:
            gone.append(str(payload["external_id"]))
        promises.add(payload)
    if gone:
        raise Conflict(
            f"Meanwhile these orders have changed and their parcels fit no more: {', '.join(gone)}. Ask for a new preview.",
            field=("id",),
        )


def _items(
    requests: Sequence[ShipmentRequest],
    orders: Mapping[OrderId, Order],
    promises: Promises,
    platforms: Mapping[ChannelId, Platform],
    now: datetime,
) -> tuple[list[NewItem], list[Refused]]:
    """An item per shipment; units promised by an earlier shipment of the same request are gone for the later ones."""
    items: list[NewItem] = []
    problems: list[Refused] = []
    for index, one in enumerate(requests):
        try:
            item = item_of(one, orders, promises, platforms, now, ("shipments", str(index)))
        except Refused as problem:
            problems.append(problem)
            continue
        items.append(item)
        promises.add(item.payload)
    return items, problems
