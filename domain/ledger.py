"""The ledger of own places: signed entries that are only ever added, and the balances that are their sums.

An entry moves up to three counts of one SKU at one place: `on_hand` (lies there), `reserved` (the promised part of it)
and `inbound` (announced, not there yet). What can be sold there is `on_hand - reserved`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from domain.ids import LineId, LocationCode, ReservationId, Sku

MOST_UNITS = 1_000_000_000
"""More than any place holds, and less than a column does."""


class EntryKind(Enum):
    """Why units moved."""

    OPENING = "OPENING"  # the first count of a SKU at a place, as its keeper before us told it
    EXPECTED = "EXPECTED"  # announced by a supplier: inbound only
    RECEIPT = "RECEIPT"  # arrived; takes off what was announced
    ADJUSTMENT = "ADJUSTMENT"  # found, lost, broken
    COUNT = "COUNT"  # somebody counted; the entry is the difference
    TRANSFER = "TRANSFER"  # out of one own place and into another: two entries with one `reference`
    RETURN = "RETURN"  # came back and can be sold again
    ALLOCATION = "ALLOCATION"  # promised to an order or to a committed reservation
    RELEASE = "RELEASE"  # promised no more
    SHIPMENT = "SHIPMENT"  # left the place, and with it the promise


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be posted. `actor` is who decided (a key's name, "acorn"), `source` by which way it came (`mutation`, `import`,
    `webhook:<id>`, `order`, `opening:<channel>`), `key` makes it count once however often it is delivered."""

    sku: Sku
    location: LocationCode
    kind: EntryKind
    reason: str
    actor: str
    source: str
    on_hand: int = 0
    reserved: int = 0
    inbound: int = 0
    key: str | None = None
    reference: str | None = None
    reservation: ReservationId | None = None
    order_line: LineId | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A posted entry; `id` grows in the order of posting."""

    id: int
    at: datetime
    entry: NewEntry


@dataclass(frozen=True, slots=True)
class Balance:
    """What the entries of one SKU at one place sum to; none of the three is ever below zero."""

    sku: Sku
    location: LocationCode
    on_hand: int
    reserved: int
    inbound: int
    changed_at: datetime

    @property
    def free(self) -> int:
        """Units that lie there and are promised to nobody; negative where more was promised than there is."""
        return self.on_hand - self.reserved


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A balance that its entries do not sum to: (on hand, reserved, inbound) of both."""

    sku: Sku
    location: LocationCode
    balance: tuple[int, int, int]
    entries: tuple[int, int, int]


ALL_PLACES = LocationCode("*")
"""The place of a discrepancy in what can be promised of a SKU over all own places: (on hand, reserved, held)."""

ELSEWHERE = LocationCode("elsewhere")
"""The place of a discrepancy in what others keep of a SKU: (units, 0, 0)."""


@dataclass(frozen=True, slots=True)
class Check:
    """The proof of an instant: so many balances are the sums of so many entries, but for those that are `wrong`."""

    at: datetime
    balances: int
    entries: int
    wrong: list[Discrepancy]
