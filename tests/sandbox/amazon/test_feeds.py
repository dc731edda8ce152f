"""Feeds: from the document to the report."""

import gzip
import json
from typing import Any

import httpx
import pytest

from sandbox.amazon.visit import EU, Seller, error
from sandbox.visit import advance, effects, world

US = "ATVPDKIKX0DER"
FEEDS = "/feeds/2021-06-30/feeds"
DOCUMENTS = "/feeds/2021-06-30/documents"
TYPE = "application/json; charset=UTF-8"


def message(number: int, sku: str, price: object) -> dict[str, Any]:
    value = [{"marketplace_id": US, "currency": "USD", "our_price": [{"schedule": [{"value_with_tax": price}]}]}]
    patch = {"op": "replace", "path": "/attributes/purchasable_offer", "value": value}
    return {
        "messageId": number,
        "sku": sku,
        "operationType": "PATCH",
        "productType": "PRODUCT",
        "patches": [patch],
    }


async def post(seller: Seller, path: str, body: object) -> httpx.Response:
    return await seller.client.post(path, json=body, headers=seller.headers)


async def uploaded(seller: Seller, *messages: dict[str, Any], seller_id: str | None = None) -> str:
    slot = await post(seller, DOCUMENTS, {"contentType": TYPE})
    assert slot.status_code == 201
    file = {"header": {"sellerId": seller_id or seller.id, "version": "2.0"}, "messages": messages}
    put = await seller.client.put(slot.json()["url"], content=json.dumps(file), headers={"content-type": TYPE})
    assert put.status_code == 200
    return str(slot.json()["feedDocumentId"])


async def created(seller: Seller, document: str, kind: str = "JSON_LISTINGS_FEED") -> httpx.Response:
    body = {"feedType": kind, "marketplaceIds": [US], "inputFeedDocumentId": document}
    return await post(seller, FEEDS, body)


async def feed(seller: Seller, *messages: dict[str, Any], **header: str) -> str:
    answer = await created(seller, await uploaded(seller, *messages, **header))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["feedId"])


async def seen(seller: Seller, feed_id: str) -> dict[str, Any]:
    answer = await seller.get(f"{FEEDS}/{feed_id}")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


async def report(seller: Seller, document: str) -> dict[str, Any]:
    told = (await seller.get(f"{DOCUMENTS}/{document}")).json()
    content = (await seller.client.get(told["url"])).content
    packed = told.get("compressionAlgorithm") == "GZIP"
    parsed: dict[str, Any] = json.loads(gzip.decompress(content) if packed else content)
    return parsed


async def prices(client: httpx.AsyncClient, *places: int) -> list[str]:
    return [(await world(client))["skus"][place]["prices"]["US"] for place in places]


async def skus(client: httpx.AsyncClient) -> list[str]:
    return [one["sku"] for one in (await world(client))["skus"]]


async def test_a_feed_goes_its_way_and_changes_the_listings_after_the_lag(
    client: httpx.AsyncClient, na: Seller
) -> None:
    named = await skus(client)
    before = await prices(client, 0, 1, 2)
    bad = message(2, named[1], -1)
    number = await feed(na, message(1, named[0], 11.5), bad, message(3, named[2], 12), message(7, "NO-SUCH", 1))
    assert (await seen(na, number))["processingStatus"] == "IN_QUEUE"
    await advance(client, 21)
    assert (await seen(na, number))["processingStatus"] == "IN_PROGRESS"
    assert await prices(client, 0, 1, 2) == before
    await advance(client, 40)
    done = await seen(na, number)
    assert done["processingStatus"] == "DONE"
    assert await prices(client, 0, 1, 2) == before
    await advance(client, 3)
    assert await prices(client, 0, 1, 2) == ["11.50", before[1], "12.00"]
    told = await report(na, done["resultFeedDocumentId"])
    assert told["header"] == {"sellerId": na.id, "version": "2.0", "feedId": number}
    assert [(one["messageId"], one["sku"], one["severity"]) for one in told["issues"]] == [
        (2, named[1], "ERROR"),
        (7, "NO-SUCH", "ERROR"),
    ]
    assert told["summary"] == {
        "errors": 2,
        "warnings": 0,
        "messagesProcessed": 4,
        "messagesAccepted": 2,
        "messagesInvalid": 2,
    }
    changed = [(one["key"], one["detail"].get("messageId")) for one in await effects(client)]
    assert changed == [(number, None), (named[0], 1), (named[2], 3)]


async def test_a_message_may_be_accepted_without_effect(client: httpx.AsyncClient, na: Seller) -> None:
    named = await skus(client)
    before = await prices(client, 0)
    await client.post("/_sandbox/ignored-patches", json={"sku": named[0], "count": 1})
    number = await feed(na, message(1, named[0], 11.5))
    await advance(client, 65)
    told = await report(na, (await seen(na, number))["resultFeedDocumentId"])
    assert (told["issues"], told["summary"]["messagesAccepted"]) == ([], 1)
    await advance(client, 3)
    assert await prices(client, 0) == before


@pytest.mark.parametrize(
    ("verdict", "status", "changed"), [("CANCELLED", "CANCELLED", 0), ("FATAL", "FATAL", 1), ("SHORT", "DONE", 1)]
)
async def test_other_ends_come_on_demand(
    client: httpx.AsyncClient, na: Seller, verdict: str, status: str, changed: int
) -> None:
    named = await skus(client)
    order = {"verdict": verdict, "messages": 1}
    assert (await client.post("/_sandbox/feeds", json=order)).json()["orders"] == [{**order, "count": 1}]
    number = await feed(na, message(1, named[0], 11.5), message(2, named[1], 12.5))
    await advance(client, 70)
    ended = await seen(na, number)
    assert ended["processingStatus"] == status
    assert ("resultFeedDocumentId" in ended) is (status == "DONE")
    if status == "DONE":
        assert (await report(na, ended["resultFeedDocumentId"]))["summary"]["messagesProcessed"] == 1
    assert len(await effects(client)) == 1 + changed
    following = await feed(na, message(1, named[0], 11.5))
    await advance(client, 70)
    assert (await seen(na, following))["processingStatus"] == "DONE"
    for wrong in ({}, {"verdict": "LATE"}, {"verdict": "FATAL", "count": -1}, {"verdict": "FATAL", "kind": 1}):
        assert (await client.post("/_sandbox/feeds", json=wrong)).status_code == 400


async def test_a_file_that_is_none_and_a_retired_type_are_fatal(client: httpx.AsyncClient, na: Seller) -> None:
    named = await skus(client)
    foreign = await feed(na, message(1, named[0], 11.5), seller_id="A1OTHER")
    twice = await feed(na, message(1, named[0], 11.5), message(1, named[1], 11.5))
    retired = await created(na, await uploaded(na, message(1, named[0], 11.5)), "POST_PRODUCT_DATA")
    await advance(client, 70)
    for number in (foreign, twice, retired.json()["feedId"]):
        assert (await seen(na, number))["processingStatus"] == "FATAL"
    assert {one["operation"] for one in await effects(client)} == {"createFeed"}


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"[]", b"\xff\xfe", b'{"header": {}, "messages": {"messageId": 1}}']
)
async def test_a_file_that_cannot_be_read_spoils_its_feed_alone(
    client: httpx.AsyncClient, na: Seller, content: bytes
) -> None:
    slot = (await post(na, DOCUMENTS, {"contentType": TYPE})).json()
    await client.put(slot["url"], content=content, headers={"content-type": TYPE})
    number = (await created(na, slot["feedDocumentId"])).json()["feedId"]
    await advance(client, 70)
    assert (await seen(na, number))["processingStatus"] == "FATAL"


async def test_a_sixth_feed_in_five_minutes_is_throttled(client: httpx.AsyncClient, na: Seller) -> None:
    named = await skus(client)
    for _ in range(5):
        await feed(na, message(1, named[0], 11.5))
    sixth = await uploaded(na, message(1, named[0], 11.5))
    assert error(await created(na, sixth)) == (429, "QuotaExceeded")
    await advance(client, 299)
    assert (await created(na, sixth)).status_code == 429
    await advance(client, 2)
    assert (await created(na, sixth)).status_code == 202


async def test_only_a_feed_that_waits_can_be_cancelled(client: httpx.AsyncClient, na: Seller) -> None:
    named = await skus(client)
    first, second = [await feed(na, message(1, named[0], 11.5)) for _ in range(2)]

    async def cancelled(number: str) -> httpx.Response:
        return await client.delete(f"{FEEDS}/{number}", headers=na.headers)

    answer = await cancelled(first)
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await seen(na, first))["processingStatus"] == "CANCELLED"
    await advance(client, 30)
    assert error(await cancelled(second)) == (400, "400")
    assert error(await cancelled("1")) == (404, "NotFound")
    await advance(client, 40)
    assert [(await seen(na, one))["processingStatus"] for one in (first, second)] == ["CANCELLED", "DONE"]


async def test_feeds_are_listed_by_page_and_filter(client: httpx.AsyncClient, na: Seller) -> None:
    named = await skus(client)
    made = []
    for _ in range(3):
        made.append(await feed(na, message(1, named[0], 11.5)))
        await advance(client, 100)

    async def ids(**query: object) -> list[str]:
        answer = await na.get(FEEDS, **query)
        assert answer.status_code == 200, answer.text
        return [one["feedId"] for one in answer.json()["feeds"]]

    kind = {"feedTypes": "JSON_LISTINGS_FEED"}
    assert await ids(**kind, marketplaceIds=US, processingStatuses="DONE") == made[::-1]
    assert await ids(**kind, processingStatuses="IN_QUEUE") == []
    assert await ids(**kind, createdSince="2026-03-01T12:01:00Z", createdUntil="2026-03-01T12:02:00Z") == [made[1]]
    first = (await na.get(FEEDS, **kind, pageSize=2)).json()
    assert [one["feedId"] for one in first["feeds"]] == [made[2], made[1]]
    rest = (await na.get(FEEDS, nextToken=first["nextToken"])).json()
    assert ([one["feedId"] for one in rest["feeds"]], "nextToken" in rest) == ([made[0]], False)
    assert error(await na.get(FEEDS, nextToken=first["nextToken"], pageSize=2)) == (400, "400")
    assert error(await na.get(FEEDS)) == (400, "400")
    eu = await Seller.login(client, EU)
    assert (await eu.get(FEEDS, **kind)).json() == {"feeds": []}
    assert error(await eu.get(f"{FEEDS}/{made[0]}")) == (404, "NotFound")


async def test_a_feed_needs_an_own_document_that_was_uploaded(client: httpx.AsyncClient, na: Seller) -> None:
    empty = (await post(na, DOCUMENTS, {"contentType": TYPE})).json()["feedDocumentId"]
    eu = await Seller.login(client, EU)
    foreign = await uploaded(eu, message(1, "A", 1))
    for document in (empty, foreign, "none"):
        assert error(await created(na, document)) == (400, "400")
        assert error(await na.get(f"{DOCUMENTS}/{document}")) == (404, "NotFound")
    assert error(await post(na, DOCUMENTS, {})) == (400, "400")
    mine = await uploaded(na, message(1, "A", 1))
    assert error(await created(na, mine, "POST_UNKNOWN")) == (400, "400")
    assert error(await created(eu, foreign)) == (403, "Unauthorized")
    await advance(client, 2 * 86_400 + 1)
    assert error(await created(await Seller.login(client), mine)) == (400, "400")
    assert await effects(client) == []
