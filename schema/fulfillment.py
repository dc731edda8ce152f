"""From where orders are sent: the part of each place."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import channel as channel_domain
from domain import fulfillment as domain
from domain import order as order_domain
from domain.ids import node_id
from domain.money import Money as MoneyDomain
from resolvers.fulfillment import Sending
from schema.money import Money
from schema.node import Node, describes
from schema.payload import UserError
from schema.stock import Location

if TYPE_CHECKING:
    from schema.order import Order, Shipment


def _line_id(root: domain.FulfillmentLine) -> strawberry.ID:
    return strawberry.ID(node_id("OrderLine", root.line))


@strawberry.type(
    description="Units of one SKU for an order's line: of a kit's line its components, which is what lies at a place."
)
class FulfillmentLine:
    order_line_id: strawberry.ID = strawberry.field(resolver=_line_id)
    sku: str
    quantity: int = strawberry.field(description="Units, those that have left too.")
    quantity_shipped: int = strawberry.field(description="Units that have left.")
    backordered: int = strawberry.field(description="Units that wait for announced ones, as the rules allow.")
    expected_on: date | None = strawberry.field(description="When these are expected, where the rules tell a day.")


def _fulfillment_id(root: Sending) -> strawberry.ID:
    return strawberry.ID(node_id("FulfillmentOrder", root.part.key))


@strawberry.type(description="What one place of ours sends of an order.")
class FulfillmentOrder(Node):
    id: strawberry.ID = strawberry.field(resolver=_fulfillment_id)

    is_type_of = describes(Sending)

    @strawberry.field(graphql_type=Annotated["Order", strawberry.lazy("schema.order")])
    def order(self, root: strawberry.Parent[Sending]) -> order_domain.Order:
        return root.order

    @strawberry.field(graphql_type=Location)
    def location(self, root: strawberry.Parent[Sending]) -> channel_domain.Location:
        return root.location

    @strawberry.field(
        description=(
            "OPEN: promised there, and to be sent. BACKORDERED: some of it waits for announced units. ON_HOLD: not to be sent "
            "yet, as it is held or not paid. PARTIALLY_SHIPPED, SHIPPED: some of it has left, or all."
        )
    )
    def status(self, root: strawberry.Parent[Sending]) -> str:
        return root.status.value

    @strawberry.field(graphql_type=list[FulfillmentLine])
    def lines(self, root: strawberry.Parent[Sending]) -> tuple[domain.FulfillmentLine, ...]:
        return root.part.lines

    @strawberry.field(
        graphql_type=list[Annotated["Shipment", strawberry.lazy("schema.order")]],
        description="The parcels that left from there; empty where several places have sent some, and nobody tells from where.",
    )
    def shipments(self, root: strawberry.Parent[Sending]) -> list[order_domain.Shipment]:
        return root.shipments

    @strawberry.field(
        graphql_type=Money | None,
        description="Its part of the order's total; all parts together are the total, to the last minor unit.",
    )
    def value(self, root: strawberry.Parent[Sending]) -> MoneyDomain | None:
        return root.value


@strawberry.type(description="The part as the other place has it now, or why it stays where it is.")
class FulfillmentPayload:
    fulfillment: FulfillmentOrder | None
    user_errors: list[UserError]


@strawberry.input(description="Send it from another place: all of it that has not left yet.")
class MoveFulfillmentInput:
    id: strawberry.ID
    to_location: str = strawberry.field(description="The code of a place of ours that has all of it free.")
    reason: str = strawberry.field(default="", description="For the order's timeline; nothing of a buyer.")
    force: bool = strawberry.field(default=False, description="Though the sourcing rules keep the place away.")
