"""What is known of many SKUs, in memory: a question asked again costs no statement while nothing has changed.

Facts are kept, and for a second at most the answers that were put together from them: what ends by time alone (a reservation, a
rule) needs no news, since no answer is told beyond such an instant.
What is kept is believed while somebody looks at the event log: ten times a second as long as anybody asks. An answer is therefore
no older than the last look, whatever becomes of the relay, its bell or Redis; without a look all is read from the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from domain.event import Event, EventKind
from domain.ids import Sku
from domain.policy import Facts
from resolvers.stock_answer import StockAnswer
from store import event
from store.session import UNAVAILABLE, Store

log = logging.getLogger(__name__)

LOOK_S = 0.1
TRUST_S = 0.15  # so old may the last look be when somebody asks
AGED_TRUST_S = 0.5  # the same of what is told with its age
PATIENCE_S = 1.0  # how long a reader waits for the next look before it reads the rows
IDLE_S = 2.0  # unasked for so long, nobody looks until somebody asks again
REST_S = 0.5  # after a look that failed
KEPT_S = 60.0  # ages of readings, sales and lags move on without an event
UNKNOWN_S = 1.0  # how long a SKU that there is not stays unknown
MOST = 50_000  # SKUs, of some 2 kB each
MOST_UNKNOWN = 2_000  # SKUs that there are not, which anybody may think up
MOST_ANSWERS = 10_000  # of some 4 kB each
MOST_WISHES = 16  # different ages that are wished
MOST_TOLD = 2_000  # when so much has changed at once, everything is read anew

KINDS = (EventKind.STOCK_CHANGED, EventKind.STOCK_RULES_CHANGED)

Read: TypeAlias = Callable[[Sequence[Sku]], Awaitable[Mapping[Sku, Facts]]]
Clock: TypeAlias = Callable[[], datetime]

_NONE: Final[Mapping[Sku, StockAnswer]] = {}


@dataclass(frozen=True, slots=True)
class _Kept:
    """Facts read at `at` of the monotonic clock; None for a SKU that there is not."""

    facts: Facts | None
    at: float

    def holds(self, now: float) -> bool:
        return now - self.at < (UNKNOWN_S if self.facts is None else KEPT_S)


@dataclass(eq=False, slots=True)
class _Load:
    """A reading of rows under way, and what has changed since it began."""

    began: float
    skus: frozenset[Sku]
    rows: asyncio.Future[Mapping[Sku, Facts]]
    changed: set[Sku] = field(default_factory=set)
    all_changed: bool = False

    def answers(self, sku: Sku, now: float) -> bool:
        """Whether somebody who asks now may have what this brings: it is as young as what is believed without a look."""
        return sku in self.skus and now - self.began < TRUST_S and not self.misses(sku, None)

    def misses(self, sku: Sku, facts: Facts | None) -> bool:
        """Whether it may have read how the SKU was before a change."""
        return self.all_changed or not self.changed.isdisjoint(_parts(sku, facts))


class StockCache:
    """`run()` looks at the event log; `facts()` is what resolvers use, and what reads all from the rows while nobody looks."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store = store
        self._most = most
        self._kept: OrderedDict[Sku, _Kept] = OrderedDict()
        self._unknown: dict[Sku, _Kept] = {}  # apart, so that they push out none that there is
        self._kits: defaultdict[Sku, set[Sku]] = defaultdict(set)
        self._loads: set[_Load] = set()
        self._answers: dict[timedelta, dict[Sku, StockAnswer]] = {}  # by the age that was wished
        self._ends: list[tuple[datetime, int, timedelta, Sku, StockAnswer]] = []  # of answers; a heap
        self._end = itertools.count()
        self._told_at = datetime.min.replace(tzinfo=UTC)  # when the youngest of the answers was told first
        self._place: int | None = None
        self._heard: set[int] = set()  # places after it
        self._looked_at = -math.inf
        self._asked_at = 0.0
        self._asked = asyncio.Event()
        self._next_look: asyncio.Future[None] | None = None
        self._watchers: list[Callable[[Sku | None], None]] = []
        self.changes = 0  # how often something was forgotten because it had changed

    def __len__(self) -> int:
        return len(self._kept) + len(self._unknown)

    async def run(self) -> None:
        """For ever. A look that fails is told and made again; until it succeeds nothing kept is believed."""
        failing = False
        try:
            while True:
                self._next_look = self._next_look or asyncio.get_running_loop().create_future()
                if time.monotonic() - self._asked_at > IDLE_S:
                    self._asked.clear()
                    await self._asked.wait()
                try:
                    await self._look()
                except Exception as problem:
                    if not failing:
                        expected = isinstance(problem, UNAVAILABLE)
                        log.warning("stock_cache.blind", exc_info=None if expected else problem)
                    failing = True
                else:
                    failing = False
                self._next_look.set_result(None)
                self._next_look = None if failing else asyncio.get_running_loop().create_future()
                await asyncio.sleep(REST_S if failing else LOOK_S)
        finally:
            self._next_look = None
            self.forget_all()

    async def facts(self, skus: Sequence[Sku], read: Read, *, anew: bool = False) -> dict[Sku, Facts]:
        """What is known of the SKUs that there are: from memory, and with `read` what is missing there (or all of it, `anew`)."""
        wanted = list(dict.fromkeys(skus))
        # Rows that are read anyway wait for no look; the first look tells nothing of what came before it.
        if self._place is None if anew else not await self._watched():
            return dict(await read(wanted))
        now = time.monotonic()
        found: dict[Sku, Facts | None] = {}
        if not anew:
            for sku in wanted:
                kept = self._kept.get(sku) or self._unknown.get(sku)
                if kept is not None and kept.holds(now):
                    if kept.facts is not None:
                        self._kept.move_to_end(sku)
                    found[sku] = kept.facts
        missing = [sku for sku in wanted if sku not in found]
        if missing and not anew:
            found |= await self._read_along(missing, now)
            missing = [sku for sku in missing if sku not in found]
        if missing:
            found |= await self._read(missing, read)
        return {sku: facts for sku in wanted if (facts := found[sku]) is not None}

    def answers(self, wished: timedelta, clock: Clock) -> Mapping[Sku, StockAnswer] | None:
        """What was answered a moment ago to who wished the same age, of all SKUs of which nothing has changed since; to be read
        at once. None while it is not known whether something has: then `answers_soon` waits for that."""
        if not self._looked():
            return None
        now = clock()
        if now < self._told_at:  # the clock was set back
            self._forget_answers()
            self._told_at = now
        while self._ends and self._ends[0][0] <= now:
            self._forget_oldest()
        return self._answers.get(wished, _NONE)

    async def answers_soon(self, wished: timedelta, clock: Clock) -> Mapping[Sku, StockAnswer]:
        """The same, after the next look where it has to be waited for; nothing where nobody looks."""
        return (self.answers(wished, clock) if await self._watched() else None) or _NONE

    def keep(self, facts: Facts, wished: timedelta, answer: StockAnswer, since: datetime, until: datetime) -> None:
        """Tell an answer again from `since`, which is now, until then; as long as the facts are kept that it is made of."""
        kept = self._kept.get(facts.sku)
        if kept is None or kept.facts is not facts or since >= until:
            return
        if wished not in self._answers and len(self._answers) >= MOST_WISHES:
            return
        answer.stock.written = {}
        self._answers.setdefault(wished, {})[facts.sku] = answer
        self._told_at = since
        heapq.heappush(self._ends, (until, next(self._end), wished, facts.sku, answer))
        while len(self._ends) > MOST_ANSWERS:
            self._forget_oldest()

    def watch(self, watcher: Callable[[Sku | None], None]) -> None:
        """`watcher` is told of each SKU whose facts are no longer believed, with a kit of it too; None means all."""
        self._watchers.append(watcher)

    def believed(self, now: float) -> bool:
        """Whether what rests on kept facts may be told with its age, at this moment of the monotonic clock.

        On a busy machine a look may take its time; what it would have told of is within the age.
        """
        self._asked_at = now
        return self._looked_at >= now - AGED_TRUST_S and self._next_look is not None

    def keeps(self, skus: Iterable[Sku]) -> bool:
        """Whether all of these are in memory, so that watchers are told when one changes."""
        return all(sku in self._kept or sku in self._unknown for sku in skus)

    def amend(self, sku: Sku, before: Facts, after: Facts) -> None:
        """Keep `after` in the place of `before`, which was got at this very moment: it has younger readings, and nothing else."""
        kept = self._kept.get(sku)
        if kept is not None and kept.facts is before:
            self._kept[sku] = _Kept(after, kept.at)
            self._forget_answers_of(sku)

    def forget(self, sku: Sku) -> None:
        """The SKU has changed: it and the kits made of it are read anew, also by those who are reading them now."""
        self.changes += 1
        for load in self._loads:
            load.changed.add(sku)
        for one in (sku, *self._kits.get(sku, ())):
            self._drop(one)
            self._tell(one)

    def wrote(self, skus: Iterable[Sku]) -> None:
        """This process has just changed these SKUs, or components of these kits: whoever asks here next sees it."""
        for sku in skus:
            kept = self._kept.get(sku)
            for part in {sku} if kept is None else _parts(sku, kept.facts):
                self.forget(part)

    def forget_all(self) -> None:
        """Anything may have changed."""
        self.changes += 1
        for load in self._loads:
            load.all_changed = True
        self._kept.clear()
        self._unknown.clear()
        self._kits.clear()
        self._forget_answers()
        self._tell(None)

    def hear(self, told: Event) -> None:
        """Take an event in before anybody is told of it; once, however many are."""
        if self._next_look is None:
            return  # nobody looks, so nothing kept is believed
        if told.seq not in self._heard and (self._place is None or told.seq > self._place):
            self._heard.add(told.seq)
            self._take(told.kind, told.subject)

    def _looked(self) -> bool:
        """Whether the log was looked at a moment ago; if not, it soon is."""
        self._asked_at = time.monotonic()
        self._asked.set()
        return self._looked_at >= self._asked_at - TRUST_S

    async def _watched(self) -> bool:
        """Whether what is kept may be believed: the log was looked at a moment ago, or is while the caller waits."""
        if self._looked():
            return True
        asked_at = self._asked_at
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while self._looked_at < asked_at - TRUST_S and self._next_look is not None:
                    await asyncio.shield(self._next_look)
        return self._looked_at >= asked_at - TRUST_S

    async def _read_along(self, skus: Sequence[Sku], now: float) -> dict[Sku, Facts | None]:
        """What others are reading at this moment, so that a crowd that asks for the same reads it once."""
        found: dict[Sku, Facts | None] = {}
        for load in [load for load in self._loads if any(load.answers(sku, now) for sku in skus)]:
            asked = [sku for sku in skus if load.answers(sku, now)]
            await asyncio.wait({load.rows})
            if not load.rows.cancelled():
                rows = load.rows.result()
                found |= {sku: rows.get(sku) for sku in asked if not load.misses(sku, rows.get(sku))}
        return found

    async def _read(self, skus: Sequence[Sku], read: Read) -> dict[Sku, Facts | None]:
        """Read from the rows, and keep what did not change meanwhile."""
        load = _Load(time.monotonic(), frozenset(skus), asyncio.get_running_loop().create_future())
        self._loads.add(load)
        try:
            rows = await read(skus)
            load.rows.set_result(rows)
        finally:
            self._loads.discard(load)
            load.rows.cancel()  # of a reading that failed; each of those who waited reads for itself
        found = {sku: rows.get(sku) for sku in skus}
        for sku, facts in found.items():
            if not load.misses(sku, facts):
                self._keep(sku, _Kept(facts, load.began))
        return found

    def _take(self, kind: EventKind, subject: str) -> None:
        if kind is EventKind.STOCK_CHANGED:
            self.forget(Sku(subject))
        else:
            self.forget_all()

    async def _look(self) -> None:
        """Take in what has been committed since the last look."""
        began = time.monotonic()
        async with self._store.begin() as tx:
            if self._place is None:
                self._place = await event.head(tx)
            head, told = await event.since(tx, self._place, kinds=KINDS, limit=MOST_TOLD)
        if head < self._place or len(told) >= MOST_TOLD:
            self.forget_all()
        else:
            for kind, subject in told:
                self._take(kind, subject)
        self._place, self._looked_at = head, began
        self._heard.clear()

    def _keep(self, sku: Sku, kept: _Kept) -> None:
        self._drop(sku)
        room, most = (self._kept, self._most) if kept.facts is not None else (self._unknown, MOST_UNKNOWN)
        room[sku] = kept
        for part in _parts(sku, kept.facts) - {sku}:
            self._kits[part].add(sku)
        while len(room) > most:
            oldest = next(iter(room))
            self._drop(oldest)
            self._tell(oldest)

    def _tell(self, sku: Sku | None) -> None:
        for watcher in self._watchers:
            watcher(sku)

    def _forget_oldest(self) -> None:
        """Of the answers the one that ends first."""
        *_, wished, sku, answer = heapq.heappop(self._ends)
        told = self._answers.get(wished, {})
        if told.get(sku) is answer:
            del told[sku]
        if not told:
            self._answers.pop(wished, None)

    def _forget_answers_of(self, sku: Sku) -> None:
        for told in self._answers.values():
            told.pop(sku, None)

    def _forget_answers(self) -> None:
        self._answers.clear()
        self._ends.clear()

    def _drop(self, sku: Sku) -> None:
        self._unknown.pop(sku, None)
        kept = self._kept.pop(sku, None)
        if kept is not None:
            self._forget_answers_of(sku)
            for part in _parts(sku, kept.facts) - {sku}:
                self._kits[part].discard(sku)
                if not self._kits[part]:
                    del self._kits[part]


def _parts(sku: Sku, facts: Facts | None) -> set[Sku]:
    """The SKU, and a kit's components."""
    return {sku} if facts is None else {sku, *(part.sku for part, _ in facts.components)}
