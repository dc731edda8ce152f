"""A small house around the workers: real engines, fake platforms, short times."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.budget import Budgets
from adapters.route import Routes
from domain.ids import ChannelId, OperationId
from domain.operation import Capability, Kind, NewItem, Operation, OperationStatus
from domain.order import Order
from domain.product import SkuMap
from store import operation, order
from store.budget import BudgetMemory
from store.session import Store
from store.tables import operation_item
from tests.workers.fake_port import FakePort, make_order, make_warehouse
from workers.deps import Deps, Timing
from workers.lanes import Lane, Lanes
from workers.worker import HANDLERS, work

# Leases and the watchdog outlive a machine that stands still for a while. Who needs a lease to end calls `leases_over`.
SHORT = Timing(
    lease_s=30.0,
    budget_wait_s=0.5,
    settle_s=0.2,
    pause_s=0.5,
    sweep_s=0.1,
    relay_s=0.02,
    stream_lease_s=30.0,
    stall_s=600.0,
    finish_s=5.0,
)


SHOP = Lane(ChannelId("shop"), Capability.SHIPMENTS)


class Away(Store):
    """The store of a database that is away for the next `times` transactions."""

    def __init__(self, store: Store) -> None:
        self._there = store
        self.times = 0

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        if self.times:
            self.times -= 1
            raise OSError("connection refused")
        return self._there.begin()


def make_deps(
    store: Store,
    redis: Redis,
    ports: Sequence[FakePort],
    *,
    timing: Timing = SHORT,
    **more: Any,
) -> Deps:
    """Deps over `ports`; the first one counts the warehouse BER."""
    values: dict[str, Any] = {"sku_map": SkuMap(), "worker": f"test-{uuid4().hex[:6]}"}
    return Deps(
        store=store,
        ports={port.channel.id: port for port in ports},
        channels={port.channel.id: port.channel for port in ports},
        locations=more.pop("locations", None) or [make_warehouse(ports[0])],
        redis=redis,
        routes=more.pop("routes", None) or Routes(Budgets(redis, BudgetMemory(store))),
        clock=lambda: datetime.now(UTC),
        timing=timing,
        **(values | more),
    )


async def place_orders(store: Store, port: FakePort, count: int) -> list[Order]:
    """`count` orders of two units, at the platform and in our rows."""
    orders = [make_order(port, f"{port.channel.id}-{uuid4().hex[:8]}") for _ in range(count)]
    port.orders |= {one.external_id: one for one in orders}
    async with store.begin() as tx:
        await order.upsert(tx, orders)
    return orders


async def ship(store: Store, orders: Sequence[Order], *, units: int = 2) -> OperationId:
    """An operation that confirms one parcel per order."""
    items = [
        NewItem(
            channel=one.channel,
            capability=Capability.SHIPMENTS,
            resource=f"order:{one.id}",
            key=f"{one.channel}/{one.external_id}",
            payload={
                "order_id": one.id,
                "external_id": one.external_id,
                "marketplace": one.marketplace,
                "refs": dict(one.refs),
                "carrier": "DHL",
                "tracking_number": f"T-{one.external_id}-{uuid4().hex[:4]}",
                "shipped_at": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(),
                "lines": [[line.external_id, units] for line in one.lines],
            },
        )
        for one in orders
    ]
    async with store.begin() as tx:
        made, _ = await operation.create(
            tx,
            kind=Kind.CONFIRM_SHIPMENTS,
            requested_by="tests",
            idempotency_key=uuid4().hex,
            request_hash=json.dumps([item.key for item in items]),
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=items,
        )
    return made.id


async def operation_of(store: Store, id: OperationId) -> Operation:
    """The operation as it stands."""
    async with store.begin() as tx:
        return (await operation.by_ids(tx, [id]))[id]


async def item_of(store: Store, id: OperationId) -> Any:
    """The row of the operation's only item."""
    async with store.begin() as tx:
        return (await tx.execute(select(operation_item).where(operation_item.c.operation_id == id))).one()


async def leases_over(store: Store) -> None:
    """Whoever holds an item holds it no more."""
    async with store.begin() as tx:
        await tx.execute(update(operation_item).values(lease_until=None))


async def statuses(store: Store, id: OperationId) -> list[str]:
    """The statuses of the operation's items, in their order."""
    query = select(operation_item.c.status).where(operation_item.c.operation_id == id).order_by(operation_item.c.id)
    async with store.begin() as tx:
        return list(await tx.scalars(query))


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = 60.0, every_s: float = 0.02) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(every_s)


async def until_status(store: Store, id: OperationId, *wanted: str, within_s: float = 60.0) -> None:
    """Wait until the operation's items have these statuses; what they are instead stands in the failure."""
    try:
        async with asyncio.timeout(within_s):
            while await statuses(store, id) != list(wanted):
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"the items are {await statuses(store, id)}, not {list(wanted)}") from None


def make_lanes(deps: Deps) -> Lanes:
    """Lanes with all capabilities."""
    return Lanes(deps, HANDLERS)


async def drained(lanes: Lanes, *channels: str) -> None:
    """Wake the shipment lanes of `channels` once and wait until they have come to rest."""
    for channel in channels:
        lanes.wake(Lane(ChannelId(channel), Capability.SHIPMENTS))
    await lanes.idle()


@asynccontextmanager
async def working(deps: Deps, bell_url: str | None = None) -> AsyncIterator[None]:
    """A whole worker, stopped in order at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(work(deps, stop, bell_url=bell_url))
    try:
        yield
    finally:
        stop.set()
        await task
