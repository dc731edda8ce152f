"""What listings were sold for, and by whom that was wanted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import operation as operation_domain
from domain import price as price_domain
from domain import price_history as domain
from domain.money import Money as Amount
from executor import batched
from schema.enums import PriceEventKind, PriceOrigin
from schema.info import Info, Parents
from schema.money import Money
from schema.operation import Operation, visible, visible_one
from schema.price import OfferedPrice


async def _operations(events: Sequence[domain.PriceEvent], info: Parents) -> Sequence[object]:
    return await visible([one.operation for one in events], info)


@strawberry.type(description="One line of the history of a listing's price.")
class PriceEvent:
    at: datetime
    kind: PriceEventKind
    price: OfferedPrice | None
    origin: PriceOrigin | None = strawberry.field(description="By which way it was asked for; null: not by us.")
    reason: str = strawberry.field(description="Why it was asked for, or why it did not come about.")
    rules_version: int | None = strawberry.field(description="The set of rules that made it.")
    requested_by: str | None
    approved_by: str | None

    @strawberry.field(description="The rules that made it, in the order in which they held, as JSON.")
    def rules(self, root: strawberry.Parent[domain.PriceEvent]) -> str | None:
        return json.dumps(root.chain, ensure_ascii=False) if root.chain else None

    @strawberry.field(
        graphql_type=Operation | None, description="Null also for an operation that this key may not see."
    )
    @batched(_operations)
    async def operation(
        self, info: Info, root: strawberry.Parent[domain.PriceEvent]
    ) -> operation_domain.Operation | None:
        return await visible_one(root.operation, info)


@strawberry.type(description="What a listing was sold for at an instant.")
class PriceInForce:
    since: datetime = strawberry.field(
        description="Since when buyers have paid it: when it was seen first, or its sale began or ended."
    )
    event: PriceEvent = strawberry.field(description="How it is known, and whose price it is.")

    @strawberry.field(graphql_type=Money, description="What buyers paid then.")
    def paid(self, root: strawberry.Parent[domain.InForce]) -> Amount:
        return root.paid

    @strawberry.field(graphql_type=OfferedPrice)
    def price(self, root: strawberry.Parent[domain.InForce]) -> price_domain.Price:
        return root.price
