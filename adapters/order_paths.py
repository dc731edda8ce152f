"""Ports that tell orders by more than one path. What has none of these tells them page by page alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol, runtime_checkable

from adapters.port import Page
from domain.budget import Ask
from domain.order import Order
from domain.route import Route, Way


@runtime_checkable
class OrderPaths(Protocol):
    """A port that tells what has changed by several ways."""

    async def order_routes(self, span_s: float, changes: int, named: int) -> list[Route]:
        """The ways to read so many `changes` of the last `span_s` seconds, of which notifications have `named` some; the one that
        tells more first. Asks nothing of the platform."""
        ...

    def order_pages_by(self, way: Way, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """As `order_pages`, by one of the ways of `order_routes` that tell all there is. A report tells sketches
        (`Order.whole`)."""
        ...


@runtime_checkable
class OrdersToShip(Protocol):
    """A port that lists what we have to ship, many orders in a call."""

    to_ship_batch: int

    def orders_to_ship(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Orders that changed since then, that we ship and that have not left as a whole, as they stand now: at most
        `to_ship_batch` a call."""
        ...


@runtime_checkable
class OrderDays(Protocol):
    """A port that can be asked for the orders of a day, whatever has become of them since."""

    placed_operation: str
    placed_most: int
    """The most calls of `placed_operation` that one day may cost: its share of the budget."""

    def orders_placed(self, start: datetime, end: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Orders placed from `start` until before `end`, oldest first, as they stand now."""
        ...

    def orders_reported(self, start: datetime, end: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Sketches of the orders that changed from `start` to `end`, out of a report of their own. Raises Transient where the
        platform makes none."""
        ...
