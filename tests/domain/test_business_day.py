"""Days by the calendar of the place where something was sold."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon.marketplaces import _ALL
from domain.business_day import business_day, day_bounds

ZONES = sorted(
    {one.zone for one in _ALL} | {"America/Havana", "Asia/Beirut", "Africa/Cairo", "Pacific/Auckland", "UTC"}
)
zones = st.sampled_from(ZONES).map(ZoneInfo)


@given(zones, st.dates(date(2012, 1, 1), date(2035, 12, 31)))
def test_a_day_begins_where_the_one_before_ends_and_holds_its_own_instants_alone(zone: ZoneInfo, day: date) -> None:
    start, end = day_bounds(day, zone)
    assert day_bounds(day - timedelta(days=1), zone)[1] == start
    assert timedelta(hours=22) < end - start < timedelta(hours=26)
    second = timedelta(seconds=1)
    told = [business_day(at, zone) for at in (start - second, start, end - second, end)]
    assert told == [day - timedelta(days=1), day, day, day + timedelta(days=1)]


@given(
    zones,
    st.integers(0, 24 * 366 * 60 * 20).map(
        lambda minutes: datetime(2012, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
)
def test_every_instant_lies_in_its_day(zone: ZoneInfo, at: datetime) -> None:
    start, end = day_bounds(business_day(at, zone), zone)
    assert start <= at < end


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/Los_Angeles", date(2026, 11, 1), 25),
        ("Asia/Tokyo", date(2026, 3, 29), 24),
        # Clocks leap over midnight: the day begins at one.
        ("Asia/Beirut", date(2026, 3, 29), 23),
    ],
)
def test_days_on_which_clocks_change(zone: str, day: date, hours: int) -> None:
    start, end = day_bounds(day, ZoneInfo(zone))
    assert end - start == timedelta(hours=hours)


def test_one_instant_two_days() -> None:
    at = datetime(2026, 11, 28, 1, tzinfo=UTC)
    assert [business_day(at, ZoneInfo(zone)).day for zone in ("America/Los_Angeles", "Asia/Tokyo")] == [27, 28]
