"""Which offer is taken."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Conflict, NotFound
from domain.label import LabelFormat, Offer, Wish, taken
from domain.money import Money

START = datetime(2026, 11, 23, 8, tzinfo=UTC)

offers = st.builds(
    lambda service, cents, hours, formats, more: Offer(
        service,
        "c",
        "Carrier",
        service,
        service,
        Money(Decimal(cents) / 100, "EUR"),
        None,
        None if hours is None else START + timedelta(hours=hours),
        formats,
        needs_more=more,
    ),
    st.sampled_from("abcdef"),
    st.integers(0, 5_000),
    st.none() | st.integers(0, 200),
    st.frozensets(st.sampled_from(LabelFormat)),
    st.booleans(),
)


@given(st.lists(offers, max_size=8), st.none() | st.integers(0, 200), st.none() | st.integers(0, 5_000))
def test_the_cheapest_that_fits_is_taken_or_none_does(told: list[Offer], hours: int | None, cents: int | None) -> None:
    by = None if hours is None else START + timedelta(hours=hours)
    most = None if cents is None else Money(Decimal(cents) / 100, "EUR")
    fit = [
        one
        for one in told
        if not one.needs_more
        and (not one.formats or LabelFormat.PDF in one.formats)
        and (by is None or (one.arrives_until is not None and one.arrives_until <= by))
        and (most is None or one.price.amount <= most.amount)
    ]
    try:
        found = taken(told, Wish(most=most), LabelFormat.PDF, by)
    except (NotFound, Conflict):
        assert fit == []
    else:
        assert found in fit
        assert all(found.price.amount <= one.price.amount for one in fit)


@given(offers)
def test_an_offer_comes_back_from_json_as_it_was(one: Offer) -> None:
    assert Offer.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_a_named_service_is_taken_also_where_it_is_late_and_none_other() -> None:
    late = Offer("x", "c", "C", "x", "X", Money(Decimal(9), "EUR"), None, START, frozenset())
    assert taken([late], Wish("x"), LabelFormat.PDF, START - timedelta(days=1)) == late
    with pytest.raises(NotFound, match="there is X"):
        taken([late], Wish("y"), LabelFormat.PDF, None)
    with pytest.raises(Conflict, match="promised"):
        taken([late], Wish(), LabelFormat.PDF, START - timedelta(days=1))
