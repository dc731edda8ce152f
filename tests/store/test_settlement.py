"""Settlements in the books: whole or not at all, each line tied by a rule with a name, and what no rule ties with its cause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, Table, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel, Platform
from domain.errors import Conflict, Invalid, Refused
from domain.finance import Breakdown, Transaction, TransactionItem
from domain.ids import ChannelId, ChannelSku, OrderId, Sku, line_id, order_id
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage, day_of
from domain.money_match import RULES, Rule
from domain.money_words import AMAZON, AMAZON_TRANSACTION, classify
from domain.order import Order, OrderLine, OrderStatus, Shipment
from domain.product import FulfilledBy
from domain.residual import Missing, Tie
from domain.settlement import SettlementKind, Statement, StatementRow
from store import locks, money_line, money_transaction, order, settlement, settlement_rows
from store.session import Store
from store.tables import estimate_due, listing, outbound_line, outbound_order, product
from store.tables import money_line as line_table
from store.tables import settlement as settlement_table
from workers.deps import Deps
from workers.rematch import Rematch

# In Los Angeles it is still the evening before.
PLACED = datetime(2026, 11, 2, 3, tzinfo=UTC)
POSTED = datetime(2026, 11, 5, 7, 30, tzinfo=UTC)
STARTS, ENDS = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 15, tzinfo=UTC)
US = Channel(
    ChannelId("amazon-us"),
    Platform.AMAZON,
    "Amazon",
    sandbox=True,
    marketplaces=("US",),
    time_zone="America/Los_Angeles",
    zones={"US": "America/Los_Angeles"},
)
SHOP = ChannelId("shop")


def usd(amount: object) -> Money:
    return Money(Decimal(str(amount)), "USD")


def an_order(external_id: str, *skus: str, channel: ChannelId = US.id, **more: Any) -> Order:
    """An order of one line for each of the SKUs, which are ours too."""
    id = order_id(channel, external_id)
    lines = [
        OrderLine(line_id(id, f"{external_id}-{place}"), f"{external_id}-{place}", ChannelSku(sku), 1, 1, Sku(sku))
        for place, sku in enumerate(skus)
    ]
    values: dict[str, Any] = {
        "id": id,
        "channel": channel,
        "marketplace": "US" if channel == US.id else None,
        "external_id": external_id,
        "status": OrderStatus.SHIPPED,
        "channel_status": "SHIPPED",
        "fulfilled_by": FulfilledBy.MERCHANT,
        "placed_at": PLACED,
        "updated_at": POSTED,
        "lines": lines,
    }
    return Order(**values | more)


async def mapped(store: Store, *skus: str, channel: ChannelId = US.id, marketplace: str = "US") -> None:
    """Have SKUs of the channel be ours, under the same names."""
    async with store.begin() as tx:
        for sku in skus:
            await tx.execute(insert(product).values(sku=sku, title=sku))
            row = {
                "id": f"{channel} {sku}",
                "channel": channel,
                "marketplace": marketplace,
                "channel_sku": sku,
                "sku": sku,
            }
            more = {"external_id": sku, "status": "ACTIVE", "fulfilled_by": "MERCHANT", "as_of": POSTED}
            await tx.execute(insert(listing).values(**row, **more))


def a_row(
    number: int, amount: object, kind: str = "Order", of: str = "ItemPrice/Principal", **more: Any
) -> StatementRow:
    amount_kind, _, description = of.partition("/")
    return StatementRow(number, kind, amount_kind, description, Decimal(str(amount)), POSTED, **more)


def other(number: int, amount: object, description: str, **more: Any) -> StatementRow:
    return a_row(number, amount, "other-transaction", f"other-transaction/{description}", **more)


def a_statement(rows: Iterable[StatementRow], external_id: str = "1001", **more: Any) -> Statement:
    total = sum((one.amount for one in rows), Decimal(0))
    given: dict[str, Any] = {
        "channel": US.id,
        "kind": SettlementKind.SETTLEMENT,
        "external_id": external_id,
        "marketplace": "US",
        "starts_at": STARTS,
        "ends_at": ENDS,
        "deposited_at": ENDS + timedelta(days=2),
        "total": Money(total, "USD"),
    }
    return Statement(**given | more)


async def settled(
    store: Store,
    rows: Sequence[StatementRow],
    external_id: str = "1001",
    channel: Channel = US,
    at_once: int = 3,
    **more: Any,
) -> settlement.Kept:
    async with store.begin() as tx:
        return await keep(tx, rows, a_statement(rows, external_id, channel=channel.id, **more), channel, at_once)


async def keep(
    tx: AsyncConnection, rows: Sequence[StatementRow], statement: Statement, channel: Channel = US, at_once: int = 3
) -> settlement.Kept:
    """Keep a settlement of rows that come so many at a time."""
    await settlement.turn(tx)
    opened = await settlement.open_books(tx, channel, statement.external_id, statement.total.currency)
    count, added = 0, Decimal(0)
    for first in range(0, len(rows), at_once):
        await settlement_rows.send(
            tx, settlement_rows.written([rows[first : first + at_once]], partial(classify, AMAZON))
        )
        written = await settlement.write(tx, opened)
        count, added = count + written.rows, added + written.added
    return await settlement.settle(tx, opened, statement, settlement_rows.Written(count, added))


async def standing_of(tx: AsyncConnection, *orders: OrderId, known_at: datetime | None = None) -> list[MoneyLine]:
    """What stands of orders, or stood as it was known then, oldest line first."""
    query = select(line_table).where(line_table.c.order_id.in_(orders), money_line.standing(known_at))
    return list(map(money_line.line_of, await tx.execute(query.order_by(line_table.c.id))))


async def lines(store: Store, kept: settlement.Kept) -> dict[int | None, MoneyLine]:
    """What stands of a settlement, by row."""
    async with store.begin() as tx:
        query = select(line_table).where(line_table.c.settlement_id == kept.settlement, money_line.standing())
        found = list(map(money_line.line_of, await tx.execute(query)))
    assert len({one.row for one in found}) == len(found)
    return {one.row: one for one in found}


def test_what_takes_a_sale_back_takes_back_its_units() -> None:
    rows = [a_row(1, 20, units=2), a_row(2, -20, units=2), a_row(3, -20, "Refund", units=2), a_row(4, 20, units=2)]
    sent = settlement_rows.written([rows], partial(classify, AMAZON)).rows.decode().splitlines()
    assert [line.split("\t")[-2] for line in sent] == ["2", "-2", "2", "2"]


def tie(one: MoneyLine) -> tuple[Any, ...]:
    return one.matched_by, one.order_id, one.order_line_id, one.sku, one.cause


async def test_each_rule_ties_what_it_says(store: Store) -> None:
    first, second = an_order("111-0000001-0000001", "A", "B"), an_order("111-0000002-0000002", "A", "C", "C")
    parcel = Shipment("P-1", "UPS", "1Z", POSTED)
    third, sold = an_order("111-0000003-0000003", "A", shipments=[parcel]), an_order("4711", "A", "B", channel=SHOP)
    await mapped(store, "A", "B", "C")
    async with store.begin() as tx:
        await order.upsert(tx, [first, second, third, sold])
        row = {
            "id": "MCF-1",
            "order_id": sold.id,
            "operation_id": "o",
            "channel": US.id,
            "location": "FBA",
            "wanted": {},
        }
        await tx.execute(insert(outbound_order).values(**row, status="COMPLETE"))
        sent = {"outbound_id": "MCF-1", "line_id": sold.lines[1].id, "channel_sku": "B-FBA", "quantity": 1}
        await tx.execute(insert(outbound_line).values(**sent))
    one, two = first.external_id, second.external_id
    rows = [
        a_row(1, 20, order_id=one, item_id=f"{one}-1", sku="B", shipment_id="S-1", units=1),
        a_row(2, 10, order_id=one, item_id="another", sku="A", units=2),
        a_row(3, -5, of="ItemFees/Commission", order_id=one),
        a_row(4, -3, of="ItemFees/Commission", merchant_order_id=two, sku="A"),
        other(5, -6, "Shipping label purchase", shipment_id="S-1"),
        other(6, -6, "Shipping label purchase", order_id="P-1"),
        a_row(7, -4, of="ItemFees/FBAPerUnitFulfillmentFee", order_id="S01-1", merchant_order_id="MCF-1", sku="B-FBA"),
        a_row(8, -10, "Refund", order_id=two, adjustment_id="R-1", item_id=f"{two}-0", sku="A", units=1),
        a_row(9, 10, "Refund", order_id="999-0000009-0000009", adjustment_id="R-1", sku="A", units=1),
        other(10, -7, "Storage Fee", sku="C"),
        other(11, -39.99, "Subscription Fee"),
        a_row(12, 10, "other-transaction", "FBA Inventory Reimbursement/WAREHOUSE_DAMAGE", adjustment_id="L", sku="C"),
        a_row(13, -10, "other-transaction", "FBA Inventory Reimbursement/REVERSAL_REIMBURSEMENT", adjustment_id="L"),
    ]
    kept = await settled(store, rows)
    assert kept == settlement.Kept(kept.settlement, True, 13, 13, usd(0))
    found = {number: tie(line) for number, line in (await lines(store, kept)).items()}
    assert found == {
        1: ("ORDER_ITEM", first.id, first.lines[1].id, "B", None),
        2: ("ORDER_SKU", first.id, first.lines[0].id, "A", None),
        3: ("ORDER", first.id, None, None, None),
        4: ("MERCHANT_ORDER_ID", second.id, second.lines[0].id, "A", None),
        5: ("SHIPMENT_ID", first.id, None, None, None),
        6: ("SHIPMENT_ID", third.id, None, None, None),
        7: ("MCF", sold.id, sold.lines[1].id, "B", None),
        8: ("ORDER_ITEM", second.id, second.lines[0].id, "A", None),
        9: ("ADJUSTMENT", second.id, second.lines[0].id, "A", None),
        10: ("SKU", None, None, "C", None),
        11: ("ACCOUNT", None, None, None, None),
        12: ("SKU", None, None, "C", None),
        13: ("ADJUSTMENT", None, None, "C", None),
    }
    # PAYMENT is of payouts.
    assert {name for name, *_ in found.values()} | {"PAYMENT"} == {rule.value for rule in Rule}
    assert list(RULES) == list(Rule)


async def test_any_row_of_a_file_says_whose_a_shipment_is_and_two_that_differ_say_nothing(store: Store) -> None:
    """Though no sale names it, and though it was written before the others were read."""
    one, two = an_order("111-0000001-0000001", "A"), an_order("111-0000002-0000002", "A")
    async with store.begin() as tx:
        await order.upsert(tx, [one, two])
    fee = "ItemFees/Commission"
    rows = [
        a_row(1, -1, of=fee, order_id=one.external_id, shipment_id="S-1"),
        a_row(2, 20, order_id=one.external_id, sku="A", shipment_id="S-2"),
        a_row(3, -1, of=fee, order_id=two.external_id, shipment_id="S-2"),
        other(4, -6, "Shipping label purchase", shipment_id="S-1"),
        other(5, -6, "Shipping label purchase", shipment_id="S-2"),
    ]
    for at_once, external_id in ((1, "1001"), (5, "1002")):
        found = await lines(store, await settled(store, rows, external_id, at_once=at_once))
        assert tie(found[4]) == ("SHIPMENT_ID", one.id, None, None, None)
        assert tie(found[5]) == (None, None, None, None, Cause.ORDER_UNKNOWN)


async def test_what_no_rule_ties_says_what_it_lacks(store: Store) -> None:
    """And each cause is the whole difference of its line."""
    twice = an_order("111-0000002-0000002", "A", "C", "C")
    sketch = an_order("111-0000005-0000005", "A", whole=False)
    unmapped = an_order("111-0000006-0000006", "X")
    unmapped.lines[0].sku = None
    elsewhere = an_order("111-0000007-0000007", "A", channel=ChannelId("amazon-eu"))
    await mapped(store, "A", "C")
    async with store.begin() as tx:
        await order.upsert(tx, [twice, sketch, unmapped, elsewhere])
    fee = "ItemFees/Commission"
    rows = [
        a_row(1, 1, order_id="111-0000009-0000009", sku="A"),
        a_row(2, 2, of=fee, shipment_id="S-9"),
        a_row(3, 3, "Refund", adjustment_id="R-9", sku="A"),
        a_row(4, 4, order_id=elsewhere.external_id, sku="A"),
        a_row(5, 5, sku="A"),
        a_row(6, 6, order_id=twice.external_id, item_id="another", sku="C"),
        a_row(7, 7, order_id=twice.external_id, sku="Z"),
        a_row(8, 8, order_id=sketch.external_id, sku="A"),
        a_row(9, 9, order_id=unmapped.external_id, item_id=unmapped.lines[0].external_id, sku="X"),
        other(10, 10, "Storage Fee", sku="Z"),
        a_row(11, 11, of="ItemFees/A fee that nobody knows", order_id=twice.external_id),
        a_row(12, 12, of="ItemFees/A fee that nobody knows", order_id="111-0000009-0000009"),
        other(13, 13, "Inbound Transportation Fee", shipment_id="FBA15"),
        a_row(14, 14, "other-transaction", "FBA Inventory Reimbursement/REVERSAL_REIMBURSEMENT", adjustment_id="L"),
    ]
    kept = await settled(store, rows)
    found = {number: tie(line) for number, line in (await lines(store, kept)).items()}
    assert found == {
        1: (None, None, None, "A", Cause.ORDER_UNKNOWN),
        2: (None, None, None, None, Cause.ORDER_UNKNOWN),
        3: (None, None, None, "A", Cause.ORDER_UNKNOWN),
        4: (None, None, None, "A", Cause.ORDER_UNKNOWN),
        5: (None, None, None, "A", Cause.ORDER_UNKNOWN),
        6: ("ORDER", twice.id, None, "C", Cause.LINE_UNKNOWN),
        7: ("ORDER", twice.id, None, None, Cause.LINE_UNKNOWN),
        8: ("ORDER", sketch.id, None, "A", Cause.LINE_UNKNOWN),
        9: ("ORDER_ITEM", unmapped.id, unmapped.lines[0].id, None, Cause.SKU_UNMAPPED),
        10: (None, None, None, None, Cause.SKU_UNMAPPED),
        11: ("ORDER", twice.id, None, None, Cause.UNCLASSIFIED),
        12: (None, None, None, None, Cause.ORDER_UNKNOWN),
        13: ("ACCOUNT", None, None, None, None),
        14: (None, None, None, None, Cause.ORDER_UNKNOWN),
    }
    assert kept == settlement.Kept(kept.settlement, True, 14, 1, usd(sum(range(1, 15)) - 13))


async def test_the_same_again_changes_nothing_and_other_contents_are_refused(store: Store) -> None:
    rows = [a_row(1, 20, order_id="1", sku="A"), a_row(2, -3, of="ItemFees/Commission", order_id="1", sku="A")]
    kept = await settled(store, rows)
    before = await lines(store, kept)
    again = await settled(store, rows)
    assert again == replace(kept, fresh=False)
    # In another order, too; its lines may have been tied anew since.
    async with store.begin() as tx:
        await order.upsert(tx, [an_order("1", "A")])
    assert await rematched(store) == 2
    backwards = [rows[1]._replace(number=1), rows[0]._replace(number=2)]
    same = await settled(store, backwards)
    assert (same.settlement, same.fresh) == (kept.settlement, False)
    for others in (
        [rows[0], rows[1]._replace(description="Another fee")],
        [rows[0]._replace(amount=Decimal(21)), rows[1]._replace(amount=Decimal(-4))],
        [rows[0], rows[1]._replace(sku=None)],
        rows[:1],
        [*rows, a_row(3, 0, order_id="1")],
    ):
        with pytest.raises(Conflict, match="was kept on"):
            await settled(store, others)
    after = await lines(store, kept)
    assert {number: one.amount for number, one in after.items()} == {
        number: one.amount for number, one in before.items()
    }


async def test_a_total_that_is_wrong_by_a_cent_keeps_nothing(store: Store) -> None:
    rows = [a_row(1, 20, order_id="1", sku="A"), a_row(2, "-3.01", of="ItemFees/Commission", order_id="1", sku="A")]
    with pytest.raises(Refused, match=r"come to 16.99, its total is 17.00 USD: the difference is -0.01\."):
        await settled(store, rows, total=usd("17.00"))
    payout = a_statement(rows, kind=SettlementKind.PAYOUT, total=usd("17.00"))
    async with store.begin() as tx:
        with pytest.raises(Refused, match=r"the difference is -0\.01"):
            await settlement.keep(tx, payout, [movement(1, "20"), movement(2, "-3.01")])
    assert await rows_of(store, settlement_table) == await rows_of(store, line_table) == 0
    # The twin.
    await settled(store, rows)
    assert (await rows_of(store, settlement_table), await rows_of(store, line_table)) == (1, 2)


async def test_what_lines_say_is_kept_as_it_stood(store: Store) -> None:
    words = "Rückgabe \\ \t \r\n \\N €"
    more: dict[str, Any] = {
        "item_id": "I",
        "sku": "\\.",
        "shipment_id": "S",
        "adjustment_id": "A",
        "merchant_order_id": "M",
    }
    odd = a_row(1, "0.10", of=f"ItemPrice/{words}", units=3, extra={"promotion-id": "a\tb"}, order_id="1", **more)
    plain = a_row(2, "-100000.105", order_id="1", merchant_order_id="1", units=3)
    found = await lines(store, await settled(store, [odd, plain]))
    one = found[1]
    assert (one.kind, one.amount_kind, one.description) == ("Order", "ItemPrice", words)
    assert (one.item_id, one.channel_sku, one.shipment_id, one.adjustment_id) == ("I", "\\.", "S", "A")
    assert one.extra == {"promotion-id": "a\tb", "merchant-order-id": "M"}
    assert (one.source, one.stage, one.posted_at) == (Source.SETTLEMENT, Stage.SETTLED, POSTED)
    assert found[2].extra == {}, "the same as the order's is no other id"
    assert [found[number].amount for number in (1, 2)] == [usd("0.10"), usd("-100000.105")]
    # Units are of sales alone, and this one takes them back.
    assert [(one.money_class, one.units) for one in found.values()] == [
        (MoneyClass.UNCLASSIFIED, None),
        (MoneyClass.SALE, -3),
    ]
    with pytest.raises(Invalid, match="NUL"):
        await settled(store, [a_row(1, 1, order_id="\0")])


async def test_a_sale_counts_on_the_day_it_was_made_by_the_marketplaces_clock(store: Store) -> None:
    async with store.begin() as tx:
        await order.upsert(tx, [an_order("1", "A"), an_order("2", "A", marketplace="CA")])
    channel = replace(US, zones={**US.zones, "CA": "Asia/Tokyo"})
    rows = [
        a_row(1, 20, order_id="1", sku="A"),
        a_row(2, -3, of="ItemFees/Commission", order_id="1"),
        a_row(3, -20, "Refund", order_id="1", sku="A"),
        a_row(4, 20, order_id="2", sku="A"),
        a_row(5, 20, order_id="3", sku="A"),
        other(6, -1, "Subscription Fee"),
    ]
    found = await lines(store, await settled(store, rows, channel=channel))
    before, late = date(2026, 11, 1), date(2026, 11, 4)
    assert [one.day for one in found.values()] == [before, before, late, date(2026, 11, 2), late, late]
    assert [one.marketplace for one in found.values()] == ["US", "US", "US", "CA", "US", "US"]
    for one in found.values():
        placed_at = PLACED if one.order_id is not None else None
        assert one.day == day_of(one.event, placed_at, one.posted_at, channel.zone(one.marketplace))


async def test_a_line_of_no_order_is_of_the_marketplace_that_it_names(store: Store) -> None:
    """Files may be of several; a SKU of several meanings means what it does there."""
    await mapped(store, "A", "B")
    async with store.begin() as tx:
        for marketplace, sku in (("US", "A"), ("CA", "B")):
            row = {"id": marketplace, "channel": US.id, "marketplace": marketplace, "channel_sku": "Z", "sku": sku}
            more = {"external_id": "Z", "status": "ACTIVE", "fulfilled_by": "MERCHANT", "as_of": POSTED}
            await tx.execute(insert(listing).values(**row, **more))
        await order.upsert(tx, [an_order("1", "A")])
    channel = replace(US, zones={**US.zones, "CA": "Asia/Tokyo"})
    rows = [
        other(1, -1, "Storage Fee", sku="Z", marketplace="CA"),
        other(2, -1, "Storage Fee", sku="Z", marketplace="US"),
        other(3, -1, "Storage Fee", sku="Z"),
        a_row(4, 20, order_id="1", sku="A", marketplace="CA"),
        a_row(5, 20, order_id="2", sku="A", marketplace="CA"),
    ]
    kept = await settled(store, rows, channel=channel, marketplace=None)
    found = await lines(store, kept)
    assert [(one.marketplace, one.sku) for one in found.values()] == [
        ("CA", "B"), ("US", "A"), (None, None), ("US", "A"), ("CA", "A"),
    ]  # fmt: skip
    assert [one.day for one in found.values()][:2] == [date(2026, 11, 5), date(2026, 11, 4)]
    # And so it is when its order comes to be known.
    async with store.begin() as tx:
        await order.upsert(tx, [an_order("3", "A")])
    assert await rematched(store, channel) == 0
    assert (await lines(store, kept))[1].marketplace == "CA"


async def test_what_was_reckoned_gives_way_and_is_reckoned_anew(store: Store) -> None:
    mine, others = an_order("1", "A"), an_order("2", "A")
    reckoned = [replace(movement(1, 20), order_id=one.id, reference=one.id) for one in (mine, others)]
    async with store.begin() as tx:
        await order.upsert(tx, [mine, others])
        await money_line.add(tx, reckoned)
        await tx.execute(delete(estimate_due))
    await settled(store, [a_row(1, 19, order_id="1", sku="A")])
    async with store.begin() as tx:
        standing = await standing_of(tx, mine.id, others.id)
        due = (await tx.scalars(select(estimate_due.c.order_id))).all()
    assert {(one.source, one.amount) for one in standing} == {(Source.SETTLEMENT, usd(19)), (Source.ESTIMATE, usd(20))}
    assert due == [mine.id]


def movement(row: int, amount: object, **more: Any) -> MoneyLine:
    given: dict[str, Any] = {
        "channel": US.id,
        "source": Source.ESTIMATE,
        "stage": Stage.ESTIMATED,
        "event": Event.SALE,
        "money_class": MoneyClass.SALE,
        "amount": usd(amount),
        "posted_at": POSTED,
        "day": POSTED.date(),
        "kind": "charge",
        "row": row,
    }
    return MoneyLine(**given | more)


async def test_payouts_are_kept_by_their_lines(store: Store) -> None:
    made = [movement(1, "15.5"), movement(1, "4.5", cause=Cause.UNAPPORTIONED), movement(2, -3)]
    statement = a_statement([], kind=SettlementKind.PAYOUT, total=usd(17))
    async with store.begin() as tx:
        kept = await settlement.keep(tx, statement, made)
    assert kept == settlement.Kept(
        settlement.settlement_id(statement.channel, statement.external_id), True, 2, 1, usd("4.5")
    )
    async with store.begin() as tx:
        split = [movement(1, 20), movement(2, -3)]
        assert await settlement.keep(tx, statement, split) == replace(kept, fresh=False)
    for others in ([movement(1, 21), movement(2, -4)], [movement(1, 17)]):
        async with store.begin() as tx:
            with pytest.raises(Conflict):
                await settlement.keep(tx, statement, others)
    assert await rows_of(store, line_table) == 3


async def test_a_settlement_that_dies_at_any_statement_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = an_order("1", "A")
    rows = [a_row(1, 20, order_id="1", sku="A"), a_row(2, 5, order_id="2", sku="A")]
    async with store.begin() as tx:
        await order.upsert(tx, [mine])
        await money_line.add(tx, [movement(1, 20, order_id=mine.id)])
    before = await all_rows(store)
    execute, left = AsyncConnection.execute, 0

    async def dying(self: AsyncConnection, *given: Any, **more: Any) -> Any:
        nonlocal left
        if not left:
            raise Dead
        left -= 1
        return await execute(self, *given, **more)

    steps = 0
    while True:
        left = steps
        try:
            with monkeypatch.context() as mocked:
                mocked.setattr(AsyncConnection, "execute", dying)
                async with store.begin() as tx:
                    kept = await keep(tx, rows, a_statement(rows))
            break
        except Dead:
            assert await all_rows(store) == before
            steps += 1
    assert steps > 8
    assert kept.fresh
    assert (await all_rows(store))["money_line"] == 3


class Dead(Exception):
    """A process that ends in the middle."""


async def all_rows(store: Store) -> dict[str, int]:
    return {str(one): await rows_of(store, one) for one in (settlement_table, line_table, estimate_due)} | {
        "standing": await rows_of(store, line_table, line_table.c.replaced_at.is_(None))
    }


async def rows_of(store: Store, table: Table, *where: ColumnElement[bool]) -> int:
    async with store.begin() as tx:
        return await tx.scalar(select(func.count()).select_from(table).where(*where)) or 0


async def rematched(store: Store, *channels: Channel) -> int:
    """Look at all that is open once; how many lines are better tied."""
    found = {one.id: one for one in channels or (US,)}
    deps = cast(Deps, SimpleNamespace(store=store, channels=found))
    return await Rematch(deps, lambda: None).once()


SALE, LATER = "1001", "1002"
COMES = ["order", "sketch", "whole", "mapping", "transactions", SALE, LATER]
BOOKS = {
    SALE: [
        a_row(1, 20, order_id="1", item_id="1-0", sku="A", shipment_id="S-1"),
        a_row(2, -3, of="ItemFees/Commission", order_id="1", item_id="1-0", sku="A", shipment_id="S-1"),
        a_row(3, 10, order_id="2", item_id="another", sku="A", shipment_id="S-2"),
        other(4, -7, "Storage Fee", sku="B"),
        other(5, -6, "Shipping label purchase", shipment_id="S-2"),
    ],
    LATER: [
        other(1, -6, "Shipping label purchase", order_id="S-1"),
        a_row(2, -10, "Refund", order_id="2", adjustment_id="R", sku="A"),
        a_row(3, 10, "Refund", order_id="99", adjustment_id="R", sku="A"),
        a_row(4, -1, of="ItemFees/Commission", order_id="3", sku="A"),
    ],
}
TIED = {
    (SALE, 1): ("ORDER_ITEM", "1", True, "A", None),
    (SALE, 2): ("ORDER_ITEM", "1", True, "A", None),
    (SALE, 3): ("ORDER_SKU", "2", True, "A", None),
    (SALE, 4): ("SKU", None, False, "B", None),
    (SALE, 5): ("SHIPMENT_ID", "2", False, None, None),
    (LATER, 1): ("SHIPMENT_ID", "1", False, None, None),
    (LATER, 2): ("ORDER_SKU", "2", True, "A", None),
    (LATER, 3): ("ADJUSTMENT", "2", True, "A", None),
    (LATER, 4): (None, None, False, None, Cause.ORDER_UNKNOWN),
}


@pytest.fixture(scope="module")
async def books(new_database: Callable[[], str]) -> AsyncIterator[Store]:
    """Books of which each example has a channel to itself."""
    made = Store(new_database())
    yield made
    await made.close()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.permutations(COMES), st.sets(st.sampled_from(COMES)), st.integers(1, 5))
async def test_what_stands_in_the_end_is_the_same_in_whatever_order_things_come(
    books: Store, comes: list[str], looked_after: set[str], at_once: int
) -> None:
    """And in however many parts."""
    channel = replace(US, id=ChannelId(f"amazon-{uuid4().hex[:8]}"))
    ids = {order_id(channel.id, name): name for name in ("1", "2")}
    kept: dict[str, settlement.Kept] = {}
    for one in comes:
        if one in BOOKS:
            period = (STARTS, ENDS) if one == SALE else (ENDS, ENDS + timedelta(days=14))
            dates = {"starts_at": period[0], "ends_at": period[1]}
            kept[one] = await settled(books, BOOKS[one], one, channel, at_once, **dates)
        else:
            await come(books, channel, one)
        if one in looked_after:
            await rematched(books, channel)
        # A settlement comes to its total at any time, and nothing counts twice.
        for each in kept:
            total = sum((row.amount for row in BOOKS[each]), Decimal(0))
            assert await standing_sum(books, line_table.c.settlement_id == kept[each].settlement) == total
        told = Decimal(17 if {SALE, "transactions"} & set(comes[: comes.index(one) + 1]) else 0)
        assert await standing_sum(books, line_table.c.channel == channel.id, line_table.c.shipment_id == "S-1") == told
    while await rematched(books, channel):
        pass
    found = {
        (name, number): (
            one.matched_by,
            ids.get(one.order_id or OrderId("")),
            one.order_line_id is not None,
            one.sku,
            one.cause,
        )
        for name in BOOKS
        for number, one in (await lines(books, kept[name])).items()
    }
    # What a mapping alone tells of a line whose order is not known is no matter.
    assert found == TIED | {(LATER, 4): (*TIED[LATER, 4][:3], found[LATER, 4][3], Cause.ORDER_UNKNOWN)}
    async with books.begin() as tx:
        ties = await settlement.differences(tx, [one.settlement for one in kept.values()])
    assert ties == {kept[SALE].settlement: Tie(5, usd(0)), kept[LATER].settlement: Tie(3, usd(-1))}


async def come(store: Store, channel: Channel, what: str) -> None:
    """Let something be known."""
    first, second = an_order("1", "A", channel=channel.id), an_order("2", "A", channel=channel.id)
    async with store.begin() as tx:
        match what:
            case "order":
                await order.upsert(tx, [first])
            case "sketch":
                await order.upsert(tx, [replace(second, whole=False)])
            case "whole":
                await order.upsert(tx, [second])
            case "mapping":
                await tx.execute(upsert(product).values(sku="B", title="B").on_conflict_do_nothing())
                row = {
                    "id": f"{channel.id} B",
                    "channel": channel.id,
                    "marketplace": "US",
                    "channel_sku": "B",
                    "sku": "B",
                }
                more = {"external_id": "B", "status": "ACTIVE", "fulfilled_by": "MERCHANT", "as_of": POSTED}
                await tx.execute(insert(listing).values(**row, **more))
            case "transactions":
                item = TransactionItem(
                    "A thing", usd(17), sku="A", units=1, breakdowns=(Breakdown("ProductCharges", usd(17)),)
                )
                related = (("ORDER_ID", "1"), ("SHIPMENT_ID", "S-1"))
                sold = Transaction("t", "RELEASED", "Shipment", POSTED, usd(17), related=related, items=(item,))
                await money_transaction.keep(tx, channel, [sold], partial(classify, AMAZON_TRANSACTION))


async def standing_sum(store: Store, *where: ColumnElement[bool]) -> Decimal:
    async with store.begin() as tx:
        query = select(func.coalesce(func.sum(line_table.c.amount), 0)).where(money_line.standing(), *where)
        return Decimal((await tx.execute(query)).scalar_one())


async def test_a_residual_keeps_its_age_and_says_what_became_known(store: Store) -> None:
    kept = await settled(store, [a_row(1, 20, order_id="1", item_id="1-0", sku="A")])
    async with store.begin() as tx:
        await order.upsert(tx, [an_order("1", "A", whole=False)])
    assert await rematched(store) == 1
    assert await rematched(store) == 0, "what lacks the same as before is left as it is"
    async with store.begin() as tx:
        await order.upsert(tx, [an_order("1", "A")])
        await tx.execute(delete(estimate_due))
    assert await rematched(store) == 1
    async with store.begin() as tx:
        query = select(line_table).where(line_table.c.settlement_id == kept.settlement).order_by(line_table.c.id)
        told = (await tx.execute(query)).all()
        kept_at = await tx.scalar(select(settlement_table.c.kept_at))
        due = (await tx.scalars(select(estimate_due.c.order_id))).all()
    assert [(row.cause, row.replaced_why) for row in told] == [
        ("ORDER_UNKNOWN", "Its order became known."),
        ("LINE_UNKNOWN", "The line of its order became known."),
        (None, None),
    ]
    assert [row.known_at for row in told][1:] == [row.replaced_at for row in told][:2], "one line stands at any instant"
    assert told[0].known_at == kept_at
    assert due == [order_id(US.id, "1")]


async def test_who_finds_somebody_at_the_books_leaves_them(store: Store) -> None:
    await settled(store, [a_row(1, 20, order_id="1", item_id="1-0", sku="A")])
    async with store.begin() as tx:
        await order.upsert(tx, [an_order("1", "A")])
    async with store.begin() as tx:
        await tx.execute(select(func.pg_advisory_xact_lock(locks.BOOKS)))
        assert await rematched(store) == 0
    assert await rematched(store) == 1


async def test_two_who_keep_the_same_at_once_keep_it_once(store: Store) -> None:
    rows = [a_row(1, 20, order_id="1")]
    kept = await asyncio.gather(settled(store, rows), settled(store, rows))
    assert sorted(one.fresh for one in kept) == [False, True]
    assert await rows_of(store, line_table) == 1


async def test_a_settlement_that_is_missing_is_noticed(store: Store) -> None:
    """With the balance that the one before sent there."""
    days = [STARTS + timedelta(days=14 * number) for number in range(4)]
    for number in (0, 2):
        rows = [other(1, 30, "Previous Reserve Amount Balance"), other(2, -40, "Current Reserve Amount")]
        await settled(store, rows, f"S{number}", starts_at=days[number], ends_at=days[number + 1])
    payout = a_statement([], "P", kind=SettlementKind.PAYOUT, marketplace=None, total=usd(1))
    async with store.begin() as tx:
        await settlement.keep(tx, payout, [movement(1, 1)])
        assert await settlement.gaps(tx) == [Missing(US.id, "US", days[1], days[2], usd(40))]
        assert await settlement.gaps(tx, ChannelId("another")) == []
    rows = [other(1, 40, "Previous Reserve Amount Balance"), other(2, -30, "Current Reserve Amount")]
    await settled(store, rows, "S1", starts_at=days[1], ends_at=days[2])
    async with store.begin() as tx:
        assert await settlement.gaps(tx, US.id) == []


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("\\\t\r\nN."), max_size=6)
NAMES = TEXTS.map(lambda text: text or None)
AMOUNTS = st.decimals(-(10**9), 10**9, places=3)
STAGED = st.builds(
    StatementRow,
    st.just(1),
    TEXTS,
    TEXTS,
    TEXTS,
    AMOUNTS,
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    order_id=NAMES,
    adjustment_id=NAMES,
    shipment_id=NAMES,
    item_id=NAMES,
    sku=NAMES,
    **dict.fromkeys(("merchant_order_id", "merchant_order_item_id", "merchant_adjustment_item_id"), st.none()),
    **dict.fromkeys(("marketplace", "network", "units"), st.none()),
    extra=st.dictionaries(TEXTS, TEXTS, max_size=2).map(lambda extra: extra or None),
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(STAGED, max_size=4))
async def test_rows_come_as_they_are(books: Store, rows: list[StatementRow]) -> None:
    """Whatever signs their texts have."""
    numbered = [row._replace(number=number) for number, row in enumerate(rows, 1)]
    async with books.begin() as tx:
        await settlement_rows.begin(tx)
        sent = settlement_rows.written(
            [numbered[:1], numbered[1:]], lambda *_words: (Event.REFUND, MoneyClass.SHIPPING)
        )
        await settlement_rows.send(tx, sent)
        written = await settlement_rows.keep_back(tx)
        assert written == (len(rows), sum((row.amount for row in rows), Decimal(0)))
        found = await tx.execute(text("select * from settlement_left order by row"))
        told = [
            StatementRow(
                row.row,
                row.kind,
                row.amount_kind,
                row.description,
                row.amount,
                row.posted_at,
                order_id=row.order_external_id,
                adjustment_id=row.adjustment_id,
                shipment_id=row.shipment_id,
                marketplace=row.marketplace,
                item_id=row.item_id,
                sku=row.channel_sku,
                extra=row.extra,
            )
            for row in found
        ]
        assert told == numbered
