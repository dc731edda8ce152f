"""Orders of all channels, as last told by each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, exists, func, or_, select, text, tuple_, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku
from domain.order import OPEN, SHIPPABLE, CancelledBy, Order, OrderLine, OrderStatus, Shipment
from domain.person import Destination
from domain.product import FulfilledBy
from store import locks, money, money_line
from store.session import AnyRow, among
from store.tables import order, order_line

c = order.c

# A row that is not there cannot be locked. Whoever waited for one to be written while holding others would wait in a circle.
_NEW = text(
    """
    select pg_advisory_xact_lock(:class, key) from (
        select distinct hashtext(asked.id) key from unnest(cast(:ids as text[])) as asked (id)
        where not exists (select from "order" kept where kept.id = asked.id) order by key
    ) missing
    """
)

_READ_AGAIN = text(
    """
    update "order" kept set read_at = again.at
    from unnest(cast(:ids as text[]), cast(:at as timestamptz[])) as again (id, at) where kept.id = again.id
    """
)

_MOVE_OVERSALES = text(
    """
    update oversale kept set order_line_id = lines.now
    from unnest(cast(:before as text[]), cast(:now as text[])) as lines (before, now)
    where kept.order_line_id = lines.before
    """
)

_NOW, _LONG_AGO = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)


async def upsert(tx: AsyncConnection, orders: Sequence[Order]) -> list[OrderId]:
    """Keep each order with its lines unless a better reading of it is kept; returns those that really changed.

    A whole order is better than a sketch, whatever their ages; of two of a kind the one with the newer `updated_at`, then the one
    that was read later. So what is kept follows from what was told, by whatever paths and in whatever order it came. A
    confirmation noted by `mark_confirmed` stays on its shipment when the platform does not tell of it.
    """
    newest = {one.id: one for one in sorted(orders, key=_rank)}
    if not newest:
        return []
    await claim(tx, newest)
    kept = await by_ids(tx, newest)
    changed: dict[OrderId, Order] = {}
    again: dict[OrderId, datetime] = {}
    for id in sorted(newest):
        before, now = kept.get(id), newest[id]
        if before is not None:
            now = replace(now, shipments=_confirmed(now.shipments, before.shipments))
        if before is None or (_better(now, before) and before != now):
            changed[id] = now
        elif now.read_at is not None and _better(now, before) and before.read_at != now.read_at:
            again[id] = now.read_at
    await _read_again(tx, again)
    await _completed(tx, [(kept[id], one) for id, one in changed.items() if id in kept])
    written = await _write(tx, changed)
    await money_line.estimate(tx, written)
    return written


async def claim(tx: AsyncConnection, ids: Collection[OrderId]) -> None:
    """Nobody else changes orders of these ids, or keeps the first version of one, until `tx` ends."""
    await tx.execute(_NEW, {"class": locks.NEW_ORDERS, "ids": list(ids)})
    await tx.execute(select(c.id).where(among(c.id, ids)).order_by(c.id).with_for_update())


def _rank(one: Order) -> tuple[bool, datetime, datetime]:
    """The greater the better. A reading of which nobody says when it was made is of now."""
    return one.whole, one.updated_at, one.read_at or _NOW


def _better(now: Order, before: Order) -> bool:
    """Whether `now` may take the place of `before`."""
    return _rank(now) >= (before.whole, before.updated_at, before.read_at or _LONG_AGO)


async def _read_again(tx: AsyncConnection, ids: dict[OrderId, datetime]) -> None:
    """They are known to stand at a later time as they stood before."""
    if ids:
        await tx.execute(_READ_AGAIN, {"ids": list(ids), "at": list(ids.values())})


async def _completed(tx: AsyncConnection, pairs: Sequence[tuple[Order, Order]]) -> None:
    """What was sold beyond stock by a line of a sketch was sold by the line that it turns out to be."""
    lines = {
        before.id: now.id
        for sketch, whole in pairs
        if whole.whole and not sketch.whole
        for before in sketch.lines
        for now in reversed(whole.lines)
        if now.channel_sku == before.channel_sku
    }
    if lines:
        await tx.execute(_MOVE_OVERSALES, {"before": list(lines), "now": list(lines.values())})


async def by_ids(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, Order]:
    """The orders there are of `ids`."""
    rows = await tx.execute(select(order).where(among(c.id, ids)))
    return {one.id: one for one in await _orders(tx, rows.all())}


async def known(tx: AsyncConnection, ids: Collection[OrderId]) -> set[OrderId]:
    """Those of `ids` that there are."""
    return {OrderId(id) for id in await tx.scalars(select(c.id).where(among(c.id, ids)))}


async def lock(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, Order]:
    """The orders there are of `ids`, held until `tx` ends, so that two callers do not promise the same units."""
    await tx.execute(select(c.id).where(among(c.id, ids)).order_by(c.id).with_for_update())
    return await by_ids(tx, ids)


async def page(
    tx: AsyncConnection,
    *,
    first: int,
    after: tuple[datetime, OrderId] | None = None,
    channel: ChannelId | None = None,
    marketplace: str | None = None,
    statuses: Collection[OrderStatus] | None = None,
    placed_from: datetime | None = None,
    placed_to: datetime | None = None,
    updated_from: datetime | None = None,
    sku: Sku | None = None,
    external_id: str | None = None,
) -> tuple[list[Order], bool]:
    """The next `first` orders, newest placed first, and whether there are more.

    `after` is (`placed_at`, `id`) of the last one seen. `placed_from` and `updated_from` are included, `placed_to` is not; `sku`
    asks for orders with a line of that SKU of ours.
    """
    wanted = _filter(channel, marketplace, statuses, placed_from, placed_to, updated_from, sku, external_id)
    query = select(order).where(*wanted).order_by(c.placed_at.desc(), c.id.desc()).limit(first + 1)
    if after is not None:
        query = query.where(tuple_(c.placed_at, c.id) < after)
    rows = (await tx.execute(query)).all()
    return await _orders(tx, rows[:first]), len(rows) > first


async def count(
    tx: AsyncConnection,
    *,
    channel: ChannelId | None = None,
    marketplace: str | None = None,
    statuses: Collection[OrderStatus] | None = None,
    placed_from: datetime | None = None,
    placed_to: datetime | None = None,
    updated_from: datetime | None = None,
    sku: Sku | None = None,
    external_id: str | None = None,
) -> int:
    """How many orders `page` would give in all."""
    wanted = _filter(channel, marketplace, statuses, placed_from, placed_to, updated_from, sku, external_id)
    query: Select[int] = select(func.count()).select_from(order)
    return await tx.scalar(query.where(*wanted)) or 0


async def mark_confirmed(tx: AsyncConnection, order_id: OrderId, tracking_number: str, at: datetime) -> bool:
    """The channel shows the parcel since `at`; False when the order has no such shipment (yet) or it was marked before."""
    rows = await tx.execute(select(c.shipments).where(c.id == order_id).with_for_update())
    row = rows.one_or_none()
    if row is None:
        return False
    before = [_shipment(one) for one in row.shipments]
    after = [
        replace(one, channel_confirmed_at=at)
        if one.tracking_number == tracking_number and one.channel_confirmed_at is None
        else one
        for one in before
    ]
    if after == before:
        return False
    await tx.execute(update(order).where(c.id == order_id).values(shipments=[_shipment_row(one) for one in after]))
    return True


async def add_shipped(
    tx: AsyncConnection, order_id: OrderId, tracking_number: str, lines: Sequence[tuple[str, int]]
) -> bool:
    """Count a parcel's `lines`, (the channel's line id, units), as shipped; whether that changed the order.

    For a parcel that was seen while its order could not be read. Never more than a line's quantity, and not at all when the
    order tells of the parcel already. `updated_at` stays the channel's, so that its next word replaces ours.
    """
    before = (await lock(tx, [order_id])).get(order_id)
    if before is None or any(one.tracking_number == tracking_number for one in before.shipments):
        return False
    units: Counter[str] = Counter()
    for line_id, count in lines:
        units[line_id] += count
    after = [_with_shipped(line, units[line.external_id]) for line in before.lines]
    if after == before.lines:
        return False
    for line in after:
        values = {"quantity_shipped": line.quantity_shipped}
        await tx.execute(update(order_line).where(order_line.c.id == line.id).values(**values))
    if before.status in SHIPPABLE:
        whole = not any(line.quantity_open for line in after)
        status = OrderStatus.SHIPPED if whole else OrderStatus.PARTIALLY_SHIPPED
        await tx.execute(update(order).where(c.id == order_id).values(status=status.value))
    return True


def _with_shipped(line: OrderLine, units: int) -> OrderLine:
    shipped = max(line.quantity_shipped, min(line.quantity, line.quantity_shipped + units))
    return replace(line, quantity_shipped=shipped)


def _filter(
    channel: ChannelId | None,
    marketplace: str | None,
    statuses: Collection[OrderStatus] | None,
    placed_from: datetime | None,
    placed_to: datetime | None,
    updated_from: datetime | None,
    sku: Sku | None,
    external_id: str | None,
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if channel is not None:
        wanted.append(c.channel == channel)
    if marketplace is not None:
        wanted.append(c.marketplace == marketplace)
    if statuses is not None:
        wanted.append(among(_standing(), [status.value for status in statuses]))
    if placed_from is not None:
        wanted.append(c.placed_at >= placed_from)
    if placed_to is not None:
        wanted.append(c.placed_at < placed_to)
    if updated_from is not None:
        wanted.append(c.updated_at >= updated_from)
    if sku is not None:
        wanted.append(exists().where(order_line.c.order_id == c.id, order_line.c.sku == sku))
    if external_id is not None:
        wanted.append(c.external_id == external_id)
    return wanted


def _standing() -> ColumnElement[str]:
    """As `Order.standing`."""
    ours = c.held.is_not(None) & among(c.status, [status.value for status in OPEN])
    return case((ours, OrderStatus.ON_HOLD.value), else_=c.status)


def _confirmed(shipments: list[Shipment], before: list[Shipment]) -> list[Shipment]:
    """`shipments` with the confirmations known from `before`."""
    known = {(one.reference, one.tracking_number): one.channel_confirmed_at for one in before}
    return [
        replace(one, channel_confirmed_at=one.channel_confirmed_at or known.get((one.reference, one.tracking_number)))
        for one in shipments
    ]


async def _write(tx: AsyncConnection, orders: dict[OrderId, Order]) -> list[OrderId]:
    if not orders:
        return []
    rows = [_row(one) for one in orders.values()]
    fresh = insert(order)
    statement = fresh.on_conflict_do_update(
        index_elements=["id"],
        set_={name: fresh.excluded[name] for name in rows[0] if name != "id"},
        # Somebody else may have told of a new order between our look and now.
        where=or_(
            c.whole < fresh.excluded.whole,
            and_(c.whole == fresh.excluded.whole, c.updated_at <= fresh.excluded.updated_at),
        ),
    ).returning(c.id)
    written = sorted(OrderId(row.id) for row in await tx.execute(statement, rows))
    await tx.execute(delete(order_line).where(among(order_line.c.order_id, written)))
    lines = [_line_row(orders[id], position, line) for id in written for position, line in enumerate(orders[id].lines)]
    if lines:
        await tx.execute(plain_insert(order_line), lines)
    return written


async def _orders(tx: AsyncConnection, rows: Sequence[AnyRow]) -> list[Order]:
    """The rows with their lines, in the same order."""
    lines: defaultdict[str, list[OrderLine]] = defaultdict(list)
    if rows:
        query = (
            select(order_line)
            .where(among(order_line.c.order_id, [row.id for row in rows]))
            .order_by(order_line.c.order_id, order_line.c.position)
        )
        for line in await tx.execute(query):
            lines[line.order_id].append(_line(line))
    return [_order(row, lines[row.id]) for row in rows]


def _row(one: Order) -> dict[str, Any]:
    return {
        "id": one.id,
        "channel": one.channel,
        "marketplace": one.marketplace,
        "external_id": one.external_id,
        "status": one.status.value,
        "channel_status": one.channel_status,
        "fulfilled_by": one.fulfilled_by.value,
        "placed_at": one.placed_at,
        "updated_at": one.updated_at,
        "ship_by": one.ship_by,
        "deliver_by": one.deliver_by,
        "service": one.service,
        "country": None if one.destination is None else one.destination.country,
        "area": None if one.destination is None else one.destination.area,
        **money.columns("total", one.total),
        "shipments": [_shipment_row(shipment) for shipment in one.shipments],
        "refs": dict(one.refs),
        "charges": money.parts(one.charges),
        **money.columns("charged", one.charged),
        "prices_with_tax": one.prices_with_tax,
        "delivered_at": one.delivered_at,
        "whole": one.whole,
        "read_at": one.read_at,
        "cancellation_requested": one.cancellation_requested,
    }


def _order(row: AnyRow, lines: Iterable[OrderLine]) -> Order:
    return Order(
        id=OrderId(row.id),
        channel=ChannelId(row.channel),
        marketplace=row.marketplace,
        external_id=row.external_id,
        status=OrderStatus(row.status),
        channel_status=row.channel_status,
        fulfilled_by=FulfilledBy(row.fulfilled_by),
        placed_at=row.placed_at,
        updated_at=row.updated_at,
        lines=list(lines),
        ship_by=row.ship_by,
        deliver_by=row.deliver_by,
        service=row.service,
        destination=None if row.country is None else Destination(row.country, row.area),
        total=money.value(row.total_amount, row.total_currency),
        shipments=[_shipment(one) for one in row.shipments],
        refs=row.refs,
        charges=money.charges(row.charges),
        charged=money.value(row.charged_amount, row.charged_currency),
        prices_with_tax=row.prices_with_tax,
        delivered_at=row.delivered_at,
        whole=row.whole,
        read_at=row.read_at,
        cancellation_requested=row.cancellation_requested,
        held=row.held,
        let_go=row.let_go,
    )


def _line_row(one: Order, position: int, line: OrderLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "order_id": one.id,
        "position": position,
        "external_id": line.external_id,
        "channel_sku": line.channel_sku,
        "sku": line.sku,
        "title": line.title,
        "quantity": line.quantity,
        "quantity_shipped": line.quantity_shipped,
        **money.columns("unit", line.unit_price),
        **money.columns("total", line.total),
        "quantity_cancelled": line.quantity_cancelled,
        "cancelled_by": None if line.cancelled_by is None else line.cancelled_by.value,
        "charges": money.parts(line.charges),
    }


def _line(row: AnyRow) -> OrderLine:
    return OrderLine(
        id=LineId(row.id),
        external_id=row.external_id,
        channel_sku=ChannelSku(row.channel_sku),
        quantity=row.quantity,
        quantity_shipped=row.quantity_shipped,
        sku=None if row.sku is None else Sku(row.sku),
        title=row.title,
        unit_price=money.value(row.unit_amount, row.unit_currency),
        total=money.value(row.total_amount, row.total_currency),
        quantity_cancelled=row.quantity_cancelled,
        cancelled_by=None if row.cancelled_by is None else CancelledBy(row.cancelled_by),
        charges=money.charges(row.charges),
    )


def _shipment_row(one: Shipment) -> dict[str, str | None]:
    return {
        "reference": one.reference,
        "carrier": one.carrier,
        "tracking_number": one.tracking_number,
        "shipped_at": one.shipped_at.isoformat(),
        "channel_confirmed_at": None if one.channel_confirmed_at is None else one.channel_confirmed_at.isoformat(),
        "label_url": one.label_url,
        **({} if one.service is None else {"service": one.service}),
    }


def _shipment(row: dict[str, Any]) -> Shipment:
    confirmed_at = row["channel_confirmed_at"]
    return Shipment(
        reference=row["reference"],
        carrier=row["carrier"],
        tracking_number=row["tracking_number"],
        shipped_at=datetime.fromisoformat(row["shipped_at"]),
        channel_confirmed_at=None if confirmed_at is None else datetime.fromisoformat(confirmed_at),
        label_url=row["label_url"],
        service=row.get("service"),
    )
