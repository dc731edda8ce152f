"""Watching canaries: a change of prices that reaches far goes on when its first rows do well, and is taken back when they do not.

Verdict and consequence are one transaction, so that a worker that dies leaves either nothing or all of it, and of two workers one
decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from domain.errors import Throttled
from domain.ids import OperationId
from domain.price_canary import Canary, CanaryState, verdict
from store import price_back, price_canary
from store.price_desk import Request
from store.session import UNAVAILABLE
from workers.crash import point
from workers.deps import Deps

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
WATCHER = "acorn"
"""Who takes back what a canary has shown to be bad."""


@dataclass(slots=True)
class Canaries:
    """Watches the canaries there are. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        while True:
            await watch(self.deps, self.pulse)
            self.pulse()
            await asyncio.sleep(LOOK_EVERY_S)


async def watch(deps: Deps, pulse: Callable[[], None] = lambda: None) -> None:
    """Look once at each canary that nobody has decided about."""
    async with deps.store.begin() as tx:
        found = await price_canary.watching(tx)
    for id in found:
        try:
            # Without a lock: most looks decide nothing, and hold up nobody.
            if await _turns(deps, id):
                await _decide(deps, id)
        except UNAVAILABLE:
            raise
        except Exception:
            # Those behind it are looked at all the same.
            log.exception("price_canary.failed", extra={"operation": id})
        pulse()


async def _turns(deps: Deps, id: OperationId) -> bool:
    async with deps.store.begin() as tx:
        canary: Canary | None = (await price_canary.by_operations(tx, [id])).get(id)
        return canary is not None and verdict(canary.radius, await price_canary.signals(tx, canary)).state is not (
            CanaryState.WATCHING
        )


async def _decide(deps: Deps, id: OperationId) -> None:
    request = Request(WATCHER, f"canary {id}", deps.clock(), correlation_id=f"canary {id}")
    try:
        async with deps.store.begin() as tx:
            found = await price_back.decide(tx, id, request)
            point("inside_canary_verdict")
    except Throttled:
        return  # it is looked at again
    point("after_canary_verdict")
    if found is None or found.state is CanaryState.WATCHING:
        return
    extra = {"operation": id, "reasons": list(found.reasons)}
    if found.state is CanaryState.HALTED:
        log.error("price_canary.halted", extra=extra)
    elif found.state is CanaryState.PASSED:
        log.info("price_canary.passed", extra=extra)
    else:
        log.warning("price_canary.overtaken", extra=extra)
