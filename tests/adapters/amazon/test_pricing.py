"""Offers, featured offers and expected prices, from written answers and from the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.amazon import pricing, pricing_v0
from domain.budget import Ask
from domain.errors import Invalid, NotFound, Throttled, Transient
from domain.offer import Competition, ExpectedPrice, Offers, Points
from domain.product import FulfilledBy, Rejected
from tests.adapters.amazon.bench import Desk, Line, Sandbox
from tests.adapters.amazon.reads import client_at, lift_plans

US = "ATVPDKIKX0DER"
OpenDesk = Callable[..., Desk]


def entry(sku: str, status: int = 200, **body: Any) -> dict[str, Any]:
    """One answer of getFeaturedOfferExpectedPriceBatch."""
    return {"request": {"sku": sku, "marketplaceId": US}, "status": {"statusCode": status}, "headers": {}, "body": body}


def result(status: str, amount: object = None) -> dict[str, Any]:
    price = {} if amount is None else {"featuredOfferExpectedPrice": {"listingPrice": cash(amount)}}
    return {"featuredOfferExpectedPriceResults": [{"resultStatus": status, **price}]}


def cash(amount: object) -> dict[str, Any]:
    return {"amount": amount, "currencyCode": "USD"}


async def test_each_answer_goes_to_its_question_in_whatever_order_they_come(desk: Desk, line: Line) -> None:
    errors: dict[str, Any] = {"errors": [{"code": "SOME_CODE", "message": "why"}]}
    entries = [
        entry("D", 503, **errors),
        entry("C", 429, **errors),
        {**entry("B", 404, **errors), "headers": None},
        entry("A", **result("VALID_FOEP", 12.5)),
        entry("F", **result("VALID_FOEP", "12.50")),
        {"nonsense": True},
    ]
    line.answers.append(httpx.Response(200, json={"responses": entries}))
    a, b, c, d, e, f = await pricing.expected_prices(client_at(desk), "US", ["A", "B", "C", "D", "E", "F"], Ask())
    assert isinstance(a, ExpectedPrice)
    assert a.results[0].price is not None
    assert a.results[0].price.amount == Decimal("12.5")
    assert [type(one) for one in (b, c, d, e)] == [NotFound, Throttled, Transient, Transient]
    assert isinstance(b, NotFound)
    assert b.upstream_code == "SOME_CODE"
    assert isinstance(e, Transient)
    assert "no answer for E" in e.message
    assert isinstance(f, Rejected)
    assert (f.key, f.what) == ("F", "getFeaturedOfferExpectedPriceBatch")
    assert "should be a number" in f.reason


@pytest.mark.parametrize("status", ["NO_COMPETING_OFFER", "NO_COMPETING_OFFERS", "ASIN_NOT_ELIGIBLE", "SOMETHING_NEW"])
async def test_no_expected_price_is_an_answer_in_amazons_own_words(desk: Desk, line: Line, status: str) -> None:
    line.answers.append(httpx.Response(200, json={"responses": [entry("A", **result(status))]}))
    (found,) = await pricing.expected_prices(client_at(desk), "US", ["A"], Ask())
    assert isinstance(found, ExpectedPrice)
    assert [(one.status, one.price) for one in found.results] == [(status, None)]


async def test_a_fulfillment_that_we_do_not_know_is_not_taken_for_another(desk: Desk, line: Line) -> None:
    who = {"asin": "B0", "marketplaceId": US, "fulfillmentType": "DRONE"}
    results = [{"resultStatus": "X", "currentFeaturedOffer": {"offerIdentifier": who}}]
    body = entry("A", featuredOfferExpectedPriceResults=results)
    line.answers.append(httpx.Response(200, json={"responses": [body]}))
    (found,) = await pricing.expected_prices(client_at(desk), "US", ["A"], Ask())
    assert isinstance(found, Rejected)
    assert "AFN" in found.reason


async def test_offers_are_known_by_their_sku_where_the_question_is_not_repeated(desk: Desk, line: Line) -> None:
    summary: dict[str, Any] = {"TotalOfferCount": 0}
    payload = {"marketplaceId": US, "SKU": "A", "ItemCondition": "New", "status": "NoBuyableOffers", "Identifier": {}}
    body = {"payload": {**payload, "Summary": summary, "Offers": []}}
    line.answers.append(httpx.Response(200, json={"responses": [{"status": {"statusCode": 200}, "body": body}]}))
    (found,) = await pricing_v0.offers(client_at(desk), "US", ["A"], Ask())
    assert isinstance(found, Offers)
    assert (found.sku, found.status, found.offers) == ("A", "NoBuyableOffers", ())


async def test_too_many_questions_are_refused_before_anything_is_sent_and_none_costs_nothing(
    desk: Desk, line: Line
) -> None:
    client = client_at(desk)
    with pytest.raises(Invalid):
        await pricing_v0.offers(client, "US", ["A"] * 21, Ask())
    with pytest.raises(Invalid):
        await pricing.competition(client, "US", ["A"] * 21, Ask())
    with pytest.raises(Invalid):
        await pricing.competition(client, "US", ["A"], Ask(), conditions=[])
    with pytest.raises(Invalid):
        await pricing.expected_prices(client, "US", ["A"] * 41, Ask())
    assert await pricing.expected_prices(client, "US", [], Ask()) == []
    assert line.calls == []


async def test_the_sandboxs_offers_hold_ours_at_our_price(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await lift_plans(sandbox)
    desk = open_desk(sandbox)
    skus = (await sandbox.get("world", limit=19))["skus"]
    *found, missing = await pricing_v0.offers(client_at(desk), "US", [*(one["sku"] for one in skus), "NO/SUCH"], Ask())
    assert isinstance(missing, Invalid)
    ours = 0
    for one, told in zip(skus, found, strict=True):
        assert isinstance(told, Offers)
        assert (told.sku, told.asin, told.total) == (one["sku"], one["asin"], len(told.offers))
        for offer in told.offers:
            if offer.mine:
                ours += 1
                assert offer.seller == desk.config.seller_id
                assert offer.price.listing.amount == Decimal(one["prices"]["US"])
        featured = [offer.price for offer in told.offers if offer.featured]
        assert [price.price.listing for price in told.featured] == [price.listing for price in featured]
    assert ours


async def test_the_sandboxs_expected_prices_and_summaries_agree(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await lift_plans(sandbox)
    client = client_at(open_desk(sandbox))
    skus = (await sandbox.get("world", limit=20))["skus"]
    expected = await pricing.expected_prices(client, "US", [one["sku"] for one in skus], Ask())
    summaries = await pricing.competition(client, "US", [one["asin"] for one in skus], Ask())
    statuses = set()
    for price, summary in zip(expected, summaries, strict=True):
        assert isinstance(price, ExpectedPrice)
        assert isinstance(summary, Competition)
        (told,) = price.results
        statuses.add(told.status)
        featured = [offer.seller for offers in summary.featured.values() for offer in offers]
        assert featured == ([] if told.current is None else [told.current.seller])
        if told.status == "VALID_FOEP":
            assert told.competing is not None
            assert told.competing.seller in [offer.seller for one in summary.lowest for offer in one.offers]
    assert "VALID_FOEP" in statuses


async def test_points_of_japan_arrive_with_their_worth(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await lift_plans(sandbox)
    skus = [one for one in (await sandbox.get("world", limit=60))["skus"] if "JP" in one["marketplaces"]][:20]
    found = await pricing_v0.offers(client_at(open_desk(sandbox, "fe")), "JP", [one["sku"] for one in skus], Ask())
    prices = [price.price for one in found if isinstance(one, Offers) for price in one.lowest]
    assert prices
    for price in prices:
        assert isinstance(price.points, Points)
        assert price.points.value is not None
        assert price.shipping is not None
        assert price.landed is not None
        assert price.landed.amount == price.listing.amount + price.shipping.amount - price.points.value.amount
        assert price.landed.currency == price.points.value.currency == "JPY"
    kinds = {offer.fulfilled_by for one in found if isinstance(one, Offers) for offer in one.offers}
    assert kinds == {FulfilledBy.CHANNEL, FulfilledBy.MERCHANT}
