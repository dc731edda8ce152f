"""Loops that go on after a failure, and a watchdog that lets no process linger half dead."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from store.session import UNAVAILABLE
from workers.backoff import jittered

log = logging.getLogger(__name__)

STALLED = 70  # the exit code of a process that ends itself, for its supervisor to start it anew
LONGEST_REST_S = 10.0
CALM_S = 60.0
INSIST_S = 0.2
# An engine that cannot be reached: known trouble, worth a line and no traceback.
AWAY: tuple[type[Exception], ...] = (RedisError, *UNAVAILABLE)


@dataclass(slots=True)
class Pulses:
    """The last sign of life of each loop, in seconds of the monotonic clock."""

    at: dict[str, float] = field(default_factory=dict)

    def beat(self, name: str) -> Callable[[], None]:
        """A function that gives a sign of life for `name`; the first one is given now."""

        def now() -> None:
            self.at[name] = time.monotonic()

        now()
        return now

    def stalled(self, limit_s: float) -> list[str]:
        """The loops that gave no sign for longer than `limit_s`."""
        now = time.monotonic()
        return [name for name, at in list(self.at.items()) if now - at > limit_s]


async def supervise(name: str, loop: Callable[[], Awaitable[None]], pulse: Callable[[], None]) -> None:
    """Run `loop` for ever. When it fails it is started anew after a rest: up to 10 s, growing while it keeps failing."""
    failures = 0
    while True:
        started = time.monotonic()
        try:
            await loop()
            log.error("worker.loop_ended", extra={"loop": name})
        except AWAY as problem:
            log.warning("worker.engine_away", extra={"loop": name, "reason": type(problem).__name__})
        except Exception:
            log.exception("worker.loop_failed", extra={"loop": name})
        failures = 1 if time.monotonic() - started > CALM_S else failures + 1
        pulse()
        await asyncio.sleep(0.1 + jittered(failures, first_s=0.4, most_s=LONGEST_REST_S))
        pulse()


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait until they are over, whatever they end with.

    A cancellation that meets a client of Redis in the middle of its connecting may be swallowed there, so it is repeated.
    """
    all_tasks = set(tasks)
    going_on = {task for task in all_tasks if not task.done()}
    while going_on:
        for task in going_on:
            task.cancel()
        _, going_on = await asyncio.wait(going_on, timeout=INSIST_S)
    if all_tasks:
        await asyncio.gather(*all_tasks, return_exceptions=True)


class Watchdog:
    """A thread that ends the process when a loop shows no life: blocked code, or an await that nothing will ever answer.

    What is under way is left to its leases, as after SIGKILL; a process that holds leases and does nothing would be worse.
    """

    def __init__(self, pulses: Pulses, limit_s: float, end: Callable[[int], object] = os._exit) -> None:
        self._pulses = pulses
        self._limit_s = limit_s
        self._end = end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(min(1.0, self._limit_s / 4)):
            stalled = self._pulses.stalled(self._limit_s)
            if stalled:
                log.critical("worker.stalled", extra={"loops": stalled, "limit_s": self._limit_s})
                self._end(STALLED)
                return
