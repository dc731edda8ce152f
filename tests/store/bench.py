"""Short hands for operations, and for transactions that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import exists, select, text

from domain.event import EventKind
from domain.ids import ChannelId, OperationId
from domain.operation import (
    Capability,
    ClaimedItem,
    ItemStatus,
    Kind,
    NewItem,
    Operation,
    OperationStatus,
    Outcome,
)
from store import agenda, event, operation
from store.session import Store
from store.tables import event as event_table
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


async def give_places(store: Store) -> None:
    """Give every event its place.

    A transaction of another database on the same server that ends at the wrong moment may make the relay leave some for later.
    """
    waiting = select(exists().where(event_table.c.seq.is_(None)))
    async with asyncio.timeout(30):
        while True:
            async with store.begin() as tx:
                await event.relay(tx)
                if not await tx.scalar(waiting):
                    return


async def blocked(store: Store, count: int) -> None:
    """Until so many connections wait for a lock of another transaction."""
    query = text(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(30):
        while True:
            async with store.begin() as tx:
                if await tx.scalar(query) == count:
                    return
