"""Orders to be shipped and parcels to be labeled, for the tests of both."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from domain.address import Address
from domain.ids import ChannelSku
from domain.label import Box, LabelLine, LabelWanted
from domain.money import Money
from domain.outbound import OutboundLine, OutboundOrder

BUYER = Address(
    country="US",
    name="Ottilie Vandermark",
    line1="1917 Quince Hollow Lane",
    postal_code="98103-4410",
    city="Seattle",
    state="WA",
    phone="206-555-0143",
)
DEPOT = Address(
    country="US",
    name="Depot Reno",
    line1="400 Depot Street",
    postal_code="89502",
    city="Reno",
    state="NV",
    phone="775-555-0100",
    email="depot@shop.example",
)


def make_outbound(*lines: tuple[str, int], id: str = "shop-1001", **changes: Any) -> OutboundOrder:
    """An order of these (SKU, units)."""
    values: dict[str, Any] = {
        "id": id,
        "shown_id": "#1001",
        "placed_at": datetime(2026, 11, 20, 8, 30, tzinfo=UTC),
        "comment": "Thank you",
        "marketplace": "US",
        "address": BUYER,
        "lines": tuple(
            OutboundLine(f"line-{number}", ChannelSku(sku), units)
            for number, (sku, units) in enumerate(lines or (("SKU-1", 2),))
        ),
    }
    return OutboundOrder(**(values | changes))


def make_wanted(*lines: tuple[str, int], order_id: str | None = "902-1106328-1059050", **changes: Any) -> LabelWanted:
    """A parcel of these (order line id, units)."""
    values: dict[str, Any] = {
        "reference": "parcel-1",
        "marketplace": "US",
        "order_id": order_id,
        "lines": tuple(
            LabelLine(id, units, unit_value=Money(Decimal("19.99"), "USD")) for id, units in lines or (("1", 2),)
        ),
        "box": Box(Decimal("30"), Decimal("20"), Decimal("10.5"), Decimal("850")),
        "ship_from": DEPOT,
        "ship_to": None if order_id else BUYER,
    }
    return LabelWanted(**(values | changes))
