"""What the tests of catalog, pricing, fees and finances ask the sandbox."""

from decimal import Decimal
from typing import Any

import httpx

from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.visit import Seller, confirmation
from sandbox.visit import world

CATALOG = "/catalog/2022-04-01/items"
OFFERS = "/batches/products/pricing/v0/listingOffers"
SUMMARY = "/batches/products/pricing/2022-05-01/items/competitiveSummary"
EXPECTED = "/batches/products/pricing/2022-05-01/offer/featuredOfferExpectedPrice"
FEES = "/products/fees/v0/feesEstimate"
FINANCES = "/finances/2024-06-19/transactions"
LONG_AGO = "2026-01-01T00:00:00Z"
OPERATIONS = (
    "searchCatalogItems",
    "getCatalogItem",
    "getListingOffersBatch",
    "getCompetitiveSummary",
    "getFeaturedOfferExpectedPriceBatch",
    "getMyFeesEstimates",
    "listTransactions",
    "confirmShipment",
)


async def lift_plans(client: httpx.AsyncClient) -> None:
    """The clock of these tests stands still, so no bucket fills again."""
    plans = {operation: {"rate": 1000, "burst": 1000} for operation in OPERATIONS}
    assert (await client.post("/_sandbox/plans", json=plans)).status_code == 200


async def post(seller: Seller, path: str, body: object) -> httpx.Response:
    return await seller.client.post(path, headers=seller.headers, json=body)


def offers_question(code: str, sku: str, **changed: str) -> dict[str, Any]:
    question = {"uri": f"/products/pricing/v0/listings/{sku}/offers", "method": "GET"}
    return {**question, "MarketplaceId": MARKETPLACES[code].id, "ItemCondition": "New", **changed}


def summary_question(code: str, asin: str, **changed: object) -> dict[str, Any]:
    return {
        "asin": asin,
        "marketplaceId": MARKETPLACES[code].id,
        "includedData": ["featuredBuyingOptions", "referencePrices", "lowestPricedOffers", "similarItems"],
        "lowestPricedOffersInputs": [{"itemCondition": "New", "offerType": "Consumer"}],
        "uri": "/products/pricing/2022-05-01/items/competitiveSummary",
        "method": "GET",
        **changed,
    }


def expected_question(code: str, sku: str) -> dict[str, Any]:
    uri = "/products/pricing/2022-05-01/offer/featuredOfferExpectedPrice"
    return {"marketplaceId": MARKETPLACES[code].id, "sku": sku, "method": "GET", "uri": uri}


def fees_question(code: str, sku: str, price: str, **changed: object) -> dict[str, Any]:
    place = MARKETPLACES[code]
    return {
        "FeesEstimateRequest": {
            "MarketplaceId": place.id,
            "IsAmazonFulfilled": True,
            "PriceToEstimateFees": {"ListingPrice": {"CurrencyCode": place.currency, "Amount": float(price)}},
            "Identifier": sku,
            **changed,
        },
        "IdType": "SellerSKU",
        "IdValue": sku,
    }


async def offers_of(seller: Seller, code: str, sku: str) -> dict[str, Any]:
    """The payload for one SKU."""
    answer = await post(seller, OFFERS, {"requests": [offers_question(code, sku)]})
    payload: dict[str, Any] = answer.json()["responses"][0]["body"]["payload"]
    return payload


async def expected_of(seller: Seller, code: str, sku: str) -> dict[str, Any]:
    """The one result for one SKU."""
    answer = await post(seller, EXPECTED, {"requests": [expected_question(code, sku)]})
    result: dict[str, Any] = answer.json()["responses"][0]["body"]["featuredOfferExpectedPriceResults"][0]
    return result


async def transactions(seller: Seller, **query: object) -> list[dict[str, Any]]:
    """All pages of a window."""
    found: list[dict[str, Any]] = []
    token: dict[str, object] = {}
    while True:
        answer = await seller.get(FINANCES, **{"postedAfter": LONG_AGO, **query, **token})
        assert answer.status_code == 200, answer.text
        payload = answer.json()["payload"]
        found += payload["transactions"]
        if not payload.get("nextToken"):
            return found
        token = {"nextToken": payload["nextToken"]}


def related(one: dict[str, Any], name: str) -> str | None:
    """A related identifier of a transaction."""
    found = [e["relatedIdentifierValue"] for e in one["relatedIdentifiers"] if e["relatedIdentifierName"] == name]
    return found[0] if found else None


def leaves(tree: list[dict[str, Any]]) -> dict[str, Decimal]:
    """The leaves of breakdowns, by their type."""
    found: dict[str, Decimal] = {}
    for one in tree:
        if "breakdowns" in one:
            found |= leaves(one["breakdowns"])
        else:
            found[one["breakdownType"]] = cash(one["breakdownAmount"])
    return found


def cash(amount: dict[str, Any]) -> Decimal:
    return Decimal(str(amount["currencyAmount"]))


async def ship_all(seller: Seller) -> list[str]:
    """Confirms every order that the merchant has to ship; their ids."""
    orders = [one for one in (await world(seller.client))["orders"] if one["sellerId"] == seller.id]
    ready = [one for one in orders if (one["status"], one["fulfilledBy"]) == ("UNSHIPPED", "MERCHANT")]
    for order in ready:
        assert (await seller.confirm(order["id"], confirmation(order))).status_code == 204
    return [order["id"] for order in ready]
