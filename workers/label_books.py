"""The books of labels: what was bought is compared each day with what who sold it says, and a refund that is awaited each hour.

Who sells labels has the last word on what one cost and on what became of it; where the parcel is comes along.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from adapters.fulfillment import LabelBooks
from domain.budget import Ask, Priority
from domain.errors import HouseError, NotFound
from domain.exchange import about_order
from domain.label import KeptLabel, LabelStatus, Purchase
from store import label, order, timeline
from workers.deps import Deps
from workers.labels import keep_document, voided_step

log = logging.getLogger(__name__)

LOOK_EVERY_S = 15.0
AT_ONCE = 50
DAILY = timedelta(hours=24)
HOURLY = timedelta(hours=1)
# Of an older one nothing is heard any more.
FOLLOWED = timedelta(days=30)
ASK_WITHIN_S = 10.0


@dataclass(slots=True)
class Books:
    """Compares labels. `pulse` is called after each."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        while True:
            while await self.once() == AT_ONCE:
                pass
            self.pulse()
            await asyncio.sleep(LOOK_EVERY_S)

    async def once(self) -> int:
        """Compare some of those whose time has come; returns how many."""
        now = self.deps.clock()
        async with self.deps.store.begin() as tx:
            due = await label.due(
                tx, bought_before=now - DAILY, refunds_before=now - HOURLY, since=now - FOLLOWED, limit=AT_ONCE
            )
        for one in due:
            await self._compare(one)
            self.pulse()
        return len(due)

    async def _compare(self, one: KeptLabel) -> None:
        shop = self.deps.label_shops.get(one.shop)
        if shop is None or not isinstance(shop.labels, LabelBooks) or one.shipment_id is None:
            return
        async with self.deps.store.begin() as tx:
            found = (await order.by_ids(tx, [one.order])).get(one.order)
        about = () if found is None else (about_order(found.external_id),)
        ask = Ask(Priority.BACKGROUND, time.monotonic() + ASK_WITHIN_S, about=about)
        try:
            async with asyncio.timeout(self.deps.timing.lease_s):
                told = await shop.labels.shipment(one.id, one.shipment_id, ask)
        except NotFound:
            log.warning("label.unknown_there", extra={"label": one.id, "shop": one.shop})
            async with self.deps.store.begin() as tx:
                await label.change(tx, one.id, label.Change(missing=f"{shop.name} knows no such label."))
        except (HouseError, TimeoutError) as problem:
            # It is looked at again when its time comes.
            log.warning(
                "label.not_compared", extra={"label": one.id, "shop": one.shop, "reason": type(problem).__name__}
            )
        else:
            await self._note(one, told)

    async def _note(self, one: KeptLabel, told: Purchase) -> None:
        if told.cost is not None and told.cost != one.price:
            extra = {"label": one.id, "shop": one.shop, "was": str(one.price.amount), "now": str(told.cost.amount)}
            log.warning("label.price_changed", extra=extra)
        async with self.deps.store.begin() as tx:
            turned = None if told.status is one.status else told.status
            await label.change(tx, one.id, label.Change(turned, told.cost, told.tracking_number, told.whereabouts))
            if told.label is not None and not one.printable and told.status is LabelStatus.BOUGHT and one.missing:
                await label.change(tx, one.id, label.Change(missing=""))
                await keep_document(tx, self.deps, one.id, told)
            if turned is not None:
                step = voided_step(one, turned, str(one.shop), request_id=told.upstream_request_id)
                await timeline.note(tx, [step])
