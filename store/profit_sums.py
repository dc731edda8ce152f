"""Sums over atoms of profit, each converted by the rate of its day and rounded by itself before it is added to anything: so all
sums agree, however they are grouped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import product as pairs_of
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Date,
    FromClause,
    Integer,
    Numeric,
    Subquery,
    Text,
    and_,
    case,
    cast,
    column,
    extract,
    func,
    literal,
    literal_column,
    or_,
    select,
    union,
)
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid
from domain.money import minor_digits
from domain.money_class import Part
from domain.price_inputs import FxRate
from domain.profit import Ask, Dimension, Figures
from store import fx
from store.session import AnyRow, among
from store.tables import order_line, product, unit_cost

u = unit_cost.c

# As many decimals behind the minor unit as `domain.fx.Rates.convert` keeps.
_BEHIND = 4
_ZERO = literal(Decimal(0), Numeric)

Rates = Mapping[fx.Pair, FxRate]
Key = Callable[[Any], ColumnElement[Any]]
"""Makes what is grouped by of the columns of atoms."""


def _month(of: Any) -> ColumnElement[Any]:
    """The first day of the month."""
    first: ColumnElement[Any] = of.day - cast(extract("day", of.day), Integer) + 1
    return first


KEYS: Mapping[Dimension, Key] = {
    Dimension.DAY: lambda of: of.day,
    Dimension.MONTH: _month,
    Dimension.CHANNEL: lambda of: of.channel,
    Dimension.MARKETPLACE: lambda of: of.marketplace,
    Dimension.SKU: lambda of: of.sku,
    Dimension.ORDER: lambda of: of.order_id,
}
STAGE: Key = lambda of: of.stage  # noqa: E731 - one of the keys


@dataclass(frozen=True, slots=True)
class Total:
    """A row of sums: what it was grouped by, in which currency, and of how many lines."""

    key: tuple[Any, ...]
    figures: Figures
    lines: int


async def totals_of(
    tx: AsyncConnection,
    atoms: Subquery,
    ask: Ask,
    known_at: datetime | None,
    rates: Rates,
    keys: Sequence[Key],
    most: int | None = None,
) -> list[Total]:
    """Sums of atoms by keys and currency, with costs as known at an instant. Raises Invalid where a cost cannot be converted into
    the currency that was asked for."""
    v = _valued(atoms, ask, known_at, rates).c
    grouped = [key(v).label(f"key_{place}") for place, key in enumerate(keys)]
    costless = and_(v.units != 0, v.cost.is_(None))
    query = (
        select(
            *grouped,
            v.target,
            _sum(v.sold * v.sign).label("units"),
            _sum(v.money * v.sign, v.part == Part.REVENUE.value).label("revenue"),
            _sum(-v.money * v.sign, v.part == Part.REFUNDS.value).label("refunds"),
            _sum(-v.money * v.sign, or_(v.part == Part.FEES.value, v.part == Part.UNCLASSIFIED.value)).label("fees"),
            _sum(-v.money * v.sign, v.part == Part.UNCLASSIFIED.value).label("unclassified"),
            _sum(v.money * v.sign, v.reimbursement).label("reimbursements"),
            _sum(v.money * v.sign, v.part == Part.TAX.value).label("taxes"),
            _sum(v.cost * v.sign).label("priced"),
            _sum(func.abs(v.units), costless).label("units_without_cost"),
            _sum(func.abs(v.units), and_(v.units != 0, v.by_catalog)).label("units_with_catalog_cost"),
            _sum(v.feeless * v.sign).label("units_without_fees"),
            func.count(v.part).label("lines"),
            func.min(func.concat_ws(" ", v.priced_on, v.cost_currency))
            .filter(and_(costless, v.cost_currency.is_not(None)))
            .label("unconverted"),
        )
        .where(v.target.is_not(None))
        .group_by(*(literal_column(str(place + 1)) for place in range(len(keys) + 1)))
        .limit(most)
    )
    return [_total(row, len(keys), ask) for row in await tx.execute(query)]


async def rates_of(tx: AsyncConnection, told: FromClause, ask: Ask, known_at: datetime | None = None) -> Rates:
    """The rates by which the atoms can be told as asked, by what is known at an instant. Raises Invalid where an amount's is
    missing; one that a cost needs may be."""
    found = await tx.execute(select(told.c.currency, told.c.priced_on).distinct())
    days = {(row.currency, row.priced_on) for row in found}
    amounts = {
        (currency, ask.currency, day)
        for currency, day in days
        if ask.currency is not None and currency is not None and currency != ask.currency
    }
    costs = await tx.scalars(_cost_currencies(ask))
    wanted = amounts | {
        (cost, target, day)
        for cost, (currency, day) in pairs_of(costs.all(), days)
        if (target := ask.currency or currency) is not None and cost != target
    }
    rates = await fx.by_days(tx, sorted(wanted), known_at)
    missing = sorted(amounts - rates.keys(), key=lambda pair: (pair[2], pair))
    if missing:
        raise _no_rate(*missing[0])
    return rates


async def prepare(tx: AsyncConnection) -> None:
    """Let PostgreSQL sum a million lines in memory: to sort them by SKU for their costs, or by what they are grouped by, takes
    twice as long; and a plan that is kept for any days and rates is one for few of them."""
    settings = {
        "work_mem": "64MB",
        "enable_mergejoin": "off",
        "enable_sort": "off",
        "plan_cache_mode": "force_custom_plan",
    }
    await tx.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))


def layers(known_at: datetime | None) -> Subquery:
    """What a unit of each SKU cost from a day on until another, by what was known at an instant (`domain.cost.in_force`)."""
    newest = (
        select(u.sku, u.valid_from, u.currency, u.withdrawn, (u.amount + func.coalesce(u.extra, _ZERO)).label("landed"))
        .where(*([] if known_at is None else [u.made_at <= known_at]))
        .order_by(u.sku, u.valid_from, u.revision.desc())
        .ext(distinct_on(u.sku, u.valid_from))
        .subquery("newest")
    )
    ends = func.lead(newest.c.valid_from).over(partition_by=newest.c.sku, order_by=newest.c.valid_from)
    return select(newest, ends.label("ends")).where(~newest.c.withdrawn).subquery("layer")


def in_force(layer: Subquery, sku: ColumnElement[Any], day: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a layer is that of a SKU on a day."""
    return and_(layer.c.sku == sku, layer.c.valid_from <= day, or_(layer.c.ends.is_(None), layer.c.ends > day))


def _costed(atoms: Subquery, ask: Ask, known_at: datetime | None) -> Subquery:
    """Atoms with what a unit of each cost, by its layer or by the catalog, and with the currency in which they are told."""
    layer = layers(known_at)
    its = in_force(layer, atoms.c.unit_sku, atoms.c.priced_on)
    catalog = and_(layer.c.sku.is_(None), product.c.sku == atoms.c.unit_sku)
    cost_currency = func.coalesce(layer.c.currency, product.c.cost_currency)
    return (
        select(
            atoms,
            func.coalesce(layer.c.landed, product.c.cost_amount).label("landed"),
            cost_currency.label("cost_currency"),
            product.c.cost_amount.is_not(None).label("by_catalog"),
            func.coalesce(cast(literal(ask.currency), Text), atoms.c.currency, cost_currency).label("target"),
        )
        .select_from(atoms.outerjoin(layer, its).outerjoin(product, catalog))
        .subquery("costed")
    )


def _valued(atoms: Subquery, ask: Ask, known_at: datetime | None, rates: Rates) -> Subquery:
    """Costed atoms with what each comes to in its target currency: `money`, and the `cost` of its units (null: not known)."""
    costed = _costed(atoms, ask, known_at)
    rate, cost_rate = _rate_table(rates, "rate"), _rate_table(rates, "cost_rate")
    of_line = and_(rate.c.base == costed.c.currency, rate.c.quote == costed.c.target, rate.c.day == costed.c.priced_on)
    of_cost = and_(
        cost_rate.c.base == costed.c.cost_currency,
        cost_rate.c.quote == costed.c.target,
        cost_rate.c.day == costed.c.priced_on,
    )
    paid = costed.c.units * costed.c.landed
    return (
        select(
            costed,
            case(
                (costed.c.currency == costed.c.target, costed.c.amount),
                else_=_converted(costed.c.amount, rate),
            ).label("money"),
            case(
                (costed.c.units == 0, _ZERO),
                (costed.c.cost_currency == costed.c.target, paid),
                else_=_converted(paid, cost_rate),
            ).label("cost"),
        )
        .select_from(costed.outerjoin(rate, of_line).outerjoin(cost_rate, of_cost))
        # Else PostgreSQL converts each amount anew in every sum that it is in.
        .offset(0)
        .subquery("valued")
    )


def _rate_table(rates: Rates, name: str) -> FromClause:
    """The rates, each with the decimals that an amount by it keeps, and half a unit of the last of them."""
    digits = [minor_digits(quote) + _BEHIND for _, quote, _ in rates]
    arrays = (
        literal([base for base, _, _ in rates], ARRAY(Text)),
        literal([quote for _, quote, _ in rates], ARRAY(Text)),
        literal([day for _, _, day in rates], ARRAY(Date)),
        literal([one.rate for one in rates.values()], ARRAY(Numeric)),
        literal(digits, ARRAY(Integer)),
        literal([Decimal(5).scaleb(-(one + 1)) for one in digits], ARRAY(Numeric)),
    )
    names = (
        column("base", Text),
        column("quote", Text),
        column("day", Date),
        column("rate", Numeric),
        column("digits", Integer),
        column("half", Numeric),
    )
    return func.unnest(*arrays).table_valued(*names).render_derived(name=name)


def _converted(amount: ColumnElement[Any], rate: FromClause) -> ColumnElement[Any]:
    """An amount by a rate, rounded half to even, which PostgreSQL does not by itself: half of a number that ends in the middle
    never does."""
    exact = amount * rate.c.rate
    middle = func.abs(exact - func.trunc(exact, rate.c.digits)) == rate.c.half
    even = func.round(exact * literal(Decimal("0.5"), Numeric), rate.c.digits) * 2
    return case((middle, even), else_=func.round(exact, rate.c.digits))


def _sum(of: ColumnElement[Any], where: ColumnElement[bool] | None = None) -> ColumnElement[Any]:
    summed = func.sum(of)
    return func.coalesce(summed if where is None else summed.filter(where), 0)


def _total(row: AnyRow, keys: int, ask: Ask) -> Total:
    if ask.currency is not None and row.unconverted is not None:
        day, currency = row.unconverted.split(" ")
        raise _no_rate(currency, ask.currency, day)
    figures = Figures(
        row.target,
        units=row.units,
        revenue=row.revenue,
        fees=row.fees,
        refunds=row.refunds,
        priced=row.priced,
        unclassified=row.unclassified,
        reimbursements=row.reimbursements,
        taxes=row.taxes,
        units_without_cost=row.units_without_cost,
        units_with_catalog_cost=row.units_with_catalog_cost,
        units_without_fees=row.units_without_fees,
    )
    return Total(tuple(row[:keys]), figures, row.lines)


def _no_rate(base: str, quote: str, day: object) -> Invalid:
    words = f"No rate tells what {base} was worth in {quote} on {day}. Tell rates by `acorn fx import`, or leave `currency` out."
    return Invalid(words, field=("filter", "currency"))


def _cost_currencies(ask: Ask) -> CompoundSelect[Any]:
    """In which costs may be told."""
    layers, catalog = select(u.currency), select(product.c.cost_currency).where(product.c.cost_currency.is_not(None))
    if ask.orders is not None:
        its = select(order_line.c.sku).where(among(order_line.c.order_id, ask.orders))
        layers, catalog = layers.where(u.sku.in_(its)), catalog.where(product.c.sku.in_(its))
    return union(layers, catalog)
