"""Live stock: asks the platforms, each place once, however many requests and processes want the same at the same time.

Per group of places that one upstream call answers there is one `Source`: a shared batching window (one process), claims in Redis
(all processes) and a breaker. Whoever has an older answer at hand never waits for a source that is down or out of budget.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapters.budget import Budgets
from adapters.port import Port, StockKey
from adapters.route import Question, Routes, readings
from adapters.window import Window
from domain.budget import Ask
from domain.channel import Location
from domain.errors import HouseError, Throttled, Transient, Unauthorized
from domain.ids import ChannelId
from domain.route import Way, Wish
from domain.stock import Reading
from store import product, stock
from store.session import UNAVAILABLE, Store

log = logging.getLogger(__name__)

LONGEST_S = 30.0  # the longest deadline of a request
WATCH_S = 0.02
COUNT_EVERY_S = 600.0
DROP = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
"""
REST_S = (1.0, 30.0)  # a failed source rests this long, doubling from the first to the second


@dataclass(slots=True)
class Breaker:
    """Remembers that a source is down: rests after each failure, longer each time, until a probe succeeds."""

    rest_s: float = 0.0
    until: float = 0.0
    reason: str = ""

    def failed(self, now: float, reason: str) -> None:
        """Open, for twice as long as last time."""
        self.reason = reason
        self.rest_s = min(REST_S[1], max(REST_S[0], self.rest_s * 2))
        self.until = now + self.rest_s

    def succeeded(self) -> None:
        """Close."""
        self.rest_s = self.until = 0.0

    @property
    def open(self) -> bool:
        """Whether the last call failed; while open only probes go out."""
        return self.rest_s > 0

    def may_probe(self, now: float) -> bool:
        """Whether it has rested long enough."""
        return now >= self.until


@dataclass(frozen=True, slots=True)
class Claim:
    """One flight's hold on its keys among all processes: since when, whose, and for how long at most."""

    text: str
    lasts_ms: int

    @classmethod
    def now(cls, at: datetime, ask: Ask) -> Claim:
        """A claim that outlives its call by a little, and its process by no more."""
        left_s = LONGEST_S if ask.deadline is None else min(LONGEST_S, max(0.0, ask.deadline - time.monotonic()))
        return cls(f"{at.isoformat()} {uuid4()}", int(1000 * (left_s + 1)))

    @staticmethod
    def since(text: str | bytes) -> datetime:
        """When the claim was made."""
        told = text.decode() if isinstance(text, bytes) else text
        return datetime.fromisoformat(told.partition(" ")[0])


@dataclass(slots=True)
class Source:
    """One group of places of one channel, as one upstream call answers them."""

    port: Port
    locations: list[Location]
    window: Window[StockKey, list[Reading]] = field(init=False)
    breaker: Breaker = field(default_factory=Breaker)
    usual_s: float = 0.0  # what a call takes, lately
    known: int = 0  # SKUs that should be there, as counted last
    counted_at: float = -math.inf

    @property
    def name(self) -> str:
        """Unique among sources."""
        return f"{self.port.channel.id}/{self.locations[0].code}"


@dataclass(frozen=True, slots=True)
class Due:
    """What one request is about to ask of one source: keys that were `never` told, and `aged` ones, which have an older answer.

    It began at `since`; what is told from then on, or is younger than `max_age`, need not be asked.
    """

    source: Source
    never: Sequence[StockKey]
    aged: Sequence[StockKey]
    since: datetime
    max_age: timedelta


class LiveStock:
    """Asks sources for stock and keeps what they answer."""

    def __init__(
        self,
        store: Store,
        redis_client: Redis,
        budgets: Budgets,
        ports: Mapping[ChannelId, Port],
        locations: Sequence[Location],
        clock: Callable[[], datetime],
        routes: Routes | None = None,
    ) -> None:
        self._store = store
        self._redis = redis_client
        self._drop = redis_client.register_script(DROP)
        self._budgets = budgets
        self._routes = routes or Routes(budgets)
        self._clock = clock
        self._probes: set[asyncio.Task[None]] = set()
        self.sources: list[Source] = []
        for channel, port in ports.items():
            for group in port.stock_groups([place for place in locations if place.keeper == channel]):
                self.sources.append(self._source(port, group))

    def _source(self, port: Port, group: list[Location]) -> Source:
        source = Source(port, group)

        async def fetch(keys: list[StockKey], ask: Ask) -> dict[StockKey, list[Reading] | HouseError]:
            return await self._fetch(source, keys, ask)

        def coalesced(ask: Ask, count: int) -> None:
            ask.bill.line(port.channel.id, port.stock_plan.operation).coalesced += count

        source.window = Window(fetch, port.stock_batch, on_coalesced=coalesced)
        return source

    async def ask(self, due: Due, ask: Ask, *, patience_s: float) -> dict[StockKey, list[Reading] | HouseError]:
        """Readings per key, or the error that stood in the way.

        For keys with an older answer the caller waits `patience_s` at most, and not at all for a source that is down or, when one
        call would do, has no slot now; a source that has rested is probed behind its back. For the others it waits until its
        deadline.
        """
        source, until = due.source, time.monotonic() + patience_s
        hasty = Ask(ask.priority, until if ask.deadline is None else min(ask.deadline, until), ask.bill)
        # First what stands in the way of either, so that both board the same calls.
        parts = [(due.never, ask), (due.aged, hasty)]
        problems = await asyncio.gather(
            self.obstacle(source, due.never, patient=True), self.obstacle(source, due.aged, patient=False)
        )
        if due.aged and source.breaker.open and source.breaker.may_probe(time.monotonic()) and not due.never:
            self._probe(source, due.aged[:1])
        answers: dict[StockKey, list[Reading] | HouseError] = {}
        asked = []
        for (keys, how), problem in zip(parts, problems, strict=True):
            if problem is not None:
                answers |= dict.fromkeys(keys, problem)
            elif keys:
                asked.append(self._asked(source, keys, how))
        for part in await asyncio.gather(*asked):
            answers |= part
        return answers

    async def _asked(
        self, source: Source, keys: Sequence[StockKey], ask: Ask
    ) -> dict[StockKey, list[Reading] | HouseError]:
        """By calls that all share; many keys by the route that is there first, which hardly ever is another."""
        if len(keys) > source.port.stock_batch and (way := await self._way(source, keys, ask)) is not Way.BATCH:
            return await self._fetch(source, list(keys), ask, way)
        return await source.window.ask(keys, ask)

    async def _way(self, source: Source, keys: Sequence[StockKey], ask: Ask) -> Way:
        if time.monotonic() - source.counted_at > COUNT_EVERY_S:
            source.counted_at = time.monotonic()
            self._behind(self._count(source))
        question = Question(source.port, source.locations, len(keys), max(source.known, len(keys)), ask.priority)
        wish = Wish() if ask.deadline is None else Wish(within_s=max(0.0, ask.deadline - time.monotonic()))
        try:
            return await self._routes.choose(question, wish)
        except Throttled:  # without Redis nothing is granted, and that is told by whoever asks for it
            return Way.BATCH

    async def _count(self, source: Source) -> None:
        try:
            async with self._store.begin() as tx:
                source.known = await product.held_count(tx, source.locations[0])
        except UNAVAILABLE as problem:
            log.warning("live.not_counted", extra={"source": source.name, "reason": type(problem).__name__})

    def _behind(self, work: Coroutine[Any, Any, None]) -> None:
        """Behind the callers' backs."""
        task = asyncio.create_task(work)
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def obstacle(self, source: Source, keys: Sequence[StockKey], *, patient: bool) -> HouseError | None:
        """Why the source would not be asked for `keys` now; `patient` is a caller who has no older answers."""
        if not keys:
            return None
        if source.breaker.open and not (patient and source.breaker.may_probe(time.monotonic())):
            return self._down(source)
        # More than one call's worth has to wait for slots in any case; a page view does not wait for its only one.
        hurried = not patient and len(keys) <= source.port.stock_batch
        if (
            hurried
            and not source.window.pending(keys)
            and not await self._budgets.has_slot(source.port.channel.id, source.port.stock_plan)
        ):
            return Throttled(
                f"The budget of {source.name} has no slot now.", retry_after_s=1 / source.port.stock_plan.rate
            )
        return None

    async def unclaimed(self, source: Source, keys: Sequence[StockKey]) -> list[StockKey]:
        """The keys that nobody asks for at this moment, here or in another process."""
        waiting = [key for key in keys if not source.window.pending([key])]
        held = await self._held(source, waiting) if waiting else {}
        return [key for key in waiting if key not in held]

    def _down(self, source: Source) -> Transient:
        return Transient(
            f"{source.port.channel.name} does not answer; the next try is under way within {REST_S[1]:.0f} s."
        )

    def _probe(self, source: Source, keys: Sequence[StockKey]) -> None:
        """One small call behind the callers' backs; the flight itself closes or reopens the breaker."""
        source.breaker.until = time.monotonic() + REST_S[1]

        async def probe() -> None:
            await source.window.ask(keys, Ask(deadline=time.monotonic() + REST_S[1]))

        self._behind(probe())

    async def _fetch(
        self, source: Source, keys: list[StockKey], ask: Ask, way: Way = Way.BATCH
    ) -> dict[StockKey, list[Reading] | HouseError]:
        """One flight: claim the keys, ask for those that are ours, watch the rows for those that another process asks for."""
        claim = Claim.now(self._clock(), ask)
        mine = await self._claim(source, keys, claim)
        ours, theirs = [key for key in keys if key in mine], [key for key in keys if key not in mine]
        try:
            answers = await self._call(source, ours, ask, way)
        finally:
            await self._release(source, ours, claim)
        if theirs:
            seen = await self._watch(source, theirs, ask)
            late = [key for key in theirs if key not in seen]
            answers |= seen | await self._call(source, late, ask, way)
        return answers

    async def _call(
        self, source: Source, keys: list[StockKey], ask: Ask, way: Way
    ) -> dict[StockKey, list[Reading] | HouseError]:
        """Ask for `keys`, of a flight in one upstream call; the readings are kept with their events before anybody sees them."""
        if not keys:
            return {}
        began = time.monotonic()
        try:
            pages = readings(source.port, way, source.locations, keys, ask)
            found = [one async for page in pages for one in page.items]
        except HouseError as problem:
            # A refusal is about what was asked, and a missing slot about us: neither says that the source is down.
            if isinstance(problem, Transient | Unauthorized):
                source.breaker.failed(time.monotonic(), problem.message)
            return dict.fromkeys(keys, problem)
        source.breaker.succeeded()
        took_s = time.monotonic() - began
        source.usual_s = took_s if not source.usual_s else 0.8 * source.usual_s + 0.2 * took_s
        async with self._store.begin() as tx:
            await stock.keep_and_tell(tx, found)
        told: defaultdict[str, list[Reading]] = defaultdict(list)
        for reading in found:
            told[reading.channel_sku].append(reading)
        return {key: told[key.channel_sku] for key in keys}

    def _claim_name(self, source: Source, key: StockKey) -> str:
        return f"acorn:flight:{source.name}:{key.channel_sku}"

    async def _claim(self, source: Source, keys: list[StockKey], claim: Claim) -> set[StockKey]:
        """The keys that no other process is asking for. Without Redis all of them: a call too many beats no answer."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.set(self._claim_name(source, key), claim.text, nx=True, px=claim.lasts_ms)
            granted = await asyncio.shield(pipe.execute())
        except (RedisError, OSError):
            return set(keys)
        return {key for key, won in zip(keys, granted, strict=True) if won}

    async def _release(self, source: Source, keys: list[StockKey], claim: Claim) -> None:
        """Give claims back, except those that have run out and are another's by now."""
        if not keys:
            return
        names = [self._claim_name(source, key) for key in keys]
        try:
            await asyncio.shield(self._drop(keys=names, args=[claim.text]))
        except (RedisError, OSError):
            log.debug("live.claim_kept", extra={"source": source.name})

    async def _watch(
        self, source: Source, keys: list[StockKey], ask: Ask
    ) -> dict[StockKey, list[Reading] | HouseError]:
        """Wait until the processes that claimed `keys` have kept their readings; keys that they dropped are left out."""
        until = math.inf if ask.deadline is None else ask.deadline
        begun: dict[StockKey, datetime] = {}
        ended: list[StockKey] = []
        while time.monotonic() < until:
            held = await self._held(source, keys)
            begun |= held
            ended = [key for key in keys if key not in held]
            if not held:
                break
            await asyncio.sleep(WATCH_S)
        async with self._store.begin() as tx:
            kept = await stock.of_channel_skus(tx, source.port.channel.id, [key.channel_sku for key in ended])
        places = {place.code for place in source.locations}
        seen: dict[StockKey, list[Reading] | HouseError] = {}
        for key in ended:
            rows = [row for row in kept.get(key.channel_sku, []) if row.location in places]
            # Only what was read under the claim answers for it: a claim also ends with a call that failed.
            if key in begun and rows and all(row.as_of >= begun[key] for row in rows):
                seen[key] = rows
        return seen

    async def _held(self, source: Source, keys: list[StockKey]) -> dict[StockKey, datetime]:
        """The keys that are claimed now, and since when."""
        try:
            claims = await asyncio.shield(self._redis.mget([self._claim_name(source, key) for key in keys]))
        except (RedisError, OSError):
            return {}
        return {key: Claim.since(claim) for key, claim in zip(keys, claims, strict=True) if claim is not None}
