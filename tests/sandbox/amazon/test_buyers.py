"""Buyers at Amazon, and pools whose marketplaces disagree."""

from typing import Any

import httpx
import pytest

from sandbox.amazon.visit import EU, Seller, confirmation, error
from sandbox.visit import advance, effects, world


async def offered(client: httpx.AsyncClient, units: int, nth: int = 9, marketplace: str = "US") -> str:
    """A SKU of which `units` can be bought; the merchant sends each tenth."""
    sku: str = (await world(client))["skus"][nth]["sku"]
    stock = {"stock": [{"sku": sku, "marketplace": marketplace, "quantity": units}]}
    (await client.post("/_sandbox/state", json=stock)).raise_for_status()
    return sku


async def buy(client: httpx.AsyncClient, sku: str, units: int, marketplace: str = "US", **more: Any) -> httpx.Response:
    body = {"marketplace": marketplace, "lines": [{"sku": sku, "quantity": units}], **more}
    return await client.post("/_sandbox/buy", json=body)


async def move(client: httpx.AsyncClient, order: str, status: str, **more: Any) -> httpx.Response:
    return await client.post("/_sandbox/orders", json={"id": order, "status": status, **more})


async def quantity(seller: Seller, sku: str, marketplace: str = "US") -> int:
    item = (await seller.listing(marketplace, sku, includedData="fulfillmentAvailability")).json()
    (entry,) = item["fulfillmentAvailability"]
    units: int = entry["quantity"]
    return units


async def pool(seller: Seller, sku: str, marketplace: str = "US") -> tuple[int, int]:
    """(fulfillable, reserved for orders)."""
    await advance(seller.client, 1)
    (summary,) = (await seller.inventory(marketplace, sku)).json()["payload"]["inventorySummaries"]
    details = summary["inventoryDetails"]
    return details["fulfillableQuantity"], details["reservedQuantity"]["pendingCustomerOrderQuantity"]


async def test_an_order_takes_its_units_at_once_and_no_more_than_are_shown(
    client: httpx.AsyncClient, na: Seller
) -> None:
    sku = await offered(client, 5)
    bought = (await buy(client, sku, 3)).json()
    assert (bought["status"], bought["left"]) == ("UNSHIPPED", {sku: 2})
    assert await quantity(na, sku) == 2
    refused = await buy(client, sku, 3)
    assert refused.status_code == 409
    assert refused.json() == {
        "error": f"2 of {sku} can be bought, not 3",
        "short": [{"sku": sku, "asked": 3, "left": 2}],
    }
    assert await quantity(na, sku) == 2
    assert (await buy(client, sku, 2)).json()["left"] == {sku: 0}
    assert (await buy(client, sku, 1)).status_code == 409
    sold = [
        effect["detail"]["lines"][0]["quantity"] for effect in await effects(client) if effect["operation"] == "buy"
    ]
    assert sold == [3, 2]


async def test_two_lines_of_one_sku_count_together(client: httpx.AsyncClient) -> None:
    sku = await offered(client, 3)
    lines = [{"sku": sku, "quantity": 2}, {"sku": sku, "quantity": 2}]
    refused = await client.post("/_sandbox/buy", json={"marketplace": "US", "lines": lines})
    assert refused.json()["short"] == [{"sku": sku, "asked": 4, "left": 3}]


async def test_an_order_is_pending_first_and_then_paid(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await offered(client, 5)
    order_id = (await buy(client, sku, 2, pending=True)).json()["order"]
    assert await quantity(na, sku) == 3
    pending = (await na.order(order_id, "FULFILLMENT", "PROCEEDS")).json()["order"]
    assert pending["fulfillment"]["fulfillmentStatus"] == "PENDING"
    assert "proceeds" not in pending
    shipped = next(one for one in (await world(client))["orders"] if one["id"] == order_id)
    assert error(await na.confirm(order_id, confirmation(shipped))) == (400, "Invalid Input")
    await advance(client, 60)
    assert (await move(client, order_id, "UNSHIPPED")).json() == {"id": order_id, "status": "UNSHIPPED"}
    paid = (await na.order(order_id, "FULFILLMENT", "PROCEEDS")).json()["order"]
    assert paid["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"
    assert paid["proceeds"]
    assert paid["lastUpdatedTime"] > pending["lastUpdatedTime"]
    assert await quantity(na, sku) == 3
    assert (await na.confirm(order_id, confirmation(shipped))).status_code == 204
    assert (await move(client, order_id, "CANCELLED")).status_code == 400, "something was shipped"


@pytest.mark.parametrize(("more", "left"), [({}, 5), ({"restock": True}, 5), ({"restock": False}, 3)])
@pytest.mark.parametrize("pending", [True, False])
async def test_a_cancelled_order_may_give_its_units_back(
    client: httpx.AsyncClient, na: Seller, pending: bool, more: dict[str, bool], left: int
) -> None:
    sku = await offered(client, 5)
    order_id = (await buy(client, sku, 2, pending=pending)).json()["order"]
    assert (await move(client, order_id, "CANCELLED", **more)).json()["status"] == "CANCELLED"
    assert await quantity(na, sku) == left
    for status in ("CANCELLED", "UNSHIPPED"):
        assert (await move(client, order_id, status)).status_code == 400
    assert await quantity(na, sku) == left


async def test_amazons_own_stock_is_reserved_by_its_buyers(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await offered(client, 5, nth=0)
    free, reserved = await pool(na, sku)
    order_id = (await buy(client, sku, 2, pending=True)).json()["order"]
    assert await pool(na, sku) == (free - 2, reserved + 2)
    assert (await buy(client, sku, 4)).status_code == 409
    assert (await move(client, order_id, "UNSHIPPED")).json()["status"] == "UNSHIPPED"
    await move(client, order_id, "CANCELLED")
    assert await pool(na, sku) == (free, reserved)


async def test_marketplaces_of_one_account_sell_one_quantity(client: httpx.AsyncClient) -> None:
    eu = await Seller.login(client, EU)
    sku = await offered(client, 5, marketplace="DE")
    await buy(client, sku, 2, "FR")
    assert [await quantity(eu, sku, code) for code in ("DE", "FR")] == [3, 3]
    assert (await buy(client, sku, 4, "DE")).status_code == 409


async def test_nobody_buys_what_is_not_offered(client: httpx.AsyncClient, na: Seller) -> None:
    sku = await offered(client, 5)
    selector = {"marketplace_id": "ATVPDKIKX0DER", "currency": "USD"}
    gone = [{"op": "delete", "path": "/attributes/purchasable_offer", "value": [selector]}]
    await na.patch("US", sku, {"productType": "PRODUCT", "patches": gone})
    assert (await buy(client, sku, 1)).status_code == 200, "the patch is not visible yet"
    await advance(client, 3)
    assert (await buy(client, sku, 1)).json()["short"] == [{"sku": sku, "asked": 1, "left": 0}]


async def test_a_wrong_order_says_why_and_changes_nothing(client: httpx.AsyncClient) -> None:
    sku = await offered(client, 5)
    amazons = (await world(client))["skus"][0]["sku"]
    line = {"sku": sku, "quantity": 1}
    before = await effects(client)
    for wrong in (
        {"marketplace": "US"},
        {"marketplace": "XX", "lines": [line]},
        {"marketplace": "US", "lines": [{"sku": "NO-SUCH", "quantity": 1}]},
        {"marketplace": "US", "lines": [{"sku": sku, "quantity": 0}]},
        {"marketplace": "US", "lines": [line, {"sku": amazons, "quantity": 1}]},
        {"marketplace": "US", "lines": [line], "pending": "yes"},
        {"marketplace": "US", "lines": [line], "payed": True},
    ):
        answer = await client.post("/_sandbox/buy", json=wrong)
        assert answer.status_code == 400, wrong
        assert answer.json()["error"]
    for order in ({"id": "1", "status": "CANCELLED"}, {"id": "1", "state": "CANCELLED"}):
        assert (await client.post("/_sandbox/orders", json=order)).status_code == 400
    assert await effects(client) == before


async def test_a_marketplace_can_be_made_to_disagree_with_its_pool(client: httpx.AsyncClient, eu: Seller) -> None:
    sku = await offered(client, 40, nth=3, marketplace="DE")

    async def both() -> list[int]:
        return [(await pool(eu, sku, code))[0] for code in ("DE", "FR")]

    entry = {"sku": sku, "marketplace": "FR", "units": -7}
    assert await both() == [40, 40]
    answer = await client.post("/_sandbox/disagreements", json={"disagreements": [entry]})
    assert answer.json() == (await client.get("/_sandbox/disagreements")).json() == {"disagreements": [entry]}
    assert await both() == [40, 33]
    await client.post("/_sandbox/disagreements", json={"disagreements": [{**entry, "units": -100}]})
    assert await both() == [40, 0]
    assert (await buy(client, sku, 40, "FR")).status_code == 200, "the pool itself has them"
    await client.post("/_sandbox/disagreements", json={"disagreements": []})
    assert await both() == [0, 0]


async def test_a_wrong_disagreement_changes_nothing(client: httpx.AsyncClient) -> None:
    known = (await world(client))["skus"]
    good = {"sku": known[3]["sku"], "marketplace": "FR", "units": 1}
    await client.post("/_sandbox/disagreements", json={"disagreements": [good]})
    for wrong in ({**good, "units": 1.5}, {**good, "marketplace": "XX"}, {**good, "sku": known[9]["sku"]}):
        assert (await client.post("/_sandbox/disagreements", json={"disagreements": [wrong]})).status_code == 400
    assert (await client.post("/_sandbox/disagreements", json={})).status_code == 400
    assert (await client.get("/_sandbox/disagreements")).json() == {"disagreements": [good]}
