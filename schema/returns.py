"""What comes back of orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import chain as domain
from domain import channel as channel_domain
from domain import order as order_domain
from domain.errors import NotFound
from domain.ids import LineId, LocationCode, OrderId, node_key, order_id
from executor import batched
from resolvers import channel, returns
from resolvers.loaders import load_each
from schema.channel import Channel
from schema.connection import Page
from schema.enums import ReturnGapKind, ReturnPieceKind
from schema.info import Info, Parents
from schema.money import Money

if TYPE_CHECKING:
    from schema.order import Order


@strawberry.type(description="One thing that was told of units that come back.")
class ReturnPiece:
    kind: ReturnPieceKind
    at: datetime
    units: int = strawberry.field(description="0 for money alone.")
    money: Money | None = strawberry.field(description="What was refunded or reimbursed.")
    condition: str | None = strawberry.field(description="Of the units, in the words of whoever looked at them.")
    reference: str = strawberry.field(description="The channel's own id of it, or the operation that booked it.")


@strawberry.type(description="A link that a chain lacks.")
class ReturnGap:
    kind: ReturnGapKind
    units: int
    since: datetime
    days: int = strawberry.field(description="Whole days since then.")
    words: str = strawberry.field(description="For people.")


def _order_key(one: domain.Chain) -> OrderId | None:
    return None if one.order is None else order_id(one.channel, one.order)


async def _orders(chains: Sequence[domain.Chain], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.order_by_id, [_order_key(one) for one in chains])


@strawberry.type(
    description=(
        "Units of one SKU of an order that come back, from their announcement to the shelf. "
        "Pieces belong together by order, SKU, units and time."
    )
)
class ReturnChain:
    pieces: list[ReturnPiece] = strawberry.field(description="As they happened.")
    started_at: datetime
    by_channel: bool = strawberry.field(description="Whether the channel takes back and restocks by itself (FBA).")

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[domain.Chain]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(description="The channel's own SKU; empty for money that belongs to no line.")
    def channel_sku(self, root: strawberry.Parent[domain.Chain]) -> str:
        return root.sku

    @strawberry.field(description="The channel's own id of the order; null where it names none.")
    def order_external_id(self, root: strawberry.Parent[domain.Chain]) -> str | None:
        return root.order

    @strawberry.field(
        graphql_type=Annotated["Order", strawberry.lazy("schema.order")] | None,
        description="Null where it is not kept.",
    )
    @batched(_orders)
    async def order(self, info: Info, root: strawberry.Parent[domain.Chain]) -> order_domain.Order | None:
        key = _order_key(root)
        return None if key is None else await info.context.loaders.order_by_id.load(key)

    @strawberry.field(description="The links that it lacks now; none when it is complete.")
    def gaps(self, info: Info, root: strawberry.Parent[domain.Chain]) -> list[ReturnGap]:
        now = info.context.shelf.clock()
        return [
            ReturnGap(
                kind=one.gap,
                units=one.units,
                since=one.since,
                days=max(0, (now - one.since).days),
                words=domain.words(one, now),
            )
            for one in domain.gaps(root, now)
        ]


@strawberry.type
class ReturnChainEdge:
    cursor: str
    node: ReturnChain


@strawberry.type(description="A page of chains.")
class ReturnChainConnection(Page):
    edges: list[ReturnChainEdge]
    nodes: list[ReturnChain]


@strawberry.input(description="Units of one order line that came back, or are not waited for any more.")
class RestockLineInput:
    order_line_id: strawberry.ID
    quantity: int
    location: str | None = strawberry.field(
        default=None,
        description="The code of the place of ours where they can be sold again; left out: they are written off.",
    )
    condition: str | None = strawberry.field(default=None, description="In words for people.")


@strawberry.input(description="What came back of one order; all lines are booked, or none.")
class RestockReturnInput:
    order_id: strawberry.ID
    lines: list[RestockLineInput]
    reason: str = strawberry.field(description="In words for people; it stands in the ledger.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating a request with the same key answers the first operation."
    )

    def to_domain(self) -> tuple[OrderId, list[returns.ReturnedLine]]:
        """As the resolver takes it. Raises NotFound, with the field, for ids of another kind."""
        lines = [
            returns.ReturnedLine(
                LineId(_key("OrderLine", one.order_line_id, ("lines", str(number), "orderLineId"))),
                one.quantity,
                None if one.location is None else LocationCode(one.location),
                one.condition,
            )
            for number, one in enumerate(self.lines)
        ]
        return OrderId(_key("Order", self.order_id, ("orderId",))), lines


def _key(kind: str, node: str, field: tuple[str, ...]) -> str:
    try:
        return node_key(kind, node)
    except NotFound as problem:
        raise NotFound(problem.message, field=field) from None
