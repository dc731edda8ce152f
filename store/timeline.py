"""What happened to orders, noted by whoever does it, in the transaction that does it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, OperationId, OrderId
from domain.ledger import Entry
from domain.operation import ItemStatus, Kind
from domain.timeline import Step, StepKind, Written
from store.ledger import entry_of
from store.session import AnyRow, among, storable
from store.tables import operation, operation_item, order_line, order_step, stock_entry
from store.tables.operation import ABOUT_AN_ORDER

c = order_step.c

_ABOUT = "order:"


async def note(tx: AsyncConnection, steps: Sequence[Step]) -> None:
    """Note each step, once by its order and key; the orders must be kept already."""
    timed = [_row(one) for one in steps if one.at is not None]
    now = [_row(one) for one in steps if one.at is None]
    for rows in (timed, now):
        if rows:
            await tx.execute(insert(order_step).on_conflict_do_nothing(), rows)


async def by_orders(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, list[Step]]:
    """The steps of each order, in the order in which they happened; an order without any is missing."""
    rows = await tx.execute(select(order_step).where(among(c.order_id, ids)).order_by(c.at, c.id))
    found: defaultdict[OrderId, list[Step]] = defaultdict(list)
    for row in rows:
        found[OrderId(row.order_id)].append(_step(row))
    return dict(found)


async def written(tx: AsyncConnection, ids: Collection[OrderId]) -> list[Written]:
    """The items of operations that changed, or were to change, these orders at their channels."""
    i, o = operation_item.c, operation.c
    rows = await tx.execute(
        select(operation_item, o.kind.label("operation_kind"), o.requested_by)
        .join(operation, o.id == i.operation_id)
        .where(among(i.resource, [f"{_ABOUT}{id}" for id in ids]), text(ABOUT_AN_ORDER), i.released)
        .order_by(i.id)
    )
    return [
        Written(
            order=OrderId(row.resource.removeprefix(_ABOUT)),
            item=row.id,
            channel=ChannelId(row.channel),
            operation=OperationId(row.operation_id),
            kind=Kind(row.operation_kind),
            requested_by=row.requested_by,
            status=ItemStatus(row.status),
            attempts=row.attempts,
            sent_at=row.sent_at,
            accepted_at=row.accepted_at,
            ended_at=row.ended_at,
            error_code=row.error_code,
            upstream_request_id=row.upstream_request_id,
        )
        for row in rows
    ]


async def moved(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, list[Entry]]:
    """The ledger's entries for the lines that the orders have, in the order of posting."""
    rows = await tx.execute(
        select(stock_entry, order_line.c.order_id)
        .join(order_line, order_line.c.id == stock_entry.c.order_line_id)
        .where(among(order_line.c.order_id, ids))
        .order_by(stock_entry.c.id)
    )
    found: defaultdict[OrderId, list[Entry]] = defaultdict(list)
    for row in rows:
        found[OrderId(row.order_id)].append(entry_of(row))
    return dict(found)


def _row(one: Step) -> dict[str, Any]:
    row = {
        "order_id": one.order,
        "key": storable(one.key),
        "kind": one.kind.value,
        "actor": one.actor,
        "words": storable(one.words),
        "operation_id": one.operation,
        "upstream_request_id": one.upstream_request_id,
    }
    return row if one.at is None else row | {"at": one.at}


def _step(row: AnyRow) -> Step:
    return Step(
        order=OrderId(row.order_id),
        kind=StepKind(row.kind),
        actor=row.actor,
        words=row.words,
        key=row.key,
        at=row.at,
        operation=None if row.operation_id is None else OperationId(row.operation_id),
        upstream_request_id=row.upstream_request_id,
    )
