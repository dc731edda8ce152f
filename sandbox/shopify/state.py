"""Everything one shop holds. The catalogue and the stock come from the seeded world; only what changed is kept here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Protocol

from sandbox.bucket import Bucket
from sandbox.control import Core
from sandbox.moods import Moods, Past
from sandbox.sale import Sale
from sandbox.shopify import ids
from sandbox.shopify.bulk_desk import Desk
from sandbox.shopify.orders import Order, Parcel, Refund, Work
from sandbox.shopify.payments import Payments
from sandbox.shopify.webhooks import Webhooks
from sandbox.world import STYLE_SIZE, WAREHOUSES, Product, Warehouse

CLIENT_ID, CLIENT_SECRET = "sandbox-client", "sandbox-secret"
TOKEN, READ_TOKEN = "shpat_sandbox", "shpat_sandbox_readonly"
TOKEN_LIFE_S = 86399
READ_SCOPES = (
    "read_products",
    "read_inventory",
    "read_locations",
    "read_orders",
    "read_assigned_fulfillment_orders",
    "read_merchant_managed_fulfillment_orders",
    "read_third_party_fulfillment_orders",
)
WRITE_SCOPES = tuple(scope.replace("read_", "write_") for scope in READ_SCOPES if scope != "read_locations")
PAYMENT_SCOPES = ("read_shopify_payments_accounts", "read_shopify_payments_payouts")
SCOPES = (*READ_SCOPES, "read_all_orders", *WRITE_SCOPES, *PAYMENT_SCOPES)
HELD = ("committed", "reserved", "damaged", "safety_stock", "quality_control")
KEY_LIFE = timedelta(hours=24)


@dataclass(slots=True)
class Level:
    """Units of one item in one warehouse, by state; `on_hand` is their sum, `incoming` stands outside it."""

    typename: ClassVar[str] = "InventoryLevel"
    item: int
    warehouse: Warehouse
    updated_at: datetime
    available: int = 0
    committed: int = 0
    reserved: int = 0
    damaged: int = 0
    safety_stock: int = 0
    quality_control: int = 0
    incoming: int = 0

    @property
    def on_hand(self) -> int:
        held = self.committed + self.reserved + self.damaged + self.safety_stock + self.quality_control
        return self.available + held

    @property
    def id(self) -> str:
        return ids.level_gid(self.item, self.warehouse.number)


@dataclass(slots=True)
class Terms:
    """The price of one variant, once someone has changed it."""

    price: Decimal
    compare_at: Decimal | None = None
    barcode: str | None = None
    taxable: bool = True
    inventory_policy: str = "DENY"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token may do, and until when (sandbox clock); None is for ever."""

    scopes: frozenset[str]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What an idempotency key has done: the hash of its parameters and its result; None when it failed."""

    fingerprint: str
    at: datetime
    result: Mapping[str, Any] | None


class Deed(Protocol):
    """What a job does in the end."""

    def carry_out(self, shop: "Shop", at: datetime) -> None: ...


@dataclass(slots=True)
class Job:
    """Work that the shop has taken on and has done at an instant; `deed` is what is still to be done."""

    place: int
    done_at: datetime
    deed: Deed | None

    @property
    def id(self) -> str:
        return ids.gid("Job", self.place)


@dataclass(slots=True)
class Shop:
    core: Core
    bucket: Bucket
    webhooks: Webhooks
    tokens: dict[str, Grant] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    order_by_number: dict[int, Order] = field(default_factory=dict)
    parcels: list[Parcel] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    payments: Payments = field(default_factory=Payments)
    committed: dict[tuple[int, int], int] = field(default_factory=dict)
    levels: dict[tuple[int, int], Level] = field(default_factory=dict)
    past: Past[Level] = field(default_factory=Past)
    unstocked: set[tuple[int, int]] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)
    statuses: dict[int, str] = field(default_factory=dict)
    moods: Moods = field(default_factory=Moods)
    terms: dict[int, Terms] = field(default_factory=dict)
    touched: dict[int, datetime] = field(default_factory=dict)
    touched_styles: dict[int, datetime] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    adjustments: int = 0
    seeded: bool = False
    home: str = ""
    # Whether the platform has approved the app for customers' data.
    approved: bool = True
    bulk: Desk = field(default_factory=Desk)
    points: int = 0
    throttled: int = 0
    sale: Sale = field(init=False)

    def __post_init__(self) -> None:
        self.sale = Sale(self.core.clock)

    @classmethod
    def open(cls, core: Core) -> "Shop":
        shop = cls(core=core, bucket=Bucket(100, 2000, core.clock), webhooks=Webhooks(core.clock, core.options.seed))
        shop.restore_tokens()
        return shop

    def now(self) -> datetime:
        return self.core.clock.now()

    def finish_jobs(self) -> None:
        """Do what is due of the work that was taken on."""
        for job in self.jobs:
            if job.deed is not None and job.done_at <= self.now():
                deed, job.deed = job.deed, None
                deed.carry_out(self, job.done_at)

    def seen_at(self) -> datetime:
        """When readers see what is accepted now."""
        return self.now() + timedelta(seconds=self.core.lag_s)

    # tokens

    def restore_tokens(self) -> None:
        """The tokens that live for ever."""
        self.tokens[TOKEN] = Grant(frozenset(SCOPES))
        self.tokens[READ_TOKEN] = Grant(frozenset(READ_SCOPES))

    def granted(self, token: str) -> Grant | None:
        found = self.tokens.get(token)
        if found is None or (found.expires_at is not None and found.expires_at <= self.now()):
            return None
        return found

    # catalogue

    @property
    def newest_base(self) -> datetime:
        """No product that nobody touched since the start is newer."""
        return self.core.clock.start - timedelta(days=2)

    def base_at(self, item: int) -> datetime:
        return self.newest_base - timedelta(minutes=item % 20_000)

    def created_at(self, item: int) -> datetime:
        return self.core.clock.start - timedelta(days=400, minutes=item % 20_000)

    def variant_at(self, item: int) -> datetime:
        return self.touched.get(item) or self.base_at(item)

    def style_at(self, style: int) -> datetime:
        return self.touched_styles.get(style) or self.base_at(style * STYLE_SIZE)

    def touch(self, item: int) -> None:
        now = self.now()
        self.touched[item] = now
        self.touched_styles[item // STYLE_SIZE] = now
        self.webhooks.touched(item)

    def terms_of(self, product: Product) -> Terms:
        """The terms in force; write them back into `terms` to change them."""
        return self.terms.get(product.index) or Terms(product.prices["USD"], barcode=product.ean)

    # stock

    def level(self, item: int, warehouse: Warehouse) -> Level:
        found = self.levels.get((item, warehouse.number))
        if found is not None:
            return found
        own = self.core.world.own_stock(item, warehouse.name)
        committed = self.committed.get((item, warehouse.number), 0)
        return Level(
            item=item,
            warehouse=warehouse,
            updated_at=self.base_at(item),
            available=own.on_hand - own.damaged - committed,
            committed=committed,
            damaged=own.damaged,
            incoming=own.incoming,
        )

    def change(self, item: int, warehouse: Warehouse, **deltas: int) -> Level:
        """Add to the states named in `deltas`."""
        level = self.level(item, warehouse)
        self.webhooks.level_changes(item, warehouse.number, level.available)
        if self.moods.lag_s:
            self.past.keep((item, warehouse.number), replace(level), self.now(), self.moods.lag_s)
        self.levels[(item, warehouse.number)] = level
        for name, delta in deltas.items():
            setattr(level, name, getattr(level, name) + delta)
        level.updated_at = self.now()
        self.touch(item)
        return level

    def shown(self, level: Level) -> Level:
        """The level as readers see it."""
        return self.past.shown((level.item, level.warehouse.number), level, self.now(), self.moods.lag_s)

    def stocks(self, item: int, warehouse: Warehouse) -> bool:
        """Whether the item has a level at the warehouse."""
        return (item, warehouse.number) not in self.unstocked

    def free(self, product: Product, warehouse: Warehouse) -> int:
        """Units that can be bought there."""
        return self.level(product.index, warehouse).available

    def available(self, item: int) -> int:
        return sum(self.level(item, warehouse).available for warehouse in WAREHOUSES if self.stocks(item, warehouse))

    # orders

    def add(self, order: Order) -> None:
        """Take in an order whose units are already counted as committed."""
        assert order.place == len(self.orders)
        self.orders.append(order)
        self.order_by_number[order.number] = order

    def work(self, place: int) -> Work | None:
        """The fulfillment order with that place, if there is one."""
        order_place, index = divmod(place, 10)
        if not 0 <= order_place < len(self.orders):
            return None
        works = self.orders[order_place].works
        return works[index - 1] if 1 <= index <= len(works) else None

    def parcel(self, place: int) -> Parcel | None:
        return self.parcels[place] if 0 <= place < len(self.parcels) else None


def warehouse(place: int) -> Warehouse | None:
    return next((each for each in WAREHOUSES if each.number == place), None)
