"""What does not agree: drift, and oversold units."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import channel as channel_domain
from domain import order as order_domain
from domain.drift import Drift
from domain.ids import node_id
from domain.oversale import Oversale as OversaleDomain
from executor import batched
from resolvers import channel
from resolvers.loaders import load_each
from schema.channel import Channel
from schema.connection import Page
from schema.enums import DriftKind
from schema.info import Info, Parents
from schema.order import Order


@strawberry.type(description="A number that a channel shows, and that is not the one we believe it shows.")
class StockDrift:
    channel_sku: str
    place: str = strawberry.field(
        description="The channel's own name of the place, or the code of an FBA pool; empty where it knows none."
    )
    sku: str | None
    kind: DriftKind
    believed: int | None = strawberry.field(description="Units that we believe it shows.")
    shown: int | None = strawberry.field(description="Units that it shows; null: it does not offer it.")
    first_at: datetime = strawberry.field(description="When it was first seen.")
    last_at: datetime = strawberry.field(description="When it was last seen.")
    times: int = strawberry.field(description="How often it was seen.")

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[Drift]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)


@strawberry.type
class StockDriftEdge:
    cursor: str
    node: StockDrift


@strawberry.type(description="A page of drifts.")
class StockDriftConnection(Page):
    edges: list[StockDriftEdge]
    nodes: list[StockDrift]


def _line_id(root: OversaleDomain) -> strawberry.ID:
    return strawberry.ID(node_id("OrderLine", root.line))


async def _orders(oversales: Sequence[OversaleDomain], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.order_by_id, [one.order for one in oversales])


@strawberry.type(description="Units that a marketplace sold beyond what there was, with the lag that let them in.")
class Oversale:
    order_line_id: strawberry.ID = strawberry.field(resolver=_line_id)
    sku: str
    units: int
    placed_at: datetime = strawberry.field(description="When the order was placed.")
    seen_at: datetime = strawberry.field(description="When we saw it.")
    shown: int | None = strawberry.field(description="What the channel showed when it was placed.")
    told_at: datetime | None = strawberry.field(
        description="Since when the channel had been told a lower number; null where it had not."
    )
    cause: str = strawberry.field(description="What let it in.")

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[OversaleDomain]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(graphql_type=Order | None)
    @batched(_orders)
    async def order(self, info: Info, root: strawberry.Parent[OversaleDomain]) -> order_domain.Order | None:
        return await info.context.loaders.order_by_id.load(root.order)


@strawberry.type
class OversaleEdge:
    cursor: str
    node: Oversale


@strawberry.type(description="A page of oversales.")
class OversaleConnection(Page):
    edges: list[OversaleEdge]
    nodes: list[Oversale]
