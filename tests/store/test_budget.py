"""The last use of a budget, by the database's clock."""

from __future__ import annotations

from sqlalchemy import func, select

from domain.ids import ChannelId
from store.budget import BudgetMemory
from store.session import Store

AMAZON = ChannelId("amazon-eu")


async def test_the_last_use_is_remembered(store: Store) -> None:
    memory = BudgetMemory(store)
    assert await memory.last_use(AMAZON, "getOrder") is None
    async with store.begin() as tx:
        before = await tx.scalar(select(func.clock_timestamp()))
    await memory.note_use(AMAZON, "getOrder")
    first = await memory.last_use(AMAZON, "getOrder")
    await memory.note_use(AMAZON, "getOrder")
    second = await memory.last_use(AMAZON, "getOrder")
    assert first is not None
    assert second is not None
    assert before is not None
    assert before < first < second
    assert await memory.last_use(AMAZON, "searchOrders") is None
    assert await memory.last_use(ChannelId("shop"), "getOrder") is None
