"""Rates of exchange by day, and money converted by them: always through the one base of one source, and always saying which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal

from domain.money import Money, minor_digits
from domain.price_inputs import FxRate

OLD_DAYS = 7
"""A rate that is older is told as an old one: no central bank is closed for so long."""
LEAST_RATE, MOST_RATE = Decimal("1e-9"), Decimal("1e9")
"""No two currencies are worth less or more of each other: what lies outside would break all that it is multiplied with."""
# Of a rate that is made of two, as many digits as no published one has.
_CROSS = Context(prec=12, rounding=ROUND_HALF_EVEN)
_EXACT = Context(prec=34, rounding=ROUND_HALF_EVEN)
# What is converted keeps so many decimals behind the minor unit: whoever shows it rounds.
_BEHIND = 4


@dataclass(frozen=True, slots=True)
class Converted:
    """`money` by `rate` (None: it was in that currency already), which was `age_days` old then."""

    money: Money
    rate: FxRate | None = None
    age_days: int = 0

    @property
    def old(self) -> bool:
        """Is the rate older than one should be?"""
        return self.age_days > OLD_DAYS

    @property
    def words(self) -> str:
        """How it was converted, for people; empty where it was not."""
        one = self.rate
        if one is None:
            return ""
        age = f", {self.age_days} days old" if self.old else ""
        return f"1 {one.base} = {one.rate.normalize():f} {one.quote} ({one.source}, {one.day.isoformat()}{age})"


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates as their sources published them: a source tells what one unit of its base is worth, day by day. At most one for each
    source, pair and day; their order does not matter."""

    published: tuple[FxRate, ...] = ()
    _days: dict[tuple[str, str], dict[date, dict[str, Decimal]]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        for one in sorted(self.published, key=lambda rate: (rate.source, rate.base, rate.day, rate.quote, rate.rate)):
            days = self._days.setdefault((one.source, one.base), {})
            days.setdefault(one.day, {one.base: Decimal(1)})[one.quote] = one.rate

    def pair(self, base: str, quote: str, on: date) -> FxRate | None:
        """What one unit of `base` was worth in `quote` on that day: by the newest day not after it on which one source told both,
        None where none did."""
        found = [
            (day, source, pivot, table)
            for (source, pivot), days in self._days.items()
            for day, table in days.items()
            if day <= on and base in table and quote in table
        ]
        if not found:
            return None
        day, source, pivot, table = max(found, key=lambda one: one[:3])
        if pivot == base:
            return FxRate(base, quote, table[quote], day, source)
        crossed = _CROSS.divide(table[quote], table[base])
        return FxRate(base, quote, crossed, day, source if pivot == quote else f"{source} through {pivot}")

    def convert(self, money: Money, to: str, on: date) -> Converted | None:
        """What it was worth on that day, with four decimals behind the minor unit; None where no rate tells."""
        if money.currency == to:
            return Converted(money)
        rate = self.pair(money.currency, to, on)
        if rate is None:
            return None
        unit = Decimal(1).scaleb(-(minor_digits(to) + _BEHIND))
        amount = _EXACT.multiply(money.amount, rate.rate).quantize(unit, context=_EXACT)
        return Converted(Money(amount, to), rate, (on - rate.day).days)

    def into(self, currency: str, on: date) -> tuple[FxRate, ...]:
        """What one unit of every other currency was worth in it, by the code of the other."""
        others = sorted(set(self._currencies()) - {currency})
        return tuple(rate for other in others if (rate := self.pair(other, currency, on)) is not None)

    def _currencies(self) -> Iterator[str]:
        for days in self._days.values():
            for table in days.values():
                yield from table


def bases(rates: Iterable[FxRate]) -> dict[str, set[str]]:
    """The bases that each source tells by: more than one is a source that nobody can convert through."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for one in rates:
        found[one.source].add(one.base)
    return dict(found)
