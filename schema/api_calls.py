"""The log of calls to platforms."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import channel as channel_domain
from domain.exchange import Exchange
from domain.ids import ChannelId, OperationId, node_id, node_key
from resolvers import api_calls, channel
from schema.channel import Channel
from schema.connection import Page
from schema.info import Info


def _call_id(root: Exchange) -> strawberry.ID:
    return strawberry.ID(node_id("ApiCall", str(root.id)))


@strawberry.type(description="One call to a platform, without tokens and without buyers.")
class ApiCall:
    id: strawberry.ID = strawberry.field(resolver=_call_id)
    at: datetime = strawberry.field(description="When it began.")
    operation: str = strawberry.field(description="The platform's own name for it.")
    method: str
    path: str = strawberry.field(description="With its query.")
    status: int | None = strawberry.field(description="The HTTP status; null where no answer came.")
    upstream_request_id: str | None = strawberry.field(description="The platform's id of the call, for its support.")
    seconds: float = strawberry.field(description="Until its end.")
    failure: str | None = strawberry.field(
        description="Null where it went well; else the platform's code, the HTTP status, or what became of the connection."
    )
    request_headers: str = strawberry.field(description="A few, one a line.")
    response_headers: str = strawberry.field(description="A few, one a line.")
    request: str | None = strawberry.field(
        description="What we said, redacted; null for nothing, or where it is not kept."
    )
    response: str | None = strawberry.field(
        description="What was answered, redacted; of a long reading that went well the first part."
    )
    request_bytes: int = strawberry.field(description="The true size.")
    response_bytes: int = strawberry.field(description="The true size.")

    @strawberry.field(graphql_type=Channel | None, description="Null for who is none, such as a carrier.")
    def channel(self, info: Info, root: strawberry.Parent[Exchange]) -> channel_domain.Channel | None:
        return channel.known(info.context.shelf, ChannelId(root.channel))

    @strawberry.field(description="Seconds that it waited for its rate budget.")
    def waited(self, root: strawberry.Parent[Exchange]) -> float:
        return root.waited_s

    @strawberry.field(description="What it was about: order:…, sku:…, item:…, operation:… and such.")
    def subjects(self, root: strawberry.Parent[Exchange]) -> list[str]:
        return list(root.subjects)


@strawberry.type
class ApiCallEdge:
    cursor: str
    node: ApiCall


@strawberry.type(description="A page of calls.")
class ApiCallConnection(Page):
    edges: list[ApiCallEdge]
    nodes: list[ApiCall]


@strawberry.input(
    description="What is wanted; what is left out wants all. One of orderId, sku and operationId at a time."
)
class ApiCallFilter:
    channel_id: strawberry.ID | None = None
    operation: str | None = strawberry.field(
        default=None, description="The platform's own name, such as confirmShipment."
    )
    order_id: strawberry.ID | None = strawberry.field(
        default=None, description="The global id of an order, or its channel's own."
    )
    sku: str | None = strawberry.field(default=None, description="Ours, or a channel's.")
    operation_id: strawberry.ID | None = strawberry.field(
        default=None, description="The calls of one operation of ours."
    )
    request_id: str | None = strawberry.field(default=None, description="The platform's id of one call.")
    failed: bool | None = None
    failure: str | None = None
    from_: datetime | None = strawberry.field(default=None, name="from")
    to: datetime | None = strawberry.field(default=None, description="Exclusive.")

    def to_domain(self) -> api_calls.ApiCallFilter:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return api_calls.ApiCallFilter(
            channel=None if self.channel_id is None else ChannelId(node_key("Channel", self.channel_id)),
            operation=self.operation,
            order=self.order_id,
            sku=self.sku,
            operation_id=None if self.operation_id is None else OperationId(node_key("Operation", self.operation_id)),
            upstream_request_id=self.request_id,
            failed=self.failed,
            failure=self.failure,
            since=self.from_,
            until=self.to,
        )
