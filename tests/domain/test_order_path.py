"""By which path orders are read, as a table of cases, by Amazon's published plans."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon.order_reports import routes
from adapters.amazon.plans import PLANS
from domain.budget import Purse
from domain.order_path import MOST_LAGS, SHORTEST, Expected, choose_path
from domain.route import Way

FEW_MINUTES = timedelta(minutes=6)
QUARTER = timedelta(minutes=15)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def purses(search: float = 20.0, report: float = 15.0, single: float = 30.0) -> dict[str, Purse]:
    """Tokens that are left now."""
    left = {"searchOrders": search, "createReport": report, "getOrder": single}
    return {
        name: Purse(left.get(name, plan.burst), plan.rate, plan.burst)
        for name, plan in PLANS.items()
        if name in (*left, "getReport", "getReportDocument")
    }


def chosen(
    expected: Expected, *, every: timedelta = QUARTER, usual_s: float | None = 120.0, **left: float
) -> tuple[Way, bool]:
    ways = routes(PLANS, expected.span.total_seconds(), expected.changes, expected.waiting, usual_s)
    choice = choose_path(ways, purses(**left), expected, every)
    return choice.taken.route.way, choice.in_time


@pytest.mark.parametrize(
    ("what", "expected", "more", "way"),
    [
        ("a quiet quarter", Expected(QUARTER, HOUR, 40), {}, Way.PAGES),
        ("nothing expected", Expected(QUARTER, HOUR, 0), {}, Way.PAGES),
        ("2,000 with savings: twenty pages at once", Expected(QUARTER, HOUR, 8000), {}, Way.PAGES),
        ("10,000: eighty pages beyond the savings", Expected(QUARTER, HOUR, 40_000), {}, Way.REPORT),
        ("few, and no savings: one page in three minutes", Expected(QUARTER, HOUR, 40), {"search": 0.0}, Way.PAGES),
        ("600, and no savings: six pages in 18 minutes", Expected(QUARTER, HOUR, 2400), {"search": 0.0}, Way.REPORT),
        ("the same, named by notifications", Expected(QUARTER, HOUR, 0, 600, 600), {"search": 0.0}, Way.REPORT),
        (
            "named, and reports take hours: one by one",
            Expected(QUARTER, HOUR, 0, 600, 300),
            {"search": 0.0, "usual_s": 7200.0},
            Way.SINGLE,
        ),
        (
            "too many to read one by one either: the soonest that tells all",
            Expected(QUARTER, HOUR, 0, 6000, 6000),
            {"search": 0.0, "usual_s": 7200.0},
            Way.REPORT,
        ),
        (
            "the cursor is too old to trust notifications",
            Expected((MOST_LAGS + 1) * QUARTER, HOUR, 0, 600, 300),
            {"search": 0.0, "usual_s": 7200.0},
            Way.PAGES,
        ),
        ("a flood: no time for six pages", Expected(FEW_MINUTES, HOUR, 6000), {"search": 0.0}, Way.REPORT),
        ("a flood, with savings", Expected(FEW_MINUTES, HOUR, 6000), {}, Way.PAGES),
        ("asked for just now, and no savings: one page", Expected(HOUR / 60, HOUR, 600), {"search": 0.0}, Way.PAGES),
        ("a night without workers", Expected(12 * HOUR, HOUR, 500), {}, Way.REPORT),
        ("the same with a target of a day", Expected(12 * HOUR, HOUR, 500), {"every": DAY}, Way.PAGES),
    ],
)
def test_the_path_that_tells_most_of_those_that_keep_the_target(
    what: str, expected: Expected, more: dict[str, float], way: Way
) -> None:
    assert chosen(expected, **more)[0] is way, what  # type: ignore[arg-type]  # a table of mixed cases


def test_what_is_expected_follows_the_last_hours_and_is_no_less_than_was_named() -> None:
    assert Expected(2 * HOUR, 6 * HOUR, 600).changes == 200
    assert Expected(2 * HOUR, 6 * HOUR, 601).changes == 201
    assert Expected(2 * HOUR, 6 * HOUR, 600, hinted=900).changes == 900


@given(
    before=st.integers(0, 10**6),
    minutes=st.integers(1, 60 * 24 * 60),
    search=st.floats(0, 20),
    report=st.floats(0, 15),
    waiting=st.integers(0, 10**4),
)
def test_a_way_is_in_time_whenever_one_is_and_each_other_says_why_it_lost(
    before: int, minutes: int, search: float, report: float, waiting: int
) -> None:
    expected = Expected(timedelta(minutes=minutes), HOUR, before, waiting, waiting)
    ways = routes(PLANS, expected.span.total_seconds(), expected.changes, waiting, None)
    choice = choose_path(ways, purses(search, report), expected, QUARTER)
    whole = [cost for cost in (choice.taken, *choice.others) if cost.route.whole]
    assert len(whole) == 2
    within = min(QUARTER, max(expected.span, SHORTEST))
    assert choice.in_time or all(cost.seconds > within.total_seconds() for cost in whole)
    assert choice.in_time or choice.taken.seconds == min(cost.seconds for cost in whole)
    assert all(cost.lost for cost in choice.others)
    assert choice.taken.lost == ""
    if expected.span > MOST_LAGS * QUARTER:
        assert choice.taken.route.whole
