"""Comparing orders three ways: ours, those that the channel's API tells, those that its report tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum

from domain.ids import ChannelId
from domain.money import Money
from domain.order import Order, OrderStatus


class DifferenceCause(Enum):
    """Why two do not tell the same of an order."""

    MISSING_HERE = "MISSING_HERE"
    MISSING_THERE = "MISSING_THERE"
    OLDER_HERE = "OLDER_HERE"
    STATUS = "STATUS"
    QUANTITY = "QUANTITY"
    TOTAL = "TOTAL"
    LATE = "LATE"
    NOT_UNDERSTOOD = "NOT_UNDERSTOOD"


OURS = frozenset(
    {
        DifferenceCause.MISSING_HERE,
        DifferenceCause.OLDER_HERE,
        DifferenceCause.STATUS,
        DifferenceCause.QUANTITY,
        DifferenceCause.TOTAL,
        DifferenceCause.LATE,
    }
)
"""Causes that reading the order anew heals."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one side tells of an order. `units` are those still wanted; `total` is None where the side does not tell it."""

    status: OrderStatus
    units: int
    updated_at: datetime
    total: Money | None = None
    whole: bool = True

    @classmethod
    def of(cls, one: Order) -> Seen:
        """As an order tells it."""
        units = sum(line.quantity for line in one.lines)
        return cls(one.status, units, one.updated_at, one.total, one.whole)

    def told(self) -> dict[str, str | int | None]:
        """As plain values; times in UTC."""
        return {
            "status": self.status.value,
            "units": self.units,
            "updatedAt": self.updated_at.isoformat(),
            "total": None if self.total is None else f"{self.total.amount} {self.total.currency}",
        }


@dataclass(slots=True)
class Difference:
    """What does not agree about one order of a business day."""

    channel: ChannelId
    day: date
    external_id: str
    cause: DifferenceCause
    ours: Mapping[str, str | int | None] | None = None
    api: Mapping[str, str | int | None] | None = None
    report: Mapping[str, str | int | None] | None = None
    id: int = 0
    found_at: datetime | None = None
    healed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One business day of one channel. Counts are of orders, None where that side was not asked; `api_whole` is False where its
    share of the budget ended before the day did."""

    channel: ChannelId
    day: date
    done_at: datetime | None = None
    ours: int | None = None
    api: int | None = None
    report: int | None = None
    api_whole: bool = True
    differences: int | None = None
    healed: int | None = None
    reason: str | None = None


def cause_of(ours: Seen | None, theirs: Seen, *, caught_up_to: datetime | None) -> DifferenceCause | None:
    """Why we do not know an order as the channel tells it; None where we do, or where ours is newer.

    A change after `caught_up_to`, up to which our streams have read, is merely not read yet. Reports tell times in whole seconds,
    and nothing of a line that has left in part.
    """
    late = caught_up_to is None or theirs.updated_at > caught_up_to
    if ours is None:
        return DifferenceCause.LATE if late else DifferenceCause.MISSING_HERE
    here, there = ours.updated_at, theirs.updated_at
    if not theirs.whole:
        here = here.replace(microsecond=0)
    if here < there:
        return DifferenceCause.LATE if late else DifferenceCause.OLDER_HERE
    if here > there or not ours.whole:
        return None
    if ours.status is not theirs.status and not (theirs.whole is False and _in_part(ours.status, theirs.status)):
        return DifferenceCause.STATUS
    if ours.units != theirs.units:
        return DifferenceCause.QUANTITY
    if theirs.total is not None and ours.total != theirs.total:
        return DifferenceCause.TOTAL
    return None


def _in_part(ours: OrderStatus, reported: OrderStatus) -> bool:
    """A report has no word for what has left in part, nor for what has arrived."""
    return (ours, reported) in {
        (OrderStatus.PARTIALLY_SHIPPED, OrderStatus.UNSHIPPED),
        (OrderStatus.DELIVERED, OrderStatus.SHIPPED),
    }
