"""What catalog, pricing, fees and finances answer, against Amazon's own models."""

from typing import Any

import httpx
import pytest

from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.visit import EU, FE, NA, Seller
from sandbox.visit import advance
from tests.contracts import spapi
from tests.sandbox.amazon.reads import (
    CATALOG,
    EXPECTED,
    FEES,
    FINANCES,
    LONG_AGO,
    OFFERS,
    SUMMARY,
    expected_question,
    fees_question,
    lift_plans,
    offers_question,
    post,
    ship_all,
    summary_question,
)

pytestmark = spapi.published

ALL = "attributes,classifications,dimensions,identifiers,images,productTypes,relationships,salesRanks,summaries"


@pytest.fixture(autouse=True)
async def _plans(client: httpx.AsyncClient) -> None:
    await lift_plans(client)


def check(operation: str, answer: httpx.Response, status: int = 200) -> Any:
    """The answer's body, which is one that Amazon publishes for this status."""
    assert answer.status_code == status, answer.text
    assert spapi.answer_faults(operation, answer) == []
    return answer.json()


@pytest.mark.parametrize(("account", "code"), [(NA, "US"), (EU, "DE"), (EU, "FR"), (FE, "JP")])
async def test_reads_answer_as_published(client: httpx.AsyncClient, account: str, code: str) -> None:
    seller = await Seller.login(client, account)
    place, listed = MARKETPLACES[code].id, (await seller.listings(code, pageSize=20)).json()["items"]
    pairs = [(one["sku"], one["summaries"][0]["asin"]) for one in listed]
    everything = {"marketplaceIds": place, "includedData": f"{ALL},vendorDetails"}
    words = {"US": "cap", "DE": "mütze", "FR": "casquette", "JP": "キャップ"}[code]
    assert check("searchCatalogItems", await seller.get(CATALOG, keywords=words, **everything))["items"]
    asins = ",".join(asin for _, asin in pairs)
    named = await seller.get(CATALOG, identifiers=asins, identifiersType="ASIN", pageSize=20, **everything)
    assert check("searchCatalogItems", named)["numberOfResults"] == 20
    item = check("getCatalogItem", await seller.get(f"{CATALOG}/{pairs[0][1]}", **everything))
    parent = item["relationships"][0]["relationships"][0]["parentAsins"][0]
    check("getCatalogItem", await seller.get(f"{CATALOG}/{parent}", **everything))
    offers = [*(offers_question(code, sku) for sku, _ in pairs[:19]), offers_question(code, "NO")]
    check("getListingOffersBatch", await post(seller, OFFERS, {"requests": offers}))
    used = {"requests": [offers_question(code, pairs[0][0], ItemCondition="Used")]}
    check("getListingOffersBatch", await post(seller, OFFERS, used))
    asked = [*(summary_question(code, asin) for _, asin in pairs[:19]), summary_question(code, "NO")]
    check("getCompetitiveSummary", await post(seller, SUMMARY, {"requests": asked}))
    expected = [*(expected_question(code, sku) for sku, _ in pairs), expected_question(code, "NO")]
    check("getFeaturedOfferExpectedPriceBatch", await post(seller, EXPECTED, {"requests": expected}))
    fees = [*(fees_question(code, sku, "2000") for sku, _ in pairs[:19]), fees_question(code, "NO", "20")]
    check("getMyFeesEstimates", await post(seller, FEES, fees))
    found = check("listTransactions", await seller.get(FINANCES, postedAfter=LONG_AGO))
    assert found["payload"]["transactions"]


async def test_transactions_of_every_status_answer_as_published(client: httpx.AsyncClient) -> None:
    await ship_all(await Seller.login(client))
    seen = set()
    for days in (3, 8):
        await advance(client, days * 86_400)
        na = await Seller.login(client)
        for status in ("DEFERRED", "RELEASED", "DEFERRED_RELEASED"):
            answer = await na.get(FINANCES, postedAfter=LONG_AGO, transactionStatus=status)
            found = check("listTransactions", answer)["payload"]["transactions"]
            seen |= {one["transactionStatus"] for one in found}
    assert seen == {"DEFERRED", "RELEASED", "DEFERRED_RELEASED"}


async def test_refusals_answer_as_published(client: httpx.AsyncClient, na: Seller) -> None:
    us, de = MARKETPLACES["US"].id, MARKETPLACES["DE"].id
    check("searchCatalogItems", await na.get(CATALOG, marketplaceIds=us), 400)
    check("searchCatalogItems", await na.get(CATALOG, marketplaceIds=de, keywords="cap"), 403)
    check("getCatalogItem", await na.get(f"{CATALOG}/B000000000", marketplaceIds=us), 404)
    check("getListingOffersBatch", await post(na, OFFERS, {"requests": []}), 400)
    check("getCompetitiveSummary", await post(na, SUMMARY, {"requests": []}), 400)
    check("getFeaturedOfferExpectedPriceBatch", await post(na, EXPECTED, {"requests": []}), 400)
    check("getMyFeesEstimates", await post(na, FEES, []), 400)
    check("getMyFeesEstimates", await post(na, FEES, [fees_question("DE", "A", "20")]), 400)
    check("listTransactions", await na.get(FINANCES), 400)
    check("listTransactions", await na.get(FINANCES, postedAfter=LONG_AGO, marketplaceId=de), 403)
