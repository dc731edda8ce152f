"""Where units are promised, and which lag let a sale in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from domain.allocation import Lapse, Told, choose, lapse_of
from domain.ids import LocationCode

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
FREE = st.dictionaries(st.sampled_from([LocationCode(code) for code in "abcde"]), st.integers(-2, 9))


@given(st.integers(-1, 30), FREE)
def test_as_much_as_there_is_from_as_few_places_as_can_be(quantity: int, free: dict[LocationCode, int]) -> None:
    chosen = choose(quantity, free)
    there = {place: units for place, units in free.items() if units > 0}
    assert sum(chosen.values()) == max(0, min(quantity, sum(there.values())))
    assert all(0 < units <= there[place] for place, units in chosen.items())
    fewer = combinations(there, max(0, len(chosen) - 1))
    assert all(sum(there[place] for place in places) < sum(chosen.values()) for places in fewer) or not chosen
    assert choose(quantity, dict(free)) == chosen


def test_the_first_place_that_has_it_all_is_preferred() -> None:
    a, b, c = (LocationCode(code) for code in "abc")
    assert choose(3, {a: 2, b: 3, c: 9}) == {b: 3}
    assert choose(12, {a: 2, b: 3, c: 9}) == {c: 9, b: 3}


def test_a_channel_that_shows_several_numbers_shows_their_sum() -> None:
    def told(number: str, quantity: int, ago: float, confirmed: float | None) -> Told:
        at = None if confirmed is None else NOON - timedelta(seconds=confirmed)
        return Told(number, quantity, NOON - timedelta(seconds=ago), at)

    history = [told("a", 3, 90, 80), told("b", 4, 90, 80), told("a", 1, 10, None), told("a", 0, -5, -6)]
    assert lapse_of(NOON, NOON, history) == Lapse(
        7, NOON - timedelta(seconds=10), "placed 10.0 s after the number was lowered, before it was confirmed"
    )
    assert lapse_of(NOON, NOON + timedelta(hours=1), history[:2]) == Lapse(7, None, "seen 3600 s after it was placed")
    assert lapse_of(NOON, NOON, history[3:]) == Lapse(None, None, "never told")
