"""Orders as every channel's orders are told here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku
from domain.money import Money
from domain.person import Destination, Person
from domain.product import FulfilledBy


class OrderStatus(Enum):
    """Where an order stands, over all platforms."""

    PENDING = "PENDING"
    UNSHIPPED = "UNSHIPPED"
    PARTIALLY_SHIPPED = "PARTIALLY_SHIPPED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"
    ON_HOLD = "ON_HOLD"


SHIPPABLE = frozenset({OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED})


@dataclass(slots=True)
class OrderLine:
    """One line. `quantity` is what is still wanted (after cancellations), in units; `unit_price` is None while unknown."""

    id: LineId
    external_id: str
    channel_sku: ChannelSku
    quantity: int
    quantity_shipped: int
    sku: Sku | None = None
    title: str | None = None
    unit_price: Money | None = None
    total: Money | None = None

    @property
    def quantity_open(self) -> int:
        """Units still to ship."""
        return max(0, self.quantity - self.quantity_shipped)


@dataclass(slots=True)
class Shipment:
    """A parcel as its channel shows it. `reference` is the channel's own id of the parcel."""

    reference: str
    carrier: str
    tracking_number: str
    shipped_at: datetime
    channel_confirmed_at: datetime | None = None
    label_url: str | None = None


@dataclass(slots=True)
class Order:
    """One order of one channel. `channel_status` keeps the platform's own word; `refs` what later calls need.

    `service` is how fast it was sold to be, in the channel's own word, and `deliver_by` what the buyer was promised. `person` is
    there only where an order has just been read: it is kept apart, and two versions that differ in it alone are equal.
    """

    id: OrderId
    channel: ChannelId
    marketplace: str | None
    external_id: str
    status: OrderStatus
    channel_status: str
    fulfilled_by: FulfilledBy
    placed_at: datetime
    updated_at: datetime
    lines: list[OrderLine]
    ship_by: datetime | None = None
    deliver_by: datetime | None = None
    service: str | None = None
    destination: Destination | None = None
    total: Money | None = None
    shipments: list[Shipment] = field(default_factory=list)
    refs: Mapping[str, str] = field(default_factory=dict)
    person: Person | None = field(default=None, repr=False, compare=False)
