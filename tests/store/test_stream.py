"""Streams: due ones are taken once, and what was asked for during a run is not undone by its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, update

from domain.channel import StreamName, StreamState
from domain.ids import ChannelId
from store import channel, stream
from store.session import Store
from store.tables import sync_stream

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
AMAZON = ChannelId("amazon-eu")
SHOP = ChannelId("shop")
QUARTER = timedelta(minutes=15)


async def registered(store: Store, *streams: tuple[ChannelId, StreamName]) -> None:
    async with store.begin() as tx:
        for id, name in streams or [(AMAZON, StreamName.STOCK)]:
            await stream.register(tx, id, name, QUARTER)


async def taken(store: Store, lease_s: float = 60, limit: int = 1) -> list[StreamState]:
    async with store.begin() as tx:
        return await stream.claim_due(tx, lease_s, limit)


async def state(store: Store) -> StreamState:
    async with store.begin() as tx:
        (only,) = await stream.states(tx)
    return only


async def finished(store: Store, cursor: datetime | None, at: datetime = NOON) -> None:
    async with store.begin() as tx:
        await stream.finished(tx, AMAZON, StreamName.STOCK, cursor, at)


async def due_in(store: Store) -> timedelta:
    async with store.begin() as tx:
        left = await tx.scalar(select(sync_stream.c.due_at - func.now()))
    assert isinstance(left, timedelta)
    return left


async def test_a_new_stream_is_due_at_once_and_a_known_one_changes_its_interval(store: Store) -> None:
    await registered(store)
    assert await taken(store) == [StreamState(AMAZON, StreamName.STOCK, QUARTER)]
    await finished(store, NOON)
    async with store.begin() as tx:
        await stream.register(tx, AMAZON, StreamName.STOCK, timedelta(hours=1))
    assert await state(store) == StreamState(AMAZON, StreamName.STOCK, timedelta(hours=1), NOON, NOON)


async def test_two_at_an_exact_line_take_different_streams(store: Store) -> None:
    await registered(store, (AMAZON, StreamName.STOCK), (AMAZON, StreamName.ORDERS))
    async with store.begin() as tx1, store.begin() as tx2, store.begin() as tx3:
        first = await stream.claim_due(tx1, 60)
        second = await stream.claim_due(tx2, 60)
        assert await stream.claim_due(tx3, 60) == []
    assert {one.name for one in first + second} == {StreamName.STOCK, StreamName.ORDERS}
    assert await taken(store) == []


async def test_the_longest_due_come_first(store: Store) -> None:
    await registered(store, (AMAZON, StreamName.STOCK), (AMAZON, StreamName.ORDERS), (SHOP, StreamName.STOCK))
    async with store.begin() as tx:
        ago = func.now() - timedelta(minutes=1)
        await tx.execute(update(sync_stream).where(sync_stream.c.channel == SHOP).values(due_at=ago))
    assert [(one.channel, one.name) for one in await taken(store, limit=9)] == [
        (SHOP, StreamName.STOCK),
        (AMAZON, StreamName.ORDERS),
        (AMAZON, StreamName.STOCK),
    ]


async def test_a_lease_that_is_over_or_extended(store: Store) -> None:
    await registered(store)
    assert len(await taken(store, lease_s=0)) == 1
    assert len(await taken(store, lease_s=0)) == 1
    async with store.begin() as tx:
        await stream.extend(tx, AMAZON, StreamName.STOCK, 60)
    assert await taken(store) == []
    assert (await state(store)).cursor is None
    async with store.begin() as tx:
        await stream.extend(tx, AMAZON, StreamName.STOCK, 0, cursor=NOON)
    (again,) = await taken(store)
    assert again.cursor == NOON


async def test_a_paused_channel_is_passed_by(store: Store) -> None:
    await registered(store, (AMAZON, StreamName.STOCK), (SHOP, StreamName.STOCK))
    async with store.begin() as tx:
        await channel.pause(tx, AMAZON, "consent expired", 60)
    assert [one.channel for one in await taken(store, limit=9)] == [SHOP]
    async with store.begin() as tx:
        await channel.resume(tx, AMAZON)
    assert [one.channel for one in await taken(store, limit=9)] == [AMAZON]


async def test_success_and_failure(store: Store) -> None:
    await registered(store)
    await taken(store)
    await finished(store, NOON, NOON + timedelta(minutes=1))
    assert await state(store) == StreamState(
        AMAZON, StreamName.STOCK, QUARTER, cursor=NOON, last_success_at=NOON + timedelta(minutes=1)
    )
    assert timedelta(minutes=14) < await due_in(store) <= QUARTER
    assert await taken(store) == []

    async with store.begin() as tx:
        await tx.execute(update(sync_stream).values(due_at=func.now()))
    await taken(store)
    async with store.begin() as tx:
        await stream.failed(tx, AMAZON, StreamName.STOCK, "The platform\x00 is away.", 600)
    now = await state(store)
    assert (now.cursor, now.last_error) == (NOON, "The platform is away.")
    assert now.last_success_at == NOON + timedelta(minutes=1)
    assert timedelta(minutes=8) < await due_in(store) <= timedelta(minutes=10)
    await finished(store, NOON)
    assert (await state(store)).last_error is None


async def test_forced_it_runs_at_once_from_then(store: Store) -> None:
    await registered(store)
    await taken(store)
    await finished(store, NOON)
    async with store.begin() as tx:
        await stream.force(tx, AMAZON, StreamName.STOCK)
    (again,) = await taken(store)
    assert again.cursor == NOON
    await finished(store, NOON)
    async with store.begin() as tx:
        await stream.force(tx, AMAZON, StreamName.STOCK, NOON - timedelta(days=1))
    (again,) = await taken(store)
    assert again.cursor == NOON - timedelta(days=1)
    # Taken, it is as any other run.
    await finished(store, NOON)
    assert (await state(store)).cursor == NOON
    assert await taken(store) == []


async def test_forced_during_a_run_it_runs_once_more(store: Store) -> None:
    await registered(store)
    for failing in (False, True):
        await taken(store)
        async with store.begin() as tx:
            await stream.force(tx, AMAZON, StreamName.STOCK, NOON - timedelta(days=1))
        assert await taken(store) == []
        async with store.begin() as tx:
            await stream.extend(tx, AMAZON, StreamName.STOCK, 60, cursor=NOON)
            if failing:
                await stream.failed(tx, AMAZON, StreamName.STOCK, "away", 600)
            else:
                await stream.finished(tx, AMAZON, StreamName.STOCK, NOON, NOON)
        (again,) = await taken(store)
        assert again.cursor == NOON - timedelta(days=1)
        await finished(store, NOON)
        async with store.begin() as tx:
            await stream.force(tx, AMAZON, StreamName.STOCK)


async def test_forced_without_a_start_all_the_time_it_comes_on_all_the_same(store: Store) -> None:
    await registered(store)
    reached: datetime | None = None
    for hour in range(3):
        (run,) = await taken(store)
        assert run.cursor == reached
        async with store.begin() as tx:
            await stream.force(tx, AMAZON, StreamName.STOCK)
            half, reached = NOON + timedelta(hours=hour), NOON + timedelta(hours=hour, minutes=30)
            await stream.extend(tx, AMAZON, StreamName.STOCK, 60, half, run.cursor)
            await stream.finished(tx, AMAZON, StreamName.STOCK, reached, NOON, half)


async def test_states_of_some_channels(store: Store) -> None:
    await registered(store, (SHOP, StreamName.ORDERS), (AMAZON, StreamName.STOCK), (AMAZON, StreamName.LISTINGS))
    async with store.begin() as tx:
        assert [(one.channel, one.name.value) for one in await stream.states(tx)] == [
            (AMAZON, "listings"),
            (AMAZON, "stock"),
            (SHOP, "orders"),
        ]
        assert [one.channel for one in await stream.states(tx, [SHOP])] == [SHOP]
        assert await stream.states(tx, []) == []


async def test_a_run_is_hurried_on_but_for_a_while_after_the_last(store: Store) -> None:
    await registered(store)
    await taken(store)
    now = datetime.now(UTC)

    async def hurried(last: datetime) -> timedelta:
        await finished(store, NOON, last)
        async with store.begin() as tx:
            await stream.hurry(tx, AMAZON, StreamName.STOCK, timedelta(minutes=3))
        return await due_in(store)

    assert timedelta(minutes=1) < await hurried(now - timedelta(minutes=1)) <= timedelta(minutes=2)
    assert await hurried(now - timedelta(minutes=10)) <= timedelta(0)
    # A run that is due already, or sooner, stays so.
    async with store.begin() as tx:
        await tx.execute(update(sync_stream).values(last_success_at=datetime.now(UTC)))
        await stream.hurry(tx, AMAZON, StreamName.STOCK, timedelta(minutes=3))
    assert await due_in(store) <= timedelta(0)


async def test_a_run_under_way_or_put_off_is_not_hurried(store: Store) -> None:
    await registered(store)
    await taken(store)
    await finished(store, NOON)
    async with store.begin() as tx:
        await tx.execute(update(sync_stream).values(lease_until=func.now() + timedelta(minutes=1)))
        await stream.hurry(tx, AMAZON, StreamName.STOCK, timedelta(minutes=3))
    assert await due_in(store) > timedelta(minutes=10)
    async with store.begin() as tx:
        await stream.failed(tx, AMAZON, StreamName.STOCK, "The platform is away.", 600)
        await stream.hurry(tx, AMAZON, StreamName.STOCK, timedelta(minutes=3))
    assert await due_in(store) > timedelta(minutes=9)
