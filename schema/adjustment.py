"""Adjusting the stock of own places."""

from __future__ import annotations

import strawberry

from domain.ids import LocationCode, Sku
from resolvers import adjustment
from schema.enums import EntryKind


@strawberry.input(
    description="One change at one of our own places: either delta, units more or less, or setTo, units counted."
)
class StockAdjustmentInput:
    sku: str
    location: str = strawberry.field(description="The code of a place that we count ourselves.")
    delta: int | None = None
    set_to: int | None = strawberry.field(
        default=None, description="What was counted there; booked is the difference to what was there at that moment."
    )
    kind: EntryKind | None = strawberry.field(
        default=None,
        description="Why: of a delta ADJUSTMENT (else RECEIPT, RETURN, or EXPECTED for units announced); of setTo always COUNT.",
    )
    transfer_to: str | None = strawberry.field(
        default=None, description="The code of the own place that the units of delta go to."
    )

    def to_domain(self) -> adjustment.Adjustment:
        """As the resolver takes it."""
        return adjustment.Adjustment(
            sku=Sku(self.sku),
            location=LocationCode(self.location),
            delta=self.delta,
            set_to=self.set_to,
            kind=self.kind,
            transfer_to=None if self.transfer_to is None else LocationCode(self.transfer_to),
        )


@strawberry.input(description="1 to 1,000 adjustments; all are booked, or none.")
class AdjustStockInput:
    adjustments: list[StockAdjustmentInput]
    reason: str = strawberry.field(description="In words for people; it stands in the ledger.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating a request with the same key answers the first operation."
    )
