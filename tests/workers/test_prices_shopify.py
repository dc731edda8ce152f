"""Prices on their way to a Shopify shop: answers that are lost, variants that are gone, sales."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from redis.asyncio import Redis

from adapters.budget import Budgets
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.platform import ShopifyPort
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.channel import Channel, Platform
from domain.price import Price, Sale
from sandbox.visit import serving
from store.budget import BudgetMemory
from store.session import Store
from tests.adapters.shopify.bench import Sandbox
from tests.workers.house import make_deps, until
from tests.workers.pricing import QUICK, SHOP, ask, drain, hurry, items, make_priced, sold, usd, wish


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with (
        serving("shopify", products=20, orders=0, lag=0) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        yield Sandbox(url, http)


async def test_each_price_comes_there_once_and_is_seen(store: Store, redis: Redis, sandbox: Sandbox) -> None:
    channel, transport = Channel(SHOP, Platform.SHOPIFY, "Shop", True), Transport()
    config = ShopifyConfig(
        channel, "acorn.myshopify.com", endpoint=sandbox.url, visibility_lag_s=0.1, access_token="shpat_sandbox"
    )
    port = ShopifyPort(config, transport, TokenStore(redis), Budgets(redis, BudgetMemory(store)))
    deps = replace(make_deps(store, redis, [make_priced()], timing=QUICK), ports={SHOP: port}, channels={SHOP: channel})
    there = [one["sku"] for one in (await sandbox.get("world", limit=8))["skus"]]
    listings = await sold(store, SHOP, dict.fromkeys([*there, "NO-SUCH"], Price(usd("20.00"))))
    now = datetime.now(UTC).replace(microsecond=0)
    plain, on = Price(usd("19.00")), Price(usd("19.50"), Sale(usd("18.00"), now - timedelta(hours=1)))
    later = Price(usd("19.00"), Sale(usd("18.00"), now + timedelta(hours=1), now + timedelta(hours=2)))
    wanted = [on, later, *[plain] * (len(listings) - 2)]
    since = (await sandbox.get("journal"))["next"]
    lost = {"operation": "productVariantsBulkUpdate", "kind": "apply_then_reset", "count": 1}
    await sandbox.post("faults", faults=[lost])
    id = await ask(store, *(wish(listing, price) for listing, price in zip(listings, wanted, strict=True)))

    async def over() -> bool:
        await hurry(store)
        await drain(deps)
        return all(row.ended_at for row in await items(store, id))

    await until(over)
    rows = await items(store, id)
    assert [row.status for row in rows] == [*["VERIFIED"] * len(there), "FAILED"]
    assert rows[-1].error_code == "NOT_FOUND"
    told = (await sandbox.get("journal", since=since))["effects"]
    assert Counter(each["key"] for each in told) == Counter(there)
    shown = {each["key"]: (each["detail"]["price"], each["detail"]["compareAtPrice"]) for each in told}
    assert shown[there[0]] == ("18.00", "19.50")
    assert {shown[sku] for sku in there[1:]} == {("19.00", None)}
    await transport.close()
