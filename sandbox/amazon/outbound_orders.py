"""The order that Amazon shows among its own for each that it only ships: NON_AMAZON, under an id of Amazon's, and of no price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.amazon.state import Amazon, Line, Order, Refund

if TYPE_CHECKING:
    from sandbox.amazon.outbound_store import FulfillmentOrder

CHANNEL = "NON_AMAZON"
# By our status; what is not here is still to be shipped.
_STATUSES = {
    "CANCELLED": "CANCELLED",
    "COMPLETE": "SHIPPED",
    "COMPLETE_PARTIALLED": "SHIPPED",
    "UNFULFILLABLE": "UNFULFILLABLE",
    "INVALID": "CANCELLED",
}


def number(amazon: Amazon, order: FulfillmentOrder) -> str:
    """Its id at Amazon."""
    dice = amazon.world.random("outbound order", order.account.seller, order.id)
    return f"S{dice.randrange(1, 100):02d}-{dice.randrange(10**7):07d}-{dice.randrange(10**7):07d}"


def show(amazon: Amazon, order: FulfillmentOrder) -> None:
    """Have Amazon show it as it stands now, and tell of it (ORDER_CHANGE) where that is new."""
    id, now = number(amazon, order), amazon.clock.now()
    status = _STATUSES.get(order.status, "UNSHIPPED")
    kept = amazon.orders.get(id)
    if kept is None:
        lines = [Line(_line(id, place), each.product, each.quantity, None) for place, each in enumerate(order.lines)]
        kept = amazon.orders[id] = Order(
            id=id,
            account=order.account,
            marketplace=order.marketplace,
            fulfilled_by="AMAZON",
            lines=lines,
            created_at=now,
            updated_at=now,
            channel=CHANNEL,
            cancelled_by="MERCHANT",
            seller_order=order.id,
        )
    elif kept.fixed == status:
        return
    kept.fixed, kept.updated_at = status, now
    amazon.notices.order_changed(kept)


def came_back(amazon: Amazon, order: FulfillmentOrder, line: str, condition: str) -> None:
    """One unit of a line is back; the report of returns to Amazon's warehouses names it."""
    id = number(amazon, order)
    place = next(place for place, each in enumerate(order.lines) if each.id == line)
    amazon.orders[id].refunds.append(Refund(amazon.clock.now(), {_line(id, place): 1}, condition))


def _line(id: str, place: int) -> str:
    return f"{id[4:11]}{id[12:]}{place}"
