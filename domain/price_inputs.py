"""What rules make a price from: all that is known of one listing at one instant, each with its age and its source.

None and () are what nobody has told, never a zero and never a no. Nothing here is in an order that matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

from domain.ids import ChannelId
from domain.money import Money
from domain.price import Price


@dataclass(frozen=True, slots=True)
class Told:
    """An amount, when it was told, and by what: a file, a channel, a person."""

    amount: Money
    as_of: datetime
    source: str = ""


@dataclass(frozen=True, slots=True)
class FxRate:
    """One unit of `base` is worth `rate` units of `quote` on that day, by `source`."""

    base: str
    quote: str
    rate: Decimal
    day: date
    source: str


@dataclass(frozen=True, slots=True)
class FeeEstimate:
    """What the channel said it would take of a unit sold for `price`: `referral`, which moves with the price, and `fixed`, which
    is all the rest, such as fulfillment by FBA."""

    price: Money
    referral: Money
    fixed: Money
    as_of: datetime
    source: str = ""


@dataclass(frozen=True, slots=True)
class Featured:
    """The offer that buyers meet first: its price and its shipping (None: not told). `mine` says whether it is ours."""

    price: Money
    as_of: datetime
    mine: bool | None = None
    shipping: Money | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the same SKU is sold for in another listing: the regular price that was seen live last."""

    channel: ChannelId
    marketplace: str | None
    price: Money
    as_of: datetime


@dataclass(frozen=True, slots=True)
class PriceInputs:
    """All that rules may use of one listing. Filled by `store.price_facts.inputs`; the same inputs make the same price anywhere.

    `currency` is what the listing is sold in; without it there is no price. `current` is what was asked for last, or else what
    is shown. `cost` is the landed cost of a unit, in the currency in which it was told. `estimates` say what the channel takes,
    each at its own price. `expected` is the price at or below which the channel expects our offer to be featured. `available`
    are units that can be sold now, `cover_days` how long they last at the pace of late. `rates` are those to and from
    `currency`, the newest of each; `elsewhere` the other listings of the SKU.
    """

    currency: str | None = None
    current: Price | None = None
    cost: Told | None = None
    estimates: tuple[FeeEstimate, ...] = ()
    featured: Featured | None = None
    expected: Told | None = None
    available: int | None = None
    cover_days: Decimal | None = None
    stock_at: datetime | None = None
    rates: tuple[FxRate, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()


def convert(amount: Money, currency: str, rates: Iterable[FxRate]) -> tuple[Fraction, FxRate | None] | None:
    """The amount in major units of `currency`, exact, and the rate that was used; None where there is none. A rate to it goes
    before one from it, the newest before older ones."""
    if amount.currency == currency:
        return Fraction(amount.amount), None
    there = [one for one in rates if {one.base, one.quote} == {amount.currency, currency}]
    if not there:
        return None
    rate = max(there, key=lambda one: (one.day, one.base == amount.currency, one.source, one.rate))
    factor = Fraction(rate.rate) if rate.base == amount.currency else 1 / Fraction(rate.rate)
    return Fraction(amount.amount) * factor, rate
