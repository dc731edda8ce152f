"""Labels that carriers sell: rates out of weight and distance, purchases that ship the order they are for, money given back.

One store behind Merchant Fulfillment v0 and Shipping v2. Rates die after ten minutes.
"""

import struct
import uuid
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.amazon.auth import Account
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.news import order_changed
from sandbox.amazon.state import Amazon, Order, Package, money
from sandbox.journal import iso

RATES_S = 600
MOST_GRAMS = 30_000
_REFUND_S = 3600
_TOO_LATE_S = 86_400


@dataclass(frozen=True, slots=True)
class Service:
    """What a carrier offers: `base` and `per_kg` in the marketplace's currency, `days` until the parcel arrives."""

    id: str
    name: str
    carrier: str
    carrier_id: str
    base: Decimal
    per_kg: Decimal
    days: int


SERVICES = (
    Service("UPS_PTP_GND", "UPS Ground", "UPS", "UPS", Decimal("7.40"), Decimal("0.95"), 4),
    Service("UPS_PTP_2ND_DAY_AIR", "UPS 2nd Day Air", "UPS", "UPS", Decimal("16.20"), Decimal("2.10"), 2),
    Service("AMZN_STD", "Amazon Shipping Standard", "Amazon Shipping", "AMZN_US", Decimal("6.10"), Decimal("1.05"), 3),
)


@dataclass(frozen=True, slots=True)
class Rate:
    """One offer. `until` is in sandbox seconds."""

    id: str
    account: Account
    service: Service
    price: Decimal
    currency: str
    ships_at: datetime
    arrives_at: datetime
    until: float
    token: str = ""
    order: Order | None = None
    items: dict[str, int] = field(default_factory=dict)
    reference: str = ""


@dataclass(slots=True)
class Bought:
    """One label. `asked` is the request that bought it, `refund_due` the second at which a refund is decided."""

    id: str
    rate: Rate
    tracking: str
    format: str
    file: bytes
    bought_at: datetime
    bought_s: float
    asked: dict[str, Any]
    status: str = "Purchased"
    updated_at: datetime | None = None


class Labels:
    """All labels of one sandbox."""

    def __init__(self, amazon: Amazon) -> None:
        self.amazon = amazon
        self.rates: dict[str, Rate] = {}
        self.bought: dict[str, Bought] = {}
        self.by_key: dict[tuple[str, str], Bought] = {}

    def offer(
        self,
        account: Account,
        marketplace: str,
        grams: Decimal,
        postal_codes: tuple[str, str],
        *,
        order: Order | None = None,
        items: dict[str, int] | None = None,
        reference: str = "",
    ) -> list[Rate]:
        """Each service's price for a parcel of that weight, between those two postal codes."""
        place = MARKETPLACES[marketplace]
        token, now = uuid.uuid4().hex.upper(), self.amazon.clock.now()
        # Far or near by the first digits, as carriers' zones go.
        zones = abs(sum(map(ord, postal_codes[0][:2])) - sum(map(ord, postal_codes[1][:2]))) % 8
        scale = 150 if place.currency == "JPY" else 1
        found = []
        for service in SERVICES:
            price = (service.base + service.per_kg * grams / 1000 + Decimal("0.25") * zones) * scale
            rate = Rate(
                id=uuid.uuid4().hex,
                account=account,
                service=service,
                price=money(price, marketplace),
                currency=place.currency,
                ships_at=now,
                arrives_at=now + timedelta(days=service.days),
                until=self.amazon.clock.seconds() + RATES_S,
                token=token,
                order=order,
                items=items or {},
                reference=reference,
            )
            self.rates[rate.id] = rate
            found.append(rate)
        return found

    def dead(self, rate: Rate) -> bool:
        return self.amazon.clock.seconds() >= rate.until

    def buy(self, rate: Rate, format: str, operation: str, asked: dict[str, Any]) -> Bought:
        """The label, and its parcel on its order, seen after the lag."""
        now = self.amazon.clock.now()
        dice = self.amazon.world.random("label", len(self.bought), rate.service.id)
        tracking = f"1Z17E2{dice.randrange(10**11, 10**12)}"
        bought = Bought(
            id=str(uuid.uuid4()),
            rate=rate,
            tracking=tracking,
            format=format,
            file=document(format, tracking),
            bought_at=now,
            bought_s=self.amazon.clock.seconds(),
            asked=asked,
            updated_at=now,
        )
        self.bought[bought.id] = bought
        if rate.order is not None:
            self._ship(rate.order, bought, now)
        detail = {"label": "bought", "service": rate.service.id, "tracking": tracking, "price": str(rate.price)}
        key = rate.order.id if rate.order is not None else rate.reference
        self.amazon.journal.effect(operation, key, {**detail, "shipmentId": bought.id})
        return bought

    def _ship(self, order: Order, bought: Bought, now: datetime) -> None:
        package = Package(
            reference=str(900_000 + len(self.bought)),
            carrier=bought.rate.service.carrier,
            service=bought.rate.service.name,
            tracking=bought.tracking,
            shipped_at=now,
            created_at=now,
            shown_at=self.amazon.shown_from,
            items=bought.rate.items,
        )
        order.packages[package.reference] = package

        def show() -> None:
            order.visible[package.reference] = package
            order.updated_at = self.amazon.clock.now()
            order_changed(self.amazon, order)

        self.amazon.later(show)

    def refund(self, bought: Bought, operation: str) -> None:
        """Ask for the money back: given after an hour, refused for a label of which the carrier may have the parcel by now. The
        order stays shipped."""
        if bought.status != "Purchased":
            return
        late = self.amazon.clock.seconds() - bought.bought_s >= _TOO_LATE_S
        self._turn(bought, "RefundPending")
        self.amazon.journal.effect(operation, bought.id, {"label": "refund asked", "tracking": bought.tracking})

        def decide() -> None:
            self._turn(bought, "RefundRejected" if late else "RefundApplied")
            self.amazon.journal.effect("refund", bought.id, {"label": bought.status})

        self.amazon.later(decide, _REFUND_S)

    def late(self, bought: Bought) -> bool:
        """Whether the carrier has the parcel."""
        return self.amazon.clock.seconds() - bought.bought_s >= _TOO_LATE_S

    def _turn(self, bought: Bought, status: str) -> None:
        bought.status, bought.updated_at = status, self.amazon.clock.now()


def document(format: str, tracking: str) -> bytes:
    """A small label of its kind that opens: PDF, PNG or ZPL."""
    if format == "PDF":
        return _pdf(tracking)
    if format == "PNG":
        return _png()
    return f"^XA^FO50,50^A0N,40,40^FD{tracking}^FS^FO50,120^BCN,100^FD{tracking}^FS^XZ\n".encode()


def _pdf(text: str) -> bytes:
    drawn = f"BT /F1 14 Tf 20 400 Td ({text}) Tj ET".encode()
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 288 432]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length " + str(len(drawn)).encode() + b">>stream\n" + drawn + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    file, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(file))
        file += f"{number} 0 obj".encode() + one + b"endobj\n"
    table = b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    tail = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(file)}\n%%EOF\n".encode()
    return file + head + table + tail


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([0b10110011, 0b01010101]) for _ in range(16))
    head = struct.pack(">IIBBBBB", 16, 16, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def moment(at: datetime | None) -> str:
    assert at is not None
    return iso(at)
