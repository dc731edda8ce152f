"""Orders that a pool ships: what was asked is checked against orders and pool as they stand, then kept as an operation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fulfillment import Ships
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.ids import ChannelId, OperationId, OrderId, derived_id
from domain.operation import Kind, NewItem
from domain.order import Order
from domain.outbound import Followed, Wanted, preview_from_json
from domain.outbound_request import Ground, OutboundRequest, wanted_of
from domain.shipment import ShippedLine
from resolvers.request import Accepted, Asked, Made, contents_hash, keep
from resolvers.shelf import Shelf
from store import agenda, operation, order, outbound, shipment

MOST_ORDERS = 200


async def ship(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    requests: Sequence[OutboundRequest],
    *,
    idempotency_key: str | None,
    dry_run: bool,
) -> Accepted:
    """Keep an operation that has pools ship the orders, all or none, and wake its lanes. With `dry_run` it is a PREVIEW, whose
    items a worker fills with what each speed costs, and when it arrives.

    A repeated idempotency key answers the first operation as it stands; with other contents it is a Conflict.
    """
    if not 1 <= len(requests) <= MOST_ORDERS:
        words = f"Have 1 to {MOST_ORDERS} orders shipped at a time; these are {len(requests)}."
        return Accepted(None, [Invalid(words, field=("orders",))])
    contents = contents_hash("shipFromFba", dry_run, [_contents(one) for one in requests])
    id = operation.new_id()

    async def lock(tx: AsyncConnection) -> Ground:
        return await shipment.ground(tx, {one.order for one in requests}, shelf.locations)

    async def make(_: AsyncConnection, ground: Ground) -> Made:
        return _items(shelf, requests, ground, id)

    asked = Asked(requested_by, correlation_id, contents, idempotency_key, dry_run)
    return await keep(shelf, asked, Kind.SHIP_FROM_FBA, lock, make, id=id)


async def cancel(
    shelf: Shelf, requested_by: str, correlation_id: str, ids: Sequence[str], *, idempotency_key: str | None
) -> Accepted:
    """Keep an operation that stops outbound orders, all or none. Whether it is too late only their platform knows.

    A repeated idempotency key answers the first operation as it stands; with other contents it is a Conflict.
    """
    if not 1 <= len(ids) <= MOST_ORDERS:
        words = f"Cancel 1 to {MOST_ORDERS} outbound orders at a time; these are {len(ids)}."
        return Accepted(None, [Invalid(words, field=("ids",))])
    contents = contents_hash("cancelOutbound", list(ids))

    async def lock(tx: AsyncConnection) -> tuple[dict[str, Followed], dict[OrderId, Order]]:
        found = await outbound.by_ids(tx, ids)
        return found, await order.lock(tx, {one.wanted.order for one in found.values()})

    async def make(_: AsyncConnection, held: tuple[dict[str, Followed], dict[OrderId, Order]]) -> Made:
        found, orders = held
        problems = [
            problem for index, id in enumerate(ids) if (problem := _uncancelable(id, found, ("ids", str(index))))
        ]
        if problems:
            return [], problems
        return [outbound.stopping(orders[found[id].wanted.order], found[id]) for id in dict.fromkeys(ids)], []

    asked = Asked(requested_by, correlation_id, contents, idempotency_key)
    return await keep(shelf, asked, Kind.CANCEL_OUTBOUND, lock, make)


async def recheck(shelf: Shelf, tx: AsyncConnection, one: OperationId) -> None:
    """A preview keeps no units: before it is approved, its orders must still fit, and what it told must be possible. Raises
    Conflict naming those that do not."""
    payloads = [dict(payload) for payload in await agenda.payloads(tx, one)]
    asked = [Wanted.from_json(payload) for payload in payloads]
    ground = await shipment.ground(tx, {wanted.order for wanted in asked}, shelf.locations)
    gone = []
    for wanted, payload in zip(asked, payloads, strict=True):
        _check_quote(wanted, payload.get("quote"))
        try:
            again = wanted_of(_request(wanted), ground, wanted.id)
        except Refused:
            gone.append(wanted.shown_id)
            continue
        _promise(ground, again)
    if gone:
        raise Conflict(
            f"Meanwhile these orders have changed and cannot be shipped so any more: {', '.join(gone)}. Ask for a new preview.",
            field=("id",),
        )


async def by_orders(shelf: Shelf, ids: Collection[OrderId]) -> dict[OrderId, list[Followed]]:
    """What pools have taken of each order, the oldest first."""
    async with shelf.store.begin() as tx:
        return await outbound.by_orders(tx, ids)


def _items(
    shelf: Shelf, requests: Sequence[OutboundRequest], ground: Ground, id: OperationId
) -> tuple[list[NewItem], list[Refused]]:
    """An item per request; units promised by an earlier one of the same call are gone for the later ones."""
    items: list[NewItem] = []
    problems: list[Refused] = []
    for index, one in enumerate(requests):
        at = ("orders", str(index))
        try:
            _check_channel(shelf, one.channel, at)
            wanted = wanted_of(one, ground, derived_id("outbound", id, str(index)), at)
        except Refused as problem:
            problems.append(problem)
            continue
        _promise(ground, wanted)
        items.append(outbound.shipping(ground.orders[wanted.order], wanted))
    return items, problems


def _promise(ground: Ground, wanted: Wanted) -> None:
    for line in wanted.lines:
        ground.promised[wanted.order, line.external_id] += line.quantity


def _check_channel(shelf: Shelf, id: ChannelId, at: tuple[str, ...]) -> None:
    here = (*at, "channelId")
    if id not in shelf.ports:
        raise NotFound(f"There is no channel {id}.", field=here)
    if not isinstance(shelf.ports[id], Ships):
        raise Invalid(f"{id} ships nothing for other channels; name an Amazon account.", field=here)


def _check_quote(wanted: Wanted, quote: Any) -> None:
    """Raises Conflict where nobody knows yet what it would cost, or where it was not possible."""
    at = ("id",)
    if not quote:
        raise Conflict(
            f"The preview of {wanted.shown_id} is still being asked for. Approve it when it is there.", field=at
        )
    if "refused" in quote:
        raise Conflict(f"{wanted.shown_id} cannot be shipped so: {quote['refused']['message']}", field=at)
    told = preview_from_json(quote["preview"]).of(wanted.speed)
    if told is None or not told.possible:
        reasons = ", ".join(told.reasons) if told and told.reasons else "not offered"
        raise Conflict(
            f"{wanted.shown_id} could not be shipped at {wanted.speed.value} when it was previewed ({reasons}). Ask for a new "
            "preview, at another speed or of fewer lines.",
            field=at,
        )


def _request(wanted: Wanted) -> OutboundRequest:
    """What was asked when the item was made."""
    return OutboundRequest(
        order=wanted.order,
        channel=wanted.channel,
        location=wanted.location,
        speed=wanted.speed,
        policy=wanted.policy,
        features=wanted.features,
        lines=tuple(ShippedLine(one.line, one.quantity) for one in wanted.lines),
    )


def _uncancelable(id: str, found: Mapping[str, Followed], at: tuple[str, ...]) -> Refused | None:
    one = found.get(id)
    if one is None:
        return NotFound(f"There is no outbound order {id}.", field=at)
    if not one.cancelable:
        return Conflict(f"It is too late to cancel {id}: it stands at {one.status.value}.", field=at)
    return None


def _contents(one: OutboundRequest) -> dict[str, object]:
    """As JSON values."""
    told = asdict(one)
    return told | {
        "speed": one.speed.value,
        "policy": one.policy.value,
        "features": sorted(each.value for each in one.features),
    }
