"""Outgoing feeds: each is told of every SKU whose stock changed, in batches, signed, from where it stopped.

What is told are the numbers of the moment and not what changed, so a batch that arrives twice does no harm. A feed that does not
take it is tried again with growing pauses and the numbers of then, for as long as the event log remembers; the others go on.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.transport import Limits, Transport
from domain import policy
from domain.errors import HouseError
from domain.event import EventKind
from domain.feed import FeedOut, sign
from domain.ids import Sku
from domain.policy import Facts
from domain.shown import counting
from store import channel_numbers, event, facts, kit
from store import feed as feed_store
from store.channel_numbers import ChannelNumber
from store.feed import FeedState
from workers.backoff import jittered
from workers.deps import Deps

log = logging.getLogger(__name__)

BATCH = 500
TIMEOUT_S = 5.0
ANSWER_BYTES = 64 * 1024
# A worker that dies in the middle holds a feed up for so long; well above what one telling takes.
LEASE_S = 30.0
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 900.0
# How old a reading of others may be is told in `freshness` and changes no number here.
MAX_AGE = timedelta(hours=1)


async def tell(deps: Deps, pulse: Callable[[], None]) -> None:
    """Tell the feeds of `deps` for ever."""
    transport = Transport(limits=Limits(body_bytes=ANSWER_BYTES))
    try:
        await Feeds(deps, pulse, transport).run()
    finally:
        await transport.close()


@dataclass(slots=True)
class Feeds:
    """Tells the feeds of `deps`. `pulse` is called after each look."""

    deps: Deps
    pulse: Callable[[], None]
    transport: Transport
    _enrolled: bool = False

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.once()
            self.pulse()
            await asyncio.sleep(self.deps.timing.sweep_s)

    async def once(self) -> None:
        """One look: every feed that has something to tell tells one batch."""
        feeds = {feed.id: feed for feed in self.deps.feeds}
        async with self.deps.store.begin() as tx:
            if not self._enrolled:
                await feed_store.enroll(tx, feeds)
            waiting = await feed_store.waiting(tx, feeds)
        self._enrolled = True
        # One that fails does not end the others in the middle.
        ended = await asyncio.gather(*(self._tell(feeds[id]) for id in waiting), return_exceptions=True)
        for problem in ended:
            if problem is not None:
                raise problem

    async def _tell(self, feed: FeedOut) -> None:
        async with self.deps.store.begin() as tx:
            state = await feed_store.claim(tx, feed.id, LEASE_S)
            if state is None:
                return
            seq, changed = await self._changed(tx, state, feed)
            told = await self._numbers(tx, changed, feed)
        problem = await self._send(feed, seq, told) if told else None
        async with self.deps.store.begin() as tx:
            if problem is None:
                await feed_store.advanced(tx, state, seq, told=bool(told))
            else:
                wait_s = jittered(state.failures + 1, first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)
                await feed_store.failed(tx, state, wait_s, problem)
        if problem is not None:
            log.warning("feed.failed", extra={"feed": feed.id, "reason": problem, "failures": state.failures + 1})

    async def _changed(self, tx: AsyncConnection, state: FeedState, feed: FeedOut) -> tuple[int, list[Sku]]:
        """(the place up to which this tells, the SKUs that changed until there), kits of changed components among them."""
        head = await event.head(tx)
        oldest = await event.oldest(tx)
        if oldest is not None and state.seq + 1 < oldest:
            log.warning("feed.gap", extra={"feed": feed.id, "after": state.seq, "oldest": oldest})
        events = await event.after(tx, state.seq, kinds=[EventKind.STOCK_CHANGED], limit=BATCH)
        seq = events[-1].seq if len(events) == BATCH else max([head, *(one.seq for one in events)])
        changed = {Sku(one.subject) for one in events}
        changed |= await kit.kits_with(tx, changed)
        return seq, sorted(sku for sku in changed if feed.wants(sku))

    async def _numbers(self, tx: AsyncConnection, skus: Sequence[Sku], feed: FeedOut) -> list[dict[str, Any]]:
        if not skus:
            return []
        now = self.deps.clock()
        known = await facts.facts(
            tx,
            skus,
            locations=self.deps.locations,
            now=now,
            default_safety_stock=self.deps.safety_stock,
            max_age=MAX_AGE,
        )
        channels = await channel_numbers.numbers(tx, skus)
        return [
            told
            for sku in skus
            if sku in known and (told := _told(known[sku], channels.get(sku, []), feed, now)) is not None
        ]

    async def _send(self, feed: FeedOut, seq: int, data: list[dict[str, Any]]) -> str | None:
        """None when it was taken, else why not."""
        at = self.deps.clock()
        body = orjson.dumps({"type": "stock.changed", "timestamp": at, "data": data})
        # What is sent again has newer numbers: whoever took the older ones must not think that it has these.
        id = f"msg_{feed.id}_{seq}_{hashlib.sha256(body).hexdigest()[:16]}"
        timestamp = int(at.timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": "acorn-gateway",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(feed.secret, id, timestamp, body),
        }
        try:
            answer = await self.transport.send(
                "POST", feed.url, write=True, headers=headers, content=body, timeout_s=TIMEOUT_S
            )
        except HouseError as problem:
            return problem.message
        return None if 200 <= answer.status < 300 else f"It answered {answer.status}."


def _told(known: Facts, numbers: Sequence[ChannelNumber], feed: FeedOut, now: datetime) -> dict[str, Any] | None:
    """What a feed is told of one SKU; None where nothing of it lies at the feed's places."""
    places = [one for one in known.places if not feed.locations or one.location.code in feed.locations]
    if feed.locations and not places:
        return None
    return {
        "sku": known.sku,
        "availableToSell": policy.available(known, now).quantity,
        "onHand": sum(one.on_hand for one in places),
        "reserved": sum(one.reserved for one in places),
        "inbound": sum(one.inbound for one in places),
        "asOf": now,
        "channels": _channels(numbers),
    }


def _channels(numbers: Sequence[ChannelNumber]) -> list[dict[str, Any]]:
    """What each channel has been told, and since when it is known to show it (None: not yet)."""
    found = []
    for channel, places in sorted(counting((one for one in numbers if one.told is not None), _units).items()):
        confirmed = [one.confirmed_at for one in places if one.confirmed_at is not None]
        at = max(confirmed) if len(confirmed) == len(places) else None
        found.append({"channel": channel, "quantity": sum(map(_units, places)), "confirmedAt": at})
    return found


def _units(number: ChannelNumber) -> int:
    return number.told or 0
