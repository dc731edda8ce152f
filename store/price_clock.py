"""What time alone does to prices: how far it has been looked after, so that each instant counts once, on whichever worker."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import Enum

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, ListingId
from store.tables import price_clock

c = price_clock.c


class Hand(Enum):
    """What is looked after by itself."""

    TIME = "TIME"
    SCHEDULE = "SCHEDULE"
    STOCK = "STOCK"
    RULES = "RULES"


async def read(tx: AsyncConnection, hand: Hand) -> tuple[datetime, int | None, datetime] | None:
    """(up to when it has been looked after, with which version, what time it is), by the database's clock, held by `tx`; None
    where another worker is at it, and the first time, which only starts it."""
    made = await tx.execute(
        insert(price_clock).values(name=hand.value, at=func.now()).on_conflict_do_nothing().returning(c.name)
    )
    if made.one_or_none() is not None:
        return None
    now = func.clock_timestamp().label("now")
    query = select(c.at, c.version, now).where(c.name == hand.value).with_for_update(skip_locked=True)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else (row.at, row.version, row.now)


async def turn(tx: AsyncConnection, hand: Hand, at: datetime, version: int | None = None) -> None:
    """It has been looked after up to then."""
    await tx.execute(update(price_clock).where(c.name == hand.value).values(at=at, version=version))


async def turned_sales(
    tx: AsyncConnection, channels: Collection[ChannelId], after: datetime, until: datetime
) -> list[ListingId]:
    """Listings of channels that keep no times, whose wanted price has a sale that began or ended in that time."""
    values = {"channels": sorted(channels), "after": after, "until": until}
    return [ListingId(id) for id in await tx.scalars(_SALES, values)]


async def new_costs(tx: AsyncConnection, after: datetime, until: datetime) -> list[ListingId]:
    """Listings whose SKU has a layer of cost that began in that time (days begin by UTC)."""
    return [ListingId(id) for id in await tx.scalars(_COSTS, {"after": after.date(), "until": until.date()})]


async def crossed(tx: AsyncConnection, edges: Collection[int]) -> list[ListingId]:
    """Listings of which there are so many units now that one of `edges` lies between them and those that their price was last
    worked out for. An edge is the least number of units behind it."""
    if not edges:
        return []
    return [ListingId(id) for id in await tx.scalars(_CROSSED, {"edges": sorted(edges)})]


_SALES = text(
    """
    select wanted.listing
    from listing_price wanted join listing on listing.id = wanted.listing
    where jsonb_typeof(wanted.wanted -> 'sale') = 'object' and listing.channel = any(cast(:channels as text[]))
        and (
            cast(wanted.wanted #>> '{sale,from}' as timestamptz) > :after
                and cast(wanted.wanted #>> '{sale,from}' as timestamptz) <= :until
            or cast(wanted.wanted #>> '{sale,to}' as timestamptz) > :after
                and cast(wanted.wanted #>> '{sale,to}' as timestamptz) <= :until
        )
    order by wanted.listing
    """
)
_COSTS = text(
    """
    select listing.id from listing
    where sku in (select sku from unit_cost where valid_from > :after and valid_from <= :until)
    order by id
    """
)
_CROSSED = text(
    """
    select repriced.listing
    from repriced join listing on listing.id = repriced.listing join sku_stock kept on kept.sku = listing.sku
    cross join lateral (
        select greatest(
            0, kept.on_hand + kept.elsewhere - kept.reserved - kept.held - coalesce(kept.safety_stock, 0)
        ) units
    ) now
    where repriced.units is not null and listing.status <> 'WITHDRAWN'
        and width_bucket(now.units, cast(:edges as bigint[])) <> width_bucket(repriced.units, cast(:edges as bigint[]))
    order by repriced.listing
    """
)
