"""A small sandbox in this process, on a clock that stands still until it is advanced."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from sandbox.amazon.app import build
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
