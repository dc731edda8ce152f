"""A shop on Shopify as a port."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.budget import Budgets
from adapters.port import (
    ABREAST,
    BeforeSend,
    Checked,
    OrderKey,
    Page,
    Parcel,
    Receipt,
    Shown,
    ShownKey,
    Sighting,
    StockKey,
    StockWrite,
    Warned,
)
from adapters.prices import Intend, PriceKey, PriceWrite, ShownPrice
from adapters.shopify import (
    cancels,
    fulfillment,
    fulfillment_orders,
    locations,
    named,
    orders,
    parcels,
    payouts,
    refunding,
    refunds,
    scopes,
    shown,
    transactions,
)
from adapters.shopify.bulk_query import routes
from adapters.shopify.catalog import Catalog
from adapters.shopify.client import PLAN, VERSION, ShopClient
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.document import PAGE
from adapters.shopify.documents import SHOP, STOCK
from adapters.shopify.inventory import ALL, Inventory
from adapters.shopify.prices import BATCH, ShopPrices
from adapters.shopify.subscriptions import Desk
from adapters.tokens import TokenStore
from adapters.transport import Transport
from adapters.vault import OwnMemory, Vault
from domain.budget import Ask, Plan, Priority
from domain.channel import Location, StreamName
from domain.errors import HouseError, MissingRole
from domain.finance import Transaction
from domain.fulfillment_order import FulfillmentOrder
from domain.order import Order
from domain.payout import Payout
from domain.place import ChannelPlace
from domain.product import Listing
from domain.refund import Refund, RefundWanted
from domain.route import Choice, Route, Step, Way
from domain.stock import Reading

log = logging.getLogger(__name__)

# What an answer takes.
CALL_S = 0.5

# Longer than from one check to the next.
MISSING_S = 86_400.0


class ShopifyPort:
    """One shop. See `adapters.port.Port` for what each method promises."""

    plans: Mapping[str, Plan] = {PLAN.operation: PLAN}
    stock_plan = PLAN
    stock_call = (STOCK.operation, STOCK.cost)
    stock_batch = PAGE
    # A shop answers as often as its points allow.
    every: Mapping[StreamName, timedelta] = {
        StreamName.LISTINGS: timedelta(minutes=15),
        StreamName.STOCK: timedelta(minutes=5),
        StreamName.ORDERS: timedelta(minutes=1),
        StreamName.SHOWN: timedelta(minutes=5),
        StreamName.NOTIFICATIONS: timedelta(hours=1),
        StreamName.RETURNS: timedelta(minutes=5),
        StreamName.PAYOUTS: timedelta(hours=1),
    }
    leads = True
    needs = scopes.NEEDED
    listings_batch = named.BATCH
    orders_batch = orders.BATCH
    tell_batch = PAGE
    shown_batch = PAGE
    keeps_sales = False
    price_batch = BATCH

    def __init__(
        self,
        config: ShopifyConfig,
        transport: Transport,
        tokens: TokenStore,
        budgets: Budgets,
        vault: Vault | None = None,
    ) -> None:
        self.channel = config.channel
        self.visibility_lag_s = config.visibility_lag_s
        self._vault = vault or OwnMemory()
        self._client = ShopClient(config, transport, tokens, budgets, self._vault)
        self._inventory = Inventory(self._client)
        self._catalog = Catalog(self._client)
        self._prices = ShopPrices(self._client, self._catalog.shop_currency)

    def stock_groups(self, locations: Sequence[Location]) -> list[list[Location]]:
        """All in one group: an inventory item answers for every place."""
        return [list(locations)] if locations else []

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        return await self._inventory.stock(locations, keys, ask)

    def stock_pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        """inventoryItems, page by page or by a bulk operation."""
        return self._inventory.pages(locations, ask, way)

    async def stock_routes(self, locations: Sequence[Location], keys: int | None, known: int) -> list[Route]:
        """Sources: nodes, inventoryItems and bulkOperationRunQuery. One item alone costs what 250 do."""
        calls = math.ceil((known if keys is None else keys) / PAGE)
        points = await self._client.costs.actual(STOCK)
        batch = Route(Way.BATCH, (Step(PLAN, calls, points, CALL_S, abreast=ABREAST),))
        return [batch, *await routes(self._client, ALL, known)]

    def listing_pages(self, since: datetime | None, ask: Ask) -> AsyncIterator[Page[Listing]]:
        return self._catalog.pages(since, ask)

    def order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        return orders.order_pages(self._client, since, ask)

    async def order_routes(self, span_s: float, changes: int, named: int) -> list[Route]:
        """See `adapters.order_paths`. Source: orders, page by page or by a bulk operation."""
        return await orders.order_routes(self._client, changes)

    def order_pages_by(self, way: Way, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        return orders.order_pages(self._client, since, ask, way)

    async def order(self, key: OrderKey, ask: Ask) -> Order:
        return await orders.order(self._client, key.external_id, ask)

    async def orders_named(self, ids: Sequence[str], ask: Ask) -> list[Order]:
        return await orders.orders_named(self._client, ids, ask)

    async def listings_named(self, by: str, names: Sequence[str], ask: Ask) -> Page[Listing]:
        return await named.listings(self._client, self._catalog, by, names, ask)

    async def order_of(self, work: str, ask: Ask) -> OrderKey:
        return await named.order_of(self._client, work, ask)

    def desk(self, uri: str, topics: Sequence[str]) -> Desk:
        """The subscriptions to `topics`, sent to `uri`."""
        return Desk(self._client, uri, topics)

    async def confirm_shipment(self, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend) -> Receipt:
        return await fulfillment.confirm_shipment(self._client, key, parcel, ask, before_send)

    async def parcel_seen(self, key: OrderKey, parcel: Parcel, ask: Ask) -> Sighting:
        return await fulfillment.parcel_seen(self._client, key, parcel, ask)

    async def tell_stock(
        self, writes: Sequence[StockWrite], ask: Ask, before_send: BeforeSend
    ) -> list[Receipt | HouseError]:
        return await shown.tell_stock(self._client, writes, ask, before_send)

    async def shown_stock(self, keys: Sequence[ShownKey], ask: Ask) -> list[Shown]:
        return await shown.shown_stock(self._inventory, keys, ask)

    def shown_pages(self, places: Sequence[str], ask: Ask) -> AsyncIterator[Page[Shown]]:
        return shown.shown_pages(self._inventory, places, ask)

    async def tell_prices(self, writes: Sequence[PriceWrite], ask: Ask, intend: Intend) -> list[Receipt | HouseError]:
        return await self._prices.tell(writes, ask, intend)

    async def shown_prices(self, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice | HouseError]:
        return await self._prices.shown(keys, ask)

    async def price_route(self, products: int, priority: Priority) -> Choice:
        """How prices of variants of so many products would be told now, and why. Asks nothing of the platform."""
        return await self._prices.explain(products, priority)

    async def correct_tracking(
        self, key: OrderKey, parcel: str, carrier: str, tracking_number: str, ask: Ask, before_send: BeforeSend
    ) -> Receipt:
        return await parcels.correct_tracking(self._client, key, parcel, carrier, tracking_number, ask, before_send)

    async def cancel_parcel(self, key: OrderKey, parcel: str, ask: Ask, before_send: BeforeSend) -> Receipt:
        return await parcels.cancel_parcel(self._client, key, parcel, ask, before_send)

    async def cancel_order(
        self, key: OrderKey, reason: str, ask: Ask, before_send: BeforeSend, *, restock: bool, refund: bool
    ) -> Receipt:
        return await cancels.cancel_order(self._client, key, reason, ask, before_send, restock=restock, refund=refund)

    async def refund(
        self,
        key: OrderKey,
        wanted: RefundWanted,
        ask: Ask,
        before_send: BeforeSend,
        *,
        sent_before: bool = False,
    ) -> Receipt:
        """Earlier attempts are looked for whatever `sent_before` says."""
        return await refunding.refund(self._client, key, wanted, ask, before_send)

    async def places(self, ask: Ask) -> list[ChannelPlace]:
        return await locations.locations(self._client, ask)

    async def fulfillment_orders(self, key: OrderKey, ask: Ask) -> list[FulfillmentOrder]:
        return await fulfillment_orders.of_order(self._client, key, ask)

    def fulfillment_order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[FulfillmentOrder]]:
        return fulfillment_orders.fulfillment_order_pages(self._client, since, ask)

    async def refunds(self, key: OrderKey, ask: Ask) -> list[Refund]:
        return await refunds.refunds(self._client, key, ask)

    async def transactions(self, key: OrderKey, ask: Ask) -> Page[Transaction]:
        return await transactions.transactions(self._client, key, ask)

    def payout_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Payout]]:
        return payouts.payout_pages(self._client, since, ask)

    def movement_pages(self, payout: str, ask: Ask) -> AsyncIterator[Page[Transaction]]:
        return payouts.movement_pages(self._client, payout, ask)

    async def check(self, ask: Ask) -> Checked:
        """Each scope that is missing is kept among what hinders the channel, until a check finds it. Raises MissingRole naming
        them all, and what goes without. Sources: shop, currentAppInstallation.
        """
        shop, granted, request_id = await self._looked(ask)
        lacking = scopes.missing(granted, self.needs)
        await self._keep(lacking, whole=not scopes.missing(granted, scopes.ASKED))
        if lacking:
            what, them = ("scope", "it") if len(lacking) == 1 else ("scopes", "them")
            raise MissingRole(
                f"The app in the shop {shop['name']} lacks the access {what} {', '.join(lacking)}. {scopes.without(lacking)} "
                f"Grant {them} to the app and install it again.",
                upstream_request_id=request_id,
            )
        warnings = [
            Warned(scopes.without([one]), "Grant it to the app, and install it again, if you want that.")
            for one in scopes.missing(granted, scopes.OPTIONAL)
        ]
        if self._client.other_version is not None:
            warnings.append(Warned(f"{self._client.other_version}.", "Set api_version to the one that answers."))
        said = f"Shop {shop['name']} answers, in {shop['currencyCode']}, with every scope that is needed."
        return Checked(said, tuple(warnings))

    async def _keep(self, lacking: Sequence[str], *, whole: bool) -> None:
        """Who has all that there is to ask for lacks nothing, whatever document was refused before."""
        for scope in lacking:
            if await self._vault.bar(self.channel.id, scope, scopes.without([scope]), MISSING_S):
                log.error("scope.missing", extra={"channel": self.channel.id, "scope": scope})
        known = await self._client.lacking() - {VERSION, *lacking}
        for name in known if whole else known & set(self.needs):
            await self._vault.clear(self.channel.id, name)
            log.info("scope.regained", extra={"channel": self.channel.id, "scope": name})

    async def _looked(self, ask: Ask) -> tuple[Mapping[str, Any], set[str], str | None]:
        """The shop, the scopes that are granted, and the platform's name for the call."""
        reply = await self._client.run(SHOP, {}, ask)
        granted = {str(scope["handle"]) for scope in reply.data["currentAppInstallation"]["accessScopes"]}
        return reply.data["shop"], granted, reply.request_id
