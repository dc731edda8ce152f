"""Rates of exchange as their sources published them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from functools import cache

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid
from domain.fx import LEAST_RATE, MOST_RATE, Rates, bases
from domain.price_inputs import FxRate
from store.session import AnyRow, among
from store.tables import fx_rate

c = fx_rate.c

Pair = tuple[str, str, date]
"""(base, quote, day)."""

BACK_DAYS = 10
"""So far before the newest day known rates are looked for: a currency that was told no more is not converted for ever."""


async def keep(tx: AsyncConnection, rates: Sequence[FxRate], by: str) -> list[FxRate]:
    """Keep what is new, and what a source has mended; those are answered. Raises Invalid for what is no rate of two
    currencies, and for a source that tells by more than one base, together with what it told before: nothing could be converted
    through it."""
    if not rates:
        return []
    for one in rates:
        if one.base == one.quote or not LEAST_RATE <= one.rate <= MOST_RATE:
            words = f"{one.source} tells on {one.day.isoformat()} that 1 {one.base} is {one.rate} {one.quote}"
            raise Invalid(f"{words}. That is no rate of exchange.")
    told = bases(rates)
    known = await tx.execute(select(c.source, c.base).distinct().where(among(c.source, told)))
    for row in known:
        told[row.source].add(row.base)
    for source, its in sorted(told.items()):
        if len(its) > 1:
            raise Invalid(f"{source} tells rates by {' and '.join(sorted(its))}. Give each base a source of its own.")
    held = await _held(tx, rates)
    last = {_key(one): one for one in rates}
    fresh = [one for key, one in sorted(last.items()) if held.get(key) != one.rate]
    if fresh:
        await tx.execute(
            insert(fx_rate),
            [
                {
                    "source": one.source,
                    "base": one.base,
                    "quote": one.quote,
                    "day": one.day,
                    "rate": one.rate,
                    "made_by": by,
                }
                for one in fresh
            ],
        )
    return fresh


async def rates(tx: AsyncConnection, on: date) -> Rates:
    """What money can be converted by on that day: the rates of the newest days until then, each as it was told last."""
    newest = select(func.max(c.day)).where(c.day <= on).scalar_subquery()
    rows = await tx.execute(
        select(c.source, c.base, c.quote, c.day, c.rate)
        .where(c.day <= on, c.day >= newest - BACK_DAYS)
        .order_by(c.source, c.base, c.quote, c.day, c.id.desc())
        .ext(distinct_on(c.source, c.base, c.quote, c.day))
    )
    return Rates(tuple(_rate(row) for row in rows))


async def by_days(
    tx: AsyncConnection, wanted: Collection[Pair], known_at: datetime | None = None
) -> dict[Pair, FxRate]:
    """What one unit of a base was worth in a quote on a day, for each (base, quote, day), just as `rates` of that day tell; by
    what was known at an instant, or now. What no rate tells is missing."""
    if not wanted:
        return {}
    first, last = min(day for *_, day in wanted), max(day for *_, day in wanted)
    known = [] if known_at is None else [c.made_at <= known_at]
    begin = select(func.max(c.day)).where(c.day <= first, *known).scalar_subquery()
    span = [c.day <= last, c.day >= func.coalesce(begin, first) - BACK_DAYS, *known]
    told = sorted(await tx.scalars(select(c.day).distinct().where(*span)))
    rows = await tx.execute(
        select(c.source, c.base, c.quote, c.day, c.rate)
        .where(*span, among(c.quote, {currency for *pair, _ in wanted for currency in pair}))
        .order_by(c.source, c.base, c.quote, c.day, c.id.desc())
        .ext(distinct_on(c.source, c.base, c.quote, c.day))
    )
    of_day: defaultdict[date, list[FxRate]] = defaultdict(list)
    for row in rows:
        of_day[row.day].append(_rate(row))

    @cache
    def until(newest: date) -> Rates:
        days = (newest - timedelta(days=back) for back in range(BACK_DAYS + 1))
        return Rates(tuple(rate for day in days for rate in of_day.get(day, ())))

    found: dict[Pair, FxRate] = {}
    for base, quote, day in wanted:
        place = bisect_right(told, day)
        rate = until(told[place - 1]).pair(base, quote, day) if place else None
        if rate is not None:
            found[base, quote, day] = rate
    return found


async def newest(tx: AsyncConnection, source: str) -> date | None:
    """The newest day that a source has told of."""
    found: date | None = await tx.scalar(select(func.max(c.day)).where(c.source == source))
    return found


async def _held(tx: AsyncConnection, told: Collection[FxRate]) -> dict[tuple[str, str, str, date], object]:
    days = [one.day for one in told]
    rows = await tx.execute(
        select(c.source, c.base, c.quote, c.day, c.rate)
        .where(among(c.source, {one.source for one in told}), c.day >= min(days), c.day <= max(days))
        .order_by(c.source, c.base, c.quote, c.day, c.id.desc())
        .ext(distinct_on(c.source, c.base, c.quote, c.day))
    )
    return {_key(_rate(row)): row.rate for row in rows}


def _key(one: FxRate) -> tuple[str, str, str, date]:
    return one.source, one.base, one.quote, one.day


def _rate(row: AnyRow) -> FxRate:
    return FxRate(row.base, row.quote, row.rate, row.day, row.source)
