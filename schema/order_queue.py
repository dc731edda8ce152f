"""What is to be confirmed first."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import order as order_domain
from domain.urgency import Urgent
from resolvers.order_queue import QueueFilter
from schema.connection import Page
from schema.info import Info
from schema.order import Order
from schema.roots.shared import channel_key


def _confirm_by(root: Urgent) -> datetime | None:
    return root.rank_at


def _lag_seconds(root: Urgent) -> float:
    return root.lag.seconds


def _lag_items(root: Urgent) -> int:
    return root.lag.items


@strawberry.type(description="An order that waits to be shipped, at its place.")
class QueuedOrder:
    confirm_by: datetime | None = strawberry.field(
        resolver=_confirm_by, description="Its ship-by less the lag of its channel: the order is ranked by it."
    )
    confirmation_lag_seconds: float = strawberry.field(
        resolver=_lag_seconds,
        description=(
            "How long its channel takes from a confirmation that it took to showing it, in 95 of 100 cases, measured with the "
            "items of the last day; where there was none, what the platform is known for."
        ),
    )
    measured_items: int = strawberry.field(resolver=_lag_items, description="With how many items that was measured.")

    @strawberry.field(description="What stands in the way: a hold, units that are not there.")
    async def obstacles(self, info: Info, root: strawberry.Parent[Urgent]) -> list[str]:
        return root.obstacles(await info.context.loaders.nowhere_by_order.load(root.order.id))

    @strawberry.field(graphql_type=Order)
    def order(self, root: strawberry.Parent[Urgent]) -> order_domain.Order:
        return root.order

    @strawberry.field(
        description="Minutes until `confirmBy`; negative when it is over, null where its channel sets no time."
    )
    def minutes_left(self, info: Info, root: strawberry.Parent[Urgent]) -> int | None:
        return root.minutes_left(info.context.shelf.clock())


@strawberry.type
class QueuedOrderEdge:
    cursor: str
    node: QueuedOrder


@strawberry.type(description="A page of the queue. The pages of one walk are ranked by the lags of its first.")
class OrderQueueConnection(Page):
    edges: list[QueuedOrderEdge]
    nodes: list[QueuedOrder]


@strawberry.input(description="What is wanted; what is left out wants all.")
class OrderQueueFilter:
    channel_id: strawberry.ID | None = None
    held: bool | None = strawberry.field(
        default=None, description="True: those alone that we or their channel hold; false: the others."
    )

    def to_domain(self) -> QueueFilter:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return QueueFilter(channel_key(self.channel_id), self.held)
