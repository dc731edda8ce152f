"""Changes of prices as people look at them before they decide, and afterward."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from domain.ids import ChannelId
from domain.money import Money
from domain.price import Hit, Price, PriceWish


@dataclass(frozen=True, slots=True)
class Change:
    """One row: what the listing was wanted or seen to be sold for when it was judged (None: nobody knew), and what it hits.

    `margin` and `step` (in percent, of the least that buyers pay) are as of `domain.price.JudgedWish`; `idle`: nothing changes.
    """

    wish: PriceWish
    before: Price | None
    hits: tuple[Hit, ...]
    margin: Money | None
    step: Decimal | None
    idle: bool

    @property
    def margin_percent(self) -> Decimal | None:
        """The margin in percent of the least that buyers pay, to a tenth."""
        paid = self.wish.price.lowest.amount
        return None if self.margin is None or paid <= 0 else round(100 * self.margin.amount / paid, 1)


@dataclass(frozen=True, slots=True)
class Lane:
    """Rows of one channel and marketplace that have not left the house. `parts` are the things that are told of one by one there:
    the rows, or where these are variants, their products."""

    channel: ChannelId
    marketplace: str | None
    rows: int
    parts: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The rows of an operation, counted: those that were refused before they were sent, that want a second person, that change
    nothing, and those of which nobody knows by how much they change. `fall` and `rise` are the largest steps, in percent."""

    rows: int
    refused: int
    held: int
    idle: int
    unknown: int
    fall: Decimal | None
    rise: Decimal | None
    hits: tuple[Hit, ...] = ()
    lanes: tuple[Lane, ...] = ()
