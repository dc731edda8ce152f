"""Units that marketplaces sold beyond what there was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.allocation import Told, lapse_of
from domain.ids import ChannelId, LineId, OrderId, Sku
from domain.oversale import Oversale
from store import reservation
from store.allocation_plan import Beyond, Wish
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


async def note(tx: AsyncConnection, sold: Sequence[tuple[Wish, Beyond]]) -> None:
    """Keep units that lines took beyond what there was, and which lag let each sale in: what the channel had been told of the SKU
    by the time it sold it."""
    seen_at = await reservation.now(tx)
    told: defaultdict[int, list[Told]] = defaultdict(list)
    asked = {
        "skus": [wish.listed_as for wish, _ in sold],
        "channels": [wish.order.channel for wish, _ in sold],
        "placed": [wish.order.placed_at for wish, _ in sold],
        "limit": _PUSHES,
    }
    for row in await tx.execute(_TOLD, asked):
        told[row.number].append(Told((row.channel_sku, row.place), row.quantity, row.sent_at, row.confirmed_at))
    lapses = [lapse_of(wish.order.placed_at, seen_at, told[number]) for number, (wish, _) in enumerate(sold, start=1)]
    rows = [
        {
            "order_line_id": wish.line,
            "sku": wish.sku,
            "channel": wish.order.channel,
            "units": beyond.units,
            "stood": beyond.stood,
            "placed_at": wish.order.placed_at,
            "seen_at": seen_at,
            "shown": lapse.shown,
            "told_at": lapse.told_at,
            "cause": lapse.cause,
        }
        for (wish, beyond), lapse in zip(sold, lapses, strict=True)
    ]
    await tx.execute(_NOTE, rows)


# Many more than a channel is told within the time that it takes to confirm one.
_PUSHES = 100

_TOLD = text(
    """
    select asked.number, push.* from unnest(
        cast(:skus as text[]), cast(:channels as text[]), cast(:placed as timestamptz[])
    ) with ordinality as asked (sku, channel, placed_at, number)
    cross join lateral (
        select channel_sku, place, quantity, sent_at, confirmed_at from stock_push
        where sku = asked.sku and channel = asked.channel and sent_at <= asked.placed_at and error_code is null
        order by sent_at desc limit :limit
    ) push
    """
)

_NOTE = text(
    """
    insert into oversale as kept (order_line_id, sku, channel, units, placed_at, seen_at, shown, told_at, cause)
    values (:order_line_id, :sku, :channel, :units, :placed_at, :seen_at, :shown, :told_at, :cause)
    on conflict (order_line_id, sku) do update set
        units = greatest(kept.units, least(kept.units, cast(:stood as integer)) + excluded.units)
    """
)


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
