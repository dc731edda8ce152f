"""What guards refuse and hold: each kind at its very edge, mistakes of every kind, and that good prices go through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.ids import ChannelId, Sku
from domain.money import Money
from domain.price import Action, Hit, JudgedWish, Origin, Price, PriceFacts, PriceWish, Sale
from domain.price_approval import Approval
from domain.price_canary import Radius
from domain.price_guard import ACTIONS, DEFAULTS, Guard, GuardKind, PriceGuards, check, from_json, to_json
from domain.price_inputs import FeeEstimate
from domain.price_judge import judge
from tests.domain import price_corpus as corpus
from tests.domain.price_corpus import AT, Proposal, make_wish, rates

HOUR = timedelta(hours=1)
NO_GUARDS = PriceGuards(guards=())


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def guard(kind: GuardKind, **settings: Any) -> Guard:
    told: dict[str, Any] = {"action": ACTIONS[kind]}
    told |= {name: Decimal(value) if name in DECIMAL else value for name, value in settings.items()}
    return Guard("a guard", kind, **told)


DECIMAL = {"amount", "margin", "factor", "up", "down", "step", "share"}
FACTS = PriceFacts(
    currency="EUR",
    live=Price(eur("20")),
    day_ago=eur("20"),
    regular_day_ago=eur("20"),
    cost=eur("10"),
)


def hits(price: Price, *guards: Guard, facts: PriceFacts = FACTS, origin: Origin = Origin.MUTATION) -> tuple[Hit, ...]:
    """What is said of one wish; without guards by what holds while nobody has kept any."""
    chosen = PriceGuards(guards=guards or DEFAULTS)
    return judge(chosen, [(make_wish(price, origin=origin), facts)], AT).rows[0].hits


def names(*args: Any, **more: Any) -> list[tuple[str, str]]:
    return [(one.guard, one.action.value) for one in hits(*args, **more)]


@pytest.mark.parametrize(
    ("price", "limit", "hit"),
    [
        ("10.00", guard(GuardKind.FLOOR, margin="0"), False),
        ("9.99", guard(GuardKind.FLOOR, margin="0"), True),
        ("11.50", guard(GuardKind.FLOOR, margin="15"), False),
        ("11.49", guard(GuardKind.FLOOR, margin="15"), True),
        ("15.00", guard(GuardKind.FLOOR, amount="15", currency="EUR"), False),
        ("14.99", guard(GuardKind.FLOOR, amount="15", currency="EUR"), True),
        ("14.99", guard(GuardKind.MAP, amount="15", currency="EUR"), True),
        ("25.00", guard(GuardKind.CEILING, amount="25", currency="EUR"), False),
        ("25.01", guard(GuardKind.CEILING, amount="25", currency="EUR"), True),
        ("26.00", guard(GuardKind.STEP, up="30"), False),
        ("26.01", guard(GuardKind.STEP, up="30"), True),
        ("14.00", guard(GuardKind.STEP, down="30"), False),
        ("13.99", guard(GuardKind.STEP, down="30"), True),
        ("60.00", guard(GuardKind.STEP, down="30"), False),
        ("30.00", guard(GuardKind.DAY, up="50", down="50"), False),
        ("30.01", guard(GuardKind.DAY, up="50", down="50"), True),
        ("9.99", guard(GuardKind.DAY, up="50", down="50"), True),
        ("200", guard(GuardKind.SHIFT), True),
        ("2", guard(GuardKind.SHIFT), True),
        ("1999", guard(GuardKind.SHIFT), True),
        ("0.19", guard(GuardKind.SHIFT), True),
        ("100", guard(GuardKind.SHIFT), False),
        ("19.99", guard(GuardKind.UNKNOWN), False),
    ],
)
def test_a_guard_is_hit_beyond_its_edge_and_not_at_it(price: str, limit: Guard, hit: bool) -> None:
    assert names(Price(eur(price)), limit) == ([(limit.kind.value, limit.action.value)] if hit else [])


def test_a_hit_says_by_how_much_and_what_to_do() -> None:
    (one,) = hits(Price(eur("9")), guard(GuardKind.FLOOR, margin="15"))
    assert (
        one.words
        == "9.00 EUR is below 11.50 EUR, the cost of 10.00 EUR and 15 %. Ask for 11.50 EUR or more. (guard 'a guard')"
    )


def test_what_is_refused_does_not_say_that_somebody_may_approve_it() -> None:
    (row,) = judge(PriceGuards(), [(make_wish(Price(eur("9"))), FACTS)], AT).rows
    assert {one.action for one in row.hits} == {Action.REFUSE, Action.HOLD}
    assert (
        row.words == "9.00 EUR is below 10.00 EUR, the cost of 10.00 EUR. Ask for 10.00 EUR or more. (guard 'at cost')"
    )
    (row,) = judge(PriceGuards(), [(make_wish(Price(eur("13"))), FACTS)], AT).rows
    assert "Somebody else may approve it." in row.words


def test_the_floor_rises_by_fees_and_what_nobody_has_told_is_held() -> None:
    floor = guard(GuardKind.FLOOR, margin="0", fees=True)
    told = replace(FACTS, estimates=(FeeEstimate(eur("13"), eur("1"), eur("2"), AT),))
    assert names(Price(eur("13")), floor, facts=told) == []
    assert names(Price(eur("12.99")), floor, facts=told) == [("FLOOR", "REFUSE")]
    assert names(Price(eur("12.99")), floor, facts=replace(told, cost=eur("5"))) == []
    # At twice the price the share that the channel takes is twice as much.
    assert names(Price(eur("26")), floor, facts=replace(told, cost=eur("22.01"))) == [("FLOOR", "REFUSE")]
    assert names(Price(eur("26")), floor, facts=replace(told, cost=eur("22"))) == []
    assert names(Price(eur("19")), floor) == [("FLOOR", "HOLD")]
    assert names(Price(eur("9.99")), floor) == [("FLOOR", "REFUSE")]  # whatever the fees


def test_sales_are_held_by_what_buyers_would_pay() -> None:
    sale = Sale(eur("9"), AT + HOUR, AT + 2 * HOUR)
    assert names(Price(eur("20"), sale), guard(GuardKind.FLOOR, margin="0")) == [("FLOOR", "REFUSE")]
    assert names(Price(eur("20"), sale), guard(GuardKind.MAP, amount="10", currency="EUR")) == [("MAP", "REFUSE")]
    assert names(Price(eur("20"), sale), guard(GuardKind.STEP, down="30")) == [("STEP", "HOLD")]
    assert names(Price(eur("20"), replace(sale, price=eur("14"))), guard(GuardKind.STEP, down="30")) == []


def test_a_sale_that_ends_is_no_step_and_a_sale_that_is_over_hides_none() -> None:
    step = guard(GuardKind.STEP, up="30", down="30")
    on_sale = replace(FACTS, live=Price(eur("20"), Sale(eur("12"))), day_ago=eur("12"))
    assert names(Price(eur("20")), step, facts=on_sale) == []
    assert names(Price(eur("20")), guard(GuardKind.DAY, up="50"), facts=on_sale) == []
    over = replace(FACTS, live=Price(eur("20"), Sale(eur("12"), AT - 2 * HOUR, AT - HOUR)))
    assert names(Price(eur("12")), step, facts=over) == [("STEP", "HOLD")]


@pytest.mark.parametrize(
    ("price", "guards"),
    [
        (Price(Money(Decimal("20"), "USD")), ["CURRENCY"]),
        (Price(eur("0")), ["FLOOR"]),
        (Price(eur("-20")), ["FLOOR"]),
        (Price(eur("19.999")), ["DIGITS"]),
        (Price(eur("20"), Sale(eur("20"))), ["SALE"]),
        (Price(eur("20"), Sale(eur("19"), AT, AT)), ["SALE"]),
        (Price(eur("20"), Sale(Money(Decimal("19"), "USD"))), ["CURRENCY"]),
    ],
)
def test_what_is_no_price_is_refused_even_without_guards(price: Price, guards: list[str]) -> None:
    said = judge(NO_GUARDS, [(make_wish(price), FACTS)], AT).rows[0]
    assert [one.guard for one in said.hits] == guards
    assert said.refused


def test_yen_have_no_decimals_and_whole_ones_pass() -> None:
    facts = PriceFacts(currency="JPY", live=Price(Money(Decimal(3000), "JPY")))
    assert names(Price(Money(Decimal("3000.5"), "JPY")), facts=facts) == [("DIGITS", "REFUSE")]
    assert names(Price(Money(Decimal("3100.0"), "JPY")), facts=facts) == []


def test_another_currencys_amount_is_found_by_its_rate_and_by_the_other_listing() -> None:
    shift = guard(GuardKind.SHIFT)
    facts = PriceFacts(currency="JPY", live=Price(Money(Decimal(5000), "JPY")))
    thirty = Price(Money(Decimal(30), "JPY"))
    assert names(thirty, shift, facts=facts) == []
    assert names(thirty, shift, facts=replace(facts, rates=rates("JPY"))) == [("SHIFT", "REFUSE")]
    assert names(thirty, shift, facts=replace(facts, elsewhere=(eur("30"),))) == [("SHIFT", "REFUSE")]


def test_what_other_listings_of_the_sku_or_the_last_day_vouch_for_is_no_shift() -> None:
    """Somebody has put 2,000 for 20 at the channel: it can be put right."""
    shift, wrong = guard(GuardKind.SHIFT), replace(FACTS, live=Price(eur("2000")), day_ago=None)
    assert names(Price(eur("20")), shift, facts=wrong) == [("SHIFT", "REFUSE")]
    assert names(Price(eur("20")), shift, facts=replace(wrong, elsewhere=(eur("22"),))) == []
    assert names(Price(eur("20")), shift, facts=replace(wrong, day_ago=eur("19"))) == []
    assert names(Price(eur("20")), shift, facts=replace(wrong, verified=Price(eur("20")))) == []


def test_a_new_listing_is_compared_with_the_others_of_its_sku_and_else_with_its_cost() -> None:
    new = PriceFacts(elsewhere=(eur("20"),))
    assert names(Price(eur("22")), facts=new) == []
    assert names(Price(eur("200")), facts=new) == [("SHIFT", "REFUSE"), ("STEP", "HOLD")]
    alone = PriceFacts(cost=eur("10"))
    assert names(Price(eur("100")), facts=alone) == []
    assert names(Price(eur("101")), facts=alone) == [("SHIFT", "HOLD")]
    assert names(Price(eur("9")), facts=alone) == [("FLOOR", "REFUSE")]
    assert names(Price(eur("20")), facts=PriceFacts()) == [("UNKNOWN", "HOLD")]
    assert names(Price(eur("20")), guard(GuardKind.CEILING, factor="1.5"), facts=PriceFacts()) == []
    assert names(Price(eur("31")), guard(GuardKind.CEILING, factor="1.5"), facts=new) == [("CEILING", "REFUSE")]


def test_what_is_taken_back_may_go_far_and_no_lower_than_the_floor() -> None:
    far = replace(FACTS, live=Price(eur("11")), day_ago=eur("11"), regular_day_ago=eur("11"))
    assert names(Price(eur("20")), facts=far) == [("STEP", "HOLD"), ("DAY", "HOLD")]
    assert names(Price(eur("20")), facts=far, origin=Origin.REVERT) == []
    assert names(Price(eur("9")), facts=far, origin=Origin.REVERT) == [("FLOOR", "REFUSE")]
    # To take the cure of a shifted price back is a shift again; which of the two is right is told by a second person.
    assert names(Price(eur("1100")), facts=far, origin=Origin.REVERT) == [("SHIFT", "HOLD")]


def test_a_sale_that_begins_at_a_shop_was_judged_when_it_was_asked_for_and_still_keeps_the_floor() -> None:
    asked = Price(eur("20"), Sale(eur("11"), AT, AT + HOUR))
    facts = replace(FACTS, intended=asked)
    assert names(asked, facts=facts, origin=Origin.SALE) == []
    assert names(asked, facts=facts) == [("STEP", "HOLD")]
    assert names(asked, facts=replace(facts, intended=None), origin=Origin.SALE) == [("STEP", "HOLD")]
    assert names(asked, facts=replace(facts, cost=eur("12")), origin=Origin.SALE) == [("FLOOR", "REFUSE")]


def test_the_end_of_a_sale_is_told_whatever_the_sale_took_and_waits_for_nobody() -> None:
    over = Price(eur("20"), Sale(eur("9"), AT - 2 * HOUR, AT))
    facts = replace(FACTS, live=Price(eur("20"), Sale(eur("9"))), intended=over, cost=eur("12"))
    floors = guard(GuardKind.FLOOR, margin="0"), guard(GuardKind.MAP, amount="15", currency="EUR")
    assert names(over, *floors, facts=facts, origin=Origin.SALE) == []
    going_on = replace(over, sale=Sale(eur("9"), AT - 2 * HOUR, AT + HOUR))
    for origin in Origin:
        told = names(going_on, *floors, facts=replace(facts, intended=going_on), origin=origin)
        assert told == [("FLOOR", "REFUSE"), ("MAP", "REFUSE")]
    unsaid = guard(GuardKind.FLOOR, margin="0", fees=True)
    assert names(over, unsaid, facts=facts) == [("FLOOR", "HOLD")]
    assert names(over, unsaid, facts=facts, origin=Origin.SALE) == []


def test_sales_that_begin_all_at_once_before_they_were_seen_are_stopped_by_no_guard() -> None:
    price = Price(eur("20"), Sale(eur("14"), AT))
    rows = [(make_wish(price, origin=Origin.SALE), replace(FACTS, wanted=price))] * 40
    assert not judge(PriceGuards(), rows, AT).held
    assert judge(PriceGuards(), [(replace(wish, origin=Origin.FILE), facts) for wish, facts in rows], AT).held


def test_guards_hold_for_what_fits_all_that_they_name() -> None:
    facts = replace(FACTS, brand="Acme")
    floor = guard(GuardKind.FLOOR, amount="50", currency="EUR")
    fitting: list[dict[str, Any]] = [
        {"sku": Sku("A-1")},
        {"brand": "Acme"},
        {"channel": ChannelId("amazon")},
        {"marketplace": "DE"},
        {"sku": Sku("A-1"), "brand": "Acme", "marketplace": "DE"},
    ]
    others: list[dict[str, Any]] = [
        {"sku": Sku("A-2")},
        {"brand": "Other"},
        {"channel": ChannelId("shop")},
        {"marketplace": "FR"},
        {"sku": Sku("A-1"), "marketplace": "FR"},
        {"except_skus": (Sku("A-1"),)},
        {"currency": "USD"},
    ]
    said = [names(Price(eur("20")), replace(floor, **one), facts=facts) for one in (*fitting, *others)]
    assert said == [[("FLOOR", "REFUSE")]] * len(fitting) + [[]] * len(others)


def test_all_guards_that_fit_hold_and_the_action_is_theirs() -> None:
    strict, lenient = guard(GuardKind.STEP, up="5"), guard(GuardKind.STEP, up="50")
    assert names(Price(eur("22")), lenient, replace(strict, action=Action.REFUSE)) == [("STEP", "REFUSE")]


# ── all rows of a request ──


def rows(count: int, moved: int, origin: Origin = Origin.FILE) -> list[tuple[PriceWish, PriceFacts]]:
    """So many rows, of which `moved` fall by a fourth."""
    prices = [eur("15") if number < moved else eur("20.20") for number in range(count)]
    return [(make_wish(Price(one), sku=f"A-{n}", origin=origin), FACTS) for n, one in enumerate(prices)]


@pytest.mark.parametrize(("count", "moved", "held"), [(100, 5, False), (100, 6, True), (19, 19, False), (20, 2, True)])
def test_a_request_of_which_much_moves_far_is_held(count: int, moved: int, held: bool) -> None:
    said = judge(PriceGuards(), rows(count, moved), AT)
    assert [one.guard for one in said.hits] == (["STOP_LOSS"] if held else [])
    assert (said.held, any(row.hits for row in said.rows)) == (held, False)


def test_of_rows_that_are_about_to_be_sent_each_is_judged_alone() -> None:
    assert judge(PriceGuards(), rows(100, 50), AT, single=True).hits == ()
    assert judge(PriceGuards(), rows(100, 50, Origin.REVERT), AT).hits == ()


# ── the proof: 200 bad and 2,000 good ──


def said(guards: PriceGuards, proposals: Sequence[Proposal]) -> tuple[JudgedWish, ...]:
    return judge(guards, [(one.wish, one.facts) for one in proposals], AT, single=True).rows


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_no_bad_price_passes(seed: int) -> None:
    bad = corpus.bad(200, seed)
    assert len({one.kind for one in bad}) == len(corpus.BAD)
    judged = said(PriceGuards(), bad)
    assert [(one.kind, row.wish.price) for one, row in zip(bad, judged, strict=True) if not row.hits] == []


def test_without_guards_every_bad_price_passes_that_is_a_price_at_all() -> None:
    bad = corpus.bad(200)
    passed = Counter(one.kind for one, row in zip(bad, said(NO_GUARDS, bad), strict=True) if not row.hits)
    assert set(passed) == {one.kind for one in bad} - corpus.SENSELESS
    assert sum(passed.values()) == sum(one.kind not in corpus.SENSELESS for one in bad)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_of_the_good_at_most_one_in_a_hundred_is_held(seed: int) -> None:
    """Both one by one, and as one request."""
    good = corpus.good(2000, seed)
    assert {"promotion", "clearance", "new listing", "drift put right"} <= {one.kind for one in good}
    assert {one.wish.price.regular.currency for one in good} == set(corpus.EURO)
    whole = judge(PriceGuards(), [(one.wish, one.facts) for one in good], AT)
    held = [(one.kind, row.hits) for one, row in zip(good, whole.rows, strict=True) if row.hits]
    assert len(held) <= len(good) // 100, held[:5]
    assert whole.hits == ()


def test_mistakes_among_the_good_are_found_and_the_good_beside_them_go_on() -> None:
    mixed = [*corpus.good(400), *corpus.bad(20)]
    judged = said(PriceGuards(), mixed)
    assert sum(bool(row.hits) for row in judged[400:]) == 20
    assert sum(bool(row.hits) for row in judged[:400]) <= 4


# ── properties ──

amounts = st.decimals("8", "30", places=2)
prices = st.builds(
    lambda regular, part, hours: Price(
        Money(regular, "EUR"),
        None
        if part is None
        else Sale(Money(max(Decimal("0.01"), round(regular * part, 2)), "EUR"), AT + hours * HOUR, None),
    ),
    amounts,
    st.none() | st.decimals("0.3", "0.99", places=2),
    st.integers(-48, 48),
)
known = st.builds(
    PriceFacts,
    currency=st.just("EUR"),
    live=st.none() | prices,
    wanted=st.none() | prices,
    verified=st.none() | prices,
    day_ago=st.none() | amounts.map(lambda one: Money(one, "EUR")),
    cost=st.none() | amounts.map(lambda one: Money(one, "EUR")),
    elsewhere=st.lists(amounts.map(lambda one: Money(one, "EUR")), max_size=2).map(tuple),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(prices, known), min_size=1, max_size=3))
def test_what_passes_lies_within_every_limit(asked: list[tuple[Price, PriceFacts]]) -> None:
    """Told apart from how the guards reckon: by what buyers would pay, instant by instant."""
    for row in judge(PriceGuards(), [(make_wish(price), facts) for price, facts in asked], AT).rows:
        if row.hits:
            continue
        price, facts = row.wish.price, row.facts
        if facts.cost is not None:
            assert price.lowest.amount >= facts.cost.amount
        if facts.day_ago is not None:
            assert price.at(AT).amount * 2 >= facts.day_ago.amount
        seen = [one for one in (facts.live, facts.verified) if one is not None]
        if seen:
            instants = [AT + number * HOUR for number in range(0, 60, 5)]
            assert any(
                all(price.at(one).amount >= old.at(one).amount * Decimal("0.7") for one in instants) for old in seen
            )
            assert any(price.highest.amount <= old.highest.amount * Decimal("1.3") for old in seen)
        else:
            assert facts.wanted is not None or facts.elsewhere or facts.cost is not None


@settings(max_examples=60)
@given(prices, known, st.sampled_from(DEFAULTS))
def test_a_guard_more_never_lets_more_through(price: Price, facts: PriceFacts, one: Guard) -> None:
    wish = make_wish(price)
    before = judge(NO_GUARDS, [(wish, facts)], AT).rows[0]
    after = judge(PriceGuards(guards=(one,)), [(wish, facts)], AT).rows[0]
    assert set(before.hits) <= set(after.hits)


# ── sets ──


def test_a_set_is_the_same_after_it_was_written() -> None:
    guards = (
        *DEFAULTS,
        Guard(
            "map",
            GuardKind.MAP,
            Action.HOLD,
            Sku("A"),
            "Acme",
            ChannelId("amazon"),
            "DE",
            "EUR",
            (Sku("B"),),
            Decimal("9.90"),
        ),
        guard(GuardKind.FLOOR, margin="12.5", fees=True),
    )
    one = PriceGuards(3, guards, Radius(rows=7), Approval(row={"EUR": Decimal(50)}, rows=10), "ops", AT)
    assert from_json(to_json(one), version=3, made_by="ops", made_at=AT) == one


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (replace(DEFAULTS[0], name=" "), "name"),
        (DEFAULTS[1], "name"),  # that name is taken
        (guard(GuardKind.FLOOR), "amount"),
        (guard(GuardKind.FLOOR, amount="1", margin="1", currency="EUR"), "amount"),
        (guard(GuardKind.FLOOR, amount="1"), "currency"),
        (guard(GuardKind.FLOOR, amount="1", currency="EUR", fees=True), "fees"),
        (guard(GuardKind.MAP, amount="1", currency="eur"), "currency"),
        (guard(GuardKind.CEILING), "amount"),
        (guard(GuardKind.STEP), "up"),
        (guard(GuardKind.STEP, up="5", margin="0"), "margin"),
        (guard(GuardKind.STEP, down="101"), "down"),
        (guard(GuardKind.SHIFT, up="5"), "up"),
        (guard(GuardKind.STOP_LOSS, step="5", share="5"), "rows"),
        (guard(GuardKind.STOP_LOSS, step="5", share="5", rows=0), "rows"),
        (guard(GuardKind.SHIFT, channel=ChannelId("nowhere")), "channel"),
    ],
)
def test_a_guard_that_means_nothing_is_refused_by_its_path(wrong: Guard, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(PriceGuards(guards=(DEFAULTS[1], wrong)), [ChannelId("amazon")])
    assert refused.value.field == ("guards", "1", field)


def test_the_usual_set_is_a_good_one() -> None:
    check(PriceGuards(), [])
