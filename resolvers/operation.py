"""Operations: reading them, and what people decide about them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from domain.errors import NotFound
from domain.event import Event, EventKind
from domain.ids import OperationId
from domain.operation import (
    FINISHED,
    Item,
    ItemStatus,
    Kind,
    Operation,
    OperationStatus,
    Progress,
)
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_cursor, read_moment_cursor, read_place, write_cursor
from resolvers.shelf import Shelf
from store import agenda, event, operation


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """What is wanted; None wants all."""

    kinds: tuple[Kind, ...] | None = None
    statuses: tuple[OperationStatus, ...] | None = None
    requested_by: str | None = None
    created_from: datetime | None = None


async def page(shelf: Shelf, first: int | None, after: str | None, wanted: OperationFilter) -> Connection[Operation]:
    """Operations, newest first."""
    start = read_moment_cursor("operations", after, OperationId)
    async with shelf.store.begin() as tx:
        found, has_next = await operation.page(tx, first=page_size(first), after=start, **asdict(wanted))

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await operation.count(tx, **asdict(wanted))

    return connect(
        found, has_next, after, lambda one: write_cursor("operations", one.created_at.isoformat(), one.id), count
    )


async def items(
    shelf: Shelf, one: OperationId, first: int | None, after: str | None, status: ItemStatus | None
) -> Connection[Item]:
    """The items of an operation in the order they were given."""
    start = int(read_cursor("items", after)[0]) if after is not None else None
    async with shelf.store.begin() as tx:
        found, has_next = await operation.items(tx, one, first=page_size(first), after=start, status=status)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await operation.items_count(tx, one, status=status)

    return connect(found, has_next, after, lambda item: write_cursor("items", item.id), count)


async def approve(shelf: Shelf, one: OperationId, by: str) -> Operation:
    """Let a preview, or what waits for approval, go. Raises NotFound, Conflict."""
    async with shelf.store.begin() as tx:
        approved = await operation.approve(tx, one, by)
    await _ring(shelf, one)
    return approved


async def cancel(shelf: Shelf, one: OperationId) -> Operation:
    """Withdraw what has not left the house; what has runs to its end. Raises NotFound, Conflict."""
    async with shelf.store.begin() as tx:
        return await operation.cancel(tx, one)


async def retry(shelf: Shelf, one: OperationId) -> Operation:
    """Revive failed and parked items; parked ones are read back before anything is sent. Raises NotFound, Conflict."""
    async with shelf.store.begin() as tx:
        revived = await operation.retry(tx, one)
    await _ring(shelf, one)
    return revived


async def _ring(shelf: Shelf, one: OperationId) -> None:
    async with shelf.store.begin() as tx:
        lanes = await agenda.lanes(tx, one)
    for channel, capability in lanes:
        await shelf.bell.ring(channel, capability)


async def follow(shelf: Shelf, one: OperationId, after: str | None) -> AsyncIterator[tuple[str, Operation]]:
    """(cursor, the operation as it was at that place), until it has finished.

    Without `after` the first is how it stands now. Raises NotFound, Invalid.
    """
    async with shelf.store.begin() as tx:
        head = await event.head(tx)
        found = (await operation.by_ids(tx, [one])).get(one)
        last = await event.last_of(tx, EventKind.OPERATION_CHANGED, one)
    if found is None:
        raise NotFound(f"There is no operation {one}.")
    start = head if after is None else read_place(after)
    if after is None:
        yield str(head), found
        if found.status in FINISHED:
            return
    elif (
        last is not None and last.seq <= start and found.status in FINISHED and _as_told(found, last).status in FINISHED
    ):
        return  # the caller has seen the end
    changes = shelf.events.follow(
        kinds=frozenset({EventKind.OPERATION_CHANGED}), subjects=frozenset({one}), after=start
    )
    async for change in changes:
        told = _as_told(found, change)
        yield change.cursor, told
        if told.status in FINISHED:
            return


def _as_told(now: Operation, change: Event) -> Operation:
    """The operation with the status and progress that the event tells."""
    data = change.data
    status = OperationStatus(str(data["status"]))
    total, accepted, verified, failed = (int(str(data[name])) for name in ("total", "accepted", "verified", "failed"))
    return replace(
        now,
        status=status,
        progress=Progress(total, accepted, verified, failed),
        finished_at=change.at if status in FINISHED else None,
    )
