"""Open orders in the order in which they must be confirmed. Each channel's are read along an index, and what is nearest in all is
kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, OrderId
from domain.order import Order
from domain.urgency import Nowhere
from store import order
from store.session import among
from store.tables import order_line, oversale

_OPEN = """
    kept.fulfilled_by = 'MERCHANT' and kept.status in ('UNSHIPPED', 'PARTIALLY_SHIPPED', 'ON_HOLD')
    and (cast(:held as boolean) is null or (kept.held is not null or kept.status = 'ON_HOLD') = :held)
"""

# What has no ship-by comes last, as the index has it.
_PAGE = text(
    f"""
    select found.id, found.rank from unnest(cast(:channels as text[]), cast(:lags as float8[])) asked (channel, lag)
    cross join lateral (
        select kept.id, kept.ship_by - make_interval(secs => asked.lag) rank from "order" kept
        where kept.channel = asked.channel and {_OPEN} and (
            cast(:after_id as text) is null
            or (kept.ship_by, kept.id) > (cast(:after as timestamptz) + make_interval(secs => asked.lag), :after_id)
            or (kept.ship_by is null and (cast(:after as timestamptz) is not null or kept.id > :after_id))
        )
        order by kept.ship_by, kept.id limit :limit
    ) found
    order by found.rank, found.id limit :limit
    """  # noqa: S608 - words of ours
)

_COUNT = text(f'select count(*) from "order" kept where kept.channel = any(cast(:channels as text[])) and {_OPEN}')  # noqa: S608


# What lies at a place and is held for no reservation is for those who ordered first; what waits for announced units is said
# elsewhere.
_NOWHERE = text(
    """
    with asked as (
        select distinct sku, location from order_allocation
        where order_id = any(cast(:ids as text[])) and quantity > backordered
    ),
    turn as (
        select part.order_id, part.sku, part.quantity - part.backordered units,
            balance.on_hand - balance.reserved + sum(part.quantity) over (partition by part.sku, part.location) there,
            sum(part.quantity - part.backordered) over (
                partition by part.sku, part.location order by placed.placed_at, placed.id, part.order_line_id
            ) so_far
        from asked join stock_balance balance using (sku, location)
        join order_allocation part on part.sku = asked.sku and part.location = asked.location and part.quantity > 0
        join "order" placed on placed.id = part.order_id
        where balance.reserved > balance.on_hand
    )
    select turn.order_id, sum(least(turn.units, turn.so_far - turn.there)) units,
        coalesce(bool_or(stock.elsewhere > 0), false) elsewhere
    from turn left join sku_stock stock using (sku)
    where turn.order_id = any(cast(:ids as text[])) and turn.units > 0 and turn.so_far > turn.there
    group by turn.order_id
    """
)


async def page(
    tx: AsyncConnection,
    lags: Mapping[ChannelId, float],
    *,
    first: int,
    after: tuple[datetime | None, OrderId] | None = None,
    held: bool | None = None,
) -> tuple[list[tuple[Order, datetime | None]], bool]:
    """The next `first` open orders of these channels that we ship, with the instant by which each must be confirmed: its ship-by
    less the channel's lag in seconds, None where it has none; and whether there are more.

    `after` is the (instant, id) of the last one seen, `held` wants those that are held alone, or the others.
    """
    values = {
        "channels": list(lags),
        "lags": list(lags.values()),
        "held": held,
        "after": None if after is None else after[0],
        "after_id": None if after is None else after[1],
        "limit": first + 1,
    }
    rows = (await tx.execute(_PAGE, values)).all()
    kept = await order.by_ids(tx, [OrderId(row.id) for row in rows[:first]])
    return [(kept[OrderId(row.id)], row.rank) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, channels: Collection[ChannelId], *, held: bool | None = None) -> int:
    """How many orders `page` would give in all."""
    return await tx.scalar(_COUNT, {"channels": list(channels), "held": held}) or 0


async def nowhere(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, Nowhere]:
    """What is promised to each order and lies at no place of ours; an order without any is missing."""
    rows = await tx.execute(_NOWHERE, {"ids": list(ids)})
    return {OrderId(row.order_id): Nowhere(int(row.units), row.elsewhere) for row in rows}


async def missing(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, int]:
    """Units of each order that were sold beyond what there was; an order without any is missing."""
    line = order_line.c
    rows = await tx.execute(
        select(line.order_id, func.sum(oversale.c.units).label("units"))
        .join(oversale, oversale.c.order_line_id == line.id)
        .where(among(line.order_id, ids))
        .group_by(line.order_id)
    )
    return {OrderId(row.order_id): int(row.units) for row in rows}
