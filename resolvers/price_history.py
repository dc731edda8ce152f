"""The history of prices, and those that differ from what is wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from domain.errors import Invalid
from domain.ids import ChannelId, ListingId, OperationId, Sku
from domain.price_canary import Canary
from domain.price_history import InForce, PriceDrift, PriceEvent
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_moment_cursor, write_cursor
from resolvers.shelf import Shelf
from store import price_canary, price_history

LATE = timedelta(minutes=15)
"""So long a price may differ before it is told of, where nobody says otherwise: channels take minutes to show a change."""

At = tuple[ListingId, datetime | None]
"""A listing now (None), or as it was at an instant."""


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which of a SKU's events are wanted; None wants all. `since` is meant with its instant, `until` without."""

    channel: ChannelId | None = None
    marketplace: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def page(
    shelf: Shelf, sku: Sku, first: int | None, after: str | None, wanted: HistoryFilter
) -> Connection[PriceEvent]:
    """What became of the prices of the SKU's listings, newest first."""
    start = read_moment_cursor("priceHistory", after, int)
    async with shelf.store.begin() as tx:
        found, has_next = await price_history.page(tx, sku, first=page_size(first), after=start, **asdict(wanted))

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await price_history.count(tx, sku, **asdict(wanted))

    return connect(found, has_next, after, lambda one: write_cursor("priceHistory", one.at.isoformat(), one.id), count)


async def drifts(
    shelf: Shelf, first: int | None, after: str | None, channel: ChannelId | None, over: timedelta
) -> Connection[PriceDrift]:
    """Listings that have shown another price than the wanted one for longer than `over`, longest first."""
    if over < timedelta(0):
        raise Invalid("`longerThan` is no time before now.", field=("longerThan",))
    start = read_moment_cursor("priceDrift", after, ListingId)
    async with shelf.store.begin() as tx:
        found, has_next = await price_history.drifts(tx, over, first=page_size(first), after=start, channel=channel)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await price_history.drift_count(tx, over, channel=channel)

    return connect(
        found, has_next, after, lambda one: write_cursor("priceDrift", one.since.isoformat(), one.listing), count
    )


async def in_force(shelf: Shelf, asked: Collection[At]) -> Mapping[At, InForce]:
    """What each listing was sold for then; missing where nobody had seen any price."""
    now = shelf.clock()
    at = {key: (now if key[1] is None else key[1].astimezone(UTC)) for key in asked}
    async with shelf.store.begin() as tx:
        found = await price_history.in_force(tx, {(key[0], at[key]) for key in asked})
    return {key: found[key[0], at[key]] for key in asked if (key[0], at[key]) in found}


async def canaries(shelf: Shelf, ids: Collection[OperationId]) -> Mapping[OperationId, Canary]:
    """The canaries of those operations that had one."""
    async with shelf.store.begin() as tx:
        return await price_canary.by_operations(tx, ids)
