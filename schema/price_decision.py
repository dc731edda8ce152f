"""What was decided about large changes of prices."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.ids import node_id
from domain.price_decision import Decision
from schema.enums import PriceVerdict
from schema.payload import UserError


@strawberry.type(
    description="What somebody decided about a change of more prices than are changed while he waits: a worker carries it out."
)
class PriceDecision:
    verdict: PriceVerdict
    asked_by: str
    asked_at: datetime
    ended_at: datetime | None = strawberry.field(description="Null while it waits or is being carried out.")

    @strawberry.field(description="The operation that takes back.")
    def reverted_by(self, root: strawberry.Parent[Decision]) -> strawberry.ID | None:
        return None if root.made is None else strawberry.ID(node_id("Operation", root.made))

    @strawberry.field(
        description="Why nothing was done, such as CONFLICT: what was shown holds no more. It may be asked anew."
    )
    def error(self, root: strawberry.Parent[Decision]) -> UserError | None:
        return None if root.error is None else UserError(code=root.error.code, message=root.error.message)
