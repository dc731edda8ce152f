"""Routes to FBA stock, through the sandbox: which one is taken under which budget, what it costs, and that all tell the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from adapters.port import StockKey
from adapters.route import Question, Routes, readings
from domain.budget import Ask, Priority
from domain.ids import ChannelSku
from domain.route import Way, Wish
from domain.stock import Reading
from tests.adapters.amazon.bench import Desk, Sandbox, make_pool

OpenDesk = Callable[..., Desk]
STOCK = "getInventorySummaries"


@pytest.fixture(scope="module")
async def large_sandbox() -> AsyncIterator[Sandbox]:
    """More than 5,000 SKUs in the American pool; reports are ready at once."""
    started = Sandbox("--products", "5600", "--orders", "0")
    await started.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    yield started
    await started.close()


async def fba_skus(sandbox: Sandbox, marketplace: str) -> list[str]:
    world = (await sandbox.get("world", limit=100_000))["skus"]
    return [one["sku"] for one in world if marketplace in one["marketplaces"] and one["fulfilledBy"] == "AMAZON"]


async def budget(sandbox: Sandbox, desk: Desk, rate: float) -> None:
    """Amazon grants so many calls for stock a second, and we know it."""
    plan = desk.port.plans[STOCK]
    await sandbox.post("plans", {STOCK: {"rate": rate, "burst": 100}})
    await desk.budgets.spend(desk.channel, plan, Ask())
    await desk.budgets.adopt(desk.channel, STOCK, rate=rate)


def told(found: list[Reading]) -> dict[str, Any]:
    """Readings by SKU: the counts, and the kinds that every route tells apart."""
    assert len(found) == len({one.channel_sku for one in found})
    counts: dict[str, Any] = {}
    for one in found:
        assert one.units is not None
        units = one.units
        kinds = (units.fn_sku, units.fulfillable, units.inbound_working, units.inbound_shipped, units.inbound_receiving)
        rest = (units.researching, units.unfulfillable)
        counts[one.channel_sku] = (one.location, one.on_hand, one.reserved, one.inbound, *kinds, *rest)
    return counts


async def test_5000_skus_are_refreshed_by_100_calls_or_by_one_report_as_the_budgets_stand(
    large_sandbox: Sandbox, open_desk: OpenDesk
) -> None:
    skus = (await fba_skus(large_sandbox, "US"))[:5000]
    keys = [StockKey(ChannelSku(sku)) for sku in skus]
    answers = []
    for rate, way, wanted in (
        (1000.0, Way.BATCH, {STOCK: 100}),
        (0.1, Way.REPORT, {"createReport": 1, "getReport": 1, "getReportDocument": 1, "download": 1}),
    ):
        desk = open_desk(large_sandbox)
        pool = make_pool(desk.config)
        await budget(large_sandbox, desk, rate)
        since = await large_sandbox.mark()
        question = Question(desk.port, [pool], len(keys), len(keys), Priority.BACKGROUND)
        chosen = await Routes(desk.budgets).choose(question)
        pages = readings(desk.port, chosen, [pool], keys, Ask(Priority.BACKGROUND))
        answers.append(told([one async for page in pages for one in page.items]))
        calls = Counter(call["operation"] for call in await large_sandbox.calls(since))
        assert (chosen, calls) == (way, wanted)
    assert answers[0] == answers[1]
    assert list(answers[0]) == skus


@pytest.mark.parametrize(("region", "marketplace"), [("na", "US"), ("eu", "DE"), ("eu", "FR"), ("fe", "JP")])
async def test_a_walk_and_a_report_tell_the_same_of_every_store(
    sandbox: Sandbox, open_desk: OpenDesk, region: str, marketplace: str
) -> None:
    await sandbox.generous(STOCK)
    await sandbox.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    await sandbox.post("clock", {"advance": 1801})
    desk = open_desk(sandbox, region)
    pool = make_pool(desk.config, marketplace)
    found = {}
    for way in (Way.PAGES, Way.REPORT):
        since = await sandbox.mark()
        pages = [page async for page in desk.port.stock_pages([pool], Ask(), way)]
        assert [one for page in pages for one in page.rejected] == []
        found[way] = told([one for page in pages for one in page.items])
        assert (STOCK in {call["operation"] for call in await sandbox.calls(since)}) == (way is Way.PAGES)
    assert found[Way.PAGES] == found[Way.REPORT]
    assert sorted(found[Way.PAGES]) == sorted(await fba_skus(sandbox, marketplace))


async def test_a_report_that_is_asked_for_again_too_soon_is_walked_around(
    sandbox: Sandbox, open_desk: OpenDesk
) -> None:
    """Another program of the seller may have had the report of this half hour."""
    await sandbox.generous(STOCK)
    await sandbox.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    await sandbox.post("clock", {"advance": 1801})
    for expected in (set(), {STOCK}):
        desk = open_desk(sandbox, "fe")
        since = await sandbox.mark()
        pages = desk.port.stock_pages([make_pool(desk.config)], Ask(), Way.REPORT)
        found = [one.channel_sku async for page in pages for one in page.items]
        assert sorted(found) == sorted(await fba_skus(sandbox, "JP"))
        assert {call["operation"] for call in await sandbox.calls(since)} & {STOCK} == expected


async def test_a_pageful_of_interactive_keys_is_never_made_to_wait_for_a_report(
    large_sandbox: Sandbox, open_desk: OpenDesk
) -> None:
    desk = open_desk(large_sandbox)
    question = Question(desk.port, [make_pool(desk.config)], 250, 5000, Priority.INTERACTIVE)
    choice = (await Routes(desk.budgets).explain(question, Wish(within_s=30))).choice
    assert (choice.taken.route.way, choice.taken.calls) == (Way.BATCH, 5)
    assert {one.route.way: one.lost for one in choice.others}[Way.REPORT].startswith("it is there after 18")
