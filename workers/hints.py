"""Hints: what platforms tell of their own accord, kept first, and then a reason to ask.

Nothing that a hint says is believed. What it names is read by the calls that the streams use and kept by the same ways, newest
wins; so a hint that is lost, late, doubled or forged changes when we know something, and never what. Streams go on as if there
were none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.notices import Catalog, Mailbox, NewSecret, Source
from adapters.port import OrderKey, Page, Port, StockKey
from domain.budget import Ask, Priority
from domain.channel import Location, LocationKind, StreamName
from domain.errors import HouseError, MissingRole, NotFound, Refused, Throttled, Unauthorized
from domain.hint import WELL, Errand, Hint, HintKind
from domain.ids import ChannelId, ChannelSku, listing_id, order_id
from domain.product import Listing, Rejected
from store import channel, grant, hint, order, product, quarantine, stock, stream
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S, batches
from workers.deps import Deps
from workers.mapping import with_our_skus
from workers.streams import keep_alone, keep_listings
from workers.watch import end

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
AT_ONCE = 100
# One claim's work, with waiting for slots, ends well within it; else it is done twice, and nothing is wrong.
LEASE_S = 60.0
PATIENCE_S = 20.0
MOST_ATTEMPTS = 10
# Clocks differ, and platforms show a change a little late: what was read so shortly after a change may not hold it.
MARGIN = timedelta(minutes=2)
FIRST_REST_S = 1.0
LONGEST_REST_S = 300.0


async def take(tx: AsyncConnection, delivered: Iterable[Hint | Rejected | None]) -> int:
    """Make durable what was delivered: hints, and what is not understood. How many hints are new."""
    all_of_it = list(delivered)
    await quarantine.keep(tx, [one for one in all_of_it if isinstance(one, Rejected)])
    return await hint.keep(tx, [one for one in all_of_it if isinstance(one, Hint)])


@dataclass(slots=True)
class Listen:
    """Empties one queue. `pulse` is called after each look."""

    deps: Deps
    source: Source
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever, with pauses that grow while the queue refuses or does not answer."""
        failures = 0
        async with self.source.open() as mailbox:
            while True:
                try:
                    await self.once(mailbox)
                    failures = 0
                except HouseError as problem:
                    failures += 1
                    await self._tell(problem, failures)
                    # In small steps: a long rest is no sign of death.
                    until = time.monotonic() + 0.5 + jittered(failures, first_s=1.0, most_s=LONGEST_REST_S)
                    while time.monotonic() < until:
                        self.pulse()
                        await asyncio.sleep(min(5.0, max(0.0, until - time.monotonic())))
                self.pulse()

    async def once(self, mailbox: Mailbox) -> int:
        """Receive once, keep, and only then delete; how many messages there were."""
        told = [(one, self.source.understood(one.body)) for one in await mailbox.receive()]
        secrets = [(one, what) for one, what in told if isinstance(what, NewSecret)]
        others = [(one, what) for one, what in told if not isinstance(what, NewSecret)]
        if others:
            async with self.deps.store.begin() as tx:
                await take(tx, [what for _, what in others])
            await mailbox.delete([one for one, _ in others])
        for one, new in secrets:
            if await self._keep_secret(new):
                await mailbox.delete([one])
        return len(told)

    async def _keep_secret(self, new: NewSecret) -> bool:
        """Whether it is kept. What cannot be, for want of the right keys, stays in the queue: Amazon tells it once."""
        try:
            async with self.deps.store.begin() as tx:
                kept = await grant.keep_secret(
                    tx,
                    self.deps.ring,
                    new.client_id,
                    new.secret,
                    expires_at=new.expires_at,
                    previous_expires_at=new.old_expires_at,
                )
        except HouseError as problem:
            extra = {"client_id": new.client_id, "reason": problem.words}
            log.error("secret.not_kept", extra=extra)  # noqa: TRY400  no bug
            words = f"{problem.message} The secret waits in the queue until then."
            async with self.deps.store.begin() as tx:
                await quarantine.keep(tx, [Rejected(new.channel, "secret", new.client_id, words, "")])
            return False
        if kept:
            log.info("secret.rotated", extra={"client_id": new.client_id, "expires_at": new.expires_at.isoformat()})
        return True

    async def _tell(self, problem: HouseError, failures: int) -> None:
        extra = {"channels": list(self.source.channels), "reason": problem.words, "failures": failures}
        log.warning("queue.failed", extra=extra)
        if not isinstance(problem, Unauthorized):
            return
        async with self.deps.store.begin() as tx:
            for id in self.source.channels:
                await stream.failed(tx, id, StreamName.NOTIFICATIONS, problem.words, LONGEST_REST_S)


@dataclass(slots=True)
class Hints:
    """Looks after what hints name. `pulse` is called at each look, and each second of one. `asked` counts the upstream questions
    of this process, `saved` the subjects that needed none."""

    deps: Deps
    pulse: Callable[[], None]
    asked: int = 0
    saved: int = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            found = await self.once()
            self.pulse()
            if not found:
                await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> int:
        """One look: claim what waits and look after it, channels side by side; how many subjects there were."""
        async with self.deps.store.begin() as tx:
            errands = await hint.claim(tx, set(self.deps.ports), LEASE_S, AT_ONCE)
        grouped: defaultdict[ChannelId, list[Errand]] = defaultdict(list)
        for one in errands:
            grouped[one.channel].append(one)
        rounds = [Round(self.deps, self.deps.ports[id]) for id in grouped]
        tasks = [asyncio.create_task(one.work(found)) for one, found in zip(rounds, grouped.values(), strict=True)]
        going_on = set(tasks)
        try:
            while going_on:
                # One slow answer of a platform is no sign of death.
                _, going_on = await asyncio.wait(going_on, timeout=1.0)
                self.pulse()
        finally:
            await end(tasks)
        for task in tasks:
            task.result()
        self.asked += sum(one.asked for one in rounds)
        self.saved += sum(one.saved for one in rounds)
        return len(errands)


@dataclass(slots=True)
class Round:
    """One claim's errands of one channel."""

    deps: Deps
    port: Port
    asked: int = 0
    saved: int = 0
    ask: Ask = field(default_factory=lambda: Ask(Priority.HINT, deadline=time.monotonic() + PATIENCE_S))

    async def work(self, errands: Sequence[Errand]) -> None:
        """Look after them; what stops one stays with its rows."""
        kinds: defaultdict[HintKind, list[Errand]] = defaultdict(list)
        for one in errands:
            kinds[one.kind].append(one)
        for kind, found in kinds.items():
            match kind:
                case HintKind.ORDER:
                    for one in await self._fresh(found, self._known_orders):
                        await self._try([one], self._order)
                case HintKind.STOCK:
                    for few in batches(await self._fresh(found, self._known_stock), self.port.stock_batch):
                        await self._try(few, self._stock)
                case HintKind.LISTING | HintKind.OFFER if isinstance(self.port, Catalog):
                    fresh = await self._fresh(found, self._known_listings) if kind is HintKind.LISTING else found
                    for few in batches(fresh, self.port.listings_batch):
                        await self._try(few, self._listings)
                case HintKind.LISTING | HintKind.OFFER:
                    await self._settle(found, "The channel is not asked for single listings; its stream reads them.")
                case _:
                    for one in found:
                        _alert(one)
                    # Ends of reports, feeds and queries: who waits for one looks at it all the same.
                    await self._settle(found)

    async def _fresh(
        self,
        errands: Sequence[Errand],
        known: Callable[[AsyncConnection, Sequence[Errand]], Awaitable[set[str]]],
    ) -> list[Errand]:
        """Those that tell of something newer than what we have; the others are done."""
        async with self.deps.store.begin() as tx:
            subjects = await known(tx, errands)
        old = [one for one in errands if one.subject in subjects]
        if old:
            self.saved += len(old)
            await self._settle(old, "What we have is as young.")
        return [one for one in errands if one.subject not in subjects]

    async def _known_orders(self, tx: AsyncConnection, errands: Sequence[Errand]) -> set[str]:
        ids = {order_id(one.channel, one.subject): one for one in errands}
        kept = await order.by_ids(tx, set(ids))
        # Both are times of the platform's.
        return {ids[id].subject for id, one in kept.items() if one.updated_at >= ids[id].event_at}

    async def _known_stock(self, tx: AsyncConnection, errands: Sequence[Errand]) -> set[str]:
        skus = {ChannelSku(one.subject): one for one in errands}
        pools = {place.code for place in self._pools()}
        found = {
            sku: [one.as_of for one in told if one.location in pools]
            for sku, told in (await stock.of_channel_skus(tx, self.port.channel.id, set(skus))).items()
        }
        return {sku for sku, read in found.items() if read and min(read) > skus[sku].event_at + MARGIN}

    async def _known_listings(self, tx: AsyncConnection, errands: Sequence[Errand]) -> set[str]:
        found = set()
        for one in errands:
            if one.marketplace is not None:
                kept = await product.listing_by_id(
                    tx, listing_id(one.channel, one.marketplace, ChannelSku(one.subject))
                )
                if kept is not None and kept.as_of > one.event_at + MARGIN:
                    found.add(one.subject)
        return found

    async def _try(self, errands: Sequence[Errand], work: Callable[[Sequence[Errand]], Awaitable[None]]) -> None:
        self.asked += 1
        try:
            await work(errands)
        except Exception as problem:
            if isinstance(problem, Refused) and len(errands) > 1:
                # One name that the platform does not take shall hide no other.
                for part in batches(errands, len(errands) // 2):
                    await self._try(part, work)
            else:
                await self._failed(errands, problem)
        else:
            await self._settle(errands)

    async def _order(self, errands: Sequence[Errand]) -> None:
        (one,) = errands
        read = await self.port.order(OrderKey(one.subject, one.marketplace), self.ask)
        await keep_alone(self.deps, replace(read, lines=with_our_skus(self.deps.sku_map, read.channel, read.lines)))

    async def _stock(self, errands: Sequence[Errand]) -> None:
        keys = [StockKey(ChannelSku(one.subject)) for one in errands]
        for group in self.port.stock_groups(self._pools()):
            readings = await self.port.stock(group, keys, self.ask)
            async with self.deps.store.begin() as tx:
                await stock.keep_and_tell(tx, readings)

    async def _listings(self, errands: Sequence[Errand]) -> None:
        assert isinstance(self.port, Catalog)
        by = "SKU" if errands[0].kind is HintKind.LISTING else "ITEM"
        page: Page[Listing] = await self.port.listings_named(by, [one.subject for one in errands], self.ask)
        await keep_listings(self.deps, self.port.channel.id, page, self.deps.clock())

    def _pools(self) -> list[Location]:
        id = self.port.channel.id
        return [one for one in self.deps.locations if one.keeper == id and one.kind is LocationKind.FBA]

    async def _settle(self, errands: Sequence[Errand], reason: str | None = None) -> None:
        async with self.deps.store.begin() as tx:
            await hint.done(tx, errands, reason)

    async def _failed(self, errands: Sequence[Errand], problem: Exception) -> None:
        words = problem.words if isinstance(problem, HouseError) else f"Unexpected {type(problem).__name__}."
        extra = {"channel": self.port.channel.id, "kind": errands[0].kind.value, "reason": words}
        if isinstance(problem, HouseError):
            log.warning("hints.put_off", extra=extra | {"subjects": len(errands)})
        else:
            log.error("hints.broken", extra=extra, exc_info=problem)
        tired = [one for one in errands if one.attempts >= MOST_ATTEMPTS]
        others = [one for one in errands if one.attempts < MOST_ATTEMPTS]
        wait_s = FIRST_REST_S + jittered(max(one.attempts for one in errands), first_s=2.0, most_s=LONGEST_REST_S)
        async with self.deps.store.begin() as tx:
            match problem:
                case Throttled():
                    await hint.put_off(tx, errands, problem.retry_after_s, words, free=True)
                case MissingRole():
                    await hint.put_off(tx, errands, ROLE_WAIT_S, words, free=True)
                case Unauthorized():
                    await hint.put_off(tx, errands, 0.0, words, free=True)
                    await channel.pause(tx, self.port.channel.id, problem.message, self.deps.timing.pause_s)
                case Refused() if not isinstance(problem, NotFound):
                    await hint.give_up(tx, errands, words)
                case _:
                    # What was just made may not be found everywhere yet.
                    await hint.put_off(tx, others, wait_s, words, free=False)
                    await hint.give_up(tx, tired, words)


def _alert(one: Errand) -> None:
    extra = {"channel": one.channel, "subject": one.subject, "at": one.event_at.isoformat()}
    if one.kind is HintKind.ACCOUNT and one.subject != WELL:
        log.error("account.status", extra=extra)
    elif one.kind is HintKind.APPLICATION:
        log.warning("secret.expires", extra=extra)
