"""From which places units are promised, and which lag let a channel sell more than there was."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.ids import LocationCode


def choose(quantity: int, free: Mapping[LocationCode, int]) -> dict[LocationCode, int]:
    """Units by place for `quantity`; `free` are the units that each place can promise, in order of preference.

    The first place that covers all of it; else as few places as can be, the fullest first. Less than `quantity` where there is
    less. The same question has the same answer, always.
    """
    if quantity <= 0:
        return {}
    for place, units in free.items():
        if units >= quantity:
            return {place: quantity}
    chosen: dict[LocationCode, int] = {}
    for place, units in sorted(free.items(), key=lambda one: -one[1]):
        taken = min(units, quantity - sum(chosen.values()))
        if taken > 0:
            chosen[place] = taken
    return chosen


@dataclass(frozen=True, slots=True)
class Told:
    """A number that a channel was told: `number` says which of its numbers."""

    number: Hashable
    quantity: int
    sent_at: datetime
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lapse:
    """Why a channel could sell what was not there: the units that it showed then, as far as that is confirmed, and since when
    it had been told otherwise."""

    shown: int | None
    told_at: datetime | None
    cause: str


def lapse_of(placed_at: datetime, seen_at: datetime, told: Sequence[Told]) -> Lapse:
    """The lag that let in a sale placed at `placed_at` and seen at `seen_at`; `told` is what the channel was told of the SKU."""
    before = sorted((one for one in told if one.sent_at <= placed_at), key=lambda one: one.sent_at)
    if not before:
        return Lapse(None, None, "never told")
    confirmed = {one.number: one for one in before if one.confirmed_at is not None and one.confirmed_at <= placed_at}
    shown = sum(one.quantity for one in confirmed.values()) if confirmed else None
    newest = {one.number: one for one in before}
    pending = [one for number, one in newest.items() if one is not confirmed.get(number)]
    lowered = [one for one in pending if one.number not in confirmed or one.quantity < confirmed[one.number].quantity]
    if lowered:
        last = max(lowered, key=lambda one: one.sent_at)
        what = "the number was lowered" if last.number in confirmed else "the first number was told"
        return Lapse(
            shown, last.sent_at, f"placed {_seconds(last.sent_at, placed_at)} after {what}, before it was confirmed"
        )
    if shown == 0:
        last_at = max(one.sent_at for one in confirmed.values())
        return Lapse(shown, last_at, f"placed {_seconds(last_at, placed_at)} after 0 were told and confirmed")
    return Lapse(shown, None, f"seen {_seconds(placed_at, seen_at)} after it was placed")


def _seconds(begin: datetime, end: datetime) -> str:
    seconds = max(0.0, (end - begin).total_seconds())
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"
