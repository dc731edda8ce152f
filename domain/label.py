"""Shipping labels that a platform sells: what is offered, which offer is taken, what was bought, what was given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from domain.address import Address
from domain.errors import Conflict, Invalid, NotFound
from domain.ids import ChannelId, LocationCode, OperationId, OrderId
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

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {
            **{name: getattr(self, name) for name in _TEXTS},
            "price": [str(self.price.amount), self.price.currency],
            "arrives": [None if at is None else at.isoformat() for at in (self.arrives_from, self.arrives_until)],
            "until": None if self.until is None else self.until.isoformat(),
            "formats": sorted(one.value for one in self.formats),
            "needs_more": self.needs_more,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Offer:
        """The same again."""
        first, last, until = (
            None if at is None else datetime.fromisoformat(at) for at in (*told["arrives"], told["until"])
        )
        amount, currency = told["price"]
        return cls(
            **{name: told[name] for name in _TEXTS},
            price=Money(Decimal(amount), currency),
            arrives_from=first,
            arrives_until=last,
            until=until,
            formats=frozenset(LabelFormat(one) for one in told["formats"]),
            needs_more=told["needs_more"],
        )


_TEXTS = ("id", "carrier_id", "carrier", "service_id", "service", "token", "document", "parcel")


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
    that the shipment must not be confirmed once more. `whereabouts` is where the parcel is, where the platform tells it here.
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
    whereabouts: Whereabouts | None = None


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


@dataclass(frozen=True, slots=True)
class Wish:
    """Which offer is to be taken: that of a service, or else the cheapest; with `in_time` only of those that arrive within what
    the buyer was promised. Never one that costs more than `most`."""

    service_id: str | None = None
    in_time: bool = True
    most: Money | None = None


@dataclass(frozen=True, slots=True)
class KeptLabel:
    """A label as the house keeps it. `id` is its reference, and `shop` who sold it: a carrier of ours, or a channel.

    `lines` are (the channel's order line id, units). `printable`: its document is kept, and can be fetched. `confirmed_by` is the
    operation that told the order's channel of the parcel. `missing` says why there is no document, or what else is wrong.
    """

    id: str
    shop: ChannelId
    order: OrderId
    operation: OperationId
    location: LocationCode
    lines: tuple[tuple[str, int], ...]
    format: LabelFormat
    status: LabelStatus
    carrier: str
    service: str
    price: Money
    tracking_number: str | None
    shipment_id: str | None
    confirms_order: bool
    confirmed_by: OperationId | None
    replaces: str | None
    missing: str | None
    whereabouts: Whereabouts | None
    bought_at: datetime
    printable: bool


# A parcel with such a label is on its way, or may be: the units in it are spoken for.
HOLDING = frozenset({LabelStatus.BOUGHT, LabelStatus.REFUND_REFUSED})


def taken(offers: Sequence[Offer], wish: Wish, format: LabelFormat, by: datetime | None) -> Offer:
    """The offer that is wished for: of equal prices the one that arrives first. `by` is what the buyer was promised, if anything.

    Raises NotFound where nobody carries the parcel so, Conflict where nobody does in time or for as little; both say what there
    is.
    """
    fit = [one for one in offers if not one.needs_more and (not one.formats or format in one.formats)]
    if wish.service_id is not None:
        fit = [one for one in fit if one.service_id == wish.service_id]
        if not fit:
            raise NotFound(
                f"There is no service {wish.service_id} for this parcel; {_told(offers)}.", field=("service",)
            )
    elif not fit:
        raise NotFound(
            f"Nobody carries this parcel with a label as {format.value}; {_told(offers)}.", field=("format",)
        )
    elif wish.in_time and by is not None:
        late, fit = fit, [one for one in fit if one.arrives_until is not None and one.arrives_until <= by]
        if not fit:
            raise Conflict(
                f"No service brings it by {by:%Y-%m-%d %H:%M} UTC, as the buyer was promised; {_told(late)}. Name a service, or "
                "set `inTime` to false.",
                field=("inTime",),
            )
    if len({one.price.currency for one in fit}) > 1:
        raise Conflict(
            f"Prices in several currencies cannot be compared; name a service: {_told(fit)}.", field=("service",)
        )
    found = min(fit, key=lambda one: (one.price.amount, _arrival(one), one.service_id))
    if wish.most is not None and (wish.most.currency != found.price.currency or found.price.amount > wish.most.amount):
        raise Conflict(
            f"{found.service} costs {found.price.amount} {found.price.currency}, more than {wish.most.amount} "
            f"{wish.most.currency}.",
            field=("most",),
        )
    return found


def _arrival(one: Offer) -> float:
    return float("inf") if one.arrives_until is None else one.arrives_until.timestamp()


def _told(offers: Sequence[Offer]) -> str:
    """What there is, in words for people."""
    if not offers:
        return "nothing is offered for it"
    told = (
        f"{one.service} ({one.service_id}) for {one.price.amount} {one.price.currency}"
        + (f" until {one.arrives_until:%Y-%m-%d}" if one.arrives_until else "")
        for one in offers[:5]
    )
    return f"there is {', '.join(told)}"
