"""Who bought, encrypted and apart from the orders, until it is to be forgotten."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import orjson
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import OrderId
from domain.order import Order
from domain.person import Person
from store.keyring import Keyring
from store.session import among
from store.tables import order_person

c = order_person.c


async def keep(tx: AsyncConnection, ring: Keyring, orders: Sequence[Order]) -> None:
    """Keep the persons that came with `orders`, unless a newer version told of them; the orders must be kept already.

    Raises Invalid where there is a person and no key to seal it with.
    """
    rows = [
        {
            "order_id": one.id,
            "sealed": ring.seal(_name(one.id), orjson.dumps(one.person.to_json()).decode()),
            "told_at": one.updated_at,
        }
        for one in sorted(orders, key=lambda one: (one.id, one.updated_at))
        if one.person is not None
    ]
    if not rows:
        return
    fresh = insert(order_person)
    await tx.execute(
        fresh.on_conflict_do_update(
            index_elements=["order_id"],
            set_={"sealed": fresh.excluded.sealed, "told_at": fresh.excluded.told_at},
            where=c.told_at <= fresh.excluded.told_at,
        ),
        rows,
    )


async def by_orders(tx: AsyncConnection, ring: Keyring, ids: Collection[OrderId]) -> dict[OrderId, Person]:
    """The persons there are of the orders. Raises Unopened for one that none of our keys opens."""
    rows = await tx.execute(select(c.order_id, c.sealed).where(among(c.order_id, ids)))
    return {
        OrderId(row.order_id): Person.from_json(orjson.loads(ring.open(_name(OrderId(row.order_id)), row.sealed)))
        for row in rows
    }


async def forget_at(tx: AsyncConnection, ids: Collection[OrderId], at: datetime) -> None:
    """Forget the persons of the orders at that instant, or earlier where that was settled before."""
    await tx.execute(
        update(order_person)
        .where(among(c.order_id, ids))
        .values(erase_at=func.least(func.coalesce(c.erase_at, at), at))
    )


async def forget(tx: AsyncConnection, now: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` persons whose time is over; returns how many."""
    due = select(c.order_id).where(c.erase_at <= now).limit(limit).with_for_update(skip_locked=True).cte("due")
    return (await tx.execute(delete(order_person).where(c.order_id == due.c.order_id))).rowcount


def _name(id: OrderId) -> str:
    return f"order person {id}"
