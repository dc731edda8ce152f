"""Orders that another platform's stock ships: what it has taken, what it shows of it, and what that means for our own units.

Rows of one order are written under the lock of that order; `claim` says who looks at the platform next.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, ChannelSku, LineId, LocationCode, OperationId, OrderId, Sku
from domain.operation import Capability, NewItem, OperationStatus
from domain.order import Order
from domain.outbound import (
    ENDED,
    AtPool,
    Followed,
    FollowedPackage,
    FollowedReturn,
    LineState,
    OutboundPackage,
    OutboundState,
    OutboundStatus,
    Preview,
    Wanted,
    Whereabouts,
    preview_from_json,
    preview_to_json,
)
from domain.outbound_request import AtFba
from domain.outbound_return import ReturnCondition, ReturnedUnit
from domain.product import FulfilledBy
from domain.shipment import resource
from domain.timeline import Step, StepKind
from store import agenda, event, product, stock, timeline
from store.channel import not_paused
from store.session import AnyRow, among, from_now, storable
from store.tables import (
    operation,
    operation_item,
    order_person,
    outbound_line,
    outbound_order,
    outbound_package,
    outbound_return,
)
from store.tables import order as order_table
from store.tables.outbound import UNQUOTED

SHIP = "ship"
CANCEL = "cancel"
"""What an item of the capability OUTBOUND asks for, as `do` of its payload."""

o = outbound_order.c
p = outbound_package.c
i = operation_item.c


async def addressed(tx: AsyncConnection, ids: Collection[OrderId]) -> set[OrderId]:
    """Those of the orders of which it is kept who bought."""
    rows = await tx.scalars(select(order_person.c.order_id).where(among(order_person.c.order_id, ids)))
    return {OrderId(id) for id in rows}


async def offers(tx: AsyncConnection, skus: Collection[Sku], pools: Sequence[Location]) -> dict[Sku, list[AtFba]]:
    """Where `skus` lie in `pools`, each channel SKU once in a pool; one that nobody has counted there has no units."""
    units = {
        (each.location, each.channel_sku): max(0, each.on_hand - each.reserved)
        for told in (await stock.readings(tx, skus)).values()
        for each in told
    }
    found: dict[Sku, list[AtFba]] = {}
    for sku, listed in (await product.offerings(tx, skus)).items():
        keys = {
            (pool.code, each.channel_sku): None
            for each in listed
            for pool in pools
            if each.fulfilled_by is FulfilledBy.CHANNEL
            and each.channel == pool.keeper
            and each.marketplace in pool.marketplaces
        }
        found[sku] = [AtFba(code, theirs, units.get((code, theirs), 0)) for code, theirs in keys]
    return found


async def short(
    tx: AsyncConnection, channels: Collection[ChannelId], passed: Collection[OrderId], limit: int
) -> list[OrderId]:
    """At most `limit` open orders of these channels, placed within 30 days, that places of ours cannot ship whole, and of which
    no pool was asked yet; the one that must leave first comes first. Those `passed` by are left out."""
    rows = await tx.scalars(_SHORT, {"channels": list(channels), "passed": list(passed), "limit": limit})
    return [OrderId(id) for id in rows]


def rule_key(id: OrderId) -> str:
    """Under which a rule has an order shipped: once, whatever becomes of it."""
    return f"fba:{id}"


RULE = "acorn"
"""Who asks for what rules say."""


async def take(
    tx: AsyncConnection,
    wanted: Wanted,
    operation: OperationId,
    preview: Preview | None,
    upstream_request_id: str | None = None,
) -> bool:
    """The platform has it; to be looked at at once. False when that was written down before."""
    row = {
        "id": wanted.id,
        "order_id": wanted.order,
        "operation_id": operation,
        "channel": wanted.channel,
        "location": wanted.location,
        "wanted": wanted.to_json(),
        "preview": None if preview is None else preview_to_json(preview),
        "status": OutboundStatus.RECEIVED.value,
        "due_at": func.now(),
    }
    made = await tx.execute(insert(outbound_order).values(row).on_conflict_do_nothing().returning(o.id))
    if made.one_or_none() is None:
        return False
    lines = [
        {"outbound_id": wanted.id, "line_id": one.line, "channel_sku": one.channel_sku, "quantity": one.quantity}
        for one in wanted.lines
    ]
    await tx.execute(insert(outbound_line), lines)
    units = sum(one.quantity for one in wanted.lines)
    step = Step(
        order=wanted.order,
        kind=StepKind.OUTBOUND,
        actor=wanted.channel,
        words=f"{units} units are to be shipped from {wanted.location}, as {wanted.id}.",
        key=f"outbound {wanted.id} taken",
        operation=operation,
        upstream_request_id=upstream_request_id,
    )
    await timeline.note(tx, [step])
    await tell(tx, wanted.order)
    return True


async def tell(tx: AsyncConnection, id: OrderId) -> None:
    """Tell that something of the order has changed."""
    rows = await tx.execute(select(order_table.c.channel).where(order_table.c.id == id))
    await event.append(tx, [NewEvent(EventKind.ORDER_CHANGED, id, {"id": id, "channel": row.channel}) for row in rows])


async def by_orders(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, list[Followed]]:
    """What was taken of each order, the oldest first; an order of which nothing was is missing."""
    found: defaultdict[OrderId, list[Followed]] = defaultdict(list)
    for one in await _followed(tx, among(o.order_id, ids)):
        found[one.wanted.order].append(one)
    return dict(found)


async def by_ids(tx: AsyncConnection, ids: Collection[str]) -> dict[str, Followed]:
    """Those that there are, by our id."""
    return {one.wanted.id: one for one in await _followed(tx, among(o.id, ids))}


async def keep(tx: AsyncConnection, one: Followed, state: OutboundState, seen_at: datetime) -> Followed:
    """Keep what the platform shows of it now; the order is locked. Returns it as it then is."""
    await tx.execute(
        update(outbound_order)
        .where(o.id == one.wanted.id)
        .values(
            status=state.status.value,
            channel_status=storable(state.channel_status),
            seen_at=seen_at,
            failures=0,
            trouble=None,
        )
    )
    for line in state.lines:
        await tx.execute(
            update(outbound_line)
            .where(outbound_line.c.outbound_id == one.wanted.id, outbound_line.c.line_id == line.id)
            .values(cancelled=line.cancelled, unfulfillable=line.unfulfillable)
        )
    for package in state.packages:
        fresh = insert(outbound_package).values(_package_row(one.wanted.id, package))
        # What was known of its way is not forgotten because the platform cannot tell it just now.
        told = {name: func.coalesce(fresh.excluded[name], p[name]) for name in ("whereabouts", "channel_status")}
        same = ("carrier", "tracking_number", "shipped_at", "arrives_at", "lines")
        await tx.execute(
            fresh.on_conflict_do_update(
                index_elements=["outbound_id", "id"], set_={name: fresh.excluded[name] for name in same} | told
            )
        )
    return (await by_ids(tx, [one.wanted.id]))[one.wanted.id]


async def confirmed(tx: AsyncConnection, id: str, package: str, operation: OperationId) -> None:
    """The operation tells the channel that sold the order of this parcel; no other ever will."""
    values = {"operation_id": operation, "trouble": None}
    await tx.execute(update(outbound_package).where(p.outbound_id == id, p.id == package).values(values))


async def not_confirmed(tx: AsyncConnection, id: str, package: str, why: str) -> None:
    """Say why the channel that sold the order cannot be told of this parcel."""
    await tx.execute(update(outbound_package).where(p.outbound_id == id, p.id == package).values(trouble=why))


async def counted(tx: AsyncConnection, ids: Collection[str]) -> None:
    """From now on the platform's own count is without the units of these."""
    await tx.execute(
        update(outbound_order).where(among(o.id, ids), o.counted_at.is_(None)).values(counted_at=func.now())
    )


async def uncounted(
    tx: AsyncConnection, channels: Collection[ChannelId], passed: Collection[str], limit: int
) -> list[Followed]:
    """At most `limit` whose units the platform's own count may still show, the oldest first, without those `passed` by."""
    wanted = among(o.channel, channels), o.counted_at.is_(None), ~among(o.id, passed)
    return await _followed(tx, o.id.in_(select(o.id).where(*wanted).order_by(o.taken_at, o.id).limit(limit)))


async def claim(
    tx: AsyncConnection, channels: Collection[ChannelId], lease_s: float, limit: int = 50
) -> list[Followed]:
    """At most `limit` that are due to be looked at, what must leave soonest first. Nobody else gets them within `lease_s`."""
    due = (
        select(o.id)
        .join(order_table, order_table.c.id == o.order_id)
        .where(o.due_at <= func.now(), among(o.channel, channels), not_paused(o.channel))
        .order_by(order_table.c.ship_by.asc().nulls_last(), o.due_at, o.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=outbound_order)
        .cte("due")
    )
    rows = await tx.scalars(
        update(outbound_order).where(o.id == due.c.id).values(due_at=from_now(lease_s)).returning(o.id)
    )
    ids = list(rows)
    return await _followed(tx, among(o.id, ids)) if ids else []


async def look_in(tx: AsyncConnection, id: str, wait: timedelta | None) -> None:
    """Look again after so long; never where there is nothing more to see."""
    due_at = None if wait is None else from_now(wait.total_seconds())
    await tx.execute(update(outbound_order).where(o.id == id).values(due_at=due_at))


async def put_off(tx: AsyncConnection, id: str, wait_s: float, why: str) -> None:
    """Look again in `wait_s` seconds, and longer each time in a row up to 64 times that; `why` is for people."""
    longer = func.power(2, func.least(o.failures, 6))
    due_at = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, wait_s * longer)
    values = {"due_at": due_at, "failures": o.failures + 1, "trouble": storable(why)}
    await tx.execute(update(outbound_order).where(o.id == id).values(values))


async def at_work(tx: AsyncConnection, ids: Collection[OrderId]) -> set[OrderId]:
    """Those of the orders of which a pool is shipping something."""
    ended = [one.value for one in ENDED]
    rows = await tx.scalars(select(o.order_id).where(among(o.order_id, ids), ~among(o.status, ended)))
    return {OrderId(id) for id in rows}


async def about_to_leave(tx: AsyncConnection, ids: Collection[OrderId]) -> set[OrderId]:
    """Those of the orders of which a pool is shipping something that is still promised at our own places too."""
    ended = [one.value for one in ENDED]
    at_both = among(o.order_id, ids), ~among(o.status, ended), o.counted_at.is_(None)
    return {OrderId(id) for id in await tx.scalars(select(o.order_id).where(*at_both))}


async def hurry(tx: AsyncConnection, channel: ChannelId, ids: Collection[str]) -> int:
    """Have those of our ids looked at now; how many there are. One that was over may have come back."""
    done = await tx.execute(
        update(outbound_order).where(o.channel == channel, among(o.id, ids)).values(due_at=func.now())
    )
    return done.rowcount


async def units_held(tx: AsyncConnection, orders: Mapping[OrderId, Order]) -> Counter[tuple[OrderId, str]]:
    """Units by (order, its channel's line id) that a pool ships and that the channel does not show yet: those which it keeps,
    those in parcels of which nobody has told, and those of orders that it may be about to take."""
    held: Counter[tuple[OrderId, str]] = Counter()
    known: set[str] = set()
    for id, found in (await by_orders(tx, orders)).items():
        shown = {one.tracking_number for one in orders[id].shipments}
        for one in found:
            known.add(one.wanted.id)
            external = {str(line.line): line.external_id for line in one.wanted.lines}
            for line, units in one.units.items():
                held[id, external[line]] += units.kept
            for each in one.packages:
                package = each.package
                if package.shipped_at and each.confirmation is None and package.tracking_number not in shown:
                    for named, count in package.lines:
                        held[id, external[named]] += count
    for payload in await agenda.under_way(tx, Capability.OUTBOUND, [resource(id) for id in orders]):
        if payload["do"] == SHIP and payload["outbound_id"] not in known:
            wanted = Wanted.from_json(payload)
            for asked in wanted.lines:
                held[wanted.order, asked.external_id] += asked.quantity
    return held


def at_pools(found: Sequence[Followed]) -> dict[tuple[LocationCode, LineId], AtPool]:
    """The units of one order that pools have, as far as the pools' own counts are without them."""
    units: dict[tuple[LocationCode, LineId], AtPool] = {}
    for one in found:
        for line, more in one.units.items():
            if one.counted_at is not None:
                had = units.get((one.wanted.location, line), AtPool(0, 0))
                units[one.wanted.location, line] = AtPool(had.kept + more.kept, had.left + more.left)
    return units


# ── What is asked for ───────────────────────────────────────────────────────────────────────────────────────────────────────


def shipping(found: Order, wanted: Wanted) -> NewItem:
    """The item that has an order shipped."""
    return NewItem(
        channel=wanted.channel,
        capability=Capability.OUTBOUND,
        resource=resource(found.id),
        key=f"{found.channel}/{found.external_id}",
        payload={"do": SHIP, "external_id": found.external_id, **wanted.to_json()},
        after=json.dumps(after(wanted), ensure_ascii=False),
        deadline_at=found.ship_by,
    )


def stopping(found: Order, one: Followed) -> NewItem:
    """The item that has an order not shipped after all."""
    return NewItem(
        channel=one.wanted.channel,
        capability=Capability.OUTBOUND,
        resource=resource(found.id),
        key=f"{found.channel}/{found.external_id}",
        payload={
            "do": CANCEL,
            "external_id": found.external_id,
            "order_id": found.id,
            "outbound_id": one.wanted.id,
        },
        before=json.dumps({"status": one.channel_status or one.status.value}),
        after=json.dumps({"outbound": one.wanted.id, "status": OutboundStatus.CANCELLED.value}),
    )


def after(wanted: Wanted, quoted: Mapping[str, object] | None = None) -> dict[str, object]:
    """What an item tells people of what is to be; `quoted` is its preview, as soon as that is known."""
    return {
        "outbound": wanted.id,
        "location": wanted.location,
        "speed": wanted.speed.value,
        "policy": wanted.policy.value,
        "features": sorted(one.value for one in wanted.features),
        "lines": {one.external_id: one.quantity for one in wanted.lines},
        **(quoted or {}),
    }


# ── Previews ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unquoted:
    """An item that waits for people who want to know what it would cost."""

    item: int
    operation: OperationId
    wanted: Wanted


async def unquoted(tx: AsyncConnection, channels: Collection[ChannelId], lease_s: float) -> list[Unquoted]:
    """At most 20 items without a preview whose operations wait for people. Nobody else gets them within `lease_s`."""
    waiting = exists().where(
        operation.c.id == i.operation_id,
        operation.c.status.in_([OperationStatus.PREVIEW.value, OperationStatus.AWAITING_APPROVAL.value]),
    )
    due = (
        select(i.id)
        .where(
            text(UNQUOTED),  # word for word as its index has it
            i.payload["do"].astext == SHIP,
            or_(i.lease_until.is_(None), i.lease_until <= func.now()),
            among(i.channel, channels),
            not_paused(i.channel),
            waiting,
        )
        .order_by(i.id)
        .limit(20)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = await tx.execute(
        update(operation_item)
        .where(i.id == due.c.id)
        .values(lease_until=from_now(lease_s))
        .returning(i.id, i.operation_id, i.payload)
    )
    found = [Unquoted(row.id, OperationId(row.operation_id), Wanted.from_json(row.payload)) for row in rows]
    return sorted(found, key=lambda one: one.item)


async def quote(tx: AsyncConnection, one: Unquoted, told: Mapping[str, object], after: str) -> bool:
    """Keep what the preview told (`told`: `preview` or `refused`), and tell of it. False when somebody has decided meanwhile."""
    done = await tx.execute(
        update(operation_item)
        .where(i.id == one.item, ~i.released, i.status == "PENDING")
        .values(payload=i.payload.op("||")({"quote": dict(told)}), after=after, lease_until=None)
        .returning(i.id)
    )
    if done.one_or_none() is None:
        return False
    row = (await tx.execute(select(operation).where(operation.c.id == one.operation))).one()
    data = {name: row._mapping[name] for name in ("status", "kind", "total", "accepted", "verified", "failed")}
    await event.append(tx, [NewEvent(EventKind.OPERATION_CHANGED, one.operation, data)])
    return True


async def quote_later(tx: AsyncConnection, one: Unquoted, wait_s: float) -> None:
    """Ask again in `wait_s` seconds."""
    await tx.execute(update(operation_item).where(i.id == one.item, ~i.released).values(lease_until=from_now(wait_s)))


# A line is short where nothing of it is promised at a place of ours, or where those who ordered before take what lies there.
_SHORT = text(
    f"""
    with late as (
        select part.order_line_id from (
            select part.order_line_id, part.quantity, balance.on_hand, sum(part.quantity) over (
                partition by part.sku, part.location order by placed.placed_at, placed.id, part.order_line_id
            ) so_far
            from stock_balance balance
            join order_allocation part on part.sku = balance.sku and part.location = balance.location and part.quantity > 0
            join "order" placed on placed.id = part.order_id
            where balance.reserved > balance.on_hand
        ) part where so_far > on_hand
    )
    select kept.id from "order" kept
    where kept.channel = any(cast(:channels as text[])) and kept.status = 'UNSHIPPED' and kept.fulfilled_by = 'MERCHANT'
        and kept.held is null and kept.placed_at > now() - interval '30 days'
        and kept.id <> all(cast(:passed as text[]))
        and exists (
            select from order_line line
            where line.order_id = kept.id and line.quantity > line.quantity_shipped and (
                line.id in (select order_line_id from late)
                or not exists (
                    select from order_allocation part join stock_balance using (sku, location)
                    where part.order_line_id = line.id and part.quantity > 0
                )
            )
        )
        and not exists (select from outbound_order sent where sent.order_id = kept.id)
        and not exists (
            select from operation asked where asked.requested_by = '{RULE}' and asked.idempotency_key = 'fba:' || kept.id
        )
    order by kept.ship_by nulls last, kept.id limit :limit
    """  # noqa: S608 - a word of ours
)

# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _followed(tx: AsyncConnection, wanted: ColumnElement[bool]) -> list[Followed]:
    rows = (await tx.execute(select(outbound_order).where(wanted).order_by(o.taken_at, o.id))).all()
    ids = [row.id for row in rows]
    lines: defaultdict[str, list[LineState]] = defaultdict(list)
    packages: defaultdict[str, list[FollowedPackage]] = defaultdict(list)
    if ids:
        c = outbound_line.c
        for row in await tx.execute(select(outbound_line).where(among(c.outbound_id, ids)).order_by(c.line_id)):
            lines[row.outbound_id].append(
                LineState(row.line_id, ChannelSku(row.channel_sku), row.quantity, row.cancelled, row.unfulfillable)
            )
        shipped = p.shipped_at.asc().nulls_last()
        for row in await tx.execute(select(outbound_package).where(among(p.outbound_id, ids)).order_by(shipped, p.id)):
            packages[row.outbound_id].append(_package(row))
    returns = await _returns(tx, ids)
    return [_one(row, lines[row.id], packages[row.id], returns[row.id]) for row in rows]


async def _returns(tx: AsyncConnection, ids: Sequence[str]) -> defaultdict[str, list[FollowedReturn]]:
    found: defaultdict[str, list[FollowedReturn]] = defaultdict(list)
    if not ids:
        return found
    r = outbound_return.c
    for row in await tx.execute(
        select(outbound_return).where(among(r.outbound_id, ids)).order_by(r.announced_at, r.line_id, r.id)
    ):
        unit = ReturnedUnit(
            id=row.id,
            line_id=row.line_id,
            reason=row.reason,
            changed_at=row.changed_at,
            rma=row.rma,
            center=row.center,
            processed=row.processed,
            condition=None if row.condition is None else ReturnCondition(row.condition),
        )
        by = None if row.operation_id is None else OperationId(row.operation_id)
        found[row.outbound_id].append(FollowedReturn(unit, row.announced_at, by))
    return found


def _one(
    row: AnyRow,
    lines: Sequence[LineState],
    packages: Sequence[FollowedPackage],
    returns: Sequence[FollowedReturn],
) -> Followed:
    return Followed(
        wanted=Wanted.from_json(row.wanted),
        operation=OperationId(row.operation_id),
        status=OutboundStatus(row.status),
        channel_status=row.channel_status,
        taken_at=row.taken_at,
        lines=tuple(lines),
        packages=tuple(packages),
        counted_at=row.counted_at,
        seen_at=row.seen_at,
        due_at=row.due_at,
        preview=None if row.preview is None else preview_from_json(row.preview),
        trouble=row.trouble,
        returns=tuple(returns),
    )


def _package(row: AnyRow) -> FollowedPackage:
    return FollowedPackage(
        OutboundPackage(
            id=row.id,
            carrier=row.carrier,
            tracking_number=row.tracking_number,
            shipped_at=row.shipped_at,
            arrives_at=row.arrives_at,
            lines=tuple((str(line), int(units)) for line, units in row.lines),
            whereabouts=None if row.whereabouts is None else Whereabouts(row.whereabouts),
            channel_status=row.channel_status,
        ),
        None if row.operation_id is None else OperationId(row.operation_id),
        row.trouble,
    )


def _package_row(id: str, one: OutboundPackage) -> dict[str, Any]:
    return {
        "outbound_id": id,
        "id": one.id,
        "carrier": one.carrier,
        "tracking_number": one.tracking_number,
        "shipped_at": one.shipped_at,
        "arrives_at": one.arrives_at,
        "lines": [[line, units] for line, units in one.lines],
        "whereabouts": None if one.whereabouts is None else one.whereabouts.value,
        "channel_status": one.channel_status,
    }
