"""A crowd on one SKU, two gateways, workers that die: what is sold is what was there."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.rehearsal import Crew
from benchmarks.whole import Whole, served, whole_house
from gateway.app import App

BUYERS, UNITS = 200, 50
SEEDS = range(1000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 2)

ADJUST = "mutation($input: AdjustStockInput!) { adjustStock(input: $input) { userErrors { message } } }"
RESERVE = """mutation($sku: String!, $key: String!) { reserveStock(input: {
  lines: [{ sku: $sku, quantity: 1 }], ttl: "PT5M", idempotencyKey: $key }) { reservation { id } userErrors { code } } }"""
COMMIT = "mutation($id: ID!) { commitReservation(id: $id) { reservation { status } userErrors { code message } } }"
STOCK = "query($sku: String!) { stock(skus: [$sku]) { levels { location { code } reserved } } }"
CHECK = "mutation { checkLedger { check { wrong { sku } } } }"


@pytest.fixture(scope="module")
async def whole(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    folder = tmp_path_factory.mktemp("sale")
    async with whole_house(new_database(), redis_url, folder, speed=40, products=40, orders=0, ledger=True) as made:
        yield made


@pytest.fixture(scope="module")
async def gateways(whole: Whole) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of two gateways on one database."""
    # A crowd on a slow machine waits for long, and is not what is refused here.
    headers = {"authorization": f"Bearer {whole.admin}", "x-acorn-deadline-ms": "30000"}
    other = App(whole.settings)
    async with (
        served(other) as (_, url),
        httpx.AsyncClient(base_url=whole.url, headers=headers, timeout=60) as one,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as two,
    ):
        yield [one, two]


@pytest.fixture(scope="module")
async def crew(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crew]:
    """Two workers."""
    settings = {
        "database_url": whole.settings.database_url.get_secret_value(),
        "redis_url": whole.settings.redis_url.get_secret_value(),
        "config": str(whole.settings.config),
    }
    hired = Crew(settings, Path(tmp_path_factory.mktemp("crew")))
    hired.hire()
    hired.hire()
    yield hired
    await asyncio.to_thread(hired.dismiss)


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> Any:
    """The data of a query that has no errors; asked again as it says where a crowd has all connections to the database."""
    async with asyncio.timeout(60):
        while True:
            told = (await client.post("/graphql", json={"query": query, "variables": variables})).json()
            codes = [one["extensions"]["code"] for one in told.get("errors", [])]
            if codes != ["UNAVAILABLE"]:
                assert not codes, told["errors"]
                return told["data"]


async def buy(gateways: list[httpx.AsyncClient], sku: str, key: str, dice: random.Random) -> str:
    """One buyer: what came of it. Some lose their connection in the middle, and ask again with the same key elsewhere."""
    await asyncio.sleep(dice.random() * 0.3)
    if dice.random() < 0.2:
        with suppress(TimeoutError):
            async with asyncio.timeout(dice.random() * 0.05):
                await ask(dice.choice(gateways), RESERVE, sku=sku, key=key)
    held = (await ask(dice.choice(gateways), RESERVE, sku=sku, key=key))["reserveStock"]
    if held["reservation"] is None:
        assert [one["code"] for one in held["userErrors"]] == ["INSUFFICIENT_STOCK"]
        return "SOLD_OUT"
    for _ in range(1 + (dice.random() < 0.2)):
        bought = (await ask(dice.choice(gateways), COMMIT, id=held["reservation"]["id"]))["commitReservation"]
        assert bought["userErrors"] == []
    return str(bought["reservation"]["status"])


@pytest.fixture(scope="module")
async def sku(whole: Whole, gateways: list[httpx.AsyncClient]) -> str:
    """A SKU of ours alone, sold out."""
    told = (await whole.amazon.get("world?limit=100"))["skus"]
    one = str(next(one["sku"] for one in told if one["fulfilledBy"] != "AMAZON"))
    levels = (await ask(gateways[0], STOCK, sku=one))["stock"][0]["levels"]
    promised = {level["location"]["code"]: level["reserved"] for level in levels}
    emptied = [{"sku": one, "location": place, "setTo": units} for place, units in promised.items()]
    await ask(gateways[0], ADJUST, input={"reason": "sold out", "adjustments": emptied})
    return one


@pytest.mark.parametrize("seed", SEEDS)
async def test_fifty_units_are_sold_fifty_times(
    gateways: list[httpx.AsyncClient], crew: Crew, sku: str, seed: int
) -> None:
    dice = random.Random(seed)
    arrived = {"sku": sku, "location": "BER", "delta": UNITS, "kind": "RECEIPT"}
    await ask(gateways[0], ADJUST, input={"reason": f"sale {seed}", "adjustments": [arrived]})

    async def nemesis() -> None:
        while True:
            await asyncio.sleep(0.2 + dice.random() * 0.3)
            await asyncio.to_thread(crew.kill, dice)

    killer = asyncio.create_task(nemesis())
    try:
        buyers = (
            buy(gateways, sku, f"{seed}-{number}", random.Random(seed * 1000 + number)) for number in range(BUYERS)
        )
        ends = await asyncio.gather(*buyers)
    finally:
        killer.cancel()
        with suppress(asyncio.CancelledError):
            await killer
    assert (ends.count("COMMITTED"), ends.count("SOLD_OUT")) == (UNITS, BUYERS - UNITS)
    assert (await ask(gateways[1], CHECK))["checkLedger"]["check"]["wrong"] == []
