"""Orders, the work they make (fulfillment orders) and the parcels that do it (fulfillments).

What an order shows of its parcels lags behind; a fulfillment order is exact at once. Quantities are units.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import ClassVar

from sandbox.shopify import ids
from sandbox.shopify.money import CENT
from sandbox.world import Product, Warehouse

SHIPPABLE = ("OPEN", "IN_PROGRESS")
RECEIVED = ("PAID", "PARTIALLY_REFUNDED", "REFUNDED")
"""Financial statuses of orders whose buyers have paid."""
TAX_RATES = {"DE": Decimal("0.19"), "FR": Decimal("0.20"), "JP": Decimal("0.10")}
"""Contained in the prices of orders that go there; others carry no tax."""


@dataclass(frozen=True, slots=True)
class Address:
    place: int
    first_name: str
    last_name: str
    address1: str
    city: str
    zip: str
    country: str
    country_code_v2: str
    province_code: str | None = None
    phone: str | None = None
    address2: None = None
    company: None = None
    province: None = None

    @property
    def id(self) -> str:
        return ids.gid("MailingAddress", self.place)

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"


@dataclass(slots=True, eq=False)
class Line:
    """One line of an order; `price` per unit in the shop's currency, `discount` for the whole line."""

    typename: ClassVar[str] = "LineItem"
    order: "Order"
    place: int
    product: Product
    quantity: int
    price: Decimal
    discount: Decimal = Decimal(0)

    @property
    def id(self) -> str:
        return ids.gid("LineItem", self.order.place * 100 + self.place)

    @property
    def refunded_quantity(self) -> int:
        return sum(each.quantity for refund in self.order.refunds for each in refund.lines if each.line is self)

    @property
    def removed_quantity(self) -> int:
        """Units that were refunded before they were shipped."""
        return sum(each.unshipped for refund in self.order.refunds for each in refund.lines if each.line is self)

    @property
    def refundable_quantity(self) -> int:
        return self.quantity - self.refunded_quantity

    @property
    def current_quantity(self) -> int:
        return 0 if self.order.cancelled_at else self.refundable_quantity

    @property
    def total(self) -> Decimal:
        return self.price * self.quantity - self.discount

    @property
    def tax(self) -> Decimal:
        return self.order.tax_on(self.total)


@dataclass(slots=True, eq=False)
class WorkLine:
    """What one fulfillment order has to ship of one line."""

    typename: ClassVar[str] = "FulfillmentOrderLineItem"
    place: int
    line: Line
    total: int
    remaining: int

    @property
    def id(self) -> str:
        return ids.gid("FulfillmentOrderLineItem", self.line.order.place * 100 + self.place)


@dataclass(slots=True, eq=False)
class Work:
    """A fulfillment order: what one location has to ship of one order. Seen by readers from `seen_at` on."""

    typename: ClassVar[str] = "FulfillmentOrder"
    order: "Order"
    place: int
    warehouse: Warehouse
    created_at: datetime
    updated_at: datetime
    seen_at: datetime
    lines: list[WorkLine] = field(default_factory=list)
    on_hold: bool = False

    @property
    def id(self) -> str:
        return ids.gid("FulfillmentOrder", self.number_place)

    @property
    def number_place(self) -> int:
        return self.order.place * 10 + self.place

    @property
    def status(self) -> str:
        if self.order.cancelled_at:
            return "CLOSED" if self.shipped else "CANCELLED"
        if not any(line.remaining for line in self.lines):
            return "CLOSED"
        if self.on_hold:
            return "ON_HOLD"
        return "IN_PROGRESS" if self.shipped else "OPEN"

    @property
    def shipped(self) -> bool:
        return any(line.remaining < line.total for line in self.lines)

    @property
    def actions(self) -> list[str]:
        match self.status:
            case "OPEN":
                return ["CREATE_FULFILLMENT", "HOLD", "MOVE", "SPLIT"]
            case "IN_PROGRESS":
                return ["CREATE_FULFILLMENT", "SPLIT"]
            case "ON_HOLD":
                return ["RELEASE_HOLD", "MOVE"]
        return []


@dataclass(frozen=True, slots=True)
class Tracking:
    company: str | None
    number: str | None
    url: str | None


@dataclass(slots=True, eq=False)
class Parcel:
    """A fulfillment. The order shows it from `seen_at` on."""

    typename: ClassVar[str] = "Fulfillment"
    place: int
    work: Work
    lines: list[tuple[WorkLine, int]]
    tracking: list[Tracking]
    created_at: datetime
    updated_at: datetime
    seen_at: datetime
    name: str
    cancelled: bool = False

    @property
    def id(self) -> str:
        return ids.gid("Fulfillment", self.place)

    @property
    def order(self) -> "Order":
        return self.work.order


@dataclass(frozen=True, slots=True)
class RefundLine:
    """Units of one line that were refunded; `unshipped` of them had not left. `amount` for all of them, tax included."""

    line: Line
    quantity: int
    unshipped: int
    restock_type: str
    warehouse: Warehouse | None
    amount: Decimal

    @property
    def restocked(self) -> bool:
        return self.restock_type in ("CANCEL", "RETURN")


@dataclass(slots=True, eq=False)
class Refund:
    """Goods taken back, or money given back, or both. `amount` is the money, in the shop's currency, tax and shipping included;
    what the lines and the shipping come to may be more or less."""

    typename: ClassVar[str] = "Refund"
    place: int
    order: "Order"
    created_at: datetime
    lines: list[RefundLine]
    shipping: Decimal
    amount: Decimal
    note: str | None = None

    @property
    def id(self) -> str:
        return ids.gid("Refund", self.place)

    @property
    def payment(self) -> "Payment | None":
        """The transaction that gave the money back."""
        return next((each for each in self.order.payments if each.refund is self), None)


@dataclass(frozen=True, slots=True)
class Payment:
    """A transaction of an order, in the shop's currency; the first of an order is what the buyer paid."""

    typename: ClassVar[str] = "OrderTransaction"
    order: "Order"
    place: int
    kind: str
    amount: Decimal
    at: datetime
    parent: "Payment | None" = None
    refund: Refund | None = None

    @property
    def id(self) -> str:
        return ids.gid("OrderTransaction", self.order.place * 100 + self.place)


@dataclass(slots=True, eq=False)
class Order:
    """`place` counts orders from 0; `number` is the one in its id. Amounts are in the shop's currency, tax included, but for an
    order with an `added_rate`: what it costs is without the tax, which comes on top."""

    typename: ClassVar[str] = "Order"
    place: int
    number: int
    name: str
    created_at: datetime
    changed_at: datetime
    financial: str
    presentment: str
    address: Address
    email: str
    lines: list[Line] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    shipping: Decimal = Decimal(0)
    cancelled_at: datetime | None = None
    cancel_reason: str | None = None
    closed_at: datetime | None = None
    note: str | None = None
    test: bool = False
    added_rate: Decimal | None = None
    tip: Decimal = Decimal(0)

    @property
    def id(self) -> str:
        return f"gid://shopify/Order/{self.number}"

    @property
    def subtotal(self) -> Decimal:
        return sum((line.total for line in self.lines), Decimal(0))

    @property
    def total(self) -> Decimal:
        return self.subtotal + self.shipping + self.tip + (Decimal(0) if self.added_rate is None else self.tax)

    @property
    def discount(self) -> Decimal:
        return sum((line.discount for line in self.lines), Decimal(0))

    @property
    def tax(self) -> Decimal:
        """The sum of what is told of each line and of the shipping."""
        return sum((line.tax for line in self.lines), self.tax_on(self.shipping))

    def tax_on(self, amount: Decimal) -> Decimal:
        """In or on an amount, to the cent."""
        tax = amount * self.tax_rate / (1 if self.added_rate is not None else 1 + self.tax_rate)
        return tax.quantize(CENT, ROUND_HALF_UP)

    @property
    def received(self) -> Decimal:
        return self.total if self.financial in RECEIVED else Decimal(0)

    @property
    def refunded(self) -> Decimal:
        return sum((refund.amount for refund in self.refunds), Decimal(0))

    @property
    def refunded_shipping(self) -> Decimal:
        return sum((refund.shipping for refund in self.refunds), Decimal(0))

    @property
    def current_total(self) -> Decimal:
        """What the goods and the shipping come to that were neither canceled nor refunded."""
        if self.cancelled_at:
            return Decimal(0)
        taken = sum((each.amount for refund in self.refunds for each in refund.lines), Decimal(0))
        return self.total - taken - self.refunded_shipping

    @property
    def payments(self) -> list[Payment]:
        if self.financial == "AUTHORIZED":
            return [Payment(self, 0, "AUTHORIZATION", self.total, self.created_at)]
        if self.financial not in RECEIVED:
            return []
        sale = Payment(self, 0, "SALE", self.total, self.created_at)
        given = [refund for refund in self.refunds if refund.amount]
        return [
            sale,
            *(Payment(self, n, "REFUND", each.amount, each.created_at, sale, each) for n, each in enumerate(given, 1)),
        ]

    @property
    def tax_rate(self) -> Decimal:
        """Of a net price; 0 where there is no tax."""
        if self.added_rate is not None:
            return self.added_rate
        return TAX_RATES.get(self.address.country_code_v2, Decimal(0))

    @property
    def open(self) -> bool:
        """Something of it can be shipped now."""
        return any(work.status in SHIPPABLE for work in self.works)

    def seen_parcels(self, now: datetime) -> list[Parcel]:
        return [parcel for parcel in self.parcels if parcel.seen_at <= now]

    def seen_works(self, now: datetime) -> list[Work]:
        return [work for work in self.works if work.seen_at <= now]

    def updated_at(self, now: datetime) -> datetime:
        """The last change a reader can see."""
        return max([self.changed_at, *(parcel.seen_at for parcel in self.seen_parcels(now))])

    def unfulfilled(self, line: Line, now: datetime) -> int:
        """Units of a line that readers do not yet see shipped."""
        shipped = sum(
            quantity
            for parcel in self.seen_parcels(now)
            if not parcel.cancelled
            for work_line, quantity in parcel.lines
            if work_line.line is line
        )
        return 0 if self.cancelled_at else max(0, line.quantity - line.removed_quantity - shipped)

    def fulfillment_status(self, now: datetime) -> str:
        """As readers see it. An order with nothing to ship any more is UNFULFILLED before API version 2026-10."""
        open_units = sum(self.unfulfilled(line, now) for line in self.lines)
        shipped = any(not parcel.cancelled for parcel in self.seen_parcels(now))
        if shipped:
            return "PARTIALLY_FULFILLED" if open_units else "FULFILLED"
        if not open_units:
            return "FULFILLMENT_NOT_REQUIRED"
        return "ON_HOLD" if any(work.status == "ON_HOLD" for work in self.works) else "UNFULFILLED"
