"""The API's front and the plans: paths, headers, 429 at the exact call; and the smallest operation."""

import httpx
import pytest

from sandbox.amazon.app import build
from sandbox.amazon.plans import PLANS
from sandbox.amazon.visit import FE, Seller, error
from sandbox.options import Options
from sandbox.visit import advance, calls, inside

LONG_AGO = "2026-01-01T00:00:00Z"


async def test_wrong_paths_and_trailing_slashes_are_403(na: Seller) -> None:
    for path in ("/orders/2026-01-01/order", "/orders/2026-01-01/orders/", "/sellers/v1/marketplaceParticipations/"):
        answer = await na.get(path)
        assert error(answer) == (403, "Unauthorized"), path
        assert "x-amzn-ratelimit-limit" not in answer.headers
        assert answer.headers["x-amzn-requestid"]


async def test_a_get_with_a_body_is_refused_as_html(na: Seller) -> None:
    path = "/sellers/v1/marketplaceParticipations"
    answer = await na.client.request("GET", path, headers=na.headers, content=b"{}")
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")


async def test_unknown_and_repeated_parameters_are_refused(na: Seller) -> None:
    assert error(await na.orders(createdAfter=LONG_AGO, orderIds="1")) == (400, "InvalidInput")
    path = f"/orders/2026-01-01/orders?createdAfter={LONG_AGO}&marketplaceIds=ATVPDKIKX0DER&marketplaceIds=A1"
    assert error(await na.get(path)) == (400, "InvalidInput")


async def test_a_body_that_is_not_json_is_415_or_400(na: Seller) -> None:
    path = "/orders/v0/orders/1/shipmentConfirmation"
    plain = {**na.headers, "content-type": "text/plain"}
    assert error(await na.client.post(path, headers=plain, content=b"{}")) == (415, "UnsupportedMediaType")
    broken = {**na.headers, "content-type": "application/json"}
    assert error(await na.client.post(path, headers=broken, content=b"{")) == (400, "Invalid Input")


@pytest.mark.parametrize("operation", PLANS)
async def test_the_call_after_the_burst_is_429_and_one_comes_back_at_the_rate(
    client: httpx.AsyncClient, na: Seller, operation: str
) -> None:
    async def ask() -> httpx.Response:
        return await {
            "getInventorySummaries": lambda: na.inventory("US"),
            "getListingsItem": lambda: na.listing("US", "x"),
            "searchListingsItems": lambda: na.listings("US"),
            "patchListingsItem": lambda: na.patch("US", "x", {}),
            "searchOrders": lambda: na.orders(createdAfter=LONG_AGO, maxResultsPerPage=1),
            "getOrder": lambda: na.order("1"),
            "confirmShipment": lambda: na.confirm("1", {}),
            "getMarketplaceParticipations": lambda: na.get("/sellers/v1/marketplaceParticipations"),
        }[operation]()

    plan = PLANS[operation]
    assert 429 not in [(await ask()).status_code for _ in range(plan.burst)]
    refused = await ask()
    assert error(refused) == (429, "QuotaExceeded")
    assert refused.json()["errors"][0]["message"] == "You exceeded your quota for the requested resource."
    assert refused.headers["x-amzn-requestid"]
    assert "retry-after" not in refused.headers
    assert "x-amzn-ratelimit-limit" not in refused.headers
    await advance(client, 0.98 / plan.rate)
    assert (await ask()).status_code == 429
    await advance(client, 0.03 / plan.rate)
    assert (await ask()).status_code != 429
    assert (await ask()).status_code == 429
    assert [call["status"] for call in await calls(client, operation)].count(429) == 3


async def test_accounts_do_not_share_a_plan(client: httpx.AsyncClient, na: Seller, eu: Seller) -> None:
    assert [(await na.inventory("US")).status_code for _ in range(3)] == [200, 200, 429]
    assert (await eu.inventory("DE")).status_code == 200


async def test_the_rate_header_tells_what_the_real_clock_sees() -> None:
    async with inside(build(Options(products=10, orders=10, speed=100))) as client:
        na = await Seller.login(client)
        headers = [(await na.order("1")).headers, (await na.inventory("US")).headers]
        assert [one["x-amzn-ratelimit-limit"] for one in headers] == ["50", "200"]


async def test_a_plan_can_be_overridden(client: httpx.AsyncClient, na: Seller) -> None:
    shown = await client.post("/_sandbox/plans", json={"getInventorySummaries": {"rate": 1, "burst": 4}})
    assert shown.json()["getInventorySummaries"] == {"rate": 1.0, "burst": 4}
    assert [(await na.inventory("US")).status_code for _ in range(5)] == [200, 200, 200, 200, 429]
    assert (await client.post("/_sandbox/plans", json={"getOrders": {"rate": 1}})).status_code == 400


async def test_participations_are_the_accounts_own(client: httpx.AsyncClient, eu: Seller) -> None:
    payload = (await eu.get("/sellers/v1/marketplaceParticipations")).json()["payload"]
    assert [(one["marketplace"]["countryCode"], one["marketplace"]["defaultCurrencyCode"]) for one in payload] == [
        ("DE", "EUR"),
        ("FR", "EUR"),
    ]
    fe = await Seller.login(client, FE)
    payload = (await fe.get("/sellers/v1/marketplaceParticipations")).json()["payload"]
    assert [one["marketplace"]["id"] for one in payload] == ["A1VC38T7YXB528"]
