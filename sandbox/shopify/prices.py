"""productVariantsBulkUpdate: prices of one product's variants; without `allowPartialUpdates` one bad row stops all."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sandbox.shopify import errors, ids
from sandbox.shopify.call import Info, Resolvers
from sandbox.shopify.catalog import Style, Variant, style_by_id
from sandbox.shopify.money import CENT, price
from sandbox.shopify.state import Shop, Terms

Problem = Mapping[str, Any]


def _bulk_update(
    _: Any,
    info: Info,
    productId: str,  # noqa: N803  GraphQL names the argument
    variants: list[dict[str, Any]],
    allowPartialUpdates: bool | None = False,  # noqa: N803  GraphQL names the argument
) -> Mapping[str, Any]:
    shop = info.context.shop
    style = style_by_id(shop, productId)
    if style is None:
        problem = errors.user_error(["productId"], "Product does not exist", "PRODUCT_DOES_NOT_EXIST")
        return {"product": None, "productVariants": None, "userErrors": [problem]}
    problems: list[Problem] = []
    good: list[tuple[int, dict[str, Any]]] = []
    named: list[int] = []
    for row, given in enumerate(variants):
        item = _item(style, given, row, problems)
        if item is None:
            continue
        named.append(item)
        found = _row_problems(given, row)
        problems += found
        if not found:
            good.append((item, given))
    if problems and not allowPartialUpdates:
        return {"product": style, "productVariants": None, "userErrors": problems}
    for item, given in good:
        _save(shop, item, given)
    return {"product": style, "productVariants": [Variant(shop, item) for item in named], "userErrors": problems}


def _item(style: Style, given: Mapping[str, Any], row: int, problems: list[Problem]) -> int | None:
    field = ["variants", str(row), "id"]
    if given.get("id") is None:
        problems.append(
            errors.user_error(field, "Product variant is missing ID attribute", "PRODUCT_VARIANT_ID_MISSING")
        )
        return None
    item = ids.place("ProductVariant", given["id"])
    if item not in style.items:
        problems.append(errors.user_error(field, "Product variant does not exist", "PRODUCT_VARIANT_DOES_NOT_EXIST"))
        return None
    return item


def _row_problems(given: Mapping[str, Any], row: int) -> list[Problem]:
    problems = []
    if given.get("inventoryQuantities") is not None:
        problems.append(
            errors.user_error(
                ["variants", str(row), "inventoryQuantities"],
                "Inventory quantities can only be provided during create. "
                "To update inventory for existing variants, use inventoryAdjustQuantities.",
                "NO_INVENTORY_QUANTITIES_ON_VARIANTS_UPDATE",
            )
        )
    for name, label in (("price", "Price"), ("compareAtPrice", "Compare at price")):
        amount = given.get(name)
        if name == "price" and name in given and amount is None:
            problems.append(errors.user_error(["variants", str(row), name], "Price can't be blank", "BLANK"))
        elif amount is not None and amount < 0:
            message = f"{label} must be greater than or equal to 0"
            problems.append(errors.user_error(["variants", str(row), name], message, "GREATER_THAN_OR_EQUAL_TO"))
    return problems


def _save(shop: Shop, item: int, given: Mapping[str, Any]) -> None:
    names = {"price": "price", "compareAtPrice": "compare_at", "barcode": "barcode", "taxable": "taxable"}
    changed = {
        ours: value.quantize(CENT) if isinstance(value, Decimal) else value
        for theirs, ours in names.items()
        if (value := given.get(theirs)) is not None or theirs in given
    }
    if given.get("inventoryPolicy") is not None:
        changed["inventory_policy"] = given["inventoryPolicy"]
    set_terms(shop, "productVariantsBulkUpdate", item, changed)


def set_terms(shop: Shop, operation: str, item: int, changed: Mapping[str, Any]) -> None:
    """Change a variant's terms and journal it; terms that stay the same are no effect."""
    product = shop.core.world.product(item)
    before = shop.terms_of(product)
    after = replace(before, **changed)
    if after == before:
        return
    shop.terms[item] = after
    shop.touch(item)
    shop.core.journal.effect(
        operation,
        product.sku,
        {
            "productVariantId": ids.gid("ProductVariant", item),
            "price": price(after.price),
            "compareAtPrice": price(after.compare_at),
            "from": _shown(before),
        },
    )


def _shown(terms: Terms) -> dict[str, str | None]:
    return {"price": price(terms.price), "compareAtPrice": price(terms.compare_at)}


RESOLVERS: Resolvers = {"Mutation": {"productVariantsBulkUpdate": _bulk_update}}
