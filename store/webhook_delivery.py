"""Deliveries of outgoing webhooks: how they follow from the event log, and what is kept of them.

The cursor of a webhook moves in the transaction that makes the deliveries of what it passes, so none is lost and none made twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import BigInteger, ColumnElement, and_, cast, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, NotFound
from domain.event import Event, EventKind
from domain.ids import Sku, node_id
from domain.webhook import (
    BY_KIND,
    TEST,
    TOPICS,
    Attempt,
    Delivery,
    DeliveryState,
    Topic,
    Webhook,
    WebhookFormat,
    WebhookState,
    event_id,
    object_of,
)
from store import api_key, event, kit
from store.session import AnyRow, as_table
from store.tables import event as event_table
from store.tables import webhook, webhook_attempt, webhook_delivery
from store.webhook import NO_KEY, pause, webhook_of

w, d, a = webhook.c, webhook_delivery.c, webhook_attempt.c

BATCH = 500
SPREAD_AT_ONCE = 50
# Beyond so many that wait, the log keeps the rest.
MOST_PENDING = 2_000
# Of the log's newest places, where samples are looked for.
SAMPLED = 10_000


async def spread(tx: AsyncConnection, at_once: int = SPREAD_AT_ONCE) -> bool:
    """Make the deliveries of the next events for the webhooks that lie furthest behind: for `at_once` of them, or until they
    are `BATCH`. False where none has any, or others are at it."""
    head = await event.head(tx)
    waiting = (
        select(webhook)
        .where(w.state == "ACTIVE", w.seq < head, _pending_of(w.id) < MOST_PENDING)
        .order_by(w.seq, w.id)
        .limit(at_once)
        .with_for_update(skip_locked=True)
    )
    rows = (await tx.execute(waiting)).all()
    scopes = await api_key.scopes_by_name(tx, {row.made_by for row in rows})
    news: dict[tuple[int, tuple[str, ...]], _News] = {}
    seqs: dict[str, int] = {}
    made: list[tuple[AnyRow, _New]] = []
    for row in rows:
        if len(made) >= BATCH:
            break
        if not scopes[row.made_by]:
            await pause(tx, row.id, NO_KEY)
            continue
        # Most lie at the same place and are told the same.
        key = (row.seq, tuple(row.events))
        if key not in news:
            news[key] = await _news(tx, *key, head)
        made += [(row, new) for new in _made(webhook_of(row), news[key], scopes[row.made_by])]
        seqs[row.id] = news[key].seq
    await _keep(tx, await _untold(tx, made))
    if seqs:
        told = as_table(id=list(seqs), seq=[str(seq) for seq in seqs.values()])
        await tx.execute(update(webhook).where(w.id == told.c.id).values(seq=cast(told.c.seq, BigInteger)))
    return bool(rows)


@dataclass(frozen=True, slots=True)
class _News:
    """Events after a place, the place that is reached with them, and the kits that their SKUs are in."""

    events: Sequence[Event]
    seq: int
    kits: Collection[Sku]


async def _news(tx: AsyncConnection, after: int, names: Sequence[str], head: int) -> _News:
    events = await event.after(tx, after, kinds=[TOPICS[name].kind for name in names], limit=BATCH)
    seq = events[-1].seq if len(events) == BATCH else max([head, *(told.seq for told in events)])
    skus = {Sku(told.subject) for told in events if told.kind is EventKind.STOCK_CHANGED}
    return _News(events, seq, await kit.kits_with(tx, skus) if skus else ())


@dataclass(frozen=True, slots=True)
class _New:
    """A delivery that is to be made."""

    id: str
    topic: Topic
    subject: str
    event: Event


def _made(one: Webhook, news: _News, scopes: Collection[str]) -> list[_New]:
    """What the events come to. Of a SKU that changed often the last counts: its numbers are those of the moment of sending."""
    found: list[_New] = []
    stock: dict[str, _New] = {}
    for told in news.events:
        topic = one.wants(told, scopes)
        if topic is None:
            continue
        new = _New(event_id(told.seq), topic, told.subject, told)
        if topic.kind is EventKind.STOCK_CHANGED:
            stock[told.subject] = new
        else:
            found.append(new)
    if stock:
        last = max((new.event for new in stock.values()), key=lambda told: told.seq)
        for sku in news.kits:
            # One event moves many kits: each needs an id of its own.
            id = event_id(last.seq, hashlib.sha256(sku.encode()).hexdigest()[:16])
            stock.setdefault(sku, _New(id, BY_KIND[EventKind.STOCK_CHANGED], sku, last))
    return found + [new for sku, new in stock.items() if one.wants_sku(Sku(sku))]


async def _untold(tx: AsyncConnection, made: Sequence[tuple[AnyRow, _New]]) -> list[tuple[AnyRow, _New]]:
    """Without what a delivery waits for whose data nobody has read yet: it will tell what is so then. Those are locked, so nobody
    reads them before `tx` ends; one that is being read just now tells too little, and is passed over."""
    stock = [
        (row.id, object_of(new.topic, new.subject)) for row, new in made if new.topic.kind is EventKind.STOCK_CHANGED
    ]
    if not stock:
        return list(made)
    asked = as_table(webhook=[id for id, _ in stock], object=[object for _, object in stock])
    query = (
        select(d.webhook, d.object)
        .join(asked, and_(d.webhook == asked.c.webhook, d.object == asked.c.object))
        .where(d.state == "PENDING", d.data.is_(None))
        .with_for_update(of=webhook_delivery, skip_locked=True)
    )
    unread = {(row.webhook, row.object) for row in await tx.execute(query)}
    return [(row, new) for row, new in made if (row.id, object_of(new.topic, new.subject)) not in unread]


async def _keep(tx: AsyncConnection, made: Sequence[tuple[AnyRow, _New]]) -> None:
    if not made:
        return
    rows = [
        {
            "webhook": row.id,
            "id": new.id,
            "type": new.topic.name,
            "object": object_of(new.topic, new.subject),
            "place": new.event.seq,
            "at": new.event.at,
            "replayed": new.event.seq <= row.replay_until,
        }
        for row, new in made
    ]
    # What is there already was made before, and is being replayed.
    statement = insert(webhook_delivery).on_conflict_do_update(
        index_elements=["webhook", "id"], set_=_ANEW, where=d.state != "PENDING"
    )
    await tx.execute(statement, rows)


async def again(tx: AsyncConnection, one: Webhook, id: str) -> Delivery:
    """Deliver what was delivered, or given up, once more. Raises NotFound, and Conflict for what still waits."""
    query = select(webhook_delivery).where(d.webhook == one.id, d.id == id).with_for_update()
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise NotFound(f"There is no delivery {id} of {node_id('Webhook', one.id)}.", field=("id",))
    if row.state == "PENDING":
        raise Conflict(
            "It is still to be delivered; `updateWebhook` with `state: ACTIVE` tries at once.", field=("id",)
        )
    done = update(webhook_delivery).where(d.webhook == one.id, d.id == id).values(**_ANEW)
    return delivery_of((await tx.execute(done.returning(webhook_delivery))).one())


async def test(tx: AsyncConnection, one: Webhook) -> Delivery:
    """A delivery that tells nothing, paused or not."""
    id = f"test_{uuid4().hex}"
    data = orjson.dumps({"id": node_id("Webhook", one.id), "message": "It works."}).decode()
    values = {"webhook": one.id, "id": id, "type": TEST, "object": id, "data": data}
    made = insert(webhook_delivery).values(**values, place=await event.head(tx), at=func.clock_timestamp())
    await tx.execute(update(webhook).where(w.id == one.id).values(due_at=func.clock_timestamp()))
    return delivery_of((await tx.execute(made.returning(webhook_delivery))).one())


async def page(
    tx: AsyncConnection, id: str, *, first: int, after: tuple[int, str] | None, state: DeliveryState | None = None
) -> tuple[list[Delivery], bool]:
    """(deliveries, newest first; whether there are more)."""
    query = select(webhook_delivery).where(*_of(id, state))
    if after is not None:
        query = query.where(tuple_(d.place, d.id) < after)
    rows = (await tx.execute(query.order_by(d.place.desc(), d.id.desc()).limit(first + 1))).all()
    return [delivery_of(row) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, id: str, state: DeliveryState | None = None) -> int:
    """How many deliveries are kept."""
    return await tx.scalar(select(func.count()).select_from(webhook_delivery).where(*_of(id, state))) or 0


async def attempts(tx: AsyncConnection, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Attempt]]:
    """The tries of deliveries, which are named by their webhook and their own id; oldest first."""
    wanted = as_table(webhook=[one for one, _ in keys], delivery=[id for _, id in keys])
    joined = webhook_attempt.join(wanted, and_(a.webhook == wanted.c.webhook, a.delivery == wanted.c.delivery))
    found: dict[tuple[str, str], list[Attempt]] = {key: [] for key in keys}
    for row in await tx.execute(select(webhook_attempt).select_from(joined).order_by(a.number)):
        told = Attempt(row.number, row.at, row.milliseconds, row.status, row.problem, row.answer)
        found[row.webhook, row.delivery].append(told)
    return found


def sample(topic: Topic, one: Event, object: str) -> Delivery:
    """An event as a delivery of it would be."""
    return Delivery("", event_id(one.seq), topic.name, object, one.seq, one.at, DeliveryState.PENDING, False, 0, one.at)


async def samples(tx: AsyncConnection, topic: Topic, made_by: str, scopes: Collection[str], limit: int) -> list[Event]:
    """The newest events of a type about different objects, newest first, that a key of this name and these scopes may read."""
    c = event_table.c
    head = await event.head(tx)
    query = select(c.seq, c.kind, c.subject, c.data, c.at).where(c.kind == topic.kind.value, c.seq > head - SAMPLED)
    found: dict[str, Event] = {}
    anything = Webhook(**_NOBODY, made_by=made_by, events=(topic.name,))
    for row in await tx.execute(query.order_by(c.seq.desc()).limit(SAMPLED // 10)):
        told = Event(row.seq, EventKind(row.kind), row.subject, row.data, row.at)
        if len(found) < limit and anything.wants(told, scopes) is not None:
            found.setdefault(told.subject, told)
    return list(found.values())


async def forget(tx: AsyncConnection, before: datetime, limit: int = 5_000) -> int:
    """Forget at most `limit` deliveries that were made before then and do not wait, with their tries; returns how many."""
    old = select(d.webhook, d.id).where(d.made_at < before, d.state != "PENDING").limit(limit)
    return (await tx.execute(delete(webhook_delivery).where(tuple_(d.webhook, d.id).in_(old)))).rowcount


def delivery_of(row: AnyRow) -> Delivery:
    """A delivery out of its whole row."""
    return Delivery(
        webhook=row.webhook,
        id=row.id,
        type=row.type,
        object=row.object,
        place=row.place,
        at=row.at,
        state=DeliveryState(row.state),
        replayed=row.replayed,
        attempts=row.attempts,
        due_at=row.due_at,
        data=row.data,
    )


_ANEW: dict[str, Any] = {
    "state": "PENDING",
    "replayed": True,
    "made_at": func.clock_timestamp(),
    "first_at": None,
    "due_at": func.clock_timestamp(),
}

_NOBODY: dict[str, Any] = {
    "id": "",
    "url": "",
    "channels": (),
    "skus": (),
    "format": WebhookFormat.FLAT,
    "hook": False,
    "made_at": None,
    "state": WebhookState.ACTIVE,
    "reason": None,
    "seq": 0,
    "failures": 0,
    "last_success_at": None,
    "last_error": None,
    "previous_until": None,
}


def _pending_of(id: ColumnElement[str]) -> ColumnElement[int]:
    waiting = select(d.id).where(d.webhook == id, d.state == "PENDING").limit(MOST_PENDING).subquery()
    return select(func.count()).select_from(waiting).scalar_subquery()


def _of(id: str, state: DeliveryState | None) -> list[ColumnElement[bool]]:
    return [d.webhook == id] + ([] if state is None else [d.state == state.value])
