"""Estimates of fees, from written answers and from the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.amazon import fees
from domain.budget import Ask
from domain.errors import Invalid, Transient
from domain.fee import FeeKind, FeesEstimate
from domain.money import Money
from domain.offer import OfferPrice
from domain.product import FulfilledBy, Rejected
from tests.adapters.amazon.bench import Desk, Line, Sandbox
from tests.adapters.amazon.reads import client_at, lift_plans

OpenDesk = Callable[..., Desk]


def question(item: str, price: str = "20.00", **changed: Any) -> fees.Question:
    by = changed.pop("fulfilled_by", FulfilledBy.CHANNEL)
    return fees.Question(item, OfferPrice(Money(Decimal(price), "USD")), by, **changed)


def cash(amount: object) -> dict[str, Any]:
    return {"CurrencyCode": "USD", "Amount": amount}


def fee(name: str, amount: object, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"FeeType": name, "FeeAmount": cash(amount), "FinalFee": cash(amount), "IncludedFeeDetailList": list(parts)}


def entry(number: str, status: str = "Success", **rest: Any) -> dict[str, Any]:
    identifier = {
        "MarketplaceId": "ATVPDKIKX0DER",
        "IdType": "SellerSKU",
        "IdValue": f"sku-{number}",
        "SellerInputIdentifier": number,
        "PriceToEstimateFees": {"ListingPrice": cash(20)},
    }
    return {"Status": status, "FeesEstimateIdentifier": identifier, **rest}


def estimate(total: object, *details: dict[str, Any]) -> dict[str, Any]:
    at = "2026-11-21T08:00:00Z"
    return {"TimeOfFeesEstimation": at, "TotalFeesEstimate": cash(total), "FeeDetailList": list(details)}


async def test_a_fee_of_an_unknown_name_is_kept_by_it_and_told(desk: Desk, line: Line) -> None:
    parts = [fee("FBAPickAndPack", 3.22), fee("FBAMoonLanding", 1)]
    details = [fee("ReferralFee", 3), fee("FBAFees", 4.22, *parts), fee("WeekendFee", 0.5)]
    line.answers.append(httpx.Response(200, json=[entry("0", FeesEstimate=estimate(7.72, *details))]))
    (found,) = await fees.estimates(client_at(desk), "US", [question("A")], Ask())
    assert isinstance(found, FeesEstimate)
    assert [(one.kind, one.name) for one in found.fees] == [
        (FeeKind.REFERRAL, "ReferralFee"),
        (FeeKind.FULFILLMENT, "FBAFees"),
        (FeeKind.UNCLASSIFIED, "WeekendFee"),
    ]
    assert [(one.name, one.final) for one in found.unclassified] == [
        ("FBAMoonLanding", Money(Decimal(1), "USD")),
        ("WeekendFee", Money(Decimal("0.5"), "USD")),
    ]
    assert found.unexplained == Money(Decimal(0), "USD")


async def test_a_fee_in_another_currency_than_the_total_is_not_taken_off_it(desk: Desk, line: Line) -> None:
    euro = {"CurrencyCode": "EUR", "Amount": 1}
    part = {**fee("FBAPickAndPack", 1), "FinalFee": euro}
    line.answers.append(httpx.Response(200, json=[entry("0", FeesEstimate=estimate(4, fee("FBAFees", 4, part)))]))
    (found,) = await fees.estimates(client_at(desk), "US", [question("A")], Ask())
    assert isinstance(found, Rejected)
    assert found.reason == "the total is in USD, its fee FBAPickAndPack is not"


async def test_each_question_succeeds_or_fails_alone_in_whatever_order_answers_come(desk: Desk, line: Line) -> None:
    error = {"Type": "x", "Code": "SomeCode", "Message": "why", "Detail": []}
    answers = [
        entry("3", "Maybe", FeesEstimate=estimate(3)),
        entry("2", "ServiceError", Error=error),
        entry("1", "ClientError", Error=error),
        entry("0", FeesEstimate=estimate(3)),
        entry("5", FeesEstimate=estimate("3.00")),
        "nonsense",
    ]
    line.answers.append(httpx.Response(200, json=answers))
    found = await fees.estimates(client_at(desk), "US", [question(f"sku-{number}") for number in range(6)], Ask())
    assert [type(one) for one in found] == [FeesEstimate, Invalid, Transient, Rejected, Transient, Rejected]
    refused, missing, broken = found[1], found[4], found[5]
    assert isinstance(refused, Invalid)
    assert (refused.upstream_code, "why" in refused.message) == ("SomeCode", True)
    assert isinstance(missing, Transient)
    assert "no answer for sku-4" in missing.message
    assert isinstance(broken, Rejected)
    assert broken.key == "sku-5"
    assert "totalFeesEstimate" in broken.reason or "TotalFeesEstimate" in broken.reason


async def test_what_cannot_be_sent_as_it_is_is_refused_before_anything_is_sent(desk: Desk, line: Line) -> None:
    client = client_at(desk)
    with pytest.raises(Invalid):
        await fees.estimates(client, "US", [question("A")] * 21, Ask())
    with pytest.raises(Invalid, match="JSON number"):
        await fees.estimates(client, "US", [question("A", "0.1234567890123456789")], Ask())
    with pytest.raises(Invalid, match="JSON number"):
        await fees.estimates(client, "US", [question("A", "1e400")], Ask())
    assert await fees.estimates(client, "US", [], Ask()) == []
    assert line.calls == []


async def test_the_sandboxs_estimates_are_by_its_table(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await lift_plans(sandbox)
    product = (await sandbox.get("world", limit=1))["skus"][0]
    questions = [
        question(product["sku"]),
        question(product["asin"], is_asin=True, fulfilled_by=FulfilledBy.MERCHANT),
        question("NO-SUCH"),
    ]
    by_sku, by_asin, missing = await fees.estimates(client_at(open_desk(sandbox)), "US", questions, Ask())
    assert isinstance(by_sku, FeesEstimate)
    assert isinstance(by_asin, FeesEstimate)
    assert isinstance(missing, Invalid)
    assert by_asin.total == Money(Decimal("3.00"), "USD")
    assert {one.kind for one in by_sku.fees} > {one.kind for one in by_asin.fees}
    for one in (by_sku, by_asin):
        assert one.unexplained.amount == 0
        assert one.unclassified == ()
