"""What does not agree: numbers that channels show and we do not believe, and what was sold beyond what there was."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.drift import Drift
from domain.errors import Invalid
from domain.ids import ChannelId, LineId, Sku
from domain.oversale import Oversale
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_cursor, read_item_cursor, write_cursor
from resolvers.shelf import Shelf
from store import drift, oversale


async def page(shelf: Shelf, first: int | None, after: str | None, channel: ChannelId | None) -> Connection[Drift]:
    """Numbers that differ now, newest first."""
    start = read_item_cursor("stockDrift", after)
    async with shelf.store.begin() as tx:
        found, has_next = await drift.open_drifts(tx, first=page_size(first), after=start, channel=channel)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await drift.open_count(tx, channel=channel)

    return connect(found, has_next, after, lambda one: write_cursor("stockDrift", one.id), count)


async def oversales(
    shelf: Shelf, first: int | None, after: str | None, channel: ChannelId | None
) -> Connection[Oversale]:
    """Oversold units, last seen first."""
    start = None if after is None else _read_oversale_cursor(after)
    async with shelf.store.begin() as tx:
        found, has_next = await oversale.page(tx, first=page_size(first), after=start, channel=channel)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await oversale.count(tx, channel=channel)

    return connect(
        found, has_next, after, lambda one: write_cursor("oversales", one.seen_at.isoformat(), one.line, one.sku), count
    )


def _read_oversale_cursor(after: str) -> tuple[datetime, LineId, Sku]:
    place = read_cursor("oversales", after)
    try:
        at, line, sku = place
        return datetime.fromisoformat(at).astimezone(UTC), LineId(line), Sku(sku)
    except (ValueError, OverflowError):
        raise Invalid("`after` is not a cursor of this list.", field=("after",)) from None
