"""Drift: what channels show is compared with what we believe, noted, and set right.

The sweep (`StreamName.SHOWN`) reads all that a channel shows. What is lower than believed was probably sold there: orders are
read at once, and the number is looked at again once they have been. What is then still another number is written anew, through
the same rows as every other write, and never while one of them is under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import Page, Shown, ShownKey
from domain.budget import Ask, Priority
from domain.channel import Platform, StreamName, StreamState
from domain.drift import ORDERS_LATE, Drift, DriftKind, classify
from domain.errors import HouseError
from domain.ids import ChannelId, Sku
from domain.product import Rejected
from store import channel, channel_numbers, channel_stock, drift, marks, quarantine, stream
from store.channel_stock import NumberKey
from store.drift import Key, Noted, Number
from workers.calls import batches
from workers.deps import Deps

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
LOOK_WAIT_S = 30.0
LOOK_AGAIN_S = 60.0
# A number that stays as it was seen is not written down at each sweep.
SEEN_AGAIN = timedelta(hours=1)
# A sweep may miss what it should have told; that many calls look at what it did not tell.
LOOKS_PER_SWEEP = 10
REPAIRED = (DriftKind.LOST_WRITE, DriftKind.EXTERNAL_EDIT)


def places_shown(deps: Deps, id: ChannelId) -> list[str]:
    """The channel's own names of the places whose numbers are ours to show, [""] where it knows none; empty for a channel that
    we tell no numbers."""
    selling = [place for place in deps.locations if place.sells(id)]
    if not any(place.ours for place in selling):
        return []
    names = sorted({place.shown[id] for place in selling if id in place.shown})
    return names or ([""] if deps.channels[id].platform is Platform.AMAZON else [])


@dataclass(slots=True)
class Sweep:
    """One sweep of one channel."""

    deps: Deps
    channel: ChannelId
    started_at: datetime
    _told: set[Key] = field(default_factory=set)

    async def keep(self, page: Page[Shown]) -> None:
        """Compare one page."""
        self._told |= {(one.key.channel_sku, one.key.place) for one in page.items}
        await judge(self.deps, self.channel, page.items, page.rejected)

    async def end(self) -> None:
        """Look at what should have been told and was not: it may be offered no more."""
        port, looks, after = self.deps.ports[self.channel], 0, None
        while looks < LOOKS_PER_SWEEP:
            async with self.deps.store.begin() as tx:
                keys = await drift.told_of(tx, self.channel, self.started_at, after, 1000)
                untold = [key for key in keys if key not in self._told]
                known = await drift.open_of(tx, self.channel, untold)
            if not keys:
                return
            after = keys[-1]
            untold = [key for key in untold if key not in known or known[key].kind is not DriftKind.NOT_OFFERED]
            for batch in batches(untold, port.shown_batch)[: LOOKS_PER_SWEEP - looks]:
                looks += 1
                await look(self.deps, self.channel, batch, Ask(Priority.BACKGROUND))


async def look(deps: Deps, id: ChannelId, keys: Sequence[Key], ask: Ask) -> None:
    """Read these numbers, at most `shown_batch`, and judge them."""
    async with deps.store.begin() as tx:
        known = await drift.numbers(tx, id, keys)
    asked = [ShownKey(sku, place, tuple(sorted(number.refs.items()))) for (sku, place), number in known.items()]
    if asked:
        await judge(deps, id, await deps.ports[id].shown_stock(asked, ask))


async def judge(deps: Deps, id: ChannelId, shown: Sequence[Shown], rejected: Sequence[Rejected] = ()) -> None:
    """Compare numbers as read with those believed: drifts end, are noted, and are repaired."""
    read = {(one.key.channel_sku, one.key.place): one for one in shown}
    lag = timedelta(seconds=deps.ports[id].visibility_lag_s)
    async with deps.store.begin() as tx:
        known = await drift.numbers(tx, id, read)
        alike = {key for key, one in known.items() if read[key].quantity in (one.believed.told, one.believed.target)}
        doubtful = {key for key in known if key not in alike and known[key].believed.told is not None}
        news = {key for key, one in known.items() if _is_news(one, read[key], lag)}
        noted, stirred = await _judged(tx, deps, id, {key: read[key] for key in doubtful | news})
        await drift.end(tx, id, {key: read[key].as_of for key in alike})
        await quarantine.keep(tx, rejected)
        await marks.mark(tx, stirred)
    if noted:
        kinds = Counter(one.kind.value for one in noted)
        log.warning("drift.noted", extra={"channel": id, **kinds, "first": f"{noted[0].channel_sku}@{noted[0].place}"})


def _is_news(known: Number, read: Shown, lag: timedelta) -> bool:
    """Whether the reading says more of what the number shows than we know, and may: no write is under way that it has missed."""
    told_at, seen_at = known.believed.told_at, known.shown_at
    if not known.free or (told_at is not None and read.as_of <= told_at + lag):
        return False
    if seen_at is None:
        return True
    # The same once more is no news; a number that waits for orders waits from when it was first seen so.
    return read.as_of > seen_at and (
        read.quantity != known.shown or (known.settled and read.as_of > seen_at + SEEN_AGAIN)
    )


async def _judged(
    tx: AsyncConnection, deps: Deps, id: ChannelId, read: Mapping[Key, Shown]
) -> tuple[list[Noted], set[Sku]]:
    """Keep what these numbers show, and note what of it is drift; returns that, and the SKUs to be computed anew for it."""
    if not read:
        return [], set()
    # Held, so that no writer takes them up between our verdict and the repair.
    known = await drift.numbers(tx, id, read, lock=True)
    lag = timedelta(seconds=deps.ports[id].visibility_lag_s)
    news = {key for key, one in known.items() if _is_news(one, read[key], lag)}
    changed = {known[key].sku for key in news if known[key].mapped and read[key].quantity != known[key].shown}
    stirred = await channel_numbers.arbitrated(tx, changed) if changed else set()
    for key in sorted(news):
        if not known[key].mapped:
            stirred |= await _follow(tx, NumberKey(id, *key), known[key], read[key])
    await drift.keep_shown(tx, id, {key: (read[key].quantity, read[key].as_of) for key in news if known[key].mapped})
    ours = {key: one for key, one in known.items() if one.mapped}
    return await _noted(tx, deps, id, ours, read), stirred


async def _follow(tx: AsyncConnection, key: NumberKey, known: Number, read: Shown) -> set[Sku]:
    """What is mapped to no SKU counts as what it is seen to show, as long as it is there; returns its SKU where that changes."""
    if read.quantity is None:
        await channel_stock.forget(tx, [key])
        return {known.sku}
    await channel_stock.follow(tx, key, read.quantity, read.as_of)
    return {known.sku} if read.quantity != known.believed.told else set()


async def _noted(
    tx: AsyncConnection, deps: Deps, id: ChannelId, known: Mapping[Key, Number], read: Mapping[Key, Shown]
) -> list[Noted]:
    """What of these differences is drift, noted and on its way to be set right. The numbers are held."""
    open_now = await drift.open_of(tx, id, read)
    orders = await _orders(tx, id)
    lag = timedelta(seconds=deps.ports[id].visibility_lag_s)
    noted: list[Noted] = []
    for key, one in sorted(known.items()):
        shown, before = read[key], open_now.get(key)
        since = before.first_at if before is not None and before.shown == shown.quantity else shown.as_of
        kind = classify(
            one.believed,
            shown.quantity,
            shown.as_of,
            since=since,
            orders_until=_told_until(deps, orders),
            visibility_lag=lag,
        )
        if kind is not None:
            noted.append(Noted(*key, one.sku, kind, one.believed.told, shown.quantity, shown.as_of))
    await drift.note(tx, id, noted)
    for found in noted:
        if found.kind in REPAIRED:
            await channel_stock.repair(tx, id, found.channel_sku, found.place, found.shown, found.at)
    new = [found.at for found in noted if found.kind is DriftKind.UNSEEN_SALE and not _same(open_now, found)]
    if new:
        await stream.force(tx, id, StreamName.ORDERS)
    return noted


def _same(open_now: Mapping[Key, Drift], found: Noted) -> bool:
    before = open_now.get((found.channel_sku, found.place))
    return before is not None and before.shown == found.shown


async def _orders(tx: AsyncConnection, id: ChannelId) -> StreamState | None:
    return next((one for one in await stream.states(tx, [id]) if one.name is StreamName.ORDERS), None)


def _told_until(deps: Deps, orders: StreamState | None) -> datetime | None:
    """Up to when a channel has told all its orders.

    A shop's cursor is its newest order, or some minutes old while nobody buys, but a run of a shop's orders ends with the newest
    there is. Amazon lists an order late, and its cursor says how late.
    """
    if orders is None or orders.cursor is None:
        return None
    if orders.last_success_at is None or deps.channels[orders.channel].platform is Platform.AMAZON:
        return orders.cursor
    return max(orders.cursor, orders.last_success_at - ORDERS_LATE)


@dataclass(slots=True)
class Looks:
    """Looks again at numbers that seemed to be sold, once their channel's orders have been read. `pulse` is called at each
    round."""

    deps: Deps
    pulse: Callable[[], None]
    _rest: dict[ChannelId, float] = field(default_factory=dict)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.once()
            self.pulse()
            await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> None:
        """One round over all channels."""
        for id in sorted(self.deps.ports):
            if time.monotonic() < self._rest.get(id, 0.0) or not places_shown(self.deps, id):
                continue
            async with self.deps.store.begin() as tx:
                await drift.end_set_right(tx, id)
                ready = await _ready(tx, self.deps, id)
            if not ready:
                continue
            try:
                async with asyncio.timeout(LOOK_WAIT_S):
                    await look(self.deps, id, ready, Ask(Priority.BACKGROUND, time.monotonic() + LOOK_WAIT_S / 2))
            except (HouseError, TimeoutError) as problem:
                self._rest[id] = time.monotonic() + LOOK_AGAIN_S
                log.warning("drift.not_looked", extra={"channel": id, "reason": str(problem)})
            self.pulse()


async def _ready(tx: AsyncConnection, deps: Deps, id: ChannelId) -> list[Key]:
    """Numbers with an unseen sale that may have been explained by now; asks for the orders once more where it cannot be yet."""
    found, _ = await drift.open_drifts(
        tx, first=deps.ports[id].shown_batch, channel=id, kind=DriftKind.UNSEEN_SALE, oldest=True
    )
    if not found or id in await channel.states(tx):
        return []
    orders = await _orders(tx, id)
    until = [one.first_at + ORDERS_LATE for one in found]
    if orders is None or orders.last_success_at is None:
        return []
    if orders.last_success_at < max(until) <= deps.clock():
        await stream.force(tx, id, StreamName.ORDERS)
    told = _told_until(deps, orders)
    keys = [
        (one.channel_sku, one.place) for one, at in zip(found, until, strict=True) if told is not None and told >= at
    ]
    known = await drift.numbers(tx, id, keys)
    return [key for key in keys if key in known and not known[key].believed.in_flight]
