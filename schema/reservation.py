"""Reservations: units held for somebody who is about to buy."""

from __future__ import annotations

from datetime import datetime, timedelta

import strawberry

from domain.errors import Invalid, Refused
from domain.ids import ChannelId, Sku, node_id, node_key
from domain.reservation import Buyer, ReservedLine
from resolvers import reservation as resolver
from schema.info import Info
from schema.node import Node, describes
from schema.payload import UserError
from schema.scalars import Duration
from schema.stock import DestinationInput


@strawberry.type(description="Units of one SKU, a kit's or a component's.")
class ReservationLine:
    sku: str
    quantity: int


def _reservation_id(root: resolver.Seen) -> strawberry.ID:
    return strawberry.ID(node_id("Reservation", root.reservation.id))


@strawberry.type(description="Units that nobody else can buy, until it is over. Only its maker sees it.")
class Reservation(Node):
    id: strawberry.ID = strawberry.field(resolver=_reservation_id)

    is_type_of = describes(resolver.Seen)

    @strawberry.field(
        description="OPEN until expiresAt, then EXPIRED. COMMITTED: bought, held until its order has shipped. RELEASED: ended."
    )
    def status(self, root: strawberry.Parent[resolver.Seen]) -> str:
        return root.status.value

    @strawberry.field(description="When it ends by itself, unless it is committed before.")
    def expires_at(self, root: strawberry.Parent[resolver.Seen]) -> datetime:
        return root.reservation.expires_at

    @strawberry.field
    def created_at(self, root: strawberry.Parent[resolver.Seen]) -> datetime:
        return root.reservation.created_at

    @strawberry.field(description="The order that it became, as its channel calls it.")
    def reference(self, root: strawberry.Parent[resolver.Seen]) -> str | None:
        return root.reservation.reference

    @strawberry.field(graphql_type=list[ReservationLine])
    def lines(self, root: strawberry.Parent[resolver.Seen]) -> list[ReservedLine]:
        return root.reservation.lines


@strawberry.type(description="The reservation as it stands, or why there is none.")
class ReservationPayload:
    reservation: Reservation | None
    user_errors: list[UserError]


@strawberry.input(description="Units of one SKU; of a kit its components are held.")
class ReservationLineInput:
    sku: str
    quantity: int


@strawberry.input(description="All of the lines are held, or none.")
class ReserveStockInput:
    lines: list[ReservationLineInput]
    ttl: Duration | None = strawberry.field(
        default=Duration(resolver.USUAL_TTL), description="How long it holds: 1 second to 24 hours."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating a request with the same key answers the first reservation."
    )
    channel_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="Hold no more than this channel may sell. Without it all that can be promised is, units in FBA included.",
    )
    ship_to: DestinationInput | None = strawberry.field(
        default=None, description="Where the channel's buyer wants it sent: FBA shares for some countries count there."
    )

    def to_domain(self) -> tuple[list[ReservedLine], timedelta | None, Buyer | None]:
        """Lines, time to live and buyer, as the resolver takes them. Raises NotFound for an id of another kind, and Invalid."""
        lines = [ReservedLine(Sku(line.sku), line.quantity) for line in self.lines]
        if self.channel_id is None:
            if self.ship_to is not None:
                raise Invalid("`shipTo` says what a channel may sell there: name it in `channelId`.", field=("shipTo",))
            return lines, self.ttl, None
        try:
            channel = ChannelId(node_key("Channel", self.channel_id))
        except Refused as problem:
            problem.field = ("channelId",)
            raise
        return lines, self.ttl, Buyer(channel, None if self.ship_to is None else self.ship_to.to_domain())


def holder(info: Info) -> resolver.Holder:
    """The caller, as reservations know their makers."""
    caller = info.context.caller
    return resolver.Holder(caller.name, all_seeing="admin" in caller.scopes)
