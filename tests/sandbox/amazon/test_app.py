"""The API's front and the plans: paths, headers, 429 at the exact call; and the smallest operation."""

import re
from typing import Any

import httpx
import pytest

from sandbox.amazon.app import AREAS, build
from sandbox.amazon.auth import CLIENT_ID, CLIENT_SECRET
from sandbox.amazon.operation import Operation
from sandbox.amazon.plans import PLANS, SANDBOX_ONLY
from sandbox.amazon.state import Amazon
from sandbox.amazon.visit import FE, Seller, error
from sandbox.control import Core
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


SERVED = {one.name: one for area in AREAS for one in area.operations(Amazon(Core.of(Options(products=5, orders=5))))}


def test_every_plan_is_of_an_operation_that_is_served() -> None:
    assert SERVED.keys() == PLANS.keys() | SANDBOX_ONLY.keys()


async def token_for(client: httpx.AsyncClient, seller: Seller, operation: Operation, path: str) -> str:
    """What opens an operation: the seller's token, one without a seller, or a restricted one."""
    if operation.scope is not None:
        grant = {"grant_type": "client_credentials", "scope": operation.scope}
        answer = await client.post(
            "/auth/o2/token", data={**grant, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        )
        return str(answer.json()["access_token"])
    if operation.restricted:
        body = {"restrictedResources": [{"method": operation.method, "path": path}]}
        answer = await client.post("/tokens/2021-03-01/restrictedDataToken", headers=seller.headers, json=body)
        return str(answer.json()["restrictedDataToken"])
    return seller.token


@pytest.mark.parametrize("operation", PLANS)
async def test_the_call_after_the_burst_is_429_and_one_comes_back_at_the_rate(
    client: httpx.AsyncClient, na: Seller, operation: str
) -> None:
    served = SERVED[operation]
    path = re.sub(r"\{\w+\}", "x", served.path)
    token = await token_for(client, na, served, path)

    async def ask() -> httpx.Response:
        body: dict[str, Any] | None = None if served.method == "GET" else {}
        return await client.request(served.method, path, headers={"x-amz-access-token": token}, json=body)

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
