"""Confirming shipments: what was asked is checked against the orders as they stand, then kept as an operation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.ids import LineId, OperationId, OrderId, line_id
from domain.operation import Capability, Kind, NewItem, OperationStatus
from domain.order import SHIPPABLE, Order
from domain.product import FulfilledBy
from resolvers.request import Accepted, check_key, check_word, contents_hash
from resolvers.shelf import Shelf
from store import agenda, operation, order

MOST_SHIPMENTS = 1_000
AHEAD = timedelta(days=1)  # clocks of warehouses differ, calendars do not


@dataclass(frozen=True, slots=True)
class ShippedLine:
    """Units of one order line in a parcel."""

    line: LineId
    quantity: int


@dataclass(frozen=True, slots=True)
class ShipmentRequest:
    """A parcel as a caller tells it; no `lines` means all that is still open."""

    order: OrderId
    carrier: str
    tracking_number: str
    shipped_at: datetime
    lines: tuple[ShippedLine, ...] | None = None


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
    told = [asdict(one) | {"shipped_at": one.shipped_at.astimezone(UTC).isoformat()} for one in requests]
    contents = contents_hash(dry_run, told)
    try:
        check_key(idempotency_key)
        async with shelf.store.begin() as tx:
            orders = await order.lock(tx, sorted({one.order for one in requests}))
            # Behind the lock: of parallel repeats all but one find what the first has made, not that the units are gone.
            first = await operation.by_key(tx, requested_by, idempotency_key, contents)
            if first is not None:
                return Accepted(first, [])
            under_way = await agenda.under_way(tx, Capability.SHIPMENTS, [_resource(one) for one in orders.values()])
            items, problems = _items(requests, orders, _Promises.of(under_way), shelf.clock())
            if problems:
                return Accepted(None, problems)
            kept, created = await operation.create(
                tx,
                kind=Kind.CONFIRM_SHIPMENTS,
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
            await shelf.bell.ring(channel, Capability.SHIPMENTS)
    return Accepted(kept, [])


def _resource(one: Order) -> str:
    """What parcels of one order wait in line for."""
    return f"order:{one.id}"


@dataclass(slots=True)
class _Promises:
    """What parcels on their way to the channel hold already: units per (order, channel's line), and the parcels themselves."""

    units: Counter[tuple[str, str]]
    parcels: set[tuple[str, str]]

    @classmethod
    def of(cls, payloads: Sequence[Mapping[str, object]]) -> _Promises:
        """From the payloads of items."""
        promises = cls(Counter(), set())
        for payload in payloads:
            promises.add(payload)
        return promises

    def add(self, payload: Mapping[str, object]) -> None:
        """One parcel more."""
        order, lines = str(payload["order_id"]), payload["lines"]
        assert isinstance(lines, list)
        self.parcels.add((order, str(payload["tracking_number"])))
        for line, quantity in lines:
            self.units[order, str(line)] += int(quantity)


async def recheck(tx: AsyncConnection, one: OperationId, now: datetime) -> None:
    """A preview holds no units: before it is approved its parcels must still fit. Raises Conflict naming those that do not."""
    payloads = await agenda.payloads(tx, one)
    orders = await order.lock(tx, sorted({OrderId(str(payload["order_id"])) for payload in payloads}))
    under_way = await agenda.under_way(tx, Capability.SHIPMENTS, [_resource(found) for found in orders.values()])
    promises = _Promises.of(under_way)
    gone = []
    for payload in payloads:
        try:
            _lines(_request(payload), orders, promises, now, ())
        except Refused:
            gone.append(str(payload["external_id"]))
        promises.add(payload)
    if gone:
        raise Conflict(
            f"Meanwhile these orders have changed and their parcels fit no more: {', '.join(gone)}. Ask for a new preview.",
            field=("id",),
        )


def _request(payload: Mapping[str, object]) -> ShipmentRequest:
    """What was asked when the item was made."""
    found, lines = OrderId(str(payload["order_id"])), payload["lines"]
    assert isinstance(lines, list)
    return ShipmentRequest(
        order=found,
        carrier=str(payload["carrier"]),
        tracking_number=str(payload["tracking_number"]),
        shipped_at=datetime.fromisoformat(str(payload["shipped_at"])),
        lines=tuple(ShippedLine(line_id(found, str(line)), int(units)) for line, units in lines),
    )


def _items(
    requests: Sequence[ShipmentRequest],
    orders: Mapping[OrderId, Order],
    promises: _Promises,
    now: datetime,
) -> tuple[list[NewItem], list[Refused]]:
    """An item per shipment; units promised by an earlier shipment of the same request are gone for the later ones."""
    items: list[NewItem] = []
    problems: list[Refused] = []
    for index, one in enumerate(requests):
        at = ("shipments", str(index))
        try:
            lines = _lines(one, orders, promises, now, at)
        except Refused as problem:
            problems.append(problem)
            continue
        item = _item(one, orders[one.order], lines)
        items.append(item)
        promises.add(item.payload)
    return items, problems


def _lines(
    one: ShipmentRequest,
    orders: Mapping[OrderId, Order],
    promises: _Promises,
    now: datetime,
    at: tuple[str, ...],
) -> list[tuple[str, int]]:
    """(the channel's line id, units) of a parcel. Raises Refused with the input field that is wrong."""
    check_word("carrier", one.carrier, at)
    check_word("trackingNumber", one.tracking_number, at)
    found = orders.get(one.order)
    if found is None:
        raise NotFound(f"There is no order {one.order}.", field=(*at, "orderId"))
    _check_order(found, one, now, at)
    if (found.id, one.tracking_number) in promises.parcels:
        raise Conflict(
            f"A parcel {one.tracking_number} of order {found.external_id} is on its way to the channel already.",
            field=(*at, "trackingNumber"),
        )
    left = {
        line.id: (line.external_id, line.quantity_open - promises.units[found.id, line.external_id])
        for line in found.lines
    }
    if one.lines is None:
        rest = [(external, units) for external, units in left.values() if units > 0]
        if not rest:
            raise Conflict(f"Nothing of order {found.external_id} is left to ship.", field=(*at, "orderId"))
        return rest
    wanted: Counter[LineId] = Counter()
    for position, line in enumerate(one.lines):
        here = (*at, "lines", str(position))
        if line.line not in left:
            raise NotFound(f"Order {found.external_id} has no line {line.line}.", field=(*here, "orderLineId"))
        wanted[line.line] += line.quantity
        if line.quantity < 1 or wanted[line.line] > left[line.line][1]:
            raise Invalid(
                f"{line.quantity} units cannot ship: {max(0, left[line.line][1])} of this line are open.",
                field=(*here, "quantity"),
            )
    if not wanted:
        raise Invalid("Name at least one line, or leave `lines` out for all that is open.", field=(*at, "lines"))
    return [(left[line][0], units) for line, units in wanted.items()]


def _check_order(found: Order, one: ShipmentRequest, now: datetime, at: tuple[str, ...]) -> None:
    if found.fulfilled_by is FulfilledBy.CHANNEL:
        raise Invalid(f"Order {found.external_id} is shipped by its channel, not by us.", field=(*at, "orderId"))
    if found.status not in SHIPPABLE:
        raise Conflict(f"Order {found.external_id} is {found.status.value} and cannot ship.", field=(*at, "orderId"))
    if not found.placed_at - AHEAD <= one.shipped_at <= now + AHEAD:
        raise Invalid("`shippedAt` must lie between the order's placing and now.", field=(*at, "shippedAt"))
    if any(parcel.tracking_number == one.tracking_number for parcel in found.shipments):
        raise Conflict(
            f"Order {found.external_id} already has a parcel {one.tracking_number}.", field=(*at, "trackingNumber")
        )


def _item(one: ShipmentRequest, found: Order, lines: list[tuple[str, int]]) -> NewItem:
    shipped_at = one.shipped_at.astimezone(UTC).isoformat()
    after = {
        "carrier": one.carrier,
        "trackingNumber": one.tracking_number,
        "shippedAt": shipped_at,
        "lines": dict(lines),
    }
    return NewItem(
        channel=found.channel,
        capability=Capability.SHIPMENTS,
        resource=_resource(found),
        key=f"{found.channel}/{found.external_id}",
        payload={
            "order_id": found.id,
            "external_id": found.external_id,
            "marketplace": found.marketplace,
            "refs": dict(found.refs),
            "carrier": one.carrier,
            "tracking_number": one.tracking_number,
            "shipped_at": shipped_at,
            "lines": [[line, units] for line, units in lines],
        },
        before=json.dumps({"status": found.channel_status}),
        after=json.dumps(after),
    )
