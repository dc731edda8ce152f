"""The price that leaves a margin, by what is known of cost, fees and tax."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import floor

from domain.price_inputs import FeeEstimate
from domain.price_known import Known, Lack, share, told
from domain.price_rules import CostPlus, FeeTable
from domain.price_solve import Share, Terms, least_price

NOTHING_LEFT = "fees, tax and margin leave nothing of any price"


def least_with_margin(known: Known, plus: CostPlus) -> tuple[int, str]:
    """The least price that leaves the margin, and why it is that one."""
    cost = known.inputs.cost
    if cost is None:
        raise Lack("no cost is known")
    known.use("cost", f"{told(cost.amount)} by {cost.source or 'the catalog'}")
    landed = known.converted(cost.amount)
    tax = share(plus.tax_percent)
    extra = Fraction(0) if not plus.extra else known.meant(plus.extra)
    margin = landed * share(plus.markup_percent or Decimal(0)) if not plus.margin else known.meant(plus.margin)
    terms = Terms(landed + extra, margin, share(plus.margin_percent or Decimal(0)), tax)
    price, terms = _after_fees(known, plus, terms)
    for name, value in (("extra", extra), ("fees", terms.referral_of(price) + terms.fixed)):
        known.use(name, known.text(value))
    known.use("tax", known.text(terms.tax_of(price)))
    known.use("margin", known.text(terms.left_of(price)))
    return price, "the least price that leaves the margin"


def _after_fees(known: Known, plus: CostPlus, terms: Terms) -> tuple[int, Terms]:
    """The least price by the rule's own fees, else by the channel's estimate that is nearest to it."""
    own = next((one for one in plus.fees if one.currency == known.currency), None)
    if own is not None:
        known.use("fees_by", "the rule")
        full = _by_table(known, terms, own)
        price = least_price(full)
        if price is None:
            raise Lack(NOTHING_LEFT)
        return price, full
    usable = [
        one
        for one in known.inputs.estimates
        if {one.price.currency, one.referral.currency, one.fixed.currency} == {known.currency}
        and one.price.amount > 0
        and (known.oldest is None or one.as_of >= known.oldest)
    ]
    if not usable:
        raise Lack("what the channel takes is not known, or too old" if known.inputs.estimates else "no fees are known")
    return _by_estimates(known, plus, terms, usable)


def _by_table(known: Known, terms: Terms, table: FeeTable) -> Terms:
    shares = tuple(
        Share(share(one.percent), None if one.up_to is None else floor(known.minor(one.up_to))) for one in table.bands
    )
    return _with_fees(terms, shares, known.minor(table.least), known.minor(table.fixed), whole=table.whole)


def _by_estimates(known: Known, plus: CostPlus, terms: Terms, usable: Iterable[FeeEstimate]) -> tuple[int, Terms]:
    """An estimate is exact at its own price; what it takes of one nearby is taken in proportion."""
    tried = []
    for one in sorted(usable, key=_by_age, reverse=True):
        of = known.minor(one.price.amount)
        taken = (Share(Fraction(one.referral.amount) / Fraction(one.price.amount)),)
        full = _with_fees(terms, taken, Fraction(0), known.minor(one.fixed.amount), whole=True)
        price = least_price(full)
        # Of a very low price all may be taken, and that says nothing of higher ones.
        if price is not None:
            tried.append((abs(price - of) / of, price, full, of, one.source))
    if not tried:
        raise Lack(NOTHING_LEFT)
    away, price, full, of, source = min(tried, key=lambda one: one[0])
    if away * 100 > Fraction(plus.fees_within):
        known.fees_at = known.money(price)
        raise Lack(f"fees are known for {known.text(of)}, and the price would be {known.text(price)}")
    if away:
        known.fees_at = known.money(price)
    known.use("fees_by", f"{source or 'an estimate'} for {known.text(of)}")
    return price, full


def _by_age(one: FeeEstimate) -> tuple[datetime, Decimal, Decimal, Decimal, str]:
    return one.as_of, one.price.amount, one.referral.amount, one.fixed.amount, one.source


def _with_fees(terms: Terms, shares: tuple[Share, ...], least: Fraction, fixed: Fraction, *, whole: bool) -> Terms:
    return Terms(terms.cost, terms.margin, terms.margin_share, terms.tax, shares, whole, least, fixed)
