"""The event hub: none missed, none told twice, in order; slow readers are let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from domain.event import Event, EventKind, NewEvent
from gateway import events
from gateway.events import ON_OVERFLOW, QUEUE, EventHub, Resume, Resync
from store import event
from store.session import Store
from tests.gateway.conftest import until
from tests.store.bench import give_places
from workers.watch import end

STOCK = frozenset({EventKind.STOCK_CHANGED})


async def append(store: Store, *subjects: str, kind: EventKind = EventKind.STOCK_CHANGED) -> None:
    async with store.begin() as tx:
        await event.append(tx, [NewEvent(kind, subject, {}) for subject in subjects])


async def relay(store: Store, redis: Redis | None = None) -> int:
    async with store.begin() as tx:
        placed = await event.relay(tx)
    if placed and redis is not None:
        await redis.xadd(event.BELL, {"seq": placed[-1].seq})
    return len(placed)


async def tell(store: Store, *subjects: str, redis: Redis | None = None) -> None:
    await append(store, *subjects)
    while not await relay(store, redis):
        await asyncio.sleep(0.005)


@pytest.fixture
async def hub(store: Store, redis: Redis, redis_url: str) -> AsyncIterator[EventHub]:
    made = EventHub(store, redis_url)
    task = asyncio.create_task(made.run())
    await until(lambda: made.place is not None)
    yield made
    await end([task])


async def take(source: AsyncIterator[Event], count: int) -> list[tuple[int, str]]:
    async with asyncio.timeout(30):
        return [(told.seq, told.subject) for told in [await anext(source) for _ in range(count)]]


async def test_a_subscriber_hears_what_concerns_it_in_order(store: Store, redis: Redis, hub: EventHub) -> None:
    source = hub.follow(kinds=STOCK, subjects=frozenset({"A", "B"}), after=0)
    await tell(store, "A", "C", "B", "A", redis=redis)
    await append(store, "A", kind=EventKind.ORDER_CHANGED)
    await relay(store, redis)
    await tell(store, "B", redis=redis)
    assert await take(source, 4) == [(1, "A"), (3, "B"), (4, "A"), (6, "B")]
    await source.aclose()


async def test_without_a_cursor_it_starts_now(store: Store, redis: Redis, hub: EventHub) -> None:
    await tell(store, "A", "A")
    source = hub.follow(kinds=STOCK, subjects=None, after=None)
    first = asyncio.create_task(take(source, 1))
    await until(lambda: hub.subscriber_count() == 1)
    await tell(store, "B", redis=redis)
    assert await first == [(3, "B")]
    await source.aclose()
    assert hub.subscriber_count() == 0


async def test_the_seam_between_replay_and_live_misses_and_doubles_nothing(
    store: Store, redis: Redis, hub: EventHub
) -> None:
    """Subscribers join from every place while events keep coming; each must see exactly the rest."""
    total, subscribers = 300, 12

    async def write() -> None:
        for number in range(total):
            await append(store, f"S{number % 3}")
            if number % 2:
                await relay(store, redis if number % 4 == 1 else None)

    async def follow(index: int) -> tuple[int, list[int]]:
        await until(lambda: (hub.place or 0) >= index * 15)
        after = index * 10
        source = hub.follow(kinds=STOCK, subjects=frozenset({"S0", "S1", "S2"}), after=after)
        got = [place for place, _ in await take(source, total - after)]
        await source.aclose()
        return after, got

    followers = [asyncio.create_task(follow(index)) for index in range(subscribers)]
    await write()
    while await relay(store, redis):
        pass
    await give_places(store)
    for after, got in await asyncio.gather(*followers):
        assert got == list(range(after + 1, total + 1))
    assert hub.subscriber_count() == 0


async def test_a_lost_bell_delays_and_loses_nothing(store: Store, redis: Redis, hub: EventHub) -> None:
    source = hub.follow(kinds=STOCK, subjects=None, after=0)
    await tell(store, "A")
    await redis.flushdb()
    await tell(store, "B")
    assert await take(source, 2) == [(1, "A"), (2, "B")]
    await source.aclose()


async def test_a_bell_is_heard_that_rings_while_nobody_waits_for_it(
    store: Store, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LOOK_S", 3600.0)
    monkeypatch.setattr(events, "POLL_S", 3600.0)
    hub = EventHub(store, redis_url)
    wait, rung = hub._redis.xread, False

    async def xread(*args: Any, **options: Any) -> Any:
        nonlocal rung
        if rung:
            return await wait(*args, **options)
        await until(lambda: hub.place == 0 and not hub._rung.is_set())
        await tell(store, "A", redis=redis)
        rung = True
        return []

    hub._redis.xread = xread  # type: ignore[method-assign]  # the real one is not there for a moment in thousands
    running = asyncio.create_task(hub.run())
    await until(lambda: hub.place == 1)
    await end([running])


async def test_what_a_crowd_needs_is_prepared_before_it_wakes_and_it_wakes_whatever_that_meets(
    store: Store, redis: Redis, hub: EventHub
) -> None:
    steps: list[str] = []

    async def prepare(found: Sequence[Event]) -> None:
        steps.append(f"prepared {', '.join(told.subject for told in found)}")
        if found[0].seq > 2:
            raise OSError("away")

    hub.before = prepare
    source = hub.follow(kinds=STOCK, subjects=frozenset({"A"}), after=0)

    async def hear() -> None:
        async for told in source:
            steps.append(f"told {told.seq}")

    hearing = asyncio.create_task(hear())
    await until(lambda: hub.subscriber_count() == 1)
    await tell(store, "A", "B", redis=redis)
    await until(lambda: len(steps) == 2)
    await tell(store, "B", redis=redis)
    await tell(store, "A", redis=redis)
    await until(lambda: len(steps) == 4)
    assert steps == ["prepared A", "told 1", "prepared A", "told 4"]
    await end([hearing])


async def test_without_redis_the_table_is_watched(store: Store) -> None:
    hub = EventHub(store, "redis://127.0.0.1:9")
    task = asyncio.create_task(hub.run())
    source = hub.follow(kinds=STOCK, subjects=None, after=0)
    await until(lambda: hub.place is not None)
    await tell(store, "A")
    assert await take(source, 1) == [(1, "A")]
    await source.aclose()
    await end([task])


async def test_a_subscriber_that_falls_a_queue_behind_is_let_go(store: Store, redis: Redis, hub: EventHub) -> None:
    called: list[str] = []
    ON_OVERFLOW.set(lambda: called.append("over"))
    slow = hub.follow(kinds=STOCK, subjects=frozenset({"A"}), after=None)
    waiting = asyncio.create_task(anext(slow))
    await until(lambda: hub.subscriber_count() == 1)
    ON_OVERFLOW.set(None)
    quick = hub.follow(kinds=STOCK, subjects=frozenset({"A"}), after=0)
    await tell(store, "A", redis=redis)
    assert (await waiting).seq == 1
    assert await take(quick, 1) == [(1, "A")]

    async def keep_up() -> list[int]:
        return [place for place, _ in await take(quick, QUEUE + 1)]

    keeping_up = asyncio.create_task(keep_up())
    await tell(store, *["A"] * QUEUE, redis=redis)
    await until(lambda: hub.place == QUEUE + 1)
    assert called == []
    await tell(store, "A", redis=redis)
    await until(lambda: called == ["over"])
    with pytest.raises(Resume) as caught:
        await anext(slow)
    assert caught.value.code == "RESUME"
    assert await keeping_up == list(range(2, QUEUE + 3))
    await quick.aclose()
    assert hub.subscriber_count() == 0


async def test_a_cursor_that_is_too_old_or_of_another_log_is_refused(
    store: Store, redis: Redis, redis_url: str
) -> None:
    await tell(store, *["A"] * 5)
    async with store.begin() as tx:
        await tx.execute(text("delete from event where seq <= 3"))
    hub = EventHub(store, redis_url)
    running = asyncio.create_task(hub.run())
    for after in (0, 2, 6):
        with pytest.raises(Resync) as caught:
            await anext(hub.follow(kinds=STOCK, subjects=None, after=after))
        assert caught.value.code == "RESYNC"
    source = hub.follow(kinds=STOCK, subjects=None, after=3)
    assert await take(source, 2) == [(4, "A"), (5, "A")]
    await source.aclose()
    await end([running])


async def test_a_thousand_may_subscribe_at_once(store: Store, redis: Redis, redis_url: str, database_url: str) -> None:
    """Each has something to read first; the connections to the database are few, and others need one too."""
    few = Store(database_url, pool_size=5, pool_timeout_s=0.2)
    hub = EventHub(few, redis_url)
    running = asyncio.create_task(hub.run())
    await tell(store, "A", "A")
    await until(lambda: hub.place == 2)
    sources = [hub.follow(kinds=STOCK, subjects=frozenset({"A"}), after=1) for _ in range(1_000)]
    firsts = asyncio.gather(*(anext(source) for source in sources))
    while not firsts.done():
        await few.ping()
        await asyncio.sleep(0)
    assert [told.seq for told in await firsts] == [2] * 1_000
    for source in sources:
        await source.aclose()
    await end([running])
    await few.close()


async def test_the_hub_ends_although_its_client_swallows_a_cancellation(store: Store, redis_url: str) -> None:
    """A client of Redis that is about to connect does that."""
    hub = EventHub(store, redis_url)
    swallowed: list[str] = []

    async def xread(*_: object, **__: object) -> list[object]:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if not swallowed:
                swallowed.append("once")
                return []
            raise
        return []

    hub._redis.xread = xread  # type: ignore[method-assign]  # the real one swallows it at one moment in thousands
    running = asyncio.create_task(hub.run())
    await until(lambda: hub._hearing is False and hub.place is not None)
    running.cancel()
    assert await asyncio.wait({running}, timeout=30) == ({running}, set())
    assert swallowed == ["once"]


async def test_a_long_replay_is_no_reason_to_be_let_go(store: Store, redis: Redis, hub: EventHub) -> None:
    await append(store, *["A"] * 1200)
    await give_places(store)
    source = hub.follow(kinds=STOCK, subjects=frozenset({"A"}), after=0)
    assert [place for place, _ in await take(source, 1200)] == list(range(1, 1201))
    await source.aclose()


async def test_who_comes_back_soon_is_told_from_memory_what_was_missed(
    store: Store, redis: Redis, hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[int] = []
    read = event.after

    async def counted(tx: object, place: int, **options: Any) -> list[Event]:
        if options.get("subjects") is not None:
            pages.append(place)
        return await read(tx, place, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(event, "after", counted)
    await tell(store, *["A", "B"] * 150, redis=redis)
    await until(lambda: hub.place == 300)
    for after in (0, 100, 299):
        source = hub.follow(kinds=STOCK, subjects=frozenset({"B"}), after=after)
        assert [place for place, _ in await take(source, (300 - after + 1) // 2)] == list(
            range(after + 2 - after % 2, 301, 2)
        )
        await source.aclose()
    assert pages == []
    hub._kept.clear()  # as if so much had happened since
    source = hub.follow(kinds=STOCK, subjects=frozenset({"B"}), after=100)
    assert await take(source, 1) == [(102, "B")]
    await source.aclose()
    assert pages == [100]
