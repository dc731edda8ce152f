"""What is known of a listing, as a rule asks for it: in whole minor units, no older than the rule allows, and noted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

from domain.money import Money
from domain.price_inputs import FxRate, PriceInputs, convert
from domain.price_rules import Amounts, amount_in
from domain.price_solve import nearest


class Lack(Exception):
    """A rule does not know what it needs: never guessed."""


@dataclass(slots=True)
class Known:
    """The inputs of one listing, asked at one instant. `used` are those that the rule at hand has used, as text; `oldest` is
    when they have to have been told at the earliest, None for any age. `fees_at` is the price whose fees are wanted."""

    inputs: PriceInputs
    at: datetime
    currency: str
    digits: int
    oldest: datetime | None = None
    used: dict[str, str] = field(default_factory=dict)
    fees_at: Money | None = None

    @property
    def unit(self) -> int:
        """Minor units in one major unit."""
        return int(10**self.digits)

    def units(self) -> int:
        if self.inputs.available is None:
            raise Lack("the stock is not known")
        self.fresh("the stock", self.inputs.stock_at)
        self.use("available", str(self.inputs.available))
        return self.inputs.available

    def fresh(self, what: str, as_of: datetime | None) -> None:
        """Raises Lack for what is older than the rule allows, or of an age that nobody knows."""
        if self.oldest is not None and (as_of is None or as_of < self.oldest):
            age = "of unknown age" if as_of is None else f"of {as_of.astimezone(UTC).isoformat(timespec='seconds')}"
            raise Lack(f"{what} is {age}, older than the rule allows")

    def meant(self, amounts: Amounts, *, convert: bool = False) -> Fraction:
        """The amount in the listing's currency, in minor units."""
        one = amount_in(amounts, self.currency)
        if one is None and convert and amounts:
            one = amounts[0]
        if one is None:
            raise Lack(f"no amount is told in {self.currency}")
        return self.converted(one)

    def told_in(self, amounts: Amounts, name: str) -> int | None:
        """A bound in the listing's currency; None where there is none. Told in others alone, it is lacking."""
        if not amounts:
            return None
        one = amount_in(amounts, self.currency)
        if one is None:
            raise Lack(f"no {name} is told in {self.currency}")
        return int(self.minor(one.amount))

    def converted(self, amount: Money) -> Fraction:
        """In minor units of the listing's currency, exact."""
        found = convert(amount, self.currency, self.inputs.rates)
        if found is None:
            raise Lack(f"no rate from {amount.currency} to {self.currency} is known")
        value, rate = found
        if rate is not None:
            self.fresh(f"the rate of {rate.base} and {rate.quote}", _end_of_day(rate))
            self.use("rate", f"1 {rate.base} = {rate.rate:f} {rate.quote} of {rate.day.isoformat()} by {rate.source}")
        return value * self.unit

    def same(self, amount: Money) -> Fraction:
        """In minor units, of an amount that has to be in the listing's currency."""
        if amount.currency != self.currency:
            raise Lack(f"{told(amount)} is not in {self.currency}")
        return self.minor(amount.amount)

    def use(self, name: str, value: str) -> None:
        self.used[name] = value

    def minor(self, amount: Decimal) -> Fraction:
        return Fraction(amount) * self.unit

    def money(self, minor: int) -> Money:
        return Money(Decimal(minor).scaleb(-self.digits), self.currency)

    def text(self, minor: Fraction | int) -> str:
        """With the currency's decimals, and more where it is no whole number of minor units."""
        whole = Fraction(minor).denominator == 1
        more = 0 if whole else 4
        return f"{Decimal(nearest(Fraction(minor) * 10**more)).scaleb(-self.digits - more):f} {self.currency}"


def share(percent: Decimal) -> Fraction:
    """A percentage as a share of one."""
    return Fraction(percent) / 100


def told(amount: Money) -> str:
    """An amount as it was told."""
    return f"{amount.amount:f} {amount.currency}"


def _end_of_day(rate: FxRate) -> datetime:
    return datetime.combine(rate.day + timedelta(days=1), time(), UTC)
