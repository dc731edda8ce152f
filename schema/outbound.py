"""Orders that a pool of another channel ships."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import channel as channel_domain
from domain import operation as operation_domain
from domain import outbound as domain
from domain.ids import OperationId, node_id
from executor import batched
from resolvers import channel
from schema.channel import Channel
from schema.enums import (
    OutboundFeature,
    OutboundPolicy,
    OutboundReturnCondition,
    OutboundSpeed,
    OutboundStatus,
    Whereabouts,
)
from schema.info import Info, Parents
from schema.money import Money
from schema.operation import Operation, visible, visible_one


@strawberry.type(description="One part of what it costs, by the platform's own name of it.")
class OutboundFee:
    name: str
    amount: Money


@strawberry.type(
    description="What was known of it before it was asked for. Estimates: the settlement tells the true fees."
)
class OutboundPreview:
    as_of: datetime
    ships_until: datetime | None
    arrives_from: datetime | None
    arrives_until: datetime | None
    fees: list[OutboundFee]


@strawberry.type(
    description="Units of one line of the order. What is neither kept nor shipped is for other places to ship."
)
class OutboundLine:
    order_line_id: strawberry.ID
    sku: str
    channel_sku: str = strawberry.field(description="What the pool's channel calls it.")
    quantity: int = strawberry.field(description="Units asked for.")
    kept: int = strawberry.field(description="Units that the pool keeps for it.")
    shipped: int = strawberry.field(description="Units that have left.")


async def _confirmations(packages: Sequence[OutboundPackage], info: Parents) -> Sequence[object]:
    return await visible([one.confirmed_by for one in packages], info)


async def _operations(orders: Sequence[domain.Followed], info: Parents) -> Sequence[object]:
    return await visible([one.operation for one in orders], info)


@strawberry.type(description="A parcel that has been packed.")
class OutboundPackage:
    id: str = strawberry.field(description="The platform's number of it.")
    carrier: str | None
    tracking_number: str | None
    shipped_at: datetime | None
    arrives_at: datetime | None = strawberry.field(description="As the platform expects it.")
    whereabouts: Whereabouts | None = strawberry.field(description="Null while nobody tells.")
    channel_status: str | None = strawberry.field(description="The platform's own word for that.")
    trouble: str | None = strawberry.field(description="Why it is not confirmed.")
    confirmed_by: strawberry.Private[OperationId | None]

    @strawberry.field(
        graphql_type=Operation | None,
        description="What told the channel that sold the order of it; null to who may not see it.",
    )
    @batched(_confirmations)
    async def confirmation(
        self, info: Info, root: strawberry.Parent[OutboundPackage]
    ) -> operation_domain.Operation | None:
        return await visible_one(root.confirmed_by, info)

    @classmethod
    def of(cls, one: domain.FollowedPackage) -> OutboundPackage:
        """As clients see it."""
        package = one.package
        return cls(
            id=package.id,
            carrier=package.carrier,
            tracking_number=package.tracking_number,
            shipped_at=package.shipped_at,
            arrives_at=package.arrives_at,
            whereabouts=package.whereabouts,
            channel_status=package.channel_status,
            trouble=one.trouble,
            confirmed_by=one.confirmation,
        )


async def _announcements(returns: Sequence[OutboundReturn], info: Parents) -> Sequence[object]:
    return await visible([one.announced_by for one in returns], info)


@strawberry.type(description="One unit that comes back to the pool, or has.")
class OutboundReturn:
    id: str
    order_line_id: strawberry.ID
    reason: str = strawberry.field(description="A code of the platform.")
    announced_at: datetime
    rma: str | None = strawberry.field(
        description="By what the platform knows the parcel; under it stands the page with the label for the buyer there."
    )
    center: str | None = strawberry.field(description="The fulfillment center that it goes to.")
    received_at: datetime | None = strawberry.field(description="When it was looked at there.")
    condition: OutboundReturnCondition | None = strawberry.field(description="As it was found there.")
    announced_by: strawberry.Private[OperationId | None]

    @strawberry.field(
        graphql_type=Operation | None,
        description="What announced it; null to who may not see it, and where somebody did so at the platform.",
    )
    @batched(_announcements)
    async def operation(self, info: Info, root: strawberry.Parent[OutboundReturn]) -> operation_domain.Operation | None:
        return await visible_one(root.announced_by, info)

    @classmethod
    def of(cls, one: domain.FollowedReturn) -> OutboundReturn:
        """As clients see it."""
        unit = one.unit
        return cls(
            id=unit.id,
            order_line_id=strawberry.ID(node_id("OrderLine", unit.line_id)),
            reason=unit.reason,
            announced_at=one.announced_at,
            rma=unit.rma,
            center=unit.center,
            received_at=unit.changed_at if unit.processed else None,
            condition=unit.condition,
            announced_by=one.operation,
        )


@strawberry.type(description="An order, or part of one, that a pool has taken to ship.")
class OutboundOrder:
    @strawberry.field
    def id(self, root: strawberry.Parent[domain.Followed]) -> strawberry.ID:
        return strawberry.ID(node_id("OutboundOrder", root.wanted.id))

    @strawberry.field(graphql_type=Channel, description="Whose pool it is.")
    def channel(self, info: Info, root: strawberry.Parent[domain.Followed]) -> channel_domain.Channel:
        return channel.of(info.context.shelf, root.wanted.channel)

    @strawberry.field(description="The pool's code.")
    def location(self, root: strawberry.Parent[domain.Followed]) -> str:
        return root.wanted.location

    @strawberry.field(graphql_type=Operation | None, description="What asked for it; null to who may not see it.")
    @batched(_operations)
    async def operation(
        self, info: Info, root: strawberry.Parent[domain.Followed]
    ) -> operation_domain.Operation | None:
        return await visible_one(root.operation, info)

    status: OutboundStatus
    channel_status: str | None = strawberry.field(description="The platform's own word; null before the first look.")
    taken_at: datetime
    counted_at: datetime | None = strawberry.field(
        description="Since when the pool's own count is without its units; until then they stay promised where they were."
    )
    seen_at: datetime | None = strawberry.field(description="When it was looked at last.")
    trouble: str | None = strawberry.field(description="Why it could not be looked at.")

    @strawberry.field
    def speed(self, root: strawberry.Parent[domain.Followed]) -> OutboundSpeed:
        return root.wanted.speed

    @strawberry.field
    def policy(self, root: strawberry.Parent[domain.Followed]) -> OutboundPolicy:
        return root.wanted.policy

    @strawberry.field
    def features(self, root: strawberry.Parent[domain.Followed]) -> list[OutboundFeature]:
        return sorted(root.wanted.features, key=lambda one: one.value)

    @strawberry.field
    def lines(self, root: strawberry.Parent[domain.Followed]) -> list[OutboundLine]:
        units = root.units
        return [
            OutboundLine(
                order_line_id=strawberry.ID(node_id("OrderLine", one.line)),
                sku=one.sku,
                channel_sku=one.channel_sku,
                quantity=one.quantity,
                kept=units[one.line].kept,
                shipped=units[one.line].left,
            )
            for one in root.wanted.lines
        ]

    @strawberry.field
    def packages(self, root: strawberry.Parent[domain.Followed]) -> list[OutboundPackage]:
        return [OutboundPackage.of(one) for one in root.packages]

    @strawberry.field(description="Units that come back to the pool, or have; the first announced comes first.")
    def returns(self, root: strawberry.Parent[domain.Followed]) -> list[OutboundReturn]:
        return [OutboundReturn.of(one) for one in root.returns]

    @strawberry.field(description="Null where it was asked for without a preview.")
    def preview(self, root: strawberry.Parent[domain.Followed]) -> OutboundPreview | None:
        told = None if root.preview is None else root.preview.of(root.wanted.speed)
        if root.preview is None or told is None:
            return None
        return OutboundPreview(
            as_of=root.preview.as_of,
            ships_until=told.ships_until,
            arrives_from=told.arrives_from,
            arrives_until=told.arrives_until,
            fees=[
                OutboundFee(name=one.name, amount=Money(amount=one.amount.amount, currency=one.amount.currency))
                for one in told.fees
            ],
        )
