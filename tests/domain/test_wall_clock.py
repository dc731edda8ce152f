"""What the clock on the wall says, and when."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.wall_clock import change_of_offset, first_instant, last_instant, turns

ZONES = ("Europe/Berlin", "America/Los_Angeles", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Tokyo", "Asia/Kolkata")


@pytest.mark.parametrize(
    ("zone", "wall", "first", "last"),
    [
        ("Asia/Tokyo", "2026-03-29T02:30", "2026-03-28T17:30", "2026-03-28T17:30"),
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00", "2026-03-29T01:00"),
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30", "2026-10-25T01:30"),
        ("America/Los_Angeles", "2026-11-01T01:59", "2026-11-01T08:59", "2026-11-01T09:59"),
        # Half an hour is leaped over.
        ("Australia/Lord_Howe", "2026-10-04T02:10", "2026-10-03T15:30", "2026-10-03T15:30"),
        # There is no midnight.
        ("Africa/Cairo", "2026-04-24T00:00", "2026-04-23T22:00", "2026-04-23T22:00"),
    ],
)
def test_a_time_that_comes_twice_and_one_that_never_comes(zone: str, wall: str, first: str, last: str) -> None:
    at, place = datetime.fromisoformat(wall), ZoneInfo(zone)

    assert first_instant(at, place) == datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert last_instant(at, place) == datetime.fromisoformat(last).replace(tzinfo=UTC)


@settings(max_examples=100)
@given(zone=st.sampled_from(ZONES), minutes=st.integers(0, 525_600))
def test_it_is_the_first_instant_at_which_the_clock_shows_the_time_or_a_later_one(zone: str, minutes: int) -> None:
    place = ZoneInfo(zone)
    wall = datetime.combine(date(2026, 1, 1), time()) + timedelta(minutes=minutes)

    first, last = first_instant(wall, place), last_instant(wall, place)

    assert first <= last
    shown = first.astimezone(place).replace(tzinfo=None)
    assert shown >= wall
    assert (first - timedelta(seconds=1)).astimezone(place).replace(tzinfo=None) < wall
    assert shown == wall or change_of_offset(first - timedelta(seconds=1), first, place) == first


def test_a_night_on_which_clocks_are_set_has_more_turns() -> None:
    berlin, times = ZoneInfo("Europe/Berlin"), [time(2, 30), time(12)]

    assert len(turns(times, date(2026, 3, 30), berlin)) == 2
    assert [one.hour for one in turns(times, date(2026, 3, 29), berlin)] == [1, 10]
    assert [(one.hour, one.minute) for one in turns(times, date(2026, 10, 25), berlin)] == [
        (0, 30),
        (1, 0),
        (1, 30),
        (11, 0),
    ]
