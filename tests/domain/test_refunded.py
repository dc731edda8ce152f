"""A shop's refund comes to pieces: all of its units, and all of its money."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.chain import PieceKind
from domain.errors import Invalid
from domain.ids import ChannelId, ChannelSku, line_id, order_id
from domain.money import Money
from domain.order import Order, OrderLine, OrderStatus
from domain.product import FulfilledBy
from domain.refund import Refund, RefundLine, Restock
from domain.refunded import pieces_of

AT = datetime(2026, 3, 1, tzinfo=UTC)
SHOP = ChannelId("shop")
ID = order_id(SHOP, "1001")
ORDER = Order(
    id=ID,
    channel=SHOP,
    marketplace=None,
    external_id="1001",
    status=OrderStatus.SHIPPED,
    channel_status="FULFILLED/REFUNDED",
    fulfilled_by=FulfilledBy.MERCHANT,
    placed_at=AT,
    updated_at=AT,
    lines=[OrderLine(line_id(ID, f"L{at}"), f"L{at}", ChannelSku(f"A{at}"), 5, 5) for at in range(3)],
)


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def kinds(*lines: RefundLine, by_shop: bool = False) -> list[tuple[PieceKind, str, int, bool]]:
    found = pieces_of(ORDER, Refund("R1", AT, eur("0"), lines), lambda _: by_shop)
    return [(one.kind, one.sku, one.units, one.expected) for one in found]


def test_what_comes_back_into_stock_has_arrived_and_is_restocked_where_the_shop_counts() -> None:
    line = RefundLine("L0", 2, Restock.RETURN, "place")
    assert kinds(line) == [(PieceKind.REFUNDED, "A0", 2, True), (PieceKind.ARRIVED, "A0", 2, True)]
    assert kinds(line, by_shop=True)[-1] == (PieceKind.RESTOCKED, "A0", 2, True)


def test_what_never_left_is_not_expected_and_what_is_not_restocked_may_yet_come() -> None:
    assert kinds(RefundLine("L0", 2, Restock.CANCEL)) == [(PieceKind.REFUNDED, "A0", 2, False)]
    assert kinds(RefundLine("L1", 1, Restock.NONE)) == [(PieceKind.REFUNDED, "A1", 1, True)]


def test_a_line_that_the_order_does_not_have_is_refused() -> None:
    with pytest.raises(Invalid, match="L9"):
        kinds(RefundLine("L9", 1))


lines_of = st.lists(
    st.builds(
        RefundLine,
        line_id=st.sampled_from(["L0", "L1", "L2"]),
        quantity=st.integers(1, 5),
        restock=st.sampled_from(Restock),
        amount=st.none() | st.decimals(0, 50, places=2).map(lambda amount: Money(amount, "EUR")),
    ),
    max_size=6,
)


@given(lines=lines_of, amount=st.decimals(0, 200, places=2), by_shop=st.booleans())
def test_units_and_money_are_conserved_and_every_piece_has_a_name_of_its_own(
    lines: list[RefundLine], amount: Decimal, by_shop: bool
) -> None:
    found = pieces_of(ORDER, Refund("R1", AT, Money(amount, "EUR"), tuple(lines)), lambda _: by_shop)
    refunded = [one for one in found if one.kind is PieceKind.REFUNDED]
    assert sum(one.units for one in refunded) == sum(one.quantity for one in lines)
    assert sum((one.money.amount for one in refunded if one.money), Decimal(0)) == amount
    assert all(one.money is None for one in found if one.kind is not PieceKind.REFUNDED)
    names = [(one.kind, one.reference) for one in found]
    assert len(names) == len(set(names))
