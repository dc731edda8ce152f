"""Units held for orders that a marketplace has told of and that are not read yet, so that nobody else is sold them meanwhile.

A flood is told of in seconds and read in minutes, since marketplaces grant few calls. What is told is not believed all the same:
it is held for a time, as for a buyer at a checkout, and the order takes it over once it is read (store/handover.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.errors import Insufficient
from domain.hint import Hint
from domain.ids import ChannelId, ChannelSku, Sku, order_id
from domain.reservation import ReservedLine
from store import kit, ledger, order, reservation
from store.session import storable
from store.tables import listing

# Longer than orders ever wait to be read; a hint of an order that is none holds nothing for good.
HELD_S = 2 * 3600.0


async def hold(
    tx: AsyncConnection, told: Hint, channel_sku: ChannelSku, units: int, places: Sequence[Location]
) -> bool:
    """Hold `units` for the order that is told of, unless that is known already; whether this has held them.

    Only what one of `places` counts that is ours and sells to the channel, since orders take from no others; nothing where there
    is not so much. Repeating it changes nothing.
    """
    named, offered = storable(told.subject), ChannelSku(storable(channel_sku))
    id = order_id(told.channel, named)
    if await order.known(tx, {id}):
        return False
    sku = await _sku(tx, told, offered)
    if sku is None or not await _counted(tx, sku, told.channel, places):
        return False
    by = f"channel:{told.channel}"
    try:
        made, new = await reservation.reserve(
            tx,
            requested_by=by,
            idempotency_key=f"{named}/{offered}",
            request_hash=named,  # who tells first counts
            lines=[ReservedLine(sku, units)],
            ttl_s=HELD_S,
            channel=told.channel,
            reference=named,
        )
    except Insufficient:
        return False
    # Under the locks of its SKUs, where `store.allocation.settle` looks for reservations: one of the two sees the other.
    if new and await order.known(tx, {id}):
        await reservation.release(tx, made.id, by=by)
        return False
    return new


async def _sku(tx: AsyncConnection, told: Hint, channel_sku: ChannelSku) -> Sku | None:
    """Ours for the channel's, where its listings agree on one."""
    c = listing.c
    named = [c.channel == told.channel, c.channel_sku == channel_sku]
    if told.marketplace is not None:
        named.append(c.marketplace == told.marketplace)
    skus = (await tx.scalars(select(c.sku).where(*named).distinct())).all()
    return Sku(skus[0]) if len(skus) == 1 and skus[0] is not None else None


async def _counted(tx: AsyncConnection, sku: Sku, channel: ChannelId, places: Sequence[Location]) -> bool:
    """Whether a place of ours that sells to the channel counts it, and all that it is made of."""
    codes = {one.code for one in places if one.ours and one.sells(channel)}
    parts = [part for part, _ in (await kit.components(tx, [sku])).get(sku, [])] or [sku]
    known = await ledger.balances(tx, parts)
    return all(any(one.location in codes for one in known.get(part, ())) for part in parts)
