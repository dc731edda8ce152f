"""getInventorySummaries."""

import httpx

from sandbox.amazon.visit import Seller, details, error
from sandbox.visit import advance, calls, effects, world


async def test_stock_of_named_skus_with_all_its_kinds(client: httpx.AsyncClient, na: Seller) -> None:
    known = (await world(client))["skus"]
    one = known[0]
    body = (await na.inventory("US", one["sku"], "NO-SUCH", known[9]["sku"])).json()
    assert "pagination" not in body
    (summary,) = body["payload"]["inventorySummaries"]
    numbers = summary["inventoryDetails"]
    assert summary["sellerSku"] == one["sku"]
    assert numbers["fulfillableQuantity"] == one["pools"]["US"]["fulfillable"]
    reserved = numbers["reservedQuantity"]
    assert reserved["totalReservedQuantity"] == sum(reserved.values()) - reserved["totalReservedQuantity"]
    assert summary["totalQuantity"] == sum(one["pools"]["US"].values())
    brief = (await na.inventory("US", one["sku"], details="false")).json()["payload"]["inventorySummaries"]
    assert "inventoryDetails" not in brief[0]
    assert (await calls(client, "getInventorySummaries"))[0]["ids"] == [one["sku"], "NO-SUCH", known[9]["sku"]]


async def test_all_stock_comes_in_pages_of_fifty_whose_token_lives_30_seconds(
    client: httpx.AsyncClient, na: Seller
) -> None:
    seen: list[str] = []
    token: dict[str, str] = {}
    while True:
        body = (await na.inventory("US", **token)).json()
        seen += [one["sellerSku"] for one in body["payload"]["inventorySummaries"]]
        if "pagination" not in body:
            break
        token = {"nextToken": body["pagination"]["nextToken"]}
        await advance(client, 29)
    assert seen == [one["sku"] for one in (await world(client))["skus"] if one["fulfilledBy"] == "AMAZON"]
    assert len(seen) == 180
    assert len(await calls(client, "getInventorySummaries")) == 4
    await advance(client, 1)
    late = await na.inventory("US", **token)
    assert error(late) == (400, "InvalidInput")
    assert "expired" in details(late)


async def test_an_inventory_token_belongs_to_its_request(client: httpx.AsyncClient, na: Seller) -> None:
    token = (await na.inventory("US")).json()["pagination"]["nextToken"]
    assert error(await na.inventory("US", nextToken=token, details="false")) == (400, "InvalidInput")
    await advance(client, 5)
    assert error(await na.inventory("US", nextToken="bm9uc2Vuc2U=")) == (400, "InvalidInput")
    assert (await na.inventory("US", nextToken=token)).status_code == 200


async def test_germany_and_france_report_the_same_units_of_one_pool(client: httpx.AsyncClient, eu: Seller) -> None:
    one = next(sku for sku in (await world(client))["skus"] if "FR" in sku["marketplaces"] and "pools" in sku)
    await client.post("/_sandbox/state", json={"stock": [{"sku": one["sku"], "pool": "EU", "quantity": 77}]})

    async def fulfillable(marketplace: str) -> int:
        await advance(client, 1)
        (summary,) = (await eu.inventory(marketplace, one["sku"])).json()["payload"]["inventorySummaries"]
        units: int = summary["inventoryDetails"]["fulfillableQuantity"]
        return units

    assert [await fulfillable("DE"), await fulfillable("FR")] == [77, 77]
    await client.post("/_sandbox/state", json={"stock": [{"sku": one["sku"], "marketplace": "FR", "quantity": 5}]})
    assert [await fulfillable("DE"), await fulfillable("FR")] == [5, 5]
    assert [effect["detail"] for effect in await effects(client)] == [
        {"stock": 77, "pool": "EU"},
        {"stock": 5, "pool": "EU"},
    ]


async def test_changes_since_override_the_named_skus(client: httpx.AsyncClient, na: Seller) -> None:
    known = (await world(client))["skus"]
    await advance(client, 60)
    state = {"stock": [{"sku": known[1]["sku"], "marketplace": "US", "quantity": 3}]}
    await client.post("/_sandbox/state", json=state)
    body = (await na.inventory("US", known[0]["sku"], startDateTime="2026-03-01T12:00:30Z")).json()
    assert [one["sellerSku"] for one in body["payload"]["inventorySummaries"]] == [known[1]["sku"]]
    too_old = await na.inventory("US", startDateTime="2024-01-01T00:00:00Z")
    assert error(too_old) == (400, "InvalidInput")


async def test_inventory_refuses_what_the_model_forbids(client: httpx.AsyncClient, na: Seller) -> None:
    many = [f"SKU-{number}" for number in range(51)]
    assert error(await na.inventory("US", *many)) == (400, "InvalidInput")
    assert error(await na.inventory("US", marketplaceIds="ATVPDKIKX0DER,A1PA6795UKMFR9")) == (400, "InvalidInput")
    await advance(client, 5)
    assert error(await na.inventory("US", granularityId="A1PA6795UKMFR9")) == (400, "InvalidInput")
    assert error(await na.inventory("US", granularityType="World")) == (400, "InvalidInput")
    await advance(client, 5)
    assert error(await na.inventory("DE")) == (403, "Unauthorized")
    assert (await na.inventory("US", *many[:50])).json()["payload"]["inventorySummaries"] == []


async def test_each_sku_of_a_list_is_decoded_by_itself(na: Seller) -> None:
    fixed = "granularityType=Marketplace&granularityId=ATVPDKIKX0DER&marketplaceIds=ATVPDKIKX0DER"
    await na.get(f"/fba/inventory/v1/summaries?{fixed}&sellerSkus=A%2CB,C%2FD%20E")
    assert (await calls(na.client, "getInventorySummaries"))[0]["ids"] == ["A,B", "C/D E"]
