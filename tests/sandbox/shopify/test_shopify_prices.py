"""productVariantsBulkUpdate."""

from typing import Any

import pytest

UPDATE = """mutation Prices($product: ID!, $variants: [ProductVariantsBulkInput!]!, $partial: Boolean) {
  productVariantsBulkUpdate(productId: $product, variants: $variants, allowPartialUpdates: $partial) {
    product { id } productVariants { id price compareAtPrice } userErrors { code field message } } }"""
PRODUCT = "gid://shopify/Product/8100000000001"


def variant(number: int) -> str:
    return f"gid://shopify/ProductVariant/{45_000_000_000_001 + number}"


async def update(shop: Any, *variants: dict[str, Any], product: str = PRODUCT, partial: bool = False) -> dict[str, Any]:
    variables = {"product": product, "variants": list(variants), "partial": partial}
    answer: dict[str, Any] = (await shop.data(UPDATE, variables))["productVariantsBulkUpdate"]
    return answer


async def price(shop: Any, number: int) -> tuple[str, str | None]:
    data = await shop.data(
        "query($id: ID!) { productVariant(id: $id) { price compareAtPrice } }", {"id": variant(number)}
    )
    return data["productVariant"]["price"], data["productVariant"]["compareAtPrice"]


async def test_prices_of_one_product_are_set_together(shop: Any) -> None:
    old = (await price(shop, 0))[0]
    answer = await update(
        shop,
        {"id": variant(0), "price": "26.90", "compareAtPrice": 29.9},
        {"id": variant(1), "price": 26},
    )
    assert answer == {
        "product": {"id": PRODUCT},
        "productVariants": [
            {"id": variant(0), "price": "26.90", "compareAtPrice": "29.90"},
            {"id": variant(1), "price": "26.00", "compareAtPrice": None},
        ],
        "userErrors": [],
    }
    effects = await shop.effects()
    skus = [entry["sku"] for entry in (await shop.control("world"))["skus"][:2]]
    assert [(effect["operation"], effect["key"]) for effect in effects] == [
        ("productVariantsBulkUpdate", sku) for sku in skus
    ]
    assert effects[0]["detail"] == {
        "productVariantId": variant(0),
        "price": "26.90",
        "compareAtPrice": "29.90",
        "from": {"price": old, "compareAtPrice": None},
    }


async def test_null_ends_a_sale_and_the_same_price_is_no_effect(shop: Any) -> None:
    await update(shop, {"id": variant(0), "price": "20", "compareAtPrice": "25"})
    await update(shop, {"id": variant(0), "compareAtPrice": None})
    assert await price(shop, 0) == ("20.00", None)
    await update(shop, {"id": variant(0), "price": "20.00"})
    assert len(await shop.effects()) == 2


async def test_one_bad_row_stops_all_unless_part_is_allowed(shop: Any) -> None:
    before = await price(shop, 0), await price(shop, 1)
    rows: list[dict[str, Any]] = [{"id": variant(0), "price": "20.00"}, {"id": variant(1), "price": "-1"}]
    problem = {
        "code": "GREATER_THAN_OR_EQUAL_TO",
        "field": ["variants", "1", "price"],
        "message": "Price must be greater than or equal to 0",
    }
    refused = await update(shop, *rows)
    assert refused == {"product": {"id": PRODUCT}, "productVariants": None, "userErrors": [problem]}
    assert (await price(shop, 0), await price(shop, 1)) == before
    assert await shop.effects() == []
    part = await update(shop, *rows, partial=True)
    assert part["userErrors"] == [problem]
    assert part["productVariants"] == [
        {"id": variant(0), "price": "20.00", "compareAtPrice": None},
        {"id": variant(1), "price": before[1][0], "compareAtPrice": None},
    ]
    assert len(await shop.effects()) == 1


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"price": "1"}, "PRODUCT_VARIANT_ID_MISSING", "id"),
        ({"id": variant(40), "price": "1"}, "PRODUCT_VARIANT_DOES_NOT_EXIST", "id"),
        (
            {
                "id": variant(0),
                "inventoryQuantities": [{"availableQuantity": 1, "locationId": "gid://shopify/Location/1"}],
            },
            "NO_INVENTORY_QUANTITIES_ON_VARIANTS_UPDATE",
            "inventoryQuantities",
        ),
        ({"id": variant(0), "price": None}, "BLANK", "price"),
        ({"id": variant(0), "compareAtPrice": -1}, "GREATER_THAN_OR_EQUAL_TO", "compareAtPrice"),
    ],
)
async def test_rows_that_are_refused(shop: Any, row: dict[str, Any], code: str, field: str) -> None:
    answer = await update(shop, row)
    assert [(error["code"], error["field"]) for error in answer["userErrors"]] == [(code, ["variants", "0", field])]
    assert await shop.effects() == []


async def test_an_unknown_product_is_null(shop: Any) -> None:
    answer = await update(shop, {"id": variant(0), "price": "1"}, product="gid://shopify/Product/1")
    assert (answer["product"], answer["productVariants"]) == (None, None)
    assert [error["code"] for error in answer["userErrors"]] == ["PRODUCT_DOES_NOT_EXIST"]


async def test_an_amount_that_is_none_is_an_invalid_variable(shop: Any) -> None:
    answer = await shop.ask(UPDATE, {"product": PRODUCT, "variants": [{"id": variant(0), "price": "cheap"}]})
    assert answer["errors"][0]["extensions"]["problems"] == [
        {"path": [0, "price"], "explanation": 'Could not coerce value "cheap" to Money'}
    ]
