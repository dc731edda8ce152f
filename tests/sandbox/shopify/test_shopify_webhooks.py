"""What a shop tells of its own accord arrives signed, as often and as late as was ordered, for every change that is true."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.sandbox.shopify.conftest import Client

CREATE = """mutation Create($topic: WebhookSubscriptionTopic!, $wanted: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $wanted) {
    webhookSubscription { id topic uri format includeFields }
    userErrors { field message }
  }
}"""
URI = "https://acorn.test/webhooks/shopify/shop"
SUBSCRIPTIONS = "{ webhookSubscriptions(first: 10) { nodes { id topic uri format includeFields filter } } }"


async def create(shop: Client, topic: str, uri: str = URI, **wanted: Any) -> dict[str, Any]:
    data = await shop.data(CREATE, {"topic": topic, "wanted": {"uri": uri, **wanted}})
    made: dict[str, Any] = data["webhookSubscriptionCreate"]
    return made


async def there(shop: Client) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = (await shop.data(SUBSCRIPTIONS))["webhookSubscriptions"]["nodes"]
    return nodes


async def deliveries(shop: Client, least: int) -> list[dict[str, Any]]:
    """At least so many that were held, and whatever comes with them."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while True:
            told = await shop.control("webhooks/held")
            found += told["deliveries"]
            if len(found) >= least and not told["pending"] and not told["deliveries"]:
                return found
            await asyncio.sleep(0.01)


def body_of(delivery: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(base64.b64decode(delivery["body"]))
    return body


def topic_of(delivery: dict[str, Any]) -> str:
    topic: str = delivery["headers"]["X-Shopify-Topic"]
    return topic


def signed(delivery: dict[str, Any], secret: bytes = b"sandbox-secret") -> bool:
    made = hmac.digest(secret, base64.b64decode(delivery["body"]), hashlib.sha256)
    return bool(base64.b64encode(made).decode() == delivery["headers"]["X-Shopify-Hmac-Sha256"])


async def test_subscriptions_are_made_once_changed_and_ended(shop: Client) -> None:
    made = await create(shop, "ORDERS_UPDATED", includeFields=["id", "updated_at"])
    assert made["userErrors"] == []
    id = made["webhookSubscription"]["id"]
    assert await there(shop) == [
        {
            "id": id,
            "topic": "ORDERS_UPDATED",
            "uri": URI,
            "format": "JSON",
            "includeFields": ["id", "updated_at"],
            "filter": None,
        }
    ]
    assert [one["message"] for one in (await create(shop, "ORDERS_UPDATED"))["userErrors"]] == [
        "Address for this topic has already been taken"
    ]
    change = """mutation($id: ID!) {
      webhookSubscriptionUpdate(id: $id, webhookSubscription: {format: XML}) { userErrors { message } }
    }"""
    assert (await shop.data(change, {"id": id}))["webhookSubscriptionUpdate"]["userErrors"] == []
    assert (await there(shop))[0]["format"] == "XML"
    end = """mutation($id: ID!) {
      webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { field message } }
    }"""
    assert (await shop.data(end, {"id": id}))["webhookSubscriptionDelete"]["deletedWebhookSubscriptionId"] == id
    again = (await shop.data(end, {"id": id}))["webhookSubscriptionDelete"]["userErrors"]
    assert again == [{"field": ["id"], "message": "Webhook subscription does not exist"}]
    assert await there(shop) == []


@pytest.mark.parametrize(
    ("uri", "words"),
    [("", "Address can't be blank"), ("http://acorn.test/x", "Address protocol http:// is not supported")],
)
async def test_an_address_that_is_none_is_refused(shop: Client, uri: str, words: str) -> None:
    made = await create(shop, "ORDERS_UPDATED", uri)
    assert made["userErrors"] == [{"field": ["webhookSubscription", "callbackUrl"], "message": words}]
    assert await there(shop) == []


async def test_each_change_is_told_signed_with_the_fields_that_are_wanted(shop: Client) -> None:
    await shop.control("webhooks", {"held": True})
    for topic in ("ORDERS_CREATE", "INVENTORY_LEVELS_UPDATE", "PRODUCTS_UPDATE"):
        await create(shop, topic, includeFields=["id", "inventory_item_id", "updated_at"])
    world = await shop.control("world?limit=3")
    sku = world["skus"][0]
    place = world["locations"][0]["name"]
    await shop.control("state", {"stock": [{"sku": sku["sku"], "location": place, "quantity": 77}]})
    first = await deliveries(shop, 2)
    assert Counter(map(topic_of, first)) == {"inventory_levels/update": 1, "products/update": 1}
    placed = await shop.control("state", {"orders": [{"lines": [{"sku": sku["sku"]}]}]})
    found = {topic_of(one): one for one in await deliveries(shop, 3)}
    assert sorted(found) == ["inventory_levels/update", "orders/create", "products/update"]
    assert all(signed(one) for one in found.values())
    assert not any(signed(one, b"other") for one in found.values())
    order = body_of(found["orders/create"])
    assert sorted(order) == ["id", "updated_at"]
    assert f"gid://shopify/Order/{order['id']}" == placed["orders"][0]
    headers = found["orders/create"]["headers"]
    assert headers["X-Shopify-Shop-Domain"] == "acorn-sandbox.myshopify.com"
    assert headers["X-Shopify-Webhook-Id"] != found["products/update"]["headers"]["X-Shopify-Webhook-Id"]


async def test_while_a_change_is_not_looked_at_yet_something_is_pending(shop: Client) -> None:
    await shop.control("webhooks", {"held": True})
    await create(shop, "INVENTORY_LEVELS_UPDATE")
    world = await shop.control("world?limit=1")
    entry = {"sku": world["skus"][0]["sku"], "location": world["locations"][0]["name"]}
    for quantity in range(101, 121):
        await shop.control("state", {"stock": [entry | {"quantity": quantity}]})
        assert [body_of(one)["available"] for one in await deliveries(shop, 0)] == [quantity]


async def test_a_change_is_told_also_while_what_told_the_last_one_hangs_up(
    shop: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave, hangs_up, over = httpx.AsyncClient.__aexit__, asyncio.Event(), asyncio.Event()

    async def late(client: httpx.AsyncClient, *why: Any) -> None:
        hangs_up.set()
        await over.wait()
        await leave(client, *why)

    monkeypatch.setattr(httpx.AsyncClient, "__aexit__", late)
    await shop.control("webhooks", {"held": True})
    await create(shop, "INVENTORY_LEVELS_UPDATE")
    world = await shop.control("world?limit=1")
    entry = {"sku": world["skus"][0]["sku"], "location": world["locations"][0]["name"]}
    for quantity in (101, 102):
        await shop.control("state", {"stock": [entry | {"quantity": quantity}]})
        assert [body_of(one)["available"] for one in await deliveries(shop, 1)] == [quantity]
        await asyncio.wait_for(hangs_up.wait(), 30)
    over.set()


async def test_copies_share_their_id_and_bad_ones_go_along(shop: Client) -> None:
    await create(shop, "ORDERS_CREATE")
    await shop.control(
        "webhooks", {"held": True, "copies": 2, "forged": 1, "stale": 1, "truncated": 1, "shuffle": True}
    )
    sku = (await shop.control("world?limit=1"))["skus"][0]["sku"]
    await shop.control("state", {"orders": [{"lines": [{"sku": sku}]}]})
    found = await deliveries(shop, 5)
    ids = Counter(one["headers"]["X-Shopify-Webhook-Id"] for one in found)
    assert sorted(ids.values()) == [1, 1, 1, 2]
    assert sum(signed(one) for one in found) == 3  # both copies and the stale one
    assert (await shop.control("webhooks"))["counts"] == {
        "made": 1,
        "forged": 1,
        "stale": 1,
        "truncated": 1,
        "held": 5,
    }


async def test_after_eight_retries_in_vain_the_subscription_is_gone(open_shop: Any) -> None:
    shop = await open_shop(speed=1.0)
    async with refusing() as (uri, seen):
        await create(shop, "ORDERS_CREATE", uri)
        await create(shop, "ORDERS_CANCELLED", uri)
        await shop.control("webhooks", {"retries": [0.01] * 8})
        sku = (await shop.control("world?limit=1"))["skus"][0]["sku"]
        await shop.control("state", {"orders": [{"lines": [{"sku": sku}]}]})
        async with asyncio.timeout(30):
            while not (await shop.control("webhooks"))["counts"].get("dropped"):
                await asyncio.sleep(0.01)
    assert len(seen) == 9
    assert len(set(seen)) == 1
    assert [one["topic"] for one in await there(shop)] == ["ORDERS_CANCELLED"]


def refusing() -> Any:
    """A server that answers 500; the ids of what came."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def serve() -> AsyncIterator[tuple[str, list[str]]]:
        seen: list[str] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            lines = dict(line.split(": ", 1) for line in head.split("\r\n") if ": " in line)
            await reader.readexactly(int(lines["content-length"]))
            seen.append(lines["x-shopify-webhook-id"])
            writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", seen

    return serve()
