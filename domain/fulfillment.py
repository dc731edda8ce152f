"""What of an order is sent from one place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from fractions import Fraction

from domain.ids import LineId, LocationCode, OrderId, Sku
from domain.money import Money
from domain.order import Order, OrderStatus, Shipment
from domain.sourcing import shares


class FulfillmentStatus(Enum):
    """How far it has come."""

    OPEN = "OPEN"  # promised there, and to be sent
    BACKORDERED = "BACKORDERED"  # some of it waits for units that are announced
    ON_HOLD = "ON_HOLD"  # not to be sent yet: held, or not paid
    PARTIALLY_SHIPPED = "PARTIALLY_SHIPPED"
    SHIPPED = "SHIPPED"


@dataclass(frozen=True, slots=True)
class FulfillmentLine:
    """Units of one SKU for one order line: of a kit's line its components, which is what lies at the place. `quantity` counts
    what has left, too; `backordered` of the rest wait for announced units, `expected_on` that day where a rule tells one."""

    line: LineId
    sku: Sku
    quantity: int
    quantity_shipped: int
    backordered: int = 0
    expected_on: date | None = None


@dataclass(frozen=True, slots=True)
class Fulfillment:
    """The part of an order that one place sends."""

    order: OrderId
    place: LocationCode
    lines: tuple[FulfillmentLine, ...]

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.order}:{self.place}"

    @property
    def units(self) -> int:
        """All of it, what has left too."""
        return sum(line.quantity for line in self.lines)

    @property
    def open(self) -> int:
        """What of it has not left."""
        return self.units - sum(line.quantity_shipped for line in self.lines)

    def status(self, order: Order) -> FulfillmentStatus:
        """How far it has come, as part of its order."""
        if not self.open:
            return FulfillmentStatus.SHIPPED
        if order.standing in (OrderStatus.ON_HOLD, OrderStatus.PENDING):
            return FulfillmentStatus.ON_HOLD
        if any(line.backordered for line in self.lines):
            return FulfillmentStatus.BACKORDERED
        return FulfillmentStatus.PARTIALLY_SHIPPED if self.open < self.units else FulfillmentStatus.OPEN


def parcels_of(one: Fulfillment, all_of_it: Sequence[Fulfillment], order: Order) -> list[Shipment]:
    """The parcels that left from there. Channels do not tell from where: known where all that has left was from one place."""
    left = [other for other in all_of_it if any(line.quantity_shipped for line in other.lines)]
    return list(order.shipments) if [other.place for other in left] == [one.place] else []


def values_of(parts: Sequence[Fulfillment], order: Order) -> list[Money] | list[None]:
    """Each part's share of the order's total, which they sum to exactly: by what its lines cost, or by units where that is not
    told. A line that several places send is shared by units."""
    if order.total is None:
        return [None] * len(parts)
    counts: Counter[LineId] = Counter()
    for part in parts:
        for line in part.lines:
            counts[line.line] += line.quantity
    totals = {line.id: line.total for line in order.lines}
    amounts = {id: totals.get(id) for id in counts}
    told = all(one is not None and one.currency == order.total.currency and one.amount >= 0 for one in amounts.values())
    weights = []
    for part in parts:
        exact = Fraction(0)
        for line in part.lines:
            amount = amounts[line.line]
            worth = Fraction(amount.amount) if told and amount is not None else Fraction(counts[line.line])
            exact += worth * line.quantity / counts[line.line]
        weights.append(exact)
    scale = math.lcm(*(one.denominator for one in weights))
    return shares(order.total, [int(one * scale) for one in weights])
