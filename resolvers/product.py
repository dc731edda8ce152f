"""Products and their listings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domain.ids import ChannelId, ListingId, Sku
from domain.product import Listing, Product
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_cursor, write_cursor
from resolvers.shelf import Shelf
from store import product


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """What is wanted; None wants all. `unmapped` True wants products without a listing (in `channel`)."""

    skus: tuple[Sku, ...] | None = None
    text: str | None = None
    channel: ChannelId | None = None
    unmapped: bool | None = None


async def page(shelf: Shelf, first: int | None, after: str | None, wanted: ProductFilter) -> Connection[Product]:
    """Products in the order of their SKUs."""
    start = Sku(read_cursor("products", after)[0]) if after is not None else None
    only: dict[str, Any] = {
        "skus": wanted.skus,
        "text": wanted.text,
        "channel": wanted.channel,
        "unmapped": wanted.unmapped,
    }
    async with shelf.store.begin() as tx:
        found, has_next = await product.page(tx, first=page_size(first), after=start, **only)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await product.count(tx, **only)

    return connect(found, has_next, after, lambda one: write_cursor("products", one.sku), count)


async def listing(shelf: Shelf, key: ListingId) -> Listing | None:
    """One listing; None when there is none."""
    async with shelf.store.begin() as tx:
        return await product.listing_by_id(tx, key)
