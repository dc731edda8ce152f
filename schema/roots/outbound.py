"""Having orders shipped from a pool of another channel, and expected back there."""

from __future__ import annotations

import strawberry

from resolvers import outbound, outbound_return
from schema.info import Info
from schema.operation import OperationPayload
from schema.outbound_writes import CancelOutboundInput, ReturnOutboundInput, ShipFromFbaInput
from schema.payload import user_errors
from schema.roots.shared import Payload


@strawberry.type
class OutboundMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Have Amazon ship orders of other channels out of FBA, each once; all or none is kept.",
    )
    async def ship_from_fba(self, info: Info, input: ShipFromFbaInput) -> Payload:
        requests, problems = input.to_domain()
        if problems:
            return Payload(None, user_errors(problems, ("input",)))
        kept = await outbound.ship(
            info.context.shelf,
            info.context.caller.name,
            info.context.request_id,
            requests,
            idempotency_key=input.idempotency_key,
            dry_run=bool(input.dry_run),
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Stop what a pool is about to ship, where it is not too late; its units are for other places then.",
    )
    async def cancel_outbound(self, info: Info, input: CancelOutboundInput) -> Payload:
        ids, problems = input.to_domain()
        if problems:
            return Payload(None, user_errors(problems, ("input",)))
        kept = await outbound.cancel(
            info.context.shelf,
            info.context.caller.name,
            info.context.request_id,
            ids,
            idempotency_key=input.idempotency_key,
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Announce units to the pools that shipped them, each once; only what was delivered can come back.",
    )
    async def return_outbound(self, info: Info, input: ReturnOutboundInput) -> Payload:
        request, problems = input.to_domain()
        if request is None:
            return Payload(None, user_errors(problems, ("input",)))
        kept = await outbound_return.announce(
            info.context.shelf,
            info.context.caller.name,
            info.context.request_id,
            request,
            idempotency_key=input.idempotency_key,
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))
