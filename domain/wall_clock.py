"""What the clock on the wall of a place says, and at which instants it says so, on the two nights of a year too."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

YEARS = range(2000, 2200)
"""Of which people may name times: from any of these there is an instant in each zone, and a day behind it."""


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock there first shows the time `wall` (without a zone) or a later one, in UTC. A time that comes twice is the
    first of both; one that the clocks leap over is the instant of the leap."""
    return _instant(wall.replace(fold=0), zone)


def last_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The same, of a time that comes twice the second."""
    return _instant(wall.replace(fold=1), zone)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    at = wall.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == wall.replace(fold=0):
        return at
    # There is no such time: by the offset behind the leap it names an instant before it, by the other one an instant after.
    sides = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    leap = change_of_offset(min(sides), max(sides), zone)
    assert leap is not None
    return leap


def change_of_offset(after: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """The instant, to the second, from which on the clocks there are set as at `until`; None where they are so at `after` too."""
    offset = until.astimezone(zone).utcoffset()
    if after.astimezone(zone).utcoffset() == offset:
        return None
    while until - after > timedelta(seconds=1):
        middle = (after + (until - after) / 2).replace(microsecond=0)
        after, until = (after, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, until)
    return until


def turns(times: Iterable[time], day: date, zone: ZoneInfo) -> list[datetime]:
    """All instants of that day there at which the clock may pass one of `times`, in order, in UTC. A time that comes twice gives
    two, and the instant at which the clocks are set is one of them too."""
    found = {_instant(datetime.combine(day, one).replace(fold=fold), zone) for one in times for fold in (0, 1)}
    begins = first_instant(datetime.combine(day, time()), zone)
    ends = first_instant(datetime.combine(day + timedelta(days=1), time()), zone)
    change = change_of_offset(begins, ends, zone)
    return sorted(found if change is None else found | {change})
