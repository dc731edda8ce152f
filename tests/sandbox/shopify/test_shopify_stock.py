"""Stock: levels, and the two writes with idempotency and compare-and-set."""

from typing import Any

import pytest

SET = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id createdAt reason referenceDocumentUri
      changes { name delta quantityAfterChange item { id } location { id } } }
    userErrors { code field message } } }"""
ADJUST = """mutation Adjust($input: InventoryAdjustQuantitiesInput!, $key: String!) {
  inventoryAdjustQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { reason changes { name delta ledgerDocumentUri } }
    userErrors { code field message } } }"""
LEVEL = """query Level($item: ID!, $location: ID!) { inventoryItem(id: $item) { sku inventoryLevel(locationId: $location) {
  id isActive updatedAt
  quantities(names: ["available", "on_hand", "committed", "incoming", "reserved", "damaged"]) { name quantity updatedAt }
} } }"""
BERLIN, RENO = "gid://shopify/Location/72000000000001", "gid://shopify/Location/72000000000002"
NOTHING_APPLIED: dict[str, Any] = {"inventoryAdjustmentGroup": None}


def item(number: int) -> str:
    return f"gid://shopify/InventoryItem/{41_000_000_000_001 + number}"


async def level(shop: Any, number: int = 0, location: str = BERLIN) -> dict[str, int]:
    data = await shop.data(LEVEL, {"item": item(number), "location": location})
    return {each["name"]: each["quantity"] for each in data["inventoryItem"]["inventoryLevel"]["quantities"]}


def entry(quantity: int, number: int = 0, location: str = BERLIN, **more: Any) -> dict[str, Any]:
    return {
        "inventoryItemId": item(number),
        "locationId": location,
        "quantity": quantity,
        "changeFromQuantity": None,
        **more,
    }


def setting(*entries: dict[str, Any], name: str = "available", **more: Any) -> dict[str, Any]:
    return {"name": name, "reason": "correction", "quantities": list(entries), **more}


async def put(shop: Any, given: dict[str, Any], key: str = "k1") -> dict[str, Any]:
    answer: dict[str, Any] = (await shop.data(SET, {"input": given, "key": key}))["inventorySetQuantities"]
    return answer


async def test_levels_add_up_and_keep_their_query_part(shop: Any) -> None:
    data = await shop.data(LEVEL, {"item": item(0), "location": BERLIN})
    found = data["inventoryItem"]["inventoryLevel"]
    assert found["id"] == "gid://shopify/InventoryLevel/90000000000001?inventory_item_id=41000000000001"
    numbers = {each["name"]: each["quantity"] for each in found["quantities"]}
    held = numbers["committed"] + numbers["reserved"] + numbers["damaged"]
    assert numbers["on_hand"] == numbers["available"] + held
    times = {each["name"]: each["updatedAt"] for each in found["quantities"]}
    assert (times["on_hand"], times["available"]) == (None, found["updatedAt"])
    direct = await shop.data(
        "query($id: ID!) { inventoryLevel(id: $id) { id item { id } location { name } } }", {"id": found["id"]}
    )
    assert direct["inventoryLevel"] == {"id": found["id"], "item": {"id": item(0)}, "location": {"name": "Berlin"}}


async def test_setting_available_moves_on_hand_with_it(shop: Any) -> None:
    before = await level(shop)
    given = setting(
        entry(before["available"] + 4, changeFromQuantity=before["available"]),
        referenceDocumentUri="gid://ours/StockPush/1",
    )
    answer = await shop.ask(SET, {"input": given, "key": "k1"})
    assert answer["data"]["inventorySetQuantities"] == {
        "inventoryAdjustmentGroup": {
            "id": "gid://shopify/InventoryAdjustmentGroup/57000000002",
            "createdAt": "2026-11-25T12:00:00Z",
            "reason": "correction",
            "referenceDocumentUri": "gid://ours/StockPush/1",
            "changes": [
                {
                    "name": name,
                    "delta": 4,
                    "quantityAfterChange": None,
                    "item": {"id": item(0)},
                    "location": {"id": BERLIN},
                }
                for name in ("available", "on_hand")
            ],
        },
        "userErrors": [],
    }
    cost = answer["extensions"]["cost"]
    assert (cost["requestedQueryCost"], cost["actualQueryCost"]) == (13, 13)
    after = await level(shop)
    assert after == {**before, "available": before["available"] + 4, "on_hand": before["on_hand"] + 4}
    sku = (await shop.control("world"))["skus"][0]["sku"]
    (effect,) = await shop.effects()
    assert (effect["operation"], effect["key"]) == ("inventorySetQuantities", sku)
    assert effect["detail"] == {
        "inventoryItemId": item(0),
        "locationId": BERLIN,
        "location": "Berlin",
        "name": "available",
        "from": before["available"],
        "to": before["available"] + 4,
    }


async def test_setting_on_hand_moves_available(shop: Any) -> None:
    before = await level(shop)
    group = (await put(shop, setting(entry(before["on_hand"] + 2), name="on_hand")))["inventoryAdjustmentGroup"]
    assert [(change["name"], change["delta"]) for change in group["changes"]] == [("available", 2), ("on_hand", 2)]
    assert await level(shop) == {**before, "available": before["available"] + 2, "on_hand": before["on_hand"] + 2}


async def test_setting_what_is_there_already_has_no_group_and_no_effect(shop: Any) -> None:
    there = (await level(shop))["available"]
    assert await put(shop, setting(entry(there))) == {"inventoryAdjustmentGroup": None, "userErrors": []}
    assert await shop.effects() == []


async def test_without_the_directive_it_is_a_bad_request(shop: Any) -> None:
    mutation = SET.replace(" @idempotent(key: $key)", "").replace(", $key: String!", "")
    answer = await shop.ask(mutation, {"input": setting(entry(1))})
    assert answer["data"] == {"inventorySetQuantities": None}
    (error,) = answer["errors"]
    assert error["message"] == "The @idempotent directive is required for this mutation but was not provided."
    assert (error["path"], error["extensions"]) == (["inventorySetQuantities"], {"code": "BAD_REQUEST"})
    cost = answer["extensions"]["cost"]
    assert (cost["requestedQueryCost"], cost["actualQueryCost"]) == (13, 10)
    assert await shop.effects() == []


async def test_change_from_quantity_must_be_there_even_as_null(shop: Any) -> None:
    without = {name: value for name, value in entry(1).items() if name != "changeFromQuantity"}
    answer = await shop.ask(SET, {"input": setting(without), "key": "k1"})
    assert answer["data"] == {"inventorySetQuantities": None}
    (error,) = answer["errors"]
    assert error["message"] == "InventoryQuantityInput must include the following argument: changeFromQuantity."
    assert error["extensions"] == {"code": "INVALID_FIELD_ARGUMENTS"}
    assert await shop.effects() == []
    given = {
        "name": "available",
        "reason": "correction",
        "changes": [{"inventoryItemId": item(0), "locationId": BERLIN, "delta": 1}],
    }
    adjusted = await shop.ask(ADJUST, {"input": given, "key": "k2"})
    assert adjusted["errors"][0]["message"].startswith("InventoryChangeInput must include")


async def test_a_stale_belief_voids_the_whole_call(shop: Any) -> None:
    there = (await level(shop, 1))["available"]
    before = await level(shop, 0)
    answer = await put(shop, setting(entry(before["available"] + 1), entry(9, 1, changeFromQuantity=there + 1)))
    assert answer == {
        "inventoryAdjustmentGroup": None,
        "userErrors": [
            {
                "code": "CHANGE_FROM_QUANTITY_STALE",
                "field": ["input", "quantities", "1", "changeFromQuantity"],
                "message": "The changeFromQuantity argument no longer matches the persisted quantity.",
            }
        ],
    }
    assert await level(shop, 0) == before
    assert await shop.effects() == []


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        (setting(entry(1, 5000)), [("INVALID_INVENTORY_ITEM", ["input", "quantities", "0", "inventoryItemId"])]),
        (
            setting(entry(1, 0, "gid://shopify/Location/1")),
            [("INVALID_LOCATION", ["input", "quantities", "0", "locationId"])],
        ),
        (setting(entry(1), name="committed"), [("INVALID_NAME", ["input", "name"])]),
        (setting(entry(1), reason="because"), [("INVALID_REASON", ["input", "reason"])]),
        (
            setting(entry(1), referenceDocumentUri="no uri"),
            [("INVALID_REFERENCE_DOCUMENT", ["input", "referenceDocumentUri"])],
        ),
        (
            setting(entry(1), entry(2), entry(3)),
            [
                ("NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", ["input", "quantities", "1"]),
                ("NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", ["input", "quantities", "2"]),
            ],
        ),
        (setting(entry(1_000_000_001)), [("INVALID_QUANTITY_TOO_HIGH", ["input", "quantities", "0", "quantity"])]),
        (setting(entry(-1_000_000_001)), [("INVALID_QUANTITY_TOO_LOW", ["input", "quantities", "0", "quantity"])]),
        (
            setting(entry(-1), name="on_hand"),
            [("INVALID_QUANTITY_NEGATIVE", ["input", "quantities", "0", "quantity"])],
        ),
    ],
)
async def test_business_rules(shop: Any, given: dict[str, Any], errors: list[tuple[str, list[str]]]) -> None:
    answer = await put(shop, given)
    assert answer["inventoryAdjustmentGroup"] is None
    assert [(error["code"], error["field"]) for error in answer["userErrors"]] == errors
    assert all(error["message"] for error in answer["userErrors"])
    assert await shop.effects() == []


async def test_available_may_go_below_zero(shop: Any) -> None:
    assert (await put(shop, setting(entry(-3))))["userErrors"] == []
    assert (await level(shop))["available"] == -3


async def test_a_repeat_with_the_same_key_is_replayed_and_applied_once(shop: Any) -> None:
    there = (await level(shop))["available"]
    first = await put(shop, setting(entry(there + 5, changeFromQuantity=there)))
    await shop.control(
        "state",
        {"stock": [{"sku": (await shop.control("world"))["skus"][0]["sku"], "location": "Berlin", "quantity": 1}]},
    )
    assert await put(shop, setting(entry(there + 5, changeFromQuantity=there))) == first
    assert (await level(shop))["available"] == 1
    assert [effect["operation"] for effect in await shop.effects()] == ["inventorySetQuantities", "state"]


async def test_a_key_with_other_parameters_is_refused(shop: Any) -> None:
    there = (await level(shop))["available"]
    await put(shop, setting(entry(there + 5)))
    assert await put(shop, setting(entry(there + 6))) == {
        "inventoryAdjustmentGroup": None,
        "userErrors": [
            {
                "code": "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
                "field": None,
                "message": "The same idempotency key cannot be used with different operation parameters.",
            }
        ],
    }
    assert (await level(shop))["available"] == there + 5


async def test_the_key_of_a_failed_attempt_is_used_up(shop: Any) -> None:
    there = (await level(shop))["available"]
    stale = setting(entry(7, changeFromQuantity=there + 1))
    assert [error["code"] for error in (await put(shop, stale))["userErrors"]] == ["CHANGE_FROM_QUANTITY_STALE"]
    repeated = await put(shop, stale)
    assert [error["code"] for error in repeated["userErrors"]] == ["IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"]
    assert (await put(shop, setting(entry(7, changeFromQuantity=there)), key="k2"))["userErrors"] == []


async def test_a_key_is_forgotten_after_a_day(shop: Any) -> None:
    there = (await level(shop))["available"]
    await put(shop, setting(entry(there + 5)))
    await shop.control("clock", {"advance": 24 * 3600})
    assert (await put(shop, setting(entry(there + 6))))["userErrors"] == []
    assert (await level(shop))["available"] == there + 6


async def test_a_throttled_write_does_not_use_up_its_key(shop: Any) -> None:
    there = (await level(shop))["available"]
    await shop.control("plans", {"currentlyAvailable": 0})
    refused = await shop.ask(SET, {"input": setting(entry(there + 1)), "key": "k1"})
    assert refused["errors"][0]["message"] == "Throttled"
    await shop.control("plans", {"currentlyAvailable": 2000})
    assert (await put(shop, setting(entry(there + 1))))["userErrors"] == []
    assert (await level(shop))["available"] == there + 1


def change(delta: int, **more: Any) -> dict[str, Any]:
    return {"inventoryItemId": item(0), "locationId": BERLIN, "delta": delta, "changeFromQuantity": None, **more}


async def adjust(shop: Any, *changes: dict[str, Any], name: str = "available", key: str = "a1") -> dict[str, Any]:
    given = {"name": name, "reason": "received", "changes": list(changes)}
    answer: dict[str, Any] = (await shop.data(ADJUST, {"input": given, "key": key}))["inventoryAdjustQuantities"]
    return answer


async def test_adjusting_is_relative_and_tells_each_row(shop: Any) -> None:
    before = await level(shop)
    answer = await adjust(shop, change(3))
    assert answer["inventoryAdjustmentGroup"]["changes"] == [
        {"name": "available", "delta": 3, "ledgerDocumentUri": None},
        {"name": "on_hand", "delta": 3, "ledgerDocumentUri": None},
    ]
    ledger = "gid://ours/Delivery/1"
    incoming = await adjust(shop, change(-1, ledgerDocumentUri=ledger), name="incoming", key="a2")
    assert incoming["inventoryAdjustmentGroup"]["changes"] == [
        {"name": "incoming", "delta": -1, "ledgerDocumentUri": ledger}
    ]
    assert await level(shop) == {
        **before,
        "available": before["available"] + 3,
        "on_hand": before["on_hand"] + 3,
        "incoming": before["incoming"] - 1,
    }


@pytest.mark.parametrize(
    ("name", "given", "code"),
    [
        ("on_hand", change(1), "INVALID_QUANTITY_NAME"),
        ("committed", change(1), "INVALID_QUANTITY_NAME"),
        ("damaged", change(1), "INVALID_QUANTITY_DOCUMENT"),
        ("damaged", change(1, ledgerDocumentUri="gid://shopify/Order/1"), "INTERNAL_LEDGER_DOCUMENT"),
        ("damaged", change(1, ledgerDocumentUri="nothing"), "INVALID_LEDGER_DOCUMENT"),
        ("available", change(1, ledgerDocumentUri="gid://ours/A/1"), "INVALID_AVAILABLE_DOCUMENT"),
        ("available", change(2_000_000_001), "INVALID_QUANTITY_TOO_HIGH"),
        ("available", change(-2_000_000_001), "INVALID_QUANTITY_TOO_LOW"),
        ("available", change(1, changeFromQuantity=-99), "CHANGE_FROM_QUANTITY_STALE"),
    ],
)
async def test_rules_of_adjusting(shop: Any, name: str, given: dict[str, Any], code: str) -> None:
    answer = await adjust(shop, given, name=name)
    assert answer["inventoryAdjustmentGroup"] is None
    assert [error["code"] for error in answer["userErrors"]] == [code]
    assert await shop.effects() == []


async def test_a_change_of_stock_shows_on_the_variant_but_not_on_the_item(shop: Any) -> None:
    await put(shop, setting(entry(77)))
    query = """query($q: String!) { productVariants(first: 5, query: $q) { nodes { inventoryQuantity inventoryItem { id } } }
      inventoryItems(first: 5, query: $q) { nodes { id } } products(first: 5, query: $q) { nodes { id } } }"""
    data = await shop.data(query, {"q": "updated_at:>='2026-11-25T12:00:00Z'"})
    reno = (await level(shop, 0, RENO))["available"]
    assert data["productVariants"]["nodes"] == [{"inventoryQuantity": 77 + reno, "inventoryItem": {"id": item(0)}}]
    assert data["inventoryItems"]["nodes"] == []
    assert data["products"]["nodes"] == [{"id": "gid://shopify/Product/8100000000001"}]


async def test_an_unknown_quantity_name_is_refused(shop: Any) -> None:
    query = LEVEL.replace('"damaged"', '"sold"')
    answer = await shop.ask(query, {"item": item(0), "location": BERLIN})
    assert answer["errors"][0]["message"] == "The quantity name 'sold' is invalid."
