"""What is told of parcels: kept first, then made confirmations of their orders, or kept as problems with their reasons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.carrier import sent_as
from domain.channel import Platform
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, LineId, OperationId, OrderId
from domain.operation import Kind, NewItem, OperationStatus
from domain.order import Order, OrderStatus
from domain.outbound import Whereabouts
from domain.retention import KEPT_FOR
from domain.shipment import Promises, ShipmentRequest, ShippedLine, item_of
from domain.timeline import Step, StepKind
from domain.tracking import (
    AGED,
    Became,
    NewRow,
    ParcelEvent,
    Problem,
    RowKind,
    RowState,
    Told,
    ToldEvent,
    ToldLine,
    ToldParcel,
    TrackingSource,
    event_of,
    names_of,
    parcel_of,
    retry_after,
)
from store import event, feed, operation, person, shipment, timeline
from store import order as orders_kept
from store.session import AnyRow, among, as_table, storable
from store.tables import order, parcel_event, tracking_row

t = tracking_row.c
o = order.c
e = parcel_event.c

FILE = "file"
"""The source of what came with files; the delivery is the file's digest."""

INVALID = Invalid.code


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is kept; `channels` are those that its sender may speak for, None for all."""

    id: int
    source: str
    delivery: str
    kind: RowKind
    number: int
    actor: str
    channels: frozenset[str] | None
    told: Mapping[str, Any]
    state: RowState
    tries: int
    at: datetime


async def take(
    tx: AsyncConnection, source: TrackingSource, delivery: str, contents: str, rows: Sequence[NewRow]
) -> bool:
    """Keep a delivery, once, however often it comes: False when it was kept before. `contents` is a hash of what it says.

    Raises Conflict where another delivery was kept under the same id.
    """
    if not await feed.first_time(tx, source.source, delivery, contents):
        return False
    await _insert(tx, source.source, delivery, source.id, source.channels, rows)
    return True


async def take_rows(tx: AsyncConnection, delivery: str, actor: str, rows: Sequence[NewRow]) -> list[tuple[Row, bool]]:
    """Keep rows of a file, each once: (row, whether it has come to something before), by number, locked until `tx` ends."""
    await _insert(tx, FILE, delivery, actor, None, rows)
    found = select(tracking_row).where(
        t.source == FILE, t.delivery == delivery, among(t.number, [one.number for one in rows])
    )
    kept = [_row(row) for row in await tx.execute(found.order_by(t.number).with_for_update())]
    return [(one, one.state is RowState.DONE) for one in kept]


async def claim(tx: AsyncConnection, limit: int) -> list[Row]:
    """Rows whose time it is, those that wait longest first; others pass them by until `tx` ends."""
    due = select(tracking_row).where(t.due_at <= func.clock_timestamp()).order_by(t.due_at, t.id).limit(limit)
    return [_row(row) for row in await tx.execute(due.with_for_update(skip_locked=True))]


async def hold(tx: AsyncConnection, rows: Sequence[Row]) -> list[Row]:
    """Those of `rows` that still wait, locked until `tx` ends."""
    waiting = select(tracking_row).where(among(t.id, [one.id for one in rows]), t.due_at.is_not(None)).order_by(t.id)
    return [_row(row) for row in await tx.execute(waiting.with_for_update(skip_locked=True))]


async def settle(
    tx: AsyncConnection, rows: Sequence[Row], platforms: Mapping[ChannelId, Platform], now: datetime
) -> dict[int, Became]:
    """What each of `rows`, which `tx` holds, comes to, by its id: the parcels of one delivery become one operation."""
    told = {one.id: (parcel_of if one.kind is RowKind.PARCEL else event_of)(one.told) for one in rows}
    orders = await _orders_of(tx, told.values())
    became: dict[int, Became] = {}
    parcels: list[tuple[Row, ToldParcel, OrderId]] = []
    events: list[tuple[Row, ToldEvent, list[OrderId]]] = []
    for row in rows:
        one = told[row.id]
        try:
            if isinstance(one, ToldParcel):
                parcels.append((row, one, orders.the(one.order, one.channel, row.channels)))
            else:
                events.append((row, one, orders.of_event(one, row.channels)))
        except Refused as problem:
            became[row.id] = Became(code=problem.code, reason=problem.message)
    became |= await _confirm(tx, parcels, platforms, now)
    became |= await _follow(tx, events)
    await _record(tx, rows, became, now)
    good = [(id, one.tracking_number) for row, one, id in parcels if became[row.id].code is None]
    if good:
        await _supersede(tx, good)
        await _wake_events(tx, {number for _, number in good})
    return became


async def broken(tx: AsyncConnection, rows: Sequence[Row], reason: str, now: datetime) -> None:
    """Rows that could not be settled, for no reason that they could have: they are looked at again."""
    await _record(tx, rows, {one.id: Became(code="INTERNAL", reason=reason) for one in rows}, now)


async def wake(tx: AsyncConnection, orders: Collection[Order]) -> None:
    """What found no place is looked at again: these orders are new, or have changed. Waits for nobody."""
    names = {name for one in orders for name in (one.id, one.external_id, one.refs.get("name")) if name}
    names |= {name.removeprefix("#") for name in names}
    numbers = {parcel.tracking_number for one in orders for parcel in one.shipments}
    waiting = select(t.id).where(
        t.state == RowState.PROBLEM.value,
        t.due_at.is_not(None),
        or_(among(t.order_name, names), and_(t.order_name.is_(None), among(t.tracking_number, numbers))),
    )
    statement = update(tracking_row).where(t.id.in_(waiting.with_for_update(skip_locked=True)))
    await tx.execute(statement.values(due_at=func.now()))


async def problems(
    tx: AsyncConnection, *, first: int, after: int | None = None, source: str | None = None
) -> tuple[list[Problem], bool]:
    """The next `first` problems, newest first, and whether there are more; `after` is the `id` of the last seen."""
    query = select(tracking_row).where(*_problems(source)).order_by(t.id.desc()).limit(first + 1)
    if after is not None:
        query = query.where(t.id < after)
    rows = (await tx.execute(query)).all()
    return [_problem(row) for row in rows[:first]], len(rows) > first


async def problems_count(tx: AsyncConnection, *, source: str | None = None) -> int:
    """How many `problems` would give in all."""
    query: Select[int] = select(func.count()).select_from(tracking_row)
    return await tx.scalar(query.where(*_problems(source))) or 0


async def events(tx: AsyncConnection, tracking_numbers: Collection[str]) -> dict[str, list[ParcelEvent]]:
    """Where parcels of these numbers were, in the order in which it happened; a number that nobody told of is missing."""
    rows = await tx.execute(
        select(parcel_event).where(among(e.tracking_number, tracking_numbers)).order_by(e.at, e.status, e.order_id)
    )
    found: defaultdict[str, list[ParcelEvent]] = defaultdict(list)
    for row in rows:
        found[row.tracking_number].append(
            ParcelEvent(OrderId(row.order_id), row.tracking_number, Whereabouts(row.status), row.at, row.source)
        )
    return dict(found)


async def forget(tx: AsyncConnection, before: datetime) -> int:
    """Forget rows that have come to something, and problems that are looked at no more, where they are older than `before`: at
    most 5,000; returns how many."""
    given_up = and_(t.state == RowState.PROBLEM.value, t.due_at.is_(None))
    old = select(t.id).where(or_(t.state == RowState.DONE.value, given_up), t.at < before).limit(5_000)
    return (await tx.execute(delete(tracking_row).where(t.id.in_(old)))).rowcount


async def _insert(
    tx: AsyncConnection,
    source: str,
    delivery: str,
    actor: str,
    channels: frozenset[ChannelId] | None,
    rows: Sequence[NewRow],
) -> None:
    common = {
        "source": source,
        "delivery": delivery,
        "actor": actor,
        "channels": None if channels is None else sorted(channels),
    }
    waiting = [common | _waiting(one, one.told) for one in rows if one.told is not None]
    if waiting:
        await tx.execute(insert(tracking_row).values(due_at=func.now()).on_conflict_do_nothing(), waiting)
    unread = [common | _unread(one) for one in rows if one.told is None]
    if unread:
        await tx.execute(insert(tracking_row).on_conflict_do_nothing(), unread)


def _waiting(one: NewRow, told: Told) -> dict[str, Any]:
    return {
        "kind": one.kind.value,
        "number": one.number,
        "told": told.to_json(),
        "state": RowState.WAITING.value,
        "order_name": told.order,
        "tracking_number": told.tracking_number,
    }


def _unread(one: NewRow) -> dict[str, Any]:
    return {
        "kind": one.kind.value,
        "number": one.number,
        "told": dict(one.kept or {}),
        "state": RowState.PROBLEM.value,
        "code": INVALID,
        "reason": storable(one.reason),
    }


@dataclass(frozen=True, slots=True)
class _Orders:
    """The orders that are spoken of: (id, channel) by what they are called, and by the numbers of their parcels."""

    named: Mapping[str, frozenset[tuple[OrderId, str]]]
    shipped: Mapping[str, frozenset[tuple[OrderId, str]]]

    def the(self, name: str, channel: str | None, allowed: frozenset[str] | None) -> OrderId:
        """The one that is called so. Raises NotFound, also for what the sender may not speak of, and Conflict for several."""
        found = {
            one
            for each in names_of(name)
            for one in self.named.get(each, ())
            if channel in (None, one[1]) and (allowed is None or one[1] in allowed)
        }
        if not found:
            of = "" if channel is None else f" of {channel}"
            raise NotFound(f"There is no order {name}{of} yet.")
        if len(found) > 1:
            raise Conflict(
                f"{name} is an order of {', '.join(sorted(one[1] for one in found))}; say which by `channel`, or by its id."
            )
        return found.pop()[0]

    def of_event(self, one: ToldEvent, allowed: frozenset[str] | None) -> list[OrderId]:
        """Those that the parcel is of. Raises NotFound, Conflict."""
        if one.order is not None:
            return [self.the(one.order, one.channel, allowed)]
        found = {
            order
            for order, channel in self.shipped.get(one.tracking_number, ())
            if one.channel in (None, channel) and (allowed is None or channel in allowed)
        }
        if not found:
            raise NotFound(f"No order has a parcel {one.tracking_number} yet.")
        return sorted(found)


async def _orders_of(tx: AsyncConnection, told: Iterable[ToldParcel | ToldEvent]) -> _Orders:
    names, numbers = set(), set()
    for one in told:
        if one.order is not None:
            names |= set(names_of(one.order))
        else:
            numbers.add(one.tracking_number)
    named: defaultdict[str, set[tuple[OrderId, str]]] = defaultdict(set)
    called = o.refs["name"].astext
    query = select(o.id, o.channel, o.external_id, called.label("name"))
    if names:
        by_name = query.where(or_(among(o.id, names), among(o.external_id, names), among(called, names)))
        for row in await tx.execute(by_name):
            for name in (row.id, row.external_id, row.name):
                if name is not None:
                    named[name].add((OrderId(row.id), row.channel))
    shipped = await _shipped(tx, numbers)
    return _Orders(
        {name: frozenset(found) for name, found in named.items()},
        {number: frozenset(found) for number, found in shipped.items()},
    )


async def _shipped(tx: AsyncConnection, numbers: Collection[str]) -> dict[str, set[tuple[OrderId, str]]]:
    """The orders with a parcel of each number: their channels show it, or it was told here."""
    found: defaultdict[str, set[tuple[OrderId, str]]] = defaultdict(set)
    if numbers:
        asked = as_table(number=sorted(numbers))
        shows = o.shipments.contains(func.jsonb_build_array(func.jsonb_build_object("tracking_number", asked.c.number)))
        for row in await tx.execute(select(asked.c.number, o.id, o.channel).join_from(asked, order, shows)):
            found[row.number].add((OrderId(row.id), row.channel))
        here = select(t.tracking_number, o.id, o.channel).join(order, o.id == t.order_id)
        done = here.where(
            among(t.tracking_number, numbers), t.state == RowState.DONE.value, t.kind == RowKind.PARCEL.value
        )
        for row in await tx.execute(done):
            found[row.tracking_number].add((OrderId(row.id), row.channel))
    return found


async def _confirm(
    tx: AsyncConnection,
    parcels: Sequence[tuple[Row, ToldParcel, OrderId]],
    platforms: Mapping[ChannelId, Platform],
    now: datetime,
) -> dict[int, Became]:
    """An operation for the parcels of each delivery; one that is known already is none again."""
    if not parcels:
        return {}
    orders, promises = await shipment.locked(tx, {id for _, _, id in parcels})
    before = await _told_before(tx, {id for _, _, id in parcels}, {told.tracking_number for _, told, _ in parcels})
    became: dict[int, Became] = {}
    items: defaultdict[tuple[str, str, str], list[tuple[Row, ToldParcel, Order, NewItem]]] = defaultdict(list)
    for row, told, id in parcels:
        found = orders[id]
        known = _known(told, found, promises)
        first = before.get((id, told.tracking_number))
        if known and first is not None and not _same(first, told):
            reason = f"Another parcel {told.tracking_number} of order {found.external_id} was told before."
            became[row.id] = Became(id, code=Conflict.code, reason=reason)
            continue
        if known:
            became[row.id] = Became(id, already=True)
            continue
        try:
            item = item_of(_request(told, found, promises), orders, promises, platforms, now)
        except Refused as problem:
            became[row.id] = Became(id, code=problem.code, reason=problem.message)
            continue
        promises.add(item.payload)
        before[id, told.tracking_number] = told
        items[row.source, row.delivery, row.actor].append((row, told, found, item))
    for (_, delivery, actor), made in items.items():
        operation_id = await _operation(tx, actor, delivery, [item for *_, item in made])
        for row, _, found, _ in made:
            became[row.id] = Became(found.id, operation_id)
        await timeline.note(tx, [_step(row, item, found.id, operation_id) for row, _, found, item in made])
    return became


def _known(told: ToldParcel, found: Order, promises: Promises) -> bool:
    number = told.tracking_number
    return (found.id, number) in promises.parcels or any(one.tracking_number == number for one in found.shipments)


def _same(one: ToldParcel, other: ToldParcel) -> bool:
    """Whether two may tell of the same parcel: when it left is told more or less exactly, and what is in it not by everybody."""
    if sent_as(one.carrier, Platform.REST).name != sent_as(other.carrier, Platform.REST).name:
        return False
    return one.lines is None or other.lines is None or sorted(one.lines, key=str) == sorted(other.lines, key=str)


async def _told_before(
    tx: AsyncConnection, orders: Collection[OrderId], numbers: Collection[str]
) -> dict[tuple[OrderId, str], ToldParcel]:
    """Parcels as they were told first, by order and number."""
    rows = await tx.execute(
        select(t.order_id, t.tracking_number, t.told)
        .where(
            among(t.order_id, orders),
            among(t.tracking_number, numbers),
            t.kind == RowKind.PARCEL.value,
            t.operation_id.is_not(None),
        )
        .order_by(t.id.desc())
    )
    return {(OrderId(row.order_id), row.tracking_number): parcel_of(row.told) for row in rows}


def _request(told: ToldParcel, found: Order, promises: Promises) -> ShipmentRequest:
    """As the mutation would ask for it. Raises NotFound, Invalid for lines that are none of the order's."""
    return ShipmentRequest(
        order=found.id,
        carrier=told.carrier,
        tracking_number=told.tracking_number,
        shipped_at=told.shipped_at,
        lines=None if told.lines is None else tuple(_shipped_lines(told.lines, found, promises)),
        service=told.service,
    )


def _shipped_lines(told: Sequence[ToldLine], found: Order, promises: Promises) -> Iterable[ShippedLine]:
    """The order's lines. Units of a SKU that stands on several of them are taken from those that are open, first things first."""
    left = {one.id: max(0, one.quantity_open - promises.units[found.id, one.external_id]) for one in found.lines}
    for one in told:
        if one.line is not None:
            named = next((line.id for line in found.lines if one.line in (line.id, line.external_id)), None)
            yield ShippedLine(named or LineId(one.line), one.quantity)
            continue
        of_sku = [line.id for line in found.lines if one.sku in (line.sku, line.channel_sku)]
        if not of_sku:
            raise NotFound(f"Order {found.external_id} has no line of the SKU {one.sku}.", field=("lines",))
        wanted = one.quantity
        for id in of_sku:
            units = wanted if id == of_sku[-1] else min(wanted, left[id])
            if units:
                yield ShippedLine(id, units)
            wanted, left[id] = wanted - units, left[id] - units


async def _operation(tx: AsyncConnection, actor: str, delivery: str, items: Sequence[NewItem]) -> OperationId:
    made, _ = await operation.create(
        tx,
        kind=Kind.CONFIRM_SHIPMENTS,
        requested_by=actor,
        idempotency_key=None,
        request_hash=delivery,
        dry_run=False,
        status=OperationStatus.QUEUED,
        items=items,
        correlation_id=delivery[:64],
    )
    return made.id


def _step(row: Row, item: NewItem, order: OrderId, operation: OperationId) -> Step:
    number, carrier = item.payload["tracking_number"], item.payload["carrier"]
    words = f"{row.actor} told of parcel {number} by {carrier}."
    return Step(order, StepKind.TRACKED, row.actor, words, f"parcel:{number}", operation=operation)


async def _follow(tx: AsyncConnection, events: Sequence[tuple[Row, ToldEvent, list[OrderId]]]) -> dict[int, Became]:
    """Keep where parcels were, each once, and tell of orders of which that is news."""
    became: dict[int, Became] = {}
    steps: list[Step] = []
    values = []
    for row, told, orders in events:
        became[row.id] = Became(orders[0])
        for id in orders:
            values.append(
                {
                    "order_id": id,
                    "tracking_number": told.tracking_number,
                    "status": told.status.value,
                    "at": told.at,
                    "source": row.source,
                }
            )
            key = f"parcel:{told.tracking_number}:{told.status.value}:{told.at.isoformat()}"
            words = f"Parcel {told.tracking_number}: {told.status.value.lower().replace('_', ' ')}."
            steps.append(Step(id, StepKind.TRACKED, row.actor, words, key, at=told.at))
    if not values:
        return became
    fresh = insert(parcel_event).on_conflict_do_nothing().returning(e.order_id)
    news = {OrderId(row.order_id) for row in await tx.execute(fresh, values)}
    await timeline.note(tx, steps)
    channels = await tx.execute(select(o.id, o.channel).where(among(o.id, news)).order_by(o.id))
    changed = [NewEvent(EventKind.ORDER_CHANGED, row.id, {"id": row.id, "channel": row.channel}) for row in channels]
    await event.append(tx, changed)
    arrived = {id for _, told, orders in events for id in orders if told.status is Whereabouts.DELIVERED} & news
    if arrived:
        await forget_who_has_it_all(tx, (await orders_kept.by_ids(tx, arrived)).values())
    return became


async def forget_who_has_it_all(tx: AsyncConnection, orders: Iterable[Order]) -> None:
    """Where it was told of each parcel of an order that it has arrived, the time until its buyer is forgotten counts from then,
    although its channel does not say so."""
    sent = {
        one.id: {parcel.tracking_number: parcel.shipped_at for parcel in one.shipments}
        for one in orders
        if one.status is OrderStatus.SHIPPED and one.shipments
    }
    if not sent:
        return
    first = select(e.order_id, e.tracking_number, func.min(e.at).label("at")).where(
        among(e.order_id, sent), e.status == Whereabouts.DELIVERED.value
    )
    arrived: defaultdict[OrderId, dict[str, datetime]] = defaultdict(dict)
    for row in await tx.execute(first.group_by(e.order_id, e.tracking_number)):
        parcels = sent[OrderId(row.order_id)]
        if row.tracking_number in parcels:
            # Nothing arrives before it has left: a clock is wrong, or the number had another parcel before.
            arrived[OrderId(row.order_id)][row.tracking_number] = max(row.at, parcels[row.tracking_number])
    whole = {id: max(found.values()) + KEPT_FOR for id, found in arrived.items() if len(found) == len(sent[id])}
    await person.forget_at(tx, whole)


async def _record(tx: AsyncConnection, rows: Sequence[Row], became: Mapping[int, Became], now: datetime) -> None:
    values = []
    for row in rows:
        one = became[row.id]
        again = one.code not in (None, INVALID) and now - row.at < AGED
        values.append(
            {
                "row": row.id,
                "state": (RowState.DONE if one.code is None else RowState.PROBLEM).value,
                "code": one.code,
                "reason": None if one.code is None else one.reason,
                "order_id": one.order,
                "operation_id": one.operation,
                "tries": row.tries + 1,
                "due_at": now + retry_after(row.tries) if again else None,
            }
        )
    names = [name for name in values[0] if name != "row"] if values else []
    if values:
        statement = (
            update(tracking_row).where(t.id == bindparam("row")).values({each: bindparam(each) for each in names})
        )
        await tx.execute(statement, values)


async def _supersede(tx: AsyncConnection, parcels: Sequence[tuple[OrderId, str]]) -> None:
    """What was told of a parcel in a way that can come to nothing is settled by its being told well."""
    good = as_table(order=[order for order, _ in parcels], number=[number for _, number in parcels])
    wrong = (
        select(t.id)
        .correlate(None)
        .where(
            t.order_id == good.c.order,
            t.tracking_number == good.c.number,
            t.kind == RowKind.PARCEL.value,
            t.state == RowState.PROBLEM.value,
            t.code == INVALID,
        )
    )
    # One that somebody has in hand, as a file that comes again does, waits for the order that is held here.
    statement = update(tracking_row).where(t.id.in_(wrong.with_for_update(of=tracking_row, skip_locked=True)))
    await tx.execute(statement.values(state=RowState.DONE.value, code=None, reason=None))


async def _wake_events(tx: AsyncConnection, numbers: Collection[str]) -> None:
    """Where a parcel is may be told before the parcel itself."""
    waiting = select(t.id).where(
        among(t.tracking_number, numbers), t.kind == RowKind.EVENT.value, t.state == RowState.PROBLEM.value
    )
    statement = update(tracking_row).where(t.id.in_(waiting.with_for_update(skip_locked=True)))
    await tx.execute(statement.values(due_at=func.now()))


def _problems(source: str | None) -> list[Any]:
    wanted = [t.state == RowState.PROBLEM.value]
    return wanted if source is None else [*wanted, t.source == source]


def _row(row: AnyRow) -> Row:
    return Row(
        id=row.id,
        source=row.source,
        delivery=row.delivery,
        kind=RowKind(row.kind),
        number=row.number,
        actor=row.actor,
        channels=None if row.channels is None else frozenset(row.channels),
        told=row.told,
        state=RowState(row.state),
        tries=row.tries,
        at=row.at,
    )


def _problem(row: AnyRow) -> Problem:
    return Problem(
        id=row.id,
        source=row.source,
        delivery=row.delivery,
        number=row.number,
        kind=RowKind(row.kind),
        told=row.told,
        code=row.code,
        reason=row.reason,
        at=row.at,
        tries=row.tries,
        retries_at=row.due_at,
    )
