"""Short hands for stock of our own: SKUs, places, entries, orders, reservations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import event as sa_event
from sqlalchemy import insert, select, text, update

from domain.channel import LEDGER, Location, LocationKind
from domain.ids import ChannelId, ChannelSku, LocationCode, OrderId, ReservationId, Sku, line_id, order_id
from domain.ledger import Entry, EntryKind, NewEntry
from domain.order import Order, OrderLine, OrderStatus
from domain.product import FulfilledBy
from domain.reservation import Reservation, ReservedLine
from store import intake, ledger, reservation
from store.session import Store
from store.tables import event, kit_component, oversale, product, sku_stock

AMAZON = ChannelId("amazon-eu")
SHOP = ChannelId("shop")
MAIN = LocationCode("main")
SIDE = LocationCode("side")
A, B, C = Sku("A"), Sku("B"), Sku("C")


def place(code: LocationCode, *sells_to: ChannelId) -> Location:
    return Location(
        code, str(code), LocationKind.WAREHOUSE, LEDGER, code, sells_to=frozenset(sells_to) if sells_to else None
    )


PLACES = [place(MAIN), place(SIDE)]


async def products(store: Store, *skus: Sku) -> None:
    async with store.begin() as tx:
        await tx.execute(insert(product), [{"sku": sku, "title": f"Product {sku}"} for sku in skus])


async def kit(store: Store, name: Sku, **components: int) -> None:
    async with store.begin() as tx:
        rows = [{"kit": name, "component": sku, "quantity": units} for sku, units in components.items()]
        await tx.execute(insert(kit_component), rows)


def entry(sku: Sku = A, on_hand: int = 0, location: LocationCode = MAIN, **more: Any) -> NewEntry:
    values: dict[str, Any] = {"kind": EntryKind.RECEIPT, "reason": "delivery 7", "actor": "test", "source": "mutation"}
    return NewEntry(sku=sku, location=location, on_hand=on_hand, **values | more)


async def posted(store: Store, *entries: NewEntry) -> list[Entry]:
    async with store.begin() as tx:
        return await ledger.post(tx, entries)


async def stocked(store: Store, **units: int) -> None:
    """Make the SKUs, with so many units of each at the main place."""
    await products(store, *map(Sku, units))
    await posted(store, *(entry(Sku(sku), count) for sku, count in units.items() if count))


async def balance(store: Store, sku: Sku = A, location: LocationCode = MAIN) -> tuple[int, int]:
    """(on hand, reserved) of a SKU at a place."""
    async with store.begin() as tx:
        found = (await ledger.balances(tx, [sku])).get(sku, [])
    return next(((one.on_hand, one.reserved) for one in found if one.location == location), (0, 0))


async def promisable(store: Store, sku: Sku = A) -> int:
    async with store.begin() as tx:
        return (await reservation.promisable(tx, [sku]))[sku].units


async def entries(store: Store, sku: Sku | None = None) -> list[NewEntry]:
    """All entries, in the order of posting."""
    async with store.begin() as tx:
        found, _ = await ledger.entries(tx, first=10_000, sku=sku)
    return [one.entry for one in reversed(found)]


async def moves(store: Store, sku: Sku | None = None) -> list[tuple[str, str, int, int]]:
    """(kind, place, on hand, reserved) of all entries, in the order of posting."""
    return [(one.kind.value, one.location, one.on_hand, one.reserved) for one in await entries(store, sku)]


async def wrong(store: Store) -> list[Any]:
    async with store.begin() as tx:
        return list((await ledger.check(tx)).wrong)


async def told(store: Store) -> list[str]:
    """The SKUs that were told to have changed, in order."""
    async with store.begin() as tx:
        query = select(event.c.subject).where(event.c.kind == "StockChanged").order_by(event.c.id)
        return list((await tx.scalars(query)).all())


async def reserved(store: Store, ttl_s: float = 600, *, key: str | None = None, **more: Any) -> Reservation:
    """A reservation of `lines` {SKU: units}, by default one A."""
    lines: Mapping[Sku, int] = more.pop("lines", {A: 1})
    async with store.begin() as tx:
        made, _ = await reservation.reserve(
            tx,
            requested_by=more.pop("by", "shop"),
            idempotency_key=key or str(uuid4()),
            request_hash=more.pop("hash", "h"),
            lines=[ReservedLine(sku, units) for sku, units in lines.items()],
            ttl_s=ttl_s,
            **more,
        )
    return made


async def committed(
    store: Store, id: ReservationId, *, places: Sequence[Location] = PLACES, reference: str | None = None
) -> Reservation:
    async with store.begin() as tx:
        return await reservation.commit(tx, id, by="shop", places=places, reference=reference)


async def released(store: Store, id: ReservationId) -> Reservation:
    async with store.begin() as tx:
        return await reservation.release(tx, id, by="shop")


async def later(store: Store) -> datetime:
    """The database's clock."""
    async with store.begin() as tx:
        return await reservation.now(tx)


async def expire(store: Store, *ids: ReservationId) -> None:
    """Set the ends of reservations back, so that their time is over."""
    async with store.begin() as tx:
        # The trigger that watches holds has nothing against another end; it only tells that something changed.
        await tx.execute(
            text("update reservation_hold set expires_at = clock_timestamp() where reservation_id = any(:ids)"),
            {"ids": list(ids)},
        )
        await tx.execute(
            text("update reservation set expires_at = clock_timestamp() where id = any(:ids)"), {"ids": list(ids)}
        )


def an_order(
    number: int = 1,
    lines: Mapping[Sku, int] | None = None,
    *,
    shipped: Mapping[Sku, int] | None = None,
    status: OrderStatus | None = None,
    minute: int = 0,
    channel: ChannelId = AMAZON,
    placed_at: datetime | None = None,
    **more: Any,
) -> Order:
    """An order of `lines` {SKU: units}, by default one A, of which so many have `shipped`; `minute` is its version."""
    lines, shipped = lines or {A: 1}, shipped or {}
    external_id = f"302-{number:07}"
    id = order_id(channel, external_id)
    placed_at = placed_at or datetime.now(UTC) + timedelta(minutes=1)
    if status is None:
        sent = sum(shipped.values())
        whole = sent == sum(lines.values())
        status = OrderStatus.SHIPPED if whole else OrderStatus.PARTIALLY_SHIPPED if sent else OrderStatus.UNSHIPPED
    values: dict[str, Any] = {
        "id": id,
        "channel": channel,
        "marketplace": "DE",
        "external_id": external_id,
        "status": status,
        "channel_status": status.value.title(),
        "fulfilled_by": FulfilledBy.MERCHANT,
        "placed_at": placed_at,
        "updated_at": placed_at + timedelta(minutes=minute),
        "lines": [
            OrderLine(line_id(id, sku), str(sku), ChannelSku(f"their-{sku}"), units, shipped.get(sku, 0), sku=sku)
            for sku, units in lines.items()
        ],
    }
    return Order(**values | more)


async def came(store: Store, *orders: Order, places: Sequence[Location] = PLACES) -> list[OrderId]:
    """Orders come in."""
    async with store.begin() as tx:
        return await intake.keep_orders(tx, orders, places)


async def allocations(store: Store) -> dict[tuple[str, str, str], tuple[int, int]]:
    """(promised, shipped) by order number, SKU and place."""
    query = text(
        "select kept.external_id, a.sku, a.location, a.quantity, a.shipped from order_allocation a "
        'join "order" kept on kept.id = a.order_id where a.quantity + a.shipped > 0 order by 1, 2, 3'
    )
    async with store.begin() as tx:
        return {(row[0], row[1], row[2]): (row[3], row[4]) for row in await tx.execute(query)}


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """What the database is asked meanwhile."""
    seen: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = store._engine.sync_engine
    sa_event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa_event.remove(engine, "before_cursor_execute", note)


async def elsewhere(store: Store, sku: Sku, units: int) -> None:
    """Units that others keep."""
    async with store.begin() as tx:
        await tx.execute(update(sku_stock).where(sku_stock.c.sku == sku).values(elsewhere=units))


async def oversales(store: Store) -> list[Any]:
    async with store.begin() as tx:
        return list((await tx.execute(select(oversale).order_by(oversale.c.seen_at, oversale.c.sku))).all())
