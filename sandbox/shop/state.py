"""Everything one shop holds."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sandbox.bucket import Bucket
from sandbox.buying import DAYS
from sandbox.control import Core
from sandbox.shop.catalog import Catalog
from sandbox.shop.feed import Feed
from sandbox.shop.orders import Order, Refund, Shipment
from sandbox.shop.stock import Stock
from sandbox.shop.webhooks import Webhooks
from sandbox.world import Product, Warehouse

if TYPE_CHECKING:
    from sandbox.shop.jobs import Job
    from sandbox.shop.till import Payout, Transaction

CURRENCY = "USD"
CENT = Decimal("0.01")
CLIENT_ID, CLIENT_SECRET = "sandbox-client", "sandbox-secret"
TOKEN, READ_TOKEN = "st_sandbox", "st_sandbox_readonly"
TOKEN_LIFE_S = 3600
SCOPES = (
    "catalog:read",
    "catalog:write",
    "stock:read",
    "stock:write",
    "orders:read",
    "orders:write",
    "finance:read",
    "webhooks:write",
    "buyers:read",
)
READ_SCOPES = tuple(scope for scope in SCOPES if scope.endswith(":read"))
PARTS = (
    "token",
    "products",
    "products_write",
    "prices",
    "stock",
    "stock_write",
    "orders",
    "acknowledge",
    "cancel",
    "shipments",
    "refunds",
    "payouts",
    "jobs",
    "webhooks",
)
NEEDS = {
    "products_write": "products",
    "prices": "products",
    "stock_write": "stock",
    "acknowledge": "orders",
    "cancel": "orders",
    "shipments": "orders",
    "refunds": "orders",
}
QUOTA, WINDOW_S = 1200, 60
KEY_LIFE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token may do, for which client, and until when (sandbox clock); None is for ever."""

    client: str
    scopes: frozenset[str]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What an idempotency key stands for: the fingerprint of its body, and the answer, None while it is under way."""

    fingerprint: str
    at: datetime
    status: int = 0
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Quota:
    """`q` requests in `w` sandbox seconds, as a bucket that fills evenly."""

    q: int
    w: int
    bucket: Bucket

    @classmethod
    def of(cls, q: int, w: int, core: Core) -> "Quota":
        return cls(q, w, Bucket(q / w, q, core.clock))


class Shop:
    """The whole shop; `parts` is what it offers, `broken` where it is wrong on purpose."""

    def __init__(self, core: Core, parts: frozenset[str], broken: frozenset[str]) -> None:
        self.core = core
        self.parts = parts
        self.broken = broken
        self.quota = Quota.of(QUOTA, WINDOW_S, core)
        self.tokens = {
            TOKEN: Grant("static", frozenset(SCOPES)),
            READ_TOKEN: Grant("static-readonly", frozenset(READ_SCOPES)),
        }
        self.done: dict[tuple[str, str, str, str], Done] = {}
        self._last = self.origin = core.clock.start - timedelta(days=DAYS + 10)
        self.catalog = Catalog(core.world, self.origin, self.stamp)
        self.stock = Stock(core.world, self.origin, self.now, self.stamp)
        self.orders: list[Order] = []
        self.order_by_id: dict[str, Order] = {}
        self.order_feed: Feed[str] = Feed(self.origin)
        self.shipments: dict[str, Shipment] = {}
        self.refund_count = 0
        self.transactions: dict[str, Transaction] = {}
        self.transaction_feed: Feed[str] = Feed(self.origin)
        self.payouts: dict[str, Payout] = {}
        self.payout_feed: Feed[str] = Feed(self.origin)
        self.jobs: dict[str, Job] = {}
        self.webhooks = Webhooks(core, broken)

    def now(self) -> datetime:
        return self.core.clock.now()

    def stamp(self) -> datetime:
        """The instant of a change: now, and later than any other."""
        self._last = max(self.now(), self._last + timedelta(microseconds=1))
        return self._last

    def tell(self, type: str, **data: str) -> None:
        """Send an event to whoever wants it."""
        self.webhooks.tell(type, self.now(), data)

    def free(self, product: Product, house: Warehouse) -> int:
        """Units that can be bought there."""
        return self.stock.level(product.sku, house).available

    # tokens

    def grant(self, client: str, scopes: frozenset[str]) -> str:
        """A new token for the client-credentials grant."""
        token = f"st_{secrets.token_hex(16)}"
        self.tokens[token] = Grant(client, scopes, self.now() + timedelta(seconds=TOKEN_LIFE_S))
        return token

    def granted(self, token: str) -> Grant | None:
        found = self.tokens.get(token)
        return None if found is None or (found.expires_at is not None and found.expires_at <= self.now()) else found

    # orders

    def add(self, order: Order) -> None:
        self.orders.append(order)
        self.order_by_id[order.id] = order

    def touch(self, order: Order) -> None:
        """The order has changed."""
        order.rev += 1
        order.updated_at = self.stamp()
        self.order_feed.touch(order.id, order.updated_at)

    def add_refund(self, order: Order, refund: Refund) -> None:
        order.refunds.append(refund)
        order.payment = "refunded" if order.given_back >= order.captured else "partially_refunded"

    def refund_id(self) -> str:
        self.refund_count += 1
        return f"ref_{self.refund_count}"
