"""Upkeep: the ledger is proved every night, expired reservations are tidied up, and what is too old is forgotten.

Reservations end by themselves, to the second; tidying up only makes it known, so that channels are told of the units at once.
"""

from __future__ import annotations

import asyncio
import logging
from calendar import monthrange
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from store import (
    drift,
    exchange,
    export,
    feed,
    hint,
    label,
    ledger,
    order_compare,
    person,
    price_file,
    price_guard,
    price_history,
    report,
    sourcing,
    tracking,
    upkeep,
    webhook_delivery,
)
from store.session import UNAVAILABLE
from workers.backorders import rise
from workers.deps import Deps
from workers.watch import end

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
CHECK_EVERY = timedelta(hours=24)
ASK_EVERY_S = 60.0
REMEMBERED = timedelta(days=400)
DELIVERIES_REMEMBERED = timedelta(days=30)
HINTS_REMEMBERED = timedelta(days=30)
# A label shows where its buyer lives.
LABELS_REMEMBERED = timedelta(days=30)
TRACKING_REMEMBERED = timedelta(days=180)
PRICE_FILES_REMEMBERED = timedelta(days=90)
REPORTS_REMEMBERED = timedelta(days=14)
TOLD = 5

Forget = Callable[[AsyncConnection, datetime], Awaitable[object]]


@dataclass(slots=True)
class Upkeep:
    """Keeps the stock tables in order. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever: expired holds and orders that wait each second; beside it, so that it may take its time, what is done every
        night."""
        nightly = asyncio.create_task(self._nights(), name="upkeep nightly")
        try:
            while True:
                await end_expired(self.deps)
                await rise(self.deps)
                self.pulse()
                done, _ = await asyncio.wait({nightly}, timeout=LOOK_EVERY_S)
                for task in done:
                    task.result()
        finally:
            await end([nightly])

    async def _nights(self) -> None:
        while True:
            await turn_months(self.deps)
            await nightly(self.deps)
            await asyncio.sleep(ASK_EVERY_S)


async def end_expired(deps: Deps) -> None:
    """End what is over, until nothing more is that nobody has in hand."""
    more = True
    while more:
        async with deps.store.begin() as tx:
            more = bool(await upkeep.end_expired(tx))


async def turn_months(deps: Deps) -> None:
    """Have this month and the next two ready for the log of calls, and drop those that are over for longer than it is kept."""
    now = deps.clock()
    ahead = [now, exchange.following(now), exchange.following(exchange.following(now))]
    try:
        async with deps.store.begin() as tx:
            made = await exchange.make_months(tx, ahead)
        async with deps.store.begin() as tx:
            dropped = await exchange.drop_months(tx, _months_before(now, deps.call_months))
    except DBAPIError as problem:
        if isinstance(problem, UNAVAILABLE):
            raise
        # Somebody reads a long page of it. Until then whoever has something to keep makes the month, and old ones stay a while.
        log.warning("calls.months_busy", extra={"reason": type(problem.orig).__name__})
        return
    if made or dropped:
        log.info("calls.months", extra={"made": made, "dropped": dropped})


def _months_before(now: datetime, months: int) -> datetime:
    """The same moment so many months earlier, on the last day of the month at the latest."""
    year, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return now.replace(year=year, month=month + 1, day=min(now.day, monthrange(year, month + 1)[1]))


async def nightly(deps: Deps) -> None:
    """Prove the ledger and forget what is too old, when the last proof is a day old and nobody else is at it."""
    async with deps.store.begin() as tx:
        last = await ledger.last_check(tx)
        if (last is not None and deps.clock() - last.at < CHECK_EVERY) or not await upkeep.my_turn(tx):
            return
        last = await ledger.check(tx)
    extra = {"balances": last.balances, "entries": last.entries}
    if last.wrong:
        words = [f"{one.sku} at {one.location}: {one.balance}, entries {one.entries}" for one in last.wrong[:TOLD]]
        log.error("ledger.wrong", extra=extra | {"wrong": len(last.wrong), "first": words})
    else:
        log.info("ledger.checked", extra=extra)
    now = deps.clock()
    olds = (
        upkeep.forget_pushes,
        upkeep.forget_history,
        upkeep.forget_reservations,
        drift.prune,
        sourcing.forget,
        order_compare.forget,
    )
    for forget in olds:
        await _all(deps, forget, now - REMEMBERED)
    await _all(deps, hint.forget, now - HINTS_REMEMBERED)
    # Those whose time ends before the next night, too: a person is never kept for too long.
    await _all(deps, person.forget, now + CHECK_EVERY)
    await _all(deps, label.forget, now - LABELS_REMEMBERED)
    await _all(deps, tracking.forget, now - TRACKING_REMEMBERED)
    await _all(deps, price_file.forget, now - PRICE_FILES_REMEMBERED)
    await _all(deps, price_guard.forget_hits, now - PRICE_FILES_REMEMBERED)
    await _all(deps, price_history.forget, _months_before(now, deps.prices.history_months))
    await _all(deps, report.forget, now - REPORTS_REMEMBERED)
    await _all(deps, export.forget, now - REPORTS_REMEMBERED)
    await _all(deps, webhook_delivery.forget, now - timedelta(days=deps.webhooks.days))
    async with deps.store.begin() as tx:
        await feed.forget_deliveries(tx, now - DELIVERIES_REMEMBERED)


async def _all(deps: Deps, forget: Forget, before: datetime) -> None:
    """Batch by batch, so that nobody waits long for a row."""
    more = True
    while more:
        async with deps.store.begin() as tx:
            more = bool(await forget(tx, before))
