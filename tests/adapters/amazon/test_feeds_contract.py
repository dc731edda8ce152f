"""Changes of listings, one by one and in feeds, against Amazon's own models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from adapters.amazon import feeds
from adapters.amazon.feeds import Created, Document, Feed, FeedItem, FeedOutcome, Listed, Report, Slot, bodies, judged
from adapters.amazon.listings_offers import read_offer, read_offers
from adapters.amazon.listings_submissions import Rehearsal, Submission, preview, submit
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.patches import PriceChange, price_patch, quantity_patch
from adapters.wire import read
from domain.budget import Ask
from domain.ids import ChannelSku
from domain.price import Sale
from tests.adapters.amazon.bench import Desk, Line, go
from tests.adapters.amazon.offers import client_of, money, priced, unhurried
from tests.adapters.amazon.test_feeds import ASKED
from tests.contracts import spapi

pytestmark = spapi.published

US = marketplace("US")
SKUS = [ChannelSku(f"A,B/{number} ü") for number in range(20)]
CREATED = {"feedId": "1", "feedType": "JSON_LISTINGS_FEED", "createdTime": "2026-03-01T12:00:00Z"}
ENTRY = {"marketplace_id": US.id, "currency": "USD", "our_price": priced(20)}
CHANGE = PriceChange(
    money("19.99"), Sale(money("15"), ASKED, ASKED.replace(year=2027)), minimum=money("10"), maximum=money("30")
)


def schema(name: str) -> Any:
    return json.loads((Path(spapi.FOLDER or "") / "spapi-models" / "schemas" / "feeds" / name).read_text("utf-8"))


def items() -> list[FeedItem]:
    patches = (price_patch(US, [ENTRY], CHANGE), quantity_patch(US, 7))
    return [FeedItem(sku, "US", "LUGGAGE", patches, sku) for sku in SKUS]


def answer(request: httpx.Request) -> httpx.Response:
    """The shortest answer to each request."""
    path, method = request.url.path, request.method
    summary = {"marketplaceId": US.id, "productType": "X", "status": [], "createdDate": "2026-03-01T12:00:00Z"}
    item = {"sku": "A", "summaries": [summary]}
    if method == "PATCH":
        status = "VALID" if "mode" in request.url.params else "ACCEPTED"
        return httpx.Response(200, json={"sku": "A", "status": status, "submissionId": "1"})
    if path.startswith("/listings/"):
        several = {"numberOfResults": 1, "items": [item]}
        return httpx.Response(200, json=several if "identifiers" in request.url.params else item)
    if path.endswith("/documents"):
        return httpx.Response(201, json={"feedDocumentId": "d", "url": "https://store.test/d"})
    if "/documents/" in path:
        return httpx.Response(200, json={"feedDocumentId": "d", "url": "https://store.test/d"})
    if method in ("PUT", "DELETE"):
        return httpx.Response(200)
    if method == "POST":
        return httpx.Response(202, json={"feedId": "1"})
    if path.endswith("/feeds"):
        more = {} if "nextToken" in request.url.params else {"nextToken": "x+/="}
        return httpx.Response(200, json={"feeds": [], **more})
    if "/feeds/" in path:
        told = {**CREATED, "processingStatus": "DONE", "resultFeedDocumentId": "d"}
        return httpx.Response(200, json=told)
    example = schema("listings-feed-processing-report-schema-v2.example.json")
    return httpx.Response(200, stream=httpx.ByteStream(json.dumps(example).encode()))


async def test_every_request_is_one_that_amazon_publishes(desk: Desk, line: Line) -> None:
    await unhurried(desk)
    line.answers.append(answer)
    client, ask = client_of(desk), Ask()
    patch = price_patch(US, [ENTRY], CHANGE)
    await preview(client, "A1SANDBOXNA", US, SKUS[0], [patch], ask)
    await submit(client, "A1SANDBOXNA", US, SKUS[0], [patch, quantity_patch(US, 7)], ask, go)
    await read_offer(client, "A1SANDBOXNA", US, SKUS[0], ask)
    await read_offers(client, "A1SANDBOXNA", US, SKUS, ask)
    (file,) = bodies("A1SANDBOXNA", items())
    await feeds.create(client, await feeds.upload(client, file, ask), US, ask, go)
    assert await feeds.sought(client, US, ASKED, (), ask) is None
    await feeds.report(client, await feeds.feed(client, "1", ask), ask)
    await feeds.cancel(client, "1", ask, go)
    names = set()
    for request in line.calls:
        if request.url.host == "store.test":
            continue
        assert spapi.request_faults(request) == [], f"{request.method} {request.url}"
        names.add(spapi.operation_of(request.method, request.url.raw_path.decode().partition("?")[0]))
    assert names == {
        "patchListingsItem",
        "getListingsItem",
        "searchListingsItems",
        "createFeedDocument",
        "createFeed",
        "getFeed",
        "getFeeds",
        "getFeedDocument",
        "cancelFeed",
    }
    # The store takes neither token nor anything else of the API's.
    uploads = [request for request in line.calls if request.method == "PUT"]
    assert [request.headers["content-type"] for request in uploads] == ["application/json; charset=UTF-8"]
    assert not [name for name in uploads[0].headers if name.startswith("x-amz")]


def test_a_file_is_one_that_amazon_publishes() -> None:
    (file,) = bodies("A1SANDBOXNA", items())
    told = json.loads(file.content)
    checker = jsonschema.Draft7Validator(schema("listings-feed-schema-v2.json"))
    assert [error.message for error in checker.iter_errors(told)] == []
    wrong = {**told, "messages": [{**told["messages"][0], "messageId": 0}]}
    assert len(list(checker.iter_errors(wrong))) == 1


def test_amazons_report_is_read_without_loss() -> None:
    example = schema("listings-feed-processing-report-schema-v2.example.json")
    told = read(Report, example)
    assert [one.model_dump(by_alias=True, exclude_unset=True) for one in told.issues] == example["issues"]
    named = (None, None, None, "My-SKU-B", "My-SKU-C")
    sent = [FeedItem(ChannelSku(sku or str(place)), "US", "X", (), str(place)) for place, sku in enumerate(named)]
    ended = Feed.model_validate({**CREATED, "feedId": "1234567890", "processingStatus": "DONE"})
    # Five messages were sent and four are accounted for.
    results = judged(ended, told, sent)
    assert [result.outcome for result in results] == [FeedOutcome.UNKNOWN] * 3 + [FeedOutcome.INVALID] * 2
    assert [len(result.findings) for result in results] == [0, 0, 0, 2, 1]
    assert results[4].findings[0].attributes == ("purchasable_offer.our_price",)


@pytest.mark.parametrize(
    ("operation", "status", "model"),
    [
        ("createFeedDocument", 201, Slot),
        ("createFeed", 202, Created),
        ("getFeed", 200, Feed),
        ("getFeeds", 200, Listed),
        ("getFeedDocument", 200, Document),
    ],
)
def test_amazons_examples_of_feeds_are_understood(operation: str, status: int, model: Any) -> None:
    told = [one for _, one in spapi.examples(operation, status)]
    assert told
    for one in told:
        assert set(read(model, one).model_dump(by_alias=True, exclude_unset=True)) >= set(one) - UNREAD


# Of a feed only its creation and its end matter.
UNREAD = {"processingStartTime", "processingEndTime"}


def test_amazons_examples_of_submissions_are_understood() -> None:
    told = [one for _, one in spapi.examples("patchListingsItem")]
    assert [one["status"] for one in told] == ["ACCEPTED", "VALID", "INVALID"]
    assert read(Submission, told[0]).issues == ()
    assert read(Rehearsal, told[1]).status == "VALID"
    for model in (Submission, Rehearsal):
        (issue,) = read(model, told[2]).issues
        assert (issue.code, issue.attribute_names) == ("90000900", ("fake_attribute",))
        assert issue.enforcements.in_force == ("ATTRIBUTE_SUPPRESSED",)


async def test_amazons_example_of_a_listing_is_understood(desk: Desk, line: Line) -> None:
    ((_, example),) = spapi.examples("getListingsItem")
    line.answers.append(httpx.Response(200, json=example))
    told = await read_offer(client_of(desk), "A1SANDBOXNA", US, ChannelSku("GM-ZDPI-9B4E"), Ask())
    assert (told.sku, told.product_type, told.buyable, told.quantity) == ("GM-ZDPI-9B4E", "LUGGAGE", True, 100)
    assert told.in_force == money("100.00")
    concerned = [one for one in example["issues"] if US.id in one["marketplaceIds"]]
    assert [one.code for one in told.findings] == [one["code"] for one in concerned]
    enforced = {one["code"]: one["enforcements"]["exemption"]["status"] for one in concerned if "enforcements" in one}
    assert {one.code for one in told.suppressed_by} == {code for code in enforced if enforced[code] == "NOT_EXEMPT"}
    assert {"NOT_EXEMPT", "EXEMPT"} < set(enforced.values())
