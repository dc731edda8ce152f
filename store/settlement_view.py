"""Settlements and their lines, read: how far each is tied out, and what is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, OrderId
from domain.money import Money
from domain.money_class import Event, MoneyClass, Part
from domain.money_line import Cause, MoneyLine
from domain.residual import (
    BANDS,
    Band,
    ClassSum,
    KeptLine,
    LineFilter,
    Residual,
    ResidualFilter,
    ResidualSum,
    SettlementFilter,
)
from domain.settlement import Settlement, SettlementKind
from store.money_line import line_of, standing
from store.session import AnyRow, among
from store.tables import money_line, settlement

s, c = settlement.c, money_line.c
_CLASS = c["class"]
# As the index of residuals has it.
OPEN: tuple[ColumnElement[bool], ...] = (c.settlement_id.is_not(None), c.cause.is_not(None), c.replaced_at.is_(None))


async def page(
    tx: AsyncConnection, wanted: SettlementFilter, *, first: int, after: tuple[datetime, str] | None = None
) -> tuple[list[Settlement], bool]:
    """The next `first` settlements, the last ended first, and whether there are more."""
    query = select(settlement).where(*_settlements(wanted)).order_by(s.ends_at.desc(), s.id.desc()).limit(first + 1)
    if after is not None:
        query = query.where(tuple_(s.ends_at, s.id) < after)
    rows = (await tx.execute(query)).all()
    return list(map(settlement_of, rows[:first])), len(rows) > first


async def count(tx: AsyncConnection, wanted: SettlementFilter) -> int:
    """How many `page` would give in all."""
    return await tx.scalar(select(func.count()).select_from(settlement).where(*_settlements(wanted))) or 0


async def by_ids(tx: AsyncConnection, ids: Collection[str]) -> dict[str, Settlement]:
    """Settlements by their ids; unknown ones are missing."""
    rows = await tx.execute(select(settlement).where(among(s.id, ids)))
    return {row.id: settlement_of(row) for row in rows}


async def neighbors(tx: AsyncConnection, ids: Collection[str]) -> dict[str, tuple[str | None, str | None]]:
    """Of each settlement the one before and the one behind it, of its channel, marketplace and currency; None where none is
    here."""
    other = settlement.alias()
    o = other.c
    beside = (
        o.channel == s.channel,
        o.kind == s.kind,
        o.marketplace.is_not_distinct_from(s.marketplace),
        o.currency == s.currency,
        o.id != s.id,
    )
    before = select(o.id).where(*beside, o.ends_at <= s.starts_at).order_by(o.ends_at.desc(), o.id.desc()).limit(1)
    behind = select(o.id).where(*beside, o.starts_at >= s.ends_at).order_by(o.starts_at, o.id).limit(1)
    rows = await tx.execute(
        select(s.id, before.scalar_subquery().label("before"), behind.scalar_subquery().label("behind")).where(
            among(s.id, ids)
        )
    )
    return {row.id: (row.before, row.behind) for row in rows}


async def class_sums(tx: AsyncConnection, ids: Collection[str]) -> dict[str, list[ClassSum]]:
    """What each settlement is made of, by event and class; the sums come to its total."""
    rows = await tx.execute(
        select(
            c.settlement_id,
            c.event,
            _CLASS.label("of"),
            c.part,
            func.count().label("lines"),
            func.sum(c.amount).label("amount"),
            func.min(c.currency).label("currency"),
        )
        .where(among(c.settlement_id, ids), standing())
        .group_by(c.settlement_id, c.event, _CLASS, c.part)
        .order_by(c.event, _CLASS)
    )
    found: defaultdict[str, list[ClassSum]] = defaultdict(list)
    for row in rows:
        amount = Money(row.amount, row.currency)
        found[row.settlement_id].append(
            ClassSum(Event(row.event), MoneyClass(row.of), Part(row.part), row.lines, amount)
        )
    return dict(found)


async def lines(
    tx: AsyncConnection, id: str, wanted: LineFilter, *, first: int, after: tuple[int, int] | None = None
) -> tuple[list[KeptLine], bool]:
    """The next `first` lines of a settlement that stand, by row, and whether there are more; `after` a row and a line's id."""
    query = select(money_line).where(*_lines(id, wanted)).order_by(c.row, c.id).limit(first + 1)
    if after is not None:
        query = query.where(tuple_(c.row, c.id) > after)
    rows = (await tx.execute(query)).all()
    return list(map(kept_line_of, rows[:first])), len(rows) > first


async def line_count(tx: AsyncConnection, id: str, wanted: LineFilter) -> int:
    """How many `lines` would give in all."""
    return await tx.scalar(select(func.count()).select_from(money_line).where(*_lines(id, wanted))) or 0


async def lines_by_ids(tx: AsyncConnection, ids: Collection[int]) -> dict[int, KeptLine]:
    """Lines by their ids, replaced ones too; unknown ones are missing."""
    rows = await tx.execute(select(money_line).where(among(c.id, ids)))
    return {row.id: kept_line_of(row) for row in rows}


async def lines_by_orders(
    tx: AsyncConnection, ids: Collection[OrderId], known_at: datetime | None = None
) -> dict[OrderId, list[KeptLine]]:
    """What stands of each order, now or by what was known then, oldest line first; an order without any is missing."""
    rows = await tx.execute(select(money_line).where(among(c.order_id, ids), standing(known_at)).order_by(c.id))
    found: defaultdict[OrderId, list[KeptLine]] = defaultdict(list)
    for row in rows:
        found[OrderId(row.order_id)].append(kept_line_of(row))
    return dict(found)


async def residuals(
    tx: AsyncConnection, wanted: ResidualFilter, *, first: int, after: tuple[datetime, int] | None = None
) -> tuple[list[Residual], bool]:
    """The next `first` residual lines, the longest open first, and whether there are more."""
    query = _residuals(select(money_line, s.kept_at), wanted).order_by(s.kept_at, c.id).limit(first + 1)
    if after is not None:
        query = query.where(tuple_(s.kept_at, c.id) > after)
    rows = (await tx.execute(query)).all()
    return [Residual(kept_line_of(row), row.kept_at) for row in rows[:first]], len(rows) > first


async def residual_count(tx: AsyncConnection, wanted: ResidualFilter) -> int:
    """How many `residuals` would give in all."""
    return await tx.scalar(_residuals(select(func.count()).select_from(money_line), wanted)) or 0


async def residual_sums(tx: AsyncConnection, now: datetime, channel: ChannelId | None = None) -> list[ResidualSum]:
    """All that is not tied out, by channel, currency, cause and age."""
    band = case(
        *((s.kept_at > now - below, one.value) for below, one in BANDS),
        else_=Band.OLDER.value,
    )
    told = select(
        c.channel,
        c.currency,
        c.cause,
        band.label("band"),
        c.amount,
        s.kept_at,
    )
    of = _residuals(told, ResidualFilter(channel)).subquery().c
    rows = await tx.execute(
        select(
            of.channel,
            of.currency,
            of.cause,
            of.band,
            func.count().label("lines"),
            func.sum(of.amount).label("amount"),
            func.min(of.kept_at).label("oldest"),
        )
        .group_by(of.channel, of.currency, of.cause, of.band)
        .order_by(of.channel, of.currency, of.cause, func.min(of.kept_at))
    )
    return [
        ResidualSum(
            ChannelId(row.channel),
            Cause(row.cause),
            Band(row.band),
            row.lines,
            Money(row.amount, row.currency),
            row.oldest,
        )
        for row in rows
    ]


def settlement_of(row: AnyRow) -> Settlement:
    """A settlement, of its row."""
    return Settlement(
        channel=ChannelId(row.channel),
        kind=SettlementKind(row.kind),
        external_id=row.external_id,
        marketplace=row.marketplace,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        deposited_at=row.deposited_at,
        total=Money(row.total, row.currency),
        reference=row.reference,
        id=row.id,
        line_count=row.line_count,
        kept_at=row.kept_at,
    )


_FIELDS = tuple(one.name for one in fields(MoneyLine))


def kept_line_of(row: AnyRow) -> KeptLine:
    """A line as it is kept, of its row."""
    line = line_of(row)
    return KeptLine(
        **{name: getattr(line, name) for name in _FIELDS},
        id=row.id,
        known_at=row.known_at,
        replaced_at=row.replaced_at,
        replaced_why=row.replaced_why,
    )


def _settlements(wanted: SettlementFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.channel is not None:
        conditions.append(s.channel == wanted.channel)
    if wanted.since is not None:
        conditions.append(s.ends_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(s.ends_at < wanted.until)
    if wanted.unbalanced is not None:
        left = select(c.id).where(c.settlement_id == s.id, *OPEN).exists()
        conditions.append(left if wanted.unbalanced else ~left)
    return conditions


def _lines(id: str, wanted: LineFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [c.settlement_id == id, standing()]
    told: Sequence[tuple[ColumnElement[Any], str | None]] = (
        (_CLASS, None if wanted.money_class is None else wanted.money_class.value),
        (c.part, None if wanted.part is None else wanted.part.value),
        (c.event, None if wanted.event is None else wanted.event.value),
        (c.matched_by, wanted.matched_by),
        (c.cause, None if wanted.cause is None else wanted.cause.value),
        (c.order_id, wanted.order),
        (c.sku, wanted.sku),
    )
    return conditions + [column == value for column, value in told if value is not None]


def _residuals(query: Select[Any], wanted: ResidualFilter) -> Select[Any]:
    query = query.join(settlement, s.id == c.settlement_id).where(*OPEN)
    if wanted.channel is not None:
        query = query.where(s.channel == wanted.channel)
    if wanted.cause is not None:
        query = query.where(c.cause == wanted.cause.value)
    if wanted.before is not None:
        query = query.where(s.kept_at < wanted.before)
    return query
