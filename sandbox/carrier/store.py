"""What the aggregator sells: services of carriers, prices out of weight and distance, labels, and money given back."""

import struct
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.bucket import Bucket
from sandbox.control import Core

TOKEN, READ_TOKEN = "ct_sandbox", "ct_sandbox_readonly"
CURRENCY = "EUR"
QUOTA, WINDOW_S = 600, 60
CENT = Decimal("0.01")
MOST_GRAMS = 31_500
MOST_CM = 120
# A refund is decided so long after it was asked for; and asked for later than that it is refused, for the carrier may have the
# parcel by then.
REFUND_S = 3_600
TOO_LATE_S = 7 * 86_400

FORMATS = {"pdf": "application/pdf", "png": "image/png", "zpl203": "application/zpl", "zpl300": "application/zpl"}
STATUSES = ("label_created", "in_transit", "out_for_delivery", "delivered", "delivery_failed", "returned", "lost")


@dataclass(frozen=True, slots=True)
class Service:
    """`base` and `per_kg` in CURRENCY, `days` until the parcel arrives, `abroad` what it costs more beyond the border (None: it
    stays at home)."""

    carrier: str
    carrier_name: str
    service: str
    service_name: str
    base: Decimal
    per_kg: Decimal
    days: int
    abroad: Decimal | None
    formats: tuple[str, ...] = tuple(FORMATS)


SERVICES = (
    Service("dhl", "DHL", "paket", "DHL Paket", Decimal("4.80"), Decimal("0.55"), 2, Decimal("9.10")),
    Service("dhl", "DHL", "express", "DHL Express", Decimal("14.90"), Decimal("1.80"), 1, Decimal("21.00")),
    Service(
        "hermes", "Hermes", "standard", "Hermes Standard", Decimal("3.95"), Decimal("0.60"), 4, None, ("pdf", "png")
    ),
    Service("ups", "UPS", "standard", "UPS Standard", Decimal("5.60"), Decimal("0.70"), 3, Decimal("7.30")),
)


@dataclass(slots=True)
class Label:
    """One that was bought; instants of the sandbox's clock."""

    id: str
    reference: str
    service: Service
    price: Decimal
    tracking: str
    format: str
    bought_at: datetime
    status: str = "bought"
    where: str = "label_created"
    where_at: datetime | None = None
    asked_back_at: datetime | None = None

    def told(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "reference": self.reference,
            "status": self.status,
            "carrier": self.service.carrier,
            "carrier_name": self.service.carrier_name,
            "service": self.service.service,
            "service_name": self.service.service_name,
            "price": {"amount": str(self.price), "currency": CURRENCY},
            "tracking_number": self.tracking,
            "format": self.format,
            "bought_at": stamp(self.bought_at),
            "tracking": {"status": self.where, "at": stamp(self.where_at or self.bought_at)},
        }


@dataclass(slots=True)
class Carrier:
    """All that one account has bought. `keys` stand for the labels that they bought, for ever."""

    core: Core
    bucket: Bucket = field(init=False)
    labels: dict[str, Label] = field(default_factory=dict)
    by_reference: dict[str, Label] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    balance: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        self.bucket = Bucket(QUOTA / WINDOW_S, QUOTA, self.core.clock)

    def price(self, service: Service, grams: Decimal, home: tuple[str, str], there: tuple[str, str]) -> Decimal | None:
        """By weight, and by how far the first digits of (country, postal code) lie apart; None where it does not go there."""
        if home[0] != there[0] and service.abroad is None:
            return None
        far = abs(sum(map(ord, home[1][:2])) - sum(map(ord, there[1][:2]))) % 6
        abroad = service.abroad if home[0] != there[0] and service.abroad is not None else Decimal(0)
        return (service.base + service.per_kg * grams / 1000 + Decimal("0.15") * far + abroad).quantize(CENT)

    def buy(self, reference: str, service: Service, price: Decimal, format: str) -> Label:
        """A label; its price is charged."""
        number = len(self.labels) + 1
        dice = self.core.world.random("carrier label", number)
        label = Label(
            id=f"lbl_{number:06d}",
            reference=reference,
            service=service,
            price=price,
            tracking=f"{service.carrier.upper()}{dice.randrange(10**11, 10**12)}",
            format=format,
            bought_at=self.core.clock.now(),
        )
        self.labels[label.id] = self.by_reference[reference] = label
        self.balance += price
        detail = {"label": "bought", "id": label.id, "price": str(price), "tracking": label.tracking}
        self.core.journal.effect("buyLabel", reference, detail)
        return label

    def void(self, label: Label) -> bool:
        """Ask for the money back, once; False where the carrier has the parcel, or may have it."""
        if label.status != "bought":
            return label.status != "refund_refused"
        age = (self.core.clock.now() - label.bought_at).total_seconds()
        if label.where != "label_created" or age >= TOO_LATE_S:
            return False
        label.status, label.asked_back_at = "refund_pending", self.core.clock.now()
        self.core.journal.effect("voidLabel", label.reference, {"label": "asked back", "id": label.id})
        return True

    def settle(self) -> None:
        """Decide the refunds that are due: refused where the parcel was scanned meanwhile."""
        now = self.core.clock.now()
        for label in self.labels.values():
            if label.asked_back_at is None or label.status != "refund_pending":
                continue
            if now - label.asked_back_at < timedelta(seconds=REFUND_S):
                continue
            label.status = "refunded" if label.where == "label_created" else "refund_refused"
            if label.status == "refunded":
                self.balance -= label.price
            self.core.journal.effect("refund", label.reference, {"label": label.status, "price": str(label.price)})


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC."""
    return at.isoformat().replace("+00:00", "Z")


def document(format: str, tracking: str, to: str) -> bytes:
    """A small label of its kind that opens. PDF and ZPL show who gets the parcel, as real ones do."""
    if format == "pdf":
        return _pdf(f"{tracking} / {to}")
    if format == "png":
        return _png(tracking)
    return f"^XA^FO50,50^A0N,40,40^FD{to}^FS^FO50,120^BCN,100^FD{tracking}^FS^XZ\n".encode()


def _pdf(text: str) -> bytes:
    shown = text.encode("latin-1", "replace").replace(b"\\", b"").replace(b"(", b"").replace(b")", b"")
    drawn = b"BT /F1 12 Tf 20 400 Td (" + shown + b") Tj ET"
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
    return (
        file
        + head
        + table
        + f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(file)}\n%%EOF\n".encode()
    )


def _png(tracking: str) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    bars = bytes(sum(1 << bit for bit, sign in enumerate(tracking[at : at + 8]) if ord(sign) % 2) for at in (0, 5))
    head = struct.pack(">IIBBBBB", 16, 16, 1, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bars for _ in range(16))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
