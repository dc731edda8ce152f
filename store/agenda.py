"""The agenda: what is due in which lane, as workers see it.

A claim holds an item under a lease; its fence refuses whoever comes too late.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, exists, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Throttled, Unauthorized
from domain.ids import ChannelId, OperationId
from domain.operation import ENDED, NEXT, OPEN, Capability, ClaimedItem, ItemStatus, OperationStatus, Outcome
from store.channel import not_paused
from store.operation import refresh
from store.session import AnyRow, among, from_now, storable
from store.tables import operation, operation_item
from store.tables.operation import ABOUT_AN_ORDER

log = logging.getLogger(__name__)

o = operation.c
i = operation_item.c

_NEVER = datetime.max.replace(tzinfo=UTC)

SENT_AS = "sent_as"
"""In the payload: the platform's name of what the last attempt was sent as, where one is known."""
SENT_BEFORE_AS = "sent_before_as"
"""The same, of the attempt before the last one."""


async def lanes(tx: AsyncConnection, id: OperationId) -> list[tuple[ChannelId, Capability]]:
    """The lanes that carry the operation's items."""
    rows = await tx.execute(select(i.channel, i.capability).where(i.operation_id == id).distinct())
    return [(ChannelId(row.channel), Capability(row.capability)) for row in rows]


async def payloads(tx: AsyncConnection, id: OperationId) -> list[Mapping[str, object]]:
    """What the operation's items carry, in the order they were made."""
    rows = await tx.execute(select(i.payload).where(i.operation_id == id).order_by(i.id))
    return [row.payload for row in rows]


async def under_way(
    tx: AsyncConnection, capability: Capability, resources: Collection[str]
) -> list[Mapping[str, object]]:
    """The payloads of released items of `resources`, which are orders, that may yet take effect, those of unknown outcome
    included."""
    rows = await tx.execute(
        select(i.payload).where(
            among(i.resource, resources),
            text(ABOUT_AN_ORDER),
            i.capability == capability.value,
            i.released,
            _is(i.status, *OPEN, ItemStatus.PARKED),
        )
    )
    return [row.payload for row in rows]


async def not_in_vain(
    tx: AsyncConnection, capability: Capability, resources: Collection[str]
) -> list[Mapping[str, object]]:
    """The payloads of released items of `resources` that have taken effect, or may yet."""
    vain = (ItemStatus.FAILED, ItemStatus.CANCELLED, ItemStatus.SUPERSEDED)
    rows = await tx.execute(
        select(i.payload).where(
            among(i.resource, resources),
            i.capability == bindparam(None, capability.value, literal_execute=True),
            i.released,
            ~_is(i.status, *vain),
        )
    )
    return [row.payload for row in rows]


async def longest_unseen(tx: AsyncConnection, capability: Capability, resource: str) -> int | None:
    """Of the items of a resource that have left the house and are not seen live yet, the one that was made first."""
    query = select(func.min(i.id)).where(
        i.resource == resource,
        i.capability == bindparam(None, capability.value, literal_execute=True),
        _is(i.status, ItemStatus.SENT, ItemStatus.ACCEPTED),
    )
    found: int | None = await tx.scalar(query)
    return found


async def measured_lags(
    tx: AsyncConnection, capability: Capability, since: datetime, quantile: float
) -> dict[ChannelId, tuple[float, int]]:
    """Of each channel: how many seconds passed from its taking an item to our seeing it live, in so many of all cases, and of
    how many items since then that is told."""
    lag = func.extract("epoch", i.ended_at - i.accepted_at)
    rows = await tx.execute(
        select(i.channel, func.percentile_disc(quantile).within_group(lag).label("lag"), func.count().label("items"))
        .where(
            _is(i.status, ItemStatus.VERIFIED),
            i.capability == capability.value,
            i.ended_at >= since,
            i.accepted_at.is_not(None),
        )
        .group_by(i.channel)
    )
    return {ChannelId(row.channel): (max(0.0, float(row.lag)), row.items) for row in rows}


async def due_lanes(tx: AsyncConnection, limit: int = 100) -> list[tuple[ChannelId, Capability]]:
    """The lanes with something to claim now."""
    rows = await tx.execute(
        select(i.channel, i.capability).where(*_claimable()).distinct().order_by(i.channel, i.capability).limit(limit)
    )
    return [(ChannelId(row.channel), Capability(row.capability)) for row in rows]


async def claim(
    tx: AsyncConnection, channel: ChannelId, capability: Capability, *, limit: int, lease_s: float, worker: str
) -> list[ClaimedItem]:
    """Take at most `limit` due items of a lane under a lease of `lease_s` seconds, the most urgent first; other workers pass them
    by.

    What has a deadline that can still be kept comes before all else, the nearest first; then what has been due longest: so none
    is missed for the sake of one that is missed already. While all that is taken is urgent, one more is taken that is only to be
    read back, or what channels have taken would not be seen before nothing is urgent any more.

    A PENDING item waits for the items of its resource that were made before it, and while another of them is under way. One
    that was SENT or ACCEPTED is only to be read back and waits for nobody. An item whose last claim ended without a record may be
    what killed its worker: it comes alone and last, so that it does not take others along each time.
    """

    async def take(limit: int, *which: ColumnElement[bool], order_by: Sequence[ColumnElement[Any]]) -> list[AnyRow]:
        lane = (i.channel == channel, i.capability == capability.value)
        return await _take(tx, (*lane, *which), order_by, limit=limit, lease_s=lease_s, worker=worker)

    longest_due, fresh = (i.due_at, i.id), i.claims == 0
    rows = await take(limit, fresh, *_urgent(), order_by=(i.deadline_at, i.due_at, i.id))
    if len(rows) == limit:
        rows += await take(1, fresh, _is(i.status, ItemStatus.ACCEPTED), order_by=longest_due)
    else:
        rows += await take(limit - len(rows), fresh, order_by=longest_due)
    if len(rows) < limit:
        rows += await take(1, i.claims > 0, order_by=longest_due)
    return [_claimed(row) for row in sorted(rows, key=_urgency)]


async def _take(
    tx: AsyncConnection,
    which: Sequence[ColumnElement[bool]],
    order_by: Sequence[ColumnElement[Any]],
    *,
    limit: int,
    lease_s: float,
    worker: str,
) -> list[AnyRow]:
    # A CTE that locks runs once; as a subquery of IN it might run again for each row, and lock more than the limit.
    due = (
        select(i.id)
        .where(*_claimable(), *which)
        .order_by(*order_by)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = await tx.execute(
        update(operation_item)
        .where(i.id == due.c.id)
        .values(fence=i.fence + 1, claims=i.claims + 1, lease_until=from_now(lease_s), leased_by=worker)
        .returning(operation_item)
    )
    return list(rows)


def _urgent() -> list[ColumnElement[bool]]:
    """Not known to be at its channel, by a time that has not come yet."""
    return [i.deadline_at > func.now(), _is(i.status, ItemStatus.PENDING, ItemStatus.SENT)]


def _urgency(row: AnyRow) -> tuple[datetime, int]:
    """Slots of a rate budget are given in the order in which they are asked for."""
    return row.deadline_at or _NEVER, row.id


async def mark_sent(tx: AsyncConnection, item_id: int, fence: int, lease_s: float) -> bool:
    """Record the intent: from when `tx` commits, the item may have left the house. The lease runs for `lease_s` from now.

    False, and then nothing may be sent: somebody else claimed the item since, the lease is over, or it was cancelled.
    """
    rows = await tx.execute(
        update(operation_item)
        .where(
            i.id == item_id,
            i.fence == fence,
            i.lease_until > func.clock_timestamp(),
            i.status.in_([ItemStatus.PENDING.value, ItemStatus.SENT.value]),
        )
        .values(
            status=ItemStatus.SENT.value,
            sent_at=func.clock_timestamp(),
            sent_by=i.leased_by,
            sent_fence=fence,
            attempts=i.attempts + case((i.sent_fence == fence, 0), else_=1),
            checks=0,
            accepted_at=None,
            lease_until=from_now(lease_s),
            payload=case((i.payload.has_key(SENT_AS), _SENT_ANEW), else_=i.payload),
        )
        .returning(i.operation_id)
    )
    row = rows.one_or_none()
    if row is None:
        return False
    if await tx.scalar(select(o.status).where(o.id == row.operation_id)) == OperationStatus.QUEUED.value:
        await refresh(tx, [row.operation_id])
    return True


async def note(tx: AsyncConnection, item_id: int, fence: int, lease_s: float, detail: Mapping[str, str]) -> bool:
    """Keep how far a long piece of work has come, and its lease for `lease_s` from now; `detail` is added to the payload.

    False, and then it must stop: somebody else claimed the item since, the lease is over, or it was cancelled.
    """
    done = await tx.execute(
        update(operation_item)
        .where(i.id == item_id, i.fence == fence, i.lease_until > func.clock_timestamp(), _is(i.status, *OPEN))
        .values(payload=i.payload.op("||")(literal(dict(detail), JSONB)), lease_until=from_now(lease_s))
    )
    return done.rowcount > 0


async def record(tx: AsyncConnection, outcomes: Sequence[Outcome]) -> list[int]:
    """Write what came of claimed items, end their leases and refresh their operations; returns the ids written.

    Left out are items that somebody claimed since or that may not go to that status any more, such as cancelled ones. An item
    that stays SENT or ACCEPTED costs one of its `checks`, unless it was throttled; a send costs one of its `attempts`, unless it
    was throttled or our credentials were refused. So does an outcome that became unknown though nothing was sent, or it would go
    round for ever. `detail` is added to the payload and comes along with the next claim.
    """
    by_id = {outcome.item: outcome for outcome in sorted(outcomes, key=lambda one: one.fence)}
    found = await tx.execute(
        select(operation_item, func.clock_timestamp().label("now"))
        .where(among(i.id, by_id))
        .order_by(i.id)
        .with_for_update()
    )
    rows: list[dict[str, Any]] = []
    touched: set[OperationId] = set()
    for row in found:
        outcome = by_id[row.id]
        if row.fence == outcome.fence and _permitted(ItemStatus(row.status), outcome.status):
            rows.append(_outcome_row(row, outcome))
            touched.add(OperationId(row.operation_id))
        else:
            refused = {"item": row.id, "was": row.status, "outcome": outcome.status.value}
            log.warning("operation.outcome_refused", extra=refused)
    if rows:
        await tx.execute(_RECORD, rows)
        await refresh(tx, touched)
    return [row["item"] for row in rows]


async def remember(tx: AsyncConnection, item_id: int, fence: int, detail: Mapping[str, object]) -> None:
    """Add `detail` to the payload of an item that is held under this fence, so that it comes along whoever claims it next."""
    rows = await tx.execute(select(i.payload).where(i.id == item_id, i.fence == fence).with_for_update())
    row = rows.one_or_none()
    if row is not None:
        await tx.execute(update(operation_item).where(i.id == item_id).values(payload={**row.payload, **detail}))


def _claimable() -> list[ColumnElement[bool]]:
    """Due, released, open, nobody's, its channel not paused, and not held up by another item of its resource."""
    other = operation_item.alias("other").c
    held_up = exists().where(
        other.resource == i.resource,
        other.id != i.id,
        other.released,
        _is(other.status, ItemStatus.PENDING, ItemStatus.SENT),
        or_(other.id < i.id, other.status == ItemStatus.SENT.value, other.lease_until > func.now()),
    )
    return [
        i.released,
        _is(i.status, *OPEN),
        i.due_at <= func.now(),
        or_(i.lease_until.is_(None), i.lease_until <= func.now()),
        not_paused(i.channel),
        or_(i.status != ItemStatus.PENDING.value, ~held_up),
    ]


def _is(column: ColumnElement[Any], *statuses: ItemStatus) -> ColumnElement[bool]:
    """Written into the statement as words: a plan may use a partial index only where it can read them."""
    words = sorted(status.value for status in statuses)
    return column.in_(bindparam(None, words, expanding=True, literal_execute=True))


def _permitted(was: ItemStatus, now: ItemStatus) -> bool:
    """Whether a worker may write `now`: it stays open as it is, or goes on. What has ended is for people to revive."""
    return was in OPEN and (now is was or now in NEXT[was])


_SENT_ANEW = i.payload.op("-", return_type=i.payload.type)(SENT_AS).concat(
    func.jsonb_build_object(SENT_BEFORE_AS, i.payload[SENT_AS])
)

_RECORD = (
    update(operation_item)
    .where(i.id == bindparam("item"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                "status",
                "due_at",
                "lease_until",
                "claims",
                "attempts",
                "checks",
                "accepted_at",
                "ended_at",
                "error_code",
                "error_message",
                "upstream_request_id",
                "payload",
            )
        }
    )
)


def _outcome_row(row: AnyRow, outcome: Outcome) -> dict[str, Any]:
    """The parameters of _RECORD for one item; `row.now` is the database's clock."""
    was, now = ItemStatus(row.status), outcome.status
    code = None if outcome.error is None else outcome.error.code
    throttled = code == Throttled.code
    # Neither says anything of the item; and a role may be missing for days, tried each minute.
    untried = code in (Throttled.code, Unauthorized.code)
    returned = untried and row.sent_fence == row.fence and now in (ItemStatus.PENDING, ItemStatus.SENT)
    doubted = was is ItemStatus.PENDING and now is ItemStatus.SENT
    looked = not throttled and was is now and was is not ItemStatus.PENDING
    return {
        "item": row.id,
        "new_status": now.value,
        "new_due_at": row.now + timedelta(seconds=outcome.due_in_s),
        "new_lease_until": None,
        "new_claims": 0,
        # At least one attempt stays: that it once left the house must not be forgotten.
        "new_attempts": max(1, row.attempts - 1) if returned else row.attempts + doubted,
        "new_checks": 0 if doubted else row.checks + looked,
        "new_accepted_at": row.accepted_at or (row.now if now is ItemStatus.ACCEPTED else None),
        "new_ended_at": row.now if now in ENDED else None,
        "new_error_code": None if outcome.error is None else outcome.error.code,
        "new_error_message": None if outcome.error is None else storable(outcome.error.message),
        "new_upstream_request_id": outcome.upstream_request_id or row.upstream_request_id,
        "new_payload": {**row.payload, **outcome.detail},
    }


def _claimed(row: AnyRow) -> ClaimedItem:
    return ClaimedItem(
        id=row.id,
        operation=OperationId(row.operation_id),
        channel=row.channel,
        capability=Capability(row.capability),
        resource=row.resource,
        payload=row.payload,
        was=ItemStatus(row.status),
        fence=row.fence,
        attempts=row.attempts,
        checks=row.checks,
        sent_at=row.sent_at,
        accepted_at=row.accepted_at,
        sent_by=row.sent_by,
        deaths=row.claims - 1,
        deadline_at=row.deadline_at,
    )
