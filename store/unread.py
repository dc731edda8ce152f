"""Orders that have to be read alone: a report has told something newer of them, or knows them where we only have its sketch.

One is looked after under a lease: its `due_at` lies in the future while somebody is at it. Should one outlive its lease, it is
read twice and nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, OrderId
from domain.order import SHIPPABLE, Order
from domain.product import FulfilledBy
from store.channel import not_paused
from store.session import among, from_now, storable
from store.tables import order, order_unread

c = order_unread.c
_REASON_CHARS = 400


@dataclass(frozen=True, slots=True)
class Unread:
    """An order to be read. `refs` are what the call needs."""

    order: OrderId
    channel: ChannelId
    external_id: str
    marketplace: str | None
    refs: dict[str, str]
    attempts: int


async def note(tx: AsyncConnection, told: Sequence[Order]) -> None:
    """Sketches ask for what is newer than the orders as they are kept, which they must be already; whole ones answer that."""
    sketches = sorted((one for one in told if not one.whole), key=lambda one: one.id)
    if sketches:
        values = {"ids": [one.id for one in sketches], "at": [one.updated_at for one in sketches]}
        await tx.execute(_ASK, values)
    if whole := [one.id for one in told if one.whole]:
        await tx.execute(_ANSWERED, {"ids": whole})


async def claim(tx: AsyncConnection, channels: Collection[ChannelId], lease_s: float, limit: int) -> list[Unread]:
    """Take at most `limit` orders of `channels` that are due: what we have to ship first, then by how long they have waited."""
    rows = await tx.execute(_CLAIM, {"channels": sorted(channels), "lease_s": lease_s, "limit": limit})
    found = [
        Unread(OrderId(row.id), ChannelId(row.channel), row.external_id, row.marketplace, row.refs, row.attempts)
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.channel, one.order))


async def to_ship(tx: AsyncConnection, channel: ChannelId) -> tuple[int, datetime | None]:
    """How many of the channel's orders wait that we can ship, and the earliest change that was told of one; none of a paused
    channel."""
    waiting = (
        order.c.channel == channel,
        order.c.fulfilled_by == FulfilledBy.MERCHANT.value,
        among(order.c.status, [one.value for one in SHIPPABLE]),
        not_paused(order.c.channel),
    )
    query = select(func.count(), func.min(c.told_at)).select_from(order_unread.join(order)).where(*waiting)
    many, since = (await tx.execute(query)).one()
    return many, since


async def put_off(tx: AsyncConnection, ids: Collection[OrderId], wait_s: float, reason: str, *, free: bool) -> None:
    """Try again in `wait_s` seconds. A `free` attempt does not count: nothing was tried."""
    values = {"due_at": from_now(wait_s), "reason": storable(reason)[:_REASON_CHARS]}
    if free:
        values["attempts"] = c.attempts - 1
    await tx.execute(update(order_unread).where(among(c.order_id, ids)).values(**values))


async def give_up(tx: AsyncConnection, ids: Collection[OrderId]) -> None:
    """They cannot be read alone; the streams go on without."""
    await tx.execute(delete(order_unread).where(among(c.order_id, ids)))


_ASK = text(
    """
    insert into order_unread as kept (order_id, told_at)
    select told.id, max(told.at) from unnest(cast(:ids as text[]), cast(:at as timestamptz[])) as told (id, at)
    join "order" known on known.id = told.id
    where not (known.whole and known.updated_at >= told.at)
    group by told.id order by told.id
    on conflict (order_id) do update set
        told_at = excluded.told_at, due_at = least(kept.due_at, excluded.due_at), attempts = 0
    where kept.told_at < excluded.told_at
    """
)

_ANSWERED = text(
    """
    delete from order_unread using "order" known
    where order_unread.order_id = known.id and known.id = any(cast(:ids as text[]))
        and known.whole and known.updated_at >= order_unread.told_at
    """
)

# What waits to be shipped by us needs its lines' ids and its address; the rest can wait for a quiet hour.
_CLAIM = text(
    """
    with due as (
        select unread.order_id from order_unread unread join "order" kept on kept.id = unread.order_id
        where unread.due_at <= now() and kept.channel = any(cast(:channels as text[]))
            and not exists (
                select from channel_state state where state.channel = kept.channel and state.paused_until > now()
            )
        order by
            kept.fulfilled_by = 'MERCHANT' and kept.status in ('PENDING', 'UNSHIPPED', 'PARTIALLY_SHIPPED') desc,
            unread.due_at, unread.order_id
        limit :limit for update of unread skip locked
    )
    update order_unread unread set
        due_at = now() + make_interval(secs => :lease_s), attempts = unread.attempts + 1
    from due join "order" kept on kept.id = due.order_id
    where unread.order_id = due.order_id
    returning kept.id, kept.channel, kept.external_id, kept.marketplace, kept.refs, unread.attempts
    """
)
