"""A house whose shop's orders Amazon ships: the real adapter in front of the sandbox, in either version of its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from sqlalchemy import select

from domain.channel import LEDGER, Channel, Location, LocationKind, Platform
from domain.ids import ChannelId, ChannelSku, LocationCode, OrderId, Sku, listing_id
from domain.ledger import EntryKind, NewEntry
from domain.operation import Capability
from domain.order import Order
from domain.outbound import Followed
from domain.person import Person, Recipient
from domain.product import FulfilledBy, Listing
from store import intake, ledger, order, outbound, product
from store.keyring import Keyring
from store.session import Store
from store.tables import outbound_order
from tests.adapters.amazon.bench import Desk, make_config, make_desk
from tests.workers.fake_port import FakePort, make_order, make_port
from tests.workers.house import make_deps
from workers import crash
from workers.deps import Deps
from workers.following import Following
from workers.lanes import Lane, Lanes
from workers.worker import HANDLERS

AMAZON = ChannelId("amazon-us")
POOL = LocationCode("fba-us")
BER = LocationCode("BER")
PLACES = [
    Location(BER, "Berlin", LocationKind.WAREHOUSE, LEDGER, ""),
    Location(POOL, "FBA US", LocationKind.FBA, AMAZON, "US", ("US",)),
]
BUYER = Person(
    "Ottilie Vandermark",
    "ottilie@vandermark.example",
    Recipient(
        country="US",
        name="Ottilie Vandermark",
        line1="1917 Quince Hollow Lane",
        city="Seattle",
        region="WA",
        postal_code="98103-4410",
    ),
)


def open_desk(redis: Redis, url: str, version: str) -> Desk:
    """The account, whose writes are seen at once."""
    channel = Channel(AMAZON, Platform.AMAZON, "Amazon US", True, ("US",))
    return make_desk(redis, make_config("na", url, channel=channel, outbound_version=version, visibility_lag_s=0.0))


@dataclass(slots=True)
class Bench:
    """Deps over the shop, which is a fake, and Amazon, which is the sandbox; `shift` is how far its time runs ahead of ours."""

    deps: Deps
    desk: Desk
    shop: FakePort
    shift: timedelta = field(default_factory=timedelta)

    @property
    def store(self) -> Store:
        return self.deps.store

    async def stocked(self, sku: Sku, theirs: str, *, ours: int | None) -> None:
        """The SKU is offered from the pool as `theirs`, and lies in Berlin with so many units (None: nothing is known there)."""
        now = datetime.now(UTC)

        def listed(channel: ChannelId, marketplace: str | None, name: str, by: FulfilledBy) -> Listing:
            theirs = ChannelSku(name)
            id = listing_id(channel, marketplace, theirs)
            return Listing(id, channel, marketplace, theirs, f"X-{name}", "ACTIVE", by, now, sku=sku, title=str(sku))

        offers = [
            listed(AMAZON, "US", theirs, FulfilledBy.CHANNEL),
            listed(self.shop.channel.id, None, str(sku), FulfilledBy.MERCHANT),
        ]
        async with self.store.begin() as tx:
            await product.upsert_listings(tx, offers)
            if ours is not None:
                await ledger.post(tx, [NewEntry(sku, BER, EntryKind.OPENING, "counted", "test", "test", on_hand=ours)])

    async def ordered(self, sku: Sku, units: int, *, person: Person | None = BUYER, **changes: Any) -> Order:
        """An order of the shop, at the shop and in our rows."""
        one = make_order(self.shop, f"S-{uuid4().hex[:8]}", units=units, sku=str(sku))
        one.lines[0].sku = sku
        one = replace(one, person=person, refs={"name": f"#{one.external_id}"}, **changes)
        self.shop.orders[one.external_id] = one
        await self.keep(one)
        return one

    async def keep(self, one: Order) -> None:
        async with self.store.begin() as tx:
            await intake.keep_orders(tx, [one], self.deps.locations, self.deps.ring)

    async def kept(self, id: OrderId) -> Order:
        async with self.store.begin() as tx:
            return (await order.by_ids(tx, [id]))[id]

    async def outbound(self, id: OrderId) -> list[Followed]:
        async with self.store.begin() as tx:
            return (await outbound.by_orders(tx, [id])).get(id, [])

    async def promised(self, sku: Sku) -> tuple[int, int]:
        """(on hand, reserved) in Berlin."""
        async with self.store.begin() as tx:
            found = (await ledger.balances(tx, [sku])).get(sku, [])
        return next(((one.on_hand, one.reserved) for one in found if one.location == BER), (0, 0))

    async def drain(self, *lanes: Lane) -> None:
        """Carry out what is due in the lanes, by default Amazon's."""
        drained = Lanes(self.deps, HANDLERS)
        for lane in lanes or (Lane(AMAZON, Capability.OUTBOUND),):
            drained.wake(lane)
        await drained.idle()

    async def follow(self) -> None:
        """One look at all that Amazon ships, whether it is due or not."""
        async with self.store.begin() as tx:
            ids = await tx.scalars(select(outbound_order.c.id).where(outbound_order.c.due_at.is_not(None)))
            await outbound.hurry(tx, AMAZON, ids.all())
        await Following(self.deps, lambda: None).once()


@asynccontextmanager
async def opened(store: Store, redis: Redis, ring: Keyring, url: str, version: str) -> AsyncIterator[Bench]:
    """A bench; nothing of it is running."""
    desk, shop = open_desk(redis, url, version), make_port()
    bench = Bench(make_deps(store, redis, [shop], ring=ring, locations=PLACES), desk, shop)
    bench.deps = replace(
        bench.deps,
        ports={shop.channel.id: shop, AMAZON: desk.port},
        channels={shop.channel.id: shop.channel, AMAZON: desk.config.channel},
        clock=lambda: datetime.now(UTC) + bench.shift,
    )
    try:
        yield bench
    finally:
        await desk.close()


def ship(database_url: str, redis_url: str, key: str, url: str, version: str, crash_at: str) -> None:
    """Work on Amazon's lane, and follow what it ships, until that place is passed."""
    crash.plan(crash_at)
    asyncio.run(_ship(Store(database_url), Redis.from_url(redis_url), Keyring([key]), url, version))


async def _ship(store: Store, redis: Redis, ring: Keyring, url: str, version: str) -> None:
    async with opened(store, redis, ring, url, version) as bench:
        while True:
            await bench.drain()
            await bench.follow()
            await asyncio.sleep(0.02)
