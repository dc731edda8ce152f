"""An aggregator of carriers to talk to: the sandbox as a server of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from adapters.budget import Budgets
from adapters.carrier.labels import CarrierLabels
from adapters.rest.client import RestClient
from adapters.rest.config import RestConfig
from adapters.tokens import TokenStore
from adapters.transport import Limits, Transport
from domain.channel import Channel, Platform
from domain.ids import ChannelId
from sandbox.visit import serving
from tests.adapters.bench import Sandbox

OpenLabels = Callable[..., CarrierLabels]


@pytest.fixture(scope="session")
async def parcels() -> AsyncIterator[Sandbox]:
    async with serving("carrier") as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield Sandbox(url, http)


@pytest.fixture
async def open_labels(budgets: Budgets, tokens: TokenStore, parcels: Sandbox) -> AsyncIterator[OpenLabels]:
    """Makes a client of the sandbox, or of a network that is `wire`; who waits for an answer waits for a second."""
    made: list[Transport] = []

    def build(token: str = "ct_sandbox", wire: httpx.AsyncBaseTransport | None = None) -> CarrierLabels:
        made.append(Transport(limits=Limits(read_s=1.0, total_s=2.0), wire=wire))
        channel = Channel(ChannelId("parcels"), Platform.REST, "Parcels", sandbox=True)
        config = RestConfig(channel, f"{parcels.url}/v1", token)
        return CarrierLabels(RestClient(config, made[-1], tokens, budgets))

    await parcels.faults()
    await parcels.post("plans", q=6000, w=60)
    yield build
    await parcels.faults()
    for transport in made:
        await transport.close()


@pytest.fixture
def labels(open_labels: OpenLabels) -> CarrierLabels:
    return open_labels()
