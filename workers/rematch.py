"""Lines of settlements that could not be tied out are looked at again: orders, their lines and SKUs come to be known later.

One worker does it at a time; who finds somebody else at the books leaves it for the next look. The more there is to look at, the
longer the pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from domain.channel import Channel
from store import settlement
from workers.deps import Deps

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
AT_ONCE = 5_000
SHARE = 20
"""A look that took a second is followed by so many seconds without one."""


@dataclass(slots=True)
class Rematch:
    """Ties what can be tied by now. `pulse` is called at each step."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        due_at = 0.0
        while True:
            if (began := monotonic()) >= due_at:
                await self.once()
                due_at = monotonic() + SHARE * (monotonic() - began)
            self.pulse()
            await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> int:
        """Look at all that is open; how many lines are better tied than before."""
        async with self.deps.store.begin() as tx:
            found = await settlement.open_settlements(tx)
        tied = 0
        for id, channel, marketplace in found:
            if channel in self.deps.channels:
                tied += await self._of(id, self.deps.channels[channel], marketplace)
        if tied:
            log.info("settlements.rematched", extra={"lines": tied})
        return tied

    async def _of(self, id: str, channel: Channel, marketplace: str | None) -> int:
        tied, after = 0, 0
        while True:
            async with self.deps.store.begin() as tx:
                better, last = await settlement.rematch(tx, channel, marketplace, id, after, AT_ONCE)
            tied += better
            self.pulse()
            if last is None:
                return tied
            after = last
