"""Orders, and the confirmation of their parcels."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import strawberry

from domain import order as order_domain
from domain.ids import OrderId
from resolvers import order, order_changes, shipment
from resolvers.connection import Connection
from schema.info import Info
from schema.operation import OperationPayload
from schema.order import ConfirmShipmentsInput, Order, OrderConnection, OrderEvent, OrderFilter
from schema.payload import user_errors
from schema.roots.shared import Change, Payload, key_or_none


@strawberry.type
class OrderQueries:
    @strawberry.field(graphql_type=Order | None, description="One order by its global id.")
    async def order(self, info: Info, id: strawberry.ID) -> order_domain.Order | None:
        key = key_or_none("Order", id)
        return None if key is None else await info.context.loaders.order_by_id.load(OrderId(key))

    @strawberry.field(graphql_type=OrderConnection, description="Orders of all channels, newest first.")
    async def orders(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: OrderFilter | None = None
    ) -> Connection[order_domain.Order]:
        wanted = (filter or OrderFilter()).to_domain()
        return await order.page(info.context.shelf, first, after, wanted)


@strawberry.type
class OrderMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Tell the channels that parcels are on their way; all or none is kept.",
    )
    async def confirm_shipments(self, info: Info, input: ConfirmShipmentsInput) -> Payload:
        requests, problems = input.to_domain()
        if problems:
            return Payload(None, user_errors(problems, ("input",)))
        kept = await shipment.confirm(
            info.context.shelf,
            info.context.caller.name,
            info.context.request_id,
            requests,
            idempotency_key=input.idempotency_key,
            dry_run=bool(input.dry_run),
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))


@strawberry.type
class OrderSubscriptions:
    @strawberry.subscription(
        graphql_type=OrderEvent,
        description=(
            "Each change of an order that fits the filter as it is after the change, from now on. "
            "With `after`, the cursor of the last event seen, none is missed. "
            "One that a change takes out of the filter is not told."
        ),
    )
    async def orders(
        self, info: Info, filter: OrderFilter | None = None, after: str | None = None
    ) -> AsyncGenerator[Change, None]:
        wanted = (filter or OrderFilter()).to_domain()
        async for cursor, one in order_changes.follow(info.context.shelf, wanted, after):
            info.context.renew()
            yield Change(cursor, order=one)
