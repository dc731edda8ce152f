"""What is reckoned of orders that nobody has billed yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.apportion import Refunded
from domain.charge import Charge, ChargeKind, charged
from domain.errors import Invalid
from domain.estimate import (
    FEES_UNKNOWN,
    Known,
    UnitFee,
    UnitFees,
    estimated,
    open_of,
)
from domain.fee import FeeKind
from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku
from domain.money import Money
from domain.money_class import Event, MoneyClass, Part
from domain.money_line import MoneyLine, Source, Stage
from domain.order import Order, OrderLine, OrderStatus
from domain.order_parts import parts_of, split
from domain.payment_fee import PaymentFee, read_payment_fee
from domain.product import FulfilledBy

AT = datetime(2026, 11, 3, 23, 30, tzinfo=UTC)
TAX = MoneyClass.TAX_COLLECTED
BERLIN = ZoneInfo("Europe/Berlin")
SHOP = ChannelId("shop")


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def goods(amount: str, tax: str = "0", *, contained: bool = False) -> tuple[Charge, ...]:
    return (Charge(ChargeKind.GOODS, eur(amount)), Charge(ChargeKind.TAX, eur(tax), contained=contained))


def line(id: str, quantity: int, charges: tuple[Charge, ...], cancelled: int = 0) -> OrderLine:
    return OrderLine(
        LineId(id),
        f"item-{id}",
        ChannelSku(f"C-{id}"),
        quantity,
        0,
        sku=Sku(f"S-{id}"),
        charges=charges,
        quantity_cancelled=cancelled,
    )


def order(*lines: OrderLine, charges: tuple[Charge, ...] = (), **changed: Any) -> Order:
    made = Order(
        OrderId("order-1"),
        SHOP,
        None,
        "X-1",
        OrderStatus.UNSHIPPED,
        "paid",
        FulfilledBy.MERCHANT,
        AT,
        AT,
        list(lines),
        charges=charges,
    )
    return replace(made, **changed)


def bill(of: str | None, units: int | None, **changed: Any) -> MoneyLine:
    """Money that somebody who knows has told of a sale."""
    made = MoneyLine(
        channel=SHOP,
        source=Source.TRANSACTION,
        stage=Stage.DEFERRED,
        event=Event.SALE,
        money_class=MoneyClass.SALE,
        amount=eur("1"),
        posted_at=AT,
        day=AT.date(),
        kind="Shipment",
        reference="T-1",
        order_id=OrderId("order-1"),
        order_line_id=None if of is None else LineId(of),
        units=units,
    )
    return replace(made, **changed)


def told(lines: Sequence[MoneyLine]) -> dict[str, str]:
    """What the lines come to by class."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for one in lines:
        sums[one.money_class.value] += one.amount.amount
    return {name: f"{amount:f}" for name, amount in sums.items()}


TWO = order(
    line("a", 2, (*goods("119.00", "19.00", contained=True), Charge(ChargeKind.DISCOUNT, eur("-9.00")))),
    line("b", 1, goods("10.00", "1.60", contained=True)),
    charges=(Charge(ChargeKind.SHIPPING, eur("5.95")), Charge(ChargeKind.SHIPPING_TAX, eur("0.95"), contained=True)),
    prices_with_tax=True,
)


def test_what_nobody_has_billed_is_reckoned_without_the_tax_that_prices_hold() -> None:
    made = estimated(Known(TWO, BERLIN))
    assert told(made) == {"SALE": "108.40", "PROMOTION": "-9.00", "SHIPPING": "5.00", "TAX_COLLECTED": "21.55"}
    assert sum(one.amount.amount for one in made) == Decimal("125.95")
    assert {one.part for one in made} == {Part.REVENUE, Part.TAX}
    assert {(one.stage, one.day, one.posted_at, one.reference) for one in made} == {
        (Stage.ESTIMATED, date(2026, 11, 4), AT, "order-1")
    }
    assert {(one.sku, one.units) for one in made if one.money_class is MoneyClass.SALE} == {("S-a", 2), ("S-b", 1)}


def test_what_was_billed_of_it_is_not_reckoned_any_more() -> None:
    some = estimated(Known(TWO, BERLIN, [bill("a", 1)]))
    assert told(some) == {"SALE": "58.40", "PROMOTION": "-4.50", "SHIPPING": "3.33", "TAX_COLLECTED": "11.73"}
    assert {id: one.units for id, one in open_of(TWO, [bill("a", 1)]).items()} == {"a": 1, "b": 1}
    assert estimated(Known(TWO, BERLIN, [bill("a", 2), bill("b", 1)])) == []


@pytest.mark.parametrize(
    ("money", "left"),
    [
        (bill(None, 1, item_id="item-b"), {"a": 2, "b": 0}),
        (bill(None, 1, sku=Sku("S-a")), {"a": 1, "b": 1}),
        (bill(None, 2, channel_sku=ChannelSku("C-b")), {"a": 2, "b": 0}),
        (bill(None, 3), {"a": 0, "b": 0}),
        (bill(None, None), {"a": 0, "b": 0}),
        (bill("a", None), {"a": 0, "b": 1}),
        (bill("a", 2, event=Event.REFUND), {"a": 2, "b": 1}),
        (bill("a", 2, money_class=MoneyClass.REFERRAL_FEE), {"a": 2, "b": 1}),
    ],
)
def test_units_are_billed_by_line_then_by_sku_then_by_order(money: MoneyLine, left: dict[str, int]) -> None:
    assert {id: one.units for id, one in open_of(TWO, [money]).items()} == left


@pytest.mark.parametrize(
    "nothing",
    [
        replace(TWO, status=OrderStatus.CANCELLED),
        replace(TWO, whole=False),
        order(line("a", 2, ()), status=OrderStatus.PENDING),
        order(line("a", 0, goods("10.00"), cancelled=2)),
    ],
)
def test_nothing_is_reckoned_of_what_is_canceled_unread_or_without_prices(nothing: Order) -> None:
    assert estimated(Known(nothing, BERLIN)) == []


def test_units_that_are_given_away_are_sold_for_nothing() -> None:
    [made] = estimated(Known(order(line("a", 1, goods("0.00"))), BERLIN))
    assert (made.money_class, made.amount, made.units) == (MoneyClass.SALE, eur("0.00"), 1)


def test_units_that_were_canceled_bring_nothing() -> None:
    made = estimated(Known(order(line("a", 1, goods("30.00", "3.00"), cancelled=2)), BERLIN))
    assert told(made) == {"SALE": "10.00", "TAX_COLLECTED": "1.00"}


def test_what_was_paid_of_a_unit_that_is_not_billed_yet_is_not_reckoned_again() -> None:
    one = order(line("a", 1, goods("100.00", "20.00")))
    # The first of two payments: most of the money, and none of the units.
    first = [bill("a", 0, amount=eur("60.00")), bill("a", None, money_class=MoneyClass.TAX_COLLECTED, amount=eur("12"))]
    made = estimated(Known(one, BERLIN, first, payment=PaymentFee(Decimal(1), Decimal(1))))
    assert told(made) == {"SALE": "40.00", "TAX_COLLECTED": "8.00", "PAYMENT_FEE": "-0.48"}
    assert [each.units for each in made if each.units] == [1]
    assert estimated(Known(one, BERLIN, [*first, bill("a", 1, amount=eur("40.00"))])) == []


def refunded(amount: str, units: int, at: datetime = AT, of: OrderLine | None = None) -> Refunded:
    return Refunded(f"R-{at.day}", at, ((of, units, eur(amount)),))


LATER = datetime(2026, 11, 9, 12, tzinfo=UTC)


def test_what_was_refunded_and_is_not_billed_yet_goes_back_on_the_day_of_the_refund() -> None:
    one = order(line("a", 2, goods("100.00", "20.00")))
    back = [refunded("60.00", 1, LATER, one.lines[0])]
    made = estimated(Known(one, BERLIN, refunded=back))
    gone = [each for each in made if each.event is Event.REFUND]
    assert told(gone) == {"SALE": "-50.00", "TAX_COLLECTED": "-10.00"}
    assert {(each.part, each.day, each.adjustment_id) for each in gone if each.units} == {
        (Part.REFUNDS, date(2026, 11, 9), "R-9")
    }
    sold = [bill("a", 2, amount=eur("100")), bill("a", None, money_class=MoneyClass.TAX_COLLECTED, amount=eur("20"))]
    assert told(estimated(Known(one, BERLIN, sold, refunded=back))) == told(gone)
    billed = [
        bill("a", 1, amount=eur("-50"), event=Event.REFUND),
        bill("a", None, money_class=MoneyClass.TAX_COLLECTED, amount=eur("-10"), event=Event.REFUND),
    ]
    assert estimated(Known(one, BERLIN, [*sold, *billed], refunded=back)) == []


def test_units_that_were_canceled_before_they_were_paid_go_back_from_nobody() -> None:
    half = order(line("a", 1, goods("100.00"), cancelled=1))
    back = [refunded("50.00", 0, LATER, half.lines[0])]
    assert told(estimated(Known(half, BERLIN, refunded=back))) == {"SALE": "50.00"}
    paid = [bill("a", 1, amount=eur("100.00"))]
    assert told(estimated(Known(half, BERLIN, paid, refunded=back))) == {"SALE": "-50.00"}
    none = replace(half, status=OrderStatus.CANCELLED)
    everything = [refunded("100.00", 2, LATER, none.lines[0])]
    assert estimated(Known(none, BERLIN, refunded=everything)) == []
    assert told(estimated(Known(none, BERLIN, paid, refunded=everything))) == {"SALE": "-100.00"}


@given(
    st.lists(st.integers(1, 2_000), max_size=4),
    st.booleans(),
    st.booleans(),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_what_buyers_pay_less_what_they_get_back_is_the_same_before_and_after_it_is_billed(
    cents: list[int], sale_billed: bool, half_billed: bool, refund_billed: list[bool]
) -> None:
    one = order(line("a", 2, goods("100.00", "20.00")), line("b", 1, goods("11.00", "1.00", contained=True)))
    back = [
        refunded(f"{amount / 100:.2f}", 0, LATER.replace(day=10 + at), one.lines[at % 2])
        for at, amount in enumerate(cents)
    ]
    billed = []
    if sale_billed or half_billed:
        billed += [bill("a", 2, amount=eur("100.00")), bill("a", None, amount=eur("20"), money_class=TAX)]
    if sale_billed:
        billed += [bill("b", 1, amount=eur("10.00")), bill("b", None, amount=eur("1"), money_class=TAX)]
    billed += [
        bill(None, None, amount=Money(-told_refund.total, "EUR"), event=Event.REFUND)
        for told_refund, is_billed in zip(back, refund_billed, strict=False)
        if is_billed
    ]
    made = estimated(Known(one, BERLIN, billed, refunded=back))
    assert sum(each.amount.amount for each in (*billed, *made)) == Decimal("131.00") - sum(cents) / Decimal(100)
    if sale_billed and all(refund_billed[: len(back)]):
        assert made == []


FEES = {
    LineId("a"): [
        UnitFees(eur("100.00"), (UnitFee(FeeKind.REFERRAL, "ReferralFee", eur("20.00"), moves=True),)),
        UnitFees(
            eur("50.00"),
            (
                UnitFee(FeeKind.REFERRAL, "ReferralFee", eur("7.50"), moves=True),
                UnitFee(FeeKind.FULFILLMENT, "FBAFees", eur("3.20"), moves=False),
            ),
        ),
    ]
}


def test_fees_follow_the_estimate_at_the_nearest_price_and_are_never_made_up() -> None:
    made = estimated(Known(TWO, BERLIN, fees=FEES))
    # 55.00 of a unit: 7.50 of 50.00 are 8.25.
    assert told(made)["REFERRAL_FEE"] == "-16.50"
    assert told(made)["FULFILLMENT_FEE"] == "-6.40"
    assert {one.sku: one.description for one in made if one.units} == {"S-a": "", "S-b": FEES_UNKNOWN}


def test_a_unit_price_has_its_tax_where_prices_are_shown_with_it() -> None:
    fees = {LineId("a"): [UnitFees(eur("23.80"), (UnitFee(FeeKind.REFERRAL, "R", eur("3.57"), moves=True),))]}
    apart = order(line("a", 1, goods("20.00", "3.80")), prices_with_tax=True)
    assert told(estimated(Known(apart, BERLIN, fees=fees)))["REFERRAL_FEE"] == "-3.57"


def test_a_payment_fee_is_taken_of_what_the_buyer_pays_and_once_for_each_order() -> None:
    fee = read_payment_fee("2.9 % + 0.30")
    assert fee == PaymentFee(Decimal("2.9"), Decimal("0.30"))
    assert told(estimated(Known(TWO, BERLIN, payment=fee)))["PAYMENT_FEE"] == "-3.95"
    billed = estimated(Known(TWO, BERLIN, [bill("a", 2)], payment=fee))
    assert told(billed)["PAYMENT_FEE"] == "-1.22"
    assert read_payment_fee("1.4%") == PaymentFee(Decimal("1.4"))
    for wrong in ("", "0.30", "2,9 %", "2.9 % - 1", "nan %"):
        with pytest.raises(Invalid):
            read_payment_fee(wrong)


def test_a_tax_that_nothing_of_the_order_itself_holds_is_taken_from_the_goods_of_its_lines() -> None:
    whole = order(
        line("a", 1, goods("10.00")),
        line("b", 1, goods("20.00")),
        charges=(Charge(ChargeKind.TAX, eur("4.79"), contained=True),),
    )
    parts = {(one.line and one.line.id, one.kind.value): f"{one.amount.amount}" for one in parts_of(whole)}
    assert parts == {("a", "GOODS"): "8.40", ("b", "GOODS"): "16.81", (None, "TAX"): "4.79"}
    with pytest.raises(Invalid):
        parts_of(order(charges=(Charge(ChargeKind.TAX, eur("4.79"), contained=True),)))


amounts = st.integers(-10_000, 10_000).map(lambda cents: Decimal(cents).scaleb(-2))
charges = st.builds(
    lambda kind, amount, contained: Charge(kind, Money(amount, "EUR"), contained=contained and kind.tax),
    st.sampled_from(ChargeKind),
    amounts,
    st.booleans(),
)


@given(st.lists(st.lists(charges, max_size=4), min_size=1, max_size=3), st.lists(charges, max_size=4))
def test_the_parts_of_an_order_are_what_its_buyer_pays(of_lines: list[list[Charge]], apart: list[Charge]) -> None:
    base = Charge(ChargeKind.GOODS, eur("500.00"))
    one = order(
        *(line(str(at), 1, (base, *those)) for at, those in enumerate(of_lines)),
        charges=tuple(apart),
    )
    paid = charged(one.all_charges)
    assert paid is not None
    assert sum(part.amount.amount for part in parts_of(one)) == paid.amount


@given(amounts, st.lists(st.integers(0, 999).map(Decimal), min_size=1, max_size=6), st.sampled_from(["EUR", "KWD"]))
def test_splitting_loses_no_minor_unit(amount: Decimal, weights: list[Decimal], currency: str) -> None:
    weights[0] += 1
    parts = split(Money(amount, currency), weights)
    assert sum(one.amount for one in parts) == amount
    assert len(parts) == len(weights)


bills = st.tuples(st.sampled_from(["a", "b", None]), st.integers(1, 3) | st.none(), st.booleans())


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3),
    st.lists(bills, max_size=5),
    st.randoms(use_true_random=False),
)
def test_no_unit_counts_twice_and_none_is_reckoned_when_all_is_billed(
    versions: list[tuple[int, int]], told_bills: list[tuple[str | None, int | None, bool]], random: Random
) -> None:
    """Versions of an order, transactions and the settlements that replace them come in any order."""
    events: list[Any] = [*versions, *told_bills]
    random.shuffle(events)
    now, standing = versions[0], list[MoneyLine]()
    for event in events:
        if len(event) == 2:
            now = event
        else:
            of, units, settled = event
            told_line = bill(of, units)
            if settled:
                # What a settlement tells stands in place of what was told before.
                standing = [one for one in standing if one.order_line_id != told_line.order_line_id]
                told_line = replace(told_line, source=Source.SETTLEMENT, stage=Stage.SETTLED, settlement="s")
            standing.append(told_line)
        lines = [
            line(name, wanted, goods("12.00", "2.00"), cancelled=3 - wanted)
            for name, wanted in zip("ab", now, strict=True)
        ]
        current = order(*lines)
        made = estimated(Known(current, BERLIN, standing))
        reckoned = {each.id: sum(one.units or 0 for one in made if one.order_line_id == each.id) for each in lines}
        free = {
            each.id: max(0, each.quantity - sum(_units(one) for one in standing if one.order_line_id == each.id))
            for each in lines
        }
        assert all(reckoned[id] <= free[id] for id in free)
        unnamed = sum(_units(one) for one in standing if one.order_line_id is None)
        assert sum(reckoned.values()) == max(0, sum(free.values()) - unnamed)
        every = [bill(each.id, each.quantity) for each in lines]
        assert estimated(Known(current, BERLIN, [*standing, *every])) == []
        assert estimated(Known(current, BERLIN, [*standing, bill(None, None)])) == []


def _units(one: MoneyLine) -> int:
    return 99 if one.units is None else one.units
