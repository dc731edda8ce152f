"""Stock: the number, its parts, and why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import product as product_domain
from domain import stock as domain
from schema.enums import Freshness, LocationKind
from schema.info import Info

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
    as_of: datetime | None = strawberry.field(description="When the platform was asked.")
    freshness: Freshness


@strawberry.type(description="One signed part of availableToSell.")
class StockTerm:
    label: str
    quantity: int
    source: str = strawberry.field(description="The channel, or the rule, that the number comes from.")
    as_of: datetime | None


@strawberry.type(description="What can be sold of one SKU, and why.")
class Stock:
    sku: str
    available_to_sell: int = strawberry.field(
        description="Sum of the levels, less reservations and safety stock; never below 0."
    )
    on_hand: int
    reserved: int
    inbound: int
    safety_stock: int
    as_of: datetime | None = strawberry.field(description="The age of the oldest part.")
    freshness: Freshness = strawberry.field(description="The worst of the parts.")
    levels: list[StockLevel]
    explanation: list[StockTerm] = strawberry.field(description="The terms whose signed sum is availableToSell.")

    @strawberry.field(graphql_type=Annotated["Product", strawberry.lazy("schema.product")] | None)
    async def product(self, info: Info, root: strawberry.Parent[domain.Stock]) -> product_domain.Product | None:
        return await info.context.loaders.product_by_sku.load(root.sku)


@strawberry.type(description="Stock of one SKU after a change.")
class StockEvent:
    cursor: str
    stock: Stock
