"""The event hub of one process: reads each event once and hands it to the subscribers it concerns.

The rows are the truth and their order is the only one. The Redis stream is a bell: it says that there is something to read, and a
look at the table every now and then makes good for each bell that was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.errors import HouseError
from domain.event import Event, EventKind
from gateway import metrics
from resolvers.followed import Gathered
from store import event
from store.session import UNAVAILABLE, Store
from workers.watch import end

log = logging.getLogger(__name__)

QUEUE = 256
PAGE = 500
KEPT = 4_000  # of the newest events, of some 1 kB each: who comes back soon is told from memory what was missed
OPENING = (
    4  # subscriptions at a time read what was missed before that, so that a burst of them leaves connections to others
)
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
    """Who follows from `place` on. `queue` holds what waits for it, at most `room` events."""

    kinds: frozenset[EventKind]
    subjects: frozenset[str] | None
    on_overflow: Callable[[], None] | None
    place: int
    room: int = QUEUE
    queue: deque[Event] = field(default_factory=deque)
    over: bool = False
    waiting: asyncio.Future[None] | None = None

    def offer(self, told: Event) -> None:
        """Take an event that concerns it; never waits. Too many end the subscription."""
        if self.over or told.seq <= self.place or told.kind not in self.kinds:
            return
        if len(self.queue) < self.room:
            self.queue.append(told)
        else:
            self.over = True
            self.queue.clear()
            if self.on_overflow is not None:
                self.on_overflow()
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    async def next(self) -> Event:
        """The next event. What was queued before an overflow is not worth telling, since the client resumes anyway."""
        while not self.queue:
            if self.over:
                raise too_slow()
            self.waiting = asyncio.get_running_loop().create_future()
            try:
                await self.waiting
            finally:
                self.waiting = None
        return self.queue.popleft()


@dataclass(frozen=True, slots=True)
class _Log:
    """The places of the newest event, and of the oldest that the table still has."""

    head: int
    oldest: int | None


class EventHub:
    """`run()` keeps it going; `follow()` is what resolvers use.

    `before` is given the events that somebody follows before anybody is told of them, so that what a crowd needs for them is at
    hand when it wakes. Whatever it raises, they are told.
    """

    before: Callable[[Sequence[Event]], Awaitable[None]] | None = None

    def __init__(self, store: Store, redis_url: str) -> None:
        self._store = store
        # Reads that block on purpose must not be taken for a dead connection.
        self._redis: Redis = Redis.from_url(
            redis_url, socket_timeout=None, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        self._by_subject: dict[str, set[_Subscriber]] = {}
        self._of_all: set[_Subscriber] = set()
        self._place: int | None = None
        self._kept: deque[Event] = deque(maxlen=KEPT)  # the newest, up to `_place` and without a gap
        self._moved = asyncio.Event()  # a new one for each look at the table
        self._rung = asyncio.Event()
        self._hearing = False
        self._opening = asyncio.Semaphore(OPENING)
        self._looks: Gathered[str, _Log] = Gathered()

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
        log = await self._look()
        place = log.head if after is None else after
        if place > log.head or (log.oldest is not None and place < log.oldest - 1):
            raise Resync("Events after this cursor are no longer kept. Read anew, then subscribe without `after`.")
        while self._place is None or self._place < log.head:
            self._rung.set()
            await self._moved.wait()
        while place < self._kept_from():
            page = await self._page(place, kinds, subjects)
            for told in page:
                yield told
            # A page that is not full holds all there was, which is no less than was there at the beginning.
            place = page[-1].seq if len(page) == PAGE else max([log.head, *(told.seq for told in page[-1:])])
        # Nobody is awaited between the last look at what is kept and the first event that is offered.
        subscriber = _Subscriber(kinds, subjects, ON_OVERFLOW.get(), place)
        for told in self._missed(place):
            if subjects is None or told.subject in subjects:
                subscriber.room += 1
                subscriber.offer(told)
        self._register(subscriber)
        try:
            while True:
                yield await subscriber.next()
        finally:
            self._forget(subscriber)

    async def head(self) -> int:
        """The place of the newest event there is. A crowd that asks at once is answered by one look."""
        return (await self._look()).head

    def subscriber_count(self) -> int:
        """How many subscriptions are live."""
        return len(self._of_all) + len(set().union(*self._by_subject.values()))

    def _kept_from(self) -> int:
        """The place after which every event is kept in memory."""
        return self._kept[0].seq - 1 if self._kept else self._place or 0

    def _missed(self, place: int) -> Iterator[Event]:
        """The kept events after a place that is not before them."""
        return islice(self._kept, max(0, place - self._kept_from()), None)

    async def _look(self) -> _Log:
        async def look(_: Collection[str]) -> Mapping[str, _Log]:
            async with self._store.begin() as tx:
                return {"log": _Log(await event.head(tx), await event.oldest(tx))}

        return (await self._looks.of(["log"], look))["log"]

    async def _page(self, place: int, kinds: Iterable[EventKind], subjects: frozenset[str] | None) -> list[Event]:
        async with self._opening, self._store.begin() as tx:
            return await event.after(tx, place, kinds=list(kinds), subjects=subjects, limit=PAGE)

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
                head = await event.head(tx)
                self._kept.extend(await event.after(tx, max(0, head - KEPT), limit=KEPT))
                self._place = self._kept[-1].seq if self._kept else head
            found = await event.after(tx, self._place, limit=PAGE)
        await self._prepare(found)
        for told in found:
            self._kept.append(told)
            self._place = told.seq
            for subscriber in (*self._of_all, *self._by_subject.get(told.subject, ())):
                subscriber.offer(told)
        metrics.EVENT_PLACE.set(self._place)
        self._moved.set()
        self._moved = asyncio.Event()
        return len(found) == PAGE

    async def _prepare(self, found: Sequence[Event]) -> None:
        wide = frozenset().union(*(one.kinds for one in self._of_all))
        followed = [told for told in found if told.kind in wide or told.subject in self._by_subject]
        if self.before is None or not followed:
            return
        try:
            await self.before(followed)
        except UNAVAILABLE as problem:
            log.warning("events.unprepared", extra={"reason": type(problem).__name__})
        except Exception:
            log.exception("events.unprepared")

    async def _rest(self) -> None:
        """Until the bell rings, or it is time to look anyway."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), LOOK_S if self._hearing else POLL_S)
        self._rung.clear()

    async def _listen(self) -> None:
        """Wait at the stream for ever; without Redis the table is looked at more often."""
        last: Any = None
        while True:
            try:
                if last is None:
                    # Not `$`, which is the end at each call anew: what rings between two calls would not be heard.
                    newest = await self._redis.xrevrange(event.BELL, count=1)
                    last = newest[0][0] if newest else "0-0"
                    self._rung.set()
                heard = await self._redis.xread({event.BELL: last}, block=5_000)
            except (RedisError, OSError) as problem:
                if self._hearing:
                    log.warning("events.bell_silent", extra={"reason": type(problem).__name__})
                self._hearing, last = False, None
                await asyncio.sleep(POLL_S)
                continue
            self._hearing = True
            if heard:
                last = heard[0][1][-1][0]
                self._rung.set()
