"""Is an answer young enough?"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum


class Freshness(Enum):
    """How old an answer is, worst last: asked just now, inside the wished age, older than that, never seen."""

    LIVE = "LIVE"
    FRESH = "FRESH"
    STALE = "STALE"
    UNKNOWN = "UNKNOWN"


class OnStale(Enum):
    """What to do when nothing young enough can be had: answer it with its age, or fail with TOO_STALE."""

    ANSWER = "ANSWER"
    FAIL = "FAIL"


_ORDER = list(Freshness)


def young_enough(as_of: datetime | None, now: datetime, max_age: timedelta) -> bool:
    """Whether a reading taken at `as_of` may be used at `now`; never for one that was never taken.

    A `max_age` of zero asks for a live answer: nothing stored is young enough.
    """
    return as_of is not None and max_age > timedelta(0) and now - as_of <= max_age


def graded(as_of: datetime | None, now: datetime, max_age: timedelta) -> Freshness:
    """The freshness of a stored reading (LIVE is only said by whoever just asked)."""
    if as_of is None:
        return Freshness.UNKNOWN
    return Freshness.FRESH if young_enough(as_of, now, max_age) else Freshness.STALE


def worst(grades: list[Freshness]) -> Freshness:
    """The grade of a sum of readings; UNKNOWN when there are none."""
    return max(grades, key=_ORDER.index, default=Freshness.UNKNOWN)
