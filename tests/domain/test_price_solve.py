"""The least price that leaves a margin."""

from __future__ import annotations

from fractions import Fraction
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.price_solve import Share, Terms, least_price


def percents(most: int) -> st.SearchStrategy[Fraction]:
    return st.integers(0, most * 10).map(lambda tenths: Fraction(tenths, 1000))


def amounts(most: int) -> st.SearchStrategy[Fraction]:
    return st.integers(0, most * 100).map(lambda hundredths: Fraction(hundredths, 100))


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    edges = sorted(draw(st.sets(st.integers(1, 900), max_size=3)))
    return Terms(
        cost=draw(amounts(300)),
        margin=draw(amounts(100)),
        margin_share=draw(percents(30)),
        tax=draw(percents(30)),
        shares=tuple(Share(draw(percents(30)), edge) for edge in (*edges, None)),
        whole=draw(st.booleans()),
        least=draw(amounts(100)),
        fixed=draw(amounts(100)),
    )


@settings(max_examples=60)
@given(terms())
def test_it_is_the_first_price_of_all_that_leaves_the_margin(wanted: Terms) -> None:
    assert least_price(wanted) == next(price for price in count(1) if wanted.enough(price))


def test_a_referral_of_15_percent_and_a_tax_of_19_percent_are_paid_from_the_price() -> None:
    wanted = Terms(
        cost=Fraction(1000),
        margin=Fraction(300),
        tax=Fraction(19, 100),
        shares=(Share(Fraction(15, 100)),),
        fixed=Fraction(350),
    )

    price = least_price(wanted)

    assert price == 2389
    assert wanted.tax_of(price) == 381  # 23.89 / 1.19 * 0.19
    assert wanted.referral_of(price) == 358
    assert wanted.left_of(price) == 300


def test_a_band_for_the_whole_price_leaves_a_gap_that_no_price_lies_in() -> None:
    """8 % up to 10.00, 15 % of all of it above."""
    shares = (Share(Fraction(8, 100), 1000), Share(Fraction(15, 100)))

    assert least_price(Terms(cost=Fraction(920), shares=shares)) == 1000
    assert least_price(Terms(cost=Fraction(921), shares=shares)) == 1083


def test_bands_for_parts_leave_none() -> None:
    """20 % of the first 250.00, 5 % of what lies above."""
    shares = (Share(Fraction(20, 100), 25000), Share(Fraction(5, 100)))

    assert least_price(Terms(cost=Fraction(20000), shares=shares, whole=False)) == 25000
    assert least_price(Terms(cost=Fraction(20095), shares=shares, whole=False)) == 25100


def test_a_margin_that_grows_with_the_price_as_fast_as_what_is_left_is_never_reached() -> None:
    wanted = Terms(cost=Fraction(100), margin_share=Fraction(85, 100), shares=(Share(Fraction(15, 100)),))

    assert least_price(wanted) is None
