"""A lane in a process: woken often, drained once, stopped in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from adapters.port import Parcel
from domain.budget import Ask
from domain.errors import NotFound
from domain.ids import ChannelId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.operation import Capability, ClaimedItem
from domain.order import Order
from store import intake, ledger, product
from store.session import Store
from tests.workers.fake_port import FakePort, Fault, make_listing, make_order, make_port
from tests.workers.house import (
    SHOP,
    SHORT,
    drained,
    make_deps,
    make_lanes,
    place_orders,
    ship,
    statuses,
    until,
    until_status,
    working,
)
from tests.workers.market import BERLIN
from workers import shipments
from workers.deps import Deps
from workers.lanes import WIDTH, WIDTH_TOGETHER, Lane, Lanes, Worked
from workers.mapping import with_our_skus


@pytest.fixture
def port() -> FakePort:
    return make_port()


async def most_in_hand(store: Store, redis: Redis, port: FakePort, width: int) -> int:
    """How many parcels a lane has in hand at the most, where none ends before `width` are."""
    in_hand, most, gate = 0, 0, asyncio.Event()

    async def watched(deps: Deps, item: ClaimedItem) -> Worked:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        if in_hand == width:
            gate.set()
        await gate.wait()
        worked = await shipments.work(deps, item)
        in_hand -= 1
        return worked

    port.visibility_lag_s = 60.0
    await drained(Lanes(make_deps(store, redis, [port]), {Capability.SHIPMENTS: watched}), "shop")
    return most


async def test_a_lane_keeps_ten_items_in_hand_and_goes_on_as_each_ends(
    store: Store, redis: Redis, port: FakePort
) -> None:
    id = await ship(store, await place_orders(store, port, 25))
    assert (await most_in_hand(store, redis, port, WIDTH), len(port.effects)) == (WIDTH, 25)
    assert await statuses(store, id) == ["ACCEPTED"] * 25


class Booked(FakePort):
    """Tells of many orders in one call."""

    orders_batch = 50

    async def orders_named(self, ids: Sequence[str], ask: Ask) -> list[Order]:
        return [self.orders[id] for id in ids]


async def test_a_channel_that_tells_of_many_orders_at_once_has_more_in_hand(store: Store, redis: Redis) -> None:
    port = Booked(make_port().channel)
    await ship(store, await place_orders(store, port, 25))
    most = await most_in_hand(store, redis, port, WIDTH_TOGETHER)
    assert (most, len(port.effects)) == (WIDTH_TOGETHER, 25)


async def test_a_lane_is_drained_once_at_a_time(store: Store, redis: Redis, port: FakePort) -> None:
    await ship(store, await place_orders(store, port, 3))
    lanes = make_lanes(make_deps(store, redis, [port]))
    for _ in range(20):
        lanes.wake(SHOP)
    assert len(lanes._draining) == 1
    await lanes.idle()
    assert (len(port.effects), lanes._draining) == (3, {})


async def test_a_ring_during_the_last_look_is_not_lost(store: Store, redis: Redis, port: FakePort) -> None:
    deps = make_deps(store, redis, [port])
    lanes = make_lanes(deps)
    [one] = await place_orders(store, port, 1)
    claim, looks = lanes._claim, 0

    async def claim_then_commit(lane: Lane, limit: int) -> list[ClaimedItem]:
        nonlocal looks
        looks += 1
        claimed = await claim(lane, limit)
        if looks == 1:
            # Committed and rung between this look, which found nothing, and the end of the drain.
            await ship(store, [one])
            lanes.wake(SHOP)
        return claimed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lanes, "_claim", lambda self, lane, limit: claim_then_commit(lane, limit))
        await drained(lanes, "shop")
    assert len(port.effects) == 1


async def test_two_workers_share_a_lane_and_send_nothing_twice(store: Store, redis: Redis, port: FakePort) -> None:
    id = await ship(store, await place_orders(store, port, 40))
    port.visibility_lag_s = 60.0
    first, second = make_lanes(make_deps(store, redis, [port])), make_lanes(make_deps(store, redis, [port]))
    await asyncio.gather(drained(first, "shop"), drained(second, "shop"))
    await drained(first, "shop")
    assert await statuses(store, id) == ["ACCEPTED"] * 40
    assert (len(port.effects), port.calls["confirm"]) == (40, 40)


async def test_without_budget_a_lane_is_left_alone_instead_of_turned_over(
    store: Store, redis: Redis, port: FakePort
) -> None:
    id = await ship(store, await place_orders(store, port, 30))
    port.faults.extend([Fault.NO_BUDGET] * 30)
    port.slot_s = 600.0
    lanes = make_lanes(make_deps(store, redis, [port]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workers.calls.LONGEST_HOLD_S", 600.0)
        await drained(lanes, "shop")
    # What was in hand came back; the other items were not claimed to be refused one by one.
    assert port.calls["confirm"] <= 2 * WIDTH
    assert await statuses(store, id) == ["PENDING"] * 30


async def test_a_channel_that_cannot_be_reached_is_left_alone(store: Store, redis: Redis, port: FakePort) -> None:
    id = await ship(store, await place_orders(store, port, 30))
    port.faults.extend([Fault.NOT_CONNECTED] * 30)
    lanes = make_lanes(make_deps(store, redis, [port]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workers.calls.jittered", lambda failures, **_: 600.0)
        await drained(lanes, "shop")
        await drained(lanes, "shop")
    assert port.calls["confirm"] <= 2 * WIDTH
    assert await statuses(store, id) == ["PENDING"] * 30


async def test_a_stop_finishes_what_is_in_hand_and_claims_nothing_more(
    store: Store, redis: Redis, port: FakePort
) -> None:
    id = await ship(store, await place_orders(store, port, 15))
    reached, gate = asyncio.Event(), asyncio.Event()

    async def wait(order: str, parcel: Parcel) -> None:
        reached.set()
        await gate.wait()

    port.in_flight = wait
    port.visibility_lag_s = 60.0
    lanes = make_lanes(make_deps(store, redis, [port]))
    lanes.wake(SHOP)
    await reached.wait()
    closing = asyncio.create_task(lanes.close(60.0))
    await until(lambda: _closed(lanes))
    gate.set()
    await closing
    assert sorted(await statuses(store, id)) == ["ACCEPTED"] * WIDTH + ["PENDING"] * 5
    lanes.wake(SHOP)
    assert lanes._draining == {}


async def _closed(lanes: Lanes) -> bool:
    return lanes._closed


async def test_a_stop_does_not_wait_for_ever(store: Store, redis: Redis, port: FakePort) -> None:
    id = await ship(store, await place_orders(store, port, 1))
    reached = asyncio.Event()

    async def hang(order: str, parcel: Parcel) -> None:
        reached.set()
        await asyncio.Event().wait()

    port.in_flight = hang
    lanes = make_lanes(make_deps(store, redis, [port], timing=replace(SHORT, lease_s=30.0)))
    lanes.wake(SHOP)
    await reached.wait()
    await lanes.close(0.1)
    # Its intent stays on the row: whoever comes next reads back.
    assert (await statuses(store, id), lanes._draining) == (["SENT"], {})


async def test_a_platform_that_never_answers_is_given_up_with_the_lease(
    store: Store, redis: Redis, port: FakePort
) -> None:
    id = await ship(store, await place_orders(store, port, 1))

    async def hang(order: str, parcel: Parcel) -> None:
        await asyncio.Event().wait()

    port.in_flight = hang
    lanes = make_lanes(make_deps(store, redis, [port], timing=replace(SHORT, lease_s=0.3)))
    lanes.wake(SHOP)
    await until_status(store, id, "SENT")
    await until(lambda: _unknown(store, port, lanes))
    await lanes.close(1.0)


async def _unknown(store: Store, port: FakePort, lanes: Lanes) -> bool:
    return port.calls["look"] > 0 or not lanes._draining


async def test_lanes_of_channels_that_are_not_configured_are_passed_by(
    store: Store, redis: Redis, port: FakePort
) -> None:
    lanes = make_lanes(make_deps(store, redis, [port]))
    lanes.wake(Lane(ChannelId("gone"), Capability.SHIPMENTS))
    assert lanes._draining == {}


@pytest.mark.parametrize("problem", [None, NotFound("It is gone.")])
async def test_what_is_seen_shipped_has_left_its_place_whether_or_not_its_order_can_be_read(
    store: Store, redis: Redis, port: FakePort, problem: Exception | None
) -> None:
    deps = make_deps(store, redis, [port], locations=[BERLIN])
    sold = make_order(port, "O-1", units=3, sku="A")
    sold.lines = with_our_skus(deps.sku_map, port.channel.id, sold.lines)
    port.orders = {sold.external_id: sold}
    async with store.begin() as tx:
        await product.upsert_listings(tx, [replace(make_listing(port, "A"), sku=Sku("A"))])
        entry = NewEntry(Sku("A"), BERLIN.code, EntryKind.COUNT, "counted", "tests", "test", on_hand=10)
        await ledger.post(tx, [entry])
        await intake.keep_orders(tx, [sold], deps.locations)
        assert [(one.on_hand, one.reserved) for one in (await ledger.balances(tx, [Sku("A")]))[Sku("A")]] == [(10, 3)]
    port.order_faults.append(problem)
    id = await ship(store, [sold], units=2)
    async with working(deps):
        await until_status(store, id, "VERIFIED")
    async with store.begin() as tx:
        assert [(one.on_hand, one.reserved) for one in (await ledger.balances(tx, [Sku("A")]))[Sku("A")]] == [(8, 1)]
        assert (await ledger.check(tx)).wrong == []
