"""Large changes of prices are judged before their channels are held; what has moved meanwhile is judged again."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text

from domain.operation import Operation, OperationStatus
from domain.price_guard import ACTIONS, Guard, GuardKind
from store import operation, price_desk
from store.price_desk import Request
from store.session import Store
from store.tables import operation_item
from tests.store.price_lane import SHOP, asked, euros, guarded, items, listed, sold, wish

i = operation_item.c
FLOOR = Guard("floor", GuardKind.FLOOR, ACTIONS[GuardKind.FLOOR], currency="EUR", amount=euros("15").regular.amount)


@pytest.fixture
async def shop(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A, B and C are sold for 10 EUR; two rows are many, in blocks of two, and everybody is patient."""
    monkeypatch.setattr(price_desk, "FEW", 1)
    monkeypatch.setattr(price_desk, "PATIENCE_S", 60.0)
    monkeypatch.setattr(operation, "BLOCK", 2)
    await guarded(store)
    await listed(store, sold("A", "10"), sold("B", "10"), sold("C", "10"))
    return store


async def waiting(store: Store) -> None:
    """Until somebody waits for the channel."""
    found = text(
        "select count(*) from pg_locks where locktype = 'advisory' and not granted "
        "and database = (select oid from pg_database where datname = current_database())"
    )
    async with asyncio.timeout(60):
        while True:
            async with store.begin() as tx:
                if await tx.scalar(found):
                    return
            await asyncio.sleep(0.01)


async def befores(store: Store, one: Operation) -> list[str | None]:
    """What each row was to be changed from."""
    async with store.begin() as tx:
        told = await tx.scalars(select(i.before).where(i.operation_id == one.id).order_by(i.id))
    return [None if before is None else json.loads(before)["price"] for before in told]


ALL = (wish("A", "20"), wish("B", "20"), wish("C", "20"))


async def test_what_was_asked_for_while_it_was_judged_is_seen_and_superseded(shop: Store) -> None:
    async with shop.begin() as first:
        other, _ = await price_desk.keep(first, Request("eve", "other", datetime.now(UTC)), [wish("C", "14")])
        large = asyncio.create_task(asked(shop, *ALL))
        await waiting(shop)
    made = await large
    assert await befores(shop, made) == ["10", "10", "14"]
    assert await items(shop, made.id) == [("A", "PENDING", None), ("B", "PENDING", None), ("C", "PENDING", None)]
    assert await items(shop, other.id) == [("C", "SUPERSEDED", None)]


async def test_what_a_guard_says_by_then_holds(shop: Store) -> None:
    low = (wish("A", "11"), wish("B", "16"), wish("C", "16"))
    async with shop.begin() as first:
        await price_desk.lock(first, [SHOP])
        large = asyncio.create_task(asked(shop, *low))
        await waiting(shop)
        await guarded(shop, FLOOR)
    made = await large
    assert await items(shop, made.id) == [("A", "FAILED", "GUARD"), ("B", "PENDING", None), ("C", "PENDING", None)]


async def test_what_moved_while_it_was_approved_is_refused_by_name(shop: Store) -> None:
    one = await asked(shop, *ALL, dry_run=True)
    async with shop.begin() as first:
        await price_desk.lock(first, [SHOP])
        async with asyncio.TaskGroup() as both:

            async def approve() -> Operation:
                async with shop.begin() as tx:
                    return await price_desk.approve(tx, one.id, "bob", datetime.now(UTC))

            approved = both.create_task(approve())
            await waiting(shop)
            await listed(shop, sold("B", "10.50"))
            await first.rollback()
    assert approved.result().status is OperationStatus.RUNNING
    assert await items(shop, one.id) == [("A", "PENDING", None), ("B", "FAILED", "MOVED"), ("C", "PENDING", None)]
