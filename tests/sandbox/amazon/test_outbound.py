"""Fulfillment orders in the sandbox: one pool with Amazon's own orders, one store behind both versions, statuses over time."""

from typing import Any

import httpx

from sandbox.amazon.visit import Seller, error
from sandbox.visit import effects

OLD = "/fba/outbound/2020-07-01/fulfillmentOrders"
NEW = "/fulfillment/outbound/2026-07-04/orders"
ADDRESS = {"name": "Ottilie V", "addressLine1": "1 Quince Lane", "postalCode": "98103", "countryCode": "US"}


async def held(client: httpx.AsyncClient, units: int = 10) -> str:
    skus = (await client.get("/_sandbox/world")).json()["skus"]
    sku = str(next(one["sku"] for one in skus if one["fulfilledBy"] == "AMAZON"))
    stock = [{"sku": sku, "marketplace": "US", "quantity": units}]
    (await client.post("/_sandbox/state", json={"stock": stock})).raise_for_status()
    return sku


def body(sku: str, id: str = "shop-1", units: int = 2, **changes: Any) -> dict[str, Any]:
    return {
        "sellerFulfillmentOrderId": id,
        "displayableOrderId": id,
        "displayableOrderDate": "2026-02-28T10:00:00Z",
        "displayableOrderComment": "Thank you",
        "shippingSpeedCategory": "Standard",
        "destinationAddress": ADDRESS,
        "items": [{"sellerSku": sku, "sellerFulfillmentOrderItemId": "a", "quantity": units}],
        **changes,
    }


async def create(seller: Seller, sent: dict[str, Any]) -> httpx.Response:
    return await seller.client.post(OLD, headers=seller.headers, json=sent)


async def put(seller: Seller, path: str, sent: Any = None) -> httpx.Response:
    return await seller.client.put(path, headers=seller.headers, json=sent)


async def status(seller: Seller, id: str = "shop-1") -> str:
    answer = (await seller.get(f"{OLD}/{id}")).json()
    return str(answer["payload"]["fulfillmentOrder"]["fulfillmentOrderStatus"])


async def fulfillable(seller: Seller, sku: str) -> tuple[int, int]:
    (one,) = (await seller.inventory("US", sku)).json()["payload"]["inventorySummaries"]
    details = one["inventoryDetails"]
    return details["fulfillableQuantity"], details["reservedQuantity"]["pendingCustomerOrderQuantity"]


async def wait(client: httpx.AsyncClient, seconds: float) -> None:
    await client.post("/_sandbox/clock", json={"advance": seconds})


async def shown(client: httpx.AsyncClient) -> None:
    await wait(client, 2)


async def fresh(seller: Seller) -> Seller:
    """Tokens live an hour."""
    return await Seller.login(seller.client)


async def test_units_are_put_aside_and_leave_with_the_parcel(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await held(client)
    _, before = await fulfillable(na, sku)
    assert (await create(na, body(sku))).status_code == 200
    assert await fulfillable(na, sku) == (8, before + 2)
    await wait(client, 7 * 3600)
    na = await fresh(na)
    assert await fulfillable(na, sku) == (8, before)


async def test_the_status_moves_with_the_clock(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await held(client)
    await create(na, body(sku))
    assert error(await na.get(f"{OLD}/shop-1")) == (404, "NotFound")
    seen = []
    for seconds in (2, 10, 300, 3600, 6 * 3600):
        await wait(client, seconds)
        na = await fresh(na)
        seen.append(await status(na))
    assert seen == ["New", "Received", "Planning", "Processing", "Complete"]


async def test_the_same_id_is_taken_once_in_both_versions(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await held(client)
    await create(na, body(sku))
    assert error(await create(na, body(sku))) == (400, "InvalidInput")
    newer = {
        "orderId": "shop-1",
        "destination": {"deliveryAddress": ADDRESS},
        "lineItems": [
            {
                "lineItemId": "a",
                "product": {"productIdentifier": {"amazonSku": sku}},
                "amount": {"unit": "EACHES", "value": "2.0"},
            }
        ],
    }
    assert error(await client.post(NEW, headers=na.headers, json=newer)) == (400, "InvalidRequest")
    lines = newer["lineItems"]
    assert isinstance(lines, list)
    lines[0]["amount"]["value"] = "99"
    short = await client.post(NEW, headers=na.headers, json={**newer, "orderId": "shop-2"})
    assert error(short) == (400, "ItemQuantityNotAvailable")
    made = [one for one in await effects(client) if one["detail"].get("fulfillmentOrder") == "created"]
    assert [(one["operation"], one["key"]) for one in made] == [("createFulfillmentOrder", "shop-1")]


async def test_the_journal_knows_no_address(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await held(client)
    await create(na, body(sku))
    journal = (await client.get("/_sandbox/journal")).text
    assert "shop-1" in journal
    assert "Quince" not in journal


async def test_a_status_can_be_set_as_in_amazons_own_sandbox(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await held(client)
    await create(na, body(sku))
    await shown(client)
    assert (await put(na, f"{OLD}/shop-1/status", {"fulfillmentOrderStatus": "Processing"})).status_code == 200
    assert error(await put(na, f"{OLD}/shop-1/cancel")) == (400, "InvalidInput")
    assert (await put(na, f"{NEW}/shop-1/status", {"status": "COMPLETE"})).status_code == 204
    order = (await na.get(f"{NEW}/shop-1", shipments="INCLUDE")).json()["order"]
    (package,) = order["shipments"][0]["packages"]
    assert (order["status"], package["status"]) == ("COMPLETE", "IN_TRANSIT")
    path = f"{NEW}/shop-1/packages/{package['packageId']}"
    assert (await put(na, path, {"status": "DELAYED"})).status_code == 204
    tracked = await na.get("/fba/outbound/2020-07-01/tracking", packageNumber=package["packageId"])
    assert tracked.json()["payload"]["currentStatus"] == "DELAYED"
    assert error(await put(na, f"{OLD}/shop-1/status", {"fulfillmentOrderStatus": "Gone"})) == (400, "InvalidInput")
    # What was planned before does not come any more.
    await wait(client, 86_400 * 15)
    na = await fresh(na)
    assert await status(na) == "Complete"


async def test_a_hold_ends_after_fourteen_days(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await held(client)
    await create(na, body(sku, fulfillmentAction="Hold"))
    await wait(client, 13 * 86_400)
    na = await fresh(na)
    assert (await status(na), (await fulfillable(na, sku))[0]) == ("Received", 8)
    await wait(client, 86_400)
    na = await fresh(na)
    assert (await status(na), (await fulfillable(na, sku))[0]) == ("Cancelled", 10)
