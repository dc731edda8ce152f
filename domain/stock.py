"""Stock arithmetic: from readings of places to what can be sold, with the terms that explain it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.channel import Location
from domain.freshness import Freshness, worst
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku


@dataclass(slots=True)
class Reading:
    """What one place holds of one channel SKU, as its keeper told it. Units.

    `on_hand` counts what lies there and could be sold or is already promised; `reserved` is the promised part, so that
    `on_hand - reserved` can be sold; `inbound` is on its way and counts for neither. `reserved` may exceed `on_hand` where a
    shop has sold more than it has.
    """

    location: LocationCode
    channel: ChannelId
    channel_sku: ChannelSku
    on_hand: int
    reserved: int
    inbound: int
    as_of: datetime


@dataclass(slots=True)
class Level:
    """Stock of one SKU at one place. Without a reading (`as_of` None) the zeros mean "not known"."""

    location: Location
    on_hand: int
    reserved: int
    inbound: int
    as_of: datetime | None
    freshness: Freshness
    source: str

    @property
    def available_to_sell(self) -> int:
        """Units on hand and not promised; negative where more was promised than there is."""
        return self.on_hand - self.reserved


@dataclass(slots=True)
class Term:
    """One signed part of the number `available_to_sell`."""

    label: str
    quantity: int
    source: str
    as_of: datetime | None


@dataclass(slots=True)
class Stock:
    """What can be sold of one SKU, and why. The quantities of `explanation` sum to `available_to_sell`."""

    sku: Sku
    available_to_sell: int
    on_hand: int
    reserved: int
    inbound: int
    safety_stock: int
    as_of: datetime | None
    freshness: Freshness
    levels: list[Level]
    explanation: list[Term]


def no_reading(location: Location) -> Level:
    """The level of a place that should hold the SKU and has never told us."""
    return Level(location, 0, 0, 0, None, Freshness.UNKNOWN, location.keeper)


def level_of(location: Location, readings: Sequence[Reading], freshness: Freshness) -> Level:
    """One level from the readings of one place; several channel SKUs of one product add up, the oldest sets the age."""
    return Level(
        location=location,
        on_hand=sum(reading.on_hand for reading in readings),
        reserved=sum(reading.reserved for reading in readings),
        inbound=sum(reading.inbound for reading in readings),
        as_of=min(reading.as_of for reading in readings),
        freshness=freshness,
        source=location.keeper,
    )


def stock_of(sku: Sku, levels: list[Level], safety_stock: int) -> Stock:
    """Add the levels up, subtract the safety stock, never fall below zero, and say how."""
    terms: list[Term] = []
    for level in levels:
        terms.append(Term(f"on hand at {level.location.name}", level.on_hand, level.source, level.as_of))
        if level.reserved:
            terms.append(Term(f"reserved at {level.location.name}", -level.reserved, level.source, level.as_of))
    if safety_stock:
        terms.append(Term("safety stock", -safety_stock, "acorn.toml", None))
    total = sum(term.quantity for term in terms)
    if total < 0:
        terms.append(Term("never below zero", -total, "rule", None))
    known = [level.as_of for level in levels if level.as_of is not None]
    return Stock(
        sku=sku,
        available_to_sell=max(0, total),
        on_hand=sum(level.on_hand for level in levels),
        reserved=sum(level.reserved for level in levels),
        inbound=sum(level.inbound for level in levels),
        safety_stock=safety_stock,
        as_of=min(known) if known else None,
        freshness=worst([level.freshness for level in levels]),
        levels=levels,
        explanation=terms,
    )
