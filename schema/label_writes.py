"""What is asked for when labels are bought and given back."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import strawberry

from domain.errors import NotFound, Refused
from domain.ids import ChannelId, LineId, LocationCode, OrderId, node_key
from domain.label import Box, Wish
from domain.money import Money
from domain.shipment import ShippedLine
from resolvers.label import PackageRequest
from schema.enums import LabelFormat
from schema.order import ShipmentLineInput


@strawberry.input(description="The size of a parcel in centimeters, and what it weighs in grams.")
class BoxInput:
    length_cm: Decimal
    width_cm: Decimal
    height_cm: Decimal
    weight_g: Decimal


@strawberry.input(description="The most that something may cost.")
class MostInput:
    amount: Decimal
    currency: str


@strawberry.input(description="A parcel that is to get a label.")
class PackageInput:
    order_id: strawberry.ID
    box: BoxInput
    lines: list[ShipmentLineInput] | None = strawberry.field(
        default=None, description="What is in it; left out: all that is open and in no other parcel."
    )
    location: str | None = strawberry.field(
        default=None,
        description=(
            "The code of the place it is sent from; left out: where all its units are promised, else the only place that has an "
            "address."
        ),
    )
    seller: str | None = strawberry.field(
        default=None,
        description=(
            "Who sells the label: a carrier of acorn.toml, or the order's channel. Left out: the channel where it sells labels, "
            "else the only carrier there is."
        ),
    )
    service_id: str | None = strawberry.field(
        default=None, description="`LabelOffer.serviceId`; left out: the cheapest that arrives in time."
    )
    in_time: bool | None = strawberry.field(
        default=True, description="False: the cheapest, also where it arrives later than the buyer was promised."
    )
    most: MostInput | None = strawberry.field(default=None, description="Nothing is bought that costs more.")
    format: LabelFormat | None = LabelFormat.PDF
    ship_at: datetime | None = strawberry.field(default=None, description="When it leaves; left out: now.")
    replaces_id: strawberry.ID | None = strawberry.field(
        default=None, description="The label that was given back and whose place this one takes."
    )

    def to_domain(self, at: tuple[str, ...]) -> PackageRequest:
        """As the resolver takes it. Raises Refused, with the field below `at`."""
        lines = None
        if self.lines is not None:
            lines = tuple(
                ShippedLine(
                    LineId(_key("OrderLine", one.order_line_id, (*at, "lines", str(index), "orderLineId"))),
                    one.quantity,
                )
                for index, one in enumerate(self.lines)
            )
        return PackageRequest(
            order=OrderId(_key("Order", self.order_id, (*at, "orderId"))),
            box=_box(self.box, (*at, "box")),
            lines=lines,
            place=None if self.location is None else LocationCode(self.location),
            shop=None if self.seller is None else ChannelId(self.seller.removeprefix("Channel:")),
            wish=Wish(self.service_id, self.in_time is not False, _most(self.most, (*at, "most"))),
            format=self.format or LabelFormat.PDF,
            ship_at=self.ship_at,
            replaces=None if self.replaces_id is None else _key("Label", self.replaces_id, (*at, "replacesId")),
        )


@strawberry.input(description="Labels to buy, each once.")
class BuyLabelsInput:
    packages: list[PackageInput]
    confirm: bool | None = strawberry.field(
        default=False,
        description="True: the order's channel is told of each parcel as soon as its label is there.",
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )
    dry_run: bool | None = strawberry.field(
        default=False,
        description="True: keep a PREVIEW that shows service and price; approveOperation buys that, and not for more.",
    )

    def to_domain(self) -> tuple[list[PackageRequest], list[Refused]]:
        """The parcels, and what is wrong with them."""
        requests: list[PackageRequest] = []
        problems: list[Refused] = []
        for index, one in enumerate(self.packages):
            try:
                requests.append(one.to_domain(("packages", str(index))))
            except Refused as problem:
                problems.append(problem)
        return requests, problems


@strawberry.input(description="Labels to give back.")
class VoidLabelsInput:
    label_ids: list[strawberry.ID]
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )

    def to_domain(self) -> list[str]:
        """Raises NotFound, with the field, for ids of another kind."""
        return [_key("Label", id, ("labelIds", str(index))) for index, id in enumerate(self.label_ids)]


def _key(kind: str, node: str, field: tuple[str, ...]) -> str:
    try:
        return node_key(kind, node)
    except NotFound as problem:
        raise NotFound(problem.message, field=field) from None


def _box(box: BoxInput, at: tuple[str, ...]) -> Box:
    try:
        return Box(box.length_cm, box.width_cm, box.height_cm, box.weight_g)
    except Refused as problem:
        problem.field = at
        raise


def _most(most: MostInput | None, at: tuple[str, ...]) -> Money | None:
    try:
        return None if most is None else Money(most.amount, most.currency)
    except Refused as problem:
        problem.field = (*at, "currency")
        raise
