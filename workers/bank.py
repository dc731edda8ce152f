"""Payouts are looked for among the lines of banks whenever either has come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from store import bank
from workers.deps import Deps

log = logging.getLogger(__name__)

LOOK_EVERY_S = 15.0


@dataclass(slots=True)
class BankMatches:
    """Finds the line of each payout. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]
    _seen: object = field(default=None, init=False)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.once()
            self.pulse()
            await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> int:
        """Look, if anything has come since the last time; how many matches have come or gone."""
        async with self.deps.store.begin() as tx:
            found = await bank.state(tx)
            if found == self._seen:
                return 0
            changed = await bank.rematch(tx)
        self._seen = found
        if changed:
            log.info("bank.rematched", extra={"matches": changed})
        return changed
