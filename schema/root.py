"""The schema: the root fields of all rooms under one roof."""

from __future__ import annotations

from typing import Any

import strawberry
from graphql import GraphQLDeferDirective
from strawberry.federation import Schema
from strawberry.schema.config import StrawberryConfig

from schema.channel import Channel
from schema.federation import VERSION
from schema.fulfillment import FulfillmentOrder
from schema.money_line import MoneyLine
from schema.operation import Operation
from schema.order import Order
from schema.product import Listing, Product
from schema.reservation import Reservation
from schema.roots.anything import AnythingQueries
from schema.roots.bank import BankMutations, BankQueries
from schema.roots.catalog import CatalogMutations, CatalogQueries
from schema.roots.channel import ChannelQueries
from schema.roots.export import ExportMutations
from schema.roots.flow import FlowMutations
from schema.roots.hold import HoldMutations, HoldQueries
from schema.roots.journal import JournalMutations, JournalQueries
from schema.roots.label import LabelMutations, LabelQueries
from schema.roots.money_words import MoneyWordMutations, MoneyWordQueries
from schema.roots.operation import OperationMutations, OperationQueries, OperationSubscriptions
from schema.roots.order import OrderMutations, OrderQueries, OrderSubscriptions
from schema.roots.order_compare import OrderCompareQueries
from schema.roots.outbound import OutboundMutations
from schema.roots.price import PriceMutations
from schema.roots.price_facts import PriceFactMutations, PriceFactQueries
from schema.roots.price_guard import PriceGuardMutations, PriceGuardQueries
from schema.roots.price_history import PriceHistoryQueries
from schema.roots.price_rules import PriceRuleMutations, PriceRuleQueries
from schema.roots.profit import ProfitQueries
from schema.roots.report import ReportMutations
from schema.roots.returns import ReturnMutations, ReturnQueries
from schema.roots.settlement import SettlementMutations, SettlementQueries
from schema.roots.sourcing import SourcingMutations, SourcingQueries
from schema.roots.stock import StockMutations, StockQueries, StockSubscriptions
from schema.roots.tracking import TrackingQueries
from schema.roots.webhook import WebhookMutations, WebhookQueries
from schema.scalars import SCALARS
from schema.settlement import Settlement


# A class's own bases come last in what is printed: the first of these stands at the end.
@strawberry.type
class Query(
    MoneyWordQueries,
    BankQueries,
    JournalQueries,
    SettlementQueries,
    ProfitQueries,
    ReturnQueries,
    WebhookQueries,
    ChannelQueries,
    OperationQueries,
    PriceRuleQueries,
    PriceHistoryQueries,
    PriceFactQueries,
    PriceGuardQueries,
    SourcingQueries,
    LabelQueries,
    HoldQueries,
    TrackingQueries,
    OrderCompareQueries,
    OrderQueries,
    StockQueries,
    CatalogQueries,
    AnythingQueries,
):
    pass


@strawberry.type
class Mutation(
    MoneyWordMutations,
    BankMutations,
    JournalMutations,
    SettlementMutations,
    ReturnMutations,
    ExportMutations,
    ReportMutations,
    FlowMutations,
    WebhookMutations,
    OperationMutations,
    OutboundMutations,
    PriceMutations,
    PriceRuleMutations,
    PriceFactMutations,
    PriceGuardMutations,
    SourcingMutations,
    LabelMutations,
    HoldMutations,
    OrderMutations,
    StockMutations,
    CatalogMutations,
):
    pass


@strawberry.type
class Subscription(OrderSubscriptions, OperationSubscriptions, StockSubscriptions):
    pass


_CONFIG: dict[str, Any] = {"scalar_map": SCALARS, "relay_max_results": 100, "disable_field_suggestions": True}

schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Product, Listing, Order, FulfillmentOrder, Operation, Channel, Reservation, Settlement, MoneyLine],
    config=StrawberryConfig(**_CONFIG),
    federation_version=VERSION,
)
# Strawberry's own switch would offer @stream as well, and no list here is a stream.
schema._schema.directives += (GraphQLDeferDirective,)
