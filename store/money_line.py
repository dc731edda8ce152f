"""Lines of money: added, and replaced by what is known better; never changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage
from store.session import AnyRow, among
from store.tables import estimate_due, money_line

c = money_line.c

AT_ONCE = 5_000
"""So many rows are added by one statement."""


def standing(known_at: datetime | None = None) -> ColumnElement[bool]:
    """The lines that hold now, or held by what was known at an instant."""
    if known_at is None:
        return c.replaced_at.is_(None)
    return (c.known_at <= known_at) & or_(c.replaced_at.is_(None), c.replaced_at > known_at)


async def add(tx: AsyncConnection, lines: Sequence[MoneyLine]) -> None:
    """Add lines, in their order, known from now on."""
    for first in range(0, len(lines), AT_ONCE):
        await tx.execute(insert(money_line), [_row(one) for one in lines[first : first + AT_ONCE]])


async def renew(
    tx: AsyncConnection, channel: ChannelId, source: Source, reference: str, lines: Sequence[MoneyLine], why: str
) -> bool:
    """Let exactly these lines stand for what a source tells under one reference; whether that changed anything. What stands
    already is left as it is; the caller has made sure that nobody else renews the same reference now."""
    held = await tx.execute(
        select(money_line).where(c.channel == channel, c.source == source.value, c.reference == reference, standing())
    )
    before = {row.id: line_of(row) for row in held}
    wanted = list(lines)
    gone = []
    for id, one in before.items():
        if one in wanted:
            wanted.remove(one)
        else:
            gone.append(id)
    if gone:
        await tx.execute(update(money_line).where(among(c.id, gone)).values(replaced_at=func.now(), replaced_why=why))
    await add(tx, wanted)
    return bool(gone or wanted)


async def billed(tx: AsyncConnection, orders: Collection[OrderId], why: str) -> None:
    """Somebody who knows has told money of these orders: what we had reckoned of them does not stand any more, and is reckoned
    anew for what nobody has billed yet. Call it in the transaction that adds the lines, so that nothing counts twice."""
    if not orders:
        return
    await tx.execute(
        update(money_line)
        .where(among(c.order_id, orders), c.source == Source.ESTIMATE.value, standing())
        .values(replaced_at=func.now(), replaced_why=why)
    )
    await estimate(tx, orders)


async def estimate(tx: AsyncConnection, orders: Collection[OrderId]) -> None:
    """What is reckoned of these orders is to be worked out anew."""
    if orders:
        rows = [{"order_id": one} for one in sorted(orders)]
        await tx.execute(upsert(estimate_due).on_conflict_do_nothing(), rows)


async def of_orders(
    tx: AsyncConnection, orders: Collection[OrderId], known_at: datetime | None = None
) -> list[MoneyLine]:
    """What stands of these orders, oldest line first."""
    rows = await tx.execute(select(money_line).where(among(c.order_id, orders), standing(known_at)).order_by(c.id))
    return list(map(line_of, rows))


def lines_of(rows: Iterable[AnyRow]) -> list[MoneyLine]:
    """Lines, of rows of `money_line`."""
    return list(map(line_of, rows))


def line_of(row: AnyRow) -> MoneyLine:
    """A line, of a row of `money_line`."""
    return MoneyLine(
        channel=ChannelId(row.channel),
        source=Source(row.source),
        stage=Stage(row.stage),
        event=Event(row.event),
        money_class=MoneyClass(row._mapping["class"]),
        amount=Money(row.amount, row.currency),
        posted_at=row.posted_at,
        day=row.day,
        kind=row.kind,
        amount_kind=row.amount_kind,
        description=row.description,
        reference=row.reference,
        settlement=row.settlement_id,
        row=row.row,
        marketplace=row.marketplace,
        order_external_id=row.order_external_id,
        shipment_id=row.shipment_id,
        adjustment_id=row.adjustment_id,
        item_id=row.item_id,
        channel_sku=None if row.channel_sku is None else ChannelSku(row.channel_sku),
        units=row.units,
        order_id=None if row.order_id is None else OrderId(row.order_id),
        order_line_id=None if row.order_line_id is None else LineId(row.order_line_id),
        sku=None if row.sku is None else Sku(row.sku),
        matched_by=row.matched_by,
        cause=None if row.cause is None else Cause(row.cause),
        extra=row.extra or {},
    )


def _row(one: MoneyLine) -> dict[str, Any]:
    return {
        "channel": one.channel,
        "marketplace": one.marketplace,
        "source": one.source.value,
        "stage": one.stage.value,
        "event": one.event.value,
        "class": one.money_class.value,
        "part": one.part.value,
        "kind": one.kind,
        "amount_kind": one.amount_kind,
        "description": one.description,
        "amount": one.amount.amount,
        "currency": one.amount.currency,
        "units": one.units,
        "posted_at": one.posted_at,
        "day": one.day,
        "reference": one.reference,
        "settlement_id": one.settlement,
        "row": one.row,
        "order_external_id": one.order_external_id,
        "shipment_id": one.shipment_id,
        "adjustment_id": one.adjustment_id,
        "item_id": one.item_id,
        "channel_sku": one.channel_sku,
        "order_id": one.order_id,
        "order_line_id": one.order_line_id,
        "sku": one.sku,
        "matched_by": one.matched_by,
        "cause": None if one.cause is None else one.cause.value,
        "extra": dict(one.extra) or None,
    }
