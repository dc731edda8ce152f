"""The queue that operations are: what is claimed, by whom, and what may be written afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text, update

from domain.errors import Conflict, NotFound
from domain.event import EventKind
from domain.ids import ChannelId, OperationId
from domain.operation import (
    NEXT,
    Capability,
    ClaimedItem,
    ItemError,
    ItemStatus,
    Kind,
    NewItem,
    Operation,
    OperationStatus,
    Outcome,
    Progress,
)
from store import agenda, channel, operation
from store.session import Store
from store.tables import event as event_table
from store.tables import operation as operation_table
from store.tables import operation_item as item_table

AMAZON = ChannelId("amazon-eu")
SHOP = ChannelId("shop")
SHIP = Capability.SHIPMENTS


def item(number: int = 1, *, resource: str | None = None, channel: ChannelId = AMAZON) -> NewItem:
    return NewItem(channel, SHIP, resource or f"order:{number}", f"Order {number}", {"order_id": f"o{number}"})


async def made(
    store: Store,
    items: Sequence[NewItem] | int = 1,
    *,
    by: str = "operator",
    key: str | None = None,
    hash: str = "h",
    status: OperationStatus = OperationStatus.QUEUED,
    kind: Kind = Kind.CONFIRM_SHIPMENTS,
) -> Operation:
    async with store.begin() as tx:
        one, _ = await operation.create(
            tx,
            kind=kind,
            requested_by=by,
            idempotency_key=key,
            request_hash=hash,
            dry_run=status is OperationStatus.PREVIEW,
            status=status,
            items=[item(number) for number in range(1, items + 1)] if isinstance(items, int) else items,
        )
    return one


async def claimed(
    store: Store, limit: int = 10, lease_s: float = 60.0, *, channel: ChannelId = AMAZON, worker: str = "w1"
) -> list[ClaimedItem]:
    async with store.begin() as tx:
        return await agenda.claim(tx, channel, SHIP, limit=limit, lease_s=lease_s, worker=worker)


async def sent(store: Store, item: ClaimedItem, fence: int | None = None) -> bool:
    async with store.begin() as tx:
        return await agenda.mark_sent(tx, item.id, item.fence if fence is None else fence, 60.0)


async def recorded(store: Store, *outcomes: Outcome) -> list[int]:
    async with store.begin() as tx:
        return await agenda.record(tx, outcomes)


async def found(store: Store, id: OperationId) -> Operation:
    async with store.begin() as tx:
        return (await operation.by_ids(tx, [id]))[id]


async def rows(store: Store) -> list[Any]:
    async with store.begin() as tx:
        return list((await tx.execute(select(item_table).order_by(item_table.c.id))).all())


async def statuses(store: Store) -> list[str]:
    return [row.status for row in await rows(store)]


async def told(store: Store) -> list[tuple[str, dict[str, Any]]]:
    """The subject and data of every operation event, in the order they were appended."""
    c = event_table.c
    async with store.begin() as tx:
        found = await tx.execute(select(c.subject, c.data, c.kind).order_by(c.id))
        return [(row.subject, row.data) for row in found if row.kind == EventKind.OPERATION_CHANGED.value]


def outcome(item: ClaimedItem, status: ItemStatus, due_in_s: float = 0.0, **more: Any) -> Outcome:
    return Outcome(item.id, item.fence, status, due_in_s, **more)


async def carried(store: Store, *ends: ItemStatus) -> None:
    """Claim as many items as there are `ends`, send them, and record these."""
    for one, end in zip(await claimed(store, len(ends)), ends, strict=True):
        assert await sent(store, one)
        assert await recorded(store, outcome(one, end)) == [one.id]


class TestCreate:
    async def test_the_operation_its_items_and_one_event(self, store: Store) -> None:
        one = await made(store, [item(1), replace(item(2), before="UNSHIPPED", after="SHIPPED")], key="k1")

        assert one == Operation(
            id=one.id,
            kind=Kind.CONFIRM_SHIPMENTS,
            status=OperationStatus.QUEUED,
            requested_by="operator",
            idempotency_key="k1",
            dry_run=False,
            created_at=one.created_at,
            finished_at=None,
            progress=Progress(total=2, accepted=0, verified=0, failed=0),
        )
        assert await found(store, one.id) == one
        async with store.begin() as tx:
            items, more = await operation.items(tx, one.id, first=10)
        assert [(one.id, one.key, one.before, one.after) for one in items] == [
            (100001, "Order 1", None, None),
            (100002, "Order 2", "UNSHIPPED", "SHIPPED"),
        ]
        assert not more
        data = {"status": "QUEUED", "kind": "CONFIRM_SHIPMENTS", "total": 2, "accepted": 0, "verified": 0, "failed": 0}
        assert await told(store) == [(one.id, data)]

    async def test_ids_keep_the_order_of_the_items(self, store: Store) -> None:
        await made(store, 1500)
        assert [row.key for row in await rows(store)] == [f"Order {number}" for number in range(1, 1501)]

    async def test_a_key_used_again_with_the_same_contents_finds_the_first(self, store: Store) -> None:
        first = await made(store, 2, key="k")
        async with store.begin() as tx:
            again, created = await operation.create(
                tx,
                kind=Kind.CONFIRM_SHIPMENTS,
                requested_by="operator",
                idempotency_key="k",
                request_hash="h",
                dry_run=False,
                status=OperationStatus.QUEUED,
                items=[item(1), item(2)],
            )
        assert (again, created) == (first, False)
        assert len(await rows(store)) == 2
        assert len(await told(store)) == 1

    async def test_a_key_used_again_with_other_contents_is_a_conflict(self, store: Store) -> None:
        first = await made(store, 1, key="k", hash="one")
        with pytest.raises(Conflict) as refused:
            await made(store, 1, key="k", hash="two")
        assert refused.value.message == (
            "The idempotency key 'k' was used before with other contents. "
            "Send the same contents again, or use a new key for new contents."
        )
        assert refused.value.field == ("idempotencyKey",)
        assert len(await rows(store)) == 1
        assert await found(store, first.id) == first

    async def test_keys_belong_to_their_callers_and_none_is_no_key(self, store: Store) -> None:
        ids = {
            (await made(store, by="a", key="k")).id,
            (await made(store, by="b", key="k")).id,
            (await made(store, by="a")).id,
            (await made(store, by="a")).id,
        }
        assert len(ids) == 4

    async def test_32_at_once_make_one(self, store: Store, database_url: str) -> None:
        crowd = Store(database_url, pool_size=32, pool_timeout_s=10)
        try:
            answers = await asyncio.gather(*(made(crowd, 3, key="k") for _ in range(32)))
        finally:
            await crowd.close()
        assert answers == [answers[0]] * 32
        assert len(await rows(store)) == 3
        assert len(await told(store)) == 1

    async def test_the_second_waits_for_the_first_and_takes_over_when_it_fails(self, store: Store) -> None:
        async def second() -> Operation:
            return await made(store, 1, key="k")

        async with store.begin() as tx:
            await operation.create(
                tx,
                kind=Kind.CONFIRM_SHIPMENTS,
                requested_by="operator",
                idempotency_key="k",
                request_hash="h",
                dry_run=False,
                status=OperationStatus.QUEUED,
                items=[item(1), item(2)],
            )
            waiting = asyncio.create_task(second())
            await blocked(store, 1)
            await tx.rollback()
        one = await waiting
        assert one.progress.total == 1
        assert len(await rows(store)) == 1


async def blocked(store: Store, count: int) -> None:
    """Until so many connections wait for a lock of another transaction."""
    query = text(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10):
        while True:
            async with store.begin() as tx:
                if await tx.scalar(query) == count:
                    return


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


class TestSent:
    async def test_the_intent_is_on_the_row(self, store: Store) -> None:
        one = await made(store)
        (got,) = await claimed(store, lease_s=5)
        (before,) = await rows(store)
        assert await sent(store, got)
        (row,) = await rows(store)
        assert (row.status, row.attempts, row.checks, row.sent_by) == ("SENT", 1, 0, "w1")
        assert row.sent_at is not None
        assert row.lease_until > before.lease_until + timedelta(seconds=50)
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
        async with store.begin() as tx:
            now = await tx.scalar(select(func.now()))
        assert isinstance(now, datetime)
        await recorded(store, outcome(got, ItemStatus.PENDING, 30))
        (row,) = await rows(store)
        assert timedelta(seconds=30) <= row.due_at - now < timedelta(seconds=40)
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


class TestRefresh:
    @pytest.mark.parametrize(
        ("ends", "status", "progress"),
        [
            ([ItemStatus.VERIFIED, ItemStatus.VERIFIED], OperationStatus.SUCCEEDED, Progress(2, 2, 2, 0)),
            ([ItemStatus.VERIFIED, ItemStatus.FAILED], OperationStatus.PARTIAL, Progress(2, 1, 1, 1)),
            ([ItemStatus.VERIFIED, ItemStatus.PARKED], OperationStatus.PARTIAL, Progress(2, 1, 1, 1)),
            ([ItemStatus.FAILED, ItemStatus.PARKED], OperationStatus.FAILED, Progress(2, 0, 0, 2)),
            ([ItemStatus.VERIFIED, ItemStatus.ACCEPTED], OperationStatus.RUNNING, Progress(2, 2, 1, 0)),
        ],
    )
    async def test_the_status_follows_from_the_items(
        self, store: Store, ends: list[ItemStatus], status: OperationStatus, progress: Progress
    ) -> None:
        one = await made(store, 2)
        await carried(store, *ends)
        now = await found(store, one.id)
        assert (now.status, now.progress) == (status, progress)
        assert (now.finished_at is None) == (status is OperationStatus.RUNNING)
        (_, last) = (await told(store))[-1]
        assert last == {
            "status": status.value,
            "kind": "CONFIRM_SHIPMENTS",
            "total": progress.total,
            "accepted": progress.accepted,
            "verified": progress.verified,
            "failed": progress.failed,
        }

    async def test_nothing_is_told_when_nothing_changed(self, store: Store) -> None:
        one = await made(store)
        (got,) = await claimed(store)
        await sent(store, got)
        before = await told(store)
        await recorded(store, outcome(got, ItemStatus.SENT))
        async with store.begin() as tx:
            await operation.refresh(tx, [one.id])
        assert await told(store) == before
        (got,) = await claimed(store)
        await recorded(store, outcome(got, ItemStatus.ACCEPTED))
        assert len(await told(store)) == len(before) + 1

    async def test_what_waits_for_people_stays(self, store: Store) -> None:
        one = await made(store, status=OperationStatus.AWAITING_APPROVAL)
        async with store.begin() as tx:
            await operation.refresh(tx, [one.id])
        assert await found(store, one.id) == one


class TestPeople:
    @pytest.mark.parametrize("status", [OperationStatus.PREVIEW, OperationStatus.AWAITING_APPROVAL])
    async def test_approve_releases(self, store: Store, status: OperationStatus) -> None:
        one = await made(store, 2, status=status)
        assert await claimed(store) == []
        async with store.begin() as tx:
            approved = await operation.approve(tx, one.id, "boss")
        assert approved == replace(one, status=OperationStatus.QUEUED)
        assert len(await claimed(store)) == 2
        assert [data["status"] for _, data in await told(store)] == [status.value, "QUEUED"]
        async with store.begin() as tx:
            assert await tx.scalar(select(operation_table.c.approved_by)) == "boss"
            with pytest.raises(
                Conflict, match="The operation is QUEUED; only one that is PREVIEW or AWAITING_APPROVAL"
            ):
                await operation.approve(tx, one.id, "boss")

    async def test_cancel_withdraws_what_has_not_left(self, store: Store) -> None:
        one = await made(store, 3)
        first, *_ = await claimed(store, 2)
        await sent(store, first)
        async with store.begin() as tx:
            now = await operation.cancel(tx, one.id)
        assert now.status is OperationStatus.RUNNING
        assert await statuses(store) == ["SENT", "CANCELLED", "CANCELLED"]
        async with store.begin() as tx:
            with pytest.raises(Conflict, match="is RUNNING and none of its items is still waiting to be sent"):
                await operation.cancel(tx, one.id)
        await recorded(store, outcome(first, ItemStatus.ACCEPTED))
        (look,) = await claimed(store)
        await recorded(store, outcome(look, ItemStatus.VERIFIED))
        assert (await found(store, one.id)).status is OperationStatus.SUCCEEDED
        async with store.begin() as tx:
            with pytest.raises(Conflict, match="has already finished as SUCCEEDED"):
                await operation.cancel(tx, one.id)

    @pytest.mark.parametrize("status", [OperationStatus.PREVIEW, OperationStatus.QUEUED])
    async def test_cancel_before_anything_was_sent(self, store: Store, status: OperationStatus) -> None:
        one = await made(store, 2, status=status)
        async with store.begin() as tx:
            now = await operation.cancel(tx, one.id)
        assert now.status is OperationStatus.CANCELLED
        assert now.finished_at is not None
        assert await claimed(store) == []

    async def test_retry_sends_failures_anew_and_reads_back_the_parked(self, store: Store) -> None:
        one = await made(store, 3)
        await carried(store, ItemStatus.VERIFIED, ItemStatus.FAILED, ItemStatus.PARKED)
        finished = await found(store, one.id)
        assert finished.status is OperationStatus.PARTIAL
        assert finished.finished_at is not None
        async with store.begin() as tx:
            now = await operation.retry(tx, one.id)
        assert (now.status, now.finished_at, now.progress) == (OperationStatus.RUNNING, None, Progress(3, 1, 1, 0))
        assert await statuses(store) == ["VERIFIED", "PENDING", "SENT"]
        again = await claimed(store)
        assert [(one.was, one.attempts, one.checks, one.accepted_at) for one in again] == [
            (ItemStatus.PENDING, 0, 0, None),
            (ItemStatus.SENT, 0, 0, None),
        ]
        async with store.begin() as tx:
            with pytest.raises(Conflict, match="is RUNNING and none of its items is FAILED or PARKED"):
                await operation.retry(tx, one.id)

    async def test_an_unknown_operation_is_not_found(self, store: Store) -> None:
        id = OperationId("none")
        async with store.begin() as tx:
            for refused in (operation.approve(tx, id, "boss"), operation.cancel(tx, id), operation.retry(tx, id)):
                with pytest.raises(NotFound, match="No operation has the id 'none'"):
                    await refused

    async def test_workers_and_people_never_wait_in_a_circle(self, store: Store) -> None:
        """Each round a worker sends and records while somebody cancels and retries the same operation."""
        for _ in range(15):
            one = await made(store, 6)
            got = await claimed(store, 4)

            async def work(items: list[ClaimedItem] = got) -> None:
                for item in reversed(items):
                    await sent(store, item)
                await recorded(store, *(outcome(item, ItemStatus.FAILED) for item in reversed(items)))

            async def people(id: OperationId = one.id) -> None:
                for act in (operation.cancel, operation.retry):
                    try:
                        async with store.begin() as tx:
                            await act(tx, id)
                    except Conflict:
                        pass

            async with asyncio.timeout(20):
                await asyncio.gather(work(), people())
            async with store.begin() as tx:
                await tx.execute(update(item_table).values(status="CANCELLED"))


class TestPages:
    async def test_newest_first_page_by_page(self, store: Store) -> None:
        ids = [(await made(store, by="a" if number % 2 else "b")).id for number in range(5)]
        seen: list[OperationId] = []
        after = None
        more = True
        async with store.begin() as tx:
            while more:
                batch, more = await operation.page(tx, first=2, after=after)
                seen += [one.id for one in batch]
                after = (batch[-1].created_at, batch[-1].id)
            assert seen == ids[::-1]
            assert await operation.count(tx) == 5

    async def test_filters(self, store: Store) -> None:
        first = await made(store, by="a")
        second = await made(store, by="b")
        preview = await made(store, by="a", status=OperationStatus.PREVIEW)
        filters: list[tuple[dict[str, Any], list[OperationId]]] = [
            ({"kinds": [Kind.CONFIRM_SHIPMENTS]}, [preview.id, second.id, first.id]),
            ({"kinds": []}, []),
            ({"statuses": [OperationStatus.PREVIEW, OperationStatus.FAILED]}, [preview.id]),
            ({"requested_by": "a"}, [preview.id, first.id]),
            ({"created_from": second.created_at}, [preview.id, second.id]),
            ({"created_from": second.created_at, "requested_by": "a"}, [preview.id]),
        ]
        async with store.begin() as tx:
            for wanted, ids in filters:
                got, more = await operation.page(tx, first=5, **wanted)
                assert ([one.id for one in got], more) == (ids, False)
                assert await operation.count(tx, **wanted) == len(ids)

    async def test_items_page_by_page(self, store: Store) -> None:
        one = await made(store, 5)
        await made(store, 1)
        async with store.begin() as tx:
            first, more = await operation.items(tx, one.id, first=3)
            assert ([item.id for item in first], more) == ([100001, 100002, 100003], True)
            rest, more = await operation.items(tx, one.id, first=3, after=first[-1].id)
            assert ([item.id for item in rest], more) == ([100004, 100005], False)
            assert await operation.items_count(tx, one.id) == 5
            assert await operation.items(tx, one.id, first=3, status=ItemStatus.FAILED) == ([], False)
            assert await operation.items_count(tx, one.id, status=ItemStatus.PENDING) == 5
            assert await operation.items_count(tx, one.id, status=ItemStatus.FAILED) == 0


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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
async def test_only_permitted_transitions_are_ever_written(watched: Store, steps: list[Step]) -> None:
    """Whatever workers and people do, in whatever order, with whatever outcomes and fences."""
    async with watched.begin() as tx:
        await tx.execute(text("truncate operation, operation_item, event, changed restart identity"))
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
    async with watched.begin() as tx:
        await tx.execute(text("truncate operation, operation_item, event, changed restart identity"))
    await made(watched)
    async with watched.begin() as tx:
        await tx.execute(update(item_table).values(status="VERIFIED"))
        changes = (await tx.execute(text("select was, now from changed"))).all()
    assert [tuple(row) for row in changes] == [("PENDING", "VERIFIED")]
    assert ItemStatus.VERIFIED not in NEXT[ItemStatus.PENDING]
