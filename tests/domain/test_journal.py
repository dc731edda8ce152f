"""Whatever lines there are, a journal balances; what was booked and what is added to it come to what is known."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.chart import BUILT_IN, Role, built_in, built_in_text, read_chart
from domain.errors import Conflict, Invalid
from domain.ids import ChannelId
from domain.journal import (
    Booked,
    Entry,
    EntryKind,
    Goods,
    Period,
    Settled,
    difference,
    digest_of,
    entries,
    sides,
)
from domain.money import Money, minor_digits
from domain.money_class import PENDING, Event, MoneyClass

NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))
CHART = built_in("general")
CURRENCIES = ("EUR", "JPY", "KWD")


def settled(id: str, currency: str, total: str, on: date = date(2026, 11, 14)) -> Settled:
    return Settled(id, ChannelId(f"shop-{currency}"), f"S{id}", "DE", Money(Decimal(total), currency), on, on)


@st.composite
def facts(draw: st.DrawFn) -> tuple[list[Settled], list[Booked], list[Goods]]:
    """Settlements with lines that come to their totals, and goods with costs of any number of decimals."""
    whole, booked, goods = [], [], []
    for number in range(draw(st.integers(1, 4))):
        currency = draw(st.sampled_from(CURRENCIES))
        unit = Decimal(1).scaleb(-minor_digits(currency))
        some = draw(
            st.lists(
                st.tuples(
                    st.sampled_from(Event),
                    st.sampled_from(MoneyClass),
                    st.integers(-(10**7), 10**7),
                    st.integers(1, 9),
                    st.booleans(),
                ),
                min_size=1,
                max_size=12,
            )
        )
        id = str(number)
        booked += [
            Booked(id, event, of, Money(amount * unit, currency), count, open)
            for event, of, amount, count, open in some
        ]
        total = sum((row[2] for row in some), 0) * unit
        days = draw(st.integers(-20, 20))
        whole.append(settled(id, currency, str(total), date(2026, 11, 14) + timedelta(days=days)))
        for cost in draw(st.lists(st.decimals(0, 1000, places=5), max_size=2)):
            goods.append(Goods(whole[-1].channel, id, Money(cost, currency), 1, 1))
    return whole, booked, goods


@settings(max_examples=25)
@given(facts(), st.randoms())
def test_a_journal_balances_in_each_currency_and_does_not_depend_on_any_order(
    told: tuple[list[Settled], list[Booked], list[Goods]], random: object
) -> None:
    whole, booked, goods = told
    made = entries(NOVEMBER, whole, booked, goods, CHART)
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in made:
        for side in sides(entry):
            assert min(side.debit, side.credit) == 0
            assert round(side.debit + side.credit, minor_digits(entry.currency)) == side.debit + side.credit
            sums[entry.currency] += side.debit - side.credit
    assert set(sums.values()) <= {Decimal(0)}
    random.shuffle(booked)  # type: ignore[attr-defined]
    random.shuffle(whole)  # type: ignore[attr-defined]
    again = entries(NOVEMBER, whole, booked, list(reversed(goods)), CHART)
    assert (again, digest_of(again)) == (made, digest_of(made))


@settings(max_examples=25)
@given(facts())
def test_what_a_settlement_leaves_on_clearing_is_its_total_until_it_is_paid_out(
    told: tuple[list[Settled], list[Booked], list[Goods]],
) -> None:
    whole, booked, goods = told
    made = entries(NOVEMBER, whole, booked, goods, CHART)
    for one in whole:
        lines = [each for each in made if each.settlement == one.id and each.kind is EntryKind.LINES]
        assert [each.contra_amount for each in lines] == [one.total.amount]
        paid = [each for each in made if each.settlement == one.id and each.kind is EntryKind.PAYOUT]
        assert [each.contra_amount for each in paid] == (
            [-one.total.amount] if one.paid_on in NOVEMBER and one.total.amount else []
        )
        assert sum(posting.lines for each in lines for posting in each.postings) == sum(
            each.lines for each in booked if each.settlement == one.id
        )


def total_of(some: tuple[Entry, ...]) -> dict[object, tuple[Decimal, int]]:
    sums: dict[object, tuple[Decimal, int]] = {}
    for entry in some:
        for posting in entry.postings:
            key = (
                entry.kind,
                entry.settlement,
                entry.contra,
                entry.currency,
                posting.account,
                posting.event,
                posting.money_class,
            )
            amount, lines = sums.get(key, (Decimal(0), 0))
            sums[key] = (amount + posting.amount, lines + posting.lines)
    return {key: told for key, told in sums.items() if any(told)}


@settings(max_examples=25)
@given(facts(), facts(), facts())
def test_what_was_booked_and_what_adjusts_it_come_to_what_is_known(
    first: tuple[list[Settled], list[Booked], list[Goods]],
    second: tuple[list[Settled], list[Booked], list[Goods]],
    third: tuple[list[Settled], list[Booked], list[Goods]],
) -> None:
    known = [entries(NOVEMBER, *told, CHART) for told in (first, second, third)]
    booked: list[Entry] = []
    for now in known:
        booked += difference(now, booked)
        assert total_of(tuple(booked)) == total_of(now)
        assert difference(now, booked) == ()


def test_what_is_not_tied_out_stands_in_suspense_where_everybody_sees_it() -> None:
    rows = [
        Booked("1", Event.SALE, MoneyClass.SALE, Money(Decimal("100"), "EUR"), 3),
        Booked("1", Event.SALE, MoneyClass.SALE, Money(Decimal("20"), "EUR"), 1, open=True),
        Booked("1", Event.ACCOUNT, MoneyClass.UNCLASSIFIED, Money(Decimal("-5"), "EUR"), 2),
    ]
    [entry, paid] = entries(NOVEMBER, [settled("1", "EUR", "115")], rows, [], CHART)
    suspense = CHART.account(Role.SUSPENSE)
    told = {(one.account, one.money_class): (one.amount, one.lines) for one in entry.postings}
    assert told == {
        (suspense, MoneyClass.SALE): (Decimal("-20"), 1),
        (suspense, MoneyClass.UNCLASSIFIED): (Decimal("5"), 2),
        (CHART.account((MoneyClass.SALE, Event.SALE)), MoneyClass.SALE): (Decimal("-100"), 3),
    }
    assert (entry.contra, entry.contra_amount) == (CHART.account(Role.CLEARING), Decimal("115"))
    assert [(one.account, one.amount) for one in paid.postings] == [(CHART.account(Role.TRANSIT), Decimal("115"))]


def test_what_comes_to_no_amount_of_its_currency_is_refused_and_not_rounded() -> None:
    rows = [Booked("1", Event.SALE, MoneyClass.SALE, Money(Decimal("10.005"), "EUR"), 1)]
    with pytest.raises(Conflict, match=r"come to -10.005 EUR, which has 2 decimals"):
        entries(NOVEMBER, [settled("1", "EUR", "10.005")], rows, [], CHART)
    mixed = [Booked("1", Event.SALE, MoneyClass.SALE, Money(Decimal("10"), "USD"), 1)]
    with pytest.raises(Conflict, match="has lines in USD"):
        entries(NOVEMBER, [settled("1", "EUR", "10")], mixed, [], CHART)


def test_costs_are_rounded_once_and_say_by_how_much() -> None:
    goods = [Goods(ChannelId("shop-EUR"), "1", Money(Decimal(cost), "EUR"), 1, 1) for cost in ("1.114", "2.224")]
    [entry] = entries(Period(date(2026, 11, 1), date(2026, 11, 9)), [settled("1", "EUR", "0")], [], goods, CHART)
    [posting] = entry.postings
    assert (posting.amount, posting.rounded, posting.units) == (Decimal("3.34"), Decimal("-0.002"), 2)
    assert (entry.contra, entry.contra_amount) == (CHART.account(Role.INVENTORY), Decimal("-3.34"))


@pytest.mark.parametrize("name", BUILT_IN)
def test_our_charts_have_an_account_for_everything(name: str) -> None:
    chart = built_in(name)
    for of in [*Role, *((one, event) for one in MoneyClass for event in Event if one not in PENDING)]:
        assert chart.account(of) in chart.accounts
    tax = chart.account((MoneyClass.TAX_COLLECTED, Event.SALE))
    assert tax not in {chart.account((one, Event.SALE)) for one in (MoneyClass.SALE, MoneyClass.REFERRAL_FEE)}


def test_the_first_rule_that_fits_holds() -> None:
    special = '[[rules]]\nclass = "SALE"\nchannel = "shop"\nmarketplace = "FR"\naccount = "4050"\n\n[[rules]]'
    chart = read_chart(built_in_text("general").replace("[[rules]]", special, 1))
    of = (MoneyClass.SALE, Event.SALE)
    assert chart.account(of, ChannelId("shop"), "FR") == "4050"
    assert {chart.account(of, ChannelId("shop"), "DE"), chart.account(of, ChannelId("other"), "FR")} == {"4000"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('account = "6000"', 'account = "6001"', "'6001', which is not in"),
        ('part = "FEES"', 'part = "FEE"', "There are REVENUE"),
        ('part = "FEES"', 'class = "PAYMENT_FEE"', "no rule for REFERRAL_FEE of the event SALE"),
        ('part = "FEES"', 'part = "FEES"\nrole = "TRANSIT"', "has a role"),
        ('part = "FEES"', 'klass = "FEES"', "not `klass`"),
        ('role = "SUSPENSE"\n', 'role = "SUSPENSE"\nchannel = "shop"\n', "no rule for the role SUSPENSE"),
        ('zone = "UTC"', 'zone = "Berlin"', "Europe/Berlin"),
        ('currency = "EUR"', 'currency = "Euro"', "a code such as EUR"),
        ("[accounts]", "[datev]\nconsultant = 1\nclient = 1\n\n[accounts]", "from 1001 to"),
        ("[accounts]", "[accounts", "not TOML"),
    ],
)
def test_a_chart_that_would_fail_one_day_is_refused_at_once(old: str, new: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read_chart(built_in_text("general").replace(old, new))
