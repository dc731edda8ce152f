"""Money that goes back to a buyer, and the goods that come back or do not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from domain.money import Money


class Restock(Enum):
    """What becomes of the units: they come back into stock, they were never sent, or they are gone."""

    RETURN = "RETURN"
    CANCEL = "CANCEL"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class RefundLine:
    """Units of one order line (by the channel's id). `place` is where they come back to, by the channel's own name; `amount` is
    None while the channel is left to reckon it, and contains the `tax` that a channel tells of."""

    line_id: str
    quantity: int
    restock: Restock = Restock.NONE
    place: str | None = None
    amount: Money | None = None
    tax: Money | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund that a channel shows. `amount` is what the buyer gets back, tax included; `reference` the channel's id of it.

    The lines and the `shipping` (tax included) are what it was reckoned from; people may have given back more or less. `owed` is
    the part of the amount that has not reached the buyer: its payment is under way, or failed.
    """

    reference: str
    created_at: datetime
    amount: Money
    lines: tuple[RefundLine, ...] = ()
    shipping: Money | None = None
    owed: Money | None = None


@dataclass(frozen=True, slots=True)
class RefundWanted:
    """A refund to be made. `amount` is what the buyer is to get, with `shipping` among it, both with their taxes; `reference` is
    ours, the same at every attempt and never used for another refund."""

    reference: str
    lines: tuple[RefundLine, ...]
    amount: Money
    shipping: Money | None = None
    note: str | None = None
