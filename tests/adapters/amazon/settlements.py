"""Settlement files in the manner of four stores, and what is done to them by who means no good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from adapters.amazon.settlement_file import SettlementFile
from domain.settlement import StatementRow
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.settlement_files import Entry, Summary, file_of

START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 11, 15, tzinfo=UTC)
STORES = ("US", "DE", "FR", "JP")
SUBSCRIPTIONS = {"US": "Subscription Fee", "DE": "Abonnementgebühr", "FR": "Frais d'abonnement", "JP": "月額登録料"}


def entries(store: str, number: int = 1) -> list[Entry]:
    """An order of two lines in parts, one of them given back; a label by its shipment, a loss paid for and taken back, and a fee
    without any id."""
    name, at = MARKETPLACES[store].name, START + timedelta(days=3, seconds=number)
    order = f"305-{number:07d}-1234567"

    def part(kind: str, description: str, amount: str, item: str, units: int | None = None) -> Entry:
        return Entry(
            "Order", kind, description, whole(store, amount), at,
            order=order, shipment=f"S{number}", store=name, network="AFN", item=item, sku=f"SKU-{item}", quantity=units,
        )  # fmt: skip

    back = part("ItemPrice", "Principal", "-20.50", "2", 1).with_(transaction="Refund", adjustment=f"A{number}")
    paid = Entry(
        "other-transaction", "FBA Inventory Reimbursement", "WAREHOUSE_DAMAGE", whole(store, "8.25"), at,
        adjustment=f"{number:012d}", sku="SKU-1", quantity=1,
    )  # fmt: skip
    return [
        part("ItemPrice", "Principal", "41.00", "1", 2),
        part("ItemPrice", "Tax", "7.79", "1"),
        part("ItemFees", "Commission", "-6.15", "1"),
        part("ItemPrice", "Principal", "20.50", "2", 1),
        part("ItemFees", "Commission", "-3.08", "2"),
        back,
        Entry(
            "other-transaction",
            "other-transaction",
            "Shipping label purchase",
            whole(store, "-4.49"),
            at,
            shipment="S9",
        ),
        paid,
        paid.with_(description="REVERSAL_REIMBURSEMENT", amount=-paid.amount),
        Entry("other-transaction", "other-transaction", SUBSCRIPTIONS[store], whole(store, "-39.00"), at),
    ]


def whole(store: str, amount: str) -> Decimal:
    """An amount with the decimals of the store's currency."""
    return Decimal(amount).quantize(Decimal(1).scaleb(-MARKETPLACES[store].places))


def file_in(
    store: str, rows: Sequence[Entry], total: Decimal | None = None, id: str = "12345678901"
) -> tuple[bytes, str]:
    """The file, and its content type; `total` where it is to be another than the sum."""
    summed = sum((one.amount for one in rows), Decimal(0)) if total is None else total
    content, hand = file_of(Summary(id, store, START, END, END + timedelta(days=2), summed), rows)
    return content, hand.content_type


def is_utf8(content: bytes) -> bool:
    """Whether all of it is UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def read(content: bytes, content_type: str = "", size: int = 1 << 20) -> tuple[SettlementFile, list[StatementRow]]:
    """The file as it is read, so many bytes at a time. Raises FileRefused."""
    reader = SettlementFile(content_type, utf8=is_utf8(content))
    rows = [row for at in range(0, len(content), size) for row in reader.feed(content[at : at + size])]
    return reader, rows + reader.close()
