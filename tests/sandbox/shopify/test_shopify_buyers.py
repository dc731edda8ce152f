"""What plays buyers and mischief: orders a shop may refuse, numbers that trail or come to nothing, items not stocked."""

import asyncio
from typing import Any

import pytest

from tests.sandbox.shopify.test_shopify_stock import BERLIN, RENO, entry, item, level, put, setting

ACTIVATE = """mutation Activate($item: ID!, $location: ID!, $available: Int, $key: String!) {
  inventoryActivate(inventoryItemId: $item, locationId: $location, available: $available) @idempotent(key: $key) {
    inventoryLevel { location { id } quantities(names: ["available"]) { quantity } } userErrors { field message } } }"""
ORDER = """query($id: ID!) { order(id: $id) { displayFinancialStatus customAttributes { key value }
  lineItems(first: 5) { nodes { sku quantity } } } }"""
LEVELS = """query($id: ID!) { inventoryItem(id: $id) { locationsCount { count }
  inventoryLevels(first: 5) { nodes { location { id } } }
  inventoryLevel(locationId: "gid://shopify/Location/72000000000001") { id } variant { inventoryQuantity } } }"""


async def first_sku(shop: Any) -> str:
    sku: str = (await shop.control("world?limit=1"))["skus"][0]["sku"]
    return sku


async def available(shop: Any, berlin: int, reno: int) -> str:
    """The first SKU, with so much to be sold."""
    sku = await first_sku(shop)
    places = (("Berlin", berlin), ("Reno", reno))
    await shop.control("state", {"stock": [{"sku": sku, "location": name, "quantity": n} for name, n in places]})
    return sku


async def buy(shop: Any, *lines: dict[str, Any], **order: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await shop.control("buy", {"lines": list(lines), **order})
    return answer


async def stocked(shop: Any) -> list[str]:
    found = (await shop.data(LEVELS, {"id": item(0)}))["inventoryItem"]
    places = [node["location"]["id"] for node in found["inventoryLevels"]["nodes"]]
    assert found["locationsCount"]["count"] == len(places)
    assert (found["inventoryLevel"] is not None) is (BERLIN in places)
    return places


async def test_an_order_moves_units_from_available_to_committed_at_once(shop: Any) -> None:
    sku = await available(shop, 5, 0)
    before = await level(shop)
    bought = await buy(shop, {"sku": sku, "quantity": 2}, attributes={"acorn_reservation": "R-1"})
    assert bought["refused"] == []
    after = await level(shop)
    assert after == {**before, "available": 3, "committed": before["committed"] + 2}
    order = (await shop.data(ORDER, {"id": bought["order"]}))["order"]
    assert order == {
        "displayFinancialStatus": "PAID",
        "customAttributes": [{"key": "acorn_reservation", "value": "R-1"}],
        "lineItems": {"nodes": [{"sku": sku, "quantity": 2}]},
    }


async def test_a_buyer_gets_no_more_than_there_is(shop: Any) -> None:
    sku = await available(shop, 3, 2)
    assert await buy(shop, {"sku": sku, "quantity": 4}) == {
        "order": None,
        "refused": [{"sku": sku, "quantity": 4, "available": 3}],
    }
    assert (await buy(shop, {"sku": sku, "quantity": 3, "location": "Reno"}))["order"] is None
    assert [effect["operation"] for effect in await shop.effects()] == ["state", "state"]
    assert (await buy(shop, {"sku": sku, "quantity": 3}))["order"] is not None
    assert ((await level(shop))["available"], (await level(shop, 0, RENO))["available"]) == (0, 2)


async def test_what_one_place_has_sold_too_often_another_cannot_sell(shop: Any) -> None:
    sku = await available(shop, 3, -2)
    assert (await buy(shop, {"sku": sku, "quantity": 2}))["refused"] == [{"sku": sku, "quantity": 2, "available": 1}]
    assert (await buy(shop, {"sku": sku}))["order"] is not None


async def test_as_many_buyers_as_there_are_units_are_served(shop: Any) -> None:
    sku = await available(shop, 4, 3)
    answers = await asyncio.gather(*(buy(shop, {"sku": sku}) for _ in range(12)))
    assert sum(answer["order"] is not None for answer in answers) == 7
    assert ((await level(shop))["available"], (await level(shop, 0, RENO))["available"]) == (0, 0)


async def test_an_order_is_bought_as_a_whole_or_not_at_all(shop: Any) -> None:
    sku = await available(shop, 1, 0)
    other = (await shop.control("world?limit=2"))["skus"][1]["sku"]
    await shop.control("state", {"stock": [{"sku": other, "location": "Berlin", "quantity": 1}]})
    answer = await buy(shop, {"sku": other, "location": "Berlin"}, {"sku": sku, "quantity": 2})
    assert (answer["order"], [row["sku"] for row in answer["refused"]]) == (None, [sku])
    assert (await level(shop, 1))["available"] == 1


async def test_what_may_be_sold_when_it_is_out_of_stock_is_sold(shop: Any) -> None:
    sku = await available(shop, 0, 0)
    assert (await buy(shop, {"sku": sku}))["order"] is None
    mutation = """mutation($p: ID!, $v: [ProductVariantsBulkInput!]!) { productVariantsBulkUpdate(productId: $p, variants: $v) {
      userErrors { message } } }"""
    row = (await shop.control("world?limit=1"))["skus"][0]
    variant = {"id": row["productVariantId"], "inventoryPolicy": "CONTINUE"}
    await shop.data(mutation, {"p": row["productId"], "v": [variant]})
    assert (await buy(shop, {"sku": sku}))["order"] is not None


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("buy", {"lines": [{"sku": "NONE"}]}, "there is no SKU 'NONE'"),
        ("buy", {"lines": [{"sku": "FIRST"}, {"sku": "FIRST"}]}, "names a SKU once"),
        ("buy", {"lines": [{"sku": "FIRST"}], "attributes": {"a": 1}}, "attributes are texts"),
        ("buy", {"lines": [{"sku": "FIRST"}], "attributes": ["a"]}, "attributes are texts"),
        ("state", {"stock": [{"sku": "FIRST", "location": "Berlin", "stocked": "no"}]}, "stocked is true or false"),
        ("moods", {"lag": -1}, "lag is a number"),
        ("moods", {"ignore": 1.5}, "a quantity is a whole number"),
        ("moods", {"ignore": 1, "skus": ["NONE"]}, "there is no SKU 'NONE'"),
        ("moods", {"mood": 1}, "'mood' is none of"),
    ],
)
async def test_what_is_malformed_is_told_and_changes_nothing(
    shop: Any, path: str, body: dict[str, Any], words: str
) -> None:
    sku = await first_sku(shop)
    lines = [{**line, "sku": line["sku"].replace("FIRST", sku)} for line in body.get("lines", ())]
    stock = [{**line, "sku": sku} for line in body.get("stock", ())]
    given = {**body, **({"lines": lines} if lines else {}), **({"stock": stock} if stock else {})}
    response = await shop.http.post(f"/_sandbox/{path}", json=given)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert await shop.effects() == []
    assert await shop.control("moods") == {"lag": 0, "ignore": 0, "skus": None}


async def test_levels_that_trail_show_what_was_there_before(shop: Any) -> None:
    sku = await available(shop, 5, 0)
    assert await shop.control("moods", {"lag": 10}) == {"lag": 10, "ignore": 0, "skus": None}
    await put(shop, setting(entry(8)))
    await shop.control("clock", {"advance": 4})
    await put(shop, setting(entry(9)), key="k2")
    assert (await level(shop))["available"] == 5
    # A write is compared with what is, not with what is shown; a buyer buys what is.
    stale = await put(shop, setting(entry(1, changeFromQuantity=5)), key="k3")
    assert [error["code"] for error in stale["userErrors"]] == ["CHANGE_FROM_QUANTITY_STALE"]
    assert (await buy(shop, {"sku": sku, "quantity": 9}))["order"] is not None
    shown = []
    for seconds in (5, 3, 4):
        await shop.control("clock", {"advance": seconds})
        shown.append((await level(shop))["available"])
    assert shown == [5, 8, 0]


async def test_levels_that_trail_no_more_show_what_is(shop: Any) -> None:
    await available(shop, 5, 0)
    await shop.control("moods", {"lag": 10})
    await put(shop, setting(entry(8)))
    assert (await level(shop))["available"] == 5
    await shop.control("moods", {})
    assert (await level(shop))["available"] == 8


async def test_a_write_accepted_without_effect_answers_as_if_it_had_one(shop: Any) -> None:
    sku = await available(shop, 5, 0)
    before = await shop.effects()
    await shop.control("moods", {"ignore": 1, "skus": [sku]})
    other = (await level(shop, 1))["available"]
    answer = await put(shop, setting(entry(8, changeFromQuantity=5), entry(other + 1, 1)))
    changes = [(each["name"], each["item"]["id"]) for each in answer["inventoryAdjustmentGroup"]["changes"]]
    assert changes == [(name, item(n)) for n in (0, 1) for name in ("available", "on_hand")]
    assert answer["userErrors"] == []
    assert ((await level(shop))["available"], (await level(shop, 1))["available"]) == (5, other + 1)
    assert len(await shop.effects()) == len(before) + 1
    assert (await shop.control("moods"))["ignore"] == 0
    await put(shop, setting(entry(8, changeFromQuantity=5)), key="k2")
    assert (await level(shop))["available"] == 8


@pytest.mark.parametrize("version", ["2026-04", "2026-07"])
async def test_an_item_that_is_not_stocked_has_to_be_activated_first(shop: Any, version: str) -> None:
    sku = await available(shop, 5, 2)
    await shop.control("state", {"stock": [{"sku": sku, "location": "Berlin", "stocked": False}]})
    assert await stocked(shop) == [RENO]
    assert (await shop.data(LEVELS, {"id": item(0)}))["inventoryItem"]["variant"]["inventoryQuantity"] == 2
    mutation = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) { inventorySetQuantities(input: $input)
      @idempotent(key: $key) { userErrors { code field message } } }"""
    given = {"input": setting(entry(4)), "key": "k1"}
    refused = (await shop.data(mutation, given, version=version))["inventorySetQuantities"]
    assert refused["userErrors"] == [
        {
            "code": "ITEM_NOT_STOCKED_AT_LOCATION",
            "field": ["input", "quantities", "0", "locationId"],
            "message": "The specified inventory item is not stocked at the location.",
        }
    ]
    place = {"item": item(0), "location": BERLIN}
    activated = (await shop.data(ACTIVATE, {**place, "key": "a1"}))["inventoryActivate"]
    assert activated == {
        "inventoryLevel": {"location": {"id": BERLIN}, "quantities": [{"quantity": 0}]},
        "userErrors": [],
    }
    assert await stocked(shop) == [BERLIN, RENO]
    assert (await put(shop, setting(entry(4)), key="k2"))["userErrors"] == []
    # Once more does no harm.
    again = (await shop.data(ACTIVATE, {**place, "available": 9, "key": "a2"}))["inventoryActivate"]
    assert again["inventoryLevel"]["quantities"] == [{"quantity": 4}]


async def test_from_2026_10_on_any_location_can_be_written(shop: Any) -> None:
    sku = await available(shop, 5, 2)
    await shop.control("state", {"stock": [{"sku": sku, "location": "Berlin", "stocked": False}]})
    mutation = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) { inventorySetQuantities(input: $input)
      @idempotent(key: $key) { userErrors { code } } }"""
    answer = await shop.data(mutation, {"input": setting(entry(4)), "key": "k1"}, version="2026-10")
    assert answer["inventorySetQuantities"]["userErrors"] == []
    assert await stocked(shop) == [BERLIN, RENO]
    assert (await level(shop))["available"] == 4


async def test_activation_with_units_and_its_rules(shop: Any) -> None:
    sku = await available(shop, 5, 2)
    await shop.control("state", {"stock": [{"sku": sku, "location": "Berlin", "stocked": False}]})
    given = {"item": item(0), "location": BERLIN, "available": 6, "key": "a1"}
    first = await shop.data(ACTIVATE, given)
    assert first["inventoryActivate"]["inventoryLevel"]["quantities"] == [{"quantity": 6}]
    assert (await shop.effects())[-1]["operation"] == "inventoryActivate"
    wrong = (await shop.data(ACTIVATE, {**given, "item": item(5000), "location": BERLIN[:-1] + "9", "key": "a2"}))[
        "inventoryActivate"
    ]
    assert [error["field"] for error in wrong["userErrors"]] == [["inventoryItemId"], ["locationId"]]
    unkeyed = ACTIVATE.replace(" @idempotent(key: $key)", "").replace(", $key: String!", "")
    answer = await shop.ask(unkeyed, {name: value for name, value in given.items() if name != "key"})
    assert answer["errors"][0]["extensions"] == {"code": "BAD_REQUEST"}


async def test_products_have_tags_and_are_found_by_them(shop: Any) -> None:
    query = "query($q: String) { products(first: 50, query: $q) { nodes { id productType vendor tags } } }"
    every = (await shop.data(query))["products"]["nodes"]
    for node in every:
        assert node["tags"] == sorted(node["tags"])
        assert node["productType"].lower() in node["tags"]
        assert ("winter" in node["tags"]) is (node["productType"] in ("Glove", "Hood", "Scarf"))
    assert "acorn-sons" in {tag for node in every if node["vendor"] == "Acorn & Sons" for tag in node["tags"]}
    winter = (await shop.data(query, {"q": "tag:winter"}))["products"]["nodes"]
    assert winter == [node for node in every if "winter" in node["tags"]]
    assert 0 < len(winter) < len(every)
