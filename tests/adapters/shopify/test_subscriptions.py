"""A shop's subscriptions are looked at, made, mended and made anew; and what hints name can be asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from adapters.notices import Finding
from adapters.shopify.platform import ShopifyPort
from adapters.shopify.subscriptions import FIELDS, Desk
from adapters.shopify.webhooks import TOPICS as TOPICS_READ
from domain.budget import Ask
from domain.errors import NotFound
from domain.hint import HintKind
from tests.adapters.shopify.bench import OpenPort, Sandbox, Script, connection

URI = "https://acorn.test/webhooks/shopify/shop"
TOPICS = ("ORDERS_UPDATED", "INVENTORY_LEVELS_UPDATE")


@pytest.fixture
async def desk(sandbox: Sandbox, port: ShopifyPort) -> AsyncIterator[Desk]:
    yield port.desk(URI, TOPICS)
    await sandbox.post("webhooks/drop")


async def subscribed(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [(one["topic"], one["uri"]) for one in (await sandbox.get("webhooks"))["subscriptions"]]


def test_each_topic_that_is_subscribed_to_makes_somebody_ask() -> None:
    asked_for = {HintKind.ORDER, HintKind.ITEM, HintKind.PRODUCT}
    topics = {one.lower() for one in FIELDS}
    read = {topic.replace("/", "_"): shape.kind for topic, shape in TOPICS_READ.items()}
    assert read["bulk_operations_finish"] not in asked_for
    other = ("fulfillment_orders_", "app_", "shop_update")
    assert {one for one in topics if not one.startswith(other) and read.get(one) not in asked_for} == set()


async def test_what_is_missing_is_told_made_once_and_then_left_alone(sandbox: Sandbox, desk: Desk) -> None:
    missing = [Finding(topic, "it is not subscribed") for topic in TOPICS]
    assert await desk.ensure(Ask(), apply=False) == missing
    assert await subscribed(sandbox) == []
    made = [Finding(topic, "it is not subscribed", mended=True) for topic in TOPICS]
    assert await desk.ensure(Ask(), apply=True) == made
    assert await subscribed(sandbox) == [(topic, URI) for topic in TOPICS]
    journal = await sandbox.journal()
    assert await desk.ensure(Ask(), apply=True) == [Finding(topic) for topic in TOPICS]
    assert await journal.calls() == ["webhookSubscriptions"]


async def test_what_the_shop_has_dropped_is_made_anew_by_the_next_look(sandbox: Sandbox, desk: Desk) -> None:
    await desk.ensure(Ask(), apply=True)
    await sandbox.post("webhooks/drop", topics=["ORDERS_UPDATED"])
    assert await subscribed(sandbox) == [("INVENTORY_LEVELS_UPDATE", URI)]
    assert await desk.wrong(Ask()) == []
    assert sorted(await subscribed(sandbox)) == sorted((topic, URI) for topic in TOPICS)


async def test_another_form_is_mended_and_other_addresses_are_left_alone(
    sandbox: Sandbox, port: ShopifyPort, desk: Desk
) -> None:
    await port.desk("https://other.test/", TOPICS[:1]).ensure(Ask(), apply=True)
    await desk.ensure(Ask(), apply=True)
    change = """mutation($id: ID!, $wanted: WebhookSubscriptionInput!) {
      webhookSubscriptionUpdate(id: $id, webhookSubscription: $wanted) { userErrors { message } }
    }"""
    there = await _ask(sandbox, "{ webhookSubscriptions(first: 9) { nodes { id topic uri } } }")
    (ours,) = [
        one["id"] for one in there["webhookSubscriptions"]["nodes"] if (one["topic"], one["uri"]) == (TOPICS[0], URI)
    ]
    for wanted, words in (
        ({"format": "XML"}, "it is sent as XML"),
        ({"includeFields": []}, "it tells of other fields than those that we read"),
        ({"filter": "id:1"}, "it is filtered"),
    ):
        await _ask(sandbox, change, {"id": ours, "wanted": wanted})
        assert (await desk.ensure(Ask(), apply=False))[0] == Finding(TOPICS[0], words)
        assert (await desk.ensure(Ask(), apply=True))[0] == Finding(TOPICS[0], words, mended=True)
        assert (await desk.ensure(Ask(), apply=False))[0] == Finding(TOPICS[0])
    assert ("ORDERS_UPDATED", "https://other.test/") in await subscribed(sandbox)
    assert len(await subscribed(sandbox)) == 3


async def test_what_the_shop_refuses_of_one_topic_is_told_and_keeps_no_other_away(
    sandbox: Sandbox, port: ShopifyPort, desk: Desk
) -> None:
    refused = port.desk("http://acorn.test/", TOPICS)
    words = "it is not subscribed, and the shop refuses it: "
    found = await refused.ensure(Ask(), apply=True)
    assert [one.mended for one in found] == [False, False]
    assert all(one.wrong and one.wrong.startswith(words) and "http:// is not supported" in one.wrong for one in found)
    assert [one.partition(":")[0] for one in await refused.wrong(Ask())] == list(TOPICS)


async def test_bodies_are_asked_for_without_anything_of_buyers(sandbox: Sandbox, port: ShopifyPort, desk: Desk) -> None:
    await port.desk(URI, tuple(FIELDS)).ensure(Ask(), apply=True)
    await sandbox.post("webhooks", held=True)
    sku = (await sandbox.get("world", limit=1))["skus"][0]["sku"]
    await sandbox.post("state", orders=[{"lines": [{"sku": sku, "quantity": 1}]}])
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while not any(one["headers"]["X-Shopify-Topic"] == "orders/create" for one in found):
            found += (await sandbox.get("webhooks/held"))["deliveries"]
            await asyncio.sleep(0.01)
    await sandbox.post("webhooks")
    bodies = [base64.b64decode(one["body"]) for one in found]
    assert any(b"updated_at" in one for one in bodies)
    assert not [one for one in bodies if b"email" in one or b"customer" in one or b"address" in one]


async def test_listings_are_told_by_product_by_inventory_item_and_by_sku(sandbox: Sandbox, port: ShopifyPort) -> None:
    skus = (await sandbox.get("world", limit=30))["skus"]
    product = skus[0]["productId"]
    siblings = sorted(one["sku"] for one in skus if one["productId"] == product)
    page = await port.listings_named("ITEM", [product], Ask())
    assert sorted(one.channel_sku for one in page.items) == siblings
    assert {one.refs["product"] for one in page.items} == {product}
    one = skus[-1]
    by_item = await port.listings_named("ITEM", [one["inventoryItemId"], "gid://shopify/InventoryItem/1"], Ask())
    assert [found.channel_sku for found in by_item.items] == [one["sku"]]
    by_sku = await port.listings_named("SKU", [one["sku"], "nobody's"], Ask())
    assert [found.external_id for found in by_sku.items] == [one["productVariantId"]]


async def test_a_product_with_many_variants_is_read_to_its_end(open_port: OpenPort) -> None:
    def variant(number: int) -> dict[str, Any]:
        return {
            "id": f"gid://shopify/ProductVariant/{number}",
            "sku": f"V-{number}",
            "title": "Default Title",
            "price": "1.00",
            "compareAtPrice": None,
            "updatedAt": "2026-11-01T00:00:00Z",
            "selectedOptions": [],
            "product": {"id": "gid://shopify/Product/1", "title": "P", "status": "ACTIVE", "vendor": "", "tags": []},
            "inventoryItem": {"id": f"gid://shopify/InventoryItem/{number}", "duplicateSkuCount": 0, "unitCost": None},
        }

    def answer(name: str, variables: dict[str, Any]) -> Any:
        match name:
            case "Listed":
                node = {"id": "gid://shopify/Product/1", "variants": connection(variant(1), after="x")}
                return {"nodes": [node, None]}
            case "ListedRest":
                assert variables == {"id": "gid://shopify/Product/1", "after": "x"}
                return {"product": {"rest": connection(variant(2))}}
        return {"shop": {"currencyCode": "USD"}}

    script = Script(answer)
    page = await open_port(wire=script.wire()).listings_named("ITEM", ["gid://shopify/Product/1"], Ask())
    assert [one.channel_sku for one in page.items] == ["V-1", "V-2"]
    assert [name for name, _ in script.asked] == ["Listed", "ListedRest", "Currency"]


async def test_work_leads_to_its_order(sandbox: Sandbox, port: ShopifyPort) -> None:
    order = (await sandbox.get("world", limit=1))["orders"][0]
    found = await port.order_of(order["fulfillmentOrders"][0]["id"], Ask())
    assert (found.external_id, found.marketplace) == (order["id"], None)
    with pytest.raises(NotFound):
        await port.order_of("gid://shopify/FulfillmentOrder/1", Ask())


async def _ask(sandbox: Sandbox, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    answer: httpx.Response = await sandbox.http.post(
        "/admin/api/2026-07/graphql.json",
        json={"query": query, "variables": variables or {}},
        headers={"X-Shopify-Access-Token": "shpat_sandbox"},
    )
    data: dict[str, Any] = answer.json()["data"]
    return data
