"""What subscribers of one process share: a crowd that asks for the same at once is read for in one go."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from domain.event import Event
from domain.ids import OperationId, OrderId, Sku
from domain.operation import Operation
from domain.order import Order
from domain.policy import Facts
from domain.stock import Stock

K = TypeVar("K")
V = TypeVar("V")

MOST_AT_ONCE = 250
MOST_KITS = 2_000  # SKUs of which it is asked at once what they are made of, which is little
KEPT_S = 1.0  # ages move on without an event
MOST_KEPT = 500  # SKUs, of some 6 kB each, and orders

ReadOf: TypeAlias = Callable[[Collection[K]], Awaitable[Mapping[K, V]]]


@dataclass(eq=False, slots=True)
class _Batch(Generic[K, V]):
    """What is read in one go. `found` is there once it is `done`, or the `problem`."""

    keys: set[K] = field(default_factory=set)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    found: Mapping[K, V] = field(default_factory=dict)
    problem: Exception | None = None


class Gathered(Generic[K, V]):
    """One reading at a time. Who asks while it runs shares the next one, which is therefore younger than every question it
    answers."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self._waiting: deque[_Batch[K, V]] = deque()
        self._reading: asyncio.Task[None] | None = None

    async def of(self, keys: Collection[K], read: ReadOf[K, V]) -> dict[K, V]:
        """What there is of the keys. Raises what the reading raises; `read` is taken to be the same for all who ask."""
        if not self._waiting or len(self._waiting[-1].keys) >= self._most:
            self._waiting.append(_Batch())
        batch = self._waiting[-1]
        batch.keys.update(keys)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(read))
        await batch.done.wait()
        if batch.problem is not None:
            raise batch.problem
        return {key: batch.found[key] for key in keys if key in batch.found}

    async def _read(self, read: ReadOf[K, V]) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # whoever is about to ask in this round comes along
                batch = self._waiting.popleft()
                try:
                    batch.found = await read(batch.keys)
                except Exception as problem:
                    batch.problem = problem
                batch.done.set()
        finally:
            self._reading = None


class Known(Protocol):
    """Something as it was read at `at` of the monotonic clock, with all that the log had told up to `place` (None: nobody
    knows)."""

    @property
    def at(self) -> float: ...

    @property
    def place(self) -> int | None: ...


T = TypeVar("T", bound=Known)


class Recent(Generic[K, T]):
    """What was read in the last moment, to be told again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[K, T] = OrderedDict()

    def kept(self, key: K, since: int) -> T | None:
        """What another was just told, if it holds all that happened up to the place `since`."""
        known = self._kept.get(key)
        if known is None or known.place is None or known.place < since or time.monotonic() - known.at > KEPT_S:
            return None
        return known

    def keep(self, key: K, known: T) -> None:
        """Tell it again for a moment."""
        self._kept[key] = known
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class KnownStock:
    """A SKU as it was read. See `Known`."""

    facts: Facts
    stock: Stock
    at: float
    place: int | None


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order as it was read. See `Known`."""

    order: Order
    at: float
    place: int | None


@dataclass(frozen=True, slots=True)
class KnownOperation:
    """An operation as it stands, what the log told of it last, and whether it has something to tell yet."""

    operation: Operation
    last: Event | None
    untold: bool
    head: int


@dataclass(slots=True)
class Followed:
    """What is being read for those who follow, and what the last of them was told of stock and of orders."""

    stock: Gathered[Sku, KnownStock] = field(default_factory=Gathered)
    kits: Gathered[Sku, Collection[Sku]] = field(default_factory=lambda: Gathered(MOST_KITS))
    operations: Gathered[OperationId, KnownOperation] = field(default_factory=Gathered)
    orders: Gathered[OrderId, KnownOrder] = field(default_factory=Gathered)
    recent_stock: Recent[Sku, KnownStock] = field(default_factory=Recent)
    recent_orders: Recent[OrderId, KnownOrder] = field(default_factory=Recent)
