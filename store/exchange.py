"""The log of calls to platforms: one row per call, in partitions of a month (UTC).

A month is made before it begins, by the nightly upkeep, or by the first who has something to keep in it; and dropped as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter

from asyncpg import CheckViolationError, InterfaceError, UniqueViolationError
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Select,
    Text,
    func,
    literal,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, array, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Transient
from domain.exchange import Exchange
from domain.ids import ChannelId
from store import copying, locks
from store.session import UNAVAILABLE, AnyRow, Store, among
from store.tables import exchange

_FIELD_OF: Mapping[type, copying.Field] = {
    ARRAY: copying.texts,
    BigInteger: copying.bigint,
    DateTime: copying.instant,
    Double: copying.double,
    Integer: copying.integer,
    Text: copying.text,
}
COLUMNS = tuple(one.name for one in fields(Exchange))
ROW = attrgetter(*COLUMNS)
FIELDS = tuple(_FIELD_OF[type(exchange.c[name].type)] for name in COLUMNS)
MONTH = re.compile(r"exchange_(\d{4})_(\d{2})")

c = exchange.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls; None wants all. `subjects` wants those about any of them; `until` is exclusive."""

    channel: ChannelId | None = None
    operation: str | None = None
    subjects: tuple[str, ...] | None = None
    upstream_request_id: str | None = None
    failed: bool | None = None
    failure: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class ExchangeLog:
    """Where calls are kept. Each batch is a transaction of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, told: Sequence[Exchange]) -> None:
        """Keep all of these or none; those that are kept already are no problem. Raises Transient while the database is away, or
        a month of theirs cannot be made."""
        try:
            try:
                await self._copy(told)
            except CheckViolationError:  # a month that nobody has made
                await self._make_months(told)
                await self._copy(told)
        except UniqueViolationError:
            # The answer to the last attempt was lost, its rows were not; others may have come to them since.
            await self._add(told)
        except (*UNAVAILABLE, InterfaceError) as problem:
            raise _away(problem) from problem

    async def _make_months(self, told: Sequence[Exchange]) -> None:
        try:
            async with self._store.begin() as tx:
                await make_months(tx, {one.at for one in told})
        except DBAPIError as problem:
            if isinstance(problem, UNAVAILABLE):
                raise
            raise Transient(f"A month of theirs cannot be made yet ({type(problem.orig).__name__}).") from problem

    async def _add(self, told: Sequence[Exchange]) -> None:
        """Keep those that are not there yet; slower than `_copy`."""
        rows = [dict(zip(COLUMNS, ROW(one), strict=True)) for one in told]
        try:
            async with self._store.begin() as tx:
                await tx.execute(insert(exchange).on_conflict_do_nothing(), rows)
        except (*UNAVAILABLE, InterfaceError) as problem:
            raise _away(problem) from problem

    async def _copy(self, told: Sequence[Exchange]) -> None:
        if not told:
            return
        async with self._store.begin() as tx:
            await copying.into(tx, exchange.name, COLUMNS, FIELDS, map(ROW, told))


def _away(problem: Exception) -> Transient:
    return Transient(f"The database is away ({type(problem).__name__}).")


async def page(
    tx: AsyncConnection, wanted: Wanted, *, first: int, after: tuple[datetime, int] | None = None
) -> tuple[list[Exchange], bool]:
    """Calls, newest first, and whether there are more; `after` is (at, id) of the last seen."""
    query = select(exchange).where(*_filter(wanted))
    if after is not None:
        query = query.where(tuple_(c.at, c.id) < after)
    rows = (await tx.execute(query.order_by(c.at.desc(), c.id.desc()).limit(first + 1))).all()
    return [_exchange(row) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, wanted: Wanted) -> int:
    """How many calls `page` would give in all."""
    query: Select[int] = select(func.count()).select_from(exchange)
    return await tx.scalar(query.where(*_filter(wanted))) or 0


async def by_subjects(
    tx: AsyncConnection, keys: Sequence[tuple[str, ChannelId | None]], first: int
) -> dict[tuple[str, ChannelId | None], list[Exchange]]:
    """The newest `first` calls about each subject, of one channel where one is named."""
    asked = func.unnest(
        array([subject for subject, _ in keys]), array([channel or "" for _, channel in keys])
    ).table_valued("subject", "channel")
    asked = asked.render_derived(name="asked")
    newest = (
        select(exchange)
        .where(
            c.subjects.op("@>")(func.array_append(literal([], c.subjects.type), asked.c.subject)),
            (asked.c.channel == "") | (c.channel == asked.c.channel),
        )
        .order_by(c.at.desc(), c.id.desc())
        .limit(first)
        .lateral("newest")
    )
    rows = await tx.execute(
        select(asked.c.subject, asked.c.channel.label("asked_of"), newest).select_from(
            asked.join(newest, literal(True))
        )
    )
    found: dict[tuple[str, ChannelId | None], list[Exchange]] = {key: [] for key in keys}
    for row in rows:
        found[row.subject, ChannelId(row.asked_of) if row.asked_of else None].append(_exchange(row))
    return found


async def by_request_ids(tx: AsyncConnection, ids: Collection[str]) -> dict[str, list[Exchange]]:
    """The calls that platforms know under each id, oldest first."""
    found: dict[str, list[Exchange]] = {id: [] for id in ids}
    for row in await tx.execute(select(exchange).where(among(c.upstream_request_id, ids)).order_by(c.at, c.id)):
        found[row.upstream_request_id].append(_exchange(row))
    return found


async def make_months(tx: AsyncConnection, instants: Collection[datetime]) -> list[str]:
    """Make the months of these instants that there are not yet; answers their names. Raises where a lock is not to be had."""
    missing = sorted({_begin(at) for at in instants} - set(await months(tx)))
    if missing:
        await _turn(tx)
    for begin in missing:
        # Somebody else may have made it since our look.
        await tx.execute(
            text(
                f"create table if not exists {_name(begin)} partition of exchange "
                f"for values from ('{begin.isoformat()}') to ('{following(begin).isoformat()}')"
            )
        )
    return [_name(begin) for begin in missing]


async def drop_months(tx: AsyncConnection, before: datetime) -> list[str]:
    """Drop the months that ended at `before` or earlier; answers their names. Raises where a lock is not to be had."""
    old = [begin for begin in await months(tx) if following(begin) <= before]
    if old:
        await _turn(tx)
    for begin in old:
        await tx.execute(text(f"drop table if exists {_name(begin)}"))
    return [_name(begin) for begin in old]


async def months(tx: AsyncConnection) -> list[datetime]:
    """When each month that there is begins, oldest first."""
    names = await tx.scalars(
        text(
            "select relname from pg_class join pg_inherits on inhrelid = oid "
            "where inhparent = to_regclass('exchange') order by relname"
        )
    )
    found = [MONTH.fullmatch(name) for name in names]
    return [datetime(int(one[1]), int(one[2]), 1, tzinfo=UTC) for one in found if one is not None]


def following(begin: datetime) -> datetime:
    """When the month after the one of `begin` begins."""
    begin = _begin(begin)
    return begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)


async def _turn(tx: AsyncConnection) -> None:
    """One at a time, and nobody waits long: behind whoever waits for a lock of the log, its readers wait as well."""
    await tx.execute(text("set local lock_timeout = '2s'"))
    await tx.execute(select(func.pg_advisory_xact_lock(literal(locks.CALL_MONTHS, BigInteger))))


def _begin(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _name(begin: datetime) -> str:
    return f"exchange_{begin:%Y_%m}"


def _filter(wanted: Wanted) -> list[ColumnElement[bool]]:
    terms: list[ColumnElement[bool]] = []
    if wanted.channel is not None:
        terms.append(c.channel == wanted.channel)
    if wanted.operation is not None:
        terms.append(c.operation == wanted.operation)
    if wanted.subjects is not None:
        terms.append(c.subjects.op("&&")(literal(list(wanted.subjects), c.subjects.type)))
    if wanted.upstream_request_id is not None:
        terms.append(c.upstream_request_id == wanted.upstream_request_id)
    if wanted.failed is not None:
        terms.append(c.failure.is_not(None) if wanted.failed else c.failure.is_(None))
    if wanted.failure is not None:
        terms.append(c.failure == wanted.failure)
    if wanted.since is not None:
        terms.append(c.at >= wanted.since)
    if wanted.until is not None:
        terms.append(c.at < wanted.until)
    return terms


def _exchange(row: AnyRow) -> Exchange:
    told = {name: getattr(row, name) for name in COLUMNS}
    return Exchange(**told | {"subjects": tuple(row.subjects)})
