"""The guards of prices: reading the sets, and keeping another."""

from __future__ import annotations

from domain.errors import Invalid
from domain.price_guard import PriceGuards, check
from resolvers.shelf import Shelf
from store import price_guard

MOST_VERSIONS = 50


async def current(shelf: Shelf) -> PriceGuards:
    """The set that holds; version 0 while nobody has kept one."""
    async with shelf.store.begin() as tx:
        return await price_guard.current(tx)


async def versions(shelf: Shelf, first: int) -> list[PriceGuards]:
    """The newest sets that were kept, newest first. Raises Invalid."""
    if not 1 <= first <= MOST_VERSIONS:
        raise Invalid(f"Ask for 1 to {MOST_VERSIONS} versions.", field=("first",))
    async with shelf.store.begin() as tx:
        return await price_guard.versions(tx, first)


async def save(shelf: Shelf, wanted: PriceGuards, by: str) -> PriceGuards:
    """From now on `wanted` holds, in place of the version that it names. Raises Invalid and Conflict, with the path in the set as
    their field."""
    check(wanted, shelf.channels)
    async with shelf.store.begin() as tx:
        return await price_guard.keep(tx, wanted, by)
