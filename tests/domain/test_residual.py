"""What people may say of a residual line, and what stays as its channel said it."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Conflict, Invalid, NotFound
from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku, line_id, order_id
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage
from domain.order import Order, OrderLine, OrderStatus
from domain.product import FulfilledBy
from domain.residual import PERSON, KeptLine, Residual, Target, check_open, tied

BERLIN = ZoneInfo("Europe/Berlin")
# Half past eleven in the evening by UTC is the next day in Berlin.
POSTED = datetime(2026, 11, 3, 23, 30, tzinfo=UTC)
PLACED = datetime(2026, 10, 30, 9, 0, tzinfo=UTC)


def make_line(**more: object) -> MoneyLine:
    one = MoneyLine(
        channel=ChannelId("amazon-eu"),
        source=Source.SETTLEMENT,
        stage=Stage.SETTLED,
        event=Event.SALE,
        money_class=MoneyClass.SALE,
        amount=Money(Decimal("19.90"), "EUR"),
        posted_at=POSTED,
        day=date(2026, 11, 4),
        kind="Order",
        amount_kind="ItemPrice",
        description="Principal",
        settlement="s",
        row=1,
        order_external_id="302-1",
        channel_sku=ChannelSku("A-DE"),
        units=1,
        cause=Cause.ORDER_UNKNOWN,
    )
    return replace(one, **more)  # type: ignore[arg-type]  # a builder


def make_order(*channel_skus: str) -> Order:
    id = order_id(ChannelId("amazon-eu"), "302-1")
    lines = [
        OrderLine(line_id(id, str(at)), str(at), ChannelSku(one), 1, 0, Sku(f"OUR-{one}"))
        for at, one in enumerate(channel_skus)
    ]
    return Order(
        id=id,
        channel=ChannelId("amazon-eu"),
        marketplace="DE",
        external_id="302-1",
        status=OrderStatus.SHIPPED,
        channel_status="SHIPPED",
        fulfilled_by=FulfilledBy.CHANNEL,
        placed_at=PLACED,
        updated_at=PLACED,
        lines=lines,
    )


def test_an_order_gives_its_line_its_sku_and_the_day_it_was_placed() -> None:
    of = make_order("A-DE", "B-DE")
    one = tied(make_line(), Target(order=of.id), of, BERLIN)
    assert (one.order_id, one.order_line_id, one.sku, one.day) == (
        of.id,
        of.lines[0].id,
        "OUR-A-DE",
        date(2026, 10, 30),
    )
    assert (one.matched_by, one.cause) == (PERSON, None)


def test_a_refund_counts_on_the_day_it_was_posted_by_the_clock_of_the_marketplace() -> None:
    of = make_order("A-DE")
    assert tied(make_line(event=Event.REFUND), Target(order=of.id), of, BERLIN).day == date(2026, 11, 4)


def test_of_two_lines_with_the_same_sku_none_is_meant_unless_it_is_named() -> None:
    of = make_order("A-DE", "A-DE")
    assert tied(make_line(), Target(order=of.id), of, BERLIN).order_line_id is None
    named = Target(order=of.id, order_line=of.lines[1].id)
    assert tied(make_line(), named, of, BERLIN).order_line_id == of.lines[1].id
    with pytest.raises(NotFound):
        tied(make_line(), Target(order=of.id, order_line=LineId("other")), of, BERLIN)


def test_the_account_has_neither_order_nor_sku_and_a_sku_leaves_the_order() -> None:
    before = make_line(order_id=OrderId("o"), order_line_id=LineId("l"), sku=Sku("X"))
    account = tied(before, Target(account=True), None, BERLIN)
    assert (account.order_id, account.order_line_id, account.sku, account.day) == (None, None, None, date(2026, 11, 4))
    of_sku = tied(before, Target(sku=Sku("Y")), None, BERLIN)
    assert (of_sku.order_id, of_sku.order_line_id, of_sku.sku) == ("o", "l", "Y")


@pytest.mark.parametrize("told", [{}, {"sku": Sku("A"), "account": True}, {"order": OrderId("o"), "undo": True}])
def test_exactly_one_thing_is_said(told: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        Target(**told)  # type: ignore[arg-type]  # what clients may send


def test_a_line_of_an_order_goes_with_its_order() -> None:
    with pytest.raises(Invalid) as caught:
        Target(sku=Sku("A"), order_line=LineId("l"))
    assert caught.value.field == ("orderLineId",)


def test_people_tie_what_no_rule_has_tied_and_whose_words_are_known() -> None:
    check_open(make_line())
    check_open(make_line(cause=None, matched_by=PERSON))
    for closed in (
        make_line(cause=None, matched_by="ORDER_SKU"),
        make_line(cause=Cause.UNCLASSIFIED, money_class=MoneyClass.UNCLASSIFIED),
        make_line(source=Source.TRANSACTION, settlement=None),
    ):
        with pytest.raises(Conflict):
            check_open(closed)


@given(
    amount=st.decimals(-1_000, 1_000, places=2),
    event=st.sampled_from(Event),
    of_class=st.sampled_from(sorted(set(MoneyClass) - {MoneyClass.PAYMENT}, key=lambda one: one.value)),
    target=st.sampled_from(["order", "line", "sku", "account"]),
    skus=st.lists(st.sampled_from(["A-DE", "B-DE"]), min_size=1, max_size=3),
)
def test_nothing_that_the_channel_said_changes(
    amount: Decimal, event: Event, of_class: MoneyClass, target: str, skus: list[str]
) -> None:
    before = make_line(amount=Money(amount, "EUR"), event=event, money_class=of_class)
    of = make_order(*skus)
    meant = {
        "order": Target(order=of.id),
        "line": Target(order=of.id, order_line=of.lines[-1].id),
        "sku": Target(sku=Sku("OURS")),
        "account": Target(account=True),
    }[target]
    after = tied(before, meant, of if meant.order else None, BERLIN)
    ours = {"order_id", "order_line_id", "sku", "day", "matched_by", "cause"}
    told = [name for name in MoneyLine.__slots__ if name not in ours]
    assert [getattr(after, name) for name in told] == [getattr(before, name) for name in told]
    assert (after.cause is Cause.UNCLASSIFIED) is (of_class is MoneyClass.UNCLASSIFIED)
    assert meant.holds(after)
    assert tied(after, meant, of if meant.order else None, BERLIN) == after


def test_what_nobody_could_split_is_a_sale_when_people_take_it_as_it_stands() -> None:
    before = make_line(money_class=MoneyClass.PAYMENT, cause=Cause.UNAPPORTIONED)
    after = tied(before, Target(account=True), None, BERLIN)
    assert (after.money_class, after.cause, after.amount) == (MoneyClass.SALE, None, before.amount)


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_says_what_to_do(cause: Cause) -> None:
    line = make_line(cause=cause)
    told: dict[str, Any] = {one.name: getattr(line, one.name) for one in fields(MoneyLine)}
    kept = KeptLine(**told, id=1, known_at=POSTED, replaced_at=None, replaced_why=None)
    todo = Residual(kept, POSTED).todo
    assert "{" not in todo
    assert ("from 2026-08-05 to 2026-11-04" in todo) is (cause is Cause.ORDER_UNKNOWN)
