"""Units that marketplaces sold beyond what there was."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, LineId, OrderId, Sku
from domain.oversale import Oversale
from store.session import AnyRow
from store.tables import order_line, oversale

Place = tuple[datetime, LineId, Sku]

c = oversale.c


async def page(
    tx: AsyncConnection, *, first: int, after: Place | None = None, channel: ChannelId | None = None
) -> tuple[list[Oversale], bool]:
    """The next `first`, last seen first, and whether there are more; `after` is (`seen_at`, line, SKU) of the last one."""
    query = select(oversale, order_line.c.order_id).join(order_line, order_line.c.id == c.order_line_id)
    query = query.where(*_filter(channel))
    if after is not None:
        query = query.where(tuple_(c.seen_at, c.order_line_id, c.sku) < after)
    query = query.order_by(c.seen_at.desc(), c.order_line_id.desc(), c.sku.desc())
    rows = (await tx.execute(query.limit(first + 1))).all()
    return [_oversale(row) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, *, channel: ChannelId | None = None) -> int:
    """How many `page` would give in all."""
    query: Select[int] = select(func.count()).select_from(oversale)
    return await tx.scalar(query.where(*_filter(channel))) or 0


def _filter(channel: ChannelId | None) -> list[ColumnElement[bool]]:
    return [] if channel is None else [c.channel == channel]


def _oversale(row: AnyRow) -> Oversale:
    return Oversale(
        order=OrderId(row.order_id),
        line=LineId(row.order_line_id),
        sku=Sku(row.sku),
        channel=ChannelId(row.channel),
        units=row.units,
        placed_at=row.placed_at,
        seen_at=row.seen_at,
        shown=row.shown,
        told_at=row.told_at,
        cause=row.cause,
    )
