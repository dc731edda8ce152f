"""Orders that we keep from going on: why, by whom, until when their units stay theirs, and which are held as they come in.

What a rule can know of an order holds nothing of its buyer: the country and the beginning of the postal code are all of the
address that it sees.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum

from domain.errors import Invalid
from domain.ids import OrderId
from domain.order import OPEN, Order
from domain.product import FulfilledBy

ACTOR = "acorn"
MOST_HOLD = timedelta(days=90)
LONGEST_WORDS = 200


class HoldReason(Enum):
    """Why an order does not go on."""

    ADDRESS = "ADDRESS"
    BUYER_CANCELLATION = "BUYER_CANCELLATION"
    FRAUD = "FRAUD"
    PAYMENT = "PAYMENT"
    STOCK = "STOCK"
    UNMAPPED_SKU = "UNMAPPED_SKU"
    VALUE = "VALUE"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class NewHold:
    """A hold to be made. `keeps_until`: from then on others may have the units; None keeps them as long as it is held.
    `approval`: only somebody else than `made_by` may end it. A `rule` holds an order once."""

    order: OrderId
    reason: HoldReason
    words: str
    made_by: str
    keeps_until: datetime | None = None
    approval: bool = False
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as it was made. `lapsed_at` is when the time for which it keeps the units was over, `ended_at` its own end."""

    id: str
    order: OrderId
    reason: HoldReason
    words: str
    made_by: str
    made_at: datetime
    keeps_until: datetime | None
    approval: bool
    rule: str | None
    lapsed_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None

    @property
    def open(self) -> bool:
        """Whether it still keeps the order from going on."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What an order must be like; all that are set have to hold, and one at least is set.

    `value_above` is in `currency`, and orders in another one are not above it. `countries` are where it goes to; an order that
    does not tell goes to none of them, and to none of those that are not `other_countries`.
    """

    unmapped: bool = False
    no_destination: bool = False
    oversold: bool = False
    value_above: Decimal | None = None
    currency: str | None = None
    units_above: int | None = None
    countries: frozenset[str] = frozenset()
    other_countries: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    skus: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()

    def meets(self, one: Order, oversold: Collection[OrderId]) -> bool:
        """Whether the order is like that; `oversold` are the orders that nothing is there for."""
        to = None if one.destination is None else one.destination.country
        return all(
            (
                not self.unmapped or any(line.sku is None and line.quantity_open for line in one.lines),
                not self.no_destination or one.destination is None or not one.destination.area,
                not self.oversold or one.id in oversold,
                self.value_above is None or self._above(one, self.value_above),
                self.units_above is None or sum(line.quantity for line in one.lines) > self.units_above,
                not self.countries or to in self.countries,
                not self.other_countries or (to is not None and to not in self.other_countries),
                not self.channels or one.channel in self.channels,
                not self.skus or any(line.sku in self.skus for line in one.lines),
                not self.services or one.service in self.services,
            )
        )

    def _above(self, one: Order, least: Decimal) -> bool:
        return one.total is not None and one.total.currency == self.currency and one.total.amount > least

    def check(self) -> None:
        """Raises Invalid for conditions that mean nothing or hold every order."""
        if self == Conditions(channels=self.channels):
            raise Invalid("Name a condition besides the channel, or the rule holds every order.", field=("name",))
        if (self.value_above is None) != (self.currency is None):
            raise Invalid("A value needs its currency, and a currency its value.", field=("currency",))
        if self.value_above is not None and (not self.value_above.is_finite() or self.value_above < 0):
            raise Invalid("`valueAbove` is an amount of 0 or more.", field=("valueAbove",))
        if self.units_above is not None and self.units_above < 0:
            raise Invalid("`unitsAbove` is 0 or more.", field=("unitsAbove",))
        for name, codes in (("countries", self.countries), ("otherCountries", self.other_countries)):
            if any(len(code) != 2 or not code.isascii() or not code.isupper() for code in codes):
                raise Invalid("Countries are codes of two capital letters, such as DE.", field=(name,))

    def told(self) -> dict[str, object]:
        """As JSON values; what is not set is left out."""
        usual = Conditions()
        set_here = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: _told(value) for name, value in set_here.items() if value != getattr(usual, name)}

    @classmethod
    def read(cls, told: Mapping[str, object]) -> Conditions:
        """From what `told` made. Raises ValueError for anything else."""
        try:
            return cls(**{name: _read(name, value) for name, value in told.items()})  # type: ignore[arg-type]
        except (TypeError, InvalidOperation) as problem:
            raise ValueError(f"conditions that nobody understands: {sorted(told)}") from problem


@dataclass(frozen=True, slots=True)
class HoldRule:
    """Orders like `conditions` are held as they come in. `keeps` is for how long their units stay theirs; None: as long as they
    are held."""

    name: str
    reason: HoldReason
    words: str
    conditions: Conditions
    keeps: timedelta | None = None
    approval: bool = False
    made_by: str = ""
    made_at: datetime | None = None

    def check(self) -> None:
        """Raises Invalid, with the rule's own field."""
        for field, word, longest in (("name", self.name, 100), ("words", self.words, LONGEST_WORDS)):
            if not word.strip() or len(word) > longest or not word.isprintable():
                raise Invalid(f"`{field}` must be 1 to {longest} printable characters.", field=(field,))
        if self.name == BUYERS_WISH:
            raise Invalid(f"{BUYERS_WISH!r} is the rule that there always is.", field=("name",))
        if self.keeps is not None and not timedelta(0) < self.keeps <= MOST_HOLD:
            raise Invalid("Units are kept for some time, 90 days at most.", field=("keepsFor",))
        self.conditions.check()


BUYERS_WISH = "buyer asks for cancellation"
"""The rule that there always is: who wants a cancellation is not sent a parcel."""


def due(
    orders: Iterable[Order], rules: Iterable[HoldRule], oversold: Collection[OrderId], now: datetime
) -> list[NewHold]:
    """The holds that the rules ask for, of orders that we ship and that have not ended."""
    every = list(rules)
    holds: list[NewHold] = []
    for one in orders:
        if one.fulfilled_by is not FulfilledBy.MERCHANT or one.status not in OPEN:
            continue
        if one.cancellation_requested:
            words = "The buyer asks for a cancellation: cancel the order, or release it."
            holds.append(NewHold(one.id, HoldReason.BUYER_CANCELLATION, words, ACTOR, rule=BUYERS_WISH))
        holds += [
            NewHold(
                order=one.id,
                reason=rule.reason,
                words=rule.words,
                made_by=ACTOR,
                keeps_until=None if rule.keeps is None else now + rule.keeps,
                approval=rule.approval,
                rule=rule.name,
            )
            for rule in every
            if rule.conditions.meets(one, oversold)
        ]
    return holds


def described(holds: Iterable[Hold]) -> str | None:
    """What keeps an order from going on, for people; None when nothing does."""
    said = [f"{one.reason.value}: {one.words}" for one in holds if one.open]
    return " ".join(said) or None


def kept_until(holds: Iterable[Hold]) -> datetime | None:
    """Until when the open holds together keep the units; None: as long as the order is held."""
    until = [one.keeps_until for one in holds if one.open]
    latest = [one for one in until if one is not None]
    return max(latest) if latest and len(latest) == len(until) else None


def _told(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value) if isinstance(value, Decimal) else value


def _read(name: str, value: object) -> object:
    if isinstance(value, list):
        return frozenset(str(one) for one in value)
    return Decimal(str(value)) if name == "value_above" else value
