"""Shipping labels that a platform sells: what is offered, what was bought, what was given back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum

from domain.address import Address
from domain.errors import Invalid
from domain.money import Money
from domain.outbound import Whereabouts


class LabelFormat(Enum):
    """What the printer understands. ZPL203 and ZPL300 are ZPL with so many dots an inch."""

    PDF = "PDF"
    PNG = "PNG"
    ZPL203 = "ZPL203"
    ZPL300 = "ZPL300"


class LabelStatus(Enum):
    """Where a label stands. Asked back is not yet given back: the carrier decides."""

    BOUGHT = "BOUGHT"
    REFUND_PENDING = "REFUND_PENDING"
    REFUNDED = "REFUNDED"
    REFUND_REFUSED = "REFUND_REFUSED"


@dataclass(frozen=True, slots=True)
class Box:
    """What is to be sent: centimeters and grams."""

    length_cm: Decimal
    width_cm: Decimal
    height_cm: Decimal
    weight_g: Decimal

    def __post_init__(self) -> None:
        for size in (self.length_cm, self.width_cm, self.height_cm, self.weight_g):
            if not size.is_finite() or size <= 0:
                raise Invalid("A parcel has a length, a width, a height and a weight above 0.")


@dataclass(frozen=True, slots=True)
class LabelLine:
    """Units in the parcel. `id` is the channel's order line id; `unit_value` and `unit_weight_g` are told to carriers who ask."""

    id: str
    quantity: int
    unit_value: Money | None = None
    unit_weight_g: Decimal | None = None


@dataclass(frozen=True, slots=True)
class LabelWanted:
    """A parcel that needs a label.

    `reference` is ours, the same at each attempt and never used for another label: one that is to take the place of a label that
    was given back needs a reference of its own. `order_id` is the channel's order, None for
    an order of elsewhere; then `ship_to` is needed, else the channel knows where the buyer lives. `known` are the tracking
    numbers of that order's parcels of which we know already, so that another one is seen to be new.
    """

    reference: str
    marketplace: str
    order_id: str | None
    lines: tuple[LabelLine, ...]
    box: Box
    ship_from: Address
    ship_to: Address | None = None
    ship_at: datetime | None = None
    format: LabelFormat = LabelFormat.PDF
    known: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.reference:
            raise Invalid("A parcel needs a reference of ours.")
        if not self.lines or any(line.quantity < 1 for line in self.lines):
            raise Invalid(f"Parcel {self.reference} needs lines with units.")
        if len({line.id for line in self.lines}) < len(self.lines):
            raise Invalid(f"Two lines of parcel {self.reference} have the same id.")
        if self.ship_at is not None and self.ship_at.tzinfo is None:
            raise Invalid(
                f"Parcel {self.reference}: the time at which it leaves needs its time zone.", field=("shipAt",)
            )
        if self.order_id is None and self.ship_to is None:
            raise Invalid(f"Parcel {self.reference} belongs to no order of the channel: say where it goes.")


@dataclass(frozen=True, slots=True)
class Offer:
    """A carrier's service and its price for one parcel. `id`, `token` and `document` are the platform's; it holds until `until`,
    where the platform says so. `formats` are what its labels can be printed as; what `needs_more` asks questions that we cannot
    answer, and cannot be bought here. `parcel` marks what it was made for, where the platform buys by the offer alone."""

    id: str
    carrier_id: str
    carrier: str
    service_id: str
    service: str
    price: Money
    arrives_from: datetime | None
    arrives_until: datetime | None
    formats: frozenset[LabelFormat]
    until: datetime | None = None
    token: str = field(default="", repr=False)
    document: str = field(default="", repr=False)
    needs_more: bool = False
    parcel: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Label:
    """A label to print. `checksum` is the MD5 of `data` in hexadecimal digits. It bears the buyer's address: print it, and keep
    it no longer than that takes."""

    format: LabelFormat
    data: bytes = field(repr=False)
    checksum: str


@dataclass(frozen=True, slots=True)
class Purchase:
    """A label that was bought.

    `shipment_id` is the platform's, None where only the order's parcel tells of the purchase; `label` is None where it cannot be
    had here, and `missing` says why and what to do. `confirms_order`: the channel takes its order for shipped by this alone, so
    that the shipment must not be confirmed once more.
    """

    reference: str
    shipment_id: str | None
    status: LabelStatus
    tracking_number: str | None
    carrier: str | None
    cost: Money | None
    label: Label | None
    confirms_order: bool
    missing: str | None = None
    upstream_request_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Voided:
    """A label that was asked back."""

    shipment_id: str
    status: LabelStatus
    upstream_request_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ParcelState:
    """Where a parcel is. `channel_status` is the platform's own word for `whereabouts`; both are None while it knows nothing."""

    tracking_number: str
    whereabouts: Whereabouts | None
    channel_status: str | None
    promised_at: datetime | None
