"""A worker that watches canaries and nothing else, in a process of its own that a test may have killed."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from store.session import Store
from tests.workers.fake_port import make_port
from tests.workers.house import make_deps
from workers import crash, price_canary


def watch(database_url: str, redis_url: str, crash_at: str) -> None:
    """Look once, until that place is passed."""
    crash.plan(crash_at)
    asyncio.run(price_canary.watch(make_deps(Store(database_url), Redis.from_url(redis_url), [make_port()])))
