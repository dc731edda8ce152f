"""A settlement as a file: one line for the whole, then a line for each amount, in the manner of its store.

In Europe amounts have a comma and dates are written day first; yen have no decimals. Column promotion-id stands in American files
alone. Source: SP-API documentation, "Settlement reports attributes"; files of sellers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from sandbox.amazon.flat_files import HANDS, Hand, written
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.state import money

COLUMNS = (
    "settlement-id",
    "settlement-start-date",
    "settlement-end-date",
    "deposit-date",
    "total-amount",
    "currency",
    "transaction-type",
    "order-id",
    "merchant-order-id",
    "adjustment-id",
    "shipment-id",
    "marketplace-name",
    "amount-type",
    "amount-description",
    "amount",
    "fulfillment-id",
    "posted-date",
    "posted-date-time",
    "order-item-code",
    "merchant-order-item-id",
    "merchant-adjustment-item-id",
    "sku",
    "quantity-purchased",
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a store writes instants, dates and decimals; `promotions` adds the column promotion-id."""

    instant: str = "%Y-%m-%d %H:%M:%S UTC"
    date: str = "%Y/%m/%d"
    mark: str = "."
    promotions: bool = False


_EUROPE = Dialect("%d.%m.%Y %H:%M:%S UTC", "%d.%m.%Y", ",")
DIALECTS = {"US": Dialect(date="%m/%d/%Y", promotions=True), "DE": _EUROPE, "FR": _EUROPE, "JP": Dialect()}


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole of a settlement."""

    id: str
    marketplace: str
    start: datetime
    end: datetime
    deposited_at: datetime
    total: Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """One amount, signed as the seller sees it. What is blank does not apply."""

    transaction: str
    kind: str
    description: str
    amount: Decimal
    posted_at: datetime
    order: str = ""
    merchant_order: str = ""
    adjustment: str = ""
    shipment: str = ""
    store: str = ""
    network: str = ""
    item: str = ""
    merchant_item: str = ""
    sku: str = ""
    quantity: int | None = None

    def with_(self, **changes: Any) -> Self:
        return replace(self, **changes)


def file_of(summary: Summary, entries: Iterable[Entry]) -> tuple[bytes, Hand]:
    """The file, and how it is kept."""
    dialect, hand = DIALECTS[summary.marketplace], HANDS[summary.marketplace]
    columns = (*COLUMNS, "promotion-id") if dialect.promotions else COLUMNS
    lines = [_first(summary, dialect), *(_line(summary, entry, dialect) for entry in entries)]
    return written(hand, columns, ([line.get(name, "") for name in columns] for line in lines)), hand


def _first(summary: Summary, dialect: Dialect) -> dict[str, str]:
    return {
        "settlement-id": summary.id,
        "settlement-start-date": summary.start.strftime(dialect.instant),
        "settlement-end-date": summary.end.strftime(dialect.instant),
        "deposit-date": summary.deposited_at.strftime(dialect.instant),
        "total-amount": _amount(summary.total, summary.marketplace, dialect),
        "currency": MARKETPLACES[summary.marketplace].currency,
    }


def _line(summary: Summary, entry: Entry, dialect: Dialect) -> dict[str, str]:
    return {
        "settlement-id": summary.id,
        "transaction-type": entry.transaction,
        "order-id": entry.order,
        "merchant-order-id": entry.merchant_order,
        "adjustment-id": entry.adjustment,
        "shipment-id": entry.shipment,
        "marketplace-name": entry.store,
        "amount-type": entry.kind,
        "amount-description": entry.description,
        "amount": _amount(entry.amount, summary.marketplace, dialect),
        "fulfillment-id": entry.network,
        "posted-date": entry.posted_at.strftime(dialect.date),
        "posted-date-time": entry.posted_at.strftime(dialect.instant),
        "order-item-code": entry.item,
        "merchant-adjustment-item-id": entry.merchant_item,
        "sku": entry.sku,
        "quantity-purchased": "" if entry.quantity is None else str(entry.quantity),
    }


def _amount(amount: Decimal, marketplace: str, dialect: Dialect) -> str:
    return str(money(amount, marketplace)).replace(".", dialect.mark)
