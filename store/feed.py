"""Feeds of stock: rows that become entries of the ledger, deliveries that count once, and how far each outgoing feed has told."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.booking import Line, Outcome, Places, Result, counted, settle
from domain.errors import Conflict, Invalid
from domain.feed import FeedIn, FeedKind, Rejection, emptied_too_much, named_at, repeated
from domain.ids import ChannelId, LocationCode, Sku
from domain.ledger import EntryKind, NewEntry
from domain.product import Rejected
from store import event, kit, ledger, quarantine
from store.session import AnyRow, among, from_now
from store.tables import event as event_table
from store.tables import feed_cursor, feed_delivery, product, stock_balance

NOT_NAMED = "not named by a full feed"
# The key of an import that has come to its end.
IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Posting:
    """How rows are booked: who decided, by which way they came, and the beginning of the keys that make each count once."""

    actor: str
    source: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a signed feed brought: the rows that were understood, and those that were not. `contents` is a hash of what it said.
    `confirm`: a full feed may empty most of a place."""

    id: str
    contents: str
    kind: FeedKind
    lines: list[Line]
    rejected: list[Rejection] = field(default_factory=list)
    confirm: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a delivery; `rejected` by row. `again`: it had been taken before, and nothing happened."""

    accepted: int = 0
    changed: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    again: bool = False


async def take(tx: AsyncConnection, feed: FeedIn, delivery: Delivery) -> Taken:
    """Take a delivery, once, however often it comes. What is not understood is kept in quarantine.

    Raises Invalid for a full feed that would empty most of a place and does not confirm it, and Conflict where another delivery
    was taken under the same id; then nothing has happened.
    """
    if not await first_time(tx, feed.source, delivery.id, delivery.contents):
        return Taken(again=True)
    posting = Posting(actor=feed.id, source=feed.source, key=f"{feed.source}:{delivery.id}")
    counted = delivery.kind is not FeedKind.DELTA
    lines, doubled = repeated(delivery.lines, {}) if counted else (delivery.lines, [])
    gone: list[Line] = []
    if delivery.kind is FeedKind.FULL:
        for place, named in named_at(lines, delivery.rejected).items():
            missing = await absent(tx, place, named, confirm=delivery.confirm)
            gone += [Line(0, sku, place, 0, EntryKind.COUNT, NOT_NAMED) for sku in missing]
    outcomes = [*await apply(tx, [*lines, *gone], posting), *doubled]
    raw = {line.number: _raw(line) for line in delivery.lines}
    refused = [
        Rejection(one.number, one.sku, one.reason, raw[one.number])
        for one in outcomes
        if one.result is Result.REJECTED and one.number in raw
    ]
    rejected = sorted([*delivery.rejected, *refused], key=lambda one: one.number)
    # After the locks of the SKUs, here and always: these rows belong to feeds alone.
    await quarantine.keep(tx, [_quarantined(feed, one) for one in rejected])
    changed = sum(one.result is Result.CHANGED for one in outcomes)
    return Taken(len(delivery.lines) - len(refused), changed, rejected)


async def apply(
    tx: AsyncConnection, lines: Sequence[Line], posting: Posting, *, imagined: Places | None = None
) -> list[Outcome]:
    """Post what the lines come to; one outcome each, in their order.

    With `imagined` nothing is locked or posted: the outcomes are those that there would be, and `imagined` remembers what would
    lie where, for the lines of the next call.
    """
    skus = {line.sku for line in lines}
    known = {Sku(sku) for sku in await tx.scalars(select(product.c.sku).where(among(product.c.sku, skus)))}
    kits = set(await kit.components(tx, known))
    own = known - kits
    if imagined is None:
        await ledger.lock(tx, own)
    found = await ledger.balances(tx, own)
    counts = counted(balance for group in found.values() for balance in group)
    counts |= imagined or {}
    posted = await ledger.posted(tx, [key for line in lines if (key := _key(posting, line)) is not None])
    outcomes: list[Outcome] = []
    entries: list[NewEntry] = []
    for line in lines:
        key = _key(posting, line)
        if line.sku not in own:
            reason = "it is a kit; count its components" if line.sku in kits else "no product of ours has this SKU"
            outcomes.append(Outcome(line.number, line.sku, line.location, Result.REJECTED, reason=reason))
        elif key in posted:
            lies = counts[line.sku, line.location].on_hand
            outcomes.append(Outcome(line.number, line.sku, line.location, Result.ALREADY, lies, lies))
        else:
            at = counts[line.sku, line.location]
            entry, outcome = settle(line, at, actor=posting.actor, source=posting.source, key=key)
            entries += [] if entry is None else [entry]
            outcomes.append(outcome)
    if imagined is None:
        await ledger.post(tx, entries)
    else:
        imagined.update(counts)
    return outcomes


async def absent(
    tx: AsyncConnection, location: LocationCode, named: Collection[Sku], *, confirm: bool = False
) -> list[Sku]:
    """The SKUs that lie at a place and that a full count does not name. Raises Invalid when they are more than half of what lies
    there, unless `confirm`."""
    c = stock_balance.c
    lying = set(await tx.scalars(select(c.sku).where(c.location == location, c.on_hand > 0)))
    missing = lying - set(named)
    if not confirm and emptied_too_much(len(lying), len(lying) - len(missing)):
        raise Invalid(
            f"{len(missing)} of the {len(lying)} SKUs that lie at {location} are not named and would fall to zero. "
            'Nothing was changed. Send all of them, or say that they are gone: "confirm": true in a feed, else --confirm.',
            field=("confirm",),
        )
    return [Sku(sku) for sku in sorted(missing)]


async def imported(tx: AsyncConnection, id: str) -> bool:
    """Whether a file has been imported to its end."""
    c = feed_delivery.c
    return (await tx.execute(select(c.id).where(c.source == IMPORT, c.id == id))).one_or_none() is not None


async def note_import(tx: AsyncConnection, id: str) -> None:
    """A file has been imported to its end."""
    await first_time(tx, IMPORT, id)


async def forget_deliveries(tx: AsyncConnection, before: datetime) -> int:
    """Forget deliveries older than `before`; returns how many. Their entries keep their keys, so none counts twice even then."""
    c = feed_delivery.c
    return (await tx.execute(delete(feed_delivery).where(c.at < before, c.source != IMPORT))).rowcount


@dataclass(frozen=True, slots=True)
class FeedState:
    """How far an outgoing feed has told the event log, and how that goes."""

    feed: str
    seq: int
    failures: int
    due_at: datetime
    last_success_at: datetime | None
    last_error: str | None


async def enroll(tx: AsyncConnection, feeds: Collection[str]) -> None:
    """New feeds begin with what happens from now on."""
    if feeds:
        head = await event.head(tx)
        rows = [{"feed": feed, "seq": head} for feed in sorted(feeds)]
        await tx.execute(insert(feed_cursor).on_conflict_do_nothing(), rows)


async def waiting(tx: AsyncConnection, feeds: Collection[str]) -> list[str]:
    """Those of `feeds` that have something to look at, and whose time it is."""
    c = feed_cursor.c
    head = select(func.coalesce(func.max(event_table.c.seq), 0)).scalar_subquery()
    due = select(c.feed).where(among(c.feed, feeds), c.due_at <= func.clock_timestamp(), c.seq < head)
    return list(await tx.scalars(due.order_by(c.feed)))


async def claim(tx: AsyncConnection, feed: str, lease_s: float) -> FeedState | None:
    """Take the feed for `lease_s` seconds; None while somebody else has it."""
    c = feed_cursor.c
    statement = update(feed_cursor).where(c.feed == feed, c.due_at <= func.clock_timestamp())
    row = (await tx.execute(statement.values(due_at=from_now(lease_s)).returning(feed_cursor))).one_or_none()
    return None if row is None else _state(row)


async def advanced(tx: AsyncConnection, state: FeedState, seq: int, *, told: bool) -> None:
    """All up to `seq` needs no more telling; `told`: because it was taken."""
    c = feed_cursor.c
    values = {"last_success_at": func.now(), "failures": 0, "last_error": None} if told else {}
    statement = update(feed_cursor).where(c.feed == state.feed, c.seq == state.seq)
    await tx.execute(statement.values(seq=seq, due_at=func.clock_timestamp(), **values))


async def failed(tx: AsyncConnection, state: FeedState, wait_s: float, error: str) -> None:
    """It was not taken; try again in `wait_s` seconds."""
    c = feed_cursor.c
    statement = update(feed_cursor).where(c.feed == state.feed, c.seq == state.seq)
    await tx.execute(statement.values(failures=c.failures + 1, due_at=from_now(wait_s), last_error=error))


async def states(tx: AsyncConnection) -> list[FeedState]:
    """All that were ever told, by name."""
    rows = await tx.execute(select(feed_cursor).order_by(feed_cursor.c.feed))
    return [_state(row) for row in rows]


async def first_time(tx: AsyncConnection, source: str, id: str, contents: str | None = None) -> bool:
    """Whether the delivery was never taken; one under way in another transaction is waited for. Raises Conflict where another
    delivery was taken under the same id."""
    statement = insert(feed_delivery).values(source=source, id=id, contents=contents).on_conflict_do_nothing()
    c = feed_delivery.c
    if (await tx.execute(statement.returning(c.id))).one_or_none() is not None:
        return True
    if contents != await tx.scalar(select(c.contents).where(c.source == source, c.id == id)):
        raise Conflict(
            f"Another delivery was taken under the id {id!r}. Nothing was changed. Send this one under an id of its own."
        )
    return False


def _key(posting: Posting, line: Line) -> str | None:
    if posting.key is None:
        return None
    # What a full feed does not name has no row.
    return f"{posting.key}:{line.number or f'{line.location}/{line.sku}'}"


def _raw(line: Line) -> str:
    told = {"sku": line.sku, "location": line.location, "quantity": line.quantity, "kind": line.kind.value}
    return json.dumps(told, ensure_ascii=False)


def _quarantined(feed: FeedIn, one: Rejection) -> Rejected:
    return Rejected(ChannelId(feed.source), "stock", one.sku or f"row {one.number}", one.reason, one.raw)


def _state(row: AnyRow) -> FeedState:
    return FeedState(row.feed, row.seq, row.failures, row.due_at, row.last_success_at, row.last_error)
