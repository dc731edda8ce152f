"""Prices as channels take and show them: what a port can be asked that has them.

Failures are those of the tree in `domain.errors`. Prices are absolute, so that a repeat does no harm; taken is not yet visible.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from adapters.port import Receipt
from domain.budget import Ask, Priority
from domain.errors import HouseError, Refused
from domain.ids import ChannelSku
from domain.money import Money
from domain.price import Price
from domain.route import Choice


@dataclass(frozen=True, slots=True)
class PriceKey:
    """One listing whose price is meant: its SKU there, the listing's `refs` as a hashable tuple of pairs, and its marketplace."""

    channel_sku: ChannelSku
    refs: tuple[tuple[str, str], ...] = ()
    marketplace: str | None = None


@dataclass(frozen=True, slots=True)
class PriceWrite:
    """What a listing is to be sold for. `reference` is ours, the same at each attempt and never used for another write."""

    key: PriceKey
    price: Price
    reference: str


@dataclass(frozen=True, slots=True)
class ShownPrice:
    """What the channel shows; `price` is None where it does not offer the SKU. `as_of` is taken before asking.

    `paid` is what buyers pay just now, where the channel says so apart from the rest. `refused` is what it says against the offer
    as it stands: it keeps the price, and sells nothing for it.
    """

    key: PriceKey
    price: Price | None
    as_of: datetime
    upstream_request_id: str | None = None
    paid: Money | None = None
    refused: Refused | None = None


IN_DOUBT = "asked_at"
"""In the detail of an intent: when a file was about to be handed over whose name only the answer tells. While the outcome of one
is unknown, no other is handed over for its marketplace: nobody could tell the two apart."""


@dataclass(frozen=True, slots=True)
class PriceSent:
    """A write that has left the house: the channel's name of it, where one is known (`Receipt.reference`), and the detail of its
    intent."""

    write: PriceWrite
    sent_as: str | None
    detail: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PriceVerdict:
    """What a channel that works in its own time says of a write. Where it says nothing, what is shown has to tell.

    `again_s`: it is at it, and nothing can be told before so many seconds have passed. `refused`: it has not carried it out.
    `sent_as`: its name of it, now that it is known.
    """

    again_s: float | None = None
    refused: Refused | None = None
    sent_as: str | None = None


class Intend(Protocol):
    """Makes the intent durable before writes leave the house: of all of them, or of those whose reference is among `details`,
    which are kept with the rows. Raises when they may not be sent as they are: then none of them may leave. Asked without details
    it does nothing the second time."""

    async def __call__(self, details: Mapping[str, Mapping[str, str]] | None = None) -> None: ...


@runtime_checkable
class Prices(Protocol):
    """Sets prices. `price_batch` writes or keys are taken at once; `keeps_sales`: it is told of sales to come, and begins and
    ends them by itself. Otherwise it is told what holds now (`Price.showing`)."""

    price_batch: int
    keeps_sales: bool

    async def tell_prices(self, writes: Sequence[PriceWrite], ask: Ask, intend: Intend) -> list[Receipt | HouseError]:
        """One answer for each of the first writes, in their order, and for at least one of them: whoever asks goes on with the
        rest. All are of one marketplace and no two of one SKU there. `intend` before each request that changes something.

        A failure of one write (Refused, Transient, OutcomeUnknown; Throttled where it comes too late for this time) stands in its
        place; what concerns all of them and left everything as it was is raised, and so is OutcomeUnknown of one request for all.
        """
        ...

    async def shown_prices(self, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice | HouseError]:
        """What is shown now: exactly one answer per key, in their order. A failure that concerns one of them alone, or those
        alone that could not be read in time, stands in its place."""
        ...


@runtime_checkable
class PriceRoutes(Protocol):
    """Has several ways to be told prices."""

    async def price_route(self, parts: int, priority: Priority, /) -> Choice:
        """How so many prices of one marketplace, or of a shop the variants of so many products, would be told now, and why. Asks
        nothing of the platform. Raises Throttled without Redis."""
        ...


@runtime_checkable
class PriceVerdicts(Protocol):
    """Takes prices as files that it works through in its own time, and tells afterward what became of each row."""

    async def price_verdicts(
        self, sent: Sequence[PriceSent], known: Collection[str], ask: Ask
    ) -> list[PriceVerdict | HouseError]:
        """One for each. `known` are the names (`Receipt.reference`) of what others account for."""
        ...
