"""Rules of prices, as data: which listings they are for, and what each does to the price so far.

What they are given stands in `domain/price_inputs.py`, how a price is worked out from both in `domain/price_chain.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from zoneinfo import ZoneInfo

from domain.ids import ChannelId, ListingId, Sku
from domain.money import Money
from domain.product import FulfilledBy

Amounts = tuple[Money, ...]
"""One amount for each of some currencies."""


class Lacking(Enum):
    """What follows when a rule lacks what it needs: the listing gets no price, or the rule is left out."""

    STOP = "STOP"
    SKIP = "SKIP"


class Target(Enum):
    """The offer that buyers meet first, or the price at or below which the channel expects ours to be it."""

    FEATURED = "FEATURED"
    EXPECTED = "EXPECTED"


class Holding(Enum):
    """What to do while the featured offer is ours."""

    KEEP = "KEEP"
    RAISE = "RAISE"


class Direction(Enum):
    """Where prices are rounded to; NEAREST takes the lower one of two."""

    UP = "UP"
    DOWN = "DOWN"
    NEAREST = "NEAREST"


class Measure(Enum):
    """How stock is counted: in units that can be sold, or in days until they are."""

    UNITS = "UNITS"
    COVER_DAYS = "COVER_DAYS"


@dataclass(frozen=True)  # without slots: SKUs are looked up in it for every listing
class Match:
    """Which listings a rule is for, and when: all that is told has to be so, and of each list one. A `tag` is as rules of stock
    name it. `stock_below` and `stock_from` are units that can be sold.

    Hours, days of the week (1 is Monday), and dates (`first_on` until and with `last_on`) are those of the marketplace. Hours
    that pass midnight belong to the day on which they begin.
    """

    skus: tuple[Sku, ...] = ()
    brands: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    channels: tuple[ChannelId, ...] = ()
    marketplaces: tuple[str, ...] = ()
    fulfilled_by: FulfilledBy | None = None
    stock_below: int | None = None
    stock_from: int | None = None
    hours_from: time | None = None
    hours_to: time | None = None
    weekdays: tuple[int, ...] = ()
    first_on: date | None = None
    last_on: date | None = None

    @property
    def by_time(self) -> bool:
        """Does it hold at some times only?"""
        times = self.hours_from, self.first_on, self.last_on
        return bool(self.weekdays) or any(one is not None for one in times)

    @cached_property
    def _skus(self) -> frozenset[Sku]:
        return frozenset(self.skus)

    def is_for(self, subject: Subject) -> bool:
        """Is it for this listing, whatever the time and the stock?"""
        return (
            (not self.skus or subject.sku in self._skus)
            and (not self.brands or subject.brand in self.brands)
            and (not self.tags or not subject.tags.isdisjoint(self.tags))
            and (not self.channels or subject.channel in self.channels)
            and (not self.marketplaces or subject.marketplace in self.marketplaces)
            and self.fulfilled_by in (None, subject.fulfilled_by)
        )

    def holds(self, wall: datetime) -> bool:
        """Does it hold when the clock on the wall of the marketplace shows `wall`?"""
        day, now = wall.date(), wall.time().replace(fold=0)
        if self.hours_from is not None and self.hours_to is not None:
            over_night = self.hours_to <= self.hours_from
            if over_night and now < self.hours_to:
                day -= timedelta(days=1)
            elif now < self.hours_from or (not over_night and now >= self.hours_to):
                return False
        return (
            (not self.weekdays or day.isoweekday() in self.weekdays)
            and (self.first_on is None or self.first_on <= day)
            and (self.last_on is None or day <= self.last_on)
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """The listing that a price is made for; `zone` is the marketplace's."""

    listing: ListingId
    channel: ChannelId
    marketplace: str | None
    sku: Sku | None
    zone: ZoneInfo
    brand: str | None = None
    tags: frozenset[str] = frozenset()
    fulfilled_by: FulfilledBy | None = None


@dataclass(frozen=True, slots=True)
class Base:
    """Where a price begins: one of `amounts`; or with `channel` what the SKU is sold for there, converted, and changed by
    `percent`; or with `current` the regular price that the listing has. An amount in no currency of the listing is converted
    from the first one where `convert` says so."""

    amounts: Amounts = ()
    convert: bool = False
    channel: ChannelId | None = None
    marketplace: str | None = None
    percent: Decimal = Decimal(0)
    current: bool = False


@dataclass(frozen=True, slots=True)
class FeeBand:
    """The share of a price, in percent, that a channel takes of what lies in this band: up to and with `up_to`, None for the
    last band, in major units."""

    percent: Decimal
    up_to: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FeeTable:
    """What a channel takes of a unit, as a function of its price: a referral fee, at least `least`, and `fixed` besides, such as
    fulfillment by FBA. Amounts are in major units of `currency`.

    With `whole` the band that a price lies in holds for all of it (8 % up to 10.00, 15 % of everything above); else each band
    takes its share of the part within it (20 % of the first 250.00, 5 % of the rest). Amazon has both.
    """

    currency: str
    bands: tuple[FeeBand, ...] = ()
    least: Decimal = Decimal(0)
    fixed: Decimal = Decimal(0)
    whole: bool = True


@dataclass(frozen=True, slots=True)
class CostPlus:
    """The least price that leaves a margin after cost, fees, tax and `extra` (shipping, packing): an amount, or a percentage of
    the price without tax, or of the cost.

    `tax_percent` is that of the tax that prices hold, on the price without it; 0 where they hold none. `fees` go before what the
    channel tells; without them an estimate is used up to `fees_within` percent away from the price it was made for.
    """

    tax_percent: Decimal
    margin: Amounts = ()
    margin_percent: Decimal | None = None
    markup_percent: Decimal | None = None
    extra: Amounts = ()
    fees: tuple[FeeTable, ...] = ()
    fees_within: Decimal = Decimal(10)


@dataclass(frozen=True, slots=True)
class Follow:
    """The featured offer, as buyers pay it with shipping, or the expected price, moved by an amount or by percent (both may be
    below 0), within bounds and the limits that hold already. `shipping` is what buyers pay for ours. While the featured offer is
    ours the price is kept, or raised by `raise_percent` towards the upper bound."""

    target: Target = Target.FEATURED
    amount: Amounts = ()
    percent: Decimal = Decimal(0)
    shipping: Amounts = ()
    minimum: Amounts = ()
    maximum: Amounts = ()
    holding: Holding = Holding.KEEP
    raise_percent: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Limit:
    """From here on neither price nor sale is below `minimum`, below `advertised` (the least that a brand lets be advertised), or
    below what leaves `margin`; nor is it above `maximum`."""

    minimum: Amounts = ()
    maximum: Amounts = ()
    advertised: Amounts = ()
    margin: CostPlus | None = None


@dataclass(frozen=True, slots=True)
class Rounding:
    """How prices of one currency end: on a multiple of `step`, or on one of `endings` (0.99 and 0.49; 80 in JPY)."""

    currency: str
    step: Decimal | None = None
    endings: tuple[Decimal, ...] = ()
    direction: Direction = Direction.NEAREST


@dataclass(frozen=True, slots=True)
class Promotion:
    """A sale by an amount or by percent off the price so far, from one time of the marketplace until another (without a zone). A
    time that comes twice begins a sale with the first and ends one with the second; one that is leaped over is the leap.

    There is one sale at a time: the one that holds, and of several the first by the order of the rules; else the next one.
    """

    starts: datetime
    ends: datetime
    percent: Decimal | None = None
    amount: Amounts = ()


@dataclass(frozen=True, slots=True)
class StockStep:
    """By how many percent a price changes where there is so much: `at_least`, and less than `below`."""

    percent: Decimal
    at_least: Decimal | None = None
    below: Decimal | None = None


@dataclass(frozen=True, slots=True)
class StockDriven:
    """The first step that fits the stock."""

    measure: Measure
    steps: tuple[StockStep, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """While the match's hours, days or dates hold, the price changes by percent or an amount; or nothing is changed at all where
    it is `closed`."""

    percent: Decimal = Decimal(0)
    amount: Amounts = ()
    closed: bool = False


Action = Base | CostPlus | Follow | Limit | tuple[Rounding, ...] | Promotion | StockDriven | Window


@dataclass(frozen=True, slots=True)
class PriceRule:
    """One rule: whom it is for, and exactly one of the things that rules do. `final`: no rule after it is looked at once it has
    been applied. What is older than `max_age_hours` counts as lacking: fees, offers, stock, rates, other prices; not costs."""

    name: str
    match: Match = Match()
    base: Base | None = None
    cost_plus: CostPlus | None = None
    featured_offer: Follow | None = None
    limit: Limit | None = None
    round: tuple[Rounding, ...] = ()
    promotion: Promotion | None = None
    stock: StockDriven | None = None
    window: Window | None = None
    final: bool = False
    lacking: Lacking = Lacking.STOP
    max_age_hours: int | None = None

    @property
    def actions(self) -> list[tuple[str, Action]]:
        """What it does, with the name of each; one in a rule that has been checked."""
        return [(name, action) for name in ACTIONS if (action := getattr(self, name)) is not None and action != ()]


ACTIONS = ("base", "cost_plus", "featured_offer", "limit", "round", "promotion", "stock", "window")


@dataclass(frozen=True, slots=True)
class PriceRules:
    """A set of rules, applied in their order. `version` grows with each set that is kept; 0 is none."""

    rules: tuple[PriceRule, ...] = ()
    version: int = 0
    made_by: str = ""
    made_at: datetime | None = None


def amount_in(amounts: Amounts, currency: str) -> Money | None:
    """The one in that currency."""
    return next((one for one in amounts if one.currency == currency), None)
