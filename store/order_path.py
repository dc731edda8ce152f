"""By which path orders come: how many changes are to be expected, and which way the last run took."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import StreamName
from domain.hint import HintKind
from domain.ids import ChannelId
from domain.order_path import Expected
from store.session import storable
from store.tables import hint, order, sync_stream

RATE_OVER = timedelta(hours=6)
SKEW = timedelta(minutes=5)


async def expected(tx: AsyncConnection, channel: ChannelId, since: datetime, now: datetime) -> Expected | None:
    """How many of the channel's orders have changed since then, by how many did in the hours before and by how many notifications
    name; None where there is neither an order nor a notification to tell it by."""
    o, h = order.c, hint.c
    before = select(func.count()).where(o.channel == channel, o.updated_at >= since - RATE_OVER, o.updated_at < since)
    subjects = func.count(h.subject.distinct())
    named = select(subjects, subjects.filter(h.state == "NEW")).where(
        h.channel == channel,
        h.kind == HintKind.ORDER.value,
        h.event_at >= since,
        # None comes before it happens, but for clocks that differ; there is an index on this one.
        h.received_at >= since - SKEW,
    )
    known = select(select(o.id).where(o.channel == channel).exists())
    hinted, waiting = (await tx.execute(named)).one()
    if not hinted and not await tx.scalar(known):
        return None
    return Expected(now - since, RATE_OVER, await tx.scalar(before) or 0, hinted, waiting)


async def named_in_vain(tx: AsyncConnection, channel: ChannelId, before: datetime) -> bool:
    """Whether an order that a notification has named before then is not known yet at all."""
    o, h = order.c, hint.c
    waiting = (h.channel == channel, h.kind == HintKind.ORDER.value, h.state == "NEW", h.event_at < before)
    known = select(o.id).where(o.channel == h.channel, o.external_id == h.subject).exists()
    return bool(await tx.scalar(select(select(h.id).where(*waiting, ~known).exists())))


async def took(tx: AsyncConnection, channel: ChannelId, way: str, reason: str) -> None:
    """The run of the channel's orders that is under way goes this way."""
    c = sync_stream.c
    await tx.execute(
        update(sync_stream)
        .where(c.channel == channel, c.name == StreamName.ORDERS.value)
        .values(way=way, way_reason=storable(reason))
    )
