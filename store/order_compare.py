"""What was compared of each channel's business days, and what did not agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, OrderId
from domain.order_compare import OURS, Comparison, Difference, DifferenceCause
from store.channel import not_paused
from store.session import AnyRow, among, from_now, storable
from store.tables import order, order_compare, order_difference

c, d = order_compare.c, order_difference.c
_REASON_CHARS = 400


async def due(tx: AsyncConnection, days: Mapping[tuple[ChannelId, date], datetime]) -> None:
    """These days are to be compared, each once, at its time."""
    rows = [{"channel": channel, "day": day, "due_at": at} for (channel, day), at in sorted(days.items())]
    if rows:
        await tx.execute(insert(order_compare).on_conflict_do_nothing(), rows)


async def newest(tx: AsyncConnection) -> dict[ChannelId, date]:
    """Of each channel the last day that is compared, or is to be."""
    rows = await tx.execute(select(c.channel, func.max(c.day).label("day")).group_by(c.channel))
    return {ChannelId(row.channel): row.day for row in rows}


async def claim(
    tx: AsyncConnection, channels: Collection[ChannelId], lease_s: float
) -> tuple[ChannelId, date, int] | None:
    """A day to be compared and how often that was tried, under a lease; of channels that are not paused, longest due first."""
    chosen = (
        select(c.channel, c.day)
        .where(c.done_at.is_(None), c.due_at <= func.now(), among(c.channel, channels), not_paused(c.channel))
        .order_by(c.due_at, c.channel, c.day)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    row = (
        await tx.execute(
            update(order_compare)
            .where(c.channel == chosen.c.channel, c.day == chosen.c.day)
            .values(due_at=from_now(lease_s), attempts=c.attempts + 1)
            .returning(c.channel, c.day, c.attempts)
        )
    ).one_or_none()
    return None if row is None else (ChannelId(row.channel), row.day, row.attempts)


async def extend(tx: AsyncConnection, channel: ChannelId, day: date, lease_s: float) -> None:
    """Go on for `lease_s` from now."""
    await tx.execute(update(order_compare).where(c.channel == channel, c.day == day).values(due_at=from_now(lease_s)))


async def put_off(tx: AsyncConnection, channel: ChannelId, day: date, wait_s: float, reason: str) -> None:
    """It could not be compared; try again in `wait_s` seconds."""
    values = {"due_at": from_now(wait_s), "reason": storable(reason)[:_REASON_CHARS]}
    await tx.execute(update(order_compare).where(c.channel == channel, c.day == day).values(**values))


async def done(tx: AsyncConnection, one: Comparison, found: Sequence[Difference]) -> None:
    """The day is compared; what was found differing before and was not found again has healed."""
    if found:
        fresh = insert(order_difference)
        told = {name: fresh.excluded[name] for name in ("ours", "api", "report", "healed_at")}
        await tx.execute(
            fresh.on_conflict_do_update(index_elements=["channel", "day", "external_id", "cause"], set_=told),
            [_difference_row(each) for each in found],
        )
    values = {
        name: getattr(one, name) for name in ("done_at", "ours", "api", "report", "api_whole", "differences", "healed")
    }
    reason = None if one.reason is None else storable(one.reason)[:_REASON_CHARS]
    await tx.execute(
        update(order_compare).where(c.channel == one.channel, c.day == one.day).values(**values, reason=reason)
    )


async def heal(tx: AsyncConnection) -> int:
    """Close what was ours and has been read since; how many."""
    causes = sorted(cause.value for cause in OURS)
    found = (await tx.execute(_HEAL, {"causes": causes})).rowcount
    if found:
        await tx.execute(_COUNT_HEALED)
    return found


async def forget(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` differences that were found before then, and the comparisons of those days; returns how many."""
    await tx.execute(delete(order_compare).where(c.done_at < before))
    old = select(d.id).where(d.found_at < before).limit(limit)
    return (await tx.execute(delete(order_difference).where(d.id.in_(old)))).rowcount


async def placed(tx: AsyncConnection, channel: ChannelId, start: datetime, end: datetime) -> dict[str, OrderId]:
    """Our orders of a channel that were placed from `start` until before `end`, by the channel's ids."""
    o = order.c
    rows = await tx.execute(
        select(o.external_id, o.id).where(o.channel == channel, o.placed_at >= start, o.placed_at < end)
    )
    return {row.external_id: OrderId(row.id) for row in rows}


async def page(
    tx: AsyncConnection, *, first: int, after: int | None = None, channel: ChannelId | None = None, healed: bool = False
) -> tuple[list[Difference], bool]:
    """The next `first` differences, newest first, and whether there are more; with `healed` those too that have healed."""
    wanted = _wanted(channel, healed=healed)
    if after is not None:
        wanted.append(d.id < after)
    rows = (await tx.execute(select(order_difference).where(*wanted).order_by(d.id.desc()).limit(first + 1))).all()
    return [_difference(row) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, *, channel: ChannelId | None = None, healed: bool = False) -> int:
    """How many `page` would give in all."""
    query = select(func.count()).select_from(order_difference).where(*_wanted(channel, healed=healed))
    return await tx.scalar(query) or 0


async def comparisons(tx: AsyncConnection, channel: ChannelId | None, most: int) -> list[Comparison]:
    """The days that were compared, newest first."""
    query = select(order_compare).where(c.done_at.is_not(None)).order_by(c.day.desc(), c.channel).limit(most)
    rows = await tx.execute(query if channel is None else query.where(c.channel == channel))
    return [
        Comparison(
            channel=ChannelId(row.channel),
            day=row.day,
            done_at=row.done_at,
            ours=row.ours,
            api=row.api,
            report=row.report,
            api_whole=row.api_whole,
            differences=row.differences,
            healed=row.healed,
            reason=row.reason,
        )
        for row in rows
    ]


def _wanted(channel: ChannelId | None, *, healed: bool) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [] if healed else [d.healed_at.is_(None)]
    return wanted if channel is None else [*wanted, d.channel == channel]


def _difference_row(one: Difference) -> dict[str, Any]:
    return {
        "channel": one.channel,
        "day": one.day,
        "external_id": one.external_id,
        "cause": one.cause.value,
        "ours": one.ours,
        "api": one.api,
        "report": one.report,
        "healed_at": one.healed_at,
    }


def _difference(row: AnyRow) -> Difference:
    return Difference(
        channel=ChannelId(row.channel),
        day=row.day,
        external_id=row.external_id,
        cause=DifferenceCause(row.cause),
        ours=row.ours,
        api=row.api,
        report=row.report,
        id=row.id,
        found_at=row.found_at,
        healed_at=row.healed_at,
    )


# By then the order is whole, and as new as what either side had told. Reports tell whole seconds.
_HEAL = text(
    """
    update order_difference kept set healed_at = now() from "order" known
    where kept.healed_at is null and kept.cause = any(cast(:causes as text[]))
        and known.channel = kept.channel and known.external_id = kept.external_id and known.whole
        and known.updated_at >= greatest(
            cast(kept.api ->> 'updatedAt' as timestamptz), cast(kept.report ->> 'updatedAt' as timestamptz)
        )
        and kept.cause not in ('STATUS', 'QUANTITY', 'TOTAL')
    """
)
_COUNT_HEALED = text(
    """
    update order_compare kept set healed = (
        select count(*) from order_difference found
        where found.channel = kept.channel and found.day = kept.day and found.healed_at is not null
    )
    where kept.done_at is not null and kept.healed is distinct from kept.differences
    """
)
