"""A shop to talk to: the sandbox as a server of its own, or a network with a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from adapters.budget import Budgets
from adapters.rest.config import RestConfig
from adapters.rest.platform import RestPort
from adapters.tokens import TokenStore
from adapters.transport import Transport
from sandbox.visit import serving
from tests.adapters.bench import Sandbox
from tests.adapters.rest.bench import CHANNEL, LAG_S, OpenPort, location
from tests.adapters.rest.contract import ROOT, Contract, Judging


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with (
        serving("shop", products=300, orders=300) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        made = Sandbox(url, http)
        world = await made.get("world", limit=1)
        made.locations = [location(place["name"].upper(), place["id"]) for place in world["locations"]]
        yield made


@pytest.fixture
async def open_port(budgets: Budgets, tokens: TokenStore) -> AsyncIterator[OpenPort]:
    """Makes a port to `url`, or one whose network is `wire`."""
    made: list[Transport] = []

    def build(url: str = "http://shop.test", wire: Any = None, **settings: Any) -> RestPort:
        made.append(Transport(wire=wire))
        known = {"token": "st_sandbox"} | settings
        config = RestConfig(CHANNEL, f"{url}{ROOT}", visibility_lag_s=LAG_S, **known)
        return RestPort(config, made[-1], tokens, budgets)

    yield build
    for transport in made:
        await transport.close()


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract()


@pytest.fixture
async def port(sandbox: Sandbox, open_port: OpenPort, contract: Contract) -> AsyncIterator[RestPort]:
    """The sandbox's shop with nothing in its way, every request and answer judged."""
    await sandbox.faults()
    yield open_port(sandbox.url, Judging(httpx.AsyncHTTPTransport(), contract))
    await sandbox.faults()
