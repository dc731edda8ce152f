"""Each business day of each channel is compared, once it is over: ours, what its API tells, and what its report tells.

What is told is kept by the same way as ever, so that what was missing or older here has healed when the comparison ends, or is
read alone soon after. It asks in the class of what nobody waits for, and for no more than a share of the platform's budget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from adapters.order_paths import OrderDays
from adapters.port import Page, Port
from domain.budget import Ask, Priority
from domain.business_day import business_day, day_bounds
from domain.channel import StreamName
from domain.errors import HouseError
from domain.ids import order_id
from domain.order import Order
from domain.order_compare import OURS, Comparison, Difference, DifferenceCause, Seen, cause_of
from store import order, order_compare, stream
from workers.deps import Deps
from workers.streams import keep_orders
from workers.watch import end

log = logging.getLogger(__name__)

LOOK_EVERY_S, BEAT_S = 30.0, 1.0
# Longer than a report may take; nobody waits for a comparison.
LEASE_S = 3600.0
# A day is compared when it has been over for so long: by then its notifications, runs and reports are through.
REST = timedelta(hours=3)
SETTLED = timedelta(minutes=2)
# How long a comparison waits for the budget to have plenty again, and how often it looks.
PATIENCE = timedelta(hours=6)
SPARE_EVERY_S = 20.0
AGAIN_S = 1800.0
DAY = timedelta(days=1)
# So many days may have been missed.
MISSED = timedelta(days=30)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Compares:
    """Compares what is due. `pulse` is called at each look, and while a comparison takes its time."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._beside(self._look())
            await self._beside(asyncio.sleep(LOOK_EVERY_S))

    async def _beside(self, work: Coroutine[None, None, None]) -> None:
        """A report takes minutes, and so does waiting for a budget to have plenty."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                self.pulse()
                await asyncio.wait({task}, timeout=BEAT_S)
            task.result()
        finally:
            await end([task])

    async def _look(self) -> None:
        await self.once()
        async with self.deps.store.begin() as tx:
            await order_compare.heal(tx)

    async def once(self) -> Comparison | None:
        """Compare one day, if one is due."""
        now = self.deps.clock()
        async with self.deps.store.begin() as tx:
            last = await order_compare.newest(tx)
            days = {
                (id, day): due_at
                for id, port in self.deps.ports.items()
                for day, due_at in to_compare(port, now, last.get(id))
            }
            await order_compare.due(tx, days)
            claimed = await order_compare.claim(tx, self.deps.ports.keys(), LEASE_S)
        if claimed is None:
            return None
        id, day, attempts = claimed
        try:
            return await Compare(self.deps, self.deps.ports[id], day).run()
        except HouseError as problem:
            log.warning("orders.not_compared", extra={"channel": id, "day": day.isoformat(), "reason": problem.words})
            async with self.deps.store.begin() as tx:
                await order_compare.put_off(tx, id, day, AGAIN_S * attempts, problem.words)
            return None


def zone_of(port: Port) -> ZoneInfo:
    """Where the channel's business days begin: those of its first marketplace."""
    return port.channel.zone(next(iter(port.channel.marketplaces), None))


def to_compare(port: Port, now: datetime, last: date | None = None) -> list[tuple[date, datetime]]:
    """The business day that the channel has now, with those since the `last` one that we know of, and when each can be compared:
    nobody may have been at work for a while. Days before the first one that we followed are no matter of ours."""
    zone = zone_of(port)
    day = business_day(now, zone)
    first = day if last is None else max(min(day, last + DAY), day - MISSED)
    days = [first + count * DAY for count in range((day - first).days + 1)]
    return [(one, day_bounds(one, zone)[1] + REST) for one in days]


@dataclass(slots=True)
class Compare:
    """The comparison of one day. `api` and `report` are what each side has told, by the channel's ids; the API has told of all
    that was placed before `api_until`."""

    deps: Deps
    port: Port
    day: date
    found: dict[str, Difference] = field(default_factory=dict)
    caught_up_to: datetime | None = None
    api: dict[str, Seen] = field(default_factory=dict)
    report: dict[str, Seen] = field(default_factory=dict)
    api_until: datetime = LONG_AGO

    async def run(self) -> Comparison:
        """What came of it, kept. Raises what the API raises; a report that there is none is written down."""
        id, (start, end) = self.port.channel.id, day_bounds(self.day, zone_of(self.port))
        async with self.deps.store.begin() as tx:
            states = {one.name: one for one in await stream.states(tx, [id])}
            ours = await order_compare.placed(tx, id, start, end)
        self.caught_up_to = states[StreamName.ORDERS].cursor if StreamName.ORDERS in states else None
        whole = await self._told(start, end)
        reason = await self._reported(start, end)
        reported = reason is None and isinstance(self.port, OrderDays)
        await self._missing_there(ours.keys(), reported=reported)
        await self._settled()
        kept = Comparison(
            channel=id,
            day=self.day,
            done_at=self.deps.clock(),
            ours=len(ours),
            api=len(self.api),
            report=len(self.report) if reported else None,
            api_whole=whole,
            differences=len(self.found),
            healed=sum(one.healed_at is not None for one in self.found.values()),
            reason=reason,
        )
        async with self.deps.store.begin() as tx:
            await order_compare.done(tx, kept, list(self.found.values()))
        extra = {"channel": id, "day": self.day.isoformat(), "ours": kept.ours, "api": kept.api, "report": kept.report}
        extra |= {"differences": kept.differences, "healed": kept.healed, "whole": whole}
        (log.warning if kept.differences != kept.healed else log.info)("orders.compared", extra=extra)
        return kept

    async def _told(self, start: datetime, end: datetime) -> bool:
        """Compare what the API tells; whether it told of the whole day."""
        if isinstance(self.port, OrderDays):
            pages = aiter(self.port.orders_placed(start, end, Ask(Priority.BACKFILL)))
            until = self.deps.clock() + PATIENCE
            for _ in range(self.port.placed_most):
                if not await self._spare(self.port, until):
                    return False
                if (page := await anext(pages, None)) is None:
                    break
                await self._page(page, start, end, self.api)
            else:
                return False
        else:
            async for page in self.port.order_pages(start, Ask(Priority.BACKFILL)):
                await self._page(page, start, end, self.api)
        self.api_until = end
        return True

    async def _spare(self, port: OrderDays, until: datetime) -> bool:
        """Wait until the API's budget has plenty; whether it has by then."""
        plan = self.port.plans[port.placed_operation]
        while not await self.deps.routes.spare(self.port.channel.id, plan):
            if self.deps.clock() >= until:
                return False
            await self._alive()
            await asyncio.sleep(SPARE_EVERY_S)
        return True

    async def _reported(self, start: datetime, end: datetime) -> str | None:
        """Compare what the report tells; why it tells nothing, None where it does or where there is no such thing."""
        if not isinstance(self.port, OrderDays):
            return None
        pages = self.port.orders_reported(start, self.deps.clock() - SETTLED, Ask(Priority.BACKFILL))
        try:
            async for page in pages:
                await self._page(page, start, end, self.report)
        except HouseError as problem:
            return problem.words
        return None

    async def _page(self, page: Page[Order], start: datetime, end: datetime, side: dict[str, Seen]) -> None:
        await self._alive()
        asked_at = self.deps.clock()
        told = {one.external_id: one for one in page.items if start <= one.placed_at < end}
        side.update({id: Seen.of(one) for id, one in told.items()})
        if side is self.api:
            self.api_until = max([self.api_until, *(one.placed_at for one in told.values())])
        async with self.deps.store.begin() as tx:
            kept = await order.by_ids(tx, [one.id for one in told.values()])
        for id, one in told.items():
            ours = Seen.of(kept[one.id]) if one.id in kept else None
            cause = cause_of(ours, side[id], caught_up_to=self.caught_up_to)
            if cause is not None and id not in self.found:
                self._note(id, cause, ours)
        for rejected in page.rejected:
            self._note(rejected.key, DifferenceCause.NOT_UNDERSTOOD, None)
        items = [replace(one, read_at=asked_at) for one in told.values()]
        await keep_orders(self.deps, items, page.rejected, path="comparison")

    def _note(self, id: str, cause: DifferenceCause, ours: Seen | None) -> None:
        told = None if ours is None else ours.told()
        self.found[id] = Difference(self.port.channel.id, self.day, id, cause, told)

    async def _missing_there(self, ours: Collection[str], *, reported: bool) -> None:
        """Those that a side does not tell, as far as it has told."""
        channel = self.port.channel.id
        lost = [id for id in {*ours, *self.api} if id not in self.api or (reported and id not in self.report)]
        async with self.deps.store.begin() as tx:
            kept = await order.by_ids(tx, [order_id(channel, id) for id in lost])
        for one in kept.values():
            here = one.external_id not in self.api and one.placed_at < self.api_until
            there = reported and one.external_id not in self.report and one.updated_at < self.deps.clock() - REST
            if (here or there) and one.external_id not in self.found:
                self._note(one.external_id, DifferenceCause.MISSING_THERE, Seen.of(one))

    async def _settled(self) -> None:
        """What each side tells stands beside each difference, and which of them have healed, because the order was kept."""
        channel, now = self.port.channel.id, self.deps.clock()
        async with self.deps.store.begin() as tx:
            kept = await order.by_ids(tx, {order_id(channel, id) for id in self.found})
        for id, one in self.found.items():
            api, report = self.api.get(id), self.report.get(id)
            one.api, one.report = (None if seen is None else seen.told() for seen in (api, report))
            known, told = kept.get(order_id(channel, id)), api or report
            if one.cause in OURS and known is not None and known.whole and told is not None:
                left = cause_of(Seen.of(known), told, caught_up_to=None)
                one.healed_at = now if left is None else None

    async def _alive(self) -> None:
        async with self.deps.store.begin() as tx:
            await order_compare.extend(tx, self.port.channel.id, self.day, LEASE_S)
