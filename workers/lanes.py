"""Lanes: claim -> work -> record, the same for every capability.

A lane is (channel, capability). A process drains a lane at most once at a time and keeps up to `WIDTH` items in hand; several
processes may drain the same lane, the rows decide who holds what. Around each call stand two short transactions: one claims the
item under a lease, the other records what came of it, and a fence on the row refuses whoever comes too late.

What a channel takes by the thousand has a `BatchHandler` instead: it claims all that is due at once, one batch to be sent and one
to be looked at, keeps their leases while it is at them, and records in pieces. What has a deadline is sent in a batch of its own,
beside the other: it would wait for minutes behind thousands.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.notices import OrderBook
from adapters.port import Parcel
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, OrderId
from domain.operation import Capability, ClaimedItem, ItemError, ItemStatus, Outcome
from domain.order import Order
from store import agenda, allocation, channel, event, hold, order
from store.session import UNAVAILABLE
from workers.calls import Hold
from workers.crash import point
from workers.deps import Deps
from workers.watch import end

log = logging.getLogger(__name__)

WIDTH = 10
# Parcels, where a platform tells of several orders in one call: more of them in hand make fewer calls.
WIDTH_TOGETHER = 20
# Where a platform takes many at once, as Amazon does cancellations in a feed of a few minutes.
WIDTHS: Mapping[Capability, int] = {Capability.CANCELS: 50, Capability.EXPORTS: 2}
RECORD_AGAIN_S = 0.3
# Claims of one item that ended without a record, before a person must look: it may be what kills its worker.
DEATHS = 5
# While a batch is being worked at, so often something new is looked for.
BATCH_LOOK_S = 0.5
# More items than this are held so many times longer, for each renewal writes all of them.
MANY = 500
LONGER = 4


class Errand(Enum):
    """What is done with the items of a batch: by the statuses they are found in, and whether they have a deadline."""

    SOON = ((ItemStatus.PENDING,), True)
    TELL = ((ItemStatus.PENDING,), False)
    LOOK = ((ItemStatus.SENT, ItemStatus.ACCEPTED), None)


class Lane(NamedTuple):
    """Writes of one kind to one channel."""

    channel: ChannelId
    capability: Capability


Keep = Callable[[AsyncConnection], Awaitable[None]]
"""Writes what came with an outcome, in the transaction that records it; not called where the outcome came too late. It may lock
orders and nothing of stock."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A parcel was seen live at its channel; `order` is the order as it stood then, None when it could not be read."""

    order_id: OrderId
    parcel: Parcel
    order: Order | None


@dataclass(frozen=True, slots=True)
class Worked:
    """What came of one item. Without an outcome nothing is recorded: the item is no longer ours, or its lease shall run out.

    `hold_s` keeps this process from claiming more of the lane for so long; `failing` says that the channel could not be reached,
    which holds the lane longer each time in a row; `pause` stops all work of the channel and says why. `seen`, `keep` and an
    `order` as it was read, in our SKUs, are written with the outcome. `locks` are the orders that `keep` locks.
    """

    outcome: Outcome | None
    hold_s: float = 0.0
    failing: bool = False
    pause: str | None = None
    seen: Seen | None = None
    keep: Keep | None = None
    order: Order | None = None
    locks: frozenset[OrderId] = frozenset()


Handler = Callable[[Deps, ClaimedItem], Awaitable[Worked]]

KeepAll = Callable[[AsyncConnection, Collection[int]], Awaitable[None]]
"""Writes what came with outcomes, in the transaction that records them; it is given the items whose outcomes count."""


@dataclass(slots=True)
class Hand:
    """The items of a batch that are in hand, for `lease_s` at a time, and how to lay them down. `closing`: what has not begun yet
    is not to be begun."""

    items: list[ClaimedItem]
    lease_s: float
    _record: Callable[[Sequence[Worked], KeepAll | None], Awaitable[None]]
    _closing: Callable[[], bool]
    held: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.held = {item.id: item.fence for item in self.items}

    @property
    def closing(self) -> bool:
        return self._closing()

    async def record(self, results: Sequence[Worked], keep: KeepAll | None = None) -> None:
        """Record what came of some of the items, as soon as it is known."""
        if not results:
            return
        await self._record(results, keep)
        for worked in results:
            if worked.outcome is not None:
                self.held.pop(worked.outcome.item, None)

    def let_go(self, items: Collection[ClaimedItem]) -> None:
        """These are no longer ours, or their leases shall run out."""
        for item in items:
            self.held.pop(item.id, None)


BatchHandler = Callable[[Deps, Hand], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BatchHandlers:
    """What a capability does with at most `limit` items at once."""

    tell: BatchHandler
    look: BatchHandler
    limit: int

    def of(self, errand: Errand) -> BatchHandler:
        return self.look if errand is Errand.LOOK else self.tell


@dataclass(slots=True)
class Lanes:
    """The lanes that this process drains."""

    deps: Deps
    handlers: Mapping[Capability, Handler]
    batches: Mapping[Capability, BatchHandlers] = field(default_factory=dict)
    _draining: dict[Lane, asyncio.Task[None]] = field(default_factory=dict)
    _again: set[Lane] = field(default_factory=set)
    _holds: dict[Lane, Hold] = field(default_factory=dict)
    _batch_holds: dict[tuple[Lane, Errand], Hold] = field(default_factory=dict)
    _closed: bool = False

    def wake(self, lane: Lane) -> None:
        """Drain the lane; when it is being drained, let it look once more before it stops."""
        if self._closed or not self._ours(lane):
            return
        if lane in self._draining:
            self._again.add(lane)
            return
        task = asyncio.create_task(self._run(lane), name=f"lane {lane.channel}:{lane.capability.value}")
        self._draining[lane] = task

    def _ours(self, lane: Lane) -> bool:
        """Whether anything here can work at it."""
        of_nobody = lane.capability is Capability.EXPORTS
        return of_nobody or lane.channel in self.deps.ports or lane.channel in self.deps.label_shops

    async def close(self, within_s: float) -> None:
        """Claim nothing more, and wait for what is in hand; what is not done by then is left to its lease."""
        self._closed = True
        tasks = set(self._draining.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within_s)
            await end(late)

    async def idle(self) -> None:
        """Wait until no lane is being drained."""
        while self._draining:
            await asyncio.wait(set(self._draining.values()))

    async def _run(self, lane: Lane) -> None:
        try:
            batch = self.batches.get(lane.capability)
            await (self._drain(lane) if batch is None else self._drain_batches(lane, batch))
        except Exception:
            # The rows are untouched and the sweep looks at them again in a second.
            log.exception("lane.broken", extra={"channel": lane.channel, "capability": lane.capability.value})
        finally:
            del self._draining[lane]
            if lane in self._again:
                self._again.discard(lane)
                self.wake(lane)

    async def _drain(self, lane: Lane) -> None:
        """Until nothing is left to be claimed now, or the lane has to be left alone for a while."""
        hold = self._holds.setdefault(lane, Hold())
        working: set[asyncio.Task[Worked]] = set()
        try:
            while True:
                self._again.discard(lane)
                open_now = not self._closed and hold.over
                width = self._width(lane)
                claimed = await self._claim(lane, width - len(working)) if open_now else []
                working |= {asyncio.create_task(self._work(lane, item)) for item in claimed}
                if not working:
                    if open_now and lane in self._again:
                        continue
                    return
                done, working = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                results = [task.result() for task in done]
                await self._record(lane, results)
                for worked in results:
                    hold.mind(failing=worked.failing, hold_s=worked.hold_s, done=worked.outcome is not None)
        finally:
            await end(working)

    def _width(self, lane: Lane) -> int:
        parcels = lane.capability is Capability.SHIPMENTS
        together = parcels and isinstance(self.deps.ports.get(lane.channel), OrderBook)
        return WIDTHS.get(lane.capability, WIDTH_TOGETHER if together else WIDTH)

    async def _drain_batches(self, lane: Lane, handlers: BatchHandlers) -> None:
        """Until nothing is left to be claimed now: one batch of each errand at a time."""
        working: dict[Errand, asyncio.Task[None]] = {}
        try:
            while True:
                self._again.discard(lane)
                held = False
                for errand in Errand:
                    hold = self._batch_holds.setdefault((lane, errand), Hold())
                    if errand in working or self._closed or not hold.over:
                        held = held or errand not in working
                        continue
                    if items := await self._claim_batch(lane, errand, handlers.limit):
                        working[errand] = asyncio.create_task(self._batch(lane, errand, handlers, items))
                if not working:
                    if not held and lane in self._again:
                        continue
                    return
                await asyncio.wait(working.values(), timeout=BATCH_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for errand in [errand for errand, task in working.items() if task.done()]:
                    working.pop(errand).result()
        finally:
            await end(working.values())

    async def _claim_batch(self, lane: Lane, errand: Errand, limit: int) -> list[ClaimedItem]:
        statuses, with_deadline = errand.value
        async with self.deps.store.begin() as tx:
            claimed = await agenda.claim_batch(
                tx,
                lane.channel,
                lane.capability,
                statuses,
                limit=limit,
                lease_s=self.deps.timing.lease_s,
                worker=self.deps.worker,
                with_deadline=with_deadline,
            )
        if claimed:
            point("after_claim")
        return claimed

    async def _batch(self, lane: Lane, errand: Errand, handlers: BatchHandlers, items: Sequence[ClaimedItem]) -> None:
        """Work at a batch while its leases are kept; what is still in hand at the end is left to them."""
        hold = self._batch_holds[lane, errand]

        async def record(results: Sequence[Worked], keep: KeepAll | None) -> None:
            await self._record(lane, results, keep)
            outcomes = [one.outcome for one in results if one.outcome is not None]
            counts = Counter(f"{one.status.value}{f' {one.error.code}' if one.error else ''}" for one in outcomes)
            extra = {"channel": lane.channel, "capability": lane.capability.value, "errand": errand.name}
            log.info("lane.batch", extra=extra | {"items": dict(counts)})
            failing = bool(results) and all(one.failing for one in results)
            hold.mind(failing=failing, hold_s=max(one.hold_s for one in results), done=bool(outcomes))

        fatal = [_fatal(item) for item in items if item.deaths >= DEATHS]
        lease_s = self.deps.timing.lease_s * (LONGER if len(items) > MANY else 1)
        hand = Hand([item for item in items if item.deaths < DEATHS], lease_s, record, lambda: self._closed)
        renewing = asyncio.create_task(self._renew(hand))
        try:
            await hand.record(fatal)
            if hand.items:
                await handlers.of(errand)(self.deps, hand)
        finally:
            await end([renewing])

    async def _renew(self, hand: Hand) -> None:
        # They were claimed for this long.
        lease_s = self.deps.timing.lease_s
        while True:
            await asyncio.sleep(lease_s / 3)
            try:
                async with self.deps.store.begin() as tx:
                    await agenda.renew(tx, dict(hand.held), hand.lease_s)
                lease_s = hand.lease_s
            except UNAVAILABLE as problem:
                # While the database is away nothing is sent either: the intent needs it, and the lease.
                log.warning("lane.renew_again", extra={"reason": type(problem).__name__})

    async def _claim(self, lane: Lane, limit: int) -> list[ClaimedItem]:
        if limit < 1:
            return []
        async with self.deps.store.begin() as tx:
            claimed = await agenda.claim(
                tx,
                lane.channel,
                lane.capability,
                limit=limit,
                lease_s=self.deps.timing.lease_s,
                worker=self.deps.worker,
            )
        if claimed:
            point("after_claim")
        return claimed

    async def _work(self, lane: Lane, item: ClaimedItem) -> Worked:
        worked = _fatal(item) if item.deaths >= DEATHS else await self.handlers[lane.capability](self.deps, item)
        outcome = worked.outcome
        extra = {"operation": item.operation, "item": item.id, "channel": item.channel, "was": item.was.value}
        if outcome is None:
            log.info("lane.released", extra=extra)
        else:
            error = outcome.error
            log.info(
                "lane.worked",
                extra=extra
                | {"status": outcome.status.value, "upstream_request_id": outcome.upstream_request_id}
                | ({} if error is None else {"error_code": error.code}),
            )
        return worked

    async def _record(self, lane: Lane, results: Sequence[Worked], keep: KeepAll | None = None) -> None:
        """One transaction for all that has just ended. While the database is away the answers are kept in memory and offered
        again until their leases have run out; after that they are read back like any lost answer."""
        outcomes = [worked.outcome for worked in results if worked.outcome is not None]
        taken = any(outcome.status is ItemStatus.ACCEPTED for outcome in outcomes)
        verified = any(outcome.status is ItemStatus.VERIFIED for outcome in outcomes)
        point("before_record")
        if taken:
            point("before_accepted")
        if verified:
            point("before_verify_record")
        until = time.monotonic() + self.deps.timing.lease_s
        while True:
            try:
                await self._write(lane, results, outcomes, keep)
                break
            except UNAVAILABLE as problem:
                if time.monotonic() >= until:
                    raise
                log.warning("lane.record_again", extra={"channel": lane.channel, "reason": type(problem).__name__})
                await asyncio.sleep(RECORD_AGAIN_S)
            except Exception:
                if not any(worked.seen or worked.order for worked in results):
                    raise
                # An order that cannot be kept must not keep the outcomes from their rows; it comes again with its stream.
                log.exception("lane.orders_left_out", extra={"channel": lane.channel})
                results = [replace(worked, seen=_fewer(worked.seen), order=None) for worked in results]
        point("after_record")
        if taken:
            point("after_accepted")
        if verified:
            point("after_verified")

    async def _write(
        self, lane: Lane, results: Sequence[Worked], outcomes: Sequence[Outcome], keep: KeepAll | None
    ) -> None:
        async with self.deps.store.begin() as tx:
            # Orders before operations, as everywhere: two transactions that lock both must do so in one order.
            parcels = sorted(
                ((one.outcome.item, one.seen) for one in results if one.outcome and one.seen),
                key=lambda one: one[1].order_id,
            )
            read = [worked.order for worked in results if worked.order is not None]
            kept = {id for worked in results for id in worked.locks}
            await order.lock(tx, {*(seen.order_id for _, seen in parcels), *(one.id for one in read), *kept})
            recorded = await agenda.record(tx, outcomes)
            for worked in results:
                if worked.keep is not None and worked.outcome is not None and worked.outcome.item in recorded:
                    await worked.keep(tx)
            if keep is not None:
                await keep(tx, recorded)
            reason = next((worked.pause for worked in results if worked.pause is not None), None)
            if reason is not None:
                await channel.pause(tx, lane.channel, reason, self.deps.timing.pause_s)
                log.error("channel.paused", extra={"channel": lane.channel, "reason": reason})
            counting = [seen for id, seen in parcels if id in recorded]
            await self._keep(tx, lane, [seen for _, seen in parcels], counting, read)
            point("inside_record")

    async def _keep(
        self,
        tx: AsyncConnection,
        lane: Lane,
        parcels: Sequence[Seen],
        counting: Sequence[Seen],
        read: Sequence[Order],
    ) -> None:
        """Keep the orders `read`, and what the parcels changed of theirs, so that their units do not look open once more; and
        tell of it.

        Units are added up where the order could not be read: only once, by the worker whose outcome counts.
        """
        shipped = set(await order.upsert(tx, [*(seen.order for seen in parcels if seen.order), *read]))
        for seen in counting:
            if seen.order is None and await order.add_shipped(
                tx, seen.order_id, seen.parcel.tracking_number, seen.parcel.lines
            ):
                shipped.add(seen.order_id)
        confirmed = {
            seen.order_id
            for seen in parcels
            if await order.mark_confirmed(tx, seen.order_id, seen.parcel.tracking_number, self.deps.clock())
        }
        told = [
            NewEvent(EventKind.ORDER_CHANGED, id, {"id": id, "channel": lane.channel})
            for id in sorted(shipped | confirmed)
        ]
        await event.append(tx, told)
        # What has been shipped has left its place, whoever tells of it. The locks of stock come last.
        kept = await order.by_ids(tx, shipped)
        await allocation.settle(tx, list(kept.values()), self.deps.locations)
        await hold.as_they_come(tx, list(kept.values()), self.deps.locations)


def without_order(seen: Seen | None) -> Seen | None:
    """What is still known of a parcel whose order cannot be read."""
    return None if seen is None else replace(seen, order=None)


def _fewer(seen: Seen | None) -> Seen | None:
    """What can still be kept of a parcel when something of it cannot: its units without the order, then nothing."""
    return without_order(seen) if seen is not None and seen.order is not None else None


def _fatal(item: ClaimedItem) -> Worked:
    words = (
        f"It was taken up {item.deaths} times and its worker ended each time before it could say what came of it. "
        "Look into the workers' logs and at the order; retryOperation looks again, then sends."
    )
    outcome = Outcome(item.id, item.fence, ItemStatus.PARKED, error=ItemError("INTERNAL", words))
    return Worked(outcome)
