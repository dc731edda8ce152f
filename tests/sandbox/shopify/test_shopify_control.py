"""The control plane over Shopify: world, state, journal, faults; and one real server."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

HEADERS = {"X-Shopify-Access-Token": "shpat_sandbox"}
SHIP = "mutation($f: FulfillmentInput!) { fulfillmentCreate(fulfillment: $f) { userErrors { message } } }"


async def test_the_world_lists_skus_locations_and_open_orders(shop: Any) -> None:
    world = await shop.control("world?limit=3&offset=1")
    assert [entry["inventoryItemId"] for entry in world["skus"]] == [
        f"gid://shopify/InventoryItem/{41_000_000_000_001 + number}" for number in (1, 2, 3)
    ]
    first = world["skus"][0]
    assert set(first) == {
        "sku", "marketplaces", "fulfilledBy", "inventoryItemId", "productVariantId", "productId", "price", "stock",
    }  # fmt: skip
    assert set(first["stock"]) == {"Berlin", "Reno"}
    assert world["locations"] == [
        {"id": "gid://shopify/Location/72000000000001", "name": "Berlin"},
        {"id": "gid://shopify/Location/72000000000002", "name": "Reno"},
    ]
    assert len(world["orders"]) == 3
    every = await shop.control("world")
    assert world["orders"] == every["orders"][1:4]
    for order in every["orders"]:
        assert any(work["status"] in ("OPEN", "IN_PROGRESS") for work in order["fulfillmentOrders"])
    data = await shop.data(
        "query($id: ID!) { inventoryItem(id: $id) { sku variant { id product { id } price } } }",
        {"id": first["inventoryItemId"]},
    )
    assert data["inventoryItem"] == {
        "sku": first["sku"],
        "variant": {"id": first["productVariantId"], "product": {"id": first["productId"]}, "price": first["price"]},
    }


async def test_state_sets_available_and_keeps_committed(shop: Any) -> None:
    before = (await shop.control("world"))["skus"]
    entry = next(each for each in before if each["stock"]["Berlin"]["committed"])
    berlin = entry["stock"]["Berlin"]
    given = {"sku": entry["sku"], "location": "Berlin", "quantity": berlin["available"] + 10}
    assert await shop.control("state", {"stock": [given]}) == {"stock": [given], "orders": [], "prices": []}
    after = next(each for each in (await shop.control("world"))["skus"] if each["sku"] == entry["sku"])
    assert after["stock"]["Berlin"] == {
        "available": berlin["available"] + 10,
        "committed": berlin["committed"],
        "onHand": berlin["onHand"] + 10,
    }
    assert after["stock"]["Reno"] == entry["stock"]["Reno"]
    (effect,) = await shop.effects()
    assert (effect["operation"], effect["key"]) == ("state", entry["sku"])


async def test_state_places_orders_and_changes_prices(shop: Any) -> None:
    first, second = (entry["sku"] for entry in (await shop.control("world"))["skus"][:2])
    made = await shop.control(
        "state",
        {
            "orders": [
                {"lines": [{"sku": first, "quantity": 2, "location": "Reno"}], "tags": ["rush"], "note": "ring twice"},
                {"id": "gid://shopify/Order/777", "lines": [{"sku": second}], "financialStatus": "PENDING"},
            ],
            "prices": [{"sku": first, "amount": "19.5"}],
        },
    )
    assert made["orders"] == ["gid://shopify/Order/5500000000041", "gid://shopify/Order/777"]
    assert made["prices"] == [{"sku": first, "amount": "19.50"}]
    query = """query($ids: [ID!]!) { nodes(ids: $ids) { ... on Order { name tags note displayFinancialStatus createdAt
      lineItems(first: 5) { nodes { sku quantity originalUnitPriceSet { shopMoney { amount } } } } } } }"""
    nodes = (await shop.data(query, {"ids": made["orders"]}))["nodes"]
    assert [(node["name"], node["displayFinancialStatus"], node["note"]) for node in nodes] == [
        ("#1041", "PAID", "ring twice"),
        ("#1042", "PENDING", None),
    ]
    assert "rush" in nodes[0]["tags"]
    assert nodes[0]["createdAt"] == "2026-11-25T12:00:00Z"
    variant = await shop.data(
        "query($q: String) { productVariants(first: 1, query: $q) { nodes { price } } }", {"q": f"sku:'{first}'"}
    )
    assert variant["productVariants"]["nodes"] == [{"price": "19.50"}]
    assert [effect["key"] for effect in await shop.effects()] == [first, *made["orders"]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"stock": [{"sku": "NONE", "location": "Berlin", "quantity": 1}]}, "there is no SKU 'NONE'"),
        ({"stock": [{"sku": "FIRST", "location": "Paris", "quantity": 1}]}, "there is no location 'Paris'"),
        ({"stock": [{"sku": "FIRST", "location": "Berlin", "quantity": 1.5}]}, "a quantity is a whole number"),
        ({"stock": [{"sku": "FIRST", "location": "Berlin"}]}, "missing 'quantity'"),
        ({"prices": [{"sku": "FIRST", "amount": "-1"}]}, "a price is not negative"),
        ({"prices": [{"sku": "FIRST", "amount": "NaN"}]}, "'NaN' is no amount"),
        ({"orders": [{"lines": []}]}, "an order has at least one line"),
        ({"orders": [{"lines": [{"sku": "FIRST", "quantity": 0}]}]}, "a quantity is a whole number"),
        ({"orders": [{"id": "7x", "lines": [{"sku": "FIRST"}]}]}, "an order id is"),
        ({"orders": [{"id": "gid://shopify/Order/5500000000001", "lines": [{"sku": "FIRST"}]}]}, "is taken"),
        ({"levels": []}, "'levels' is none of"),
    ],
)
async def test_malformed_state_changes_nothing(shop: Any, body: dict[str, Any], words: str) -> None:
    first = (await shop.control("world"))["skus"][0]["sku"]
    good = {"stock": [{"sku": first, "location": "Berlin", "quantity": 999}]}
    text = httpx.Request("POST", "http://x", json={**good, **body}).content.decode().replace("FIRST", first)
    response = await shop.http.post("/_sandbox/state", content=text)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert await shop.effects() == []


async def test_every_call_is_journaled_with_its_root_fields_and_ids(shop: Any) -> None:
    skus = [entry["sku"] for entry in (await shop.control("world"))["skus"][:3]]
    order = (await shop.control("world"))["orders"][0]
    work = order["fulfillmentOrders"][0]["id"]
    await shop.ask("{ shop { id } a: orders(first: 1) { nodes { id } } b: orders(first: 1) { nodes { id } } }")
    await shop.ask(
        "query($q: String) { inventoryItems(first: 5, query: $q) { nodes { id } } }",
        {"q": f"sku:'{skus[0]}' OR sku:{skus[1]}"},
    )
    await shop.ask('{ inventoryItem(id: "gid://shopify/InventoryItem/41000000000003") { id } }')
    await shop.ask("query($id: ID!) { ...F } fragment F on QueryRoot { order(id: $id) { id } }", {"id": order["id"]})
    await shop.ask(SHIP, {"f": {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work}]}})
    await shop.ask("{ x }")
    await shop.ask("{{")
    await shop.post("{ shop { id } }", token="nobody")
    journal = await shop.control("journal")
    assert [(call["operation"], call["status"], call["ids"]) for call in journal["calls"]] == [
        ("shop+orders", 200, []),
        ("inventoryItems", 200, skus[:2]),
        ("inventoryItem", 200, [skus[2]]),
        ("order", 200, [order["id"]]),
        ("fulfillmentCreate", 200, [order["id"], work]),
        ("x", 200, []),
        ("graphql", 200, []),
        ("shop", 401, []),
    ]
    assert journal["calls"][0]["method"] == "POST"
    assert journal["calls"][0]["path"] == "/admin/api/2026-07/graphql.json"
    assert (await shop.control(f"journal?since={journal['next']}")) == {
        "next": journal["next"],
        "calls": [],
        "effects": [],
    }


async def test_faults_answer_as_the_platform_does(shop: Any) -> None:
    faults = [
        {"operation": "shop", "kind": "status", "status": 502, "count": 1},
        {"operation": "orders", "kind": "status", "status": 429, "count": 1},
        {"operation": "*", "kind": "status", "status": 402, "count": 1},
    ]
    await shop.control("faults", {"faults": faults})
    broken = await shop.post("{ shop { id } }")
    assert (broken.status_code, broken.headers["content-type"]) == (502, "text/html; charset=utf-8")
    slow = await shop.post("{ orders(first: 1) { nodes { id } } }")
    assert (slow.status_code, slow.headers["Retry-After"], type(slow.json()["errors"])) == (429, "2.0", str)
    frozen = await shop.post("{ shop { id } }")
    assert (frozen.status_code, frozen.json()) == (402, {"errors": "This shop is currently frozen"})
    assert (await shop.post("{ shop { id } }")).status_code == 200
    assert [call["status"] for call in (await shop.control("journal"))["calls"]] == [502, 429, 402, 200]


async def test_a_shipment_lost_after_it_was_carried_out_meets_a_closed_order(shop: Any) -> None:
    work = (await shop.control("world"))["orders"][0]["fulfillmentOrders"][0]["id"]
    given = {"f": {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work}]}}
    fault = {"operation": "fulfillmentCreate", "kind": "apply_then_status", "status": 503, "count": 1}
    await shop.control("faults", {"faults": [fault]})
    assert (await shop.post(SHIP, given)).status_code == 503
    repeated = await shop.data(SHIP, given)
    assert repeated["fulfillmentCreate"]["userErrors"][0]["message"].endswith("unfulfillable status= closed.")
    assert [effect["operation"] for effect in await shop.effects()] == ["fulfillmentCreate"]


async def test_what_can_be_asked_is_listed(shop: Any) -> None:
    listed = await shop.control("")
    assert {"access_token", "inventorySetQuantities", "orders", "fulfillmentCreate"} <= set(listed["operations"])
    assert "POST /_sandbox/plans" in listed["routes"]


async def test_an_unknown_fault_operation_of_lost_answers_is_refused(shop: Any) -> None:
    response = await shop.http.post("/_sandbox/internal-errors", json={"operation": "orderEditBegin"})
    assert response.status_code == 400


@pytest.fixture
def server() -> Iterator[str]:
    """A sandbox as a process of its own; its address."""
    command = [sys.executable, "-m", "sandbox", "shopify", "--port", "0", "--products", "20", "--orders", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = re.search(r"http://\S+", process.stdout.readline())
        try:
            assert told is not None
            yield told.group(0)
        finally:
            process.terminate()


def test_over_a_real_wire_a_reset_after_the_work_leaves_one_effect(server: str) -> None:
    with httpx.Client(base_url=server, headers=HEADERS) as http:
        work = http.get("/_sandbox/world").json()["orders"][0]["fulfillmentOrders"][0]["id"]
        body = {"query": SHIP, "variables": {"f": {"lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work}]}}}
        fault = {"operation": "fulfillmentCreate", "kind": "apply_then_reset", "count": 1}
        assert http.post("/_sandbox/faults", json={"faults": [fault]}).status_code == 200
        with pytest.raises(httpx.HTTPError):
            http.post("/admin/api/2026-07/graphql.json", json=body)
        again = http.post("/admin/api/2026-07/graphql.json", json=body).json()
        assert again["data"]["fulfillmentCreate"]["userErrors"][0]["message"].endswith("status= closed.")
        journal = http.get("/_sandbox/journal").json()
        assert [call["status"] for call in journal["calls"]] == [0, 200]
        assert [effect["operation"] for effect in journal["effects"]] == ["fulfillmentCreate"]
