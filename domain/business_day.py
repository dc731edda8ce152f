"""The days that books are kept by: those of the place where something was sold, not of a server."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def business_day(at: datetime, zone: ZoneInfo) -> date:
    """The date that the calendar on the wall shows there at that instant."""
    return at.astimezone(zone).date()


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants at which that day begins there and at which the next one does, in UTC: some 23 to 25 hours apart.

    A day whose midnight the clocks leap over begins with the leap, one whose midnight comes twice with the first.
    """
    return _begins(day, zone), _begins(day + timedelta(days=1), zone)


def _begins(day: date, zone: ZoneInfo) -> datetime:
    midnight = datetime.combine(day, time(), zone)
    at = midnight.astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return at
    # There is no such midnight. By the offset before the leap it names an instant after it, by the one behind it one before it.
    before, after = midnight.replace(fold=1).astimezone(UTC), at
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        before, after = (before, middle) if business_day(middle, zone) >= day else (middle, after)
    return after
