"""The one way in for prices: whoever wants them changed comes here, and everything is judged before it is kept.

A wish becomes an item of an operation UPDATE_PRICES. One that a guard refuses is kept as FAILED with the reason; one that a guard
holds keeps the whole operation waiting for a second person. What is released takes the place of all that was asked for the same
listings before and has not left the house yet.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict
from domain.ids import ChannelId, ListingId, OperationId
from domain.operation import Capability, ItemError, ItemStatus, Kind, NewItem, Operation, OperationStatus
from domain.price import JudgedWish, Judgment, PriceWish
from domain.price_guard import PriceGuards, judge
from store import locks, operation, price
from store.session import AnyRow, among
from store.tables import operation as operation_table
from store.tables import operation_item

o = operation_table.c
i = operation_item.c

GUARD = "GUARD"
"""The code of an item that a guard keeps from being sent."""
MOVED = "CONFLICT"
"""The code of an item whose facts are others than those of its preview."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants prices changed, and how. `requested_by` is the caller's name, or that of what works by itself."""

    requested_by: str
    request_hash: str
    at: datetime
    idempotency_key: str | None = None
    dry_run: bool = False
    correlation_id: str | None = None
    reverts: OperationId | None = None


def resource(listing: ListingId) -> str:
    """What the items of one listing's price wait in line under."""
    return f"price:{listing}"


async def keep(tx: AsyncConnection, request: Request, wishes: Sequence[PriceWish]) -> tuple[Operation, bool]:
    """Judge the wishes and keep them as an operation; or the one that the caller's key made before (False).

    At most one wish for each listing. Raises Conflict when the key was used with other contents. Ring the lanes of PRICES
    afterwards.
    """
    await _lock(tx, {one.channel for one in wishes})
    first = await operation.by_key(tx, request.requested_by, request.idempotency_key, request.request_hash)
    if first is not None:
        return first, False
    judged = await weigh(tx, wishes, request.at)
    waits = OperationStatus.PREVIEW if request.dry_run else OperationStatus.AWAITING_APPROVAL
    status = waits if request.dry_run or judged.held else OperationStatus.QUEUED
    made, created = await operation.create(
        tx,
        kind=Kind.UPDATE_PRICES,
        requested_by=request.requested_by,
        idempotency_key=request.idempotency_key,
        request_hash=request.request_hash,
        dry_run=request.dry_run,
        status=status,
        items=[_item(row) for row in judged.rows],
        correlation_id=request.correlation_id,
        reverts=request.reverts,
    )
    if created and status is OperationStatus.QUEUED:
        await _release(tx, made.id)
    return made, created


async def weigh(tx: AsyncConnection, wishes: Sequence[PriceWish], at: datetime) -> Judgment:
    """What the guards that hold now say of the wishes, by the facts as they stand."""
    known = await price.facts(tx, {one.listing for one in wishes}, at)
    return judge(PriceGuards(), [(one, known[one.listing]) for one in wishes], at)


async def approve(tx: AsyncConnection, id: OperationId, by: str, at: datetime) -> Operation:
    """Release exactly the rows that were shown; those whose facts have moved since are refused by name, and so is what a guard
    does not let through any more. Raises NotFound, Conflict; Conflict too where nothing is left."""
    rows = await _rows(tx, id)
    await _lock(tx, {ChannelId(row.channel) for row in rows})
    open_rows = [row for row in await _rows(tx, id) if row.status == ItemStatus.PENDING.value]
    judged = await weigh(tx, [price.wish_of(row.payload) for row in open_rows], at)
    refused = {
        row.id: error
        for row, now in zip(open_rows, judged.rows, strict=True)
        if (error := _moved(row, now) or _refused(now)) is not None
    }
    if len(refused) == len(open_rows):
        first = next(iter(refused.values())).message if refused else "None of its rows may be sent."
        raise Conflict(f"{first} Ask for a new preview.", field=("id",))
    for item, error in refused.items():
        failed = {"status": ItemStatus.FAILED.value, "error_code": error.code, "error_message": error.message}
        await tx.execute(update(operation_item).where(i.id == item).values(**failed, ended_at=func.now()))
    approved = await operation.approve(tx, id, by)
    await _release(tx, id)
    return approved


async def _lock(tx: AsyncConnection, channels: Collection[ChannelId]) -> None:
    """One after the other, so that each sees what was asked for before. It comes before all other locks."""
    for id in sorted(channels):
        await tx.execute(select(func.pg_advisory_xact_lock(locks.PRICES, func.hashtext(id))))


async def _rows(tx: AsyncConnection, id: OperationId) -> list[AnyRow]:
    rows = await tx.execute(
        select(i.id, i.channel, i.resource, i.status, i.payload, o.requested_by, o.approved_by)
        .join(operation_table, o.id == i.operation_id)
        .where(i.operation_id == id)
        .order_by(i.id)
    )
    return list(rows)


async def _release(tx: AsyncConnection, id: OperationId) -> None:
    """What the operation asks for is wanted from now on; what was asked for the same listings before and has not left is not."""
    rows = [row for row in await _rows(tx, id) if row.status == ItemStatus.PENDING.value]
    older = await tx.execute(
        select(i.id, i.operation_id)
        .where(
            among(i.resource, [row.resource for row in rows]),
            i.capability == Capability.PRICES.value,
            i.status == ItemStatus.PENDING.value,
            i.released,
            i.operation_id != id,
        )
        .order_by(i.id)
        .with_for_update()
    )
    replaced = older.all()
    if replaced:
        await tx.execute(
            update(operation_item)
            .where(among(i.id, [one.id for one in replaced]))
            .values(status=ItemStatus.SUPERSEDED.value, ended_at=func.now(), lease_until=None)
        )
        await operation.refresh(tx, {OperationId(one.operation_id) for one in replaced})
    await price.asked(
        tx,
        [price.Asked(price.wish_of(row.payload), row.id, id, row.requested_by, row.approved_by) for row in rows],
    )


def _item(row: JudgedWish) -> NewItem:
    wish = row.wish
    before = row.facts.basis
    return NewItem(
        channel=wish.channel,
        capability=Capability.PRICES,
        resource=resource(wish.listing),
        key=wish.key,
        payload=price.payload(wish, row.facts)
        | {"hits": [[hit.guard, hit.action.value, hit.words] for hit in row.hits]},
        before=None if before is None else json.dumps(before.told()),
        after=json.dumps(wish.price.told()),
        refused=_refused(row),
    )


def _refused(row: JudgedWish) -> ItemError | None:
    return ItemError(GUARD, " ".join(hit.words for hit in row.hits)) if row.refused else None


def _moved(row: AnyRow, now: JudgedWish) -> ItemError | None:
    if row.payload["facts"] == now.facts.told():
        return None
    return ItemError(MOVED, f"What {now.wish.key} was judged by has changed since the preview was made.")
