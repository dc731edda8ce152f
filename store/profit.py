"""Profit by whatever dimensions, and of single orders; nothing of it is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid
from domain.ids import OrderId
from domain.money_line import Stage
from domain.profit import Ask, Dimension, Figures, OrderMoney, Row
from store.profit_atoms import Place, atoms_of, places
from store.profit_sums import KEYS, STAGE, Total, prepare, rates_of, totals_of
from store.session import AnyRow, among
from store.tables import estimate_due, order, order_line

__all__ = ["MOST_ROWS", "Place", "by_orders", "places", "rows"]

o = order.c

MOST_ROWS = 10_000


async def rows(tx: AsyncConnection, ask: Ask, by: Sequence[Dimension], places: Sequence[Place]) -> list[Row]:
    """A row for each value of the dimensions and each currency, by value and currency. `tx` sees one moment.

    Raises Invalid for more than MOST_ROWS of them, and where a rate of exchange is missing.
    """
    await prepare(tx)
    atoms = atoms_of(ask, places)
    rates = await rates_of(tx, atoms, ask, ask.known_at)
    keys = [STAGE, *(KEYS[one] for one in by)]
    totals = await totals_of(tx, atoms, ask, ask.known_at, rates, keys, MOST_ROWS * len(Stage) + 1)
    found = _folded(totals, by)
    if len(found) > MOST_ROWS:
        words = f"That makes more than {MOST_ROWS:,} rows. Ask for fewer days or SKUs, or group by less."
        raise Invalid(words, field=("groupBy",))
    return found


async def by_orders(
    tx: AsyncConnection, ids: Collection[OrderId], places: Sequence[Place]
) -> dict[OrderId, OrderMoney | Invalid]:
    """What stands of each order, in its own currency; an order of which no line is known is missing. Where a rate of exchange is
    missing the problem stands in its place."""
    kept = {row.id: row for row in await tx.execute(_about_orders(ids))}
    told: defaultdict[OrderId, list[Row]] = defaultdict(list)
    for row in await _of_orders(tx, ids, places):
        told[OrderId(row.dimensions[Dimension.ORDER])].append(row)
    several: defaultdict[str, list[OrderId]] = defaultdict(list)
    for id, its in told.items():
        if len(its) > 1:
            several[_main_currency(kept.get(id), its)].append(id)
    problems: dict[OrderId, Invalid] = {}
    for currency, ones in several.items():
        problems |= await _convert(tx, told, ones, places, currency)
    money = {
        id: OrderMoney(its[0].figures, its[0].stages, _is_settled(its[0], kept.get(id)))
        for id, its in told.items()
        if id not in problems
    }
    return money | problems


async def _convert(
    tx: AsyncConnection, told: dict[OrderId, list[Row]], ids: Sequence[OrderId], places: Sequence[Place], currency: str
) -> dict[OrderId, Invalid]:
    """Tell these orders in one currency, half of them at a time once a rate of one is missing; those that cannot be told so."""
    try:
        rows = await _of_orders(tx, ids, places, currency)
    except Invalid as problem:
        if len(ids) == 1:
            return {ids[0]: problem}
        middle = len(ids) // 2
        halves = [await _convert(tx, told, half, places, currency) for half in (ids[:middle], ids[middle:])]
        return halves[0] | halves[1]
    told |= {OrderId(row.dimensions[Dimension.ORDER]): [row] for row in rows}
    return {}


async def _of_orders(
    tx: AsyncConnection, ids: Collection[OrderId], places: Sequence[Place], currency: str | None = None
) -> list[Row]:
    """The rows of orders that have any line."""
    ask = Ask(orders=tuple(ids), currency=currency)
    atoms = atoms_of(ask, places)
    rates = await rates_of(tx, atoms, ask)
    totals = await totals_of(tx, atoms, ask, None, rates, [STAGE, KEYS[Dimension.ORDER]])
    lined = {total.key[1] for total in totals if total.lines}
    return _folded((total for total in totals if total.key[1] in lined), (Dimension.ORDER,))


def _main_currency(kept: AnyRow | None, its: Sequence[Row]) -> str:
    if kept is not None and kept.total_currency is not None:
        return str(kept.total_currency)
    return max(its, key=lambda one: (one.figures.revenue, one.figures.currency)).figures.currency


def _is_settled(row: Row, kept: AnyRow | None) -> bool:
    """Whether all of it is in settlements: no line of another stage, no unit that is wanted and was not billed, and nothing that
    waits to be reckoned anew."""
    if kept is None:
        return set(row.stages) == {Stage.SETTLED}
    return set(row.stages) == {Stage.SETTLED} and not kept.due and row.figures.units >= kept.wanted


def _about_orders(ids: Collection[OrderId]) -> Select[Any]:
    wanted = select(func.coalesce(func.sum(order_line.c.quantity), 0)).where(order_line.c.order_id == o.id)
    due = select(estimate_due.c.order_id).where(estimate_due.c.order_id == o.id).exists()
    return select(o.id, o.total_currency, wanted.scalar_subquery().label("wanted"), due.label("due")).where(
        among(o.id, ids)
    )


def _folded(totals: Iterable[Total], by: Sequence[Dimension]) -> list[Row]:
    """Rows of totals that are grouped by stage and dimensions, by value and currency."""
    groups: defaultdict[tuple[tuple[str, ...], str], dict[Stage, Figures]] = defaultdict(dict)
    for one in totals:
        stage, *values = one.key
        told = tuple(_text(dimension, value) for dimension, value in zip(by, values, strict=True))
        groups[told, one.figures.currency][Stage(stage)] = one.figures
    return [
        Row(
            dict(zip(by, values, strict=True)),
            sum(stages.values(), Figures(currency)),
            {stage: stages[stage] for stage in Stage if stage in stages},
        )
        for (values, currency), stages in sorted(groups.items(), key=lambda group: group[0])
    ]


def _text(dimension: Dimension, value: date | str | None) -> str:
    if isinstance(value, date):
        return value.isoformat() if dimension is Dimension.DAY else value.isoformat()[:7]
    return value or ""
