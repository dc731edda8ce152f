"""Following an operation to its end, and what people decide about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from domain.errors import Conflict, Invalid, NotFound
from domain.event import Event, EventKind
from domain.ids import OperationId
from domain.operation import Capability, ItemError, ItemStatus, Kind, OperationStatus, Outcome
from resolvers import operation
from resolvers.shelf import Shelf
from store import agenda, event
from store.session import Store
from tests.resolvers.test_shipment import CHANNEL, CountingBell, confirm, keep, make_order, parcel
from tests.resolvers.test_stock import House


class PolledLog:
    """The event log as the rows tell it, relayed and read until somebody has heard enough."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def place(self) -> None:
        return None

    async def head(self) -> int:
        async with self._store.begin() as tx:
            return await event.head(tx)

    async def follow(
        self, *, kinds: frozenset[EventKind], subjects: frozenset[str] | None, after: int | None
    ) -> AsyncGenerator[Event, None]:
        place = after or 0
        while True:
            async with self._store.begin() as tx:
                await event.relay(tx)
                told = await event.after(tx, place, kinds=kinds, subjects=subjects)
            for one in told:
                place = one.seq
                yield one
            await asyncio.sleep(0)


ALL_KINDS = frozenset(Kind)


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return replace(House(store, redis).shelf, bell=CountingBell(), events=PolledLog(store))


async def begin(shelf: Shelf) -> OperationId:
    """An operation with one item that waits."""
    one = make_order()
    await keep(shelf, one)
    kept = await confirm(shelf, parcel(one))
    assert kept.operation is not None
    id: OperationId = kept.operation.id
    return id


async def carry_out(shelf: Shelf, *statuses: ItemStatus) -> None:
    """Take the waiting item through `statuses`, as a worker does."""
    for status in statuses:
        async with shelf.store.begin() as tx:
            (item,) = await agenda.claim(tx, CHANNEL, Capability.SHIPMENTS, limit=1, lease_s=15, worker="w")
            error = ItemError("INVALID", "no") if status is ItemStatus.FAILED else None
            await agenda.record(tx, [Outcome(item.id, item.fence, status, error=error)])


async def told(shelf: Shelf, id: OperationId, after: str | None = None) -> list[tuple[str, OperationStatus]]:
    """All that a subscriber hears until the end."""
    async with asyncio.timeout(30):
        return [(cursor, one.status) async for cursor, one in operation.follow(shelf, id, after, ALL_KINDS)]


async def test_a_subscriber_hears_how_it_stands_and_each_change_until_the_end(shelf: Shelf) -> None:
    id = await begin(shelf)
    hearing = asyncio.create_task(told(shelf, id))
    await asyncio.sleep(0)
    await carry_out(shelf, ItemStatus.SENT, ItemStatus.ACCEPTED, ItemStatus.VERIFIED)
    heard = [status for _, status in await hearing]
    assert heard[0] is OperationStatus.QUEUED
    assert heard[-1] is OperationStatus.SUCCEEDED


async def test_who_comes_after_the_end_hears_the_end(shelf: Shelf) -> None:
    id = await begin(shelf)
    await carry_out(shelf, ItemStatus.SENT, ItemStatus.ACCEPTED, ItemStatus.VERIFIED)
    await told(shelf, id)  # all events have their places by now
    assert [status for _, status in await told(shelf, id)] == [OperationStatus.SUCCEEDED]


async def test_going_on_after_a_cursor_misses_none_and_doubles_none(shelf: Shelf) -> None:
    id = await begin(shelf)
    await carry_out(shelf, ItemStatus.SENT, ItemStatus.ACCEPTED, ItemStatus.VERIFIED)
    whole = await told(shelf, id, "0")
    assert whole[-1][1] is OperationStatus.SUCCEEDED
    for at, (cursor, _) in enumerate(whole):
        assert await told(shelf, id, cursor) == whole[at + 1 :]


async def test_a_cursor_that_is_none_is_refused(shelf: Shelf) -> None:
    id = await begin(shelf)
    for wrong in ("", "abc", "-1", "1.5", "٣", "9" * 30):
        with pytest.raises(Invalid):
            await told(shelf, id, wrong)


async def test_an_unknown_operation_is_not_found(shelf: Shelf) -> None:
    with pytest.raises(NotFound):
        await told(shelf, OperationId("?"))


async def test_cancelling_withdraws_what_has_not_left_the_house(shelf: Shelf) -> None:
    id = await begin(shelf)
    assert (await operation.cancel(shelf, id, "tests", ALL_KINDS)).status is OperationStatus.CANCELLED
    async with shelf.store.begin() as tx:
        assert await agenda.claim(tx, CHANNEL, Capability.SHIPMENTS, limit=1, lease_s=15, worker="w") == []


async def test_a_failed_operation_is_revived_and_rings_again(shelf: Shelf) -> None:
    id = await begin(shelf)
    await carry_out(shelf, ItemStatus.FAILED)
    assert (await told(shelf, id))[-1][1] is OperationStatus.FAILED
    assert isinstance(shelf.bell, CountingBell)
    before = len(shelf.bell.rung)
    revived = await operation.retry(shelf, id, "tests", ALL_KINDS)
    assert revived.status in {OperationStatus.QUEUED, OperationStatus.RUNNING}
    assert len(shelf.bell.rung) == before + 1
    await carry_out(shelf, ItemStatus.SENT, ItemStatus.ACCEPTED, ItemStatus.VERIFIED)
    assert (await told(shelf, id))[-1][1] is OperationStatus.SUCCEEDED


async def test_what_is_not_waiting_for_people_cannot_be_approved(shelf: Shelf) -> None:
    id = await begin(shelf)
    with pytest.raises(Conflict):
        await operation.approve(shelf, id, "operator", ALL_KINDS)
