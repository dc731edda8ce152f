"""Stock: the number, its parts, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import channel as channel_domain
from domain import policy
from domain import product as product_domain
from domain import stock as domain
from domain.errors import Invalid
from domain.ids import ChannelId, node_key
from executor import batched, lasting
from resolvers import channel, channel_stock
from resolvers.loaders import load_each
from schema.channel import Channel
from schema.enums import Freshness, FulfilledBy, LocationKind
from schema.info import Info, Parents

if TYPE_CHECKING:
    from schema.product import Product


@strawberry.type(description="A place that holds units: an own warehouse, or an FBA pool.")
class Location:
    code: str
    name: str
    kind: LocationKind


@strawberry.type(description="Stock at one place. While freshness is UNKNOWN the zeros mean that nobody has told.")
class StockLevel:
    location: Location
    on_hand: int = strawberry.field(description="Units lying there, promised ones included.")
    reserved: int = strawberry.field(description="Units promised to orders or held by the platform.")
    inbound: int = strawberry.field(description="Units on their way; they count for nothing yet.")
    available_to_sell: int = strawberry.field(description="onHand less reserved; negative where more was promised.")
    as_of: datetime | None = strawberry.field(
        description="When the platform was asked; at places that we count, the moment of the answer."
    )
    freshness: Freshness


@strawberry.type(description="One signed part of a number.")
class StockTerm:
    label: str
    quantity: int
    source: str = strawberry.field(description="Who told it, or the kind of the rule that it comes from.")
    as_of: datetime | None
    age_seconds: float | None = strawberry.field(description="How old it was when it was counted in.")
    rule: str | None = strawberry.field(description="The name of the rule that made it.")
    upstream_request_id: str | None = strawberry.field(
        description="The platform's id of the call that it was read with, for its support."
    )


@strawberry.type(
    description=(
        "What one channel may sell of a SKU. Of goods that we fulfill, as we told it; of goods that the channel fulfills (FBA), "
        "as it told us: then nothing was pushed."
    )
)
class ChannelStock:
    fulfilled_by: FulfilledBy
    quantity: int = strawberry.field(
        description="What it was told last; what it will be told while pushedAt is null; what is free in FBA."
    )
    pushed_at: datetime | None = strawberry.field(description="When it was told.")
    confirmed_at: datetime | None = strawberry.field(
        description="When it was seen to show no more than that; null until then. Of FBA, when the pool was read."
    )
    target: int | None = strawberry.field(description="What it should be told now; null for FBA and for the past.")
    shown: int | None = strawberry.field(description="What it was last seen to show.")
    shown_at: datetime | None = strawberry.field(description="When that was.")
    last_error: str | None = strawberry.field(description="Why it could not be told; null when it could.")

    @strawberry.field(graphql_type=Channel)
    def channel(self, info: Info, root: strawberry.Parent[channel_stock.ChannelStock]) -> channel_domain.Channel:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(
        graphql_type=list[StockTerm],
        description="The terms whose signed sum is target, or what is free in FBA; empty for the past.",
    )
    def explanation(self, info: Info, root: strawberry.Parent[channel_stock.ChannelStock]) -> list[domain.Term]:
        return domain.told_at(root.terms, root.at or info.context.shelf.clock())


@strawberry.type(
    description="What all channels could still sell, what there is to deliver for it, and what is sold beyond it if they all do."
)
class StockExposure:
    sellable: int
    existing: int
    beyond: int


@strawberry.type(description="What one channel may sell to one buyer.")
class StockOffer:
    quantity: int
    terms: list[StockTerm] = strawberry.field(name="explanation", description="The terms whose signed sum is quantity.")
    changes_at: datetime | None = strawberry.field(
        description="When it changes by itself: a reading grows too old, a rule begins or ends, a reservation is over."
    )


@strawberry.input(description="Where a buyer wants it sent.")
class DestinationInput:
    country: str = strawberry.field(description="ISO 3166-1, such as US.")
    state: str | None = strawberry.field(default=None, description="ISO 3166-2 without the country, such as AK.")

    def to_domain(self) -> policy.Destination:
        """As the resolver takes it. Raises Invalid."""
        for name, code, most in (("country", self.country, 2), ("state", self.state or "-", 3)):
            if not (code.isascii() and code.isprintable() and 1 <= len(code) <= most):
                raise Invalid(f"`{name}` is a code such as US, or AK for a state.", field=("shipTo", name))
        return policy.Destination(self.country.upper(), None if not self.state else self.state.upper())


async def _channels(stocks: Sequence[domain.Stock], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.channels_by_sku, [(one.sku, one.at) for one in stocks])


async def _exposures(stocks: Sequence[domain.Stock], info: Parents) -> Sequence[object]:
    present = [one.sku if one.at is None else None for one in stocks]
    return await load_each(info.context.loaders.exposure_by_sku, present)


async def _products(stocks: Sequence[domain.Stock], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.product_by_sku, [one.sku for one in stocks])


@lasting("written")
@strawberry.type(description="What can be sold of one SKU, and why.")
class Stock:
    sku: str
    available_to_sell: int = strawberry.field(
        description="Sum of the levels, less open reservations and safety stock; never below 0."
    )
    on_hand: int = strawberry.field(description="Of a kit, the kits that its components on hand make.")
    reserved: int = strawberry.field(description="Promised at the levels, and held by open reservations.")
    inbound: int = strawberry.field(description="Units on their way; they count for nothing yet.")
    safety_stock: int = strawberry.field(description="Units that are kept back from all who buy.")
    as_of: datetime | None = strawberry.field(description="The age of the oldest part.")
    freshness: Freshness = strawberry.field(description="The worst of the parts.")
    levels: list[StockLevel] = strawberry.field(description="By place; a kit lies nowhere as such.")
    explanation: list[StockTerm] = strawberry.field(description="The terms whose signed sum is availableToSell.")

    @strawberry.field(
        graphql_type=list[ChannelStock],
        description="What each sales channel is told it may sell; with `asOf`, what it had been told by then.",
    )
    @batched(_channels)
    async def channels(self, info: Info, root: strawberry.Parent[domain.Stock]) -> list[channel_stock.ChannelStock]:
        return await info.context.loaders.channels_by_sku.load((root.sku, root.at))

    @strawberry.field(
        graphql_type=StockExposure | None,
        description="What all channels could still sell beyond what there is; null for the past.",
    )
    @batched(_exposures)
    async def exposure(self, info: Info, root: strawberry.Parent[domain.Stock]) -> policy.Exposure | None:
        return None if root.at is not None else await info.context.loaders.exposure_by_sku.load(root.sku)

    @strawberry.field(
        graphql_type=StockOffer | None,
        description="What a channel may sell of it, by the rules; FBA shares for some countries only count with `shipTo`.",
    )
    async def offer(
        self,
        info: Info,
        root: strawberry.Parent[domain.Stock],
        channel_id: strawberry.ID,
        ship_to: DestinationInput | None = None,
    ) -> policy.Number | None:
        channel = ChannelId(node_key("Channel", channel_id))
        destination = None if ship_to is None else ship_to.to_domain()
        known = await info.context.loaders.facts_by_sku.load((root.sku, root.at))
        if known is None:
            return None
        return channel_stock.offer(info.context.shelf, known, channel, root.at, destination)

    @strawberry.field(graphql_type=Annotated["Product", strawberry.lazy("schema.product")] | None)
    @batched(_products)
    async def product(self, info: Info, root: strawberry.Parent[domain.Stock]) -> product_domain.Product | None:
        return await info.context.loaders.product_by_sku.load(root.sku)


@strawberry.type(description="Stock of one SKU after a change.")
class StockEvent:
    cursor: str
    stock: Stock
