"""Product Pricing v0 (getListingOffersBatch) and 2022-05-01 (getCompetitiveSummary, getFeaturedOfferExpectedPriceBatch).

Each is a batch that is answered 200 when it is one at all: what is wrong with one question is said in its own answer.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from sandbox.amazon import catalog
from sandbox.amazon.auth import Account
from sandbox.amazon.competition import Standing, expected_price, featured, points, standings
from sandbox.amazon.errors import invalid
from sandbox.amazon.marketplaces import BY_ID, MARKETPLACES
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.state import Amazon, number
from sandbox.world import Product

CONDITIONS = ("New", "Used", "Collectible", "Refurbished", "Club")
INCLUDED = ("featuredBuyingOptions", "referencePrices", "lowestPricedOffers", "similarItems")

_OFFERS_URI = re.compile(r"/products/pricing/v0/listings/([^/]+)/offers")
_SUMMARY_URI = "/products/pricing/2022-05-01/items/competitiveSummary"
_EXPECTED_URI = "/products/pricing/2022-05-01/offer/featuredOfferExpectedPrice"

Question = dict[str, Any]


def listing_offers(amazon: Amazon, account: Account, body: object) -> dict[str, Any]:
    """All offers beside each of at most 20 SKUs."""
    return {"responses": [_offers_of(amazon, account, one) for one in _questions(body, 20, _check_offers)]}


def competitive_summary(amazon: Amazon, account: Account, body: object) -> dict[str, Any]:
    """What buyers meet at each of at most 20 ASINs."""
    return {"responses": [_summary_of(amazon, account, one) for one in _questions(body, 20, _check_summary)]}


def expected_prices(amazon: Amazon, account: Account, body: object) -> dict[str, Any]:
    """What each of at most 40 SKUs must cost to be featured."""
    return {"responses": [_expected_of(amazon, account, one) for one in _questions(body, 40, _check_expected)]}


def _questions(body: object, most: int, check: Callable[[Question], None]) -> list[Question]:
    """The questions of a batch; raises 400 for what is none."""
    questions = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(questions, list) or not all(isinstance(one, dict) for one in questions):
        raise invalid("'requests' is required, a list of objects.")
    if not 1 <= len(questions) <= most:
        raise invalid(f"'requests' takes 1 to {most} items; {len(questions)} were given.")
    for one in questions:
        if one.get("method") != "GET":
            raise invalid("'method' must be GET.")
        check(one)
    return questions


def _needed(question: Question, *names: str) -> None:
    for name in names:
        if not isinstance(question.get(name), str) or not question[name]:
            raise invalid(f"'{name}' is required.")


def _check_offers(question: Question) -> None:
    _needed(question, "uri", "MarketplaceId", "ItemCondition")
    if not _OFFERS_URI.fullmatch(question["uri"]):
        raise invalid(f"'{question['uri']}' is not a uri of getListingOffers.")
    if question["ItemCondition"] not in CONDITIONS:
        raise invalid(f"'{question['ItemCondition']}' is not an ItemCondition.")
    if question.get("CustomerType", "Consumer") not in ("Consumer", "Business"):
        raise invalid(f"'{question['CustomerType']}' is not a CustomerType.")


def _check_summary(question: Question) -> None:
    _needed(question, "uri", "asin", "marketplaceId")
    if question["uri"] != _SUMMARY_URI:
        raise invalid(f"'{question['uri']}' is not the uri of getCompetitiveSummary.")
    included = question.get("includedData")
    if not isinstance(included, list) or not included or any(one not in INCLUDED for one in included):
        raise invalid(f"'includedData' takes {', '.join(INCLUDED)}.")
    inputs = question.get("lowestPricedOffersInputs", [])
    if (
        not isinstance(inputs, list)
        or len(inputs) > 5
        or any(one.get("itemCondition") not in CONDITIONS for one in inputs)
    ):
        raise invalid("'lowestPricedOffersInputs' takes 5 items at most, each with a condition.")


def _check_expected(question: Question) -> None:
    _needed(question, "uri", "sku", "marketplaceId")
    if question["uri"] != _EXPECTED_URI:
        raise invalid(f"'{question['uri']}' is not the uri of getFeaturedOfferExpectedPrice.")


def _listed(amazon: Amazon, account: Account, sku: str, id: str) -> tuple[Product, str] | None:
    product, place = amazon.world.find(sku), BY_ID.get(id)
    if product is None or place is None or place.code not in amazon.listed(account, product):
        return None
    return product, place.code


def _error(code: str, message: str) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": message}]}


# Product Pricing v0


def _offers_of(amazon: Amazon, account: Account, question: Question) -> dict[str, Any]:
    match = _OFFERS_URI.fullmatch(question["uri"])
    assert match is not None, "checked before"
    sku, condition = unquote(match[1]), question["ItemCondition"]
    answer: dict[str, Any] = {
        "headers": {"x-amzn-RequestId": str(uuid4()), "Date": format_datetime(amazon.clock.now(), usegmt=True)},
        "request": {
            "MarketplaceId": question["MarketplaceId"],
            "SellerSKU": sku,
            "ItemCondition": condition,
            "CustomerType": question.get("CustomerType", "Consumer"),
        },
    }
    there = _listed(amazon, account, sku, question["MarketplaceId"])
    if there is None:
        words = f"'{sku}' is an invalid SKU for marketplace {question['MarketplaceId']}"
        return answer | {
            "status": {"statusCode": 400, "reasonPhrase": "Bad Request"},
            "body": _error("InvalidInput", words),
        }
    return answer | {
        "status": {"statusCode": 200, "reasonPhrase": "OK"},
        "body": {"payload": _payload(amazon, account, *there, condition)},
    }


def _payload(amazon: Amazon, account: Account, product: Product, code: str, condition: str) -> dict[str, Any]:
    """All that is sold here is new."""
    found = standings(amazon, account, product, code) if condition == "New" else []
    first, place = featured(found), MARKETPLACES[code]
    counts = {by: [one for one in found if one.by_amazon == by] for by in (True, False)}
    in_category, in_department = catalog.ranks(amazon, product, code)
    summary: dict[str, Any] = {
        "TotalOfferCount": len(found),
        "NumberOfOffers": [_count(by, len(some)) for by, some in counts.items() if some],
        "BuyBoxEligibleOffers": [
            _count(by, sum(one.featurable for one in some)) for by, some in counts.items() if some
        ],
        "LowestPrices": [
            {"condition": "new", "fulfillmentChannel": _channel(some[0].by_amazon), **_price(some[0], code)}
            for some in counts.values()
            if some
        ],
        "BuyBoxPrices": [{"condition": "new", **_price(first, code), "sellerId": first.seller}] if first else [],
        "ListPrice": _capital(product.prices[place.currency], code),
        "SalesRankings": [
            {"ProductCategoryId": catalog.category(product)[0], "Rank": in_category},
            {"ProductCategoryId": "fashion_display_on_website", "Rank": in_department},
        ],
    }
    return {
        "marketplaceId": place.id,
        "ASIN": product.asin,
        "SKU": product.sku,
        "ItemCondition": condition,
        "status": "Success" if found else "NoBuyableOffers",
        "Identifier": {"MarketplaceId": place.id, "SellerSKU": product.sku, "ItemCondition": condition},
        "Summary": summary,
        "Offers": [_offer(one, code, is_first=one is first) for one in found[:20]],
    }


def _offer(one: Standing, code: str, *, is_first: bool) -> dict[str, Any]:
    return {
        "MyOffer": one.ours,
        "SubCondition": "new",
        "SellerId": one.seller,
        "SellerFeedbackRating": {
            "SellerPositiveFeedbackRating": one.feedback_percent,
            "FeedbackCount": one.feedback_count,
        },
        "ShippingTime": {
            "minimumHours": 0 if one.by_amazon else 24,
            "maximumHours": 0 if one.by_amazon else 48,
            "availabilityType": "NOW",
        },
        **{name: value for name, value in _price(one, code).items() if name != "LandedPrice"},
        "ShipsFrom": {"Country": code},
        "IsFulfilledByAmazon": one.by_amazon,
        "PrimeInformation": {"IsPrime": one.by_amazon, "IsNationalPrime": one.by_amazon},
        "IsBuyBoxWinner": is_first,
        "IsFeaturedMerchant": one.featurable,
    }


def _price(one: Standing, code: str) -> dict[str, Any]:
    given = {"PointsNumber": one.points, "PointsMonetaryValue": _capital(Decimal(one.points), code)}
    return {
        "LandedPrice": _capital(one.landed, code),
        "ListingPrice": _capital(one.price, code),
        "Shipping": _capital(one.shipping, code),
        **({"Points": given} if one.points else {}),
    }


def _count(by_amazon: bool, count: int) -> dict[str, Any]:
    return {"condition": "new", "fulfillmentChannel": _channel(by_amazon), "OfferCount": count}


def _channel(by_amazon: bool) -> str:
    return "Amazon" if by_amazon else "Merchant"


def _capital(amount: Decimal, code: str) -> dict[str, Any]:
    return {"CurrencyCode": MARKETPLACES[code].currency, "Amount": number(amount, code)}


# Product Pricing 2022-05-01


def _summary_of(amazon: Amazon, account: Account, question: Question) -> dict[str, Any]:
    asin, id = question["asin"], question["marketplaceId"]
    place, index = BY_ID.get(id), amazon.world.by_asin(asin)
    body: dict[str, Any] = {"asin": asin, "marketplaceId": id}
    told = {"status": {"statusCode": 400, "reasonPhrase": "Client Error"}}
    if place is None or place.code not in account.marketplaces:
        return told | {"body": body | _error("INVALID_MARKETPLACE", f"{id} is not a marketplace of the seller")}
    if index is None or place.code not in amazon.world.marketplaces_of(index):
        return told | {"body": body | _error("INVALID_ASIN", f"{asin} is not a valid ASIN")}
    product, code = amazon.world.product(index), place.code
    found, included = standings(amazon, account, product, code), question["includedData"]
    if "featuredBuyingOptions" in included:
        body["featuredBuyingOptions"] = _featured(found, code)
    if "lowestPricedOffers" in included:
        # A condition that nobody offers is left out.
        body["lowestPricedOffers"] = [
            {
                "lowestPricedOffersInput": {"itemCondition": "New", "offerType": "Consumer"},
                "offers": [_new_offer(each, code) for each in found[:20]],
            }
            for one in question.get("lowestPricedOffersInputs", [{"itemCondition": "New"}])
            if one["itemCondition"] == "New" and found
        ]
    if "referencePrices" in included:
        was = product.prices[place.currency]
        body["referencePrices"] = [{"name": "WasPrice", "price": _small(was, code)}]
        if others := [one for one in found if not one.ours]:
            body["referencePrices"].append({"name": "CompetitivePrice", "price": _small(others[0].landed, code)})
    if "similarItems" in included:
        variants = [one for one in amazon.world.style(product.style) if one is not product and code in one.marketplaces]
        body["similarItems"] = [{"items": [{"asin": one.asin} for one in variants]}]
    return {"status": {"statusCode": 200, "reasonPhrase": "Success"}, "body": body}


def _featured(found: list[Standing], code: str) -> list[dict[str, Any]]:
    first = featured(found)
    if first is None:
        return []
    everybody = [{"customerMembership": "DEFAULT", "segmentDetails": {"glanceViewWeightPercentage": 100}}]
    offer = {**_new_offer(first, code), "featuredOfferSegments": everybody}
    del offer["subCondition"], offer["primeDetails"]
    return [{"buyingOptionType": "New", "segmentedFeaturedOffers": [offer]}]


def _new_offer(one: Standing, code: str) -> dict[str, Any]:
    return {
        "sellerId": one.seller,
        "condition": "New",
        "subCondition": "New",
        "fulfillmentType": "AFN" if one.by_amazon else "MFN",
        "listingPrice": _small(one.price, code),
        "shippingOptions": [{"shippingOptionType": "DEFAULT", "price": _small(one.shipping, code)}],
        "primeDetails": {"eligibility": "NATIONAL" if one.by_amazon else "NONE"},
        **_points(one.points, code),
    }


def _expected_of(amazon: Amazon, account: Account, question: Question) -> dict[str, Any]:
    asked = {name: question[name] for name in ("marketplaceId", "sku", "segment") if name in question}
    there = _listed(amazon, account, question["sku"], question["marketplaceId"])
    if there is None:
        return {
            "request": asked,
            "status": {"statusCode": 400, "reasonPhrase": "Client Error"},
            "headers": {},
            "body": _error(
                "INVALID_SKU", "The requested SKU does not exist for the seller in the requested Amazon store."
            ),
        }
    product, code = there
    by = "AFN" if product.fulfilled_by == "AMAZON" else "MFN"
    identity = {"asin": product.asin, "marketplaceId": question["marketplaceId"], "fulfillmentType": by}
    return {
        "request": asked,
        "status": {"statusCode": 200, "reasonPhrase": "Success"},
        "headers": {},
        "body": {
            "offerIdentifier": {**identity, "sku": product.sku, "sellerId": account.seller},
            "featuredOfferExpectedPriceResults": [_result(amazon, account, product, code)],
        },
    }


def _result(amazon: Amazon, account: Account, product: Product, code: str) -> dict[str, Any]:
    found = standings(amazon, account, product, code)
    ours = next((one for one in found if one.ours), None)
    current, rival = featured(found), featured([one for one in found if not one.ours])
    shown = {"currentFeaturedOffer": _rival(current, product, code)} if current else {}
    if ours is None:
        return {"resultStatus": "OFFER_NOT_ELIGIBLE", **shown}
    if rival is None:
        return {"resultStatus": "NO_COMPETING_OFFER", **shown}
    price = expected_price(ours, rival, code)
    return {
        "resultStatus": "VALID_FOEP",
        "featuredOfferExpectedPrice": {"listingPrice": _small(price, code), **_points(points(price, code), code)},
        "competingFeaturedOffer": _rival(rival, product, code),
        **shown,
    }


def _rival(one: Standing, product: Product, code: str) -> dict[str, Any]:
    return {
        "offerIdentifier": {
            "asin": product.asin,
            "marketplaceId": MARKETPLACES[code].id,
            "sellerId": one.seller,
            "fulfillmentType": "AFN" if one.by_amazon else "MFN",
        },
        "condition": "New",
        "price": {
            "listingPrice": _small(one.price, code),
            "shippingPrice": _small(one.shipping, code),
            **_points(one.points, code),
        },
    }


def _points(count: int, code: str) -> dict[str, Any]:
    value = _small(Decimal(count), code)
    return {"points": {"pointsNumber": count, "pointsMonetaryValue": value}} if count else {}


def _small(amount: Decimal, code: str) -> dict[str, Any]:
    return {"currencyCode": MARKETPLACES[code].currency, "amount": number(amount, code)}


def operations(amazon: Amazon) -> list[Operation]:
    """What of these APIs is served."""

    def one(name: str, path: str, of: Callable[[Amazon, Account, object], dict[str, Any]]) -> Operation:
        def answer(asked: Asked) -> dict[str, Any]:
            return of(amazon, asked.account, asked.body)

        return Operation(name, "POST", "/batches/products/pricing" + path, answer)

    return [
        one("getListingOffersBatch", "/v0/listingOffers", listing_offers),
        one("getCompetitiveSummary", "/2022-05-01/items/competitiveSummary", competitive_summary),
        one(
            "getFeaturedOfferExpectedPriceBatch",
            "/2022-05-01/offer/featuredOfferExpectedPrice",
            expected_prices,
        ),
    ]
