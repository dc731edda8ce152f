"""What orders take from the ledger: promised at first sight, shipped, given back, and each of it once.

`order_allocation` says how far that has come for each line, SKU and place; an order brings nothing new twice, by whatever road
and in whatever order its versions arrive. Locks are taken in the order of: orders, reservations, `sku_stock`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import policy
from domain.channel import Location, LocationKind
from domain.ids import LineId, LocationCode, OrderId, Sku
from domain.ledger import EntryKind
from domain.order import Order, OrderStatus
from domain.product import FulfilledBy
from domain.rule import FbaShare, holds_at
from domain.timeline import Step, StepKind
from store import facts, handover, kit, ledger, marks, order, oversale, reservation, rule, sourcing, timeline
from store.allocation_plan import ACTOR, Key, Plan, Wish, allocate, release_and_ship
from store.session import among
from store.tables import order_allocation

OPEN = (OrderStatus.PENDING, OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED, OrderStatus.ON_HOLD)


async def settle(tx: AsyncConnection, orders: Sequence[Order], places: Sequence[Location]) -> set[Sku]:
    """Bring what is promised and what has left in step with `orders`, as they are stored; returns the SKUs that changed.

    Open units of orders that we fulfill are allocated at those of `places` that are ours and sell to the order's channel, more
    than there are too: that is noted as an oversale, unless the channel may sell them where others count, by an FBA_SHARE or as
    its own; and the timeline tells of it in any case. Of a SKU that no own place counts nothing is taken. A reservation that an
    order names, or that bears the order's name, gives its units to the order.

    Where a set of rules holds, it chooses the places (domain.sourcing), and its decisions are kept with their reasons.
    """
    stored = await order.lock(tx, {one.id for one in orders})
    if not stored:
        return set()
    plan = await _wishes(tx, stored)
    _leave_to_pools(plan, places)
    named = await handover.named(tx, stored.values())
    differs = bool(named) or any(wish.differs for wish in plan.wishes.values())
    if not differs and all(wish.known for wish in plan.wishes.values()):
        return set()
    skus = {sku for _, sku in plan.wishes} | await handover.skus_of(tx, named)
    await ledger.lock(tx, skus)
    # Once more: one that was committed, or made ahead, meanwhile is seen now, or it sees us (store.reservation, store.ahead), and
    # an order that wants nothing lets go of it.
    late = await handover.bearing(tx, stored.values())
    if not differs and not late:
        return set()
    if late.keys() - named.keys():
        skus |= await handover.skus_of(tx, late)
        await ledger.lock(tx, skus)
    await _read(tx, plan, skus)
    await handover.take_over(tx, plan, named | late)
    release_and_ship(plan)
    await _read_beside(tx, plan, places)
    lacking = plan.lacking()
    desk = await sourcing.desk(tx, skus, lacking) if lacking else None
    await allocate(plan, places, desk)
    changed = await _write(tx, plan)
    if desk is not None:
        await sourcing.record(tx, desk.made, desk)
    return changed


async def lock(tx: AsyncConnection, orders: Sequence[Order], skus: Collection[Sku]) -> None:
    """Hold `orders`, `skus`, and what `settle` will count for the orders: for whoever posts before it settles.

    SKUs are locked in one order, all at once; somebody who holds some and asks for more meets another who does the reverse.
    """
    stored = await order.lock(tx, {one.id for one in orders})
    plan = await _wishes(tx, stored)
    named = await handover.skus_of(tx, await handover.named(tx, stored.values()))
    await ledger.lock(tx, {*skus, *(sku for _, sku in plan.wishes), *named})


async def leave_to_pools(
    tx: AsyncConnection, one: Order, units: Mapping[tuple[LocationCode, LineId], tuple[int, int]]
) -> None:
    """Units of the order's lines that pools have, as (kept, left) by pool and line: `settle` promises them nowhere else.

    The order is locked. No entry is posted: a pool is counted by its channel.
    """
    lines = {line for _, line in units}
    made_of = await _made_of(tx, [one], lines)
    rows = [
        (line, sku, place, kept * each, left * each)
        for (place, line), (kept, left) in sorted(units.items())
        for sku, each in made_of.get(line, [])
    ]
    if rows:
        names = ("lines", "skus", "places", "promised", "shipped")
        values = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        await tx.execute(_AT_POOLS, values | {"order": one.id})


async def unsettled(tx: AsyncConnection, ids: Collection[OrderId]) -> list[Order]:
    """Those of `ids` that we fulfill and of which nothing was ever allocated."""
    rows = await tx.scalars(_UNSETTLED, {"ids": list(ids)})
    return list((await order.by_ids(tx, [OrderId(id) for id in rows])).values())


async def waiting(tx: AsyncConnection, skus: Collection[Sku], limit: int = 500) -> list[Order]:
    """At most `limit` open orders that we fulfill, with a line of `skus` or of a kit with them of which nothing was allocated.

    For whoever opens the ledger of a SKU: what was ordered before still lies there, and `settle` promises it.
    """
    rows = await tx.scalars(_WAITING, {"skus": list(skus), "limit": limit})
    return list((await order.by_ids(tx, [OrderId(id) for id in rows])).values())


async def _wishes(tx: AsyncConnection, orders: Mapping[OrderId, Order]) -> Plan:
    """What the orders' lines want, and how far that has come; components in the place of kits."""
    a = order_allocation.c
    query = select(order_allocation).where(among(a.order_id, orders))
    rows = (await tx.execute(query.order_by(a.order_line_id, a.sku, a.location))).all()
    ours = [one for one in orders.values() if one.fulfilled_by is FulfilledBy.MERCHANT]
    made_of = await _made_of(tx, ours, {LineId(row.order_line_id) for row in rows})
    wishes: dict[Key, Wish] = {}
    for one in sorted(ours, key=lambda one: (one.placed_at, one.id)):
        for line in one.lines:
            wanted = line.quantity_open if one.status in OPEN and not one.let_go else 0
            for sku, units in made_of.get(line.id, []):
                assert line.sku is not None
                # A sketch's lines are to be replaced by those of the order: what has left is counted by these.
                shipped = line.quantity_shipped * units if one.whole else 0
                wishes[line.id, sku] = Wish(one, line.id, sku, line.sku, wanted * units, shipped)
    for row in rows:
        key = LineId(row.order_line_id), Sku(row.sku)
        # A line, or a component, that is there no more wants nothing, and what has left has left.
        wish = wishes.setdefault(key, Wish(orders[OrderId(row.order_id)], *key, key[1], 0, 0))
        wish.promised[LocationCode(row.location)] = row.quantity
        wish.left[LocationCode(row.location)] = row.shipped
        wish.backordered[LocationCode(row.location)] = row.backordered
        wish.expected_on[LocationCode(row.location)] = row.expected_on
    return Plan(wishes)


async def _made_of(
    tx: AsyncConnection, orders: Sequence[Order], known: Collection[LineId]
) -> dict[LineId, list[tuple[Sku, int]]]:
    """The (SKU, units) that each line takes from places. A kit whose units are promised stays what it was then."""
    skus = {line.id: line.sku for one in orders for line in one.lines if line.sku is not None}
    kits = await kit.components(tx, set(skus.values()))
    made_of = {line: kits.get(sku, [(sku, 1)]) for line, sku in skus.items()}
    asked = [line for line in skus if line in known]
    if asked:
        rows = await tx.execute(_KITS_THEN, {"lines": asked, "skus": [skus[line] for line in asked]})
        made_of |= {
            LineId(row.line): [(Sku(sku), units) for sku, units in sorted(row.components.items())] for row in rows
        }
    return made_of


def _leave_to_pools(plan: Plan, places: Sequence[Location]) -> None:
    """What the pools of channels have of each line is nothing that places of ours must promise, or have sent."""
    pools = {one.code for one in places if one.kind is LocationKind.FBA}
    for wish in plan.wishes.values():
        kept = sum(wish.promised.pop(place, 0) for place in pools)
        gone = sum(wish.left.pop(place, 0) for place in pools)
        if kept or gone:
            # Which parcels a channel means it does not say; those of the pool are seen to be shown first.
            shipped = max(0, wish.shipped - gone)
            ours = wish.wanted - kept - gone - max(shipped, sum(wish.left.values()))
            wish.open, wish.shipped = min(wish.open, max(0, ours)), shipped


async def _read(tx: AsyncConnection, plan: Plan, skus: Collection[Sku]) -> None:
    """The counts, under the locks of the SKUs."""
    for sku, found in (await ledger.balances(tx, skus)).items():
        for one in found:
            plan.on_hand[sku, one.location] = one.on_hand
            plan.reserved[sku, one.location] = one.reserved
            plan.inbound[sku, one.location] = one.inbound
    for sku, left in (await reservation.promisable(tx, skus)).items():
        plan.promisable[sku], plan.elsewhere[sku] = left.own, left.elsewhere
    plan.opened.update({Sku(row.sku): row.at for row in await tx.execute(_OPENED, {"skus": list(skus)})})


async def _read_beside(tx: AsyncConnection, plan: Plan, places: Sequence[Location]) -> None:
    """What the orders' channels may sell of what others count, of SKUs of which own places have too little."""
    short = plan.short()
    if not short:
        return
    now = await reservation.now(tx)
    rules = await rule.rules(tx)
    shares = any(isinstance(one.settings, FbaShare) and holds_at(one, now) for one in rules)
    counting = {one.keeper for one in places if one.kind is not LocationKind.FBA}
    if not shares and not any(wish.order.channel in counting for wish in plan.wishes.values()):
        return
    known = await facts.facts(
        tx, short, locations=places, now=now, default_safety_stock=0, max_age=timedelta(0), rules=rules
    )
    for key, wish in plan.wishes.items():
        if wish.sku in known:
            to = wish.order.destination
            buyer = None if to is None else policy.Destination(to.country)
            plan.beside[key] = policy.beside_own(known[wish.sku], wish.order.channel, now, buyer)


async def _write(tx: AsyncConnection, plan: Plan) -> set[Sku]:
    posted = await ledger.post(tx, plan.entries)
    await marks.caused(tx, _sold(plan))
    told = {one.sku for one in plan.entries}
    ended = {sku for (_, sku), ends in plan.ends.items() if ends}
    if plan.ends:
        values = {
            "ids": [id for id, _ in plan.ends],
            "skus": [sku for _, sku in plan.ends],
            "ends": list(plan.ends.values()),
            "at": posted[0].at if posted else await reservation.now(tx),
        }
        await tx.execute(_END, values)
        await ledger.tell(tx, ended - told)
    rows = [
        (wish, place)
        for _, wish in sorted(plan.wishes.items(), key=lambda one: one[0])
        for place in sorted(wish.touched)
    ]
    if rows:
        values = {
            "lines": [wish.line for wish, _ in rows],
            "skus": [wish.sku for wish, _ in rows],
            "places": [place for _, place in rows],
            "orders": [wish.order.id for wish, _ in rows],
            "promised": [wish.promised.get(place, 0) for wish, place in rows],
            "shipped": [wish.left.get(place, 0) for wish, place in rows],
            "backordered": [min(wish.backordered.get(place, 0), wish.promised.get(place, 0)) for wish, place in rows],
            "expected": [wish.expected_on.get(place) for wish, place in rows],
        }
        await tx.execute(_KEEP, values)
    if plan.beyond:
        await oversale.note(tx, [(plan.wishes[key], plan.beyond[key]) for key in sorted(plan.beyond)])
    # An entry was posted for each promise, and its id makes the step one of its own.
    steps = [_nowhere(wish, posted[0].id, plan) for wish in plan.wishes.values() if wish.nowhere]
    await timeline.note(tx, steps)
    return told | ended


def _nowhere(wish: Wish, entry: int, plan: Plan) -> Step:
    """What is promised and lies at no place of ours, told to people."""
    # Amazon ships the orders of shops, not its own that are ours to ship.
    fba = ", or FBA sends them (shipFromFba)" if wish.order.marketplace is None and plan.elsewhere.get(wish.sku) else ""
    return Step(
        order=wish.order.id,
        kind=StepKind.ALLOCATED,
        actor=ACTOR,
        words=f"{wish.nowhere} of {wish.sku} lie at no place of ours: they have to come{fba}",
        key=f"nowhere:{entry}:{wish.line}:{wish.sku}",
    )


def _sold(plan: Plan) -> dict[Sku, datetime]:
    """When the oldest of the orders that take units of each SKU was placed; what reservations had was for sale nowhere else."""
    sold: dict[Sku, datetime] = {}
    for entry in plan.entries:
        if entry.kind is EntryKind.ALLOCATION and entry.order_line is not None:
            wish = plan.wishes[entry.order_line, entry.sku]
            if wish.had < wish.open:
                sold[entry.sku] = min(sold.get(entry.sku, wish.order.placed_at), wish.order.placed_at)
    return sold


_IS_OPEN = "kept.status in (" + ", ".join(f"'{status.value}'" for status in OPEN) + ")"

_OPENED = text(
    """
    select sku, min(first.at) at from stock_balance kept cross join lateral (
        select at from stock_entry where sku = kept.sku and location = kept.location order by id limit 1
    ) first
    where sku = any(cast(:skus as text[])) group by sku
    """
)

_KITS_THEN = text(
    """
    select asked.line, past.components
    from unnest(cast(:lines as text[]), cast(:skus as text[])) as asked (line, sku)
    join kit_history past on past.kit = asked.sku
    cross join lateral (select min(at) at from stock_entry where order_line_id = asked.line) first
    where past.from_at <= first.at and past.until_at > first.at
    """
)

_UNSETTLED = text(
    """
    select id from "order" kept
    where id = any(cast(:ids as text[])) and fulfilled_by = 'MERCHANT' and status <> 'CANCELLED'
        and not exists (select from order_allocation where order_id = kept.id)
    """
)

_WAITING = text(
    f"""
    select distinct kept.id from order_line line join "order" kept on kept.id = line.order_id
    where line.sku = any(array(
            select unnest(cast(:skus as text[]))
            union select kit from kit_component where component = any(cast(:skus as text[]))
        ))
        and kept.fulfilled_by = 'MERCHANT' and {_IS_OPEN}
        and not exists (
            select from order_allocation where order_line_id = line.id and sku = any(cast(:skus as text[]))
        )
    order by kept.id limit :limit
    """  # noqa: S608 - words of ours
)

_KEEP = text(
    """
    insert into order_allocation as kept (
        order_line_id, sku, location, order_id, quantity, shipped, backordered, expected_on, changed_at
    )
    select line, sku, place, order_id, promised, shipped, backordered,
        case when backordered > 0 then expected_on end, clock_timestamp()
    from unnest(
        cast(:lines as text[]), cast(:skus as text[]), cast(:places as text[]), cast(:orders as text[]),
        cast(:promised as integer[]), cast(:shipped as integer[]), cast(:backordered as integer[]),
        cast(:expected as date[])
    ) as fresh (line, sku, place, order_id, promised, shipped, backordered, expected_on)
    on conflict (order_line_id, sku, location) do update set
        quantity = excluded.quantity, shipped = excluded.shipped, backordered = excluded.backordered,
        expected_on = excluded.expected_on, changed_at = excluded.changed_at
    """
)

_AT_POOLS = text(
    """
    insert into order_allocation as kept (order_line_id, sku, location, order_id, quantity, shipped, changed_at)
    select line, sku, place, :order, promised, shipped, clock_timestamp() from unnest(
        cast(:lines as text[]), cast(:skus as text[]), cast(:places as text[]), cast(:promised as integer[]),
        cast(:shipped as integer[])
    ) as fresh (line, sku, place, promised, shipped)
    on conflict (order_line_id, sku, location) do update set
        quantity = excluded.quantity, shipped = excluded.shipped, changed_at = excluded.changed_at
    where (kept.quantity, kept.shipped) is distinct from (excluded.quantity, excluded.shipped)
    """
)

_END = text(
    """
    update reservation_hold held set
        ended_at = case when ends.now then cast(:at as timestamptz) end,
        expires_at = case when ends.now then expires_at else 'infinity' end
    from unnest(cast(:ids as text[]), cast(:skus as text[]), cast(:ends as boolean[])) as ends (id, sku, now)
    where held.reservation_id = ends.id and held.sku = ends.sku and held.ended_at is null
    """
)
