"""Prices of 100,000 listings, to Amazon and to a self-built shop: calls and seconds of the sandboxes' clocks beside the plans'.

    python -m benchmarks.prices [--rows 100000] [--speed 5]

All prices are asked for at once, each about a percent lower, and carried by the lanes of one process until each was read back.
The least that has to be called: each Amazon offer is read before and after, 20 in a call, and told by one feed for 25,000; a shop
is told by 250 and read by 100. The least time is those calls at the published rates after the burst. The clocks run `--speed`
times as fast as ours, and Amazon tells plans as many times as wide; what we hold ourselves to of feeds is widened likewise, and
one looks at a feed as many times as often. What we compute takes as many times as long by those clocks, so that a machine that
is busy, or a high speed, measures itself. Exit code 1 when a price does not arrive, or was sent twice.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from redis.asyncio import Redis
from sqlalchemy import func, select

from adapters.amazon import feeds, price_feeds
from adapters.amazon.config import AmazonConfig
from adapters.amazon.platform import AmazonPort
from adapters.budget import Budgets
from adapters.port import Port
from adapters.rest.config import RestConfig
from adapters.rest.platform import RestPort
from adapters.route import Routes
from adapters.tokens import TokenStore
from adapters.transport import Transport
from benchmarks.rehearsal import Sandbox, sandbox
from domain.channel import Channel, Platform
from domain.ids import ChannelId, ChannelSku, OperationId, listing_id
from domain.money import Money
from domain.operation import OPEN, Capability, OperationStatus
from domain.price import Origin, Price, PriceWish
from domain.product import FulfilledBy, Listing, SkuMap
from gateway.engines import start
from store import migrate, price_desk, product
from store.budget import BudgetMemory
from store.price_desk import Request
from store.session import Store
from store.tables import operation_item
from workers.deps import Deps
from workers.lanes import Lane, Lanes
from workers.worker import BATCHES, HANDLERS

AMAZON = Channel(ChannelId("amazon-us"), Platform.AMAZON, "Amazon US", True, ("US",))
SHOP = Channel(ChannelId("shop"), Platform.REST, "Shop", True)
PART = 5_000
REST_S = 0.1
LAG_S = 1.0  # of our seconds, until a change is looked for


@dataclass(frozen=True, slots=True)
class Least:
    """What has to be called, and how long that takes at the least under the published plans."""

    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What it took at one channel, in seconds of its clock; `changes` are prices that truly changed."""

    channel: str
    rows: int
    statuses: Counter[str]
    calls: Counter[str]
    changes: int
    seconds: float
    least: Least

    @property
    def kept(self) -> bool:
        return self.statuses == Counter({"VERIFIED": self.rows}) and self.changes == self.rows

    def told(self) -> str:
        calls = self.calls.total()
        return (
            f"{self.channel}: {self.rows:,} prices, {dict(self.statuses)}, {self.changes:,} changes\n"
            f"  {calls:,} calls, {calls / self.least.calls:.2f} times the least ({self.least.calls:,}): {dict(self.calls)}\n"
            f"  {self.seconds:,.0f} s, {self.seconds / self.least.seconds:.2f} times the least ({self.least.seconds:,.0f} s)"
        )


def least_of_amazon(rows: int) -> Least:
    """Reads before and after at 5 a second; a feed of four calls for 25,000 rows, which takes the sandbox a minute, or patches
    at 5 a second where those are there first."""
    reads, feeds = 2 * -(-rows // 20), 4 * -(-rows // 25_000)
    told_s = min(60.0, max(0, rows - 5) / 5)
    return Least(reads + min(rows, feeds), max(1.0, (reads - 5) / 5 + told_s))


def least_of_shop(rows: int) -> Least:
    """250 told, 100 read in a call, 100 calls a second."""
    calls = -(-rows // 250) + -(-rows // 100)
    return Least(calls, max(1.0, calls / 100))


@contextmanager
def shop_of(products: int, speed: float) -> Iterator[Sandbox]:
    """A shop with so many products, which shows what it takes at once."""
    command = [sys.executable, "-m", "sandbox", "shop", "--port", "0", "--orders", "0"]
    command += ["--products", str(products), "--speed", str(speed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Sandbox(process.stdout.readline().split()[-1])
        finally:
            process.terminate()
            process.wait(10)


async def listed(store: Store, channel: Channel, world: Sandbox, rows: int) -> list[Listing]:
    """So many of what is sold there, as a catalog would have told it."""
    marketplace = channel.marketplaces[0] if channel.marketplaces else None
    found: list[Listing] = []
    offset = 0
    while len(found) < rows:
        told = world.get(f"world?limit={PART}&offset={offset}")["skus"]
        if not told:
            raise RuntimeError(f"{channel.id} sells only {len(found)} of {rows}.")
        offset += PART
        at = datetime.now(UTC)
        fresh = [
            Listing(
                id=listing_id(channel.id, marketplace, ChannelSku(one["sku"])),
                channel=channel.id,
                marketplace=marketplace,
                channel_sku=ChannelSku(one["sku"]),
                external_id=one["sku"],
                status="ACTIVE",
                fulfilled_by=FulfilledBy.MERCHANT,
                as_of=at,
                price=Money(Decimal("20.00"), "USD"),
            )
            for one in told
            if marketplace is None or marketplace in one["marketplaces"]
        ][: rows - len(found)]
        async with store.begin() as tx:
            await product.upsert_listings(tx, fresh)
        found += fresh
    return found


async def asked(store: Store, listings: Sequence[Listing], amount: str = "19.79") -> OperationId:
    """All of them at once, and approved where guards want that."""
    price = Price(Money(Decimal(amount), "USD"))
    wishes = [
        PriceWish(
            one.id,
            one.channel,
            one.marketplace,
            one.channel_sku,
            one.sku,
            one.refs,
            price,
            Origin.MUTATION,
            "benchmark",
        )
        for one in listings
    ]
    request = Request("benchmark", str(len(wishes)), datetime.now(UTC), idempotency_key=listings[0].channel)
    async with store.begin() as tx:
        made, _ = await price_desk.keep(tx, request, wishes)
        if made.status is OperationStatus.AWAITING_APPROVAL:
            await price_desk.approve(tx, made.id, "somebody else", datetime.now(UTC))
    return made.id


async def carried(deps: Deps, id: OperationId, channel: ChannelId) -> Counter[str]:
    """The statuses of its items once all are ended."""
    lanes = Lanes(deps, HANDLERS, BATCHES)
    i = operation_item.c
    query = select(i.status, func.count().label("items")).where(i.operation_id == id).group_by(i.status)
    while True:
        lanes.wake(Lane(channel, Capability.PRICES))
        await lanes.idle()
        async with deps.store.begin() as tx:
            statuses: Counter[str] = Counter({row.status: row.items for row in await tx.execute(query)})
        if not any(statuses[one.value] for one in OPEN):
            return statuses
        await asyncio.sleep(REST_S)


async def measured(deps: Deps, channel: Channel, world: Sandbox, rows: int, least: Least) -> Report:
    """One channel, from the asking to the last read-back."""
    listings = await listed(deps.store, channel, world, rows)
    since, began = int(world.get("journal")["next"]), _now(world)
    statuses = await carried(deps, await asked(deps.store, listings), channel.id)
    seconds = _now(world) - began
    told: Any = world.get(f"journal?since={since}")
    calls = Counter(one["operation"] for one in told["calls"] if one["operation"] not in ("getToken", "getShop"))
    changes = sum(one["operation"] in ("patchListingsItem", "patchVariants") for one in told["effects"])
    return Report(channel.id, rows, statuses, calls, changes, seconds, least)


def _now(world: Sandbox) -> float:
    return datetime.fromisoformat(world.get("clock")["now"]).timestamp()


@dataclass(frozen=True, slots=True)
class Ground:
    """Engines of their own, and what ports stand on."""

    store: Store
    redis: Redis
    transport: Transport
    budgets: Budgets
    tokens: TokenStore

    def shop(self, url: str) -> RestPort:
        config = RestConfig(SHOP, f"{url}/api/v1", token="st_sandbox", visibility_lag_s=LAG_S)
        return RestPort(config, self.transport, self.tokens, self.budgets)

    def deps(self, *ports: Port) -> Deps:
        """Of a worker that knows these alone."""
        return Deps(
            store=self.store,
            ports={one.channel.id: one for one in ports},
            channels={one.channel.id: one.channel for one in ports},
            locations=[],
            sku_map=SkuMap(),
            redis=self.redis,
            clock=lambda: datetime.now(UTC),
            worker="benchmark",
            routes=Routes(self.budgets),
        )


@asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    """Gone at the end."""
    with tempfile.TemporaryDirectory(prefix="acorn-prices-") as folder:
        engines = await asyncio.to_thread(start, Path(folder) / "engines", environ=dict(os.environ), throwaway=True)
        try:
            await asyncio.to_thread(migrate.upgrade, engines.database_url)
            store, redis, transport = Store(engines.database_url), Redis.from_url(engines.redis_url), Transport()
            budgets, tokens = Budgets(redis, BudgetMemory(store)), TokenStore(redis)
            yield Ground(store, redis, transport, budgets, tokens)
            await budgets.settle()
            await tokens.settle()
            await transport.close()
            await redis.aclose()
            await store.close()
        finally:
            await asyncio.to_thread(engines.stop)


async def measure(rows: int, speed: float) -> list[Report]:
    """Both channels, one after the other."""
    feeds.LIMIT = replace(feeds.LIMIT, rate=feeds.LIMIT.rate * speed)
    price_feeds.LOOK_S /= speed
    async with ground() as on:
        with sandbox("amazon", 0, speed, products=2 * rows + 20) as amazon, shop_of(rows, speed) as shop:
            config = AmazonConfig(
                channel=AMAZON,
                region="na",
                seller_id="A1SANDBOXNA",
                client_id="amzn1.application-oa2-client.sandbox",
                client_secret="sandbox-secret",
                refresh_token="Atzr|sandbox-na",
                endpoint=amazon.url,
                visibility_lag_s=LAG_S,
            )
            deps = on.deps(AmazonPort(config, on.transport, on.tokens, on.budgets), on.shop(shop.url))
            return [
                await measured(deps, AMAZON, amazon, rows, least_of_amazon(rows)),
                await measured(deps, SHOP, shop, rows, least_of_shop(rows)),
            ]


def main(
    rows: Annotated[int, typer.Option(min=1, help="How many prices for each channel.")] = 100_000,
    speed: Annotated[float, typer.Option(min=1.0, help="Sandbox seconds per real second.")] = 5.0,
) -> None:
    reports = asyncio.run(measure(rows, speed))
    for one in reports:
        sys.stdout.write(one.told() + "\n")
    raise typer.Exit(0 if all(one.kept for one in reports) else 1)


if __name__ == "__main__":
    typer.run(main)
