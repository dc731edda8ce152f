"""What moved is asked for again while it may be told incompletely, and what is held back for long by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, update

from adapters.port import OrderKey, Page
from domain.budget import Ask
from domain.channel import Channel, Platform, StreamName
from domain.errors import Transient
from domain.finance import Transaction
from domain.ids import ChannelId
from domain.money import Money
from domain.product import Rejected
from store import order, quarantine, stream
from store.session import Store
from store.tables import money_line, money_transaction
from tests.workers.fake_port import FakePort, make_order
from tests.workers.house import make_deps
from workers import transactions
from workers.deps import Deps
from workers.streams import register, run_stream

AMAZON = ChannelId("amazon")


def moved(id: str, status: str, at: datetime, order: str) -> Transaction:
    amount = Money(Decimal(85), "USD")
    return Transaction(id, status, "Shipment", at, amount, marketplace="US", related=(("ORDER_ID", order),))


@dataclass(slots=True)
class Payer(FakePort):
    """It tells these movements, page by page, and those of these orders alone."""

    pages: list[Page[Transaction]] = field(default_factory=list)
    of_orders: dict[str, list[Transaction]] = field(default_factory=dict)
    since: list[datetime] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    every: Mapping[StreamName, timedelta] = field(default_factory=lambda: dict.fromkeys(StreamName, timedelta(hours=6)))

    async def transaction_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Transaction]]:
        self.since.append(since)
        for page in self.pages:
            yield page

    async def order_transactions(self, key: OrderKey, ask: Ask) -> Page[Transaction]:
        self.asked.append(key.external_id)
        if key.external_id not in self.of_orders:
            raise Transient("It does not say.")
        return Page(self.of_orders[key.external_id])


@pytest.fixture
def payer() -> Payer:
    return Payer(Channel(AMAZON, Platform.AMAZON, "Amazon", True, ("US",)))


@pytest.fixture
def deps(store: Store, redis: Redis, payer: Payer) -> Deps:
    return make_deps(store, redis, [payer])


async def run(deps: Deps) -> datetime | None:
    """One run; where the cursor stands then."""
    await register(deps)
    async with deps.store.begin() as tx:
        before = {one.name: one for one in await stream.states(tx, [AMAZON])}
    await run_stream(deps, before[StreamName.TRANSACTIONS])
    async with deps.store.begin() as tx:
        return {one.name: one for one in await stream.states(tx, [AMAZON])}[StreamName.TRANSACTIONS].cursor


async def lines(deps: Deps) -> list[tuple[str, str, str | None]]:
    """Order, stage and what tied it, of what stands."""
    m = money_line.c
    async with deps.store.begin() as tx:
        query = select(m.order_external_id, m.stage, m.matched_by).where(m.replaced_at.is_(None))
        rows = (await tx.execute(query.order_by(m.order_external_id))).all()
    return [(row.order_external_id, row.stage, row.matched_by) for row in rows]


async def test_the_last_days_are_asked_for_again_however_far_the_cursor_has_come(deps: Deps, payer: Payer) -> None:
    now = datetime.now(UTC)
    told = now - timedelta(hours=1)
    wrong = Rejected(AMAZON, "transaction", "X", "It does not add up.", "")
    payer.pages = [Page([moved("A", "RELEASED", now, "1")], [wrong]), Page([], until=told)]
    assert await run(deps) == told
    assert await run(deps) == told
    first, again = payer.since
    assert timedelta(days=59) < now - first < timedelta(days=61)
    assert now - again > timedelta(days=2, hours=23)
    async with deps.store.begin() as tx:
        assert [one.rejected.key for one in await quarantine.recent(tx)] == ["X"]
    # Its order has come since, and ties it.
    assert await lines(deps) == [("1", "RELEASED", None)]
    async with deps.store.begin() as tx:
        await order.upsert(tx, [replace(make_order(payer, "1"), marketplace="US")])
    await run(deps)
    assert await lines(deps) == [("1", "RELEASED", "ORDER")]


async def test_of_money_that_is_held_back_for_long_it_is_asked_a_few_orders_at_a_time(
    deps: Deps, payer: Payer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "HELD_AT_ONCE", 2)
    now = datetime.now(UTC)
    long_ago, at = now - timedelta(days=20), now - timedelta(days=1)
    held = [moved(id, "DEFERRED", long_ago, order) for id, order in (("A", "1"), ("B", "2"), ("C", "3"))]
    payer.pages = [Page([*held, moved("D", "DEFERRED", at, "young")])]
    payer.of_orders = {
        "1": [replace(moved("R", "RELEASED", at, "1"), related=(("ORDER_ID", "1"), ("DEFERRED_TRANSACTION_ID", "A")))]
    }
    await run(deps)
    assert payer.asked == []
    payer.pages = []
    async with deps.store.begin() as tx:
        t = money_transaction.c
        await tx.execute(update(money_transaction).where(t.id != "C").values(told_at=now - timedelta(days=4)))
    await run(deps)
    assert payer.asked == ["1", "2"]
    assert await lines(deps) == [
        ("1", "RELEASED", None),
        ("2", "DEFERRED", None),
        ("3", "DEFERRED", None),
        ("young", "DEFERRED", None),
    ]
    # Whatever was said of them, others have their turn now.
    await run(deps)
    assert payer.asked == ["1", "2"]
