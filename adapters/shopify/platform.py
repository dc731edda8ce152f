"""A shop on Shopify as a port."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

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
)
from adapters.shopify import fulfillment, orders, shown
from adapters.shopify.catalog import Catalog
from adapters.shopify.client import PLAN, ShopClient
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.document import PAGE
from adapters.shopify.documents import ITEMS, SHOP, STOCK
from adapters.shopify.inventory import Inventory
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask, Plan
from domain.channel import Location, StreamName
from domain.errors import HouseError, Unauthorized
from domain.order import Order
from domain.product import Listing
from domain.route import Route, Step, Way
from domain.stock import Reading

SCOPES = (
    "read_products",
    "read_inventory",
    "read_locations",
    "read_orders",
    "write_merchant_managed_fulfillment_orders",
)

# What an answer takes.
CALL_S = 0.5

OPTIONAL = {
    "read_all_orders": "Without read_all_orders, orders older than 60 days stay unseen.",
    "write_inventory": "Without write_inventory, it cannot be told what it may sell.",
}


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
    }
    leads = True
    tell_batch = PAGE
    shown_batch = PAGE

    def __init__(self, config: ShopifyConfig, transport: Transport, tokens: TokenStore, budgets: Budgets) -> None:
        self.channel = config.channel
        self.visibility_lag_s = config.visibility_lag_s
        self._client = ShopClient(config, transport, tokens, budgets)
        self._inventory = Inventory(self._client)
        self._catalog = Catalog(self._client)

    def stock_groups(self, locations: Sequence[Location]) -> list[list[Location]]:
        """All in one group: an inventory item answers for every place."""
        return [list(locations)] if locations else []

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        return await self._inventory.stock(locations, keys, ask)

    def stock_pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        """One way alone: inventoryItems, page by page."""
        return self._inventory.pages(locations, ask)

    async def stock_routes(self, locations: Sequence[Location], keys: int | None, known: int) -> list[Route]:
        """Sources: nodes and inventoryItems. One item alone costs what 250 do."""
        wanted = known if keys is None else keys
        pages = max(1, math.ceil(known / PAGE))
        return [
            Route(Way.BATCH, (Step(PLAN, math.ceil(wanted / PAGE), STOCK.cost, CALL_S, abreast=ABREAST),)),
            Route(Way.PAGES, (Step(PLAN, pages, ITEMS.cost, CALL_S),), whole=True),
        ]

    def listing_pages(self, since: datetime | None, ask: Ask) -> AsyncIterator[Page[Listing]]:
        return self._catalog.pages(since, ask)

    def order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        return orders.order_pages(self._client, since, ask)

    async def order(self, key: OrderKey, ask: Ask) -> Order:
        return await orders.order(self._client, key.external_id, ask)

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

    async def check(self, ask: Ask) -> Checked:
        """Raises Unauthorized naming every scope that is missing. Sources: shop, currentAppInstallation."""
        reply = await self._client.run(SHOP, {}, ask)
        granted = {str(scope["handle"]) for scope in reply.data["currentAppInstallation"]["accessScopes"]}
        missing = [scope for scope in SCOPES if not _covered(scope, granted)]
        name = reply.data["shop"]["name"]
        if missing:
            what, them = ("scope", "it") if len(missing) == 1 else ("scopes", "them")
            raise Unauthorized(
                f"The app in the shop {name} lacks the access {what} {', '.join(missing)}. "
                f"Grant {them} to the app and install it again.",
                upstream_request_id=reply.request_id,
            )
        without = "".join(f" {words}" for scope, words in OPTIONAL.items() if scope not in granted)
        return Checked(
            f"Shop {name} answers, in {reply.data['shop']['currencyCode']}, with every scope that is needed.{without}"
        )


def _covered(scope: str, granted: set[str]) -> bool:
    """Whoever may write may also read."""
    return scope in granted or (scope.startswith("read_") and f"write_{scope.removeprefix('read_')}" in granted)
