"""What happened to an order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import operation as operation_domain
from domain import timeline as domain
from domain.exchange import Exchange
from executor import batched
from resolvers.loaders import load_each
from schema.api_calls import ApiCall
from schema.enums import OrderStepKind
from schema.info import Info, Parents
from schema.operation import Operation, visible, visible_one


async def _operations(steps: Sequence[domain.Step], info: Parents) -> Sequence[object]:
    return await visible([one.operation for one in steps], info)


async def _api_calls(steps: Sequence[domain.Step], info: Parents) -> Sequence[object]:
    ids = [one.upstream_request_id for one in steps]
    found = await load_each(info.context.loaders.api_calls_by_request_id, ids)
    return [[] if one is None else one for one in found]


@strawberry.type(description="One thing that happened to an order.")
class OrderStep:
    kind: OrderStepKind
    actor: str = strawberry.field(description="The name of the key that asked for it, acorn, or the id of a channel.")
    at: datetime
    words: str = strawberry.field(description="For people.")
    upstream_request_id: str | None = strawberry.field(
        description="The platform's id of the call behind it, for its support."
    )

    @strawberry.field(
        graphql_type=Operation | None,
        description="What it was part of; null where the caller may not see such operations.",
    )
    @batched(_operations)
    async def operation(self, info: Info, root: strawberry.Parent[domain.Step]) -> operation_domain.Operation | None:
        return await visible_one(root.operation, info)

    @strawberry.field(graphql_type=list[ApiCall], description="The exchange behind it, where it is still kept.")
    @batched(_api_calls)
    async def api_calls(self, info: Info, root: strawberry.Parent[domain.Step]) -> list[Exchange]:
        if root.upstream_request_id is None:
            return []
        return await info.context.loaders.api_calls_by_request_id.load(root.upstream_request_id)
