"""Products and listings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import strawberry

from domain import channel as channel_domain
from domain import price_history
from domain import product as domain
from domain import stock as stock_domain
from domain.ids import ChannelId, Sku, node_id, node_key
from executor import batched
from resolvers import channel, product
from resolvers.loaders import load_each
from resolvers.stock_answer import StockAnswer
from schema.channel import Channel
from schema.connection import Page
from schema.info import Info, Parents, path_of
from schema.money import Money
from schema.node import Node, describes
from schema.price_history import PriceInForce
from schema.scalars import Duration
from schema.stock import Stock


@strawberry.type(description="One property of a product: our value, and the platform's own spelling.")
class Attribute:
    name: str
    value: str
    raw: str | None
    understood: bool = strawberry.field(
        description="False while no dictionary knows what `raw` means: `value` is the same then, and a mapping task is open."
    )


@strawberry.type(description="What the platform finds wrong with a listing, in its own words.")
class ListingIssue:
    code: str
    severity: str
    message: str


def _listing_id(root: domain.Listing) -> strawberry.ID:
    return strawberry.ID(node_id("Listing", root.id))


async def _products(listings: Sequence[domain.Listing], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.product_by_sku, [one.sku for one in listings])


async def _prices_at(listings: Sequence[domain.Listing], info: Parents, at: datetime | None = None) -> Sequence[object]:
    return await load_each(info.context.loaders.price_in_force, [(one.id, at) for one in listings])


@strawberry.type(description="A product as one channel offers it in one marketplace.")
class Listing(Node):
    id: strawberry.ID = strawberry.field(resolver=_listing_id)
    marketplace: str | None = strawberry.field(description="A country code; null for a shop.")
    channel_sku: str = strawberry.field(description="The channel's own SKU.")
    external_id: str = strawberry.field(description="The platform's id of what is offered: an ASIN, a variant.")
    title: str | None
    status: str = strawberry.field(description="The platform's own word; WITHDRAWN where it has the listing no more.")
    price: Money | None
    sale_price: Money | None
    url: str | None
    issues: list[ListingIssue]

    is_type_of = describes(domain.Listing)

    @strawberry.field(graphql_type=Channel)
    def channel(self, info: Info, root: strawberry.Parent[domain.Listing]) -> channel_domain.Channel:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(
        graphql_type=PriceInForce | None,
        description="What it was sold for at an instant, or is now; null where nobody had seen a price.",
    )
    @batched(_prices_at)
    async def price_at(
        self, info: Info, root: strawberry.Parent[domain.Listing], at: datetime | None = None
    ) -> price_history.InForce | None:
        return await info.context.loaders.price_in_force.load((root.id, at))

    @strawberry.field(
        graphql_type="Product | None", description="Null while the channel's SKU is not mapped to one of ours."
    )
    @batched(_products)
    async def product(self, info: Info, root: strawberry.Parent[domain.Listing]) -> domain.Product | None:
        return None if root.sku is None else await info.context.loaders.product_by_sku.load(root.sku)


def _product_id(root: domain.Product) -> strawberry.ID:
    return strawberry.ID(node_id("Product", root.sku))


async def _listings(products: Sequence[domain.Product], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.listings_by_sku, [one.sku for one in products])


async def _stock(
    products: Sequence[domain.Product], info: Parents, max_age: timedelta | None = None
) -> Sequence[object]:
    answers = await load_each(info.context.loaders.stock_by_sku, [(one.sku, max_age) for one in products])
    unknown = [(row, one.unknown) for row, one in enumerate(answers) if isinstance(one, StockAnswer) and one.unknown]
    if unknown:
        paths = info.paths
        info.context.problems.extend((paths[row], problem) for row, problems in unknown for problem in problems)
    return [one.stock if isinstance(one, StockAnswer) else one for one in answers]


@strawberry.federation.type(keys=["sku"], description="One thing that we sell.")
class Product(Node):
    id: strawberry.ID = strawberry.field(resolver=_product_id)
    sku: str
    title: str
    brand: str | None
    attributes: list[Attribute]
    unit_cost: Money | None = strawberry.field(description="What one unit costs us.")

    is_type_of = describes(domain.Product)

    @strawberry.field(graphql_type=list[Listing], description="Where it is offered.")
    @batched(_listings)
    async def listings(self, info: Info, root: strawberry.Parent[domain.Product]) -> list[domain.Listing]:
        return await info.context.loaders.listings_by_sku.load(root.sku)

    @strawberry.field(graphql_type=Stock | None, description="Its stock, no older than maxAge where that can be had.")
    @batched(_stock)
    async def stock(
        self, info: Info, root: strawberry.Parent[domain.Product], max_age: Duration | None = None
    ) -> stock_domain.Stock | None:
        wished: timedelta | None = max_age
        answer = await info.context.loaders.stock_by_sku.load((root.sku, wished))
        if answer is None:
            return None
        info.context.problems.extend((path_of(info), problem) for problem in answer.unknown)
        return answer.stock


@strawberry.type
class ProductEdge:
    cursor: str
    node: Product


@strawberry.type(description="A page of products.")
class ProductConnection(Page):
    edges: list[ProductEdge]
    nodes: list[Product]


@strawberry.input(description="What is wanted; what is left out wants all.")
class ProductFilter:
    skus: list[str] | None = None
    text: str | None = strawberry.field(default=None, description="Part of the SKU, the title or the brand.")
    channel_id: strawberry.ID | None = None
    unmapped: bool | None = strawberry.field(default=None, description="True: only products without a listing.")

    def to_domain(self) -> product.ProductFilter:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return product.ProductFilter(
            skus=None if self.skus is None else tuple(Sku(sku) for sku in self.skus),
            text=self.text,
            channel=None if self.channel_id is None else ChannelId(node_key("Channel", self.channel_id)),
            unmapped=self.unmapped,
        )
