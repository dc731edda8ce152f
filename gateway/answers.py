"""Answers that are kept for a moment as bytes, and given again to whoever asks the same with the same scopes.

Only what is the same for all of them is kept: operations whose plan is `lasting`, answered without an error and without a call
upstream. An answer rests on the facts of its SKUs in the stock cache (`resolvers/stock_cache.py`): it ends when these are
forgotten, when its time is over, and when a reading grows older than was asked for. While nobody looks at the event log none is
given again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime

from domain.ids import Sku
from resolvers.stock_answer import Basis
from resolvers.stock_cache import StockCache

MOST = 10_000
MOST_BYTES = 32 * 1024 * 1024
MOST_REQUESTS = 8  # ways to ask the same that are remembered by their bytes


@dataclass(eq=False, slots=True)
class Kept:
    """The body of an answer. `began` is when its making began and `until` when it ends, in seconds of the monotonic clock."""

    body: bytes
    question: Hashable
    skus: frozenset[Sku]
    began: float
    until: float
    size: int
    requests: list[Hashable] = field(default_factory=list)

    def age(self, now: float) -> int:
        """Seconds; never less than it is."""
        return math.ceil(now - self.began)


@dataclass(frozen=True, slots=True)
class Again:
    """What HTTP answers again to the same request: the head that goes before the headers of this moment, what the log says of
    the operation, and what it costs."""

    kept: Kept
    head: str
    told: str
    points: int


@dataclass(slots=True)
class Draft:
    """An answer that is being made and may be kept: when that began, by the clock and by the changes of stock, and what it rests
    on so far."""

    at: float
    changes: int
    basis: Basis = field(default_factory=Basis)


class Answers:
    """The answers of the last moment. `keep_s` is how old one may be when it is given again."""

    def __init__(
        self,
        stock: StockCache,
        keep_s: float,
        clock: Callable[[], datetime],
        *,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._stock = stock
        self._keep_s = keep_s
        self._clock = clock
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: dict[Hashable, Kept] = {}  # the oldest first
        self._by_sku: dict[Sku, set[Kept]] = {}
        self._requests: dict[Hashable, Again] = {}
        stock.watch(self._changed)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that are held, roughly."""
        return self._bytes

    def of(self, question: Hashable) -> Kept | None:
        """What may be given again to this question."""
        kept = self._kept.get(question)
        return kept if kept is not None and self._holds(kept, time.monotonic()) else None

    def again(self, request: Hashable, now: float) -> Again | None:
        """What may be given again to this very request."""
        again = self._requests.get(request)
        return again if again is not None and self._holds(again.kept, now) else None

    def draft(self) -> Draft:
        """Begin an answer that may be kept."""
        return Draft(time.monotonic(), self._stock.changes)

    def keep(self, question: Hashable, body: bytes, draft: Draft) -> Kept | None:
        """Keep an answer, unless something of it may have changed since it was begun."""
        now, basis = time.monotonic(), draft.basis
        until = draft.at + self._keep_s
        if basis.until is not None:
            until = min(until, now + (basis.until - self._clock()).total_seconds())
        sound = basis.firm and self._stock.changes == draft.changes and self._stock.keeps(basis.skus)
        if not sound or until <= now or not basis.skus:
            return None
        size = 500 + len(body) + len(repr(question)) + sum([150 + len(sku) for sku in basis.skus])
        kept = Kept(body, question, frozenset(basis.skus), draft.at, until, size)
        self._drop(self._kept.get(question))
        self._kept[question] = kept
        self._bytes += kept.size
        for sku in kept.skus:
            self._by_sku.setdefault(sku, set()).add(kept)
        self._make_room(now)
        return kept

    def remember(self, request: Hashable, size: int, again: Again) -> None:
        """The next request that is equal to this one, of so many bytes, is answered with it."""
        kept, known = again.kept, self._requests.get(request)
        if known is not None and known.kept is kept:
            return
        if len(kept.requests) < MOST_REQUESTS and self._kept.get(kept.question) is kept:
            kept.requests.append(request)
            kept.size += size
            self._bytes += size
            self._requests[request] = again
            self._make_room(time.monotonic())

    def _holds(self, kept: Kept, now: float) -> bool:
        return kept.until > now and self._stock.believed(now)

    def _make_room(self, now: float) -> None:
        """The oldest go first, those whose time is over in any case."""
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if oldest.until > now and len(self._kept) <= self._most and self._bytes <= self._most_bytes:
                break
            self._drop(oldest)

    def _changed(self, sku: Sku | None) -> None:
        """The facts of a SKU, or of all, are no longer believed."""
        for kept in list(self._kept.values() if sku is None else self._by_sku.get(sku, ())):
            self._drop(kept)

    def _drop(self, kept: Kept | None) -> None:
        if kept is None:
            return
        kept.until = 0.0
        del self._kept[kept.question]
        self._bytes -= kept.size
        for request in kept.requests:
            self._requests.pop(request, None)
        for sku in kept.skus:
            others = self._by_sku[sku]
            others.discard(kept)
            if not others:
                del self._by_sku[sku]
