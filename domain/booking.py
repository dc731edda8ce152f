"""What people and warehouses ask to be booked, and the entries of the ledger that it comes to.

That depends on what lies there (`settle`), so it is decided under the lock of the SKU and not before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from domain.ids import LocationCode, Sku
from domain.ledger import MOST_UNITS, Balance, EntryKind, NewEntry

BRINGS = frozenset({EntryKind.RECEIPT, EntryKind.RETURN})
"""Kinds that only ever bring units."""


@dataclass(frozen=True, slots=True)
class Line:
    """A change that is asked for: units more or less, or for a COUNT those that lie there. `number` is its place among others."""

    number: int
    sku: Sku
    location: LocationCode
    quantity: int
    kind: EntryKind
    reason: str
    reference: str | None = None


@dataclass(slots=True)
class Counts:
    """What lies at one place of one SKU."""

    on_hand: int = 0
    reserved: int = 0
    inbound: int = 0


Places: TypeAlias = defaultdict[tuple[Sku, LocationCode], Counts]


def counted(balances: Iterable[Balance]) -> Places:
    """What lies where; a SKU that never lay at a place lies there with nothing."""
    places: Places = defaultdict(Counts)
    for one in balances:
        places[one.sku, one.location] = Counts(one.on_hand, one.reserved, one.inbound)
    return places


class Result(Enum):
    """What became of a row."""

    CHANGED = "changed"
    SAME = "same"  # the ledger says so already
    ALREADY = "already"  # this very row was taken before
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row did: on hand (for EXPECTED inbound) `before` and `after`."""

    number: int
    sku: str
    location: str
    result: Result
    before: int | None = None
    after: int | None = None
    reason: str = ""


def settle(line: Line, counts: Counts, *, actor: str, source: str, key: str | None) -> tuple[NewEntry | None, Outcome]:
    """The entry that a row comes to, given what lies there; `counts` is moved along. None where there is nothing to post."""
    inbound, on_hand = 0, 0
    match line.kind:
        case EntryKind.COUNT:
            on_hand = line.quantity - counts.on_hand
        case EntryKind.EXPECTED:
            inbound = line.quantity
        case EntryKind.RECEIPT:
            on_hand = line.quantity
            inbound = -min(line.quantity, counts.inbound)
        case _:
            on_hand = line.quantity
    expected = line.kind is EntryKind.EXPECTED
    before = counts.inbound if expected else counts.on_hand
    after = before + (inbound if expected else on_hand)
    if after < 0 or after > MOST_UNITS:
        reason = f"{before} are {'announced' if expected else 'there'}; {line.quantity:+} cannot be"
        return None, _outcome(line, Result.REJECTED, before, None, reason)
    if not on_hand and not inbound:
        return None, _outcome(line, Result.SAME, before, before, "")
    counts.on_hand += on_hand
    counts.inbound += inbound
    entry = NewEntry(
        sku=line.sku,
        location=line.location,
        kind=line.kind,
        reason=line.reason,
        actor=actor,
        source=source,
        on_hand=on_hand,
        inbound=inbound,
        key=key,
        reference=line.reference,
    )
    return entry, _outcome(line, Result.CHANGED, before, after, line.reason)


def _outcome(line: Line, result: Result, before: int | None, after: int | None, reason: str) -> Outcome:
    return Outcome(line.number, line.sku, line.location, result, before, after, reason)
