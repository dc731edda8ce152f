"""One state, by whatever paths orders come, in whatever order, however often."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from adapters.order_paths import OrderPaths
from adapters.port import OrderKey
from domain.budget import Ask, Priority
from domain.ids import OrderId, Sku
from domain.order import Order, OrderStatus
from domain.product import FulfilledBy, SkuMap
from domain.route import Way
from store import intake
from store.session import Store
from tests.adapters.amazon.bench import Desk, Sandbox, go, make_config, make_desk, make_parcel
from tests.conftest import emptied
from tests.store.warehouse import MAIN, entry, place, posted, products, wrong
from workers.mapping import with_our_skus

# The long profile takes all 5,000; each run is as many times longer.
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
SEEDED = 18_760 if LONG else 1_500
BATCH = 500
TIMES = 10
CALLS = ("searchOrders", "getOrder", "confirmShipment", "createReport", "getReport", "getReportDocument")
PLACES = [place(MAIN)]


@pytest.fixture(scope="module")
async def busy() -> AsyncIterator[Sandbox]:
    """Some four in fifteen of the orders are those of the American account. Changes are seen at once."""
    started = Sandbox("--orders", str(SEEDED), "--products", "300")
    await started.post("lag", {"seconds": 0})
    await started.generous(*CALLS)
    await started.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    yield started
    await started.close()


def later(one: Order) -> Order:
    """As it would be, were it placed from now on: of what had left before the first count nothing is counted."""
    shift = timedelta(days=40)
    lines = with_our_skus(SkuMap(), one.channel, one.lines)
    return replace(one, placed_at=one.placed_at + shift, updated_at=one.updated_at + shift, lines=lines)


async def read(desk: Desk, since: datetime) -> list[Order]:
    """All that all paths tell; of each order at most one single read."""
    ask, port = Ask(Priority.BACKGROUND), desk.port
    assert isinstance(port, OrderPaths)
    told: list[Order] = []
    for way in (Way.PAGES, Way.REPORT):
        at = datetime.now(UTC)
        pages = [page async for page in port.order_pages_by(way, since, ask)]
        told += [replace(one, read_at=at) for page in pages for one in page.items]
    return told


async def moved(desk: Desk, sandbox: Sandbox, orders: Sequence[Order]) -> list[Order]:
    """Some of the orders move on at Amazon: every other one that waits for us is shipped, the others are cancelled."""
    waiting = [
        one for one in orders if one.status is OrderStatus.UNSHIPPED and one.fulfilled_by is FulfilledBy.MERCHANT
    ]
    chosen = waiting[: len(waiting) // 4]
    for turn, one in enumerate(chosen):
        if turn % 2:
            await sandbox.post("orders", {"id": one.external_id, "status": "CANCELLED"})
        else:
            lines = [(line.external_id, line.quantity) for line in one.lines]
            parcel = make_parcel(*lines, tracking_number=f"T{turn}")
            await desk.port.confirm_shipment(OrderKey(one.external_id, one.marketplace), parcel, Ask(), go)
    return chosen


async def alone(desk: Desk, orders: Sequence[Order]) -> list[Order]:
    """By single reads."""
    at, ask = datetime.now(UTC), Ask(Priority.BACKGROUND)
    keys = [OrderKey(one.external_id, one.marketplace) for one in orders]
    return [replace(await desk.port.order(key, ask), read_at=at) for key in keys]


async def state(store: Store) -> bytes:
    """What is known of orders and what they take from the ledger."""
    queries = (
        'select * from "order" order by id',
        "select * from order_line order by id",
        "select order_line_id, sku, location, order_id, quantity, shipped from order_allocation"
        " where quantity > 0 or shipped > 0 order by 1, 2, 3",
        "select sku, location, on_hand, reserved from stock_balance order by 1, 2",
        "select order_id, told_at from order_unread order by 1",
    )
    async with store.begin() as tx:
        return repr([(await tx.execute(text(query))).all() for query in queries]).encode()


async def keep(store: Store, deliveries: Sequence[Order]) -> None:
    for start in range(0, len(deliveries), BATCH):
        async with store.begin() as tx:
            await intake.keep_orders(tx, deliveries[start : start + BATCH], PLACES)


async def fresh(store: Store, skus: Collection[Sku]) -> None:
    """Nothing but plenty of everything."""
    await emptied(store)
    await products(store, *sorted(skus))
    await posted(store, *(entry(sku, 10**6) for sku in sorted(skus)))


async def test_whatever_path_brings_which_version_how_often_and_when_the_same_bytes_stand_in_the_end(
    store: Store, redis: Redis, busy: Sandbox
) -> None:
    """Every order comes ten times, out of the readings of all paths before and after some of them have moved on."""
    desk = make_desk(redis, make_config("na", busy.url))
    since = datetime.now(UTC) - timedelta(days=29)
    try:
        first = await read(desk, since)
        chosen = await moved(desk, busy, [one for one in first if one.whole])
        readings = [*first, *await read(desk, since), *await alone(desk, chosen)]
    finally:
        await desk.close()
    by_order: defaultdict[OrderId, list[Order]] = defaultdict(list)
    for one in map(later, readings):
        by_order[one.id].append(one)
    assert len(by_order) > (4500 if LONG else 300)
    assert {len({one.updated_at for one in found if one.whole}) for found in by_order.values()} == {1, 2}
    skus = {line.sku for one in readings for line in later(one).lines if line.sku is not None}
    ends = []
    for seed in (1, 2):
        dice = random.Random(seed)
        deliveries = [
            one for found in by_order.values() for one in [*found, *dice.choices(found, k=max(0, TIMES - len(found)))]
        ]
        dice.shuffle(deliveries)
        await fresh(store, skus)
        await keep(store, deliveries)
        ends.append(await state(store))
    assert ends[0] == ends[1]
    # The richest reading of the newest version, in one piece, tells the same.
    await fresh(store, skus)
    await keep(
        store, [max(found, key=lambda one: (one.whole, one.updated_at, one.read_at)) for found in by_order.values()]
    )
    assert await state(store) == ends[0]
    # Twin: bytes of anything else differ.
    await fresh(store, skus)
    await keep(store, [min(found, key=lambda one: (one.whole, one.updated_at)) for found in by_order.values()])
    assert await state(store) != ends[0]
    assert await wrong(store) == []
