"""A shop to talk to: the sandbox as a server of its own, or a network with a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from adapters.budget import Budgets
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.platform import ShopifyPort
from adapters.tokens import TokenStore
from adapters.transport import Transport
from adapters.vault import Vault
from sandbox.visit import serving
from tests.adapters.shopify.bench import CHANNEL, LAG_S, OpenPort, Sandbox, location


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with (
        serving("shopify", products=600, orders=600, lag=LAG_S) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        made = Sandbox(url, http)
        world = await made.get("world", limit=1)
        made.locations = [location(place["name"].upper(), place["id"]) for place in world["locations"]]
        yield made


@pytest.fixture
async def open_port(budgets: Budgets, tokens: TokenStore) -> AsyncIterator[OpenPort]:
    """Makes a port to `endpoint`, or one whose network is `wire`."""
    made: list[Transport] = []

    def build(
        endpoint: str = "http://shop.test", wire: Any = None, vault: Vault | None = None, **settings: Any
    ) -> ShopifyPort:
        made.append(Transport(wire=wire))
        known = {"access_token": "shpat_sandbox"} | settings
        config = ShopifyConfig(CHANNEL, "acorn.myshopify.com", endpoint=endpoint, visibility_lag_s=LAG_S, **known)
        return ShopifyPort(config, made[-1], tokens, budgets, vault)

    yield build
    for transport in made:
        await transport.close()


@pytest.fixture
async def port(sandbox: Sandbox, open_port: OpenPort) -> AsyncIterator[ShopifyPort]:
    """The sandbox's shop, with a full bucket and nothing in its way."""
    await sandbox.faults()
    await sandbox.post("plans", maximumAvailable=2000, restoreRate=100)
    yield open_port(sandbox.url)
    await sandbox.faults()
