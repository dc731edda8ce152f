"""getMyFeesEstimates."""

from decimal import Decimal

import httpx
import pytest

from sandbox.amazon.visit import Seller, error
from sandbox.visit import world
from tests.sandbox.amazon.reads import FEES, fees_question, leaves, lift_plans, post, transactions


@pytest.fixture(autouse=True)
async def _plans(client: httpx.AsyncClient) -> None:
    await lift_plans(client)


async def test_the_referral_fee_is_15_percent_and_at_least_its_minimum(client: httpx.AsyncClient, na: Seller) -> None:
    sku = (await world(client))["skus"][0]["sku"]
    for price, fee in (("20.00", 3.0), ("1.00", 0.3), ("19.99", 3.0)):
        entry = (await post(na, FEES, [fees_question("US", sku, price, IsAmazonFulfilled=False)])).json()[0]
        amounts = {one["FeeType"]: one["FinalFee"]["Amount"] for one in entry["FeesEstimate"]["FeeDetailList"]}
        assert amounts == {"ReferralFee": fee, "VariableClosingFee": 0, "PerItemFee": 0}
        assert entry["FeesEstimate"]["TotalFeesEstimate"] == {"CurrencyCode": "USD", "Amount": fee}


async def test_the_fees_of_fba_are_told_in_parts_that_add_up(client: httpx.AsyncClient, na: Seller) -> None:
    totals = set()
    for product in (await world(client))["skus"][:40]:
        entry = (await post(na, FEES, [fees_question("US", product["sku"], "25.00")])).json()[0]
        fba = next(one for one in entry["FeesEstimate"]["FeeDetailList"] if one["FeeType"] == "FBAFees")
        parts = sum(Decimal(str(one["FinalFee"]["Amount"])) for one in fba["IncludedFeeDetailList"])
        totals.add(parts)
        assert parts == Decimal(str(fba["FinalFee"]["Amount"]))
    assert len(totals) > 1
    assert totals <= {Decimal("3.22"), Decimal("4.75"), Decimal("9.61")}


async def test_the_estimate_is_what_an_order_is_charged(na: Seller) -> None:
    checked = 0
    for one in await transactions(na):
        item = one["items"][0]
        about = item["contexts"][0]
        found = leaves(item["breakdowns"])
        if (
            one["transactionType"] == "Shipment"
            and about["quantityShipped"] == 1
            and about["fulfillmentNetwork"] == "AFN"
        ):
            question = fees_question("US", about["sku"], str(found["ProductCharges"]))
            (entry,) = (await post(na, FEES, [question])).json()
            fees = {fee["FeeType"]: fee["FinalFee"]["Amount"] for fee in entry["FeesEstimate"]["FeeDetailList"]}
            assert -found["Commission"] == Decimal(str(fees["ReferralFee"]))
            assert -found["FBAPerUnitFulfillmentFee"] == Decimal(str(fees["FBAFees"]))
            checked += 1
    assert checked


async def test_a_question_without_an_answer_fails_alone(client: httpx.AsyncClient, na: Seller) -> None:
    sku = (await world(client))["skus"][0]["sku"]
    euros = {"ListingPrice": {"CurrencyCode": "EUR", "Amount": 20}}
    questions = [
        fees_question("US", sku, "20.00"),
        fees_question("US", "NO-SUCH", "20.00"),
        fees_question("US", sku, "0"),
        fees_question("US", sku, "20.00", PriceToEstimateFees=euros),
    ]
    entries = (await post(na, FEES, questions)).json()
    assert [one["Status"] for one in entries] == ["Success", "ClientError", "ClientError", "ClientError"]
    assert [("FeesEstimate" in one, "Error" in one) for one in entries] == [(True, False)] + [(False, True)] * 3


async def test_what_is_no_list_of_questions_is_refused_whole(na: Seller) -> None:
    good = fees_question("US", "A", "20.00")
    bad: list[object] = [[], {}, [good] * 21, [{}], [{**good, "IdType": "EAN"}], [fees_question("DE", "A", "20.00")]]
    for body in bad:
        assert error(await post(na, FEES, body)) == (400, "InvalidInput"), body
