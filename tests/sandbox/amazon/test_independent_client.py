"""A client that others wrote and many use completes its ordinary calls against the sandbox: python-amazon-sp-api, unchanged.

It knows Amazon's addresses and no others, so only its connections are led to the sandbox.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sp_api.api import Feeds, Inventories, ListingsItemsV20210801, OrdersV20260101, Reports
from sp_api.auth import AccessTokenClient
from sp_api.auth.access_token_client import cache
from sp_api.base import Marketplaces
from sp_api.base.exceptions import SellingApiException

from sandbox.amazon.auth import CLIENT_ID, CLIENT_SECRET
from sandbox.amazon.visit import NA
from sandbox.visit import serving

CREDENTIALS = {"lwa_app_id": CLIENT_ID, "lwa_client_secret": CLIENT_SECRET, "refresh_token": NA}
SELLER = "A1SANDBOXNA"


@pytest.fixture(scope="module")
async def url() -> AsyncIterator[str]:
    # A token lives an hour of the sandbox's clock, and each test has one: half a minute here.
    async with serving("amazon", products=60, orders=120, speed=120, lag=12) as served:
        yield served


class Led(httpx.BaseTransport):
    """Amazon's hosts are the sandbox."""

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)
        self._wire = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
        request.headers["host"] = f"{self._url.host}:{self._url.port}"
        return self._wire.handle_request(request)

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def open_api(url: str) -> Iterator[Callable[[Any], Any]]:
    """Makes one of the client's APIs, of the North American account."""
    led = httpx.Client(transport=Led(url))
    cache.clear()

    class Token(AccessTokenClient):  # type: ignore[misc]  # the package tells no types
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self._transport.close()
            self._transport._client = led

    def opened(kind: Any) -> Any:
        api = kind(marketplace=Marketplaces.US, credentials=CREDENTIALS, auth_token_client_class=Token)
        api._transport.close()
        api._transport._client = led
        return api

    yield opened
    led.close()


def until(ask: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Ask until the answer is the wanted one. The client's calls block, so this does, too."""
    end = time.monotonic() + 60
    while not wanted(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.05)
    return answer


def test_it_logs_in_and_reads_inventory(open_api: Callable[[Any], Any]) -> None:
    told = open_api(Inventories).get_inventory_summary_marketplace(details=True)
    summaries = told.payload["inventorySummaries"]
    assert len(summaries) > 20
    named = [one["sellerSku"] for one in summaries[:2]]
    again = open_api(Inventories).get_inventory_summary_marketplace(details=True, sellerSkus=named)
    assert {one["sellerSku"] for one in again.payload["inventorySummaries"]} == set(named)


def test_a_wrong_secret_is_told(open_api: Callable[[Any], Any]) -> None:
    api = open_api(Inventories)
    api._auth.cred.client_secret = "stolen"
    with pytest.raises(Exception, match="Client authentication failed"):
        api.get_inventory_summary_marketplace()


def test_it_reads_orders(open_api: Callable[[Any], Any]) -> None:
    api = open_api(OrdersV20260101)
    found = api.search_orders(createdAfter="2020-01-01T00:00:00Z", includedData=["BUYER", "PROCEEDS"]).payload["orders"]
    assert found
    one = api.get_order(found[0]["orderId"]).payload["order"]
    assert one["orderId"] == found[0]["orderId"]
    with pytest.raises(SellingApiException):
        api.get_order("1")


def of_ours(open_api: Callable[[Any], Any]) -> str:
    """A SKU that the merchant fulfills."""
    asked = {
        "marketplaceIds": Marketplaces.US.marketplace_id,
        "includedData": "fulfillmentAvailability",
        "pageSize": 20,
    }
    for item in open_api(ListingsItemsV20210801).search_listings_items(SELLER, **asked).payload["items"]:
        if item["fulfillmentAvailability"][0]["fulfillmentChannelCode"] == "DEFAULT":
            return str(item["sku"])
    raise LookupError("nothing that the merchant fulfills")


def test_it_patches_a_listing(open_api: Callable[[Any], Any]) -> None:
    api = open_api(ListingsItemsV20210801)
    sku = of_ours(open_api)
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 41}]
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
    body = {"productType": "PRODUCT", "patches": [patch]}
    told = api.patch_listings_item(SELLER, sku, marketplaceIds=Marketplaces.US.marketplace_id, body=body)
    assert told.payload["status"] == "ACCEPTED"

    def shown() -> Any:
        asked = {"marketplaceIds": Marketplaces.US.marketplace_id, "includedData": "fulfillmentAvailability"}
        return api.get_listings_item(SELLER, sku, **asked).payload["fulfillmentAvailability"][0]["quantity"]

    assert until(shown, lambda quantity: quantity == 41) == 41


def test_it_runs_a_report(open_api: Callable[[Any], Any]) -> None:
    api = open_api(Reports)
    made = api.create_report(
        reportType="GET_MERCHANT_LISTINGS_ALL_DATA", marketplaceIds=[Marketplaces.US.marketplace_id]
    )
    report = made.payload["reportId"]
    done = until(lambda: api.get_report(report).payload, lambda told: told["processingStatus"] == "DONE")
    document = api.get_report_document(done["reportDocumentId"], download=True).payload["document"]
    lines = document.splitlines()
    assert "seller-sku" in lines[0].split("\t")
    assert len(lines) == 61


def test_it_submits_a_feed(open_api: Callable[[Any], Any]) -> None:
    api = open_api(Feeds)
    sku = of_ours(open_api)
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 17}]
    patches = [{"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}]
    message = {
        "messageId": 1,
        "sku": sku,
        "operationType": "PATCH",
        "productType": "PRODUCT",
        "patches": patches,
    }
    header = {"sellerId": SELLER, "version": "2.0", "issueLocale": "en_US"}
    body = BytesIO(json.dumps({"header": header, "messages": [message]}).encode())
    _, made = api.submit_feed("JSON_LISTINGS_FEED", body, content_type="application/json; charset=UTF-8")
    feed = made.payload["feedId"]
    done = until(lambda: api.get_feed(feed).payload, lambda told: told["processingStatus"] == "DONE")
    result = json.loads(api.get_feed_document(done["resultFeedDocumentId"]))
    assert result["summary"]["messagesAccepted"] == 1
    with pytest.raises(SellingApiException):
        api.create_feed("JSON_LISTINGS_FEED", str(uuid4()))
