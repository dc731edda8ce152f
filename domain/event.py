"""What happened, past tense. Events are told in one order; `cursor` is a place in that order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class EventKind(Enum):
    """The kinds of events. `subject` is the id of the operation, order, channel, webhook or settlement, or the SKU."""

    OPERATION_CHANGED = "OperationChanged"
    STOCK_CHANGED = "StockChanged"
    ORDER_CHANGED = "OrderChanged"
    CHANNEL_PAUSED = "ChannelPaused"
    CHANNEL_RESUMED = "ChannelResumed"
    WEBHOOK_PAUSED = "WebhookPaused"
    SETTLEMENT_KEPT = "SettlementKept"
    # A rule, a kit or a listing's SKU changed: whoever keeps answers of many SKUs in memory starts anew.
    STOCK_RULES_CHANGED = "StockRulesChanged"


@dataclass(slots=True)
class NewEvent:
    """Something to be told once the transaction that caused it has committed. `data` are JSON values."""

    kind: EventKind
    subject: str
    data: Mapping[str, object]


@dataclass(slots=True)
class Event:
    """An event at its place: `seq` grows by one with each event, without gaps."""

    seq: int
    kind: EventKind
    subject: str
    data: Mapping[str, object]
    at: datetime

    @property
    def cursor(self) -> str:
        """The public form of the place."""
        return str(self.seq)
