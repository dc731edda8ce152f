"""Amazon behind the port: one selling account in one region."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

from adapters.amazon import (
    finances,
    inventory,
    inventory_report,
    listings,
    listings_named,
    order_reports,
    orders,
    quantities,
    returns,
    rotation,
    sellers,
    settlements,
    shipment_feeds,
)
from adapters.amazon.cancels import Cancels
from adapters.amazon.client import Client
from adapters.amazon.config import AmazonConfig
from adapters.amazon.fulfillment import outbound
from adapters.amazon.market import EXPECTED_BATCH, FEATURED_BATCH, FEES_BATCH, AmazonMarket
from adapters.amazon.marketplaces import marketplace, told_of_stores
from adapters.amazon.merchant_fulfillment import MerchantFulfillment
from adapters.amazon.plans import PLANS, SANDBOX_PLANS
from adapters.amazon.price_feeds import PriceFeeds
from adapters.amazon.prices import BATCH, AmazonPrices
from adapters.amazon.refunding import Refunding
from adapters.amazon.report_files import TYPES, ReportFiles
from adapters.amazon.settlement_file import SettlementFile
from adapters.amazon.shipment_feeds import ShipmentFeeds
from adapters.amazon.shipping import BUSINESSES, Shipping
from adapters.amazon.waiting import PAUSES_S
from adapters.budget import Budgets
from adapters.bulk_shipments import Bulk, Fate, InFile
from adapters.finances import SettlementBytes, SettlementReport
from adapters.market import ExpectedSeen, FeaturedSeen, FeesQuestion
from adapters.port import (
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
from adapters.prices import Intend, PriceKey, PriceSent, PriceVerdict, PriceWrite, ShownPrice
from adapters.settlement import Read
from adapters.storefront import RefundSent, RefundSight
from adapters.tokens import TokenStore
from adapters.transport import Transport
from adapters.vault import Vault
from domain.budget import Ask, Priority
from domain.chain import Piece
from domain.channel import Location, StreamName
from domain.errors import HouseError, Refused
from domain.fee import FeesEstimate
from domain.finance import Transaction
from domain.ids import ChannelSku
from domain.order import Order
from domain.product import Listing, Rejected
from domain.refund import Refund, RefundWanted
from domain.report import ReportFile, ReportWanted
from domain.route import Choice, Route, Way
from domain.stock import Reading


class AmazonPort:
    """Satisfies `adapters.port.Port`; see there."""

    # searchOrders is granted once in three minutes when its burst is used up.
    every: Mapping[StreamName, timedelta] = {
        StreamName.LISTINGS: timedelta(hours=6),
        StreamName.STOCK: timedelta(minutes=10),
        StreamName.ORDERS: timedelta(minutes=15),
        StreamName.SHOWN: timedelta(hours=1),
        StreamName.NOTIFICATIONS: timedelta(hours=6),
        # A report of the returns to its warehouses is made every four hours, and tells of whole days.
        StreamName.RETURNS: timedelta(hours=6),
        # Amazon makes a settlement every week or two, and tells of a movement within two days.
        StreamName.SETTLEMENTS: timedelta(hours=6),
        StreamName.TRANSACTIONS: timedelta(minutes=30),
    }
    to_ship_batch = orders.PAGE
    placed_operation = "searchOrders"
    # A tenth of what searchOrders grants in a day.
    placed_most = 48
    price_batch = BATCH
    keeps_sales = True
    fees_batch, featured_batch, expected_batch = FEES_BATCH, FEATURED_BATCH, EXPECTED_BATCH
    report_types: Mapping[str, str] = TYPES
    report_pauses_s: Sequence[float] = PAUSES_S
    read_settlement: Read = SettlementFile
    # Its titles are written for its search, and it tells no costs.
    leads = False

    def __init__(
        self,
        config: AmazonConfig,
        transport: Transport,
        tokens: TokenStore,
        budgets: Budgets,
        vault: Vault | None = None,
    ) -> None:
        self.channel = told_of_stores(config.channel)
        # Amazon's own sandbox has plans of its own; at an address of our choosing the published ones hold.
        self.plans = SANDBOX_PLANS if config.channel.sandbox and config.endpoint is None else PLANS
        self.stock_plan = self.plans[inventory.OPERATION]
        self.stock_call = (inventory.OPERATION, 1.0)
        self.stock_batch = inventory.BATCH
        self.tell_batch = quantities.TELL_BATCH
        self.shown_batch = quantities.SHOWN_BATCH
        self.listings_batch = listings_named.BATCH
        self.visibility_lag_s = config.visibility_lag_s
        self._seller_id = config.seller_id
        self._budgets = budgets
        self._client = Client(config, self.plans, transport, tokens, budgets, vault)
        self._cancels = Cancels(self._client, config.seller_id)
        self._market = AmazonMarket(self._client, config.seller_id)
        self._refunding = Refunding.of(self._client, config.seller_id)
        self._report_files = ReportFiles(self._client)
        self._shipment_feeds = ShipmentFeeds.of(self._client, config.seller_id)
        price_feeds = PriceFeeds(self._client, config.seller_id, budgets)
        self._prices = AmazonPrices(self._client, config.seller_id, budgets, self.plans, price_feeds)
        self._codes = {marketplace(code).id: code for code in config.channel.marketplaces}
        # What Amazon can do beyond the port: ship other channels' orders from FBA, and sell labels.
        self.outbound = outbound(self._client, config.outbound_version)
        self.merchant_labels = MerchantFulfillment(self._client)
        self.shipping_labels = {
            code: Shipping(self._client, code) for code in config.channel.marketplaces if code in BUSINESSES
        }

    @property
    def client(self) -> Client:
        """The account's way to Amazon."""
        return self._client

    def stock_groups(self, locations: Sequence[Location]) -> list[list[Location]]:
        """Each FBA pool alone: a call asks through one marketplace."""
        return [[location] for location in locations]

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        """Source: getInventorySummaries, at most 50 SKUs."""
        return await inventory.stock(self._client, locations, keys, ask)

    def stock_pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        """Source: getInventorySummaries without SKUs, or GET_FBA_MYI_UNSUPPRESSED_INVENTORY_DATA."""
        if way is Way.REPORT:
            return inventory_report.stock_pages_by_report(self._client, self._budgets, locations, ask)
        return inventory.stock_pages(self._client, locations, ask)

    async def stock_routes(self, locations: Sequence[Location], keys: int | None, known: int) -> list[Route]:
        """Sources: getInventorySummaries for 50 keys, for one, or page by page; one report for each pool."""
        pools, usual_s = len(locations), await self._budgets.usual.seconds(self.channel.id, inventory_report.TYPE)
        return [
            *inventory.routes(self.stock_plan, pools, keys, known),
            inventory_report.route(self.plans, pools, known, usual_s),
        ]

    def listing_pages(self, since: datetime | None, ask: Ask) -> AsyncIterator[Page[Listing]]:
        """Source: searchListingsItems."""
        return listings.listing_pages(self._client, self._seller_id, self.channel.marketplaces, since, ask)

    async def listings_named(self, by: str, names: Sequence[str], ask: Ask) -> Page[Listing]:
        """Source: searchListingsItems by SKU or ASIN, at most 20."""
        return await listings_named.listings(self._client, self._seller_id, self.channel.marketplaces, by, names, ask)

    def order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Source: searchOrders."""
        return orders.order_pages(self._client, self._codes, since, ask)

    async def order_routes(self, span_s: float, changes: int, named: int) -> list[Route]:
        """Sources: searchOrders page by page, one report for each 30 days, or getOrder for what is named."""
        usual_s = await self._budgets.usual.seconds(self.channel.id, order_reports.TYPE)
        return order_reports.routes(self.plans, span_s, changes, named, usual_s)

    def order_pages_by(self, way: Way, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Source: searchOrders, or GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL."""
        if way is Way.REPORT:
            return order_reports.order_pages_by_report(self._client, self._budgets, self._codes, since, ask)
        return self.order_pages(since, ask)

    def orders_placed(self, start: datetime, end: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Source: searchOrders by creation."""
        return orders.orders_placed(self._client, self._codes, start, end, ask)

    def orders_to_ship(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Source: searchOrders by fulfiller and status."""
        return orders.orders_to_ship(self._client, self._codes, since, ask)

    def orders_reported(self, start: datetime, end: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        """Source: GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL."""
        return order_reports.reported(self._client, self._budgets, self._codes, start, end, ask)

    def return_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Piece]]:
        """Sources: listTransactions, GET_FLAT_FILE_RETURNS_DATA_BY_RETURN_DATE, GET_FBA_REIMBURSEMENTS_DATA,
        GET_FBA_FULFILLMENT_CUSTOMER_RETURNS_DATA."""
        return returns.return_pages(self._client, self.channel.marketplaces, since, ask)

    async def settlement_reports(self, since: datetime, ask: Ask) -> list[SettlementReport]:
        """Source: getReports."""
        return await settlements.settlement_reports(self._client, since, ask)

    def settlement_file(self, report: SettlementReport, ask: Ask) -> AbstractAsyncContextManager[SettlementBytes]:
        """Sources: getReportDocument, and Amazon's store."""
        return settlements.settlement_file(self._client, report, ask)

    def transaction_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Transaction]]:
        """Source: listTransactions, of all marketplaces."""
        return finances.transaction_pages(self._client, since, ask)

    async def order_transactions(self, key: OrderKey, ask: Ask) -> Page[Transaction]:
        """Source: listTransactions of the order."""
        return await finances.order_transactions(self._client, key.external_id, ask)

    async def order(self, key: OrderKey, ask: Ask) -> Order:
        """Source: getOrder."""
        return await orders.order(self._client, self._codes, key, ask)

    async def confirm_shipment(self, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Source: confirmShipment, one call."""
        return await orders.confirm_shipment(self._client, key, parcel, ask, before_send)

    async def for_bulk(self, waiting: int) -> int:
        """Chosen between confirmShipment and a feed of fulfillments."""
        return await shipment_feeds.for_feed(self.channel.id, self.plans, self._budgets, waiting)

    async def confirm_in_bulk(self, parcels: Bulk, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Source: a feed of fulfillments."""
        return await self._shipment_feeds.send(parcels, ask, before_send)

    async def parcel_in_bulk(self, key: OrderKey, parcel: Parcel, sent: InFile, ask: Ask) -> Fate:
        """Sources: the feed's processing report, then getOrder."""
        return await self._shipment_feeds.fate(self._codes, key, parcel, sent, ask)

    async def cancel_order(
        self, key: OrderKey, reason: str, ask: Ask, before_send: BeforeSend, *, restock: bool, refund: bool
    ) -> Receipt:
        """Source: a feed of acknowledgements, one for many. Amazon counts no units of ours and always gives the money back."""
        return await self._cancels.cancel(await self.order(key, ask), reason, ask, before_send)

    async def cancel_refused(self, key: OrderKey, sent_as: str, ask: Ask) -> Refused | None:
        """Source: the processing report of the feed."""
        return await self._cancels.refused(sent_as, ask)

    async def refunds(self, key: OrderKey, ask: Ask) -> list[Refund]:
        """Source: listTransactions of the order, whose items getOrder names."""
        return await self._refunding.refunds(await self.order(key, ask), ask)

    async def refund(
        self,
        key: OrderKey,
        wanted: RefundWanted,
        ask: Ask,
        before_send: BeforeSend,
        *,
        sent_before: bool = False,
    ) -> Receipt:
        """Source: a feed of payment adjustments, one for many. What became of it, or of an attempt before, says `refund_seen`."""
        return await self._refunding.refund(await self.order(key, ask), wanted, ask, before_send)

    async def refund_seen(self, key: OrderKey, wanted: RefundWanted, sent: RefundSent, ask: Ask) -> RefundSight:
        """Sources: the feed's processing report, then listTransactions of the order."""
        return await self._refunding.seen(key, wanted, sent, ask)

    async def refunds_told(self, key: OrderKey, ask: Ask) -> Page[Piece]:
        """Source: listTransactions of the order."""
        return await returns.refunds_of(self._client, key.external_id, ask)

    async def parcel_seen(self, key: OrderKey, parcel: Parcel, ask: Ask) -> Sighting:
        """Source: getOrder."""
        return await orders.parcel_seen(self._client, self._codes, key, parcel, ask)

    async def tell_stock(
        self, writes: Sequence[StockWrite], ask: Ask, before_send: BeforeSend
    ) -> list[Receipt | HouseError]:
        """Source: patchListingsItem, one SKU. Amazon compares nothing: `expected` is left aside, the last number stays."""
        return await quantities.tell_stock(
            self._client, self._seller_id, self.channel.marketplaces, writes, ask, before_send
        )

    async def shown_stock(self, keys: Sequence[ShownKey], ask: Ask) -> list[Shown]:
        """Source: searchListingsItems, at most 20 SKUs."""
        return await quantities.shown_stock(self._client, self._seller_id, self.channel.marketplaces, keys, ask)

    def shown_pages(self, places: Sequence[str], ask: Ask) -> AsyncIterator[Page[Shown]]:
        """Source: searchListingsItems without SKUs. Amazon knows no places of ours: `places` is left aside."""
        return quantities.shown_pages(self._client, self._seller_id, self.channel.marketplaces, ask)

    async def tell_prices(self, writes: Sequence[PriceWrite], ask: Ask, intend: Intend) -> list[Receipt | HouseError]:
        """Sources: searchListingsItems for 20 offers at a time; then patchListingsItem for each, or one JSON_LISTINGS_FEED."""
        return await self._prices.tell(writes, ask, intend)

    async def shown_prices(self, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice | HouseError]:
        """Source: searchListingsItems, 20 SKUs in a call."""
        return await self._prices.shown(keys, ask)

    async def price_verdicts(
        self, sent: Sequence[PriceSent], known: Collection[str], ask: Ask
    ) -> list[PriceVerdict | HouseError]:
        """Sources: getFeeds where an answer was lost, getFeed, and the processing report."""
        return await self._prices.feeds.verdicts(sent, known, ask)

    async def price_route(self, rows: int, priority: Priority) -> Choice:
        """How so many prices of one marketplace would be told now, and why. Asks nothing of the platform."""
        return await self._prices.explain(rows, priority)

    async def fees(
        self, marketplace: str, questions: Sequence[FeesQuestion], ask: Ask
    ) -> list[FeesEstimate | HouseError | Rejected]:
        """Source: getMyFeesEstimates, at most 20."""
        return await self._market.fees(marketplace, questions, ask)

    async def featured(
        self, marketplace: str, items: Sequence[str], ask: Ask
    ) -> list[FeaturedSeen | HouseError | Rejected]:
        """Source: getCompetitiveSummary, at most 20 ASINs."""
        return await self._market.featured(marketplace, items, ask)

    async def expected(
        self, marketplace: str, skus: Sequence[ChannelSku], ask: Ask
    ) -> list[ExpectedSeen | HouseError | Rejected]:
        """Source: getFeaturedOfferExpectedPriceBatch, at most 40."""
        return await self._market.expected(marketplace, skus, ask)

    async def ask_report(self, wanted: ReportWanted, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Source: createReport."""
        return await self._report_files.ask(wanted, ask, before_send)

    async def report_asked(
        self, wanted: ReportWanted, asked_at: datetime, but: Collection[str], ask: Ask
    ) -> str | None:
        """Source: getReports."""
        return await self._report_files.asked(wanted, asked_at, but, ask)

    async def report_file(self, report_id: str, ask: Ask) -> ReportFile | None:
        """Sources: getReport, getReportDocument."""
        return await self._report_files.file(report_id, ask)

    async def rotate_secret(self, ask: Ask) -> str | None:
        """Source: rotateApplicationClientSecret; Amazon's id of the call."""
        return await rotation.rotate_secret(self._client, ask)

    async def check(self, ask: Ask) -> Checked:
        """Source: getMarketplaceParticipations."""
        return await sellers.check(self._client, self._seller_id, self.channel.marketplaces, ask)
