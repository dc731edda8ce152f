"""Orders that are told otherwise elsewhere, and the days on which they were compared."""

from __future__ import annotations

from collections.abc import Sequence

from domain.ids import ChannelId
from domain.order_compare import Comparison, Difference
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_item_cursor, write_cursor
from resolvers.shelf import Shelf
from store import order_compare


async def differences(
    shelf: Shelf, first: int | None, after: str | None, channel: ChannelId | None, *, healed: bool
) -> Connection[Difference]:
    """What does not agree, newest first; with `healed` what did not, too."""
    start = read_item_cursor("orderDifferences", after)
    async with shelf.store.begin() as tx:
        found, has_next = await order_compare.page(
            tx, first=page_size(first), after=start, channel=channel, healed=healed
        )

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await order_compare.count(tx, channel=channel, healed=healed)

    return connect(found, has_next, after, lambda one: write_cursor("orderDifferences", one.id), count)


async def comparisons(shelf: Shelf, first: int | None, channel: ChannelId | None) -> Sequence[Comparison]:
    """The days that were compared, newest first."""
    async with shelf.store.begin() as tx:
        return await order_compare.comparisons(tx, channel, page_size(first))
