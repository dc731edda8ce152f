"""The relay: gives events their place in the one order, then rings the subscribers' bell.

The bell is an entry in a Redis stream that carries nothing but the newest place; whoever hears it reads the table. A bell that is
lost is made good by the next one and by the readers' own look at the table.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from store import event
from workers.crash import point
from workers.deps import Deps
from workers.watch import end

log = logging.getLogger(__name__)

STREAM_LENGTH = 1000
BATCH = 500


@dataclass(slots=True)
class EventBell:
    """Rings with the newest place. Redis being slow or away never holds the relay up: one ring is under way at a time, and
    places that come meanwhile ring once together."""

    redis: Redis
    lost: int = 0
    _newest: int = 0
    _ringing: asyncio.Task[None] | None = None

    def ring(self, seq: int) -> None:
        """Tell that all events up to `seq` have their place."""
        self._newest = max(self._newest, seq)
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        rung = -1
        while rung < self._newest:
            rung = self._newest
            try:
                await self.redis.xadd(event.BELL, {"seq": rung}, maxlen=STREAM_LENGTH, approximate=True)
            except Exception as problem:
                self.lost += 1
                log.warning("relay.bell_lost", extra={"seq": rung, "reason": type(problem).__name__})

    async def close(self) -> None:
        """Let the last ring through, for a moment."""
        if self._ringing is not None:
            await asyncio.wait({self._ringing}, timeout=1.0)
            await end([self._ringing])


@dataclass(slots=True)
class Relay:
    """Looks for events ten times a second. All workers do; a lock in the database lets one at a time through."""

    deps: Deps
    pulse: Callable[[], None]
    bell: EventBell

    async def run(self) -> None:
        """For ever."""
        while True:
            more = await self.once()
            self.pulse()
            if not more:
                await asyncio.sleep(self.deps.timing.relay_s)

    async def once(self) -> bool:
        """Place what is ready; whether there may be more."""
        async with self.deps.store.begin() as tx:
            placed = await event.relay(tx, BATCH)
            if placed:
                point("before_relay_commit")
        if not placed:
            return False
        point("after_relay_commit")
        self.bell.ring(placed[-1].seq)
        return len(placed) == BATCH
