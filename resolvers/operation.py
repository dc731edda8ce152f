"""Operations: reading them, and what people decide about them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import NotFound
from domain.event import Event, EventKind
from domain.ids import OperationId
from domain.operation import (
    FINISHED,
    READERS,
    Item,
    ItemStatus,
    Kind,
    Operation,
    OperationStatus,
    Progress,
)
from domain.price_decision import MOST_AT_ONCE, Verdict
from resolvers import adjustment, label, outbound, refund, shipment
from resolvers import cancel as cancel_order
from resolvers.connection import Connection, connect, page_size
from resolvers.context import Caller
from resolvers.cursor import read_item_cursor, read_moment_cursor, read_place, write_cursor
from resolvers.followed import KnownOperation
from resolvers.request import contents_hash
from resolvers.shelf import Shelf
from store import agenda, event, operation, price_back, price_decision, price_desk
from store.price_desk import Request


def kinds_for(scopes: frozenset[str]) -> frozenset[Kind]:
    """The kinds of operations that a caller with these scopes may see."""
    return frozenset(kind for kind, any_of in READERS.items() if scopes & any_of)


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """What is wanted; None wants all."""

    kinds: tuple[Kind, ...] | None = None
    statuses: tuple[OperationStatus, ...] | None = None
    requested_by: str | None = None
    created_from: datetime | None = None


async def page(
    shelf: Shelf, first: int | None, after: str | None, wanted: OperationFilter, kinds: frozenset[Kind]
) -> Connection[Operation]:
    """Operations of `kinds`, newest first."""
    asked = kinds if wanted.kinds is None else kinds & frozenset(wanted.kinds)
    wanted = replace(wanted, kinds=tuple(sorted(asked, key=lambda kind: kind.value)))
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
    start = read_item_cursor("items", after)
    async with shelf.store.begin() as tx:
        found, has_next = await operation.items(tx, one, first=page_size(first), after=start, status=status)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await operation.items_count(tx, one, status=status)

    return connect(found, has_next, after, lambda item: write_cursor("items", item.id), count)


async def approve(shelf: Shelf, one: OperationId, by: str, kinds: frozenset[Kind]) -> Operation:
    """Let a preview, or what waits for approval, go. Raises NotFound, Conflict; also when what it asks for fits no more, and
    Forbidden where somebody else has to. A change of more prices than MOST_AT_ONCE stays as it is until a worker has done it."""
    async with shelf.store.begin() as tx:
        kind = await _kind(tx, one, kinds)
        match kind:
            case Kind.CONFIRM_SHIPMENTS:
                await shipment.recheck(shelf, tx, one)
            case Kind.BUY_LABELS:
                await label.recheck(shelf, tx, one)
            case Kind.SHIP_FROM_FBA:
                await outbound.recheck(shelf, tx, one)
            case Kind.CANCEL_ORDERS:
                await cancel_order.recheck(shelf, tx, one)
            case Kind.REFUND_ORDERS:
                await refund.recheck(tx, one, by)
            case _:
                pass
        if kind is Kind.UPDATE_PRICES:
            known = await _large(tx, one)
            if known is not None and await price_back.can_be_approved(tx, known, by):
                await price_decision.ask(tx, one, Verdict.APPROVE, by)
                return known
            approved = await price_back.approve(tx, one, by, shelf.clock())
        else:
            approved = await operation.approve(tx, one, by)
    await _ring(shelf, one)
    return approved


async def cancel(shelf: Shelf, one: OperationId, by: str, kinds: frozenset[Kind]) -> Operation:
    """Withdraw what has not left the house; what has runs to its end. Raises NotFound, Conflict."""
    async with shelf.store.begin() as tx:
        if await _kind(tx, one, kinds) is not Kind.UPDATE_PRICES:
            return await operation.cancel(tx, one)
        known = await _large(tx, one)
        if known is None or known.status in FINISHED:
            return await price_back.cancel(tx, one, by)
        await price_decision.ask(tx, one, Verdict.CANCEL, by)
        return known


async def revert(shelf: Shelf, caller: Caller, correlation_id: str, one: OperationId) -> Operation:
    """Take back what an operation has changed, once, as an operation of its own. Raises NotFound, Forbidden, and Conflict where
    that cannot be."""
    kinds = kinds_for(caller.scopes)
    async with shelf.store.begin() as tx:
        kind = await _kind(tx, one, kinds)
    # Who may see it, or approve it, is not therefore who may ask for what takes it back.
    caller.needs(frozenset({"prices:write" if kind is Kind.UPDATE_PRICES else "stock:write", "admin"}))
    if kind is not Kind.UPDATE_PRICES:
        return await adjustment.revert(shelf, caller.name, correlation_id, one, kinds)
    async with shelf.store.begin() as tx:
        known = await _large(tx, one)
        if known is not None:
            await price_back.check(tx, known)
            await price_decision.ask(tx, one, Verdict.REVERT, caller.name, correlation_id)
            return known
    request = Request(caller.name, contents_hash("revert", one), shelf.clock(), correlation_id=correlation_id)
    async with shelf.store.begin() as tx:
        made = await price_back.take_back(tx, one, request)
    await _ring(shelf, made.id)
    return made


async def retry(shelf: Shelf, one: OperationId, by: str, kinds: frozenset[Kind]) -> Operation:
    """Revive failed and parked items; parked ones are read back before anything is sent. Raises NotFound, Conflict. A change of
    more prices than MOST_AT_ONCE stays as it is until a worker has done it."""
    async with shelf.store.begin() as tx:
        if await _kind(tx, one, kinds) is Kind.UPDATE_PRICES:
            known = await _large(tx, one)
            if known is not None and known.progress.failed:
                await price_decision.ask(tx, one, Verdict.RETRY, by)
                return known
            revived = await price_desk.retry(tx, one)
        else:
            revived = await operation.retry(tx, one)
    await _ring(shelf, one)
    return revived


async def _large(tx: AsyncConnection, one: OperationId) -> Operation | None:
    """The change of prices, if it has more rows than anybody waits for: a worker carries out what is decided about it."""
    known = (await operation.by_ids(tx, [one]))[one]
    return known if known.progress.total > MOST_AT_ONCE else None


async def _kind(tx: AsyncConnection, one: OperationId, kinds: frozenset[Kind]) -> Kind:
    """The operation's kind. Raises NotFound when there is none, or none that the caller may see."""
    found = (await operation.by_ids(tx, [one])).get(one)
    if found is None or found.kind not in kinds:
        raise _missing(one)
    return found.kind


def _missing(one: OperationId) -> NotFound:
    return NotFound(f"There is no operation Operation:{one}.", field=("id",))


async def _ring(shelf: Shelf, one: OperationId) -> None:
    async with shelf.store.begin() as tx:
        lanes = await agenda.lanes(tx, one)
    for channel, capability in lanes:
        await shelf.bell.ring(channel, capability)


async def follow(
    shelf: Shelf, one: OperationId, after: str | None, kinds: frozenset[Kind]
) -> AsyncIterator[tuple[str, Operation]]:
    """(cursor, the operation as it was at that place in the log), until it has finished.

    Without `after` the first is what the log told last. Raises NotFound, Invalid.
    """
    known = (await shelf.followed.operations.of([one], partial(_read, shelf))).get(one)
    if known is None or known.operation.kind not in kinds:
        raise _missing(one)
    found, last, start = known.operation, known.last, known.head if after is None else read_place(after)
    ended = found.status in FINISHED and not known.untold
    if last is not None and (after is None or last.seq <= start):
        if after is None:
            start = last.seq
            yield last.cursor, _as_told(found, last)
        if ended:
            return  # that was the end, and the caller has seen it
    elif last is None and ended:
        yield str(known.head), found  # its events are older than the log
        return
    changes = shelf.events.follow(
        kinds=frozenset({EventKind.OPERATION_CHANGED}), subjects=frozenset({one}), after=start
    )
    async for change in changes:
        told = _as_told(found, change)
        yield change.cursor, told
        if told.status in FINISHED:
            return


async def _read(shelf: Shelf, ids: Collection[OperationId]) -> Mapping[OperationId, KnownOperation]:
    async with shelf.store.begin() as tx:
        # Each statement sees a later moment than the one before: an end that is found here is untold or last there.
        head = await event.head(tx)
        found = await operation.by_ids(tx, ids)
        untold = await event.untold(tx, EventKind.OPERATION_CHANGED, ids)
        last = await event.last_of(tx, EventKind.OPERATION_CHANGED, ids)
    return {id: KnownOperation(one, last.get(id), id in untold, head) for id, one in found.items()}


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
