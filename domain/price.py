"""Prices of listings: what one is to be sold for, who wants it, and what a change of it would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum

from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.money import Money, parse_money


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

    @property
    def lowest(self) -> Money:
        """The least that buyers ever pay by it, now or later."""
        return min(self._amounts(), key=lambda one: one.amount)

    @property
    def highest(self) -> Money:
        """The most."""
        return max(self._amounts(), key=lambda one: one.amount)

    def _amounts(self) -> list[Money]:
        return [self.regular] if self.sale is None else [self.regular, self.sale.price]

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
    paid 24 hours before. `cost` is the landed cost of a unit, `fees` what the channel would take of a sale at about this price;
    either in the listing's currency, converted where it was told in another.
    """

    currency: str | None = None
    live: Price | None = None
    live_at: datetime | None = None
    wanted: Price | None = None
    day_ago: Money | None = None
    cost: Money | None = None
    fees: Money | None = None

    @property
    def basis(self) -> Price | None:
        """What a change is a change of: what was asked for last, or else what is shown."""
        return self.wanted if self.wanted is not None else self.live

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
    def held(self) -> bool:
        """May it be sent only when a second person has approved it?"""
        return not self.refused and bool(self.hits)

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
