"""The flows of synchronization: run now, stopped, and let go on by people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.order_paths import OrderDays
from adapters.port import Port
from domain.channel import StreamName, StreamState
from domain.errors import Conflict, Invalid, NotFound
from domain.ids import ChannelId
from domain.operation import Capability, Kind, NewItem, Operation, OperationStatus
from resolvers.request import check_key, contents_hash
from resolvers.shelf import Shelf
from store import operation, stream

LONGEST_REASON = 500
MOST_DAYS = 731  # as far back as Amazon tells
DAY = timedelta(days=1)
# What is younger its stream brings in any case, and platforms tell of no instant that is not over.
YOUNGEST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Flows:
    """Which are meant: streams by name, of one channel or (None) of all. None of `streams` means all of them."""

    channel: ChannelId | None
    streams: tuple[str, ...] | None


async def sync_now(
    shelf: Shelf, requested_by: str, correlation_id: str, wanted: Flows, since: datetime | None
) -> Operation:
    """Have the flows run at once, from `since` where given, and follow them. Raises Refused with the field."""
    if since is not None and since > shelf.clock():
        raise Invalid("`since` lies in the future; leave it out to go on where the last run stopped.", field=("since",))
    async with shelf.store.begin() as tx:
        found = await _meant(shelf, tx, wanted)
        stopped = sorted(f"{one.channel}/{one.name.value}" for one in found if one.paused_at is not None)
        if stopped:
            raise Conflict(
                f"Paused by people: {', '.join(stopped)}. resumeStreams lets them go on.", field=("streams",)
            )
        kept, _ = await operation.create(
            tx,
            kind=Kind.SYNC_NOW,
            requested_by=requested_by,
            idempotency_key=None,
            request_hash=contents_hash(wanted.channel, wanted.streams, None if since is None else since.isoformat()),
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=[_item(one, since) for one in found],
            correlation_id=correlation_id,
        )
    for channel in sorted({one.channel for one in found}):
        await shelf.bell.ring(channel, Capability.STREAMS)
    return kept


async def backfill(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    channel: ChannelId,
    start: datetime,
    end: datetime,
    *,
    idempotency_key: str | None,
) -> Operation:
    """Have the orders placed from `start` until before `end` read, newest day first, as `past_days` has it.

    Raises Refused with the field.
    """
    check_key(idempotency_key)
    items = past_days(shelf.ports, channel, start, min(end, shelf.clock() - YOUNGEST))
    asked = contents_hash(channel, start.isoformat(), end.isoformat())
    async with shelf.store.begin() as tx:
        kept, created = await operation.create(
            tx,
            kind=Kind.BACKFILL_ORDERS,
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            request_hash=asked,
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=items,
            correlation_id=correlation_id,
        )
    if created:
        await shelf.bell.ring(channel, Capability.BACKFILL)
    return kept


def past_days(ports: Mapping[ChannelId, Port], channel: ChannelId, start: datetime, end: datetime) -> list[NewItem]:
    """The items that read the orders placed from `start` until before `end`; of a channel that cannot be asked for the orders of
    a day one item, for all that has changed since `start`. Raises Refused with the field."""
    port = ports.get(channel)
    if port is None:
        raise NotFound(f"There is no channel {channel}.", field=("channelId",))
    if not start < end:
        raise Invalid("`from` must lie before `to`, and in the past.", field=("from",))
    windows = _days(start, end) if isinstance(port, OrderDays) else [(start.astimezone(UTC), end.astimezone(UTC))]
    if len(windows) > MOST_DAYS:
        raise Invalid(f"These are {len(windows)} days; ask for {MOST_DAYS} at a time.", field=("from",))
    return [_day_item(channel, *one) for one in windows]


def _days(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The window cut at midnight UTC, the newest part first."""
    cuts = [start.astimezone(UTC)]
    midnight = cuts[0].replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    while midnight < end:
        cuts.append(midnight)
        midnight += DAY
    return list(zip(cuts, [*cuts[1:], end.astimezone(UTC)], strict=True))[::-1]


def _day_item(channel: ChannelId, start: datetime, end: datetime) -> NewItem:
    return NewItem(
        channel=channel,
        capability=Capability.BACKFILL,
        resource=f"backfill:{channel}",
        key=f"{channel}/{start.date().isoformat()}",
        payload={"start": start.isoformat(), "end": end.isoformat()},
    )


async def pause(shelf: Shelf, by: str, wanted: Flows, reason: str) -> Sequence[StreamState]:
    """Stop the flows until they are resumed; answers them. Raises Refused with the field."""
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise Invalid(f"Say why, in 1 to {LONGEST_REASON} characters.", field=("reason",))
    async with shelf.store.begin() as tx:
        found = await _meant(shelf, tx, wanted)
        await stream.pause(tx, _keys(found), by, reason)
        return await _meant(shelf, tx, wanted)


async def resume(shelf: Shelf, wanted: Flows) -> Sequence[StreamState]:
    """Let the flows go on where they stopped; answers them. Raises Refused with the field."""
    async with shelf.store.begin() as tx:
        found = await _meant(shelf, tx, wanted)
        await stream.resume(tx, _keys(found))
        return await _meant(shelf, tx, wanted)


async def _meant(shelf: Shelf, tx: AsyncConnection, wanted: Flows) -> list[StreamState]:
    """Raises NotFound for a channel or a stream that there is none of."""
    if wanted.channel is not None and wanted.channel not in shelf.channels:
        raise NotFound(f"There is no channel {wanted.channel}.", field=("channelId",))
    channels = [wanted.channel] if wanted.channel is not None else sorted(shelf.channels)
    states = await stream.states(tx, channels)
    if wanted.streams is None:
        return states
    if not wanted.streams:
        raise Invalid("Name at least one stream.", field=("streams",))
    there = sorted({one.name.value for one in states})
    for index, name in enumerate(wanted.streams):
        if name not in there:
            words = f"There is no stream {name!r}; there are {', '.join(there) or 'none before a worker has started'}."
            raise NotFound(words, field=("streams", str(index)))
    return [one for one in states if one.name.value in wanted.streams]


def _keys(states: Collection[StreamState]) -> list[tuple[ChannelId, StreamName]]:
    return [(one.channel, one.name) for one in states]


def _item(one: StreamState, since: datetime | None) -> NewItem:
    return NewItem(
        channel=one.channel,
        capability=Capability.STREAMS,
        resource=f"stream:{one.channel}:{one.name.value}",
        key=f"{one.channel}/{one.name.value}",
        payload={"stream": one.name.value, "since": None if since is None else since.isoformat()},
    )
