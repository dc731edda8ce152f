"""Operations: made once, in step with their items, decided by people, told page by page."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text, update

from domain.errors import Conflict, NotFound
from domain.ids import OperationId
from domain.operation import (
    ClaimedItem,
    ItemStatus,
    Kind,
    Operation,
    OperationStatus,
    Progress,
)
from store import operation
from store.operation import VERY_MANY
from store.session import Store
from store.tables import operation as operation_table
from store.tables import operation_item as item_table
from tests.store.bench import (
    blocked,
    carried,
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

    async def test_what_was_done_in_the_same_transaction_has_succeeded_and_is_told_once(self, store: Store) -> None:
        first = await made(store, 1)
        async with store.begin() as tx:
            one, created = await operation.create(
                tx,
                kind=Kind.ADJUST_STOCK,
                requested_by="operator",
                idempotency_key=None,
                request_hash="",
                dry_run=False,
                status=OperationStatus.QUEUED,
                items=[item(1), item(2)],
                id=OperationId("mine"),
                item_status=ItemStatus.VERIFIED,
                reverts=first.id,
            )
        assert (created, one.id, one.status, one.reverts) == (True, "mine", OperationStatus.SUCCEEDED, first.id)
        assert one.finished_at is not None
        assert one.progress == Progress(total=2, accepted=2, verified=2, failed=0)
        assert await found(store, one.id) == one
        assert [(id, data["status"]) for id, data in await told(store) if id == one.id] == [("mine", "SUCCEEDED")]
        async with store.begin() as tx:
            assert await operation.reverted_by(tx, first.id) == one.id
            assert await operation.reverted_by(tx, one.id) is None
            with pytest.raises(Conflict):
                await operation.cancel(tx, one.id)

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

    @pytest.mark.parametrize(("many", "weighed"), [(VERY_MANY, True), (50, False)])
    async def test_very_many_items_are_made_known_to_whoever_plans_the_claims(
        self, store: Store, many: int, weighed: bool
    ) -> None:
        async with store.begin() as tx:
            await tx.execute(text("analyze operation_item"))
        await made(store, [item(number + 1) for number in range(many)])
        async with store.begin() as tx:
            rows = await tx.scalar(text("select reltuples from pg_class where relname = 'operation_item'"))
        assert (rows == many) is weighed

    async def test_so_are_very_many_that_are_approved(self, store: Store) -> None:
        one = await made(
            store, [item(number + 1) for number in range(VERY_MANY)], status=OperationStatus.AWAITING_APPROVAL
        )
        async with store.begin() as tx:
            await tx.execute(text("update pg_class set reltuples = -1 where relname = 'operation_item'"))
            await operation.approve(tx, one.id, "somebody else")
        async with store.begin() as tx:
            rows = await tx.scalar(text("select reltuples from pg_class where relname = 'operation_item'"))
        assert rows == VERY_MANY

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
        crowd = Store(database_url, pool_size=32, pool_timeout_s=60)
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
            await tx.execute(update(item_table).values(payload={"order_id": "o1", "refusal": "{}"}, claims=5))
            now = await operation.retry(tx, one.id)
        assert [(row.payload, row.claims) for row in await rows(store)][1:] == [({"order_id": "o1"}, 0)] * 2
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
                for each in reversed(items):
                    await sent(store, each)
                await recorded(store, *(outcome(each, ItemStatus.FAILED) for each in reversed(items)))

            async def people(id: OperationId = one.id) -> None:
                for act in (operation.cancel, operation.retry):
                    try:
                        async with store.begin() as tx:
                            await act(tx, id)
                    except Conflict:
                        pass

            async with asyncio.timeout(60):
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
