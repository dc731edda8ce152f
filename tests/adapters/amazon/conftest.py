"""Ports in front of written answers, and in front of the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from tests.adapters.amazon.bench import Desk, Line, Sandbox, make_config, make_desk


@pytest.fixture
def line() -> Line:
    """What Amazon answers in this test."""
    return Line()


@pytest.fixture
async def desk(redis: Redis, line: Line) -> AsyncIterator[Desk]:
    """The North American account in front of `line`."""
    made = make_desk(redis, make_config(), httpx.MockTransport(line))
    yield made
    await made.close()


@pytest.fixture(scope="session")
async def shared_sandbox() -> AsyncIterator[Sandbox]:
    """The demo's world."""
    started = Sandbox()
    yield started
    await started.close()


@pytest.fixture
async def sandbox(shared_sandbox: Sandbox) -> Sandbox:
    """The demo's world without faults, with its published plans and full buckets, writes seen after 2 s."""
    await shared_sandbox.post("faults", {"faults": []})
    await shared_sandbox.post("lag", {"seconds": 2})
    await shared_sandbox.post("clock", {"advance": 3})  # what the test before it has written is seen by now
    await shared_sandbox.post("disagreements", {"disagreements": []})
    await shared_sandbox.post("ignored-patches", {"count": 0})
    published = {
        "getInventorySummaries": {"rate": 2, "burst": 2},
        "searchListingsItems": {"rate": 5, "burst": 5},
        "getListingsItem": {"rate": 5, "burst": 10},
        "patchListingsItem": {"rate": 5, "burst": 5},
        "searchOrders": {"rate": 0.0056, "burst": 20},
        "getOrder": {"rate": 0.5, "burst": 30},
        "confirmShipment": {"rate": 2, "burst": 10},
        "getMarketplaceParticipations": {"rate": 0.016, "burst": 15},
    }
    await shared_sandbox.post("plans", published)
    return shared_sandbox


@pytest.fixture
async def open_desk(redis: Redis) -> AsyncIterator[Callable[..., Desk]]:
    """Opens the sandbox's account of a region: `open_desk(sandbox, "eu")`."""
    opened: list[Desk] = []

    def open_one(at: Sandbox, region: str = "na", **changes: Any) -> Desk:
        opened.append(make_desk(redis, make_config(region, at.url, **changes)))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.close()
