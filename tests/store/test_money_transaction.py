"""What stands of transactions follows from what was told, in whatever order it came; settlements take their place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import permutations

import pytest
from sqlalchemy import insert, select

from domain.channel import Channel, Platform
from domain.finance import Breakdown, Transaction, TransactionItem
from domain.ids import ChannelId, ChannelSku, Sku, derived_id, line_id, order_id
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage
from domain.money_words import AMAZON_TRANSACTION, classify
from domain.order import Order, OrderLine, OrderStatus
from domain.product import FulfilledBy
from domain.settlement_compare import Replaced, ViewCause, Views
from store import money_line, money_transaction, order
from store.session import Store
from store.tables import estimate_due, settlement
from store.tables import money_line as lines_table
from store.tables import money_transaction as table

AT = datetime(2026, 11, 2, 8, tzinfo=UTC)
FREE = AT + timedelta(days=7)
ENDS = AT + timedelta(days=10)
MEANING = partial(classify, AMAZON_TRANSACTION)


def sold(of: Channel, external_id: str) -> Order:
    """An order that was placed before midnight in Los Angeles."""
    id = order_id(of.id, external_id)
    placed_at = datetime(2026, 11, 1, 5, tzinfo=UTC)
    line = OrderLine(line_id(id, "1"), "1", ChannelSku("SKU-1"), 1, 1, sku=Sku("OURS-1"))
    return Order(
        id=id,
        channel=of.id,
        marketplace="US",
        external_id=external_id,
        status=OrderStatus.SHIPPED,
        channel_status="SHIPPED",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=placed_at,
        updated_at=placed_at,
        lines=[line],
    )


def usd(amount: object) -> Money:
    return Money(Decimal(str(amount)), "USD")


def channel(name: str) -> Channel:
    zones = {"US": "America/Los_Angeles"}
    return Channel(ChannelId(name), Platform.AMAZON, name, sandbox=False, marketplaces=("US",), zones=zones)


def moved(
    id: str, status: str | None, at: datetime = AT, *, order: str = "1", amount: object = 85, **more: str
) -> Transaction:
    """One unit of SKU-1 sold with a fee of 15; `more` are its related ids."""
    net = usd(amount)
    tree = (
        Breakdown("Sales", usd(net.amount + 15), (Breakdown("ProductCharges", usd(net.amount + 15)),)),
        Breakdown("Expenses", usd(-15), (Breakdown("AmazonFees", usd(-15), (Breakdown("Commission", usd(-15)),)),)),
    )
    item = TransactionItem("A thing", net, sku="SKU-1", units=1, breakdowns=tree)
    related = tuple({"ORDER_ID": order, "SHIPMENT_ID": f"S{order}", **more}.items())
    return Transaction(
        id, status, "Shipment", at, net, marketplace="US", related=related, items=(item,), breakdowns=tree
    )


def story(number: str) -> list[Transaction]:
    """Held back, and released: told in three transactions. The last names the first."""
    return [
        moved(f"A{number}", "DEFERRED", order=number),
        moved(f"A{number}", "DEFERRED_RELEASED", order=number, RELEASE_TRANSACTION_ID=f"R{number}"),
        moved(f"R{number}", "RELEASED", FREE, order=number, DEFERRED_TRANSACTION_ID=f"A{number}"),
    ]


async def keep(store: Store, of: Channel, told: Sequence[Transaction]) -> None:
    async with store.begin() as tx:
        await money_transaction.keep(tx, of, told, MEANING)


async def settle(
    store: Store,
    of: Channel,
    orders: Sequence[str],
    id: str = "77",
    amount: object = 85,
    words: tuple[Event, MoneyClass] = (Event.SALE, MoneyClass.SALE),
    **more: object,
) -> str:
    """A settlement from AT to ENDS that has one amount for each order."""
    key = derived_id("settlement", of.id, id)
    line = MoneyLine(
        channel=of.id,
        source=Source.SETTLEMENT,
        stage=Stage.SETTLED,
        event=words[0],
        money_class=words[1],
        amount=usd(amount),
        posted_at=FREE,
        day=date(2026, 11, 2),
        kind="Order",
        settlement=key,
    )
    async with store.begin() as tx:
        known = await order.known(tx, {order_id(of.id, one) for one in orders})
    lines = [replace(line, order_external_id=one, shipment_id=f"S{one}", cause=Cause.ORDER_UNKNOWN) for one in orders]
    lines = [
        replace(one, order_id=known_as, cause=None)
        if (known_as := order_id(of.id, one.order_external_id or "")) in known
        else one
        for one in lines
    ]
    values = {
        "id": key,
        "channel": of.id,
        "kind": "SETTLEMENT",
        "external_id": id,
        "marketplace": "US",
        "currency": "USD",
        "starts_at": AT,
        "ends_at": ENDS,
        "total": sum((one.amount.amount for one in lines), Decimal(0)),
        "line_count": len(lines),
        **more,
    }
    async with store.begin() as tx:
        await tx.execute(insert(settlement).values(values))
        await money_line.add(tx, lines)
        await money_transaction.cover(tx, key)
    return key


async def standing(store: Store, of: Channel, *orders: str) -> dict[str, tuple[Decimal, set[Stage]]]:
    """Of each order what all its standing lines add up to, and where they stand."""
    async with store.begin() as tx:
        query = select(lines_table).where(money_line.c.channel == of.id, money_line.standing())
        lines = list(map(money_line.line_of, await tx.execute(query)))
    found = {}
    for one in orders:
        mine = [line for line in lines if line.order_external_id == one]
        found[one] = sum((line.amount.amount for line in mine), Decimal(0)), {line.stage for line in mine}
    return found


@pytest.mark.parametrize("settled_before", [0, 1, 2, 3, None])
async def test_in_any_order_of_arrival_each_movement_stands_once(store: Store, settled_before: int | None) -> None:
    """Six orders, whose transactions come in the six orders that there are; a settlement comes before the nth of them, or never.
    Half of the orders are known."""
    of = channel(f"any-{settled_before}")
    turns = {str(number): list(told) for number, told in enumerate(permutations(range(3)))}
    async with store.begin() as tx:
        await order.upsert(tx, [sold(of, number) for number in list(turns)[::2]])
    for place in range(3):
        if place == settled_before:
            await settle(store, of, list(turns))
        await keep(store, of, [story(number)[turn[place]] for number, turn in turns.items()])
    if settled_before == 3:
        await settle(store, of, list(turns))
    stage = Stage.RELEASED if settled_before is None else Stage.SETTLED
    assert await standing(store, of, *turns) == dict.fromkeys(turns, (Decimal(85), {stage}))


async def test_what_is_held_back_stands_so_until_it_is_released(store: Store) -> None:
    of, (held, freed, release) = channel("held"), story("1")
    for one, stage in ((held, Stage.DEFERRED), (freed, Stage.RELEASED), (release, Stage.RELEASED)):
        await keep(store, of, [one])
        assert await standing(store, of, "1") == {"1": (Decimal(85), {stage})}
    async with store.begin() as tx:
        query = select(money_line.c.replaced_why).where(money_line.c.channel == of.id).order_by(money_line.c.id)
        rows = (await tx.scalars(query)).all()
    assert rows == ["Its release was told."] * 4 + [None] * 2


async def test_a_settlement_takes_what_names_it_and_leaves_what_is_held_back(store: Store) -> None:
    of = channel("named")
    await keep(
        store,
        of,
        [
            moved("N", "RELEASED", AT - timedelta(days=3), order="named", SETTLEMENT_ID="77"),
            moved("O", "RELEASED", order="another's", SETTLEMENT_ID="78"),
            moved("G", "RELEASED", AT - timedelta(days=3), order="grouped", FINANCIAL_EVENT_GROUP_ID="g"),
            moved("H", "RELEASED", order="grouped too", FINANCIAL_EVENT_GROUP_ID="h"),
            moved(
                "T", "RELEASED", AT - timedelta(days=3), order="tie", SETTLEMENT_ID="77", FINANCIAL_EVENT_GROUP_ID="g"
            ),
            moved("P", "RELEASED", ENDS - timedelta(seconds=1), order="within"),
            moved("L", "RELEASED", ENDS, order="behind"),
            moved("D", "DEFERRED", order="held"),
        ],
    )
    await settle(store, of, ["named", "grouped", "tie", "within"])
    names = ("named", "grouped", "tie", "within", "another's", "grouped too", "behind", "held")
    found = await standing(store, of, *names)
    assert {one: stages for one, (_, stages) in found.items()} == {
        **{one: {Stage.SETTLED} for one in names[:4]},
        **{one: {Stage.RELEASED} for one in names[4:7]},
        "held": {Stage.DEFERRED},
    }
    assert {amount for amount, _ in found.values()} == {Decimal(85)}


async def test_what_is_told_behind_its_settlement_is_kept_and_does_not_stand(store: Store) -> None:
    of = channel("late")
    await settle(store, of, ["1"])
    await keep(store, of, [moved("A", "RELEASED", FREE), moved("B", "RELEASED", ENDS, order="2")])
    assert await standing(store, of, "1", "2") == {
        "1": (Decimal(85), {Stage.SETTLED}),
        "2": (Decimal(85), {Stage.RELEASED}),
    }
    async with store.begin() as tx:
        assert len((await tx.execute(select(table.c.key).where(table.c.channel == of.id))).all()) == 2


async def test_a_settlement_and_its_transactions_at_once_are_one_of_both(store: Store) -> None:
    many = [channel(f"race-{number}") for number in range(5)]
    told = [moved(f"T{one}", "RELEASED", FREE, order=one) for one in "123"]
    await asyncio.gather(*(keep(store, of, told) for of in many), *(settle(store, of, list("123")) for of in many))
    for of in many:
        assert await standing(store, of, *"123") == {one: (Decimal(85), {Stage.SETTLED}) for one in "123"}


async def test_a_transaction_that_turns_out_to_be_of_another_settlement_stands_again_until_that_comes(
    store: Store,
) -> None:
    of = channel("other")
    await keep(store, of, [moved("A", "RELEASED", FREE, FINANCIAL_EVENT_GROUP_ID="g")])
    await settle(store, of, [])
    assert await standing(store, of, "1") == {"1": (Decimal(0), set())}
    # Another one of its group says which settlement that is.
    await keep(store, of, [moved("B", "RELEASED", FREE, order="2", SETTLEMENT_ID="78", FINANCIAL_EVENT_GROUP_ID="g")])
    assert (await standing(store, of, "1"))["1"] == (Decimal(85), {Stage.RELEASED})
    await settle(store, of, ["1", "2"], "78")
    assert await standing(store, of, "1", "2") == dict.fromkeys(("1", "2"), (Decimal(85), {Stage.SETTLED}))


async def test_what_was_taken_by_its_date_stands_again_when_the_settlement_turns_out_to_be_of_another_group(
    store: Store,
) -> None:
    of = channel("dated")
    await keep(
        store, of, [moved("A", "RELEASED", FREE, FINANCIAL_EVENT_GROUP_ID="h"), moved("B", "RELEASED", FREE, order="2")]
    )
    await settle(store, of, [])
    assert await standing(store, of, "1", "2") == {one: (Decimal(0), set()) for one in ("1", "2")}
    named = {"SETTLEMENT_ID": "77", "FINANCIAL_EVENT_GROUP_ID": "g"}
    await keep(store, of, [moved("C", "RELEASED", FREE, order="3", **named)])
    # What names no group may be of it all the same.
    assert {one: stages for one, (_, stages) in (await standing(store, of, "1", "2", "3")).items()} == {
        "1": {Stage.RELEASED}, "2": set(), "3": set(),
    }  # fmt: skip


async def test_a_settlement_of_another_marketplace_currency_or_account_holds_nothing(store: Store) -> None:
    of = channel("apart")
    await keep(store, of, [moved("A", "RELEASED", FREE)])
    await settle(store, of, [], "1", marketplace="CA")
    await settle(store, of, [], "2", currency="CAD")
    await settle(store, channel("apart-2"), [], "3")
    assert (await standing(store, of, "1"))["1"] == (Decimal(85), {Stage.RELEASED})
    await settle(store, of, [], "4", marketplace=None)
    assert (await standing(store, of, "1"))["1"] == (Decimal(0), set())


async def test_of_two_parcels_of_one_amount_a_settlement_holds_the_one_that_it_tells_of(store: Store) -> None:
    of = channel("parcels")
    async with store.begin() as tx:
        await order.upsert(tx, [sold(of, "1")])
    parcels = [moved(name, "DEFERRED", SHIPMENT_ID=name) for name in ("P1", "P2")]
    await keep(store, of, parcels)
    await settle(store, of, ["1"])  # of the shipment S1, which is neither
    assert (await standing(store, of, "1"))["1"] == (Decimal(170), {Stage.SETTLED, Stage.DEFERRED})
    async with store.begin() as tx:
        query = select(table.c.id).where(table.c.channel == of.id, table.c.settlement_id.is_not(None))
        assert (await tx.scalars(query)).all() == ["P1"]


async def test_of_parcels_that_a_settlement_has_in_one_sum_none_stands_beside_it(store: Store) -> None:
    of = channel("sum")
    async with store.begin() as tx:
        await order.upsert(tx, [sold(of, "1"), sold(of, "2")])
    await keep(store, of, [moved(name, "DEFERRED", SHIPMENT_ID=name) for name in ("P1", "P2")])
    await settle(store, of, ["1"], amount=170)
    await keep(store, of, [moved("P3", "DEFERRED", ENDS, SHIPMENT_ID="P3"), moved("P4", "DEFERRED", order="2")])
    # What was posted behind the end of it is in no sum of it.
    assert await standing(store, of, "1", "2") == {
        "1": (Decimal(255), {Stage.SETTLED, Stage.DEFERRED}),
        "2": (Decimal(85), {Stage.DEFERRED}),
    }


@pytest.mark.parametrize("settled_first", [True, False])
async def test_a_label_that_was_paid_says_nothing_of_the_sale_that_is_held_back(
    store: Store, settled_first: bool
) -> None:
    of, label = channel(f"label-{settled_first}"), (Event.ACCOUNT, MoneyClass.SHIPPING_LABEL)
    async with store.begin() as tx:
        await order.upsert(tx, [sold(of, "1")])
    for settles in (settled_first, not settled_first):
        if settles:
            await settle(store, of, ["1"], amount=-6, words=label)
        else:
            await keep(store, of, [moved("A", "DEFERRED")])
    assert (await standing(store, of, "1"))["1"] == (Decimal(79), {Stage.SETTLED, Stage.DEFERRED})


async def test_lines_are_tied_to_an_order_that_comes_later(store: Store) -> None:
    of = channel("order")
    await keep(store, of, [moved("A", "RELEASED", FREE)])
    found = await money_of(store, of)
    assert {(one.order_id, one.matched_by, one.day) for one in found} == {(None, None, date(2026, 11, 9))}
    async with store.begin() as tx:
        assert await money_transaction.match_again(tx, of, MEANING, 10) == 0
        await order.upsert(tx, [sold(of, "1")])
        assert await money_transaction.match_again(tx, of, MEANING, 10) == 1
        assert await money_transaction.match_again(tx, of, MEANING, 10) == 0
    sale, fee = await money_of(store, of)
    line = sold(of, "1").lines[0]
    assert {(one.order_id, one.order_line_id, one.matched_by, one.sku) for one in (sale, fee)} == {
        (order_id(of.id, "1"), line.id, "ORDER_SKU", line.sku)
    }
    # By the clock of the marketplace the order was placed a day before.
    assert {one.day for one in (sale, fee)} == {date(2026, 10, 31)}
    assert (sale.units, fee.units) == (1, None)


async def test_estimates_stand_no_more_when_a_transaction_comes_and_are_due_again(store: Store) -> None:
    of = channel("estimated")
    async with store.begin() as tx:
        await order.upsert(tx, [sold(of, "1")])
        guess = MoneyLine(
            of.id,
            Source.ESTIMATE,
            Stage.ESTIMATED,
            Event.SALE,
            MoneyClass.SALE,
            usd(100),
            AT,
            date(2026, 11, 1),
            "Sale",
            reference=order_id(of.id, "1"),
            order_external_id="1",
            order_id=order_id(of.id, "1"),
        )
        await money_line.add(tx, [guess])
        await tx.execute(estimate_due.delete())
    await keep(store, of, [moved("A", "DEFERRED")])
    assert (await standing(store, of, "1"))["1"] == (Decimal(85), {Stage.DEFERRED})
    async with store.begin() as tx:
        assert order_id(of.id, "1") in (await tx.scalars(select(estimate_due.c.order_id))).all()


async def test_the_two_views_are_compared_by_order(store: Store) -> None:
    of = channel("compared")
    await keep(
        store,
        of,
        [
            moved("A", "RELEASED", order="same"),
            moved("B", "RELEASED", order="less", amount=80),
            moved("C", "RELEASED", order="only told"),
        ],
    )
    id = await settle(store, of, ["same", "less", "only settled"])
    async with store.begin() as tx:
        found = await money_transaction.compare(tx, id)
    assert found == [
        Views("only settled", usd(85), usd(0), ViewCause.ONLY_IN_SETTLEMENT),
        Views("only told", usd(0), usd(85), ViewCause.ONLY_IN_TRANSACTIONS),
        Views("less", usd(85), usd(80), ViewCause.OTHER_AMOUNT),
    ]


async def test_who_keeps_a_settlement_is_told_what_it_took_the_place_of(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Orders in both views say the same: no warning. One that is told with its settlement's name, one with nothing but its date,
    and one that the settlement lacks: there is."""
    of, until = channel("replaced"), ENDS + timedelta(days=7)
    caplog.set_level("INFO")
    same = moved("A", "RELEASED", order="1", SETTLEMENT_ID="76"), moved("B", "RELEASED", order="2", SETTLEMENT_ID="76")
    await keep(store, of, same)
    quiet = await settle(store, of, ["1", "2"], "76", starts_at=ENDS, ends_at=until)
    told = moved("C", "RELEASED", order="3", SETTLEMENT_ID="77"), moved("D", "RELEASED", order="4")
    await keep(store, of, [*told, moved("E", "RELEASED", order="5", amount=40)])
    loud = await settle(store, of, ["3", "5"])
    nothing = await settle(store, of, ["6"], "78", starts_at=ENDS, ends_at=until)
    async with store.begin() as tx:
        found = await money_transaction.replaced(tx, {quiet, loud, nothing})
    assert found == {
        quiet: Replaced(2, 0, usd(170), 0, usd(0)),
        loud: Replaced(3, 2, usd(210), 2, usd(-40)),
    }
    assert found[quiet].warning is None
    logged = [(one.message, one.__dict__["settlement"], one.__dict__["transactions"]) for one in caplog.records]
    assert logged == [
        ("settlement.replaced", quiet, 2),
        ("settlement.replaced", loud, 3),
        ("settlement.told_otherwise", loud, 3),
    ]
    assert caplog.records[-1].__dict__["reason"] == found[loud].warning


async def money_of(store: Store, of: Channel) -> list[MoneyLine]:
    async with store.begin() as tx:
        query = select(lines_table).where(money_line.c.channel == of.id, money_line.standing())
        return list(map(money_line.line_of, await tx.execute(query.order_by(money_line.c.id))))
