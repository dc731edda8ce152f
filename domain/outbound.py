"""Shipping another channel's orders out of stock that lies at a platform (Amazon's Multi-Channel Fulfillment)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from domain.address import Address
from domain.errors import Insufficient, Invalid, Refused
from domain.ids import ChannelSku
from domain.money import Money

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


@dataclass(frozen=True, slots=True)
class Taken:
    """The platform took what was asked; `already` when it had done so before. `state` is None while nobody has looked."""

    id: str
    already: bool = False
    state: OutboundState | None = None
    upstream_request_id: str | None = field(default=None, compare=False)
