"""Orders of every channel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from domain.ids import ChannelId, OrderId, Sku
from domain.order import Order, OrderStatus
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_moment_cursor, write_cursor
from resolvers.shelf import Shelf
from store import order


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """What is wanted; None wants all. Times are inclusive below and exclusive above."""

    channel: ChannelId | None = None
    marketplace: str | None = None
    statuses: tuple[OrderStatus, ...] | None = None
    placed_from: datetime | None = None
    placed_to: datetime | None = None
    updated_from: datetime | None = None
    sku: Sku | None = None
    external_id: str | None = None


async def page(shelf: Shelf, first: int | None, after: str | None, wanted: OrderFilter) -> Connection[Order]:
    """Orders, newest placed first."""
    start = read_moment_cursor("orders", after, OrderId)
    async with shelf.store.begin() as tx:
        found, has_next = await order.page(tx, first=page_size(first), after=start, **asdict(wanted))

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await order.count(tx, **asdict(wanted))

    return connect(found, has_next, after, _cursor, count)


def _cursor(one: Order) -> str:
    return write_cursor("orders", one.placed_at.isoformat(), one.id)
