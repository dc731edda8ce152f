"""What the control plane shows and changes at Amazon."""

from datetime import UTC, datetime

import httpx

from sandbox.amazon.app import build
from sandbox.amazon.visit import EU, Seller, error
from sandbox.options import Options
from sandbox.visit import advance, effects, inside, world

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_an_order_placed_from_outside_is_found_after_two_minutes_and_takes_its_units(
    client: httpx.AsyncClient, na: Seller
) -> None:
    one = (await world(client))["skus"][0]
    await client.post("/_sandbox/state", json={"stock": [{"sku": one["sku"], "marketplace": "US", "quantity": 10}]})
    lines = [{"sku": one["sku"], "quantity": 3}]
    placed = {"marketplace": "US", "fulfilledBy": "AMAZON", "lines": lines}
    (order_id,) = (await client.post("/_sandbox/state", json={"orders": [placed]})).json()["orders"]
    assert (await na.order(order_id, "FULFILLMENT")).json()["order"]["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"
    (summary,) = (await na.inventory("US", one["sku"])).json()["payload"]["inventorySummaries"]
    assert summary["inventoryDetails"]["fulfillableQuantity"] == 7
    query = {"createdAfter": "2026-03-01T12:00:00Z"}
    await advance(client, 121)
    assert [o["orderId"] for o in (await na.orders(**query)).json()["orders"]] == [order_id]


async def test_state_changes_nothing_when_one_part_is_wrong(client: httpx.AsyncClient) -> None:
    sku = (await world(client))["skus"][0]["sku"]
    good = {"sku": sku, "marketplace": "US", "quantity": 1}
    for bad in (
        {"stock": [good, {"sku": "NO-SUCH", "marketplace": "US", "quantity": 1}]},
        {"stock": [good], "orders": [{"marketplace": "US", "lines": []}]},
        {"stock": [good], "prices": [{"sku": sku, "marketplace": "US", "amount": "free"}]},
        {"stock": [{**good, "location": "Berlin"}]},
        {"stok": [good]},
    ):
        answer = await client.post("/_sandbox/state", json=bad)
        assert answer.status_code == 400, bad
        assert answer.json()["error"]
    assert await effects(client) == []
    assert (await client.post("/_sandbox/state", json={"stock": [good]})).status_code == 200
    assert [effect["key"] for effect in await effects(client)] == [sku]


async def test_two_starts_with_one_seed_are_the_same_world(client: httpx.AsyncClient) -> None:
    async with inside(build(Options(products=200, orders=300, speed=0, start=START))) as twin:
        assert await world(twin) == await world(client)
    async with inside(build(Options(products=200, orders=300, speed=0, start=START, seed=8))) as other:
        assert await world(other) != await world(client)


async def test_a_world_can_be_read_in_parts(client: httpx.AsyncClient) -> None:
    whole = await world(client)
    part = (await client.get("/_sandbox/world", params={"limit": 5, "offset": 10})).json()
    assert part["skus"] == whole["skus"][10:15]
    assert part["orders"] == whole["orders"][10:15]
    assert (await client.get("/_sandbox/world?limit=all")).status_code == 400


async def test_a_smaller_choice_of_marketplaces_leaves_the_others_out() -> None:
    async with inside(build(Options(products=20, orders=20, speed=0, marketplaces=("US", "DE")))) as client:
        eu = await Seller.login(client, EU)
        assert error(await eu.inventory("FR")) == (403, "Unauthorized")
        assert (await eu.inventory("DE")).status_code == 200
        assert {order["marketplace"] for order in (await world(client))["orders"]} == {"US", "DE"}
