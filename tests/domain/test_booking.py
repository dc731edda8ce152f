"""What is asked to be booked comes to entries that add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.booking import Counts, Line, Result, counted, settle
from domain.ids import LocationCode, Sku
from domain.ledger import MOST_UNITS, EntryKind

BER = LocationCode("BER")
KINDS = st.sampled_from(
    [EntryKind.EXPECTED, EntryKind.RECEIPT, EntryKind.ADJUSTMENT, EntryKind.RETURN, EntryKind.TRANSFER, EntryKind.COUNT]
)
LINES = st.lists(st.tuples(KINDS, st.integers(-50, 50)), max_size=30)


def line(kind: EntryKind, quantity: int) -> Line:
    # As they come out of `read_rows`: arrivals and counts are never below zero.
    floor = 0 if kind in (EntryKind.RECEIPT, EntryKind.RETURN, EntryKind.COUNT) else quantity
    return Line(1, Sku("A"), BER, max(floor, quantity), kind, "x", "T")


@given(LINES)
def test_entries_sum_to_what_is_told_and_no_count_falls_below_zero(rows: list[tuple[EntryKind, int]]) -> None:
    counts, on_hand, inbound = Counts(), 0, 0
    for kind, quantity in rows:
        wanted = line(kind, quantity)
        before = (counts.on_hand, counts.inbound)
        entry, outcome = settle(wanted, counts, actor="me", source="test", key=None)
        on_hand += 0 if entry is None else entry.on_hand
        inbound += 0 if entry is None else entry.inbound
        assert (counts.on_hand, counts.inbound) == (on_hand, inbound)
        assert min(on_hand, inbound) >= 0
        assert (entry is not None) == (outcome.result is Result.CHANGED) == (before != (on_hand, inbound))
        if kind is EntryKind.COUNT:
            assert (outcome.after, on_hand) == (wanted.quantity, wanted.quantity)


def test_an_arrival_takes_off_at_most_what_was_announced() -> None:
    counts = Counts(on_hand=1, inbound=3)
    entry, outcome = settle(line(EntryKind.RECEIPT, 5), counts, actor="me", source="test", key=None)
    assert entry is not None
    assert (entry.on_hand, entry.inbound, outcome.before, outcome.after) == (5, -3, 1, 6)


def test_what_no_count_can_hold_is_refused() -> None:
    for counts in (Counts(on_hand=MOST_UNITS), Counts(on_hand=0)):
        units = 1 if counts.on_hand else -1
        entry, outcome = settle(line(EntryKind.ADJUSTMENT, units), counts, actor="me", source="test", key=None)
        assert (entry, outcome.result) == (None, Result.REJECTED)


def test_a_sku_that_never_lay_at_a_place_lies_there_with_nothing() -> None:
    assert counted(())[Sku("A"), BER] == Counts(0, 0, 0)
