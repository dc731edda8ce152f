"""What the platforms sent and nobody here understands: kept with its reason for people to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId
from domain.product import Rejected
from store.session import storable
from store.tables import quarantine

# An entry of a PostgreSQL index holds some 2,700 bytes, and a character may take four.
_KEY_CHARS = 200
_REASON_CHARS = 400


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something rejected, and how often it came."""

    rejected: Rejected
    first_at: datetime
    last_at: datetime
    times: int


async def keep(tx: AsyncConnection, rejected: Sequence[Rejected]) -> None:
    """Keep each; what comes again for the same reason is counted and its newest form kept."""
    rows = {
        (one.channel, one.what, storable(one.key)[:_KEY_CHARS], storable(one.reason)[:_REASON_CHARS]): storable(one.raw)
        for one in rejected
    }
    if not rows:
        return
    fresh = insert(quarantine)
    statement = fresh.on_conflict_do_update(
        index_elements=["channel", "what", "key", "reason"],
        set_={"raw": fresh.excluded.raw, "last_at": func.now(), "times": quarantine.c.times + 1},
    )
    await tx.execute(
        statement,
        [
            {"channel": channel, "what": what, "key": key, "reason": reason, "raw": raw}
            for (channel, what, key, reason), raw in sorted(rows.items())
        ],
    )


async def count(tx: AsyncConnection) -> int:
    """How many different things are kept."""
    return await tx.scalar(select(func.count()).select_from(quarantine)) or 0


async def recent(tx: AsyncConnection, limit: int = 50) -> list[Quarantined]:
    """The latest first."""
    c = quarantine.c
    rows = await tx.execute(select(quarantine).order_by(c.last_at.desc(), c.id.desc()).limit(limit))
    return [
        Quarantined(
            Rejected(ChannelId(row.channel), row.what, row.key, row.reason, row.raw),
            row.first_at,
            row.last_at,
            row.times,
        )
        for row in rows
    ]
