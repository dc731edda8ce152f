"""The flows of synchronization, in people's hands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import strawberry

from domain.errors import Refused
from domain.operation import Operation
from resolvers import flow
from schema.channel import sync_streams
from schema.flow import BackfillOrdersInput, StreamsInput, StreamsPayload, SyncInput
from schema.info import Info
from schema.operation import OperationPayload
from schema.payload import user_errors
from schema.roots.shared import Payload


@strawberry.type
class FlowMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Run synchronizations at once. An item is VERIFIED when its run has ended well.",
    )
    async def sync_now(self, info: Info, input: SyncInput) -> Payload:
        context = info.context
        return await _asked(
            lambda: flow.sync_now(
                context.shelf, context.caller.name, context.request_id, input.to_domain(), input.since
            )
        )

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Read the orders of past days again, an item for each day, out of what others leave of the budgets.",
    )
    async def backfill_orders(self, info: Info, input: BackfillOrdersInput) -> Payload:
        context = info.context
        return await _asked(
            lambda: flow.backfill(
                context.shelf,
                context.caller.name,
                context.request_id,
                input.to_domain(),
                input.from_,
                input.to,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(description="Stop synchronizations until resumeStreams; what notifications tell still comes.")
    async def pause_streams(self, info: Info, input: StreamsInput, reason: str) -> StreamsPayload:
        context = info.context
        try:
            states = await flow.pause(context.shelf, context.caller.name, input.to_domain(), reason)
        except Refused as problem:
            at = () if problem.field == ("reason",) else ("input",)
            return StreamsPayload(streams=[], user_errors=user_errors([problem], at))
        return StreamsPayload(streams=sync_streams(states, context.shelf.clock()), user_errors=[])

    @strawberry.mutation(description="Let synchronizations go on where they were stopped, at once.")
    async def resume_streams(self, info: Info, input: StreamsInput) -> StreamsPayload:
        shelf = info.context.shelf
        try:
            states = await flow.resume(shelf, input.to_domain())
        except Refused as problem:
            return StreamsPayload(streams=[], user_errors=user_errors([problem], ("input",)))
        return StreamsPayload(streams=sync_streams(states, shelf.clock()), user_errors=[])


async def _asked(ask: Callable[[], Awaitable[Operation]]) -> Payload:
    try:
        return Payload(await ask(), [])
    except Refused as problem:
        return Payload(None, user_errors([problem], ("input",)))
