"""Offers, featured offers, and prices that would be featured."""

from collections import Counter
from decimal import Decimal
from typing import Any

import httpx
import pytest

from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.visit import FE, Seller, error
from sandbox.visit import advance, world
from tests.sandbox.amazon.reads import (
    EXPECTED,
    OFFERS,
    SUMMARY,
    expected_of,
    expected_question,
    lift_plans,
    offers_of,
    offers_question,
    post,
    summary_question,
)


@pytest.fixture(autouse=True)
async def _plans(client: httpx.AsyncClient) -> None:
    await lift_plans(client)


async def put_price(client: httpx.AsyncClient, sku: str, amount: object) -> None:
    prices = {"prices": [{"sku": sku, "marketplace": "US", "amount": str(amount)}]}
    assert (await client.post("/_sandbox/state", json=prices)).status_code == 200


async def skus(client: httpx.AsyncClient, count: int = 40) -> list[str]:
    return [one["sku"] for one in (await world(client))["skus"][:count]]


def ours(payload: dict[str, Any]) -> dict[str, Any]:
    (found,) = [one for one in payload["Offers"] if one["MyOffer"]]
    return dict(found)


async def test_our_offer_is_there_at_our_price_and_one_offer_at_most_is_featured(
    client: httpx.AsyncClient, na: Seller
) -> None:
    featured, present = Counter[int](), 0
    for product in (await world(client))["skus"][:40]:
        payload = await offers_of(na, "US", product["sku"])
        offers = payload["Offers"]
        assert payload["Summary"]["TotalOfferCount"] == len(offers)
        assert payload["status"] == ("Success" if offers else "NoBuyableOffers")
        featured[sum(one["IsBuyBoxWinner"] for one in offers)] += 1
        if any(one["MyOffer"] for one in offers):
            present += 1
            assert Decimal(str(ours(payload)["ListingPrice"]["Amount"])) == Decimal(product["prices"]["US"])
    assert set(featured) <= {0, 1}
    assert featured[1] > 20
    assert present > 20


async def test_the_lowest_weighed_price_is_featured(client: httpx.AsyncClient, na: Seller) -> None:
    decided = 0
    for sku in await skus(client):
        offers = [one for one in (await offers_of(na, "US", sku))["Offers"] if one["IsFeaturedMerchant"]]
        weights = {
            one["SellerId"]: (one["ListingPrice"]["Amount"] + one["Shipping"]["Amount"])
            * (1 if one["IsFulfilledByAmazon"] else 1.05)
            for one in offers
        }
        winners = [one["SellerId"] for one in offers if one["IsBuyBoxWinner"]]
        if winners:
            assert weights[winners[0]] == pytest.approx(min(weights.values()))
            decided += len(offers) > 1
    assert decided > 10


async def test_a_price_at_the_expected_one_is_featured_and_one_above_it_is_not(
    client: httpx.AsyncClient, na: Seller
) -> None:
    tried = 0
    for sku in await skus(client):
        # A price that has just been set lets the rivals stand still for an hour.
        await put_price(client, sku, 1)
        result = await expected_of(na, "US", sku)
        if result["resultStatus"] != "VALID_FOEP":
            continue
        price = Decimal(str(result["featuredOfferExpectedPrice"]["listingPrice"]["amount"]))
        for amount, wins in ((price, True), (price + Decimal("0.01"), False)):
            await put_price(client, sku, amount)
            assert ours(await offers_of(na, "US", sku))["IsBuyBoxWinner"] is wins, sku
            again = await expected_of(na, "US", sku)
            assert again["featuredOfferExpectedPrice"] == result["featuredOfferExpectedPrice"]
            mine = again["currentFeaturedOffer"]["offerIdentifier"]["sellerId"] == na.id
            assert mine is wins
        tried += 1
        if tried == 5:
            return
    pytest.fail("no product of this world has a rival")


async def test_rivals_move_over_time_and_answer_to_our_price(client: httpx.AsyncClient, na: Seller) -> None:
    def rivals(payload: dict[str, Any]) -> dict[str, Any]:
        return {one["SellerId"]: one["ListingPrice"]["Amount"] for one in payload["Offers"] if not one["MyOffer"]}

    named = await skus(client, 30)
    before = {sku: rivals(await offers_of(na, "US", sku)) for sku in named}
    assert {sku: rivals(await offers_of(na, "US", sku)) for sku in named} == before
    await advance(client, 6 * 3600)
    na = await Seller.login(client)
    later = {sku: rivals(await offers_of(na, "US", sku)) for sku in named}
    assert {sku: set(one) for sku, one in later.items()} == {sku: set(one) for sku, one in before.items()}
    assert later != before
    asked: dict[str, Decimal] = {}
    for product in (await world(client))["skus"][:30]:
        asked[product["sku"]] = (Decimal(product["prices"]["US"]) * 9 / 10).quantize(Decimal("0.01"))
        await put_price(client, product["sku"], asked[product["sku"]])
    still = {sku: rivals(await offers_of(na, "US", sku)) for sku in named}
    await advance(client, 3600)
    na = await Seller.login(client)
    answered = {sku: rivals(await offers_of(na, "US", sku)) for sku in named}
    lower = [(sku, seller) for sku in named for seller in answered[sku] if answered[sku][seller] < still[sku][seller]]
    assert lower
    for sku, seller in lower:
        assert Decimal(str(answered[sku][seller])) == (asked[sku] * 99 / 100).quantize(Decimal("0.01"))


async def test_every_status_of_an_expected_price_comes(client: httpx.AsyncClient, na: Seller) -> None:
    found = Counter[str]()
    for sku in await skus(client, 60):
        result = await expected_of(na, "US", sku)
        found[result["resultStatus"]] += 1
        assert ("featuredOfferExpectedPrice" in result) == (result["resultStatus"] == "VALID_FOEP")
    assert set(found) == {"VALID_FOEP", "NO_COMPETING_OFFER", "OFFER_NOT_ELIGIBLE"}


async def test_the_summary_of_an_asin_agrees_with_the_offers(client: httpx.AsyncClient, na: Seller) -> None:
    for product in (await world(client))["skus"][:15]:
        answer = await post(na, SUMMARY, {"requests": [summary_question("US", product["asin"])]})
        body = answer.json()["responses"][0]["body"]
        payload = await offers_of(na, "US", product["sku"])
        winners = [one["SellerId"] for one in payload["Offers"] if one["IsBuyBoxWinner"]]
        options = body["featuredBuyingOptions"]
        assert [one["sellerId"] for option in options for one in option["segmentedFeaturedOffers"]] == winners
        lowest = [offer for one in body["lowestPricedOffers"] for offer in one["offers"]]
        assert [one["sellerId"] for one in lowest] == [one["SellerId"] for one in payload["Offers"]]


async def test_points_are_given_in_japan_and_taken_off_the_landed_price(client: httpx.AsyncClient) -> None:
    fe = await Seller.login(client, FE)
    listed = (await fe.listings("JP", pageSize=20)).json()["items"]
    payloads = [await offers_of(fe, "JP", one["sku"]) for one in listed]
    prices = [one for payload in payloads for one in payload["Summary"]["LowestPrices"]]
    assert prices
    for one in prices:
        assert one["Points"]["PointsNumber"] == int(one["ListingPrice"]["Amount"] / 100)
        whole = one["ListingPrice"]["Amount"] + one["Shipping"]["Amount"] - one["Points"]["PointsNumber"]
        assert one["LandedPrice"] == {"CurrencyCode": "JPY", "Amount": whole}


async def test_what_is_wrong_with_one_question_stays_with_it(client: httpx.AsyncClient, na: Seller) -> None:
    good = (await world(client))["skus"][0]
    asked: list[tuple[str, list[dict[str, Any]], str]] = [
        (OFFERS, [offers_question("US", good["sku"]), offers_question("US", "NO")], "InvalidInput"),
        (SUMMARY, [summary_question("US", good["asin"]), summary_question("US", "NO")], "INVALID_ASIN"),
        (EXPECTED, [expected_question("US", good["sku"]), expected_question("DE", good["sku"])], "INVALID_SKU"),
    ]
    for path, questions, code in asked:
        answer = await post(na, path, {"requests": questions})
        assert answer.status_code == 200
        well, ill = answer.json()["responses"]
        assert (well["status"]["statusCode"], ill["status"]["statusCode"]) == (200, 400)
        assert ill["body"]["errors"][0]["code"] == code


async def test_a_batch_that_is_none_is_refused_whole(na: Seller) -> None:
    bad: list[tuple[str, list[object]]] = [
        (OFFERS, []),
        (OFFERS, [offers_question("US", "A")] * 21),
        (OFFERS, [{**offers_question("US", "A"), "method": "POST"}]),
        (OFFERS, [offers_question("US", "A", uri="/elsewhere")]),
        (OFFERS, [offers_question("US", "A", ItemCondition="Shiny")]),
        (SUMMARY, [summary_question("US", "A")] * 21),
        (SUMMARY, [summary_question("US", "A", includedData=["everything"])]),
        (EXPECTED, [expected_question("US", "A")] * 41),
        (EXPECTED, ["A"]),
    ]
    for path, questions in bad:
        assert error(await post(na, path, {"requests": questions})) == (400, "InvalidInput"), questions
    assert error(await post(na, OFFERS, {})) == (400, "InvalidInput")
    ids = {MARKETPLACES["US"].id}
    answer = await post(na, EXPECTED, {"requests": [expected_question("US", "A")] * 40})
    assert {one["request"]["marketplaceId"] for one in answer.json()["responses"]} == ids
