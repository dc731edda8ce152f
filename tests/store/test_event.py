"""The event log: one order, no gap, no loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.event import Event, EventKind, NewEvent
from store import event
from store.session import Store
from store.tables import event as table


def stock(subject: str) -> NewEvent:
    return NewEvent(EventKind.STOCK_CHANGED, subject, {"sku": subject})


async def appended(store: Store, *subjects: str) -> None:
    async with store.begin() as tx:
        await event.append(tx, [stock(subject) for subject in subjects])


async def relayed(store: Store, limit: int = 500) -> list[tuple[int, str]]:
    """What one run of the relay tells."""
    async with store.begin() as tx:
        return [(told.seq, told.subject) for told in await event.relay(tx, limit)]


async def all_relayed(store: Store, count: int) -> list[tuple[int, str]]:
    """What the relay tells until it has told `count` events.

    A transaction of another database on the same server that ends at the wrong moment may make it tell them in two runs.
    """
    heard: list[tuple[int, str]] = []
    async with asyncio.timeout(30):
        while len(heard) < count:
            heard += await relayed(store)
    return heard


async def test_an_event_comes_out_as_it_went_in(store: Store) -> None:
    data = {"status": "RUNNING", "total": 2, "nested": {"title": "鉛筆 ✎", "price": None}}
    async with store.begin() as tx:
        await event.append(tx, [NewEvent(EventKind.OPERATION_CHANGED, "op-1", data)])
    before = datetime.now(UTC)
    assert await all_relayed(store, 1) == [(1, "op-1")]
    async with store.begin() as tx:
        (told,) = await event.after(tx, 0)
    assert told == Event(1, EventKind.OPERATION_CHANGED, "op-1", data, told.at)
    assert told.cursor == "1"
    assert timedelta(0) <= before - told.at < timedelta(minutes=1)


async def test_who_does_not_wait_for_the_relay_hears_of_each_commit_until_it_has_a_place_and_once_after(
    store: Store,
) -> None:
    async def since(place: int, limit: int = 100) -> tuple[int, list[str]]:
        async with store.begin() as tx:
            head, told = await event.since(tx, place, kinds=[EventKind.STOCK_CHANGED], limit=limit)
        return head, sorted(subject for _, subject in told)

    assert await since(0) == (0, [])
    await appended(store, "a", "b")
    async with store.begin() as tx:
        await event.append(tx, [NewEvent(EventKind.ORDER_CHANGED, "another kind", {})])
    assert await since(0) == await since(0) == (0, ["a", "b"])
    await all_relayed(store, 3)
    await appended(store, "c")
    assert await since(0) == (3, ["a", "b", "c"])
    assert await since(1) == (3, ["b", "c"])
    assert await since(3) == (3, ["c"])
    assert await since(0, limit=1) == (3, ["a", "c"])  # at most so many of those with a place and of those without


async def test_an_event_is_told_only_when_its_transaction_has_committed(store: Store) -> None:
    async with store.begin() as tx:
        await event.append(tx, [stock("a")])
        assert await event.relay(tx) == []
        assert await relayed(store) == []
    assert await all_relayed(store, 1) == [(1, "a")]
    assert await relayed(store) == []


async def test_no_event_of_a_transaction_that_was_rolled_back(store: Store) -> None:
    async with store.begin() as tx:
        await event.append(tx, [stock("lost")])
        await tx.rollback()
    await appended(store, "kept")
    assert await all_relayed(store, 1) == [(1, "kept")]


async def test_an_older_transaction_still_open_holds_back_what_came_after_it(store: Store) -> None:
    """Its event has the lower id and comes to light later: told before the others, or a reader past them would miss it."""
    await appended(store, "first")
    async with store.begin() as older:
        await event.append(older, [stock("older")])
        await appended(store, "newer")
        assert await all_relayed(store, 1) == [(1, "first")]
        assert await relayed(store) == []
    assert await all_relayed(store, 2) == [(2, "older"), (3, "newer")]
    async with store.begin() as tx:
        assert [told.subject for told in await event.after(tx, 1)] == ["older", "newer"]


async def test_a_transaction_of_another_database_holds_nothing_back(
    store: Store, new_database: Callable[[], str]
) -> None:
    other = Store(new_database())
    try:
        async with other.begin() as elsewhere:
            await event.append(elsewhere, [stock("elsewhere")])
            await appended(store, "here")
            assert await all_relayed(store, 1) == [(1, "here")]
            assert await relayed(other) == []
        assert await all_relayed(other, 1) == [(1, "elsewhere")]
    finally:
        await other.close()


async def test_a_transaction_that_wrote_before_and_appends_late_is_waited_for(store: Store) -> None:
    async with store.begin() as older:
        await older.execute(text("create table scratch (id int) "))
        await appended(store, "newer")
        assert await relayed(store) == []
        await event.append(older, [stock("older")])
        await older.execute(text("drop table scratch"))
    assert await all_relayed(store, 2) == [(1, "newer"), (2, "older")]


async def test_only_one_relay_at_a_time(store: Store) -> None:
    await appended(store, "a", "b")
    async with store.begin() as tx:
        assert [told.seq for told in await _first(tx)] == [1]
        assert await relayed(store) == []
    assert await all_relayed(store, 1) == [(2, "b")]


async def _first(tx: AsyncConnection) -> list[Event]:
    async with asyncio.timeout(30):
        while True:
            if told := await event.relay(tx, 1):
                return told


async def test_many_writers_and_relays_at_once_leave_no_gap_and_lose_nothing(store: Store) -> None:
    """The order told to each reader is the order kept, although writers commit in any order."""
    heard: list[tuple[int, str]] = []

    async def write(writer: int) -> None:
        for number in range(20):
            async with store.begin() as tx:
                await event.append(tx, [stock(f"{writer}-{number}-a")])
                # Others may begin and commit in between.
                await asyncio.sleep(0)
                await event.append(tx, [stock(f"{writer}-{number}-b")])

    async def relay(stop: asyncio.Event) -> None:
        while not stop.is_set():
            heard.extend(await relayed(store, 7))

    stop = asyncio.Event()
    relays = asyncio.gather(relay(stop), relay(stop))
    await asyncio.gather(*(write(writer) for writer in range(4)))
    stop.set()
    await relays
    heard.extend(await all_relayed(store, 160 - len(heard)))

    assert sorted(seq for seq, _ in heard) == list(range(1, 161))
    assert {subject for _, subject in heard} == {f"{w}-{n}-{p}" for w in range(4) for n in range(20) for p in "ab"}
    async with store.begin() as tx:
        kept = [(told.seq, told.subject) for told in await event.after(tx, 0)]
    assert kept == sorted(heard)
    for writer in range(4):
        mine = [subject for _, subject in kept if subject.startswith(f"{writer}-")]
        assert mine == [f"{writer}-{n}-{p}" for n in range(20) for p in "ab"]


async def test_after_gives_what_was_asked(store: Store) -> None:
    async with store.begin() as tx:
        await event.append(
            tx,
            [
                stock("a"),
                NewEvent(EventKind.ORDER_CHANGED, "o1", {}),
                stock("b"),
                stock("a"),
                NewEvent(EventKind.ORDER_CHANGED, "a", {}),
            ],
        )
        assert await event.after(tx, 0) == []
    await all_relayed(store, 5)

    async with store.begin() as tx:

        async def seqs(seq: int, **wanted: object) -> list[int]:
            return [told.seq for told in await event.after(tx, seq, **wanted)]  # type: ignore[arg-type]  # by name below

        assert await seqs(0) == [1, 2, 3, 4, 5]
        assert await seqs(3) == [4, 5]
        assert await seqs(0, limit=2) == [1, 2]
        assert await seqs(0, kinds=[EventKind.STOCK_CHANGED]) == [1, 3, 4]
        assert await seqs(0, subjects=["a"]) == [1, 4, 5]
        assert await seqs(1, kinds=[EventKind.STOCK_CHANGED], subjects=["a", "b"]) == [3, 4]
        assert await seqs(0, subjects=[]) == []
        assert await seqs(5) == []


async def test_pruning_keeps_the_newest_so_that_places_go_on(store: Store) -> None:
    async with store.begin() as tx:
        assert (await event.head(tx), await event.oldest(tx)) == (0, None)
    await appended(store, "a", "b", "c")
    await all_relayed(store, 3)
    await appended(store, "untold")
    async with store.begin() as tx:
        assert (await event.head(tx), await event.oldest(tx)) == (3, 1)
        await tx.execute(update(table).where(table.c.subject == "b").values(at=datetime(2020, 1, 2, tzinfo=UTC)))
        assert await event.prune(tx, datetime(2020, 1, 1, tzinfo=UTC)) == 0
        assert await event.prune(tx, datetime(2020, 1, 3, tzinfo=UTC)) == 1
        assert [told.subject for told in await event.after(tx, 0)] == ["a", "c"]
        assert await event.prune(tx, datetime(2999, 1, 1, tzinfo=UTC)) == 1
        assert (await event.head(tx), await event.oldest(tx)) == (3, 3)
    assert await all_relayed(store, 1) == [(4, "untold")]
