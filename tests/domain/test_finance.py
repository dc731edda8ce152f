"""What a channel owes us."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.finance import Breakdown, Transaction, counted_once, imbalance
from domain.money import Money

AT = datetime(2026, 11, 2, 8, tzinfo=UTC)


def usd(amount: object) -> Money:
    return Money(Decimal(str(amount)), "USD")


def transaction(id: str | None, status: str, amount: object = 10, **related: str) -> Transaction:
    return Transaction(id, status, "Shipment", AT, usd(amount), related=tuple(related.items()))


CENTS = st.decimals(min_value=-9999, max_value=9999, places=2)
TREES = st.recursive(
    CENTS.map(lambda amount: Breakdown("leaf", usd(amount))),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(
        lambda parts: Breakdown("branch", usd(sum(part.amount.amount for part in parts)), tuple(parts))
    ),
    max_leaves=12,
)


@given(TREES, CENTS.filter(bool))
def test_a_tree_adds_up_until_one_amount_in_it_is_another(tree: Breakdown, off: Decimal) -> None:
    assert imbalance(tree.amount, [tree]) is None
    assert sum(leaf.amount.amount for leaf in tree.leaves()) == tree.amount.amount
    wrong = Breakdown("branch", usd(tree.amount.amount + off), (tree,))
    told = imbalance(wrong.amount, [wrong])
    assert told is not None
    assert told.startswith("branch is ")


@pytest.mark.parametrize(("part", "fits"), [("10.004", True), ("9.996", True), ("10.005", False), ("9.99", False)])
def test_amounts_are_the_same_to_the_cent(part: str, fits: bool) -> None:
    assert (imbalance(usd(10), [Breakdown("x", usd(part))]) is None) is fits


def test_what_has_no_tree_or_no_total_has_nothing_to_add_up() -> None:
    assert imbalance(usd(10), []) is None
    assert imbalance(None, [Breakdown("x", usd(3))]) is None


def test_two_currencies_are_no_sum() -> None:
    told = imbalance(usd(10), [Breakdown("x", Money(Decimal(10), "EUR"))])
    assert told == "the total is in USD, its part x in EUR"


@given(st.permutations(range(4)), st.lists(st.integers(min_value=0, max_value=3), max_size=4))
def test_a_movement_counts_once_in_whatever_order_and_however_often_it_is_told(
    order: list[int], more: list[int]
) -> None:
    told = [
        transaction("A", "DEFERRED"),
        transaction("A", "DEFERRED_RELEASED", RELEASE_TRANSACTION_ID="R"),
        transaction("R", "RELEASED", DEFERRED_TRANSACTION_ID="A"),
        transaction("B", "RELEASED", 7),
    ]
    assert {one.key for one in counted_once(told[place] for place in [*order, *more])} == {"R:RELEASED", "B:RELEASED"}


def test_what_is_held_back_counts_until_its_release_is_there() -> None:
    held = transaction("A", "DEFERRED")
    freed = transaction("A", "DEFERRED_RELEASED", RELEASE_TRANSACTION_ID="R")
    release = transaction("R", "RELEASED")
    assert counted_once([held]) == [held]
    assert counted_once([held, freed]) == [freed]
    assert counted_once([held, freed, release]) == [release]
    assert counted_once([held, freed, replace(release, id="A")]) == [replace(release, id="A")]
    assert counted_once([held, replace(release, related=(("DEFERRED_TRANSACTION_ID", "A"),))])[0].id == "R"


def test_a_transaction_without_an_id_has_a_key_of_what_it_says() -> None:
    one, other = transaction(None, "RELEASED"), transaction(None, "RELEASED", 11)
    assert one.key == transaction(None, "RELEASED").key != other.key
    assert transaction("A", "RELEASED").key == "A:RELEASED"
