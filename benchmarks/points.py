"""Several processes spend one shop's points, with the rate budget in front, against the sandbox's strict bucket.

    python -m benchmarks.budget --platform shopify --processes 3 --seconds 30

Measured from when what was saved up is spent, so the bound is the restore rate alone: rate x seconds. Documents differ in what
they ask for and what they take in the end; some ask for ten times that. The sandbox counts what they took and whom it throttled.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import httpx
from redis.asyncio import Redis

from adapters.budget import Budgets
from adapters.shopify.client import PLAN, ShopClient
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.document import Document
from adapters.shopify.documents import ITEMS, STOCK, VARIANTS
from adapters.tokens import TokenStore
from adapters.transport import Transport
from benchmarks.stage import FirstDay, redis, sandbox
from domain.budget import Ask
from domain.channel import Channel, Platform
from domain.errors import Throttled, Unauthorized
from domain.ids import ChannelId

# Few rows, so that the sandbox is quick and what is asked for is far more than what is taken.
PRODUCTS = 20
TOKEN = "shpat_sandbox"
# The bucket counts as spent when it holds less than this, and is to be so within that. A little later it holds what the callers
# need to be several at a time, which is more the slower this machine is.
EMPTY, LONGEST_START_S, SETTLE_S = 300.0, 90.0, 5.0
MIX: tuple[tuple[Document, dict[str, object]], ...] = (
    (STOCK, {"ids": ["gid://shopify/InventoryItem/41000000000001"]}),
    (VARIANTS, {}),
    (ITEMS, {}),
    (VARIANTS, {"query": "sku:'NONE'"}),
)


@dataclass(frozen=True, slots=True)
class Work:
    """What every process does: `callers` send one document after the other as fast as the budget lets them, until the shop takes
    their token no more, or `stop_at` (monotonic)."""

    redis_url: str
    channel: ChannelId
    shop: str
    callers: int
    stop_at: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What the sandbox counted, over so many seconds."""

    points: float
    throttled: int
    seconds: float
    rate: float

    @property
    def share(self) -> float:
        return self.points / (self.rate * self.seconds)


def measure(processes: int, seconds: float, callers: int, *, rate: float = PLAN.rate) -> Spent:
    """One run. `seconds` are counted from when what was saved up is spent. Raises RuntimeError where it never is."""
    with (
        sandbox("shopify", "--products", str(PRODUCTS)) as shop,
        redis() as redis_url,
        httpx.Client(base_url=f"{shop}/_sandbox", timeout=30) as control,
    ):
        control.post("/plans", json={"maximumAvailable": PLAN.burst, "restoreRate": rate}).raise_for_status()
        stop_at = time.monotonic() + LONGEST_START_S + SETTLE_S + seconds
        work = Work(redis_url, ChannelId(f"benchmark-{uuid4().hex}"), shop, callers, stop_at)
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            under_way = [pool.submit(hammer, work) for _ in range(processes)]
            try:
                _wait_until_spent(control)
                time.sleep(SETTLE_S)
                before, since = _points(control)
                time.sleep(seconds)
                after, until = _points(control)
            finally:
                control.post("/tokens", json={"token": TOKEN, "scopes": []}).raise_for_status()
            for each in under_way:
                each.result()
        throttled = int(control.get("/points").json()["throttled"])
        return Spent(after - before, throttled, until - since, rate)


def _wait_until_spent(control: httpx.Client) -> None:
    give_up_at = time.monotonic() + LONGEST_START_S
    while control.get("/plans").json()["currentlyAvailable"] > EMPTY:
        if time.monotonic() > give_up_at:
            raise RuntimeError("what was saved up was not spent in time: this machine is too slow for so many points")
        time.sleep(0.1)


def hammer(work: Work) -> None:
    """One process, until the shop takes its token no more."""
    asyncio.run(_hammer(work))


async def _hammer(work: Work) -> None:
    connection, transport = Redis.from_url(work.redis_url), Transport()
    budgets = Budgets(connection, FirstDay())
    channel = Channel(work.channel, Platform.SHOPIFY, "Benchmark", sandbox=True)
    config = ShopifyConfig(channel, "acorn.myshopify.com", access_token=TOKEN, endpoint=work.shop)
    client = ShopClient(config, transport, TokenStore(connection), budgets)
    async with asyncio.TaskGroup() as group:
        for place in range(work.callers):
            group.create_task(_send_until_the_end(client, work.stop_at, place))
    await budgets.settle()
    await transport.close()
    await connection.aclose()


async def _send_until_the_end(client: ShopClient, stop_at: float, place: int) -> None:
    for document, variables in itertools.islice(itertools.cycle(MIX), place, None):
        try:
            await client.run(document, variables, Ask(deadline=stop_at))
        except Unauthorized:
            return
        except Throttled as problem:
            if time.monotonic() + problem.retry_after_s > stop_at:
                return
            await asyncio.sleep(problem.retry_after_s)


def _points(control: httpx.Client) -> tuple[float, float]:
    """Points that documents have cost so far, and when."""
    spent = float(control.get("/points").json()["spent"])
    return spent, time.monotonic()
