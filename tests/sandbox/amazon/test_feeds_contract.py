"""What feeds, and patches of offers, are answered with, against the platform's own models."""

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema

from sandbox.amazon.visit import EU, Seller
from sandbox.visit import advance
from tests.contracts import spapi
from tests.sandbox.amazon.test_feeds import DOCUMENTS, FEEDS, created, feed, message, post, report, skus, uploaded
from tests.sandbox.amazon.test_offers import body, offer, priced

pytestmark = spapi.published


def check(operation: str, answer: httpx.Response, status: int) -> Any:
    """The answer has the body its model gives for its status."""
    assert answer.status_code == status, answer.text
    assert spapi.answer_faults(operation, answer) == [], answer.text[:500]
    return answer.json() if answer.content else None


async def test_the_way_of_a_feed_is_answered_as_published(client: httpx.AsyncClient, na: Seller) -> None:
    named = await skus(client)
    check("createFeedDocument", await post(na, DOCUMENTS, {"contentType": "text/plain"}), 201)
    document = await uploaded(na, message(1, named[0], 11.5), message(2, named[1], -1))
    number = check("createFeed", await created(na, document), 202)["feedId"]
    check("getFeed", await na.get(f"{FEEDS}/{number}"), 200)
    cancelled = await feed(na, message(1, named[0], 11.5))
    check("cancelFeed", await client.delete(f"{FEEDS}/{cancelled}", headers=na.headers), 200)
    await advance(client, 70)
    told = check("getFeed", await na.get(f"{FEEDS}/{number}"), 200)
    check("getFeed", await na.get(f"{FEEDS}/{cancelled}"), 200)
    check("getFeedDocument", await na.get(f"{DOCUMENTS}/{told['resultFeedDocumentId']}"), 200)
    first = check("getFeeds", await na.get(FEEDS, feedTypes="JSON_LISTINGS_FEED", pageSize=1), 200)
    check("getFeeds", await na.get(FEEDS, nextToken=first["nextToken"]), 200)
    folder = Path(spapi.FOLDER or "") / "spapi-models" / "schemas" / "feeds"
    schema = json.loads((folder / "listings-feed-processing-report-schema-v2.json").read_text("utf-8"))
    checker = jsonschema.Draft7Validator(schema)
    written = await report(na, told["resultFeedDocumentId"])
    assert [error.message for error in checker.iter_errors(written)] == []
    assert len(written["issues"]) == 1
    assert len(list(checker.iter_errors({**written, "summary": {}}))) > 0


async def test_what_feeds_refuse_is_answered_as_published(client: httpx.AsyncClient, na: Seller) -> None:
    check("createFeedDocument", await post(na, DOCUMENTS, {}), 400)
    check("createFeed", await created(na, "none"), 400)
    check("createFeed", await post(na, FEEDS, {"feedType": "JSON_LISTINGS_FEED"}), 400)
    check("getFeed", await na.get(f"{FEEDS}/1"), 404)
    check("getFeeds", await na.get(FEEDS), 400)
    check("getFeedDocument", await na.get(f"{DOCUMENTS}/none"), 404)
    check("cancelFeed", await client.delete(f"{FEEDS}/1", headers=na.headers), 404)
    number = await feed(na, message(1, "A", 1))
    await advance(client, 30)
    check("cancelFeed", await client.delete(f"{FEEDS}/{number}", headers=na.headers), 400)
    eu = await Seller.login(client, EU)
    check("createFeed", await created(eu, await uploaded(eu, message(1, "A", 1))), 403)
    for _ in range(4):
        await feed(na, message(1, "A", 1))
    check("createFeed", await created(na, await uploaded(na, message(1, "A", 1))), 429)


async def test_offers_are_answered_as_published(client: httpx.AsyncClient, na: Seller) -> None:
    sku = (await skus(client))[9]
    bounds = {"minimum_seller_allowed_price": priced(30), "maximum_seller_allowed_price": priced(40)}
    sale = {"discounted_price": priced(15, start_at="2026-03-01", end_at="2026-03-09")}
    business = offer(audience="B2B", our_price=priced(18))
    everything = "summaries,attributes,issues,offers,fulfillmentAvailability"
    previewed = await na.patch("US", sku, body(offer(**bounds, **sale), business), mode="VALIDATION_PREVIEW")
    assert check("patchListingsItem", previewed, 200)["status"] == "VALID"
    taken = await na.patch("US", sku, body(offer(**bounds, **sale), business))
    assert check("patchListingsItem", taken, 200)["status"] == "ACCEPTED"
    await advance(client, 3)
    told = check("getListingsItem", await na.listing("US", sku, includedData=everything), 200)
    assert (len(told["offers"]), [one["code"] for one in told["issues"]]) == (2, ["18155"])
    check("searchListingsItems", await na.listings("US", identifiers=sku, identifiersType="SKU"), 200)
    refused = await na.patch("US", sku, body(offer(our_price=[])))
    assert check("patchListingsItem", refused, 200)["status"] == "INVALID"
    check("patchListingsItem", await na.patch("US", sku, {}), 400)
