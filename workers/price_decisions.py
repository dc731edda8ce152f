"""Carrying out what people decided about large changes of prices: many rows are weighed for longer than a request may take.

Verdict and consequence are one transaction, so that a worker that dies leaves either nothing or all of it, and of two workers one
does it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from domain.errors import Refused, Throttled
from domain.operation import ItemError
from domain.price_decision import Decision, Verdict
from store import price_back, price_decision, price_desk
from store.price_desk import Request
from store.session import UNAVAILABLE, Store, take_time
from workers.deps import Deps
from workers.price_files import apart, attended

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
# Nobody else begins it so long; who has begun holds its row.
HAND_S = 30.0


@dataclass(slots=True)
class PriceDecisions:
    """Carries out decisions as they come. `pulse` is called at each look, and while one is carried out."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        while True:
            if not await attended(once(self.deps), self.pulse):
                await asyncio.sleep(LOOK_EVERY_S)


async def once(deps: Deps, hand_s: float = HAND_S) -> bool:
    """Carry out the decision that waits longest; False where none does."""
    async with deps.store.begin() as tx:
        one = await price_decision.claim(tx, hand_s)
    if one is None:
        return False
    try:
        await apart(deps.store, lambda store: work(store, one, deps.clock))
    except UNAVAILABLE:
        raise
    except Exception:
        # It comes again when its time is over, and has failed for good after a few times.
        log.exception("price_decision.broken", extra={"operation": one.operation})
    return True


async def work(store: Store, one: Decision, clock: Callable[[], datetime]) -> None:
    """Carry it out, once, whoever else is at it. What keeps it from being done is told with it."""
    try:
        async with store.begin() as tx:
            await take_time(tx)
            if not await price_decision.hold(tx, one):
                return
            made = None
            match one.verdict:
                case Verdict.APPROVE:
                    await price_back.approve(tx, one.operation, one.asked_by, clock())
                case Verdict.CANCEL:
                    await price_back.cancel(tx, one.operation, one.asked_by)
                case Verdict.REVERT:
                    request = Request(
                        one.asked_by, f"revert {one.operation}", clock(), correlation_id=one.correlation_id
                    )
                    made = (await price_back.take_back(tx, one.operation, request)).id
                case Verdict.RETRY:
                    await price_desk.retry(tx, one.operation)
            await price_decision.end(tx, one, made=made)
    except Throttled as problem:
        async with store.begin() as tx:
            await price_decision.later(tx, one, problem.retry_after_s)
    except Refused as problem:
        async with store.begin() as tx:
            await price_decision.end(tx, one, error=ItemError(problem.code, problem.message))
        log.info("price_decision.refused", extra={"operation": one.operation, "code": problem.code})
    else:
        log.info("price_decision.done", extra={"operation": one.operation, "verdict": one.verdict.value})
