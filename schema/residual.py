"""What of settlements is not tied out, and what people say about it."""

from __future__ import annotations

from datetime import datetime, timedelta

import strawberry

from domain import channel as channel_domain
from domain import residual as domain
from domain.errors import NotFound
from domain.ids import LineId, OrderId, Sku, node_key
from resolvers import channel
from resolvers.settlement import is_number
from schema.channel import Channel
from schema.connection import Page
from schema.enums import ResidualAge, ResidualCause
from schema.info import Info
from schema.money import Money
from schema.money_line import MoneyLine
from schema.payload import UserError
from schema.scalars import Duration


@strawberry.type(description="A line of a settlement that is not tied out.")
class Residual:
    since: datetime = strawberry.field(description="When its settlement was kept.")
    line: MoneyLine

    @strawberry.field(graphql_type=ResidualCause)
    def cause(self, root: strawberry.Parent[domain.Residual]) -> ResidualCause | None:
        return root.line.cause

    @strawberry.field(description="The cause in words.")
    def words(self, root: strawberry.Parent[domain.Residual]) -> str:
        return root.words

    @strawberry.field(description="What to do next.")
    def todo(self, root: strawberry.Parent[domain.Residual]) -> str:
        return root.todo

    @strawberry.field(description="How long it has been open.")
    def age(self, info: Info, root: strawberry.Parent[domain.Residual]) -> Duration:
        return Duration(timedelta(seconds=(info.context.shelf.clock() - root.since) // timedelta(seconds=1)))


@strawberry.type
class ResidualEdge:
    cursor: str
    node: Residual


@strawberry.type(description="A page of residual lines.")
class ResidualConnection(Page):
    edges: list[ResidualEdge]
    nodes: list[Residual]


@strawberry.type(description="All residual lines of one channel, currency, cause and age, added up.")
class ResidualSum:
    cause: ResidualCause
    age: ResidualAge
    lines: int
    amount: Money
    oldest: datetime = strawberry.field(description="Since when the longest open one is.")

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[domain.ResidualSum]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)


@strawberry.input(description="Which residual lines are wanted; what is left out wants all.")
class ResidualFilter:
    channel_id: strawberry.ID | None = None
    cause: ResidualCause | None = None
    older_than: Duration | None = strawberry.field(default=None, description="Open for longer than that.")


@strawberry.input(description="What a line of a settlement belongs to: one of an order, a SKU and the account.")
class AssignResidualInput:
    line_id: strawberry.ID
    order_id: strawberry.ID | None = None
    order_line_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="The order's line that is meant; else the only one with the channel's SKU, or the whole order.",
    )
    sku: str | None = None
    account: bool | None = strawberry.field(default=None, description="It belongs to no order and to no SKU.")
    undo: bool | None = strawberry.field(default=None, description="Back to what it was before people tied it.")
    reason: str = strawberry.field(description="Why; it is kept with the line.")

    def line(self) -> int:
        """The line's key. Raises NotFound."""
        key = _key("MoneyLine", self.line_id, "lineId")
        if not is_number(key):
            raise NotFound(f"There is no line {self.line_id}.", field=("lineId",))
        return int(key)

    def target(self) -> domain.Target:
        """What it is tied to. Raises Refused."""
        order, line = self.order_id, self.order_line_id
        return domain.Target(
            order=None if order is None else OrderId(_key("Order", order, "orderId")),
            order_line=None if line is None else LineId(_key("OrderLine", line, "orderLineId")),
            sku=None if self.sku is None else Sku(self.sku),
            account=bool(self.account),
            undo=bool(self.undo),
        )


def _key(kind: str, id: str, field: str) -> str:
    try:
        return node_key(kind, id)
    except NotFound as problem:
        problem.field = (field,)
        raise


@strawberry.type(description="The line that stands from now on; or why there is none.")
class AssignResidualPayload:
    line: MoneyLine | None
    user_errors: list[UserError]
