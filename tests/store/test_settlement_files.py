"""Files as four stores write them tie out to the cent: payout - matched - classified = 0.00, once the orders are there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import func, insert, select

from adapters.amazon.settlement_file import SettlementFile
from domain.channel import Channel, Platform
from domain.ids import ChannelId, ChannelSku, Sku, line_id, order_id
from domain.money import Money
from domain.order import Order, OrderLine, OrderStatus
from domain.product import FulfilledBy
from domain.settlement import Statement, StatementRow
from sandbox.amazon import seed
from sandbox.amazon.reports import reports_of
from sandbox.amazon.state import Amazon
from sandbox.amazon.state import Order as SoldOrder
from sandbox.control import Core
from sandbox.options import Options
from store import money_line, order, settlement
from store.session import Store
from store.tables import listing, product
from store.tables import money_line as line_table
from tests.store.test_settlement import keep, rematched

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONES = {"US": "America/Los_Angeles", "DE": "Europe/Berlin", "FR": "Europe/Paris", "JP": "Asia/Tokyo"}
CURRENCIES = {"US": "USD", "DE": "EUR", "FR": "EUR", "JP": "JPY"}


def channels_of(amazon: Amazon) -> dict[str, Channel]:
    """By the seller's id at Amazon."""
    return {
        one.seller: Channel(
            ChannelId(one.seller),
            Platform.AMAZON,
            one.seller,
            sandbox=True,
            marketplaces=tuple(one.marketplaces),
            zones={code: ZONES[code] for code in one.marketplaces},
            currencies={code: CURRENCIES[code] for code in one.marketplaces},
        )
        for one in amazon.accounts
    }


def told(channel: Channel, sold: SoldOrder) -> Order:
    """An order as the channel tells it, with what matters here."""
    id = order_id(channel.id, sold.id)
    return Order(
        id=id,
        channel=channel.id,
        marketplace=sold.marketplace,
        external_id=sold.id,
        status=OrderStatus.SHIPPED,
        channel_status="SHIPPED",
        fulfilled_by=FulfilledBy.MERCHANT,
        placed_at=sold.created_at,
        updated_at=sold.updated_at,
        lines=[
            OrderLine(line_id(id, one.id), one.id, ChannelSku(one.product.sku), one.quantity, 0, Sku(one.product.sku))
            for one in sold.lines
        ],
    )


def twisted(rows: list[StatementRow], name: str) -> list[StatementRow]:
    """The same amounts, told as it happens: a shipment's id among the orders' ids, items of other numbers, amounts in two parts,
    and one that is taken back under other ids and given again."""
    found = []
    for row in rows:
        turn = row.number % 5
        if row.shipment_id is None or row.order_id is None or turn == 0:
            found.append(row)
        elif turn == 1 and row.amount_kind == "ItemFees":
            found.append(row._replace(order_id=row.shipment_id))
        elif turn == 2:
            found.append(row._replace(item_id="0"))
        elif turn == 3:
            part = row.amount / 2
            found += [row._replace(amount=part), row._replace(amount=row.amount - part)]
        else:
            given = row._replace(adjustment_id=f"{name}-{row.number}")
            taken = given._replace(kind="Refund", amount=-row.amount, order_id=None, shipment_id=None, item_id=None)
            found += [given, taken, row]
    return [row._replace(number=number) for number, row in enumerate(found, 1)]


async def test_settlements_of_four_stores_tie_out_once_their_orders_are_there(store: Store) -> None:
    amazon = Amazon(Core.of(Options(seed=7, products=40, orders=60, speed=0, start=START)))
    seed.fill(amazon)
    reports = reports_of(amazon)
    amazon.clock.advance(timedelta(days=20).total_seconds())
    reports.settle()
    channels = channels_of(amazon)
    kept: dict[str, Statement] = {}
    for number, one in enumerate(reports.settlements.closed):
        stored = amazon.documents.stored(one.document_id)
        assert stored is not None
        reader = SettlementFile(stored.content_type, utf8=is_utf8(stored.text))
        rows = [*reader.feed(stored.text), *reader.close()]
        statement = reader.statement(channels[one.account.seller], one.marketplace)
        assert (statement.external_id, statement.total.amount) == (one.id, one.total)
        # Twice: as it came, and, in the name of another, as files can be.
        for name, each in ((one.id, rows), (f"{one.id}b", twisted(rows, one.id))):
            made = replace(statement, external_id=name)
            async with store.begin() as tx:
                became = await keep(tx, each, made, channels[one.account.seller], 100)
            assert became.rows == len(each)
            kept[became.settlement] = made
        if number == 4:
            # Some come in between, the others later.
            await keep_orders(store, channels, list(amazon.orders.values())[::2])
    assert {one.marketplace for one in kept.values()} == set(ZONES)
    before = await differences(store, kept)
    assert [one for one in before.values() if one], "orders are missing so far, and it is seen"
    await keep_orders(store, channels, list(amazon.orders.values()))
    await list_all(store, amazon, channels)
    while await rematched(store, *channels.values()):
        pass
    assert await differences(store, kept) == dict.fromkeys(kept, Decimal(0))
    async with store.begin() as tx:
        sums = await tx.execute(
            select(line_table.c.settlement_id, func.sum(line_table.c.amount))
            .where(money_line.standing())
            .group_by(line_table.c.settlement_id)
        )
        assert {id: Money(total, kept[id].total.currency) for id, total in sums} == {
            id: one.total for id, one in kept.items()
        }
        ways = Counter(await tx.scalars(select(line_table.c.matched_by).where(money_line.standing())))
    assert set(ways) >= {"ORDER_ITEM", "ORDER_SKU", "SHIPMENT_ID", "ADJUSTMENT", "SKU", "ACCOUNT"}, ways


def is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


async def keep_orders(store: Store, channels: dict[str, Channel], orders: list[SoldOrder]) -> None:
    async with store.begin() as tx:
        await order.upsert(tx, [told(channels[one.account.seller], one) for one in orders])


async def list_all(store: Store, amazon: Amazon, channels: dict[str, Channel]) -> None:
    """Have all SKUs of the channels be ours."""
    skus = [amazon.world.product(index).sku for index in range(amazon.world.size)]
    more = {"marketplace": "", "status": "ACTIVE", "fulfilled_by": "CHANNEL", "as_of": START}
    async with store.begin() as tx:
        await tx.execute(insert(product), [{"sku": sku, "title": sku} for sku in skus])
        for id in channels:
            offered = [
                {"id": f"{id} {sku}", "channel": id, "channel_sku": sku, "external_id": sku, "sku": sku} for sku in skus
            ]
            await tx.execute(insert(listing), [one | more for one in offered])


async def differences(store: Store, kept: dict[str, Statement]) -> dict[str, Decimal]:
    async with store.begin() as tx:
        return {id: one.difference.amount for id, one in (await settlement.differences(tx, kept)).items()}
