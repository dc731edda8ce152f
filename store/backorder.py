"""Orders that wait: for units that are announced, or for rules that let them be sent from somewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, LineId, LocationCode, OrderId, Sku
from domain.timeline import Step, StepKind
from store import allocation, event, ledger, order, timeline
from store.allocation_plan import ACTOR


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A line that waits for `units` at a place; of an order of a channel."""

    order: OrderId
    channel: ChannelId
    line: LineId
    sku: Sku
    place: LocationCode
    units: int


async def arrived(tx: AsyncConnection, limit: int = 20) -> list[OrderId]:
    """Give what has come to those who wait for it, the oldest order first; returns the orders. At most `limit` SKUs and places.

    Units that were sold beyond what there was are covered before those that wait by a rule.
    """
    places = [(Sku(row.sku), LocationCode(row.location)) for row in await tx.execute(_COME, {"limit": limit})]
    if not places:
        return []
    where = {"skus": [sku for sku, _ in places], "places": [code for _, code in places]}
    locked = await order.lock(tx, {OrderId(row.order_id) for row in await tx.execute(_WAITING, where)})
    await ledger.lock(tx, {sku for sku, _ in places})
    balances = await ledger.balances(tx, {sku for sku, _ in places})
    short = {
        (sku, one.location): max(0, one.reserved - one.on_hand) for sku, found in balances.items() for one in found
    }
    by_place: defaultdict[tuple[Sku, LocationCode], list[_Waiting]] = defaultdict(list)
    for row in await tx.execute(_WAITING, where):
        one = _Waiting(
            OrderId(row.order_id),
            ChannelId(row.channel),
            LineId(row.order_line_id),
            Sku(row.sku),
            LocationCode(row.location),
            row.backordered,
        )
        if one.order in locked:
            by_place[one.sku, one.place].append(one)
    served = [(one, units) for key, waiting in sorted(by_place.items()) for one, units in _served(waiting, short[key])]
    await _write(tx, served)
    return sorted({one.order for one, _ in served})


def _served(waiting: Sequence[_Waiting], short: int) -> list[tuple[_Waiting, int]]:
    """Who gets how many of the units that have come, while `short` are still missing there."""
    come = sum(one.units for one in waiting) - short
    served = []
    for one in waiting:
        units = min(one.units, come)
        if units > 0:
            served.append((one, units))
            come -= units
    return served


async def _write(tx: AsyncConnection, served: Sequence[tuple[_Waiting, int]]) -> None:
    if not served:
        return
    values = {
        "lines": [one.line for one, _ in served],
        "skus": [one.sku for one, _ in served],
        "places": [one.place for one, _ in served],
        "units": [units for _, units in served],
    }
    await tx.execute(_SERVE, values)
    steps = [
        Step(
            order=one.order,
            kind=StepKind.ALLOCATED,
            actor=ACTOR,
            words=f"{units} of {one.sku} that it waited for have come to {one.place}",
            key=f"come:{one.line}:{one.sku}:{one.place}:{one.units - units}",
        )
        for one, units in served
    ]
    await timeline.note(tx, steps)
    await _tell(tx, {one.order: one.channel for one, _ in served})


async def anew(tx: AsyncConnection, places: Sequence[Location], limit: int = 100) -> list[OrderId]:
    """Decide anew about at most `limit` orders for which older rules found no place; returns them."""
    rows = (await tx.execute(_UNPLACED, {"limit": limit})).all()
    ids = [OrderId(row.order_id) for row in rows]
    if ids:
        stored = await order.lock(tx, ids)
        await tx.execute(_DECIDED, {"ids": [row.id for row in rows]})
        await _tell(tx, {id: one.channel for id, one in stored.items()})
        await allocation.settle(tx, list(stored.values()), places)
    return ids


async def _tell(tx: AsyncConnection, orders: dict[OrderId, ChannelId]) -> None:
    told = [NewEvent(EventKind.ORDER_CHANGED, id, {"id": id, "channel": orders[id]}) for id in sorted(orders)]
    await event.append(tx, told)


_COME = text(
    """
    select waiting.sku, waiting.location
    from (
        select sku, location, sum(backordered) units from order_allocation where backordered > 0 group by sku, location
    ) waiting
    join stock_balance kept using (sku, location)
    where kept.on_hand + waiting.units > kept.reserved
    order by waiting.sku, waiting.location limit :limit
    """
)

_WAITING = text(
    """
    select part.*, kept.channel
    from unnest(cast(:skus as text[]), cast(:places as text[])) as come (sku, location)
    join order_allocation part using (sku, location)
    join "order" kept on kept.id = part.order_id
    where part.backordered > 0
    order by kept.placed_at, kept.id, part.order_line_id
    """
)

_SERVE = text(
    """
    update order_allocation kept set
        backordered = kept.backordered - served.units, changed_at = clock_timestamp(),
        expected_on = case when kept.backordered > served.units then kept.expected_on end
    from unnest(
        cast(:lines as text[]), cast(:skus as text[]), cast(:places as text[]), cast(:units as integer[])
    ) as served (line, sku, location, units)
    where kept.order_line_id = served.line and kept.sku = served.sku and kept.location = served.location
    """
)

_UNPLACED = text(
    """
    select made.id, made.order_id from sourcing_decision made
    where made.unplaced > 0 and made.version < (select max(version) from sourcing_rules)
        and not exists (
            select from sourcing_decision newer where newer.order_id = made.order_id and newer.id > made.id
        )
    order by made.id limit :limit
    """
)

_DECIDED = text("update sourcing_decision set unplaced = 0 where id = any(cast(:ids as bigint[]))")
