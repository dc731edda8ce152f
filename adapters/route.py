"""Reading stock and orders by the cheapest route: what `domain.route` chooses from what a port offers and what budgets hold."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.budget import Budgets
from adapters.order_paths import OrderPaths
from adapters.port import ABREAST, Page, Port, StockKey
from domain.budget import Ask, Plan, Priority
from domain.channel import Location
from domain.errors import Transient
from domain.ids import ChannelId
from domain.order_path import Expected, choose_path
from domain.route import Choice, Route, Way, Wish, choose
from domain.stock import Reading

log = logging.getLogger(__name__)

ANY = Wish()


@dataclass(frozen=True, slots=True)
class Question:
    """Stock of one group of places that is to be read: of so many `keys` (None: of whatever there is) of `known` ones."""

    port: Port
    locations: Sequence[Location]
    keys: int | None
    known: int
    priority: Priority


@dataclass(frozen=True, slots=True)
class Routed:
    """A choice that was made, for whoever watches."""

    channel: ChannelId
    locations: tuple[str, ...]
    keys: int | None
    known: int
    choice: Choice

    def told(self) -> dict[str, Any]:
        """As plain values: the way that is taken, why, and every candidate on a line of its own, the taken one first."""
        costs = [self.choice.taken, *self.choice.others]
        return {
            "way": self.choice.taken.route.way.value,
            "calls": self.choice.taken.calls,
            "seconds": round(self.choice.taken.seconds, 1),
            "reason": self.choice.reason,
            "candidates": [
                f"{one.route.way.value}: {one.calls} calls, {one.seconds:.1f} s"
                + (f" ({one.lost})" if one.lost else "")
                for one in costs
            ],
        }


@dataclass(frozen=True, slots=True)
class OrdersQuestion:
    """Changes of a channel's orders that are to be read: so many as are expected, before the next run is due."""

    port: Port
    expected: Expected
    every: timedelta


class Routes:
    """Chooses. `watch` is told of each choice that is going to be carried out."""

    def __init__(self, budgets: Budgets, watch: Callable[[Routed], None] | None = None) -> None:
        self._budgets = budgets
        self._watch = watch

    async def explain(self, question: Question, wish: Wish = ANY) -> Routed:
        """What would be chosen now; nothing is asked of the platform, nothing is spent. Raises Throttled without Redis."""
        port = question.port
        routes = await port.stock_routes(question.locations, question.keys, question.known)
        plans = [step.plan for route in routes for step in route.steps]
        purses = await self._budgets.purses(port.channel.id, plans, question.priority)
        places = tuple(one.code for one in question.locations)
        return Routed(port.channel.id, places, question.keys, question.known, choose(routes, purses, wish))

    async def explain_orders(self, question: OrdersQuestion) -> Routed:
        """What would be chosen now; nothing is asked of the platform, nothing is spent. Raises Throttled without Redis."""
        port, expected = question.port, question.expected
        routes = [Route(Way.PAGES, (), whole=True)]
        if isinstance(port, OrderPaths):
            span_s = expected.span.total_seconds()
            routes = await port.order_routes(span_s, expected.changes, expected.waiting)
        plans = [step.plan for route in routes for step in route.steps]
        purses = await self._budgets.purses(port.channel.id, plans, Priority.BACKGROUND)
        choice = choose_path(routes, purses, expected, question.every)
        return Routed(port.channel.id, (), None, expected.changes, choice)

    async def spare(self, channel: ChannelId, plan: Plan) -> bool:
        """Whether a call that nobody waits for would be made at once."""
        purse = (await self._budgets.purses(channel, [plan], Priority.BACKFILL))[plan.operation]
        return not purse.ahead and purse.tokens - purse.kept >= 1

    async def choose_orders(self, question: OrdersQuestion) -> Choice:
        """The way to take now; it goes into the log, with all candidates on one line, and to who watches."""
        routed = await self.explain_orders(question)
        log.info("orders.path_chosen", extra={"channel": routed.channel, "expected": routed.known} | routed.told())
        if self._watch is not None:
            self._watch(routed)
        return routed.choice

    async def choose(self, question: Question, wish: Wish = ANY) -> Way:
        """The way to take now; it goes into the log, with all candidates on one line, and to who watches."""
        routed = await self.explain(question, wish)
        extra = {"channel": routed.channel, "locations": routed.locations, "keys": routed.keys, "known": routed.known}
        log.info("route.chosen", extra=extra | routed.told())
        if self._watch is not None:
            self._watch(routed)
        return routed.choice.taken.route.way


def readings(
    port: Port, way: Way, locations: Sequence[Location], keys: Sequence[StockKey] | None, ask: Ask
) -> AsyncIterator[Page[Reading]]:
    """Stock of one group by a way.

    With `keys` exactly one reading per place and key, zeros where the platform holds none of a SKU; without, whatever there is,
    which `SINGLE` and `BATCH` cannot tell. Keys that a report leaves out are asked for by the batch. Raises as the port does;
    Transient when a walk met something unreadable that may have been one of the keys.
    """
    if keys is None:
        return port.stock_pages(locations, ask, way)
    if way in (Way.SINGLE, Way.BATCH):
        return _asked(port, locations, keys, 1 if way is Way.SINGLE else port.stock_batch, ask)
    return _found(port, way, locations, keys, ask)


async def _asked(
    port: Port, locations: Sequence[Location], keys: Sequence[StockKey], size: int, ask: Ask
) -> AsyncIterator[Page[Reading]]:
    """By calls for `size` keys each, a few of them at a time, in the order of the keys."""
    flying: deque[asyncio.Task[list[Reading]]] = deque()
    try:
        for start in range(0, len(keys), size):
            if len(flying) == ABREAST:
                yield Page(await flying.popleft())
            flying.append(asyncio.create_task(port.stock(locations, keys[start : start + size], ask)))
        while flying:
            yield Page(await flying.popleft())
    finally:
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)


async def _found(
    port: Port, way: Way, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask
) -> AsyncIterator[Page[Reading]]:
    """By walking through all there is."""
    as_of = datetime.now(UTC)
    missing = {(place.code, key.channel_sku): None for key in keys for place in locations}
    broken = None
    async for page in port.stock_pages(locations, ask, way):
        found = [one for one in page.items if (one.location, one.channel_sku) in missing]
        for one in found:
            del missing[one.location, one.channel_sku]
        broken = broken or next(iter(page.rejected), None)
        yield Page(found)
    if missing and way is Way.REPORT:
        # A report need not list all that is held: what is archived is not in Amazon's.
        left_out = [key for key in keys if any((place.code, key.channel_sku) in missing for place in locations)]
        async for page in _asked(port, locations, left_out, port.stock_batch, ask):
            yield Page([one for one in page.items if (one.location, one.channel_sku) in missing])
        return
    if missing and broken is not None:
        raise Transient(f"The walk met {broken.key}, which cannot be read: {broken.reason}.")
    yield Page([Reading(place, port.channel.id, sku, 0, 0, 0, as_of) for place, sku in missing])
