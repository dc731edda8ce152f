"""Kits and multipacks."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from domain import product as product_domain
from domain.ids import Sku
from executor import batched
from resolvers import kit as resolver
from resolvers.loaders import load_each
from schema.connection import Page
from schema.info import Info, Parents
from schema.payload import UserError
from schema.product import Product


@strawberry.type(description="A SKU in a kit, and how many units of it.")
class KitComponent:
    sku: str
    quantity: int


async def _products(kits: Sequence[resolver.Kit], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.product_by_sku, [one.sku for one in kits])


@strawberry.type(description="A SKU that is made of others and has no stock of its own.")
class Kit:
    sku: str
    components: list[KitComponent]

    @strawberry.field(graphql_type=Product | None)
    @batched(_products)
    async def product(self, info: Info, root: strawberry.Parent[resolver.Kit]) -> product_domain.Product | None:
        return await info.context.loaders.product_by_sku.load(root.sku)


@strawberry.type
class KitEdge:
    cursor: str
    node: Kit


@strawberry.type(description="A page of kits.")
class KitConnection(Page):
    edges: list[KitEdge]
    nodes: list[Kit]


@strawberry.type(description="The kit as it is now, or why it stays as it was.")
class KitPayload:
    kit: Kit | None
    user_errors: list[UserError]


@strawberry.input(description="A SKU in a kit, and how many units of it.")
class KitComponentInput:
    sku: str
    quantity: int


@strawberry.input(description="What a kit is made of; without components it is no kit any more.")
class SetKitInput:
    sku: str
    components: list[KitComponentInput]

    def to_domain(self) -> list[resolver.Component]:
        """The components as the resolver takes them."""
        return [resolver.Component(Sku(one.sku), one.quantity) for one in self.components]
