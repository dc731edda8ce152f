"""Money as clients see it."""

from __future__ import annotations

from decimal import Decimal

import strawberry


@strawberry.type(description="An exact amount in major units and its ISO 4217 currency.")
class Money:
    amount: Decimal
    currency: str
