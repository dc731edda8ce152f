"""What a reading says about a number: nothing, or which kind of drift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift import ORDERS_LATE, Believed, DriftKind, classify

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LAG = timedelta(seconds=10)
LATER = NOON + timedelta(minutes=5)


def believed(told: int | None = 5, *, target: int = 5, in_flight: bool = False, before: int | None = None) -> Believed:
    return Believed(target, told, None if told is None else NOON, in_flight, before)


def kind(
    one: Believed,
    shown: int | None,
    read_at: datetime = LATER,
    *,
    since: datetime | None = None,
    orders_until: datetime | None = None,
) -> DriftKind | None:
    return classify(one, shown, read_at, since=since or read_at, orders_until=orders_until, visibility_lag=LAG)


def test_what_is_believed_or_about_to_be_written_is_no_drift() -> None:
    assert kind(believed(), 5) is None
    # The channel has lowered the number for its own sale, and we know of it already.
    assert kind(believed(5, target=4), 4) is None
    # Nothing was ever told: there is nothing to believe.
    assert kind(believed(None), 7) is None


@pytest.mark.parametrize("shown", [None, 0, 3, 5, 9])
def test_nothing_is_said_while_a_write_is_under_way_or_may_not_be_seen_yet(shown: int | None) -> None:
    assert kind(believed(in_flight=True, before=3), shown) is None
    assert kind(believed(before=3), shown, NOON + LAG) is None
    # A moment later it is.
    assert (kind(believed(before=3), shown, NOON + LAG + timedelta(seconds=1)) is None) == (shown == 5)


def test_a_lower_number_is_a_sale_until_the_orders_have_been_read_and_say_nothing() -> None:
    one = believed()
    assert kind(one, 3) is DriftKind.UNSEEN_SALE
    assert kind(one, 3, orders_until=LATER) is DriftKind.UNSEEN_SALE
    assert kind(one, 3, orders_until=LATER + ORDERS_LATE) is DriftKind.EXTERNAL_EDIT
    # What counts is when this number was first seen, not the look of now.
    later = LATER + timedelta(hours=1)
    assert kind(one, 3, later, since=LATER, orders_until=LATER + ORDERS_LATE) is DriftKind.EXTERNAL_EDIT


def test_the_number_from_before_is_a_write_that_was_lost() -> None:
    one = believed(5, before=8)
    assert kind(one, 8) is DriftKind.LOST_WRITE
    # An older number is nobody's lost write.
    assert kind(believed(5, before=8), 9) is DriftKind.EXTERNAL_EDIT
    # A lower one may as well be a sale, and is taken for one first.
    assert kind(believed(5, before=3), 3) is DriftKind.UNSEEN_SALE
    assert kind(believed(5, before=3), 3, orders_until=LATER + ORDERS_LATE) is DriftKind.LOST_WRITE


def test_more_than_was_told_is_somebody_elses_doing() -> None:
    assert kind(believed(), 6) is DriftKind.EXTERNAL_EDIT


def test_what_is_not_offered_is_said_so() -> None:
    assert kind(believed(), None) is DriftKind.NOT_OFFERED


@given(
    told=st.integers(0, 9),
    target=st.integers(0, 9),
    shown=st.none() | st.integers(0, 9),
    before=st.none() | st.integers(0, 9),
    orders=st.none() | st.integers(-600, 600),
)
def test_every_difference_has_exactly_one_name(
    told: int, target: int, shown: int | None, before: int | None, orders: int | None
) -> None:
    one = Believed(target, told, NOON, in_flight=False, before=before)
    until = None if orders is None else LATER + timedelta(seconds=orders)
    found = kind(one, shown, orders_until=until)
    assert (found is None) == (shown in (told, target))
    # Nothing that may be a sale is ever written over before the orders have been read.
    if shown is not None and shown < told and (until is None or until < LATER):
        assert found in (None, DriftKind.UNSEEN_SALE)
