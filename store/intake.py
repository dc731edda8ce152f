"""The one way an order comes in: kept, promised, and told, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.event import EventKind, NewEvent
from domain.ids import OrderId
from domain.order import Order
from domain.product import FulfilledBy
from domain.retention import TRANSIT
from domain.timeline import Step, StepKind
from store import allocation, channel_stock, event, hold, order, person, timeline, tracking, unread
from store.keyring import Keyring


async def keep_orders(
    tx: AsyncConnection,
    orders: Sequence[Order],
    places: Sequence[Location],
    ring: Keyring | None = None,
    *,
    path: str = "synchronization",
    transit: timedelta = TRANSIT,
) -> list[OrderId]:
    """Keep what is newer of `orders`, allocate what they want at `places`, and tell; returns those that really changed.

    Who bought is kept where a `ring` seals it. `path` is the way by which they came, in words for people,
    `transit` how long parcels travel where nobody tells.

    What is allocated follows the order as it is kept, so an older version of it changes nothing. The locks of stock come last:
    take no others in `tx` after this.
    """
    known = await order.known(tx, [one.id for one in orders])
    changed = await order.upsert(tx, orders)
    await unread.note(tx, orders)
    if ring is not None:
        await person.keep(tx, ring, orders, transit)
        await tracking.forget_who_has_it_all(tx, orders)
    told = [one.id for one in orders if one.id not in set(changed)]
    kept = await order.by_ids(tx, changed)
    calls = {(one.id, one.updated_at): one.upstream_request_id for one in orders}
    await timeline.note(
        tx,
        [_step(one, path, calls.get((id, one.updated_at)), new=id not in known) for id, one in sorted(kept.items())],
    )
    ours = [one for one in kept.values() if one.fulfilled_by is FulfilledBy.MERCHANT]
    await channel_stock.look_after_orders(
        tx, {(one.channel, line.sku) for one in ours for line in one.lines if line.sku is not None}
    )
    await event.append(
        tx,
        [NewEvent(EventKind.ORDER_CHANGED, id, {"id": id, "channel": kept[id].channel}) for id in sorted(changed)],
    )
    await tracking.wake(tx, list(kept.values()))
    await allocation.settle(tx, [*kept.values(), *await allocation.unsettled(tx, told)], places)
    await hold.as_they_come(tx, list(kept.values()), places)
    return changed


def _step(one: Order, path: str, call: str | None, *, new: bool) -> Step:
    """That it came, or came anew, by which call. A version is known by its time and by what it tells."""
    units, shipped = (sum(getattr(line, name) for line in one.lines) for name in ("quantity", "quantity_shipped"))
    told = f"{one.channel_status}, units: {units}, shipped: {shipped}"
    if one.shipments:
        told += f", parcels: {len(one.shipments)}"
    return Step(
        order=one.id,
        kind=StepKind.IMPORTED if new else StepKind.CHANGED,
        actor=one.channel,
        words=f"{told} (by {path})",
        key="imported" if new else f"changed:{one.updated_at.isoformat()}:{told}",
        at=None,
        upstream_request_id=call,
    )
