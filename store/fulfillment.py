"""From where orders are sent: what of each is promised at which own place, and moving that to another one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import date

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.errors import Conflict, NotFound
from domain.event import EventKind, NewEvent
from domain.fulfillment import Fulfillment, FulfillmentLine
from domain.ids import LineId, LocationCode, OrderId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.order import Order
from domain.sourcing_rules import keeps_away
from domain.timeline import Step, StepKind
from store import event, ledger, order, outbound, sourcing, timeline
from store.allocation_plan import BEFORE_OUR_TIME
from store.session import AnyRow, among
from store.tables import order_allocation

a = order_allocation.c


async def by_orders(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, list[Fulfillment]]:
    """What is promised at each place and has left from there, by place; an order of which nothing is or has is missing."""
    query = select(order_allocation).where(
        among(a.order_id, ids), a.quantity + a.shipped > 0, a.location != BEFORE_OUR_TIME
    )
    lines: defaultdict[tuple[OrderId, LocationCode], list[FulfillmentLine]] = defaultdict(list)
    for row in await tx.execute(query.order_by(a.order_id, a.location, a.order_line_id, a.sku)):
        lines[OrderId(row.order_id), LocationCode(row.location)].append(_line(row))
    found: defaultdict[OrderId, list[Fulfillment]] = defaultdict(list)
    for (id, code), its in lines.items():
        found[id].append(Fulfillment(id, code, tuple(its)))
    return dict(found)


async def move(
    tx: AsyncConnection, id: OrderId, code: LocationCode, to: Location, *, by: str, why: str, force: bool = False
) -> Order:
    """Promise what an order has at the place `code` at another one instead; what has left stays where it left.

    Raises NotFound where nothing is promised, and Conflict where the place may not send it or has too little: `force` does it
    all the same where rules are against it, never where units are missing.
    """
    kept = (await order.lock(tx, [id])).get(id)
    rows = (await tx.execute(_PROMISED, {"order": id, "place": code})).all()
    if kept is None or not rows:
        raise NotFound(f"Nothing of this order is promised at {code}; look at its `fulfillments` again.", field=("id",))
    if any(one.wanted.location == code for one in (await outbound.by_orders(tx, [id])).get(id, [])):
        raise Conflict(f"{code} is about to ship it; `cancelOutbound` gives its units back first.", field=("id",))
    if code == to.code:
        raise Conflict(f"It is at {code} already.", field=("toLocation",))
    if not to.ours or not to.sells(kept.channel):
        raise Conflict(
            f"{to.code} does not send for {kept.channel}: see `sells_to` in acorn.toml.", field=("toLocation",)
        )
    units: Counter[Sku] = Counter()
    for row in rows:
        units[Sku(row.sku)] += row.quantity
    if not force:
        await _allowed(tx, kept, units, to)
    await ledger.lock(tx, units)
    await _enough(tx, units, to)
    await ledger.post(tx, [entry for row in rows for entry in _entries(kept, row, to.code, by)])
    await tx.execute(_MOVE, {"order": id, "place": code, "to": to.code})
    await tx.execute(_GIVE_UP, {"order": id, "place": code})
    await tx.execute(_PARCELS, {"order": id, "place": code, "to": to.code})
    await _tell(tx, kept, units, code, to, by, why)
    return kept


async def _allowed(tx: AsyncConnection, one: Order, units: Collection[Sku], to: Location) -> None:
    rules = await sourcing.current(tx)
    if rules is None:
        return
    tags = await sourcing.tags(tx, units)
    for sku in sorted(units):
        reason = keeps_away(
            rules,
            to.code,
            sku,
            tags.get(sku, frozenset()),
            channel=one.channel,
            country=None if one.destination is None else one.destination.country,
            service=one.service,
        )
        if reason is not None:
            raise Conflict(
                f"{to.code} may not send {sku}: {reason}. Change the rules, or move it with `force`.",
                field=("toLocation",),
            )


async def _enough(tx: AsyncConnection, units: Counter[Sku], to: Location) -> None:
    known = await ledger.balances(tx, units)
    for sku, wanted in sorted(units.items()):
        free = sum(max(0, one.free) for one in known.get(sku, []) if one.location == to.code)
        if free < wanted:
            raise Conflict(
                f"{to.code} has {free} of {sku} free, and {wanted} are to be moved there.", field=("toLocation",)
            )


def _entries(one: Order, row: AnyRow, to: LocationCode, by: str) -> list[NewEntry]:
    def entry(kind: EntryKind, code: LocationCode, units: int) -> NewEntry:
        return NewEntry(
            sku=Sku(row.sku),
            location=code,
            kind=kind,
            reason=f"order {one.external_id} is sent from {to}",
            actor=by,
            source="mutation",
            reserved=units,
            reference=one.external_id,
            order_line=LineId(row.order_line_id),
        )

    released = entry(EntryKind.RELEASE, LocationCode(row.location), -row.quantity)
    return [released, entry(EntryKind.ALLOCATION, to, row.quantity)]


async def _tell(
    tx: AsyncConnection, one: Order, units: Counter[Sku], code: LocationCode, to: Location, by: str, why: str
) -> None:
    told = ", ".join(f"{count} of {sku}" for sku, count in sorted(units.items()))
    number = await tx.scalar(_MOVES, {"order": one.id})
    words = f"{told}: from {to.code} instead of {code}" + (f" ({why})" if why else "")
    await timeline.note(tx, [Step(one.id, StepKind.SOURCED, by, words, f"moved:{number}:{code}:{to.code}")])
    await event.append(tx, [NewEvent(EventKind.ORDER_CHANGED, one.id, {"id": one.id, "channel": one.channel})])


def _line(row: AnyRow) -> FulfillmentLine:
    expected: date | None = row.expected_on
    return FulfillmentLine(
        line=LineId(row.order_line_id),
        sku=Sku(row.sku),
        quantity=row.quantity + row.shipped,
        quantity_shipped=row.shipped,
        backordered=row.backordered,
        expected_on=expected,
    )


_PROMISED = text(
    """
    select * from order_allocation where order_id = :order and location = :place and quantity > 0
    order by order_line_id, sku
    """
)

_MOVE = text(
    """
    insert into order_allocation as kept (order_line_id, sku, location, order_id, quantity, changed_at)
    select order_line_id, sku, :to, order_id, quantity, clock_timestamp() from order_allocation
    where order_id = :order and location = :place and quantity > 0
    on conflict (order_line_id, sku, location) do update set
        quantity = kept.quantity + excluded.quantity, changed_at = excluded.changed_at
    """
)

_GIVE_UP = text(
    """
    update order_allocation set quantity = 0, backordered = 0, expected_on = null, changed_at = clock_timestamp()
    where order_id = :order and location = :place and quantity > 0
    """
)

# So that the other place's day counts it.
_PARCELS = text(
    """
    update sourcing_parcel moved set location = :to
    where decision_id in (select id from sourcing_decision where order_id = :order) and location = :place and not exists (
        select from sourcing_parcel other where other.decision_id = moved.decision_id and other.location = :to
    )
    """
)

_MOVES = text("select count(*) from order_step where order_id = :order and key like 'moved:%'")
