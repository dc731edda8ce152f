"""Whatever becomes of notifications, what we know after the next synchronization is what a direct read tells; good ones only make
it known before."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from adapters.amazon.hints import Account, understood
from adapters.amazon.notifications import Desk, Queue, wanted
from adapters.amazon.platform import AmazonPort
from domain.budget import Ask, Priority
from domain.channel import Location
from domain.hint import Hint
from domain.ids import ChannelSku, OrderId, order_id
from store import order, quarantine, stock, tables
from store.session import Store
from tests.adapters.amazon import bench
from tests.adapters.amazon.bench import Sandbox, make_config, make_desk, make_pool
from tests.workers.house import make_deps
from workers.deps import Deps
from workers.hints import Hints, take
from workers.streams import sync_once

ARN = "arn:aws:sqs:us-east-1:444455556666:acorn"
TYPES = ("ORDER_CHANGE", "FBA_INVENTORY_AVAILABILITY_CHANGES")
CHANGES = 200
DAY_S = 86_400


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    started = Sandbox("--products", "120", "--orders", "40", "--lag", "0", "--marketplaces", "US")
    names = ("getInventorySummaries", "searchListingsItems", "searchOrders", "getOrder", "getDestinations")
    await started.generous(*names, "createDestination", "getSubscription", "createSubscription")
    yield started
    await started.close()


@dataclass(slots=True)
class Flow:
    """One account, its sandbox, and what we know of it."""

    sandbox: Sandbox
    desk: bench.Desk
    deps: Deps
    pool: Location
    fba: list[str]
    own: list[str]

    async def change(self, count: int, dice: random.Random) -> None:
        """So many changes: seven in ten of stock, the others orders that are placed."""
        stocked = count * 7 // 10
        for start in range(0, stocked, 100):
            entries = [
                {"sku": dice.choice(self.fba), "pool": "US", "quantity": dice.randrange(1, 10_000)}
                for _ in range(min(100, stocked - start))
            ]
            await self.sandbox.post("state", {"stock": entries})
        orders = [
            {"marketplace": "US", "lines": [{"sku": dice.choice(self.own), "quantity": 1}]}
            for _ in range(count - stocked)
        ]
        for start in range(0, len(orders), 100):
            await self.sandbox.post("state", {"orders": orders[start : start + 100]})

    async def hear(self) -> int:
        """Take what has come by now, as a queue brings it; how many there were."""
        account = Account(self.desk.channel, self.desk.config.seller_id, self.desk.config.client_id, ("US",))
        bodies = [json.dumps(one).encode() for one in (await self.sandbox.get("notifications/held"))["notifications"]]
        for start in range(0, len(bodies), 500):
            async with self.deps.store.begin() as tx:
                await take(tx, [_hint(account, raw) for raw in bodies[start : start + 500]])
        return len(bodies)

    async def look(self) -> Hints:
        """Look after all that waits."""
        work = Hints(self.deps, lambda: None)
        while await work.once():
            pass
        return work

    async def sync(self) -> None:
        """The ordinary synchronization, once."""
        assert await sync_once(self.deps, lambda *_: None) == {}

    async def direct(self) -> tuple[dict[str, tuple[int, int, int]], dict[OrderId, Any]]:
        """(units by SKU, orders) as the platform tells them now, page by page."""
        port, ask = self.desk.port, Ask(Priority.INTERACTIVE)
        units = {
            str(one.channel_sku): (one.on_hand, one.reserved, one.inbound)
            async for page in port.stock_pages([self.pool], ask)
            for one in page.items
        }
        since = datetime.now(UTC) - timedelta(days=400)
        orders = {
            one.id: (one.status, one.updated_at, [(line.external_id, line.quantity) for line in one.lines])
            async for page in port.order_pages(since, ask)
            for one in page.items
        }
        return units, orders

    async def known(self) -> tuple[dict[str, tuple[int, int, int]], dict[OrderId, Any]]:
        """The same as we know it."""
        async with self.deps.store.begin() as tx:
            kept = await stock.of_channel_skus(tx, self.desk.channel, [ChannelSku(sku) for sku in self.fba])
            ids = [OrderId(id) for id in await tx.scalars(select(tables.order.c.id))]
            units = {str(sku): (one.on_hand, one.reserved, one.inbound) for sku, (one, *_) in kept.items()}
            found = await order.by_ids(tx, ids)
        return units, {
            id: (one.status, one.updated_at, [(line.external_id, line.quantity) for line in one.lines])
            for id, one in found.items()
        }


@pytest.fixture
async def flow(sandbox: Sandbox, store: Store, redis: Redis) -> AsyncIterator[Flow]:
    desk = make_desk(redis, make_config("na", sandbox.url, seller_id="A1SANDBOXNA"))
    port, pool = desk.port, make_pool(desk.config)
    assert isinstance(port, AmazonPort)
    deps = make_deps(store, redis, [port], locations=[pool])  # type: ignore[list-item]  # a port as good as any
    skus = [one for one in (await sandbox.get("world"))["skus"] if "US" in one["marketplaces"]]
    kinds = {kind: [one["sku"] for one in skus if one["fulfilledBy"] == kind] for kind in ("AMAZON", "MERCHANT")}
    await sandbox.post("notifications", {"held": True, "lost": 0, "copies": 1, "delay": 0, "shuffle": False})
    await Desk(port.client, wanted(TYPES, Queue(ARN), None)).ensure(Ask(), apply=True)
    made = Flow(sandbox, desk, deps, pool, kinds["AMAZON"], kinds["MERCHANT"])
    await made.sync()
    yield made
    await desk.close()


def _hint(account: Account, raw: bytes) -> Hint:
    found = understood([account], raw)
    assert isinstance(found, Hint)
    return found


async def _arrived(flow: Flow) -> None:
    """Until nothing is under way at the sandbox."""
    async with asyncio.timeout(60):
        while (await flow.sandbox.get("notifications"))["pending"]:
            await asyncio.sleep(0.02)


async def test_good_notifications_tell_everything_before_the_poll_does(flow: Flow) -> None:
    units_before, orders_before = await flow.known()
    await flow.change(60, random.Random(1))
    await _arrived(flow)
    told = await flow.hear()
    work = await flow.look()
    # The search for orders leaves the last two minutes out, getOrder does not: only then can both be compared.
    await flow.sandbox.post("clock", {"advance": 180})
    assert await flow.known() == await flow.direct()
    assert await flow.known() != (units_before, orders_before)
    # Stock is asked for fifty SKUs at a time and each of the 18 orders once.
    assert told >= 60
    assert 19 <= work.asked <= 24


async def test_lost_doubled_shuffled_and_late_notifications_change_nothing_but_latency(
    flow: Flow, store: Store
) -> None:
    dice = random.Random(7)
    await flow.sandbox.post("notifications", {"lost": 0.3, "copies": 10, "delay": DAY_S, "shuffle": True})
    before = (await flow.sandbox.get("notifications"))["counts"]
    for part in range(4):
        await flow.change(CHANGES // 4, dice)
        await flow.sandbox.post("clock", {"advance": DAY_S / 4})
        await flow.hear()
        await flow.look()
        if part == 1:
            await flow.sync()
    await flow.sandbox.post("clock", {"advance": DAY_S})
    await _arrived(flow)
    counts = (await flow.sandbox.get("notifications"))["counts"]
    made, lost = (counts[name] - before.get(name, 0) for name in ("made", "lost"))
    assert made >= CHANGES
    assert 0.2 * made < lost < 0.4 * made
    late = await flow.hear()
    await flow.look()
    assert late > CHANGES
    direct = await flow.direct()
    # Without the poll some of it would never be known.
    assert await flow.known() != direct
    await flow.sync()
    assert await flow.known() == direct
    async with store.begin() as tx:
        ids = list(await tx.scalars(select(tables.hint.c.notification_id)))
        assert await quarantine.count(tx) == 0
    assert len(ids) == len(set(ids)) == made - lost


async def test_what_comes_long_after_it_was_read_undoes_nothing(flow: Flow) -> None:
    await flow.sandbox.post("notifications", {"delay": DAY_S})
    await flow.change(60, random.Random(3))
    await flow.sandbox.post("clock", {"advance": 180})
    await flow.sync()
    known = await flow.known()
    await flow.sandbox.post("clock", {"advance": DAY_S})
    await _arrived(flow)
    assert await flow.hear() >= 60
    work = await flow.look()
    assert await flow.known() == known == await flow.direct()
    assert work.saved >= 18
    assert order_id(flow.desk.channel, "none") not in known[1]
