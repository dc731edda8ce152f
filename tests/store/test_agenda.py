"""The queue that operations are: what is claimed, by whom, and what may be written afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text, update

from domain.errors import Conflict
from domain.ids import OperationId
from domain.operation import (
    NEXT,
    ClaimedItem,
    ItemError,
    ItemStatus,
    OperationStatus,
    Outcome,
    Progress,
)
from store import agenda, channel, operation
from store.session import Store
from store.tables import operation as operation_table
from store.tables import operation_item as item_table
from tests.store.bench import (
    AMAZON,
    SHIP,
    SHOP,
    blocked,
    claimed,
    found,
    item,
    made,
    outcome,
    recorded,
    rows,
    sent,
    statuses,
    told,
)


class TestClaim:
    async def test_what_a_claimed_item_carries(self, store: Store) -> None:
        one = await made(store)
        (got,) = await claimed(store)
        assert got == ClaimedItem(
            id=100001,
            operation=one.id,
            channel=AMAZON,
            capability=SHIP,
            resource="order:1",
            payload={"order_id": "o1"},
            was=ItemStatus.PENDING,
            fence=1,
            attempts=0,
            checks=0,
            sent_at=None,
            accepted_at=None,
            sent_by=None,
        )
        assert await claimed(store) == []

    async def test_eight_workers_share_without_doubles(self, store: Store) -> None:
        await made(store, 60)

        async def work(worker: str) -> list[int]:
            got: list[int] = []
            while batch := await claimed(store, 3, worker=worker):
                got += [one.id for one in batch]
            return got

        shares = await asyncio.gather(*(work(f"w{number}") for number in range(8)))
        # A worker may leave early, when all that is left is locked by others at that moment; nothing is claimed twice.
        taken = sorted(id for share in shares for id in share)
        left = [one.id for one in await claimed(store, 60)]
        assert sorted(taken + left) == list(range(100001, 100061))

    async def test_two_at_an_exact_line_get_different_items(self, store: Store) -> None:
        await made(store, 4)
        async with store.begin() as tx1, store.begin() as tx2:
            first = await agenda.claim(tx1, AMAZON, SHIP, limit=2, lease_s=60, worker="w1")
            # tx1 has locked its items and not committed.
            second = await agenda.claim(tx2, AMAZON, SHIP, limit=4, lease_s=60, worker="w2")
        assert [one.id for one in first] == [100001, 100002]
        assert [one.id for one in second] == [100003, 100004]

    async def test_the_limit_and_the_lane_hold(self, store: Store) -> None:
        await made(store, [item(1), item(2, channel=SHOP), item(3)])
        assert [one.id for one in await claimed(store, 1)] == [100001]
        assert [one.id for one in await claimed(store, channel=SHOP)] == [100002]
        async with store.begin() as tx:
            await tx.execute(update(item_table).values(capability="another"))
        assert await claimed(store) == []

    async def test_an_expired_lease_is_claimed_anew_and_the_old_fence_is_refused(self, store: Store) -> None:
        await made(store)
        (old,) = await claimed(store, lease_s=0)
        (new,) = await claimed(store, worker="w2")
        assert (old.fence, new.fence, new.id) == (1, 2, old.id)

        assert not await sent(store, old)
        assert await recorded(store, outcome(old, ItemStatus.ACCEPTED)) == []
        assert await statuses(store) == ["PENDING"]

        assert await sent(store, new)
        assert await recorded(store, outcome(old, ItemStatus.FAILED)) == []
        assert await statuses(store) == ["SENT"]
        assert await recorded(store, outcome(new, ItemStatus.ACCEPTED)) == [new.id]
        assert await statuses(store) == ["ACCEPTED"]

    async def test_claims_without_a_record_are_counted_and_come_alone_and_last(self, store: Store) -> None:
        await made(store, 3)
        assert [one.deaths for one in await claimed(store, 2, lease_s=0)] == [0, 0]
        # The third was never held by a worker that died; of the others only one comes along.
        again = await claimed(store, lease_s=0)
        assert [(one.id, one.deaths) for one in again] == [(100001, 1), (100003, 0)]
        for deaths in (2, 3):
            [one] = await claimed(store, lease_s=0)
            assert (one.id, one.deaths) == (100001, deaths)
        assert await recorded(store, outcome(one, ItemStatus.PENDING, 60)) == [100001]
        assert [row.claims for row in await rows(store)] == [0, 1, 1]

    async def test_an_item_waits_for_those_of_its_resource_made_before(self, store: Store) -> None:
        await made(store, [item(1, resource="order:1"), item(2), item(3, resource="order:1")])
        await made(store, [item(4, resource="order:1")])

        first, other = await claimed(store)
        assert (first.id, other.id) == (100001, 100002)
        assert await sent(store, first)
        assert await claimed(store) == []

        # Its outcome is unknown: the next still waits, and the first itself is given out to be read back.
        await recorded(store, outcome(first, ItemStatus.SENT))
        (again,) = await claimed(store)
        assert (again.id, again.was, again.fence, again.sent_by) == (100001, ItemStatus.SENT, 2, "w1")

        # Taken is enough: what is only waiting to be seen holds nobody up.
        await recorded(store, outcome(again, ItemStatus.ACCEPTED, 60))
        (third,) = await claimed(store)
        assert third.id == 100003
        await recorded(store, outcome(third, ItemStatus.FAILED))
        assert [one.id for one in await claimed(store)] == [100004]

    async def test_an_earlier_item_that_came_to_light_late_waits_for_the_one_under_way(self, store: Store) -> None:
        async with store.begin() as tx:
            await tx.execute(insert(operation_table).values(_operation_row("late")))
            # The earlier id, in a transaction that stays open while the later one is claimed and sent.
            await tx.execute(insert(item_table).values(_item_row("late")))
            await made(store, [item(2, resource="order:1")])
            (later,) = await claimed(store)
            assert later.id == 100002
        assert await claimed(store) == []
        assert await sent(store, later)
        assert await claimed(store) == []
        await recorded(store, outcome(later, ItemStatus.ACCEPTED, 60))
        assert [one.id for one in await claimed(store)] == [100001]

    async def test_not_due_not_released_or_paused_is_passed_by(self, store: Store) -> None:
        await made(store, [item(1)])
        preview = await made(store, [item(2)], status=OperationStatus.PREVIEW)
        await made(store, [item(3, channel=SHOP)])
        async with store.begin() as tx:
            await tx.execute(
                update(item_table).where(item_table.c.id == 100001).values(due_at=func.now() + timedelta(seconds=60))
            )
            await channel.pause(tx, SHOP, "consent expired", 60)
            assert await agenda.due_lanes(tx) == []
            await channel.resume(tx, SHOP)
            assert await agenda.due_lanes(tx) == [(SHOP, SHIP)]
            await channel.pause(tx, SHOP, "consent expired", 60)
        assert await claimed(store) == []
        assert await claimed(store, channel=SHOP) == []

        async with store.begin() as tx:
            await channel.resume(tx, SHOP)
            await operation.approve(tx, preview.id, "boss")
        assert [one.id for one in await claimed(store)] == [100002]
        assert [one.id for one in await claimed(store, channel=SHOP)] == [100003]

    async def test_lanes_are_told_once_each_until_everything_is_leased(self, store: Store) -> None:
        await made(store, [item(1), item(2), item(3, channel=SHOP)])
        async with store.begin() as tx:
            assert await agenda.due_lanes(tx) == [(AMAZON, SHIP), (SHOP, SHIP)]
            assert await agenda.due_lanes(tx, limit=1) == [(AMAZON, SHIP)]
        await claimed(store)
        await claimed(store, channel=SHOP, lease_s=0)
        async with store.begin() as tx:
            assert await agenda.due_lanes(tx) == [(SHOP, SHIP)]


async def clock(store: Store) -> datetime:
    async with store.begin() as tx:
        now = await tx.scalar(select(func.clock_timestamp()))
    assert isinstance(now, datetime)
    return now


def _operation_row(id: str) -> dict[str, Any]:
    return {
        "id": id,
        "kind": "CONFIRM_SHIPMENTS",
        "status": "QUEUED",
        "requested_by": "operator",
        "request_hash": "h",
        "dry_run": False,
        "total": 1,
    }


def _item_row(operation_id: str) -> dict[str, Any]:
    return {
        "operation_id": operation_id,
        "channel": AMAZON,
        "capability": "shipments",
        "resource": "order:1",
        "key": "Order 1",
        "payload": {},
        "released": True,
    }


class TestRenewed:
    async def test_the_leases_of_what_is_still_held_alone(self, store: Store) -> None:
        await made(store, 3)
        over = await claimed(store, 1, lease_s=0)
        held, taken = await claimed(store, 2, lease_s=300)
        before = {row.id: row.lease_until for row in await rows(store)}
        async with store.begin() as tx:
            fences = {over[0].id: over[0].fence, held.id: held.fence, taken.id: taken.fence - 1}
            await agenda.renew(tx, fences, 600.0)
        longer = {row.id for row in await rows(store) if row.lease_until > before[row.id] + timedelta(seconds=299)}
        assert longer == {held.id}


class TestSent:
    async def test_the_intent_is_on_the_row(self, store: Store) -> None:
        one = await made(store)
        (got,) = await claimed(store, lease_s=30)
        (before,) = await rows(store)
        assert await sent(store, got)
        (row,) = await rows(store)
        assert (row.status, row.attempts, row.checks, row.sent_by) == ("SENT", 1, 0, "w1")
        assert row.sent_at is not None
        assert row.lease_until > before.lease_until + timedelta(seconds=29)
        # The first touch makes it RUNNING, and that is told.
        assert (await found(store, one.id)).status is OperationStatus.RUNNING
        assert [data["status"] for _, data in await told(store)] == ["QUEUED", "RUNNING"]

    async def test_several_requests_under_one_claim_are_one_attempt(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        assert await sent(store, got)
        assert await sent(store, got)
        assert [row.attempts for row in await rows(store)] == [1]
        await recorded(store, outcome(got, ItemStatus.PENDING))
        (again,) = await claimed(store)
        assert await sent(store, again)
        assert [row.attempts for row in await rows(store)] == [2]

    async def test_what_the_last_attempt_was_sent_as_is_that_of_the_one_before_then(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        assert await sent(store, got)
        named = replace(outcome(got, ItemStatus.PENDING), detail={agenda.SENT_AS: "feed/1"})
        await recorded(store, named)
        (again,) = await claimed(store)
        assert again.payload[agenda.SENT_AS] == "feed/1"
        assert await sent(store, again)
        (row,) = await rows(store)
        assert (row.payload.get(agenda.SENT_AS), row.payload[agenda.SENT_BEFORE_AS]) == (None, "feed/1")

    async def test_not_when_the_lease_is_over(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store, lease_s=0)
        assert not await sent(store, got)
        assert await statuses(store) == ["PENDING"]

    async def test_not_when_it_was_cancelled(self, store: Store) -> None:
        one = await made(store)
        (got,) = await claimed(store)
        async with store.begin() as tx:
            await operation.cancel(tx, one.id)
        assert not await sent(store, got)
        assert await recorded(store, outcome(got, ItemStatus.ACCEPTED)) == []
        assert await statuses(store) == ["CANCELLED"]

    async def test_not_after_the_platform_took_it(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        assert await sent(store, got)
        await recorded(store, outcome(got, ItemStatus.ACCEPTED))
        (again,) = await claimed(store)
        assert again.was is ItemStatus.ACCEPTED
        assert not await sent(store, again)


class TestRecord:
    async def test_what_an_outcome_leaves_on_the_row(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        await sent(store, got)
        failure = ItemError("CONFLICT", "Already\x00 fulfilled.")
        await recorded(store, outcome(got, ItemStatus.FAILED, error=failure, upstream_request_id="r-1"))
        async with store.begin() as tx:
            (one,), _ = await operation.items(tx, got.operation, first=1)
        assert (one.status, one.attempts, one.upstream_request_id) == (ItemStatus.FAILED, 1, "r-1")
        assert one.error == ItemError("CONFLICT", "Already fulfilled.")
        (row,) = await rows(store)
        assert row.lease_until is None
        assert row.ended_at is not None

    async def test_taken_then_seen(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        await sent(store, got)
        await recorded(store, outcome(got, ItemStatus.ACCEPTED, upstream_request_id="r-1"))
        (look,) = await claimed(store)
        assert look.accepted_at is not None
        await recorded(store, outcome(look, ItemStatus.ACCEPTED))
        (again,) = await claimed(store)
        assert (again.checks, again.accepted_at) == (1, look.accepted_at)
        await recorded(store, outcome(again, ItemStatus.VERIFIED))
        (row,) = await rows(store)
        assert (row.status, row.upstream_request_id, row.accepted_at) == ("VERIFIED", "r-1", look.accepted_at)

    async def test_it_is_due_again_by_the_databases_clock(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        before = await clock(store)
        await recorded(store, outcome(got, ItemStatus.PENDING, 3600))
        (row,) = await rows(store)
        assert before <= row.due_at - timedelta(hours=1) <= await clock(store)
        assert await claimed(store) == []

    async def test_checks_count_looks_in_vain(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        await recorded(store, outcome(got, ItemStatus.PENDING))
        (got,) = await claimed(store)
        assert got.checks == 0
        await sent(store, got)
        throttled = ItemError("THROTTLED", "No slot.")
        for error, checks in ((None, 1), (throttled, 1), (None, 2)):
            await recorded(store, outcome(got, ItemStatus.SENT, error=error))
            (got,) = await claimed(store)
            assert got.checks == checks
        await sent(store, got)
        assert [row.checks for row in await rows(store)] == [0]

    async def test_a_throttled_send_gives_its_attempt_back(self, store: Store) -> None:
        await made(store)
        throttled = ItemError("THROTTLED", "429")
        lost = ItemError("UPSTREAM_UNAVAILABLE", "503")
        for error, attempts in ((throttled, 1), (throttled, 1), (lost, 2), (throttled, 2), (lost, 3)):
            (got,) = await claimed(store)
            await sent(store, got)
            await recorded(store, outcome(got, ItemStatus.PENDING, error=error))
            assert [row.attempts for row in await rows(store)] == [attempts]

    async def test_a_throttled_look_gives_no_attempt_back(self, store: Store) -> None:
        await made(store)
        for _ in range(2):
            (got,) = await claimed(store)
            await sent(store, got)
            await recorded(store, outcome(got, ItemStatus.SENT))
        (got,) = await claimed(store)
        throttled = ItemError("THROTTLED", "No slot.")
        await recorded(store, outcome(got, ItemStatus.SENT, error=throttled))
        assert [row.attempts for row in await rows(store)] == [2]

    async def test_a_doubt_without_a_send_counts_as_an_attempt(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        await recorded(store, outcome(got, ItemStatus.SENT))
        assert [(row.status, row.attempts, row.checks) for row in await rows(store)] == [("SENT", 1, 0)]

    async def test_detail_comes_back_with_the_next_claim(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        await recorded(store, outcome(got, ItemStatus.PENDING, detail={"reference": "gid://1"}))
        (again,) = await claimed(store)
        assert again.payload == {"order_id": "o1", "reference": "gid://1"}

    async def test_what_has_ended_stays(self, store: Store) -> None:
        await made(store)
        (got,) = await claimed(store)
        await sent(store, got)
        await recorded(store, outcome(got, ItemStatus.FAILED))
        for status in ItemStatus:
            assert await recorded(store, outcome(got, status)) == []
        assert await statuses(store) == ["FAILED"]

    async def test_no_transition_that_is_not_permitted(self, store: Store) -> None:
        await made(store, 2)
        first, second = await claimed(store)
        # PENDING never becomes VERIFIED; the other outcome of the same call is written.
        outcomes = outcome(first, ItemStatus.VERIFIED), outcome(second, ItemStatus.FAILED)
        assert await recorded(store, *outcomes) == [second.id]
        assert await statuses(store) == ["PENDING", "FAILED"]

    async def test_progress_of_two_recorders_at_once_adds_up(self, store: Store) -> None:
        one = await made(store, 2)
        first, second = await claimed(store)
        await sent(store, first)
        await sent(store, second)
        async with store.begin() as tx:
            await agenda.record(tx, [outcome(first, ItemStatus.ACCEPTED)])
            waiting = asyncio.create_task(recorded(store, outcome(second, ItemStatus.ACCEPTED)))
            await blocked(store, 1)
        assert await waiting == [second.id]
        assert (await found(store, one.id)).progress == Progress(total=2, accepted=2, verified=0, failed=0)
        assert [data["accepted"] for _, data in await told(store)] == [0, 0, 1, 2]


@pytest.fixture(scope="module")
async def watched(session_store: Store) -> AsyncIterator[Store]:
    """A store whose database writes every change of an item's status down, whoever makes it."""
    async with session_store.begin() as tx:
        await tx.execute(text("create table changed (id bigint, was text, now text)"))
        await tx.execute(
            text(
                "create function note_change() returns trigger language plpgsql as $$ begin "
                "insert into changed values (new.id, old.status, new.status); return new; end $$"
            )
        )
        await tx.execute(
            text(
                "create trigger note_change after update on operation_item for each row "
                "when (old.status is distinct from new.status) execute function note_change()"
            )
        )
    yield session_store
    async with session_store.begin() as tx:
        await tx.execute(text("drop trigger note_change on operation_item"))
        await tx.execute(text("drop function note_change"))
        await tx.execute(text("drop table changed"))


async def forgotten(watched: Store) -> None:
    """What earlier examples wrote. Others refer to operations, so that these cannot be truncated alone."""
    async with watched.begin() as tx:
        for table in ("operation_item", "operation", "event", "changed"):
            await tx.execute(text(f"delete from {table}"))


Step = tuple[str, int, ItemStatus]

steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "send", "record", "record", "late", "cancel", "retry", "approve"]),
        st.integers(0, 5),
        st.sampled_from(ItemStatus),
    ),
    min_size=5,
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=steps)
async def test_only_permitted_transitions_are_ever_written(watched: Store, steps: list[Step]) -> None:
    """Whatever workers and people do, in whatever order, with whatever outcomes and fences."""
    await forgotten(watched)
    resources = [item(1), item(2, resource="order:1"), item(3)]
    queued = await made(watched, resources)
    preview = await made(watched, resources, status=OperationStatus.PREVIEW)
    held: list[ClaimedItem] = []
    for what, number, status in steps:
        mine = held[number % len(held)] if held else None
        if what == "claim":
            held += await claimed(watched, 1 + number, lease_s=0 if number == 5 else 60)
        elif what == "send" and mine is not None:
            await sent(watched, mine)
        elif what == "record" and mine is not None:
            await recorded(watched, outcome(mine, status))
        elif what == "late" and mine is not None:
            await recorded(watched, Outcome(mine.id, mine.fence - 1, status))
        elif what in ("cancel", "retry", "approve"):
            await decided(watched, what, [queued.id, preview.id][number % 2])
    async with watched.begin() as tx:
        changes = (await tx.execute(text("select was, now from changed"))).all()
    written = {(ItemStatus(was), ItemStatus(now)) for was, now in changes}
    assert {(was, now) for was, now in written if now not in NEXT[was]} == set()
    for one in (queued, preview):
        await in_step(watched, one.id)


async def decided(store: Store, what: str, id: OperationId) -> None:
    try:
        async with store.begin() as tx:
            match what:
                case "cancel":
                    await operation.cancel(tx, id)
                case "retry":
                    await operation.retry(tx, id)
                case _:
                    await operation.approve(tx, id, "boss")
    except Conflict:
        pass


async def in_step(store: Store, id: OperationId) -> None:
    """The operation says what its items say, and the last event said the same."""
    before = await found(store, id)
    async with store.begin() as tx:
        await operation.refresh(tx, [id])
    assert await found(store, id) == before
    last = [data for subject, data in await told(store) if subject == id][-1]
    assert (last["status"], last["verified"]) == (before.status.value, before.progress.verified)


async def test_the_watch_sees_a_forbidden_transition(watched: Store) -> None:
    """The twin: written past `store.operation`, it is noted."""
    await forgotten(watched)
    await made(watched)
    async with watched.begin() as tx:
        await tx.execute(update(item_table).values(status="VERIFIED"))
        changes = (await tx.execute(text("select was, now from changed"))).all()
    assert [tuple(row) for row in changes] == [("PENDING", "VERIFIED")]
    assert ItemStatus.VERIFIED not in NEXT[ItemStatus.PENDING]
