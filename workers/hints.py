"""Hints: what platforms tell of their own accord, kept first, and then a reason to ask.

Nothing that a hint says is believed. What it names is read by the calls that the streams use and kept by the same ways, newest
wins; so a hint that is lost, late, doubled or forged changes when we know something, and never what. Until then what an order is
said to have sold is held, for a time (store/ahead.py). Streams go on as if there were none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.finances import Movements
from adapters.market import Market
from adapters.notices import Catalog, Kept, Mailbox, NewSecret, OrderBook, Source, Workshop
from adapters.port import OrderKey, Page, Port, StockKey
from adapters.returns import RefundsTold
from domain.budget import Ask, Priority
from domain.channel import Location, StreamName
from domain.errors import HouseError, MissingRole, NotFound, Refused, Throttled, Unauthorized
from domain.hint import WELL, Errand, Hint, HintKind
from domain.ids import ChannelId, ChannelSku, Sku, listing_id, order_id
from domain.order import Order
from domain.privacy import PrivacyKind, PrivacyRequest
from domain.product import ITEM_REF, PRODUCT_REF, FulfilledBy, Listing, Rejected
from store import (
    ahead,
    channel,
    grant,
    hint,
    market,
    money_transaction,
    order,
    order_path,
    outbound,
    person,
    privacy,
    product,
    quarantine,
    stock,
    stream,
)
from store.session import UNAVAILABLE
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S, batches
from workers.deps import Deps
from workers.returns import keep as keep_returns
from workers.streams import keep_listings, keep_orders
from workers.transactions import keep as keep_transactions
from workers.transactions import tells_of_transactions
from workers.watch import end

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
AT_ONCE = 100
# One claim's work, with waiting for slots, ends well within it; else it is done twice, and nothing is wrong.
LEASE_S = 60.0
PATIENCE_S = 20.0
TOLD = "notification"  # the way by which what a hint named came in
MOST_ATTEMPTS = 10
# Where a platform tells of orders one by one, so many are asked for at a time.
ABREAST = 10
# Clocks differ, and platforms show a change a little late: what was read so shortly after a change may not hold it.
MARGIN = timedelta(minutes=2)
SECOND = timedelta(seconds=1)
FIRST_REST_S = 1.0
LONGEST_REST_S = 300.0
# Orders that were named so long ago and are not known at all: single reads do not keep up with them.
UNREAD = timedelta(minutes=2)
# Then a run reads them, so long after the last one at the soonest: Amazon makes a report in a minute or two, and one a minute.
RUN_AGAIN = timedelta(minutes=3)


async def take(tx: AsyncConnection, delivered: Iterable[Kept | None]) -> int:
    """Make durable what was delivered: hints, what people have to do, and what is not understood. How many hints are new."""
    all_of_it = list(delivered)
    asked = [one for one in all_of_it if isinstance(one, PrivacyRequest)]
    await privacy.keep(tx, asked)
    wished = {order_id(one.channel, id) for one in asked if one.kind is PrivacyKind.BUYER_REDACT for id in one.orders}
    if wished:
        await person.redact(tx, wished)
    await quarantine.keep(tx, [one for one in all_of_it if isinstance(one, Rejected)])
    return await hint.keep(tx, [one for one in all_of_it if isinstance(one, Hint)])


async def received(deps: Deps, delivered: Sequence[Kept | None]) -> None:
    """Keep what a queue delivered. What orders are said to have sold is for sale nowhere else from here on; where that cannot be
    held, the orders tell of it when they are read."""
    async with deps.store.begin() as tx:
        await take(tx, delivered)
    for one in [told for told in delivered if isinstance(told, Hint)]:
        for sku, units in _ours(deps, one).items():
            try:
                # Each by itself: all that wait for locks take them in one order.
                async with deps.store.begin() as tx:
                    await ahead.hold(tx, one, sku, units, deps.locations)
            except UNAVAILABLE:
                raise  # it is received once more
            except Exception:
                log.exception("hints.not_held", extra={"channel": one.channel, "order": one.subject, "sku": sku})


def _ours(deps: Deps, told: Hint) -> Mapping[Sku, int]:
    """The units that have to be shipped of each SKU of ours, as the order's lines will name them."""
    units: Counter[Sku] = Counter()
    for channel_sku, count in told.open.items():
        units[deps.sku_map.ours(told.channel, channel_sku)] += count
    return units


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
            await received(self.deps, [what for _, what in others])
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
    """Looks after what hints name. `pulse` is called at each look. `asked` counts the upstream questions
    of this process, `saved` the subjects that needed none."""

    deps: Deps
    pulse: Callable[[], None]
    asked: int = 0
    saved: int = 0

    async def run(self) -> None:
        """For ever. A channel that answers slowly holds up no other."""
        under_way: dict[ChannelId, asyncio.Task[int]] = {}
        try:
            while True:
                under_way |= await self._begin(self.deps.ports.keys() - under_way.keys())
                if under_way:
                    await asyncio.wait(under_way.values(), timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(LOOK_EVERY_S)
                # One slow answer of a platform is no sign of death.
                self.pulse()
                for id in [id for id, task in under_way.items() if task.done()]:
                    under_way.pop(id).result()
        finally:
            await end(under_way.values())

    async def once(self) -> int:
        """One look: claim what waits and look after it, channels side by side; how many subjects there were."""
        tasks = (await self._begin(self.deps.ports.keys())).values()
        try:
            return sum(await asyncio.gather(*tasks))
        finally:
            await end(tasks)

    async def _begin(self, channels: Collection[ChannelId]) -> dict[ChannelId, asyncio.Task[int]]:
        """Claim what waits of these channels; what looks after that of each."""
        async with self.deps.store.begin() as tx:
            errands = await hint.claim(tx, channels, LEASE_S, AT_ONCE)
        grouped: defaultdict[ChannelId, list[Errand]] = defaultdict(list)
        for one in errands:
            grouped[one.channel].append(one)
        return {id: asyncio.create_task(self._look_after(id, found)) for id, found in grouped.items()}

    async def _look_after(self, id: ChannelId, errands: Sequence[Errand]) -> int:
        work = Round(self.deps, self.deps.ports[id])
        await work.work(errands)
        self.asked += work.asked
        self.saved += work.saved
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
        await self._hurry(kinds.get(HintKind.OFFER, ()))
        for kind, found in kinds.items():
            match kind:
                case HintKind.ORDER:
                    await self._run_sooner()
                    fresh = await self._fresh(found, self._known_orders)
                    for few in batches(fresh, self._orders_batch):
                        await self._orders(few)
                case HintKind.REFUND if isinstance(self.port, RefundsTold):
                    for one in found:
                        await self._try([one], self._refunds)
                case HintKind.MONEY if tells_of_transactions(self.port):
                    await self._money(found)
                case HintKind.WORK if isinstance(self.port, Workshop):
                    for one in found:
                        await self._try([one], self._work)
                case HintKind.STOCK | HintKind.ITEM if not self._places():
                    await self._settle(found, "Nothing is counted there; what it shows, its stream compares.")
                case HintKind.STOCK:
                    for few in batches(await self._fresh(found, self._known_stock), self.port.stock_batch):
                        await self._try(few, self._stock)
                case HintKind.ITEM if isinstance(self.port, Catalog):
                    for few in batches(await self._fresh(found, self._known_items), self.port.stock_batch):
                        await self._try(few, self._items)
                case HintKind.PRODUCT if isinstance(self.port, Catalog):
                    for few in batches(found, self.port.listings_batch):
                        await self._try(few, self._products)
                case HintKind.LISTING | HintKind.OFFER if isinstance(self.port, Catalog):
                    fresh = await self._fresh(found, self._known_listings) if kind is HintKind.LISTING else found
                    for few in batches(fresh, self.port.listings_batch):
                        await self._try(few, self._listings)
                case HintKind.LISTING | HintKind.OFFER | HintKind.PRODUCT:
                    await self._settle(found, "The channel is not asked for single listings; its stream reads them.")
                case HintKind.FULFILLMENT:
                    await self._fulfillments(found)
                case HintKind.ACCESS:
                    await self._try(found, self._access)
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
        return {ids[id].subject for id, one in kept.items() if _enough(one, ids[id].event_at)}

    async def _run_sooner(self) -> None:
        """In a flood the stream reads what is named, by whichever path is there in time, and does not wait for its hour."""
        async with self.deps.store.begin() as tx:
            if await order_path.named_in_vain(tx, self.port.channel.id, self.deps.clock() - UNREAD):
                await stream.hurry(tx, self.port.channel.id, StreamName.ORDERS, RUN_AGAIN)

    async def _known_stock(self, tx: AsyncConnection, errands: Sequence[Errand]) -> set[str]:
        read = await self._read_at(tx, {ChannelSku(one.subject) for one in errands})
        return {one.subject for one in errands if _young(read.get(ChannelSku(one.subject)), one)}

    async def _known_items(self, tx: AsyncConnection, errands: Sequence[Errand]) -> set[str]:
        skus = await self._skus_of(tx, [one.subject for one in errands])
        read = await self._read_at(tx, {one.channel_sku for one in skus.values()})
        return {
            one.subject for one in errands if (key := skus.get(one.subject)) and _young(read.get(key.channel_sku), one)
        }

    async def _read_at(self, tx: AsyncConnection, skus: set[ChannelSku]) -> dict[ChannelSku, datetime]:
        """When each was read at all of the channel's places, at the oldest."""
        places = {place.code for place in self._places()}
        told = await stock.of_channel_skus(tx, self.port.channel.id, skus)
        at = {sku: [one.as_of for one in found if one.location in places] for sku, found in told.items()}
        return {sku: min(found) for sku, found in at.items() if found}

    async def _skus_of(self, tx: AsyncConnection, items: Sequence[str]) -> dict[str, StockKey]:
        """Of inventory items those that are listed, as they are asked for."""
        found = await product.listings_by_ref(tx, self.port.channel.id, ITEM_REF, items)
        return {
            one.refs[ITEM_REF]: StockKey(one.channel_sku, tuple(sorted(one.refs.items()))) for one in reversed(found)
        }

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

    async def _orders(self, errands: Sequence[Errand]) -> None:
        """In one call; what that leaves out is asked for alone, and so is each when all of them are refused."""
        told: dict[str, Order] = {}
        if isinstance(self.port, OrderBook) and len(errands) > 1:
            self.asked += 1
            try:
                read = await self.port.orders_named([one.subject for one in errands], self._for_orders)
            except Refused:
                read = []
            except Exception as problem:
                await self._failed(errands, problem)
                return
            told = {one.external_id: one for one in read}
            await self._keep_told([(one, told[one.subject]) for one in errands if one.subject in told])
        await self._orders_alone([one for one in errands if one.subject not in told])

    async def _orders_alone(self, errands: Sequence[Errand]) -> None:
        """Each by a call of its own, some at a time; what was read is kept together."""
        for few in batches(errands, ABREAST):
            self.asked += len(few)
            keys = [OrderKey(one.subject, one.marketplace) for one in few]
            ask = self._for_orders
            answers = await asyncio.gather(*(self.port.order(key, ask) for key in keys), return_exceptions=True)
            for one, answer in zip(few, answers, strict=True):
                if isinstance(answer, Exception):
                    if _denied(answer, one):
                        async with self.deps.store.begin() as tx:
                            await ahead.let_go(tx, one.channel, one.subject)
                    await self._failed([one], answer)
            await self._keep_told(
                [(one, answer) for one, answer in zip(few, answers, strict=True) if isinstance(answer, Order)]
            )

    async def _keep_told(self, read: Sequence[tuple[Errand, Order]]) -> None:
        """Together; where that fails each alone, so that one that cannot be kept delays no other."""
        if not read:
            return
        errands = [one for one, _ in read]
        try:
            await keep_orders(self.deps, list({found.id: found for _, found in read}.values()), path=TOLD)
        except Exception as problem:
            if len(read) == 1 or isinstance(problem, UNAVAILABLE):
                await self._failed(errands, problem)
                return
            for each in read:
                await self._keep_told([each])
        else:
            await self._settle(errands)

    async def _refunds(self, errands: Sequence[Errand]) -> None:
        """All refunds of the order, as the stream of returns would read them."""
        (one,) = errands
        assert isinstance(self.port, RefundsTold)
        await keep_returns(self.deps, await self.port.refunds_told(OrderKey(one.subject, one.marketplace), self.ask))
        if tells_of_transactions(self.port):
            await self._moved(errands)

    async def _money(self, errands: Sequence[Errand]) -> None:
        """What moved for orders is read order by order; where it was for none, the stream reads it soon."""
        of_none = [one for one in errands if not one.subject]
        if of_none:
            async with self.deps.store.begin() as tx:
                await stream.force(tx, self.port.channel.id, StreamName.TRANSACTIONS)
                await hint.done(tx, of_none)
        for one in await self._fresh([one for one in errands if one.subject], self._known_money):
            await self._try([one], self._moved)

    async def _known_money(self, tx: AsyncConnection, errands: Sequence[Errand]) -> set[str]:
        told = await money_transaction.told_at(tx, {order_id(one.channel, one.subject) for one in errands})
        return {one.subject for one in errands if _young(told.get(order_id(one.channel, one.subject)), one)}

    async def _moved(self, errands: Sequence[Errand]) -> None:
        (one,) = errands
        assert isinstance(self.port, Movements)
        moved = await self.port.order_transactions(OrderKey(one.subject, one.marketplace), self.ask)
        await keep_transactions(self.deps, self.port, moved)

    async def _work(self, errands: Sequence[Errand]) -> None:
        (one,) = errands
        assert isinstance(self.port, Workshop)
        await self._read_order(await self.port.order_of(one.subject, self.ask))

    async def _read_order(self, key: OrderKey) -> None:
        read = await self.port.order(key, self._for_orders)
        await keep_orders(self.deps, [read], path=TOLD)

    async def _stock(self, errands: Sequence[Errand]) -> None:
        await self._read_stock([StockKey(ChannelSku(one.subject)) for one in errands])

    async def _items(self, errands: Sequence[Errand]) -> None:
        """What is not known to be listed is looked up first: it may be new."""
        items = [one.subject for one in errands]
        async with self.deps.store.begin() as tx:
            keys = await self._skus_of(tx, items)
        if unknown := [one for one in items if one not in keys]:
            assert isinstance(self.port, Catalog)
            for few in batches(unknown, self.port.listings_batch):
                await self._read_listings("ITEM", few)
            async with self.deps.store.begin() as tx:
                keys = await self._skus_of(tx, items)
        if keys:
            await self._read_stock(list(dict.fromkeys(keys.values())))

    async def _read_stock(self, keys: Sequence[StockKey]) -> None:
        for group in self.port.stock_groups(self._places()):
            readings = await self.port.stock(group, keys, self.ask)
            async with self.deps.store.begin() as tx:
                await stock.keep_and_tell(tx, readings)

    async def _listings(self, errands: Sequence[Errand]) -> None:
        by = "SKU" if errands[0].kind is HintKind.LISTING else "ITEM"
        await self._read_listings(by, [one.subject for one in errands])

    async def _products(self, errands: Sequence[Errand]) -> None:
        """Those of a product that are not told of any more are gone; what was told and not understood is not."""
        names = [one.subject for one in errands]
        asked_at = self.deps.clock()
        told = await self._read_listings("ITEM", names)
        async with self.deps.store.begin() as tx:
            kept = [
                *await product.listings_by_ref(tx, self.port.channel.id, PRODUCT_REF, names),
                *await product.listings_by_ref(tx, self.port.channel.id, ITEM_REF, names),
            ]
        # A product that could not be read as a whole says nothing of what it has.
        gone = [one for one in kept if told.isdisjoint((one.id, one.external_id, one.refs.get(PRODUCT_REF)))]
        # Before that is written down, so that another attempt finds what is left to do.
        await self._count_anew({one.channel_sku for one in gone if one.status != product.WITHDRAWN})
        async with self.deps.store.begin() as tx:
            await product.withdraw(tx, {one.id for one in gone}, asked_at)

    async def _count_anew(self, skus: set[ChannelSku]) -> None:
        """Read what is counted of SKUs that are offered no more: nothing, where they are gone."""
        if self._places():
            for few in batches(sorted(skus), self.port.stock_batch):
                await self._read_stock([StockKey(sku) for sku in few])

    async def _read_listings(self, by: str, names: Sequence[str]) -> set[str]:
        """The listings that were told of, which are kept by now, and the channel's ids of those that were not understood."""
        assert isinstance(self.port, Catalog)
        id, started_at = self.port.channel.id, self.deps.clock()
        page: Page[Listing] = await self.port.listings_named(by, names, self.ask)
        told = {str(one.id) for one in page.items} | {one.key for one in page.rejected}
        async with self.deps.store.begin() as tx:
            contested = await self._contested(tx, page.items)
        if contested and by != "SKU":
            page.items = [one for one in page.items if one.channel_sku not in contested]
            for few in batches(sorted(contested), self.port.listings_batch):
                await keep_listings(self.deps, id, await self.port.listings_named("SKU", few, self.ask), started_at)
        await keep_listings(self.deps, id, page, started_at)
        return told

    async def _contested(self, tx: AsyncConnection, found: Sequence[Listing]) -> set[ChannelSku]:
        """The SKUs that another of the channel's listings has: which of them counts, all that have it tell together."""
        ids = {one.id: one for one in found}
        kept = await product.listings_by_ids(tx, set(ids))
        return {one.channel_sku for one in kept if one.external_id != ids[one.id].external_id}

    async def _fulfillments(self, errands: Sequence[Errand]) -> None:
        """Who follows what the channel ships for us looks at it at once."""
        async with self.deps.store.begin() as tx:
            await outbound.hurry(tx, self.port.channel.id, {one.subject for one in errands})
        await self._settle(errands)

    async def _access(self, errands: Sequence[Errand]) -> None:
        """Whether we may still do there what we have to: a refusal pauses the channel until it is mended."""
        await self.port.check(self.ask)

    async def _hurry(self, errands: Sequence[Errand]) -> None:
        """Whose offer is featured beside ours is asked about before others; see `workers/market.py`."""
        if errands and isinstance(self.port, Market):
            async with self.deps.store.begin() as tx:
                told = [(one.marketplace, one.subject, one.event_at) for one in errands]
                await market.hurry(tx, self.port.channel.id, told)

    @property
    def _for_orders(self) -> Ask:
        """What an order has sold is for sale elsewhere until it is known: so it waits behind no parcel, where one call tells of
        many. Where each takes a call, those of a flood would be all that is read."""
        return replace(self.ask, priority=Priority.WRITE) if isinstance(self.port, OrderBook) else self.ask

    @property
    def _orders_batch(self) -> int:
        return self.port.orders_batch if isinstance(self.port, OrderBook) else AT_ONCE

    def _places(self) -> list[Location]:
        return [one for one in self.deps.locations if one.keeper == self.port.channel.id]

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


def _enough(kept: Order, event_at: datetime) -> bool:
    """Both are times of the platform's. What the channel ships itself is counted by a sketch too, which a report tells to the
    second, and is read as a whole when there is time (`workers/completion.py`): first comes what we have to ship."""
    if kept.whole:
        return kept.updated_at >= event_at
    return kept.fulfilled_by is not FulfilledBy.MERCHANT and kept.updated_at + SECOND > event_at


def _denied(problem: Exception, one: Errand) -> bool:
    """Whether the platform has said for good that there is no such thing."""
    return isinstance(problem, NotFound) and one.attempts >= MOST_ATTEMPTS


def _young(read_at: datetime | None, one: Errand) -> bool:
    return read_at is not None and read_at > one.event_at + MARGIN


def _alert(one: Errand) -> None:
    extra = {"channel": one.channel, "subject": one.subject, "at": one.event_at.isoformat()}
    if one.kind is HintKind.ACCOUNT and one.subject != WELL:
        log.error("account.status", extra=extra)
    elif one.kind is HintKind.APPLICATION:
        log.warning("secret.expires", extra=extra)
