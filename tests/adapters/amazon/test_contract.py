"""What we send and what we read, against Amazon's own models.

They are not part of this repository: ACORN_CONTRACTS names a folder that holds them under spapi-models/.
"""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest

from adapters.amazon import inventory, listings, listings_submissions, quantities, sellers
from adapters.amazon.listings import listing_of
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.orders import order_of
from adapters.amazon.plans import PLANS
from adapters.port import OrderKey, ShownKey, StockKey, StockWrite
from adapters.wire import read
from domain.budget import Ask
from domain.ids import ChannelId, ChannelSku
from tests.adapters.amazon.bench import Desk, Line, go, make_parcel, make_pool
from tests.contracts import spapi

pytestmark = spapi.published

KEY = OrderKey("902-1106328-1059050", "US")
AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
CODES = {
    marketplace(code).id: code for code in ("US", "CA", "MX", "BR", "UK", "DE", "FR", "IT", "ES", "TR", "JP", "AU")
}


def answer(request: httpx.Request) -> httpx.Response:
    """The shortest answer with a second page, so that the request for that one is seen, too."""
    first = not {"nextToken", "pageToken", "paginationToken"} & set(request.url.params)
    pagination = {"nextToken": "x+/="} if first else {}
    path = request.url.path
    if path.endswith("/summaries"):
        return httpx.Response(200, json={"payload": {"inventorySummaries": []}, "pagination": pagination})
    if request.method == "PATCH":
        return httpx.Response(200, json={"sku": "A", "status": "ACCEPTED", "submissionId": "1", "issues": []})
    if path.startswith("/listings/"):
        return httpx.Response(200, json={"numberOfResults": 0, "items": [], "pagination": pagination})
    if path.endswith("/orders"):
        body = {"orders": [], "lastUpdatedBefore": "2026-11-25T00:00:00Z", "pagination": pagination}
        return httpx.Response(200, json=body)
    if path.endswith("/shipmentConfirmation"):
        return httpx.Response(204)
    if path.endswith("/marketplaceParticipations"):
        return httpx.Response(200, json={"payload": []})
    return httpx.Response(200, json={"order": {}})


async def everything(desk: Desk) -> None:
    """Every request that the port can make."""
    port, pool, ask = desk.port, make_pool(desk.config), Ask()
    for plan in port.plans.values():
        await desk.budgets.states([(desk.channel, plan)])
        await desk.budgets.adopt(desk.channel, plan.operation, rate=1000)
    await port.stock([pool], [StockKey(ChannelSku(f"A,B/{number} ü")) for number in range(50)], ask)
    assert [page.items async for page in port.stock_pages([pool], ask)] == [[], []]
    assert [page.items async for page in port.listing_pages(None, ask)] == [[], []]
    assert [page.items async for page in port.listing_pages(AT, ask)] == [[], []]
    assert [page.items async for page in port.order_pages(AT, ask)] == [[], []]
    await port.parcel_seen(KEY, make_parcel(("1", 2)), ask)
    await port.confirm_shipment(KEY, make_parcel(("79039765272157", 1), ("2", 3)), ask, go)
    number = ShownKey(ChannelSku("A,B/1 ü"), refs=(("marketplace", "US"), ("productType", "LUGGAGE")))
    assert len(await port.tell_stock([StockWrite(number, 3, None, "7")], ask, go)) == 1
    assert len(await port.shown_stock([ShownKey(ChannelSku(f"A,B/{n} ü")) for n in range(20)], ask)) == 20
    assert [page.items async for page in port.shown_pages([""], ask)] == [[], []]
    await port.check(ask)


async def test_every_request_of_the_port_is_one_that_amazon_publishes(desk: Desk, line: Line) -> None:
    line.answers.append(answer)
    await everything(desk)
    names = set()
    for request in line.calls:
        assert spapi.request_faults(request) == [], f"{request.method} {request.url}"
        names.add(spapi.operation_of(request.method, request.url.raw_path.decode().partition("?")[0]))
    assert names == {
        "getInventorySummaries",
        "searchListingsItems",
        "patchListingsItem",
        "searchOrders",
        "getOrder",
        "confirmShipment",
        "getMarketplaceParticipations",
    }


async def test_a_walk_past_the_thousand_is_published_too(desk: Desk, line: Line) -> None:
    full = {"numberOfResults": 1001, "items": [{"sku": f"S{number}"} for number in range(1000)]}
    line.answers.extend([httpx.Response(200, json=full), httpx.Response(200, json={"numberOfResults": 0, "items": []})])
    assert [len(page.rejected) async for page in desk.port.listing_pages(AT, Ask())] == [1001, 0]
    assert ["createdAfter" in request.url.params for request in line.calls] == [False, True]
    assert spapi.request_faults(line.calls[1]) == []


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (
            httpx.Request("GET", "https://a.test/orders/2026-01-01/orders?lastUpdatedSince=2026-11-21T08:00:00Z"),
            ["lastUpdatedSince is unknown"],
        ),
        (
            httpx.Request("GET", "https://a.test/fba/inventory/v1/summaries?granularityType=Pool&granularityId=X"),
            ["marketplaceIds is missing", "granularityType: 'Pool' is not one of ['Marketplace']"],
        ),
        (
            httpx.Request("GET", "https://a.test/listings/2021-08-01/items/S?marketplaceIds=X&pageSize=21"),
            ["pageSize: 21 is out of bounds"],
        ),
        (
            httpx.Request(
                "POST",
                "https://a.test/orders/v0/orders/1/shipmentConfirmation",
                json={"marketplaceId": "X", "packageDetail": {"packageReferenceId": 1, "weight": 3}},
            ),
            [
                "body.packageDetail.carrierCode is missing",
                "body.packageDetail.trackingNumber is missing",
                "body.packageDetail.shipDate is missing",
                "body.packageDetail.orderItems is missing",
                "body.packageDetail.packageReferenceId: 1 is no string",
                "body.packageDetail.weight is unknown",
            ],
        ),
    ],
)
def test_the_comparison_finds_what_is_wrong(request_: httpx.Request, told: list[str]) -> None:
    assert sorted(spapi.request_faults(request_)) == sorted(told)


def test_plans_and_names_are_the_published_ones() -> None:
    assert spapi.plans() == {name: (plan.rate, plan.burst) for name, plan in PLANS.items()}


def test_amazons_examples_of_orders_are_understood() -> None:
    channel = ChannelId("amazon")
    found = [one["order"] for _, one in spapi.examples("getOrder")]
    found += [order for _, one in spapi.examples("searchOrders") for order in one["orders"]]
    assert len(found) == 6
    orders = [order_of(channel, CODES, raw) for raw in found]
    assert {order.external_id for order in orders if order} == {raw["orderId"] for raw in found}


def test_amazons_examples_of_listings_stock_and_participations_are_understood() -> None:
    ((_, found),) = spapi.examples("searchListingsItems")
    answered = read(listings.Answer, found)
    items = [listing_of(ChannelId("amazon"), "US", read(listings.Item, raw), AT) for raw in answered.items]
    assert [one.channel_sku for one in items] == ["GM-ZDPI-9B4E"]
    assert [read(quantities.Item, raw).fulfillment_availability[0].quantity for raw in answered.items] == [100]
    for _, one in spapi.examples("patchListingsItem"):
        # VALID comes only from a preview, which we never ask for.
        preview = one["status"] == "VALID"
        assert read(listings_submissions.Submission, one | ({"status": "ACCEPTED"} if preview else {})).submission_id
    for _, one in spapi.examples("getMarketplaceParticipations"):
        assert read(sellers.Answer, one).payload
    for _, one in spapi.examples("getInventorySummaries"):
        for raw in read(inventory.Answer, one).payload.inventory_summaries:
            read(inventory.Summary, raw)
