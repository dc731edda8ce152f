"""What is urgent goes first: as many deadlines are kept as any order of sending could keep."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.urgency import Lag, Nowhere, Urgent
from tests.store.warehouse import an_order

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
Waiting = tuple[int, int]  # the slot in which it is there, the last slot that is in time


def sent_in_time(waiting: list[Waiting], slots: int) -> set[int]:
    """One a slot, chosen as `store.agenda.claim` chooses: of those still in time the nearest deadline, then the oldest."""
    left, kept = list(enumerate(waiting)), set[int]()
    for now in range(slots):
        there = [(number, one) for number, one in left if one[0] <= now]
        if not there:
            continue
        chosen = min(there, key=lambda item: (item[1][1] < now, item[1][1] if item[1][1] >= now else 0, item[0]))
        left.remove(chosen)
        if chosen[1][1] >= now:
            kept.add(chosen[0])
    return kept


def most_that_any_order_keeps(waiting: list[Waiting], slots: int) -> int:
    """The size of a largest matching of items to slots within their times: what the plan allows at all."""
    holder: dict[int, int] = {}

    def seat(number: int, tried: set[int]) -> bool:
        there, last = waiting[number]
        for slot in range(there, min(last + 1, slots)):
            if slot not in tried:
                tried.add(slot)
                if slot not in holder or seat(holder[slot], tried):
                    holder[slot] = number
                    return True
        return False

    return sum(seat(number, set()) for number in range(len(waiting)))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 14)), max_size=16), st.integers(0, 16))
def test_no_order_of_sending_keeps_more_deadlines(waiting: list[Waiting], slots: int) -> None:
    assert len(sent_in_time(waiting, slots)) == most_that_any_order_keeps(waiting, slots)


def test_a_night_of_a_throttled_channel_misses_only_what_nobody_could_have_sent() -> None:
    # 500 wait while there are slots for 120; each 25th is due within them, and three of these in the very first slot.
    slots = 120
    waiting = [(0, (7 * number) % slots if number % 25 == 0 else slots + number) for number in range(497)]
    waiting += [(0, 0)] * 3
    urgent = {number for number, (_, last) in enumerate(waiting) if last < slots}
    kept = sent_in_time(waiting, slots)
    possible = most_that_any_order_keeps([waiting[number] for number in sorted(urgent)], slots)
    assert (len(urgent), possible) == (23, 20)
    assert (len(kept & urgent), len(kept)) == (possible, slots)


def test_minutes_left_are_rounded_down_and_go_below_zero() -> None:
    one, lag = an_order(1), Lag(0.0, 0)
    assert Urgent(one, lag, NOW + timedelta(seconds=119), 0).minutes_left(NOW) == 1
    assert Urgent(one, lag, NOW - timedelta(seconds=1), 0).minutes_left(NOW) == -1
    assert Urgent(one, lag, None, 0).minutes_left(NOW) is None


def test_what_stands_in_the_way_is_told_in_sentences() -> None:
    one = an_order(1)
    assert Urgent(one, Lag(0.0, 0), None, 0).obstacles() == []
    one.held, one.let_go = "FRAUD: Look.", True
    assert Urgent(one, Lag(0.0, 0), None, 2).obstacles() == [
        "We hold it. FRAUD: Look.",
        "It has given its units back.",
        "2 units were sold beyond what there was.",
    ]
    told = "3 units lie at no place of ours: they have to come"
    assert Urgent(an_order(2), Lag(0.0, 0), None, 0).obstacles(Nowhere(3, True)) == [f"{told}."]
    of_a_shop = Urgent(replace(an_order(2), marketplace=None), Lag(0.0, 0), None, 0)
    assert of_a_shop.obstacles(Nowhere(3, True)) == [f"{told}, or FBA sends them (shipFromFba)."]
    assert of_a_shop.obstacles(Nowhere(3, False)) == [f"{told}."]
    told = "1 unit lies at no place of ours: it has to come"
    assert of_a_shop.obstacles(Nowhere(1, True)) == [f"{told}, or FBA sends it (shipFromFba)."]
    sketch = replace(an_order(1), whole=False)
    assert "Only a report has told of it" in Urgent(sketch, Lag(0.0, 0), None, 0).obstacles()[0]
