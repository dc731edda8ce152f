"""The event hub of one process: reads each event once and hands it to the subscribers it concerns.

The rows are the truth and their order is the only one. The Redis stream is a bell: it says that there is something to read, and a
look at the table every now and then makes good for each bell that was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.errors import HouseError
from domain.event import Event, EventKind
from gateway import metrics
from store import event
from store.session import UNAVAILABLE, Store
from workers.watch import end

log = logging.getLogger(__name__)

QUEUE = 256
PAGE = 500
OPENING = 4  # subscriptions at a time read what they missed, so that a burst of them leaves connections to others
LOOK_S = 2.0  # with a bell
POLL_S = 0.5  # without


class Resume(HouseError):
    """The subscriber read too slowly and was let go: nothing is lost that it may not ask for again."""

    code: ClassVar[str] = "RESUME"


class Resync(HouseError):
    """The events after the cursor are no longer kept: read what you need anew, then subscribe without a cursor."""

    code: ClassVar[str] = "RESYNC"


# Set by a transport around a subscription: called at the moment the subscriber's queue runs over. A transport whose client has
# stopped reading is stuck in a send and would not come to ask for the next event, which is where `Resume` waits.
ON_OVERFLOW: ContextVar[Callable[[], None] | None] = ContextVar("ON_OVERFLOW", default=None)


def too_slow() -> Resume:
    """What a subscriber is told that was let go."""
    return Resume("You read too slowly. Subscribe again with `after` set to the last cursor you have seen.")


def stopping() -> Resume:
    """What a subscriber is told whose server stops."""
    return Resume("The server is stopping. Subscribe again with `after` set to the last cursor you have seen.")


@dataclass(eq=False, slots=True)
class _Subscriber:
    kinds: frozenset[EventKind]
    subjects: frozenset[str] | None
    on_overflow: Callable[[], None] | None
    queue: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, told: Event) -> None:
        """Take an event; never waits. A full queue ends the subscription."""
        if self.over.is_set():
            return
        try:
            self.queue.put_nowait(told)
        except asyncio.QueueFull:
            self.over.set()
            if self.on_overflow is not None:
                self.on_overflow()


class EventHub:
    """`run()` keeps it going; `follow()` is what resolvers use."""

    def __init__(self, store: Store, redis_url: str) -> None:
        self._store = store
        # Reads that block on purpose must not be taken for a dead connection.
        self._redis: Redis = Redis.from_url(
            redis_url, socket_timeout=None, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        self._by_subject: dict[str, set[_Subscriber]] = {}
        self._of_all: set[_Subscriber] = set()
        self._place: int | None = None
        self._ready = asyncio.Event()
        self._rung = asyncio.Event()
        self._hearing = False
        self._opening = asyncio.Semaphore(OPENING)

    @property
    def place(self) -> int | None:
        """The last event that subscribers were given; None before the hub has found its place."""
        return self._place

    async def run(self) -> None:
        """For ever. Nothing that goes wrong with one look at the table is a reason not to look again."""
        bell = asyncio.create_task(self._listen())
        try:
            while True:
                try:
                    more = await self._read()
                except UNAVAILABLE as problem:
                    log.warning("events.unreadable", extra={"reason": type(problem).__name__})
                    await asyncio.sleep(POLL_S)
                    continue
                except Exception:
                    log.exception("events.broken")
                    await asyncio.sleep(LOOK_S)
                    continue
                if not more:
                    await self._rest()
        finally:
            await end([bell])
            await self._redis.aclose(close_connection_pool=True)

    async def follow(
        self, *, kinds: frozenset[EventKind], subjects: frozenset[str] | None, after: int | None
    ) -> AsyncGenerator[Event, None]:
        """Events after the place `after`, or from now on; each once, in order, none missed.

        Raises Resync when some of them are no longer kept, and Resume when the caller falls 256 events behind.
        """
        place = await self._start(after)
        while page := await self._page(place, kinds, subjects):
            for told in page:
                yield told
            place = page[-1].seq
        # From here on the hub fills the queue, so only what lies between that page and this moment is read once more.
        await self._ready.wait()
        subscriber = _Subscriber(kinds, subjects, ON_OVERFLOW.get())
        self._register(subscriber)
        try:
            assert self._place is not None
            seam = self._place
            while place < seam and (page := await self._page(place, kinds, subjects)):
                for told in page:
                    if told.seq <= seam:
                        yield told
                        place = told.seq
                if page[-1].seq > seam:
                    break
            while True:
                told = await self._next(subscriber)
                if told.seq > max(place, seam):
                    yield told
        finally:
            self._forget(subscriber)

    def subscriber_count(self) -> int:
        """How many subscriptions are live."""
        return len(self._of_all) + len(set().union(*self._by_subject.values()))

    async def _start(self, after: int | None) -> int:
        async with self._opening, self._store.begin() as tx:
            head = await event.head(tx)
            oldest = await event.oldest(tx)
        if after is None:
            return head
        if after > head or (oldest is not None and after < oldest - 1):
            raise Resync("Events after this cursor are no longer kept. Read anew, then subscribe without `after`.")
        return after

    async def _page(self, place: int, kinds: Iterable[EventKind], subjects: frozenset[str] | None) -> list[Event]:
        async with self._opening, self._store.begin() as tx:
            return await event.after(tx, place, kinds=list(kinds), subjects=subjects, limit=PAGE)

    async def _next(self, subscriber: _Subscriber) -> Event:
        """The next event; what was queued before an overflow is not worth telling, since the client resumes anyway."""
        if not subscriber.over.is_set() and not subscriber.queue.empty():
            return subscriber.queue.get_nowait()
        got = asyncio.ensure_future(subscriber.queue.get())
        over = asyncio.ensure_future(subscriber.over.wait())
        try:
            await asyncio.wait({got, over}, return_when=asyncio.FIRST_COMPLETED)
            if subscriber.over.is_set():
                raise too_slow()
            return got.result()
        finally:
            got.cancel()
            over.cancel()

    def _register(self, subscriber: _Subscriber) -> None:
        if subscriber.subjects is None:
            self._of_all.add(subscriber)
        for subject in subscriber.subjects or ():
            self._by_subject.setdefault(subject, set()).add(subscriber)

    def _forget(self, subscriber: _Subscriber) -> None:
        self._of_all.discard(subscriber)
        for subject in subscriber.subjects or ():
            mates = self._by_subject.get(subject, set())
            mates.discard(subscriber)
            if not mates:
                self._by_subject.pop(subject, None)

    async def _read(self) -> bool:
        """Read on from the hub's place and hand everything out; whether there may be more."""
        async with self._store.begin() as tx:
            if self._place is None:
                self._place = await event.head(tx)
                self._ready.set()
            found = await event.after(tx, self._place, limit=PAGE)
        for told in found:
            self._place = told.seq
            for subscriber in (*self._of_all, *self._by_subject.get(told.subject, ())):
                if told.kind in subscriber.kinds:
                    subscriber.offer(told)
        metrics.EVENT_PLACE.set(self._place)
        return len(found) == PAGE

    async def _rest(self) -> None:
        """Until the bell rings, or it is time to look anyway."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), LOOK_S if self._hearing else POLL_S)
        self._rung.clear()

    async def _listen(self) -> None:
        """Wait at the stream for ever; without Redis the table is looked at more often."""
        last: Any = "$"
        while True:
            try:
                heard = await self._redis.xread({event.BELL: last}, block=5_000)
            except (RedisError, OSError) as problem:
                if self._hearing:
                    log.warning("events.bell_silent", extra={"reason": type(problem).__name__})
                self._hearing = False
                await asyncio.sleep(POLL_S)
                continue
            self._hearing = True
            if heard:
                last = heard[0][1][-1][0]
                self._rung.set()
