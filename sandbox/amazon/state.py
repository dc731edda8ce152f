"""What there is at Amazon in this world, and what has changed since the start."""

import heapq
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.amazon import offers
from sandbox.amazon.auth import Account, Login, accounts
from sandbox.amazon.documents import Documents
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.notices import Notices
from sandbox.amazon.plans import Plans
from sandbox.clock import to_ms
from sandbox.control import Core
from sandbox.sale import Sale
from sandbox.world import POOLS, PoolStock, Product

Attributes = dict[str, list[dict[str, Any]]]

_DAY_S = 86_400
SHIP_WITHIN = timedelta(days=2)
LANGUAGES = {"US": "en", "DE": "de", "FR": "fr", "JP": "ja"}


@dataclass(slots=True)
class Listing:
    """One SKU of one account. `accepted` is what was submitted, `visible` what a read shows."""

    product: Product
    accepted: Attributes
    visible: Attributes
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """One order item; `unit_price` is as shown to the buyer, None while the order is pending. `extras` are what the buyer pays
    beside it for the whole line, as shown: SHIPPING, GIFT_WRAP, and a DISCOUNT below zero."""

    id: str
    product: Product
    quantity: int
    unit_price: Decimal | None
    extras: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Package:
    """One parcel of a merchant-fulfilled order; `items` is order item id -> units. A read shows it from `shown_at` on."""

    reference: str
    carrier: str
    service: str
    tracking: str
    shipped_at: datetime
    created_at: datetime
    shown_at: datetime
    items: dict[str, int]


@dataclass(frozen=True, slots=True)
class Refund:
    """Money given back to a buyer; `items` is order item id -> units. They come back in that `condition`, or (None) not at all.

    `amounts` is order item id -> (principal, tax) where the merchant says how much it is; else it is what the units cost.
    `merchant_ids` are the merchant's names of it, by item.
    """

    refunded_at: datetime
    items: dict[str, int]
    condition: str | None = "SELLABLE"
    amounts: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    merchant_ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reimbursement:
    """What Amazon pays for units that it lost or broke; `order` is None for those of its own shelves."""

    id: str
    account: Account
    marketplace: str
    order: str | None
    sku: str
    asin: str
    units: int
    amount: Decimal
    reason: str
    approved_at: datetime


@dataclass(slots=True)
class Order:
    """One order. `packages` is what was confirmed, `visible` what a read shows; both by package reference.

    `fixed` is a status that parcels do not move: pending, cancelled, and all of those that Amazon fulfils.
    """

    id: str
    account: Account
    marketplace: str
    fulfilled_by: str
    lines: list[Line]
    created_at: datetime
    updated_at: datetime
    fixed: str | None = None
    service_level: str = "STANDARD"
    programs: tuple[str, ...] = ()
    channel: str = "AMAZON"
    buyer: int = 0
    cancelled_by: str = "BUYER"
    cancellation_wanted: bool = False
    packages: dict[str, Package] = field(default_factory=dict)
    visible: dict[str, Package] = field(default_factory=dict)
    refunds: list[Refund] = field(default_factory=list)
    # What is told of the buyer in place of invented people.
    person: dict[str, str] = field(default_factory=dict)
    # How long the merchant has.
    ship_within: timedelta = SHIP_WITHIN
    # The seller's own id of an order that Amazon only ships.
    seller_order: str = ""

    @property
    def sellers_id(self) -> str:
        """What a read shows as the seller's own id."""
        return self.seller_order or f"S{self.buyer:08d}"

    @property
    def status(self) -> str:
        """The fulfillment status a read shows."""
        if self.fixed:
            return self.fixed
        shipped = sum(self.shipped(line) for line in self.lines)
        if not shipped:
            return "UNSHIPPED"
        return "SHIPPED" if shipped >= sum(line.quantity for line in self.lines) else "PARTIALLY_SHIPPED"

    @property
    def open(self) -> bool:
        return self.status in ("PENDING_AVAILABILITY", "PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED")

    def shipped(self, line: Line) -> int:
        """Units of a line that a read shows as fulfilled."""
        if self.fulfilled_by == "AMAZON":
            return line.quantity if self.fixed == "SHIPPED" else 0
        return sum(package.items.get(line.id, 0) for package in self.visible.values())

    def unshipped(self, line: Line, apart_from: str = "") -> int:
        """Units of a line that no accepted package holds, the package `apart_from` not counted."""
        return line.quantity - sum(
            package.items.get(line.id, 0) for package in self.packages.values() if package.reference != apart_from
        )


class Amazon:
    """The whole state of one sandbox."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.world = core.world
        self.clock = core.clock
        self.journal = core.journal
        self.accounts = accounts(core.options.marketplaces)
        self.login = Login(core.clock, self.accounts)
        self.plans = Plans(core.clock)
        self.notices = Notices(core.clock, core.world.seed, self._more)
        self.documents = Documents(core.clock)
        self.sale = Sale(core.clock)
        self.areas: dict[type[Any], Any] = {}
        """What an area keeps for itself, by its class."""
        self.orders: dict[str, Order] = {}
        self.reimbursements: list[Reimbursement] = []
        self.listings: dict[tuple[str, int], Listing] = {}
        self.disagreements: dict[tuple[str, int], int] = {}
        """Units that one marketplace of an FBA pool reports beyond the pool's own, by country code and product index."""
        self.ignored: dict[str, int] = {}
        """How many of the next patches of a SKU ("*": of any) are accepted and never carried out."""
        self.broken_page_tokens = 0
        """How many of the next calls for a further page of transactions fail."""
        self.changes = 0
        """Counts every visible change of stock or listings, so that a kept search result can be known as old."""
        self._stock: dict[tuple[str, int], tuple[PoolStock, datetime]] = {}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._queued = 0

    def later(self, change: Callable[[], None], after_s: float | None = None) -> None:
        """Make an accepted change visible once the lag has passed, or another number of sandbox seconds."""
        self._queued += 1
        due = self.clock.seconds() + (self.core.lag_s if after_s is None else after_s)
        heapq.heappush(self._later, (due, self._queued, change))
        self.settle()

    @property
    def shown_from(self) -> datetime:
        """When a change that is accepted now becomes visible."""
        return self.clock.now() + timedelta(seconds=self.core.lag_s)

    def settle(self) -> None:
        """Carry out what has become visible by now; before every read."""
        while self._later and self._later[0][0] <= self.clock.seconds():
            heapq.heappop(self._later)[2]()
            self.changes += 1

    def _more(self) -> bool:
        self.settle()
        return bool(self._later)

    def stock(self, product: Product, pool: str) -> tuple[PoolStock, datetime]:
        """The units of an FBA pool and when they last changed."""
        known = self._stock.get((pool, product.index))
        return known or (self.world.pool_stock(product.index, pool), self.stock_changed_at(product.index, pool))

    def stock_changed_at(self, index: int, pool: str) -> datetime:
        """When the units of an FBA pool last changed; cheap, to look through a large world."""
        known = self._stock.get((pool, index))
        return known[1] if known else self._before(index, 60, 3)

    def put_stock(self, product: Product, pool: str, **counts: int) -> None:
        """Set some of the counts of a pool from outside."""
        stock, _ = self.stock(product, pool)
        changed = replace(stock, **counts)
        with ExitStack() as watched:
            for account in self.accounts:
                watched.enter_context(self.telling(account, product))
            self._stock[pool, product.index] = (changed, self.clock.now())
            self.changes += 1
        for account in self.accounts if changed != stock else ():
            if codes := [code for code in self.listed(account, product) if pool_of(code) == pool]:
                self.notices.stock_changed(account.seller, product, codes, changed)

    def telling(self, account: Account, product: Product) -> AbstractContextManager[None]:
        """Tell those who want to know of what the block changes of a listing."""
        from sandbox.amazon import watching  # it reads what stands here

        return watching.telling(self, account, product)

    def listed(self, account: Account, product: Product) -> list[str]:
        """The marketplaces of `account` the product is listed in."""
        return [code for code in account.marketplaces if code in product.marketplaces]

    def listing(self, account: Account, product: Product) -> Listing:
        """The listing as it is; a copy of the world's until `keep` has stored it."""
        known = self.listings.get((account.seller, product.index))
        if known:
            return known
        attributes = self._attributes(account, product)
        created, updated = self.listed_at(product.index)
        return Listing(product, attributes, attributes, created, updated)

    def keep(self, account: Account, listing: Listing) -> None:
        self.listings[account.seller, listing.product.index] = listing

    def listed_at(self, index: int) -> tuple[datetime, datetime]:
        """When an untouched listing was created and last changed."""
        created = self._before(index, 400, 30, salt=11)
        return created, to_ms(created + (self.clock.start - created) * (self._scatter(index, 23) / 2**32))

    def price(self, account: Account, product: Product, marketplace: str) -> Decimal | None:
        """The visible price to consumers, with the currency's own places; None without an offer."""
        wanted = MARKETPLACES[marketplace]
        if (account.seller, product.index) not in self.listings and marketplace in self.listed(account, product):
            # Nobody has changed it: reports of a large world ask for a hundred thousand of these.
            return money(product.prices[wanted.currency], marketplace)
        for offer in self.listing(account, product).visible.get("purchasable_offer", []):
            if offer.get("marketplace_id") == wanted.id and offer.get("audience", "ALL") == "ALL":
                return offers.price(offer, self.clock.now())
        return None

    def merchant_units(self, account: Account, product: Product) -> int | None:
        """The visible merchant quantity; None when the listing has no merchant channel."""
        for entry in self.listing(account, product).visible.get("fulfillment_availability", []):
            if entry["fulfillment_channel_code"] == "DEFAULT":
                return int(entry.get("quantity", 0))
        return None

    def put_units(self, account: Account, product: Product, units: int) -> None:
        """Set the merchant quantity from outside, visible at once. A patch that is not visible yet still comes."""
        listing = self.listing(account, product)
        with self.telling(account, product):
            listing.accepted, listing.visible = (
                _with_units(listing.accepted, units),
                _with_units(listing.visible, units),
            )
            listing.updated_at = self.clock.now()
            self.keep(account, listing)
        self.changes += 1

    def put_attribute(self, account: Account, product: Product, name: str, entries: list[dict[str, Any]]) -> None:
        """Set an attribute from outside, visible at once."""
        listing = self.listing(account, product)
        with self.telling(account, product):
            listing.accepted = {**listing.accepted, name: entries}
            listing.visible = {**listing.visible, name: entries}
            listing.updated_at = self.clock.now()
            self.keep(account, listing)
        self.changes += 1

    def _attributes(self, account: Account, product: Product) -> Attributes:
        codes = self.listed(account, product)
        channel: dict[str, Any] = {"fulfillment_channel_code": account.fba}
        if product.fulfilled_by == "MERCHANT":
            units = self.world.own_stock(product.index, account.warehouse).on_hand
            channel = {"fulfillment_channel_code": "DEFAULT", "quantity": units, "lead_time_to_ship_max_days": 2}
        names, brands, colors, sizes, conditions, eans, offers = ([] for _ in range(7))
        for code in codes:
            place = {"marketplace_id": MARKETPLACES[code].id}
            local = {**place, "language_tag": MARKETPLACES[code].language}
            names.append({"value": product.titles[LANGUAGES[code]], **local})
            brands.append({"value": product.brand, **local})
            colors.append({"value": product.color, **local})
            sizes.append({"value": product.size, **local})
            conditions.append({"value": "new_new", **place})
            eans.append({"value": product.ean, "type": "ean", **place})
            currency = MARKETPLACES[code].currency
            price = number(product.prices[currency], code)
            offers.append(
                {
                    **place,
                    "currency": currency,
                    "audience": "ALL",
                    "our_price": [{"schedule": [{"value_with_tax": price}]}],
                }
            )
        return {
            "item_name": names,
            "brand": brands,
            "color": colors,
            "size": sizes,
            "condition_type": conditions,
            "externally_assigned_product_identifier": eans,
            "fulfillment_availability": [channel],
            "purchasable_offer": offers,
        }

    def _before(self, index: int, most_days: int, least_days: int, salt: int = 0) -> datetime:
        span = (most_days - least_days) * _DAY_S
        seconds = least_days * _DAY_S + self._scatter(index, salt) * span / 2**32
        return to_ms(self.clock.start - timedelta(seconds=seconds))

    def _scatter(self, index: int, salt: int) -> int:
        # A searched list needs a time for each of a million listings: arithmetic is far cheaper than seeded dice.
        mixed = (index * 2654435761 + (self.world.seed * 31 + salt) * 40503 + salt) & 0xFFFFFFFF
        mixed = ((mixed ^ (mixed >> 15)) * 2246822519) & 0xFFFFFFFF
        return mixed ^ (mixed >> 13)


def _with_units(attributes: Attributes, units: int) -> Attributes:
    entries = [dict(entry) for entry in attributes.get("fulfillment_availability", [])]
    own = [entry for entry in entries if entry["fulfillment_channel_code"] == "DEFAULT"]
    for entry in own:
        entry["quantity"] = units
    if not own:
        entries.append({"fulfillment_channel_code": "DEFAULT", "quantity": units})
    return {**attributes, "fulfillment_availability": entries}


def money(amount: object, marketplace: str) -> Decimal:
    """`amount` with the places of the marketplace's currency."""
    return Decimal(str(amount)).quantize(Decimal(1).scaleb(-MARKETPLACES[marketplace].places))


def number(amount: Decimal, marketplace: str) -> float | int:
    """`amount` as a JSON number: yen are whole, and written so."""
    exact = money(amount, marketplace)
    return float(exact) if MARKETPLACES[marketplace].places else int(exact)


def pool_of(marketplace: str) -> str:
    return POOLS[marketplace]
