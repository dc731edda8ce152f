"""Young enough or not."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.freshness import Freshness, graded, worst, young_enough

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds_old", "max_age_s", "young"),
    [(0, 60, True), (60, 60, True), (61, 60, False), (0, 0, False), (5, 0, False)],
)
def test_a_reading_is_young_up_to_and_including_the_wished_age(seconds_old: int, max_age_s: int, young: bool) -> None:
    as_of = NOON - timedelta(seconds=seconds_old)
    assert young_enough(as_of, NOON, timedelta(seconds=max_age_s)) is young
    assert graded(as_of, NOON, timedelta(seconds=max_age_s)) is (Freshness.FRESH if young else Freshness.STALE)


def test_what_was_never_told_is_unknown_and_never_young() -> None:
    assert not young_enough(None, NOON, timedelta(days=400))
    assert graded(None, NOON, timedelta(days=400)) is Freshness.UNKNOWN


def test_the_worst_grade_is_the_grade_of_the_sum() -> None:
    assert worst([Freshness.LIVE, Freshness.FRESH]) is Freshness.FRESH
    assert worst([Freshness.STALE, Freshness.LIVE, Freshness.UNKNOWN]) is Freshness.UNKNOWN
    assert worst([]) is Freshness.UNKNOWN
