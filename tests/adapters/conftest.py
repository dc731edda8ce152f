"""Budgets and tokens on an empty Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from adapters.budget import Budgets
from adapters.tokens import TokenStore
from tests.adapters.bench import NeverUsed


@pytest.fixture
async def budgets(redis: Redis) -> AsyncIterator[Budgets]:
    made = Budgets(redis, NeverUsed())
    yield made
    await made.settle()


@pytest.fixture
async def tokens(redis: Redis) -> AsyncIterator[TokenStore]:
    made = TokenStore(redis)
    yield made
    await made.settle()
