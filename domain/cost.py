"""What a unit costs us: layers by date, each with all that was ever said of it.

A layer holds from its day on, until the next one's. What freight and duty add is often told weeks later: then, and whenever a
cost is corrected, the layer gets another revision, and the ones before it stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from domain.ids import Sku
from domain.money import Money

MOST_COST = Decimal(10) ** 12
"""No unit costs as much, in whichever currency."""


@dataclass(frozen=True, slots=True)
class NewCost:
    """What is said of a SKU's cost from a day on. `amount` is what a unit was bought for, `extra` what bringing it here adds
    (freight, duty), None where nobody knows yet; without an `amount` that of the layer stays. With `withdrawn` there never was
    such a layer."""

    sku: Sku
    valid_from: date
    amount: Money | None = None
    extra: Money | None = None
    withdrawn: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CostLayer:
    """One revision of a layer: what was said, when and by whom. Revisions of a layer count from 1."""

    sku: Sku
    valid_from: date
    revision: int
    amount: Money
    extra: Money | None
    withdrawn: bool
    reason: str
    made_by: str
    made_at: datetime

    @property
    def landed(self) -> Money:
        """What a unit costs here, as far as it was told."""
        return self.amount if self.extra is None else self.amount + self.extra


def in_force(layers: Iterable[CostLayer], on: date, known_at: datetime | None = None) -> CostLayer | None:
    """What a unit cost on that day, by what was known at an instant (None: by all that is known); None where nobody had said."""
    newest: dict[date, CostLayer] = {}
    for one in layers:
        if one.valid_from > on or (known_at is not None and one.made_at > known_at):
            continue
        if one.valid_from not in newest or newest[one.valid_from].revision < one.revision:
            newest[one.valid_from] = one
    standing = [one for one in newest.values() if not one.withdrawn]
    return max(standing, key=lambda one: one.valid_from, default=None)
