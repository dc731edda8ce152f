"""The work that an order makes: what one place has to send of it. Shops call it a fulfillment order.

An order has one for each place, before anything is sent; a parcel (`domain.order.Shipment`) does a part of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class WorkStatus(Enum):
    """Where the work stands. Only OPEN and IN_PROGRESS can be shipped; INCOMPLETE was given up by a service before its end."""

    OPEN = "OPEN"
    IN_PROGRESS = "IN_PROGRESS"
    SCHEDULED = "SCHEDULED"
    ON_HOLD = "ON_HOLD"
    INCOMPLETE = "INCOMPLETE"
    CLOSED = "CLOSED"
    CANCELLED = "CANCELLED"


WORKABLE = frozenset({WorkStatus.OPEN, WorkStatus.IN_PROGRESS})
OVER = frozenset({WorkStatus.CLOSED, WorkStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class Hold:
    """Why work must wait: the channel's word, and its sentence for people. `ours`: we asked for it."""

    reason: str
    words: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class WorkLine:
    """Units of one order line (by the channel's id) that were to be sent from there, and how many are left."""

    id: str
    order_line: str
    sku: str | None
    total: int
    remaining: int


@dataclass(frozen=True, slots=True)
class FulfillmentOrder:
    """What one place has to send of one order; `id`, `order` and `place` are the channel's own ids.

    `place` is None where the place is gone; `place_name` still says which it was. `request` says how far a fulfillment service
    has taken the work on, and `actions` what can be done with it now, both in the channel's words.
    """

    id: str
    order: str
    status: WorkStatus
    request: str
    place: str | None
    place_name: str
    actions: frozenset[str]
    updated_at: datetime
    lines: tuple[WorkLine, ...]
    holds: tuple[Hold, ...] = ()
    due_at: datetime | None = None
    deadline_at: datetime | None = None

    @property
    def shippable(self) -> bool:
        """Whether a parcel can be confirmed for it now."""
        return self.status in WORKABLE and "CREATE_FULFILLMENT" in self.actions

    @property
    def remaining(self) -> int:
        """Units that are left to be sent."""
        return 0 if self.status in OVER else sum(line.remaining for line in self.lines)
