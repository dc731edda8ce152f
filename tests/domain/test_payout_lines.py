"""What a shop was paid is split over what its orders are made of: to the minor unit, tax apart, whatever came first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.apportion import Refunded, Share, payments, refunds, refunds_of
from domain.charge import Charge, ChargeKind
from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku
from domain.money import Money, minor_digits
from domain.money_class import Event, MoneyClass, Part
from domain.money_line import Cause, MoneyLine
from domain.money_words import SHOPIFY, Dictionary
from domain.order import Order, OrderLine, OrderStatus
from domain.order_parts import parts_of
from domain.payout import Movement
from domain.payout_lines import Known, Place, lines_of
from domain.product import FulfilledBy
from domain.refund import Refund, RefundLine, Restock
from domain.refunded import pieces_of

AT = datetime(2026, 11, 3, 23, 30, tzinfo=UTC)
SHOP = ChannelId("shop")
BERLIN = ZoneInfo("Europe/Berlin")
PAID_OUT = "payout-1"


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def line(id: str, units: int, *charges: Charge, sku: str | None = "S") -> OrderLine:
    ours = None if sku is None else Sku(f"{sku}-{id}")
    return OrderLine(LineId(id), f"item-{id}", ChannelSku(f"C-{id}"), units, 0, sku=ours, charges=charges)


def order(lines: list[OrderLine], *charges: Charge) -> Order:
    return Order(
        id=OrderId("order-1"),
        channel=SHOP,
        marketplace=None,
        external_id="1",
        status=OrderStatus.UNSHIPPED,
        channel_status="PAID",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=AT,
        updated_at=AT,
        lines=lines,
        charges=charges,
    )


def usual() -> Order:
    """Two lines, one of them with a discount, and shipping: 60.00 in all, its tax of 9.58 contained."""
    mugs = [
        Charge(ChargeKind.GOODS, eur("40.00")),
        Charge(ChargeKind.DISCOUNT, eur("-5.00")),
        Charge(ChargeKind.TAX, eur("5.59"), contained=True),
    ]
    plates = [Charge(ChargeKind.GOODS, eur("20.00")), Charge(ChargeKind.TAX, eur("3.19"), contained=True)]
    shipping = [Charge(ChargeKind.SHIPPING, eur("5.00")), Charge(ChargeKind.SHIPPING_TAX, eur("0.80"), contained=True)]
    return order([line("a", 4, *mugs), line("b", 1, *plates)], *shipping)


def charge(id: str, amount: str, fee: str = "0", **more: Any) -> Movement:
    told: dict[str, Any] = {"kind": "CHARGE", "at": AT + timedelta(hours=1), "order": "1", **more}
    return Movement(id=id, amount=eur(amount), fee=eur(fee), **told)


def placed(*movements: Movement) -> dict[Place, Movement]:
    return {(PAID_OUT, row): one for row, one in enumerate(movements, 1)}


def known(*orders: Order, refunded: Mapping[str, Sequence[Refunded]] | None = None) -> Known:
    told = {one.external_id: one for one in orders}
    return Known(SHOP, BERLIN, Dictionary().of(SHOPIFY), told, refunded or {})


def lines(known: Known, *movements: Movement) -> list[MoneyLine]:
    return [one for made in lines_of(known, placed(*movements)).values() for one in made]


def sums(made: Sequence[MoneyLine]) -> dict[tuple[str, str | None], Decimal]:
    found: defaultdict[tuple[str, str | None], Decimal] = defaultdict(Decimal)
    for one in made:
        found[one.money_class.value, one.order_line_id] += one.amount.amount
    return dict(found)


def test_a_payment_is_what_its_order_is_made_of_and_what_was_kept_of_it() -> None:
    made = lines(known(usual()), charge("c", "60.00", "2.04"))
    assert sums(made) == {
        ("SALE", "a"): Decimal("34.41"),
        ("PROMOTION", "a"): Decimal("-5.00"),
        ("TAX_COLLECTED", "a"): Decimal("5.59"),
        ("SALE", "b"): Decimal("16.81"),
        ("TAX_COLLECTED", "b"): Decimal("3.19"),
        ("SHIPPING", None): Decimal("4.20"),
        ("TAX_COLLECTED", None): Decimal("0.80"),
        ("PAYMENT_FEE", None): Decimal("-2.04"),
    }
    sold = {one.order_line_id: one.units for one in made if one.money_class is MoneyClass.SALE}
    assert sold == {"a": 4, "b": 1}
    assert {one.units for one in made if one.money_class is not MoneyClass.SALE} == {None}
    assert {(one.matched_by, one.cause) for one in made if one.money_class is not MoneyClass.PAYMENT_FEE} == {
        ("PAYMENT", None)
    }
    # The order was placed before midnight by the shop's clock, and paid after it.
    assert {one.day.isoformat() for one in made} == {"2026-11-04"}
    assert {one.part for one in made if one.money_class is MoneyClass.TAX_COLLECTED} == {Part.TAX}


def test_of_an_order_that_is_not_known_the_whole_waits_and_is_no_revenue() -> None:
    made = lines(known(), charge("c", "60.00", "2.04"))
    assert {one.part for one in made} == {Part.BALANCE, Part.FEES}
    assert [(one.money_class, one.cause, one.amount) for one in made] == [
        (MoneyClass.PAYMENT, Cause.ORDER_UNKNOWN, eur("60.00")),
        (MoneyClass.PAYMENT_FEE, Cause.ORDER_UNKNOWN, eur("-2.04")),
    ]


def test_payments_in_two_currencies_are_not_added_up() -> None:
    other = replace(charge("d", "30.00"), amount=Money(Decimal(30), "USD"), fee=Money(Decimal(0), "USD"))
    made = lines(known(usual()), charge("c", "30.00"), other)
    assert [(one.cause, one.amount) for one in made] == [
        (Cause.UNAPPORTIONED, eur("30.00")),
        (Cause.UNAPPORTIONED, Money(Decimal(30), "USD")),
    ]


@pytest.mark.parametrize("charges", [(), (Charge(ChargeKind.TAX, eur("3.00"), contained=True),)])
def test_what_nobody_can_split_stands_as_it_is_and_says_so(charges: tuple[Charge, ...]) -> None:
    (made,) = lines(known(order([line("a", 1, *charges)])), charge("c", "60.00"))
    assert (made.money_class, made.cause, made.matched_by) == (MoneyClass.PAYMENT, Cause.UNAPPORTIONED, "ORDER")


def test_what_is_paid_beyond_the_order_is_told() -> None:
    made = lines(known(usual()), charge("c", "61.00"))
    (beyond,) = [one for one in made if one.cause is not None]
    assert (beyond.cause, beyond.amount) == (Cause.UNAPPORTIONED, eur("1.00"))
    assert sum(one.amount.amount for one in made) == 61


def test_a_line_whose_sku_is_not_mapped_says_so() -> None:
    one = order([line("a", 1, Charge(ChargeKind.GOODS, eur("9.00")), sku=None)])
    (made,) = lines(known(one), charge("c", "9.00"))
    assert (made.cause, made.channel_sku, made.units) == (Cause.SKU_UNMAPPED, "C-a", 1)


@pytest.mark.parametrize(
    ("movement", "money_class", "matched_by", "cause"),
    [
        (charge("m", "-15.00", kind="CHARGEBACK_FEE"), MoneyClass.CHARGEBACK, "ORDER", None),
        (charge("m", "-15.00", kind="RESERVED_FUNDS", order=None), MoneyClass.RESERVE, "ACCOUNT", None),
        (charge("m", "-4.20", kind="SHIPPING_LABEL", order="9"), MoneyClass.SHIPPING_LABEL, None, Cause.ORDER_UNKNOWN),
        (charge("m", "3.00", kind="SOMETHING_NEW", order=None), MoneyClass.UNCLASSIFIED, "ACCOUNT", Cause.UNCLASSIFIED),
        (charge("m", "3.00", order=None), MoneyClass.PAYMENT, None, Cause.ORDER_UNKNOWN),
        (charge("m", "0.00", kind="ADJUSTMENT", order=None), MoneyClass.ADJUSTMENT, "ACCOUNT", None),
    ],
)
def test_other_movements_stand_as_they_are(
    movement: Movement, money_class: MoneyClass, matched_by: str | None, cause: Cause | None
) -> None:
    (made,) = lines(known(usual()), movement)
    assert (made.money_class, made.matched_by, made.cause) == (money_class, matched_by, cause)
    assert (made.amount, made.description, made.extra) == (movement.amount, "", {"movement": "m"})


def refunded(one: Order, *told: RefundLine, amount: str, shipping: str | None = None) -> list[Refunded]:
    refund = Refund("R-1", AT + timedelta(days=1), eur(amount), told, None if shipping is None else eur(shipping))
    return refunds_of(one, pieces_of(one, refund, lambda _: True))


def give(id: str, amount: str, **more: Any) -> Movement:
    return charge(id, amount, **{"kind": "REFUND", "at": AT + timedelta(days=2), **more})


def test_a_refund_takes_back_what_its_own_lines_brought() -> None:
    one = usual()
    told = refunded(one, RefundLine("item-b", 1, Restock.RETURN, amount=eur("20.00")), amount="25.00", shipping="5.00")
    made = lines(known(one, refunded={"1": told}), give("r", "-25.00"))
    assert sums(made) == {
        ("SALE", "b"): Decimal("-16.81"),
        ("TAX_COLLECTED", "b"): Decimal("-3.19"),
        ("SHIPPING", None): Decimal("-4.20"),
        ("TAX_COLLECTED", None): Decimal("-0.80"),
    }
    assert {one.event for one in made} == {Event.REFUND}
    assert [one.units for one in made if one.money_class is MoneyClass.SALE] == [1]
    # By the clock of the shop, the day it was given back.
    assert {one.day.isoformat() for one in made} == {"2026-11-06"}


def test_a_refund_of_an_order_without_charges_stands_as_it_is() -> None:
    one = order([line("a", 1)])
    told = refunded(one, RefundLine("item-a", 1, amount=eur("20.00")), amount="20.00")
    (made,) = lines(known(one, refunded={"1": told}), give("r", "-20.00"))
    assert (made.amount, made.cause) == (eur("-20.00"), Cause.UNAPPORTIONED)


def test_units_that_never_left_are_not_given_back() -> None:
    one = usual()
    told = refunded(one, RefundLine("item-b", 1, Restock.CANCEL, amount=eur("20.00")), amount="20.00")
    made = lines(known(one, refunded={"1": told}), give("r", "-20.00"))
    assert [one.units for one in made if one.money_class is MoneyClass.SALE] == [0]


def test_a_refund_that_nobody_tells_of_is_of_all_in_proportion() -> None:
    made = lines(known(usual()), give("r", "-30.00"), give("s", "-30.00", at=AT + timedelta(days=3)))
    whole = lines(known(usual()), charge("c", "60.00"))
    assert sums(made) == {key: -amount for key, amount in sums(whole).items()}
    assert {one.units for one in made} == {None}


def test_a_refund_whose_money_came_back_counts_for_nothing() -> None:
    one = usual()
    told = refunded(one, RefundLine("item-b", 1, amount=eur("20.00")), amount="20.00")
    failure = charge("f", "20.00", kind="REFUND_FAILURE", at=AT + timedelta(days=4))
    made = lines(known(one, refunded={"1": told}), give("r", "-20.00"), failure)
    assert set(sums(made).values()) == {Decimal(0)}


def test_a_refund_is_found_by_its_id_where_there_is_one() -> None:
    one = usual()
    told = [
        Refunded("R-1", AT, ((one.lines[0], 1, eur("10.00")),)),
        Refunded("R-2", AT, ((one.lines[1], 1, eur("10.00")),)),
    ]
    first, second = refunds(parts_of(one), told, [(eur("-10.00"), "R-2"), (eur("-10.00"), "R-1")])
    assert {share.part.line.id for share in first if share.part and share.part.line} == {"b"}
    assert {share.part.line.id for share in second if share.part and share.part.line} == {"a"}


def test_a_refund_that_is_told_in_part_is_not_guessed() -> None:
    one = usual()
    whole = refunded(one, RefundLine("item-b", 1), amount="20.00")
    assert whole == []
    pieces = pieces_of(one, Refund("R-1", AT, eur("5.00")), lambda _: True)
    assert [each.total for each in refunds_of(one, pieces)] == [Decimal("5.00")]
    strange = [replace(each, reference="R-1:item-z:0") for each in pieces]
    assert refunds_of(one, [*pieces, *strange]) == []


CURRENCIES = ("EUR", "JPY", "KWD")
amounts = st.integers(0, 10**7)


@st.composite
def orders(draw: st.DrawFn, currency: str) -> Order:
    """Any order that costs something; its taxes beside its prices or in them, with all decimals of the currency."""
    scale = Decimal(1).scaleb(-minor_digits(currency))

    def charges(kind: ChargeKind, off: ChargeKind, tax: ChargeKind, taxed: ChargeKind) -> tuple[Charge, ...]:
        price = draw(amounts)
        less = draw(st.integers(0, price))
        taxes = draw(st.integers(0, price - less))
        made = [(kind, price, False), (off, -less, False), (tax, taxes, draw(st.booleans()))]
        return tuple(Charge(of, Money(amount * scale, currency), contained) for of, amount, contained in made)

    goods = (ChargeKind.GOODS, ChargeKind.DISCOUNT, ChargeKind.TAX, ChargeKind.DISCOUNT_TAX)
    shipping = (ChargeKind.SHIPPING, ChargeKind.SHIPPING_DISCOUNT, ChargeKind.SHIPPING_TAX, ChargeKind.OTHER_TAX)
    lines = [line(str(id), draw(st.integers(1, 5)), *charges(*goods)) for id in range(draw(st.integers(1, 4)))]
    return order(lines, *charges(*shipping))


@given(st.data(), st.sampled_from(CURRENCIES))
def test_payments_that_come_to_the_order_have_exactly_its_parts(data: st.DataObject, currency: str) -> None:
    parts = parts_of(data.draw(orders(currency)))
    whole = sum((one.amount.amount for one in parts), Decimal(0))
    if whole <= 0:
        with pytest.raises(ValueError, match="no parts"):
            payments(parts, [Money(Decimal(1), currency)])
        return
    scale = Decimal(1).scaleb(-minor_digits(currency))
    cuts = sorted(data.draw(st.lists(st.integers(0, int(whole / scale)), max_size=4)))
    steps = [0, *cuts, int(whole / scale)]
    paid = [Money((after - before) * scale, currency) for before, after in pairwise(steps)]
    split = payments(parts, paid)
    assert [_sum(shares) for shares in split] == [one.amount for one in paid]
    every = [share for shares in split for share in shares]
    assert [sum((share.amount.amount for share in every if share.part is part), Decimal(0)) for part in parts] == [
        part.amount.amount for part in parts
    ]
    assert all(share.amount.amount == share.amount.amount.quantize(scale) for share in every)
    units = {
        part.line.id: sum(share.units or 0 for share in every if share.part is part)
        for part in parts
        if part.line is not None and part.kind is ChargeKind.GOODS
    }
    assert units == {
        part.line.id: part.line.quantity for part in parts if part.line is not None and part.line.id in units
    }


def _sum(shares: Sequence[Share]) -> Decimal:
    return sum((share.amount.amount for share in shares), Decimal(0))


@given(st.data(), st.sampled_from(CURRENCIES), st.sampled_from(CURRENCIES))
def test_nothing_is_lost_whatever_moves_in_whatever_order(data: st.DataObject, currency: str, paid_in: str) -> None:
    """Charges, refunds and fees of any amounts, also in another currency than the order's; and one split, whichever is told
    first."""
    one = data.draw(orders(currency))
    scale = Decimal(1).scaleb(-minor_digits(paid_in))
    movements = [
        Movement(
            id=str(id),
            kind=kind,
            amount=Money((amount if kind == "CHARGE" else -amount) * scale, paid_in),
            fee=Money(fee * scale, paid_in),
            at=AT + timedelta(hours=hours),
            order="1",
        )
        for id, (kind, amount, fee, hours) in enumerate(
            data.draw(
                st.lists(
                    st.tuples(
                        st.sampled_from(("CHARGE", "REFUND", "REFUND_FAILURE")), amounts, amounts, st.integers(0, 5)
                    ),
                    min_size=1,
                    max_size=5,
                )
            )
        )
    ]
    told = [
        Refunded("R", AT, tuple((each, 1, Money(data.draw(amounts) * scale, paid_in)) for each in (*one.lines, None))),
    ]
    all = placed(*movements)
    made = lines_of(known(one, refunded={"1": told}), all)
    for place, movement in all.items():
        assert (
            sum((each.amount.amount for each in made[place]), Decimal(0))
            == movement.amount.amount - movement.fee.amount
        )
        assert {each.row for each in made[place]} == {place[1]}
    shuffled = dict(data.draw(st.permutations(list(all.items()))))
    assert lines_of(known(one, refunded={"1": told}), shuffled) == made
