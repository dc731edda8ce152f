"""Which order is to be confirmed first: the one with the least time left, reckoned with how long its channel takes to show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.order import Order


@dataclass(frozen=True, slots=True)
class Lag:
    """How long a channel takes from a confirmation that it took to our seeing it: in 95 of 100 cases at most `seconds`, as
    measured with `items`; with none of them it is what the platform is known for."""

    seconds: float
    items: int


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Units that are promised to an order and lie at no place of ours, and whether others have units of their SKUs."""

    units: int
    elsewhere: bool


@dataclass(frozen=True, slots=True)
class Urgent:
    """An order that waits to be shipped. `rank_at` is when its confirmation must be sent at the latest; None where its channel
    sets no time. `missing` are units of it that were sold beyond what there was."""

    order: Order
    lag: Lag
    rank_at: datetime | None
    missing: int

    def minutes_left(self, now: datetime) -> int | None:
        """Whole minutes until then, rounded down; negative when it is over."""
        return None if self.rank_at is None else (self.rank_at - now) // timedelta(minutes=1)

    def obstacles(self, nowhere: Nowhere | None = None) -> list[str]:
        """What stands in the way, in sentences for people."""
        found = []
        if not self.order.whole:
            found.append(
                "Only a report has told of it: its lines are still to be read, and until then nothing of it can be sent."
            )
        if self.order.held is not None:
            found.append(f"We hold it. {self.order.held}")
        elif self.order.standing is not self.order.status or self.order.status.value == "ON_HOLD":
            found.append(f"Its channel holds it: it is {self.order.channel_status} there.")
        if self.order.let_go:
            found.append("It has given its units back.")
        if self.missing:
            sold = "1 unit was" if self.missing == 1 else f"{self.missing} units were"
            found.append(f"{sold} sold beyond what there was.")
        if nowhere is not None:
            lie, have, them = (
                ("unit lies", "it has", "it") if nowhere.units == 1 else ("units lie", "they have", "them")
            )
            # Amazon ships the orders of shops, not its own that are ours to ship.
            shop = self.order.marketplace is None
            fba = f", or FBA sends {them} (shipFromFba)" if shop and nowhere.elsewhere else ""
            found.append(f"{nowhere.units} {lie} at no place of ours: {have} to come{fba}.")
        unmapped = sum(line.sku is None and line.quantity_open > 0 for line in self.order.lines)
        if unmapped:
            found.append(f"Lines whose SKU we do not know: {unmapped}.")
        return found
