"""A settlement that is missing is noticed, whatever the order in which the others came."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import ChannelId
from domain.money import Money
from domain.residual import Missing
from domain.settlement_chain import Link, missing

AT = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = timedelta(days=14)


def eur(amount: object) -> Money:
    return Money(Decimal(str(amount)), "EUR")


def chain(balances: list[int], marketplace: str | None = "DE") -> list[Link]:
    """Settlements one after the other that hand on these balances: one fewer than there are balances."""
    return [
        Link(
            ChannelId("a"), marketplace, AT + PERIOD * n, AT + PERIOD * (n + 1), eur(balances[n]), eur(balances[n + 1])
        )
        for n in range(len(balances) - 1)
    ]


@given(st.lists(st.integers(0, 50), min_size=3, max_size=9), st.data())
def test_what_is_taken_out_of_chains_is_what_is_missing(balances: list[int], data: st.DataObject) -> None:
    """Two marketplaces beside each other; runs of missing ones count as one."""
    german, french = chain(balances), chain(balances[::-1], "FR")
    gone = data.draw(st.sets(st.integers(0, len(german) - 1), max_size=len(german) - 1))
    left = [one for n, one in enumerate(german) if n not in gone]
    told = missing(data.draw(st.permutations([*left, *french])))
    first, last = min(set(range(len(german))) - gone), max(set(range(len(german))) - gone)
    expected: list[Missing] = []
    for n in sorted(n for n in gone if first < n < last):
        if expected and expected[-1].ends_at == german[n].starts_at:
            expected[-1] = replace(expected[-1], ends_at=german[n].ends_at)
        else:
            one = german[n]
            expected.append(Missing(one.channel, "DE", one.starts_at, one.ends_at, one.came_in))
    assert told == expected


def test_a_balance_that_was_not_handed_on_is_missing_too() -> None:
    first, second = chain([0, 40, 0])
    assert missing([first, second]) == []
    other = replace(second, came_in=eur(25))
    assert missing([other, first]) == [Missing(first.channel, "DE", first.ends_at, first.ends_at, eur(15))]


def test_currencies_and_channels_have_chains_of_their_own() -> None:
    first, _, third = chain([0, 0, 0, 0])
    pounds = Money(Decimal(0), "GBP")
    assert missing([first, replace(third, came_in=pounds, went_out=pounds)]) == []
    assert missing([first, replace(third, channel=ChannelId("b"))]) == []
    assert len(missing([first, third])) == 1


def test_chains_side_by_side_are_told_apart_by_their_periods() -> None:
    """Invoiced orders have settlements of their own, at other times."""
    other = [
        replace(one, starts_at=one.starts_at + PERIOD / 2, ends_at=one.ends_at + PERIOD / 2) for one in chain([0] * 4)
    ]
    assert missing([*chain([0] * 5), *other]) == []
    assert missing([*chain([0] * 5), other[0], other[2]]) == [
        Missing(ChannelId("a"), "DE", other[0].ends_at, other[2].starts_at, eur(0))
    ]
    # At the same times, both balances are handed on together.
    both = [*chain([0, 10, 20]), *chain([0, 5, 0])]
    assert missing(both) == []
