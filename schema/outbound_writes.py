"""What is asked of pools of other channels."""

from __future__ import annotations

import strawberry

from domain import outbound as domain
from domain.errors import NotFound, Refused
from domain.ids import ChannelId, LineId, LocationCode, OrderId, node_key
from domain.outbound_request import OutboundRequest
from domain.shipment import ShippedLine
from resolvers.outbound_return import ReturnRequest
from schema.enums import OutboundFeature, OutboundPolicy, OutboundSpeed
from schema.order import ShipmentLineInput


@strawberry.input(description="One order of a storefront, and how a pool is to ship it.")
class ShipFromFbaOrderInput:
    order_id: strawberry.ID
    channel_id: strawberry.ID = strawberry.field(description="The Amazon account whose pool ships it.")
    location: str | None = strawberry.field(
        default=None, description="The pool's code; needed where the account has several."
    )
    speed: OutboundSpeed = domain.Speed.STANDARD
    policy: OutboundPolicy = domain.Policy.FILL_OR_KILL
    features: list[OutboundFeature] | None = None
    lines: list[ShipmentLineInput] | None = strawberry.field(default=None, description="Left out: all that is open.")

    def to_domain(self, index: int) -> OutboundRequest:
        """As the resolver takes it. Raises NotFound for ids of other kinds."""
        at = ("orders", str(index))
        lines = None
        if self.lines is not None:
            lines = tuple(
                ShippedLine(
                    LineId(_key("OrderLine", line.order_line_id, (*at, "lines", str(position), "orderLineId"))),
                    line.quantity,
                )
                for position, line in enumerate(self.lines)
            )
        return OutboundRequest(
            order=OrderId(_key("Order", self.order_id, (*at, "orderId"))),
            channel=ChannelId(_key("Channel", self.channel_id, (*at, "channelId"))),
            location=None if self.location is None else LocationCode(self.location),
            speed=self.speed,
            policy=self.policy,
            features=frozenset(self.features or ()),
            lines=lines,
        )


@strawberry.input(description="Orders to be shipped from pools.")
class ShipFromFbaInput:
    orders: list[ShipFromFbaOrderInput]
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )
    dry_run: bool | None = strawberry.field(
        default=False,
        description=(
            "True: keep a PREVIEW. A moment later its items tell in `after` what each speed costs and when it arrives; "
            "approveOperation then has it shipped just so."
        ),
    )

    def to_domain(self) -> tuple[list[OutboundRequest], list[Refused]]:
        """The requests, and what was wrong with their ids."""
        requests: list[OutboundRequest] = []
        problems: list[Refused] = []
        for index, one in enumerate(self.orders):
            try:
                requests.append(one.to_domain(index))
            except Refused as problem:
                problems.append(problem)
        return requests, problems


@strawberry.input(description="Outbound orders that are not to be shipped after all.")
class CancelOutboundInput:
    ids: list[strawberry.ID] = strawberry.field(description="Of OutboundOrder.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )

    def to_domain(self) -> tuple[list[str], list[Refused]]:
        """Our ids, and what was wrong with them."""
        ids: list[str] = []
        problems: list[Refused] = []
        for index, one in enumerate(self.ids):
            try:
                ids.append(_key("OutboundOrder", one, ("ids", str(index))))
            except Refused as problem:
                problems.append(problem)
        return ids, problems


@strawberry.input(description="Units of an order that its buyer sends back to the pools that shipped them.")
class ReturnOutboundInput:
    order_id: strawberry.ID
    reason: str = strawberry.field(
        description="A code of the platform, such as CR-DEFECTIVE; an unknown one is refused with those that there are."
    )
    lines: list[ShipmentLineInput] | None = strawberry.field(
        default=None, description="Left out: all that was delivered and is not announced yet."
    )
    comment: str | None = strawberry.field(default=None, description="For the platform; nothing of a buyer.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )

    def to_domain(self) -> tuple[ReturnRequest | None, list[Refused]]:
        """The request, or what was wrong with its ids."""
        try:
            order = OrderId(_key("Order", self.order_id, ("orderId",)))
            lines = [
                ShippedLine(
                    LineId(_key("OrderLine", one.order_line_id, ("lines", str(index), "orderLineId"))), one.quantity
                )
                for index, one in enumerate(self.lines or ())
            ]
        except Refused as problem:
            return None, [problem]
        return ReturnRequest(order, self.reason, self.comment or "", None if self.lines is None else tuple(lines)), []


def _key(kind: str, node: str, field: tuple[str, ...]) -> str:
    try:
        return node_key(kind, node)
    except NotFound as problem:
        raise NotFound(problem.message, field=field) from None
