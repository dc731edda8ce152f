"""Parcels that are to be confirmed: what was told of one, checked against its order as it stands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.carrier import Tracking, normalized
from domain.channel import Platform
from domain.errors import Conflict, Invalid, NotFound
from domain.ids import ChannelId, LineId, OrderId, line_id
from domain.operation import Capability, NewItem
from domain.order import SHIPPABLE, Order
from domain.product import FulfilledBy

AHEAD = timedelta(days=1)  # clocks of warehouses differ, calendars do not


@dataclass(frozen=True, slots=True)
class ShippedLine:
    """Units of one order line in a parcel."""

    line: LineId
    quantity: int


@dataclass(frozen=True, slots=True)
class ShipmentRequest:
    """A parcel as somebody tells it; no `lines` means all that is still open. `service` is the carrier's, in its own words."""

    order: OrderId
    carrier: str
    tracking_number: str
    shipped_at: datetime
    lines: tuple[ShippedLine, ...] | None = None
    service: str | None = None


@dataclass(slots=True)
class Promises:
    """What parcels on their way to the channel, or a pool that ships them, hold already: units per (order, channel's line), and
    the parcels themselves.

    `cancels` are the orders that are being cancelled.
    """

    units: Counter[tuple[str, str]]
    parcels: set[tuple[str, str]]
    cancels: frozenset[OrderId] = frozenset()

    @classmethod
    def of(cls, payloads: Sequence[Mapping[str, object]]) -> Promises:
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


def resource(order: OrderId) -> str:
    """What parcels of one order wait in line for."""
    return f"order:{order}"


def item_of(
    one: ShipmentRequest,
    orders: Mapping[OrderId, Order],
    promises: Promises,
    platforms: Mapping[ChannelId, Platform],
    now: datetime,
    at: tuple[str, ...] = (),
) -> NewItem:
    """The item that confirms a parcel. Raises Refused with the input field that is wrong, below `at`."""
    found = orders.get(one.order)
    if found is None:
        raise NotFound(f"There is no order {one.order}.", field=(*at, "orderId"))
    platform = platforms.get(found.channel)
    if platform is None:
        raise NotFound(
            f"Order {found.external_id} is of {found.channel}, which is no channel any more.", field=(*at, "orderId")
        )
    try:
        tracking = normalized(one.carrier, one.service, one.tracking_number, platform, found.marketplace)
    except Invalid as problem:
        raise Invalid(problem.message, field=(*at, *(problem.field or ()))) from None
    return _item(one, tracking, found, _lines(one, tracking.tracking_number, found, promises, now, at))


def request_of(payload: Mapping[str, object]) -> ShipmentRequest:
    """What was asked when the item was made."""
    found, lines, service = OrderId(str(payload["order_id"])), payload["lines"], payload.get("service")
    assert isinstance(lines, list)
    return ShipmentRequest(
        order=found,
        carrier=str(payload["carrier"]),
        tracking_number=str(payload["tracking_number"]),
        shipped_at=datetime.fromisoformat(str(payload["shipped_at"])),
        lines=tuple(ShippedLine(line_id(found, str(line)), int(units)) for line, units in lines),
        service=None if service is None else str(service),
    )


def _lines(
    one: ShipmentRequest, number: str, found: Order, promises: Promises, now: datetime, at: tuple[str, ...]
) -> list[tuple[str, int]]:
    """(the channel's line id, units) of a parcel. Raises Refused."""
    _check_order(found, one, number, now, at)
    if found.id in promises.cancels:
        raise Conflict(
            f"Order {found.external_id} is being cancelled. Wait for the outcome, or withdraw it by cancelOperation.",
            field=(*at, "orderId"),
        )
    if (found.id, number) in promises.parcels:
        raise Conflict(
            f"A parcel {number} of order {found.external_id} is on its way to the channel already.",
            field=(*at, "trackingNumber"),
        )
    left = {
        line.id: (line.external_id, line.quantity_open - promises.units[found.id, line.external_id])
        for line in found.lines
    }
    if one.lines is None:
        rest = [(external, units) for external, units in left.values() if units > 0]
        if not rest:
            raise Conflict(
                f"Nothing of order {found.external_id} is left to ship: it has left, is on its way to the channel, or is "
                "another platform's to ship (`Order.outbound`).",
                field=(*at, "orderId"),
            )
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


def check_whole(found: Order, at: tuple[str, ...] = ()) -> None:
    """Raises Conflict for an order of which only a report has told: the ids of its lines are still to be read."""
    if not found.whole:
        raise Conflict(
            f"Order {found.external_id} has not been read as a whole yet: so far only a report has told of it. Such orders are "
            "read one by one, those to be shipped first. Try again in a minute; behind thousands of others it may take hours.",
            field=at or None,
        )


def _check_order(found: Order, one: ShipmentRequest, number: str, now: datetime, at: tuple[str, ...]) -> None:
    check_whole(found, (*at, "orderId"))
    if found.fulfilled_by is FulfilledBy.CHANNEL:
        raise Invalid(f"Order {found.external_id} is shipped by its channel, not by us.", field=(*at, "orderId"))
    if any(parcel.tracking_number == number for parcel in found.shipments):
        raise Conflict(f"Order {found.external_id} already has a parcel {number}.", field=(*at, "trackingNumber"))
    if found.status not in SHIPPABLE:
        raise Conflict(f"Order {found.external_id} is {found.status.value} and cannot ship.", field=(*at, "orderId"))
    if found.held is not None:
        raise Conflict(
            f"Order {found.external_id} is held and cannot ship: {found.held} Release or approve it first.",
            field=(*at, "orderId"),
        )
    if not found.placed_at - AHEAD <= one.shipped_at <= now + AHEAD:
        raise Invalid("`shippedAt` must lie between the order's placing and now.", field=(*at, "shippedAt"))


def _item(one: ShipmentRequest, tracking: Tracking, found: Order, lines: list[tuple[str, int]]) -> NewItem:
    shipped_at = one.shipped_at.astimezone(UTC).isoformat()
    service = {} if tracking.service is None else {"service": tracking.service}
    after = {
        "carrier": tracking.carrier,
        **service,
        "trackingNumber": tracking.tracking_number,
        "shippedAt": shipped_at,
        "lines": dict(lines),
        **({"warnings": list(tracking.warnings)} if tracking.warnings else {}),
    }
    return NewItem(
        channel=found.channel,
        capability=Capability.SHIPMENTS,
        resource=resource(found.id),
        key=f"{found.channel}/{found.external_id}",
        payload={
            "order_id": found.id,
            "external_id": found.external_id,
            "marketplace": found.marketplace,
            "refs": dict(found.refs),
            "carrier": tracking.carrier,
            **service,
            "tracking_number": tracking.tracking_number,
            "shipped_at": shipped_at,
            "lines": [[line, units] for line, units in lines],
        },
        before=json.dumps({"status": found.channel_status}),
        after=json.dumps(after, ensure_ascii=False),
        deadline_at=found.ship_by,
    )
