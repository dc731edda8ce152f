"""Orders, and the confirmation of their shipments."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import date, datetime

import strawberry

from domain import carrier
from domain import chain as chain_domain
from domain import channel as channel_domain
from domain import hold as hold_domain
from domain import order as domain
from domain import outbound as outbound_domain
from domain import person as person_domain
from domain import product as product_domain
from domain import profit as profit_domain
from domain import sourcing as sourcing_domain
from domain import timeline as timeline_domain
from domain.errors import Invalid, NotFound, Refused
from domain.exchange import Exchange
from domain.ids import ChannelId, LineId, OrderId, Sku, node_id, node_key
from domain.label import KeptLabel
from domain.residual import KeptLine
from domain.shipment import ShipmentRequest, ShippedLine
from domain.tracking import ParcelEvent
from executor import batched
from resolvers import api_calls, channel, label, order, person, profit, tracking
from resolvers import timeline as order_timeline
from resolvers.connection import page_size
from resolvers.fulfillment import Sending
from resolvers.loaders import load_each
from schema.api_calls import ApiCall
from schema.channel import Channel
from schema.charge import Charge
from schema.connection import Page
from schema.enums import CancelledBy, FulfilledBy, OrderStatus, Whereabouts
from schema.fulfillment import FulfillmentOrder
from schema.hold import OrderHold
from schema.info import Info, Parents
from schema.label import Label
from schema.money import Money
from schema.money_line import MoneyLine
from schema.node import Node, describes
from schema.outbound import OutboundOrder
from schema.person import Address, Buyer, Destination
from schema.product import Product
from schema.profit import OrderFinance
from schema.returns import ReturnChain
from schema.sourcing import SourcingDecision
from schema.timeline import OrderStep


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
    quantity_cancelled: int = strawberry.field(description="Units that were ordered and are not wanted any more.")
    cancelled_by: CancelledBy | None = strawberry.field(description="Null where the channel does not tell.")
    charges: list[Charge] = strawberry.field(
        description="What all units that were ordered cost, as the channel tells it."
    )

    @strawberry.field(graphql_type=Product | None)
    @batched(_products)
    async def product(self, info: Info, root: strawberry.Parent[domain.OrderLine]) -> product_domain.Product | None:
        return None if root.sku is None else await info.context.loaders.product_by_sku.load(root.sku)


async def _label_urls(parcels: Sequence[domain.Shipment], info: Parents) -> Sequence[object]:
    numbers = [one.tracking_number for one in parcels]
    found = await load_each(info.context.loaders.label_by_tracking_number, numbers)
    shelf, scopes = info.context.shelf, info.context.caller.scopes
    return [one if isinstance(one, BaseException) else label.link(shelf, scopes, one) for one in found]


async def _parcel_events(parcels: Sequence[domain.Shipment], info: Parents) -> Sequence[object]:
    found = await load_each(info.context.loaders.parcel_events_by_number, [one.tracking_number for one in parcels])
    return [
        tracking.newest(one, events) if isinstance(events, list) else events
        for one, events in zip(parcels, found, strict=True)
    ]


async def _whereabouts(parcels: Sequence[domain.Shipment], info: Parents) -> Sequence[object]:
    return [one.status if isinstance(one, ParcelEvent) else one for one in await _parcel_events(parcels, info)]


async def _whereabouts_at(parcels: Sequence[domain.Shipment], info: Parents) -> Sequence[object]:
    return [one.at if isinstance(one, ParcelEvent) else one for one in await _parcel_events(parcels, info)]


@strawberry.type(description="A parcel as its channel shows it.")
class Shipment:
    carrier: str
    tracking_number: str
    shipped_at: datetime = strawberry.field(
        description="As the channel tells it; a shop that takes no such time tells when it was confirmed."
    )

    @strawberry.field(
        graphql_type=str | None,
        description=(
            "Where its label, if it was bought here, can be fetched for ten minutes, below the gateway's address. Null to keys "
            "without shipments:write or orders:pii."
        ),
    )
    @batched(_label_urls)
    async def label_url(self, info: Info, root: strawberry.Parent[domain.Shipment]) -> str | None:
        found = await info.context.loaders.label_by_tracking_number.load(root.tracking_number)
        return label.link(info.context.shelf, info.context.caller.scopes, found)

    channel_confirmed_at: datetime | None = strawberry.field(
        description="Since when the channel shows it, by the channel's own time where it tells one."
    )
    service: str | None = strawberry.field(
        description="The carrier's service; null where the channel does not tell it."
    )

    @strawberry.field(description="Where it can be followed; null where that is not known of its carrier.")
    def tracking_url(self, root: strawberry.Parent[domain.Shipment]) -> str | None:
        return carrier.url(root.carrier, root.tracking_number)

    @strawberry.field(
        graphql_type=Whereabouts | None,
        description="Where it is, as a warehouse or carrier has told us; null where none has.",
    )
    @batched(_whereabouts)
    async def whereabouts(
        self, info: Info, root: strawberry.Parent[domain.Shipment]
    ) -> outbound_domain.Whereabouts | None:
        found = tracking.newest(root, await info.context.loaders.parcel_events_by_number.load(root.tracking_number))
        return None if found is None else found.status

    @strawberry.field(graphql_type=datetime | None, description="Since when it is there.")
    @batched(_whereabouts_at)
    async def whereabouts_at(self, info: Info, root: strawberry.Parent[domain.Shipment]) -> datetime | None:
        found = tracking.newest(root, await info.context.loaders.parcel_events_by_number.load(root.tracking_number))
        return None if found is None else found.at


def _calls_key(one: domain.Order) -> tuple[str, ChannelId | None]:
    return api_calls.order_key(one.channel, one.external_id)


async def _api_calls(
    orders: Sequence[domain.Order], info: Parents, first: int | None = api_calls.USUAL
) -> Sequence[object]:
    return await load_each(info.context.loaders.api_calls_about, [(_calls_key(one), first) for one in orders])


async def _labels(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.labels_by_order, [one.id for one in orders])


async def _chains(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.chains_by_order, [one.id for one in orders])


async def _finances(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    if not profit.told_to(info.context.caller.scopes):
        return [None] * len(orders)
    return await load_each(info.context.loaders.money_by_order, [one.id for one in orders])


async def _money_lines(
    orders: Sequence[domain.Order], info: Parents, known_at: datetime | None = None
) -> Sequence[object]:
    return await load_each(info.context.loaders.money_lines_by_order, [(one.id, known_at) for one in orders])


async def _timelines(
    orders: Sequence[domain.Order], info: Parents, first: int | None = order_timeline.USUAL
) -> Sequence[object]:
    newest = page_size(first)
    found = await load_each(info.context.loaders.timeline_by_order, [one.id for one in orders])
    return [steps[-newest:] if isinstance(steps, list) else steps for steps in found]


async def _outbound(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.outbound_by_order, [one.id for one in orders])


async def _fulfillments(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.fulfillments_by_order, [one.id for one in orders])


async def _sourcing(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.sourcing_by_order, [one.id for one in orders])


def _standing(root: domain.Order) -> OrderStatus:
    return root.standing


async def _holds(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.holds_by_order, [one.id for one in orders])


async def _buyers(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    return await person.read(info.context, orders, "buyer")


async def _addresses(orders: Sequence[domain.Order], info: Parents) -> Sequence[object]:
    found = await person.read(info.context, orders, "shipTo")
    return [one.ship_to if isinstance(one, person_domain.Person) else one for one in found]


async def _one(
    read: Awaitable[list[person_domain.Person | BaseException | None]],
) -> person_domain.Person | None:
    (found,) = await read
    if isinstance(found, BaseException):
        raise found
    return found


def _order_id(root: domain.Order) -> strawberry.ID:
    return strawberry.ID(node_id("Order", root.id))


@strawberry.federation.type(keys=["id"], description="One order of one channel.")
class Order(Node):
    id: strawberry.ID = strawberry.field(resolver=_order_id)
    marketplace: str | None = strawberry.field(description="A country code; null for a shop.")
    external_id: str = strawberry.field(description="The channel's own id.")
    status: OrderStatus = strawberry.field(resolver=_standing)
    fulfilled_by: FulfilledBy
    placed_at: datetime
    updated_at: datetime = strawberry.field(description="When its channel last changed it.")
    ship_by: datetime | None = strawberry.field(
        description="Until when it must have left; null where its channel sets no time."
    )
    total: Money | None
    lines: list[OrderLine]
    shipments: list[Shipment] = strawberry.field(description="The parcels that its channel knows of.")
    cancellation_requested: bool = strawberry.field(description="Its buyer has asked the channel for a cancellation.")
    deliver_by: datetime | None = strawberry.field(description="Until when it was promised to arrive.")
    delivered_at: datetime | None = strawberry.field(description="When its channel says that the last parcel arrived.")
    service: str | None = strawberry.field(description="How fast it was sold to be, in the channel's own word.")
    destination: Destination | None = strawberry.field(
        description="Roughly where it goes; null where its channel does not tell."
    )
    charges: list[Charge] = strawberry.field(description="What belongs to no line, such as shipping at a shop.")
    charged: Money | None = strawberry.field(
        description="What all was to cost when it was ordered, before refunds, as its channel adds it up."
    )
    tax: Money | None = strawberry.field(
        description="The tax in or on all that was ordered; null while it is not told."
    )
    unexplained: Money | None = strawberry.field(
        description="What `charged` is beyond all `charges`: zero in a sound order, null while one of both is not told."
    )
    whole: bool = strawberry.field(
        description="False while a report alone has told of it: its lines are its SKUs, and cannot be confirmed yet."
    )
    prices_with_tax: bool | None = strawberry.field(
        description="Whether its buyer was shown prices with the tax in them."
    )

    is_type_of = describes(domain.Order)

    @strawberry.field(graphql_type=Channel)
    def channel(self, info: Info, root: strawberry.Parent[domain.Order]) -> channel_domain.Channel:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(description="The day on which it was placed, by the calendar of its marketplace or shop.")
    def business_day(self, info: Info, root: strawberry.Parent[domain.Order]) -> date:
        return order.business_day(info.context.shelf, root)

    @strawberry.field(
        graphql_type=Buyer | None,
        description="Who bought; null without the scope orders:pii, and where it is not known or was forgotten.",
    )
    @batched(_buyers)
    async def buyer(self, info: Info, root: strawberry.Parent[domain.Order]) -> person_domain.Person | None:
        return await _one(person.read(info.context, [root], "buyer"))

    @strawberry.field(
        graphql_type=Address | None,
        description="Where it goes; null without the scope orders:pii, and where it is not known or was forgotten.",
    )
    @batched(_addresses)
    async def ship_to(self, info: Info, root: strawberry.Parent[domain.Order]) -> person_domain.Recipient | None:
        found = await _one(person.read(info.context, [root], "shipTo"))
        return None if found is None else found.ship_to

    @strawberry.field(
        graphql_type=list[FulfillmentOrder],
        description="What places of ours send of it, or have sent, by place; empty where its channel ships it.",
    )
    @batched(_fulfillments)
    async def fulfillments(self, info: Info, root: strawberry.Parent[domain.Order]) -> list[Sending]:
        return await info.context.loaders.fulfillments_by_order.load(root.id)

    @strawberry.field(
        graphql_type=SourcingDecision | None,
        description="Why it is sent from there, as rules decided last; null where none have.",
    )
    @batched(_sourcing)
    async def sourcing(self, info: Info, root: strawberry.Parent[domain.Order]) -> sourcing_domain.Decided | None:
        return await info.context.loaders.sourcing_by_order.load(root.id)

    @strawberry.field(graphql_type=list[OrderHold], description="What keeps it from going on, or did; oldest first.")
    @batched(_holds)
    async def holds(self, info: Info, root: strawberry.Parent[domain.Order]) -> list[hold_domain.Hold]:
        return await info.context.loaders.holds_by_order.load(root.id)

    @strawberry.field(
        description=(
            "Minutes until its ship-by, also while it is held; negative when that is over, null where there is none and of "
            "orders that have ended."
        )
    )
    def minutes_to_ship_by(self, info: Info, root: strawberry.Parent[domain.Order]) -> int | None:
        return root.minutes_to_ship_by(info.context.shelf.clock())

    @strawberry.field(graphql_type=list[ApiCall], description="The newest calls to its channel about it.")
    @batched(_api_calls)
    async def api_calls(
        self, info: Info, root: strawberry.Parent[domain.Order], first: int | None = api_calls.USUAL
    ) -> list[Exchange]:
        return await info.context.loaders.api_calls_about.load((_calls_key(root), first))

    @strawberry.field(
        graphql_type=OrderFinance | None,
        description=(
            "What it brings and costs, in its own currency; null without the scope finance:read, and while no amount of it is "
            "known."
        ),
    )
    @batched(_finances)
    async def finance(self, info: Info, root: strawberry.Parent[domain.Order]) -> profit_domain.OrderMoney | None:
        if not profit.told_to(info.context.caller.scopes):
            return None
        found = await info.context.loaders.money_by_order.load(root.id)
        assert not isinstance(found, Invalid)  # the loader raises what stands in a value's place
        return found

    @strawberry.field(
        graphql_type=list[MoneyLine],
        description="The amounts that stand of it, or stood by what was known at `knownAt`, oldest first.",
    )
    @batched(_money_lines)
    async def money_lines(
        self, info: Info, root: strawberry.Parent[domain.Order], known_at: datetime | None = None
    ) -> list[KeptLine]:
        return await info.context.loaders.money_lines_by_order.load((root.id, known_at))

    @strawberry.field(graphql_type=list[ReturnChain], description="What comes back of it, the first begun first.")
    @batched(_chains)
    async def chains(self, info: Info, root: strawberry.Parent[domain.Order]) -> list[chain_domain.Chain]:
        return await info.context.loaders.chains_by_order.load(root.id)

    @strawberry.field(
        graphql_type=list[OrderStep], description="What happened to it, oldest first; of many steps the newest `first`."
    )
    @batched(_timelines)
    async def timeline(
        self, info: Info, root: strawberry.Parent[domain.Order], first: int | None = order_timeline.USUAL
    ) -> list[timeline_domain.Step]:
        return (await info.context.loaders.timeline_by_order.load(root.id))[-page_size(first) :]

    @strawberry.field(graphql_type=list[OutboundOrder], description="What pools of other channels ship of it.")
    @batched(_outbound)
    async def outbound(self, info: Info, root: strawberry.Parent[domain.Order]) -> list[outbound_domain.Followed]:
        return await info.context.loaders.outbound_by_order.load(root.id)

    @strawberry.field(graphql_type=list[Label], description="The labels that were bought for it here, oldest first.")
    @batched(_labels)
    async def labels(self, info: Info, root: strawberry.Parent[domain.Order]) -> list[KeptLabel]:
        return await info.context.loaders.labels_by_order.load(root.id)


@strawberry.type
class OrderEdge:
    cursor: str
    node: Order


@strawberry.type(description="A page of orders.")
class OrderConnection(Page):
    edges: list[OrderEdge]
    nodes: list[Order]


@strawberry.type(description="An order after a change. Pass cursor as `after` to go on from here.")
class OrderEvent:
    cursor: str
    order: Order


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
    service: str | None = strawberry.field(
        default=None, description='The carrier\'s service, such as "Ground", in its own words.'
    )

    def to_domain(self, index: int) -> ShipmentRequest:
        """As the resolver takes it. Raises NotFound, with the field, for ids of another kind."""
        at = ("shipments", str(index))
        lines = None
        if self.lines is not None:
            lines = tuple(
                ShippedLine(
                    LineId(_key("OrderLine", line.order_line_id, (*at, "lines", str(position), "orderLineId"))),
                    line.quantity,
                )
                for position, line in enumerate(self.lines)
            )
        return ShipmentRequest(
            order=OrderId(_key("Order", self.order_id, (*at, "orderId"))),
            carrier=self.carrier,
            tracking_number=self.tracking_number,
            shipped_at=self.shipped_at,
            lines=lines,
            service=self.service,
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

    def to_domain(self) -> tuple[list[ShipmentRequest], list[Refused]]:
        """The requests, and what was wrong with their ids."""
        requests: list[ShipmentRequest] = []
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
