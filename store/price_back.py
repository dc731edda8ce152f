"""Taking changes of prices back: what is asked for anew, what others have changed since, and what a canary decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, Forbidden
from domain.ids import ListingId, OperationId
from domain.operation import (
    WAITING_FOR_PEOPLE,
    ItemError,
    ItemStatus,
    NewItem,
    Operation,
    OperationStatus,
)
from domain.price import JudgedWish, Origin, Price, PriceFacts, read_price
from domain.price_back import Row, Taken, taken_back
from domain.price_canary import CanaryState, Verdict, verdict
from store import operation, price, price_canary, price_desk, price_history
from store.price_desk import Request
from store.tables import listing_price, operation_item, price_event
from store.tables import operation as operation_table

e = price_event.c
i = operation_item.c
o = operation_table.c
p = listing_price.c


async def take_back(tx: AsyncConnection, id: OperationId, request: Request) -> Operation:
    """Ask for the prices that were live before the operation, as an operation of its own, which is judged, sent and read back as
    any other and can be taken back itself.

    What it has not sent yet is cancelled first. A row that others changed since, or of which nobody knows how it was before, is
    left as it is: it stands in the new operation as SUPERSEDED, with the reason. Raises NotFound; Conflict where it was taken
    back before or nothing of it is left to be.
    """
    await price_desk.hold(tx, id)
    await check(tx, await operation.lock(tx, id))
    waiting = await _withdraw(tx, id)
    await price_canary.end(tx, id, CanaryState.CANCELLED, by=request.requested_by)
    rows = await _rows(tx, id, request.at)
    told = [one for row in rows if (one := taken_back(row, request.at)) is not None]
    wishes = [replace(one.wish, reason=f"takes back Operation:{id}") for one in told if not one.words]
    left = [one for one in told if one.words]
    if not wishes:
        words = left[0].words if left else "None of its rows has changed a price."
        # An error leaves all as it was, and what waits would go.
        cancel = f" {waiting} of its rows still wait to be sent: cancelOperation keeps them back." if waiting else ""
        raise Conflict(f"Nothing is left to take back. {words}{cancel}", field=("id",))
    made, _ = await price_desk.keep(tx, replace(request, reverts=id), wishes)
    return await _leave(tx, made, left)


async def check(tx: AsyncConnection, undone: Operation) -> None:
    """Raises Conflict for what cannot be taken back, whatever has become of its rows."""
    if undone.status in WAITING_FOR_PEOPLE:
        raise Conflict(f"The operation is {undone.status.value}: nothing of it was sent. Cancel it.", field=("id",))
    if (by := await _taken_by(tx, undone.id)) is not None:
        raise Conflict(f"It was taken back already, by Operation:{by}.", field=("id",))


async def cancel(tx: AsyncConnection, id: OperationId, by: str) -> Operation:
    """Withdraw what has not left the house, what waits behind a canary included: it is wanted no more. Raises NotFound,
    Conflict."""
    await price_desk.hold(tx, id)
    cancelled = await operation.cancel(tx, id)
    await price_history.withdrawn(tx, id)
    await price_canary.end(tx, id, CanaryState.CANCELLED, by=by)
    return cancelled


async def approve(tx: AsyncConnection, id: OperationId, by: str, at: datetime) -> Operation:
    """Let go what waits for people, or behind a canary. Raises what `let_go` and `price_desk.approve` do."""
    known = (await operation.by_ids(tx, [id])).get(id)
    if known is None or known.status in WAITING_FOR_PEOPLE:
        return await price_desk.approve(tx, id, by, at)
    return await let_go(tx, id, by) or await price_desk.approve(tx, id, by, at)


async def can_be_approved(tx: AsyncConnection, one: Operation, by: str) -> bool:
    """Does anything of it wait for people, or behind a canary? Raises Forbidden where somebody else than `by` has to decide, as
    far as that is known already."""
    if one.status in WAITING_FOR_PEOPLE:
        await price_desk.check_author(tx, one, by)
        return True
    canary = (await price_canary.by_operations(tx, [one.id])).get(one.id)
    if canary is None or canary.state is not CanaryState.WATCHING:
        return False
    _check_other(one, by)
    return True


async def let_go(tx: AsyncConnection, id: OperationId, by: str) -> Operation | None:
    """Release what waits behind the operation's canary, whatever is seen of it; None where nothing waits. Raises NotFound, and
    Forbidden for whoever asked for the prices."""
    await price_desk.hold(tx, id)
    one = await operation.lock(tx, id)
    if await price_canary.held(tx, id) is None:
        return None
    _check_other(one, by)
    await price_canary.end(tx, id, CanaryState.RELEASED, by=by)
    return await price_desk.release_rest(tx, id)


def _check_other(one: Operation, by: str) -> None:
    if one.requested_by == by:
        words = "You have asked for these prices yourself: somebody else lets them go before their canary is over."
        raise Forbidden(words, field=("id",))


async def decide(tx: AsyncConnection, id: OperationId, request: Request) -> Verdict | None:
    """Look at the operation's canary, and do what follows, all of it or nothing: release the rest, or cancel it and, where it did
    badly, take back what was sent. None where somebody has decided already."""
    await price_desk.hold(tx, id)
    await operation.lock(tx, id)
    canary = await price_canary.held(tx, id)
    if canary is None:
        return None
    found = verdict(canary.radius, await price_canary.signals(tx, canary))
    match found.state:
        case CanaryState.PASSED:
            await price_canary.end(tx, id, CanaryState.PASSED)
            await price_desk.release_rest(tx, id)
        case CanaryState.CANCELLED:
            await price_canary.end(tx, id, CanaryState.CANCELLED, found.reasons)
            await _withdraw(tx, id)
        case CanaryState.HALTED:
            await price_canary.end(tx, id, CanaryState.HALTED, found.reasons)
            await _halt(tx, id, request)
        case _:
            pass
    return found


async def _halt(tx: AsyncConnection, id: OperationId, request: Request) -> None:
    await _withdraw(tx, id)
    # Where nothing of it has come about, or others have changed all of it since, nothing is left to take back.
    with suppress(Conflict):
        await take_back(tx, id, request)


async def _withdraw(tx: AsyncConnection, id: OperationId) -> int:
    """How many rows have not left; they are wanted no more."""
    waiting = await operation.items_count(tx, id, status=ItemStatus.PENDING)
    if waiting:
        await operation.cancel(tx, id)
        await price_history.withdrawn(tx, id)
    return waiting


async def _taken_by(tx: AsyncConnection, id: OperationId) -> OperationId | None:
    """The operation that took this one back, or is about to."""
    vain = [OperationStatus.FAILED.value, OperationStatus.CANCELLED.value]
    found = await tx.scalar(select(o.id).where(o.reverts == id, o.status.not_in(vain)).limit(1))
    return None if found is None else OperationId(found)


async def _rows(tx: AsyncConnection, id: OperationId, at: datetime) -> list[Row]:
    """What of the operation has come about, or may have, with what was seen live before, and what is known now."""
    sent = func.coalesce(i.sent_at, func.now())
    seen = e.what.in_(price_history.SEEN)
    before = (
        select(e.price)
        .where(e.listing == i.payload["listing"].astext, seen, e.at <= sent, or_(e.item.is_(None), e.item != i.id))
        .order_by(e.at.desc(), e.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    last = operation_item.alias("last")
    overtaken = last.c.status.in_(price.IN_VAIN)
    # Its sale has begun or ended since at a channel that keeps no times.
    went_on = (last.c.payload["origin"].astext == Origin.SALE.value) & (p.wanted == i.payload["price"])
    query = (
        select(i.id, i.payload, before.label("before"), p.wanted_item, (overtaken | went_on).label("ours"))
        .outerjoin(listing_price, p.listing == i.payload["listing"].astext)
        .outerjoin(last, last.c.id == p.wanted_item)
        .where(i.operation_id == id, or_(i.status.in_(_SENT), _TAKEN))
        .order_by(i.id)
    )
    rows = (await tx.execute(query)).all()
    known = await price.facts(tx, {ListingId(row.payload["listing"]) for row in rows}, at)
    return [
        Row(
            wish=price.wish_of(row.payload),
            newest=row.wanted_item in (None, row.id) or bool(row.ours),
            before=_before(row.before, row.payload["facts"]),
            live=known[ListingId(row.payload["listing"])].live,
        )
        for row in rows
    ]


def _before(seen: Mapping[str, object] | None, facts: Mapping[str, Mapping[str, object] | None]) -> Price | None:
    """What was seen before it was sent; or else what was known when it was judged."""
    told = seen if seen is not None else facts["live"]
    return None if told is None else read_price(told)


async def _leave(tx: AsyncConnection, made: Operation, left: Sequence[Taken]) -> Operation:
    """Keep with the operation what is left as it is, by name."""
    if not left:
        return made
    items = [_left(one) for one in left]
    await operation.append(tx, made.id, items, ItemStatus.SUPERSEDED)
    return (await operation.by_ids(tx, [made.id]))[made.id]


def _left(one: Taken) -> NewItem:
    item = price_desk.new_item(JudgedWish(one.wish, PriceFacts()))
    return replace(item, after=None, refused=ItemError(one.code, one.words))


_SENT = [one.value for one in (ItemStatus.SENT, ItemStatus.ACCEPTED, ItemStatus.VERIFIED, ItemStatus.PARKED)]
# What a channel took and then found fault with, it may show all the same.
_TAKEN = and_(i.status == ItemStatus.FAILED.value, i.accepted_at.is_not(None))
