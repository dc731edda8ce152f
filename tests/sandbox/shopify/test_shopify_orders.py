"""Orders: what there are, how they are searched, and the wall of sixty days."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

ORDERS = """query Orders($first: Int = 250, $after: String, $q: String, $sort: OrderSortKeys = PROCESSED_AT, $reverse: Boolean) {
  orders(first: $first, after: $after, query: $q, sortKey: $sort, reverse: $reverse) {
    nodes { id legacyResourceId name number createdAt updatedAt cancelledAt cancelReason closed tags
      displayFinancialStatus displayFulfillmentStatus currencyCode presentmentCurrencyCode
      totalPriceSet { shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }
      currentTotalPriceSet { shopMoney { amount } } subtotalPriceSet { shopMoney { amount } }
      totalShippingPriceSet { shopMoney { amount } } totalRefundedSet { shopMoney { amount } }
      shippingAddress { name address1 city zip countryCodeV2 }
      lineItems(first: 10) { nodes { sku quantity currentQuantity unfulfilledQuantity
        discountedTotalSet { shopMoney { amount } } } } }
    pageInfo { hasNextPage endCursor } } }"""


async def orders(shop: Any, **variables: Any) -> list[dict[str, Any]]:
    await shop.control("plans", {"maximumAvailable": 2000})
    data = await shop.data(ORDERS, variables)
    nodes: list[dict[str, Any]] = data["orders"]["nodes"]
    return nodes


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


async def all_orders(shop: Any) -> list[dict[str, Any]]:
    cursor, rows = None, []
    while True:
        await shop.control("plans", {"maximumAvailable": 2000})
        connection = (await shop.data(ORDERS, {"first": 100, "after": cursor}))["orders"]
        rows += connection["nodes"]
        if not connection["pageInfo"]["hasNextPage"]:
            return rows
        cursor = connection["pageInfo"]["endCursor"]


async def test_the_demo_world_has_orders_of_all_kinds(open_shop: Callable[..., Any]) -> None:
    shop = await open_shop(products=500, orders=1500)
    rows = await all_orders(shop)
    assert len(rows) == 600
    assert set(Counter(row["displayFulfillmentStatus"] for row in rows)) == {
        "FULFILLED",
        "ON_HOLD",
        "PARTIALLY_FULFILLED",
        "UNFULFILLED",
    }
    assert set(Counter(row["displayFinancialStatus"] for row in rows)) == {"PAID", "PENDING", "REFUNDED", "VOIDED"}
    world = await shop.control("world")
    assert len(world["orders"]) >= 300
    assert sum(len(order["fulfillmentOrders"]) == 2 for order in world["orders"]) >= 50
    oldest, newest = (datetime.fromisoformat(rows[place]["createdAt"]) for place in (0, -1))
    assert 29 <= (newest - oldest).days < 30
    listed = {entry["sku"] for entry in world["skus"]}
    assert {line["sku"] for row in rows for line in row["lineItems"]["nodes"]} <= listed
    stock = [level for entry in world["skus"] for level in entry["stock"].values()]
    assert min(level["available"] for level in stock) >= 0
    assert max(level["available"] for level in stock) > 0


async def test_the_same_seed_makes_the_same_orders(open_shop: Callable[..., Any]) -> None:
    first, again, other = await open_shop(), await open_shop(), await open_shop(seed=8)
    rows = await all_orders(first)
    assert rows == await all_orders(again)
    assert rows != await all_orders(other)


async def test_money_adds_up_in_the_shops_currency(shop: Any) -> None:
    rows = await orders(shop)
    assert {row["presentmentCurrencyCode"] for row in rows} == {"USD", "EUR", "JPY"}
    for row in rows:
        lines = [Decimal(line["discountedTotalSet"]["shopMoney"]["amount"]) for line in row["lineItems"]["nodes"]]
        shipping = Decimal(row["totalShippingPriceSet"]["shopMoney"]["amount"])
        total = Decimal(row["totalPriceSet"]["shopMoney"]["amount"])
        assert Decimal(row["subtotalPriceSet"]["shopMoney"]["amount"]) == sum(lines)
        assert total == sum(lines) + shipping
        kept = Decimal(row["currentTotalPriceSet"]["shopMoney"]["amount"])
        assert kept == (0 if row["cancelledAt"] or row["displayFinancialStatus"] == "REFUNDED" else total)
        rate = {"USD": Decimal(1), "EUR": Decimal("0.92"), "JPY": Decimal(150)}[row["presentmentCurrencyCode"]]
        shown = Decimal(row["totalPriceSet"]["presentmentMoney"]["amount"])
        assert abs(shown - total * rate) <= Decimal("0.5")


async def test_a_cancelled_order_is_told_by_its_instant_not_by_a_status(shop: Any) -> None:
    rows = await orders(shop, q="status:cancelled")
    assert rows
    for row in rows:
        assert row["cancelledAt"] is not None
        assert row["cancelReason"] in {"CUSTOMER", "FRAUD", "INVENTORY", "OTHER"}
        assert row["displayFulfillmentStatus"] == "UNFULFILLED"
        assert {line["currentQuantity"] for line in row["lineItems"]["nodes"]} == {0}
    query = '{ orders(first: 1, query: "status:cancelled") { nodes { displayFulfillmentStatus } } }'
    newer = await shop.data(query, version="2026-10")
    assert newer["orders"]["nodes"] == [{"displayFulfillmentStatus": "FULFILLMENT_NOT_REQUIRED"}]


async def test_searches_agree_with_the_rows(shop: Any) -> None:
    rows = await orders(shop)
    assert len(rows) == 40
    sku = rows[3]["lineItems"]["nodes"][0]["sku"]
    vip = [row for row in rows if row["tags"]]
    assert vip
    cases: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
        ("status:open", lambda row: not row["closed"] and not row["cancelledAt"]),
        ("status:closed", lambda row: row["closed"] and not row["cancelledAt"]),
        ("financial_status:pending", lambda row: row["displayFinancialStatus"] == "PENDING"),
        ("financial_status:paid,voided", lambda row: row["displayFinancialStatus"] in ("PAID", "VOIDED")),
        ("fulfillment_status:fulfilled", lambda row: row["displayFulfillmentStatus"] == "FULFILLED"),
        ("fulfillment_status:shipped", lambda row: row["displayFulfillmentStatus"] == "FULFILLED"),
        ("fulfillment_status:partial", lambda row: row["displayFulfillmentStatus"] == "PARTIALLY_FULFILLED"),
        ("fulfillment_status:on_hold", lambda row: row["displayFulfillmentStatus"] == "ON_HOLD"),
        ("fulfillment_status:unshipped", lambda row: row["displayFulfillmentStatus"] in ("UNFULFILLED", "ON_HOLD")),
        ("tag:vip", lambda row: "vip" in row["tags"]),
        (f"sku:'{sku}'", lambda row: sku in [line["sku"] for line in row["lineItems"]["nodes"]]),
        ("name:#1007 OR name:1009", lambda row: row["name"] in ("#1007", "#1009")),
        (f"id:{rows[5]['legacyResourceId']}", lambda row: row["id"] == rows[5]["id"]),
        (f"created_at:>'{rows[20]['createdAt']}'", lambda row: row["number"] >= rows[20]["number"]),
        (
            "status:open AND financial_status:paid",
            lambda row: not row["closed"] and row["displayFinancialStatus"] == "PAID",
        ),
    ]
    for text, expected in cases:
        wanted = [row["name"] for row in rows if expected(row)]
        assert names(await orders(shop, q=text)) == wanted, text


async def test_sorting_by_update_is_by_what_readers_see(shop: Any) -> None:
    rows = await orders(shop, sort="UPDATED_AT")
    assert [row["updatedAt"] for row in rows] == sorted(row["updatedAt"] for row in rows)
    assert names(await orders(shop, sort="UPDATED_AT", reverse=True)) == names(rows)[::-1]
    assert sorted(names(rows)) == sorted(names(await orders(shop)))


async def test_counts_are_exact_up_to_the_limit(shop: Any) -> None:
    query = "query($limit: Int) { ordersCount(limit: $limit) { count precision } }"
    assert (await shop.data(query, {"limit": 100}))["ordersCount"] == {"count": 40, "precision": "EXACT"}
    assert (await shop.data(query, {"limit": 10}))["ordersCount"] == {"count": 10, "precision": "AT_LEAST"}


async def test_orders_older_than_sixty_days_need_their_own_scope(shop: Any) -> None:
    query = """query($id: ID!) { orders(first: 250) { nodes { name } } order(id: $id) { name } node(id: $id) { id }
      ordersCount { count } }"""
    oldest = {"id": "gid://shopify/Order/5500000000001"}
    await shop.control("clock", {"advance": 45 * 86400})
    limited = await shop.data(query, oldest, token="shpat_sandbox_readonly")
    full = await shop.data(query, oldest)
    assert len(full["orders"]["nodes"]) == 40
    assert full["order"] == {"name": "#1001"}
    assert full["ordersCount"] == {"count": 40}
    assert (limited["order"], limited["node"]) == (None, None)
    assert 0 < len(limited["orders"]["nodes"]) == limited["ordersCount"]["count"] < 40
    assert limited["orders"]["nodes"][-1] == {"name": "#1040"}
    await shop.control("clock", {"advance": 30 * 86400})
    assert (await shop.data(query, oldest, token="shpat_sandbox_readonly"))["orders"]["nodes"] == []


async def test_nodes_answer_each_kind_in_the_order_asked(shop: Any) -> None:
    ids = [
        "gid://shopify/Order/5500000000002",
        "gid://shopify/ProductVariant/45000000000003",
        "gid://shopify/Order/1",
        "gid://shopify/InventoryLevel/90000000000002?inventory_item_id=41000000000003",
        "gid://shopify/Location/72000000000002",
    ]
    query = """query($ids: [ID!]!) { nodes(ids: $ids) { __typename id
      ... on Order { name } ... on ProductVariant { position } ... on InventoryLevel { location { name } } } }"""
    assert (await shop.data(query, {"ids": ids}))["nodes"] == [
        {"__typename": "Order", "id": ids[0], "name": "#1002"},
        {"__typename": "ProductVariant", "id": ids[1], "position": 3},
        None,
        {"__typename": "InventoryLevel", "id": ids[3], "location": {"name": "Reno"}},
        {"__typename": "Location", "id": ids[4]},
    ]


async def test_products_group_five_variants(shop: Any) -> None:
    query = """{ products(first: 2) { nodes { id title vendor totalInventory variantsCount { count }
      options { name values } variants(first: 10) { nodes { sku inventoryQuantity selectedOptions { name value } } } } } }"""
    for product in (await shop.data(query))["products"]["nodes"]:
        variants = product["variants"]["nodes"]
        assert len(variants) == product["variantsCount"]["count"] == 5
        assert product["totalInventory"] == sum(variant["inventoryQuantity"] for variant in variants)
        assert [option["name"] for option in product["options"]] == ["Color", "Size"]
        chosen = [tuple(option["value"] for option in variant["selectedOptions"]) for variant in variants]
        assert len(set(chosen)) == 5
