"""What an order costs, part by part."""

from __future__ import annotations

import strawberry

from schema.enums import ChargeKind
from schema.money import Money


@strawberry.type(description="One part of what the buyer pays; taxes are parts of their own.")
class Charge:
    kind: ChargeKind
    amount: Money = strawberry.field(description="Below zero for what is taken off.")
    contained: bool = strawberry.field(
        description="True for a tax that other parts hold already: it adds nothing to them."
    )
