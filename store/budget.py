"""When each budget was last used: outlives Redis, so that a flushed Redis is not taken for unused limits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from domain.ids import ChannelId
from store.session import Store
from store.tables import budget_use


class BudgetMemory:
    """The memory behind the buckets. Each call is a transaction of its own: it comes from between two others' transactions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def last_use(self, channel: ChannelId, operation: str) -> datetime | None:
        """When the budget was last noted as used; None if never."""
        c = budget_use.c
        async with self._store.begin() as tx:
            used_at = await tx.scalar(select(c.used_at).where(c.channel == channel, c.operation == operation))
        assert used_at is None or isinstance(used_at, datetime)
        return used_at

    async def note_use(self, channel: ChannelId, operation: str) -> None:
        """The budget is in use now, by the database's clock."""
        async with self._store.begin() as tx:
            await tx.execute(
                insert(budget_use)
                .values(channel=channel, operation=operation, used_at=func.now())
                .on_conflict_do_update(index_elements=["channel", "operation"], set_={"used_at": func.now()})
            )
