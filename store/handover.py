"""What reservations hold is given to the orders that they became."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ReservationId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.order import Order
from store import reservation
from store.allocation_plan import ACTOR, SOURCE, Plan
from store.session import among
from store.tables import reservation as reservation_table
from store.tables import reservation_hold


async def named(tx: AsyncConnection, orders: Collection[Order]) -> dict[ReservationId, Order]:
    """The reservations that the orders came from; those that orders name themselves are held from here on.

    Buyers can write any name into an order: it gets no reservation of another order or another channel.
    """
    by_ref: defaultdict[ReservationId, list[Order]] = defaultdict(list)
    for one in sorted(orders, key=lambda one: (one.placed_at, one.id)):
        if one.refs.get("reservation"):
            by_ref[ReservationId(str(one.refs["reservation"]))].append(one)
    found: dict[ReservationId, Order] = {}
    if by_ref:
        r = reservation_table.c
        query = select(r.id, r.reference, r.channel).where(among(r.id, by_ref), r.released_at.is_(None))
        for row in await tx.execute(query.order_by(r.id).with_for_update()):
            id = ReservationId(row.id)
            for one in by_ref[id]:
                if row.reference in (None, one.external_id) and row.channel in (None, one.channel):
                    found.setdefault(id, one)
    return await bearing(tx, orders, lock=True) | found


async def bearing(tx: AsyncConnection, orders: Collection[Order], *, lock: bool = False) -> dict[ReservationId, Order]:
    """The reservations that were committed under the name of one of `orders`, or made for it ahead of it (store/ahead.py); held
    until `tx` ends where they are to be locked, which comes before any SKU is."""
    by_name = {(one.channel, one.external_id): one for one in orders}
    r = reservation_table.c
    query = select(r.id, r.channel, r.reference).where(
        among(r.reference, sorted({name for _, name in by_name})), r.released_at.is_(None)
    )
    rows = await tx.execute(query.order_by(r.id).with_for_update() if lock else query)
    found: dict[ReservationId, Order] = {}
    for row in rows:
        for (channel, name), one in by_name.items():
            if name == row.reference and row.channel in (None, channel):
                found[ReservationId(row.id)] = one
    return found


async def skus_of(tx: AsyncConnection, ids: Collection[ReservationId]) -> set[Sku]:
    """What the reservations are of."""
    if not ids:
        return set()
    h = reservation_hold.c
    return {Sku(sku) for sku in await tx.scalars(select(h.sku).where(among(h.reservation_id, ids)).distinct())}


async def take_over(tx: AsyncConnection, plan: Plan, named: Mapping[ReservationId, Order]) -> None:
    """What reservations hold, or have allocated, is given to the orders that they became; the rest of it is free."""
    live = await _live(tx, named)
    for (id, sku, place), units in sorted((await reservation.allocated(tx, live)).items()):
        plan.entries.append(
            NewEntry(
                sku=sku,
                location=place,
                kind=EntryKind.RELEASE,
                reason=f"order {named[id].external_id} has its units",
                actor=ACTOR,
                source=SOURCE,
                reserved=-units,
                reference=named[id].external_id,
                reservation=id,
            )
        )
        rest = plan.cover(named[id], sku, place, units)
        plan.promisable[sku] += rest
        plan.reserved[sku, place] -= rest
    h = reservation_hold.c
    query = select(h.reservation_id, h.sku, h.quantity).where(among(h.reservation_id, live), h.ended_at.is_(None))
    for row in await tx.execute(query.order_by(h.reservation_id, h.sku)):
        id, sku = ReservationId(row.reservation_id), Sku(row.sku)
        # No place of ours counts it: the hold is all that keeps it for the order.
        keep = sku not in plan.opened and any(wish.open for wish in plan.of(named[id], sku))
        plan.ends[id, sku] = not keep
        if not keep:
            plan.promisable[sku] += plan.cover(named[id], sku, None, row.quantity)


async def _live(tx: AsyncConnection, named: Mapping[ReservationId, Order]) -> list[ReservationId]:
    """Those of the reservations that hold or have allocated something; an open one is committed by its order."""
    r, h = reservation_table.c, reservation_hold.c
    ended = exists().where(h.reservation_id == r.id, h.ended_at.is_not(None))
    opened = update(reservation_table).where(
        among(r.id, named),
        r.committed_at.is_(None),
        r.released_at.is_(None),
        r.expires_at > func.clock_timestamp(),
        ~ended,
    )
    await tx.execute(opened.values(committed_at=func.clock_timestamp()))
    query = select(r.id, r.reference).where(among(r.id, named), r.committed_at.is_not(None), r.released_at.is_(None))
    live = (await tx.execute(query.order_by(r.id))).all()
    for row in live:
        if row.reference is None:
            # From here on it is this order's, whoever else names it.
            name = named[ReservationId(row.id)].external_id
            await tx.execute(update(reservation_table).where(r.id == row.id).values(reference=name))
    return [ReservationId(row.id) for row in live]
