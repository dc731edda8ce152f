"""Operations, and what people decide about them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

import strawberry

from domain import operation as operation_domain
from domain.errors import Refused
from domain.ids import OperationId, node_key
from resolvers import operation
from resolvers.connection import Connection
from schema.info import Info
from schema.operation import Operation, OperationConnection, OperationEvent, OperationFilter, OperationPayload
from schema.payload import user_errors
from schema.roots.shared import Change, Payload, key_or_none


@strawberry.type
class OperationQueries:
    @strawberry.field(graphql_type=Operation | None, description="One operation by its global id.")
    async def operation(self, info: Info, id: strawberry.ID) -> operation_domain.Operation | None:
        key = key_or_none("Operation", id)
        found = None if key is None else await info.context.loaders.operation_by_id.load(OperationId(key))
        return found if found is not None and found.kind in _kinds(info) else None

    @strawberry.field(graphql_type=OperationConnection, description="Operations, newest first.")
    async def operations(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: OperationFilter | None = None
    ) -> Connection[operation_domain.Operation]:
        wanted = (filter or OperationFilter()).to_domain()
        return await operation.page(info.context.shelf, first, after, wanted, _kinds(info))


@strawberry.type
class OperationMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description=(
            "Take back what an adjustment of stock has booked, or what a change of prices has changed, once, as an operation of "
            "its own. A price that others changed since is left as it is, and named."
        ),
    )
    async def revert_operation(self, info: Info, id: strawberry.ID) -> Payload:
        context = info.context
        return await _decided(id, lambda one: operation.revert(context.shelf, context.caller, context.request_id, one))

    @strawberry.mutation(graphql_type=OperationPayload, description="Let a preview, or what waits for approval, go.")
    async def approve_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, by, kinds = info.context.shelf, info.context.caller.name, _kinds(info)
        return await _decided(id, lambda one: operation.approve(shelf, one, by, kinds))

    @strawberry.mutation(
        graphql_type=OperationPayload, description="Withdraw what has not left the house; what has runs to its end."
    )
    async def cancel_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, by, kinds = info.context.shelf, info.context.caller.name, _kinds(info)
        return await _decided(id, lambda one: operation.cancel(shelf, one, by, kinds))

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Revive failed and parked items; a parked one is read back before anything is sent again.",
    )
    async def retry_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, by, kinds = info.context.shelf, info.context.caller.name, _kinds(info)
        return await _decided(id, lambda one: operation.retry(shelf, one, by, kinds))


@strawberry.type
class OperationSubscriptions:
    @strawberry.subscription(
        graphql_type=OperationEvent,
        description=(
            "The operation now, then at each change until it has finished. "
            "With `after`, the cursor of the last event seen, none is missed."
        ),
    )
    async def operation(self, info: Info, id: strawberry.ID, after: str | None = None) -> AsyncGenerator[Change, None]:
        key = OperationId(node_key("Operation", id))
        async for cursor, one in operation.follow(info.context.shelf, key, after, _kinds(info)):
            info.context.renew()
            yield Change(cursor, operation=one)


async def _decided(id: str, decide: Callable[[OperationId], Awaitable[operation_domain.Operation]]) -> Payload:
    """What people's decisions answer."""
    try:
        return Payload(await decide(OperationId(node_key("Operation", id))), [])
    except Refused as problem:
        problem.field = problem.field or ("id",)
        return Payload(None, user_errors([problem]))


def _kinds(info: Info) -> frozenset[operation_domain.Kind]:
    """The kinds of operations that the caller may see."""
    return operation.kinds_for(info.context.caller.scopes)
