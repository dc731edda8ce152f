"""What is urgent is claimed first, what is too late holds up nobody, and who reads reads along an index."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import event, text, update

from domain.operation import ItemStatus, OperationStatus
from store import agenda
from store.session import Store
from store.tables import operation_item as item_table
from tests.store.bench import AMAZON, SHIP, carried, claimed, item, made, outcome, recorded

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def due(number: int, deadline_at: datetime | None) -> Any:
    return replace(item(number), deadline_at=deadline_at)


async def keys(store: Store, limit: int) -> list[str]:
    """Claim one after the other, as a lane with one slot does."""
    return [one.resource for _ in range(limit) for one in await claimed(store, 1)]


async def test_the_nearest_deadline_goes_first_and_what_is_missed_goes_behind_what_is_not(store: Store) -> None:
    deadlines = [NOW + 5 * DAY, None, NOW - DAY, NOW + DAY, NOW - 2 * DAY, NOW + 3 * DAY]
    await made(store, [due(number, at) for number, at in enumerate(deadlines)])
    assert await keys(store, 6) == [f"order:{number}" for number in (3, 5, 0, 1, 2, 4)]


async def test_of_many_at_once_each_comes_in_the_order_of_its_deadline(store: Store) -> None:
    dice = random.Random(7)
    days = dice.sample(range(1, 400), 60)
    await made(store, [due(number, NOW + at * DAY) for number, at in enumerate(days)])
    wanted = [f"order:{number}" for number, _ in sorted(enumerate(days), key=lambda one: one[1])]
    first = [one.resource for one in await claimed(store, 10)]
    assert first == wanted[:10]
    assert first + await keys(store, 50) == wanted


async def test_what_is_urgent_waits_for_its_slot_and_is_the_first_again(store: Store) -> None:
    await made(store, [due(1, NOW + DAY), due(2, NOW + 2 * DAY)])
    [first] = await claimed(store, 1)
    assert await recorded(store, outcome(first, ItemStatus.PENDING)) == [first.id]
    assert await keys(store, 2) == ["order:1", "order:2"]


async def test_while_all_is_urgent_what_was_taken_is_still_read_back(store: Store) -> None:
    await made(store, 2)
    await carried(store, ItemStatus.ACCEPTED, ItemStatus.ACCEPTED)
    await made(store, [due(number, NOW + DAY) for number in range(10, 20)])
    got = await claimed(store, 3)
    assert sorted(one.was.value for one in got) == ["ACCEPTED", "PENDING", "PENDING", "PENDING"]
    # With nothing to be read back there is nothing beside.
    got = await claimed(store, 3) + await claimed(store, 3)
    assert sorted(one.was.value for one in got) == ["ACCEPTED", *["PENDING"] * 6]


async def test_what_waits_for_people_is_not_urgent(store: Store) -> None:
    await made(store, [due(1, NOW + DAY)], status=OperationStatus.PREVIEW)
    assert await claimed(store) == []


async def test_a_claim_reads_along_the_index_of_deadlines(store: Store) -> None:
    await made(store, [due(number, NOW + (number % 500 + 1) * DAY) for number in range(3_000)])
    async with store.begin() as tx:
        await tx.execute(text("analyze operation_item"))
        plan = await tx.scalars(
            text(
                "explain select id from operation_item where released and status in ('PENDING', 'SENT') and deadline_at > now() "
                "and due_at <= now() and channel = 'amazon-eu' and capability = 'shipments' and claims = 0 "
                "order by deadline_at, due_at, id limit 10 for update skip locked"
            )
        )
        lines = list(plan)
    assert any("operation_item_urgent_idx" in line for line in lines)
    assert not any("Sort" in line or "Seq Scan" in line for line in lines)


async def test_what_is_under_way_of_an_order_is_read_along_the_index_of_orders(store: Store) -> None:
    await made(store, [item(number) for number in range(3_000)])
    told: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        told.append((statement, parameters))

    async with store.begin() as tx:
        await tx.execute(text("analyze operation_item"))
        event.listen(tx.sync_connection, "before_cursor_execute", note)
        assert len(await agenda.under_way(tx, SHIP, ["order:7"])) == 1
        event.remove(tx.sync_connection, "before_cursor_execute", note)
        [(statement, parameters)] = told
        lines = list((await tx.exec_driver_sql(f"explain {statement}", parameters)).scalars())
    assert any("operation_item_order_idx" in line for line in lines), lines


async def test_lags_are_measured_by_channel_from_taken_to_seen(store: Store) -> None:
    await made(store, 20)
    await carried(store, *[ItemStatus.ACCEPTED] * 20)
    async with store.begin() as tx:
        c = item_table.c
        for number, one in enumerate((await tx.execute(text("select id from operation_item order by id"))).scalars()):
            values = {
                "status": "VERIFIED",
                "accepted_at": NOW - DAY,
                "ended_at": NOW - DAY + timedelta(seconds=number),
            }
            await tx.execute(update(item_table).where(c.id == one).values(**values))
        found = await agenda.measured_lags(tx, SHIP, NOW - 2 * DAY, 0.95)
        assert found == {AMAZON: (18.0, 20)}
        assert await agenda.measured_lags(tx, SHIP, NOW, 0.95) == {}
