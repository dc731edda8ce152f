"""Orders as every channel's orders are told here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from itertools import chain

from domain.charge import Charge, difference, tax_of
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
OPEN = SHIPPABLE | {OrderStatus.PENDING, OrderStatus.ON_HOLD}


class CancelledBy(Enum):
    """Who wanted units not to be sent, as far as a channel tells: the buyer, we who sell, or the channel itself."""

    BUYER = "BUYER"
    SELLER = "SELLER"
    CHANNEL = "CHANNEL"


@dataclass(slots=True)
class OrderLine:
    """One line. `quantity` is what is still wanted (after cancellations), in units; `unit_price` is None while unknown.

    `quantity_cancelled` units were ordered and are not wanted any more. `charges` are of all units that were ordered.
    """

    id: LineId
    external_id: str
    channel_sku: ChannelSku
    quantity: int
    quantity_shipped: int
    sku: Sku | None = None
    title: str | None = None
    unit_price: Money | None = None
    total: Money | None = None
    quantity_cancelled: int = 0
    cancelled_by: CancelledBy | None = None
    charges: tuple[Charge, ...] = ()

    @property
    def quantity_open(self) -> int:
        """Units still to ship."""
        return max(0, self.quantity - self.quantity_shipped)


@dataclass(slots=True)
class Shipment:
    """A parcel as its channel shows it. `reference` is the channel's own id of the parcel, `service` what it was sent by."""

    reference: str
    carrier: str
    tracking_number: str
    shipped_at: datetime
    channel_confirmed_at: datetime | None = None
    label_url: str | None = None
    service: str | None = None


@dataclass(slots=True)
class Order:
    """One order of one channel. `channel_status` keeps the platform's own word; `refs` what later calls need.

    `service` is how fast it was sold to be, in the channel's own word, and `deliver_by` what the buyer was promised. `person` is
    there only where an order has just been read: it is kept apart, and two versions that differ in it alone are equal.

    `charges` are those that belong to no line. `charged` is what the channel says that all was to cost when it was ordered,
    before refunds, which may be left out of `total`. `prices_with_tax` says whether prices were shown to the buyer with the tax
    in them. `delivered_at` is when the last parcel arrived.

    One that is not `whole` is a sketch: a report has told of it, and its lines are its SKUs, without the channel's ids, money and
    parcels. Nothing can be confirmed on it, and nothing that has left is counted by it, before the order itself was read.
    `read_at` is our time, taken before the channel was asked: of two readings with one `updated_at` the later one holds.
    `upstream_request_id` is the channel's id of the call that told it, there only where it has just been read.
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
    charges: tuple[Charge, ...] = ()
    charged: Money | None = None
    prices_with_tax: bool | None = None
    delivered_at: datetime | None = None
    whole: bool = True
    read_at: datetime | None = field(default=None, compare=False)
    upstream_request_id: str | None = field(default=None, compare=False)
    person: Person | None = field(default=None, repr=False, compare=False)
    cancellation_requested: bool = False
    # Ours, and not the channel's: why we hold it, and that it has lost its units meanwhile. Only where an order was kept.
    held: str | None = field(default=None, compare=False)
    let_go: bool = field(default=False, compare=False)

    def minutes_to_ship_by(self, now: datetime) -> int | None:
        """Whole minutes, rounded down; None for what has no such time, or has ended."""
        return None if self.ship_by is None or self.status not in OPEN else (self.ship_by - now) // timedelta(minutes=1)

    @property
    def standing(self) -> OrderStatus:
        """Where it stands for everybody but its channel: ON_HOLD while we hold what has not ended."""
        return OrderStatus.ON_HOLD if self.held is not None and self.status in OPEN else self.status

    @property
    def all_charges(self) -> list[Charge]:
        """Those of the lines, and those of none."""
        return [*chain.from_iterable(line.charges for line in self.lines), *self.charges]

    @property
    def tax(self) -> Money | None:
        """The tax in or on all that was ordered; None while no part is told."""
        return tax_of(self.all_charges)

    @property
    def unexplained(self) -> Money | None:
        """What `charged` is beyond its parts: zero in a sound order, None while the channel does not tell both."""
        return difference(self.charged, self.all_charges)
