"""Reads at Amazon's published, unhurried plan: two calls a second, two at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from benchmarks.whole import Whole, whole_house
from resolvers import stock as resolver
from tests.flows.crowd import gathered
from tests.workers.house import until

STOCK = """query($skus: [String!]!) { stock(skus: $skus, maxAge: "PT0S") { freshness
  levels { location { code } freshness } } }"""


@pytest.fixture(scope="module")
async def whole(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    folder = tmp_path_factory.mktemp("strict")
    async with whole_house(new_database(), redis_url, folder, speed=1, products=500, orders=20) as made:
        yield made


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind an empty bucket live answers take most of the time that they are waited for: on a slow machine more than that."""
    monkeypatch.setattr(resolver, "PATIENCE_S", 30.0)


@pytest.fixture(scope="module")
async def skus(whole: Whole) -> list[str]:
    told = (await whole.amazon.get("world?limit=500"))["skus"]
    return [one["sku"] for one in told if one["marketplaces"] == ["US"] and one["fulfilledBy"] == "AMAZON"][:250]


async def test_250_skus_are_live_again_and_again_at_five_calls_each(whole: Whole, skus: list[str]) -> None:
    for _ in range(2):  # the second time right behind the first, when the bucket is empty
        mark = await whole.amazon.mark()
        stock = (await whole.data(STOCK, skus=skus))["stock"]
        assert Counter(one["freshness"] for one in stock) == {"LIVE": 250}
        calls = await whole.amazon.calls(mark)
        assert [(call["operation"], call["status"]) for call in calls] == [("getInventorySummaries", 200)] * 5


async def test_twenty_clients_right_behind_share_five_calls_too(whole: Whole, skus: list[str]) -> None:
    mark = await whole.amazon.mark()
    with gathered(whole, 20):
        answers = await asyncio.gather(*(whole.data(STOCK, skus=skus) for _ in range(20)))
    assert Counter(one["freshness"] for answer in answers for one in answer["stock"]) == {"LIVE": 20 * 250}
    assert len(await whole.amazon.calls(mark, "getInventorySummaries")) == 5


async def test_a_page_view_does_not_wait_for_an_empty_bucket(whole: Whole, skus: list[str]) -> None:
    await whole.data(STOCK, skus=skus)
    mark = await whole.amazon.mark()
    [source] = [one for one in whole.app.standing.shelf.live.sources if one.port.channel.id == "amazon-na"]
    budgets, channel, plan = whole.app.standing.shelf.budgets, source.port.channel.id, source.port.stock_plan

    async def queued() -> bool:
        return (await budgets.states([(channel, plan)]))[0].waiting > 0

    # It hardly fills from here on: to somebody it is empty who takes many times as long as usual.
    await budgets.adopt(channel, plan.operation, rate=0.15, remaining=0)
    headers = {"authorization": f"Bearer {whole.admin}", "x-acorn-deadline-ms": "30000"}
    body = {"query": STOCK, "variables": {"skus": skus[50:]}}
    many = asyncio.create_task(whole.http.post("/graphql", json=body, headers=headers))
    await until(queued)
    (stock,) = (await whole.data(STOCK, skus=skus[:1]))["stock"]
    grades = {level["location"]["code"]: level["freshness"] for level in stock["levels"]}
    assert grades == {"fba-us": "STALE", "BER": "LIVE", "RNO": "LIVE"}
    await budgets.adopt(channel, plan.operation, rate=plan.rate)
    assert Counter(one["freshness"] for one in (await many).json()["data"]["stock"]) == {"LIVE": 200}
    assert len(await whole.amazon.calls(mark)) == 4, "those of the many"
