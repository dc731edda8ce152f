"""Units held for orders that a marketplace has told of and that are not read yet, so that nobody else is sold them meanwhile.

A flood is told of in seconds and read in minutes, since marketplaces grant few calls. What is told is not believed all the same:
it is held for a time, as for a buyer at a checkout, and the order takes it over once it is read (store/handover.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.errors import Insufficient, Invalid
from domain.hint import Hint
from domain.ids import ChannelId, ReservationId, Sku, order_id
from domain.reservation import Reservation, ReservedLine
from store import handover, kit, ledger, marks, order, reservation
from store.session import storable
from store.tables import reservation as reservation_table

# A marketplace may be away, or a consent wait to be renewed, for a night.
HELD_S = reservation.LONGEST_TTL_S
# Between what is left and holding it others may take of it.
MOST_TRIES = 5


async def hold(tx: AsyncConnection, told: Hint, sku: Sku, units: int, places: Sequence[Location]) -> int:
    """Hold `units`, or what is left of them, for the order that is told of, unless that is known already; how many this has held.

    Only what one of `places` counts that is ours and sells to the channel, since orders take from no others. Repeating it changes
    nothing.
    """
    named, sku = storable(told.subject), Sku(storable(sku))
    id = order_id(told.channel, named)
    if await order.known(tx, {id}):
        return 0
    made_of = (await kit.components(tx, [sku])).get(sku, [(sku, 1)])
    parts = [part for part, _ in made_of]
    if not await _counted(tx, parts, told.channel, places):
        return 0
    if units > reservation.MOST_UNITS:
        raise Invalid(f"Nobody buys {units} units of a SKU at once.")
    made: Reservation | Insufficient | None = None
    for _ in range(MOST_TRIES):
        left = await _left(tx, parts)
        lines = [ReservedLine(part, min(left[part], each * units)) for part, each in made_of if left[part] > 0]
        if all(left[part] >= each * units for part, each in made_of):
            lines = [ReservedLine(sku, units)]
        made = await _reserve(tx, told.channel, named, sku, lines) if lines else None
        if not isinstance(made, Insufficient):
            break
    if not isinstance(made, Reservation):
        return 0
    # Under the locks of its SKUs, where `store.allocation.settle` looks for reservations: one of the two sees the other.
    if await order.known(tx, {id}):
        await reservation.release(tx, made.id, by=made.requested_by)
        return 0
    await marks.caused(tx, dict.fromkeys(parts, told.event_at))
    return sum(line.quantity for line in lines)


async def _left(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, int]:
    """What is left of each at places of ours: what lies in FBA covers nothing that we ship (store.allocation)."""
    return {sku: min(one.own, one.units) for sku, one in (await reservation.promisable(tx, skus)).items()}


async def let_go(tx: AsyncConnection, channel: ChannelId, name: str) -> None:
    """The channel has no such order: what is held for it, and for nobody else, is free."""
    r = reservation_table.c
    query = select(r.id).where(
        r.reference == storable(name),
        r.requested_by == _by(channel),
        r.committed_at.is_(None),
        r.released_at.is_(None),
    )
    ids = [ReservationId(id) for id in await tx.scalars(query.order_by(r.id).with_for_update())]
    await ledger.lock(tx, await handover.skus_of(tx, ids))
    for id in ids:
        await reservation.release(tx, id, by=_by(channel))


def _by(channel: ChannelId) -> str:
    return f"channel:{channel}"


async def _reserve(
    tx: AsyncConnection, channel: ChannelId, named: str, sku: Sku, lines: Sequence[ReservedLine]
) -> Reservation | Insufficient | None:
    """The new reservation; None where it was made before."""
    try:
        made, new = await reservation.reserve(
            tx,
            requested_by=_by(channel),
            idempotency_key=f"{named}/{sku}",
            request_hash=named,  # who tells first counts
            lines=lines,
            ttl_s=HELD_S,
            channel=channel,
            reference=named,
        )
    except Insufficient as problem:
        return problem
    return made if new else None


async def _counted(tx: AsyncConnection, skus: Collection[Sku], channel: ChannelId, places: Sequence[Location]) -> bool:
    """Whether places of ours that sell to the channel count all of them."""
    codes = {one.code for one in places if one.ours and one.sells(channel)}
    known = await ledger.balances(tx, skus)
    return all(any(one.location in codes for one in known.get(sku, ())) for sku in skus)
