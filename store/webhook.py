"""Outgoing webhooks: who is told, of what, and what signs it.

Locks come in one order: webhooks' rows by their ids, or only those that nobody has, then deliveries'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, NotFound
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, node_id
from domain.webhook import TEST, NewWebhook, Webhook, WebhookFormat, WebhookState
from store import api_key, event
from store.keyring import Keyring
from store.session import AnyRow, from_now, storable
from store.tables import api_key as key_table
from store.tables import event as event_table
from store.tables import webhook, webhook_delivery

w, d = webhook.c, webhook_delivery.c

# So many characters are kept of why one is paused, or a try failed.
WORDS = 400
# A lease is no longer than that.
LEASE_S = 60.0
NO_KEY = "The key that made it was revoked or has expired. Resume it with another key, which it belongs to then."


def seal_name(id: str) -> str:
    """The name under which a webhook's secrets are sealed."""
    return f"webhook:{id}"


def new_id() -> str:
    """The id of a webhook that is to be kept."""
    return token_hex(8)


async def create(tx: AsyncConnection, id: str, new: NewWebhook, made_by: str, sealed: str) -> Webhook:
    """Keep a webhook that is told what happens from now on."""
    row = await tx.execute(
        insert(webhook)
        .values(
            id=id,
            url=new.url,
            events=list(new.events),
            channels=list(new.channels),
            skus=list(new.skus),
            format=new.format.value,
            hook=new.hook,
            made_by=made_by,
            sealed=sealed,
            seq=await event.head(tx),
        )
        .returning(webhook)
    )
    return webhook_of(row.one())


async def all_of(tx: AsyncConnection, made_by: str | None = None) -> list[Webhook]:
    """Those of one maker, or of all; oldest first."""
    query = select(webhook).order_by(w.made_at, w.id)
    return [
        webhook_of(row) for row in await tx.execute(query if made_by is None else query.where(w.made_by == made_by))
    ]


async def lock(tx: AsyncConnection, id: str, made_by: str | None) -> Webhook:
    """One, of that maker where one is named, that nobody else changes until `tx` ends. Raises NotFound."""
    query = select(webhook).where(w.id == id).with_for_update()
    row = (await tx.execute(query if made_by is None else query.where(w.made_by == made_by))).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook {node_id('Webhook', id)}.", field=("id",))
    return webhook_of(row)


async def change(tx: AsyncConnection, id: str, new: NewWebhook) -> Webhook:
    """Say anew who is told of what; deliveries that are made already go where it lies then."""
    values = {"url": new.url, "events": list(new.events), "channels": list(new.channels), "skus": list(new.skus)}
    return await _set(tx, id, **values, format=new.format.value)


async def remove(tx: AsyncConnection, id: str) -> None:
    """Forget it, with its deliveries."""
    await tx.execute(delete(webhook).where(w.id == id))


async def pause(tx: AsyncConnection, id: str, reason: str) -> Webhook:
    """Deliver nothing more, and tell. One that is paused already keeps its reason."""
    c = update(webhook).where(w.id == id, w.state == "ACTIVE").values(state="PAUSED", reason=storable(reason)[:WORDS])
    row = (await tx.execute(c.returning(webhook))).one_or_none()
    if row is None:
        return webhook_of((await tx.execute(select(webhook).where(w.id == id))).one())
    await event.append(tx, [NewEvent(EventKind.WEBHOOK_PAUSED, id, {"reason": row.reason, "madeBy": row.made_by})])
    return webhook_of(row)


async def resume(tx: AsyncConnection, one: Webhook, made_by: str, *, skip_missed: bool = False) -> Webhook:
    """Go on where it stopped, at once and for another day; so does one that only waits for its next try. It is `made_by`'s then.

    Raises Conflict where events that it was not told are no longer kept, unless `skip_missed`.
    """
    seq, oldest = one.seq, await event.oldest(tx)
    if oldest is not None and seq + 1 < oldest:
        if not skip_missed:
            raise Conflict(
                "Some events that it was not told are no longer kept. Read anew what it follows, then resume it with "
                "`skipMissed: true`.",
                field=("skipMissed",),
            )
        seq = oldest - 1
    await tx.execute(
        update(webhook_delivery)
        .where(d.webhook == one.id, d.state == "PENDING", ~_under_way())
        .values(due_at=func.clock_timestamp(), first_at=None)
    )
    values: dict[str, Any] = {"state": "ACTIVE", "reason": None, "failures": 0, "due_at": func.clock_timestamp()}
    return await _set(tx, one.id, seq=seq, made_by=made_by, **values)


async def rotate(tx: AsyncConnection, id: str, sealed: str, overlap: timedelta) -> Webhook:
    """Sign with another secret; the one before signs too for a while."""
    return await _set(tx, id, previous=w.sealed, previous_until=func.clock_timestamp() + overlap, sealed=sealed)


async def replay(tx: AsyncConnection, one: Webhook, after: int) -> Webhook:
    """Tell all after that place of the log once more, under the same ids. Raises Conflict where the log begins later, or it has
    not been told so much."""
    oldest = await event.oldest(tx)
    if oldest is not None and after + 1 < oldest:
        raise Conflict(f"Events are kept from the cursor {oldest - 1} on.", field=("after",))
    if after > one.seq:
        raise Conflict(f"It has been told up to the cursor {one.seq}.", field=("after",))
    return await _set(tx, one.id, seq=after, replay_until=func.greatest(w.replay_until, w.seq))


async def place_before(tx: AsyncConnection, since: datetime) -> int:
    """The place of the last event before an instant; 0 where none is kept."""
    query = select(event_table.c.seq).where(event_table.c.seq.is_not(None), event_table.c.at < since)
    return await tx.scalar(query.order_by(event_table.c.seq.desc()).limit(1)) or 0


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook with something to deliver, what the living keys of its maker may do, and what signs: the secret before the last
    one too, while it lives. `testing` where only tests are to be delivered, since it is paused."""

    webhook: Webhook
    testing: bool
    scopes: frozenset[str]
    sealed: tuple[str, ...] = field(repr=False)


async def due(tx: AsyncConnection) -> list[Due]:
    """Those that something waits for whose time it is."""
    something = exists(
        select(d.id).where(
            d.webhook == w.id,
            d.state == "PENDING",
            d.due_at <= func.clock_timestamp(),
            or_(w.state == "ACTIVE", d.type == TEST),
        )
    )
    query = select(webhook, _previous_lives().label("lives")).where(
        w.due_at <= func.clock_timestamp(), something, ~_keyless()
    )
    rows = (await tx.execute(query.order_by(w.id))).all()
    scopes = await api_key.scopes_by_name(tx, {row.made_by for row in rows}) if rows else {}
    return [
        Due(
            webhook_of(row),
            row.state == "PAUSED",
            scopes[row.made_by],
            (row.sealed, row.previous) if row.lives else (row.sealed,),
        )
        for row in rows
    ]


async def keyless(tx: AsyncConnection) -> list[str]:
    """Those that are told although all keys of their makers have ended."""
    return list(await tx.scalars(select(w.id).where(w.state == "ACTIVE", _keyless())))


async def give_up(tx: AsyncConnection, id: str, reason: str) -> None:
    """Pause one that still is there, and for NO_KEY only while no key of its maker lives."""
    query = select(w.id).where(w.id == id, w.state == "ACTIVE")
    if await tx.scalar((query.where(_keyless()) if reason == NO_KEY else query).with_for_update()):
        await pause(tx, id, reason)


@dataclass(frozen=True, slots=True)
class Counts:
    """How it goes over all of them. `oldest_s` is how long the delivery that waits longest has waited."""

    active: int
    paused: int
    pending: int
    failed: int
    oldest_s: float


async def counts(tx: AsyncConnection) -> Counts:
    """How it goes over all of them."""
    return Counts(**(await tx.execute(_COUNTS)).one()._mapping)


async def unopened(tx: AsyncConnection, ring: Keyring) -> list[str]:
    """Whose secrets `ring` does not open: names as `seal_name` makes them."""
    rows = await tx.execute(select(w.id, w.sealed).order_by(w.id))
    return ring.unopened((seal_name(row.id), row.sealed) for row in rows)


async def reseal(tx: AsyncConnection, ring: Keyring) -> int:
    """Encrypt every secret under the newest key; how many those were. Raises Unopened, and changes nothing then."""
    await tx.execute(update(webhook).where(~_previous_lives()).values(previous=None, previous_until=None))
    total = 0
    for row in (await tx.execute(select(w.id, w.sealed, w.previous).order_by(w.id).with_for_update())).all():
        old = {"sealed": row.sealed} | ({} if row.previous is None else {"previous": row.previous})
        anew = {column: ring.anew(seal_name(row.id), sealed) for column, sealed in old.items()}
        await tx.execute(update(webhook).where(w.id == row.id).values(**anew))
        total += len(anew)
    return total


def webhook_of(row: AnyRow) -> Webhook:
    """A webhook out of its whole row."""
    return Webhook(
        id=row.id,
        url=row.url,
        events=tuple(row.events),
        channels=tuple(map(ChannelId, row.channels)),
        skus=tuple(row.skus),
        format=WebhookFormat(row.format),
        hook=row.hook,
        made_by=row.made_by,
        made_at=row.made_at,
        state=WebhookState(row.state),
        reason=row.reason,
        seq=row.seq,
        failures=row.failures,
        last_success_at=row.last_success_at,
        last_error=row.last_error,
        previous_until=row.previous_until,
    )


_COUNTS = text(
    """
    select
        (select count(*) from webhook where state = 'ACTIVE') active,
        (select count(*) from webhook where state = 'PAUSED') paused,
        (select count(*) from webhook_delivery where state = 'FAILED') failed,
        count(*) pending,
        cast(coalesce(extract(epoch from clock_timestamp() - min(made_at)), 0) as double precision) oldest_s
    from webhook_delivery where state = 'PENDING'
    """
)


def _under_way() -> ColumnElement[bool]:
    """Whether somebody may be sending it now; then it comes back within a lease."""
    return and_(d.due_at > func.clock_timestamp(), d.due_at <= from_now(LEASE_S))


def _keyless() -> ColumnElement[bool]:
    c = key_table.c
    return ~exists(select(c.id).where(c.name == w.made_by, api_key.living()))


def _previous_lives() -> ColumnElement[bool]:
    return func.coalesce(w.previous_until > func.clock_timestamp(), False)


async def _set(tx: AsyncConnection, id: str, **values: Any) -> Webhook:
    return webhook_of((await tx.execute(update(webhook).where(w.id == id).values(**values).returning(webhook))).one())
