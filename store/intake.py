"""The one way an order comes in: kept, promised, and told, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.event import EventKind, NewEvent
from domain.ids import OrderId
from domain.order import Order
from domain.product import FulfilledBy
from store import allocation, channel_stock, event, order, person
from store.keyring import Keyring


async def keep_orders(
    tx: AsyncConnection, orders: Sequence[Order], places: Sequence[Location], ring: Keyring | None = None
) -> list[OrderId]:
    """Keep what is newer of `orders`, allocate what they want at `places`, and tell; returns those that really changed.

    Who bought is kept where a `ring` seals it.

    What is allocated follows the order as it is kept, so an older version of it changes nothing. The locks of stock come last:
    take no others in `tx` after this.
    """
    changed = await order.upsert(tx, orders)
    if ring is not None:
        await person.keep(tx, ring, orders)
    told = [one.id for one in orders if one.id not in set(changed)]
    kept = await order.by_ids(tx, changed)
    ours = [one for one in kept.values() if one.fulfilled_by is FulfilledBy.MERCHANT]
    await channel_stock.look_after_orders(
        tx, {(one.channel, line.sku) for one in ours for line in one.lines if line.sku is not None}
    )
    await event.append(
        tx,
        [NewEvent(EventKind.ORDER_CHANGED, id, {"id": id, "channel": kept[id].channel}) for id in sorted(changed)],
    )
    await allocation.settle(tx, [*kept.values(), *await allocation.unsettled(tx, told)], places)
    return changed
