"""Workers that are alive."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, update

from store import beat
from store.session import Store
from store.tables import worker_beat


async def test_workers_count_while_they_beat(store: Store) -> None:
    async with store.begin() as tx:
        assert await beat.alive(tx, 10) == 0
        await beat.beat(tx, "w1")
        await beat.beat(tx, "w2")
        await beat.beat(tx, "w1")
        assert await beat.alive(tx, 10) == 2
        silent = func.now() - timedelta(seconds=11)
        await tx.execute(update(worker_beat).where(worker_beat.c.worker == "w1").values(at=silent))
        assert await beat.alive(tx, 10) == 1
        assert await beat.alive(tx, 12) == 2
        await beat.beat(tx, "w1")
        assert await beat.alive(tx, 10) == 2
