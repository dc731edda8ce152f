"""Clients that go away mid-flight leave nothing behind: no connection, no task, no budget token, no slot."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from benchmarks.whole import Whole, whole_house

STOCK = 'query($skus: [String!]!) { stock(skus: $skus, maxAge: "PT0S") { freshness } }'
CLIENTS = 1_000


@pytest.fixture(scope="module")
async def whole(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    # The plan is wide, so that the calls are on the wire, and not in the queue, when their clients go.
    folder = tmp_path_factory.mktemp("cancelled")
    async with whole_house(new_database(), redis_url, folder, speed=200, products=200, orders=20) as made:
        yield made


def tasks() -> Counter[str]:
    """What runs in this process, by what it is."""
    return Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())


async def test_a_thousand_cancelled_clients_leave_nothing_behind(whole: Whole) -> None:
    told = (await whole.amazon.get("world?limit=200"))["skus"]
    skus = [one["sku"] for one in told if one["marketplaces"] == ["US"] and one["fulfilledBy"] == "AMAZON"]
    headers = {"authorization": f"Bearer {whole.admin}"}
    assert (await whole.ask(STOCK, skus=skus[:1]))["data"]["stock"] == [{"freshness": "LIVE"}]
    before = tasks()
    slow = {"kind": "latency", "seconds": 0.05}
    await whole.amazon.faults({"operation": "getInventorySummaries", **slow})
    await whole.shop.faults({"operation": "*", **slow})
    dice = random.Random(7)

    async def client(number: int) -> bool:
        """Whether it was gone before its answer came."""
        body = {"query": STOCK, "variables": {"skus": [skus[number % len(skus)]]}}
        try:
            async with asyncio.timeout(dice.uniform(0.0, 0.06)):
                await http.post("/graphql", json=body, headers=headers)
        except TimeoutError:
            return True
        return False

    gone = 0
    limits = httpx.Limits(max_connections=None)
    for start in range(0, CLIENTS, 40):
        # A client of its own for each wave: httpx's pool is what loses slots when its requests are cancelled.
        async with httpx.AsyncClient(base_url=whole.url, timeout=30, limits=limits) as http:
            gone += sum(await asyncio.gather(*(client(number) for number in range(start, start + 40))))
    assert gone > CLIENTS / 2
    await whole.amazon.faults()
    await whole.shop.faults()
    async with asyncio.timeout(60):
        while tasks() - before:
            await asyncio.sleep(0.05)
    told = await whole.data("{ budgets { operation waiting } }")
    assert {one["waiting"] for one in told["budgets"]} == {0}
    for source in whole.app.standing.shelf.live.sources:
        source.breaker.succeeded()
    async with asyncio.timeout(30):
        after = await whole.data(STOCK, skus=skus[:50])
    assert after["stock"] == [{"freshness": "LIVE"}] * 50
