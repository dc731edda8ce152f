"""Orders compared three ways: ours, the channel's API, the channel's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import strawberry

from domain import channel as channel_domain
from domain import order as order_domain
from domain.ids import order_id
from domain.order_compare import Comparison, Difference
from executor import batched
from resolvers import channel
from resolvers.loaders import load_each
from schema.channel import Channel
from schema.connection import Page
from schema.enums import DifferenceCause
from schema.info import Info, Parents
from schema.order import Order

Told = Mapping[str, str | int | None] | None


@strawberry.type(description="What one side tells of an order.")
class OrderSide:
    status: str
    units: int = strawberry.field(description="Units that are still wanted.")
    updated_at: datetime
    total: str | None = strawberry.field(description="Amount and currency; null where the side does not tell it.")


def _side(told: Told) -> OrderSide | None:
    if told is None:
        return None
    return OrderSide(
        status=str(told["status"]),
        units=int(told["units"] or 0),
        updated_at=datetime.fromisoformat(str(told["updatedAt"])),
        total=None if told["total"] is None else str(told["total"]),
    )


async def _orders(found: Sequence[Difference], info: Parents) -> Sequence[object]:
    ids = [order_id(one.channel, one.external_id) for one in found]
    return await load_each(info.context.loaders.order_by_id, ids)


@strawberry.type(description="An order that our tables, the channel's API and its report do not tell alike.")
class OrderDifference:
    external_id: str = strawberry.field(description="The channel's own id of the order.")
    day: date = strawberry.field(description="The business day on which it was placed.")
    cause: DifferenceCause
    found_at: datetime
    healed_at: datetime | None = strawberry.field(description="Since when all agree again; null while they do not.")

    @strawberry.field(description="As we knew it; null: not at all.")
    def ours(self, root: strawberry.Parent[Difference]) -> OrderSide | None:
        return _side(root.ours)

    @strawberry.field(description="As the channel's API told it; null: it did not.")
    def api(self, root: strawberry.Parent[Difference]) -> OrderSide | None:
        return _side(root.api)

    @strawberry.field(description="As the channel's report told it; null: it did not, or there is none.")
    def report(self, root: strawberry.Parent[Difference]) -> OrderSide | None:
        return _side(root.report)

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[Difference]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(graphql_type=Order | None, description="The order as we know it now; null: not at all.")
    @batched(_orders)
    async def order(self, info: Info, root: strawberry.Parent[Difference]) -> order_domain.Order | None:
        return await info.context.loaders.order_by_id.load(order_id(root.channel, root.external_id))


@strawberry.type
class OrderDifferenceEdge:
    cursor: str
    node: OrderDifference


@strawberry.type(description="A page of differences.")
class OrderDifferenceConnection(Page):
    edges: list[OrderDifferenceEdge]
    nodes: list[OrderDifference]


@strawberry.type(description="A business day of a channel that was compared.")
class OrderComparison:
    day: date
    done_at: datetime
    ours: int = strawberry.field(description="Orders of ours that were placed on it.")
    api: int = strawberry.field(description="Those that the channel's API told of.")
    report: int | None = strawberry.field(description="Those that its report told of; null: there was none.")
    api_whole: bool = strawberry.field(
        description="Whether the API told of the whole day; else its share of the rate budget ended before."
    )
    differences: int
    healed: int = strawberry.field(description="Those of the differences that have healed.")
    reason: str | None = strawberry.field(description="Why there was no report; null where there was, or is none.")

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[Comparison]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)
