"""patchListingsItem."""

from typing import Any

import httpx
import pytest

from sandbox.amazon.visit import Seller, error
from sandbox.visit import advance, effects, world


def quantity_patch(units: int, op: str = "merge") -> dict[str, Any]:
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": units}]
    patch = {"op": op, "path": "/attributes/fulfillment_availability", "value": value}
    return {"productType": "PRODUCT", "patches": [patch]}


def price_patch(price: float, **offer: object) -> dict[str, Any]:
    value = {
        "marketplace_id": "ATVPDKIKX0DER",
        "currency": "USD",
        "our_price": [{"schedule": [{"value_with_tax": price}]}],
        **offer,
    }
    patch = {"op": "replace", "path": "/attributes/purchasable_offer", "value": [value]}
    return {"productType": "PRODUCT", "patches": [patch]}


async def test_a_patch_is_accepted_first_and_seen_after_the_lag(client: httpx.AsyncClient, na: Seller) -> None:
    sku = (await world(client))["skus"][9]["sku"]

    async def seen() -> dict[str, Any]:
        item: dict[str, Any] = (await na.listing("US", sku, includedData="attributes,offers")).json()
        return item

    before = await seen()
    answer = (await na.patch("US", sku, quantity_patch(41))).json()
    assert (answer["sku"], answer["status"], answer["issues"]) == (sku, "ACCEPTED", [])
    assert (await na.patch("US", sku, price_patch(19.5))).json()["status"] == "ACCEPTED"
    await advance(client, 1.9)
    assert await seen() == before
    await advance(client, 0.2)
    after = await seen()
    channel = after["attributes"]["fulfillment_availability"]
    # Merged, so the lead time is still there.
    assert channel == [{"fulfillment_channel_code": "DEFAULT", "quantity": 41, "lead_time_to_ship_max_days": 2}]
    assert [offer["price"]["amount"] for offer in after["offers"]] == ["19.50"]
    made = await effects(client)
    assert [(effect["operation"], effect["key"]) for effect in made] == [("patchListingsItem", sku)] * 2
    assert made[0]["detail"]["submissionId"] == answer["submissionId"]


async def test_replace_swaps_the_whole_attribute_and_delete_removes_it(client: httpx.AsyncClient, na: Seller) -> None:
    await client.post("/_sandbox/lag", json={"seconds": 0})
    sku = (await world(client))["skus"][9]["sku"]
    await na.patch("US", sku, quantity_patch(5, "replace"))
    item = (await na.listing("US", sku, includedData="attributes")).json()
    channel = item["attributes"]["fulfillment_availability"]
    assert channel == [{"fulfillment_channel_code": "DEFAULT", "quantity": 5}]
    selector = {"marketplace_id": "ATVPDKIKX0DER", "currency": "USD"}
    gone = [{"op": "delete", "path": "/attributes/purchasable_offer", "value": [selector]}]
    assert (await na.patch("US", sku, {"productType": "PRODUCT", "patches": gone})).json()["status"] == "ACCEPTED"
    item = (await na.listing("US", sku, includedData="offers,summaries")).json()
    assert item["offers"] == []
    assert item["summaries"][0]["status"] == ["DISCOVERABLE"]


async def shown(seller: Seller, sku: str) -> list[dict[str, Any]]:
    item = (await seller.listing("US", sku, includedData="attributes")).json()
    entries: list[dict[str, Any]] = item["attributes"]["fulfillment_availability"]
    return entries


async def test_a_patch_that_says_no_quantity_leaves_what_was_sold_meanwhile(
    client: httpx.AsyncClient, na: Seller
) -> None:
    sku = (await world(client))["skus"][9]["sku"]
    stock = {"stock": [{"sku": sku, "marketplace": "US", "quantity": 10}]}
    await client.post("/_sandbox/state", json=stock)
    value = [{"fulfillment_channel_code": "DEFAULT", "lead_time_to_ship_max_days": 5}]
    slower = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
    await na.patch("US", sku, {"productType": "PRODUCT", "patches": [slower]})
    await client.post("/_sandbox/buy", json={"marketplace": "US", "lines": [{"sku": sku, "quantity": 3}]})
    await advance(client, 3)
    assert await shown(na, sku) == [
        {"fulfillment_channel_code": "DEFAULT", "quantity": 7, "lead_time_to_ship_max_days": 5}
    ]


async def test_a_quantity_under_way_is_neither_hurried_nor_stopped_by_a_sale(
    client: httpx.AsyncClient, na: Seller
) -> None:
    sku = (await world(client))["skus"][9]["sku"]
    stock = {"stock": [{"sku": sku, "marketplace": "US", "quantity": 10}]}
    await client.post("/_sandbox/state", json=stock)
    await na.patch("US", sku, quantity_patch(8))
    await client.post("/_sandbox/buy", json={"marketplace": "US", "lines": [{"sku": sku, "quantity": 3}]})
    assert [entry["quantity"] for entry in await shown(na, sku)] == [7]
    await advance(client, 3)
    assert [entry["quantity"] for entry in await shown(na, sku)] == [8]


async def test_a_patch_without_effect_is_accepted_and_changes_nothing(client: httpx.AsyncClient, na: Seller) -> None:
    known = (await world(client))["skus"]
    first, second = known[9]["sku"], known[19]["sku"]
    before = await shown(na, first)
    await client.post("/_sandbox/ignored-patches", json={"sku": first, "count": 1})
    assert (await client.get("/_sandbox/ignored-patches")).json() == {first: 1}
    for sku in (first, second):
        assert (await na.patch("US", sku, quantity_patch(1004))).json()["status"] == "ACCEPTED"
    await advance(client, 3)
    assert await shown(na, first) == before
    assert [entry["quantity"] for entry in await shown(na, second)] == [1004]
    assert [effect["key"] for effect in await effects(client)] == [second]
    assert (await client.get("/_sandbox/ignored-patches")).json() == {}
    await na.patch("US", first, quantity_patch(1004))
    await advance(client, 3)
    assert [entry["quantity"] for entry in await shown(na, first)] == [1004]
    await client.post("/_sandbox/ignored-patches", json={"count": 1})
    await na.patch("US", second, quantity_patch(5))
    await advance(client, 3)
    assert [entry["quantity"] for entry in await shown(na, second)] == [1004]
    for wrong in ({}, {"count": -1}, {"count": True}, {"count": 1, "sku": "NO-SUCH"}, {"count": 1, "kind": "x"}):
        assert (await client.post("/_sandbox/ignored-patches", json=wrong)).status_code == 400


async def test_a_patch_in_one_marketplace_leaves_the_other_alone(client: httpx.AsyncClient, eu: Seller) -> None:
    await client.post("/_sandbox/lag", json={"seconds": 0})
    one = (await world(client))["skus"][3]
    body = price_patch(44, marketplace_id="A1PA6795UKMFR9", currency="EUR")
    assert (await eu.patch("DE", one["sku"], body)).json()["status"] == "ACCEPTED"
    prices = (await world(client))["skus"][3]["prices"]
    assert prices == {**one["prices"], "DE": "44.00"}


async def test_a_preview_stores_nothing(client: httpx.AsyncClient, na: Seller) -> None:
    await client.post("/_sandbox/lag", json={"seconds": 0})
    sku = (await world(client))["skus"][9]["sku"]
    before = (await na.listing("US", sku, includedData="attributes")).json()
    query = {"mode": "VALIDATION_PREVIEW", "includedData": "identifiers,issues"}
    answer = (await na.patch("US", sku, quantity_patch(9), **query)).json()
    assert answer["status"] == "VALID"
    assert answer["identifiers"][0]["marketplaceId"] == "ATVPDKIKX0DER"
    assert (await na.listing("US", sku, includedData="attributes")).json() == before
    assert await effects(client) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"productType": "LUGGAGE", "patches": quantity_patch(1)["patches"]}, "90000900"),
        (price_patch(-1), "99022"),
        (price_patch(10, currency="EUR"), "90220"),
        (price_patch(10, our_prise=[]), "90000900"),
        (quantity_patch(-1), "99022"),
        (
            {
                "productType": "PRODUCT",
                "patches": [
                    {
                        "op": "merge",
                        "path": "/attributes/fulfillment_availability",
                        "value": [{"fulfillment_channel_code": "DEFAULT", "quantity": None}],
                    }
                ],
            },
            "99022",
        ),
        (price_patch(1e30), "99022"),
        (
            {"productType": "PRODUCT", "patches": [{"op": "add", "path": "/attributes/item_name", "value": [{}]}]},
            "90220",
        ),
        (
            {
                "productType": "PRODUCT",
                "patches": [{"op": "replace", "path": "/attributes/purchaseable_offer", "value": [{"value": 1}]}],
            },
            "90000900",
        ),
    ],
)
async def test_a_refused_submission_is_invalid_inside_200(
    client: httpx.AsyncClient, na: Seller, body: dict[str, Any], code: str
) -> None:
    sku = (await world(client))["skus"][9]["sku"]
    answer = await na.patch("US", sku, body)
    assert (answer.status_code, answer.json()["status"]) == (200, "INVALID")
    assert [(issue["code"], issue["severity"]) for issue in answer.json()["issues"]] == [(code, "ERROR")]
    assert await effects(client) == []


async def test_a_quantity_for_amazons_own_stock_is_invalid(client: httpx.AsyncClient, na: Seller) -> None:
    sku = (await world(client))["skus"][0]["sku"]
    value = [{"fulfillment_channel_code": "AMAZON_NA", "quantity": 5}]
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
    answer = await na.patch("US", sku, {"productType": "PRODUCT", "patches": [patch]})
    assert answer.json()["status"] == "INVALID"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"patches": quantity_patch(1)["patches"]},
        {"productType": "PRODUCT", "patches": quantity_patch(1)["patches"][0]},
        {"productType": "PRODUCT", "patches": []},
        price_patch(1, marketplace_id=["A1"]),
        {"productType": "PRODUCT", "patches": [{"op": "move", "path": "/attributes/color", "value": [{}]}]},
        {"productType": "PRODUCT", "patches": [{"op": "add", "path": "/attributes/color/0", "value": [{}]}]},
        {"productType": "PRODUCT", "patches": [{"op": "add", "path": "/attributes/color", "value": {}}]},
    ],
)
async def test_a_malformed_patch_is_400(client: httpx.AsyncClient, na: Seller, body: object) -> None:
    sku = (await world(client))["skus"][9]["sku"]
    assert error(await na.patch("US", sku, body)) == (400, "BAD_REQUEST")


async def test_a_patch_of_an_unknown_sku_is_404(na: Seller) -> None:
    assert error(await na.patch("US", "NO-SUCH", quantity_patch(1))) == (404, "NotFound")
