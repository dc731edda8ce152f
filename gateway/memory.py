"""When the garbage of this process is collected: what is young, often; all of it, seldom, since everything waits meanwhile."""

from __future__ import annotations

import asyncio
import gc

# Objects that have come and not gone again before the youngest are looked at, some milliseconds for these, and how often that is
# done before those that survived it are looked at as well.
YOUNG = 25_000
ROUNDS = 1
NEVER = 1_000_000
SWEEP_S = 600.0


def settle() -> None:
    """What stands now stands until the end. Left to the collector, a full collection stops all requests for 100 ms, and with
    10,000 subscribers for a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, ROUNDS, NEVER)


async def sweep() -> None:
    """For ever: now and then all that came since."""
    while True:
        await asyncio.sleep(SWEEP_S)
        gc.collect()
