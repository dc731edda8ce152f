"""Orders as they change, for those who follow them: an order that changed is read once, however many are told of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import partial

from domain.event import Event, EventKind
from domain.ids import OrderId
from domain.order import Order
from resolvers.cursor import read_place
from resolvers.followed import KnownOrder
from resolvers.order import OrderFilter
from resolvers.shelf import Shelf
from store import order

_CHANGES = frozenset({EventKind.ORDER_CHANGED})


async def follow(shelf: Shelf, wanted: OrderFilter, after: str | None) -> AsyncGenerator[tuple[str, Order], None]:
    """(cursor, order): one at each change of an order that is `wanted` as it is now; with `after` also of those since then.

    Nothing is remembered of a subscriber, so an order that a change has taken out of the filter is not told: who waits for it to
    leave asks for what it leaves to. Raises Invalid.
    """
    start = await shelf.events.head() if after is None else read_place(after)
    async with aclosing(shelf.events.follow(kinds=_CHANGES, subjects=None, after=start)) as changes:
        async for change in changes:
            one = await _known(shelf, OrderId(change.subject), change.seq)
            if one is not None and wanted.fits(one):
                yield change.cursor, one


async def prepare(shelf: Shelf, events: Sequence[Event]) -> None:
    """Read the orders that those who follow these events, the newest of the log, will be told of."""
    changed = {OrderId(change.subject) for change in events if change.kind in _CHANGES}
    if changed:
        await _read(shelf, changed, events[-1].seq)


async def _known(shelf: Shelf, id: OrderId, since: int) -> Order | None:
    """The order, with all that happened up to the place `since`; None for one that is gone."""
    known = shelf.followed.recent_orders.kept(id, since)
    if known is None:
        known = (await shelf.followed.orders.of([id], partial(_read_now, shelf))).get(id)
    return None if known is None else known.order


async def _read_now(shelf: Shelf, ids: Collection[OrderId]) -> Mapping[OrderId, KnownOrder]:
    return await _read(shelf, ids, shelf.events.place)


async def _read(shelf: Shelf, ids: Collection[OrderId], place: int | None) -> Mapping[OrderId, KnownOrder]:
    """From the rows, in which everything up to `place` has happened."""
    at = time.monotonic()
    async with shelf.store.begin() as tx:
        found = {id: KnownOrder(one, at, place) for id, one in (await order.by_ids(tx, ids)).items()}
    for id, known in found.items():
        shelf.followed.recent_orders.keep(id, known)
    return found
