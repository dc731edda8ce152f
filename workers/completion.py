"""Completing orders: what a report has told of is read alone, so that its lines get the channel's ids."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from adapters.order_paths import OrdersToShip
from adapters.port import OrderKey
from domain.budget import Ask, Priority
from domain.errors import HouseError, MissingRole, NotFound, Refused, Throttled, Unauthorized
from domain.ids import ChannelId
from domain.route import Way
from store import channel, unread
from store.session import UNAVAILABLE
from store.unread import Unread
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S, as_house_error
from workers.deps import Deps
from workers.streams import keep_orders

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
AT_ONCE = 10
LEASE_S = 600.0
PATIENCE_S = 30.0
MOST_ATTEMPTS = 10
LONGEST_REST_S = 900.0
# A page of Amazon's list is granted as seldom as ninety single reads, and saved-up ones would go by unused.
FEW = 20
LIST_EVERY_S = 60.0
LIST_WAIT_S = 1.0
SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class Completion:
    """Reads what reports have told of and nobody has read since: what we have to ship first, as a list where many wait and
    their channel tells one, and one by one. `pulse` is called at each look. It asks in the class of streams, so that
    notifications and writes go before it."""

    deps: Deps
    pulse: Callable[[], None]
    _listed_at: dict[ChannelId, float] = field(default_factory=dict)
    _listed: dict[ChannelId, tuple[int, datetime]] = field(default_factory=dict)

    async def run(self) -> None:
        """For ever."""
        while True:
            read = await self.once()
            self.pulse()
            await asyncio.sleep(0.0 if read else LOOK_EVERY_S)

    async def once(self) -> int:
        """Some orders; how many were looked after. What stops one stays with it."""
        for id, port in self.deps.ports.items():
            if isinstance(port, OrdersToShip) and time.monotonic() >= self._listed_at.get(id, 0.0):
                self._listed_at[id] = time.monotonic() + LIST_EVERY_S
                await self._list(id, port)
                self.pulse()
        async with self.deps.store.begin() as tx:
            claimed = await unread.claim(tx, self.deps.ports.keys(), LEASE_S, AT_ONCE)
        for one in claimed:
            await self._read(one)
            self.pulse()
        return len(claimed)

    async def _list(self, id: ChannelId, port: OrdersToShip) -> None:
        """What waits to be shipped, page by page, where a page is a better use of a call; the end of a long list another time.
        What a list did not help is not listed again."""
        async with self.deps.store.begin() as tx:
            waiting, since = await unread.to_ship(tx, id)
        if since is None or waiting < FEW or self._listed.get(id) == (waiting, since):
            return
        self._listed[id] = (waiting, since)
        pages = port.orders_to_ship(since - SECOND, Ask(Priority.BACKGROUND, deadline=time.monotonic() + LIST_WAIT_S))
        read, asked_at = 0, self.deps.clock()
        try:
            async for page in pages:
                found = [replace(one, read_at=asked_at) for one in page.items]
                await keep_orders(self.deps, found, page.rejected, path=Way.PAGES.value)
                read, asked_at = read + len(found), self.deps.clock()
                self.pulse()
                if read >= waiting + port.to_ship_batch:
                    break
        except UNAVAILABLE:
            raise
        except HouseError as problem:
            # Without a slot now, and else for whatever single reads will meet as well, and say.
            if isinstance(problem, Throttled):
                del self._listed[id]
            log.info("orders.not_listed", extra={"channel": id, "waiting": waiting, "reason": problem.words})
        finally:
            if isinstance(pages, AsyncGenerator):
                await pages.aclose()
        if read:
            log.info("orders.listed", extra={"channel": id, "waiting": waiting, "read": read})

    async def _read(self, one: Unread) -> None:
        ask = Ask(Priority.BACKGROUND, deadline=time.monotonic() + PATIENCE_S, about=(f"order:{one.order}",))
        asked_at = self.deps.clock()
        try:
            found = await self.deps.ports[one.channel].order(OrderKey(one.external_id, one.marketplace, one.refs), ask)
            await keep_orders(self.deps, [replace(found, read_at=asked_at)], path="single read")
            # Done, unless the channel answers with an older version than it has told of, or has told of a newer one meanwhile.
            async with self.deps.store.begin() as tx:
                if one.attempts < MOST_ATTEMPTS:
                    await unread.put_off(tx, [one.order], _rest_s(one), "It answers with an older version.", free=False)
                else:
                    await unread.give_up(tx, [one.order])
        except HouseError as problem:
            await self._failed(one, problem)
        except UNAVAILABLE:
            raise
        except Exception as problem:
            # One that cannot be read or kept shall hold up no other.
            log.exception("order.unexpected", extra={"channel": one.channel, "order": one.order})
            await self._failed(one, as_house_error(problem, sent=False))

    async def _failed(self, one: Unread, problem: HouseError) -> None:
        extra = {"channel": one.channel, "order": one.order, "reason": problem.words}
        log.warning("order.not_completed", extra=extra)
        async with self.deps.store.begin() as tx:
            match problem:
                case Throttled():
                    await unread.put_off(tx, [one.order], problem.retry_after_s, problem.words, free=True)
                case MissingRole():
                    await unread.put_off(tx, [one.order], ROLE_WAIT_S, problem.words, free=True)
                case Unauthorized():
                    await unread.put_off(tx, [one.order], self.deps.timing.pause_s, problem.words, free=True)
                    await channel.pause(tx, one.channel, problem.message, self.deps.timing.pause_s)
                case Refused() if not isinstance(problem, NotFound) or one.attempts >= MOST_ATTEMPTS:
                    await unread.give_up(tx, [one.order])
                case _:
                    await unread.put_off(tx, [one.order], _rest_s(one), problem.words, free=False)


def _rest_s(one: Unread) -> float:
    return jittered(one.attempts, first_s=2.0, most_s=LONGEST_REST_S)
