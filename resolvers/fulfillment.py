"""From where orders are sent: the part of each place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from domain import fulfillment as domain
from domain.channel import LEDGER, Location, LocationKind
from domain.errors import Invalid, NotFound
from domain.fulfillment import Fulfillment, FulfillmentStatus
from domain.ids import LocationCode, OrderId
from domain.money import Money
from domain.order import Order, Shipment
from resolvers.shelf import Shelf
from store import fulfillment, order

MOST_LETTERS = 200  # of a reason


@dataclass(frozen=True, slots=True)
class Sending:
    """What one place sends of an order; `value` is its part of the order's total, None while there is no total."""

    order: Order
    part: Fulfillment
    location: Location
    shipments: list[Shipment]
    value: Money | None

    @property
    def status(self) -> FulfillmentStatus:
        """How far it has come."""
        return self.part.status(self.order)


async def by_orders(shelf: Shelf, ids: Collection[OrderId]) -> dict[OrderId, list[Sending]]:
    """The parts of each order, by place; an order without any is missing."""
    async with shelf.store.begin() as tx:
        parts = await fulfillment.by_orders(tx, ids)
        orders = await order.by_ids(tx, parts)
    return {id: _sendings(shelf, orders[id], its) for id, its in parts.items() if id in orders}


async def by_key(shelf: Shelf, key: str) -> Sending | None:
    """One part by its key; None when there is none."""
    id = OrderId(key.partition(":")[0])
    found = (await by_orders(shelf, [id])).get(id, [])
    return next((one for one in found if one.part.key == key), None)


async def move(shelf: Shelf, key: str, to: str, by: str, why: str, *, force: bool) -> Sending:
    """Send it from another place; returns the part of that place. Raises NotFound, Conflict and
    Invalid, with the field."""
    if len(why) > MOST_LETTERS:
        raise Invalid(f"A reason has at most {MOST_LETTERS} letters.", field=("reason",))
    id, _, code = key.partition(":")
    there = next((one for one in shelf.locations if one.code == to), None)
    if there is None:
        codes = ", ".join(one.code for one in shelf.locations if one.ours) or "none"
        raise NotFound(f"There is no place {to!r} of ours. There is {codes}.", field=("toLocation",))
    async with shelf.store.begin() as tx:
        kept = await fulfillment.move(tx, OrderId(id), LocationCode(code), there, by=by, why=why, force=force)
    moved = (await by_orders(shelf, [kept.id]))[kept.id]
    return next(one for one in moved if one.part.place == there.code)


def _sendings(shelf: Shelf, one: Order, parts: Sequence[Fulfillment]) -> list[Sending]:
    return [
        Sending(one, part, _location(shelf, part.place), domain.parcels_of(part, parts, one), value)
        for part, value in zip(parts, domain.values_of(parts, one), strict=True)
    ]


def _location(shelf: Shelf, code: LocationCode) -> Location:
    """The place; of one that acorn.toml names no more, what the ledger knows: that it was ours."""
    gone = Location(code, code, LocationKind.WAREHOUSE, LEDGER, "")
    return next((one for one in shelf.locations if one.code == code), gone)
