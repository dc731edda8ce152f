"""Why a profit is told otherwise than it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Subquery, Text, and_, case, cast, func, null, select, union, union_all
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid
from domain.money_line import Source
from domain.profit import Ask, Change, ChangeKind, Figures
from store import fx
from store.profit_atoms import Place, atoms_of, lines, restocks
from store.profit_sums import Key, Rates, Total, prepare, rates_of, totals_of
from store.session import among
from store.tables import money_line, settlement, unit_cost

c, u = money_line.c, unit_cost.c

MOST_REASONS = 200
"""Of one kind in one currency; what moved less is told as one."""


async def changes(tx: AsyncConnection, ask: Ask, since: datetime, places: Sequence[Place]) -> list[Change]:
    """What was added to the figures that were told at `since`, for one reason each, until the instant of `ask`, or until now;
    what moved most first. Where all costs were known their sum is the difference of both.

    Lines are weighed by what costs and rates are known at the end, then costs by those rates, and then the rates. Raises Invalid
    where a rate of exchange is missing.
    """
    await prepare(tx)
    before = replace(ask, known_at=since)
    moved, then = _moves(ask, since), atoms_of(before, places)
    now = atoms_of(ask, places)
    rates = await rates_of(tx, _either(moved, then, now), ask, ask.known_at)
    found = await _line_changes(tx, moved, ask, rates)
    found += await _restock_changes(tx, ask, before, places, rates)
    found += await _cost_changes(tx, then, ask, since, rates)
    found += await _rate_changes(tx, then, ask, since)
    return _fewer([one for one in found if one.figures.moved])


def _either(*atoms: Subquery) -> Subquery:
    """Currencies and days of any of them."""
    return union(*(select(one.c.currency, one.c.priced_on) for one in atoms)).subquery("either")


def _moves(ask: Ask, since: datetime) -> Subquery:
    """Lines that came after an instant, and with the sign turned those that were replaced; each with why, as far as that is
    told."""
    until = ask.known_at
    came = [c.known_at > since] if until is None else [c.known_at > since, c.known_at <= until]
    went = [c.replaced_at > since] if until is None else [c.replaced_at > since, c.replaced_at <= until]
    told = (c.source, c.settlement_id)
    moved = union_all(
        lines(ask, *came, more=(*told, c.known_at.label("moved_at"), cast(null(), Text).label("why"))),
        lines(ask, *went, more=(*told, c.replaced_at.label("moved_at"), c.replaced_why.label("why")), sign=-1),
    ).subquery("moved")
    m, s = moved.c, settlement.c
    # What came and went in one transaction of a channel did so for one reason.
    at_once: dict[str, Any] = {"partition_by": (m.channel, m.moved_at)}
    own = settlement.alias("own")
    kept = (
        select(settlement).order_by(s.channel, s.kept_at, s.id).ext(distinct_on(s.channel, s.kept_at)).subquery("kept")
    )
    statement = func.coalesce(own.c.id, kept.c.id)
    mended = func.bool_or(m.source == Source.SETTLEMENT.value).over(**at_once)
    transactions = func.bool_or(m.source == Source.TRANSACTION.value).over(**at_once)
    kind = case(
        (statement.is_not(None), ChangeKind.SETTLEMENT.value),
        (mended, ChangeKind.MENDED.value),
        (transactions, ChangeKind.TRANSACTION.value),
        else_=ChangeKind.ESTIMATE.value,
    )
    words = func.coalesce(own.c.external_id, kept.c.external_id, m.why, func.max(m.why).over(**at_once), "")
    return (
        select(moved, statement.label("statement"), kind.label("change"), words.label("words"))
        .select_from(
            moved.outerjoin(own, and_(own.c.id == m.settlement_id, own.c.kept_at == m.moved_at)).outerjoin(
                kept, and_(kept.c.channel == m.channel, kept.c.kept_at == m.moved_at)
            )
        )
        .subquery("atom")
    )


async def _line_changes(tx: AsyncConnection, moved: Subquery, ask: Ask, rates: Rates) -> list[Change]:
    keys: list[Key] = [lambda of: of.change, lambda of: of.words, lambda of: of.statement]
    return [
        Change(ChangeKind(one.key[0]), one.key[1], one.figures, one.lines, one.key[2])
        for one in await totals_of(tx, moved, ask, ask.known_at, rates, keys)
    ]


async def _restock_changes(
    tx: AsyncConnection, ask: Ask, before: Ask, places: Sequence[Place], rates: Rates
) -> list[Change]:
    now, then = [
        await totals_of(tx, restocks(one, places).subquery("atom"), ask, ask.known_at, rates, ())
        for one in (ask, before)
    ]
    return [Change(ChangeKind.RESTOCK, "", figures, 0) for _, figures in _differences(now, then)]


async def _cost_changes(tx: AsyncConnection, then: Subquery, ask: Ask, since: datetime, rates: Rates) -> list[Change]:
    """One for each SKU of whose cost something was said."""
    until = [] if ask.known_at is None else [u.made_at <= ask.known_at]
    said = await tx.execute(
        select(u.sku, u.valid_from, u.revision, u.reason)
        .where(u.made_at > since, *until)
        .order_by(u.sku, u.valid_from, u.revision)
    )
    words: defaultdict[str, list[str]] = defaultdict(list)
    for row in said:
        why = f" ({row.reason})" if row.reason else ""
        words[row.sku].append(f"from {row.valid_from.isoformat()}, revision {row.revision}{why}")
    if not words:
        return []
    its = select(then).where(among(then.c.sku, words)).subquery("atom")
    sku: list[Key] = [lambda of: of.sku]
    after, before = [await totals_of(tx, its, ask, at, rates, sku) for at in (ask.known_at, since)]
    return [
        Change(ChangeKind.COST, f"{key[0]} {'; '.join(words[key[0]])}", figures, 0)
        for key, figures in _differences(after, before)
    ]


async def _rate_changes(tx: AsyncConnection, then: Subquery, ask: Ask, since: datetime) -> list[Change]:
    """One for each currency, of all rates by which it was told."""
    try:
        old = await rates_of(tx, then, ask, since)
    except Invalid as problem:
        words = f"{problem.message.partition('. ')[0]}, by what was known at {since.isoformat()}. Ask since a later instant."
        raise Invalid(words, field=("since",)) from None
    new = await rates_of(tx, then, ask, ask.known_at)
    other = {pair for pair in new if _worth(old, pair) != _worth(new, pair)}
    if not other:
        return []
    its = select(then).where(among(then.c.priced_on, {day for *_, day in other})).subquery("atom")
    after, before = [await totals_of(tx, its, ask, since, by, ()) for by in (new, old)]
    return [
        Change(ChangeKind.RATE, _rate_words(other, figures.currency), figures, 0)
        for _, figures in _differences(after, before)
    ]


def _worth(rates: Rates, pair: fx.Pair) -> Decimal | None:
    one = rates.get(pair)
    return None if one is None else one.rate


def _rate_words(pairs: Collection[fx.Pair], quote: str) -> str:
    its = [pair for pair in pairs if pair[1] == quote]
    if not its:
        return ""
    bases, days = sorted({base for base, *_ in its}), sorted({day for *_, day in its})
    span = days[0].isoformat() if len(days) == 1 else f"{days[0].isoformat()} to {days[-1].isoformat()}"
    return f"{', '.join(bases)} in {quote}, {span}"


def _differences(after: Iterable[Total], before: Iterable[Total]) -> list[tuple[tuple[Any, ...], Figures]]:
    """What was added under each key and currency. Of units whose cost was not known before or is not known after nobody can say
    what their cost has moved by."""
    one, two = ({(total.key, total.figures.currency): total.figures for total in each} for each in (after, before))
    keys = sorted((key for key in one.keys() | two.keys() if one.get(key) != two.get(key)), key=repr)
    return [(key[0], one.get(key, Figures(key[1])) + -two.get(key, Figures(key[1]))) for key in keys]


def _fewer(told: Sequence[Change]) -> list[Change]:
    """What moved most first; of each kind and currency no more than MOST_REASONS, with the rest as one."""
    groups: defaultdict[tuple[ChangeKind, str], list[Change]] = defaultdict(list)
    for one in sorted(told, key=_weight, reverse=True):
        groups[one.kind, one.figures.currency].append(one)
    found: list[Change] = []
    for (kind, currency), its in groups.items():
        most, rest = its[:MOST_REASONS], its[MOST_REASONS:]
        found += most
        if rest:
            total = sum((one.figures for one in rest), Figures(currency))
            found.append(Change(kind, f"{len(rest):,} more", total, sum(one.lines for one in rest)))
    return sorted(found, key=_weight, reverse=True)


def _weight(one: Change) -> tuple[Decimal, str, str]:
    figures = one.figures
    moved = (figures.revenue, figures.fees, figures.refunds, figures.priced)
    return sum(map(abs, moved), Decimal(0)), one.kind.value, one.words
