"""What a payment provider pays out to us, as the storefront tells it; `domain.finance.Transaction` is what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from domain.ids import ChannelId
from domain.money import Money


@dataclass(frozen=True, slots=True)
class Payout:
    """One transfer to (or, with a negative `net`, from) our bank. `status` and the names of `totals` are the channel's own words;
    `reference` is what the bank statement shows, where the channel tells it."""

    channel: ChannelId
    id: str
    issued_at: datetime
    status: str
    net: Money
    reference: str | None = None
    totals: Mapping[str, Money] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Movement:
    """One of the movements that a payout is made of, signed as we see it; its net is `amount` less `fee`. `kind` is the channel's
    word, `reason` that of an adjustment (or ""). `order` and `refund` are the channel's ids. `again`: an earlier payout had it,
    and failed."""

    id: str
    kind: str
    amount: Money
    fee: Money
    at: datetime
    order: str | None = None
    refund: str | None = None
    reason: str = ""
    again: bool = False
