"""What orders are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from domain.order_compare import Comparison, Difference
from resolvers import order_compare
from resolvers.connection import Connection
from schema.info import Info
from schema.order_compare import OrderComparison, OrderDifferenceConnection
from schema.roots.shared import channel_key


@strawberry.type
class OrderCompareQueries:
    @strawberry.field(
        graphql_type=OrderDifferenceConnection,
        description="Orders that are told otherwise by their channel, newest first; with `healed` those too that agree again.",
    )
    async def order_differences(
        self,
        info: Info,
        first: int | None = 50,
        after: str | None = None,
        channel_id: strawberry.ID | None = None,
        healed: bool | None = False,
    ) -> Connection[Difference]:
        only = channel_key(channel_id)
        return await order_compare.differences(info.context.shelf, first, after, only, healed=bool(healed))

    @strawberry.field(
        graphql_type=list[OrderComparison],
        description="The business days that were compared with what their channels tell, newest first.",
    )
    async def order_comparisons(
        self, info: Info, first: int | None = 50, channel_id: strawberry.ID | None = None
    ) -> Sequence[Comparison]:
        return await order_compare.comparisons(info.context.shelf, first, channel_key(channel_id))
