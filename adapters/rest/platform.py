"""A self-built shop as a port."""

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
    Warned,
)
from adapters.prices import Intend, PriceKey, PriceWrite, ShownPrice
from adapters.rest import cancels, catalog, locations, orders, payouts, prices, refunds, shipments, shown
from adapters.rest.client import PLAN, RestClient
from adapters.rest.config import RestConfig
from adapters.rest.offers import Offers
from adapters.rest.operations import LIST_STOCK
from adapters.rest.skus import MOST
from adapters.rest.stock import Stock
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask, Plan
from domain.channel import Location, StreamName
from domain.errors import HouseError
from domain.finance import Transaction
from domain.order import Order
from domain.payout import Payout
from domain.place import ChannelPlace
from domain.product import Listing
from domain.refund import Refund, RefundWanted
from domain.route import Route, Step, Way
from domain.stock import Reading

BULK = PAGE = 250  # the most that the contract lets a shop offer
CALL_S = 0.5  # what an answer takes


class RestPort:
    """One shop. See `adapters.port.Port` and `adapters.storefront` for what each method promises.

    What the shop does not offer is refused without a call of it.
    """

    plans: Mapping[str, Plan] = {PLAN.operation: PLAN}
    stock_plan = PLAN
    stock_call = (LIST_STOCK.name, 1.0)
    stock_batch = MOST
    every: Mapping[StreamName, timedelta] = {
        StreamName.LISTINGS: timedelta(minutes=15),
        StreamName.STOCK: timedelta(minutes=5),
        StreamName.ORDERS: timedelta(minutes=1),
        StreamName.SHOWN: timedelta(minutes=5),
        StreamName.RETURNS: timedelta(minutes=5),
        StreamName.PAYOUTS: timedelta(hours=1),
    }
    leads = True
    tell_batch = BULK
    shown_batch = MOST
    keeps_sales = False
    price_batch = BULK
    # Each product is a call of its own.
    listings_batch = 10

    def __init__(self, config: RestConfig, transport: Transport, tokens: TokenStore, budgets: Budgets) -> None:
        self.channel = config.channel
        self.visibility_lag_s = config.visibility_lag_s
        self.client = RestClient(config, transport, tokens, budgets)
        self.offers = Offers(self.client)
        self._stock = Stock(self.client, self.offers)

    async def places(self, ask: Ask) -> list[ChannelPlace]:
        return await locations.locations(self.client, self.offers, ask)

    def stock_groups(self, locations: Sequence[Location]) -> list[list[Location]]:
        """All in one group: one list answers for every place."""
        return [list(locations)] if locations else []

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        return await self._stock.stock(locations, keys, ask)

    def stock_pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        """One way alone: listStock, page by page."""
        return self._stock.pages(locations, ask)

    async def stock_routes(self, locations: Sequence[Location], keys: int | None, known: int) -> list[Route]:
        """Source: listStock. One SKU alone costs what a hundred do; a level is a row."""
        wanted = known if keys is None else keys
        pages = max(1, math.ceil(known * len(locations) / PAGE))
        return [
            Route(Way.BATCH, (Step(PLAN, math.ceil(wanted / MOST), 1.0, CALL_S, abreast=ABREAST),)),
            Route(Way.PAGES, (Step(PLAN, pages, 1.0, CALL_S),), whole=True),
        ]

    def listing_pages(self, since: datetime | None, ask: Ask) -> AsyncIterator[Page[Listing]]:
        return catalog.listing_pages(self.client, self.offers, since, ask)

    async def listings_named(self, by: str, names: Sequence[str], ask: Ask) -> Page[Listing]:
        """See `adapters.notices.Catalog`."""
        return await catalog.listings_named(self.client, self.offers, by, names, ask)

    def order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        return orders.order_pages(self.client, self.offers, since, ask)

    async def order_routes(self, span_s: float, changes: int, named: int) -> list[Route]:
        """See `adapters.order_paths`. One way alone: listOrders, page by page."""
        pages = Step(PLAN, max(1, math.ceil(changes / PAGE)), 1.0, CALL_S)
        return [Route(Way.PAGES, (pages,), whole=True)]

    def order_pages_by(self, way: Way, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        return self.order_pages(since, ask)

    async def order(self, key: OrderKey, ask: Ask) -> Order:
        return await orders.order(self.client, self.offers, key.external_id, ask)

    async def confirm_shipment(self, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend) -> Receipt:
        return await shipments.confirm_shipment(self.client, self.offers, key, parcel, ask, before_send)

    async def parcel_seen(self, key: OrderKey, parcel: Parcel, ask: Ask) -> Sighting:
        return await shipments.parcel_seen(self.client, self.offers, key, parcel, ask)

    async def correct_tracking(
        self, key: OrderKey, parcel: str, carrier: str, tracking_number: str, ask: Ask, before_send: BeforeSend
    ) -> Receipt:
        return await shipments.correct_tracking(
            self.client, self.offers, parcel, carrier, tracking_number, ask, before_send
        )

    async def cancel_parcel(self, key: OrderKey, parcel: str, ask: Ask, before_send: BeforeSend) -> Receipt:
        return await shipments.cancel_parcel(self.client, self.offers, key, parcel, ask, before_send)

    async def cancel_order(
        self, key: OrderKey, reason: str, ask: Ask, before_send: BeforeSend, *, restock: bool, refund: bool
    ) -> Receipt:
        return await cancels.cancel_order(
            self.client, self.offers, key, reason, ask, before_send, restock=restock, refund=refund
        )

    async def refunds(self, key: OrderKey, ask: Ask) -> list[Refund]:
        return await refunds.refunds(self.client, self.offers, key, ask)

    async def refund(
        self,
        key: OrderKey,
        wanted: RefundWanted,
        ask: Ask,
        before_send: BeforeSend,
        *,
        sent_before: bool = False,
    ) -> Receipt:
        return await refunds.refund(self.client, self.offers, key, wanted, ask, before_send, sent_before=sent_before)

    def payout_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Payout]]:
        return payouts.payout_pages(self.client, self.offers, since, ask)

    def movement_pages(self, payout: str, ask: Ask) -> AsyncIterator[Page[Transaction]]:
        return payouts.movement_pages(self.client, self.offers, payout, ask)

    async def tell_stock(
        self, writes: Sequence[StockWrite], ask: Ask, before_send: BeforeSend
    ) -> list[Receipt | HouseError]:
        return await shown.tell_stock(self.client, self.offers, writes, ask, before_send)

    async def shown_stock(self, keys: Sequence[ShownKey], ask: Ask) -> list[Shown]:
        return await shown.shown_stock(self._stock, keys, ask)

    def shown_pages(self, places: Sequence[str], ask: Ask) -> AsyncIterator[Page[Shown]]:
        return shown.shown_pages(self._stock, places, ask)

    async def tell_prices(self, writes: Sequence[PriceWrite], ask: Ask, intend: Intend) -> list[Receipt | HouseError]:
        return await prices.tell_prices(self.client, self.offers, writes, ask, intend)

    async def shown_prices(self, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice | HouseError]:
        return await prices.shown_prices(self.client, self.offers, keys, ask)

    async def check(self, ask: Ask) -> Checked:
        """Tells each part that cannot be used. Source: getShop."""
        shop = await self.offers.anew(ask)
        lacking = shop.lacking
        whole = "everything" if not lacking else "part of what could be used"
        return Checked(
            f"Shop {shop.name} answers, in {shop.currency}, and offers {whole}.",
            tuple(
                Warned(words, f"Build `{part}` (docs/rest.md), or go on without it.")
                if part not in shop.parts
                else Warned(words, "Give the token this scope.")
                for part, words in lacking.items()
            ),
        )
