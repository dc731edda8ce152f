"""From where orders are sent: what always holds, and the reasons that are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.ids import ChannelId, LocationCode, Sku
from domain.money import Money
from domain.person import Destination
from domain.sourcing import MOST_EXACT, Asked, Decision, Supply, decide, kilometers, leaves_on, placed, shares
from domain.sourcing_rules import (
    Backorder,
    Exclusion,
    Goal,
    Pace,
    Rate,
    Restriction,
    SourcingRules,
    Zone,
    check,
    from_json,
    to_json,
)

SHOP = ChannelId("shop")
A, B, C = Sku("A"), Sku("B"), Sku("C")
BER, RNO, HAM = LocationCode("BER"), LocationCode("RNO"), LocationCode("HAM")
CODES = [LocationCode(f"P{number}") for number in range(9)]
TODAY = date(2026, 11, 27)
NEAR, FAR = Zone("near", "DE", ("10",), 52.5, 13.4), Zone("far", "DE")


def supply(place: LocationCode, inbound: dict[Sku, int] | None = None, days: int = 0, **free: int) -> Supply:
    units = {Sku(sku): count for sku, count in free.items()}
    return Supply(place, units, TODAY + timedelta(days=days), UTC, inbound or {})


def asked(**more: Any) -> Asked:
    wants = {Sku(name): more.pop(name) for name in list(more) if name.isupper()}
    return Asked(SHOP, wants, **{"destination": Destination("DE", "109"), **more})


def reasons(decision: Decision) -> dict[str, str | None]:
    return {one.place: one.reason for one in decision.candidates}


# ── what always holds ──

UNITS = st.integers(0, 6)
some_worlds = settings(max_examples=25)


@st.composite
def worlds(draw: st.DrawFn, most: int = 5) -> tuple[SourcingRules, Asked, list[Supply]]:
    """Any rules over any places and any order."""
    codes = CODES[: draw(st.integers(1, most))]
    wants = draw(st.dictionaries(st.sampled_from([A, B, C]), st.integers(1, 8), min_size=1))
    supplies = [
        Supply(
            code,
            draw(st.dictionaries(st.sampled_from([A, B, C]), UNITS)),
            TODAY + timedelta(days=draw(st.integers(0, 2))),
            UTC,
            draw(st.dictionaries(st.sampled_from([A, B, C]), UNITS)),
        )
        for code in codes
    ]
    some = st.lists(st.sampled_from(codes), min_size=1, max_size=2, unique=True).map(tuple)
    price = st.decimals(0, 9, places=2)
    rules = SourcingRules(
        goals=tuple(draw(st.lists(st.sampled_from(list(Goal)), min_size=1, unique=True))),
        groups=(draw(some),),
        most_parcels=draw(st.none() | st.integers(1, 3)),
        currency="EUR",
        zones=(NEAR, FAR),
        rates=tuple(
            Rate(code, zone.name, draw(price), draw(price), draw(st.none() | st.integers(0, 4)))
            for code in codes
            for zone in (NEAR, FAR)
            if draw(st.booleans())
        ),
        exclusions=tuple(draw(st.lists(st.builds(Exclusion, st.just("x"), some, st.sampled_from([A, B])), max_size=1))),
        restrictions=tuple(draw(st.lists(st.builds(Restriction, st.just("hazmat"), st.just("hot"), some), max_size=1))),
        backorders=(Backorder("soon", tag="soon"),),
    )
    tags = {sku: draw(st.frozensets(st.sampled_from(["hot", "soon"]))) for sku in wants}
    areas = st.sampled_from([None, Destination("DE", "109"), Destination("DE", "80"), Destination("FR", "750")])
    deliver_by = draw(st.none() | st.integers(0, 4).map(lambda days: datetime(2026, 11, 27 + days % 4, tzinfo=UTC)))
    return rules, Asked(SHOP, wants, tags, draw(areas), deliver_by=deliver_by), supplies


@some_worlds
@given(worlds())
def test_every_unit_is_promised_once_or_named_as_unplaced(world: tuple[SourcingRules, Asked, list[Supply]]) -> None:
    rules, order, supplies = world
    made = decide(rules, order, supplies)
    sent: Counter[Sku] = Counter()
    for (_, sku), units in made.units.items():
        assert units > 0
        sent[sku] += units
    for sku, wanted in order.wants.items():
        assert sent[sku] == (0 if sku in made.unplaced else wanted)


@some_worlds
@given(worlds())
def test_a_place_promises_more_than_it_has_only_as_short_and_only_what_no_place_of_the_plan_has(
    world: tuple[SourcingRules, Asked, list[Supply]],
) -> None:
    rules, order, supplies = world
    made = decide(rules, order, supplies)
    free = {(one.place, sku): count for one in supplies for sku, count in one.free.items()}
    inbound = {(one.place, sku): count for one in supplies for sku, count in one.inbound.items()}
    for key, units in made.units.items():
        short = made.short.get(key, 0)
        assert units - short <= free.get(key, 0)
        assert made.backordered.get(key, 0) <= min(short, inbound.get(key, 0))
    assert set(made.backordered) <= set(made.short) <= set(made.units)
    assert all("soon" in order.tags[sku] for _, sku in made.backordered)


@some_worlds
@given(worlds(most=9))
def test_the_same_question_has_the_same_answer(world: tuple[SourcingRules, Asked, list[Supply]]) -> None:
    rules, order, supplies = world
    assert decide(rules, order, supplies) == decide(from_json(to_json(rules)), order, list(supplies))


@some_worlds
@given(worlds(most=9))
def test_exclusions_and_restrictions_hold(world: tuple[SourcingRules, Asked, list[Supply]]) -> None:
    rules, order, supplies = world
    for place, sku in decide(rules, order, supplies).units:
        assert not any(place in one.places and one.sku == sku for one in rules.exclusions)
        assert all(place in one.places for one in rules.restrictions if one.tag in order.tags[sku])


@some_worlds
@given(worlds())
def test_an_order_is_split_no_further_than_allowed_but_for_what_no_place_may_send_together(
    world: tuple[SourcingRules, Asked, list[Supply]],
) -> None:
    rules, order, supplies = world
    most = rules.most_parcels
    made = decide(replace(rules, exclusions=(), restrictions=()), order, supplies)
    alike = all(set(one.free) >= set(order.wants) for one in supplies)
    assert most is None or not alike or len(made.places) <= most


@some_worlds
@given(worlds(), st.data())
def test_adding_a_worse_place_changes_nothing(
    world: tuple[SourcingRules, Asked, list[Supply]], data: st.DataObject
) -> None:
    rules, order, supplies = world
    rules = replace(rules, most_parcels=None, groups=(tuple(one.place for one in supplies),))
    before = decide(rules, order, supplies)
    if before.short or before.unplaced or rules.exclusions or rules.restrictions:
        return
    worst = {sku: min((one.free.get(sku, 0) for one in supplies), default=0) for sku in order.wants}
    free = {sku: data.draw(st.integers(0, units)) for sku, units in worst.items()}
    # Later, without a rate, and in no group: it is behind at every goal.
    last = Supply(CODES[8], free, max(one.leaves_on for one in supplies) + timedelta(days=1), UTC)
    after = decide(rules, order, [*supplies, last])
    assert (after.units, after.short) == (before.units, before.short)


@some_worlds
@given(worlds())
def test_no_other_way_is_better_than_the_one_chosen(world: tuple[SourcingRules, Asked, list[Supply]]) -> None:
    rules, order, supplies = world
    made = decide(rules, order, supplies)
    if made.short or made.unplaced or rules.exclusions or rules.restrictions:
        return
    best = placed(rules, order, supplies, made.units)
    chosen = [_known(best[goal]) for goal in rules.goals]
    for units in _every_way(order, supplies, rules.most_parcels or len(supplies)):
        other = placed(rules, order, supplies, units)
        assert chosen <= [_known(other[goal]) for goal in rules.goals]


def _known(score: Any) -> tuple[bool, Any]:
    return score is None, score or 0


def _every_way(order: Asked, supplies: Sequence[Supply], most: int) -> Any:
    """Every way at all to send one SKU of an order that wants one; the search is told more of them than it looks at."""
    if len(order.wants) != 1 or len(supplies) > 3:
        return
    ((sku, wanted),) = order.wants.items()
    able = [one for one in supplies if sku in one.free]

    def spread(places: Sequence[Supply], rest: int) -> Any:
        if not places:
            if rest == 0:
                yield {}
            return
        first, *others = places
        for units in range(min(first.free[sku], rest) + 1):
            for more in spread(others, rest - units):
                yield more if not units else {(first.place, sku): units, **more}

    yield from (way for way in spread(able, wanted) if len(way) <= most)


@given(
    st.integers(-100_000, 100_000),
    st.lists(st.integers(0, 50), min_size=1, max_size=8),
    st.sampled_from([("JPY", 0), ("EUR", 2), ("KWD", 3)]),
)
def test_money_is_split_to_the_minor_unit_and_none_is_lost(
    units: int, weights: list[int], currency: tuple[str, int]
) -> None:
    code, digits = currency
    total = Money(Decimal(units).scaleb(-digits), code)
    parts = shares(total, weights)
    assert sum((one.amount for one in parts), Decimal(0)) == total.amount
    weights = weights if sum(weights) else [1] * len(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert part.amount == part.amount.quantize(Decimal(1).scaleb(-digits))
        assert abs(part.amount - total.amount * weight / sum(weights)) < Decimal(1).scaleb(-digits)


def test_a_total_finer_than_its_currency_is_split_as_finely() -> None:
    assert [one.amount for one in shares(Money(Decimal("0.005"), "EUR"), [1, 1])] == [
        Decimal("0.003"),
        Decimal("0.002"),
    ]
    assert [one.amount for one in shares(Money(Decimal("12"), "EUR"), [1, 1, 1])] == [Decimal("4.00")] * 3


# ── the reasons ──


def test_the_first_goal_at_which_two_ways_differ_decides_and_is_told() -> None:
    rates = (Rate(BER, "near", Decimal("6.90")), Rate(HAM, "near", Decimal("4.90")))
    rules = SourcingRules(goals=(Goal.PARCELS, Goal.COST), currency="EUR", zones=(NEAR,), rates=rates)
    made = decide(rules, asked(A=2), [supply(BER, A=5), supply(RNO, A=5), supply(HAM, A=5)])
    assert made.units == {(HAM, A): 2}
    assert reasons(made) == {"BER": "6.90 EUR, not 4.90", "RNO": "no rate is known", "HAM": None}
    assert [(one.places, one.scores[Goal.COST]) for one in made.options[:2]] == [
        ((HAM,), Decimal("4.90")),
        ((BER,), Decimal("6.90")),
    ]
    assert decide(replace(rules, goals=(Goal.PARCELS,)), asked(A=2), [supply(BER, A=5), supply(HAM, A=5)]).units == {
        (BER, A): 2
    }


def test_two_parcels_may_be_cheaper_than_one_and_the_set_says_what_counts() -> None:
    rates = (Rate(BER, "near", Decimal(1)), Rate(RNO, "near", Decimal(9)), Rate(HAM, "near", Decimal(1)))
    rules = SourcingRules(goals=(Goal.COST, Goal.PARCELS), currency="EUR", zones=(NEAR,), rates=rates)
    places = [supply(BER, A=1, B=0), supply(RNO, A=1, B=1), supply(HAM, A=0, B=1)]
    assert decide(rules, asked(A=1, B=1), places).units == {(BER, A): 1, (HAM, B): 1}
    fewest = replace(rules, goals=(Goal.PARCELS, Goal.COST))
    made = decide(fewest, asked(A=1, B=1), places)
    assert (made.units, reasons(made)["BER"]) == ({(RNO, A): 1, (RNO, B): 1}, "2 parcels, not 1")


def test_an_order_that_must_not_be_split_waits_at_one_place() -> None:
    rules = SourcingRules(goals=(Goal.PARCELS,), most_parcels=1)
    made = decide(rules, asked(A=5), [supply(BER, A=2), supply(HAM, A=3)])
    assert (made.units, made.short) == ({(HAM, A): 5}, {(HAM, A): 2})
    split = decide(replace(rules, most_parcels=None), asked(A=5), [supply(BER, A=2), supply(HAM, A=3)])
    assert (split.units, split.short) == ({(BER, A): 2, (HAM, A): 3}, {})


def test_hazardous_goods_leave_from_their_places_alone_though_the_order_is_split_for_it() -> None:
    rules = SourcingRules(
        most_parcels=1, restrictions=(Restriction("lithium", "hazmat", (HAM,), services=("Ground",)),)
    )
    tags = {A: frozenset({"hazmat"})}
    places = [supply(BER, A=5, B=5), supply(HAM, A=5)]
    made = decide(rules, asked(A=1, B=1, tags=tags, service="Ground"), places)
    assert made.units == {(HAM, A): 1, (BER, B): 1}
    assert reasons(made)["BER"] == "'lithium' allows A from HAM alone"
    by_air = decide(rules, asked(A=1, B=1, tags=tags, service="NextDay"), places)
    assert by_air.units == {(BER, B): 1}
    assert by_air.unplaced == {A: "BER: 'lithium' allows A from HAM alone; HAM: 'lithium' allows A with Ground alone"}


def test_units_that_are_announced_are_backordered_where_they_will_come_and_only_where_a_rule_lets_them() -> None:
    rules = SourcingRules(backorders=(Backorder("spring", sku=A, expected_on=date(2027, 3, 1)),))
    places = [supply(BER, A=1), supply(HAM, inbound={A: 3}, A=0)]
    made = decide(rules, asked(A=3), places)
    assert made.units == {(BER, A): 1, (HAM, A): 2}
    assert (made.short, made.backordered) == ({(HAM, A): 2}, {(HAM, A): 2})
    assert made.expected_on == {A: date(2027, 3, 1)}
    beyond = decide(rules, asked(A=6), places)
    assert (sum(beyond.short.values()), beyond.backordered) == (5, {(HAM, A): 3})
    assert decide(replace(rules, backorders=()), asked(A=3), places).backordered == {}


def test_the_promise_decides_between_a_near_place_that_is_busy_and_a_far_one_that_is_not() -> None:
    rates = (Rate(BER, "near", Decimal(1), days=1), Rate(HAM, "near", Decimal(5), days=2))
    rules = SourcingRules(goals=(Goal.LATENESS, Goal.COST), currency="EUR", zones=(NEAR,), rates=rates)
    by = datetime(2026, 11, 29, 22, tzinfo=UTC)
    busy = [supply(BER, days=3, A=1), supply(HAM, A=1)]
    made = decide(rules, asked(A=1, deliver_by=by), busy)
    assert (made.places, reasons(made)["BER"]) == ((HAM,), "2 days late, not 0")
    assert decide(rules, asked(A=1, deliver_by=by + timedelta(days=3)), busy).places == (BER,)
    # Who knows nothing of an arrival does not pass for punctual.
    unknown = decide(rules, asked(A=1, deliver_by=by), [supply(RNO, A=1), supply(BER, days=3, A=1)])
    assert reasons(unknown)["RNO"] == "nobody knows when it arrives"


def test_the_nearer_place_wins_where_the_middle_of_the_zone_is_known() -> None:
    rules = SourcingRules(goals=(Goal.DISTANCE,), zones=(NEAR, FAR))
    berlin = replace(supply(BER, A=1), latitude=52.52, longitude=13.405)
    reno = replace(supply(RNO, A=1), latitude=39.53, longitude=-119.81)
    made = decide(rules, asked(A=1), [reno, berlin])
    assert (made.places, reasons(made)["RNO"]) == ((BER,), "8832 km, not 2")
    assert decide(rules, asked(A=1, destination=Destination("DE", "80")), [reno, berlin]).places == (RNO,)
    assert kilometers((0, 0), (0, 180)) == 20015  # half around


def test_of_more_places_than_are_looked_at_together_they_are_added_one_by_one() -> None:
    many = [supply(code, A=number + 1) for number, code in enumerate(CODES)]
    assert len(many) > MOST_EXACT
    made = decide(SourcingRules(goals=(Goal.PARCELS,)), asked(A=17), many)
    assert (made.exact, made.units) == (False, {(CODES[7], A): 8, (CODES[8], A): 9})


def test_the_longest_area_that_fits_is_the_zone() -> None:
    rules = SourcingRules(zones=(NEAR, FAR, Zone("france", "FR", ("75",))))
    there = [Destination("DE", "109"), Destination("DE", "80"), Destination("FR", "750"), Destination("FR", "13"), None]
    assert [getattr(rules.zone_of(one), "name", None) for one in there] == ["near", "far", "france", None, None]


def test_a_place_sends_the_next_working_day_what_comes_late_or_beyond_its_day() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    friday = datetime(2026, 11, 27, 12, 59, tzinfo=UTC)  # 13:59 there
    pace = Pace(BER, time(14), orders_per_day=2, units_per_day=10, closed_on=(6, 7))
    assert leaves_on(None, berlin, datetime(2026, 11, 27, 23, 30, tzinfo=UTC), {}, 1) == date(2026, 11, 28)
    assert leaves_on(pace, berlin, friday, {}, 1) == date(2026, 11, 27)
    assert leaves_on(pace, berlin, friday + timedelta(minutes=1), {}, 1) == date(2026, 11, 30)
    full = {date(2026, 11, 27): (2, 2), date(2026, 11, 30): (1, 9)}
    assert leaves_on(pace, berlin, friday, full, 1) == date(2026, 11, 30)
    assert leaves_on(pace, berlin, friday, full, 2) == date(2026, 12, 1)
    assert leaves_on(pace, berlin, friday, full, 99) == date(2026, 12, 1)  # on a day of its own


# ── the set ──

GOOD = SourcingRules(
    currency="EUR",
    groups=((BER, HAM), (RNO,)),
    zones=(NEAR, FAR),
    rates=(Rate(BER, "near", Decimal("4.90"), Decimal("0.10"), 1),),
    exclusions=(Exclusion("no batteries from here", (RNO,), tag="battery", country="DE"),),
    restrictions=(Restriction("lithium", "hazmat", (HAM,)),),
    paces=(Pace(BER, time(14, 30), 100, 500, (6, 7)),),
    backorders=(Backorder("spring", tag="spring", expected_on=date(2027, 3, 1)),),
)


def test_a_set_is_the_same_after_it_was_kept() -> None:
    check(GOOD, [BER, HAM, RNO], [SHOP])
    assert from_json(to_json(GOOD)) == GOOD


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"goals": ()}, "goals"),
        ({"most_parcels": 0}, "most_parcels"),
        ({"currency": None}, "currency"),
        ({"currency": "eur"}, "currency"),
        ({"groups": ((BER,), (BER,))}, "groups"),
        ({"groups": ((LocationCode("MUC"),),)}, "groups.0"),
        ({"zones": (NEAR, replace(FAR, name="near"))}, "zones.1.name"),
        ({"zones": (NEAR, replace(NEAR, name="too"))}, "zones.1.areas"),
        ({"zones": (NEAR, Zone("x", "DE", ("1096",)))}, "zones.1.areas"),
        ({"zones": (NEAR, Zone("x", "Germany"))}, "zones.1.country"),
        ({"zones": (NEAR, Zone("x", "FR", latitude=1.0))}, "zones.1.latitude"),
        ({"zones": (NEAR, Zone("x", "FR", latitude=91.0, longitude=0.0))}, "zones.1.latitude"),
        ({"rates": (Rate(BER, "mars", Decimal(1)),)}, "rates.0.zone"),
        ({"rates": (Rate(BER, "near", Decimal(-1)),)}, "rates.0.parcel"),
        ({"rates": (Rate(BER, "near", Decimal(1)), Rate(BER, "near", Decimal(2)))}, "rates.1"),
        ({"rates": (Rate(BER, "near", Decimal(1), days=-1),)}, "rates.0.days"),
        ({"exclusions": (Exclusion("", (BER,)),)}, "exclusions.0.name"),
        ({"exclusions": (Exclusion("x", ()),)}, "exclusions.0.places"),
        ({"exclusions": (Exclusion("x", (BER,), channel=ChannelId("ebay")),)}, "exclusions.0.channel"),
        ({"restrictions": (Restriction("x", "hazmat", ()),)}, "restrictions.0.places"),
        ({"paces": (Pace(BER, closed_on=(0,)),)}, "paces.0.closed_on"),
        ({"paces": (Pace(BER, closed_on=(1, 2, 3, 4, 5, 6, 7)),)}, "paces.0.closed_on"),
        ({"paces": (Pace(BER, orders_per_day=0),)}, "paces.0.orders_per_day"),
        ({"backorders": (Backorder("x"),)}, "backorders.0.sku"),
    ],
)
def test_what_means_nothing_is_refused_and_its_place_is_named(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        check(replace(GOOD, **wrong), [BER, HAM, RNO], [SHOP])
    assert ".".join(caught.value.field or ()) == field
