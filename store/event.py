"""The event log: what happened, told in one order without gaps.

A writer appends in the transaction that caused the event; the relay gives it its place (`seq`) once no older transaction can
still bring an event to light. A reader who has seen everything up to `seq` therefore never misses one below it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Text, cast, delete, func, insert, literal, select, text, union_all, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.event import Event, EventKind, NewEvent
from store import locks
from store.session import AnyRow, among
from store.tables import event

# The Redis stream that rings when events have got their place.
BELL = "acorn:events"

_COLUMNS = (event.c.seq, event.c.kind, event.c.subject, event.c.data, event.c.at)
# Every transaction below it has ended, as far as this database is concerned. `pg_snapshot_xmin` would be simpler and lets a long
# transaction in any other database of the server hold our events back. One that ended since the snapshot is taken for ours.
_HORIZON = text(
    """
    select least(
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
        pg_current_xact_id_if_assigned()::text::bigint,
        (
            select min(running::text::bigint) from pg_snapshot_xip(pg_current_snapshot()) running
            where not exists (
                select from pg_stat_activity other
                where other.backend_xid = running::xid and other.datname <> current_database()
            )
        )
    )
    """
)


async def append(tx: AsyncConnection, events: Sequence[NewEvent]) -> None:
    """Tell `events`, in this order, once `tx` has committed."""
    if events:
        rows = [{"kind": new.kind.value, "subject": new.subject, "data": dict(new.data)} for new in events]
        await tx.execute(insert(event), rows)


async def relay(tx: AsyncConnection, limit: int = 500) -> list[Event]:
    """Give the next places to at most `limit` events and return them in order; nothing while another relay is at it."""
    if not await tx.scalar(select(func.pg_try_advisory_xact_lock(locks.RELAY))):
        return []
    # The lock came in a statement of its own: the snapshots of these see every place given before.
    horizon = await tx.scalar(_HORIZON)
    ready = (
        select(event.c.id)
        .where(event.c.seq.is_(None), event.c.xid < horizon)
        .order_by(event.c.id)
        .limit(limit)
        .subquery()
    )
    placed = select(
        ready.c.id,
        (
            select(func.coalesce(func.max(event.c.seq), 0)).scalar_subquery()
            + func.row_number().over(order_by=ready.c.id)
        ).label("seq"),
    ).subquery()
    rows = await tx.execute(
        update(event).where(event.c.id == placed.c.id).values(seq=placed.c.seq).returning(*_COLUMNS)
    )
    return sorted((_event(row) for row in rows), key=lambda told: told.seq)


async def after(
    tx: AsyncConnection,
    seq: int,
    *,
    kinds: Collection[EventKind] | None = None,
    subjects: Collection[str] | None = None,
    limit: int = 500,
) -> list[Event]:
    """The events after place `seq`, in order, at most `limit`; only of `kinds` and about `subjects` where given."""
    query = select(*_COLUMNS).where(event.c.seq > seq).order_by(event.c.seq).limit(limit)
    if kinds is not None:
        query = query.where(among(event.c.kind, [kind.value for kind in kinds]))
    if subjects is not None:
        query = query.where(among(event.c.subject, subjects))
    return [_event(row) for row in await tx.execute(query)]


async def since(
    tx: AsyncConnection, seq: int, *, kinds: Collection[EventKind], limit: int
) -> tuple[int, list[tuple[EventKind, str]]]:
    """The place of the newest event, and (kind, subject) of what was committed after place `seq` or has no place yet.

    At most `limit` of either, in no order, and one of the latter is told again at each look until it has its place: for readers
    who want to know what has changed before the relay tells, and do not mind hearing it twice.
    """
    wanted = among(event.c.kind, [kind.value for kind in kinds])
    placed = select(event.c.kind, event.c.subject).where(event.c.seq > seq, wanted).order_by(event.c.seq).limit(limit)
    unplaced = select(event.c.kind, event.c.subject).where(event.c.seq.is_(None), wanted).limit(limit)
    newest = select(literal("", Text), cast(func.coalesce(func.max(event.c.seq), 0), Text))
    # One statement, one snapshot: an event that gets its place meanwhile is told by one part or the other.
    rows = (await tx.execute(union_all(newest, placed.subquery().select(), unplaced.subquery().select()))).all()
    told = [(EventKind(kind), subject) for kind, subject in rows if kind]
    return next(int(subject) for kind, subject in rows if not kind), told


async def head(tx: AsyncConnection) -> int:
    """The place of the newest event; 0 before the first."""
    return await tx.scalar(select(func.max(event.c.seq))) or 0


async def last_of(tx: AsyncConnection, kind: EventKind, subjects: Collection[str]) -> dict[str, Event]:
    """The newest told event of a kind about each of `subjects`."""
    query = (
        select(*_COLUMNS)
        .where(event.c.kind == kind.value, among(event.c.subject, subjects), event.c.seq.is_not(None))
        .order_by(event.c.subject, event.c.seq.desc())
        .ext(distinct_on(event.c.subject))
    )
    return {row.subject: _event(row) for row in await tx.execute(query)}


async def untold(tx: AsyncConnection, kind: EventKind, subjects: Collection[str]) -> set[str]:
    """Those of `subjects` about which an event of a kind still waits for its place."""
    query = select(event.c.subject).where(
        event.c.kind == kind.value, among(event.c.subject, subjects), event.c.seq.is_(None)
    )
    return set((await tx.scalars(query)).all())


async def oldest(tx: AsyncConnection) -> int | None:
    """The place of the oldest event still kept."""
    place = await tx.scalar(select(func.min(event.c.seq)))
    assert place is None or isinstance(place, int)
    return place


async def prune(tx: AsyncConnection, before: datetime) -> int:
    """Forget told events older than `before`; returns how many. The newest stays: the next place is counted from it."""
    newest = select(func.max(event.c.seq)).scalar_subquery()
    done = await tx.execute(delete(event).where(event.c.at < before, event.c.seq < newest))
    return done.rowcount


def _event(row: AnyRow) -> Event:
    return Event(row.seq, EventKind(row.kind), row.subject, row.data, row.at)
