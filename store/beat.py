"""Signs of life of the workers."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from store.tables import worker_beat


async def beat(tx: AsyncConnection, worker: str) -> None:
    """`worker` is alive now."""
    await tx.execute(
        insert(worker_beat)
        .values(worker=worker, at=func.now())
        .on_conflict_do_update(index_elements=["worker"], set_={"at": func.now()})
    )


async def alive(tx: AsyncConnection, within_s: float) -> int:
    """How many workers gave a sign within the last `within_s` seconds."""
    since = func.now() - timedelta(seconds=within_s)
    return await tx.scalar(select(func.count()).select_from(worker_beat).where(worker_beat.c.at >= since)) or 0
