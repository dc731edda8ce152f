"""Units that came back into stock of what was sold, so that a profit can be told as it was known on any day."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.chain import Piece
from domain.profit import back_in_stock
from store.session import as_table, storable
from store.tables import restock

c = restock.c


async def note(tx: AsyncConnection, changed: Collection[Piece]) -> None:
    """What is told now of these pieces holds from now on, in place of what was told of them before."""
    keys = [(one.channel, one.kind.value, storable(one.reference)) for one in changed]
    asked = as_table(
        **{name: [key[place] for key in keys] for place, name in enumerate(("channel", "kind", "reference"))}
    )
    same = [c[name] == asked.c[name] for name in ("channel", "kind", "reference")]
    await tx.execute(update(restock).where(*same, c.replaced_at.is_(None)).values(replaced_at=func.now()))
    rows = [
        {
            "channel": one.channel,
            "kind": one.kind.value,
            "reference": storable(one.reference),
            "order_external_id": None if one.order is None else storable(one.order),
            "channel_sku": storable(one.sku),
            "units": one.units,
            "at": one.at,
        }
        for one in changed
        if one.units > 0 and back_in_stock(one)
    ]
    if rows:
        await tx.execute(insert(restock), rows)
