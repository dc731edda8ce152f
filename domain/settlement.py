"""Settlements as channels write them: a total, and the rows that have to come to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from domain.ids import ChannelId
from domain.money import Money


class SettlementKind(Enum):
    """A marketplace's statement of a period, or what a payment provider of a shop pays out."""

    SETTLEMENT = "SETTLEMENT"
    PAYOUT = "PAYOUT"


@dataclass(frozen=True, slots=True)
class Statement:
    """The whole of one. The period is [`starts_at`, `ends_at`). `total` is what reaches the bank (or, below zero, is owed).
    `reference` is what the bank statement shows, where the channel tells it."""

    channel: ChannelId
    kind: SettlementKind
    external_id: str
    marketplace: str | None
    starts_at: datetime
    ends_at: datetime
    deposited_at: datetime | None
    total: Money
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(Statement):
    """One that is kept: of so many rows, since that instant."""

    id: str
    line_count: int
    kept_at: datetime


class StatementRow(NamedTuple):
    """One amount of a settlement file, as it stands there; what is blank there is None. `number` counts the data lines from
    1, the summary not among them; `marketplace` is the code of the one that it names, None where it names none of the platform's;
    `extra` are columns that we do not know, by name. In the statement's currency."""

    number: int
    kind: str
    amount_kind: str
    description: str
    amount: Decimal
    posted_at: datetime
    order_id: str | None = None
    merchant_order_id: str | None = None
    adjustment_id: str | None = None
    shipment_id: str | None = None
    marketplace: str | None = None
    network: str | None = None
    item_id: str | None = None
    merchant_order_item_id: str | None = None
    merchant_adjustment_item_id: str | None = None
    sku: str | None = None
    units: int | None = None
    extra: Mapping[str, str] | None = None
