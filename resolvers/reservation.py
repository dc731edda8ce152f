"""Reservations: units held for a caller who is about to sell them. Only who made one, or an administrator, sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import NotFound
from domain.ids import ReservationId
from domain.reservation import Buyer, Reservation, ReservationStatus, ReservedLine
from resolvers.request import check_key, check_word, contents_hash
from resolvers.shelf import Shelf
from store import checkout, reservation
from store.checkout import Terms

USUAL_TTL = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Seen:
    """A reservation and the moment it was looked at, by the database's clock, which decides when it ends."""

    reservation: Reservation
    at: datetime

    @property
    def status(self) -> ReservationStatus:
        """As it stood at that moment."""
        return self.reservation.status(self.at)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks for a reservation: `all_seeing` may see and end those of others."""

    name: str
    all_seeing: bool


async def reserve(
    shelf: Shelf,
    by: Holder,
    lines: Sequence[ReservedLine],
    ttl: timedelta | None,
    *,
    buyer: Buyer | None,
    idempotency_key: str | None,
) -> Seen:
    """Hold all of it for `ttl`, 15 minutes where None, or nothing. A repeated idempotency key answers the first reservation.

    With a `buyer` no more than their channel may sell. Raises Insufficient, NotFound, Invalid and Conflict.
    """
    check_key(idempotency_key)
    if buyer is not None and buyer.channel not in shelf.channels:
        raise NotFound(f"There is no channel Channel:{buyer.channel}.", field=("channelId",))
    lasts = USUAL_TTL if ttl is None else ttl
    told = contents_hash(
        [(line.sku, line.quantity) for line in lines], lasts.total_seconds(), None if buyer is None else asdict(buyer)
    )
    terms = Terms(shelf.locations, shelf.channels, shelf.safety_stock, shelf.stock_max_age)

    async def hold(tx: AsyncConnection) -> Seen:
        made, _ = await checkout.reserve(
            tx,
            requested_by=by.name,
            idempotency_key=idempotency_key,
            request_hash=told,
            lines=lines,
            ttl_s=lasts.total_seconds(),
            terms=terms,
            buyer=buyer,
        )
        return Seen(made, await reservation.now(tx))

    async with shelf.store.begin() as tx:
        unsettled = await checkout.unsettled(tx, {line.sku for line in lines})
        seen = None if unsettled else await hold(tx)
    if seen is None:
        # By itself: a SKU is locked last of all, after the reservation.
        async with shelf.store.begin() as tx:
            await checkout.settle(tx, unsettled, terms)
        async with shelf.store.begin() as tx:
            seen = await hold(tx)
    shelf.stock_cache.wrote(line.sku for line in seen.reservation.lines)
    return seen


async def commit(shelf: Shelf, by: Holder, id: ReservationId, reference: str | None) -> Seen:
    """It was bought: it ends no more until its order has shipped. Raises NotFound, Conflict, Invalid."""
    if reference is not None:
        check_word("reference", reference)
    return await _decide(
        shelf,
        by,
        id,
        lambda tx: reservation.commit(tx, id, by=by.name, places=shelf.locations, reference=reference),
    )


async def release(shelf: Shelf, by: Holder, id: ReservationId) -> Seen:
    """Give the units back; of a committed one, the promise. Raises NotFound."""
    return await _decide(shelf, by, id, lambda tx: reservation.release(tx, id, by=by.name))


async def by_id(shelf: Shelf, by: Holder, id: ReservationId) -> Seen | None:
    """The reservation; None when there is none, or it is another's."""
    async with shelf.store.begin() as tx:
        found = await _own(tx, by, id)
        return None if found is None else Seen(found, await reservation.now(tx))


async def _decide(
    shelf: Shelf, by: Holder, id: ReservationId, decide: Callable[[AsyncConnection], Awaitable[Reservation]]
) -> Seen:
    async with shelf.store.begin() as tx:
        if await _own(tx, by, id) is None:
            raise NotFound(f"There is no reservation Reservation:{id}.", field=("id",))
        decided = await decide(tx)
        seen = Seen(decided, await reservation.now(tx))
    shelf.stock_cache.wrote(line.sku for line in decided.lines)
    return seen


async def _own(tx: AsyncConnection, by: Holder, id: ReservationId) -> Reservation | None:
    found = (await reservation.by_ids(tx, [id])).get(id)
    return found if found is not None and (by.all_seeing or found.requested_by == by.name) else None
