"""Labels in the sandbox: rates, purchases that ship, files that open, keys that buy once."""

import base64
import gzip
import hashlib
from typing import Any

import httpx

from sandbox.amazon.visit import Seller, error, to_ship
from sandbox.visit import effects

FROM = {
    "Name": "Depot",
    "AddressLine1": "400 Depot Street",
    "Email": "depot@shop.example",
    "City": "Reno",
    "PostalCode": "89502",
    "CountryCode": "US",
    "Phone": "775",
}


def details(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    items = [{"OrderItemId": line["id"], "Quantity": line["unshipped"]} for line in order["lines"] if line["unshipped"]]
    return {
        "AmazonOrderId": order["id"],
        "ItemList": items,
        "ShipFromAddress": FROM,
        "PackageDimensions": {"Length": 10, "Width": 10, "Height": 10, "Unit": "centimeters"},
        "Weight": {"Value": 500, "Unit": "g"},
        "ShippingServiceOptions": {
            "DeliveryExperience": "DeliveryConfirmationWithoutSignature",
            "CarrierWillPickUp": False,
            "LabelFormat": "PDF",
        },
        **changes,
    }


async def sealed(seller: Seller, method: str, path: str) -> dict[str, str]:
    """Headers with a restricted data token for one call."""
    body = {"restrictedResources": [{"method": method, "path": path}]}
    answer = await seller.client.post("/tokens/2021-03-01/restrictedDataToken", headers=seller.headers, json=body)
    answer.raise_for_status()
    return {"x-amz-access-token": answer.json()["restrictedDataToken"]}


async def services(seller: Seller, order: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    body = {"ShipmentRequestDetails": details(order, **changes)}
    answer = await seller.client.post("/mfn/v0/eligibleShippingServices", headers=seller.headers, json=body)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["payload"]["ShippingServiceList"]
    return found


async def buy(
    seller: Seller, order: dict[str, Any], service: dict[str, Any], headers: dict[str, str]
) -> httpx.Response:
    body = {
        "ShipmentRequestDetails": details(order),
        "ShippingServiceId": service["ShippingServiceId"],
        "ShippingServiceOfferId": service["ShippingServiceOfferId"],
    }
    return await seller.client.post("/mfn/v0/shipments", headers=headers, json=body)


async def bought(client: httpx.AsyncClient) -> int:
    return sum(one["detail"].get("label") == "bought" for one in await effects(client))


async def test_what_is_heavy_costs_more(client: httpx.AsyncClient, na: Seller) -> None:
    order = await to_ship(client)
    light = await services(na, order)
    heavy = await services(na, order, Weight={"Value": 9000, "Unit": "g"})
    assert len(light) == 3
    for cheap, dear in zip(light, heavy, strict=True):
        assert cheap["Rate"]["Amount"] < dear["Rate"]["Amount"]


async def test_a_label_wants_a_restricted_token_and_ships_its_order(client: httpx.AsyncClient, na: Seller) -> None:
    order = await to_ship(client)
    service = (await services(na, order))[0]
    assert error(await buy(na, order, service, na.headers)) == (403, "Unauthorized")
    assert await bought(client) == 0
    answer = await buy(na, order, service, await sealed(na, "POST", "/mfn/v0/shipments"))
    assert answer.status_code == 200, answer.text
    file = answer.json()["payload"]["Label"]["FileContents"]
    label = gzip.decompress(base64.b64decode(file["Contents"]))
    assert label.startswith(b"%PDF-")
    assert label.rstrip().endswith(b"%%EOF")
    assert file["Checksum"] == base64.b64encode(hashlib.md5(label, usedforsecurity=False).digest()).decode()
    await client.post("/_sandbox/clock", json={"advance": 3})
    shown = (await na.order(order["id"], "FULFILLMENT", "PACKAGES")).json()["order"]
    assert shown["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    assert shown["packages"][0]["trackingNumber"] == answer.json()["payload"]["TrackingId"]
    again = await buy(na, order, service, await sealed(na, "POST", "/mfn/v0/shipments"))
    assert (again.status_code, await bought(client)) == (400, 1)


async def test_rates_die_after_ten_minutes_and_a_key_buys_once(client: httpx.AsyncClient, na: Seller) -> None:
    headers = {**na.headers, "x-amzn-shipping-business-id": "AmazonShipping_US"}
    address = {
        "name": "D",
        "addressLine1": "1 A",
        "city": "Reno",
        "stateOrRegion": "NV",
        "postalCode": "89502",
        "countryCode": "US",
    }
    package = {
        "dimensions": {"length": 9, "width": 9, "height": 9, "unit": "CENTIMETER"},
        "weight": {"unit": "GRAM", "value": 500},
        "insuredValue": {"value": 5, "unit": "USD"},
        "packageClientReferenceId": "p1",
        "items": [{"quantity": 1}],
    }
    wanted = {
        "shipFrom": address,
        "shipTo": address,
        "packages": [package],
        "channelDetails": {"channelType": "EXTERNAL"},
    }

    async def purchase(key: str, rates: dict[str, Any]) -> httpx.Response:
        size = {"width": 4, "length": 6, "unit": "INCH"}
        spec = {"format": "PNG", "size": size, "needFileJoining": False, "requestedDocumentTypes": ["LABEL"]}
        body = {
            "requestToken": rates["requestToken"],
            "rateId": rates["rates"][0]["rateId"],
            "requestedDocumentSpecification": spec,
        }
        keyed = {**headers, "x-amzn-IdempotencyKey": key}
        return await client.post("/shipping/v2/shipments", headers=keyed, json=body)

    async def rates() -> dict[str, Any]:
        answer = await client.post("/shipping/v2/shipments/rates", headers=headers, json=wanted)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["payload"]
        return found

    first = await rates()
    made = await purchase("k", first)
    await client.post("/_sandbox/clock", json={"advance": 600})
    assert (await purchase("k", first)).json() == made.json()
    assert error(await purchase("other", first)) == (400, "TOKEN_EXPIRED")
    contents = made.json()["payload"]["packageDocumentDetails"][0]["packageDocuments"][0]["contents"]
    assert base64.b64decode(contents).startswith(b"\x89PNG\r\n")
    assert await bought(client) == 1
    assert (await purchase("other", await rates())).status_code == 200
    assert await bought(client) == 2
