"""Restricted data tokens and rotations as Amazon publishes them."""

import httpx

from sandbox.amazon.auth import CLIENT_ID, CLIENT_SECRET
from sandbox.amazon.visit import Seller
from tests.contracts import spapi

pytestmark = spapi.published

RESOURCE = {"method": "GET", "path": "/orders/v0/orders/{orderId}/address"}


async def test_restricted_data_tokens_answer_as_published(client: httpx.AsyncClient, na: Seller) -> None:
    name, path = "createRestrictedDataToken", "/tokens/2021-03-01/restrictedDataToken"
    statuses = []
    for headers, resources in (
        (na.headers, [RESOURCE]),
        (na.headers, []),
        (na.headers, [{**RESOURCE, "method": ""}]),
        ({}, [RESOURCE]),
        ({"x-amz-access-token": "Atza|stolen"}, [RESOURCE]),
    ):
        answer = await client.post(path, headers=headers, json={"restrictedResources": resources})
        assert spapi.answer_faults(name, answer) == [], answer.text
        statuses.append(answer.status_code)
    answer = await client.post(path, headers={**na.headers, "content-type": "text/plain"}, content=b"{}")
    assert spapi.answer_faults(name, answer) == []
    assert [*statuses, answer.status_code] == [200, 400, 400, 401, 403, 415]


async def test_amazons_own_requests_for_restricted_data_are_taken(na: Seller) -> None:
    answers = spapi.examples("createRestrictedDataToken")
    assert len(answers) == 2
    for path in ("/orders/v0/orders/{orderId}/address", "/orders/v0/orders/943-12-123434/address"):
        body = {
            "targetApplication": "amzn1.sellerapps.app.target-application",
            "restrictedResources": [{"method": "GET", "path": path}],
        }
        answer = await na.client.post("/tokens/2021-03-01/restrictedDataToken", headers=na.headers, json=body)
        assert spapi.request_faults(answer.request) == []
        assert answer.json().keys() == answers[0][1].keys()


async def test_rotations_answer_as_published(client: httpx.AsyncClient, na: Seller) -> None:
    name, path = "rotateApplicationClientSecret", "/applications/2023-11-30/clientSecret"
    fields = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scope": "sellingpartnerapi::client_credential:rotation",
    }
    token = (await client.post("/auth/o2/token", data=fields)).json()["access_token"]
    not_enrolled = await client.post(path, headers={"x-amz-access-token": token})
    await client.post("/_sandbox/rotation", json={"enrolled": True})
    await client.post("/_sandbox/plans", json={name: {"rate": 9, "burst": 9}})
    done = await client.post(path, headers={"x-amz-access-token": token})
    as_seller = await client.post(path, headers=na.headers)
    assert [one.status_code for one in (not_enrolled, done, as_seller)] == [400, 204, 403]
    for answer in (not_enrolled, done, as_seller):
        assert spapi.answer_faults(name, answer) == [], answer.text
    assert spapi.request_faults(done.request) == []
    assert not_enrolled.json()["errors"][0]["message"] == spapi.examples(name, 400)[0][1]["errors"][0]["message"]
