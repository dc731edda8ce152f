"""How fast each channel sells what we ship ourselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, Sku

# A kit's sale is one of its components, too.
_SOLD = text(
    """
    with wanted as (
        select unnest(cast(:skus as text[])) sku
    ), sold_as as (
        select sku, sku as line_sku, 1 as units from wanted
        union all
        select kit_component.component, kit_component.kit, kit_component.quantity
        from wanted join kit_component on kit_component.component = wanted.sku
    )
    select sold_as.sku, sale.channel, sum(line.quantity * sold_as.units) as units
    from sold_as
    join order_line line on line.sku = sold_as.line_sku
    join "order" sale on sale.id = line.order_id
    where sale.placed_at > now() - make_interval(days => :days)
      and sale.status <> 'CANCELLED' and sale.fulfilled_by = 'MERCHANT'
    group by sold_as.sku, sale.channel
    """
)


async def sold_per_day(tx: AsyncConnection, skus: Collection[Sku], days: int = 28) -> dict[Sku, dict[ChannelId, float]]:
    """Units a day of each SKU by channel, on average over the last `days`, in kits too; what sold nowhere is missing.

    Cancelled orders do not count, nor those that a channel ships from its own stock.
    """
    found: defaultdict[Sku, dict[ChannelId, float]] = defaultdict(dict)
    for row in await tx.execute(_SOLD, {"skus": list(skus), "days": days}):
        found[Sku(row.sku)][ChannelId(row.channel)] = float(row.units) / days
    return dict(found)
