"""A whole worker: woken by arq or by nobody, with Redis or without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from domain.ids import ChannelId
from domain.operation import Capability
from store import beat, event
from store.session import Store
from store.tables import operation, operation_item
from tests.workers.fake_port import FakePort, Fault, make_port
from tests.workers.house import make_deps, place_orders, ship, until, until_status, working
from workers.bell import QUEUE, ArqBell, arq_redis
from workers.deps import Timing
from workers.relay import Relay
from workers.worker import work

NOWHERE = "redis://127.0.0.1:1/0"
# As in production: only what is not waited for here is shortened.
USUAL = Timing(settle_s=0.2)


@pytest.fixture
def port() -> FakePort:
    return make_port()


@pytest.fixture
async def bell(redis: Redis, redis_url: str) -> AsyncIterator[ArqBell]:
    made = ArqBell(arq_redis(redis_url))
    yield made
    await made.close()


async def _pickups(store: Store) -> list[float]:
    """Seconds from the commit of each operation to its intent to send."""
    query = select(operation.c.created_at, operation_item.c.sent_at).join_from(operation_item, operation)
    async with store.begin() as tx:
        return [(row.sent_at - row.created_at).total_seconds() for row in await tx.execute(query)]


async def test_a_ring_is_heard_at_once(
    store: Store, redis: Redis, redis_url: str, port: FakePort, bell: ArqBell
) -> None:
    orders = await place_orders(store, port, 20)
    port.visibility_lag_s = 60.0
    # A sweep that never comes: only the bell can wake the lane.
    async with working(make_deps(store, redis, [port], timing=Timing(sweep_s=3600.0)), redis_url):
        await until(lambda: _is_listening(redis))
        for one in orders:
            id = await ship(store, [one])
            await bell.ring(port.channel.id, Capability.SHIPMENTS)
            await until_status(store, id, "ACCEPTED")
    pickups = await _pickups(store)
    assert (len(pickups), bell.lost) == (20, 0)
    assert max(pickups) < 60.0, "the sweep comes in an hour"


async def _is_listening(redis: Redis) -> bool:
    return bool(await redis.keys(f"{QUEUE}:health:*"))


async def test_without_arq_the_sweep_picks_up(store: Store, redis: Redis, port: FakePort) -> None:
    orders = await place_orders(store, port, 5)
    port.visibility_lag_s = 60.0
    async with working(make_deps(store, redis, [port], timing=USUAL)):
        for one in orders:
            await until_status(store, await ship(store, [one]), "ACCEPTED")
    pickups = await _pickups(store)
    assert len(pickups) == 5


async def test_without_redis_at_all_shipments_are_carried_out(store: Store, port: FakePort) -> None:
    away = Redis.from_url(NOWHERE)
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    async with working(make_deps(store, away, [port]), NOWHERE):
        await until_status(store, id, "VERIFIED")
    await away.aclose()
    assert len(port.effects) == 1


async def test_flushing_redis_again_and_again_loses_nothing(
    store: Store, redis: Redis, redis_url: str, port: FakePort, bell: ArqBell
) -> None:
    orders = await place_orders(store, port, 30)
    port.faults.extend([Fault.APPLIED_THEN_LOST, None, None] * 5)
    async with working(make_deps(store, redis, [port], timing=USUAL), redis_url):
        made = []
        for one in orders:
            made.append(await ship(store, [one]))
            await bell.ring(port.channel.id, Capability.SHIPMENTS)
            await redis.flushall()
        for id in made:
            await until_status(store, id, "VERIFIED")
    assert sorted(effect.order for effect in port.effects) == sorted(one.external_id for one in orders)


async def test_the_ear_hears_again_after_redis_was_away(
    store: Store, redis: Redis, redis_url: str, port: FakePort, bell: ArqBell
) -> None:
    port.visibility_lag_s = 60.0
    [one] = await place_orders(store, port, 1)
    async with working(make_deps(store, redis, [port], timing=Timing(sweep_s=3600.0)), redis_url):
        await until(lambda: _is_listening(redis))
        # Every connection is cut; arq gives up at the first one that it uses.
        await redis.client_kill_filter(_type="normal", skipme=True)
        id = await ship(store, [one])
        await bell.ring(port.channel.id, Capability.SHIPMENTS)
        await until_status(store, id, "ACCEPTED")


async def test_a_dead_workers_ring_in_progress_holds_nothing_up(
    store: Store, redis: Redis, redis_url: str, port: FakePort, bell: ArqBell
) -> None:
    [one] = await place_orders(store, port, 1)
    job = f"drain:{port.channel.id}:shipments"
    # As a worker leaves it that was killed between taking the ring and waking the lane.
    await bell.ring(port.channel.id, Capability.SHIPMENTS)
    await redis.set(f"arq:in-progress:{job}", b"1", ex=3600)
    async with working(make_deps(store, redis, [port]), redis_url):
        id = await ship(store, [one])
        await bell.ring(port.channel.id, Capability.SHIPMENTS)
        await until_status(store, id, "VERIFIED")
        assert await redis.zscore(QUEUE, job) is not None
    assert bell.lost == 0


async def test_a_job_carries_ids_as_json_and_leaves_nothing_behind(
    store: Store, redis: Redis, redis_url: str, port: FakePort, bell: ArqBell
) -> None:
    await bell.ring(port.channel.id, Capability.SHIPMENTS)
    await bell.ring(port.channel.id, Capability.SHIPMENTS)
    job = await redis.get("arq:job:drain:shop:shipments")
    assert await redis.zcard(QUEUE) == 1
    assert job is not None
    assert b'"a": ["shop", "shipments"], "k": {}' in job
    async with working(make_deps(store, redis, [port]), redis_url):
        await until(lambda: _no_jobs(redis))
    assert [key for key in await redis.keys("arq:*") if not key.startswith(b"arq:queue")] == []


async def _no_jobs(redis: Redis) -> bool:
    return not await redis.exists("arq:job:drain:shop:shipments") and not await redis.zcard(QUEUE)


async def test_a_ring_for_what_is_not_known_here_is_passed_by(
    store: Store, redis: Redis, redis_url: str, port: FakePort, bell: ArqBell
) -> None:
    await bell.redis.enqueue_job("drain", "shop", "teleports", _job_id="drain:shop:teleports")
    port.visibility_lag_s = 60.0
    [one] = await place_orders(store, port, 1)
    async with working(make_deps(store, redis, [port], timing=Timing(sweep_s=3600.0)), redis_url):
        await until(lambda: _no_teleports(redis))
        id = await ship(store, [one])
        await bell.ring(port.channel.id, Capability.SHIPMENTS)
        await until_status(store, id, "ACCEPTED")


async def _no_teleports(redis: Redis) -> bool:
    return not await redis.exists("arq:job:drain:shop:teleports")


async def test_a_bell_without_redis_is_counted_and_ends_nothing(redis: Redis) -> None:
    bell = ArqBell(arq_redis(NOWHERE))
    await bell.ring(ChannelId("shop"), Capability.SHIPMENTS)
    await until(lambda: _lost(bell, 1))
    await bell.close()


async def _lost(bell: ArqBell, count: int) -> bool:
    return bell.lost == count


async def test_a_bell_whose_redis_is_silent_lets_its_caller_go(redis: Redis) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    number = server.sockets[0].getsockname()[1]
    bell = ArqBell(arq_redis(f"redis://127.0.0.1:{number}/0"))
    # Nothing but the bell's own patience ends the wait.
    bell.redis.connection_pool.connection_kwargs["socket_timeout"] = None
    async with asyncio.timeout(60):
        await bell.ring(ChannelId("shop"), Capability.SHIPMENTS)
    assert (len(bell._ringing), bell.lost) == (1, 0), "it would be silent for ever"
    await bell.close()
    server.close()


async def test_a_stop_is_obeyed_at_any_moment_of_the_start(
    store: Store, redis: Redis, redis_url: str, port: FakePort
) -> None:
    # A client of Redis that is just connecting may swallow the first cancellation.
    for moment in range(20):
        stop = asyncio.Event()
        worker = asyncio.create_task(work(make_deps(store, redis, [port]), stop, bell_url=redis_url))
        for _ in range(moment * 4):
            await asyncio.sleep(0)
        stop.set()
        async with asyncio.timeout(60):
            await worker


async def test_a_last_relay_that_fails_is_logged(
    store: Store, redis: Redis, port: FakePort, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: Relay) -> bool:
        raise ZeroDivisionError

    async with working(make_deps(store, redis, [port])):
        monkeypatch.setattr(Relay, "once", broken)
    told = [record.__dict__["reason"] for record in caplog.records if record.message == "worker.last_relay_failed"]
    assert told == ["ZeroDivisionError"]


async def test_a_worker_gives_signs_of_life(store: Store, redis: Redis, port: FakePort) -> None:
    async with working(make_deps(store, redis, [port])):
        await until(lambda: _alive(store))


async def _alive(store: Store) -> bool:
    async with store.begin() as tx:
        return await beat.alive(tx, 5.0) == 1


async def test_subscribers_hear_the_newest_place(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)

    async def newest_is_rung() -> bool:
        rung = await redis.xrevrange(event.BELL, count=1)
        async with store.begin() as tx:
            head = str(await event.head(tx)).encode()
        return bool(rung) and rung[0][1] == {b"seq": head}

    async with working(make_deps(store, redis, [port])):
        id = await ship(store, [one])
        await until_status(store, id, "VERIFIED")
        await until(newest_is_rung)
