"""Catalog, pricing, fees, finances and participations against Amazon's own models and examples."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from adapters.amazon import catalog, fees, finances, pricing, pricing_v0, sellers
from adapters.amazon.batch import told_of
from adapters.wire import read
from domain.budget import Ask
from domain.errors import Invalid
from domain.fee import FeesEstimate
from domain.finance import Transaction
from domain.ids import ChannelId
from domain.money import Money
from domain.offer import OfferPrice, Points
from domain.product import FulfilledBy
from tests.adapters.amazon.bench import Desk, Line
from tests.adapters.amazon.lossless import as_received, lacking, leaves
from tests.adapters.amazon.reads import client_at
from tests.contracts import spapi

pytestmark = spapi.published

CHANNEL = ChannelId("amazon")
AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
SKUS = [f"A,B/{number} ü" for number in range(40)]


def answer(request: httpx.Request) -> httpx.Response:
    """The shortest answer, with a second page where there are pages."""
    first = not {"nextToken", "pageToken"} & set(request.url.params)
    path = request.url.path
    if path.startswith("/catalog/2022-04-01/items/"):
        return httpx.Response(200, json={"asin": "B000000001"})
    if path.startswith("/catalog/"):
        body = {"numberOfResults": 0, "items": [], "pagination": {"nextToken": "x+/="} if first else {}}
        return httpx.Response(200, json=body)
    if path.startswith("/finances/"):
        return httpx.Response(200, json={"payload": {"transactions": [], "nextToken": "x+/=" if first else None}})
    if path.startswith("/sellers/"):
        return httpx.Response(200, json={"payload": []})
    return httpx.Response(200, json=[] if path.startswith("/products/fees/") else {"responses": []})


async def test_every_request_is_one_that_amazon_publishes(desk: Desk, line: Line) -> None:
    line.answers.append(answer)
    client, ask = client_at(desk), Ask()
    for kind in catalog.IDENTIFIERS:
        found = catalog.pages_of(client, "US", SKUS[:20], kind, ask, seller_id="A1", locale="en_US")
        assert [page.items async for page in found] == [[], []]
    assert [page.items async for page in catalog.pages_about(client, "US", SKUS[:20], ask, brands=["A, B"])] == [[], []]
    await catalog.item(client, "B000000001", "US", ask)
    await pricing_v0.offers(client, "US", SKUS[:20], ask)
    await pricing_v0.offers(client, "US", SKUS[:1], ask, condition="Used", customer="Business")
    await pricing.competition(client, "US", [f"B{number:09d}" for number in range(20)], ask, conditions=["New", "Used"])
    await pricing.expected_prices(client, "US", SKUS, ask)
    yen = OfferPrice(Money(Decimal(2980), "JPY"), Money(Decimal(0), "JPY"), Points(30, Money(Decimal(30), "JPY")))
    asked = fees.Question("A", yen, FulfilledBy.CHANNEL, program="FBA_CORE")
    await fees.estimates(
        client, "JP", [asked] * 19 + [fees.Question("B0", yen, FulfilledBy.MERCHANT, is_asin=True)], ask
    )
    assert len([page async for page in finances.transaction_pages(client, AT - timedelta(days=400), ask)]) > 4
    pages = finances.transaction_pages(client, AT - timedelta(days=9), ask, code="DE", status="RELEASED", until=AT)
    assert len([page async for page in pages]) == 2
    assert (await finances.order_transactions(client, "112-1234567-1234567", ask)).items == []
    assert await sellers.participations(client, ask) == []
    names = set()
    for request in line.calls:
        assert spapi.request_faults(request) == [], f"{request.method} {request.url} {request.content!r}"
        names.add(spapi.operation_of(request.method, request.url.raw_path.decode().partition("?")[0]))
    assert names == {
        "searchCatalogItems",
        "getCatalogItem",
        "getListingOffersBatch",
        "getCompetitiveSummary",
        "getFeaturedOfferExpectedPriceBatch",
        "getMyFeesEstimates",
        "listTransactions",
        "getMarketplaceParticipations",
    }


# Why leaves of Amazon's examples do not arrive.
# Said once: an item is of one marketplace. The details of vendors are for vendors; refinements help people to search.
VENDORS = (
    "brandCode",
    "manufacturerCode",
    "manufacturerCodeParent",
    "productCategory.displayName",
    "productCategory.value",
    "productGroup",
    "productSubcategory.displayName",
    "productSubcategory.value",
    "replenishmentCategory",
)
PARTS = ("classifications", "dimensions", "identifiers", "images", "productTypes", "relationships", "salesRanks")
CATALOG_ASIDE = {
    *(f"$.{part}[].marketplaceId" for part in (*PARTS, "vendorDetails")),
    *(f"$.vendorDetails[].{name}" for name in VENDORS),
}
# How a question fared is what we hand out; a question is said once.
STATUS_ASIDE = {"$.status.statusCode", "$.status.reasonPhrase"}
OFFERS_ASIDE = STATUS_ASIDE | {
    "$.headers.Date",
    "$.headers.x-amzn-RequestId",
    "$.request.MarketplaceId",
    "$.request.CustomerType",
    "$.request.ItemCondition",
    "$.request.SellerSKU",
    "$.body.payload.SKU",
    "$.body.payload.Identifier.MarketplaceId",
    "$.body.payload.Identifier.ItemCondition",
}


def example_items() -> Iterator[dict[str, Any]]:
    for _, one in spapi.examples("getCatalogItem"):
        yield as_received(one)
    for _, one in spapi.examples("searchCatalogItems"):
        yield from as_received(one)["items"]


def test_amazons_catalog_items_arrive_whole() -> None:
    raws = list(example_items())
    assert len(raws) >= 2
    for raw in raws:
        (found,) = catalog.items_of(raw)
        assert lacking(raw, found, CATALOG_ASIDE) == []


def test_the_comparison_finds_a_leaf_that_is_dropped_and_one_that_is_left_aside_in_vain() -> None:
    raw = next(example_items())
    (found,) = catalog.items_of({name: value for name, value in raw.items() if name != "productTypes"})
    told = lacking(raw, found, CATALOG_ASIDE | {"$.nothing"})
    assert told == ["$.productTypes[].productType: TELEVISION", "$.nothing is not there"]
    assert dict(leaves({"a": [{"b": 1}], "c": None, "d": ""})) == {"$.a[].b": 1}


def test_amazons_offers_arrive_whole() -> None:
    ((_, body),) = spapi.examples("getListingOffersBatch")
    raws = as_received(body)["responses"]
    told = told_of(CHANNEL, pricing_v0.OPERATION, raws, None, AT, pricing_v0._asked, pricing_v0.offers_of)
    assert list(told) == [raw["request"]["SellerSKU"] for raw in raws]
    for raw in raws:
        for offer in raw["body"]["payload"]["Offers"]:
            offer["IsFulfilledByAmazon"] = "AFN" if offer["IsFulfilledByAmazon"] else "MFN"
        assert lacking(raw, told[raw["request"]["SellerSKU"]], OFFERS_ASIDE) == []


def test_amazons_summaries_arrive_whole_and_an_unknown_asin_fails_alone() -> None:
    ((_, body),) = spapi.examples("getCompetitiveSummary")
    known, unknown = as_received(body)["responses"]
    told = told_of(
        CHANNEL, pricing.COMPETITION, [known, unknown], None, AT, pricing._asked_asin, pricing.competition_of
    )
    assert lacking(known, told["B00ZIAODGE"], STATUS_ASIDE | shipping_kinds(known)) == []
    problem = told["11_AABB_123"]
    assert isinstance(problem, Invalid)
    assert problem.upstream_code == "INVALID_ASIN"
    assert "11_AABB_123 is not a valid ASIN" in problem.message


def shipping_kinds(raw: object) -> set[str]:
    """DEFAULT is the only kind of shipping there is."""
    return {path for path, _ in leaves(raw) if path.endswith(".shippingOptionType")}


def test_amazons_expected_prices_arrive_whole_and_an_unknown_sku_fails_alone() -> None:
    ((_, body),) = spapi.examples("getFeaturedOfferExpectedPriceBatch")
    valid, alone, unknown = as_received(body)["responses"]
    told = told_of(
        CHANNEL, pricing.EXPECTED, [valid, alone, unknown], "r1", AT, pricing._asked_sku, pricing.expected_price_of
    )
    # A question is said once.
    once = STATUS_ASIDE | {"$.body.offerIdentifier.sku", "$.body.offerIdentifier.marketplaceId"}
    assert lacking(valid, told["MY_SKU"], once) == []
    assert lacking(alone, told["MY_UNIQUE_SKU"], once) == []
    problem = told["MY_NONEXISTENT_SKU"]
    assert isinstance(problem, Invalid)
    assert (problem.upstream_code, problem.upstream_request_id) == ("INVALID_SKU", "r1")


def test_amazons_fees_arrive_whole() -> None:
    ((_, body),) = spapi.examples("getMyFeesEstimates")
    # How a question fared is what we hand out; the number of a question is ours; ASIN or SKU and who ships are yes and no.
    aside = {
        "$.Status",
        "$.FeesEstimateIdentifier.SellerInputIdentifier",
        "$.FeesEstimateIdentifier.IdType",
        "$.FeesEstimateIdentifier.IsAmazonFulfilled",
        "$.FeesEstimate.TimeOfFeesEstimation",
    }
    for raw in as_received(body):
        found = fees.estimate_of(CHANNEL, raw, None)
        assert isinstance(found, FeesEstimate)
        assert lacking(raw, found, aside) == []
        assert found.is_asin == (raw["FeesEstimateIdentifier"]["IdType"] == "ASIN")
        assert found.fulfilled_by is FulfilledBy.MERCHANT
        assert found.as_of == datetime(2019, 10, 28, 18, 49, 32, tzinfo=UTC)
        # Amazon's example tells a total and no fees.
        assert found.unexplained == Money(Decimal(3), found.total.currency)


def test_amazons_transactions_arrive_whole() -> None:
    ((_, body),) = spapi.examples("listTransactions")
    payload = as_received(body)["payload"]
    assert read(finances.Answer, as_received(body)).payload.next_token == "Next token value"
    for raw in payload["transactions"]:
        found = finances.transaction_of(CHANNEL, raw)
        assert isinstance(found, Transaction)
        assert lacking(raw, found) == []


async def test_amazons_participations_arrive_whole(desk: Desk, line: Line) -> None:
    ((_, body),) = spapi.examples("getMarketplaceParticipations")
    line.answers.append(httpx.Response(200, json=body))
    (found,) = await sellers.participations(client_at(desk), Ask())
    assert lacking(as_received(body)["payload"][0], found) == []
