"""Files that lists are made into, kept packed in parts until they are forgotten.

A part is written in a transaction of its own, under the fence of the claim by which its item is held: whoever comes later begins
anew, and whoever is late writes nothing more.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.export import KeptExport, read_export
from store.session import among
from store.tables import export_file, export_part, operation_item

c, p = export_file.c, export_part.c


@dataclass(frozen=True, slots=True)
class Packed:
    """A part as it is kept, `size` bytes long before it was packed, with the `rows` that are in it. To pack takes long: not
    within a transaction."""

    number: int
    rows: int
    size: int
    content: bytes


def packed(number: int, rows: int, content: bytes) -> Packed:
    """A part as it is kept."""
    return Packed(number, rows, len(content), gzip.compress(content, 6))


async def begin(tx: AsyncConnection, item: int, fence: int) -> bool:
    """Begin the file of an item anew; False where somebody with a later claim has it in hand, or it is whole."""
    fresh = {"fence": fence, "rows": 0, "bytes": 0, "began_at": func.now()}
    began = await tx.execute(
        upsert(export_file)
        .values(item=item, **fresh)
        .on_conflict_do_update(index_elements=["item"], set_=fresh, where=(c.fence <= fence) & c.done_at.is_(None))
    )
    if not began.rowcount:
        return False
    await tx.execute(delete(export_part).where(p.item == item))
    return True


async def add(tx: AsyncConnection, item: int, fence: int, part: Packed) -> bool:
    """Add a part; False where somebody else has the file in hand."""
    more = {"rows": c.rows + part.rows, "bytes": c.bytes + part.size}
    if not (await tx.execute(update(export_file).where(c.item == item, c.fence == fence).values(**more))).rowcount:
        return False
    await tx.execute(insert(export_part).values(item=item, number=part.number, packed=part.content))
    return True


async def finish(tx: AsyncConnection, item: int) -> None:
    """The file is whole. Its item is recorded in `tx`, under its fence."""
    await tx.execute(update(export_file).where(c.item == item).values(done_at=func.now()))


async def by_items(tx: AsyncConnection, items: Collection[int]) -> dict[int, KeptExport]:
    """How far the file of each item has come; an item without one is missing."""
    i = operation_item.c
    rows = await tx.execute(
        select(c.item, c.rows, c.bytes, c.done_at, i.payload)
        .join(operation_item, i.id == c.item)
        .where(among(c.item, items))
    )
    return {row.item: KeptExport(row.item, row.rows, row.bytes, read_export(row.payload), row.done_at) for row in rows}


async def part(tx: AsyncConnection, item: int, number: int) -> bytes | None:
    """A part of the file of an item, packed; None behind the last one."""
    content: bytes | None = await tx.scalar(select(p.packed).where(p.item == item, p.number == number))
    return content


async def forget(tx: AsyncConnection, before: datetime, limit: int = 10) -> int:
    """Forget at most `limit` files that were begun before then; returns how many."""
    old = select(c.item).where(c.began_at < before).limit(limit).with_for_update(skip_locked=True).cte("old")
    return (await tx.execute(delete(export_file).where(c.item == old.c.item))).rowcount
