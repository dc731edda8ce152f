"""What scalars read, and refuse in words before anything is reckoned with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from graphql import GraphQLScalarType

from domain.rule import ChannelShare
from schema.root import schema
from store.rule import settings_row


def reader(name: str) -> Callable[[Any], Any]:
    scalar = schema._schema.type_map[name]
    assert isinstance(scalar, GraphQLScalarType)
    return scalar.parse_value


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("PT15M", timedelta(minutes=15)),
        ("PT0S", timedelta(0)),
        ("P0.5D", timedelta(hours=12)),
        ("P400D", timedelta(days=400)),
    ],
)
def test_a_duration_is_read(text: str, read: timedelta) -> None:
    assert reader("Duration")(text) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("P400DT1S", "at most 400 days"),
        ("P9999999D", "at most 400 days"),
        ("P1234567890D", "is not a Duration"),
        ("PT" + "9" * 400 + "S", "is not a Duration"),
        ("-PT1S", "not negative"),
        ("P1Y", "no fixed length"),
        ("P", "is not a Duration"),
        ("PT", "is not a Duration"),
        ("-PT", "is not a Duration"),
        ("P1DT", "is not a Duration"),
        ("PT5M\n", "is not a Duration"),
        ("soon", "is not a Duration"),
        (5, "is not a Duration"),
    ],
)
def test_a_duration_that_is_none_or_leads_beyond_the_calendar_is_refused(text: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        reader("Duration")(text)


def test_the_longest_duration_leads_from_now_to_an_instant() -> None:
    longest = reader("Duration")("P400D")
    now = datetime.now(UTC)
    assert now - longest < now < now + longest


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", 5])
def test_an_instant_that_there_is_not_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="DateTime"):
        reader("DateTime")(text)


@pytest.mark.parametrize("text", ["19.90", "-0.0000", "1E+5", "9" * 40, "0." + "1" * 40])
def test_a_decimal_is_read_exactly_and_written_in_few_letters(text: str) -> None:
    read = reader("Decimal")(text)
    assert read == Decimal(text)
    assert len(f"{read:f}") <= 42
    assert len(settings_row(ChannelShare(read, hard=False))["percent"]) <= 42


def test_a_whole_number_is_a_decimal_and_one_that_may_have_lost_digits_is_none() -> None:
    assert [reader("Decimal")(number) for number in (50, 0, -3)] == [Decimal(50), Decimal(0), Decimal(-3)]
    for other in (50.0, True, 10**41, None):
        with pytest.raises(ValueError, match="Decimal"):
            reader("Decimal")(other)


@pytest.mark.parametrize(
    "text",
    [
        "1E-20000000",
        "1E+20000000",
        "0E+20000000",
        "0E-20000000",
        "1E999999999999999999999",
        "9" * 41,
        "NaN",
        "-Infinity",
    ],
)
def test_a_decimal_that_would_be_written_at_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Decimal"):
        reader("Decimal")(text)
