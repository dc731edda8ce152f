"""What rows of a feed come to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.feed import FeedKind, Row, emptied_too_much, read_rows
from domain.ids import LocationCode
from domain.ledger import MOST_UNITS

BER = LocationCode("BER")


@given(
    st.dictionaries(st.text(max_size=12), st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans()))
)
def test_any_row_is_either_understood_or_told(fields: dict[str, object]) -> None:
    rows = [Row(1, fields), Row(2, {"sku": "A", "location": "BER", **fields})]
    for kind in FeedKind:
        lines, rejected = read_rows(rows, kind, {BER}, default_reason="x")
        assert sorted([one.number for one in lines] + [one.number for one in rejected]) == [1, 2]
        assert all(one.reason for one in rejected)


def test_more_units_than_the_ledger_books_are_told_and_do_no_harm_to_other_rows() -> None:
    rows = [
        Row(number, {"sku": "A", "location": "BER", "quantity": units})
        for number, units in ((1, MOST_UNITS + 1), (2, 5))
    ]
    lines, rejected = read_rows(rows, FeedKind.COUNT, {BER}, default_reason="x")
    assert [[one.number for one in lines], [one.number for one in rejected]] == [[2], [1]]


def test_a_part_is_not_taken_for_the_whole() -> None:
    assert not emptied_too_much(0, 0)
    assert not emptied_too_much(4, 2)
    assert emptied_too_much(4, 1)
    assert emptied_too_much(3, 1)
