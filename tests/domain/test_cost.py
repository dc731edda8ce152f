"""Layers of cost: the newest one that has begun holds, by its last revision."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.cost import CostLayer, in_force
from domain.ids import Sku
from domain.money import Money

DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def layer(days: int, revision: int = 1, *, withdrawn: bool = False, told: int = 0, amount: int = 10) -> CostLayer:
    at = NOON + timedelta(days=told)
    cost = Money(Decimal(amount), "EUR")
    return CostLayer(Sku("A"), DAY + timedelta(days=days), revision, cost, None, withdrawn, "", "ann", at)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12), st.integers(-1, 6))
def test_it_is_the_newest_begun_layer_that_still_stands(said: list[tuple[int, bool]], on: int) -> None:
    revisions: dict[int, int] = {}
    layers, standing = [], {}
    for days, withdrawn in said:
        revisions[days] = revisions.get(days, 0) + 1
        layers.append(layer(days, revisions[days], withdrawn=withdrawn))
        standing[days] = layers[-1]
    wanted = [one for days, one in standing.items() if not one.withdrawn and days <= on]
    newest = max(wanted, key=lambda one: one.valid_from, default=None)
    assert in_force(reversed(layers), DAY + timedelta(days=on)) == newest


def test_what_was_told_later_was_not_known_before() -> None:
    first, mended = layer(0, 1, told=0, amount=10), layer(0, 2, told=40, amount=12)
    assert in_force([first, mended], DAY) == mended
    assert in_force([first, mended], DAY, NOON + timedelta(days=39)) == first
    assert in_force([first, mended], DAY, NOON - timedelta(days=1)) is None
