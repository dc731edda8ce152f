"""Labels that were bought: what was paid for them, how they stand, and their documents, encrypted until they are forgotten."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, LocationCode, OperationId, OrderId
from domain.label import KeptLabel, Label, LabelFormat, LabelStatus
from domain.money import Money
from domain.outbound import Whereabouts
from store import money
from store.keyring import Keyring
from store.session import AnyRow, among, storable
from store.tables import label, order_person

c = label.c

# All but the document, which is long.
_COLUMNS = [one for one in c if one.name != "sealed"] + [c.sealed.is_not(None).label("printable")]


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of a label; None leaves a part of it as it is. `missing` is "" where nothing is wrong any more."""

    status: LabelStatus | None = None
    price: Money | None = None
    tracking_number: str | None = None
    whereabouts: Whereabouts | None = None
    missing: str | None = None
    confirmed_by: OperationId | None = None


async def keep(tx: AsyncConnection, one: KeptLabel) -> bool:
    """Keep a label that was bought, without its document; False for one that is kept already."""
    values = {
        "id": one.id,
        "shop": one.shop,
        "order_id": one.order,
        "operation_id": one.operation,
        "location": one.location,
        "lines": [[line, units] for line, units in one.lines],
        "format": one.format.value,
        "status": one.status.value,
        "carrier": storable(one.carrier),
        "service": storable(one.service),
        **money.columns("price", one.price),
        "tracking_number": one.tracking_number,
        "shipment_id": one.shipment_id,
        "confirms_order": one.confirms_order,
        "confirmed_by": one.confirmed_by,
        "replaces": one.replaces,
        "missing": None if one.missing is None else storable(one.missing),
        "whereabouts": None if one.whereabouts is None else one.whereabouts.value,
        "bought_at": one.bought_at,
    }
    statement = insert(label).values(values).on_conflict_do_nothing(index_elements=["id"]).returning(c.id)
    return await tx.scalar(statement) is not None


async def change(tx: AsyncConnection, id: str, change: Change) -> None:
    """Keep what has become of a label."""
    values: dict[str, object] = {}
    if change.status is not None:
        values["status"] = change.status.value
    if change.price is not None:
        values |= money.columns("price", change.price)
    if change.tracking_number is not None:
        values["tracking_number"] = change.tracking_number
    if change.whereabouts is not None:
        values["whereabouts"] = change.whereabouts.value
    if change.missing is not None:
        values["missing"] = storable(change.missing) or None
    if change.confirmed_by is not None:
        values["confirmed_by"] = change.confirmed_by
    if values:
        await tx.execute(update(label).where(c.id == id).values(**values))


async def keep_document(tx: AsyncConnection, ring: Keyring, id: str, document: Label) -> None:
    """Keep what is to be printed, in the format in which it came, unless the buyer was forgotten meanwhile. Raises Invalid where
    there is no key to seal it with."""
    sealed = ring.seal(_name(id), base64.b64encode(document.data).decode())
    forgotten = exists().where(order_person.c.order_id == c.order_id, order_person.c.sealed.is_(None))
    await tx.execute(update(label).where(c.id == id, ~forgotten).values(sealed=sealed, format=document.format.value))


async def document(tx: AsyncConnection, ring: Keyring, id: str) -> Label | None:
    """What is to be printed; None where there is no such label, or its document is not kept (any more). Raises Unopened."""
    row = (await tx.execute(select(c.format, c.sealed).where(c.id == id))).one_or_none()
    if row is None or row.sealed is None:
        return None
    data = base64.b64decode(ring.open(_name(id), row.sealed))
    return Label(LabelFormat(row.format), data, hashlib.md5(data, usedforsecurity=False).hexdigest())


async def by_ids(tx: AsyncConnection, ids: Collection[str]) -> dict[str, KeptLabel]:
    """The labels there are of `ids`."""
    return {row.id: _label(row) for row in await tx.execute(select(*_COLUMNS).where(among(c.id, ids)))}


async def by_orders(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, list[KeptLabel]]:
    """The labels of each order in the order in which they were bought; an order without any is missing."""
    rows = await tx.execute(select(*_COLUMNS).where(among(c.order_id, ids)).order_by(c.bought_at, c.id))
    found: defaultdict[OrderId, list[KeptLabel]] = defaultdict(list)
    for row in rows:
        found[OrderId(row.order_id)].append(_label(row))
    return dict(found)


async def by_tracking_numbers(tx: AsyncConnection, numbers: Collection[str]) -> dict[str, KeptLabel]:
    """The label of each number; a number that several have is missing, for it names none of them."""
    rows = (await tx.execute(select(*_COLUMNS).where(among(c.tracking_number, numbers)))).all()
    found: defaultdict[str, list[AnyRow]] = defaultdict(list)
    for row in rows:
        found[row.tracking_number].append(row)
    return {number: _label(same[0]) for number, same in found.items() if len(same) == 1}


async def due(
    tx: AsyncConnection, *, bought_before: datetime, refunds_before: datetime, since: datetime, limit: int
) -> list[KeptLabel]:
    """At most `limit` labels of which it is time to ask how they stand: those that wait for money last looked at before
    `refunds_before`, others before `bought_before` and bought after `since`. They count as looked at now, and others pass them
    by.
    """
    waits: ColumnElement[bool] = and_(c.status == LabelStatus.REFUND_PENDING.value, c.checked_at < refunds_before)
    bought: ColumnElement[bool] = and_(
        c.status == LabelStatus.BOUGHT.value, c.checked_at < bought_before, c.bought_at > since
    )
    chosen = (
        select(c.id)
        .where(c.shipment_id.is_not(None), or_(waits, bought))
        .order_by(c.checked_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    rows = await tx.execute(
        update(label).where(c.id == chosen.c.id).values(checked_at=func.clock_timestamp()).returning(*_COLUMNS)
    )
    return [_label(row) for row in rows]


async def forget(tx: AsyncConnection, before: datetime, limit: int = 1000) -> int:
    """Forget at most `limit` documents of labels that were bought before then; what was paid stays. Returns how many."""
    old = select(c.id).where(c.sealed.is_not(None), c.bought_at < before).limit(limit).with_for_update(skip_locked=True)
    chosen = old.cte("chosen")
    return (await tx.execute(update(label).where(c.id == chosen.c.id).values(sealed=None, missing=None))).rowcount


async def forget_orders(tx: AsyncConnection, ids: Collection[OrderId]) -> int:
    """Forget the documents of these orders' labels at once; returns how many."""
    return (
        await tx.execute(
            update(label).where(among(c.order_id, ids), c.sealed.is_not(None)).values(sealed=None, missing=None)
        )
    ).rowcount


async def reseal(tx: AsyncConnection, ring: Keyring, after: str | None, limit: int = 100) -> str | None:
    """Seal at most `limit` documents behind `after` anew under the newest key; the last of them, None at the end.

    Raises Unopened for one that none of our keys opens.
    """
    query = select(c.id, c.sealed).where(c.sealed.is_not(None), c.id > (after or "")).order_by(c.id).limit(limit)
    rows = (await tx.execute(query.with_for_update())).all()
    for row in rows:
        await tx.execute(update(label).where(c.id == row.id).values(sealed=ring.anew(_name(row.id), row.sealed)))
    return str(rows[-1].id) if rows else None


def _name(id: str) -> str:
    return f"label {id}"


def _label(row: AnyRow) -> KeptLabel:
    price = money.value(row.price_amount, row.price_currency)
    assert price is not None
    return KeptLabel(
        id=row.id,
        shop=ChannelId(row.shop),
        order=OrderId(row.order_id),
        operation=OperationId(row.operation_id),
        location=LocationCode(row.location),
        lines=tuple((str(line), int(units)) for line, units in row.lines),
        format=LabelFormat(row.format),
        status=LabelStatus(row.status),
        carrier=row.carrier,
        service=row.service,
        price=price,
        tracking_number=row.tracking_number,
        shipment_id=row.shipment_id,
        confirms_order=row.confirms_order,
        confirmed_by=None if row.confirmed_by is None else OperationId(row.confirmed_by),
        replaces=row.replaces,
        missing=row.missing,
        whereabouts=None if row.whereabouts is None else Whereabouts(row.whereabouts),
        bought_at=row.bought_at,
        printable=row.printable,
    )
