"""Prices of listings: what one is to be sold for, who wants it, and what a change of it would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING

from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.money import Money, minor_digits, parse_money

if TYPE_CHECKING:
    from domain.price_inputs import FeeEstimate


@dataclass(frozen=True, slots=True)
class Sale:
    """A lower price from one instant on until another, in whole seconds; None where there is no such end."""

    price: Money
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Is it this price that buyers pay?"""
        return (self.starts_at is None or self.starts_at <= at) and (self.ends_at is None or at < self.ends_at)


@dataclass(frozen=True, slots=True)
class Price:
    """What a listing is sold for: the regular price, and the lower one of a sale while that holds. One currency."""

    regular: Money
    sale: Sale | None = None

    def at(self, instant: datetime) -> Money:
        """What buyers pay then."""
        return self.sale.price if self.sale is not None and self.sale.holds(instant) else self.regular

    def showing(self, instant: datetime) -> Price:
        """What a channel that keeps no times is to show then: the sale while it holds, without its times."""
        holds = self.sale is not None and self.sale.holds(instant)
        return Price(self.regular, Sale(self.sale.price) if self.sale is not None and holds else None)

    @property
    def lowest(self) -> Money:
        """The least that buyers ever pay by it, now or later."""
        sale = self.sale
        return self.regular if sale is None or sale.price.amount > self.regular.amount else sale.price

    @property
    def highest(self) -> Money:
        """The most."""
        sale = self.sale
        return self.regular if sale is None or sale.price.amount <= self.regular.amount else sale.price

    def told(self) -> dict[str, object]:
        """As JSON values: equal prices, equal text."""
        sale = self.sale
        return {
            "price": _plain(self.regular.amount),
            "currency": self.regular.currency,
            "sale": None
            if sale is None
            else {
                "price": _plain(sale.price.amount),
                "from": None if sale.starts_at is None else sale.starts_at.isoformat(),
                "to": None if sale.ends_at is None else sale.ends_at.isoformat(),
            },
        }


def read_price(told: Mapping[str, object]) -> Price:
    """The same again."""
    currency, sale = str(told["currency"]), told.get("sale")
    regular = parse_money(str(told["price"]), currency)
    if not isinstance(sale, Mapping):
        return Price(regular)
    starts_at, ends_at = sale.get("from"), sale.get("to")
    return Price(
        regular,
        Sale(
            parse_money(str(sale["price"]), currency),
            None if starts_at is None else datetime.fromisoformat(str(starts_at)),
            None if ends_at is None else datetime.fromisoformat(str(ends_at)),
        ),
    )


def _plain(amount: Decimal) -> str:
    """Without the zeros that say nothing, so that 10.00 and 10 are told alike."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Origin(Enum):
    """By which way a price came in."""

    MUTATION = "MUTATION"
    FILE = "FILE"
    RULE = "RULE"
    SALE = "SALE"  # a sale that began or ended at a channel which keeps no times itself
    REVERT = "REVERT"


@dataclass(frozen=True, slots=True)
class PriceWish:
    """That one listing be sold for `price`. `refs` are the listing's; `reason` says why, in words for people.

    `chain` are the rules of the set `rules_version` that made the price, as JSON values, in the order in which they held.
    """

    listing: ListingId
    channel: ChannelId
    marketplace: str | None
    channel_sku: ChannelSku
    sku: Sku | None
    refs: Mapping[str, str]
    price: Price
    origin: Origin
    reason: str = ""
    rules_version: int | None = None
    chain: tuple[Mapping[str, object], ...] = ()

    @property
    def key(self) -> str:
        """What it changes, for people."""
        place = self.channel if self.marketplace is None else f"{self.channel}/{self.marketplace}"
        return f"{place}/{self.channel_sku}"


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """What is known of a listing when its price is judged. None is what nobody has told, never a zero.

    `live` is what its channel was last seen to show, `wanted` what was last asked for and is not live yet, `day_ago` what buyers
    paid 24 hours before. `cost` is the landed cost of a unit in the listing's currency, converted where it was told in another;
    `estimates` are what the channel said it would take of a unit, each at its own price.

    `verified` is what was seen live in the last 24 hours because we had asked for it, `regular_day_ago` the regular price beside
    `day_ago`. `intended` is what was asked for last, live or on its way, until somebody changes it there. `elsewhere` is what
    other listings of the same SKU take, each in its own currency; `rates` is how much of the listing's currency one unit of
    another is worth.
    """

    currency: str | None = None
    live: Price | None = None
    live_at: datetime | None = None
    wanted: Price | None = None
    day_ago: Money | None = None
    cost: Money | None = None
    estimates: tuple[FeeEstimate, ...] = ()
    brand: str | None = None
    verified: Price | None = None
    intended: Price | None = None
    regular_day_ago: Money | None = None
    elsewhere: tuple[Money, ...] = ()
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    cost_rate: str = ""  # how `cost` was converted, with source and day; an old rate says that it is one

    @property
    def basis(self) -> Price | None:
        """What a change is a change of: what was asked for last, or else what is shown."""
        return self.wanted if self.wanted is not None else self.live

    def fees(self, price: Money) -> Money | None:
        """What the channel would take of a unit sold for `price`, by what it said of the nearest price: what is fixed, and of the
        rest as much in proportion. None where it has said nothing in that currency."""
        told = [one for one in self.estimates if one.price.currency == price.currency and one.price.amount > 0]
        if not told:
            return None
        near = min(told, key=lambda one: (abs(one.price.amount - price.amount), one.price.amount))
        moving = near.referral.amount * price.amount / near.price.amount
        return Money(round(moving, minor_digits(price.currency)) + near.fixed.amount, price.currency)

    def told(self) -> dict[str, object]:
        """What a preview was made from, as JSON values: a row whose facts are told otherwise when it is approved has moved."""
        return {
            "live": None if self.live is None else self.live.told(),
            "wanted": None if self.wanted is None else self.wanted.told(),
            "cost": None if self.cost is None else f"{_plain(self.cost.amount)} {self.cost.currency}",
        }


class Action(Enum):
    """What follows when a guard is hit: REFUSE, whoever asks; or HOLD until a second person has approved just this row."""

    HOLD = "HOLD"
    REFUSE = "REFUSE"


@dataclass(frozen=True, slots=True)
class Hit:
    """A guard that a price runs into: its name, and in `words` by how much and what to do."""

    guard: str
    action: Action
    words: str


@dataclass(frozen=True, slots=True)
class JudgedWish:
    """A wish with the facts it was judged by and the guards that it hits."""

    wish: PriceWish
    facts: PriceFacts
    hits: tuple[Hit, ...] = ()

    @property
    def refused(self) -> bool:
        """May it not be sent at all?"""
        return any(one.action is Action.REFUSE for one in self.hits)

    @property
    def words(self) -> str:
        """Why it is refused, or else why it is held: what a person may let pass is no news where another guard does not."""
        return " ".join(hit.words for hit in self.hits if hit.action is Action.REFUSE or not self.refused)

    @property
    def held(self) -> bool:
        """May it be sent only when a second person has approved it?"""
        return not self.refused and bool(self.hits)

    @property
    def shift(self) -> Money:
        """By how much the price moves at the most, regular or in a sale, up or down: of what nobody knows, all of it."""
        price, basis = self.wish.price, self.facts.basis
        if basis is None or basis.regular.currency != price.regular.currency:
            return price.highest
        pairs = ((price.regular, basis.regular), (price.lowest, basis.lowest))
        return Money(max(abs(now.amount - was.amount) for now, was in pairs), price.regular.currency)

    @property
    def margin(self) -> Money | None:
        """What is left of a unit sold at the lowest of the price when its landed cost and the channel's fees are paid; None where
        one of them is not known in the price's currency. Taxes in the price are not taken off."""
        price, cost = self.wish.price.lowest, self.facts.cost
        fees = self.facts.fees(price)
        if cost is None or fees is None or not price.currency == cost.currency == fees.currency:
            return None
        return Money(price.amount - cost.amount - fees.amount, price.currency)

    @property
    def step(self) -> Decimal | None:
        """By how many percent the least that buyers pay rises (or falls, below 0), to a tenth; None where it is not known."""
        price, basis = self.wish.price.lowest, self.facts.basis
        if basis is None or basis.lowest.currency != price.currency or basis.lowest.amount <= 0:
            return None
        return round(100 * (price.amount / basis.lowest.amount - 1), 1)

    @property
    def idle(self) -> bool:
        """Is it what was asked for already, or what is shown with nothing else asked for?"""
        return self.facts.basis == self.wish.price


@dataclass(frozen=True, slots=True)
class Judgment:
    """All wishes of one request. `hits` are those of guards that look at the whole of it."""

    rows: tuple[JudgedWish, ...]
    hits: tuple[Hit, ...] = field(default=())

    @property
    def held(self) -> bool:
        """Does it want a second person?"""
        return bool(self.hits) or any(row.held for row in self.rows)

    @property
    def all_hits(self) -> list[Hit]:
        """Those of every row, and of the whole."""
        return [*(hit for row in self.rows for hit in row.hits), *self.hits]
