"""What happened to orders, noted by whoever does it, in the transaction that does it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import OperationId, OrderId
from domain.timeline import Step, StepKind
from store.session import AnyRow, among, storable
from store.tables import order_step

c = order_step.c


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
