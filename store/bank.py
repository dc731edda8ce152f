"""What banks book, and which payout each line is.

Lines are kept once and never changed. What the rules make of them is worked out anew whenever something has come: a match that
does not hold any more is replaced, and says why. What a person decided stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, func, insert, literal, or_, select, tuple_, union_all, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.bank import (
    OVERDUE,
    Awaited,
    BankLine,
    KeptLine,
    KeptMatch,
    LineFilter,
    Match,
    Matched,
    MatchRule,
    Payout,
    Said,
    matched,
    names,
)
from domain.errors import Conflict, NotFound
from domain.ids import ChannelId
from domain.money import Money
from store import locks
from store.session import AnyRow, among, storable
from store.tables import bank_line, bank_match, settlement

b, m, s = bank_line.c, bank_match.c, settlement.c

_paid_at = func.coalesce(s.deposited_at, s.ends_at)


async def keep(tx: AsyncConnection, lines: Sequence[BankLine]) -> int:
    """Keep lines, each once; how many of them are new."""
    if not lines:
        return 0
    await _turn(tx)
    rows = [
        {
            "id": one.id,
            "account": storable(one.account),
            "key": storable(one.key),
            "booked_on": one.booked_on,
            "valued_on": one.valued_on,
            "amount": one.amount.amount,
            "currency": one.amount.currency,
            "words": storable(one.words),
            "party": None if one.party is None else storable(one.party),
            "names": sorted(map(storable, names(one.words))),
        }
        for one in lines
    ]
    kept = await tx.execute(upsert(bank_line).values(rows).on_conflict_do_nothing().returning(b.id))
    return len(kept.all())


async def rematch(tx: AsyncConnection) -> int:
    """Work out anew what each line is; how many matches have come or gone."""
    await _turn(tx)
    found = await _worked_out(tx)
    held = await tx.execute(select(bank_match).where(m.replaced_at.is_(None), m.rule != MatchRule.PERSON.value))
    before = {Match(row.bank_line_id, row.settlement_id, MatchRule(row.rule)): row.id for row in held}
    now = {one for one in found.matches if one.rule is not MatchRule.PERSON}
    gone = [id for one, id in before.items() if one not in now]
    if gone:
        await _replace(tx, m.id.in_(gone), "it is not certain any more by what is known now")
    fresh = sorted(now - before.keys(), key=lambda one: one.line)
    if fresh:
        rows = [{"bank_line_id": one.line, "settlement_id": one.payout, "rule": one.rule.value} for one in fresh]
        await tx.execute(insert(bank_match), rows)
    return len(gone) + len(fresh)


async def state(tx: AsyncConnection) -> tuple[object, ...]:
    """What matches rest on, in short: as long as it is the same, so are they."""
    settled = (await tx.execute(select(func.count(), func.max(s.kept_at)).select_from(settlement))).one()
    booked = (await tx.execute(select(func.count(), func.max(b.kept_at)).select_from(bank_line))).one()
    return (*settled, *booked)


async def matched_count(tx: AsyncConnection) -> int:
    """How many payouts have their line."""
    query = select(func.count()).where(m.replaced_at.is_(None), m.settlement_id.is_not(None))
    return await tx.scalar(query) or 0


async def decide(tx: AsyncConnection, line: str, payout: str | None, by: str, reason: str) -> KeptLine:
    """Keep what a person says: the line is that payout, or none. Raises NotFound; Conflict where a person has said that another
    line is it."""
    await _turn(tx)
    await _check_line(tx, line)
    if payout is not None:
        if await tx.scalar(select(s.id).where(s.id == payout)) is None:
            raise NotFound("There is no such settlement.", field=("settlementId",))
        others = [m.settlement_id == payout, m.bank_line_id != line, m.replaced_at.is_(None)]
        held = (await tx.execute(select(m.rule, m.made_by).where(*others))).first()
        if held is not None and held.rule == MatchRule.PERSON.value:
            words = f"{held.made_by} has said that another line is this payout. Take that back first."
            raise Conflict(words, field=("settlementId",))
        await _replace(tx, and_(*others), f"{by} has said that another line is this payout")
    await _replace(tx, and_(m.bank_line_id == line, m.replaced_at.is_(None)), f"{by} has decided: {reason}")
    told = {"bank_line_id": line, "settlement_id": payout, "rule": "PERSON", "made_by": by, "reason": storable(reason)}
    await tx.execute(insert(bank_match).values(told))
    await rematch(tx)
    return (await by_ids(tx, [line]))[line]


async def take_back(tx: AsyncConnection, line: str, by: str, reason: str) -> KeptLine:
    """What a person said of the line does not hold any more: the rules decide again. Raises NotFound."""
    await _turn(tx)
    await _check_line(tx, line)
    said = and_(m.bank_line_id == line, m.rule == MatchRule.PERSON.value, m.replaced_at.is_(None))
    await _replace(tx, said, f"{by} has taken it back: {reason}")
    await rematch(tx)
    return (await by_ids(tx, [line]))[line]


async def page(
    tx: AsyncConnection, wanted: LineFilter, *, first: int, after: tuple[date, str] | None = None
) -> tuple[list[KeptLine], bool]:
    """The next `first` lines, the last booked first, and whether there are more."""
    query = _kept(*_filter(wanted)).order_by(b.booked_on.desc(), b.id.desc()).limit(first + 1)
    if after is not None:
        query = query.where(tuple_(b.booked_on, b.id) < after)
    rows = (await tx.execute(query)).all()
    return [_kept_line(row) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, wanted: LineFilter) -> int:
    """How many `page` would give in all."""
    held = and_(m.bank_line_id == b.id, m.replaced_at.is_(None))
    query = select(func.count()).select_from(bank_line.outerjoin(bank_match, held)).where(*_filter(wanted))
    return await tx.scalar(query) or 0


async def by_ids(tx: AsyncConnection, ids: Collection[str]) -> dict[str, KeptLine]:
    """Lines by their ids; unknown ones are missing."""
    return {row.id: _kept_line(row) for row in await tx.execute(_kept(among(b.id, ids)))}


async def by_settlements(tx: AsyncConnection, ids: Collection[str]) -> dict[str, KeptLine]:
    """The line that each payout is; those without one are missing."""
    rows = await tx.execute(_kept(among(m.settlement_id, ids)))
    return {row.settlement_id: _kept_line(row) for row in rows}


async def awaited(
    tx: AsyncConnection, *, first: int, after: tuple[datetime, str] | None = None, channel: ChannelId | None = None
) -> tuple[list[Awaited], bool]:
    """The next `first` payouts that no line is, the oldest first, and whether there are more."""
    query = _open(select(settlement, _paid_at.label("paid_at")), channel).order_by(_paid_at, s.id).limit(first + 1)
    if after is not None:
        query = query.where(tuple_(_paid_at, s.id) > after)
    rows = (await tx.execute(query)).all()
    shown = {row.id for row in rows[:first]}
    candidates = [one for one in (await _worked_out(tx)).candidates if one.payout in shown] if rows else []
    told = {id: one.line for id, one in (await by_ids(tx, {one.line for one in candidates})).items()}
    return [
        Awaited(
            payout=_payout(row),
            external_id=row.external_id,
            paid_at=row.paid_at,
            candidates=tuple((one, told[one.line]) for one in candidates if one.payout == row.id),
        )
        for row in rows[:first]
    ], len(rows) > first


async def awaited_count(tx: AsyncConnection, channel: ChannelId | None = None) -> int:
    """How many payouts no line is."""
    return await tx.scalar(_open(select(func.count()).select_from(settlement), channel)) or 0


async def overdue(tx: AsyncConnection, now: datetime) -> dict[ChannelId, int]:
    """Payouts, by channel, that a bank should have shown by now: of the time since which lines are kept at all. What we owe is
    none of them: many channels take it out of the next one."""
    since = select(func.min(b.booked_on)).scalar_subquery()
    query = _open(select(s.channel, func.count().label("payouts")), None)
    rows = await tx.execute(query.where(s.total > 0, _paid_at >= since, _paid_at < now - OVERDUE).group_by(s.channel))
    return {ChannelId(row.channel): row.payouts for row in rows}


async def _worked_out(tx: AsyncConnection) -> Matched:
    """What the lines are, by all that is known now."""
    rows = await tx.execute(select(settlement, _paid_at.label("paid_at")).where(s.total != 0))
    payouts = [_payout(row) for row in rows]
    return matched(payouts, await _lines(tx, payouts), await _said(tx))


def _open(query: Select[Any], channel: ChannelId | None) -> Select[Any]:
    held = select(m.id).where(m.settlement_id == s.id, m.replaced_at.is_(None)).exists()
    query = query.where(s.total != 0, ~held)
    return query if channel is None else query.where(s.channel == channel)


async def _lines(tx: AsyncConnection, payouts: Sequence[Payout]) -> list[BankLine]:
    """The lines that may be one of the payouts, by amount or by name."""
    told = sorted({name.casefold() for one in payouts for name in one.names})
    # What takes one back is of the opposite amount.
    amounts = union_all(*(select(amount, s.currency).where(s.total != 0) for amount in (s.total, -s.total)))
    named = b.names.op("&&")(literal(told, ARRAY(Text)))
    rows = await tx.execute(select(bank_line).where(or_(tuple_(b.amount, b.currency).in_(amounts), named)))
    return [_line(row) for row in rows]


async def _said(tx: AsyncConnection) -> list[Said]:
    rows = await tx.execute(
        select(m.bank_line_id, m.settlement_id).where(m.replaced_at.is_(None), m.rule == MatchRule.PERSON.value)
    )
    return [Said(row.bank_line_id, row.settlement_id) for row in rows]


async def _replace(tx: AsyncConnection, which: ColumnElement[bool], why: str) -> None:
    await tx.execute(update(bank_match).where(which).values(replaced_at=func.now(), replaced_why=storable(why)))


async def _check_line(tx: AsyncConnection, line: str) -> None:
    if await tx.scalar(select(b.id).where(b.id == line)) is None:
        raise NotFound("There is no such line of a bank.", field=("bankLineId",))


async def _turn(tx: AsyncConnection) -> None:
    await tx.execute(select(func.pg_advisory_xact_lock(locks.BANK)))


def _kept(*which: ColumnElement[bool]) -> Select[Any]:
    held = and_(m.bank_line_id == b.id, m.replaced_at.is_(None))
    columns = (m.settlement_id, m.rule, m.made_by, m.reason, m.made_at)
    return select(bank_line, *columns).select_from(bank_line.outerjoin(bank_match, held)).where(*which)


def _filter(wanted: LineFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.account is not None:
        found.append(b.account == wanted.account)
    if wanted.matched is not None:
        found.append(m.settlement_id.is_not(None) if wanted.matched else m.id.is_(None))
    if wanted.first is not None:
        found.append(b.booked_on >= wanted.first)
    if wanted.last is not None:
        found.append(b.booked_on <= wanted.last)
    return found


def _payout(row: AnyRow) -> Payout:
    told = (row.reference, row.external_id, row.external_id.rpartition("/")[2])
    return Payout(
        id=row.id,
        channel=ChannelId(row.channel),
        total=Money(row.total, row.currency),
        paid_on=row.paid_at.astimezone(UTC).date(),
        names=tuple(dict.fromkeys(one for one in told if one)),
    )


def _line(row: AnyRow) -> BankLine:
    money = Money(row.amount, row.currency)
    return BankLine(row.account, row.key, row.booked_on, money, row.words, row.party, row.valued_on)


def _kept_line(row: AnyRow) -> KeptLine:
    match = None
    if row.rule is not None:
        match = KeptMatch(row.id, row.settlement_id, MatchRule(row.rule), row.made_by, row.reason, row.made_at)
    return KeptLine(row.id, _line(row), match)
