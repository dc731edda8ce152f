"""Parcels that are to get a label: what is asked for, as an item of an operation carries it, without the buyer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.address import Address
from domain.channel import Location
from domain.errors import Invalid
from domain.ids import LocationCode, OrderId
from domain.label import Box, LabelFormat, LabelLine, LabelWanted, Wish
from domain.money import Money
from domain.order import Order
from domain.person import Person


@dataclass(frozen=True, slots=True)
class Package:
    """A parcel of an order. `reference` is the label's id; `lines` are (the channel's order line id, units).

    `confirm`: its channel is told of the parcel once the label is there. `replaces` is the label whose place it takes.
    """

    reference: str
    order: OrderId
    location: LocationCode
    lines: tuple[tuple[str, int], ...]
    box: Box
    format: LabelFormat
    wish: Wish
    ship_at: datetime | None = None
    confirm: bool = False
    replaces: str | None = None

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        box, wish = self.box, self.wish
        return {
            "reference": self.reference,
            "order_id": self.order,
            "location": self.location,
            "lines": [[line, units] for line, units in self.lines],
            "box": [str(one) for one in (box.length_cm, box.width_cm, box.height_cm, box.weight_g)],
            "format": self.format.value,
            "service": wish.service_id,
            "in_time": wish.in_time,
            "most": None if wish.most is None else [str(wish.most.amount), wish.most.currency],
            "ship_at": None if self.ship_at is None else self.ship_at.isoformat(),
            "confirm": self.confirm,
            "replaces": self.replaces,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Package:
        """The same again."""
        most, ship_at = told["most"], told["ship_at"]
        return cls(
            reference=told["reference"],
            order=OrderId(told["order_id"]),
            location=LocationCode(told["location"]),
            lines=tuple((str(line), int(units)) for line, units in told["lines"]),
            box=Box(*(Decimal(one) for one in told["box"])),
            format=LabelFormat(told["format"]),
            wish=Wish(told["service"], told["in_time"], None if most is None else Money(Decimal(most[0]), most[1])),
            ship_at=None if ship_at is None else datetime.fromisoformat(ship_at),
            confirm=told["confirm"],
            replaces=told["replaces"],
        )

    def wanted(self, order: Order, places: Iterable[Location], person: Person | None, *, own: bool) -> LabelWanted:
        """As who sells labels is asked for one; where it is the order's `own` channel, that knows the buyer.

        Raises Invalid where one of the two addresses is not known.
        """
        place = next((one for one in places if one.code == self.location), None)
        if place is None or place.address is None:
            raise Invalid(
                f"There is no address of {self.location} to send from; add [locations.address] to acorn.toml.",
                field=("from",),
            )
        lines = {line.external_id: line for line in order.lines}
        return LabelWanted(
            reference=self.reference,
            marketplace=order.marketplace or "",
            order_id=order.external_id if own else None,
            lines=tuple(
                LabelLine(line, units, lines[line].unit_price if line in lines else None) for line, units in self.lines
            ),
            box=self.box,
            ship_from=place.address,
            ship_to=None if own else _home(order, person),
            ship_at=self.ship_at,
            format=self.format,
            known=frozenset(parcel.tracking_number for parcel in order.shipments),
        )


def _home(order: Order, person: Person | None) -> Address:
    if person is None or person.ship_to is None:
        raise Invalid(
            f"Where the buyer of order {order.external_id} lives is not known here: set `buyers = true` for {order.channel}, "
            "or the address was forgotten.",
            field=("orderId",),
        )
    return person.ship_to.address(person.email)
