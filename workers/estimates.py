"""What orders will bring is reckoned until somebody bills it.

An order that changes, that is billed in part, or of which a fee comes to be known waits in `estimate_due`. This loop takes some,
and lets the lines stand that follow from what is known now: in one transaction, so whoever dies leaves them waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid
from domain.estimate import Known, estimated
from domain.ids import ChannelId, OrderId
from domain.money_line import MoneyLine, Source
from domain.order import Order
from domain.product import Rejected
from store import estimate, money_line, payout, quarantine
from store.estimate import Facts
from workers.deps import Deps
from workers.watch import AWAY

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
BATCH = 500
DEADLOCK = "40P01"
PUT_OFF = timedelta(hours=1)
WHY = "reckoned anew: the order, what was billed of it, or what is taken of it is known better"


@dataclass(slots=True)
class Estimates:
    """Reckons what waits. `pulse` is called after each batch."""

    deps: Deps
    pulse: Callable[[], None]
    _most: int = BATCH

    async def run(self) -> None:
        """For ever."""
        while True:
            done = await self.once()
            self.pulse()
            if not done:
                await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> int:
        """Reckon a batch of what waits; how many orders that was.

        One that cannot be reckoned spoils no other: the next batch is half as large, until it is alone and is put off.
        """
        most, taken = self._most, list[OrderId]()
        try:
            async with self.deps.store.begin() as tx:
                taken = await estimate.take(tx, most)
                if taken:
                    await reckon(self.deps, tx, taken)
        except AWAY:
            raise
        except Exception as problem:
            if not taken:
                raise
            if getattr(getattr(problem, "orig", None), "sqlstate", None) == DEADLOCK:
                log.info("estimates.again", extra={"orders": len(taken)})
                return len(taken)
            log.exception("estimates.not_reckoned", extra={"orders": len(taken)})
            self._most = max(1, len(taken) // 2)
            if len(taken) == 1:
                async with self.deps.store.begin() as tx:
                    await estimate.put_off(tx, taken[0], PUT_OFF)
            return len(taken)
        self._most = min(BATCH, 2 * most)
        return len(taken)


async def reckon(deps: Deps, tx: AsyncConnection, ids: Sequence[OrderId]) -> None:
    """Let the lines stand that follow from what is known of these orders, which were taken in `tx`. What stood of an order that
    is not kept any more, or whose channel is gone, stays."""
    # How payments are split comes first: it says which units are sold.
    await payout.split_anew(tx, deps.channels, ids)
    made: defaultdict[ChannelId, dict[str, list[MoneyLine]]] = defaultdict(dict)
    unclear: list[Rejected] = []
    for one in await estimate.facts(tx, ids):
        if one.order.channel not in deps.channels:
            continue
        of = made[one.order.channel]
        try:
            of[one.order.id] = _lines(deps, one)
        except Invalid as problem:
            of[one.order.id] = []
            unclear.append(_unclear(one.order, problem))
    changed = 0
    for channel, lines in made.items():
        why = dict.fromkeys(lines, WHY)
        changed += len(await money_line.renew_all(tx, channel, Source.ESTIMATE, lines, why))
    await quarantine.keep(tx, unclear)
    log.info("estimates.reckoned", extra={"orders": len(ids), "changed": changed, "unclear": len(unclear)})


def _lines(deps: Deps, one: Facts) -> list[MoneyLine]:
    channel = deps.channels[one.order.channel]
    zone = channel.zone(one.order.marketplace)
    return estimated(Known(one.order, zone, one.billed, one.fees, channel.payment_fee, one.refunded))


def _unclear(one: Order, problem: Invalid) -> Rejected:
    told = "; ".join(f"{part.kind.value} {part.amount.amount} {part.amount.currency}" for part in one.all_charges)
    return Rejected(one.channel, "estimate", one.external_id, problem.message, told)
