"""All that rules may use of listings, put together in a constant number of statements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cost import CostLayer
from domain.fx import Rates
from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.price import Origin, PriceFacts, PriceWish
from domain.price_inputs import Elsewhere, FeeEstimate, FxRate, PriceInputs, Told
from store import cost, fx, market, money, price
from store.market import Market
from store.session import AnyRow, among
from store.tables import listing, listing_price, product

PACE_DAYS = 28
"""Cover is reckoned by what was sold in so many days."""
_TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Stock:
    """Units of a SKU that can be sold now, how many were sold in the last PACE_DAYS, and how old the oldest count is."""

    available: int
    sold: int
    as_of: datetime


async def inputs(tx: AsyncConnection, ids: Collection[ListingId], at: datetime) -> dict[ListingId, PriceInputs]:
    """What is known at that instant of each listing that there is. Costs are those of the day (by UTC), rates those of the newest
    day until then; what nobody has told is None."""
    rows = (await tx.execute(_rows(ids))).all()
    skus = {Sku(row.sku) for row in rows if row.sku is not None}
    family = (await tx.execute(select(listing).where(among(listing.c.sku, skus)))).all()
    facts = await price.facts(tx, {row.id for row in rows} | {row.id for row in family}, at)
    known = _Known(
        at=at,
        facts=facts,
        costs=await cost.in_force(tx, skus, at.date()),
        estimates=await market.estimates(tx, ids),
        markets=await market.markets(tx, ids),
        stock=await stock(tx, skus, at),
        rates=await fx.rates(tx, at.date()),
        family=_by_sku(family),
        into={},
    )
    return {ListingId(row.id): _inputs(row, known) for row in rows}


async def sale_wishes(tx: AsyncConnection, ids: Collection[ListingId], at: datetime) -> list[PriceWish]:
    """That each of these listings be sold for what it is meant to be already, so that its channel is told what of it holds now;
    what has no such price with a sale, because it came to nothing or others changed it there, is missing, and what was asked for
    in `tx` itself: its channel is told anyway. By listing id."""
    known = await price.facts(tx, ids, at)
    just_asked = exists().where(listing_price.c.listing == listing.c.id, listing_price.c.wanted_at == func.now())
    rows = await tx.execute(_rows(ids).where(~just_asked).order_by(listing.c.id))
    wishes = []
    for row in rows:
        meant = known[ListingId(row.id)].intended
        if meant is None or meant.sale is None:
            continue
        wishes.append(
            PriceWish(
                listing=ListingId(row.id),
                channel=ChannelId(row.channel),
                marketplace=row.marketplace or None,
                channel_sku=ChannelSku(row.channel_sku),
                sku=None if row.sku is None else Sku(row.sku),
                refs=row.refs,
                price=meant,
                origin=Origin.SALE,
                reason="Its sale has begun." if meant.sale.holds(at) else "Its sale is over.",
            )
        )
    return wishes


async def stock(tx: AsyncConnection, skus: Collection[Sku], at: datetime) -> dict[Sku, Stock]:
    """What there is of each SKU to sell, by all its places; what was never counted is missing."""
    rows = await tx.execute(_STOCK, {"skus": sorted(skus), "at": at, "days": PACE_DAYS})
    return {Sku(row.sku): Stock(max(0, row.available), int(row.sold), min(row.as_of or at, at)) for row in rows}


@dataclass(frozen=True, slots=True)
class _Known:
    """What the tables say."""

    at: datetime
    facts: Mapping[ListingId, PriceFacts]
    costs: Mapping[Sku, CostLayer]
    estimates: Mapping[ListingId, tuple[FeeEstimate, ...]]
    markets: Mapping[ListingId, Market]
    stock: Mapping[Sku, Stock]
    rates: Rates
    family: Mapping[Sku, Sequence[AnyRow]]
    into: dict[str, tuple[FxRate, ...]]


def _rows(ids: Collection[ListingId]) -> Select[*tuple[Any, ...]]:
    return (
        select(listing, product.c.cost_amount, product.c.cost_currency, product.c.updated_at)
        .outerjoin(product, product.c.sku == listing.c.sku)
        .where(among(listing.c.id, ids))
    )


def _inputs(row: AnyRow, known: _Known) -> PriceInputs:
    id, sku = ListingId(row.id), None if row.sku is None else Sku(row.sku)
    facts = known.facts[id]
    seen = known.markets.get(id, Market())
    counted = None if sku is None else known.stock.get(sku)
    return PriceInputs(
        currency=facts.currency,
        current=facts.intended if facts.intended is not None else facts.basis,
        cost=_cost(row, known),
        estimates=known.estimates.get(id, ()),
        featured=seen.featured,
        expected=seen.expected,
        available=None if counted is None else counted.available,
        cover_days=None if counted is None else _cover(counted),
        stock_at=None if counted is None else counted.as_of,
        rates=_into(facts.currency, known),
        elsewhere=() if sku is None else _elsewhere(row, known.family.get(sku, ()), known),
    )


def _cost(row: AnyRow, known: _Known) -> Told | None:
    layer = known.costs.get(row.sku)
    if layer is not None:
        told = "landed" if layer.extra is not None else "without freight and duty"
        source = f"unit cost from {layer.valid_from.isoformat()}, revision {layer.revision}, {told}"
        return Told(layer.landed, layer.made_at, source)
    amount = money.value(row.cost_amount, row.cost_currency)
    return None if amount is None else Told(amount, row.updated_at, "catalog")


def _cover(counted: Stock) -> Decimal | None:
    """How long it lasts; of what does not sell nobody can tell."""
    return (Decimal(counted.available * PACE_DAYS) / counted.sold).quantize(_TENTH) if counted.sold else None


def _into(currency: str | None, known: _Known) -> tuple[FxRate, ...]:
    if currency is None:
        return ()
    if currency not in known.into:
        known.into[currency] = known.rates.into(currency, known.at.date())
    return known.into[currency]


def _elsewhere(row: AnyRow, family: Sequence[AnyRow], known: _Known) -> tuple[Elsewhere, ...]:
    found = []
    for one in family:
        facts = known.facts.get(ListingId(one.id))
        if one.id == row.id or facts is None or facts.live is None or facts.live_at is None:
            continue
        place = (ChannelId(one.channel), one.marketplace or None)
        found.append(Elsewhere(*place, facts.live.regular, facts.live_at))
    return tuple(sorted(found, key=lambda one: (one.channel, one.marketplace or "", one.price.amount)))


def _by_sku(family: Sequence[AnyRow]) -> dict[Sku, list[AnyRow]]:
    found: defaultdict[Sku, list[AnyRow]] = defaultdict(list)
    for row in family:
        found[Sku(row.sku)].append(row)
    return dict(found)


# A kit's sale is one of its components, too.
_STOCK = text(
    """
    with wanted as (
        select unnest(cast(:skus as text[])) sku
    ), sold_as as (
        select sku, sku line_sku, 1 units from wanted
        union all
        select part.component, part.kit, part.quantity from wanted join kit_component part on part.component = wanted.sku
    ), sold as (
        select sold_as.sku, sum(line.quantity * sold_as.units) units
        from sold_as join order_line line on line.sku = sold_as.line_sku join "order" sale on sale.id = line.order_id
        where sale.placed_at > cast(:at as timestamptz) - make_interval(days => :days)
            and sale.placed_at <= cast(:at as timestamptz) and sale.status <> 'CANCELLED'
        group by sold_as.sku
    )
    select kept.sku, kept.on_hand + kept.elsewhere - kept.reserved - kept.held - coalesce(kept.safety_stock, 0) available,
        coalesce(sold.units, 0) sold, told.as_of
    from wanted join sku_stock kept on kept.sku = wanted.sku left join sold on sold.sku = kept.sku
    cross join lateral (
        select min(level.as_of) as_of, count(*) readings from listing offered
        join stock_level level on level.channel = offered.channel and level.channel_sku = offered.channel_sku
        where offered.sku = kept.sku
    ) told
    where told.readings > 0 or exists (select from stock_balance where stock_balance.sku = kept.sku)
    """
)
