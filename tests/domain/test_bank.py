"""Which line of a bank is which payout: the same for any order of what came, and never a guess."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.bank import BankLine, Candidate, Doubt, Match, MatchRule, Payout, Said, due_by, matched, names
from domain.ids import ChannelId
from domain.money import Money

MONDAY = date(2026, 11, 2)


def payout(id: str, amount: str = "10.00", on: date = MONDAY, *called: str, currency: str = "EUR") -> Payout:
    return Payout(id, ChannelId("amazon"), Money(Decimal(amount), currency), on, called)


def line(key: str, amount: str = "10.00", on: date = MONDAY, words: str = "", currency: str = "EUR") -> BankLine:
    return BankLine("DE1", key, on, Money(Decimal(amount), currency), words)


AMOUNTS = st.sampled_from(("10.00", "20.00"))
DAYS = st.integers(-3, 12).map(lambda days: MONDAY + timedelta(days=days))
PAYOUTS = st.lists(st.tuples(AMOUNTS, DAYS, st.booleans()), max_size=6).map(
    lambda told: [
        payout(f"p{n}", amount, on, *([f"REF{n:04}"] if named else [])) for n, (amount, on, named) in enumerate(told)
    ]
)
LINES = st.lists(st.tuples(AMOUNTS, DAYS, st.integers(0, 7)), max_size=6).map(
    lambda told: [
        line(f"k{n}", amount, on, f"Payout REF{of:04}" if of < 6 else "") for n, (amount, on, of) in enumerate(told)
    ]
)


@settings(max_examples=40)
@given(PAYOUTS, LINES, st.randoms(), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=2))
def test_any_order_of_arrival_makes_the_same_matches_and_nothing_is_matched_twice(
    payouts: list[Payout], lines: list[BankLine], random: object, decided: list[tuple[int, int]]
) -> None:
    pairs = {p: n for p, n in decided if p < len(payouts) and n < len(lines)}
    said = [Said(lines[n].id, payouts[p].id) for p, n in pairs.items() if list(pairs.values()).count(n) == 1]
    found = matched(payouts, lines, said)
    random.shuffle(payouts)  # type: ignore[attr-defined]
    random.shuffle(lines)  # type: ignore[attr-defined]
    assert matched(payouts, lines, list(reversed(said))) == found
    used = [one.line for one in found.matches], [one.payout for one in found.matches]
    assert all(len(set(some)) == len(some) for some in used)
    by_id = {one.id: one for one in payouts} | {one.id: one for one in lines}
    for one in found.matches:
        if one.rule is not MatchRule.PERSON:
            assert one.payout is not None
            assert by_id[one.payout].total == by_id[one.line].amount  # type: ignore[union-attr]
    left = {one.payout for one in found.candidates} | {one.line for one in found.candidates}
    assert left.isdisjoint({*used[0], *used[1]})


def test_a_line_that_names_the_payout_is_it_on_whichever_day() -> None:
    called = line("k", on=MONDAY + timedelta(days=40), words="AMAZON PAYMENTS EUROPE 6RQ7X2 settlement ABC 12345.")
    assert matched([payout("p", "10", MONDAY, "abc12345")], [called]).matches == (
        Match(called.id, "p", MatchRule.REFERENCE),
    )


def test_an_amount_within_days_is_it_only_where_neither_has_another_one() -> None:
    late, other = line("late", on=MONDAY + timedelta(days=7)), line("other", on=MONDAY)
    assert matched([payout("p")], [late]).matches == (Match(late.id, "p", MatchRule.AMOUNT_DATE),)
    found = matched([payout("p")], [late, other])
    assert found.matches == ()
    assert {(one.line, one.doubt) for one in found.candidates} == {
        (late.id, Doubt.SEVERAL),
        (other.id, Doubt.SEVERAL),
    }
    assert matched([payout("p"), payout("q")], [late]).matches == ()
    # A person takes one of them away, and the other is certain.
    decided = matched([payout("p")], [late, other], [Said(other.id, None)])
    assert {one.rule for one in decided.matches} == {MatchRule.PERSON, MatchRule.AMOUNT_DATE}


def test_what_the_bank_has_converted_or_cut_is_never_matched_silently() -> None:
    dollars = line("usd", "11.63", words="PAYOUT REF12345", currency="USD")
    less = line("fee", "9.50", words="PAYOUT REF12345")
    for one, doubt in ((dollars, Doubt.CURRENCY_DIFFERS), (less, Doubt.AMOUNT_DIFFERS)):
        found = matched([payout("p", "10", MONDAY, "REF12345")], [one])
        assert found.matches == ()
        assert found.candidates == (Candidate("p", one.id, doubt),)


def test_a_payout_that_the_bank_has_sent_back_is_not_paid() -> None:
    paid = line("k", words="PAYOUT REF12345")
    assert [one.rule for one in matched([payout("p", "10", MONDAY, "REF12345")], [paid]).matches] == [
        MatchRule.REFERENCE
    ]
    back = line("back", "-10", MONDAY + timedelta(days=2), "RETURNED REF12345")
    found = matched([payout("p", "10", MONDAY, "REF12345")], [paid, back])
    assert (found.matches, {one.line for one in found.candidates}) == ((), {paid.id, back.id})


def test_a_reversal_is_no_payout_and_makes_what_it_may_take_back_uncertain() -> None:
    paid, later = line("k"), MONDAY + timedelta(days=2)
    back = line("back", "-10", later, "STORNO RvslInd")
    assert matched([payout("p")], [paid, back]).matches == ()
    # The same amount once more is not that line, and neither is what was booked behind it or on another account.
    assert len(matched([payout("p")], [paid, line("back", "-10", later, "STORNO")]).matches) == 1
    assert len(matched([payout("p")], [line("k", on=later + timedelta(days=1)), back]).matches) == 1
    assert len(matched([payout("p")], [paid, replace(back, account="DE2")]).matches) == 1
    # Which one it is shows by a name in common.
    one, two = line("one", words="E2E0001"), line("two", "10", MONDAY + timedelta(days=1), "PAYOUT REF12345")
    storno = line("back", "-10", later, "STORNO E2E0001 RvslInd")
    found = matched([payout("p", "10", MONDAY, "REF12345")], [one, two, storno])
    assert [each.line for each in found.matches] == [two.id]
    # What we owed is not paid by it, nor is what we are owed by a debit that is taken back.
    for amount in ("10", "-10"):
        assert matched([payout("p", amount)], [line("k", amount, words="RvslInd")]).matches == ()
        assert len(matched([payout("p", amount)], [line("k", amount)]).matches) == 1


def test_a_line_that_names_one_payout_is_not_taken_for_another_one_of_its_amount() -> None:
    """The named one has its line already, and the other one is of the same amount on the same day."""
    first, again = line("a", words="PAYOUT REF12345"), line("b", "4", words="REST OF REF12345")
    named, other = payout("p", "10", MONDAY, "REF12345"), payout("q", "4")
    found = matched([named, other], [first, again])
    assert [(one.line, one.payout) for one in found.matches] == [(first.id, "p")]
    assert found.candidates == (Candidate("q", again.id, Doubt.SEVERAL),)
    assert matched([other], [line("b", "4")]).matches[0].payout == "q"


def test_the_same_number_in_another_currency_or_another_month_is_not_taken() -> None:
    assert matched([payout("p")], [line("k", currency="USD")]).candidates == ()
    far = line("k", on=MONDAY + timedelta(days=30))
    assert matched([payout("p")], [far]).candidates == (Candidate("p", far.id, Doubt.DATE_DIFFERS),)
    assert matched([payout("p")], [line("k", on=MONDAY + timedelta(days=90))]).candidates == ()


def test_working_days_leave_weekends_out() -> None:
    assert due_by(MONDAY) == MONDAY + timedelta(days=7)
    assert due_by(MONDAY + timedelta(days=4), 1) == MONDAY + timedelta(days=7)


def test_names_are_found_whole_and_where_banks_break_them() -> None:
    assert {"ref12345", "abc12345"} <= names("EREF: REF12345, SVWZ+ABC 12345")
    assert names("Payout of 12") == frozenset()
