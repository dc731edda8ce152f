"""A small sandbox in this process, on a clock that stands still until it is advanced."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from sandbox.amazon.app import build
from sandbox.amazon.auth import CLIENT_ID, CLIENT_SECRET
from sandbox.amazon.visit import EU, NA, Seller
from sandbox.options import Options
from sandbox.visit import inside


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    async with inside(build(Options(products=200, orders=300, speed=0, start=start))) as visitor:
        yield visitor


@pytest.fixture
async def na(client: httpx.AsyncClient) -> Seller:
    return await Seller.login(client, NA)


@pytest.fixture
async def eu(client: httpx.AsyncClient) -> Seller:
    return await Seller.login(client, EU)


@pytest.fixture
async def app(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The application itself, without a seller; its answers are held against the model."""
    form = {
        "grant_type": "client_credentials",
        "scope": "sellingpartnerapi::notifications",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    token = (await client.post("/auth/o2/token", data=form)).json()["access_token"]
    plan = {"rate": 1000, "burst": 1000}
    names = ("getDestinations", "createDestination", "deleteDestination", "getSubscriptions", "getSubscription")
    await client.post(
        "/_sandbox/plans", json=dict.fromkeys((*names, "createSubscription", "deleteSubscriptionById"), plan)
    )
    headers = {"x-amz-access-token": token}
    transport = client._transport
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers) as grantless:
        yield grantless
