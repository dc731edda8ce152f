"""By which path a run of orders reads what has changed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from adapters.order_paths import OrderPaths
from adapters.port import Page, Port
from adapters.route import OrdersQuestion
from domain.budget import Ask
from domain.channel import StreamState
from domain.ids import ChannelId
from domain.order import Order
from domain.order_path import Expected
from domain.route import Choice, Way
from store import order_path
from workers.deps import Deps

UNKNOWN = "Nobody knows yet how many orders there are."

# After so many orders page by page it is asked whether there is a better way for the rest.
LOOK_UP = 1000
# A change may be told a little late.
AGAIN = timedelta(minutes=2)


@dataclass(slots=True)
class Told:
    """A page, and the path by which it came."""

    page: Page[Order]
    path: str


async def changed(deps: Deps, port: Port, state: StreamState, since: datetime, ask: Ask) -> AsyncIterator[Told]:
    """The pages of a run, by the path that keeps the stream's target; which that is, and why, is written down first.

    Where there turns out to be more than was expected, the path is chosen again, for what is left. Orders that notifications name
    are read by who looks after these; a run that leaves them to it stays where it is.
    """
    way = await _way(deps, port, state, await _expected(deps, state.channel, since))
    if way is Way.SINGLE:
        yield Told(Page([], until=state.cursor or since), "")
        return
    asked_at, read, newest = deps.clock(), 0, since
    pages = _pages(port, way, since, ask)
    async for page in pages:
        read += len(page.items)
        newest = max([newest, *(one.updated_at for one in page.items)])
        yield _told(page, way, asked_at)
        # What a report tells is as old as the asking for it.
        asked_at = asked_at if way is Way.REPORT else deps.clock()
        if way in (None, Way.PAGES) and page.until is None and read >= LOOK_UP and isinstance(port, OrderPaths):
            left = Expected(asked_at - newest, newest - since, read)
            if (other := await _way(deps, port, state, left)) in (Way.REPORT, Way.BULK):
                break
            read, since = 0, newest
    else:
        return
    if isinstance(pages, AsyncGenerator):
        await pages.aclose()
    async for page in _pages(port, other, newest - AGAIN, ask):
        yield _told(page, other, asked_at)


def _pages(port: Port, way: Way | None, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
    if way is not None and isinstance(port, OrderPaths):
        return port.order_pages_by(way, since, ask)
    return port.order_pages(since, ask)


def _told(page: Page[Order], way: Way | None, asked_at: datetime) -> Told:
    page.items = [replace(one, read_at=asked_at) for one in page.items]
    return Told(page, (way or Way.PAGES).value)


async def _expected(deps: Deps, id: ChannelId, since: datetime) -> Expected | None:
    """How many orders have changed since then; None where there is nothing to tell it by."""
    async with deps.store.begin() as tx:
        return await order_path.expected(tx, id, since, deps.clock())


async def _way(deps: Deps, port: Port, state: StreamState, wanted: Expected | None) -> Way | None:
    """None where there is nothing to choose by."""
    if wanted is None:
        way, words = None, UNKNOWN
    else:
        choice = await deps.routes.choose_orders(OrdersQuestion(port, wanted, state.every))
        way, words = choice.taken.route.way, in_words(wanted, choice)
    async with deps.store.begin() as tx:
        await order_path.took(tx, state.channel, (way or Way.PAGES).value, words)
    return way


def in_words(wanted: Expected, choice: Choice) -> str:
    """Why the way was taken, for people."""
    lost = (f"{one.route.way.value}: {one.lost}." for one in choice.others)
    return " ".join([f"{wanted.changes:,} changes expected.", choice.reason, *lost])
