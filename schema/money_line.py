"""One amount of money, as clients see it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Protocol

import strawberry

from domain import channel as channel_domain
from domain import order as order_domain
from domain import residual as domain
from domain import settlement as settlement_domain
from domain.cost import CostLayer
from domain.ids import OrderId, Sku, node_id, node_key
from executor import batched
from resolvers import channel
from resolvers.loaders import load_each
from resolvers.settlement import CostDay
from schema.channel import Channel
from schema.connection import Page
from schema.enums import MoneyClass, MoneyEvent, MoneyPart, MoneySource, MoneyStage, ResidualCause
from schema.info import Info, Parents
from schema.money import Money
from schema.node import Node, describes
from schema.price_facts import UnitCost

if TYPE_CHECKING:
    from schema.order import Order, OrderLine
    from schema.settlement import Settlement


def _line_id(root: domain.KeptLine) -> strawberry.ID:
    return strawberry.ID(node_id("MoneyLine", str(root.id)))


def _order_id(root: domain.KeptLine) -> strawberry.ID | None:
    return None if root.order_id is None else strawberry.ID(node_id("Order", root.order_id))


def _extra(root: domain.KeptLine) -> str | None:
    return json.dumps(root.extra, ensure_ascii=False) if root.extra else None


def _matched_words(root: domain.KeptLine) -> str | None:
    return None if root.matched_by is None else domain.rule_words(root.matched_by)


async def _orders(lines: Sequence[domain.KeptLine], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.order_by_id, [one.order_id for one in lines])


async def _order_lines(lines: Sequence[domain.KeptLine], info: Parents) -> Sequence[object]:
    found = await _orders(lines, info)
    return [
        _meant(one, order) if isinstance(order, order_domain.Order) else order
        for one, order in zip(lines, found, strict=True)
    ]


class OfSettlement(Protocol):
    """Whatever is of a settlement, by its id; None where it is of none."""

    @property
    def settlement(self) -> str | None: ...


async def settlements(found: Sequence[OfSettlement], info: Parents) -> Sequence[object]:
    """The settlement of each."""
    return await load_each(info.context.loaders.settlement_by_id, [one.settlement for one in found])


async def _cost_layers(lines: Sequence[domain.KeptLine], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.cost_layer_by_day, list(map(_cost_day, lines)))


def _meant(one: domain.KeptLine, of: order_domain.Order) -> order_domain.OrderLine | None:
    return next((line for line in of.lines if line.id == one.order_line_id), None)


def _cost_day(one: domain.KeptLine) -> CostDay | None:
    return None if one.sku is None or one.units is None else (one.sku, one.day)


@strawberry.type(
    description=(
        "One amount, signed as we see it: what a channel takes is negative. It is never changed; what is known better is another "
        "line, which replaces it."
    )
)
class MoneyLine(Node):
    id: strawberry.ID = strawberry.field(resolver=_line_id)
    amount: Money
    money_class: MoneyClass = strawberry.field(name="class")
    part: MoneyPart
    event: MoneyEvent
    stage: MoneyStage
    source: MoneySource
    posted_at: datetime = strawberry.field(description="When its channel booked it.")
    day: date = strawberry.field(
        description=(
            "The day of business it counts for, by the marketplace's clock: of an order's sale the day it was placed, of all "
            "else the day it was posted."
        )
    )
    marketplace: str | None = strawberry.field(description="A country code; null for a shop.")
    kind: str = strawberry.field(description="The channel's own word for what happened.")
    amount_kind: str = strawberry.field(description="The channel's own word for the kind of amount.")
    description: str = strawberry.field(description="The channel's own word for the amount.")
    row: int | None = strawberry.field(
        description="The data line of the settlement's file; several lines may share one that had to be split."
    )
    units: int | None = strawberry.field(description="Units sold or given back, on the line of their price alone.")
    order_external_id: str | None = strawberry.field(
        description="What the channel names as its order; not always one's id."
    )
    shipment_id: str | None
    adjustment_id: str | None
    item_id: str | None
    channel_sku: str | None
    extra: str | None = strawberry.field(
        resolver=_extra, description="Columns that we do not know, as they stood there, as JSON."
    )
    sku: str | None = strawberry.field(description="Our SKU.")
    order_id: strawberry.ID | None = strawberry.field(
        resolver=_order_id, description="The id of our order that it belongs to, which may have been forgotten since."
    )
    matched_by: str | None = strawberry.field(
        description="The rule that tied it to an order, a SKU or the account; PERSON where somebody did."
    )
    matched_words: str | None = strawberry.field(resolver=_matched_words, description="What that rule says.")
    cause: ResidualCause | None = strawberry.field(description="Why it is not tied out; null where it is.")
    known_at: datetime = strawberry.field(description="Since when it is known here.")
    replaced_at: datetime | None = strawberry.field(
        description="Since when something better is known; null while it stands."
    )
    replaced_why: str | None

    is_type_of = describes(domain.KeptLine)

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[domain.KeptLine]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(
        graphql_type=Annotated["Settlement", strawberry.lazy("schema.settlement")] | None,
        description="The settlement or payout that it is a line of; null before there is one.",
    )
    @batched(settlements)
    async def settlement(
        self, info: Info, root: strawberry.Parent[domain.KeptLine]
    ) -> settlement_domain.Settlement | None:
        return None if root.settlement is None else await info.context.loaders.settlement_by_id.load(root.settlement)

    @strawberry.field(graphql_type=Annotated["Order", strawberry.lazy("schema.order")] | None)
    @batched(_orders)
    async def order(self, info: Info, root: strawberry.Parent[domain.KeptLine]) -> order_domain.Order | None:
        return None if root.order_id is None else await info.context.loaders.order_by_id.load(root.order_id)

    @strawberry.field(
        graphql_type=Annotated["OrderLine", strawberry.lazy("schema.order")] | None,
        description="The order's line; null for what belongs to the whole order, or to none.",
    )
    @batched(_order_lines)
    async def order_line(self, info: Info, root: strawberry.Parent[domain.KeptLine]) -> order_domain.OrderLine | None:
        of = None if root.order_id is None else await info.context.loaders.order_by_id.load(root.order_id)
        return None if of is None else _meant(root, of)

    @strawberry.field(
        graphql_type=UnitCost | None,
        description="What one of its units cost on its day; null where it has none, or nobody has told.",
    )
    @batched(_cost_layers)
    async def cost_layer(self, info: Info, root: strawberry.Parent[domain.KeptLine]) -> CostLayer | None:
        key = _cost_day(root)
        return None if key is None else await info.context.loaders.cost_layer_by_day.load(key)


@strawberry.type
class MoneyLineEdge:
    cursor: str
    node: MoneyLine


@strawberry.type(description="A page of lines of money.")
class MoneyLineConnection(Page):
    edges: list[MoneyLineEdge]
    nodes: list[MoneyLine]


@strawberry.input(description="Which lines are wanted; what is left out wants all.")
class MoneyLineFilter:
    money_class: MoneyClass | None = strawberry.field(name="class", default=None)
    part: MoneyPart | None = None
    event: MoneyEvent | None = None
    matched_by: str | None = strawberry.field(default=None, description="The name of the rule that tied them.")
    cause: ResidualCause | None = None
    order_id: strawberry.ID | None = None
    sku: str | None = None

    def to_domain(self) -> domain.LineFilter:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return domain.LineFilter(
            money_class=self.money_class,
            part=self.part,
            event=self.event,
            matched_by=self.matched_by,
            cause=self.cause,
            order=None if self.order_id is None else OrderId(node_key("Order", self.order_id)),
            sku=None if self.sku is None else Sku(self.sku),
        )
