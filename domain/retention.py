"""How long who bought is remembered. Source: Amazon's Data Protection Policy: at most 30 days after the delivery of an order."""

from __future__ import annotations

from datetime import datetime, timedelta

from domain.order import Order, OrderStatus

KEPT_FOR = timedelta(days=30)
# Where nobody tells of the delivery: after a parcel has left.
TRANSIT = timedelta(days=10)
# Whatever becomes of an order: after it was placed.
LONGEST = timedelta(days=180)


def erase_at(order: Order, transit: timedelta = TRANSIT) -> datetime:
    """When the person is to be forgotten, as far as this version of the order tells: 30 days after the last parcel has arrived,
    or should have, or after the cancellation; half a year after it was placed where it comes to no end."""
    match order.status:
        case OrderStatus.CANCELLED:
            over = order.updated_at
        case OrderStatus.DELIVERED:
            over = order.delivered_at or order.updated_at
        case OrderStatus.SHIPPED:
            over = max((one.shipped_at for one in order.shipments), default=order.updated_at) + transit
        case _:
            over = order.placed_at + LONGEST - KEPT_FOR
    return min(over + KEPT_FOR, order.placed_at + LONGEST)
