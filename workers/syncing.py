"""The capability STREAMS: a run of a stream that people asked for, followed to its end.

PENDING asks for the run, ACCEPTED waits for it; it is VERIFIED when that run has ended well, and FAILED with its words when it
has not, or when people stop the stream before it. The stream goes on trying by itself in any case.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import StreamName
from domain.ids import ChannelId
from domain.operation import ClaimedItem, ItemError, ItemStatus, Outcome
from store import stream
from workers.deps import Deps
from workers.lanes import Worked

LOOK_S = 0.5


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one run."""
    id, name = ChannelId(item.channel), StreamName(str(item.payload["stream"]))
    if item.was is ItemStatus.ACCEPTED:
        return await _followed(deps, item, id, name)
    told: Any = item.payload["since"]
    since = None if told is None else datetime.fromisoformat(told)

    async def force(tx: AsyncConnection) -> None:
        await stream.force(tx, id, name, since)

    return Worked(Outcome(item.id, item.fence, ItemStatus.ACCEPTED, LOOK_S), keep=force)


async def _followed(deps: Deps, item: ClaimedItem, id: ChannelId, name: StreamName) -> Worked:
    async with deps.store.begin() as tx:
        ended = await stream.settled(tx, id, name)
        standing = ended or next((one for one in await stream.states(tx, [id]) if one.name is name), None)
    if standing is None:
        return _failed(item, f"{id} has no stream {name.value} any more.")
    if ended is None and standing.paused_at is not None:
        return _failed(item, f"{standing.paused_by} paused it meanwhile: {standing.pause_reason}")
    if ended is None:
        return Worked(Outcome(item.id, item.fence, ItemStatus.ACCEPTED, LOOK_S))
    if ended.last_error is not None:
        return _failed(item, ended.last_error)
    return Worked(Outcome(item.id, item.fence, ItemStatus.VERIFIED))


def _failed(item: ClaimedItem, words: str) -> Worked:
    return Worked(Outcome(item.id, item.fence, ItemStatus.FAILED, error=ItemError("SYNC_FAILED", words)))
