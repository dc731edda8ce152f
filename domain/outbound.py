"""Shipping another channel's orders out of stock that lies at a platform (Amazon's Multi-Channel Fulfillment)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from domain.address import Address
from domain.errors import Insufficient, Invalid, Refused
from domain.ids import ChannelId, ChannelSku, LineId, LocationCode, OperationId, OrderId, Sku
from domain.money import Money
from domain.outbound_return import ReturnedUnit

MOST_LINES = 100
MOST_UNITS = 250
LONGEST_ID = 40
# An order that is held and never released ends by itself.
HOLD_LIFE = timedelta(days=14)


class Speed(Enum):
    """How fast. PRIORITY and SCHEDULED exist in a few countries only."""

    STANDARD = "STANDARD"
    EXPEDITED = "EXPEDITED"
    PRIORITY = "PRIORITY"
    SCHEDULED = "SCHEDULED"


class Action(Enum):
    """Ship now, or keep the units until the order is released."""

    SHIP = "SHIP"
    HOLD = "HOLD"


class Policy(Enum):
    """What happens when units are missing: nothing is shipped; all that is there is, and the rest waits; or is dropped."""

    FILL_OR_KILL = "FILL_OR_KILL"
    FILL_ALL = "FILL_ALL"
    FILL_ALL_AVAILABLE = "FILL_ALL_AVAILABLE"


class Feature(Enum):
    """What the parcel must be: without the platform's brand, not carried by its own drivers, signed for. The last two cost."""

    BLANK_BOX = "BLANK_BOX"
    BLOCK_AMZL = "BLOCK_AMZL"
    SIGNATURE_CONFIRMATION = "SIGNATURE_CONFIRMATION"


class OutboundStatus(Enum):
    """Where an order stands. RECEIVED can still be canceled; of PROCESSING only the platform knows."""

    RECEIVED = "RECEIVED"
    PROCESSING = "PROCESSING"
    COMPLETE = "COMPLETE"
    PARTLY_COMPLETE = "PARTLY_COMPLETE"
    CANCELLED = "CANCELLED"
    UNFULFILLABLE = "UNFULFILLABLE"
    INVALID = "INVALID"


class Whereabouts(Enum):
    """Where a parcel is. OTHER: the platform's word tells of something else than its place."""

    PREPARING = "PREPARING"
    IN_TRANSIT = "IN_TRANSIT"
    OUT_FOR_DELIVERY = "OUT_FOR_DELIVERY"
    DELAYED = "DELAYED"
    DELIVERY_ATTEMPTED = "DELIVERY_ATTEMPTED"
    AVAILABLE_FOR_PICKUP = "AVAILABLE_FOR_PICKUP"
    DELIVERED = "DELIVERED"
    UNDELIVERABLE = "UNDELIVERABLE"
    RETURNING = "RETURNING"
    RETURNED = "RETURNED"
    LOST = "LOST"
    OTHER = "OTHER"


class StockMoved(Insufficient):
    """It could be fulfilled when it was previewed, and no longer when it was created: the units were sold in between."""

    code = "STOCK_MOVED"


class NoDelivery(Refused):
    """The units are there, and nobody brings them to this address at this speed."""


@dataclass(frozen=True, slots=True)
class OutboundLine:
    """Units of one SKU. `id` is ours; `declared_value` is that of one unit, for customs."""

    id: str
    channel_sku: ChannelSku
    quantity: int
    declared_value: Money | None = None


@dataclass(frozen=True, slots=True)
class OutboundOrder:
    """An order to be shipped. `id` is ours, at most 40 characters without spaces, and never used for another order; `shown_id`,
    `placed_at` and `comment` stand on the packing slip. `marketplace` is the country code whose stock is taken.

    Raises Invalid for what no platform would take.
    """

    id: str
    shown_id: str
    placed_at: datetime
    comment: str = field(repr=False)
    marketplace: str
    address: Address
    lines: tuple[OutboundLine, ...]
    speed: Speed = Speed.STANDARD
    action: Action = Action.SHIP
    policy: Policy = Policy.FILL_OR_KILL
    features: frozenset[Feature] = frozenset()

    def __post_init__(self) -> None:
        # With spaces in it, Amazon takes an order and then finds it no more.
        if not self.id or len(self.id) > LONGEST_ID or any(sign.isspace() for sign in self.id):
            raise Invalid(f"{self.id!r} is no id of an outbound order: 1 to {LONGEST_ID} characters without spaces.")
        if not 1 <= len(self.lines) <= MOST_LINES:
            raise Invalid(f"Order {self.id} has {len(self.lines)} lines; there can be 1 to {MOST_LINES}.")
        if len({line.id for line in self.lines}) < len(self.lines):
            raise Invalid(f"Two lines of order {self.id} have the same id.")
        if any(line.quantity < 1 for line in self.lines):
            raise Invalid(f"A line of order {self.id} has no units.")
        units = sum(line.quantity for line in self.lines)
        if units > MOST_UNITS:
            raise Invalid(f"Order {self.id} has {units} units; there can be {MOST_UNITS}.")
        if self.placed_at.tzinfo is None:
            raise Invalid(f"Order {self.id}: the time at which it was placed needs its time zone.", field=("placedAt",))
        if self.action is Action.HOLD and self.speed is Speed.SCHEDULED:
            raise Invalid(f"Order {self.id}: what is delivered at a time of the buyer's choice cannot be held.")


@dataclass(frozen=True, slots=True)
class Fee:
    """One part of what it costs, by the platform's own name of it."""

    name: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Units that cannot be shipped, and the platform's codes for why, where it gives any."""

    line_id: str
    channel_sku: ChannelSku
    quantity: int
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpeedPreview:
    """What one speed would mean. `possible` says whether all of it can be shipped; else `shortfalls` (units) and `reasons`
    (codes) say why not. Instants are None where the platform gives none; `fees` are empty where it tells none."""

    speed: Speed
    possible: bool
    ships_from: datetime | None = None
    ships_until: datetime | None = None
    arrives_from: datetime | None = None
    arrives_until: datetime | None = None
    fees: tuple[Fee, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """An order as it would be shipped, speed by speed. Nothing is put aside for it. `as_of` is taken before asking."""

    as_of: datetime
    speeds: tuple[SpeedPreview, ...]
    upstream_request_id: str | None = None

    def of(self, speed: Speed) -> SpeedPreview | None:
        """What that speed would mean; None where it was not asked for or is not offered."""
        return next((one for one in self.speeds if one.speed is speed), None)


@dataclass(frozen=True, slots=True)
class LineState:
    """A line as it stands; units."""

    id: str
    channel_sku: ChannelSku
    quantity: int
    cancelled: int
    unfulfillable: int


@dataclass(frozen=True, slots=True)
class OutboundPackage:
    """A parcel on its way. `lines` are (our line id, units); `channel_status` is the platform's own word for `whereabouts`, both
    None where it tells nothing yet."""

    id: str
    carrier: str | None
    tracking_number: str | None
    shipped_at: datetime | None
    arrives_at: datetime | None
    lines: tuple[tuple[str, int], ...]
    whereabouts: Whereabouts | None = None
    channel_status: str | None = None


@dataclass(frozen=True, slots=True)
class OutboundState:
    """An order as its platform shows it. `ends_at` is when one that is held ends by itself."""

    id: str
    status: OutboundStatus
    channel_status: str
    received_at: datetime
    updated_at: datetime | None
    action: Action
    lines: tuple[LineState, ...]
    packages: tuple[OutboundPackage, ...] = ()
    ends_at: datetime | None = None
    upstream_request_id: str | None = None
    returns: tuple[ReturnedUnit, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """An order as a list of what has changed tells of it; `state` is None where the list has not all of it."""

    channel_status: str
    updated_at: datetime | None
    state: OutboundState | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """The platform took what was asked; `already` when it had done so before. `state` is None while nobody has looked."""

    id: str
    already: bool = False
    state: OutboundState | None = None
    upstream_request_id: str | None = field(default=None, compare=False)


# ── What we have asked for, and follow ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class WantedLine:
    """Units of one line of an order of ours. `external_id` is the line's id at the channel that sold it."""

    line: LineId
    external_id: str
    sku: Sku
    channel_sku: ChannelSku
    quantity: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order of ours as another channel's pool is to ship it: all but the person. `id` is ours, and of this attempt alone;
    `marketplace` is the country code through which the pool at `location` is asked."""

    id: str
    order: OrderId
    channel: ChannelId
    location: LocationCode
    marketplace: str
    shown_id: str
    placed_at: datetime
    comment: str
    lines: tuple[WantedLine, ...]
    speed: Speed = Speed.STANDARD
    policy: Policy = Policy.FILL_OR_KILL
    features: frozenset[Feature] = frozenset()

    def to(self, address: Address) -> OutboundOrder:
        """As the platform takes it. Raises Invalid for what no platform would take."""
        return OutboundOrder(
            id=self.id,
            shown_id=self.shown_id,
            placed_at=self.placed_at,
            comment=self.comment,
            marketplace=self.marketplace,
            address=address,
            lines=tuple(OutboundLine(str(one.line), one.channel_sku, one.quantity) for one in self.lines),
            speed=self.speed,
            policy=self.policy,
            features=self.features,
        )

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "outbound_id": self.id,
            "order_id": self.order,
            "channel": self.channel,
            "location": self.location,
            "marketplace": self.marketplace,
            "shown_id": self.shown_id,
            "placed_at": self.placed_at.isoformat(),
            "comment": self.comment,
            "lines": [[one.line, one.external_id, one.sku, one.channel_sku, one.quantity] for one in self.lines],
            "speed": self.speed.value,
            "policy": self.policy.value,
            "features": sorted(one.value for one in self.features),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Wanted:
        """The same again."""
        return cls(
            id=told["outbound_id"],
            order=OrderId(told["order_id"]),
            channel=ChannelId(told["channel"]),
            location=LocationCode(told["location"]),
            marketplace=told["marketplace"],
            shown_id=told["shown_id"],
            placed_at=datetime.fromisoformat(told["placed_at"]),
            comment=told["comment"],
            lines=tuple(
                WantedLine(LineId(line), external, Sku(sku), ChannelSku(theirs), int(units))
                for line, external, sku, theirs, units in told["lines"]
            ),
            speed=Speed(told["speed"]),
            policy=Policy(told["policy"]),
            features=frozenset(map(Feature, told["features"])),
        )


def preview_to_json(one: Preview) -> dict[str, object]:
    """A preview as JSON values: instants as ISO 8601, amounts as text."""
    return {
        "asOf": one.as_of.isoformat(),
        "upstreamRequestId": one.upstream_request_id,
        "speeds": [
            {
                "speed": each.speed.value,
                "possible": each.possible,
                **{word: _told(getattr(each, name)) for word, name in _INSTANTS.items()},
                "fees": [
                    {"name": fee.name, "amount": f"{fee.amount.amount:f}", "currency": fee.amount.currency}
                    for fee in each.fees
                ],
                "shortfalls": [
                    {
                        "line": part.line_id,
                        "channelSku": part.channel_sku,
                        "quantity": part.quantity,
                        "reasons": list(part.reasons),
                    }
                    for part in each.shortfalls
                ],
                "reasons": list(each.reasons),
            }
            for each in one.speeds
        ],
    }


def preview_from_json(told: Mapping[str, Any]) -> Preview:
    """The same again."""
    return Preview(
        as_of=datetime.fromisoformat(told["asOf"]),
        upstream_request_id=told["upstreamRequestId"],
        speeds=tuple(
            SpeedPreview(
                speed=Speed(each["speed"]),
                possible=each["possible"],
                **{name: _read(each[word]) for word, name in _INSTANTS.items()},
                fees=tuple(Fee(fee["name"], Money(Decimal(fee["amount"]), fee["currency"])) for fee in each["fees"]),
                shortfalls=tuple(
                    Shortfall(part["line"], ChannelSku(part["channelSku"]), part["quantity"], tuple(part["reasons"]))
                    for part in each["shortfalls"]
                ),
                reasons=tuple(each["reasons"]),
            )
            for each in told["speeds"]
        ),
    )


_INSTANTS = {
    "shipsFrom": "ships_from",
    "shipsUntil": "ships_until",
    "arrivesFrom": "arrives_from",
    "arrivesUntil": "arrives_until",
}


def _told(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _read(at: str | None) -> datetime | None:
    return None if at is None else datetime.fromisoformat(at)


class AtPool(NamedTuple):
    """Units of a line: those that the pool still keeps for it, and those that have left from there."""

    kept: int
    left: int


# Nothing more comes of it. What of a line is in no parcel by then is not shipped from there.
_SHIPPED = frozenset({OutboundStatus.COMPLETE, OutboundStatus.PARTLY_COMPLETE})
_NOT_SHIPPED = frozenset({OutboundStatus.CANCELLED, OutboundStatus.UNFULFILLABLE, OutboundStatus.INVALID})
ENDED = _SHIPPED | _NOT_SHIPPED
# Nobody looks any longer where such a parcel is.
ARRIVED = frozenset({Whereabouts.DELIVERED, Whereabouts.UNDELIVERABLE, Whereabouts.RETURNED, Whereabouts.LOST})


def at_pool(
    status: OutboundStatus, lines: Sequence[LineState], packages: Sequence[OutboundPackage]
) -> dict[str, AtPool]:
    """Where the units of each line are, by line id; what is in neither number is for others to ship.

    What was canceled or cannot be shipped is not kept. A line of which more has left than was ordered has left as ordered: the
    platform tells a parcel's units once more where a parcel was replaced.
    """
    left: dict[str, int] = {}
    for package in packages:
        if package.shipped_at is not None:
            for line, units in package.lines:
                left[line] = left.get(line, 0) + units
    found = {}
    for one in lines:
        gone = min(one.quantity, left.get(one.id, 0))
        there = max(0, one.quantity - one.cancelled - one.unfulfillable - gone)
        waits = status not in _NOT_SHIPPED and status is not OutboundStatus.PARTLY_COMPLETE
        found[one.id] = AtPool(there if waits else 0, gone)
    return found


@dataclass(frozen=True, slots=True)
class FollowedPackage:
    """A parcel, and the operation that confirmed it to the channel that sold the order, or why none did (yet)."""

    package: OutboundPackage
    confirmation: OperationId | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class FollowedReturn:
    """A unit that comes back, since when that is known, and the operation that announced it; None where somebody did so at the
    platform itself."""

    unit: ReturnedUnit
    announced_at: datetime
    operation: OperationId | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """An order that the platform has taken, as it was seen last.

    `counted_at` is since when the platform's own count is without its units: until then they stay promised where they were.
    `preview` is what was known of speed and cost when it was asked for. `trouble` says what a person should look at. `due_at` is
    when it will be looked at again; None when there is nothing more to see.
    """

    wanted: Wanted
    operation: OperationId
    status: OutboundStatus
    channel_status: str | None
    taken_at: datetime
    lines: tuple[LineState, ...]
    packages: tuple[FollowedPackage, ...] = ()
    counted_at: datetime | None = None
    seen_at: datetime | None = None
    due_at: datetime | None = None
    preview: Preview | None = None
    trouble: str | None = None
    returns: tuple[FollowedReturn, ...] = ()

    @property
    def returnable(self) -> dict[LineId, int]:
        """Units by line that have been delivered and are not announced to come back. Where nobody looks any longer, what has left
        counts as delivered: only the platform knows better."""
        found: dict[LineId, int] = {}
        for each in self.packages:
            where = each.package.whereabouts
            if where is Whereabouts.DELIVERED or (
                self.due_at is None and where not in ARRIVED and each.package.shipped_at
            ):
                for line, units in each.package.lines:
                    found[LineId(line)] = found.get(LineId(line), 0) + units
        for one in self.returns:
            line = LineId(one.unit.line_id)
            found[line] = found.get(line, 0) - 1
        return {line: max(0, units) for line, units in found.items()}

    @property
    def units(self) -> dict[LineId, AtPool]:
        """Where the units of each line of the order are."""
        found = at_pool(self.status, self.lines, [one.package for one in self.packages])
        return {one.line: found.get(str(one.line), AtPool(one.quantity, 0)) for one in self.wanted.lines}

    @property
    def cancelable(self) -> bool:
        """Whether it may not be too late; of PROCESSING only the platform knows."""
        return self.status not in ENDED and not any(one.package.shipped_at for one in self.packages)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to see."""
        there = [one.package for one in self.packages]
        return self.status in _NOT_SHIPPED or (
            self.status in _SHIPPED and bool(there) and all(one.whereabouts in ARRIVED for one in there)
        )


def look_again(one: Followed, ship_by: datetime | None, now: datetime) -> timedelta | None:
    """How long until it is looked at next: what must leave soon more often, what is only on its way, or on its way back, less.
    None when it is over, or when nothing was heard of its parcels for a month."""
    if one.over or one.taken_at + _FOLLOWED < now:
        coming = (each for each in one.returns if not each.unit.processed)
        return _COMING_BACK if any(each.announced_at + _RETURNED_WITHIN > now for each in coming) else None
    if one.status in ENDED and all(each.confirmation for each in one.packages):
        return _ON_ITS_WAY
    if ship_by is None:
        return _WAITING
    return min(_WAITING, max(_URGENT, (ship_by - now) / 8))


def listed(one: Followed, now: datetime) -> bool:
    """Whether its platform's list of what has changed tells enough of it: it waits to be packed. Of parcels such a list may say
    nothing, so what was not looked at itself for an hour is."""
    waits = one.status not in ENDED and not one.packages and one.trouble is None
    return waits and one.seen_at is not None and now - one.seen_at < _LISTED


def unchanged(one: Followed, told: Standing | None) -> bool:
    """Whether a list of what changed since it was seen says nothing new of it."""
    if told is None:
        return True
    same = told.channel_status.casefold() == (one.channel_status or "").casefold()
    seen = one.seen_at is not None and told.updated_at is not None and told.updated_at < one.seen_at - CLOCKS
    return same and seen


CLOCKS = timedelta(minutes=5)
"""How far a platform's clock and ours may be apart."""
_LISTED = timedelta(hours=1)
_FOLLOWED = timedelta(days=30)
_RETURNED_WITHIN = timedelta(days=90)
_COMING_BACK = timedelta(hours=12)
_WAITING = timedelta(minutes=15)
_URGENT = timedelta(minutes=2)
_ON_ITS_WAY = timedelta(hours=2)
