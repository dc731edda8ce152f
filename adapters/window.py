"""The shared batching window: one upstream batch operation, asked by all callers of this process together.

Keys that come within a few milliseconds of each other share calls, and a key that is pending or on its way is joined, never
asked twice. A call belongs to nobody in particular: it runs as its own task, so a caller that goes away takes nothing along.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from domain.budget import Ask
from domain.errors import HouseError, Transient

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

Fetch = Callable[[list[K], Ask], Awaitable[dict[K, V | HouseError]]]


class _Flight(Generic[K, V]):
    """One upstream call: the keys it carries, how it is asked for, and what it found. `landed` is set once `found` holds."""

    def __init__(self, ask: Ask) -> None:
        self.ask = Ask(priority=ask.priority, deadline=ask.deadline, bill=ask.bill)
        self.keys: list[K] = []
        self.found: dict[K, V | HouseError] = {}
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def board(self, ask: Ask) -> None:
        """Another caller shares it: as urgent as the most urgent, until the latest deadline. The bill stays the first one's."""
        self.ask.priority = min(self.ask.priority, ask.priority)
        if self.ask.deadline is not None:
            self.ask.deadline = None if ask.deadline is None else max(self.ask.deadline, ask.deadline)


class Window(Generic[K, V]):
    """`fetch` answers at most `batch_size` keys per call; keys it does not know are missing from its answer.

    A batch departs when it is full, or `window_s` after its first key. `on_coalesced(ask, count)` is told how many calls,
    begun and paid for by other callers, `ask` had a share in.
    """

    def __init__(
        self,
        fetch: Fetch[K, V],
        batch_size: int,
        window_s: float = 0.003,
        on_coalesced: Callable[[Ask, int], None] | None = None,
    ) -> None:
        assert batch_size >= 1
        self._fetch = fetch
        self._batch_size = batch_size
        self._window_s = window_s
        self._on_coalesced = on_coalesced
        self._seats: dict[K, _Flight[K, V]] = {}
        self._boarding: _Flight[K, V] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def pending(self, keys: Iterable[K]) -> bool:
        """Whether all of `keys` are waiting or on their way already, so that asking for them costs no further call."""
        return all(key in self._seats for key in keys)

    async def ask(self, keys: Sequence[K], ask: Ask) -> dict[K, V | HouseError]:
        """What is known of `keys`; each failure stays with its own keys, and unknown keys are missing.

        Keys that are not answered by the deadline get Transient, those of a call that failed the call's own error.
        """
        own: set[_Flight[K, V]] = set()
        seats = {key: self._seat(key, ask, own) for key in dict.fromkeys(keys)}
        flights = set(seats.values())
        if self._on_coalesced is not None and flights - own:
            self._on_coalesced(ask, len(flights - own))
        if flights:
            timeout = None if ask.deadline is None else max(0.0, ask.deadline - time.monotonic())
            await asyncio.wait([flight.landed for flight in flights], timeout=timeout)
        late = Transient("The platform has not answered before the deadline.")
        found: dict[K, V | HouseError] = {}
        for key, flight in seats.items():
            if not flight.landed.done():
                found[key] = late
            elif key in flight.found:
                found[key] = flight.found[key]
        return found

    def _seat(self, key: K, ask: Ask, own: set[_Flight[K, V]]) -> _Flight[K, V]:
        flight = self._seats.get(key)
        if flight is None:
            flight = self._boarding
            if flight is None:
                flight = self._boarding = _Flight(ask)
                own.add(flight)
                asyncio.get_running_loop().call_later(self._window_s, self._depart, flight)
            self._seats[key] = flight
            flight.keys.append(key)
        flight.board(ask)
        if flight is self._boarding and len(flight.keys) == self._batch_size:
            self._depart(flight)
        return flight

    def _depart(self, flight: _Flight[K, V]) -> None:
        if flight is self._boarding:
            self._boarding = None
            task = asyncio.create_task(self._fly(flight))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fly(self, flight: _Flight[K, V]) -> None:
        # Until something better is known, so that even the end of the process leaves no caller hanging.
        found: dict[K, V | HouseError] = dict.fromkeys(flight.keys, Transient("The call was broken off."))
        try:
            found = await self._fetch(list(flight.keys), flight.ask)
        except HouseError as problem:
            found = dict.fromkeys(flight.keys, problem)
        except Exception as problem:
            log.exception("window.failed", extra={"keys": len(flight.keys)})
            failure = HouseError(f"Reading a batch failed unexpectedly ({type(problem).__name__}).")
            failure.__cause__ = problem
            found = dict.fromkeys(flight.keys, failure)
        finally:
            for key in flight.keys:
                del self._seats[key]
            flight.found = found
            flight.landed.set_result(None)
