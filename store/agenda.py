"""The agenda: what is due in which lane, as workers see it.

A claim holds an item under a lease; its fence refuses whoever comes too late.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    true,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Throttled, Unauthorized
from domain.ids import ChannelId, OperationId
from domain.operation import ENDED, NEXT, OPEN, Capability, ClaimedItem, ItemStatus, OperationStatus, Outcome
from store.channel import not_paused
from store.operation import refresh
from store.session import AnyRow, among, as_table, from_now, storable
from store.tables import operation, operation_item
from store.tables.operation import ABOUT_AN_ORDER

log = logging.getLogger(__name__)

o = operation.c
i = operation_item.c
_OTHER = operation_item.alias("other").c

_MARKETPLACE = i.payload["marketplace"].astext
_NEVER = datetime.max.replace(tzinfo=UTC)

SENT_AS = "sent_as"
"""In the payload: the platform's name of what the last attempt was sent as, where one is known."""
SENT_BEFORE_AS = "sent_before_as"
"""The same, of the attempt before the last one."""
SENDING = "sending"
"""In the payload of an item that is sent with many others: what its intent left there."""
OVER = "over"
"""In `SENDING`: the platform has come to the end of the file that the item was sent in."""

FEWER = 8
"""Of items that may hold the one that kills its worker, so many times fewer are taken at once with each death."""


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
    some = operation_item.alias("some").c
    lane = select(some.channel, some.capability).where(some.released, _is(some.status, *OPEN)).distinct().subquery()
    # The first that is found is enough, of a hundred thousand that wait in a lane.
    mine = (i.channel == lane.c.channel, i.capability == lane.c.capability)
    one = select(literal(1)).where(*_claimable(), *mine).limit(1).lateral()
    found = select(lane).join(one, true()).order_by(lane.c.channel, lane.c.capability).limit(limit)
    return [(ChannelId(row.channel), Capability(row.capability)) for row in await tx.execute(found)]


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


async def claim_batch(
    tx: AsyncConnection,
    channel: ChannelId,
    capability: Capability,
    statuses: Collection[ItemStatus],
    *,
    limit: int,
    lease_s: float,
    worker: str,
    with_deadline: bool | None = None,
) -> list[ClaimedItem]:
    """Take at most `limit` due items of a lane that are in one of `statuses`, those due longest first, to work at them together;
    only those with a deadline, or without one, where that is asked for.

    Items whose last claim ended without a record may hold the one that kills its worker. They come when nothing else is due, and
    each time an eighth as many of them, so that it is alone after a few deaths and takes no others along.
    """
    which = () if with_deadline is None else (i.deadline_at.is_not(None) if with_deadline else i.deadline_at.is_(None),)
    due = (i.channel == channel, i.capability == capability.value, _is(i.status, *statuses), *which)

    async def take(limit: int, claims: int) -> list[AnyRow]:
        order_by = (i.due_at, i.id)
        return await _take(tx, (*due, i.claims == claims), order_by, limit=limit, lease_s=lease_s, worker=worker)

    rows = await take(limit, 0)
    if not rows and (deaths := await tx.scalar(select(func.min(i.claims)).where(*_claimable(), *due))):
        rows = await take(max(1, limit // FEWER**deaths), deaths)
    return sorted((_claimed(row) for row in rows), key=lambda one: one.id)


async def waiting(tx: AsyncConnection, channel: ChannelId, capability: Capability) -> int:
    """How many items of a lane whose marketplace is known could be sent now; those that may have killed a worker are left out."""
    count = await tx.scalar(select(func.count()).where(*_claimable(), *_fresh(channel, capability)))
    return int(count or 0)


async def claim_patient(
    tx: AsyncConnection,
    channel: ChannelId,
    capability: Capability,
    *,
    limit: int,
    lease_s: float,
    worker: str,
) -> list[ClaimedItem]:
    """Of the last `limit` items that `waiting` counts, in the order in which `claim` takes them, take those of one marketplace,
    that of the most, to send them together."""
    fresh = _fresh(channel, capability)
    # What is late already comes after what is not, as it does there.
    deadline = case((i.deadline_at > func.now(), i.deadline_at))
    order_by = (deadline.desc().nulls_first(), i.due_at.desc(), i.id.desc())
    found = await tx.execute(
        select(i.id, _MARKETPLACE.label("marketplace")).where(*_claimable(), *fresh).order_by(*order_by).limit(limit)
    )
    ids: defaultdict[str, list[int]] = defaultdict(list)
    for row in found:
        ids[row.marketplace].append(row.id)
    most = max(ids.values(), key=len, default=[])
    rows = await _take(tx, (*fresh, among(i.id, most)), (i.id,), limit=limit, lease_s=lease_s, worker=worker)
    return sorted((_claimed(row) for row in rows), key=lambda one: one.id)


def _fresh(channel: ChannelId, capability: Capability) -> tuple[ColumnElement[bool], ...]:
    lane = (i.channel == channel, i.capability == capability.value)
    return *lane, _is(i.status, ItemStatus.PENDING), i.claims == 0, _MARKETPLACE.is_not(None)


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
        .values(_intent(fence, lease_s, _ANEW))
        .returning(i.operation_id)
    )
    row = rows.one_or_none()
    if row is None:
        return False
    if await tx.scalar(select(o.status).where(o.id == row.operation_id)) == OperationStatus.QUEUED.value:
        await refresh(tx, [row.operation_id])
    return True


def _intent(fence: int | ColumnElement[int], lease_s: float, payload: ColumnElement[Any]) -> dict[str, Any]:
    """What is kept of an item that is about to leave the house under `fence`."""
    return {
        "status": ItemStatus.SENT.value,
        "sent_at": func.clock_timestamp(),
        "sent_by": i.leased_by,
        "sent_fence": fence,
        "attempts": i.attempts + case((i.sent_fence == fence, 0), else_=1),
        "checks": 0,
        "accepted_at": None,
        "lease_until": from_now(lease_s),
        "payload": payload,
    }


async def mark_sent_together(
    tx: AsyncConnection,
    items: Sequence[ClaimedItem],
    lease_s: float,
    details: Mapping[int, Mapping[str, str]],
    *,
    newest_only: bool = True,
) -> set[int]:
    """Record the intent to send many at once, each with its detail, as `mark_sent` does for one; the ids of those that may leave.

    With `newest_only`, of each resource only the newest counts: what was sent of it before and is not seen yet will not be seen
    any more, and what is to be sent anew though something newer waits shall not be; either is SUPERSEDED.
    """
    if newest_only:
        await _overtake(tx, items)
    mine = as_table(
        id=[str(one.id) for one in items],
        fence=[str(one.fence) for one in items],
        detail=[orjson.dumps(dict(details.get(one.id, {}))).decode() for one in items],
    )
    fence = cast(mine.c.fence, BigInteger)
    payload = type_coerce(_ANEW, JSONB).concat(func.jsonb_build_object(SENDING, cast(mine.c.detail, JSONB)))
    rows = await tx.execute(
        update(operation_item)
        .where(
            i.id == cast(mine.c.id, BigInteger),
            i.fence == fence,
            i.lease_until > func.clock_timestamp(),
            _is(i.status, ItemStatus.PENDING, ItemStatus.SENT),
        )
        .values(_intent(fence, lease_s, payload))
        .returning(i.id, i.operation_id)
    )
    sent = rows.all()
    queued = await tx.scalars(
        select(o.id).where(among(o.id, {row.operation_id for row in sent}), o.status == OperationStatus.QUEUED.value)
    )
    await refresh(tx, [OperationId(id) for id in queued])
    return {row.id for row in sent}


async def _overtake(tx: AsyncConnection, items: Sequence[ClaimedItem]) -> None:
    """Lock the items, and end those of their resources that are only waiting to be seen, and those of the items behind which
    something newer waits: what came back unseen, after it was asked for. All in the order of their ids."""
    taken = (
        i.channel == items[0].channel,
        i.capability == items[0].capability.value,
        i.released,
        among(i.resource, {one.resource for one in items}),
        _is(i.status, ItemStatus.ACCEPTED),
    )
    mine = among(i.id, [one.id for one in items])
    rows = await tx.execute(
        select(i.id, i.operation_id, i.status).where(or_(mine, and_(*taken))).order_by(i.id).with_for_update()
    )
    newer = operation_item.alias("newer")
    waiting = (
        newer.c.resource == i.resource,
        newer.c.id > i.id,
        newer.c.released,
        _is(newer.c.status, ItemStatus.PENDING),
    )
    behind = await tx.scalars(select(i.id).where(mine, _is(i.status, ItemStatus.PENDING), exists().where(*waiting)))
    ended = set(behind)
    older = [row for row in rows if row.status == ItemStatus.ACCEPTED.value or row.id in ended]
    if older:
        await tx.execute(
            update(operation_item)
            .where(among(i.id, [row.id for row in older]))
            .values(status=ItemStatus.SUPERSEDED.value, ended_at=func.now(), lease_until=None)
        )
        await refresh(tx, {OperationId(row.operation_id) for row in older})


async def renew(tx: AsyncConnection, held: Mapping[int, int], lease_s: float) -> None:
    """Let the leases of items, held under these fences by their ids, run for `lease_s` from now; those that are over stay so."""
    fences = as_table(id=[str(one) for one in held], fence=[str(one) for one in held.values()])
    # Whoever holds one now is about to write it, and in the order of their ids. One by one by the ids that are told: joined
    # with what is locked, thousands might be compared with thousands.
    mine = (
        select(i.id)
        .where(i.id == cast(fences.c.id, BigInteger), i.fence == cast(fences.c.fence, BigInteger))
        .order_by(i.id)
        .with_for_update(skip_locked=True, of=operation_item)
        .cte("mine")
    )
    await tx.execute(
        update(operation_item)
        .where(i.id == mine.c.id, i.lease_until > func.clock_timestamp())
        .values(lease_until=from_now(lease_s))
    )


async def names_sent(tx: AsyncConnection, channel: ChannelId, capability: Capability, since: datetime) -> set[str]:
    """The platform's names of what a lane has sent since then, where they are known."""
    names = await tx.scalars(
        select(i.payload[SENT_AS].astext)
        .where(i.channel == channel, i.capability == capability.value, i.sent_at >= since, i.payload.has_key(SENT_AS))
        .distinct()
    )
    return set(names)


async def in_doubt(tx: AsyncConnection, item: ClaimedItem, mark: str, apart: Collection[int]) -> bool:
    """Whether a batch of the lane and marketplace of `item` is out whose intent left `mark` and whose name is not known; the
    items `apart` are left out."""
    found = await tx.scalar(
        select(
            exists().where(
                i.channel == item.channel,
                i.capability == item.capability.value,
                i.released,
                _is(i.status, ItemStatus.SENT),
                i.payload["marketplace"].astext.is_not_distinct_from(item.payload["marketplace"]),
                i.payload[SENDING].has_key(mark),
                ~i.payload.has_key(SENT_AS),
                ~among(i.id, apart),
            )
        )
    )
    return bool(found)


async def in_line(tx: AsyncConnection, items: Sequence[ClaimedItem], mark: str) -> set[int]:
    """Those of the items of a lane whose resource was sent in a file before, with `mark` in its intent, that its platform has not
    come to the end of: what it works through later takes the place of what it is told now."""
    resources = await tx.scalars(
        select(i.resource).where(
            i.channel == items[0].channel,
            i.capability == items[0].capability.value,
            i.released,
            _is(i.status, ItemStatus.ACCEPTED),
            among(i.resource, {one.resource for one in items}),
            i.payload[SENDING].has_key(mark),
            ~i.payload[SENDING].has_key(OVER),
        )
    )
    there = set(resources)
    return {one.id for one in items if one.resource in there}


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
    was throttled, our credentials were refused, or it is `untried`. So does an outcome that became unknown though nothing was
    sent, or it would go round for ever. `detail` is added to the payload and comes along with the next claim.
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
    other = _OTHER
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


_SENT_BEFORE = i.payload.op("-", return_type=i.payload.type)(SENT_AS).concat(
    func.jsonb_build_object(SENT_BEFORE_AS, i.payload[SENT_AS])
)
# The payload of what is sent anew.
_ANEW = case((i.payload.has_key(SENT_AS), _SENT_BEFORE), else_=i.payload)

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
    untried = outcome.untried or code in (Throttled.code, Unauthorized.code)
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
