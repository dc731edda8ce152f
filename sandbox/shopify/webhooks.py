"""Deliveries on their way: what the application is told of, signed, by real HTTP. Each true change is told at least once, in no
order; what fails is tried eight times more and then costs the subscription. How deliveries travel can be ordered."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from sandbox.clock import Clock
from sandbox.shopify import ids
from sandbox.waiting import Waiting
from sandbox.world import STYLE_SIZE, WAREHOUSES

if TYPE_CHECKING:
    from sandbox.shopify.bulk_desk import Operation
    from sandbox.shopify.orders import Order
    from sandbox.shopify.state import Shop

DOMAIN = "acorn-sandbox.myshopify.com"
# Eight of them within four hours.
RETRIES_S = (10.0, 60.0, 300.0, 900.0, 1800.0, 3000.0, 3600.0, 4000.0)
STALE = timedelta(hours=12)
LOOK_S = 0.02
RESTS = 20
_AT_ONCE = 16
_RESOURCES = (
    "APP",
    "BULK_OPERATIONS",
    "FULFILLMENTS",
    "FULFILLMENT_ORDERS",
    "INVENTORY_ITEMS",
    "INVENTORY_LEVELS",
    "ORDERS",
    "ORDER_TRANSACTIONS",
    "PRODUCTS",
    "REFUNDS",
    "SHOP",
)

Body = Mapping[str, Any]


@dataclass(slots=True)
class Subscription:
    """What the application wants to be told, and where."""

    typename: ClassVar[str] = "WebhookSubscription"
    place: int
    topic: str
    uri: str
    format: str
    include_fields: list[str]
    filter: str | None
    name: str | None
    metafield_namespaces: list[str]
    created_at: datetime
    updated_at: datetime

    @property
    def id(self) -> str:
        return ids.gid("WebhookSubscription", self.place)

    @property
    def legacy_resource_id(self) -> str:
        return str(ids.number("WebhookSubscription", self.place))

    @property
    def api_version(self) -> dict[str, Any]:
        return {"handle": "2026-07", "displayName": "2026-07", "supported": True}


@dataclass(slots=True)
class Travel:
    """How deliveries travel: each is lost with probability `lost`, else sent `copies` times, each copy up to `delay` sandbox
    seconds late; `shuffle` mixes what is due at once. With probability `forged`, `stale` and `truncated`, one more such delivery
    goes along. `held` keeps all here to be fetched. `secret` signs, `retries` are the sandbox seconds before each further try,
    `privacy` is where the application wants to be told of requests for privacy."""

    lost: float = 0.0
    copies: int = 1
    delay: float = 0.0
    shuffle: bool = False
    forged: float = 0.0
    stale: float = 0.0
    truncated: float = 0.0
    held: bool = False
    secret: str = "sandbox-secret"  # noqa: S105  the sandbox's
    retries: Sequence[float] = RETRIES_S
    privacy: str | None = None


@dataclass(slots=True)
class _Copy:
    uri: str
    headers: dict[str, str]
    body: bytes
    subscription: int | None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """An order as it was when it was last looked at."""

    updated_at: datetime
    cancelled: bool
    parcels: tuple[datetime, ...]
    refunds: int


class Webhooks:
    """The application's subscriptions in one shop, and what is under way."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self.subscriptions: dict[int, Subscription] = {}
        self.travel = Travel()
        self.counts: Counter[str] = Counter()
        self.outbox: list[dict[str, Any]] = []
        self.styles: set[int] = set()
        self._made = 0
        self._dice = random.Random(f"webhooks:{seed}")
        self._waiting: Waiting[_Copy] = Waiting(clock, self._dice)
        self._pump: asyncio.Task[None] | None = None
        self._look = False
        self._orders: list[_Seen] = []
        self._available: dict[tuple[int, int], int] = {}
        self._unstocked: set[tuple[int, int]] = set()
        self._finished: set[str] = set()
        self.settle: Callable[[], None] = lambda: None

    @property
    def pending(self) -> int:
        """Copies that have not gone out yet, and one for a look that is still to come, which may make more."""
        return len(self._waiting) + (self._look and bool(self.subscriptions))

    def subscribe(self, shop: "Shop", **values: Any) -> Subscription:
        """One more. What has been until then is told nobody."""
        if not self.subscriptions:
            self._orders = [_seen(order, shop.now()) for order in shop.orders]
            self.styles.clear()
            self._available.clear()
            self._unstocked = set(shop.unstocked)
            self._finished = {one.id for one in shop.bulk.operations if one.ended}
        now = shop.now()
        made = Subscription(place=self._made, created_at=now, updated_at=now, **values)
        self._made += 1
        self.subscriptions[made.place] = made
        return made

    def level_changes(self, item: int, house: int, available: int) -> None:
        """The units available of an item at a place, so far, are about to become others."""
        if self.subscriptions:
            self._available.setdefault((item, house), available)

    def touched(self, item: int) -> None:
        """Something of a product has changed."""
        if self.subscriptions:
            self.styles.add(item // STYLE_SIZE)

    def kick(self, shop: "Shop") -> None:
        """Look for changes, and let go out what waits; needs a running loop."""
        self._look = True
        if (self.subscriptions or self._waiting) and (self._pump is None or self._pump.done()):
            self._pump = asyncio.get_running_loop().create_task(self._run(shop))

    def tell(self, shop: "Shop", topic: str, body: Body, event: str | None = None) -> int:
        """Tell whoever wants to know of `topic`, as the enum names it or as the header does; how many that are."""
        header = topic if "/" in topic else _header(topic)
        wanted = [one for one in self.subscriptions.values() if _header(one.topic) == header]
        for one in wanted:
            told = {name: value for name, value in body.items() if not one.include_fields or name in one.include_fields}
            self._send(shop, header, one.uri, told, event, one)
        if (
            not wanted
            and header in ("customers/data_request", "customers/redact", "shop/redact")
            and self.travel.privacy
        ):
            self._send(shop, header, self.travel.privacy, body, event, None)
            return 1
        return len(wanted)

    def _send(
        self, shop: "Shop", topic: str, uri: str, body: Body, event: str | None, subscription: Subscription | None
    ) -> None:
        self.counts["made"] += 1
        raw = json.dumps(body, separators=(",", ":")).encode()
        place = None if subscription is None else subscription.place
        name = None if subscription is None else subscription.name
        good = self._headers(shop, topic, raw, event, name)
        if self._dice.random() < self.travel.lost:
            self.counts["lost"] += 1
        else:
            for _ in range(self.travel.copies):
                self._push(uri, good, raw, place)
        for kind, odds in (
            ("forged", self.travel.forged),
            ("stale", self.travel.stale),
            ("truncated", self.travel.truncated),
        ):
            if self._dice.random() < odds:
                self.counts[kind] += 1
                self._push(uri, *self._bad(shop, kind, topic, body, raw, event), None)
        self.kick(shop)

    def _bad(
        self, shop: "Shop", kind: str, topic: str, body: Body, raw: bytes, event: str | None
    ) -> tuple[dict[str, str], bytes]:
        if kind == "truncated":
            return self._headers(shop, topic, raw, event, None), raw[: self._dice.randrange(len(raw))]
        if kind == "stale":
            old = _stamp(shop.now() - STALE)
            return self._headers(shop, topic, raw, event, None) | {"X-Shopify-Triggered-At": old}, raw
        # Of something that there is not: nobody may ever ask for it.
        forged = {name: value if not isinstance(value, int) else 666 for name, value in body.items()}
        other = json.dumps(forged, separators=(",", ":")).encode()
        return self._headers(shop, topic, other, event, None, secret="guessed"), other  # noqa: S106

    def _headers(
        self, shop: "Shop", topic: str, raw: bytes, event: str | None, name: str | None, secret: str | None = None
    ) -> dict[str, str]:
        signed = hmac.digest((secret or self.travel.secret).encode(), raw, hashlib.sha256)
        return {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": base64.b64encode(signed).decode(),
            "X-Shopify-Shop-Domain": DOMAIN,
            "X-Shopify-API-Version": "2026-07",
            "X-Shopify-Webhook-Id": self._uuid(),
            "X-Shopify-Event-Id": event or self._uuid(),
            "X-Shopify-Triggered-At": _stamp(shop.now()),
        } | ({} if name is None else {"X-Shopify-Name": name})

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128)))

    def _push(self, uri: str, headers: dict[str, str], raw: bytes, subscription: int | None) -> None:
        self._waiting.put(_Copy(uri, headers, raw, subscription), up_to_s=self.travel.delay)

    async def _run(self, shop: "Shop") -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(5, connect=1)) as client:
            rested_at = 0.0
            while self._look or self._waiting or _hidden(shop):
                if (self._look or _hidden(shop)) and (began := time.perf_counter()) >= rested_at:
                    self._look = False
                    self.look(shop)
                    # Among tens of thousands of orders a look takes its time and shall not be all that the shop does.
                    rested_at = began + RESTS * (time.perf_counter() - began)
                due = self._waiting.due(shuffle=self.travel.shuffle)
                if due and self.travel.held:
                    self.outbox += [
                        {"uri": one.uri, "headers": one.headers, "body": base64.b64encode(one.body).decode()}
                        for one in due
                    ]
                    self.counts["held"] += len(due)
                elif due:
                    for start in range(0, len(due), _AT_ONCE):
                        await asyncio.gather(*(self._deliver(client, one) for one in due[start : start + _AT_ONCE]))
                else:
                    await asyncio.sleep(LOOK_S)
            self._pump = None  # it only hangs up now: who comes meanwhile starts another

    async def _deliver(self, client: httpx.AsyncClient, copy: _Copy) -> None:
        """2xx within five seconds is done; a redirect is a failure like any other."""
        try:
            answer = await client.post(copy.uri, content=copy.body, headers=copy.headers)
            self.counts[str(answer.status_code)] += 1
            arrived = answer.is_success
        except httpx.HTTPError:
            arrived = False
        if arrived:
            self.counts["delivered"] += 1
            return
        self.counts["failed"] += 1
        if copy.subscription is None and "X-Shopify-Name" not in copy.headers and not self.travel.privacy:
            return  # what was made to be refused is not sent again
        if copy.tries < len(self.travel.retries):
            self._waiting.put(copy, after_s=self.travel.retries[copy.tries])
            copy.tries += 1
        elif copy.subscription is not None and self.subscriptions.pop(copy.subscription, None) is not None:
            self.counts["dropped"] += 1

    # what has changed

    def look(self, shop: "Shop") -> None:
        """Tell of all that has changed since the last look and can be seen."""
        if not self.subscriptions:
            return
        self.settle()
        now = shop.now()
        for number, order in enumerate(shop.orders):
            if number == len(self._orders):
                self._orders.append(seen := _seen(order, now))
                self._tell_of(shop, order, None, seen)
                continue
            known = self._orders[number]
            # After a sale there are tens of thousands, most of them as they were, and there is a look after each call.
            if not _moved(order, known):
                continue
            if (seen := _seen(order, now)) != known:
                self._orders[number] = seen
                self._tell_of(shop, order, known, seen)
        before, self._available = self._available, {}
        moved = self._unstocked ^ shop.unstocked
        self._unstocked = set(shop.unstocked)
        for item, house in sorted(moved | before.keys()):
            self._tell_of_level(shop, item, house, before.get((item, house)), moved=(item, house) in moved)
        styles, self.styles = self.styles, set()
        for style in sorted(styles):
            self.tell(shop, "PRODUCTS_UPDATE", _product(shop, style))
        for one in shop.bulk.operations:
            if one.ended and one.id not in self._finished:
                self._finished.add(one.id)
                self.tell(shop, "BULK_OPERATIONS_FINISH", _finished(one))

    def _tell_of(self, shop: "Shop", order: "Order", before: _Seen | None, seen: _Seen) -> None:
        event, body = self._uuid(), _order(shop, order)
        self.tell(shop, "ORDERS_CREATE" if before is None else "ORDERS_UPDATED", body, event)
        if seen.cancelled and not (before and before.cancelled):
            self.tell(shop, "ORDERS_CANCELLED", body, event)
        known = () if before is None else before.parcels
        for number, parcel in enumerate(order.seen_parcels(shop.now())):
            if number >= len(known):
                self.tell(shop, "FULFILLMENTS_CREATE", _parcel(order, parcel), event)
            elif known[number] != parcel.updated_at:
                self.tell(shop, "FULFILLMENTS_UPDATE", _parcel(order, parcel), event)
        for refund in order.refunds[0 if before is None else before.refunds :]:
            told = {"id": _number(refund.id), "order_id": order.number, "created_at": _iso(refund.created_at)}
            self.tell(shop, "REFUNDS_CREATE", {**told, "note": refund.note, "user_id": None}, event)

    def _tell_of_level(self, shop: "Shop", item: int, number: int, before: int | None, *, moved: bool) -> None:
        house = next(one for one in WAREHOUSES if one.number == number)
        level = shop.level(item, house)
        told: dict[str, Any] = {
            "inventory_item_id": ids.number("InventoryItem", item),
            "location_id": ids.number("Location", number),
        }
        if not shop.stocks(item, house):
            if moved:
                self.tell(shop, "INVENTORY_LEVELS_DISCONNECT", told)
            return
        told |= {
            "available": level.available,
            "updated_at": _iso(level.updated_at),
            "admin_graphql_api_id": level.id,
        }
        if moved:
            self.tell(shop, "INVENTORY_LEVELS_CONNECT", told)
        elif level.available != before:
            self.tell(shop, "INVENTORY_LEVELS_UPDATE", told)


def _seen(order: "Order", now: datetime) -> _Seen:
    parcels = tuple(one.updated_at for one in order.seen_parcels(now)) if order.parcels else ()
    return _Seen(order.updated_at(now), order.cancelled_at is not None, parcels, len(order.refunds))


def _moved(order: "Order", known: _Seen) -> bool:
    """Whether it may be otherwise than it was; told from little, since it is asked so often."""
    return (
        order.changed_at > known.updated_at
        or len(order.parcels) != len(known.parcels)
        or len(order.refunds) != known.refunds
        or (order.cancelled_at is not None) != known.cancelled
    )


def _hidden(shop: "Shop") -> bool:
    """Whether something comes about by itself; of parcels, only the newest can."""
    now = shop.now()
    return any(one.seen_at > now for one in shop.parcels[-200:]) or any(not one.ended for one in shop.bulk.operations)


def _order(shop: "Shop", order: "Order") -> Body:
    """As the REST API tells an order: with the buyer in it."""
    place = order.address
    return {
        "id": order.number,
        "admin_graphql_api_id": order.id,
        "created_at": _iso(order.created_at),
        "updated_at": _iso(order.updated_at(shop.now())),
        "cancelled_at": None if order.cancelled_at is None else _iso(order.cancelled_at),
        "name": order.name,
        "email": order.email,
        "financial_status": order.financial.lower(),
        "total_price": f"{order.total:.2f}",
        "customer": {"id": 7_000_000_000_001 + order.place, "email": order.email, "first_name": place.first_name},
        "shipping_address": {"name": place.name, "address1": place.address1, "city": place.city, "zip": place.zip},
        "line_items": [
            {"id": _number(line.id), "sku": line.product.sku, "quantity": line.quantity} for line in order.lines
        ],
    }


def _parcel(order: "Order", parcel: Any) -> Body:
    return {
        "id": _number(parcel.id),
        "order_id": order.number,
        "status": "cancelled" if parcel.cancelled else "success",
        "created_at": _iso(parcel.created_at),
        "updated_at": _iso(parcel.updated_at),
        "email": order.email,
        "tracking_numbers": [one.number for one in parcel.tracking],
    }


def _finished(one: "Operation") -> Body:
    return {
        "admin_graphql_api_id": one.id,
        "completed_at": None if one.completed_at is None else _iso(one.completed_at),
        "created_at": _iso(one.created_at),
        "error_code": one.error_code,
        "status": one.status.lower(),
        "type": one.type.lower(),
    }


def _product(shop: "Shop", style: int) -> Body:
    return {
        "id": ids.number("Product", style),
        "admin_graphql_api_id": ids.gid("Product", style),
        "updated_at": _iso(shop.style_at(style)),
        "status": "active",
    }


def _number(gid: str) -> int:
    return int(gid.rpartition("/")[2])


def _iso(at: datetime) -> str:
    """With the shop's offset, to the second."""
    from_utc = timedelta(hours=-8)
    return (at.astimezone(UTC) + from_utc).strftime("%Y-%m-%dT%H:%M:%S-08:00")


def _stamp(at: datetime) -> str:
    """In nanoseconds, whatever they are worth."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "743Z"


def _header(topic: str) -> str:
    """ORDERS_UPDATED is `orders/updated`."""
    resource = max((one for one in _RESOURCES if topic.startswith(f"{one}_")), key=len)
    return f"{resource.lower()}/{topic.removeprefix(resource + '_').lower()}"
