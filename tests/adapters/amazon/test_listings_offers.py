"""Previewing, submitting and reading back an offer: out of written answers, then with the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.amazon.listings_offers import BATCH, read_offer, read_offers
from adapters.amazon.listings_submissions import Declined, Finding, Preview, preview, submit
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.patches import PriceChange, price_patch, quantity_patch
from adapters.port import Receipt
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import HouseError, Invalid, NotFound, OutcomeUnknown, Transient
from domain.ids import ChannelSku
from domain.price import Sale
from tests.adapters.amazon.bench import Desk, Line, Sandbox, go
from tests.adapters.amazon.offers import client_of, money, priced, skus, unhurried

OpenDesk = Callable[..., Desk]

US, JP = marketplace("US"), marketplace("JP")
SKU = ChannelSku("A,1/2 ü")
PATCH = quantity_patch(US, 7)


def submission(status: str, *issues: dict[str, Any], code: int = 200) -> httpx.Response:
    body = {"sku": SKU, "status": status, "submissionId": "f1dc2914", "issues": issues}
    return httpx.Response(code, json=body, headers={"x-amzn-RequestId": "call-1"})


def issue(message: str, severity: str = "ERROR", **more: Any) -> dict[str, Any]:
    return {"code": "90220", "message": message, "severity": severity, "categories": [], **more}


def item(sku: str = "A1", **parts: Any) -> dict[str, Any]:
    summary = {
        "marketplaceId": US.id,
        "productType": "LUGGAGE",
        "status": ["BUYABLE", "DISCOVERABLE"],
        "createdDate": "2026-03-01T12:00:00Z",
    }
    return {"sku": sku, "summaries": [summary], **parts}


async def never() -> None:
    raise AssertionError("nothing is to be sent")


# Preview and submission


async def test_a_preview_asks_and_changes_nothing(desk: Desk, line: Line) -> None:
    warning = issue("Look at the image.", "WARNING", marketplaceIds=[US.id], attributeNames=["image"])
    line.answers.append(submission("VALID", warning, issue("Elsewhere.", marketplaceIds=[JP.id])))
    told = await preview(client_of(desk), "A1SANDBOXNA", US, SKU, [PATCH], Ask(), product_type="LUGGAGE")
    assert told == Preview(True, (Finding("90220", "WARNING", "Look at the image.", ("image",)),), "call-1")
    (call,) = line.calls
    assert call.method == "PATCH"
    assert dict(call.url.params) == {
        "marketplaceIds": US.id,
        "includedData": "issues",
        "issueLocale": "en_US",
        "mode": "VALIDATION_PREVIEW",
    }
    assert json.loads(call.content) == {"productType": "LUGGAGE", "patches": [PATCH.body()]}


async def test_a_preview_tells_what_is_wrong(desk: Desk, line: Line) -> None:
    line.answers.append(submission("INVALID", issue("No.", attributeNames=["purchasable_offer"])))
    told = await preview(client_of(desk), "A1SANDBOXNA", US, SKU, [PATCH], Ask())
    assert (told.valid, told.findings) == (False, (Finding("90220", "ERROR", "No.", ("purchasable_offer",)),))
    assert told.findings[0].wrong


@pytest.mark.parametrize("answer", [submission("ACCEPTED"), submission("MAYBE"), httpx.Response(500)])
async def test_a_preview_without_a_verdict_may_be_asked_again(desk: Desk, line: Line, answer: httpx.Response) -> None:
    line.answers.append(answer)
    with pytest.raises(Transient):
        await preview(client_of(desk), "A1SANDBOXNA", US, SKU, [PATCH], Ask())


async def test_a_submission_is_taken_or_refused(desk: Desk, line: Line) -> None:
    client = client_of(desk)
    suppressed = {"actions": [{"action": "LISTING_SUPPRESSED"}], "exemption": {"status": "NOT_EXEMPT"}}
    line.answers.extend(
        [
            submission("ACCEPTED"),
            submission("INVALID", issue("Well.", "INFO"), issue("Too dear.", enforcements=suppressed)),
            submission("INVALID"),
        ]
    )
    receipt = await submit(client, "A1SANDBOXNA", US, SKU, [PATCH], Ask(), go)
    assert receipt == Receipt("call-1", "f1dc2914")
    with pytest.raises(Declined) as caught:
        await submit(client, "A1SANDBOXNA", US, SKU, [PATCH], Ask(), go, what="the price")
    assert caught.value.message == f"Amazon refuses the price of {SKU}: Too dear."
    assert caught.value.upstream_code == "90220"
    assert [one.severity for one in caught.value.findings] == ["INFO", "ERROR"]
    assert caught.value.findings[1].actions == ("LISTING_SUPPRESSED",)
    with pytest.raises(Declined, match="no reason given"):
        await submit(client, "A1SANDBOXNA", US, SKU, [PATCH], Ask(), go)


@pytest.mark.parametrize("answer", [submission("VALID"), submission("MAYBE"), httpx.Response(200, text="<html>")])
async def test_a_submission_without_a_verdict_is_of_unknown_outcome(
    desk: Desk, line: Line, answer: httpx.Response
) -> None:
    line.answers.append(answer)
    with pytest.raises(OutcomeUnknown):
        await submit(client_of(desk), "A1SANDBOXNA", US, SKU, [PATCH], Ask(), go)


async def test_who_may_not_send_sends_nothing(desk: Desk, line: Line) -> None:
    with pytest.raises(AssertionError):
        await submit(client_of(desk), "A1SANDBOXNA", US, SKU, [PATCH], Ask(), never)
    assert line.calls == []


# Reading back


async def test_an_offer_is_told_with_all_that_matters(desk: Desk, line: Line) -> None:
    entries = [
        {"marketplace_id": US.id, "currency": "USD", "audience": "B2B", "our_price": priced(18)},
        {"marketplace_id": US.id, "currency": "USD", "our_price": priced(20.5), "discounted_price": priced(15.25)},
    ]
    hidden = [{"action": "SEARCH_SUPPRESSED"}]
    down = issue("No image.", enforcements={"actions": hidden, "exemption": {"status": "NOT_EXEMPT"}})
    spared = issue("Hm.", enforcements={"actions": hidden, "exemption": {"status": "EXEMPT"}})
    offers = [
        {"marketplaceId": US.id, "offerType": "B2B", "price": {"currencyCode": "USD", "amount": "18.0"}},
        {"marketplaceId": US.id, "offerType": "B2C", "price": {"currencyCode": "USD", "amount": "15.25"}},
    ]
    availability = [
        {"fulfillmentChannelCode": "DEFAULT", "quantity": 7},
    ]
    whole = item(
        attributes={"purchasable_offer": entries, "brand": [{"value": "Acorn"}]},
        offers=offers,
        issues=[down, spared],
        fulfillmentAvailability=availability,
    )
    line.answers.append(httpx.Response(200, json=whole))
    told = await read_offer(client_of(desk), "A1SANDBOXNA", US, ChannelSku("A1"), Ask())
    assert (told.sku, told.marketplace, told.product_type, told.buyable) == ("A1", "US", "LUGGAGE", True)
    assert (told.asked.price, told.asked.sales) == (money("20.5"), (Sale(money("15.25"), None, None),))
    assert (told.in_force, told.quantity) == (money("15.25"), 7)
    assert [one.message for one in told.findings] == ["No image.", "Hm."]
    assert [one.actions for one in told.suppressed_by] == [("SEARCH_SUPPRESSED",)]
    assert [entry["currency"] for entry in told.entries or ()] == ["USD", "USD"]
    included = "summaries,attributes,offers,fulfillmentAvailability,issues"
    assert dict(line.calls[0].url.params) == {
        "marketplaceIds": US.id,
        "includedData": included,
        "issueLocale": "en_US",
    }


@pytest.mark.parametrize(
    ("parts", "quantity"),
    [
        ({}, None),
        ({"fulfillmentAvailability": [{"fulfillmentChannelCode": "DEFAULT"}]}, None),
        (
            {
                "fulfillmentAvailability": [
                    {"fulfillmentChannelCode": "DEFAULT", "quantity": 3},
                    {"fulfillmentChannelCode": "AMAZON_NA"},
                ]
            },
            None,
        ),
        ({"fulfillmentAvailability": [{"fulfillmentChannelCode": "DEFAULT", "quantity": 0}]}, 0),
    ],
)
async def test_no_number_is_made_up(desk: Desk, line: Line, parts: dict[str, Any], quantity: int | None) -> None:
    line.answers.append(httpx.Response(200, json=item(**parts)))
    told = await read_offer(client_of(desk), "A1SANDBOXNA", US, ChannelSku("A1"), Ask())
    assert (told.quantity, told.in_force, told.asked.price) == (quantity, None, None)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (httpx.Response(404, json={"errors": [{"code": "NotFound", "message": "SKU not found."}]}), NotFound),
        (httpx.Response(200, json=item(summaries=[])), Transient),
        (httpx.Response(200, json=item(attributes={"purchasable_offer": [{"currency": 5}]})), Transient),
        (httpx.Response(200, json=item(attributes={"purchasable_offer": {}})), Transient),
    ],
)
async def test_what_cannot_be_read_is_no_offer(
    desk: Desk, line: Line, answer: httpx.Response, failure: type[HouseError]
) -> None:
    line.answers.append(answer)
    with pytest.raises(failure):
        await read_offer(client_of(desk), "A1SANDBOXNA", US, ChannelSku("A1"), Ask())


async def test_attributes_that_are_left_out_are_not_taken_for_an_offer_that_says_nothing(
    desk: Desk, line: Line
) -> None:
    change = PriceChange(price=money("20"))
    line.answers.extend(httpx.Response(200, json=one) for one in (item(), item(attributes={})))
    unknown, none = [await read_offer(client_of(desk), "A1SANDBOXNA", US, ChannelSku("A1"), Ask()) for _ in range(2)]
    with pytest.raises(Unclear, match="would wipe it out"):
        price_patch(US, unknown.entries, change)
    assert len(price_patch(US, none.entries, change).value) == 1


async def test_offers_are_read_by_twenty_and_over_pages(desk: Desk, line: Line) -> None:
    await unhurried(desk, "searchListingsItems")
    client = client_of(desk)
    pages = [{"numberOfResults": 2, "items": [item("A1")], "pagination": {"nextToken": "x+/="}}]
    pages.append({"numberOfResults": 2, "items": [item("A2")]})
    line.answers.extend(httpx.Response(200, json=page) for page in pages)
    told = await read_offers(client, "A1SANDBOXNA", US, [ChannelSku(one) for one in ("A1", "A2", "A3")], Ask())
    assert sorted(told) == ["A1", "A2"]
    assert [call.url.params.get("pageToken") for call in line.calls] == [None, "x+/="]
    assert line.calls[0].url.params["identifiers"] == "A1,A2,A3"
    assert await read_offers(client, "A1SANDBOXNA", US, [], Ask()) == {}
    with pytest.raises(Invalid, match="takes 20 SKUs at most"):
        await read_offers(client, "A1SANDBOXNA", US, [ChannelSku(str(n)) for n in range(BATCH + 1)], Ask())
    assert len(line.calls) == 2


async def test_one_offer_that_cannot_be_read_spoils_the_batch(desk: Desk, line: Line) -> None:
    broken = item("A2", attributes={"purchasable_offer": [{"currency": 5}]})
    line.answers.append(httpx.Response(200, json={"numberOfResults": 2, "items": [item("A1"), broken]}))
    with pytest.raises(Transient, match="cannot be read"):
        await read_offers(client_of(desk), "A1SANDBOXNA", US, [ChannelSku("A1"), ChannelSku("A2")], Ask())


# With the sandbox


@pytest.mark.parametrize(("region", "code"), [("na", "US"), ("eu", "DE"), ("fe", "JP")])
async def test_a_price_and_a_sale_are_previewed_submitted_and_read_back(
    sandbox: Sandbox, open_desk: OpenDesk, region: str, code: str
) -> None:
    desk, store = open_desk(sandbox, region), marketplace(code)
    client, seller = client_of(desk), desk.config.seller_id
    sku = (await skus(sandbox, code))[1]
    before = await read_offer(client, seller, store, sku, Ask())
    at = datetime.fromisoformat((await sandbox.get("clock"))["now"]).astimezone(UTC).replace(microsecond=0)
    sale = Sale(money("1500", store.currency), at - timedelta(hours=1), at + timedelta(days=40))
    change = PriceChange(price=money("1900", store.currency), sale=sale)
    patches = [price_patch(store, before.entries, change), quantity_patch(store, 41)]
    since = await sandbox.mark()
    told = await preview(client, seller, store, sku, patches, Ask(), product_type=before.product_type)
    assert (told.valid, told.findings) == (True, ())
    assert await sandbox.effects(since) == []
    await submit(client, seller, store, sku, patches, Ask(), go, product_type=before.product_type)
    assert len(await sandbox.effects(since)) == 1
    await sandbox.post("clock", {"advance": 3})
    after = await read_offer(client, seller, store, sku, Ask())
    assert (after.asked.price, after.asked.sales) == (change.price, (sale,))
    assert after.in_force is not None
    assert (int(after.in_force.amount), after.in_force.currency) == (1500, store.currency)
    assert after.asked.at(at) == sale.price
    assert after.quantity == 41
    forget = price_patch(store, after.entries, PriceChange(sale=None))
    await submit(client, seller, store, sku, [forget], Ask(), go)
    await sandbox.post("clock", {"advance": 3})
    last = await read_offer(client, seller, store, sku, Ask())
    assert (last.asked.price, last.asked.sales, last.quantity) == (change.price, (), 41)


async def test_what_amazon_would_refuse_is_known_beforehand(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    client, seller = client_of(desk), desk.config.seller_id
    sku = (await skus(sandbox, "US"))[2]
    standing = await read_offer(client, seller, US, sku, Ask())
    change = PriceChange(price=money("10"), minimum=money("12"), maximum=money("11"))
    patch = price_patch(US, standing.entries, change)
    told = await preview(client, seller, US, sku, [patch], Ask())
    assert (told.valid, [one.attributes for one in told.findings]) == (False, [("purchasable_offer",)])
    with pytest.raises(Declined, match="minimum_seller_allowed_price") as caught:
        await submit(client, seller, US, sku, [patch], Ask(), go)
    assert caught.value.findings == told.findings


async def test_a_price_out_of_bounds_is_read_back_as_suppressed(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    desk = open_desk(sandbox)
    client, seller = client_of(desk), desk.config.seller_id
    sku = (await skus(sandbox, "US"))[3]
    standing = await read_offer(client, seller, US, sku, Ask())
    assert standing.suppressed_by == ()
    patch = price_patch(US, standing.entries, PriceChange(price=money("10"), minimum=money("12")))
    await submit(client, seller, US, sku, [patch], Ask(), go)
    await sandbox.post("clock", {"advance": 3})
    told = await read_offer(client, seller, US, sku, Ask())
    assert [one.actions for one in told.suppressed_by] == [("LISTING_SUPPRESSED",)]
    assert (told.buyable, told.asked.minimum) == (False, money("12"))
