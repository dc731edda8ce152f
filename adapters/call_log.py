"""The log of calls: taken down where they are made, redacted a moment later, kept many at a time.

A call only leaves references behind. Whatever comes after that (redaction, PostgreSQL being away, a crash of this process) costs
entries of the log and never a call: what waits is bounded, and what finds no room is counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from adapters.redact import redacted
from adapters.transport import Spoken
from domain.errors import Transient
from domain.exchange import Exchange

log = logging.getLogger(__name__)

# Keeps these, all or none; a repetition does no harm. Raises Transient when they may be offered again later.
Keep = Callable[[Sequence[Exchange]], Awaitable[None]]

SOON_S = 0.03
BIG_BYTES = 128 * 1024
LONGEST_REST_S = 10.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much waits at most, how much is kept at a time, and how long others are waited for, in seconds."""

    calls: int = 10_000
    size_bytes: int = 64 * 1024 * 1024
    batch: int = 250
    every_s: float = 2.0
    first_rest_s: float = 1.0


class CallLog:
    """One per process. `hear` is for a Transport; `settle` before the database is let go."""

    def __init__(self, keep: Keep, *, bodies: bool = True, bounds: Bounds = Bounds()) -> None:
        self._keep = keep
        self._bodies = bodies
        self._bounds = bounds
        self._heard: deque[Spoken] = deque()
        self._ready: deque[Exchange] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._woken = False
        self._task: asyncio.Task[None] | None = None
        # When what is ready shall be kept, by the loop's clock; None where nothing is.
        self._due_at: float | None = None
        self._rest_s = 0.0
        self._closed = False
        self.kept = 0
        self.dropped = 0

    def hear(self, spoken: Spoken) -> None:
        """Take down a call that has ended."""
        bounds, size = self._bounds, _said(spoken)
        waiting = len(self._heard) + len(self._ready)
        if self._closed or waiting >= bounds.calls or self._bytes + size > bounds.size_bytes:
            self.dropped += 1
            return
        self._heard.append(spoken)
        self._bytes += size
        if not self._woken:
            # Not at once: waking up for each call costs as much as redacting it. Not much later either: bodies that wait cost
            # more than that, in memory that each call finds cold.
            self._woken = True
            asyncio.get_running_loop().call_later(SOON_S, self._some.set)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="call log")

    async def settle(self, within_s: float = 5.0) -> None:
        """Keep what has been heard, and hear nothing more. What the database does not take within `within_s` is dropped."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._heard or self._ready:
                    await self._redact()
                    await self._write()
        left = len(self._heard) + len(self._ready)
        self._heard.clear()
        self._ready.clear()
        self.dropped += left
        if left:
            log.error("calls.dropped", extra={"count": left, "reason": "the process ends"})

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._due_at):
                    await self._some.wait()
                self._some.clear()
                self._woken = False
            await self._redact()
            if self._due_at is None and self._ready:
                self._due_at = clock() + self._bounds.every_s
            # Those that come within this time cost little more than one.
            while self._ready and (len(self._ready) >= self._bounds.batch or clock() >= (self._due_at or 0.0)):
                await self._write()
                await self._redact()
            if not self._ready:
                self._due_at = None

    async def _redact(self) -> None:
        """Make ready what has been heard. Each is taken away when its redacted form is there, so that a stop loses none."""
        done = 0
        while self._heard:
            spoken = self._heard[0]
            if (size := _said(spoken)) > BIG_BYTES:
                told = await asyncio.to_thread(self._redacted, spoken)
            else:
                told = self._redacted(spoken)
                done += 1
                if done % 10 == 0:
                    await asyncio.sleep(0)  # nobody waits for us
            self._heard.popleft()
            self._bytes -= size
            if told is not None:
                self._ready.append(told)
                self._bytes += _told(told)

    def _redacted(self, spoken: Spoken) -> Exchange | None:
        try:
            return redacted(spoken, bodies=self._bodies)
        except Exception:
            # Nothing of it may be logged: it is not redacted.
            self.dropped += 1
            log.error("calls.not_redacted", extra={"operation": spoken.made.call.operation})  # noqa: TRY400
            return None

    async def _write(self) -> None:
        """Keep one batch, or rest for as long as the database seems to want."""
        batch = list(islice(self._ready, self._bounds.batch))
        try:
            await self._keep(batch)
        except Transient as problem:
            await self._rest(problem)
            return
        except Exception:
            log.exception("calls.refused", extra={"count": len(batch)})
            await self._one_by_one(len(batch))
            return
        self._rest_s = 0.0
        self.kept += len(batch)
        for _ in batch:
            self._bytes -= _told(self._ready.popleft())

    async def _rest(self, problem: Transient) -> None:
        if not self._rest_s:
            log.warning("calls.wait", extra={"waiting": len(self._ready), "reason": problem.message})
        self._rest_s = min(LONGEST_REST_S, self._rest_s * 2 or self._bounds.first_rest_s)
        await asyncio.sleep(self._rest_s)

    async def _one_by_one(self, count: int) -> None:
        """One of them is not to be kept; the others shall not suffer for it. What is left waits for the database."""
        for _ in range(count):
            one = self._ready[0]
            try:
                await self._keep([one])
                self.kept += 1
            except Transient as problem:
                await self._rest(problem)
                return
            except Exception as problem:
                self.dropped += 1
                reason = type(problem).__name__
                log.error("calls.dropped", extra={"count": 1, "reason": reason, "call": one.id})  # noqa: TRY400
            self._bytes -= _told(self._ready.popleft())


def _said(spoken: Spoken) -> int:
    return len(spoken.sent or b"") + len(spoken.received or b"")


def _told(one: Exchange) -> int:
    return len(one.request or "") + len(one.response or "")
