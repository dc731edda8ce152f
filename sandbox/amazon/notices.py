"""Notifications on their way: who wants which, and how they reach a queue or an address. They are sent for every true change, at
least once, in no order; how late, how often and whether at all can be ordered."""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import httpx

from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.clock import Clock
from sandbox.journal import iso
from sandbox.waiting import Waiting

if TYPE_CHECKING:
    from sandbox.amazon.state import Order
    from sandbox.world import PoolStock, Product

APPLICATION = "amzn1.sellerapps.app.sandbox"
QUEUE_ARN = r"arn:aws:sqs:[^\s:]+:[^\s:]+:[^\s:]+"
SQS_BATCH = 10
LOOK_S = 0.02
TRIES = 5
_AT_ONCE = 8
# The words of Orders v0, which notifications still use.
_V0 = {
    "PENDING_AVAILABILITY": "PendingAvailability",
    "PENDING": "Pending",
    "UNSHIPPED": "Unshipped",
    "PARTIALLY_SHIPPED": "PartiallyShipped",
    "SHIPPED": "Shipped",
    "CANCELLED": "Canceled",
    "UNFULFILLABLE": "Unfulfillable",
}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where notifications may go: an SQS queue by its ARN, or the event bus of an AWS account."""

    id: str
    name: str
    resource: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a seller wants to be told, and where."""

    id: str
    seller: str
    type: str
    version: str
    destination: str
    directive: dict[str, Any] | None


@dataclass(slots=True)
class Orders:
    """How notifications travel: each is lost with probability `lost`, else sent `copies` times, each copy up to `delay_s` sandbox
    seconds late; `shuffle` mixes what is due at once. `held` keeps them here to be fetched. An event bus reaches `http` with the
    API key `key`; queues are at `sqs`."""

    lost: float = 0.0
    copies: int = 1
    delay_s: float = 0.0
    shuffle: bool = False
    held: bool = False
    http: str | None = None
    key: str = ""
    sqs: str | None = None


@dataclass(slots=True)
class _Copy:
    destination: Destination
    body: dict[str, Any]
    tries: int = 0


class Notices:
    """The application's destinations, its sellers' subscriptions, and what is under way."""

    def __init__(self, clock: Clock, seed: int, settle: Callable[[], bool]) -> None:
        """`settle` carries out what has become visible, and says whether more will."""
        self._settle = settle
        self.destinations: dict[str, Destination] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.orders = Orders()
        self.counts: Counter[str] = Counter()
        self.outbox: list[dict[str, Any]] = []
        self._clock = clock
        self._dice = random.Random(f"notices:{seed}")
        self._waiting: Waiting[_Copy] = Waiting(clock, self._dice)
        self._pump: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Copies that have not gone out yet."""
        return len(self._waiting)

    def wanted(self, seller: str, type: str) -> list[Subscription]:
        """The subscriptions of a seller to a type."""
        return [one for one in self.subscriptions.values() if (one.seller, one.type) == (seller, type)]

    def order_changed(self, order: "Order") -> None:
        """ORDER_CHANGE: it was placed, shipped, cancelled or has come on otherwise."""
        place, status = MARKETPLACES[order.marketplace], _V0[order.status]
        seller = order.account.seller
        wanted = [
            one
            for one in self.wanted(seller, "ORDER_CHANGE")
            if place.id in _filter(one).get("marketplaceIds", [place.id])
            and "OrderStatusChange" in _filter(one).get("orderChangeTypes", ["OrderStatusChange"])
        ]
        if not wanted:
            return
        told = {
            "NotificationLevel": "OrderLevel",
            "SellerId": seller,
            "AmazonOrderId": order.id,
            "OrderChangeType": "OrderStatusChange",
            "OrderChangeTrigger": {"TimeOfOrderChange": iso(order.updated_at), "ChangeReason": "Status change"},
            "Summary": {
                "MarketplaceId": place.id,
                "OrderStatus": status,
                "PurchaseDate": iso(order.created_at),
                "DestinationPostalCode": "97205",
                "FulfillmentType": "AFN" if order.fulfilled_by == "AMAZON" else "MFN",
                "OrderType": "StandardOrder",
                "NumberOfItemsShipped": sum(order.shipped(line) for line in order.lines),
                "NumberOfItemsUnshipped": sum(line.quantity - order.shipped(line) for line in order.lines),
                "OrderItems": [
                    {
                        "OrderItemId": line.id,
                        "SellerSKU": line.product.sku,
                        "SupplySourceId": None,
                        "OrderItemStatus": status,
                        "Quantity": line.quantity,
                        "QuantityShipped": order.shipped(line),
                    }
                    for line in order.lines
                ],
            },
        }
        self._tell(wanted, order.updated_at, {"OrderChangeNotification": told})

    def stock_changed(self, seller: str, product: "Product", marketplaces: Iterable[str], stock: "PoolStock") -> None:
        """FBA_INVENTORY_AVAILABILITY_CHANGES: units in a pool came, went, or were reserved."""
        wanted = self.wanted(seller, "FBA_INVENTORY_AVAILABILITY_CHANGES")
        if not wanted:
            return
        units = {
            "InboundQuantityBreakdown": {
                "Working": stock.inbound_working,
                "Shipped": stock.inbound_shipped,
                "Receiving": stock.inbound_receiving,
            },
            "Fulfillable": stock.fulfillable,
            "Unfulfillable": stock.unfulfillable,
            "Researching": stock.researching,
            "ReservedQuantityBreakdown": {
                "WarehouseProcessing": stock.reserved_processing,
                "WarehouseTransfer": stock.reserved_transshipment,
                "PendingCustomerOrder": stock.reserved_orders,
            },
            "FutureSupplyBuyable": 0,
            "PendingCustomerOrderInTransit": 0,
        }
        places = [
            {
                "MarketplaceId": MARKETPLACES[code].id,
                "ItemName": product.title,
                "FulfillmentInventory": units,
                "Stores": [],
            }
            for code in marketplaces
        ]
        payload = {
            "SellerId": seller,
            "FNSKU": f"X{product.asin[1:]}",
            "ASIN": product.asin,
            "SKU": product.sku,
            "FulfillmentInventoryByMarketplace": places,
        }
        self._tell(wanted, self._clock.now(), payload)

    def quantity_changed(self, seller: str, product: "Product", units: int) -> None:
        """LISTINGS_ITEM_MFN_QUANTITY_CHANGE: the merchant quantity of a listing is another one."""
        payload = {"SellerId": seller, "FulfillmentChannelCode": "DEFAULT", "Sku": product.sku, "Quantity": units}
        wanted = self.wanted(seller, "LISTINGS_ITEM_MFN_QUANTITY_CHANGE")
        self._tell(wanted, self._clock.now(), payload)

    def offer_changed(self, seller: str, product: "Product", marketplace: str, amount: float) -> None:
        """PRICING_HEALTH: a price of ours is no longer competitive; told for every price that changes."""
        place = MARKETPLACES[marketplace]
        price = {"amount": amount, "currencyCode": place.currency}
        free = {"amount": 0, "currencyCode": place.currency}
        counted = {"condition": "new", "fulfillmentType": "MFN", "offerCount": 1}
        payload = {
            "issueType": "BuyBoxDisqualification",
            "sellerId": seller,
            "offerChangeTrigger": {
                "marketplaceId": place.id,
                "asin": product.asin,
                "itemCondition": "new",
                "timeOfOfferChange": iso(self._clock.now()),
            },
            "merchantOffer": {
                "condition": "new",
                "fulfillmentType": "MFN",
                "listingPrice": price,
                "shipping": free,
                "landedPrice": price,
            },
            "summary": {
                "numberOfOffers": [counted],
                "buyBoxEligibleOffers": [counted],
                "salesRankings": [],
                "referencePrice": {"competitivePriceThreshold": price},
            },
        }
        self._tell(self.wanted(seller, "PRICING_HEALTH"), self._clock.now(), payload, camel=True)

    def offers_changed(self, seller: str, marketplace: str, told: dict[str, Any]) -> None:
        """ANY_OFFER_CHANGED: an offer of an item that the seller sells, his own among them, is another one."""
        id = MARKETPLACES[marketplace].id
        wanted = [
            one for one in self.wanted(seller, "ANY_OFFER_CHANGED") if id in _filter(one).get("marketplaceIds", [id])
        ]
        self._tell(wanted, self._clock.now(), {"AnyOfferChangedNotification": told})

    def status_changed(
        self, seller: str, product: "Product", marketplace: str, status: list[str], created_at: datetime
    ) -> None:
        """LISTINGS_ITEM_STATUS_CHANGE: it can be bought or found now, or no longer."""
        payload = {**_item(seller, product, marketplace), "CreatedDate": iso(created_at), "Status": status}
        self._tell(self.wanted(seller, "LISTINGS_ITEM_STATUS_CHANGE"), self._clock.now(), payload)

    def issues_changed(self, seller: str, product: "Product", marketplace: str, issues: list[dict[str, Any]]) -> None:
        """LISTINGS_ITEM_ISSUES_CHANGE: something is wrong with it that was not, or no longer is."""
        payload = {
            **_item(seller, product, marketplace),
            "Severities": sorted({one["severity"] for one in issues}) or ["NONE"],
            "EnforcementActions": [
                action["action"] for one in issues for action in one.get("enforcements", {}).get("actions", [])
            ],
        }
        self._tell(self.wanted(seller, "LISTINGS_ITEM_ISSUES_CHANGE"), self._clock.now(), payload)

    def secret_rotated(self, queue: str, told: dict[str, str]) -> None:
        """APPLICATION_OAUTH_CLIENT_NEW_SECRET: to the queue with this ARN, which the console registers and nobody subscribes."""
        place = Destination("registered", "registered", {"sqs": {"arn": queue}})
        kind = "APPLICATION_OAUTH_CLIENT_NEW_SECRET"
        one = Subscription("registered", "", kind, "1.0", place.id, None)
        body = self._body(one, self._clock.now(), {"applicationOAuthClientNewSecret": told})
        self._send(place, _all_camel(body))

    def finished(self, seller: str, what: str, id: str, type: str, status: str, document: str | None) -> None:
        """REPORT_PROCESSING_FINISHED and FEED_PROCESSING_FINISHED; `what` is "report" or "feed"."""
        told = {
            "sellerId": seller,
            "accountId": f"amzn1.merchant.o.{seller}",
            f"{what}Id": id,
            f"{what}Type": type,
            "processingStatus": status,
        }
        if document is not None:
            told["reportDocumentId" if what == "report" else "resultFeedDocumentId"] = document
        wanted = self.wanted(seller, f"{what.upper()}_PROCESSING_FINISHED")
        self._tell(wanted, self._clock.now(), {f"{what}ProcessingFinishedNotification": told}, camel=True)

    def answered(self, seller: str, query: dict[str, Any]) -> None:
        """DATA_KIOSK_QUERY_PROCESSING_FINISHED; `query` as getQuery shows it."""
        names = ("queryId", "query", "processingStatus", "dataDocumentId", "errorDocumentId", "pagination")
        told = {name: query[name] for name in names if name in query}
        wanted = self.wanted(seller, "DATA_KIOSK_QUERY_PROCESSING_FINISHED")
        self._tell(wanted, self._clock.now(), {"accountId": f"amzn1.merchant.o.{seller}", **told}, camel=True)

    def tell(self, seller: str, type: str, payload: dict[str, Any], *, camel: bool = False) -> None:
        """A notification whose payload its area has written: of a type that a seller wants in whole, now."""
        self._tell(self.wanted(seller, type), self._clock.now(), payload, camel=camel)

    def _tell(
        self,
        wanted: list[Subscription],
        at: datetime,
        payload: dict[str, Any],
        *,
        camel: bool = False,
    ) -> None:
        for one in wanted:
            if one.destination not in self.destinations:
                continue
            body = self._body(one, at, payload)
            self._send(self.destinations[one.destination], _all_camel(body) if camel else body)

    def _body(self, one: Subscription, at: datetime, payload: dict[str, Any]) -> dict[str, Any]:
        return {
            "NotificationVersion": "1.0",
            "NotificationType": one.type,
            "PayloadVersion": one.version,
            "EventTime": iso(at),
            "Payload": payload,
            "NotificationMetadata": {
                "ApplicationId": APPLICATION,
                "SubscriptionId": one.id,
                "PublishTime": iso(self._clock.now()),
                "NotificationId": str(uuid.UUID(int=self._dice.getrandbits(128))),
            },
        }

    def _send(self, destination: Destination, body: dict[str, Any]) -> None:
        self.counts["made"] += 1
        if self._dice.random() < self.orders.lost:
            self.counts["lost"] += 1
            return
        for _ in range(self.orders.copies):
            self._waiting.put(_Copy(destination, body), up_to_s=self.orders.delay_s)
        self.kick()

    def kick(self) -> None:
        """Let go out what waits, and what will be told of; needs a running loop."""
        if (self.subscriptions or self._waiting) and (self._pump is None or self._pump.done()):
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while self._settle() or self._waiting:
                if due := self._waiting.due(shuffle=self.orders.shuffle):
                    await self._deliver(client, due)
                else:
                    await asyncio.sleep(LOOK_S)
            self._pump = None  # it only hangs up now: who comes meanwhile starts another

    async def _deliver(self, client: httpx.AsyncClient, due: list[_Copy]) -> None:
        if self.orders.held:
            self.outbox += [_event(one) for one in due]
            self.counts["held"] += len(due)
            return
        queued = [one for one in due if "sqs" in one.destination.resource]
        queued.sort(key=lambda one: one.destination.id)
        for _, same in groupby(queued, key=lambda one: one.destination.id):
            batch = list(same)
            for start in range(0, len(batch), SQS_BATCH):
                await self._note(
                    batch[start : start + SQS_BATCH], self._enqueue(client, batch[start : start + SQS_BATCH])
                )
        others = [one for one in due if "sqs" not in one.destination.resource]
        for start in range(0, len(others), _AT_ONCE):
            await asyncio.gather(
                *(self._note([one], self._post(client, one)) for one in others[start : start + _AT_ONCE])
            )

    async def _note(self, copies: list[_Copy], sending: Any) -> None:
        """Count what arrived; what did not is tried again, a little later each time."""
        try:
            arrived = await sending
        except httpx.HTTPError:
            arrived = False
        if arrived:
            self.counts["delivered"] += len(copies)
            return
        for one in copies:
            one.tries += 1
            self.counts["failed"] += 1
            if one.tries < TRIES:
                self._waiting.put(one, after_s=2**one.tries)

    async def _post(self, client: httpx.AsyncClient, copy: _Copy) -> bool:
        if self.orders.http is None:
            return False
        headers = {"x-api-key": self.orders.key}
        return (await client.post(self.orders.http, json=_event(copy), headers=headers)).is_success

    async def _enqueue(self, client: httpx.AsyncClient, copies: list[_Copy]) -> bool:
        if self.orders.sqs is None:
            return False
        _, _, _, region, account, name = copies[0].destination.resource["sqs"]["arn"].split(":")
        body = {
            "QueueUrl": f"{self.orders.sqs}/{account}/{name}",
            "Entries": [{"Id": str(number), "MessageBody": json.dumps(one.body)} for number, one in enumerate(copies)],
        }
        # A local stand-in reads the region here and checks no signature.
        signed = (
            f"AWS4-HMAC-SHA256 Credential=sandbox/20260101/{region}/sqs/aws4_request, SignedHeaders=host, Signature=0"
        )
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": "AmazonSQS.SendMessageBatch",
            "authorization": signed,
        }
        return (await client.post(self.orders.sqs, content=json.dumps(body), headers=headers)).is_success


def _event(copy: _Copy) -> dict[str, Any]:
    """As it arrives: on its own from a queue, inside an event from a bus."""
    bus = copy.destination.resource.get("eventBridge")
    if bus is None:
        return copy.body
    kind = copy.body.get("NotificationType") or copy.body["notificationType"]
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": bus["name"],
        "account": bus["accountId"],
        "time": copy.body.get("EventTime") or copy.body["eventTime"],
        "region": bus["region"],
        "resources": [],
        "detail": copy.body,
    }


def _filter(subscription: Subscription) -> dict[str, Any]:
    found: dict[str, Any] = (subscription.directive or {}).get("eventFilter", {})
    return found


def _item(seller: str, product: "Product", marketplace: str) -> dict[str, Any]:
    return {
        "SellerId": seller,
        "MarketplaceId": MARKETPLACES[marketplace].id,
        "Asin": product.asin,
        "Sku": product.sku,
    }


def _all_camel(body: dict[str, Any]) -> dict[str, Any]:
    return {**_camel(body), "notificationMetadata": _camel(body["NotificationMetadata"])}


def _camel(body: dict[str, Any]) -> dict[str, Any]:
    return {name[0].lower() + name[1:]: value for name, value in body.items()}
