"""Operations and their items: the rows are the queue, and the truth.

Whoever locks several rows locks items before their operation, and either by id: so nobody waits in a circle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4

import orjson
from sqlalchemy import ColumnElement, Select, func, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, NotFound, key_used
from domain.event import EventKind, NewEvent
from domain.ids import OperationId
from domain.operation import (
    ENDED,
    FINISHED,
    WAITING_FOR_PEOPLE,
    Item,
    ItemError,
    ItemStatus,
    Kind,
    NewItem,
    Operation,
    OperationStatus,
    Progress,
    progress_of,
    status_of,
)
from store import copying, event
from store.session import AnyRow, among
from store.tables import operation, operation_item

T = TypeVar("T")

o = operation.c
i = operation_item.c


@dataclass(frozen=True, slots=True)
class Copied:
    """New items as they are copied into their table, a block at a time, each with whether one of it is refused."""

    total: int
    blocks: tuple[tuple[bytes, bool], ...]


def copied(
    id: OperationId,
    rows: Sequence[T],
    item: Callable[[T], NewItem],
    released: bool,
    before: tuple[Copied, Collection[int]] | None = None,
    *,
    status: ItemStatus = ItemStatus.PENDING,
) -> Copied:
    """What `create` takes as the items of the operation, without holding all of them together.
    `before` is what was made of the same rows, and the places of those that are others now."""
    stale = range((len(rows) + BLOCK - 1) // BLOCK) if before is None else {place // BLOCK for place in before[1]}
    blocks = {} if before is None else dict(enumerate(before[0].blocks))
    for number in stale:
        items = [item(row) for row in rows[number * BLOCK : (number + 1) * BLOCK]]
        blocks[number] = _block(id, items, released, status)
    return Copied(len(rows), tuple(block for _, block in sorted(blocks.items())))


async def create(
    tx: AsyncConnection,
    *,
    kind: Kind,
    requested_by: str,
    idempotency_key: str | None,
    request_hash: str,
    dry_run: bool,
    status: OperationStatus,
    items: Iterable[NewItem] | Copied,
    correlation_id: str | None = None,
    id: OperationId | None = None,
    item_status: ItemStatus = ItemStatus.PENDING,
    reverts: OperationId | None = None,
) -> tuple[Operation, bool]:
    """Make the operation with its items and tell of it; or find the one that the caller's key made before (False).

    `status` is QUEUED, or PREVIEW or AWAITING_APPROVAL, whose items wait for people. `item_status` is VERIFIED for what has been
    done in this very transaction: the operation has then finished. Many `items` are best told as `copied` for this `id`. Raises
    Conflict when the key was used with another `request_hash`.
    """
    given = items if isinstance(items, Copied) else list(items)
    total = given.total if isinstance(given, Copied) else len(given)
    statement = (
        upsert(operation)
        .values(
            id=id or new_id(),
            kind=kind.value,
            status=status.value,
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            request_hash=request_hash,
            dry_run=dry_run,
            correlation_id=correlation_id,
            reverts=reverts,
            total=total,
        )
        .on_conflict_do_nothing(index_elements=["requested_by", "idempotency_key"])
        .returning(operation)
    )
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        first = await by_key(tx, requested_by, idempotency_key, request_hash)
        assert first is not None, "only a key that was used before keeps the row out"
        return first, False
    released = status not in WAITING_FOR_PEOPLE
    refused = await _add_items(tx, OperationId(row.id), given, released, item_status)
    await _weigh(tx, total)
    if item_status in ENDED or refused:
        ended = _of_operation(OperationId(row.id), None if item_status in ENDED else ItemStatus.FAILED)
        await tx.execute(update(operation_item).where(*ended).values(ended_at=func.now()))
        if released:
            return await _settle(tx, row), True
    made = _operation(row)
    await _tell(tx, made)
    return made, True


async def append(tx: AsyncConnection, id: OperationId, items: Sequence[NewItem], status: ItemStatus) -> None:
    """Keep with an operation that nobody else knows yet what it is not going to do: items that have ended as `status`, with the
    reason that each was `refused` for."""
    rows = [_new_item_row(id, item, True, status) | {"status": status.value} for item in items]
    await tx.execute(insert(operation_item).values(ended_at=func.now()), rows)
    await refresh(tx, [id])


async def _add_items(
    tx: AsyncConnection, id: OperationId, items: list[NewItem] | Copied, released: bool, status: ItemStatus
) -> bool:
    """Whether one of them is refused. Their ids keep their order."""
    if not isinstance(items, Copied):
        if len(items) < MANY:
            # One row after the other, never as one VALUES list.
            await tx.execute(insert(operation_item), [_new_item_row(id, item, released, status) for item in items])
            return any(item.refused is not None for item in items)
        items = copied(id, items, lambda one: one, released, status=status)
    for content, _ in items.blocks:
        await copying.send(tx, operation_item.name, list(_COPIED), content)
    return any(refused for _, refused in items.blocks)


def _block(id: OperationId, items: Sequence[NewItem], released: bool, status: ItemStatus) -> tuple[bytes, bool]:
    rows = (_new_item_row(id, item, released, status) for item in items)
    values = ([row[name] for name in _COPIED] for row in rows)
    return copying.rows(list(_COPIED.values()), values), any(item.refused is not None for item in items)


# From so many items on they are copied, a block at a time.
MANY = 500
VERY_MANY = 5_000
BLOCK = 2_000
_COPIED: dict[str, copying.Field] = {
    "operation_id": copying.text,
    "channel": copying.text,
    "capability": copying.text,
    "resource": copying.text,
    "key": copying.text,
    "payload": lambda told: copying.jsonb(orjson.dumps(told)),
    "status": copying.text,
    "released": copying.boolean,
    "deadline_at": copying.instant,
    "before": copying.text,
    "after": copying.text,
    "error_code": copying.text,
    "error_message": copying.text,
}


def new_id() -> OperationId:
    """For an operation whose work has to name it before it is made."""
    return OperationId(str(uuid4()))


async def by_ids(tx: AsyncConnection, ids: Collection[OperationId]) -> dict[OperationId, Operation]:
    """The operations there are of `ids`."""
    rows = await tx.execute(select(operation).where(among(o.id, ids)))
    return {one.id: one for one in map(_operation, rows)}


async def page(
    tx: AsyncConnection,
    *,
    first: int,
    after: tuple[datetime, OperationId] | None = None,
    kinds: Collection[Kind] | None = None,
    statuses: Collection[OperationStatus] | None = None,
    requested_by: str | None = None,
    created_from: datetime | None = None,
) -> tuple[list[Operation], bool]:
    """The next `first` operations, newest first, and whether there are more; `after` is (`created_at`, `id`) of the last seen."""
    query = select(operation).where(*_filter(kinds, statuses, requested_by, created_from))
    if after is not None:
        query = query.where(tuple_(o.created_at, o.id) < after)
    rows = (await tx.execute(query.order_by(o.created_at.desc(), o.id.desc()).limit(first + 1))).all()
    return [_operation(row) for row in rows[:first]], len(rows) > first


async def count(
    tx: AsyncConnection,
    *,
    kinds: Collection[Kind] | None = None,
    statuses: Collection[OperationStatus] | None = None,
    requested_by: str | None = None,
    created_from: datetime | None = None,
) -> int:
    """How many operations `page` would give in all."""
    query: Select[int] = select(func.count()).select_from(operation)
    return await tx.scalar(query.where(*_filter(kinds, statuses, requested_by, created_from))) or 0


async def items(
    tx: AsyncConnection,
    operation_id: OperationId,
    *,
    first: int,
    after: int | None = None,
    status: ItemStatus | None = None,
) -> tuple[list[Item], bool]:
    """The next `first` items after the item `after`, in the order they were made, and whether there are more."""
    query = select(operation_item).where(*_of_operation(operation_id, status)).order_by(i.id).limit(first + 1)
    if after is not None:
        query = query.where(i.id > after)
    rows = (await tx.execute(query)).all()
    return [_item(row) for row in rows[:first]], len(rows) > first


async def items_count(tx: AsyncConnection, operation_id: OperationId, *, status: ItemStatus | None = None) -> int:
    """How many items `items` would give in all."""
    query: Select[int] = select(func.count()).select_from(operation_item)
    return await tx.scalar(query.where(*_of_operation(operation_id, status))) or 0


async def by_key(
    tx: AsyncConnection, requested_by: str, idempotency_key: str | None, request_hash: str
) -> Operation | None:
    """The operation that the caller's key made before; None for a new key or none. Raises Conflict for other contents."""
    if idempotency_key is None:
        return None
    rows = await tx.execute(
        select(operation).where(o.requested_by == requested_by, o.idempotency_key == idempotency_key)
    )
    row = rows.one_or_none()
    if row is not None and row.request_hash != request_hash:
        raise key_used(idempotency_key)
    return None if row is None else _operation(row)


async def lock(tx: AsyncConnection, id: OperationId) -> Operation:
    """The operation, which nobody else changes or reverts until `tx` ends. Raises NotFound."""
    return _operation(await _locked(tx, id))


async def reverted_by(tx: AsyncConnection, id: OperationId) -> OperationId | None:
    """The operation that took this one back."""
    found = await tx.scalar(select(o.id).where(o.reverts == id).limit(1))
    return None if found is None else OperationId(found)


async def refresh(tx: AsyncConnection, operation_ids: Collection[OperationId]) -> None:
    """Compute status and progress anew from the items, and tell of each operation whose status or progress changed.

    Operations that wait for people stay as they are.
    """
    rows = await tx.execute(select(operation).where(among(o.id, operation_ids)).order_by(o.id).with_for_update())
    for row in rows.all():
        if OperationStatus(row.status) not in WAITING_FOR_PEOPLE:
            await _settle(tx, row)


async def withdrawn(tx: AsyncConnection, ids: Collection[OperationId]) -> None:
    """Some of what these operations would do is not wanted any more: those that are left with nothing to decide are over."""
    rows = await tx.execute(select(operation).where(among(o.id, ids)).order_by(o.id).with_for_update())
    for row in rows.all():
        if not await items_count(tx, OperationId(row.id), status=ItemStatus.PENDING):
            await _settle(tx, row)


async def approve(tx: AsyncConnection, id: OperationId, by: str) -> Operation:
    """Let a preview, or an operation that awaits approval, be carried out as it stands. Raises NotFound, Conflict."""
    row = await _locked(tx, id)
    if OperationStatus(row.status) not in WAITING_FOR_PEOPLE:
        raise Conflict(
            f"The operation is {row.status}; only one that is PREVIEW or AWAITING_APPROVAL can be approved. "
            "Ask for the change again to make a new one."
        )
    await _weigh(tx, await _change_items(tx, id, ItemStatus.PENDING, {"released": True, "due_at": func.now()}))
    await tx.execute(update(operation).where(o.id == id).values(approved_by=by))
    return await _settle(tx, row)


async def approved(tx: AsyncConnection, ids: Collection[OperationId]) -> set[OperationId]:
    """Those of the operations that somebody else has approved than who asked for them."""
    by_another = o.approved_by != o.requested_by
    return {OperationId(id) for id in await tx.scalars(select(o.id).where(among(o.id, ids), by_another))}


async def cancel(tx: AsyncConnection, id: OperationId) -> Operation:
    """Withdraw every item that has not left the house; those already sent stay. Raises NotFound, Conflict."""
    row = await _locked(tx, id)
    withdrawn = {"status": ItemStatus.CANCELLED.value, "ended_at": func.now(), "lease_until": None}
    if not await _change_items(tx, id, ItemStatus.PENDING, withdrawn):
        raise Conflict(
            f"The operation is {row.status} and none of its items is still waiting to be sent, so nothing is left to cancel. "
            "Wait until it has finished."
            if OperationStatus(row.status) not in FINISHED
            else f"The operation has already finished as {row.status}; nothing is left to cancel."
        )
    return await _settle(tx, row)


async def retry(
    tx: AsyncConnection, id: OperationId, only: Sequence[ColumnElement[bool]] = (), otherwise: str = ""
) -> Operation:
    """Send what failed anew, and read back now what is parked: it is only sent again if it is proven absent.

    Of its items `only` those; `otherwise` says of the others why not. Raises NotFound, Conflict.
    """
    row = await _locked(tx, id)
    if OperationStatus(row.status) in WAITING_FOR_PEOPLE:
        raise Conflict(f"The operation is {row.status}: nothing of it has been tried. Approve it first.")
    revived: Mapping[str, object] = {
        "attempts": 0,
        "checks": 0,
        "claims": 0,
        "released": True,
        # A refusal that the lane wrote down was that of the sends before, and so were the failures that a day of the past counts.
        "payload": i.payload.op("-")("refusal").op("-")("failures"),
        "due_at": func.now(),
        "lease_until": None,
        "accepted_at": None,
        "ended_at": None,
        "error_code": None,
        "error_message": None,
    }
    failed = await _change_items(tx, id, ItemStatus.FAILED, {**revived, "status": ItemStatus.PENDING.value}, only)
    parked = await _change_items(tx, id, ItemStatus.PARKED, {**revived, "status": ItemStatus.SENT.value}, only)
    if not failed and not parked:
        words = (
            f"The operation is {row.status} and none of its items is FAILED or PARKED, so there is nothing to retry."
        )
        raise Conflict(f"{words} {otherwise}".rstrip())
    return await _settle(tx, row)


async def _locked(tx: AsyncConnection, id: OperationId) -> AnyRow:
    """The operation's row, locked after its items."""
    await tx.execute(select(i.id).where(i.operation_id == id).order_by(i.id).with_for_update())
    row = (await tx.execute(select(operation).where(o.id == id).with_for_update())).one_or_none()
    if row is None:
        raise NotFound(f"No operation has the id {id!r}.")
    return row


async def _weigh(tx: AsyncConnection, changed: int) -> None:
    """Let PostgreSQL know of so many items that have come or changed: else it compares each with each when the first are claimed,
    until it looks by itself, a minute later. Somebody else who is at that is not waited for."""
    if changed >= VERY_MANY:
        await tx.execute(text("analyze (skip_locked) operation_item"))


async def _change_items(
    tx: AsyncConnection,
    id: OperationId,
    status: ItemStatus,
    values: Mapping[str, object],
    only: Sequence[ColumnElement[bool]] = (),
) -> int:
    """Change the operation's items that have `status`; returns how many."""
    done = await tx.execute(
        update(operation_item).where(i.operation_id == id, i.status == status.value, *only).values(**values)
    )
    return done.rowcount


async def _settle(tx: AsyncConnection, before: AnyRow) -> Operation:
    """Bring the locked operation in step with its items; tell if that changed what people saw of it before."""
    counted = await tx.execute(
        select(i.status, func.count().label("times")).where(i.operation_id == before.id).group_by(i.status)
    )
    # A Counter of a Counter keeps the counts: the domain's rules read it like the statuses one by one.
    statuses = Counter({ItemStatus(row.status): row.times for row in counted})
    status, progress = status_of(statuses), progress_of(statuses)
    was = _operation(before)
    if was.status == status and was.progress == progress:
        return was
    rows = await tx.execute(
        update(operation)
        .where(o.id == before.id)
        .values(
            status=status.value,
            total=progress.total,
            accepted=progress.accepted,
            verified=progress.verified,
            failed=progress.failed,
            finished_at=func.coalesce(o.finished_at, func.now()) if status in FINISHED else None,
        )
        .returning(operation)
    )
    now = _operation(rows.one())
    await _tell(tx, now)
    return now


async def announce(tx: AsyncConnection, id: OperationId) -> None:
    """Tell whoever follows it that something about the operation is new, though neither status nor progress are."""
    await _tell(tx, (await by_ids(tx, [id]))[id])


async def _tell(tx: AsyncConnection, one: Operation) -> None:
    data = {
        "status": one.status.value,
        "kind": one.kind.value,
        "total": one.progress.total,
        "accepted": one.progress.accepted,
        "verified": one.progress.verified,
        "failed": one.progress.failed,
    }
    await event.append(tx, [NewEvent(EventKind.OPERATION_CHANGED, one.id, data)])


def _filter(
    kinds: Collection[Kind] | None,
    statuses: Collection[OperationStatus] | None,
    requested_by: str | None,
    created_from: datetime | None,
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if kinds is not None:
        wanted.append(among(o.kind, [kind.value for kind in kinds]))
    if statuses is not None:
        wanted.append(among(o.status, [status.value for status in statuses]))
    if requested_by is not None:
        wanted.append(o.requested_by == requested_by)
    if created_from is not None:
        wanted.append(o.created_at >= created_from)
    return wanted


def _of_operation(id: OperationId, status: ItemStatus | None) -> list[ColumnElement[bool]]:
    wanted = [i.operation_id == id]
    if status is not None:
        wanted.append(i.status == status.value)
    return wanted


def _new_item_row(id: str, item: NewItem, released: bool, status: ItemStatus) -> dict[str, Any]:
    refused = item.refused
    return {
        "status": (status if refused is None else ItemStatus.FAILED).value,
        "error_code": None if refused is None else refused.code,
        "error_message": None if refused is None else refused.message,
        "operation_id": id,
        "channel": item.channel,
        "capability": item.capability.value,
        "resource": item.resource,
        "key": item.key,
        "payload": dict(item.payload),
        "released": released,
        "deadline_at": item.deadline_at,
        "before": item.before,
        "after": item.after,
    }


def _operation(row: AnyRow) -> Operation:
    return Operation(
        id=OperationId(row.id),
        kind=Kind(row.kind),
        status=OperationStatus(row.status),
        requested_by=row.requested_by,
        idempotency_key=row.idempotency_key,
        dry_run=row.dry_run,
        created_at=row.created_at,
        finished_at=row.finished_at,
        progress=Progress(row.total, row.accepted, row.verified, row.failed),
        reverts=None if row.reverts is None else OperationId(row.reverts),
    )


def _item(row: AnyRow) -> Item:
    return Item(
        id=row.id,
        operation=OperationId(row.operation_id),
        key=row.key,
        status=ItemStatus(row.status),
        attempts=row.attempts,
        before=row.before,
        after=row.after,
        error=None if row.error_code is None else ItemError(row.error_code, row.error_message),
        upstream_request_id=row.upstream_request_id,
    )
