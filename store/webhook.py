"""Outgoing webhooks: who is told, the deliveries that follow from the event log, and every try of them.

The cursor of a webhook moves in the transaction that makes the deliveries of what it passes, so none is lost and none made twice.
A delivery is under way while its `due_at` lies ahead by a lease; whoever outlives it delivers once more, under the same id. Locks
come in one order: webhooks' rows by their ids, or only those that nobody has, then deliveries'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import BigInteger, ColumnElement, and_, cast, delete, exists, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, NotFound
from domain.event import Event, EventKind, NewEvent
from domain.ids import ChannelId, Sku, node_id
from domain.webhook import (
    BY_KIND,
    TEST,
    TOPICS,
    Attempt,
    Delivery,
    DeliveryState,
    NewWebhook,
    Topic,
    Verdict,
    Webhook,
    WebhookFormat,
    WebhookState,
    event_id,
    next_try_s,
    object_of,
)
from store import api_key, event, kit
from store.keyring import Keyring
from store.session import AnyRow, among, as_table, from_now, storable
from store.tables import api_key as key_table
from store.tables import event as event_table
from store.tables import webhook, webhook_attempt, webhook_delivery

w, d, a = webhook.c, webhook_delivery.c, webhook_attempt.c

BATCH = 500
SPREAD_AT_ONCE = 50
# Beyond so many that wait, the log keeps the rest.
MOST_PENDING = 2_000
# Of the log's newest places, where samples are looked for.
SAMPLED = 10_000
WORDS = 400


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
    return _webhook(row.one())


async def all_of(tx: AsyncConnection, made_by: str | None = None) -> list[Webhook]:
    """Those of one maker, or of all; oldest first."""
    query = select(webhook).order_by(w.made_at, w.id)
    return [_webhook(row) for row in await tx.execute(query if made_by is None else query.where(w.made_by == made_by))]


async def lock(tx: AsyncConnection, id: str, made_by: str | None) -> Webhook:
    """One, of that maker where one is named, that nobody else changes until `tx` ends. Raises NotFound."""
    query = select(webhook).where(w.id == id).with_for_update()
    row = (await tx.execute(query if made_by is None else query.where(w.made_by == made_by))).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook {node_id('Webhook', id)}.", field=("id",))
    return _webhook(row)


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
        return _webhook((await tx.execute(select(webhook).where(w.id == id))).one())
    await event.append(tx, [NewEvent(EventKind.WEBHOOK_PAUSED, id, {"reason": row.reason, "madeBy": row.made_by})])
    return _webhook(row)


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
    return _delivery((await tx.execute(done.returning(webhook_delivery))).one())


async def test(tx: AsyncConnection, one: Webhook) -> Delivery:
    """A delivery that tells nothing, paused or not."""
    id = f"test_{uuid4().hex}"
    data = orjson.dumps({"id": node_id("Webhook", one.id), "message": "It works."}).decode()
    values = {"webhook": one.id, "id": id, "type": TEST, "object": id, "data": data}
    made = insert(webhook_delivery).values(**values, place=await event.head(tx), at=func.clock_timestamp())
    await _set(tx, one.id, due_at=func.clock_timestamp())
    return _delivery((await tx.execute(made.returning(webhook_delivery))).one())


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
        made += [(row, new) for new in _made(_webhook(row), news[key], scopes[row.made_by])]
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
            _webhook(row),
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


async def claim(tx: AsyncConnection, asked: Mapping[str, tuple[int, bool]], lease_s: float) -> list[Delivery]:
    """Take the next deliveries of webhooks: those of so many objects at most for each, and only tests where that is said. What
    others have is passed over."""
    given = {
        "webhooks": list(asked),
        "limits": [limit for limit, _ in asked.values()],
        "testing": [testing for _, testing in asked.values()],
        "lease_s": lease_s,
        "test": TEST,
    }
    return [_delivery(row) for row in await tx.execute(CLAIM, given)] if asked else []


async def keep_data(tx: AsyncConnection, data: Mapping[tuple[str, str], str]) -> None:
    """What deliveries tell, by their webhooks and ids; from now on at every try."""
    if data:
        told = as_table(webhook=[key[0] for key in data], id=[key[1] for key in data], data=list(data.values()))
        these = and_(d.webhook == told.c.webhook, d.id == told.c.id)
        await tx.execute(update(webhook_delivery).where(these).values(data=told.c.data))


async def unreadable(tx: AsyncConnection, these: Sequence[Delivery]) -> None:
    """Whoever made the webhook may not read this any more: it is given up."""
    if these:
        told = as_table(webhook=[one.webhook for one in these], id=[one.id for one in these])
        wanted = and_(d.webhook == told.c.webhook, d.id == told.c.id)
        await tx.execute(update(webhook_delivery).where(wanted).values(state="FAILED"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a try. After a failure it is tried again by the schedule, which `share` stretches (0 to 1), and not before
    `wait_s`; the whole endpoint rests for `rest_s`."""

    delivery: Delivery
    attempt: Attempt
    verdict: Verdict
    share: float = 0.0
    wait_s: float = 0.0
    rest_s: float = 0.0


async def record(tx: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Note tries, those of one webhook in the order in which they ended.

    After a day of failures a webhook is paused; where it took others meanwhile, the delivery is given up instead. One that wants
    nothing more is paused, or forgotten where a tool subscribed by itself. Of a delivery that somebody else has had since only
    the try is noted.
    """
    ids = {one.delivery.webhook for one in outcomes}
    locked = select(webhook).where(among(w.id, ids)).order_by(w.id).with_for_update()
    books = {row.id: _Book(row) for row in await tx.execute(locked)}
    await tx.execute(_NOTE, _tries(outcomes))
    held = {(row.webhook, row.id): row for row in await tx.execute(_HOLD, _named(outcomes))}
    ours = [one for one in outcomes if (one.delivery.webhook, one.delivery.id) in held]
    for one in ours:
        if one.verdict is Verdict.TAKEN:
            books[one.delivery.webhook].took = True
    for one in ours:
        books[one.delivery.webhook].enter(one, held[one.delivery.webhook, one.delivery.id])
    changed = [book for book in books.values() if book.changes]
    if not changed:
        return
    await tx.execute(_SETTLE, _changes(changed))
    await tx.execute(_BALANCE, _balances(changed))
    for book in changed:
        if book.gone and book.row.hook:
            await remove(tx, book.row.id)
        elif book.reason is not None:
            await pause(tx, book.row.id, book.reason)


class _Book:
    """What tries come to for one webhook. `changes` are those of deliveries: id, state, seconds until the next try."""

    def __init__(self, row: AnyRow) -> None:
        self.row = row
        self.took = False
        self.failures: int = row.failures
        self.error: str | None = row.last_error
        self.rest_s = 0.0
        self.gone = False
        self.reason: str | None = None
        self.changes: list[tuple[str, str, float | None]] = []

    def enter(self, one: Outcome, held: AnyRow) -> None:
        """One more try, of a delivery that was tried first at `first_at`, `age_s` ago."""
        id = one.delivery.id
        match one.verdict:
            case Verdict.TAKEN:
                self.failures, self.error = 0, None
                self.changes.append((id, "DELIVERED", None))
            case Verdict.GONE:
                self.gone, self.reason = True, "It answered 410: nothing more is wanted there."
                self.changes.append((id, "PENDING", 0.0))
            case _:
                self.failures += 1
                self.error = storable(one.attempt.problem or f"It answered {one.attempt.status}.")[:WORDS]
                self.rest_s = max(self.rest_s, one.rest_s)
                self.changes.append((id, *self._next(one, held)))

    def _next(self, one: Outcome, held: AnyRow) -> tuple[str, float | None]:
        after_s = next_try_s(float(held.age_s), one.share)
        if after_s is not None:
            return "PENDING", max(after_s, one.wait_s)
        last = self.row.last_success_at
        if one.delivery.type == TEST or self.took or (last is not None and last > held.first_at):
            return "FAILED", None
        self.reason = self.reason or f"Nothing was taken for a day. {self.error}"
        return "PENDING", 0.0


def _named(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "webhooks": [one.delivery.webhook for one in outcomes],
        "ids": [one.delivery.id for one in outcomes],
        "attempts": [one.delivery.attempts for one in outcomes],
    }


def _tries(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    tries = [one.attempt for one in outcomes]
    return {
        "webhooks": [one.delivery.webhook for one in outcomes],
        "ids": [one.delivery.id for one in outcomes],
        "numbers": [one.number for one in tries],
        "ats": [one.at for one in tries],
        "milliseconds": [one.milliseconds for one in tries],
        "statuses": [one.status for one in tries],
        "problems": [None if one.problem is None else storable(one.problem)[:WORDS] for one in tries],
        "answers": [None if one.answer is None else storable(one.answer) for one in tries],
    }


def _changes(books: Sequence[_Book]) -> dict[str, Any]:
    rows = [(book.row.id, *change) for book in books for change in book.changes]
    return dict(zip(("webhooks", "ids", "states", "afters"), map(list, zip(*rows, strict=True)), strict=True))


def _balances(books: Sequence[_Book]) -> dict[str, Any]:
    return {
        "webhooks": [book.row.id for book in books],
        "failures": [book.failures for book in books],
        "errors": [book.error for book in books],
        "rests": [book.rest_s for book in books],
        "took": [book.took for book in books],
    }


async def page(
    tx: AsyncConnection, id: str, *, first: int, after: tuple[int, str] | None, state: DeliveryState | None = None
) -> tuple[list[Delivery], bool]:
    """(deliveries, newest first; whether there are more)."""
    query = select(webhook_delivery).where(*_of(id, state))
    if after is not None:
        query = query.where(tuple_(d.place, d.id) < after)
    rows = (await tx.execute(query.order_by(d.place.desc(), d.id.desc()).limit(first + 1))).all()
    return [_delivery(row) for row in rows[:first]], len(rows) > first


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


async def forget(tx: AsyncConnection, before: datetime, limit: int = 5_000) -> int:
    """Forget at most `limit` deliveries that were made before then and do not wait, with their tries; returns how many."""
    old = select(d.webhook, d.id).where(d.made_at < before, d.state != "PENDING").limit(limit)
    return (await tx.execute(delete(webhook_delivery).where(tuple_(d.webhook, d.id).in_(old)))).rowcount


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


NO_KEY = "The key that made it was revoked or has expired. Resume it with another key, which it belongs to then."

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

# A lease is no longer than that.
LEASE_S = 60.0

# Of each object the first that waits, unless somebody has it. One pass over all that waits: a look for earlier ones row by row is
# quick only under one of several plans, and while statistics know nothing of a new backlog another may be taken.
CLAIM = text(
    """
    with asked as materialized (
        select * from unnest(cast(:webhooks as text[]), cast(:limits as integer[]), cast(:testing as boolean[]))
            as asked (webhook, most, testing)
    ),
    first as materialized (
        select found.*, row_number() over (partition by webhook order by due_at, place, id) as turn
        from (
            select asked.webhook, asked.most, head.id, head.due_at, head.place
            from asked cross join lateral (
                select distinct on (object) id, due_at, place from webhook_delivery
                where webhook = asked.webhook and state = 'PENDING' and (type = :test or not asked.testing)
                order by object, place, id
            ) head
        ) found
        where due_at <= clock_timestamp()
    ),
    taken as materialized (
        select locked.place from first cross join lateral (
            select ctid as place from webhook_delivery
            where webhook = first.webhook and id = first.id and state = 'PENDING' and due_at <= clock_timestamp()
            for update skip locked
        ) locked
        where first.turn <= first.most
    )
    update webhook_delivery set
        due_at = clock_timestamp() + make_interval(secs => cast(:lease_s as double precision)),
        first_at = coalesce(first_at, clock_timestamp()),
        attempts = attempts + 1
    where ctid = any(array(select place from taken))
    returning *
    """
)

# Each try once, and none of what has been forgotten since.
_NOTE = text(
    """
    insert into webhook_attempt (webhook, delivery, number, at, milliseconds, status, problem, answer)
    select told.* from unnest(
        cast(:webhooks as text[]), cast(:ids as text[]), cast(:numbers as integer[]), cast(:ats as timestamptz[]),
        cast(:milliseconds as integer[]), cast(:statuses as integer[]), cast(:problems as text[]), cast(:answers as text[])
    ) as told (webhook, delivery, number, at, milliseconds, status, problem, answer)
    join webhook_delivery d on d.webhook = told.webhook and d.id = told.delivery
    on conflict do nothing
    """
)

# Those that nobody has claimed since.
_HOLD = text(
    """
    select d.webhook, d.id, d.first_at, extract(epoch from clock_timestamp() - d.first_at) as age_s
    from unnest(cast(:webhooks as text[]), cast(:ids as text[]), cast(:attempts as integer[]))
        as told (webhook, id, attempts)
    join webhook_delivery d on d.webhook = told.webhook and d.id = told.id and d.attempts = told.attempts
    where d.state = 'PENDING'
    for update of d
    """
)

_SETTLE = text(
    """
    update webhook_delivery d set
        state = told.state,
        due_at = coalesce(clock_timestamp() + make_interval(secs => told.after), due_at)
    from unnest(
        cast(:webhooks as text[]), cast(:ids as text[]), cast(:states as text[]), cast(:afters as double precision[])
    ) as told (webhook, id, state, after)
    where d.webhook = told.webhook and d.id = told.id
    """
)

_BALANCE = text(
    """
    update webhook w set
        failures = told.failures,
        last_error = told.error,
        due_at = case when rest > 0 then greatest(due_at, clock_timestamp() + make_interval(secs => rest)) else due_at end,
        last_success_at = case when took then clock_timestamp() else last_success_at end
    from unnest(
        cast(:webhooks as text[]), cast(:failures as integer[]), cast(:errors as text[]),
        cast(:rests as double precision[]), cast(:took as boolean[])
    ) as told (webhook, failures, error, rest, took)
    where w.id = told.webhook
    """
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


def _pending_of(id: ColumnElement[str]) -> ColumnElement[int]:
    waiting = select(d.id).where(d.webhook == id, d.state == "PENDING").limit(MOST_PENDING).subquery()
    return select(func.count()).select_from(waiting).scalar_subquery()


def _of(id: str, state: DeliveryState | None) -> list[ColumnElement[bool]]:
    return [d.webhook == id] + ([] if state is None else [d.state == state.value])


async def _set(tx: AsyncConnection, id: str, **values: Any) -> Webhook:
    return _webhook((await tx.execute(update(webhook).where(w.id == id).values(**values).returning(webhook))).one())


def _webhook(row: AnyRow) -> Webhook:
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


def _delivery(row: AnyRow) -> Delivery:
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
