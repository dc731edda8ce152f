"""Labels: what carriers ask, and what was bought."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import label as domain
from domain.ids import line_id, node_id
from domain.operation import Operation as AnOperation
from executor import batched
from resolvers import label
from resolvers.label import Offered
from schema.enums import LabelFormat, LabelStatus, Whereabouts
from schema.info import Info, Parents
from schema.money import Money
from schema.operation import Operation, visible, visible_one


def _label_id(root: domain.KeptLabel) -> strawberry.ID:
    return strawberry.ID(node_id("Label", root.id))


async def _operations(labels: Sequence[domain.KeptLabel], info: Parents) -> Sequence[object]:
    return await visible([one.operation for one in labels], info)


async def _confirmations(labels: Sequence[domain.KeptLabel], info: Parents) -> Sequence[object]:
    return await visible([one.confirmed_by for one in labels], info)


@strawberry.type(description="Units of one order line in a parcel.")
class LabelLine:
    order_line_id: strawberry.ID
    quantity: int


@strawberry.type(description="A shipping label that was bought.")
class Label:
    id: strawberry.ID = strawberry.field(resolver=_label_id)
    status: LabelStatus
    carrier: str
    service: str
    price: Money = strawberry.field(description="What was paid, as who sold it says.")
    tracking_number: str | None
    location: str = strawberry.field(description="The code of the place that it is sent from.")
    format: LabelFormat
    bought_at: datetime
    whereabouts: Whereabouts | None = strawberry.field(description="Null where who sold it does not tell.")
    confirms_order: bool = strawberry.field(description="Whether the channel takes its units for sent by this alone.")

    @strawberry.field(description="What is not as it should be, and why; for people.")
    def trouble(self, root: strawberry.Parent[domain.KeptLabel]) -> str | None:
        return root.missing

    @strawberry.field(description="Who sold it: a carrier of acorn.toml, or the id of a channel.")
    def seller(self, root: strawberry.Parent[domain.KeptLabel]) -> str:
        return root.shop

    @strawberry.field(graphql_type=list[LabelLine])
    def lines(self, root: strawberry.Parent[domain.KeptLabel]) -> list[LabelLine]:
        return [
            LabelLine(order_line_id=strawberry.ID(node_id("OrderLine", line_id(root.order, line))), quantity=units)
            for line, units in root.lines
        ]

    @strawberry.field(description="The label whose place it has.")
    def replaces_id(self, root: strawberry.Parent[domain.KeptLabel]) -> strawberry.ID | None:
        return None if root.replaces is None else strawberry.ID(node_id("Label", root.replaces))

    @strawberry.field(
        description=(
            "Where it can be fetched for ten minutes, below the gateway's address. Null where nothing is kept (any more), and "
            "to keys without shipments:write or orders:pii."
        )
    )
    def url(self, info: Info, root: strawberry.Parent[domain.KeptLabel]) -> str | None:
        return label.link(info.context.shelf, info.context.caller.scopes, root)

    @strawberry.field(graphql_type=Operation | None, description="What bought it; null to who may not see it.")
    @batched(_operations)
    async def operation(self, info: Info, root: strawberry.Parent[domain.KeptLabel]) -> AnOperation | None:
        return await visible_one(root.operation, info)

    @strawberry.field(
        graphql_type=Operation | None,
        description="What told the order's channel of the parcel, where `confirm` was asked for.",
    )
    @batched(_confirmations)
    async def confirmation(self, info: Info, root: strawberry.Parent[domain.KeptLabel]) -> AnOperation | None:
        return await visible_one(root.confirmed_by, info)


@strawberry.type(description="What a carrier asks for a parcel. Nothing is put aside for it.")
class LabelOffer:
    seller: str = strawberry.field(description="What `PackageInput.seller` says to have it.")
    carrier: str
    service_id: str = strawberry.field(description="What `PackageInput.serviceId` says to have it.")
    service: str = strawberry.field(description="For people.")
    price: Money
    arrives_from: datetime | None
    arrives_until: datetime | None
    in_time: bool | None = strawberry.field(
        description="Whether it arrives within what the buyer was promised; null where one of the two is not known."
    )
    formats: list[LabelFormat] = strawberry.field(description="What its labels can be printed as.")

    @classmethod
    def of(cls, one: Offered) -> LabelOffer:
        """As clients see it."""
        offer = one.offer
        return cls(
            seller=one.shop.id,
            carrier=offer.carrier,
            service_id=offer.service_id,
            service=offer.service,
            price=Money(amount=offer.price.amount, currency=offer.price.currency),
            arrives_from=offer.arrives_from,
            arrives_until=offer.arrives_until,
            in_time=one.in_time,
            formats=sorted(offer.formats, key=lambda each: each.value),
        )
