"""Orders of every channel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime

from domain.business_day import business_day as day_of
from domain.ids import ChannelId, OrderId, Sku
from domain.order import Order, OrderStatus
from resolvers import channel
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

    def fits(self, one: Order) -> bool:
        """Whether `page` would tell of the order as it is."""
        return (
            self.channel in (None, one.channel)
            and self.marketplace in (None, one.marketplace)
            and (self.statuses is None or one.standing in self.statuses)
            and (self.placed_from is None or self.placed_from <= one.placed_at)
            and (self.placed_to is None or one.placed_at < self.placed_to)
            and (self.updated_from is None or self.updated_from <= one.updated_at)
            and (self.sku is None or any(line.sku == self.sku for line in one.lines))
            and self.external_id in (None, one.external_id)
        )


async def page(shelf: Shelf, first: int | None, after: str | None, wanted: OrderFilter) -> Connection[Order]:
    """Orders, newest placed first."""
    start = read_moment_cursor("orders", after, OrderId)
    async with shelf.store.begin() as tx:
        found, has_next = await order.page(tx, first=page_size(first), after=start, **asdict(wanted))

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await order.count(tx, **asdict(wanted))

    return connect(found, has_next, after, _cursor, count)


def business_day(shelf: Shelf, one: Order) -> date:
    """The day on which it was placed, where it was sold."""
    return day_of(one.placed_at, channel.of(shelf, one.channel).zone(one.marketplace))


def _cursor(one: Order) -> str:
    return write_cursor("orders", one.placed_at.isoformat(), one.id)
