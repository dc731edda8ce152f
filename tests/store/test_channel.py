"""Pauses: who is paused, until when, and that it is told once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from sqlalchemy import func, select

from domain.ids import ChannelId
from store import channel
from store.channel import ChannelPause
from store.session import Store
from store.tables import event as event_table

AMAZON = ChannelId("amazon-eu")


async def told(store: Store) -> list[tuple[str, str, object]]:
    """Kind, subject and reason of every event, in the order they were appended."""
    c = event_table.c
    async with store.begin() as tx:
        rows = await tx.execute(select(c.kind, c.subject, c.data).order_by(c.id))
        return [(row.kind, row.subject, row.data.get("reason")) for row in rows]


PAUSED = ("ChannelPaused", AMAZON, "consent expired")
RESUMED = ("ChannelResumed", AMAZON, None)


async def test_a_pause_lasts_until_its_time_or_a_resumption(store: Store) -> None:
    async with store.begin() as tx:
        assert await channel.states(tx) == {}
        await channel.pause(tx, AMAZON, "consent expired", 600)
        paused = (await channel.states(tx))[AMAZON]
        now = await tx.scalar(select(func.now()))
        assert isinstance(now, datetime)
    assert paused == ChannelPause(AMAZON, now + timedelta(seconds=600), "consent expired")
    assert await told(store) == [PAUSED]

    async with store.begin() as tx:
        await channel.resume(tx, AMAZON)
        assert await channel.states(tx) == {}
        await channel.resume(tx, AMAZON)
    assert await told(store) == [PAUSED, RESUMED]

    async with store.begin() as tx:
        await channel.pause(tx, AMAZON, "over at once", 0)
    async with store.begin() as tx:
        assert await channel.states(tx) == {}


async def test_a_pause_made_longer_is_not_told_again(store: Store) -> None:
    async with store.begin() as tx:
        await channel.pause(tx, AMAZON, "first", 60)
        await channel.pause(tx, AMAZON, "second", 600)
        assert (await channel.states(tx))[AMAZON].reason == "second"
    assert await told(store) == [("ChannelPaused", AMAZON, "first")]


async def test_many_at_once_tell_one_pause_and_one_resumption(store: Store) -> None:
    async def pause() -> None:
        async with store.begin() as tx:
            await channel.pause(tx, AMAZON, "consent expired", 600)

    async def resume() -> None:
        async with store.begin() as tx:
            await channel.resume(tx, AMAZON)

    await asyncio.gather(*(pause() for _ in range(8)))
    await asyncio.gather(*(resume() for _ in range(8)))
    assert await told(store) == [PAUSED, RESUMED]
