"""Numbers that differ from what we believe: one open row per number, and those that have ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.drift import Believed, Drift, DriftCount, DriftKind
from domain.ids import ChannelId, ChannelSku, Sku
from store.channel_stock import SOLD, THIS, UNMAPPED, NumberKey, of
from store.session import AnyRow, as_table
from store.stock_push import UNSEEN_SALE
from store.tables import channel_stock, stock_drift, stock_push

# A write that nobody has seen by then is no longer taken to be on its way.
UNSEEN = timedelta(minutes=5)

c = stock_drift.c
Key = tuple[ChannelSku, str]
"""A channel's SKU, and the channel's own name of a place (or the code of an FBA pool)."""

_SHOWN = update(channel_stock).where(*THIS).values(shown=bindparam("new_shown"), shown_at=bindparam("new_shown_at"))


@dataclass(frozen=True, slots=True)
class Noted:
    """A difference that was read at `at`."""

    channel_sku: ChannelSku
    place: str
    sku: Sku | None
    kind: DriftKind
    believed: int | None
    shown: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Number:
    """One number that a channel shows, as we know it; `refs` are those of its listing. Not `mapped`: it is mapped to no SKU any
    more, and nobody tells it anything. `shown` was seen last, at `shown_at`; `free` says that a reading may replace it: no write
    waits for what it expects there. It is `settled` unless it waits for orders."""

    sku: Sku
    believed: Believed
    refs: Mapping[str, str]
    mapped: bool
    free: bool
    settled: bool
    shown: int | None
    shown_at: datetime | None


async def numbers(
    tx: AsyncConnection, channel: ChannelId, keys: Collection[Key], *, lock: bool = False
) -> dict[Key, Number]:
    """What we know of these numbers of a channel, those missing that we do not keep. With `lock` they stay so until `tx` ends,
    and are told with what had been told before."""
    n = channel_stock.c
    query = (
        select(channel_stock, _in_flight().label("in_flight"))
        .where(n.channel == channel, _among(n, keys))
        .order_by(n.channel_sku, n.place)
    )
    rows = (await tx.execute(query.with_for_update() if lock else query)).all()
    before = await _told_before(tx, channel, keys) if lock else {}
    return {
        (ChannelSku(row.channel_sku), row.place): Number(
            Sku(row.sku),
            Believed(row.target, row.told, row.told_at, row.in_flight, before.get((row.channel_sku, row.place))),
            row.refs,
            mapped=row.error_code != UNMAPPED,
            free=not row.in_flight and (row.attempts == 0 or row.error_code == UNSEEN_SALE),
            settled=row.error_code != UNSEEN_SALE,
            shown=row.shown,
            shown_at=row.shown_at,
        )
        for row in rows
    }


async def keep_shown(tx: AsyncConnection, channel: ChannelId, read: Mapping[Key, tuple[int | None, datetime]]) -> None:
    """Keep what these numbers were seen to show, and when. Their rows are locked by now."""
    if read:
        values = [
            {**of(NumberKey(channel, *key)), "new_shown": units, "new_shown_at": at}
            for key, (units, at) in sorted(read.items())
        ]
        await tx.execute(_SHOWN, values)


async def told_of(
    tx: AsyncConnection, channel: ChannelId, before: datetime, after: Key | None, limit: int
) -> list[Key]:
    """The next `limit` numbers after the key `after` that the channel was told `before` then and that nobody is at."""
    n = channel_stock.c
    query = (
        select(n.channel_sku, n.place)
        .where(n.channel == channel, n.told.is_not(None), n.told_at < before, ~_in_flight())
        .order_by(n.channel_sku, n.place)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(n.channel_sku, n.place) > after)
    return [(ChannelSku(row.channel_sku), row.place) for row in await tx.execute(query)]


def _in_flight() -> ColumnElement[bool]:
    """A write is at work, waits without having failed, or was sent so lately that it may still become visible; or what it shows
    is about to be looked at."""
    n = channel_stock.c
    now = func.clock_timestamp()
    waits = and_(n.due_at.is_not(None), n.told.is_distinct_from(n.target), n.error_code.is_(None))
    unseen = or_(n.confirmed_at.is_(None), n.confirmed_at < n.told_at)
    late = and_(unseen, n.told_at > now - UNSEEN)
    return func.coalesce(or_(n.lease_until > now, waits, late, n.looks == SOLD), False)


async def _told_before(tx: AsyncConnection, channel: ChannelId, keys: Collection[Key]) -> dict[Key, int | None]:
    """The number that each of these had been told before the one that it was told last."""
    n, p = channel_stock.c, stock_push.c
    before = (
        select(p.quantity)
        .where(
            *(p.sku == n.sku, p.channel == n.channel, p.channel_sku == n.channel_sku, p.place == n.place),
            p.quantity != n.told,
            p.sent_at > func.now() - timedelta(days=7),
        )
        .order_by(p.sent_at.desc(), p.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = await tx.execute(
        select(n.channel_sku, n.place, before.label("before")).where(n.channel == channel, _among(n, keys))
    )
    return {(ChannelSku(row.channel_sku), row.place): row.before for row in rows}


async def open_of(tx: AsyncConnection, channel: ChannelId, keys: Collection[Key]) -> dict[Key, Drift]:
    """The open drift of each of these numbers that has one; locked, in the order of the keys."""
    rows = await tx.execute(
        select(stock_drift)
        .where(c.channel == channel, c.ended_at.is_(None), _among(c, keys))
        .order_by(c.channel_sku, c.place)
        .with_for_update()
    )
    return {(one.channel_sku, one.place): one for one in map(_drift, rows)}


async def note(tx: AsyncConnection, channel: ChannelId, noted: Sequence[Noted]) -> None:
    """Keep each difference, at most one per number. The same number again is counted; another one ends the open drift and
    begins a new one. What is not younger than what is kept changes nothing."""
    known = await open_of(tx, channel, [(one.channel_sku, one.place) for one in noted])
    fresh: list[dict[str, object]] = []
    for one in sorted(noted, key=lambda one: (one.channel_sku, one.place)):
        old = known.get((one.channel_sku, one.place))
        if old is not None and one.at <= old.last_at:
            continue
        if old is not None and old.shown == one.shown:
            values = {"kind": one.kind.value, "believed": one.believed, "last_at": one.at, "times": c.times + 1}
            await tx.execute(update(stock_drift).where(c.id == old.id).values(**values))
            continue
        if old is not None:
            await tx.execute(update(stock_drift).where(c.id == old.id).values(ended_at=one.at))
        fresh.append(
            {
                "channel": channel,
                "channel_sku": one.channel_sku,
                "place": one.place,
                "sku": one.sku,
                "kind": one.kind.value,
                "believed": one.believed,
                "shown": one.shown,
                "first_at": one.at,
                "last_at": one.at,
            }
        )
    if fresh:
        # Somebody else may have noted the same since our look.
        await tx.execute(insert(stock_drift).on_conflict_do_nothing(), fresh)


async def end(tx: AsyncConnection, channel: ChannelId, read_at: Mapping[Key, datetime]) -> int:
    """These numbers were read to be as believed again; returns how many drifts ended by it."""
    over = [one for key, one in (await open_of(tx, channel, read_at)).items() if one.last_at < read_at[key]]
    for one in over:
        at = read_at[one.channel_sku, one.place]
        await tx.execute(update(stock_drift).where(c.id == one.id).values(ended_at=at))
    return len(over)


async def end_set_right(tx: AsyncConnection, channel: ChannelId) -> int:
    """Numbers that were since read back to be what they were told last; returns how many drifts ended by it."""
    n = channel_stock.c
    over = (
        *(c.channel == channel, c.ended_at.is_(None)),
        *(n.channel == c.channel, n.channel_sku == c.channel_sku, n.place == c.place),
        *(n.shown == n.told, n.shown_at > c.last_at),
    )
    return (await tx.execute(update(stock_drift).where(*over).values(ended_at=n.shown_at))).rowcount


async def open_drifts(
    tx: AsyncConnection,
    *,
    first: int,
    after: int | None = None,
    channel: ChannelId | None = None,
    kind: DriftKind | None = None,
    oldest: bool = False,
) -> tuple[list[Drift], bool]:
    """The next `first` open drifts after the one with the id `after`, newest first (`oldest`: the other way), and whether there
    are more."""
    wanted: list[ColumnElement[bool]] = [c.ended_at.is_(None)]
    if after is not None:
        wanted.append(c.id > after if oldest else c.id < after)
    if channel is not None:
        wanted.append(c.channel == channel)
    if kind is not None:
        wanted.append(c.kind == kind.value)
    by = c.id.asc() if oldest else c.id.desc()
    rows = (await tx.execute(select(stock_drift).where(*wanted).order_by(by).limit(first + 1))).all()
    return [_drift(row) for row in rows[:first]], len(rows) > first


async def open_count(tx: AsyncConnection, *, channel: ChannelId | None = None, but: DriftKind | None = None) -> int:
    """How many drifts are open, those of the kind `but` left out."""
    query: Select[int] = select(func.count()).select_from(stock_drift).where(c.ended_at.is_(None))
    if but is not None:
        query = query.where(c.kind != but.value)
    return await tx.scalar(query if channel is None else query.where(c.channel == channel)) or 0


async def counts(tx: AsyncConnection, channel: ChannelId) -> list[DriftCount]:
    """How many drifts the channel has of each kind, by kind; kinds without any are missing."""
    is_open = c.ended_at.is_(None)
    recent = or_(is_open, c.last_at > func.now() - timedelta(days=1))
    rows = await tx.execute(
        select(c.kind, func.count().filter(is_open).label("open"), func.count().label("last_day"))
        .where(c.channel == channel, recent)
        .group_by(c.kind)
        .order_by(c.kind)
    )
    return [DriftCount(DriftKind(row.kind), row.open, row.last_day) for row in rows]


async def prune(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` drifts that ended before then; returns how many."""
    old = select(c.id).where(c.ended_at < before).limit(limit)
    return (await tx.execute(delete(stock_drift).where(c.id.in_(old)))).rowcount


def _among(columns: Any, keys: Collection[Key]) -> ColumnElement[bool]:
    """The number of such a row is one of these."""
    asked = as_table(channel_sku=[key[0] for key in keys], place=[key[1] for key in keys])
    return tuple_(columns.channel_sku, columns.place).in_(select(*asked.c))


def _drift(row: AnyRow) -> Drift:
    return Drift(
        id=row.id,
        channel=ChannelId(row.channel),
        channel_sku=ChannelSku(row.channel_sku),
        place=row.place,
        sku=None if row.sku is None else Sku(row.sku),
        kind=DriftKind(row.kind),
        believed=row.believed,
        shown=row.shown,
        first_at=row.first_at,
        last_at=row.last_at,
        ended_at=row.ended_at,
        times=row.times,
    )
