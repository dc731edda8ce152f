"""The least price that leaves a margin, after what the channel and the state take of it. Whole minor units, exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

FLATTEST = Fraction(1, 1000)
"""Of one more unit of price so much has to be left, or no price is looked for."""


def nearest(value: Fraction) -> int:
    """The nearest whole number, the upper one of two: how amounts are rounded."""
    return floor(value + Fraction(1, 2))


@dataclass(frozen=True, slots=True)
class Share:
    """The share that is taken of the part of a price up to and with `up_to` minor units; None: of all above."""

    share: Fraction
    up_to: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """All in minor units of one currency. `tax` is its share of the price without it, 0 where prices hold none; `margin` is what
    has to be left, and `margin_share` what of the price without tax besides. For the rest see `FeeTable`."""

    cost: Fraction
    margin: Fraction = Fraction(0)
    margin_share: Fraction = Fraction(0)
    tax: Fraction = Fraction(0)
    shares: tuple[Share, ...] = ()
    whole: bool = True
    least: Fraction = Fraction(0)
    fixed: Fraction = Fraction(0)

    def tax_of(self, price: int) -> int:
        """The tax within a price."""
        taxed, whole = self.tax.numerator, self.tax.numerator + self.tax.denominator
        return (2 * price * taxed + whole) // (2 * whole)

    def referral_of(self, price: int) -> int:
        """What is taken of a price, without what is fixed."""
        taken, below = Fraction(0), 0
        for one in self.shares:
            inside = one.up_to is None or price <= one.up_to
            if self.whole and inside:
                taken = price * one.share
            elif not self.whole:
                taken += ((price if inside or one.up_to is None else one.up_to) - below) * one.share
                below = one.up_to or 0
            if inside:
                break
        return nearest(max(taken, self.least))

    def left_of(self, price: int) -> Fraction:
        """What is left of a price when everything has been paid."""
        return price - self.tax_of(price) - self.referral_of(price) - (self.fixed + self.cost)

    def enough(self, price: int) -> bool:
        """Is the margin left?"""
        wanted = self.margin
        if self.margin_share:
            wanted += self.margin_share * (price - self.tax_of(price))
        return self.left_of(price) >= wanted


def least_price(terms: Terms) -> int | None:
    """The least price that leaves the margin: at one minor unit less it is not left. None where of a higher price, in some band,
    next to nothing would be left besides; the last band has no end."""
    if any(_kept(terms) - one.share < FLATTEST for one in terms.shares) or _kept(terms) < FLATTEST:
        return None
    return next(found for piece in _pieces(terms) if (found := _within(terms, *piece)) is not None)


def _kept(terms: Terms) -> Fraction:
    """What is left of one more unit of price after tax and margin."""
    return (1 - terms.margin_share) / (1 + terms.tax)


def _pieces(terms: Terms) -> Iterator[tuple[int, int | None, Fraction, Fraction]]:
    """The prices (from, until) of each band, the share that is taken there, and what is taken beyond that of lower bands."""
    begins, beyond = 1, Fraction(0)
    for number, one in enumerate(terms.shares or (Share(Fraction(0)),)):
        yield begins, one.up_to, one.share, beyond
        if one.up_to is not None:
            begins = one.up_to + 1
            beyond += Fraction(0) if terms.whole else one.up_to * (one.share - terms.shares[number + 1].share)


def _within(terms: Terms, begins: int, ends: int | None, share: Fraction, beyond: Fraction) -> int | None:
    needed, kept = terms.fixed + terms.cost + terms.margin, _kept(terms)
    # What is taken is the greater of the share and the least, so what is left is the lesser of two straight lines.
    root = max((needed + beyond) / (kept - share), (needed + terms.least) / kept)
    # Tax and fees are rounded, by less than one minor unit together: so far the price may lie from where the lines are crossed.
    slack = ceil(1 / (kept - share)) + 1
    first, last = max(begins, floor(root) - slack), max(begins, ceil(root) + slack)
    prices = range(first, (last if ends is None else min(ends, last)) + 1)
    return next((one for one in prices if terms.enough(one)), None)
