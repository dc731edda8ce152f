"""The sweep: every second this process looks at the rows itself and wakes what nobody woke. It needs no Redis.

It also says that this worker lives, tells of channels whose pause ends, gives back the units of orders that are held for longer
than they keep them, and forgets old events.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from domain.operation import Capability
from store import agenda, beat, channel, event, hold
from workers.deps import Deps
from workers.lanes import Lane, Lanes

log = logging.getLogger(__name__)

# A pause ends by itself; whoever looks in its last moments tells of it, and the row lets only one do so.
LAST_MOMENTS = timedelta(seconds=1.5)
EVENTS_KEPT = timedelta(days=14)
PRUNE_EVERY_S = 600.0


@dataclass(slots=True)
class Sweep:
    """Looks at the rows each second. `pulse` is called after each look."""

    deps: Deps
    lanes: Lanes
    pulse: Callable[[], None]
    _pruned_at: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.once()
            self.pulse()
            await asyncio.sleep(self.deps.timing.sweep_s)

    async def once(self) -> None:
        """One look."""
        for lane in await self._look():
            self.lanes.wake(lane)
        async with self.deps.store.begin() as tx:
            await hold.lapse(tx, self.deps.clock(), self.deps.locations)
        if time.monotonic() - self._pruned_at >= PRUNE_EVERY_S:
            self._pruned_at = time.monotonic()
            async with self.deps.store.begin() as tx:
                await event.prune(tx, self.deps.clock() - EVENTS_KEPT)

    async def _look(self) -> list[Lane]:
        async with self.deps.store.begin() as tx:
            await beat.beat(tx, self.deps.worker)
            for id, pause in (await channel.states(tx)).items():
                if pause.paused_until - self.deps.clock() <= LAST_MOMENTS:
                    await channel.resume(tx, id)
                    log.info("channel.resumed", extra={"channel": id})
            due = await agenda.due_lanes(tx)
        return [Lane(id, Capability(capability)) for id, capability in due]
