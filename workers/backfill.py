"""The capability BACKFILL: the orders of one day of the past, or all that has changed since one, page by page.

Each page is kept, then how far that has come; so a worker that dies costs one page. A day is cancelled, or waits for its turn,
between two pages. It takes of a budget only what all others leave.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from adapters.order_paths import OrderDays
from adapters.port import Page
from domain.budget import Ask, Priority
from domain.errors import HouseError, MissingRole, Refused, Throttled, Unauthorized
from domain.exchange import about_item, about_operation
from domain.ids import ChannelId
from domain.operation import ClaimedItem, ItemError, ItemStatus, Outcome
from domain.order import Order
from store import agenda
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S, as_house_error
from workers.crash import point
from workers.deps import Deps
from workers.lanes import Worked
from workers.lease import held
from workers.streams import keep_orders

FAILURES = 8  # in a row, before the day fails
# What a claim does at most: others of the lane shall come to their turn, and a cancellation to its effect.
AT_A_TIME_S = 5.0


@dataclass(frozen=True, slots=True)
class _Day:
    """What is left of a day, and what has been done of it."""

    start: datetime
    end: datetime
    orders: int
    failures: int

    @property
    def detail(self) -> dict[str, str]:
        """As the item keeps it."""
        return {"start": self.start.isoformat(), "orders": str(self.orders), "failures": str(self.failures)}


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """Some pages of what is to be read. Raises nothing but cancellation."""
    if item.was is ItemStatus.ACCEPTED:
        return Worked(Outcome(item.id, item.fence, ItemStatus.VERIFIED))
    first = day = _day(item.payload)
    until = time.monotonic() + min(AT_A_TIME_S, deps.timing.lease_s / 3)
    try:
        async with held(deps, item):
            async for page in _pages(deps, item, day):
                day = await _kept(deps, item, day, page)
                point("after_page")
                if time.monotonic() >= until and day.start > first.start:
                    return Worked(_open(item, day, 0.0))
    except _LostError:
        return Worked(None)
    except HouseError as problem:
        return _failed(item, day, problem)
    except Exception as problem:
        return _failed(item, day, as_house_error(problem, sent=False))
    return Worked(replace(_open(item, day, 0.0), status=ItemStatus.ACCEPTED))


def _pages(deps: Deps, item: ClaimedItem, day: _Day) -> AsyncIterator[Page[Order]]:
    """The orders of a day; where a channel cannot be asked for these, all that has changed since."""
    port = deps.ports[ChannelId(item.channel)]
    about = (about_item(item.id), about_operation(item.operation))
    ask = Ask(Priority.BACKFILL, time.monotonic() + deps.timing.budget_wait_s, about=about)
    if isinstance(port, OrderDays):
        return port.orders_placed(day.start, day.end, ask)
    return port.order_pages(day.start, ask)


class _LostError(Exception):
    """The item is somebody else's by now."""


async def _kept(deps: Deps, item: ClaimedItem, day: _Day, page: Page[Order]) -> _Day:
    await keep_orders(deps, page.items, page.rejected, path="backfill")
    if isinstance(deps.ports[ChannelId(item.channel)], OrderDays):
        start = max([day.start, *(one.placed_at for one in page.items)])
    else:
        start = max(day.start, page.until or day.start)
    day = _Day(start, day.end, day.orders + len(page.items), 0)
    async with deps.store.begin() as tx:
        if not await agenda.note(tx, item.id, item.fence, deps.timing.lease_s, day.detail):
            raise _LostError
    return day


def _failed(item: ClaimedItem, day: _Day, problem: HouseError) -> Worked:
    error = ItemError(problem.code, problem.words)
    match problem:
        case Throttled():
            return Worked(_open(item, day, max(0.1, problem.retry_after_s)), hold_s=problem.retry_after_s)
        case MissingRole():
            return Worked(replace(_open(item, day, ROLE_WAIT_S), error=error))
        case Unauthorized():
            return Worked(replace(_open(item, day, 0.0), error=error), pause=problem.message)
    day = replace(day, failures=day.failures + 1)
    if isinstance(problem, Refused) or day.failures >= FAILURES:
        return Worked(replace(_open(item, day, 0.0), status=ItemStatus.FAILED, error=error))
    wait_s = jittered(day.failures, first_s=1.0, most_s=300.0)
    return Worked(replace(_open(item, day, wait_s), error=error), failing=True)


def _open(item: ClaimedItem, day: _Day, due_in_s: float) -> Outcome:
    return Outcome(item.id, item.fence, ItemStatus.PENDING, due_in_s, detail=day.detail)


def _day(payload: Mapping[str, Any]) -> _Day:
    return _Day(
        datetime.fromisoformat(payload["start"]),
        datetime.fromisoformat(payload["end"]),
        int(payload.get("orders", 0)),
        int(payload.get("failures", 0)),
    )
