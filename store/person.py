"""Who bought, encrypted and apart from the orders, until it is to be forgotten."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import orjson
from sqlalchemy import and_, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, OrderId
from domain.order import Order
from domain.person import Person
from domain.privacy import PrivacyKind
from domain.retention import TRANSIT, erase_at
from domain.timeline import Step, StepKind
from store import label, timeline
from store import order as orders_kept
from store.keyring import Keyring
from store.session import among
from store.tables import order, order_person, privacy_request

c = order_person.c

_OVER, _WISHED = "their time was over", "they wished it"


async def keep(tx: AsyncConnection, ring: Keyring, orders: Sequence[Order], transit: timedelta = TRANSIT) -> None:
    """Keep the persons that came with `orders`, unless a newer version told of them; the orders must be kept already.

    How long they are kept follows from the orders, also from those that came without; who was forgotten stays forgotten, and who
    wished it before the order came is never kept. Raises Invalid where there is a person and no key to seal it with.
    """
    await _keep(tx, ring, orders)
    ends: dict[OrderId, datetime] = {}
    for one in orders:
        at = erase_at(one, transit)
        ends[one.id] = min(at, ends.get(one.id, at))
    await forget_at(tx, ends)


_ENDS = text(
    """
    update order_person kept set
        erase_at = least(coalesce(kept.erase_at, ends.at), ends.at),
        sealed = case when least(coalesce(kept.erase_at, ends.at), ends.at) > clock_timestamp() then kept.sealed end
    from unnest(cast(:ids as text[]), cast(:at as timestamptz[])) as ends (id, at)
    where kept.order_id = ends.id and kept.sealed is not null
        and (kept.erase_at is null or kept.erase_at > ends.at or kept.erase_at <= clock_timestamp())
    returning case when kept.sealed is null then kept.order_id end
    """
)


async def _keep(tx: AsyncConnection, ring: Keyring, orders: Sequence[Order]) -> None:
    told = [one for one in sorted(orders, key=lambda one: (one.id, one.updated_at)) if one.person is not None]
    if not told:
        return
    wished = await _wished(tx, told)
    rows = [
        {
            "order_id": one.id,
            "sealed": None
            if one.id in wished or one.person is None
            else ring.seal(_name(one.id), orjson.dumps(one.person.to_json()).decode()),
            "told_at": one.updated_at,
        }
        for one in told
    ]
    fresh = insert(order_person)
    await tx.execute(
        fresh.on_conflict_do_update(
            index_elements=["order_id"],
            set_={"sealed": fresh.excluded.sealed, "told_at": fresh.excluded.told_at},
            where=and_(c.told_at <= fresh.excluded.told_at, c.sealed.is_not(None)),
        ),
        rows,
    )
    await _forgotten(tx, sorted(wished), _WISHED)


async def _wished(tx: AsyncConnection, orders: Sequence[Order]) -> set[OrderId]:
    """Those whose buyers have wished to be forgotten, whenever that was."""
    named = {(one.channel, one.external_id): one.id for one in orders}
    r, ids = privacy_request.c, literal([id for _, id in named], privacy_request.c.orders.type)
    query = select(r.channel, func.unnest(r.orders).label("external_id")).where(
        r.kind == PrivacyKind.BUYER_REDACT.value,
        among(r.channel, {channel for channel, _ in named}),
        r.orders.overlap(ids),
    )
    rows = (await tx.execute(query)).all()
    return {named[row.channel, row.external_id] for row in rows if (row.channel, row.external_id) in named}


async def by_orders(tx: AsyncConnection, ring: Keyring, ids: Collection[OrderId]) -> dict[OrderId, Person]:
    """The persons there are of the orders. Raises Unopened for one that none of our keys opens."""
    rows = await tx.execute(select(c.order_id, c.sealed).where(among(c.order_id, ids), c.sealed.is_not(None)))
    return {
        OrderId(row.order_id): Person.from_json(orjson.loads(ring.open(_name(OrderId(row.order_id)), row.sealed)))
        for row in rows
    }


async def forget_at(tx: AsyncConnection, ends: Mapping[OrderId, datetime]) -> None:
    """Forget the person of each order at its instant, or earlier where that was settled before: now, where it is over."""
    if not ends:
        return
    # By their ids, as all who lock several of them.
    ids = sorted(ends)
    gone = await tx.scalars(_ENDS, {"ids": ids, "at": [ends[id] for id in ids]})
    await _forgotten(tx, [id for id in gone if id is not None], _OVER)


async def forget(tx: AsyncConnection, now: datetime, limit: int = 5000) -> list[OrderId]:
    """Forget at most `limit` persons whose time is over; the orders whose they were."""
    over = and_(c.erase_at <= now, c.sealed.is_not(None))
    due = select(c.order_id).where(over).limit(limit).with_for_update(skip_locked=True).cte("due")
    gone = update(order_person).where(c.order_id == due.c.order_id).values(sealed=None).returning(c.order_id)
    return await _forgotten(tx, (await tx.scalars(gone)).all(), _OVER)


async def redact(tx: AsyncConnection, ids: Collection[OrderId]) -> list[OrderId]:
    """Forget the persons of these orders now, and whatever is told of them from now on, since they wished it; the orders whose
    they were. The requests must be kept already: of an order that comes later they are all that is remembered."""
    await orders_kept.claim(tx, ids)
    o = order.c
    theirs = select(o.id, o.updated_at).where(among(o.id, ids)).order_by(o.id)
    rows = [{"order_id": row.id, "told_at": row.updated_at} for row in await tx.execute(theirs)]
    if not rows:
        return []
    # A row for each of them, so that nothing fills it later.
    await tx.execute(insert(order_person).on_conflict_do_nothing(), rows)
    these = among(c.order_id, [row["order_id"] for row in rows])
    gone = update(order_person).where(these, c.sealed.is_not(None)).values(sealed=None).returning(c.order_id)
    await label.forget_orders(tx, [OrderId(row["order_id"]) for row in rows])
    return await _forgotten(tx, (await tx.scalars(gone)).all(), _WISHED)


async def told_of(tx: AsyncConnection, channel: ChannelId, since: datetime) -> tuple[int, int]:
    """How many orders of a channel were placed since then that we have to ship, and of how many it has told who bought."""
    o = order.c
    ours = and_(o.channel == channel, o.placed_at >= since, o.fulfilled_by == "MERCHANT", o.status != "PENDING")
    query = select(func.count(), func.count(c.order_id)).select_from(order).outerjoin(order_person).where(ours)
    found = (await tx.execute(query)).one()
    return found[0], found[1]


async def unopened(tx: AsyncConnection, ring: Keyring) -> int:
    """How many persons are kept that none of our keys opens."""
    rows = await tx.execute(select(c.order_id, c.sealed).where(c.sealed.is_not(None)))
    return len(ring.unopened((_name(OrderId(row.order_id)), row.sealed) for row in rows))


async def reseal(tx: AsyncConnection, ring: Keyring, after: OrderId, limit: int = 1000) -> OrderId | None:
    """Seal at most `limit` persons behind `after` anew under the newest key; the last of them, None at the end.

    Raises Unopened for one that none of our keys opens.
    """
    query = select(c.order_id, c.sealed).where(c.sealed.is_not(None)).order_by(c.order_id).limit(limit)
    rows = (await tx.execute(query.where(c.order_id > after).with_for_update())).all()
    for row in rows:
        anew = ring.anew(_name(OrderId(row.order_id)), row.sealed)
        await tx.execute(update(order_person).where(c.order_id == row.order_id).values(sealed=anew))
    return OrderId(rows[-1].order_id) if rows else None


async def _forgotten(tx: AsyncConnection, ids: Sequence[str], why: str) -> list[OrderId]:
    gone = [OrderId(id) for id in ids]
    if not gone:
        return []
    await label.forget_orders(tx, gone)
    words = f"Who bought was forgotten: {why}."
    await timeline.note(tx, [Step(id, StepKind.FORGOTTEN, "acorn", words, "forgotten") for id in gone])
    return gone


def _name(id: OrderId) -> str:
    return f"order person {id}"
