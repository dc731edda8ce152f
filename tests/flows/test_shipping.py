"""The main job, over GraphQL and both platforms: an operator confirms a shipment and hears how it ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from benchmarks.whole import Platform, Whole, whole_house, working
from domain.ids import ChannelId
from store import channel
from workers.deps import Timing
from workers.watch import end

QUICK = Timing(settle_s=0.5)
SHIP = """mutation($input: ConfirmShipmentsInput!) { confirmShipments(input: $input) {
  operation { id status progress { total } items { nodes { after } } } userErrors { code field message } } }"""
ORDER = """query($id: ID!) { order(id: $id) { status lines { id quantity quantityShipped }
  shipments { trackingNumber } } }"""
EFFECT = {"AMAZON": "confirmShipment", "SHOPIFY": "fulfillmentCreate", "REST": "createShipment"}
# Houses with either shop, and what is shipped in each.
EVERYWHERE = pytest.mark.parametrize(
    ("whole", "platform"),
    [("shopify", "AMAZON"), ("shopify", "SHOPIFY"), ("rest", "REST")],
    indirect=["whole"],
    scope="module",
)
ONE_HOUSE = pytest.mark.parametrize("whole", ["shopify"], indirect=True, scope="module")


@pytest.fixture(scope="module")
async def whole(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Whole]:
    folder = tmp_path_factory.mktemp("shipping")
    async with (
        whole_house(new_database(), redis_url, folder, speed=40, shop=request.param, products=200, orders=200) as made,
        working(made, QUICK),
    ):
        yield made


def platform_of(whole: Whole, name: str) -> Platform:
    return whole.amazon if name == "AMAZON" else whole.shop


async def open_orders(whole: Whole, platform: str, units: int) -> list[dict[str, Any]]:
    """Orders of ours to ship with a line of at least so many units and nothing shipped, newest first."""
    told = await whole.data(
        """{ orders(first: 100, filter: {status: [UNSHIPPED]}) { nodes { id externalId fulfilledBy
            channel { platform } lines { id quantity quantityShipped } } } }"""
    )
    return [
        order
        for order in told["orders"]["nodes"]
        if order["channel"]["platform"] == platform
        and order["fulfilledBy"] == "MERCHANT"
        and len(order["lines"]) == 1
        and order["lines"][0]["quantity"] >= units
    ]


async def ship(
    whole: Whole, order: str, tracking: str, lines: dict[str, int] | None = None, dry_run: bool = False
) -> dict[str, Any]:
    """The payload of confirmShipments for one parcel; no `lines` means all that is open."""
    shipped = lines and [{"orderLineId": line, "quantity": units} for line, units in lines.items()]
    parcel = {
        "orderId": order,
        "carrier": "DHL",
        "trackingNumber": tracking,
        "shippedAt": datetime.now(UTC).isoformat(),
        "lines": shipped,
    }
    told = await whole.data(SHIP, input={"shipments": [parcel], "dryRun": dry_run})
    payload: dict[str, Any] = told["confirmShipments"]
    return payload


async def heard(whole: Whole, operation: str) -> list[str]:
    """The statuses that a subscriber hears over SSE until the end."""
    query = "subscription($id: ID!) { operation(id: $id) { cursor operation { status } } }"
    headers = {"authorization": f"Bearer {whole.admin}", "accept": "text/event-stream"}
    body = {"query": query, "variables": {"id": operation}}
    statuses = []
    async with asyncio.timeout(60), whole.http.stream("POST", "/graphql", json=body, headers=headers) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data:") and "operation" in line:
                statuses.append(json.loads(line[5:])["data"]["operation"]["operation"]["status"])
    return statuses


@EVERYWHERE
async def test_a_part_then_the_rest_and_the_order_knows_at_once(whole: Whole, platform: str) -> None:
    order = (await open_orders(whole, platform, units=2))[0]
    line, there = order["lines"][0], platform_of(whole, platform)
    mark = await there.mark()
    part = await ship(whole, order["id"], "PART1", {line["id"]: 1})
    assert part["userErrors"] == []
    assert (await heard(whole, part["operation"]["id"]))[-1] == "SUCCEEDED"
    now = (await whole.data(ORDER, id=order["id"]))["order"]
    assert (now["status"], now["lines"][0]["quantityShipped"]) == ("PARTIALLY_SHIPPED", 1)
    assert [parcel["trackingNumber"] for parcel in now["shipments"]] == ["PART1"]
    rest = await ship(whole, order["id"], "REST1")
    (item,) = rest["operation"]["items"]["nodes"]
    assert list(json.loads(item["after"])["lines"].values()) == [line["quantity"] - 1]
    assert (await heard(whole, rest["operation"]["id"]))[-1] == "SUCCEEDED"
    now = (await whole.data(ORDER, id=order["id"]))["order"]
    assert (now["status"], now["lines"][0]["quantityShipped"]) == ("SHIPPED", line["quantity"])
    effects = await there.effects(mark, EFFECT[platform])
    assert [effect["detail"]["trackingNumber"] for effect in effects if effect["key"] == order["externalId"]] == [
        "PART1",
        "REST1",
    ]
    more = await ship(whole, order["id"], "MORE1")
    assert [error["code"] for error in more["userErrors"]] == ["CONFLICT"]


@EVERYWHERE
async def test_a_lost_answer_ends_in_one_effect(whole: Whole, platform: str) -> None:
    order, there = (await open_orders(whole, platform, units=1))[0], platform_of(whole, platform)
    mark = await there.mark()
    await there.faults({"operation": EFFECT[platform], "kind": "apply_then_status", "status": 503, "count": 1})
    kept = await ship(whole, order["id"], "LOST1")
    assert (await heard(whole, kept["operation"]["id"]))[-1] == "SUCCEEDED"
    await there.faults()
    effects = await there.effects(mark, EFFECT[platform])
    assert [effect["key"] for effect in effects] == [order["externalId"]]


@EVERYWHERE
async def test_a_preview_sends_nothing_until_it_is_approved(whole: Whole, platform: str) -> None:
    order, there = (await open_orders(whole, platform, units=1))[0], platform_of(whole, platform)
    mark = await there.mark()
    preview = await ship(whole, order["id"], "DRY1", dry_run=True)
    assert preview["operation"]["status"] == "PREVIEW"
    approve = "mutation($id: ID!) { approveOperation(id: $id) { operation { id status } userErrors { code } } }"
    cancel = "mutation($id: ID!) { cancelOperation(id: $id) { operation { status } userErrors { code } } }"
    other = await ship(whole, order["id"], "DRY2", dry_run=True)
    assert (await whole.data(cancel, id=other["operation"]["id"]))["cancelOperation"]["operation"][
        "status"
    ] == "CANCELLED"
    assert await there.effects(mark, EFFECT[platform]) == []
    approved = (await whole.data(approve, id=preview["operation"]["id"]))["approveOperation"]
    assert approved["userErrors"] == []
    assert (await heard(whole, preview["operation"]["id"]))[-1] == "SUCCEEDED"
    effects = await there.effects(mark, EFFECT[platform])
    assert [effect["detail"]["trackingNumber"] for effect in effects] == ["DRY1"]


@ONE_HOUSE
async def test_a_refusal_fails_with_the_platforms_own_words_and_can_be_retried(whole: Whole) -> None:
    order = (await open_orders(whole, "AMAZON", units=1))[0]
    await whole.amazon.faults({"operation": "confirmShipment", "kind": "status", "status": 400, "count": 1})
    kept = await ship(whole, order["id"], "BAD1")
    id = kept["operation"]["id"]
    assert (await heard(whole, id))[-1] == "FAILED"
    query = "query($id: ID!) { operation(id: $id) { items(status: FAILED) { nodes { error { code message } } } } }"
    (item,) = (await whole.data(query, id=id))["operation"]["items"]["nodes"]
    assert item["error"]["code"] == "INVALID"
    retried = await whole.data("mutation($id: ID!) { retryOperation(id: $id) { userErrors { code } } }", id=id)
    assert retried["retryOperation"]["userErrors"] == []
    assert (await heard(whole, id))[-1] == "SUCCEEDED"


@ONE_HOUSE
async def test_withdrawn_consent_pauses_one_channel_tells_why_and_heals(whole: Whole) -> None:
    channels = "{ channels { id healthy ailments } }"
    world = (await whole.amazon.get("world?limit=500"))["orders"]
    european = {one["id"] for one in world if one["marketplace"] in ("DE", "FR")}
    order = next(one for one in await open_orders(whole, "AMAZON", units=1) if one["externalId"] in european)
    token = "Atzr|sandbox-eu"
    await whole.amazon.post("accounts", {"refreshToken": token, "revoked": True})
    await whole.amazon.post("clock", {"advance": 3700})  # the access token in use runs out
    kept = await ship(whole, order["id"], f"EU{uuid4().hex[:6]}")
    async with asyncio.timeout(30):
        while True:
            told = {one["id"]: one for one in (await whole.data(channels))["channels"]}
            if any(word.startswith("paused: ") for word in told["Channel:amazon-eu"]["ailments"]):
                break
            await asyncio.sleep(0.1)
    assert not told["Channel:amazon-eu"]["healthy"]
    assert told["Channel:shop"]["healthy"]
    await whole.amazon.post("accounts", {"refreshToken": token, "revoked": False})

    async def resume() -> None:
        """A minute earlier than by itself; once more where somebody has still been refused meanwhile."""
        while True:
            async with whole.app.standing.house.store.begin() as tx:
                await channel.resume(tx, ChannelId("amazon-eu"))
            await asyncio.sleep(0.5)

    resuming = asyncio.create_task(resume())
    try:
        assert (await heard(whole, kept["operation"]["id"]))[-1] == "SUCCEEDED"
    finally:
        await end([resuming])
