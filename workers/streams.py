"""Synchronization: listings, stock, orders and shown numbers of each channel, each on its own interval and cursor.

A run asks for everything since its cursor, less an overlap, and keeps page by page, each in its own transaction with its events.
Keeping is idempotent, so a page that comes twice, from an overlap, a lost lease or a killed worker, changes nothing. The cursor
moves only to an instant up to which the platform has told everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import Page, Port
from adapters.route import Question
from domain.budget import Ask, Priority
from domain.channel import Location, StreamName, StreamState
from domain.errors import HouseError, MissingRole, Refused, Throttled, Unauthorized
from domain.ids import ChannelId
from domain.mapping import FieldMap, Unseen, understood
from domain.order import Order
from domain.product import Listing, Rejected
from domain.route import Way, Wish
from domain.stock import Reading
from store import channel, intake, mapping, product, quarantine, stock, stream
from workers import payouts, returns, settlements, transactions
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S
from workers.crash import point
from workers.deps import Deps
from workers.drift import Sweep, places_shown
from workers.mapping import with_our_skus
from workers.opening import open_places
from workers.order_paths import Told, changed
from workers.pools import compare_pools
from workers.untold import ask_for_untold
from workers.watch import end

log = logging.getLogger(__name__)

# Listings first: stock and order lines are told by the products that they make known.
IN_ORDER = (StreamName.LISTINGS, StreamName.STOCK, StreamName.ORDERS)
# Platforms index their changes a little late and their clocks differ from each other.
OVERLAP = timedelta(minutes=2)
FIRST_ORDERS = timedelta(days=60)
AT_ONCE = 6
LOOK_EVERY_S = 1.0
RETRY_FROM_S, RETRY_TO_S = 15.0, 300.0
TRIES_ONCE = 3

OnProgress = Callable[[ChannelId, StreamName, int, int | None], None]


@dataclass(slots=True)
class Run:
    """One run of one stream: when it started, what it has kept so far, and up to when the platform has told everything; `written`
    is the cursor as this run knows it."""

    state: StreamState
    started_at: datetime
    done: int = 0
    until: datetime | None = None
    written: datetime | None = field(init=False)

    def __post_init__(self) -> None:
        self.written = self.state.cursor


def every(deps: Deps, id: ChannelId, name: StreamName) -> timedelta:
    """How often a stream runs."""
    return deps.intervals.get((id, name), deps.ports[id].every[name])


async def register(deps: Deps) -> None:
    """Make all channels and their streams known, and forget what was read at places that others count no more."""
    async with deps.store.begin() as tx:
        await channel.remember(tx, [deps.channels[id] for id in sorted(deps.channels)])
        for id in sorted(deps.ports):
            shown = (StreamName.SHOWN,) if places_shown(deps, id) else ()
            told = (StreamName.NOTIFICATIONS,) if id in deps.subscriptions else ()
            back = (StreamName.RETURNS,) if returns.tells_of_returns(deps.ports[id]) else ()
            paid = (StreamName.SETTLEMENTS,) if settlements.tells_of_settlements(deps.ports[id]) else ()
            moved = (StreamName.TRANSACTIONS,) if transactions.tells_of_transactions(deps.ports[id]) else ()
            out = (StreamName.PAYOUTS,) if payouts.tells_of_payouts(deps.ports[id]) else ()
            for name in (*IN_ORDER, *shown, *told, *back, *paid, *moved, *out):
                await stream.register(tx, id, name, every(deps, id, name))
    keepers = {place.code: place.keeper for place in deps.locations if not place.ours}
    gone = True
    while gone:
        async with deps.store.begin() as tx:
            gone = bool(await stock.forget_places(tx, keepers))


@dataclass(slots=True)
class Streams:
    """Runs what is due, several streams at a time, each under a lease. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]
    _failures: dict[tuple[ChannelId, StreamName], int] = field(default_factory=dict)

    async def run(self) -> None:
        """For ever."""
        await register(self.deps)
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                for state in await self._claim(AT_ONCE - len(running)):
                    running.add(
                        asyncio.create_task(self._run(state), name=f"stream {state.channel} {state.name.value}")
                    )
                self.pulse()
                if running:
                    done, running = await asyncio.wait(running, timeout=LOOK_EVERY_S)
                    for task in done:
                        task.result()
                else:
                    await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await end(running)

    async def _claim(self, limit: int) -> list[StreamState]:
        if limit < 1:
            return []
        async with self.deps.store.begin() as tx:
            claimed = await stream.claim_due(tx, self.deps.timing.stream_lease_s, limit)
        return [state for state in claimed if state.channel in self.deps.ports]

    async def _run(self, state: StreamState) -> None:
        """One run; whatever happens to it stays with its stream."""
        key = (state.channel, state.name)
        try:
            await run_stream(self.deps, state)
        except Exception as problem:
            self._failures[key] = self._failures.get(key, 0) + 1
            await failed(self.deps, state, problem, self._failures[key])
        else:
            self._failures.pop(key, None)


async def sync_once(deps: Deps, on_progress: OnProgress) -> dict[tuple[ChannelId, StreamName], str]:
    """Run every stream once, to its end: per channel listings, then stock, then orders; channels side by side.

    For a first load; workers should not be running yet, or calls are made twice. `on_progress(channel, stream, done, expected)`
    is called after each page. Answers what failed and why; one channel's failure is not another's.
    """
    await register(deps)
    problems: dict[tuple[ChannelId, StreamName], str] = {}

    async def whole(id: ChannelId) -> None:
        async with deps.store.begin() as tx:
            states = {state.name: state for state in await stream.states(tx, [id])}
        for name in IN_ORDER:
            problem = await _with_patience(deps, states[name], on_progress)
            if problem is not None:
                problems[id, name] = problem

    async with asyncio.TaskGroup() as group:
        for id in sorted(deps.ports):
            group.create_task(whole(id))
    return problems


async def _with_patience(deps: Deps, state: StreamState, on_progress: OnProgress) -> str | None:
    """One run, tried again a few times; why it failed for good."""
    for attempt in range(1, TRIES_ONCE + 1):
        try:
            await run_stream(deps, state, on_progress)
        except Exception as problem:
            await failed(deps, state, problem, attempt)
            if attempt == TRIES_ONCE or isinstance(problem, Unauthorized):
                return _words(problem)
            await asyncio.sleep(problem.retry_after_s if isinstance(problem, Throttled) else float(attempt))
        else:
            return None
    return None


async def failed(deps: Deps, state: StreamState, problem: Exception, failures: int) -> None:
    """Write down why a run failed and when to try again; refused credentials pause the whole channel."""
    extra = {"channel": state.channel, "stream": state.name.value, "reason": _words(problem)}
    if isinstance(problem, HouseError):
        log.warning("stream.failed", extra=extra | {"upstream_request_id": problem.upstream_request_id})
    else:
        log.error("stream.broken", extra=extra, exc_info=problem)
    if isinstance(problem, Throttled):  # it says for how long, however often it was told before
        failures = 1
    wait_s = max(RETRY_FROM_S, jittered(failures, first_s=2 * RETRY_FROM_S, most_s=RETRY_TO_S))
    if isinstance(problem, Throttled):
        wait_s = max(wait_s, problem.retry_after_s)
    paused = isinstance(problem, Unauthorized) and problem.pauses
    if isinstance(problem, MissingRole):
        wait_s = ROLE_WAIT_S
    async with deps.store.begin() as tx:
        await stream.failed(tx, state.channel, state.name, _words(problem), wait_s)
        if paused:
            await channel.pause(tx, state.channel, _words(problem), deps.timing.pause_s)
    if paused:
        log.error("channel.paused", extra={"channel": state.channel, "reason": _words(problem)})


def _words(problem: Exception) -> str:
    """What people are told: our own words for what we understand, else the kind of failure alone."""
    return problem.message if isinstance(problem, HouseError) else f"Unexpected {type(problem).__name__}; see the log."


async def run_stream(deps: Deps, state: StreamState, on_progress: OnProgress | None = None) -> None:
    """One run to its end. Raises what stopped it; what was kept by then stays kept."""
    run = Run(state, deps.clock())
    async with _leased(deps, run):
        async for kept, expected in _pages(deps, run):
            run.done += kept
            point("after_page")
            if on_progress is not None:
                on_progress(state.channel, state.name, run.done, expected)
    point("before_cursor")
    async with deps.store.begin() as tx:
        reached = run.until or run.started_at
        await stream.finished(tx, state.channel, state.name, reached, deps.clock(), run.written)
    log.info("stream.finished", extra={"channel": state.channel, "stream": state.name.value, "kept": run.done})


@asynccontextmanager
async def _leased(deps: Deps, run: Run) -> AsyncIterator[None]:
    """Keep the stream's lease while the block runs, and with it how far the run has come."""

    async def extend() -> None:
        while True:
            await asyncio.sleep(deps.timing.stream_lease_s / 3)
            try:
                until = run.until
                async with deps.store.begin() as tx:
                    await stream.extend(
                        tx, run.state.channel, run.state.name, deps.timing.stream_lease_s, until, run.written
                    )
                run.written = until or run.written
            except Exception as problem:
                # Should the lease run out, another worker does the same work again, and nothing is wrong.
                log.warning("stream.not_extended", extra={"reason": type(problem).__name__})

    task = asyncio.create_task(extend())
    try:
        yield
    finally:
        await end([task])


async def _pages(deps: Deps, run: Run) -> AsyncIterator[tuple[int, int | None]]:
    """Keep page by page; yields how many items each had, and how many are expected in all."""
    port, ask = deps.ports[run.state.channel], Ask(Priority.BACKGROUND)
    since = None if run.state.cursor is None else run.state.cursor - OVERLAP
    match run.state.name:
        case StreamName.LISTINGS:
            async for listings in port.listing_pages(since, ask):
                await _keep_listings(deps, run, listings)
                yield len(listings.items), listings.expected
        case StreamName.STOCK:
            async for readings in _readings(deps, port, run, ask):
                await _keep_readings(deps, readings)
                yield len(readings.items), readings.expected
            async for opened in open_places(deps, port, ask):
                yield opened, None
            await compare_pools(deps, port, ask)
        case StreamName.ORDERS:
            async for told in changed(deps, port, run.state, since or run.started_at - FIRST_ORDERS, ask):
                await _keep_orders(deps, run, told)
                yield len(told.page.items), told.page.expected
        case StreamName.SHOWN if places := places_shown(deps, run.state.channel):
            sweep = Sweep(deps, run.state.channel, run.started_at)
            async for shown in port.shown_pages(places, ask):
                await sweep.keep(shown)
                yield len(shown.items), shown.expected
            await sweep.end()
        case StreamName.RETURNS:
            async for pieces in returns.changed(deps, port, since or run.started_at - returns.FIRST, ask):
                await returns.keep(deps, pieces)
                run.until = pieces.until or run.until
                yield len(pieces.items), pieces.expected
        case StreamName.SETTLEMENTS:
            async for files in settlements.changed(deps, port, since, ask):
                run.until = files.until or run.until
                yield len(files.items), files.expected
        case StreamName.TRANSACTIONS:
            async for moved in transactions.changed(deps, port, since or run.started_at - transactions.FIRST, ask):
                await transactions.keep(deps, port, moved)
                run.until = moved.until or run.until
                yield len(moved.items), moved.expected
            await transactions.match_again(deps, port)
        case StreamName.PAYOUTS:
            async for paid_out in payouts.changed(deps, port, since or run.started_at - payouts.FIRST, ask):
                run.until = paid_out.until or run.until
                yield len(paid_out.items), paid_out.expected
        case StreamName.NOTIFICATIONS if run.state.channel in deps.subscriptions:
            if wrong := await deps.subscriptions[run.state.channel].wrong(ask):
                words = f"{'; '.join(wrong)}. `acorn channels notifications` with --apply mends it."
                raise Refused(words)


async def _readings(deps: Deps, port: Port, run: Run, ask: Ask) -> AsyncIterator[Page[Reading]]:
    """The pages of all places of a channel, group by group, each by the route that is there first; what a group has not told of
    is asked for when all its pages are kept."""
    places = [place for place in deps.locations if place.keeper == port.channel.id]
    for group in port.stock_groups(places):
        began_at = run.started_at
        async for page in port.stock_pages(group, ask, await _way(deps, port, group, ask)):
            began_at = min([began_at, *(one.as_of for one in page.items)])
            yield page
        await ask_for_untold(deps, port.channel.id, group, began_at)


async def _way(deps: Deps, port: Port, group: Sequence[Location], ask: Ask) -> Way:
    async with deps.store.begin() as tx:
        known = await product.held_count(tx, group[0])
    return await deps.routes.choose(Question(port, group, None, known, ask.priority), Wish(whole=True))


async def _keep_listings(deps: Deps, run: Run, page: Page[Listing]) -> None:
    await keep_listings(deps, run.state.channel, page, run.started_at)
    run.until = page.until or run.until


async def keep_listings(deps: Deps, id: ChannelId, page: Page[Listing], started_at: datetime) -> None:
    """Keep a page of listings; what cannot be told apart from others since `started_at` goes to the quarantine."""
    listings = [
        replace(one, sku=deps.sku_map.ours(id, one.channel_sku)) if one.channel_sku else one for one in page.items
    ]
    async with deps.store.begin() as tx:
        good, rejected = await _sorted_out(tx, listings, started_at)
        await _understand(tx, deps.field_map, id, good)
        await product.upsert_listings(tx, good, prefer=deps.ports[id].leads)
        await quarantine.keep(tx, [*page.rejected, *rejected])


async def _understand(tx: AsyncConnection, fields: FieldMap, id: ChannelId, listings: Sequence[Listing]) -> None:
    """Put the listings' attributes into the house's words, and open a task for each word that nobody knows."""
    if not any(one.attributes for one in listings):
        return
    # An answer that is given meanwhile comes before this page, or finds its products.
    await product.lock_mapping(tx, {id})
    answers = await mapping.answers(tx, id)
    unseen: list[Unseen] = []
    for one in listings:
        one.attributes, more = understood(fields, id, one.channel_sku, one.attributes, answers)
        unseen += more
    if opened := await mapping.ask(tx, unseen):
        log.warning("mapping.tasks_opened", extra={"channel": id, "tasks": opened})


async def _sorted_out(
    tx: AsyncConnection, listings: Sequence[Listing], started_at: datetime
) -> tuple[list[Listing], list[Rejected]]:
    """Listings that can be told apart, and those without a SKU or with one that another listing of this run has."""
    known = await _seen_in_this_run(tx, listings, started_at)
    good: list[Listing] = []
    rejected: list[Rejected] = []
    for one in listings:
        first = known.setdefault(one.id, one.external_id)
        if not one.channel_sku.strip():
            rejected.append(_rejected(one, "It has no SKU."))
        elif first != one.external_id:
            words = f"Its SKU {one.channel_sku!r} is also that of {first}; a SKU must name one thing."
            rejected.append(_rejected(one, words))
        else:
            good.append(one)
    return good, rejected


async def _seen_in_this_run(tx: AsyncConnection, listings: Sequence[Listing], started_at: datetime) -> dict[str, str]:
    """The external id of each listing that an earlier page of this run has brought, by the listing's id."""
    skus = {one.sku for one in listings if one.sku is not None}
    kept = await product.listings_by_skus(tx, skus)
    return {one.id: one.external_id for found in kept.values() for one in found if one.as_of >= started_at}


def _rejected(one: Listing, reason: str) -> Rejected:
    return Rejected(one.channel, "listing", one.external_id, reason, f"{one.channel_sku} {one.title or ''}".strip())


async def _keep_readings(deps: Deps, page: Page[Reading]) -> None:
    async with deps.store.begin() as tx:
        await stock.keep_and_tell(tx, page.items)
        await quarantine.keep(tx, page.rejected)


async def _keep_orders(deps: Deps, run: Run, told: Told) -> None:
    await keep_orders(deps, told.page.items, told.page.rejected, path=told.path)
    run.until = told.page.until or run.until


async def keep_orders(
    deps: Deps, read: Sequence[Order], rejected: Sequence[Rejected] = (), *, path: str = "synchronization"
) -> None:
    """Keep orders as they were read; one that cannot be counted goes to the quarantine. `path` is the way by which they came."""
    now = deps.clock()
    orders = [
        replace(one, lines=with_our_skus(deps.sku_map, one.channel, one.lines), read_at=one.read_at or now)
        for one in read
    ]
    try:
        await _keep_together(deps, orders, rejected, path)
    except Refused:
        # One that cannot be counted shall hide no other, nor what that one takes.
        await _keep_together(deps, [], rejected, path)
        for one in orders:
            await _keep_alone(deps, one, path)


async def _keep_together(deps: Deps, orders: Sequence[Order], rejected: Sequence[Rejected], path: str) -> None:
    async with deps.store.begin() as tx:
        await quarantine.keep(tx, rejected)
        await intake.keep_orders(tx, orders, deps.locations, deps.ring, path=path, transit=deps.transit)


async def _keep_alone(deps: Deps, one: Order, path: str) -> None:
    """Keep one order; one that cannot be counted goes to the quarantine."""
    try:
        await _keep_together(deps, [one], [], path)
    except Refused as problem:
        raw = ", ".join(f"{line.quantity} {line.channel_sku}" for line in one.lines)
        await _keep_together(deps, [], [Rejected(one.channel, "order", one.external_id, problem.message, raw)], path)
