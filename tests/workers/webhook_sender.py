"""A worker that tells webhooks and nothing else, in a process of its own that a test may have killed."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from domain.target import Reach
from store.keyring import Keyring
from store.session import Store
from tests.workers.fake_port import make_port
from tests.workers.house import make_deps
from workers import crash, webhooks_out
from workers.deps import WebhookTerms


def tell(database_url: str, redis_url: str, key: str, crash_at: str) -> None:
    """Tell until that place is passed."""
    crash.plan(crash_at)
    asyncio.run(_tell(Store(database_url), Redis.from_url(redis_url), Keyring([key])))


async def _tell(store: Store, redis: Redis, ring: Keyring) -> None:
    terms = WebhookTerms(Reach(loopback=True), "/acorn/test")
    deps = make_deps(store, redis, [make_port()], ring=ring, webhooks=terms)
    await webhooks_out.tell(deps, lambda: None)
