"""What a channel can be asked about the market of our listings: what it would take of a sale, and whose offer is featured.

Each question of a batch is answered alone: a failure (of the tree in `domain.errors`) stands in its place, and `Rejected` is what
the channel told and we do not understand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from domain.budget import Ask
from domain.errors import HouseError
from domain.fee import FeesEstimate
from domain.ids import ChannelSku
from domain.money import Money
from domain.offer import OfferPrice
from domain.product import FulfilledBy, Rejected


@dataclass(frozen=True, slots=True)
class FeesQuestion:
    """The fees of one unit of a SKU that is sold for `price`."""

    channel_sku: ChannelSku
    price: Money
    fulfilled_by: FulfilledBy


@dataclass(frozen=True, slots=True)
class FeaturedSeen:
    """The offer of an item that most buyers meet first: None where nobody's is. `mine` says whether it is of this account."""

    price: OfferPrice | None
    seller: str | None
    mine: bool | None
    as_of: datetime


@dataclass(frozen=True, slots=True)
class ExpectedSeen:
    """At or below which price an offer of ours could expect to be featured; None where the channel computes none, for the reason
    that its own word `status` gives."""

    price: Money | None
    status: str
    as_of: datetime


@runtime_checkable
class Market(Protocol):
    """A channel that tells of the market. Each batch is of one marketplace."""

    fees_batch: int
    featured_batch: int
    expected_batch: int

    async def fees(
        self, marketplace: str, questions: Sequence[FeesQuestion], ask: Ask
    ) -> list[FeesEstimate | HouseError | Rejected]:
        """One answer per question, in their order, at most `fees_batch`."""
        ...

    async def featured(
        self, marketplace: str, items: Sequence[str], ask: Ask
    ) -> list[FeaturedSeen | HouseError | Rejected]:
        """One answer for each of the channel's ids of catalog items, in their order, at most `featured_batch`."""
        ...

    async def expected(
        self, marketplace: str, skus: Sequence[ChannelSku], ask: Ask
    ) -> list[ExpectedSeen | HouseError | Rejected]:
        """One answer per SKU, in their order, at most `expected_batch`."""
        ...
