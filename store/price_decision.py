"""What people have decided about large changes of prices, until a worker has carried it out.

Whoever carries one out holds its row until all of it is done, so that nobody else begins; when he dies, the next does, a while
after he began.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import OperationId
from domain.operation import ItemError
from domain.price_decision import Decision, Verdict
from store import operation
from store.session import AnyRow, among, from_now
from store.tables import price_decision

d = price_decision.c

MOST_TRIES = 5


async def ask(
    tx: AsyncConnection, id: OperationId, verdict: Verdict, by: str, correlation_id: str | None = None
) -> None:
    """Keep it for a worker. While one of the kind waits it stays as it is; one that came to nothing is asked for anew."""
    open_ = select(d.operation).where(d.operation == id, d.verdict == verdict.value, d.ended_at.is_(None))
    if await tx.scalar(open_) is not None:
        return
    values = {"asked_by": by, "correlation_id": correlation_id}
    anew = {"asked_at": func.now(), "due_at": func.now(), "tries": 0} | dict.fromkeys(
        ("ended_at", "error_code", "error_message", "made")
    )
    await tx.execute(
        upsert(price_decision)
        .values(operation=id, verdict=verdict.value, due_at=func.now(), **values)
        .on_conflict_do_update(
            index_elements=["operation", "verdict"], set_=values | anew, where=d.ended_at.is_not(None)
        )
    )
    await operation.announce(tx, id)


async def claim(tx: AsyncConnection, hand_s: float) -> Decision | None:
    """The one that waits longest, what cancels before all others; nobody else takes it for `hand_s`, nor while its row is held.
    One that was begun too often has come to nothing."""
    waiting = select(d.operation, d.verdict).where(d.ended_at.is_(None), d.due_at <= func.clock_timestamp())
    first = waiting.order_by(d.verdict != Verdict.CANCEL.value, d.due_at).limit(1)
    found = (await tx.execute(first.with_for_update(skip_locked=True))).one_or_none()
    if found is None:
        return None
    taken = {"tries": d.tries + 1, "due_at": from_now(hand_s)}
    this = (d.operation == found.operation, d.verdict == found.verdict)
    row = (await tx.execute(update(price_decision).where(*this).values(**taken).returning(price_decision))).one()
    one = _decision(row)
    if row.tries <= MOST_TRIES:
        return one
    words = (
        f"It was begun {MOST_TRIES} times and never came to an end; nothing of it was done. The workers' log says why."
    )
    await end(tx, one, error=ItemError("INTERNAL", words))
    return await claim(tx, hand_s)


async def hold(tx: AsyncConnection, one: Decision) -> bool:
    """Whether it still waits; nobody else carries it out until `tx` ends."""
    row = await tx.execute(select(d.ended_at).where(*_this(one)).with_for_update())
    return row.scalar_one() is None


async def later(tx: AsyncConnection, one: Decision, wait_s: float) -> None:
    """It was not begun, and is to be in so many seconds; that counts for no try."""
    await tx.execute(update(price_decision).where(*_this(one)).values(tries=d.tries - 1, due_at=from_now(wait_s)))


async def end(
    tx: AsyncConnection, one: Decision, *, made: OperationId | None = None, error: ItemError | None = None
) -> None:
    """It is carried out, or why it is not; one that has ended stays as it is. The operation's followers are told."""
    values = {
        "ended_at": func.clock_timestamp(),
        "made": made,
        "error_code": None if error is None else error.code,
        "error_message": None if error is None else error.message,
    }
    done = await tx.execute(update(price_decision).where(*_this(one), d.ended_at.is_(None)).values(**values))
    if done.rowcount and (error is not None or made is not None):
        await operation.announce(tx, one.operation)


async def by_operations(tx: AsyncConnection, ids: Collection[OperationId]) -> dict[OperationId, Decision]:
    """What was decided last about each of the operations; those of which nothing was are missing."""
    rows = await tx.execute(
        select(price_decision)
        .where(among(d.operation, ids))
        .order_by(d.operation, d.asked_at.desc())
        .ext(distinct_on(d.operation))
    )
    return {one.operation: one for one in map(_decision, rows)}


def _this(one: Decision) -> tuple[ColumnElement[bool], ...]:
    return d.operation == one.operation, d.verdict == one.verdict.value


def _decision(row: AnyRow) -> Decision:
    return Decision(
        operation=OperationId(row.operation),
        verdict=Verdict(row.verdict),
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        correlation_id=row.correlation_id,
        ended_at=row.ended_at,
        error=None if row.error_code is None else ItemError(row.error_code, row.error_message),
        made=None if row.made is None else OperationId(row.made),
    )
