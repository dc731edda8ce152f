"""The second person: wanted by the size of a change, its count and its channel, and never where nobody said so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.money import Money
from domain.price import Action, Hit, JudgedWish, Origin, Price, PriceFacts, PriceWish, Sale
from domain.price_approval import Approval, read_approval, second_person
from domain.price_inputs import FeeEstimate

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


def eur(amount: str | int | Decimal) -> Money:
    return Money(Decimal(amount), "EUR")


def row(
    before: str | Decimal | None,
    after: str | Decimal,
    channel: str = "shop",
    origin: Origin = Origin.MUTATION,
    sku: str = "A",
) -> JudgedWish:
    wish = PriceWish(
        ListingId(sku), ChannelId(channel), None, ChannelSku(sku), Sku(sku), {}, Price(eur(after)), origin, "why"
    )
    return JudgedWish(wish, PriceFacts(live=None if before is None else Price(eur(before))))


@pytest.mark.parametrize(
    ("approval", "rows", "wanted"),
    [
        (Approval(), [row("1", "1000000")], False),
        (Approval(row={"EUR": Decimal(2)}), [row("10", "12")], False),
        (Approval(row={"EUR": Decimal(2)}), [row("10", "12.01")], True),
        (Approval(row={"EUR": Decimal(2)}), [row("10", "7.99")], True),
        (Approval(row={"USD": Decimal(2)}), [row("10", "100")], False),
        (Approval(row={"EUR": Decimal(2)}), [row(None, "2.01")], True),
        (Approval(total={"EUR": Decimal(3)}), [row("10", "12"), row("12", "11", sku="B")], False),
        (Approval(total={"EUR": Decimal(3)}), [row("10", "12"), row("12", "10.99", sku="B")], True),
        (Approval(rows=1), [row("10", "11"), row("10", "10", sku="B")], False),
        (Approval(rows=1), [row("10", "11"), row("10", "11", sku="B")], True),
        (Approval(channels=("amazon",)), [row("10", "11")], False),
        (Approval(channels=("amazon",)), [row("10", "11", "amazon")], True),
        (Approval(rows=0), [row("10", "11", origin=Origin.REVERT), row("10", "11", origin=Origin.SALE)], False),
        (Approval(rows=0), [row("10", "11", origin=Origin.RULE)], True),
    ],
)
def test_when_one_person_is_not_enough(approval: Approval, rows: list[JudgedWish], wanted: bool) -> None:
    hits = second_person(approval, rows)
    assert bool(hits) is wanted
    assert {hit.action for hit in hits} <= {Action.HOLD}


def test_a_row_that_is_refused_anyway_counts_for_nothing() -> None:
    fine = row("10", "11")
    refused = JudgedWish(fine.wish, fine.facts, (Hit("FLOOR", Action.REFUSE, "no"),))
    assert second_person(Approval(rows=0), [refused]) == ()
    assert second_person(Approval(rows=0), [fine]) != ()


def test_a_sale_moves_a_price_by_as_much_as_buyers_pay_less() -> None:
    one = row("10", "10")
    sale = PriceWish(
        **{name: getattr(one.wish, name) for name in PriceWish.__dataclass_fields__}
        | {"price": Price(eur(10), Sale(eur(7)))}
    )
    assert JudgedWish(sale, one.facts).shift == eur(3)
    assert JudgedWish(sale, one.facts).step == Decimal("-30.0")


AMOUNTS = st.decimals(min_value=Decimal("0.01"), max_value=Decimal(10_000), places=2)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=5), AMOUNTS, AMOUNTS)
def test_the_words_come_exactly_where_a_bound_is_passed(
    pairs: list[tuple[Decimal, Decimal]], one: Decimal, all: Decimal
) -> None:
    rows = [row(before, after, sku=str(n)) for n, (before, after) in enumerate(pairs)]
    moves = [abs(after - before) for before, after in pairs]
    assert bool(second_person(Approval(row={"EUR": one}), rows)) == any(move > one for move in moves)
    assert bool(second_person(Approval(total={"EUR": all}), rows)) == (sum(moves) > all)


def test_what_is_kept_is_read_again_and_nothing_strange_is() -> None:
    one = Approval({"EUR": Decimal("2.50")}, {"JPY": Decimal(1000)}, 500, ("amazon", "shop"))
    assert read_approval(json.loads(json.dumps(one.told()))) == one
    assert read_approval({}) == Approval()
    for told in ({"row": {"EUR": "-1"}}, {"row": {"euro": "1"}}, {"rows": -1}, {"anybody": True}):
        with pytest.raises(Invalid):
            read_approval(told)


def test_the_least_and_the_most_that_buyers_ever_pay() -> None:
    for price, lowest, highest in (
        (Price(eur(10)), 10, 10),
        (Price(eur(10), Sale(eur(7))), 7, 10),
        (Price(eur(10), Sale(eur(12))), 10, 12),  # which is no sale, and is refused elsewhere
    ):
        assert (price.lowest, price.highest) == (eur(lowest), eur(highest))


def test_a_margin_is_told_only_where_cost_and_fees_are_known_in_its_currency() -> None:
    one = row("10", "10")
    taken = FeeEstimate(eur(20), eur(3), eur("0.50"), AT)
    known = PriceFacts(live=one.facts.live, cost=eur(4), estimates=(taken,))
    assert JudgedWish(one.wish, known).margin == eur("4.00")  # of 10, the half of what moves, and what is fixed
    assert JudgedWish(one.wish, PriceFacts(cost=eur(4))).margin is None
    dollar = Money(Decimal(1), "USD")
    dollars = FeeEstimate(dollar, dollar, dollar, AT)
    assert JudgedWish(one.wish, PriceFacts(cost=eur(4), estimates=(dollars,))).margin is None
