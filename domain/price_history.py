"""What became of the prices of listings: asked for, seen, changed by others, and not as they should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from domain.ids import ListingId, OperationId
from domain.money import Money
from domain.price import Origin, Price


class EventKind(Enum):
    """ASKED: released to its channel; LIVE: seen live, as it was asked for; OTHER: seen live, though we had asked for something
    else or nothing; FAILED: what was asked for did not come about."""

    ASKED = "ASKED"
    LIVE = "LIVE"
    OTHER = "OTHER"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class PriceEvent:
    """One line of a listing's history. What nobody of ours asked for has no origin and was requested by nobody. `chain` are the
    rules that made the price, as `domain.price.PriceWish.chain`."""

    id: int
    listing: ListingId
    at: datetime
    kind: EventKind
    price: Price | None
    operation: OperationId | None = None
    origin: Origin | None = None
    reason: str = ""
    rules_version: int | None = None
    chain: tuple[Mapping[str, object], ...] = ()
    requested_by: str | None = None
    approved_by: str | None = None


@dataclass(frozen=True, slots=True)
class InForce:
    """What a listing was sold for at an instant: buyers paid `paid`, and had since `since`; `event` is how we came to know it."""

    price: Price
    paid: Money
    since: datetime
    event: PriceEvent


class DriftCause(Enum):
    """Why a listing shows another price than the wanted one: it is still under way; it is parked or has failed and wants a
    person; or somebody changed it there after it had been seen live."""

    UNDER_WAY = "UNDER_WAY"
    PARKED = "PARKED"
    FAILED = "FAILED"
    CHANGED_THERE = "CHANGED_THERE"


@dataclass(frozen=True, slots=True)
class PriceDrift:
    """A listing that shows another price than the wanted one; `words` are what was said of the item that carries it."""

    listing: ListingId
    wanted: Price | None
    live: Price | None
    since: datetime
    cause: DriftCause
    operation: OperationId | None = None
    words: str | None = None


def alike(known: Price, told: Price) -> bool:
    """Does a catalog that tells `told` show the price that we know?

    A shop tells what a sale takes and not when it ends; Amazon's catalog tells one amount, which may be either of the two.
    """
    if told.sale is not None:
        return known.regular == told.regular and known.sale is not None and known.sale.price == told.sale.price
    return told.regular == known.regular or (known.sale is not None and told.regular == known.sale.price)
