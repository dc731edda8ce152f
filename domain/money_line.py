"""One amount of money: the atom that settlements, profit and journals are sums of.

An amount is never changed. What is known better is another line, which replaces the one before, with the instant and the
reason: so every sum can be told as it was known on any day. Amounts are signed as we see them: what a channel takes is negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from zoneinfo import ZoneInfo

from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku
from domain.money import Money
from domain.money_class import Event, MoneyClass, Part, part_of


class Source(Enum):
    """Who told it. SETTLEMENT: a line of a settlement or a movement of a payout, which are the books. TRANSACTION: the channel's
    near-real-time view. ESTIMATE: our own reckoning of what nobody has billed yet."""

    SETTLEMENT = "SETTLEMENT"
    TRANSACTION = "TRANSACTION"
    ESTIMATE = "ESTIMATE"


class Stage(Enum):
    """How sure an amount is: reckoned by us; held back by the channel; ours and not paid yet; in a settlement."""

    ESTIMATED = "ESTIMATED"
    DEFERRED = "DEFERRED"
    RELEASED = "RELEASED"
    SETTLED = "SETTLED"


class Cause(Enum):
    """Why a line of a settlement is not tied out."""

    ORDER_UNKNOWN = "ORDER_UNKNOWN"  # it names an order, a shipment or an adjustment that we do not have
    LINE_UNKNOWN = "LINE_UNKNOWN"  # the order is there, and none of its lines is meant, or more than one could be
    SKU_UNMAPPED = "SKU_UNMAPPED"  # it names a SKU of the channel that is mapped to none of ours
    UNCLASSIFIED = "UNCLASSIFIED"  # its words are in no table
    UNAPPORTIONED = "UNAPPORTIONED"  # how much of it is tax cannot be told


@dataclass(frozen=True, slots=True)
class MoneyLine:
    """`kind`, `amount_kind` and `description` are the channel's own words. `reference` names what it was told with, in its
    source: a transaction's key, an estimate's order. `row` is its place in the `settlement`; several lines may share one that had
    to be split. `units` are sold or given back, on the line of class SALE alone; below zero where a
    sale is taken back without being a refund.

    `matched_by` names the rule that tied it to an order, a SKU or the account; `cause` why it is not tied out (or not wholly).
    """

    channel: ChannelId
    source: Source
    stage: Stage
    event: Event
    money_class: MoneyClass
    amount: Money
    posted_at: datetime
    day: date
    kind: str
    amount_kind: str = ""
    description: str = ""
    reference: str = ""
    settlement: str | None = None
    row: int | None = None
    marketplace: str | None = None
    order_external_id: str | None = None
    shipment_id: str | None = None
    adjustment_id: str | None = None
    item_id: str | None = None
    channel_sku: ChannelSku | None = None
    units: int | None = None
    order_id: OrderId | None = None
    order_line_id: LineId | None = None
    sku: Sku | None = None
    matched_by: str | None = None
    cause: Cause | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def part(self) -> Part:
        """Where it stands in a profit."""
        return part_of(self.money_class, self.event)


def day_of(event: Event, placed_at: datetime | None, posted_at: datetime, zone: ZoneInfo) -> date:
    """The day of business, by the marketplace's clock, that an amount counts for: of an order's sale, with all that it costs,
    the day the order was placed, so that it stays where it is while estimates become settlements; of all else the day it was
    posted."""
    at = placed_at if event is Event.SALE and placed_at is not None else posted_at
    return at.astimezone(zone).date()
