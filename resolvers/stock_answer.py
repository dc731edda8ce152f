"""What is answered about the stock of one SKU, and what an answer rests on, for whoever would give it again a moment later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.errors import HouseError
from domain.freshness import Freshness
from domain.ids import Sku
from domain.stock import Stock

_OLD = (Freshness.STALE, Freshness.UNKNOWN)


@dataclass(slots=True)
class StockAnswer:
    """Stock of one SKU, with what stood in the way: of any reading at all (`unknown`), or of a younger one (`aged`).

    `kept` says whether anything at all holds the SKU, `changes_at` when the number changes by itself.
    """

    stock: Stock
    kept: bool
    changes_at: datetime | None = None
    unknown: list[HouseError] = field(default_factory=list)
    aged: list[HouseError] = field(default_factory=list)

    @property
    def old(self) -> bool:
        """Whether a part of it is older than was wished, or was never told."""
        return self.kept and self.stock.freshness in _OLD

    def holds_until(self, max_age: timedelta) -> datetime | None:
        """When time alone ends it: its oldest part is older than `max_age` then, or the number is another. None for never."""
        told_at = self.stock.as_of
        if told_at is None:
            return self.changes_at
        return told_at + max_age if self.changes_at is None else min(told_at + max_age, self.changes_at)


@dataclass(slots=True)
class Basis:
    """Gathered while an answer is made: the SKUs whose change ends it, and the instant at which time alone does (None for never).
    Not `firm` is what must be made anew each time."""

    skus: set[Sku] = field(default_factory=set)
    until: datetime | None = None
    firm: bool = True

    def rest_on(self, skus: Sequence[Sku], answers: Iterable[StockAnswer | None], max_age: timedelta) -> None:
        """Take in what was answered for `skus`, whose readings may be as old as `max_age`."""
        self.skus.update(skus)
        ends = [self.until]
        for answer in answers:
            if answer is not None:
                ends.append(answer.holds_until(max_age))
                if answer.old:
                    self.firm = False  # each who asks may be the one who is told something younger
        self.until = min((end for end in ends if end is not None), default=None)
