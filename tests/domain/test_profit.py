"""Profit's own arithmetic: days that two instants name, what is known and what is not, and which units are back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.chain import Piece, PieceKind
from domain.errors import Invalid
from domain.ids import ChannelId
from domain.profit import Figures, back_in_stock, days_between

NOVEMBER = (date(2026, 11, 1), date(2026, 12, 1))


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-11-01T00:00:00Z", "2026-11-30T23:59:59Z"),
        ("2026-11-01T00:00:00+01:00", "2026-12-01T00:00:00+01:00"),
        ("2026-11-01T00:00:00-08:00", "2026-12-01T00:00:00-08:00"),
        ("2026-11-01T00:00:00+09:00", "2026-12-01T00:00:00+09:00"),
        ("2026-11-01T00:00:00+12:00", "2026-12-01T00:00:00+12:00"),
    ],
)
def test_midnights_of_anybody_name_the_days_that_he_means(since: str, until: str) -> None:
    assert days_between(datetime.fromisoformat(since), datetime.fromisoformat(until)) == NOVEMBER


@given(st.dates(date(2000, 1, 1), date(2199, 1, 1)), st.integers(1, 400), st.integers(-11 * 60, 12 * 60))
def test_midnights_by_any_offset_name_their_days(first: date, days: int, offset: int) -> None:
    zone = timezone(timedelta(minutes=offset))
    since = datetime(first.year, first.month, first.day, tzinfo=zone)
    assert days_between(since, since + timedelta(days=days)) == (first, first + timedelta(days=days))


def test_no_day_is_refused() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    for until in (at, at - timedelta(days=1), at + timedelta(hours=11)):
        with pytest.raises(Invalid, match="name no day"):
            days_between(at, until)


AMOUNTS = st.decimals(-(10**9), 10**9, places=6)
SUMS = st.builds(
    Figures,
    st.just("EUR"),
    units=st.integers(-9, 99),
    revenue=AMOUNTS,
    fees=AMOUNTS,
    refunds=AMOUNTS,
    priced=AMOUNTS,
    units_without_cost=st.sampled_from([0, 0, 3]),
)


@given(SUMS, SUMS)
def test_profits_add_up_where_both_are_known_and_are_none_where_one_is_not(one: Figures, other: Figures) -> None:
    both = one + other
    if one.profit is None or other.profit is None:
        assert both.profit is None
        assert both.cost is None
        assert both.margin is None
    else:
        assert both.profit == one.profit + other.profit == both.revenue - both.fees - both.refunds - both.priced


@given(SUMS)
def test_what_is_taken_away_from_itself_has_not_moved(one: Figures) -> None:
    one = replace(one, units_without_cost=0)
    assert not (one + -one).moved
    assert (one + replace(one, revenue=one.revenue + 1, fees=one.fees) + -one + -one).moved


def test_a_margin_has_six_decimals_and_none_without_revenue() -> None:
    assert Figures("EUR", revenue=Decimal(3), fees=Decimal(1)).margin == Decimal("0.666667")
    assert Figures("EUR", fees=Decimal(1)).margin is None
    assert Figures("EUR", revenue=Decimal(3), units_without_cost=1).margin is None


def test_two_currencies_are_no_sum() -> None:
    with pytest.raises(Invalid, match="convert one of them first"):
        Figures("EUR") + Figures("USD")


def test_units_are_back_where_they_were_restocked_or_found_sound_or_never_left() -> None:
    piece = Piece(ChannelId("a"), PieceKind.RESTOCKED, "1", "O", "MUG", 1, datetime(2026, 11, 1, tzinfo=UTC))
    assert back_in_stock(piece)
    arrived = replace(piece, kind=PieceKind.ARRIVED, condition="SELLABLE", by_channel=True)
    assert back_in_stock(arrived)
    assert not back_in_stock(replace(arrived, condition="CUSTOMER_DAMAGED"))
    # What came back to us is booked by a person.
    assert not back_in_stock(replace(arrived, by_channel=False))
    assert back_in_stock(replace(piece, kind=PieceKind.REFUNDED, expected=False))
    for kind in (PieceKind.ANNOUNCED, PieceKind.REFUNDED, PieceKind.WRITTEN_OFF, PieceKind.REIMBURSED):
        assert not back_in_stock(replace(arrived, kind=kind))
