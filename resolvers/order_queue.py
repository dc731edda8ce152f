"""What is to be confirmed first. The pages of one walk are ranked by the lags of its first page, so that none shifts another."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid
from domain.ids import ChannelId, OrderId
from domain.operation import Capability
from domain.urgency import Lag, Nowhere, Urgent
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_cursor, write_cursor
from resolvers.shelf import Shelf
from store import agenda, order_queue, outbound

MEASURED = timedelta(days=1)
QUANTILE = 0.95
KIND = "queue"


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """What is wanted; None wants all. `held`: those that are held alone, or the others."""

    channel: ChannelId | None = None
    held: bool | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """After which order a page begins, and by which lags the walk is ranked."""

    rank_at: datetime | None
    id: OrderId
    lags: dict[ChannelId, Lag]


async def page(shelf: Shelf, first: int | None, after: str | None, wanted: QueueFilter) -> Connection[Urgent]:
    """Open orders that we ship, the most urgent first: by their ship-by less the lag of their channel. Raises Invalid."""
    start = None if after is None else _read(after)
    async with shelf.store.begin() as tx:
        lags = start.lags if start is not None else await _lags(tx, shelf)
        lags = {id: lag for id, lag in lags.items() if id in shelf.channels and wanted.channel in (None, id)}
        found, has_next = await order_queue.page(
            tx,
            {id: lag.seconds for id, lag in lags.items()},
            first=page_size(first),
            after=None if start is None else (start.rank_at, start.id),
            held=wanted.held,
        )
        ids = [one.id for one, _ in found]
        missing = await order_queue.missing(tx, ids)
    urgent = [Urgent(one, lags[one.channel], rank_at, missing.get(one.id, 0)) for one, rank_at in found]

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await order_queue.count(tx, list(lags), held=wanted.held)

    return connect(urgent, has_next, after, lambda one: _write(one, lags), count)


async def nowhere(shelf: Shelf, ids: Collection[OrderId]) -> dict[OrderId, Nowhere]:
    """What of each order lies at no place of ours, once pools have taken what they are about to ship."""
    async with shelf.store.begin() as tx:
        return await order_queue.nowhere(tx, set(ids) - await outbound.about_to_leave(tx, ids))


async def _lags(tx: AsyncConnection, shelf: Shelf) -> dict[ChannelId, Lag]:
    """Of every channel, to the millisecond, as a cursor keeps them."""
    known = await agenda.measured_lags(tx, Capability.SHIPMENTS, shelf.clock() - MEASURED, QUANTILE)
    lags = {}
    for id, port in shelf.ports.items():
        seconds, items = known.get(id, (port.visibility_lag_s, 0))
        lags[id] = Lag(round(seconds, 3), items)
    return lags


def _write(one: Urgent, lags: dict[ChannelId, Lag]) -> str:
    told = [f"{id}={round(lag.seconds * 1000)}={lag.items}" for id, lag in lags.items()]
    return write_cursor(KIND, "" if one.rank_at is None else one.rank_at.isoformat(), one.order.id, *told)


def _read(cursor: str) -> _Place:
    place = read_cursor(KIND, cursor)
    try:
        at, id, *told = place
        lags = {}
        for each in told:
            channel, milliseconds, items = each.rsplit("=", 2)
            lags[ChannelId(channel)] = Lag(int(milliseconds) / 1000, int(items))
        return _Place(datetime.fromisoformat(at).astimezone(UTC) if at else None, OrderId(id), lags)
    except (ValueError, OverflowError):
        raise Invalid("`after` is not a cursor of this list.", field=("after",)) from None
