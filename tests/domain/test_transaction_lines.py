"""Lines of money add up to the movement that they are of, however its trees hang together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from domain.finance import Breakdown, Transaction, TransactionItem
from domain.ids import ChannelId, ChannelSku, Sku, line_id, order_id
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import MoneyLine, Source, Stage
from domain.money_words import AMAZON_TRANSACTION, classify
from domain.order import Order, OrderLine, OrderStatus
from domain.product import FulfilledBy
from domain.transaction_lines import Known, lines_of, shares_of

AT = datetime(2026, 11, 2, 3, tzinfo=UTC)
AMAZON = ChannelId("amazon")
CENTS = st.decimals(min_value=-9999, max_value=9999, places=2)


def usd(amount: object) -> Money:
    return Money(Decimal(str(amount)), "USD")


def leaf(kind: str, amount: object) -> Breakdown:
    return Breakdown(kind, usd(amount))


def branch(kind: str, *parts: Breakdown) -> Breakdown:
    return Breakdown(kind, usd(sum(part.amount.amount for part in parts)), parts)


def item(*parts: Breakdown, sku: str = "MUG", units: int = 2) -> TransactionItem:
    total = usd(sum(part.amount.amount for part in parts))
    return TransactionItem("A mug", total, sku=sku, units=units, breakdowns=parts)


def moved(total: object, *items: TransactionItem, tree: tuple[Breakdown, ...] = (), **more: object) -> Transaction:
    one = Transaction("A", "RELEASED", "Shipment", AT, usd(total), "Order Payment", marketplace="US", items=items)
    return replace(one, breakdowns=tree, related=(("ORDER_ID", "1"), ("SHIPMENT_ID", "S1")), **more)  # type: ignore[arg-type]


def known(*orders: Order, skus: Mapping[ChannelSku, Sku] | None = None) -> Known:
    zone = ZoneInfo("America/Los_Angeles")
    return Known(
        {one.external_id: one for one in orders}, skus or {}, lambda _: zone, partial(classify, AMAZON_TRANSACTION)
    )


def order(*skus: str) -> Order:
    id = order_id(AMAZON, "1")
    lines = [
        OrderLine(line_id(id, str(number)), str(number), ChannelSku(sku), 2, 0, sku=Sku(f"our-{sku}"))
        for number, sku in enumerate(skus)
    ]
    placed_at = datetime(2026, 10, 30, 3, tzinfo=UTC)
    return Order(
        id, AMAZON, "US", "1", OrderStatus.SHIPPED, "Shipped", FulfilledBy.MERCHANT, placed_at, placed_at, lines
    )


def lines(one: Transaction, what: Known) -> list[MoneyLine]:
    return lines_of(AMAZON, one.key, one, what)


TREES = st.recursive(
    st.builds(leaf, st.sampled_from("abc"), CENTS),
    lambda inner: st.builds(
        lambda kind, parts: branch(kind, *parts), st.sampled_from("xyz"), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)
ITEMS = st.lists(TREES, max_size=3).map(lambda parts: item(*parts))


@given(st.lists(ITEMS, max_size=3), st.lists(TREES, max_size=3), CENTS)
def test_whatever_its_trees_say_the_lines_add_up_to_the_total(
    items: list[TransactionItem], tree: list[Breakdown], total: Decimal
) -> None:
    one = moved(total, *items, tree=tuple(tree))
    found = lines(one, known())
    assert found
    assert sum(line.amount.amount for line in found) == total
    assert {line.amount.currency for line in found} == {"USD"}


def test_items_name_what_they_are_of_and_the_tree_adds_what_they_do_not_hold() -> None:
    sale, fee = branch("Sales", leaf("ProductCharges", 20)), branch("Expenses", leaf("Commission", -3))
    both = branch("Expenses", leaf("Commission", -3), leaf("OrderFee", -1))
    found = shares_of(moved(16, item(sale, fee), tree=(sale, both)))
    assert [(one.item is not None, one.amount_kind, one.description, one.amount) for one in found] == [
        (True, "Sales", "ProductCharges", Decimal(20)),
        (True, "Expenses", "Commission", Decimal(-3)),
        (False, "Expenses", "OrderFee", Decimal(-1)),
    ]
    # Trees with other branches cannot be told apart: what is missing stands under the transaction's own words.
    other = branch("All", leaf("Sum", 16))
    assert [(one.description, one.amount) for one in shares_of(moved(16, item(sale, fee), tree=(other,)))[2:]] == [
        ("Order Payment", Decimal(-1))
    ]
    assert [(one.description, one.amount) for one in shares_of(moved(16, tree=(other,)))] == [("Sum", Decimal(16))]
    assert [(one.description, one.amount) for one in shares_of(moved(16))] == [("Order Payment", Decimal(16))]
    euros = Breakdown("ProductCharges", Money(Decimal(16), "EUR"))
    assert [one.description for one in shares_of(moved(16, item(euros)))] == ["Order Payment"]


def test_what_takes_a_sale_back_takes_back_its_units() -> None:
    sale = branch("Sales", leaf("ProductCharges", 20))
    back = branch("Sales", leaf("ProductCharges", -20))
    assert [one.units for one in lines(moved(20, item(sale)), known())] == [2]
    assert [one.units for one in lines(moved(-20, item(back)), known())] == [-2]
    # A refund tells how many were given back.
    assert [one.units for one in lines(moved(-20, item(back), kind="Refund"), known())] == [2]


def test_a_line_is_tied_to_the_order_line_of_its_sku_where_only_one_has_it() -> None:
    one = moved(17, item(branch("Sales", leaf("ProductCharges", 20)), branch("Expenses", leaf("Commission", -3))))
    once = order("MUG", "CAP")
    sale, fee = lines(one, known(once))
    assert (sale.order_id, sale.order_line_id, sale.sku, sale.matched_by) == (
        once.id, once.lines[0].id, "our-MUG", "ORDER_SKU",
    )  # fmt: skip
    assert (sale.event, sale.money_class, sale.units) == (Event.SALE, MoneyClass.SALE, 2)
    assert (fee.money_class, fee.units) == (MoneyClass.REFERRAL_FEE, None)
    assert (sale.source, sale.stage, sale.reference, sale.shipment_id) == (
        Source.TRANSACTION, Stage.RELEASED, "A:RELEASED", "S1",
    )  # fmt: skip
    # An order's sale counts on the day the order was placed, by the marketplace's clock.
    assert {sale.day, fee.day} == {date(2026, 10, 29)}
    twice = lines(one, known(order("MUG", "MUG"), skus={ChannelSku("MUG"): Sku("mug")}))
    assert {(line.order_id, line.order_line_id, line.sku, line.matched_by) for line in twice} == {
        (once.id, None, "mug", "ORDER")
    }
    sketch = lines(one, known(replace(once, whole=False)))
    assert {(line.order_id, line.order_line_id, line.matched_by) for line in sketch} == {(once.id, None, "ORDER")}
    unknown = lines(one, known())
    assert {(line.order_id, line.order_external_id, line.matched_by, line.day) for line in unknown} == {
        (None, "1", None, date(2026, 11, 1))
    }


def test_what_is_of_no_order_is_of_a_sku_or_of_the_account() -> None:
    stored = moved(-5, item(leaf("StorageFee", -5)), kind="ServiceFee", status="DEFERRED")
    apart = replace(stored, related=())
    (line,) = lines(apart, known(skus={ChannelSku("MUG"): Sku("mug")}))
    assert (line.matched_by, line.sku, line.stage) == ("SKU", "mug", Stage.DEFERRED)
    (line,) = lines(apart, known())
    assert line.matched_by is None
    (line,) = lines(replace(apart, items=()), known())
    assert (line.matched_by, line.sku, line.description) == ("ACCOUNT", None, "Order Payment")
    # Two orders are none that it could be of.
    (line,) = lines(replace(stored, items=(), related=(("ORDER_ID", "1"), ("ORDER_ID", "2"))), known(order("MUG")))
    assert (line.order_id, line.order_external_id, line.matched_by) == (None, None, None)
