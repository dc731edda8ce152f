"""Whatever becomes of a shop's deliveries, what we know is what a direct read tells; forged ones leave a count behind."""

from __future__ import annotations

import asyncio
import base64
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from adapters.budget import Budgets
from adapters.port import ShownKey, StockWrite
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.platform import ShopifyPort
from adapters.shopify.subscriptions import FIELDS
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask, Priority
from domain.channel import Location
from domain.ids import ChannelSku, OrderId, order_id
from gateway import metrics
from gateway.settings import Settings
from sandbox.visit import serving
from store import order, quarantine, stock, tables
from store.budget import BudgetMemory
from store.product import listings_by_ref
from store.session import Store
from tests.adapters.shopify.bench import CHANNEL, Sandbox, location
from tests.gateway.conftest import Gateway, served, settings_of
from tests.workers.house import make_deps
from workers.deps import Deps
from workers.hints import Hints
from workers.spill import drain
from workers.streams import sync_once

SHOP = "acorn-sandbox.myshopify.com"
URI = "https://acorn.test/webhooks/shopify/shop"
SECRET = "sandbox-secret"
PRODUCTS = 120
# The long profile sends as many as a busy day of a shop brings.
DELIVERIES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 2_500
ABREAST = 24


@dataclass(slots=True)
class Known:
    """What is known of a shop, or told by it."""

    units: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    orders: dict[OrderId, Any] = field(default_factory=dict)
    prices: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Flow:
    """One shop, the house that it tells, and what we know of it."""

    sandbox: Sandbox
    port: ShopifyPort
    deps: Deps
    gateway: Gateway
    skus: list[dict[str, Any]]
    places: list[Location]

    async def change(self, dice: random.Random, count: int) -> None:
        """So many changes of stock, a fifth as many of prices, and a tenth as many orders."""
        names = [one.name for one in self.places]
        for start in range(0, count, 40):
            few = min(40, count - start)
            entries = [
                {
                    "sku": dice.choice(self.skus)["sku"],
                    "location": self.sandbox_place(dice.choice(names)),
                    "quantity": dice.randrange(1, 900),
                }
                for _ in range(few)
            ]
            prices = [
                {"sku": dice.choice(self.skus)["sku"], "amount": f"{dice.randrange(1, 99)}.00"} for _ in range(few // 5)
            ]
            orders = [{"lines": [{"sku": dice.choice(self.skus)["sku"], "quantity": 1}]} for _ in range(few // 10)]
            await self.sandbox.post("state", stock=entries, prices=prices, orders=orders)

    def sandbox_place(self, name: str) -> str:
        """As the sandbox calls it."""
        return next(one.external_id for one in self.places if one.name == name)

    async def held(self, least: int = 0) -> list[dict[str, Any]]:
        """What the shop has sent until now, at least so many."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while True:
                told = await self.sandbox.get("webhooks/held")
                found += told["deliveries"]
                if len(found) >= least and not told["pending"] and not told["deliveries"]:
                    return found
                await asyncio.sleep(0.05)

    async def look(self) -> Hints:
        """Look after all that waits."""
        house = self.gateway.app.standing.house
        while await drain(house.redis, house.store):
            pass
        work = Hints(self.deps, lambda: None)
        while await work.once():
            pass
        return work

    async def direct(self) -> Known:
        """As the shop tells it now, page by page."""
        told, ask = Known(), Ask(Priority.INTERACTIVE)
        async for page in self.port.stock_pages(self.places, ask):
            told.units |= {
                (one.location, one.channel_sku): (one.on_hand, one.reserved, one.inbound) for one in page.items
            }
        async for orders in self.port.order_pages(datetime.now(UTC) - timedelta(days=50), ask):
            told.orders |= {one.id: _order(one) for one in orders.items}
        async for listings in self.port.listing_pages(None, ask):
            told.prices |= {one.channel_sku: (one.price, one.sale_price, one.status) for one in listings.items}
        return told

    async def known(self) -> Known:
        """The same as we know it."""
        async with self.deps.store.begin() as tx:
            skus = [ChannelSku(one["sku"]) for one in self.skus]
            kept = await stock.of_channel_skus(tx, CHANNEL.id, skus)
            ids = [OrderId(id) for id in await tx.scalars(select(tables.order.c.id))]
            found = await order.by_ids(tx, ids)
            items = [one["inventoryItemId"] for one in self.skus]
            listings = await listings_by_ref(tx, CHANNEL.id, "inventory_item", items)
        return Known(
            {
                (one.location, sku): (one.on_hand, one.reserved, one.inbound)
                for sku, readings in kept.items()
                for one in readings
            },
            {id: _order(one) for id, one in found.items()},
            {one.channel_sku: (one.price, one.sale_price, one.status) for one in listings},
        )


def _order(one: Any) -> Any:
    lines = [(line.external_id, line.quantity, line.quantity_shipped) for line in one.lines]
    return one.status, one.updated_at, one.total, lines, sorted(each.tracking_number for each in one.shipments)


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with (
        serving("shopify", products=PRODUCTS, orders=20, lag=0) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        made = Sandbox(url, http)
        await made.post("plans", maximumAvailable=10_000_000, restoreRate=1_000_000)
        yield made


@pytest.fixture
async def flow(sandbox: Sandbox, store: Store, redis: Redis, settings: Settings) -> AsyncIterator[Flow]:
    settings.config.write_text(
        f'[[channels]]\nid = "shop"\nplatform = "shopify"\nname = "The shop"\nshop = "{SHOP}"\n'
        f'access_token = "shpat_sandbox"\nclient_secret = "{SECRET}"\nendpoint = "{sandbox.url}"\n',
        encoding="utf-8",
    )
    async with _port(sandbox, store, redis) as port, served(settings) as gateway:
        world = await sandbox.get("world", limit=PRODUCTS)
        places = [location(one["name"].upper(), one["id"]) for one in world["locations"]]
        deps = make_deps(store, redis, [port], locations=places)  # type: ignore[list-item]  # a port as good as any
        assert await sync_once(deps, lambda *_: None) == {}
        await sandbox.post("webhooks", held=True)
        await port.desk(URI, tuple(FIELDS)).ensure(Ask(), apply=True)
        yield Flow(sandbox, port, deps, gateway, world["skus"], places)
        await sandbox.post("webhooks/drop")
        await sandbox.post("webhooks")


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings for the databases that `store` and `redis` empty before each test."""
    return settings_of(database_url, redis_url, tmp_path)


@asynccontextmanager
async def _port(sandbox: Sandbox, store: Store, redis: Redis) -> AsyncIterator[ShopifyPort]:
    transport, tokens, budgets = Transport(), TokenStore(redis), Budgets(redis, BudgetMemory(store))
    config = ShopifyConfig(CHANNEL, SHOP, access_token="shpat_sandbox", endpoint=sandbox.url, visibility_lag_s=0.5)
    yield ShopifyPort(config, transport, tokens, budgets)
    await budgets.settle()
    await tokens.settle()
    await transport.close()


class Sender:
    """Sends requests over a few connections that stay open; what each was answered is counted by status."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self.statuses: Counter[int] = Counter()

    async def send(self, deliveries: Sequence[dict[str, Any]]) -> None:
        """All of them, ABREAST at a time."""
        await asyncio.gather(*(self._some(deliveries[start::ABREAST]) for start in range(ABREAST)))

    async def _some(self, deliveries: Sequence[dict[str, Any]]) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        for one in deliveries:
            body = base64.b64decode(one["body"])
            lines = [f"{name}: {value}" for name, value in one["headers"].items()]
            head = f"POST /webhooks/shopify/shop HTTP/1.1\r\nhost: acorn\r\ncontent-length: {len(body)}\r\n"
            writer.write((head + "\r\n".join(lines) + "\r\n\r\n").encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(answer.partition("content-length: ")[2].partition("\r\n")[0]))
            self.statuses[int(answer.split(" ", 2)[1])] += 1
        writer.close()


async def test_thousands_of_deliveries_end_in_what_a_direct_read_tells(flow: Flow, store: Store) -> None:
    dice = random.Random(11)
    before = await flow.known()
    await flow.sandbox.post("webhooks", held=True, copies=8, shuffle=True, forged=0.3, stale=0.2, truncated=0.2)
    sent: list[dict[str, Any]] = []
    while len(sent) < DELIVERIES:
        await flow.change(dice, 20 if sent else 150)
        sent += await flow.held()
    dice.shuffle(sent)
    counts = (await flow.sandbox.get("webhooks"))["counts"]
    bad = sum(counts[kind] for kind in ("forged", "stale", "truncated"))
    assert bad > DELIVERIES / 20
    refused = metrics.AUTH_FAILURES.labels("webhook")._value.get()
    sender = Sender(flow.gateway.url)
    # Some come while others are looked after.
    half = len(sent) // 2
    await sender.send(sent[:half])
    await flow.look()
    await sender.send(sent[half:])
    assert sender.statuses == {200: len(sent) - bad, 401: bad}
    assert metrics.AUTH_FAILURES.labels("webhook")._value.get() == refused + bad
    await flow.look()
    direct = await flow.direct()
    assert len(direct.units) == PRODUCTS * len(flow.places)
    assert await flow.known() == direct
    assert before != direct
    async with store.begin() as tx:
        ids = set(await tx.scalars(select(tables.hint.c.notification_id)))
        assert await quarantine.count(tx) == 0
        assert await tx.scalar(select(func.count()).where(tables.hint.c.state != "DONE")) == 0
    assert len(ids) == counts["made"]
    good = {one["headers"]["X-Shopify-Webhook-Id"] for one in sent}
    assert ids < good


async def test_what_is_lost_the_next_synchronization_finds(flow: Flow) -> None:
    await flow.sandbox.post("webhooks", held=True, lost=1)
    await flow.change(random.Random(3), 80)
    assert await flow.held() == []
    await flow.look()
    assert await flow.known() != await flow.direct()
    assert await sync_once(flow.deps, lambda *_: None) == {}
    assert await flow.known() == await flow.direct()


async def test_the_echo_of_our_own_write_is_looked_at_and_ends_there(flow: Flow) -> None:
    one = flow.skus[5]
    refs = (("inventory_item", one["inventoryItemId"]),)
    key = ShownKey(ChannelSku(one["sku"]), flow.places[0].external_id, refs)

    async def go() -> None: ...

    await flow.port.tell_stock([StockWrite(key, 4321, None, "echo-1")], Ask(), go)
    echo = await flow.held(2)
    assert {each["headers"]["X-Shopify-Topic"] for each in echo} == {"inventory_levels/update", "products/update"}
    await Sender(flow.gateway.url).send(echo)
    journal = await flow.sandbox.journal()
    work = await flow.look()
    assert work.asked == 2
    assert await journal.effects() == []
    assert not [call for call in await journal.calls() if call.startswith("inventory") and "Set" in call]
    assert await flow.held() == []
    assert (await flow.look()).asked == 0
    assert await flow.known() == await flow.direct()


async def test_over_the_wire_a_sale_is_known_without_any_poll(flow: Flow) -> None:
    """The shop itself sends; here no delivery passes through the test."""
    await flow.sandbox.post("webhooks/drop")
    await flow.sandbox.post("webhooks", copies=2, shuffle=True)
    uri = f"{flow.gateway.url}/webhooks/shopify/shop"
    await flow.port.desk(uri, ("ORDERS_CREATE", "INVENTORY_LEVELS_UPDATE")).ensure(Ask(), apply=True)
    placed = await flow.sandbox.post("state", orders=[{"lines": [{"sku": flow.skus[0]["sku"], "quantity": 1}]}])
    async with asyncio.timeout(30):
        while order_id(CHANNEL.id, placed["orders"][0]) not in (await flow.known()).orders:
            await flow.look()
            await asyncio.sleep(0.02)
        while (await flow.known()).units != (await flow.direct()).units:
            await flow.look()
            await asyncio.sleep(0.02)
    assert (await flow.sandbox.get("webhooks"))["counts"].get("failed", 0) == 0
