"""Units held for orders that a marketplace has told of and that are not read yet, so that nobody else is sold them meanwhile.

A flood is told of in seconds and read in minutes, since marketplaces grant few calls. What is told is not believed all the same:
it is held for a time, as for a buyer at a checkout, and the order takes it over once it is read (store/handover.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.errors import Insufficient
from domain.hint import Hint
from domain.ids import ChannelId, ChannelSku, Sku, order_id
from domain.reservation import Reservation, ReservedLine
from store import kit, ledger, marks, order, reservation
from store.session import storable
from store.tables import listing

# An order that is read later than that finds its units for sale again; a hint of an order that is none holds nothing for good.
HELD_S = 2 * 3600.0


async def hold(tx: AsyncConnection, told: Hint, channel_sku: ChannelSku, units: int, places: Sequence[Location]) -> int:
    """Hold `units`, or what is left of them, for the order that is told of, unless that is known already; how many this has held.

    Only what one of `places` counts that is ours and sells to the channel, since orders take from no others. Repeating it changes
    nothing.
    """
    named, offered = storable(told.subject), ChannelSku(storable(channel_sku))
    id = order_id(told.channel, named)
    if await order.known(tx, {id}):
        return 0
    sku = await _sku(tx, told, offered)
    if sku is None:
        return 0
    made_of = [part for part, _ in (await kit.components(tx, [sku])).get(sku, [])] or [sku]
    if not await _counted(tx, made_of, told.channel, places):
        return 0
    made = await _reserve(tx, told.channel, named, offered, ReservedLine(sku, units))
    if made is None and made_of == [sku] and (left := (await reservation.promisable(tx, [sku]))[sku]) > 0:
        units = left
        made = await _reserve(tx, told.channel, named, offered, ReservedLine(sku, left))
    if made is None:
        return 0
    # Under the locks of its SKUs, where `store.allocation.settle` looks for reservations: one of the two sees the other.
    if await order.known(tx, {id}):
        await reservation.release(tx, made.id, by=made.requested_by)
        return 0
    await marks.caused(tx, dict.fromkeys(made_of, told.event_at))
    return units


async def _reserve(
    tx: AsyncConnection, channel: ChannelId, named: str, offered: ChannelSku, line: ReservedLine
) -> Reservation | None:
    """The new reservation; None where there is not so much, or it was made before."""
    try:
        made, new = await reservation.reserve(
            tx,
            requested_by=f"channel:{channel}",
            idempotency_key=f"{named}/{offered}",
            request_hash=named,  # who tells first counts
            lines=[line],
            ttl_s=HELD_S,
            channel=channel,
            reference=named,
        )
    except Insufficient:
        return None
    return made if new else None


async def _sku(tx: AsyncConnection, told: Hint, channel_sku: ChannelSku) -> Sku | None:
    """Ours for the channel's, where its listings agree on one."""
    c = listing.c
    named = [c.channel == told.channel, c.channel_sku == channel_sku]
    if told.marketplace is not None:
        named.append(c.marketplace == told.marketplace)
    skus = (await tx.scalars(select(c.sku).where(*named).distinct())).all()
    return Sku(skus[0]) if len(skus) == 1 and skus[0] is not None else None


async def _counted(tx: AsyncConnection, skus: Collection[Sku], channel: ChannelId, places: Sequence[Location]) -> bool:
    """Whether places of ours that sell to the channel count all of them."""
    codes = {one.code for one in places if one.ours and one.sells(channel)}
    known = await ledger.balances(tx, skus)
    return all(any(one.location in codes for one in known.get(sku, ())) for sku in skus)
