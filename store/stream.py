"""What is synchronized: each stream of each channel, its interval, its cursor, and who is at it.

A lease keeps two workers from the same stream; should one outlive its lease, the work is done twice and nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import StreamName, StreamState
from domain.ids import ChannelId
from store.channel import not_paused
from store.session import AnyRow, among, from_now, storable
from store.tables import sync_stream

c = sync_stream.c

Key = tuple[ChannelId, StreamName]
_COLUMNS = (
    c.channel,
    c.name,
    c.every,
    c.cursor,
    c.last_success_at,
    c.last_error,
    c.way,
    c.way_reason,
    c.paused_at,
    c.paused_by,
    c.pause_reason,
)


async def register(tx: AsyncConnection, channel: ChannelId, name: StreamName, every: timedelta) -> None:
    """There is such a stream, to be run at once and then `every` so often; a known one only changes its interval."""
    await tx.execute(
        insert(sync_stream)
        .values(channel=channel, name=name.value, every=every)
        .on_conflict_do_update(index_elements=["channel", "name"], set_={"every": every})
    )


async def states(tx: AsyncConnection, channels: Collection[ChannelId] | None = None) -> list[StreamState]:
    """All streams, or those of `channels`; by channel and name."""
    query = select(*_COLUMNS).order_by(c.channel, c.name)
    if channels is not None:
        query = query.where(among(c.channel, channels))
    return [_state(row) for row in await tx.execute(query)]


async def read_at(tx: AsyncConnection, channel: ChannelId, name: StreamName) -> datetime | None:
    """When the last run of the stream ended; None while one is asked for or under way, or when the last one failed."""
    return await tx.scalar(
        select(c.last_success_at).where(
            c.channel == channel,
            c.name == name.value,
            ~c.forced,
            or_(c.lease_until.is_(None), c.lease_until <= func.now()),
            c.last_error.is_(None),
        )
    )


async def claim_due(tx: AsyncConnection, lease_s: float, limit: int = 1) -> list[StreamState]:
    """Take at most `limit` streams that are due, nobody works on and that nobody paused, nor their channel; longest due first."""
    # A CTE that locks runs once; as a subquery of IN it might run again for each row, and lock more than the limit.
    due = (
        select(c.channel, c.name)
        .where(
            c.due_at <= func.now(),
            or_(c.lease_until.is_(None), c.lease_until <= func.now()),
            c.paused_at.is_(None),
            not_paused(c.channel),
        )
        .order_by(c.due_at, c.channel, c.name)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = await tx.execute(
        update(sync_stream)
        .where(c.channel == due.c.channel, c.name == due.c.name)
        .values(lease_until=from_now(lease_s), forced=False)
        .returning(*_COLUMNS, c.due_at)
    )
    return [_state(row) for row in sorted(rows, key=lambda row: (row.due_at, row.channel, row.name))]


async def extend(
    tx: AsyncConnection,
    channel: ChannelId,
    name: StreamName,
    lease_s: float,
    cursor: datetime | None = None,
    was: datetime | None = None,
) -> None:
    """Go on for `lease_s` from now. `cursor`, where given, keeps how far the run has come, for whoever must take over; `was` is
    as in `finished`."""
    values: dict[str, object] = {"lease_until": from_now(lease_s)}
    if cursor is not None:
        values["cursor"] = _reached(cursor, was)
    await _change(tx, channel, name, values)


async def finished(
    tx: AsyncConnection,
    channel: ChannelId,
    name: StreamName,
    cursor: datetime | None,
    at: datetime,
    was: datetime | None = None,
) -> None:
    """A run succeeded at `at`; the next one starts from `cursor`. `was` is the cursor that this run began with, or has written
    last. Forced again meanwhile, it runs once more, and from where that was asked for."""
    await _change(
        tx,
        channel,
        name,
        {
            "cursor": _reached(cursor, was),
            "due_at": case((c.forced, c.due_at), else_=func.now() + c.every),
            "lease_until": None,
            "last_success_at": at,
            "last_error": None,
        },
    )


async def failed(tx: AsyncConnection, channel: ChannelId, name: StreamName, error: str, retry_in_s: float) -> None:
    """A run failed; the next attempt starts from the same cursor in `retry_in_s` seconds."""
    await _change(
        tx,
        channel,
        name,
        {
            "due_at": case((c.forced, c.due_at), else_=from_now(retry_in_s)),
            "lease_until": None,
            "last_error": storable(error),
        },
    )


def _reached(cursor: datetime | None, was: datetime | None) -> ColumnElement[Any]:
    """Forced without a start of its own, as happens all the time in a sale, a stream must not stand still."""
    elsewhere = and_(c.forced, c.cursor.is_distinct_from(literal(was, c.cursor.type)))
    return case((elsewhere, c.cursor), else_=literal(cursor, c.cursor.type))


async def force(tx: AsyncConnection, channel: ChannelId, name: StreamName, since: datetime | None = None) -> None:
    """Run as soon as possible, from `since` where given. A run under way ends first, and does not count as this one."""
    values: dict[str, object] = {"due_at": func.now(), "forced": True}
    if since is not None:
        values["cursor"] = since
    await _change(tx, channel, name, values)


async def hurry(tx: AsyncConnection, channel: ChannelId, name: StreamName, rest: timedelta) -> None:
    """Run it before its time, `rest` after the last run at the soonest. One under way, or put off because it failed, stays as it
    is."""
    soonest = func.greatest(func.now(), c.last_success_at + rest)
    await tx.execute(
        update(sync_stream)
        .where(
            c.channel == channel,
            c.name == name.value,
            c.due_at > soonest,
            c.last_error.is_(None),
            or_(c.lease_until.is_(None), c.lease_until <= func.now()),
        )
        .values(due_at=soonest)
    )


async def settled(tx: AsyncConnection, channel: ChannelId, name: StreamName) -> StreamState | None:
    """The stream as its last run left it; None while a run is asked for, due or under way, or where there is no such stream."""
    row = await tx.execute(
        select(*_COLUMNS).where(
            c.channel == channel,
            c.name == name.value,
            ~c.forced,
            c.due_at > func.now(),
            or_(c.lease_until.is_(None), c.lease_until <= func.now()),
        )
    )
    found = row.one_or_none()
    return None if found is None else _state(found)


async def pause(tx: AsyncConnection, keys: Collection[Key], by: str, reason: str) -> None:
    """Run these no more until people resume them; a run under way goes on to its end. Who paused one first stays told."""
    values = {"paused_at": func.now(), "paused_by": by, "pause_reason": storable(reason)}
    await tx.execute(update(sync_stream).where(_among(keys), c.paused_at.is_(None)).values(**values))


async def resume(tx: AsyncConnection, keys: Collection[Key]) -> None:
    """Run these again, at once, from where they stopped."""
    values = {"paused_at": None, "paused_by": None, "pause_reason": None, "due_at": func.now()}
    await tx.execute(update(sync_stream).where(_among(keys), c.paused_at.is_not(None)).values(**values))


def _among(keys: Collection[Key]) -> ColumnElement[bool]:
    return tuple_(c.channel, c.name).in_([(channel, name.value) for channel, name in sorted(keys, key=str)])


async def _change(tx: AsyncConnection, channel: ChannelId, name: StreamName, values: dict[str, object]) -> None:
    await tx.execute(update(sync_stream).where(c.channel == channel, c.name == name.value).values(**values))


def _state(row: AnyRow) -> StreamState:
    return StreamState(
        channel=ChannelId(row.channel),
        name=StreamName(row.name),
        every=row.every,
        cursor=row.cursor,
        last_success_at=row.last_success_at,
        last_error=row.last_error,
        way=row.way,
        way_reason=row.way_reason,
        paused_at=row.paused_at,
        paused_by=row.paused_by,
        pause_reason=row.pause_reason,
    )
