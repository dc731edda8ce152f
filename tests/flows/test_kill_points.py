"""A worker dies by the hand of the kernel at each place between two side effects, at both platforms: one shipment, one story."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from benchmarks.rehearsal import Crew, Stage, doubtful, make_shelf, read, ship, stage, why
from domain.channel import StreamName
from domain.event import EventKind
from domain.ids import ChannelId, OperationId
from domain.operation import FINISHED, OPEN, OperationStatus
from domain.order import Order
from gateway.wiring import build_house
from store import event, operation, stream
from store.tables import operation_item
from workers import crash
from workers.bell import ArqBell, SilentBell, arq_redis
from workers.deps import Timing
from workers.lanes import DEATHS

QUICK = Timing(lease_s=4.0, budget_wait_s=2.0, settle_s=0.8, stream_lease_s=3.0, finish_s=5.0)

# Passed by every shipment; the rest have tests of their own below.
OF_EACH = (
    "after_claim",
    "before_intent",
    "after_intent",
    "after_send",
    "before_record",
    "inside_record",
    "after_record",
    "before_accepted",
    "after_accepted",
    "after_verify_read",
    "before_verify_record",
    "after_verified",
    "before_relay_commit",
    "after_relay_commit",
)
OF_SOME = ("before_ring", "after_look", "after_page", "before_cursor")
# Of numbers, whose workers die in tests/workers/test_push.py.
OF_NUMBERS = ("before_tell", "after_tell", "before_shown_record")
# Of webhooks, whose workers die in tests/workers/test_webhooks_out.py.
OF_WEBHOOKS = tuple(one for one in crash.POINTS if "webhook" in one or "spread" in one)
# Of what another platform ships, whose workers die in tests/workers/test_outbound.py.
OF_OUTBOUND = tuple(one for one in crash.POINTS if "outbound" in one)
# Of canaries of prices, whose workers die in tests/workers/test_price_canary.py.
OF_CANARIES = tuple(one for one in crash.POINTS if "canary" in one)
# Of prices, whose workers die in tests/workers/test_prices_crash.py.
OF_PRICES = tuple(one for one in crash.POINTS if "prices" in one)
PLATFORMS = ("amazon-na", "shop")


@pytest.fixture(scope="module")
async def on(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
    directory = tmp_path_factory.mktemp("kill-points")
    async with stage(new_database(), redis_url, directory, orders=300, speed=30.0) as made:
        yield made


@pytest.fixture
async def crew(on: Stage) -> AsyncIterator[Crew]:
    hired = on.crew(QUICK)
    yield hired
    await asyncio.to_thread(hired.dismiss)


def only(crew: Crew, channel: str) -> None:
    """From now on hire workers that know no other channel, so that each death is one of the platform's that is asked for."""
    whole = Path(crew.settings["config"])
    blocks = whole.read_text(encoding="utf-8").split("\n[[")
    kept, inside = [], False
    for block in blocks:
        head = block.lstrip("[")
        if head.startswith("channels]]"):
            inside = f'id = "{channel}"' in block
        if head.startswith("locations]]"):
            inside = channel == "shop"
        if inside:
            kept.append(block.lstrip("["))
    path = whole.with_name(f"{channel}.toml")
    path.write_text("[[" + "\n[[".join(kept), encoding="utf-8")
    crew.settings = {**crew.settings, "config": str(path)}


async def died(member: multiprocessing.process.BaseProcess) -> None:
    """Wait until the worker is dead, and see that it died where it was told to."""
    await asyncio.to_thread(member.join, 60)
    assert member.exitcode == 137


async def ended(on: Stage, ids: list[OperationId]) -> dict[OperationId, OperationStatus]:
    """The statuses once all operations have come to an end."""
    async with asyncio.timeout(120):
        while True:
            async with on.house.store.begin() as tx:
                found = await operation.by_ids(tx, ids)
            if all(one.status in FINISHED for one in found.values()):
                return {id: found[id].status for id in ids}
            await asyncio.sleep(0.1)


async def most_deaths(on: Stage, ids: list[OperationId]) -> int:
    """How many workers at most have died over one item that is still open."""
    i = operation_item.c
    async with on.house.store.begin() as tx:
        query = select(func.max(i.claims)).where(i.operation_id.in_(ids), i.status.in_([one.value for one in OPEN]))
        return await tx.scalar(query) or 0


def take(on: Stage, channel: str, count: int) -> list[Order]:
    """Orders that nobody else in this file ships."""
    return [on.orders[ChannelId(channel)].pop() for _ in range(count)]


def judged(on: Stage, orders: list[Order]) -> dict[str, str]:
    """What is wrong with the orders, by their ids."""
    effects = on.effects()
    found = {one.external_id: doubtful(one, effects.get(one.external_id, [])) for one in orders}
    return {id: wrong for id, wrong in found.items() if wrong is not None}


def test_every_place_is_died_at() -> None:
    assert sorted(OF_EACH + OF_SOME + OF_NUMBERS + OF_OUTBOUND + OF_WEBHOOKS + OF_CANARIES + OF_PRICES) == sorted(
        crash.POINTS
    )


@pytest.mark.parametrize("channel", PLATFORMS)
async def test_one_shipment_has_one_effect_wherever_its_worker_dies(on: Stage, crew: Crew, channel: str) -> None:
    only(crew, channel)
    shelf = make_shelf(on.house, SilentBell())
    orders = take(on, channel, len(OF_EACH))
    made: list[OperationId] = []
    for place, one in zip(OF_EACH, orders, strict=True):
        made.append((await ship(shelf, [one], f"{channel}-{place}")).id)
        # Also finds what the one before it has left behind, and may die over that: all the better.
        await died(crew.hire(crash_at=place))
        if await most_deaths(on, made) == DEATHS - 1:
            # Once more, and it would be left to a person.
            crew.hire()
            await ended(on, made)
            await asyncio.to_thread(crew.dismiss)
    crew.hire()
    found = await ended(on, made)
    assert found == dict.fromkeys(made, OperationStatus.SUCCEEDED), await why(on.house.store, made)
    assert judged(on, orders) == {}
    await told_without_gaps(on, made)


async def told_without_gaps(on: Stage, ids: list[OperationId]) -> None:
    """Each operation's story is told to its end, once, and no place in the order of events is missing or taken twice."""
    async with asyncio.timeout(30):
        while True:
            async with on.house.store.begin() as tx:
                events = await event.after(tx, 0, limit=10_000)
            stories: defaultdict[str, list[str]] = defaultdict(list)
            for told in events:
                if told.kind is EventKind.OPERATION_CHANGED:
                    stories[told.subject].append(str(told.data["status"]))
            if all(stories[id] and stories[id][-1] == "SUCCEEDED" for id in ids):
                break
            await asyncio.sleep(0.1)
    assert [told.seq for told in events] == list(range(1, len(events) + 1))
    for id in ids:
        assert stories[id][0] == "QUEUED"
        assert stories[id].count("SUCCEEDED") == 1


@pytest.mark.parametrize("channel", PLATFORMS)
async def test_a_death_over_an_unknown_outcome_sends_nothing_again(on: Stage, crew: Crew, channel: str) -> None:
    only(crew, channel)
    [one] = take(on, channel, 1)
    on.fail(1.0, seed=1)
    made = (await ship(make_shelf(on.house, SilentBell()), [one], f"{channel}-after_look")).id
    await died(crew.hire(crash_at="after_look"))
    assert on.injected() == 1
    crew.hire()
    assert await ended(on, [made]) == {made: OperationStatus.SUCCEEDED}
    on.fail(0.0, seed=1)
    assert judged(on, [one]) == {}


@pytest.mark.parametrize("place", ["after_page", "before_cursor"])
async def test_a_synchronization_is_taken_up_where_a_worker_died(on: Stage, crew: Crew, place: str) -> None:
    only(crew, "shop")
    id = ChannelId("shop")
    async with on.house.store.begin() as tx:
        await stream.force(tx, id, StreamName.ORDERS)
        before = {state.name: state for state in await stream.states(tx, [id])}[StreamName.ORDERS]
    await died(crew.hire(crash_at=place))
    crew.hire()
    async with asyncio.timeout(30):
        while True:
            async with on.house.store.begin() as tx:
                now = {state.name: state for state in await stream.states(tx, [id])}[StreamName.ORDERS]
            if now.last_success_at != before.last_success_at:
                break
            await asyncio.sleep(0.1)
    assert now.last_error is None


async def test_a_gateway_that_dies_between_commit_and_ring_loses_nothing(on: Stage, crew: Crew) -> None:
    orders = [order for channel in PLATFORMS for order in take(on, channel, 1)]
    context = multiprocessing.get_context("forkserver")
    gateway = context.Process(target=_confirm_and_die, args=(on.settings, orders))
    gateway.start()
    await died(gateway)
    crew.hire()
    async with on.house.store.begin() as tx:
        found, _ = await operation.page(tx, first=5, requested_by="rehearsal")
    [made] = [one.id for one in found if one.idempotency_key == "gateway"]
    assert await ended(on, [made]) == {made: OperationStatus.SUCCEEDED}
    assert judged(on, orders) == {}


def _confirm_and_die(settings: dict[str, str], orders: list[Order]) -> None:
    """A process that commits an operation and dies before it can ring for it."""
    crash.plan("before_ring")

    async def main() -> None:
        house = await build_house(read(settings))
        bell = ArqBell(arq_redis(settings["redis_url"]))
        await ship(make_shelf(house, bell), orders, "gateway")

    asyncio.run(main())


async def test_workers_stop_in_order(on: Stage) -> None:
    crew = on.crew(QUICK)
    for _ in range(3):
        crew.hire()
    pids = {str(member.pid) for member in crew.members}
    async with asyncio.timeout(60):
        while _started(crew) & pids != pids:
            await asyncio.sleep(0.05)
    assert await asyncio.to_thread(crew.dismiss) == [0, 0, 0]


def _started(crew: Crew) -> set[str]:
    """The processes that have told of their start."""
    log = crew.logs / "workers.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return {line.split()[1] for line in lines if "worker.started" in line}
