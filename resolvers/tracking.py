"""What was told of parcels: where they are, and what has come to nothing yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from domain.order import Shipment
from domain.tracking import ParcelEvent, Problem
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_item_cursor, write_cursor
from resolvers.shelf import Shelf
from store import tracking

# Carriers give a number again, years later. A label may lie for a while before its parcel leaves.
BEFORE = timedelta(days=30)
AFTER = timedelta(days=180)


async def problems(shelf: Shelf, first: int | None, after: str | None, source: str | None) -> Connection[Problem]:
    """Rows that have come to nothing yet, newest first."""
    start = read_item_cursor("trackingProblems", after)
    async with shelf.store.begin() as tx:
        found, has_next = await tracking.problems(tx, first=page_size(first), after=start, source=source)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await tracking.problems_count(tx, source=source)

    return connect(found, has_next, after, lambda one: write_cursor("trackingProblems", one.id), count)


async def events(shelf: Shelf, numbers: Collection[str]) -> dict[str, list[ParcelEvent]]:
    """Where parcels of these numbers were, in the order in which it happened."""
    async with shelf.store.begin() as tx:
        return await tracking.events(tx, {number for number in numbers if number})


def newest(parcel: Shipment, events: Sequence[ParcelEvent]) -> ParcelEvent | None:
    """Where the parcel is, of all that was told of its number; None where nobody has told."""
    of_it = [one for one in events if parcel.shipped_at - BEFORE <= one.at <= parcel.shipped_at + AFTER]
    return of_it[-1] if of_it else None
