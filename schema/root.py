"""The schema: the root fields of all rooms under one roof."""

from __future__ import annotations

from typing import Any

import strawberry
from graphql import GraphQLDeferDirective
from strawberry.federation import Schema
from strawberry.schema.config import StrawberryConfig

from schema.channel import Channel
from schema.federation import VERSION
from schema.operation import Operation
from schema.order import Order
from schema.product import Listing, Product
from schema.reservation import Reservation
from schema.roots.anything import AnythingQueries
from schema.roots.catalog import CatalogMutations, CatalogQueries
from schema.roots.channel import ChannelQueries
from schema.roots.operation import OperationMutations, OperationQueries, OperationSubscriptions
from schema.roots.order import OrderMutations, OrderQueries
from schema.roots.stock import StockMutations, StockQueries, StockSubscriptions
from schema.roots.webhook import WebhookMutations, WebhookQueries
from schema.scalars import SCALARS


# A class's own bases come last in what is printed: the first of these stands at the end.
@strawberry.type
class Query(
    WebhookQueries, ChannelQueries, OperationQueries, OrderQueries, StockQueries, CatalogQueries, AnythingQueries
):
    pass


@strawberry.type
class Mutation(WebhookMutations, OperationMutations, OrderMutations, StockMutations, CatalogMutations):
    pass


@strawberry.type
class Subscription(OperationSubscriptions, StockSubscriptions):
    pass


_CONFIG: dict[str, Any] = {"scalar_map": SCALARS, "relay_max_results": 100, "disable_field_suggestions": True}

schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Product, Listing, Order, Operation, Channel, Reservation],
    config=StrawberryConfig(**_CONFIG),
    federation_version=VERSION,
)
# Strawberry's own switch would offer @stream as well, and no list here is a stream.
schema._schema.directives += (GraphQLDeferDirective,)
