"""What was said to the platforms can be found by whoever has to, and holds no secret and no buyer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from adapters.amazon.orders import One
from adapters.amazon.platform import AmazonPort
from benchmarks.whole import Whole, key_for, whole_house, working
from domain.budget import Ask
from domain.ids import ChannelId
from sandbox.amazon.orders import PEOPLE as AMAZON_PEOPLE
from sandbox.shopify.seeding import _PEOPLE as SHOP_PEOPLE
from tests.flows.test_shipping import QUICK, heard, open_orders, ship

CALLS = """query($filter: ApiCallFilter) { apiCalls(filter: $filter, first: 100) { totalCount nodes {
  id at operation method path status failure upstreamRequestId subjects request response waited channel { id } } } }"""
ITEMS = """query($id: ID!) { operation(id: $id) { items(first: 10) { nodes {
  upstreamRequestId error { code } apiCalls(first: 5) { id operation status failure } } } } }"""
ORDER = "query($id: ID!) { order(id: $id) { apiCalls(first: 50) { id operation failure } } }"
BUYERS = {name for names, *_ in AMAZON_PEOPLE.values() for name in names} | {
    street for _, street, *_ in AMAZON_PEOPLE.values()
}
SECRETS = {"Atza|", "Atzr|", "sandbox-secret", "shpat_", "@example.test", "@marketplace.amazon"}


@pytest.fixture(scope="module")
async def whole(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    folder = tmp_path_factory.mktemp("raw_log")
    async with (
        whole_house(new_database(), redis_url, folder, speed=40, products=60, orders=60) as made,
        working(made, QUICK),
    ):
        yield made


async def calls(whole: Whole, **filter: Any) -> list[dict[str, Any]]:
    found = (await whole.data(CALLS, filter=filter))["apiCalls"]
    assert found["totalCount"] >= len(found["nodes"])
    nodes: list[dict[str, Any]] = found["nodes"]
    return nodes


async def kept(whole: Whole, **filter: Any) -> list[dict[str, Any]]:
    """The calls, as soon as there are any."""
    async with asyncio.timeout(30):
        while not (found := await calls(whole, **filter)):
            await asyncio.sleep(0.1)
    return found


async def occurring(whole: Whole, words: Sequence[str]) -> set[str]:
    """Those of the words that stand anywhere in the table."""
    query = text(
        "select word from unnest(cast(:words as text[])) word "
        "where exists (select from exchange e where strpos(e::text, word) > 0)"
    )
    async with whole.app.standing.house.store.begin() as tx:
        return set(await tx.scalars(query, {"words": list(words)}))


async def test_a_refused_confirmation_is_found_from_its_order_its_item_and_its_error(whole: Whole) -> None:
    order = (await open_orders(whole, "AMAZON", units=1))[0]
    await whole.amazon.faults({"operation": "confirmShipment", "kind": "status", "status": 400, "count": 1})
    made = await ship(whole, order["id"], "WRONG1")
    operation = made["operation"]["id"]
    assert (await heard(whole, operation))[-1] == "FAILED"
    (call,) = await kept(whole, orderId=order["id"], operation="confirmShipment")
    assert (call["status"], call["method"]) == (400, "POST")
    assert call["failure"]
    assert "WRONG1" in call["request"]
    assert call["response"]
    (item,) = (await whole.data(ITEMS, id=operation))["operation"]["items"]["nodes"]
    assert item["apiCalls"] == [{name: call[name] for name in ("id", "operation", "status", "failure")}]
    assert item["upstreamRequestId"] == call["upstreamRequestId"]
    for way in (
        {"orderId": order["externalId"], "failed": True},
        {"operationId": operation},
        {"requestId": item["upstreamRequestId"]},
        {"failure": call["failure"], "channelId": call["channel"]["id"]},
    ):
        assert call["id"] in [one["id"] for one in await calls(whole, **way)], way
    assert call["id"] in [one["id"] for one in (await whole.data(ORDER, id=order["id"]))["order"]["apiCalls"]]
    assert await calls(whole, requestId=item["upstreamRequestId"], failed=False) == []


async def test_pages_go_back_in_time_and_a_sku_finds_its_calls(whole: Whole) -> None:
    assert await kept(whole)
    page = "query($after: String) { apiCalls(first: 3, after: $after) { nodes { id at } pageInfo { endCursor } } }"
    first = (await whole.data(page))["apiCalls"]
    second = (await whole.data(page, after=first["pageInfo"]["endCursor"]))["apiCalls"]
    times = [one["at"] for one in first["nodes"] + second["nodes"]]
    assert times == sorted(times, reverse=True)
    assert len({one["id"] for one in first["nodes"] + second["nodes"]}) == 6
    sku = (await whole.amazon.get("world"))["skus"][0]["sku"]
    assert all(f"sku:{sku}" in one["subjects"] for one in await kept(whole, sku=sku))


async def test_what_is_wrongly_asked_is_said(whole: Whole) -> None:
    for filter in ({"sku": "A", "orderId": "1"}, {"orderId": "Order:nobody"}, {"operationId": "Order:1"}):
        assert (await whole.ask(CALLS, filter=filter))["errors"], filter
    blind = await key_for(whole.app, "blind", frozenset({"orders:read"}))
    assert (await whole.ask(CALLS, blind))["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_no_token_no_secret_and_no_buyer_stands_in_the_whole_table(whole: Whole) -> None:
    port = whole.app.standing.house.ports[ChannelId("amazon-na")]
    assert isinstance(port, AmazonPort)
    world = (await whole.amazon.get("world?limit=500"))["orders"]
    order = next(one["id"] for one in world if one["marketplace"] == "US")
    # As an adapter with the roles for it might: nobody of ours does.
    path = f"/orders/2026-01-01/orders/{order}"
    asked = datetime.now(UTC)
    found = await port._client.get("getOrder", path, {"includedData": ("BUYER", "RECIPIENT")}, Ask(), One)
    assert any(name in str(found.order) for name in BUYERS)
    call = (await kept(whole, orderId=order, operation="getOrder", **{"from": asked.isoformat()}))[0]
    assert call["response"]
    people = BUYERS | {" ".join(one) for one in SHOP_PEOPLE}
    assert await occurring(whole, sorted(people | SECRETS)) == set()
    # The twin: what is there is found.
    assert await occurring(whole, [order, "graphql.json", "Jordan Nobody"]) == {order, "graphql.json"}
    async with whole.app.standing.house.store.begin() as tx:
        operations = set(await tx.scalars(text("select distinct operation from exchange")))
    assert {"login", "searchOrders", "getInventorySummaries", "getOrder"} <= operations
