"""What a profit is the sum of: lines of money, and units that came back into stock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    FromClause,
    Integer,
    Numeric,
    Select,
    Subquery,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from domain.chain import AT_POOL, PieceKind
from domain.channel import Channel
from domain.estimate import FEES_UNKNOWN
from domain.ids import ChannelId
from domain.money_class import Event, MoneyClass, Part
from domain.money_line import Cause, Source, Stage
from domain.profit import Ask
from store.money_line import standing
from store.session import among
from store.tables import listing, money_line, order, order_line, restock

c, o, r = money_line.c, order.c, restock.c

_NEVER_LEFT = PieceKind.REFUNDED.value
"""Of units that came back into stock: those that were paid for, and refunded before they left."""
_HIDDEN = (Cause.ORDER_UNKNOWN, Cause.UNAPPORTIONED)

Place = tuple[ChannelId, str, str]
"""(channel, marketplace or "", the name of the time zone by which its days begin)."""


def places(channels: Iterable[Channel]) -> list[Place]:
    """By which clock the days of each channel begin, and of each of its marketplaces."""
    return [
        (one.id, marketplace, one.zone(marketplace).key)
        for one in channels
        for marketplace in sorted({"", *one.marketplaces, *one.zones})
    ]


def atoms_of(ask: Ask, places: Sequence[Place]) -> Subquery:
    """All that stands by what `ask` knows."""
    return union_all(lines(ask, standing(ask.known_at)), restocks(ask, places)).subquery("atom")


def lines(ask: Ask, *held: ColumnElement[bool], more: Sequence[ColumnElement[Any]] = (), sign: int = 1) -> Select[Any]:
    """Lines of money as atoms."""
    sale = and_(c["class"] == MoneyClass.SALE.value, c.event == Event.SALE.value)
    hidden = _hidden(sale, ask)
    feeless = and_(sale, c.source == Source.ESTIMATE.value, c.description == FEES_UNKNOWN)
    return select(
        c.channel,
        c.marketplace,
        c.sku,
        c.order_id,
        c.day,
        c.day.label("priced_on"),
        c.stage,
        c.part,
        (c["class"] == MoneyClass.REIMBURSEMENT.value).label("reimbursement"),
        c.currency,
        c.amount,
        case((sale, c.units)).label("sold"),
        case((hidden, 1), (sale, c.units)).label("units"),
        # Of nothing else the cost is looked up: three of four lines are no sales.
        case((sale, c.sku)).label("unit_sku"),
        case((feeless, c.units)).label("feeless"),
        literal(sign, Integer).label("sign"),
        *more,
    ).where(or_(c.part != Part.BALANCE.value, hidden), *held, *_wanted(ask, c))


def _hidden(sale: ColumnElement[bool], ask: Ask) -> ColumnElement[bool]:
    """Whether a line hides how many units of what were sold, one at least: a sale that is of no order known here; a payment that
    is, or that cannot be split, and a transaction that names no product, until something else tells units of their order."""
    its = money_line.alias("its").c
    told = select(its.id).where(
        its.order_id == c.order_id,
        its["class"] == MoneyClass.SALE.value,
        its.event == Event.SALE.value,
        its.units.is_not(None),
        standing(ask.known_at, its),
    )
    # Asked of each by itself: there are few of them, and many sales.
    untold = told.limit(1).correlate(money_line).scalar_subquery().is_(None)
    untied = among(c.cause, [one.value for one in _HIDDEN])
    payment = and_(c["class"] == MoneyClass.PAYMENT.value, c.event == Event.SALE.value, untied)
    nameless = and_(sale, c.source == Source.TRANSACTION.value, c.channel_sku.is_(None))
    return and_(c.units.is_(None), c.sku.is_(None), or_(and_(sale, untied), and_(or_(payment, nameless), untold)))


def _wanted(ask: Ask, of: Any) -> list[ColumnElement[bool]]:
    """The filters of `ask`, on columns of lines or of atoms."""
    found: list[ColumnElement[bool]] = []
    if ask.first is not None:
        found.append(of.day >= ask.first)
    if ask.until is not None:
        found.append(of.day < ask.until)
    if ask.channel is not None:
        found.append(of.channel == ask.channel)
    if ask.marketplace is not None:
        found.append(of.marketplace == ask.marketplace)
    if ask.skus is not None:
        found.append(among(of.sku, ask.skus))
    if ask.orders is not None:
        found.append(among(of.order_id, ask.orders))
    if ask.stages is not None:
        found.append(among(of.stage, [one.value for one in ask.stages]))
    return found


def restocks(ask: Ask, places: Sequence[Place]) -> Select[Any]:
    """Units that came back into stock, as atoms: on their day, for what a unit had cost when it was sold. Nobody holds them back
    or estimates them: their stage is SETTLED."""
    told = told_restocks(standing(ask.known_at, r), *_of_orders(ask))
    zone, usual = _zones(places, "zone"), _zones(places, "usual")
    clock = func.coalesce(zone.c.zone, usual.c.zone, "UTC")
    day = cast(func.timezone(clock, told.c.at), Date)
    sold_on = cast(func.timezone(clock, o.placed_at), Date)
    marketplaces = sorted({marketplace for _, marketplace, _ in places})
    sku = func.coalesce(sku_of_order(told), sku_of_listing(told, among(listing.c.marketplace, marketplaces)))
    back = (
        select(
            told.c.channel,
            o.marketplace,
            sku.label("sku"),
            o.id.label("order_id"),
            day.label("day"),
            func.coalesce(sold_on, day).label("priced_on"),
            literal(Stage.SETTLED.value, Text).label("stage"),
            cast(null(), Text).label("part"),
            false().label("reimbursement"),
            func.coalesce(o.total_currency, o.charged_currency).label("currency"),
            cast(null(), Numeric).label("amount"),
            cast(null(), Integer).label("sold"),
            (-told.c.units).label("units"),
            sku.label("unit_sku"),
            cast(null(), Integer).label("feeless"),
            literal(1, Integer).label("sign"),
        )
        .select_from(told)
        .outerjoin(order, and_(o.channel == told.c.channel, o.external_id == told.c.order_external_id))
        .outerjoin(zone, and_(zone.c.channel == told.c.channel, zone.c.marketplace == func.coalesce(o.marketplace, "")))
        .outerjoin(usual, and_(usual.c.channel == told.c.channel, usual.c.marketplace == ""))
        .where(
            told_by_most(told),
            # What nobody has billed is estimated without them.
            or_(left(told), _billed_units(ask)),
        )
        .subquery("back")
    )
    return select(back).where(*_wanted(ask, back.c))


def _billed_units(ask: Ask) -> ColumnElement[bool]:
    """Whether somebody has billed units of the order."""
    sold = (c["class"] == MoneyClass.SALE.value, c.event == Event.SALE.value, c.source != Source.ESTIMATE.value)
    return select(c.id).where(c.order_id == o.id, *sold, standing(ask.known_at)).correlate(order).exists()


def told_restocks(*held: ColumnElement[bool]) -> Subquery:
    """Restocks that `held` holds for, with how many units pools and channels tell of the same."""
    by_pool = func.starts_with(r.reference, AT_POOL)
    group = (r.channel, func.coalesce(r.order_external_id, r.reference), r.channel_sku, r.kind == _NEVER_LEFT)
    return (
        select(
            restock,
            by_pool.label("by_pool"),
            func.sum(r.units).filter(by_pool).over(partition_by=group).label("of_pool"),
            func.sum(r.units).filter(~by_pool).over(partition_by=group).label("of_channel"),
        )
        .where(*held)
        .subquery("told")
    )


def told_by_most(told: Subquery) -> ColumnElement[bool]:
    """A pool and the channel that sold them may tell of the same units, which come back once: whoever tells of more counts."""
    of_pool: ColumnElement[bool] = func.coalesce(told.c.of_pool, 0) > func.coalesce(told.c.of_channel, 0)
    return told.c.by_pool == of_pool


def left(told: Subquery) -> ColumnElement[bool]:
    """Whether the units had left before they came back."""
    return told.c.kind != _NEVER_LEFT


def _of_orders(ask: Ask) -> list[ColumnElement[bool]]:
    if ask.orders is None:
        return []
    names = select(o.channel, o.external_id).where(among(o.id, ask.orders))
    return [tuple_(r.channel, r.order_external_id).in_(names)]


def sku_of_order(told: Subquery) -> ColumnElement[Any]:
    """Our SKU by the order that came back."""
    its = order_line.c
    found = select(its.sku).where(its.order_id == o.id, its.channel_sku == told.c.channel_sku, its.sku.is_not(None))
    return found.order_by(its.position).limit(1).correlate(order, told).scalar_subquery()


def sku_of_listing(told: Subquery, *which: ColumnElement[bool]) -> ColumnElement[Any]:
    """Our SKU by the first listing of the channel's, of those that `which` holds for."""
    its = listing.c
    found = select(its.sku).where(
        its.channel == told.c.channel, *which, its.channel_sku == told.c.channel_sku, its.sku.is_not(None)
    )
    return found.order_by(its.marketplace).limit(1).correlate(told).scalar_subquery()


def _zones(places: Sequence[Place], name: str) -> FromClause:
    channels, marketplaces, zones = ([place[at] for place in places] for at in range(3))
    arrays = (literal(values, ARRAY(Text)) for values in (channels, marketplaces, zones))
    return func.unnest(*arrays).table_valued("channel", "marketplace", "zone").render_derived(name=name)
