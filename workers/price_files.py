"""Files of prices become operations: SKUs are resolved block by block, and what is asked for is kept all at once.

Nothing of a file is kept before that one transaction, so whoever dies over it leaves it as it was, for the next to begin anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from adapters.port import Port
from adapters.prices import Prices
from domain.channel import Channel
from domain.errors import Throttled
from domain.ids import ChannelId, ListingId, Sku
from domain.price import Origin, Price, PriceWish
from domain.price_target import Asked, Flaw, Offer, fitted, meant, wish
from store import price_desk, price_file, price_target
from store.price_file import FileRow, Outcome, PriceFile, Result
from store.session import UNAVAILABLE, Store
from workers.deps import Deps
from workers.watch import end

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
PULSE_EVERY_S = 1.0
BLOCK = 2_000
# Nobody else takes a file while its rows come along; keeping all of it takes long, and its row is locked by then.
HAND_S = 60.0

Sellers: TypeAlias = Mapping[ChannelId, Channel]
Done: TypeAlias = Callable[[int], None]
"""Told how many rows were looked at so far."""


@dataclass(slots=True)
class PriceFiles:
    """Works files as they come. `pulse` is called at each look, and while one is worked."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        while True:
            if not await attended(once(self.deps), self.pulse):
                await asyncio.sleep(LOOK_EVERY_S)


async def attended(work: Coroutine[Any, Any, bool], pulse: Callable[[], None]) -> bool:
    """What the work answers; `pulse` is called while it goes on."""
    one = asyncio.create_task(work)
    try:
        while not one.done():
            await asyncio.wait({one}, timeout=PULSE_EVERY_S)
            pulse()
    finally:
        await end([one])
    return one.result()


async def once(deps: Deps) -> bool:
    """Work the file that waits longest; False where none does."""
    async with deps.store.begin() as tx:
        file = await price_file.claim(tx, HAND_S)
    if file is None:
        return False
    try:
        await apart(deps.store, lambda store: work(store, sellers(deps.ports, deps.channels), file, deps.clock))
    except UNAVAILABLE:
        raise
    except Exception:
        # It comes again when its time is over, and has failed for good after a few times.
        log.exception("price_file.broken", extra={"file": file.id})
    return True


async def apart(store: Store, run: Callable[[Store], Awaitable[None]]) -> None:
    """Run it in a thread, in an event loop of its own: 100,000 rows are computed for seconds at a time, in which lanes would lose
    their leases. When this is canceled, so is what runs."""
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []
    canceled = False

    async def alone() -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        running.append((asyncio.get_running_loop(), task))
        own = store.alone()
        try:
            if not canceled:
                await run(own)
        finally:
            await own.close()

    thread = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(alone())))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        canceled = True
        for loop, task in running:
            with suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(task.cancel)
        await asyncio.wait({thread})
        raise


def sellers(ports: Mapping[ChannelId, Port], channels: Mapping[ChannelId, Channel]) -> Sellers:
    """The channels whose prices can be set."""
    return {id: channels[id] for id, port in ports.items() if isinstance(port, Prices)}


def _nobody(_: int) -> None:
    return None


async def work(
    store: Store,
    sellers: Sellers,
    file: PriceFile,
    clock: Callable[[], datetime],
    done: Done = _nobody,
) -> None:
    """Make the file's operation, once, whoever else is at it; begun anew while others change prices of its channels."""
    while True:
        try:
            return await _work(store, sellers, file, clock, done)
        except Throttled as problem:
            log.info("price_file.waits", extra={"file": file.id, "why": problem.message})
            await asyncio.sleep(problem.retry_after_s)


async def _work(store: Store, sellers: Sellers, file: PriceFile, clock: Callable[[], datetime], done: Done) -> None:
    picked = await _pick(store, sellers, file, clock(), done)
    async with store.begin() as tx:
        if not await price_file.hold(tx, file.id):
            return
        wishes = picked.wishes()
        operation = None
        if wishes:
            request = price_desk.Request(
                requested_by=file.requested_by, request_hash=file.digest, at=clock(), dry_run=file.dry_run
            )
            operation, _ = await price_desk.keep(tx, request, wishes)
        items = {} if operation is None else await price_file.told_by_items(tx, operation.id)
        outcomes = picked.outcomes(items)
        await price_file.finish(tx, file.id, None if operation is None else operation.id, outcomes, file.rows)
    log.info("price_file.done", extra={"file": file.id, "rows": file.rows, "listings": len(wishes)})


async def _pick(store: Store, sellers: Sellers, file: PriceFile, now: datetime, done: Done) -> Picked:
    picked, after, count = Picked(file.id, sellers, now), 0, 0
    while True:
        async with store.begin() as tx:
            rows = await price_file.rows(tx, file.id, after, BLOCK)
            if not rows:
                return picked
            offers = await price_target.offers(tx, {Sku(row.sku) for row in rows if row.price is not None}, sellers)
            picked.add(rows, offers)
            after, count = rows[-1].number, count + len(rows)
            await price_file.looked(tx, file.id, count, HAND_S)
        done(count)


@dataclass(slots=True)
class Picked:
    """The listings that the rows of one file mean, each with what is asked for it first; and the rows that ask for nothing."""

    file: str
    sellers: Sellers
    now: datetime
    _asked: dict[ListingId, tuple[int, Price, Offer]] = field(default_factory=dict)
    _meant: dict[int, tuple[ListingId, ...]] = field(default_factory=dict)
    _refused: dict[int, str] = field(default_factory=dict)
    _torn: dict[ListingId, str] = field(default_factory=dict)

    def add(self, rows: Sequence[FileRow], offers: Mapping[Sku, Sequence[Offer]]) -> None:
        """Take these rows in; `offers` are the listings of their SKUs."""
        for row in rows:
            asked = row.asked
            if asked is None:
                continue
            prices = self._prices(asked, meant(asked, offers.get(asked.sku, ()), self.sellers))
            if isinstance(prices, Flaw):
                self._refused[row.number] = prices.words
                continue
            self._meant[row.number] = tuple(one.listing for one, _ in prices)
            for one, price in prices:
                self._take(row.number, price, one)

    def _prices(self, asked: Asked, offers: list[Offer] | Flaw) -> list[tuple[Offer, Price]] | Flaw:
        """Those offers with the price as it is meant at each."""
        if isinstance(offers, Flaw):
            return offers
        found = []
        for one in offers:
            price = fitted(asked.price, self.sellers[one.channel].zone(one.marketplace), self.now)
            if isinstance(price, Flaw):
                return price
            found.append((one, price))
        return found

    def _take(self, number: int, price: Price, offer: Offer) -> None:
        first, known, _ = self._asked.setdefault(offer.listing, (number, price, offer))
        if known == price:
            return
        key = wish(offer, price, Origin.FILE).key
        self._torn.setdefault(
            offer.listing, f"rows {first} and {number} ask different prices for the same listing, {key}"
        )

    def wishes(self) -> list[PriceWish]:
        """What is asked for: a listing once, and nothing of a row that is refused. Behind the last row."""
        for number, ids in self._meant.items():
            torn = next((self._torn[id] for id in ids if id in self._torn), None)
            if torn is not None:
                self._refused[number] = torn
        good = {id for number, ids in self._meant.items() if number not in self._refused for id in ids}
        return [
            wish(offer, price, Origin.FILE, f"Row {number} of the file {self.file}")
            for id, (number, price, offer) in self._asked.items()
            if id in good
        ]

    def outcomes(self, items: Mapping[ListingId, tuple[Result, str]]) -> list[Outcome]:
        """What became of the rows that were not simply taken; `items` are the listings that were not. Behind `wishes`."""
        told = [Outcome(number, Result.REFUSED, words) for number, words in self._refused.items()]
        for number, ids in self._meant.items():
            if number not in self._refused and any(id in items for id in ids):
                told.append(_of_row(number, [items.get(id, (Result.TAKEN, "")) for id in ids]))
        return told


# What a row of several listings is said to have become: what somebody has to look at first, unless nothing else was.
_FIRST = (Result.HELD, Result.TAKEN, Result.UNCHANGED, Result.REFUSED)


def _of_row(number: int, became: Sequence[tuple[Result, str]]) -> Outcome:
    results = {result for result, _ in became}
    words = dict.fromkeys(words for _, words in became if words)
    return Outcome(number, next(one for one in _FIRST if one in results), " ".join(words))
