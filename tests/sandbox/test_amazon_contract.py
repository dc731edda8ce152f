"""The sandbox's answers against the platform's own published models.

The models are not part of this repository: ACORN_CONTRACTS names a folder that holds spapi-models/.
"""

from collections.abc import AsyncIterator

import httpx
import pytest

from sandbox.amazon.app import build
from sandbox.amazon.plans import PLANS
from sandbox.amazon.visit import EU, FE, NA, Seller, confirmation
from sandbox.options import Options
from sandbox.visit import inside
from tests.contracts import spapi

pytestmark = spapi.published


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with inside(build(Options(products=120, orders=300, lag_s=0, speed=100))) as visitor:
        yield visitor


def check(operation: str, answer: httpx.Response) -> None:
    """The answer has the body its model gives for its status."""
    assert spapi.answer_faults(operation, answer) == [], answer.text[:500]


def test_the_plans_are_the_published_ones() -> None:
    assert {name: (plan.rate, plan.burst) for name, plan in PLANS.items()} == spapi.plans()


def test_the_checker_finds_what_is_wrong() -> None:
    order = {
        "orderId": 5,
        "createdTime": "yesterday",
        "lastUpdatedTime": "2026-03-01T00:00:00Z",
        "salesChannel": {"channelName": "AMAZON", "color": "blue"},
        "fulfillment": {"fulfillmentStatus": "Shipped"},
    }
    found = spapi.answer_faults("getOrder", httpx.Response(200, json={"order": order}))
    assert sorted(fault.partition(":")[0] for fault in found) == [
        "$.order.createdTime",
        "$.order.fulfillment.fulfillmentStatus",
        "$.order.orderId",
        "$.order.orderItems is missing",
        "$.order.salesChannel.color is unknown",
    ]
    assert spapi.answer_faults("getOrder", httpx.Response(418)) == ["status 418 is not in the model"]
    assert spapi.answer_faults("confirmShipment", httpx.Response(204, json={})) == ["a body where none belongs"]


@pytest.mark.parametrize(("account", "marketplace"), [(NA, "US"), (EU, "DE"), (EU, "FR"), (FE, "JP")])
async def test_reads_answer_as_published(client: httpx.AsyncClient, account: str, marketplace: str) -> None:
    seller = await Seller.login(client, account)
    check("getMarketplaceParticipations", await seller.get("/sellers/v1/marketplaceParticipations"))
    summaries = await seller.inventory(marketplace)
    check("getInventorySummaries", summaries)
    sku = summaries.json()["payload"]["inventorySummaries"][0]["sellerSku"]
    everything = "summaries,attributes,issues,offers,fulfillmentAvailability,procurement,relationships,productTypes"
    check("getListingsItem", await seller.listing(marketplace, sku, includedData=everything))
    found = await seller.listings(marketplace, includedData=everything, pageSize=20)
    check("searchListingsItems", found)
    assert len(found.json()["items"]) == 20
    included = "BUYER,RECIPIENT,PROCEEDS,EXPENSE,PROMOTION,CANCELLATION,FULFILLMENT,PACKAGES,TAX,PAYMENT"
    orders = await seller.orders(createdAfter="2020-01-01T00:00:00Z", includedData=f"{included},FULFILLMENT_ORDERS")
    check("searchOrders", orders)
    assert orders.status_code == 200
    first = orders.json()["orders"][0]["orderId"]
    check("getOrder", await seller.order(first, *included.split(",")))


async def test_writes_answer_as_published(client: httpx.AsyncClient) -> None:
    seller = await Seller.login(client)
    world = (await client.get("/_sandbox/world")).json()
    sku = world["skus"][9]["sku"]
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 3}]
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
    body = {"productType": "PRODUCT", "patches": [patch]}
    accepted = await seller.patch("US", sku, body, includedData="identifiers,issues")
    assert accepted.json()["status"] == "ACCEPTED"
    check("patchListingsItem", accepted)
    invalid = await seller.patch("US", sku, {**body, "productType": "LUGGAGE"})
    assert invalid.json()["status"] == "INVALID"
    check("patchListingsItem", invalid)
    order = next(
        order
        for order in world["orders"]
        if (order["status"], order["fulfilledBy"], order["marketplace"]) == ("UNSHIPPED", "MERCHANT", "US")
    )
    confirmed = await seller.confirm(order["id"], confirmation(order))
    assert confirmed.status_code == 204
    check("confirmShipment", confirmed)
    shipped = await seller.order(order["id"], "FULFILLMENT", "PACKAGES")
    assert shipped.json()["order"]["packages"]
    check("getOrder", shipped)


async def test_failures_answer_as_published(client: httpx.AsyncClient) -> None:
    seller = await Seller.login(client)
    check("getInventorySummaries", await seller.inventory("US", granularityType="World"))
    check("getListingsItem", await seller.listing("US", "NO-SUCH"))
    check("searchListingsItems", await seller.listings("US", pageSize=99))
    check("searchOrders", await seller.orders())
    check("getOrder", await seller.order("1"))
    check("confirmShipment", await seller.confirm("1", {}))
    seller.token = "Atza|stolen"
    check("getInventorySummaries", await seller.inventory("US"))
    for status in (429, 500, 503):
        faults = {"faults": [{"kind": "status", "status": status}]}
        await client.post("/_sandbox/faults", json=faults)
        for operation, answer in (
            ("getInventorySummaries", await seller.inventory("US")),
            ("searchOrders", await seller.orders()),
            ("confirmShipment", await seller.confirm("1", {})),
            ("getMarketplaceParticipations", await seller.get("/sellers/v1/marketplaceParticipations")),
        ):
            assert answer.status_code == status
            check(operation, answer)
