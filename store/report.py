"""Files of reports, kept packed for the items that asked for them until they are forgotten."""

from __future__ import annotations

import gzip
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.report import KeptReport, ReportFile
from store.session import among, storable
from store.tables import report

c = report.c


@dataclass(frozen=True, slots=True)
class Packed:
    """A file as it is kept. To pack and to unpack takes long: not within a transaction."""

    content_type: str
    size: int
    content: bytes

    def unpacked(self) -> ReportFile:
        """The file as it was."""
        return ReportFile(gzip.decompress(self.content), self.content_type)


def packed(file: ReportFile) -> Packed:
    """The file as it is kept."""
    return Packed(storable(file.content_type), len(file.content), gzip.compress(file.content, 6))


async def keep(tx: AsyncConnection, item: int, file: Packed) -> None:
    """Keep the file of an item; another one in its place."""
    values = {"content_type": file.content_type, "bytes": file.size, "packed": file.content}
    statement = insert(report).values(item=item, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["item"], set_=values))


async def by_items(tx: AsyncConnection, items: Collection[int]) -> dict[int, KeptReport]:
    """What is kept for each item, without the files themselves; an item without one is missing."""
    rows = await tx.execute(select(c.item, c.content_type, c.bytes, c.kept_at).where(among(c.item, items)))
    return {row.item: KeptReport(row.item, row.content_type, row.bytes, row.kept_at) for row in rows}


async def file(tx: AsyncConnection, item: int) -> Packed | None:
    """The file of an item; None where none is kept (any more)."""
    row = (await tx.execute(select(c.content_type, c.bytes, c.packed).where(c.item == item))).one_or_none()
    return None if row is None else Packed(row.content_type, row.bytes, row.packed)


async def forget(tx: AsyncConnection, before: datetime, limit: int = 100) -> int:
    """Forget at most `limit` files that were kept before then; returns how many."""
    old = select(c.item).where(c.kept_at < before).limit(limit).with_for_update(skip_locked=True).cte("old")
    return (await tx.execute(delete(report).where(c.item == old.c.item))).rowcount
