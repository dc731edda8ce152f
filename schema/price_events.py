"""Lists of what became of prices, and of those that are not as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import operation as operation_domain
from domain import product as product_domain
from domain.price_history import PriceDrift as Domain
from executor import batched
from resolvers.loaders import load_each
from schema.connection import Page
from schema.enums import PriceDriftCause
from schema.info import Info, Parents
from schema.operation import Operation, visible, visible_one
from schema.price import OfferedPrice
from schema.price_history import PriceEvent
from schema.product import Listing


@strawberry.type
class PriceEventEdge:
    cursor: str
    node: PriceEvent


@strawberry.type(description="A page of the history of prices.")
class PriceEventConnection(Page):
    edges: list[PriceEventEdge]
    nodes: list[PriceEvent]


async def _listings(drifts: Sequence[Domain], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.listing_by_id, [one.listing for one in drifts])


async def _operations(drifts: Sequence[Domain], info: Parents) -> Sequence[object]:
    return await visible([one.operation for one in drifts], info)


def _words(root: Domain) -> str | None:
    return root.words


@strawberry.type(description="A listing that shows another price than the wanted one.")
class PriceDrift:
    wanted: OfferedPrice | None
    live: OfferedPrice | None
    since: datetime
    cause: PriceDriftCause
    message: str | None = strawberry.field(
        description="What was said of the row that should change it.", resolver=_words
    )

    @strawberry.field(graphql_type=Listing | None)
    @batched(_listings)
    async def listing(self, info: Info, root: strawberry.Parent[Domain]) -> product_domain.Listing | None:
        return await info.context.loaders.listing_by_id.load(root.listing)

    @strawberry.field(graphql_type=Operation | None, description="What asked for it last, where this key may see it.")
    @batched(_operations)
    async def operation(self, info: Info, root: strawberry.Parent[Domain]) -> operation_domain.Operation | None:
        return await visible_one(root.operation, info)


@strawberry.type
class PriceDriftEdge:
    cursor: str
    node: PriceDrift


@strawberry.type(description="A page of listings whose prices differ.")
class PriceDriftConnection(Page):
    edges: list[PriceDriftEdge]
    nodes: list[PriceDrift]
