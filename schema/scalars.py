"""Scalars: one wire form each, which the encoder writes as it stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NewType

import isodate
import strawberry
from strawberry.types.scalar import ScalarDefinition

from executor import UTC_DATETIME, Native

Duration = NewType("Duration", timedelta)

# No stock is told of longer ago (`asOf`), and from any instant it leads to one that there is.
LONGEST = timedelta(days=400)
# The letters that a duration may end in.
UNITS = tuple("YMWDHS")
# Of a decimal before the point, and after it: a short text such as 1E+999999 would be written as a very long one.
MOST_DIGITS = 40


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("A DateTime is a string such as 2026-11-24T08:30:00Z.")
    try:
        read = datetime.fromisoformat(value)
        if read.tzinfo is not None:
            return read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not a DateTime such as 2026-11-24T08:30:00Z.") from None
    raise ValueError(f"{value!r} names no zone; add Z for UTC.")


def _write_decimal(value: Decimal) -> str:
    return f"{value:f}"


def _read_decimal(value: object) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool):  # exact too, unlike a float
        value = f"{Decimal(value)}"
    if not isinstance(value, str):
        raise ValueError('A Decimal is a string such as "19.90", so that no digit is lost.')
    try:
        read = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a Decimal such as 19.90.") from None
    exponent = read.as_tuple().exponent
    if not isinstance(exponent, int):  # infinite, or no number
        raise ValueError(f"{value!r} is not a Decimal such as 19.90.")
    if read.adjusted() >= MOST_DIGITS or exponent < -MOST_DIGITS:
        raise ValueError(f"A Decimal here has at most {MOST_DIGITS} digits before the point, and as many after it.")
    return read


def _write_duration(value: timedelta) -> str:
    return str(isodate.duration_isoformat(value))


def _read_duration(value: object) -> timedelta:
    try:
        read = isodate.parse_duration(value)
    except (ValueError, TypeError, OverflowError):
        read = None
    # isodate takes `PT` for nothing at all, and a line break behind the last letter.
    if read is None or not str(value).endswith(UNITS):
        raise ValueError(f"{value!r} is not a Duration such as PT15M.")
    if not isinstance(read, timedelta):
        raise ValueError("A Duration in months or years has no fixed length; use days.")
    if read < timedelta(0):
        raise ValueError("A Duration here is not negative.")
    if read > LONGEST:
        raise ValueError(f"A Duration here is at most {LONGEST.days} days.")
    return read


SCALARS: dict[Any, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime", description="ISO 8601, always UTC with Z.", serialize=_write_time, parse_value=_read_time
    ),
    Decimal: strawberry.scalar(
        name="Decimal", description="An exact number as a string.", serialize=_write_decimal, parse_value=_read_decimal
    ),
    Duration: strawberry.scalar(
        name="Duration", description="ISO 8601, such as PT15M.", serialize=_write_duration, parse_value=_read_duration
    ),
}

# What the compiled executor's encoder writes as the scalar would.
NATIVES: dict[str, Native] = {"DateTime": UTC_DATETIME}
