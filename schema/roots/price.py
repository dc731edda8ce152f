"""Setting prices."""

from __future__ import annotations

import strawberry

from resolvers import price
from schema.info import Info
from schema.operation import OperationPayload
from schema.payload import user_errors
from schema.price import UpdatePricesInput
from schema.roots.shared import Payload


@strawberry.type
class PriceMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Set prices of listings; all that is asked is kept, or none of it. What a guard refuses stands as FAILED.",
    )
    async def update_prices(self, info: Info, input: UpdatePricesInput) -> Payload:
        asked, problems = input.to_domain()
        if problems:
            return Payload(None, user_errors(problems, ("input",)))
        kept = await price.update(
            info.context.shelf,
            info.context.caller.name,
            info.context.request_id,
            asked,
            reason=input.reason or "",
            idempotency_key=input.idempotency_key,
            dry_run=bool(input.dry_run),
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))
