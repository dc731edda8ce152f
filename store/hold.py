"""Orders that we keep from going on, and the rules that do so as orders come in.

A hold is written under the lock of its order, whose row says in `held` what keeps it; allocation reads there whether the units
are still kept. So the locks of stock come last here too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.event import EventKind, NewEvent
from domain.hold import ACTOR, Conditions, Hold, HoldReason, HoldRule, NewHold, described, due, kept_until
from domain.ids import OrderId
from domain.order import OPEN, Order
from domain.timeline import Step, StepKind
from store import allocation, event, order, reservation, timeline
from store.session import AnyRow, among, storable
from store.tables import hold_rule, order_hold, order_line, oversale
from store.tables import order as order_table

c = order_hold.c
r = hold_rule.c


async def by_orders(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, list[Hold]]:
    """The holds of each order, ended ones included, oldest first; an order without any is missing."""
    rows = await tx.execute(select(order_hold).where(among(c.order_id, ids)).order_by(c.made_at, c.id))
    found: defaultdict[OrderId, list[Hold]] = defaultdict(list)
    for row in rows:
        found[OrderId(row.order_id)].append(_hold(row))
    return dict(found)


async def hold(tx: AsyncConnection, holds: Sequence[NewHold], at: datetime) -> set[OrderId]:
    """Hold orders that `tx` has locked; returns those that this changed. A hold of a rule that held its order before, and one of
    people for whose reason the order is held already, change nothing."""
    standing = await by_orders(tx, {one.order for one in holds})
    fresh: list[dict[str, Any]] = []
    for one in holds:
        before = standing.get(one.order, [])
        known = (one.rule is not None and any(old.rule == one.rule for old in before)) or (
            one.rule is None and any(old.open and old.rule is None and old.reason is one.reason for old in before)
        )
        if not known:
            fresh.append(_row(one, at))
            standing.setdefault(one.order, []).append(_hold_of(fresh[-1]))
    if not fresh:
        return set()
    await tx.execute(insert(order_hold), fresh)
    changed = {OrderId(row["order_id"]) for row in fresh}
    await _show(tx, {id: standing[id] for id in changed})
    await timeline.note(
        tx,
        [
            Step(OrderId(row["order_id"]), StepKind.HELD, row["made_by"], _held_words(row), f"hold:{row['id']}", at)
            for row in fresh
        ],
    )
    return changed


async def end(tx: AsyncConnection, orders: Collection[OrderId], by: str, at: datetime, *, words: str) -> set[OrderId]:
    """End the open holds of orders that `tx` has locked; returns the orders that this changed."""
    open_ones = update(order_hold).where(among(c.order_id, orders), c.ended_at.is_(None))
    rows = await tx.execute(open_ones.values(ended_at=at, ended_by=by).returning(order_hold))
    ended = [_hold(row) for row in rows]
    changed = {one.order for one in ended}
    standing = await by_orders(tx, changed)
    await _show(tx, {id: standing[id] for id in changed})
    await timeline.note(
        tx,
        [
            Step(one.order, StepKind.RELEASED, by, f"{one.reason.value}: {words}", f"release:{one.id}", at)
            for one in sorted(ended, key=lambda one: one.id)
        ],
    )
    return changed


async def tell(tx: AsyncConnection, changed: Collection[OrderId], places: Sequence[Location]) -> dict[OrderId, Order]:
    """Tell of orders whose holds changed, and bring their units in step; the orders as they stand. Takes the locks of stock."""
    kept = await order.by_ids(tx, changed)
    data = {id: {"id": id, "channel": one.channel} for id, one in kept.items()}
    await event.append(tx, [NewEvent(EventKind.ORDER_CHANGED, id, data[id]) for id in sorted(data)])
    await allocation.settle(tx, list(kept.values()), places)
    return kept


async def as_they_come(tx: AsyncConnection, orders: Sequence[Order], places: Sequence[Location]) -> set[OrderId]:
    """Hold those of the changed `orders`, which `tx` has settled, that rules ask for, and end the holds of those that have ended;
    returns the orders that this changed. It is told of them with the change itself.

    One that had lost its units takes them again, for as long as its new hold keeps them.
    """
    over = {one.id for one in orders if one.held is not None and one.status not in OPEN}
    asking = await rules(tx) if orders else []
    if not asking and not over and not any(one.cancellation_requested for one in orders):
        return set()
    at = await reservation.now(tx)
    asked = due(orders, asking, await _oversold(tx, orders), at)
    changed = await hold(tx, asked, at) if asked else set()
    if back := [one.id for one in orders if one.let_go and one.id in changed]:
        await allocation.settle(tx, list((await order.by_ids(tx, back)).values()), places)
    if over:
        changed |= await end(tx, over, ACTOR, at, words="the order has ended at its channel.")
    return changed


async def lapse(tx: AsyncConnection, now: datetime, places: Sequence[Location], limit: int = 100) -> int:
    """Give back the units of held orders whose time to keep them is over; how many holds were looked at.

    An order keeps its units while any of its holds does. The locks of stock come last.
    """
    late = [c.keeps_until <= now, c.ended_at.is_(None), c.lapsed_at.is_(None)]
    ids = [OrderId(id) for id in await tx.scalars(select(c.order_id).where(*late).order_by(c.keeps_until).limit(limit))]
    if not ids:
        return 0
    locked = await order.lock(tx, set(ids))
    statement = update(order_hold).where(among(c.order_id, locked), *late).values(lapsed_at=now).returning(c.id)
    looked = len((await tx.execute(statement)).all())
    standing = await by_orders(tx, locked)
    until = {id: kept_until(holds) for id, holds in standing.items()}
    gone = [id for id, at in sorted(until.items()) if at is not None and at <= now and not locked[id].let_go]
    await tx.execute(update(order_table).where(among(order_table.c.id, gone)).values(let_go=True))
    words = "It was held longer than it keeps its units: they are given back, and taken again when it is released."
    key = f"lapse:{now.isoformat()}"
    await timeline.note(tx, [Step(id, StepKind.ALLOCATED, ACTOR, words, key, now) for id in gone])
    await tell(tx, gone, places)
    return looked


async def rules(tx: AsyncConnection) -> list[HoldRule]:
    """The rules there are, by name."""
    return [_rule(row) for row in await tx.execute(select(hold_rule).order_by(r.name))]


async def save_rule(tx: AsyncConnection, rule: HoldRule, by: str) -> HoldRule:
    """Keep a rule in place of the one of its name, for orders that come in or change from now on. Raises Invalid."""
    rule.check()
    values = {
        "name": rule.name,
        "reason": rule.reason.value,
        "words": rule.words,
        "conditions": rule.conditions.told(),
        "keeps_s": None if rule.keeps is None else rule.keeps.total_seconds(),
        "approval": rule.approval,
        "made_by": by,
    }
    fresh = insert(hold_rule).values(values)
    statement = fresh.on_conflict_do_update(index_elements=["name"], set_=values).returning(hold_rule)
    return _rule((await tx.execute(statement)).one())


async def remove_rule(tx: AsyncConnection, name: str) -> HoldRule | None:
    """Forget the rule of that name; what it holds stays held."""
    row = (await tx.execute(delete(hold_rule).where(r.name == name).returning(hold_rule))).one_or_none()
    return None if row is None else _rule(row)


async def _show(tx: AsyncConnection, standing: dict[OrderId, list[Hold]]) -> None:
    """What keeps each order, on its own row; nothing keeps the units away from one that is held anew, or no more."""
    said = {id: described(holds) for id, holds in standing.items()}
    values = {
        "ids": list(standing),
        "held": [None if words is None else storable(words) for words in said.values()],
        "kept": [
            said[id] is None or any(one.open and one.lapsed_at is None for one in holds)
            for id, holds in standing.items()
        ],
    }
    if standing:
        await tx.execute(_SHOW, values)


async def _oversold(tx: AsyncConnection, orders: Sequence[Order]) -> set[OrderId]:
    line = order_line.c
    query = select(line.order_id).join(oversale, oversale.c.order_line_id == line.id)
    return {OrderId(id) for id in await tx.scalars(query.where(among(line.order_id, [one.id for one in orders])))}


_SHOW = text(
    """
    update "order" kept set held = said.words, let_go = kept.let_go and not said.keeps
    from unnest(cast(:ids as text[]), cast(:held as text[]), cast(:kept as boolean[])) as said (id, words, keeps)
    where kept.id = said.id
    """
)


def _held_words(row: dict[str, Any]) -> str:
    until = "" if row["keeps_until"] is None else f" Its units are kept until {row['keeps_until']:%Y-%m-%d %H:%M} UTC."
    return f"{row['reason']}: {row['words']}{until}"


def _row(one: NewHold, at: datetime) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "order_id": one.order,
        "reason": one.reason.value,
        "words": storable(one.words),
        "rule": one.rule,
        "approval": one.approval,
        "made_by": one.made_by,
        "made_at": at,
        "keeps_until": one.keeps_until,
    }


def _hold_of(row: dict[str, Any]) -> Hold:
    return Hold(
        id=row["id"],
        order=OrderId(row["order_id"]),
        reason=HoldReason(row["reason"]),
        words=row["words"],
        made_by=row["made_by"],
        made_at=row["made_at"],
        keeps_until=row["keeps_until"],
        approval=row["approval"],
        rule=row["rule"],
        lapsed_at=row.get("lapsed_at"),
        ended_at=row.get("ended_at"),
        ended_by=row.get("ended_by"),
    )


def _hold(row: AnyRow) -> Hold:
    return _hold_of(dict(row._mapping))


def _rule(row: AnyRow) -> HoldRule:
    return HoldRule(
        name=row.name,
        reason=HoldReason(row.reason),
        words=row.words,
        conditions=Conditions.read(row.conditions),
        keeps=None if row.keeps_s is None else timedelta(seconds=row.keeps_s),
        approval=row.approval,
        made_by=row.made_by,
        made_at=row.made_at,
    )
