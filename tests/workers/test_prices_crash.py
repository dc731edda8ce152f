"""Workers that die over a batch of prices: each is sent once in effect, none is lost, and Amazon is given one feed for all."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from domain.ids import ChannelId, OperationId
from domain.price import Price
from sandbox.visit import serving
from store.session import Store
from tests.adapters.amazon.bench import Sandbox
from tests.adapters.amazon.offers import OPERATIONS
from tests.workers import pricing
from tests.workers.house import until
from tests.workers.pricing import AMAZON, SHOP, Places, ask, drain, hurry, hurry_free, items, sold, usd, wish

# A process that has imported all that workers need, and becomes one in a moment as often as a test asks.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.workers.pricing"])
COUNT = 6
# Where a worker dies over prices that go there, by a feed or by none.
PLACES = {
    (SHOP, False): ("before_prices_intent", "after_prices_sent"),
    (AMAZON, False): ("after_prices_sent",),
    (AMAZON, True): ("after_prices_intent", "after_prices_sent", "after_prices_look"),
}


@dataclass(slots=True)
class World:
    """Both sandboxes, with their changes seen at once."""

    amazon: Sandbox
    shop: httpx.AsyncClient
    urls: dict[ChannelId, str]

    async def skus(self, channel: ChannelId) -> list[str]:
        """Some that are sold there: of Amazon's some that it ships and some that we do."""
        if channel == SHOP:
            world = (await self.shop.get("/_sandbox/world", params={"limit": COUNT})).json()
            return [one["sku"] for one in world["skus"]]
        listed = [one for one in (await self.amazon.get("world", limit=100))["skus"] if "US" in one["marketplaces"]]
        kinds = [[one["sku"] for one in listed if one["fulfilledBy"] == by] for by in ("MERCHANT", "AMAZON")]
        return [sku for kind in kinds for sku in kind[: COUNT // 2]]

    async def mark(self, channel: ChannelId) -> int:
        return int((await self._journal(channel, 10**9))["next"])

    async def effects(self, channel: ChannelId, since: int) -> Counter[str]:
        """What was truly changed, by what did it and SKU."""
        told = (await self._journal(channel, since))["effects"]
        return Counter(
            one["operation"] if one["operation"] == "createFeed" else f"{one['operation']} {one['key']}" for one in told
        )

    async def _journal(self, channel: ChannelId, since: int) -> Any:
        if channel == AMAZON:
            return await self.amazon.get("journal", since=since)
        return (await self.shop.get("/_sandbox/journal", params={"since": since})).json()

    async def pass_feeds(self) -> None:
        """Amazon's time goes on until it is done with what it was given."""
        told = (await self.amazon.get("feeds"))["feeds"]
        if any(one["processingStatus"] in ("IN_QUEUE", "IN_PROGRESS") for one in told):
            await self.amazon.post("clock", {"advance": 61})


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    amazon = Sandbox("--products", "60", "--orders", "0", "--lag", "0", "--marketplaces", "US")
    try:
        async with (
            serving("shop", products=20, orders=0) as url,
            httpx.AsyncClient(base_url=url, timeout=30) as http,
        ):
            await amazon.generous(*OPERATIONS)
            yield World(amazon, http, {AMAZON: amazon.url, SHOP: url})
    finally:
        await amazon.close()


@pytest.fixture(params=PLACES, ids=["shop", "patches", "feed"])
async def way(request: pytest.FixtureRequest, store: Store, redis: Redis, world: World) -> AsyncIterator[Way]:
    channel, by_feed = request.param
    places = await pricing.opened(store, redis, world.urls)
    await pricing.budgeted(places.desk, by_feed=by_feed)
    yield Way(world, places, channel, by_feed)
    await places.close()


@dataclass(slots=True)
class Way:
    """One of the ways by which prices leave."""

    world: World
    places: Places
    channel: ChannelId
    by_feed: bool

    async def die(self, database_url: str, redis_url: str, place: str) -> None:
        """A worker dies at that place."""
        asked = (database_url, redis_url, self.world.urls, self.channel, place)
        worker = FORKS.Process(target=pricing.work, args=asked, daemon=True)
        await asyncio.to_thread(worker.start)
        try:
            async with asyncio.timeout(180):
                while worker.exitcode is None:
                    # What is due later is due now, and Amazon comes to an end with its feeds.
                    await hurry_free(self.places.deps.store)
                    if self.by_feed and place == "after_prices_look":
                        await self.world.pass_feeds()
                    await asyncio.sleep(0.1)
            assert worker.exitcode == 137, place
        finally:
            worker.kill()
            await asyncio.to_thread(worker.join)

    async def ended(self, id: OperationId) -> list[str]:
        store = self.places.deps.store

        async def over() -> bool:
            await hurry(store)
            await drain(self.places.deps, self.channel)
            if self.by_feed:
                await self.world.pass_feeds()
            return all(row.ended_at is not None for row in await items(store, id))

        try:
            await until(over, within_s=180)
        except TimeoutError:
            rows = [
                (row.status, row.checks, row.error_message, row.payload.get("sending"))
                for row in await items(store, id)
            ]
            raise AssertionError(f"still open: {rows}") from None
        return [row.status for row in await items(store, id)]


async def test_each_price_is_sent_once_wherever_the_worker_dies(way: Way, database_url: str, redis_url: str) -> None:
    store, world, channel = way.places.deps.store, way.world, way.channel
    marketplace = "US" if channel == AMAZON else None
    skus = await world.skus(channel)
    assert len(skus) == COUNT
    listings = await sold(store, channel, dict.fromkeys(skus, Price(usd("20.00"))), marketplace=marketplace)
    for number, place in enumerate(PLACES[channel, way.by_feed]):
        since = await world.mark(channel)
        # Another one than by the way before: what is shown already need not be sent.
        new = Price(usd(str(Decimal("19.99" if way.by_feed else "19.79") - number)))
        id = await ask(store, *(wish(one, new) for one in listings))
        await way.die(database_url, redis_url, place)
        assert await way.ended(id) == ["VERIFIED"] * COUNT, place
        what = "patchVariants" if channel == SHOP else "patchListingsItem"
        expected = Counter({f"{what} {sku}": 1 for sku in skus})
        if way.by_feed:
            expected["createFeed"] = 1
        assert await world.effects(channel, since) == expected, place


async def test_what_amazon_refuses_or_throttles_of_many_patches_stands_alone(
    store: Store, redis: Redis, world: World
) -> None:
    places = await pricing.opened(store, redis, world.urls)
    await pricing.budgeted(places.desk, by_feed=False)
    skus = await world.skus(AMAZON)
    listings = await sold(store, AMAZON, dict.fromkeys([*skus, "NO-SUCH"], Price(usd("20.00"))), marketplace="US")
    since = await world.mark(AMAZON)
    fault = {"operation": "patchListingsItem", "kind": "status", "status": 429, "count": 2}
    await world.amazon.post("faults", {"faults": [fault]})
    id = await ask(store, *(wish(one, Price(usd("18.49"))) for one in listings))
    way = Way(world, places, AMAZON, by_feed=False)
    assert await way.ended(id) == [*["VERIFIED"] * COUNT, "FAILED"]
    assert await world.effects(AMAZON, since) == Counter({f"patchListingsItem {sku}": 1 for sku in skus})
    await places.close()
