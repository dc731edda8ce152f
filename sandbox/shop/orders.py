"""Orders, their parcels and refunds. Amounts are in the shop's currency, tax included; quantities are units."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from sandbox.world import Product, Warehouse

TAX_RATES = {"DE": Decimal("0.19"), "FR": Decimal("0.20"), "JP": Decimal("0.10")}
"""Contained in the prices of orders that go there; others carry no tax."""


@dataclass(slots=True, eq=False)
class Line:
    """`price` per unit, `discount` for the whole line; reserved in `house`."""

    id: str
    product: Product
    quantity: int
    price: Decimal
    house: Warehouse
    discount: Decimal = Decimal(0)
    tax: Decimal | None = None
    shipped: int = 0
    cancelled: int = 0
    refunded: int = 0

    @property
    def left(self) -> int:
        """Units still to be shipped."""
        return self.quantity - self.shipped - self.cancelled


@dataclass(slots=True, eq=False)
class Shipment:
    id: str
    order: "Order"
    lines: list[tuple[Line, int]]
    carrier: str
    tracking_number: str
    shipped_at: datetime
    updated_at: datetime
    tracking_url: str | None = None
    reference: str | None = None
    rev: int = 1


@dataclass(frozen=True, slots=True)
class Refund:
    """`lines` are (line, units, what becomes of them, location id, amount)."""

    id: str
    amount: Decimal
    created_at: datetime
    lines: tuple[tuple[Line, int, str, str | None, Decimal | None], ...] = ()
    shipping: Decimal | None = None
    note: str | None = None
    reference: str | None = None


@dataclass(slots=True, eq=False)
class Order:
    id: str
    number: str
    placed_at: datetime
    updated_at: datetime
    payment: str
    country: str
    shipping: Decimal
    lines: list[Line] = field(default_factory=list)
    shipments: list[Shipment] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    on_hold: bool = False
    cancelled_at: datetime | None = None
    cancel_reason: str | None = None
    external_id: str | None = None
    reservation: str | None = None
    rev: int = 1
    # Told to whoever asks for it and may know.
    buyer: dict[str, str] = field(default_factory=dict)
    ship_to: dict[str, str] = field(default_factory=dict)
    # Where the tax comes on top of the prices: its rate.
    added_rate: Decimal | None = None
    service: str | None = None
    deliver_by: datetime | None = None

    @property
    def status(self) -> str:
        if self.cancelled_at:
            return "cancelled"
        return "closed" if self.fulfilment == "fulfilled" and self.payment != "pending" else "open"

    @property
    def fulfilment(self) -> str:
        if not any(line.shipped for line in self.lines):
            return "unfulfilled"
        return "partial" if any(line.left for line in self.lines) else "fulfilled"

    @property
    def to_ship(self) -> bool:
        """Something of it can be shipped now."""
        return not self.cancelled_at and not self.on_hold and any(line.left for line in self.lines)

    @property
    def items(self) -> Decimal:
        return sum((line.price * line.quantity for line in self.lines), Decimal(0))

    @property
    def discount(self) -> Decimal:
        return sum((line.discount for line in self.lines), Decimal(0))

    @property
    def grand(self) -> Decimal:
        return self.items - self.discount + self.shipping + (self.tax if self.added_rate is not None else Decimal(0))

    @property
    def tax(self) -> Decimal:
        if self.added_rate is not None:
            return sum((line.tax or Decimal(0) for line in self.lines), Decimal(0))
        rate = TAX_RATES.get(self.country, Decimal(0))
        return self.grand * rate / (1 + rate)

    @property
    def captured(self) -> Decimal:
        return self.grand if self.payment in ("paid", "partially_refunded", "refunded") else Decimal(0)

    @property
    def given_back(self) -> Decimal:
        return sum((refund.amount for refund in self.refunds), Decimal(0))
