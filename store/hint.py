"""Hints that platforms gave: durable before anybody confirms them, each once, and those about one subject as one errand.

A hint is looked after under a lease: its `due_at` lies in the future while somebody is at it. Should one outlive its lease, the
platform is asked twice and nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.hint import Errand, Hint, HintKind, HintState
from domain.ids import ChannelId
from store.session import among, from_now, storable
from store.tables import hint

c = hint.c
_REASON_CHARS = 400


async def keep(tx: AsyncConnection, hints: Sequence[Hint]) -> int:
    """Keep each; how many of them are new. A copy of one that is kept, whatever became of it, changes nothing."""
    first = {(one.channel, one.id): one for one in reversed(hints)}
    if not first:
        return 0
    hints = [one for _, one in sorted(first.items())]
    columns = {
        "channel": [one.channel for one in hints],
        "notification_id": [storable(one.id) for one in hints],
        "type": [storable(one.type) for one in hints],
        "kind": [one.kind.value for one in hints],
        "subject": [storable(one.subject) for one in hints],
        "marketplace": [one.marketplace for one in hints],
        "event_at": [one.event_at for one in hints],
    }
    return (await tx.execute(_KEEP, columns)).rowcount


async def claim(tx: AsyncConnection, channels: Collection[ChannelId], lease_s: float, limit: int) -> list[Errand]:
    """Take at most `limit` subjects with all that waits about them, of `channels` that are not paused; longest waiting first."""
    rows = await tx.execute(_CLAIM, {"channels": sorted(channels), "lease_s": lease_s, "limit": limit})
    found = sorted(rows, key=lambda row: (row.channel, row.kind, row.subject, row.event_at))
    errands = []
    for (channel, kind, subject), same in groupby(found, key=lambda row: (row.channel, row.kind, row.subject)):
        all_of_it = list(same)
        last = all_of_it[-1]
        errands.append(
            Errand(
                channel=ChannelId(channel),
                kind=HintKind(kind),
                subject=subject,
                marketplace=next((row.marketplace for row in reversed(all_of_it) if row.marketplace), None),
                event_at=last.event_at,
                attempts=max(row.attempts for row in all_of_it),
                rows=tuple(row.id for row in all_of_it),
            )
        )
    return sorted(errands, key=lambda one: one.rows[0])


async def done(tx: AsyncConnection, errands: Sequence[Errand], reason: str | None = None) -> None:
    """They need nothing more; `reason` says why, where nothing was asked."""
    await _settle(tx, errands, HintState.DONE, reason)


async def give_up(tx: AsyncConnection, errands: Sequence[Errand], reason: str) -> None:
    """Nobody could look after them; people may."""
    await _settle(tx, errands, HintState.QUARANTINED, reason)


async def put_off(tx: AsyncConnection, errands: Sequence[Errand], wait_s: float, reason: str, *, free: bool) -> None:
    """Try again in `wait_s` seconds. A `free` attempt does not count: nothing was tried."""
    values = {"due_at": from_now(wait_s), "reason": storable(reason)[:_REASON_CHARS]}
    if free:
        values["attempts"] = c.attempts - 1
    await tx.execute(update(hint).where(among(c.id, _rows(errands)), c.state == "NEW").values(**values))


async def last_of(tx: AsyncConnection, channel: ChannelId, kind: HintKind) -> Hint | None:
    """The latest hint of a kind, by when it happened."""
    query = (
        select(hint).where(c.channel == channel, c.kind == kind.value).order_by(c.event_at.desc(), c.id.desc()).limit(1)
    )
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        return None
    return Hint(channel, row.notification_id, row.type, kind, row.subject, row.event_at, row.marketplace)


async def forget(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` hints that came before then, whatever became of them; returns how many. By then all that they could
    tell has been read, but for how the account stands."""
    old = select(c.id).where(c.received_at < before, c.kind != HintKind.ACCOUNT.value).limit(limit)
    return (await tx.execute(delete(hint).where(c.id.in_(old)))).rowcount


async def _settle(tx: AsyncConnection, errands: Sequence[Errand], state: HintState, reason: str | None) -> None:
    values = {"state": state.value, "reason": None if reason is None else storable(reason)[:_REASON_CHARS]}
    await tx.execute(update(hint).where(among(c.id, _rows(errands)), c.state == "NEW").values(**values))


def _rows(errands: Sequence[Errand]) -> list[int]:
    return sorted(row for one in errands for row in one.rows)


# One array for each column: a statement for any number of rows, which PostgreSQL reads once for each connection.
_KEEP = text(
    """
    insert into hint (channel, notification_id, type, kind, subject, marketplace, event_at)
    select * from unnest(
        cast(:channel as text[]), cast(:notification_id as text[]), cast(:type as text[]), cast(:kind as text[]),
        cast(:subject as text[]), cast(:marketplace as text[]), cast(:event_at as timestamptz[])
    )
    on conflict do nothing
    """
)
_CLAIM = text(
    """
    with waiting as (
        select channel, kind, subject from hint
        where state = 'NEW' and due_at <= now() and channel = any(cast(:channels as text[]))
            and channel not in (select channel from channel_state where paused_until > now())
        group by channel, kind, subject order by min(id) limit :limit
    ),
    taken as (
        select id from hint join waiting using (channel, kind, subject)
        where state = 'NEW' and due_at <= now()
        order by id for update of hint skip locked
    )
    update hint set due_at = now() + make_interval(secs => cast(:lease_s as double precision)), attempts = attempts + 1
    where id in (select id from taken)
    returning id, channel, kind, subject, marketplace, event_at, attempts
    """
)
