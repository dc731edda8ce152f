"""Which orders rules hold, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.hold import BUYERS_WISH, Conditions, Hold, HoldReason, HoldRule, described, due, kept_until
from domain.ids import OrderId, Sku
from domain.money import Money
from domain.order import Order, OrderStatus
from domain.person import Destination
from domain.product import FulfilledBy
from tests.store.warehouse import AMAZON, A, B, an_order

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def meets(conditions: Conditions, one: Order, *oversold: OrderId) -> bool:
    return conditions.meets(one, oversold)


def bought(**more: Any) -> Order:
    """Two A for 80 EUR that go to Germany, fast."""
    values: dict[str, Any] = {
        "total": Money(Decimal("80.00"), "EUR"),
        "destination": Destination("DE", "506"),
        "service": "EXPEDITED",
    }
    return an_order(1, {A: 2}, placed_at=NOW, **values | more)


UNKNOWN = replace(bought(), lines=[replace(bought().lines[0], sku=None)])


@pytest.mark.parametrize(
    ("conditions", "held", "let_through"),
    [
        (Conditions(unmapped=True), UNKNOWN, bought()),
        (Conditions(no_destination=True), bought(destination=None), bought()),
        (Conditions(no_destination=True), bought(destination=Destination("DE")), bought()),
        (
            Conditions(value_above=Decimal("79.99"), currency="EUR"),
            bought(),
            bought(total=Money(Decimal("79.99"), "EUR")),
        ),
        (Conditions(value_above=Decimal("10"), currency="USD"), bought(total=Money(Decimal("11"), "USD")), bought()),
        (Conditions(value_above=Decimal("10"), currency="EUR"), bought(), bought(total=None)),
        (Conditions(units_above=1), bought(), an_order(1, {A: 1}, placed_at=NOW)),
        (Conditions(countries=frozenset({"DE", "AT"})), bought(), bought(destination=Destination("FR", "750"))),
        (Conditions(countries=frozenset({"DE"})), bought(), bought(destination=None)),
        (Conditions(other_countries=frozenset({"FR"})), bought(), bought(destination=Destination("FR", "750"))),
        (Conditions(other_countries=frozenset({"FR"})), bought(), bought(destination=None)),
        (Conditions(units_above=0, channels=frozenset({AMAZON})), bought(), bought(channel="shop")),
        (Conditions(skus=frozenset({A})), bought(), an_order(1, {B: 1}, placed_at=NOW)),
        (Conditions(services=frozenset({"EXPEDITED"})), bought(), bought(service=None)),
    ],
)
def test_each_condition_tells_orders_apart(conditions: Conditions, held: Order, let_through: Order) -> None:
    conditions.check()
    assert (meets(conditions, held), meets(conditions, let_through)) == (True, False)
    assert Conditions.read(conditions.told()) == conditions


def test_an_oversold_order_is_told_by_its_id() -> None:
    assert meets(Conditions(oversold=True), bought(), bought().id)
    assert not meets(Conditions(oversold=True), bought(), OrderId("another"))


@given(
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 3),
    st.frozensets(st.sampled_from(["DE", "FR"])),
    st.booleans(),
)
def test_a_rule_holds_what_meets_all_of_its_conditions_and_nothing_else(
    unmapped: bool, nowhere: bool, above: int | None, countries: frozenset[str], told: bool
) -> None:
    one = replace(UNKNOWN if unmapped else bought(), destination=Destination("DE", "1") if told else None)
    whole = Conditions(unmapped=unmapped, no_destination=nowhere, units_above=above, countries=countries)
    parts = (
        Conditions(unmapped=unmapped),
        Conditions(no_destination=nowhere),
        Conditions(units_above=above),
        Conditions(countries=countries),
    )
    assert meets(whole, one) == all(meets(part, one) for part in parts)


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        (Conditions(), "name"),
        (Conditions(channels=frozenset({"shop"})), "name"),
        (Conditions(value_above=Decimal("5")), "currency"),
        (Conditions(currency="EUR"), "currency"),
        (Conditions(value_above=Decimal("NaN"), currency="EUR"), "valueAbove"),
        (Conditions(units_above=-1), "unitsAbove"),
        (Conditions(countries=frozenset({"Germany"})), "countries"),
        (Conditions(other_countries=frozenset({"de"})), "otherCountries"),
    ],
)
def test_conditions_that_mean_nothing_are_refused(conditions: Conditions, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        conditions.check()
    assert caught.value.field == (field,)


def a_rule(**more: Any) -> HoldRule:
    values: dict[str, Any] = {"name": "many", "reason": HoldReason.VALUE, "words": "Many of one."}
    return HoldRule(**values | {"conditions": Conditions(units_above=1)} | more)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": BUYERS_WISH}, "name"),
        ({"words": "x" * 201}, "words"),
        ({"keeps": timedelta(0)}, "keepsFor"),
        ({"keeps": timedelta(days=91)}, "keepsFor"),
    ],
)
def test_rules_that_mean_nothing_are_refused(changes: dict[str, Any], field: str) -> None:
    a_rule().check()
    with pytest.raises(Invalid) as caught:
        a_rule(**changes).check()
    assert caught.value.field == (field,)


def test_rules_hold_open_orders_of_ours_and_no_others() -> None:
    rule = a_rule(keeps=timedelta(hours=2))
    [hold] = due([bought()], [rule], (), NOW)
    assert (hold.order, hold.rule, hold.keeps_until, hold.made_by) == (
        bought().id,
        "many",
        NOW + timedelta(hours=2),
        "acorn",
    )
    others = [bought(status=OrderStatus.CANCELLED), bought(fulfilled_by=FulfilledBy.CHANNEL), an_order(1, {A: 1})]
    assert due(others, [rule], (), NOW) == []


def test_a_buyer_who_wants_a_cancellation_is_heard_without_any_rule() -> None:
    [hold] = due([bought(cancellation_requested=True)], [], (), NOW)
    assert (hold.reason, hold.rule) == (HoldReason.BUYER_CANCELLATION, BUYERS_WISH)


def a_hold(until: datetime | None = None, ended_at: datetime | None = None) -> Hold:
    return Hold("1", OrderId("o"), HoldReason.FRAUD, "Look.", "ann", NOW, until, False, None, None, ended_at, None)


def test_units_are_kept_as_long_as_the_longest_open_hold_keeps_them() -> None:
    early, late = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    assert kept_until([a_hold(early), a_hold(late)]) == late
    assert kept_until([a_hold(early), a_hold(None)]) is None
    assert kept_until([a_hold(early), a_hold(None, ended_at=NOW)]) == early
    assert kept_until([]) is None


def test_what_is_said_of_an_order_are_the_words_of_what_still_holds_it() -> None:
    assert described([a_hold(), a_hold(ended_at=NOW)]) == "FRAUD: Look."
    assert described([a_hold(ended_at=NOW)]) is None


def test_no_buyer_reaches_a_rule_by_any_field() -> None:
    assert Sku("A") in Conditions(skus=frozenset({"A"})).skus
    with pytest.raises(ValueError, match="nobody understands"):
        Conditions.read({"name": "Mara Lindner"})
