"""What reads cost and answer, counted at the platforms and not by us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from benchmarks.whole import Whole, whole_house
from tests.flows.crowd import gathered

STOCK = """query($skus: [String!]!, $maxAge: Duration, $onStale: OnStale) {
  stock(skus: $skus, maxAge: $maxAge, onStale: $onStale) {
    sku availableToSell freshness asOf levels { location { code } onHand reserved availableToSell freshness asOf }
    explanation { quantity } } }"""


@pytest.fixture(scope="module")
async def whole(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    # A call whose token has died is made a second time. Amazon's live an hour of the sandbox's clock: longer than this file.
    async with whole_house(
        new_database(), redis_url, tmp_path_factory.mktemp("whole"), speed=20, products=500, orders=60
    ) as made:
        yield made


@pytest.fixture(autouse=True)
async def healthy(whole: Whole) -> AsyncIterator[None]:
    yield
    await whole.amazon.faults()
    await whole.shop.faults()
    for source in whole.app.standing.shelf.live.sources:
        source.breaker.succeeded()


async def skus_of(whole: Whole, *marketplaces: str, fulfilled_by: str = "AMAZON") -> list[str]:
    """SKUs that Amazon lists in exactly these marketplaces, by who fulfills."""
    told = (await whole.amazon.get("world?limit=500"))["skus"]
    return [
        one["sku"] for one in told if one["marketplaces"] == list(marketplaces) and one["fulfilledBy"] == fulfilled_by
    ]


async def test_250_cold_skus_of_one_marketplace_cost_five_calls_and_a_warm_one_none(whole: Whole) -> None:
    skus = (await skus_of(whole, "US"))[:250]
    assert len(skus) == 250
    mark = await whole.amazon.mark()
    told = await whole.ask(STOCK, bill=True, skus=skus, maxAge="PT0S")
    assert {stock["freshness"] for stock in told["data"]["stock"]} == {"LIVE"}
    calls = await whole.amazon.calls(mark, "getInventorySummaries")
    assert [len(call["ids"]) for call in calls] == [50] * 5
    mark = await whole.amazon.mark()
    warm = await whole.data(STOCK, skus=skus)
    assert {stock["freshness"] for stock in warm["stock"]} == {"FRESH"}
    assert await whole.amazon.calls(mark) == []


async def test_twenty_clients_at_once_cost_the_same_five_calls(whole: Whole) -> None:
    skus = (await skus_of(whole, "US"))[:250]
    mark = await whole.amazon.mark()
    with gathered(whole, 20):
        answers = await asyncio.gather(*(whole.ask(STOCK, bill=True, skus=skus, maxAge="PT0S") for _ in range(20)))
    assert len(await whole.amazon.calls(mark, "getInventorySummaries")) == 5
    bills = [answer["extensions"]["bill"] for answer in answers]
    assert sum(bill["upstreamCalls"] for bill in bills) == 6, "five of Amazon and one of the shop"
    assert any(line["coalesced"] for bill in bills for line in bill["byOperation"])


async def test_products_with_everything_cost_what_their_stock_costs(whole: Whole) -> None:
    skus = (await skus_of(whole, "US"))[:100]
    mark, shop_mark = await whole.amazon.mark(), await whole.shop.mark()
    told = await whole.ask(
        """query($skus: [String!]) { products(first: 100, filter: {skus: $skus}) { nodes {
            sku stock(maxAge: "PT0S") { availableToSell freshness } listings { status channel { name } } } } }""",
        bill=True,
        skus=skus,
    )
    assert len(told["data"]["products"]["nodes"]) == 100
    calls = await whole.amazon.calls(mark)
    assert [call["operation"] for call in calls] == ["getInventorySummaries"] * 2
    assert len(await whole.shop.calls(shop_mark)) == 1
    assert told["extensions"]["bill"]["upstreamCalls"] == 3


async def test_a_live_refresh_that_is_deferred_costs_no_call_more(whole: Whole) -> None:
    """The catalog is there at once; the stock of all products comes later, asked for together."""
    skus = (await skus_of(whole, "US"))[:100]
    mark, shop_mark = await whole.amazon.mark(), await whole.shop.mark()
    query = """query($skus: [String!]) { products(first: 100, filter: {skus: $skus}) { nodes {
        sku ... @defer { stock(maxAge: "PT0S") { freshness } } } } }"""
    answer = await whole.http.post(
        "/graphql",
        json={"query": query, "variables": {"skus": skus}},
        headers={"authorization": f"Bearer {whole.admin}", "accept": "multipart/mixed;incrementalSpec=v0.2"},
    )
    bodies = [part.partition("\r\n\r\n")[2] for part in answer.text.split("\r\n--graphql")]
    first, *rest = [json.loads(body) for body in bodies if body]
    assert sorted(first["data"]["products"]["nodes"], key=str) == [{"sku": sku} for sku in sorted(skus)]
    told = [one["data"]["stock"]["freshness"] for part in rest for one in part.get("incremental", [])]
    assert told == ["LIVE"] * 100
    assert [call["operation"] for call in await whole.amazon.calls(mark)] == ["getInventorySummaries"] * 2
    assert len(await whole.shop.calls(shop_mark)) == 1


async def test_the_bill_equals_the_journals(whole: Whole) -> None:
    skus = (await skus_of(whole, "US", "DE", "FR", "JP"))[:60]
    mark, shop_mark = await whole.amazon.mark(), await whole.shop.mark()
    told = await whole.ask(STOCK, bill=True, skus=skus, maxAge="PT0S")
    journal: dict[tuple[str, str], int] = {}
    for call in await whole.amazon.calls(mark):
        journal["amazon", call["operation"]] = journal.get(("amazon", call["operation"]), 0) + 1
    for call in await whole.shop.calls(shop_mark):
        journal["shop", call["operation"]] = journal.get(("shop", call["operation"]), 0) + 1
    billed: dict[tuple[str, str], int] = {}
    for line in told["extensions"]["bill"]["byOperation"]:
        key = (
            line["channel"].partition(":")[2].partition("-")[0] or line["channel"].partition("-")[0],
            line["operation"],
        )
        billed[key] = billed.get(key, 0) + line["calls"]
    assert billed == journal
    assert journal["amazon", "getInventorySummaries"] == 6, "two calls for each of the pools US, EU and JP"


async def test_numbers_are_the_platforms_own_and_a_pan_eu_pool_counts_once(whole: Whole) -> None:
    told = (await whole.amazon.get("world?limit=500"))["skus"]
    everywhere = next(one for one in told if "DE" in one["marketplaces"] and one["fulfilledBy"] == "AMAZON")
    sku = everywhere["sku"]
    await whole.amazon.post("state", {"stock": [{"sku": sku, "pool": "EU", "quantity": 77}]})
    await whole.shop.post("state", {"stock": [{"sku": sku, "location": "Berlin", "quantity": 5}]})
    await whole.shop.post("state", {"stock": [{"sku": sku, "location": "Reno", "quantity": 6}]})
    (stock,) = (await whole.data(STOCK, skus=[sku], maxAge="PT0S"))["stock"]
    levels = {level["location"]["code"]: level["availableToSell"] for level in stock["levels"]}
    assert (levels["fba-eu"], levels["BER"], levels["RNO"]) == (77, 5, 6)
    assert set(levels) == {"fba-eu", "fba-us", "fba-jp", "BER", "RNO"}
    assert stock["availableToSell"] == sum(levels.values()) == sum(term["quantity"] for term in stock["explanation"])


DOWN: list[dict[str, Any]] = [
    {"operation": "getInventorySummaries", "kind": "status", "status": 503},
    {"operation": "getInventorySummaries", "kind": "status", "status": 429},
    {"operation": "getInventorySummaries", "kind": "reset"},
    {"operation": "getInventorySummaries", "kind": "truncate"},
]


@pytest.mark.parametrize("fault", DOWN, ids=lambda fault: f"{fault['kind']}{fault.get('status', '')}")
async def test_a_platform_that_is_down_leaves_its_last_reading_with_its_true_age(
    whole: Whole, fault: dict[str, Any]
) -> None:
    (sku, *_) = await skus_of(whole, "US")
    (before,) = (await whole.data(STOCK, skus=[sku], maxAge="PT0S"))["stock"]
    read_at = {level["location"]["code"]: level for level in before["levels"]}
    assert read_at["fba-us"]["freshness"] == "LIVE"
    await whole.amazon.faults(fault)
    (after,) = (await whole.data(STOCK, skus=[sku], maxAge="PT0S"))["stock"]
    grades = {level["location"]["code"]: level["freshness"] for level in after["levels"]}
    assert grades == {"fba-us": "STALE", "BER": "LIVE", "RNO": "LIVE"}
    assert after["freshness"] == "STALE"
    now_at = {level["location"]["code"]: level["asOf"] for level in after["levels"]}
    assert now_at["fba-us"] == read_at["fba-us"]["asOf"]
    assert after["asOf"] == min(now_at.values())
    failed = await whole.ask(STOCK, skus=[sku], maxAge="PT0S", onStale="FAIL")
    assert failed["data"]["stock"] == [None]
    assert [(error["path"], error["extensions"]["code"]) for error in failed["errors"]] == [(["stock", 0], "TOO_STALE")]


async def test_a_storefront_key_reads_stock_and_products_and_nothing_else(whole: Whole) -> None:
    (sku, *_) = await skus_of(whole, "US")
    told = await whole.data(
        "query($s: [String!]!, $k: String!) { stock(skus: $s) { sku } product(sku: $k) { title } }",
        whole.storefront,
        s=[sku],
        k=sku,
    )
    assert told["stock"] == [{"sku": sku}]
    for query in (
        "{ orders { totalCount } }",
        "{ channels { id } }",
        "{ operations { totalCount } }",
        "{ budgets { operation } }",
    ):
        refused = await whole.ask(query, whole.storefront)
        assert [error["extensions"]["code"] for error in refused["errors"]] == ["FORBIDDEN"], query


async def test_open_orders_of_both_platforms_are_there(whole: Whole) -> None:
    told = await whole.data("{ orders(first: 100) { totalCount nodes { externalId status channel { platform } } } }")
    ours = {node["externalId"] for node in told["orders"]["nodes"]}
    assert told["orders"]["totalCount"] == len(ours)
    for platform in (whole.amazon, whole.shop):
        open_there = {order["id"] for order in (await platform.get("world"))["orders"]}
        assert len(open_there) > 5
        assert open_there <= ours
