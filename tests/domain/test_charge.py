"""What an order costs, part by part."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.charge import Charge, ChargeKind, charged, difference, tax_of
from domain.errors import Invalid
from domain.money import Money

EURO = st.decimals(min_value=-10_000, max_value=10_000, places=2)
YEN = st.integers(min_value=-1_000_000, max_value=1_000_000).map(Decimal)


def parts(amounts: st.SearchStrategy[Decimal], currency: str) -> st.SearchStrategy[list[Charge]]:
    return st.lists(
        st.builds(
            lambda kind, amount, contained: Charge(kind, Money(amount, currency), contained=contained and kind.tax),
            st.sampled_from(ChargeKind),
            amounts,
            st.booleans(),
        ),
        min_size=1,
        max_size=12,
    )


@given(st.one_of(parts(EURO, "EUR"), parts(YEN, "JPY")), st.integers(-100, 100))
def test_a_total_differs_by_exactly_what_it_is_off(told: list[Charge], off: int) -> None:
    """To the last digit, with JPY and with cents, with what is taken off and with taxes in the prices."""
    total = charged(told)
    assert total is not None
    wrong = Money(total.amount + Decimal(off).scaleb(-2), total.currency)
    assert difference(wrong, told) == Money(Decimal(off).scaleb(-2), total.currency)


@given(parts(EURO, "EUR"))
def test_the_tax_is_that_of_all_taxes_and_a_contained_one_is_not_charged_twice(told: list[Charge]) -> None:
    tax, total = tax_of(told), charged(told)
    assert tax is not None
    assert total is not None
    on_top = sum((one.amount.amount for one in told if one.kind.tax and not one.contained), Decimal(0))
    inside = sum((one.amount.amount for one in told if one.contained), Decimal(0))
    net = sum((one.amount.amount for one in told if not one.kind.tax), Decimal(0))
    assert (tax.amount, total.amount) == (on_top + inside, net + on_top)


def test_what_is_not_told_is_no_difference() -> None:
    goods = [Charge(ChargeKind.GOODS, Money(Decimal(5), "EUR"))]
    assert difference(None, goods) is None
    assert difference(Money(Decimal(5), "EUR"), []) is None
    assert (charged([]), tax_of([])) == (None, None)
    assert tax_of(goods) == Money(Decimal(0), "EUR")


def test_two_currencies_are_never_added() -> None:
    mixed = [Charge(ChargeKind.GOODS, Money(Decimal(5), one)) for one in ("EUR", "USD")]
    with pytest.raises(Invalid):
        charged(mixed)
    assert tax_of(mixed) is None
    assert difference(Money(Decimal(7), "EUR"), mixed) == Money(Decimal(2), "EUR")
