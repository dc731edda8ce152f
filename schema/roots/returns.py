"""What comes back of orders."""

from __future__ import annotations

import strawberry

from domain.chain import Chain
from domain.errors import Refused
from resolvers import returns
from resolvers.connection import Connection
from schema.info import Info
from schema.operation import OperationPayload
from schema.payload import user_errors
from schema.returns import RestockReturnInput, ReturnChainConnection
from schema.roots.shared import Payload, channel_key


@strawberry.type
class ReturnQueries:
    @strawberry.field(
        graphql_type=ReturnChainConnection,
        description="What comes back of orders, the oldest first; unless told otherwise only where a link is missing.",
    )
    async def return_chains(
        self,
        info: Info,
        first: int | None = 50,
        after: str | None = None,
        open_only: bool = True,
        channel_id: strawberry.ID | None = None,
        channel_sku: str | None = None,
    ) -> Connection[Chain]:
        wanted = returns.ChainFilter(open_only, channel_key(channel_id), channel_sku)
        return await returns.page(info.context.shelf, first, after, wanted)


@strawberry.type
class ReturnMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Put units that came back on the shelf again, or write them off, once, as an operation that has succeeded.",
    )
    async def restock_return(self, info: Info, input: RestockReturnInput) -> Payload:
        context = info.context
        try:
            order, lines = input.to_domain()
        except Refused as problem:
            return Payload(None, user_errors([problem], ("input",)))
        kept = await returns.restock(
            context.shelf,
            context.caller.name,
            context.request_id,
            order,
            lines,
            reason=input.reason,
            idempotency_key=input.idempotency_key,
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))
