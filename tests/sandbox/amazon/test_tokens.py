"""Restricted data tokens of the sandbox: what they open, and who gets none."""

from typing import Any

import httpx
import pytest

from sandbox.amazon.visit import Seller, error

PATH = "/tokens/2021-03-01/restrictedDataToken"
SHIPMENT = {"method": "GET", "path": "/mfn/v0/shipments/{shipmentId}"}
ORDERS = {"method": "GET", "path": "/orders/v0/orders"}
DELIVERY, INVOICING = "Direct-to-Consumer Delivery (Restricted)", "Tax Invoicing (Restricted)"


async def ask(na: Seller, *resources: Any) -> httpx.Response:
    return await na.client.post(PATH, headers=na.headers, json={"restrictedResources": list(resources)})


async def without(client: httpx.AsyncClient, *roles: str) -> None:
    body = {"sellerId": "A1SANDBOXNA", "roles": dict.fromkeys(roles, False)}
    (await client.post("/_sandbox/accounts", json=body)).raise_for_status()


async def test_a_token_is_given_for_templates_and_for_concrete_paths(na: Seller) -> None:
    concrete = {"method": "GET", "path": "/reports/2021-06-30/documents/amzn1.spdoc.1"}
    answer = await ask(na, SHIPMENT, concrete, {**ORDERS, "dataElements": ["buyerInfo", "shippingAddress"]})
    assert answer.status_code == 200
    assert answer.json()["expiresIn"] == 3600
    assert answer.json()["restrictedDataToken"].startswith("Atz.sprdt|")


async def test_it_opens_what_it_names_and_nothing_else(na: Seller) -> None:
    token = (await ask(na, SHIPMENT)).json()["restrictedDataToken"]
    restricted = Seller(na.client, na.id, token)
    assert error(await restricted.inventory("US")) == (403, "Unauthorized")
    assert error(await ask(restricted, SHIPMENT)) == (403, "Unauthorized")


@pytest.mark.parametrize(
    "resource",
    [
        {"method": "", "path": SHIPMENT["path"]},
        {"method": "GET"},
        {"method": "PUT", "path": SHIPMENT["path"]},
        {"method": "GET", "path": "/listings/2021-08-01/items/A/B"},
        {"method": "GET", "path": "/mfn/v0/shipments/1?a=b"},
        {"method": "GET", "path": "/reports/2021-06-30/documents/{reportDocumentId}"},
        ORDERS,
        {**ORDERS, "dataElements": ["shoeSize"]},
        {**SHIPMENT, "dataElements": ["buyerInfo"]},
        "GET /mfn/v0/shipments/1",
    ],
)
async def test_what_is_no_restricted_resource_is_refused(na: Seller, resource: Any) -> None:
    assert error(await ask(na, SHIPMENT, resource)) == (400, "InvalidRequest")


@pytest.mark.parametrize("count", [0, 51])
async def test_there_are_1_to_50_resources(na: Seller, count: int) -> None:
    assert error(await ask(na, *[SHIPMENT] * count)) == (400, "InvalidRequest")
    assert (await ask(na, *[SHIPMENT] * 50)).status_code == 200


async def test_a_role_that_is_missing_for_one_element_refuses_all(client: httpx.AsyncClient, na: Seller) -> None:
    address = {**ORDERS, "dataElements": ["shippingAddress"]}
    tax = {**ORDERS, "dataElements": ["buyerTaxInformation"]}
    assert (await ask(na, address, tax)).status_code == 200
    await without(client, INVOICING)
    assert error(await ask(na, address, tax)) == (403, "Unauthorized")
    assert (await ask(na, address)).status_code == 200
    await without(client, DELIVERY)
    assert error(await ask(na, address)) == (403, "Unauthorized")
    assert error(await ask(na, SHIPMENT)) == (403, "Unauthorized")
