"""Oversales: units that a marketplace sold beyond what there was. They are facts, and each names the lag that let it in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.ids import ChannelId, LineId, OrderId, Sku


@dataclass(frozen=True, slots=True)
class Oversale:
    """`units` of an order line that were not there to be promised when the order was seen.

    `shown` is what the channel showed when the order was placed, `told_at` since when it had been told a lower number; both None
    where it was never told anything. `cause` says in one word what let it in.
    """

    order: OrderId
    line: LineId
    sku: Sku
    channel: ChannelId
    units: int
    placed_at: datetime
    seen_at: datetime
    shown: int | None
    told_at: datetime | None
    cause: str
