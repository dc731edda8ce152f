"""What may be sold where: every number has the terms that sum to it, and no two channels sell the last unit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from math import factorial
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from hypothesis.stateful import rule as step

from domain.channel import LEDGER, Location, LocationKind
from domain.errors import Invalid
from domain.freshness import Freshness
from domain.ids import ChannelId, LocationCode, RuleId, Sku
from domain.policy import (
    Destination,
    Exposure,
    Facts,
    Hold,
    Number,
    Place,
    Shown,
    available,
    exposure,
    offer,
    offers,
    poisson_quantile,
    safety_stock,
    spread,
)
from domain.rule import (
    ChannelShare,
    FbaShare,
    LastUnits,
    MaximumShown,
    PreOrder,
    Rule,
    RuleKind,
    SafetyStock,
    Settings,
    VelocityBuffer,
    check_settings,
    holds_at,
    kind_of,
)
from domain.stock import Term

T = TypeVar("T")

# 10,000 SKU states with HYPOTHESIS_PROFILE=long, 200 otherwise; for what is no sum, a fifth of that.
STATES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 200
random_states = settings(max_examples=STATES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
fewer_states = settings(random_states, max_examples=STATES // 5)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
AMAZON, EBAY, SHOP = ChannelId("amazon-eu"), ChannelId("ebay"), ChannelId("shop")
CHANNELS = [AMAZON, EBAY, SHOP]

BERLIN = Location(LocationCode("BER"), "Berlin", LocationKind.WAREHOUSE, LEDGER, "", shown={SHOP: "gid/1"})
RENO = Location(LocationCode("RNO"), "Reno", LocationKind.WAREHOUSE, LEDGER, "", sells_to=frozenset({SHOP, EBAY}))
STORE = Location(LocationCode("STO"), "Store", LocationKind.STORE, SHOP, "gid/9")
FBA = Location(LocationCode("fba-eu"), "FBA Europe", LocationKind.FBA, AMAZON, "DE", marketplaces=("DE", "FR"))


def place(
    at: Location = BERLIN, on_hand: int = 10, reserved: int = 0, *, minutes_old: int = 0, inbound: int = 0
) -> Place:
    return Place(
        at, on_hand, reserved, inbound, NOON - timedelta(minutes=minutes_old), Freshness.LIVE, f"call-{at.code}"
    )


def rule(settings: Settings, name: str | None = None, **whom: Any) -> Rule:
    name = name or type(settings).__name__
    return Rule(RuleId(f"id of {name}"), name, settings, **whom)


def hold(quantity: int, minutes: float = 10) -> Hold:
    return Hold(quantity, NOON + timedelta(minutes=minutes))


def facts(*places: Place, **more: Any) -> Facts:
    return Facts(Sku("A1"), list(places), **more)


def told(number: Number) -> list[tuple[str, int]]:
    return [(term.label, term.quantity) for term in number.terms]


# ── What can be sold in all ─────────────────────────────────────────────────────────────────────────────────────────────


def test_available_is_what_lies_there_less_promises_reservations_and_safety_stock() -> None:
    number = available(
        facts(
            place(FBA, 5, 1),
            place(BERLIN, 10, 3),
            holds=[hold(2), hold(1), hold(50, minutes=0)],
            rules=[rule(SafetyStock(4), "keep four")],
        ),
        NOON,
    )
    assert number.quantity == 4
    assert told(number) == [
        ("on hand at Berlin", 10),
        ("reserved at Berlin", -3),
        ("on hand at FBA Europe", 5),
        ("reserved at FBA Europe", -1),
        ("open reservations", -3),
        ("safety stock", -4),
    ]
    berlin, *_, safety = number.terms
    assert (berlin.source, berlin.as_of, berlin.upstream_request_id) == ("ledger", NOON, "call-BER")
    assert (safety.source, safety.rule) == ("SAFETY_STOCK", "keep four")


def test_the_default_safety_stock_holds_where_no_rule_does_and_says_where_it_stands() -> None:
    number = available(facts(place(), default_safety_stock=2), NOON)
    assert (number.quantity, number.terms[-1].source, number.terms[-1].rule) == (8, "acorn.toml", None)
    assert safety_stock(facts(place(), default_safety_stock=2), NOON) == (2, None)
    mine = rule(SafetyStock(0), sku=Sku("A1"))
    assert safety_stock(facts(place(), default_safety_stock=2, rules=[mine]), NOON) == (0, mine)


def test_units_kept_at_a_place_add_to_those_kept_in_all_and_never_exceed_what_is_free_there() -> None:
    kept = [rule(SafetyStock(3)), rule(SafetyStock(4), "window", location="BER"), rule(SafetyStock(9), location="RNO")]
    known = facts(place(BERLIN, 10), place(RENO, 5, 3), rules=kept)
    assert safety_stock(known, NOON) == (3 + 4 + 2, kept[0])
    assert told(available(known, NOON))[-3:] == [
        ("safety stock", -3),
        ("safety stock at Berlin", -4),
        ("safety stock at Reno", -2),
    ]
    assert available(known, NOON).quantity == 12 - 9


def test_more_promised_than_there_is_sells_nothing_and_says_so() -> None:
    number = available(facts(place(BERLIN, 0, 4)), NOON)
    assert (number.quantity, told(number)[-1]) == (0, ("never below zero", 4))


def test_what_lies_nowhere_has_nothing_to_explain() -> None:
    assert available(facts(default_safety_stock=3), NOON) == Number(0, [])


# ── Which rule wins ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_most_specific_rule_wins_then_the_higher_priority_then_the_newer() -> None:
    heaviest_first = [
        rule(MaximumShown(1), "sku", sku=Sku("A1")),
        rule(MaximumShown(2), "tag", tag="loud", priority=9),
        rule(MaximumShown(3), "channel", channel=SHOP, priority=99),
        rule(MaximumShown(4), "priority", priority=2),
        rule(MaximumShown(5), "newer", made_at=NOON),
        rule(MaximumShown(6), "older", made_at=NOON - timedelta(days=1)),
        rule(MaximumShown(7), "none"),
    ]
    while heaviest_first:
        known = facts(place(BERLIN, 10), tags=frozenset({"loud"}), rules=heaviest_first[::-1])
        number, wins = offer(known, SHOP, NOON), heaviest_first.pop(0)
        assert (wins.settings, wins.name) == (MaximumShown(number.quantity), number.terms[-1].rule)
    assert offer(facts(place(BERLIN, 10)), SHOP, NOON).quantity == 10


@pytest.mark.parametrize(
    "whom",
    [{"sku": Sku("B2")}, {"tag": "quiet"}, {"channel": EBAY}, {"location": "RNO"}],
    ids=lambda whom: next(iter(whom)),
)
def test_a_rule_for_something_else_is_none_for_us(whom: dict[str, Any]) -> None:
    known = facts(place(BERLIN, 10), tags=frozenset({"loud"}), rules=[rule(MaximumShown(1), **whom)])
    assert offer(known, SHOP, NOON).quantity == 10


def test_a_rule_holds_from_its_beginning_until_before_its_end() -> None:
    hour = timedelta(hours=1)
    today = rule(SafetyStock(1), starts_at=NOON, ends_at=NOON + hour)
    assert [holds_at(today, NOON + late) for late in (-hour / 60, 0 * hour, hour * 0.99, hour)] == [
        False,
        True,
        True,
        False,
    ]


# ── What one channel may sell ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_channel_sells_from_own_places_that_sell_to_it_and_from_no_place_that_a_shop_counts() -> None:
    known = facts(place(BERLIN, 10), place(RENO, 5), place(STORE, 7), place(FBA, 9))
    may = offers(known, CHANNELS, NOON)
    assert {channel: number.quantity for channel, number in may.items()} == {AMAZON: 10, EBAY: 15, SHOP: 15}


def test_the_causes_come_in_their_order() -> None:
    known = facts(
        place(BERLIN, 100, 10),
        place(FBA, 41, 1),
        holds=[hold(5)],
        rules=[
            rule(FbaShare(Decimal(50)), "half of FBA", channel=SHOP, location="fba-eu"),
            rule(SafetyStock(5)),
            rule(ChannelShare(Decimal(10), hard=True), "for Amazon", channel=AMAZON),
            rule(ChannelShare(Decimal(75)), "most", channel=SHOP),
            rule(VelocityBuffer(Decimal("0.95"), timedelta(hours=1))),
            rule(MaximumShown(40)),
            rule(LastUnits(90)),
        ],
        sold_per_day={AMAZON: 24.0, EBAY: 24.0, SHOP: 999.0},
        lag_s={SHOP: 1.0, AMAZON: 60.0},
        shown={AMAZON: Shown(70, True), EBAY: Shown(None, False), SHOP: Shown(500, True)},
    )
    number = offers(known, CHANNELS, NOON)[SHOP]
    assert told(number) == [
        ("on hand at Berlin", 100),
        ("reserved at Berlin", -10),
        ("open reservations", -5),
        ("FBA share of FBA Europe", 20),
        ("safety stock", -5),
        ("share kept for amazon-eu", -8),
        ("share of shop", -92 + 75),
        ("velocity buffer", -5),
        ("maximum shown", 40 - 70),
        ("last units", -10),
    ]
    # own 80 + 20 of FBA, of which Amazon's buyers may still take 70
    assert number.quantity == 30
    assert [term.rule for term in number.terms[-5:-2]] == ["for Amazon", "most", "VelocityBuffer"]


def test_without_a_rule_nothing_is_sold_from_fba_and_its_keeper_never_sells_its_own_pool_twice() -> None:
    known = facts(place(FBA, 9))
    assert offer(known, SHOP, NOON).quantity == 0
    known.rules = [rule(FbaShare(Decimal(100)))]
    assert [offer(known, channel, NOON).quantity for channel in CHANNELS] == [0, 9, 9]


@pytest.mark.parametrize(
    ("share", "units"),
    [
        (FbaShare(Decimal(50)), 4),
        (FbaShare(Decimal("33.4")), 3),
        (FbaShare(Decimal(100), cap=6), 6),
        (FbaShare(Decimal(10), floor=2), 2),
        (FbaShare(Decimal(10), floor=50), 9),
        (FbaShare(Decimal(100), floor=2, max_age=timedelta(minutes=30)), 2),
        (FbaShare(Decimal(100), max_age=timedelta(minutes=31)), 9),
    ],
    ids=["half", "rounded down", "cap", "floor", "never more than is free", "too old", "young enough"],
)
def test_the_share_of_fba(share: FbaShare, units: int) -> None:
    known = facts(place(FBA, 10, 1, minutes_old=30), rules=[rule(share)])
    assert offer(known, SHOP, NOON).quantity == units


def test_a_share_of_fba_falls_to_its_floor_at_the_instant_it_said() -> None:
    known = facts(place(FBA, 10, minutes_old=10), rules=[rule(FbaShare(Decimal(100), floor=1))])
    number = offer(known, SHOP, NOON)
    assert (number.quantity, number.changes_at) == (10, NOON + timedelta(minutes=50))
    assert number.changes_at is not None
    later = offer(known, SHOP, number.changes_at)
    assert (later.quantity, later.changes_at) == (1, None)
    assert later.terms[-1].label == "FBA share of FBA Europe, its reading being too old"


def test_units_kept_in_a_pool_are_not_shared() -> None:
    known = facts(place(FBA, 10), rules=[rule(FbaShare(Decimal(50))), rule(SafetyStock(4), location="fba-eu")])
    assert offer(known, SHOP, NOON).quantity == 3


@pytest.mark.parametrize(
    ("destination", "units"),
    [
        (None, 0),
        (Destination("US", "NY"), 9),
        (Destination("US"), 9),
        (Destination("US", "AK"), 0),
        (Destination("DE"), 0),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_share_for_some_countries_is_for_buyers_known_to_be_there(
    destination: Destination | None, units: int
) -> None:
    share = FbaShare(Decimal(100), countries=frozenset({"US"}), excluded_states=frozenset({"AK"}))
    assert offer(facts(place(FBA, 9), rules=[rule(share)]), SHOP, NOON, destination).quantity == units


def test_a_share_for_all_but_some_states_counts_where_the_buyer_is_not_known() -> None:
    share = rule(FbaShare(Decimal(100), excluded_states=frozenset({"AK"})))
    assert offer(facts(place(FBA, 9), rules=[share]), SHOP, NOON).quantity == 9


def test_reservations_beyond_own_units_are_taken_from_the_share_of_fba() -> None:
    known = facts(place(BERLIN, 3), place(FBA, 10), holds=[hold(5)], rules=[rule(FbaShare(Decimal(100)))])
    assert [offer(known, channel, NOON).quantity for channel in CHANNELS] == [0, 8, 8]


def test_a_hard_share_is_kept_from_all_others_until_it_expires_and_a_soft_one_only_limits() -> None:
    def may(share: ChannelShare, **more: Any) -> dict[ChannelId, int]:
        known = facts(place(BERLIN, 11), rules=[rule(share, channel=AMAZON, **more)])
        return {channel: number.quantity for channel, number in offers(known, CHANNELS, NOON).items()}

    assert may(ChannelShare(Decimal(60))) == {AMAZON: 6, EBAY: 11, SHOP: 11}
    assert may(ChannelShare(Decimal(60), hard=True)) == {AMAZON: 6, EBAY: 5, SHOP: 5}
    assert may(ChannelShare(Decimal(60), hard=True), ends_at=NOON) == {AMAZON: 11, EBAY: 11, SHOP: 11}


def test_a_rule_of_a_channel_may_keep_more_from_it_and_never_less() -> None:
    def may(units: int) -> list[int]:
        kept = [rule(SafetyStock(3), "all"), rule(SafetyStock(units), "Amazon", channel=AMAZON)]
        return [offer(facts(place(), rules=kept), channel, NOON).quantity for channel in (AMAZON, SHOP)]

    assert may(5) == [5, 7]
    assert may(1) == [7, 7]


def test_the_velocity_buffer_grows_with_what_the_others_sell_and_with_the_own_lag() -> None:
    def kept(sold: Mapping[ChannelId, float], **lag_s: float) -> int:
        lags = {ChannelId(channel): seconds for channel, seconds in lag_s.items()}
        buffer = rule(VelocityBuffer(Decimal("0.95"), timedelta(minutes=1)))
        return (
            100 - offer(facts(place(on_hand=100), rules=[buffer], sold_per_day=sold, lag_s=lags), SHOP, NOON).quantity
        )

    a_minute = 1440.0
    assert kept({}) == kept({SHOP: 50 * a_minute}) == 0
    assert kept({AMAZON: a_minute}) == 3  # P(X <= 3 | 1) = 0.981, P(X <= 2 | 1) = 0.920
    assert kept({AMAZON: a_minute}, shop=0.5) == 3
    assert kept({AMAZON: a_minute, EBAY: a_minute}) == 5
    assert kept({AMAZON: a_minute}, shop=240.0) == 8


def cumulative(mean: Decimal, number: int) -> Decimal:
    """P(X <= number), exact enough to be called so."""
    with localcontext() as context:
        context.prec = 60
        return (-mean).exp() * sum((mean**k / factorial(k) for k in range(number + 1)), Decimal(0))


@given(
    st.decimals("0.001", 150, places=3),
    st.decimals("0.001", "0.999999", places=6),
)
def test_the_poisson_quantile_is_exact(mean: Decimal, certainty: Decimal) -> None:
    number = poisson_quantile(float(mean), float(certainty))
    slack = Decimal("1e-12")
    assert cumulative(mean, number) >= certainty - slack
    assert number == 0 or cumulative(mean, number - 1) < certainty + slack


def test_the_poisson_quantile_is_at_home_with_tiny_and_huge_means() -> None:
    assert poisson_quantile(0, 0.99) == poisson_quantile(-1, 0.99) == poisson_quantile(1e-9, 0.99) == 0
    assert poisson_quantile(1e-9, 1 - 1e-12) == 1
    assert abs(poisson_quantile(1_000_000, 0.95) - 1_001_645) <= 2


# ── The last units ──────────────────────────────────────────────────────────────────────────────────────────────────────


def last(shown: Mapping[ChannelId, int | None], own: int = 3, **more: Any) -> list[int]:
    seen = {channel: Shown(units, True) for channel, units in shown.items()}
    lags = {SHOP: 2.0, AMAZON: 300.0}
    known = facts(place(BERLIN, own), rules=[rule(LastUnits(3))], shown=seen, lag_s=lags, **more)
    return [number.quantity for number in offers(known, CHANNELS, NOON).values()]


def test_the_last_units_are_the_fastest_channels_once_the_others_show_none() -> None:
    assert last({AMAZON: 4, EBAY: 4, SHOP: 4}, own=4) == [4, 4, 4]
    assert last({AMAZON: 4, EBAY: 4, SHOP: 4}) == [0, 0, 0]
    assert last({AMAZON: 2, EBAY: 0, SHOP: 4}) == [0, 0, 1]
    assert last({AMAZON: 0, EBAY: None, SHOP: 4}) == [0, 0, 3]


def test_a_channel_without_a_measured_lag_is_the_slowest_and_the_id_decides_between_equals() -> None:
    few = facts(place(RENO, 2), rules=[rule(LastUnits(3))], lag_s={SHOP: 2.0})
    assert {channel: number.quantity for channel, number in offers(few, CHANNELS, NOON).items()} == {
        AMAZON: 0,
        EBAY: 0,
        SHOP: 2,
    }
    few.lag_s = {}
    assert offers(few, CHANNELS, NOON)[EBAY].quantity == 2


def test_units_that_the_fastest_channel_may_not_sell_go_to_the_next() -> None:
    few = facts(place(BERLIN, 2), rules=[rule(LastUnits(3)), rule(MaximumShown(0), channel=SHOP)], lag_s={SHOP: 2.0})
    assert [number.quantity for number in offers(few, CHANNELS, NOON).values()] == [2, 0, 0]


def ahead(*rules: Rule, on_hand: int = 0, reserved: int = 0, inbound: int = 10, **more: Any) -> int:
    """What the shop may sell of what is on its way to Berlin."""
    known = facts(place(BERLIN, on_hand, reserved, inbound=inbound), rules=rules, **more)
    number = offers(known, CHANNELS, NOON)[SHOP]
    assert sum(term.quantity for term in number.terms) == number.quantity
    return number.quantity


def test_what_is_announced_is_sold_ahead_as_far_as_a_rule_allows_and_no_further() -> None:
    half, capped = rule(PreOrder(Decimal(50)), channel=SHOP), rule(PreOrder(Decimal(100), 3), channel=SHOP)
    assert ahead() == 0
    assert (ahead(half), ahead(capped), ahead(rule(PreOrder(Decimal(50)), channel=AMAZON))) == (5, 3, 0)
    # What was sold so is promised beyond what lies there, and is gone.
    assert (ahead(half, reserved=4), ahead(half, reserved=5), ahead(half, reserved=9)) == (1, 0, 0)
    # It has come.
    assert ahead(half, on_hand=10, reserved=4, inbound=0) == 6
    assert ahead(half, rule(MaximumShown(2))) == 2
    assert ahead(half, rule(LastUnits(3)), lag_s={SHOP: 1.0}) == 5
    assert ahead(half, inbound=1) == 0
    shown = {SHOP: Shown(5, True)}
    assert exposure(facts(place(BERLIN, 0, inbound=10), rules=[half], shown=shown), NOON).beyond == 0
    assert exposure(facts(place(BERLIN, 0, inbound=10), shown=shown), NOON).beyond == 5


def test_one_channel_asked_alone_is_not_told_of_the_last_units_of_others() -> None:
    few = facts(place(BERLIN, 2), rules=[rule(LastUnits(3))], shown={AMAZON: Shown(2, True)}, lag_s={SHOP: 2.0})
    assert offer(few, SHOP, NOON).quantity == 2
    assert offers(few, [SHOP], NOON)[SHOP].quantity == 0


class LastUnitsOfThreeChannels(RuleBasedStateMachine):
    """Channels are told their numbers, sometime show them, and sell. Whoever is told, and in whatever order it is confirmed:
    buyers can never buy more than there is."""

    @initialize(
        own=st.integers(0, 6),
        fba=st.integers(0, 6),
        lags=st.permutations([1.0, 20.0, 300.0]),
        percent=st.integers(0, 100),
    )
    def begin(self, own: int, fba: int, lags: list[float], percent: int) -> None:
        self.own, self.fba = own, fba
        self.lags = dict(zip(CHANNELS, lags, strict=True))
        self.held = [rule(LastUnits(6)), rule(FbaShare(Decimal(percent)), channel=SHOP)]
        self.can_buy: dict[ChannelId, int | None] = dict.fromkeys(CHANNELS)
        self.told: dict[ChannelId, int] = {}

    def known(self) -> Facts:
        shown = {channel: Shown(units, False) for channel, units in self.can_buy.items()}
        return facts(place(BERLIN, self.own), place(FBA, self.fba), rules=self.held, lag_s=self.lags, shown=shown)

    @step(channel=st.sampled_from(CHANNELS))
    def tell(self, channel: ChannelId) -> None:
        self.told[channel] = offers(self.known(), CHANNELS, NOON)[channel].quantity
        self.can_buy[channel] = max(self.can_buy[channel] or 0, self.told[channel])

    @step(channel=st.sampled_from(CHANNELS))
    def confirm(self, channel: ChannelId) -> None:
        if channel in self.told:
            self.can_buy[channel] = self.told[channel]

    @step(channel=st.sampled_from(CHANNELS))
    def sell(self, channel: ChannelId) -> None:
        can_buy = self.can_buy[channel] or 0
        if can_buy and self.own + self.fba:
            self.can_buy[channel] = can_buy - 1
            self.told[channel] = min(self.told[channel], can_buy - 1)
            self.own, self.fba = (self.own - 1, self.fba) if self.own else (self.own, self.fba - 1)

    @step(lags=st.permutations([1.0, 20.0, 300.0]))
    def measure(self, lags: list[float]) -> None:
        self.lags = dict(zip(CHANNELS, lags, strict=True))

    @invariant()
    def buyers_can_buy_no_more_than_there_is(self) -> None:
        assert sum(units or 0 for units in self.can_buy.values()) <= self.own + self.fba


LastUnitsOfThreeChannels.TestCase.settings = settings(fewer_states, stateful_step_count=30)
TestLastUnits = LastUnitsOfThreeChannels.TestCase


# ── Kits ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def kit(*parts: tuple[Facts, int], **more: Any) -> Facts:
    return Facts(Sku("KIT"), components=list(parts), **more)


def goods(sku: str, on_hand: int, **more: Any) -> Facts:
    return replace(facts(place(BERLIN, on_hand), **more), sku=Sku(sku))


def test_a_kit_is_as_many_as_its_scarcest_component_makes() -> None:
    number = available(kit((goods("cup", 11), 4), (goods("tray", 5, holds=[hold(2)]), 1)), NOON)
    assert (number.quantity, told(number)) == (2, [("kits that 11 of cup make", 2)])
    assert number.changes_at == NOON + timedelta(minutes=10)


def test_rules_of_components_act_through_them_and_only_once() -> None:
    rules = [rule(SafetyStock(2), "all"), rule(ChannelShare(Decimal(50)), channel=SHOP), rule(MaximumShown(3), "few")]
    known = kit((goods("cup", 22, rules=rules), 2), rules=rules, default_safety_stock=7)
    assert told(available(known, NOON)) == [("kits that 20 of cup make", 10)]
    assert safety_stock(known, NOON) == (0, None)
    assert told(offer(known, SHOP, NOON)) == [("kits that 10 of cup make", 5), ("maximum shown", -2)]
    own = [*rules, rule(SafetyStock(1), "kit's own", sku=Sku("KIT"))]
    assert told(available(replace(known, rules=own), NOON))[-1] == ("safety stock", -1)


def test_a_channel_closed_for_the_last_units_of_a_component_is_closed_for_its_kits() -> None:
    few = goods("cup", 4, rules=[rule(LastUnits(4))], lag_s={SHOP: 1.0}, shown={SHOP: Shown(4, True)})
    known = kit((few, 2), rules=few.rules)
    assert [number.quantity for number in offers(known, CHANNELS, NOON).values()] == [0, 0, 2]
    # The shop sells the cups themselves, and is the fastest.
    assert offers(known, [AMAZON], NOON)[AMAZON].quantity == 0


# ── Where it is shown, and what is exposed ──────────────────────────────────────────────────────────────────────────────


def test_units_are_shown_where_they_lie_and_what_lies_elsewhere_at_the_first_place() -> None:
    named = replace(RENO, shown={SHOP: "gid/2"})
    known = facts(place(named, 5), place(BERLIN, 10, 4), place(FBA, 9), rules=[rule(FbaShare(Decimal(100)))])
    assert spread(8, known, SHOP, NOON) == {"gid/1": 6, "gid/2": 2}
    assert spread(20, known, SHOP, NOON) == {"gid/1": 6 + 9, "gid/2": 5}
    assert spread(0, known, SHOP, NOON) == {"gid/1": 0, "gid/2": 0}
    assert spread(8, known, AMAZON, NOON) == {"": 8}
    pool = replace(FBA, shown={SHOP: "gid/7"})
    known.places = [place(pool, 9), place(named, 5), place(BERLIN, 10, 4)]
    assert spread(18, known, SHOP, NOON) == {"gid/1": 6, "gid/2": 5, "gid/7": 7}


def test_kits_are_shown_where_all_their_components_lie() -> None:
    named = replace(RENO, shown={SHOP: "gid/2"})
    cups = replace(facts(place(BERLIN, 3), place(named, 9)), sku=Sku("cup"))
    trays = replace(facts(place(named, 2), place(BERLIN, 9)), sku=Sku("tray"))
    assert spread(3, kit((cups, 2), (trays, 1)), SHOP, NOON) == {"gid/1": 1, "gid/2": 2}
    assert spread(4, kit((cups, 2), (trays, 1)), SHOP, NOON) == {"gid/1": 2, "gid/2": 2}


def test_exposure_is_what_all_channels_could_sell_beyond_what_exists() -> None:
    known = facts(
        place(BERLIN, 10, 1),
        place(FBA, 8),
        place(STORE, 7),
        holds=[hold(2)],
        rules=[rule(FbaShare(Decimal(50))), rule(SafetyStock(3))],
        shown={SHOP: Shown(9, True), AMAZON: Shown(5, False), EBAY: Shown(None, False)},
    )
    assert exposure(known, NOON) == Exposure(14, 7 + 4, 3)
    assert exposure(replace(known, shown={}), NOON) == Exposure(0, 7, 0)
    assert exposure(facts(place(BERLIN, 0, 2)), NOON) == Exposure(0, 0, 0)
    assert exposure(kit((known, 2), shown={SHOP: Shown(9, True)}), NOON) == Exposure(9, 5, 4)


# ── For whatever SKU ────────────────────────────────────────────────────────────────────────────────────────────────────

units = st.integers(0, 40)
percents = st.decimals(0, 100, places=1)
whom = st.fixed_dictionaries(
    {
        "sku": st.sampled_from([None, None, None, Sku("A1"), Sku("KIT")]),
        "tag": st.sampled_from([None, None, None, "loud"]),
        "priority": st.integers(0, 2),
        "made_at": st.sampled_from([None, NOON, NOON - timedelta(days=1)]),
        "starts_at": st.sampled_from([None, None, NOON - timedelta(hours=1), NOON + timedelta(hours=1)]),
        "ends_at": st.sampled_from([None, None, NOON + timedelta(minutes=1), NOON + timedelta(hours=2)]),
    }
)
fba_shares = st.builds(
    FbaShare,
    percents,
    floor=st.integers(0, 5),
    max_age=st.sampled_from([timedelta(minutes=5), timedelta(hours=1)]),
    countries=st.sampled_from([frozenset(), frozenset(), frozenset({"US"})]),
)
channels = st.sampled_from([None, *CHANNELS])
kinds: list[tuple[st.SearchStrategy[Settings], st.SearchStrategy[dict[str, Any]]]] = [
    (
        st.builds(SafetyStock, st.integers(0, 8)),
        st.fixed_dictionaries({"location": st.sampled_from([None, "BER", "RNO"])}),
    ),
    (st.builds(MaximumShown, units), st.fixed_dictionaries({"channel": channels})),
    (
        st.builds(ChannelShare, percents, st.booleans()),
        st.fixed_dictionaries({"channel": st.sampled_from(CHANNELS)}),
    ),
    (fba_shares, st.fixed_dictionaries({"channel": channels, "location": st.sampled_from([None, "fba-eu"])})),
    (
        st.builds(VelocityBuffer, st.sampled_from([Decimal("0.5"), Decimal("0.95")])),
        st.fixed_dictionaries({"channel": channels}),
    ),
    (st.builds(LastUnits, units), st.just({})),
    (st.builds(PreOrder, percents, st.none() | units), st.fixed_dictionaries({"channel": channels})),
]


@st.composite
def some_rules(draw: st.DrawFn) -> list[Rule]:
    made = []
    for number in range(draw(st.integers(0, 6))):
        settings_of, where = draw(st.sampled_from(kinds))
        made.append(rule(draw(settings_of), f"rule {number}", **draw(whom), **draw(where)))
    return made


@st.composite
def some_goods(draw: st.DrawFn, rules: list[Rule], sku: str = "A1") -> Facts:
    at = draw(st.lists(st.sampled_from([BERLIN, RENO, STORE, FBA]), unique_by=lambda one: one.code))
    shown = st.builds(Shown, st.one_of(st.none(), units), st.booleans())
    return Facts(
        Sku(sku),
        places=[
            place(one, draw(units), draw(units), minutes_old=draw(st.integers(0, 90)), inbound=draw(units))
            for one in at
        ],
        holds=draw(st.lists(st.builds(hold, st.integers(1, 9), st.integers(-5, 20)), max_size=3)),
        tags=draw(st.sampled_from([frozenset(), frozenset({"loud"})])),
        rules=rules,
        default_safety_stock=draw(st.integers(0, 2)),
        sold_per_day=draw(st.dictionaries(st.sampled_from(CHANNELS), st.floats(0, 50_000), max_size=3)),
        lag_s=draw(st.dictionaries(st.sampled_from(CHANNELS), st.floats(0, 600), max_size=3)),
        shown=draw(st.dictionaries(st.sampled_from(CHANNELS), shown, max_size=3)),
    )


@st.composite
def skus(draw: st.DrawFn) -> Facts:
    rules = draw(some_rules())
    one = draw(some_goods(rules))
    if draw(st.integers(0, 3)):
        return one
    other = draw(some_goods(rules, "B2"))
    parts = [(one, draw(st.integers(1, 4))), (other, draw(st.integers(1, 4)))]
    return replace(draw(some_goods(rules, "KIT")), places=[], holds=[], components=parts)


def unfloored(number: Number) -> int:
    return sum(term.quantity for term in number.terms if term.label != "never below zero")


def causes(number: Number) -> list[Term]:
    return [term for term in number.terms if term.label != "never below zero"]


def total(terms: Sequence[Term]) -> int:
    return sum(term.quantity for term in terms)


@random_states
@given(skus())
def test_the_terms_sum_to_the_number_and_each_is_what_its_cause_changes(known: Facts) -> None:
    by_channel = offers(known, CHANNELS, NOON)
    for number in (available(known, NOON), *by_channel.values(), offer(known, SHOP, NOON, Destination("US", "NY"))):
        assert total(number.terms) == number.quantity == max(0, total(causes(number)))
        assert all(term.quantity or term.label.startswith(("on hand", "kits", "FBA")) for term in number.terms)
    each_last_cause_is_its_term(known)
    if not known.components:
        places_and_reservations_are_their_terms(known)


def each_last_cause_is_its_term(known: Facts) -> None:
    """Causes are taken away from the last to the first: each time the number changes by the terms of that cause."""
    numbers = offers(known, CHANNELS, NOON)
    for kind in LAST_CAUSES_FIRST:
        known = replace(known, rules=[one for one in known.rules if kind_of(one.settings) is not kind])
        if kind is RuleKind.SAFETY_STOCK:
            known.default_safety_stock = 0
        without = offers(known, CHANNELS, NOON)
        for channel, number in numbers.items():
            theirs = {kind.value, "acorn.toml"} if kind is RuleKind.SAFETY_STOCK else {kind.value}
            assert causes(without[channel]) == [term for term in causes(number) if term.source not in theirs]
        numbers = without


LAST_CAUSES_FIRST = [
    RuleKind.LAST_UNITS,
    RuleKind.MAXIMUM_SHOWN,
    RuleKind.VELOCITY_BUFFER,
    RuleKind.CHANNEL_SHARE,
    RuleKind.SAFETY_STOCK,
    RuleKind.PRE_ORDER,
    RuleKind.FBA_SHARE,
]


def places_and_reservations_are_their_terms(known: Facts) -> None:
    """Without one of them the sum is less by exactly what they gave."""
    terms = causes(available(known, NOON))
    # Where nothing lies nothing is kept back, either.
    kept = [term for term in terms if term.label == "safety stock"] if len(known.places) == 1 else []
    for gone in known.places:
        without = available(replace(known, places=[one for one in known.places if one is not gone]), NOON)
        theirs = [term for term in terms if term.label.endswith(f" at {gone.location.name}")]
        assert total(terms) - total(causes(without)) == total(theirs) + total(kept)
    held = [term for term in terms if term.label == "open reservations"]
    assert total(terms) - total(causes(available(replace(known, holds=[]), NOON))) == total(held)


@fewer_states
@given(st.data())
def test_no_channel_is_offered_more_than_is_free_at_own_places_its_share_of_fba_and_what_it_sells_ahead(
    data: st.DataObject,
) -> None:
    known = data.draw(some_goods(data.draw(some_rules())))
    own = sum(max(0, one.on_hand - one.reserved) for one in known.places if one.location.ours)
    fba = sum(max(0, one.on_hand - one.reserved) for one in known.places if one.location is FBA)
    announced = sum(one.inbound for one in known.places if one.location.ours)
    for channel, number in offers(known, CHANNELS, NOON).items():
        share = sum(term.quantity for term in number.terms if term.source == RuleKind.FBA_SHARE.value)
        ahead = sum(term.quantity for term in number.terms if term.source == RuleKind.PRE_ORDER.value)
        assert share <= fba
        assert ahead <= announced
        assert number.quantity <= own + share + ahead
        assert number.quantity <= offer(known, channel, NOON).quantity
        parts = spread(number.quantity, known, channel, NOON)
        assert sum(parts.values()) == number.quantity
        assert min(parts.values()) >= 0


@fewer_states
@given(skus(), st.randoms())
def test_the_order_of_places_rules_and_channels_does_not_matter(known: Facts, random: Random) -> None:
    def shuffled(values: Sequence[T]) -> list[T]:
        return random.sample(values, len(values))

    other = replace(
        known,
        places=shuffled(known.places),
        rules=shuffled(known.rules),
        holds=shuffled(known.holds),
        components=[(replace(one, places=shuffled(one.places)), units) for one, units in shuffled(known.components)],
    )
    assert available(other, NOON) == available(known, NOON)
    assert offers(other, CHANNELS[::-1], NOON) == offers(known, CHANNELS, NOON)
    assert exposure(other, NOON) == exposure(known, NOON)


@fewer_states
@given(skus(), st.integers(0, 999))
def test_a_number_holds_until_the_instant_it_names(known: Facts, part: int) -> None:
    def numbers(at: datetime) -> list[Number]:
        return [available(known, at), offers(known, CHANNELS, at)[SHOP]]

    for which, number in enumerate(numbers(NOON)):
        until = number.changes_at or NOON + timedelta(days=3)
        assert until > NOON
        assert numbers(NOON + part * (until - NOON) // 1000)[which] == number


# ── Settings that mean nothing ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (SafetyStock(-1), "units"),
        (MaximumShown(-1), "units"),
        (LastUnits(-1), "units"),
        (PreOrder(Decimal(101)), "percent"),
        (PreOrder(Decimal(50), -1), "cap"),
        (ChannelShare(Decimal(101)), "percent"),
        (ChannelShare(Decimal("NaN")), "percent"),
        (FbaShare(Decimal(-1)), "percent"),
        (FbaShare(Decimal(1), floor=-1), "floor"),
        (FbaShare(Decimal(1), cap=-1), "cap"),
        (FbaShare(Decimal(1), cap=1, floor=2), "cap"),
        (FbaShare(Decimal(1), max_age=timedelta(0)), "max_age"),
        (FbaShare(Decimal(1), countries=frozenset({"Germany"})), "countries"),
        (FbaShare(Decimal(1), excluded_states=frozenset({"US-AK"})), "excluded_states"),
        (VelocityBuffer(Decimal(1)), "certainty"),
        (VelocityBuffer(Decimal(0)), "certainty"),
        (VelocityBuffer(least_lag=timedelta(0)), "least_lag"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_settings_that_mean_nothing_are_refused_by_name(wrong: Settings, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_settings(wrong)
    assert caught.value.field == (field,)


@pytest.mark.parametrize(
    "right",
    [
        SafetyStock(0),
        MaximumShown(0),
        LastUnits(3),
        PreOrder(Decimal(50)),
        PreOrder(Decimal(100), 0),
        ChannelShare(Decimal("12.5"), hard=True),
        FbaShare(Decimal(100), 5, 5, timedelta(minutes=1), frozenset({"US"}), frozenset({"AK", "HI"})),
        VelocityBuffer(),
    ],
    ids=lambda one: type(one).__name__,
)
def test_settings_that_mean_something_are_taken(right: Settings) -> None:
    check_settings(right)
