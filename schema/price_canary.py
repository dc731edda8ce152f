"""Canaries of prices."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.price_canary import Canary
from schema.enums import PriceCanaryState


@strawberry.type(
    description="Some rows of a change that reaches far: they go first, are watched, and decide about the rest."
)
class PriceCanary:
    state: PriceCanaryState
    total: int = strawberry.field(description="The rows of the change, these and the rest.")
    began_at: datetime
    until: datetime = strawberry.field(
        description="When it has been watched for long enough, if all of it has left by then."
    )
    ended_at: datetime | None
    ended_by: str | None = strawberry.field(description="Who decided before it was over; null where nobody did.")
    reasons: list[str] = strawberry.field(description="Why it was halted, or is untried.")

    @strawberry.field(description="The rows that go first.")
    def rows(self, root: strawberry.Parent[Canary]) -> int:
        return len(root.items)
