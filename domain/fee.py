"""What a channel would take of a sale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from domain.money import Money
from domain.offer import OfferPrice
from domain.product import FulfilledBy


class FeeKind(Enum):
    """What a fee is for. UNCLASSIFIED is one whose name we have not met: it keeps its name and is never taken for another."""

    REFERRAL = "REFERRAL"
    CLOSING = "CLOSING"
    PER_ITEM = "PER_ITEM"
    LISTING = "LISTING"
    DIGITAL_SERVICES = "DIGITAL_SERVICES"
    FULFILLMENT = "FULFILLMENT"
    UNCLASSIFIED = "UNCLASSIFIED"


@dataclass(frozen=True, slots=True)
class Fee:
    """`name` is the channel's own. `final` is what is taken: `amount` less `promotion`, with `tax` where the channel tells it."""

    kind: FeeKind
    name: str
    amount: Money
    final: Money
    promotion: Money | None = None
    tax: Money | None = None
    parts: tuple[Fee, ...] = ()

    def walk(self) -> Iterator[Fee]:
        """This fee, and all that it is made of."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True, slots=True)
class FeesEstimate:
    """What would be taken of one unit sold for `price`; `item` is a SKU of ours or an ASIN, as it was asked."""

    item: str
    is_asin: bool
    marketplace: str
    fulfilled_by: FulfilledBy | None
    price: OfferPrice
    as_of: datetime
    total: Money
    fees: tuple[Fee, ...] = ()
    program: str | None = None
    seller: str | None = None

    @property
    def unclassified(self) -> tuple[Fee, ...]:
        """Fees, and parts of fees, whose names we have not met."""
        return tuple(one for fee in self.fees for one in fee.walk() if one.kind is FeeKind.UNCLASSIFIED)

    @property
    def unexplained(self) -> Money:
        """What is left of the total when the fees have been taken off: not zero where the channel tells no more than a total."""
        known = sum((fee.final.amount for fee in self.fees), Decimal(0))
        return Money(self.total.amount - known, self.total.currency)
