"""What the running system knows of its channels: which there ever were, which of them are paused, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel, Platform
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId
from store import event
from store.tables import channel_state, known_channel


@dataclass(frozen=True, slots=True)
class ChannelPause:
    """A channel nobody works on until `paused_until`."""

    channel: ChannelId
    paused_until: datetime
    reason: str


def not_paused(column: ColumnElement[str]) -> ColumnElement[bool]:
    """The channel in `column` is not paused now."""
    c = channel_state.c
    return column.not_in(select(c.channel).where(c.paused_until > func.now()))


async def states(tx: AsyncConnection) -> dict[ChannelId, ChannelPause]:
    """The channels paused now."""
    c = channel_state.c
    rows = await tx.execute(
        select(c.channel, c.paused_until, c.paused_reason).where(c.paused_until > func.now()).order_by(c.channel)
    )
    return {
        ChannelId(row.channel): ChannelPause(ChannelId(row.channel), row.paused_until, row.paused_reason)
        for row in rows
    }


async def remember(tx: AsyncConnection, channels: Iterable[Channel]) -> None:
    """Keep channels as they are configured now, for when they are no more."""
    for one in channels:
        values = {
            "platform": one.platform.value,
            "name": one.name,
            "sandbox": one.sandbox,
            "marketplaces": list(one.marketplaces),
            "time_zone": one.time_zone,
            "zones": dict(one.zones),
        }
        keep = insert(known_channel).values(channel=one.id, **values)
        await tx.execute(keep.on_conflict_do_update(index_elements=["channel"], set_=values))


async def remembered(tx: AsyncConnection) -> dict[ChannelId, Channel]:
    """The channels that were ever configured, as they were last; without those of platforms that only a newer version knows."""
    known = {one.value for one in Platform}
    return {
        ChannelId(row.channel): Channel(
            ChannelId(row.channel),
            Platform(row.platform),
            row.name,
            row.sandbox,
            tuple(row.marketplaces),
            row.time_zone,
            row.zones,
        )
        for row in await tx.execute(select(known_channel).where(known_channel.c.platform.in_(known)))
    }


async def ever(tx: AsyncConnection, channels: Mapping[ChannelId, Channel]) -> dict[ChannelId, Channel]:
    """`channels`, which are configured, and those that were."""
    return {**await remembered(tx), **channels}


async def pause(tx: AsyncConnection, channel: ChannelId, reason: str, for_s: float) -> None:
    """Let nobody work on `channel` for `for_s` seconds from now. Appends ChannelPaused unless it was paused already."""
    already = await _locked_pause(tx, channel)
    values = {
        "paused_until": func.now() + timedelta(seconds=for_s),
        "paused_reason": reason,
        "updated_at": func.now(),
    }
    until = await tx.scalar(
        insert(channel_state)
        .values(channel=channel, **values)
        .on_conflict_do_update(index_elements=["channel"], set_=values)
        .returning(channel_state.c.paused_until)
    )
    if not already:
        assert isinstance(until, datetime)
        data = {"reason": reason, "until": until.isoformat()}
        await event.append(tx, [NewEvent(EventKind.CHANNEL_PAUSED, channel, data)])


async def resume(tx: AsyncConnection, channel: ChannelId) -> None:
    """Let work on `channel` go on. Appends ChannelResumed if it was paused."""
    if not await _locked_pause(tx, channel):
        return
    await tx.execute(
        channel_state.update()
        .where(channel_state.c.channel == channel)
        .values(paused_until=None, paused_reason=None, updated_at=func.now())
    )
    await event.append(tx, [NewEvent(EventKind.CHANNEL_RESUMED, channel, {})])


async def _locked_pause(tx: AsyncConnection, channel: ChannelId) -> bool:
    """Whether the channel is paused now; others who would change that wait for this transaction."""
    c = channel_state.c
    await tx.execute(insert(channel_state).values(channel=channel).on_conflict_do_nothing())
    paused = await tx.scalar(
        select(func.coalesce(c.paused_until > func.now(), False)).where(c.channel == channel).with_for_update()
    )
    return bool(paused)
