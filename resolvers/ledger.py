"""The ledger of own places: its entries, and the proof that it adds up."""

from __future__ import annotations

from domain.ids import LocationCode, Sku
from domain.ledger import Check, Entry
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_item_cursor, write_cursor
from resolvers.shelf import Shelf
from store import ledger


async def page(
    shelf: Shelf, first: int | None, after: str | None, sku: Sku | None, location: LocationCode | None
) -> Connection[Entry]:
    """Entries, newest first."""
    start = read_item_cursor("stockEntries", after)
    async with shelf.store.begin() as tx:
        found, has_next = await ledger.entries(tx, first=page_size(first), after=start, sku=sku, location=location)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await ledger.count(tx, sku=sku, location=location)

    return connect(found, has_next, after, lambda one: write_cursor("stockEntries", one.id), count)


async def last_check(shelf: Shelf) -> Check | None:
    """The last proof, whoever asked for it; None before the first."""
    async with shelf.store.begin() as tx:
        return await ledger.last_check(tx)


async def check(shelf: Shelf) -> Check:
    """Prove now that every balance is the sum of its entries."""
    async with shelf.store.begin() as tx:
        return await ledger.check(tx)
