"""Channels whose prices can be set: a fake one that fails on demand, Amazon and a shop as their sandboxes; and what is asked of
them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from sqlalchemy import func, select, update

from adapters.amazon import feeds
from adapters.amazon.plans import PLANS
from adapters.budget import Budgets
from adapters.port import Port, Receipt
from adapters.prices import Intend, PriceKey, PriceWrite, ShownPrice
from adapters.rest.config import RestConfig
from adapters.rest.platform import RestPort
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask
from domain.channel import Channel, Platform
from domain.errors import HouseError, OutcomeUnknown, Refused, Transient
from domain.ids import ChannelId, ChannelSku, OperationId, listing_id
from domain.money import Money
from domain.operation import Capability
from domain.price import Origin, Price, PriceWish
from domain.product import FulfilledBy, Listing
from store import price_desk, product
from store.budget import BudgetMemory
from store.price_desk import Request
from store.session import Store
from store.tables import operation_item
from tests.adapters.amazon.bench import Desk, make_config, make_desk
from tests.adapters.amazon.offers import OPERATIONS
from tests.workers.fake_port import FakePort
from tests.workers.house import make_deps
from workers import crash
from workers.deps import Deps, Timing
from workers.lanes import Lane, Lanes
from workers.worker import BATCHES, HANDLERS

SHOP, AMAZON = ChannelId("shop"), ChannelId("amazon-us")
# Leases outlive a machine that stands still for a while; a test ends them by `hurry`.
QUICK = Timing(lease_s=30.0, budget_wait_s=2.0, settle_s=60.0, finish_s=5.0)


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


@dataclass(slots=True)
class PricedPort(FakePort):
    """Prices by SKU. `faults_of` single rows, `whole` calls of all; each is used up. `lost`: taken, and the answer never came.
    `unseen`: taken, and never shown. `unclear`: cannot be told, for what stands there cannot be read. `against`: what is said
    against offers. `rows` counts rows by what was asked."""

    price_batch: int = 100
    keeps_sales: bool = False
    prices: dict[ChannelSku, Price] = field(default_factory=dict)
    told: list[tuple[ChannelSku, Price]] = field(default_factory=list)
    faults_of: dict[ChannelSku, HouseError] = field(default_factory=dict)
    whole: deque[HouseError | None] = field(default_factory=deque)
    lost: int = 0
    unseen: set[ChannelSku] = field(default_factory=set)
    unclear: set[ChannelSku] = field(default_factory=set)
    against: dict[ChannelSku, Refused] = field(default_factory=dict)
    most: int = 100
    meanwhile: Callable[[], Any] | None = None
    rows: Counter[str] = field(default_factory=Counter)

    async def tell_prices(self, writes: Sequence[PriceWrite], ask: Ask, intend: Intend) -> list[Receipt | HouseError]:
        self.rows["told"] += len(writes)
        problem = self.whole.popleft() if self.whole else None
        if problem is not None and not isinstance(problem, OutcomeUnknown):
            raise problem
        if self.meanwhile is not None:
            await self.meanwhile()
        writes = writes[: self.most]
        if told := [write for write in writes if write.key.channel_sku not in self.unclear]:
            await intend({write.reference: {} for write in told})
        if problem is not None:
            raise problem
        answers: list[Receipt | HouseError] = []
        for write in writes:
            fault = self.faults_of.pop(write.key.channel_sku, None)
            if write.key.channel_sku in self.unclear:
                fault = Transient("What stands there cannot be read.")
            if fault is None:
                self.told.append((write.key.channel_sku, write.price))
                if write.key.channel_sku not in self.unseen:
                    self.prices[write.key.channel_sku] = write.price
            answers.append(fault or Receipt(f"r-{write.reference}"))
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknown("The answer never came.")
        return answers

    async def shown_prices(self, keys: Sequence[PriceKey], ask: Ask) -> list[ShownPrice | HouseError]:
        self.rows["shown"] += len(keys)
        at = datetime.now(UTC)
        return [
            ShownPrice(key, self.prices.get(key.channel_sku), at, refused=self.against.get(key.channel_sku))
            for key in keys
        ]


def make_priced() -> PricedPort:
    return PricedPort(Channel(SHOP, Platform.SHOPIFY, "Shop", True), visibility_lag_s=60.0)


async def sold(store: Store, channel: ChannelId, prices: Mapping[str, Price], **more: Any) -> list[Listing]:
    """Listings as a catalog read them."""
    at = datetime.now(UTC)
    marketplace = more.pop("marketplace", None)
    listings = [
        Listing(
            id=listing_id(channel, marketplace, ChannelSku(sku)),
            channel=channel,
            marketplace=marketplace,
            channel_sku=ChannelSku(sku),
            external_id=f"X-{sku}",
            status="ACTIVE",
            fulfilled_by=FulfilledBy.MERCHANT,
            price=price.regular,
            as_of=at,
            **more,
        )
        for sku, price in prices.items()
    ]
    async with store.begin() as tx:
        await product.upsert_listings(tx, listings)
    return listings


def wish(listing: Listing, price: Price) -> PriceWish:
    return PriceWish(
        listing.id,
        listing.channel,
        listing.marketplace,
        listing.channel_sku,
        listing.sku,
        listing.refs,
        price,
        Origin.MUTATION,
        reason="a test",
    )


async def ask(store: Store, *wishes: PriceWish) -> OperationId:
    """Want these prices."""
    request = Request("tests", uuid4().hex, datetime.now(UTC), idempotency_key=uuid4().hex)
    async with store.begin() as tx:
        made, _ = await price_desk.keep(tx, request, wishes)
    return made.id


async def items(store: Store, *operations: OperationId) -> list[Any]:
    """The rows of the operations' items."""
    query = select(operation_item).where(operation_item.c.operation_id.in_(operations)).order_by(operation_item.c.id)
    async with store.begin() as tx:
        return list((await tx.execute(query)).all())


async def hurry(store: Store) -> None:
    """Leases end, and what is due later is due now."""
    async with store.begin() as tx:
        await tx.execute(update(operation_item).values(lease_until=None, due_at=func.now()))


async def hurry_free(store: Store) -> None:
    """What is due later and held by nobody is due now."""
    async with store.begin() as tx:
        free = operation_item.c.lease_until.is_(None)
        await tx.execute(update(operation_item).where(free).values(due_at=func.now()))


async def drain(deps: Deps, *channels: ChannelId) -> None:
    """One look at the lanes of prices."""
    lanes = Lanes(deps, HANDLERS, BATCHES)
    for channel in channels or tuple(deps.ports):
        lanes.wake(Lane(channel, Capability.PRICES))
    await lanes.idle()


@dataclass(slots=True)
class Places:
    """A house over the two sandboxes."""

    deps: Deps
    desk: Desk
    transport: Transport

    async def close(self) -> None:
        await self.desk.close()
        await self.transport.close()


async def opened(store: Store, redis: Redis, urls: Mapping[ChannelId, str]) -> Places:
    """Deps over the sandboxes there are."""
    channel = Channel(AMAZON, Platform.AMAZON, "Amazon US", True, ("US",))
    desk = make_desk(redis, make_config("na", urls[AMAZON], channel=channel, visibility_lag_s=0.5))
    transport = Transport()
    shop = Channel(SHOP, Platform.REST, "Shop", True)
    config = RestConfig(shop, f"{urls[SHOP]}/api/v1", visibility_lag_s=0.5, token="st_sandbox")
    rest = RestPort(config, transport, TokenStore(redis), Budgets(redis, BudgetMemory(store)))
    ports: dict[ChannelId, Port] = {AMAZON: desk.port, SHOP: rest}
    deps = replace(
        make_deps(store, redis, [make_priced()], timing=QUICK),
        ports=ports,
        channels={AMAZON: channel, SHOP: shop},
    )
    return Places(deps, desk, transport)


async def budgeted(desk: Desk, *, by_feed: bool) -> None:
    """Budgets that tests do not exhaust, kept in Redis; by them prices go to Amazon one by one, or by feeds."""
    for plan in (*(PLANS[name] for name in OPERATIONS), feeds.LIMIT):
        slow = by_feed and plan.operation == "patchListingsItem"
        await desk.budgets.spend(AMAZON, plan, Ask())
        await desk.budgets.adopt(AMAZON, plan.operation, rate=0.05 if slow else 1000, remaining=0 if slow else None)
    await desk.budgets.usual.learn(AMAZON, feeds.FEED_TYPE, 1.0, new_share=1.0)


def work(
    database_url: str,
    redis_url: str,
    urls: Mapping[ChannelId, str],
    channel: ChannelId,
    crash_at: str,
) -> None:
    """Drain the channel's lane until that place is passed."""
    crash.plan(crash_at)
    asyncio.run(_work(Store(database_url), Redis.from_url(redis_url), urls, channel))


async def _work(store: Store, redis: Redis, urls: Mapping[ChannelId, str], channel: ChannelId) -> None:
    places = await opened(store, redis, urls)
    while True:
        await drain(places.deps, channel)
        await asyncio.sleep(0.02)
