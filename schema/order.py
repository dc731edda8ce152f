"""Orders, and the confirmation of their shipments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import channel as channel_domain
from domain import order as domain
from domain import product as product_domain
from domain.errors import NotFound, Refused
from domain.exchange import Exchange
from domain.ids import ChannelId, LineId, OrderId, Sku, node_id, node_key
from executor import batched
from resolvers import api_calls, order, shipment
from resolvers.loaders import load_each
from schema.api_calls import ApiCall
from schema.channel import Channel
from schema.connection import Page
from schema.enums import FulfilledBy, OrderStatus
from schema.info import Info, Parents
from schema.money import Money
from schema.node import Node, describes
from schema.product import Product


def _orderline_id(root: domain.OrderLine) -> strawberry.ID:
    return strawberry.ID(node_id("OrderLine", root.id))


async def _products(lines: Sequence[domain.OrderLine], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.product_by_sku, [one.sku for one in lines])


@strawberry.type(description="One line of an order.")
class OrderLine:
    id: strawberry.ID = strawberry.field(resolver=_orderline_id)
    sku: str | None = strawberry.field(description="Our SKU; null while the channel's is not mapped.")
    channel_sku: str = strawberry.field(description="The channel's own SKU.")
    title: str | None
    quantity: int = strawberry.field(description="Units still wanted, after cancellations.")
    quantity_shipped: int
    unit_price: Money | None = strawberry.field(description="Null while the channel has not told it.")
    total: Money | None

    @strawberry.field(graphql_type=Product | None)
    @batched(_products)
    async def product(self, info: Info, root: strawberry.Parent[domain.OrderLine]) -> product_domain.Product | None:
        return None if root.sku is None else await info.context.loaders.product_by_sku.load(root.sku)


@strawberry.type(description="A parcel as its channel shows it.")
class Shipment:
    carrier: str
    tracking_number: str
    shipped_at: datetime = strawberry.field(
        description="As the channel tells it; a shop that takes no such time tells when it was confirmed."
    )
    label_url: str | None
    channel_confirmed_at: datetime | None = strawberry.field(
        description="Since when the channel shows it, by the channel's own time where it tells one."
    )


def _calls_key(one: domain.Order) -> tuple[str, ChannelId | None]:
    return api_calls.order_key(one.channel, one.external_id)


async def _api_calls(
    orders: Sequence[domain.Order], info: Parents, first: int | None = api_calls.USUAL
) -> Sequence[object]:
    return await load_each(info.context.loaders.api_calls_about, [(_calls_key(one), first) for one in orders])


def _order_id(root: domain.Order) -> strawberry.ID:
    return strawberry.ID(node_id("Order", root.id))


@strawberry.federation.type(keys=["id"], description="One order of one channel.")
class Order(Node):
    id: strawberry.ID = strawberry.field(resolver=_order_id)
    marketplace: str | None = strawberry.field(description="A country code; null for a shop.")
    external_id: str = strawberry.field(description="The channel's own id.")
    status: OrderStatus
    fulfilled_by: FulfilledBy
    placed_at: datetime
    updated_at: datetime = strawberry.field(description="When its channel last changed it.")
    ship_by: datetime | None = strawberry.field(
        description="Until when it must have left; null where its channel sets no time."
    )
    total: Money | None
    lines: list[OrderLine]
    shipments: list[Shipment] = strawberry.field(description="The parcels that its channel knows of.")

    is_type_of = describes(domain.Order)

    @strawberry.field(graphql_type=Channel)
    def channel(self, info: Info, root: strawberry.Parent[domain.Order]) -> channel_domain.Channel:
        return info.context.shelf.channels[root.channel]

    @strawberry.field(graphql_type=list[ApiCall], description="The newest calls to its channel about it.")
    @batched(_api_calls)
    async def api_calls(
        self, info: Info, root: strawberry.Parent[domain.Order], first: int | None = api_calls.USUAL
    ) -> list[Exchange]:
        return await info.context.loaders.api_calls_about.load((_calls_key(root), first))


@strawberry.type
class OrderEdge:
    cursor: str
    node: Order


@strawberry.type(description="A page of orders.")
class OrderConnection(Page):
    edges: list[OrderEdge]
    nodes: list[Order]


@strawberry.input(description="What is wanted; what is left out wants all.")
class OrderFilter:
    channel_id: strawberry.ID | None = None
    marketplace: str | None = None
    status: list[OrderStatus] | None = None
    placed_from: datetime | None = None
    placed_to: datetime | None = strawberry.field(default=None, description="Exclusive.")
    updated_from: datetime | None = None
    sku: str | None = None
    external_id: str | None = None

    def to_domain(self) -> order.OrderFilter:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return order.OrderFilter(
            channel=None if self.channel_id is None else ChannelId(node_key("Channel", self.channel_id)),
            marketplace=self.marketplace,
            statuses=None if self.status is None else tuple(self.status),
            placed_from=self.placed_from,
            placed_to=self.placed_to,
            updated_from=self.updated_from,
            sku=None if self.sku is None else Sku(self.sku),
            external_id=self.external_id,
        )


@strawberry.input(description="Units of one order line in a parcel.")
class ShipmentLineInput:
    order_line_id: strawberry.ID
    quantity: int


@strawberry.input(description="A parcel that is on its way.")
class ShipmentInput:
    order_id: strawberry.ID
    carrier: str
    tracking_number: str
    shipped_at: datetime
    lines: list[ShipmentLineInput] | None = strawberry.field(
        default=None, description="What is in it; left out: all that is still open."
    )

    def to_domain(self, index: int) -> shipment.ShipmentRequest:
        """As the resolver takes it. Raises NotFound, with the field, for ids of another kind."""
        at = ("shipments", str(index))
        lines = None
        if self.lines is not None:
            lines = tuple(
                shipment.ShippedLine(
                    LineId(_key("OrderLine", line.order_line_id, (*at, "lines", str(position), "orderLineId"))),
                    line.quantity,
                )
                for position, line in enumerate(self.lines)
            )
        return shipment.ShipmentRequest(
            order=OrderId(_key("Order", self.order_id, (*at, "orderId"))),
            carrier=self.carrier,
            tracking_number=self.tracking_number,
            shipped_at=self.shipped_at,
            lines=lines,
        )


@strawberry.input(description="Parcels to confirm to their channels.")
class ConfirmShipmentsInput:
    shipments: list[ShipmentInput]
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )
    dry_run: bool | None = strawberry.field(
        default=False, description="True: keep a PREVIEW of what would be sent; approveOperation applies it."
    )

    def to_domain(self) -> tuple[list[shipment.ShipmentRequest], list[Refused]]:
        """The requests, and what was wrong with their ids."""
        requests: list[shipment.ShipmentRequest] = []
        problems: list[Refused] = []
        for index, one in enumerate(self.shipments):
            try:
                requests.append(one.to_domain(index))
            except Refused as problem:
                problems.append(problem)
        return requests, problems


def _key(kind: str, node: str, field: tuple[str, ...]) -> str:
    try:
        return node_key(kind, node)
    except NotFound as problem:
        raise NotFound(problem.message, field=field) from None
