"""The root fields, thin: each calls one resolver and maps its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig

from domain import channel as channel_domain
from domain import operation as operation_domain
from domain import order as order_domain
from domain import product as product_domain
from domain import stock as stock_domain
from domain.errors import HouseError, NotFound, Refused
from domain.freshness import OnStale as OnStaleDomain
from domain.ids import ChannelId, OperationId, OrderId, Sku, node_key
from resolvers import channel, node, operation, order, product, shipment, stock
from resolvers.connection import Connection
from schema.channel import Channel, RateBudget, rate_budgets
from schema.enums import OnStale
from schema.info import Info, path_of
from schema.node import Node
from schema.operation import (
    Operation,
    OperationConnection,
    OperationEvent,
    OperationFilter,
    OperationPayload,
)
from schema.order import ConfirmShipmentsInput, Order, OrderConnection, OrderFilter
from schema.payload import UserError, user_errors
from schema.product import Listing, Product, ProductConnection, ProductFilter
from schema.scalars import SCALARS, Duration
from schema.scopes import NODE_SCOPES
from schema.stock import Stock, StockEvent


@dataclass(slots=True)
class Payload:
    """What an operation's mutation answers."""

    operation: operation_domain.Operation | None
    user_errors: list[UserError]


@dataclass(slots=True)
class Change:
    """One event of a subscription; it has `operation` or `stock`, as its type wants."""

    cursor: str
    operation: operation_domain.Operation | None = None
    stock: stock_domain.Stock | None = None


@strawberry.type
class Query:
    @strawberry.field(graphql_type=Node | None, description="Anything by its global id; null when there is none.")
    async def node(self, info: Info, id: strawberry.ID) -> node.Thing | None:
        kind = id.partition(":")[0]
        key = _key_or_none(kind, id)
        if key is None or kind not in NODE_SCOPES:
            return None
        info.context.caller.needs(NODE_SCOPES[kind])
        return await node.by_id(info.context, kind, key)

    @strawberry.field(
        graphql_type=list[Stock | None],
        description="What can be sold, in the order asked; at most 250 SKUs, null for an unknown one.",
    )
    async def stock(
        self,
        info: Info,
        skus: list[str],
        max_age: Duration | None = None,
        on_stale: OnStale | None = OnStaleDomain.ANSWER,
    ) -> list[stock_domain.Stock | HouseError | None]:
        context = info.context
        wish = on_stale or OnStaleDomain.ANSWER
        answers = await stock.by_skus(context.shelf, context.ask, [Sku(sku) for sku in skus], max_age)
        for index, answer in enumerate(answers):
            if answer is not None and wish is OnStaleDomain.ANSWER:
                context.problems.extend(([*path_of(info), index], problem) for problem in answer.unknown)
        return [stock.fresh_enough(answer, wish) for answer in answers]

    @strawberry.field(graphql_type=Product | None, description="One product by our SKU.")
    async def product(self, info: Info, sku: str) -> product_domain.Product | None:
        return await info.context.loaders.product_by_sku.load(Sku(sku))

    @strawberry.field(graphql_type=ProductConnection, description="Products in the order of their SKUs.")
    async def products(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: ProductFilter | None = None
    ) -> Connection[product_domain.Product]:
        wanted = (filter or ProductFilter()).to_domain()
        return await product.page(info.context.shelf, first, after, wanted)

    @strawberry.field(graphql_type=Order | None, description="One order by its global id.")
    async def order(self, info: Info, id: strawberry.ID) -> order_domain.Order | None:
        key = _key_or_none("Order", id)
        return None if key is None else await info.context.loaders.order_by_id.load(OrderId(key))

    @strawberry.field(graphql_type=OrderConnection, description="Orders of all channels, newest first.")
    async def orders(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: OrderFilter | None = None
    ) -> Connection[order_domain.Order]:
        wanted = (filter or OrderFilter()).to_domain()
        return await order.page(info.context.shelf, first, after, wanted)

    @strawberry.field(graphql_type=Operation | None, description="One operation by its global id.")
    async def operation(self, info: Info, id: strawberry.ID) -> operation_domain.Operation | None:
        key = _key_or_none("Operation", id)
        found = None if key is None else await info.context.loaders.operation_by_id.load(OperationId(key))
        return found if found is not None and found.kind in _kinds(info) else None

    @strawberry.field(graphql_type=OperationConnection, description="Operations, newest first.")
    async def operations(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: OperationFilter | None = None
    ) -> Connection[operation_domain.Operation]:
        wanted = (filter or OperationFilter()).to_domain()
        return await operation.page(info.context.shelf, first, after, wanted, _kinds(info))

    @strawberry.field(graphql_type=list[Channel], description="Every configured channel.")
    def channels(self, info: Info) -> Sequence[channel_domain.Channel]:
        return list(info.context.shelf.channels.values())

    @strawberry.field(description="The rate budgets of one channel, or of all.")
    async def budgets(self, info: Info, channel_id: strawberry.ID | None = None) -> list[RateBudget]:
        only = None if channel_id is None else ChannelId(node_key("Channel", channel_id))
        if only is not None and only not in info.context.shelf.channels:
            raise NotFound(f"There is no channel {channel_id}.")
        return rate_budgets(await channel.budgets(info.context.shelf, only))


def _key_or_none(kind: str, id: str) -> str | None:
    """The key of a global id; None for an id of another kind, which is answered like one that does not exist."""
    try:
        return node_key(kind, id)
    except NotFound:
        return None


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


@strawberry.type
class Mutation:
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

    @strawberry.mutation(graphql_type=OperationPayload, description="Let a preview, or what waits for approval, go.")
    async def approve_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, by, kinds = info.context.shelf, info.context.caller.name, _kinds(info)
        return await _decided(id, lambda one: operation.approve(shelf, one, by, kinds))

    @strawberry.mutation(
        graphql_type=OperationPayload, description="Withdraw what has not left the house; what has runs to its end."
    )
    async def cancel_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, kinds = info.context.shelf, _kinds(info)
        return await _decided(id, lambda one: operation.cancel(shelf, one, kinds))

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Revive failed and parked items; a parked one is read back before anything is sent again.",
    )
    async def retry_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, kinds = info.context.shelf, _kinds(info)
        return await _decided(id, lambda one: operation.retry(shelf, one, kinds))


@strawberry.type
class Subscription:
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

    @strawberry.subscription(
        graphql_type=StockEvent,
        description="The stock of each SKU now, then at each change. With `after` only the changes since, none missed.",
    )
    async def stock(self, info: Info, skus: list[str], after: str | None = None) -> AsyncGenerator[Change, None]:
        async for cursor, one in stock.follow(info.context.shelf, info.context.ask, [Sku(sku) for sku in skus], after):
            info.context.renew()
            yield Change(cursor, stock=one)


_CONFIG: dict[str, Any] = {"scalar_map": SCALARS, "relay_max_results": 100, "disable_field_suggestions": True}

schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Product, Listing, Order, Operation, Channel],
    config=StrawberryConfig(**_CONFIG),
)
