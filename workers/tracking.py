"""What warehouses and carriers have told of parcels becomes confirmations, through the checks that every caller meets."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from store import tracking
from store.session import UNAVAILABLE
from store.tracking import Row
from workers.deps import Deps

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
AT_ONCE = 500


@dataclass(slots=True)
class Tracking:
    """Settles rows whose time it is. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        while True:
            found = await once(self.deps)
            self.pulse()
            if not found:
                await asyncio.sleep(LOOK_EVERY_S)


async def once(deps: Deps) -> int:
    """Settle what waits longest; how many rows were looked at."""
    platforms = {id: one.platform for id, one in deps.channels.items()}
    try:
        async with deps.store.begin() as tx:
            rows = await tracking.claim(tx, AT_ONCE)
            if rows:
                became = await tracking.settle(tx, rows, platforms, deps.clock())
    except UNAVAILABLE:
        raise
    except Exception:
        log.exception("tracking.broken")
        return await _alone(deps)
    if rows:
        told = Counter(one.code or "DONE" for one in became.values())
        log.info("tracking.settled", extra={"rows": len(rows)} | {code.lower(): times for code, times in told.items()})
    return len(rows)


async def _alone(deps: Deps) -> int:
    """Delivery by delivery: one that cannot be settled shall hold up no other."""
    async with deps.store.begin() as tx:
        waiting = await tracking.claim(tx, AT_ONCE)
    for _, rows in groupby(sorted(waiting, key=_delivery), key=_delivery):
        await _settle_or_put_off(deps, list(rows))
    return len(waiting)


async def _settle_or_put_off(deps: Deps, rows: Sequence[Row]) -> None:
    platforms = {id: one.platform for id, one in deps.channels.items()}
    try:
        async with deps.store.begin() as tx:
            held = await tracking.hold(tx, rows)
            await tracking.settle(tx, held, platforms, deps.clock())
    except UNAVAILABLE:
        raise
    except Exception as problem:
        log.exception("tracking.put_off", extra={"source": rows[0].source, "delivery": rows[0].delivery})
        words = f"An unexpected {type(problem).__name__} came up; see the log."
        async with deps.store.begin() as tx:
            await tracking.broken(tx, await tracking.hold(tx, rows), words, deps.clock())


def _delivery(one: Row) -> tuple[str, str]:
    return one.source, one.delivery
