"""Operations on products and prices."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from sandbox.shop import paging, views
from sandbox.shop.api import Answer, Call, Operation, Problem, choice, flag, operation, optional_text, rows, text
from sandbox.shop.bulk import Result, carried_out, kept_to_limit
from sandbox.shop.catalog import Product, Variant
from sandbox.shop.state import CENT, CURRENCY, Shop

OPERATIONS: list[Operation] = []
STATUSES = ("active", "draft", "archived")


def money(body: Mapping[str, Any], name: str, at: str) -> Decimal:
    """An amount in the shop's currency that is not negative."""
    given = body.get(name)
    told = given.get("amount") if isinstance(given, dict) else None
    try:
        amount = Decimal(told if isinstance(told, str) else "none")
    except InvalidOperation as problem:
        shape = f'{{"amount": "26.90", "currency": "{CURRENCY}"}}'
        raise Problem("validation", f"{name} is {shape}", f"{at}/{name}") from problem
    if not isinstance(given, dict) or given.get("currency") != CURRENCY:
        raise Problem("validation", f"The shop sells in {CURRENCY}", f"{at}/{name}/currency")
    if not amount.is_finite() or not 0 <= amount < 10**12 or amount != amount.quantize(CENT):
        raise Problem("validation", f"{name} is an amount of at least 0 with two decimals", f"{at}/{name}/amount")
    return amount


def optional_money(body: Mapping[str, Any], name: str, at: str) -> Decimal | None:
    return None if body.get(name) is None else money(body, name, at)


@operation(OPERATIONS, "GET", "/products", "products", "catalog:read")
def list_products(call: Call) -> Answer:
    status, words = call.query("status"), (call.query("q") or "").lower()
    return paging.page(
        call,
        call.shop.catalog.walk,
        lambda one: views.product(call.shop, one),
        lambda one: status in (None, one.status) and words in one.title.lower(),
    )


@operation(OPERATIONS, "GET", "/products/{id}", "products", "catalog:read")
def get_product(call: Call) -> Answer:
    product = call.shop.catalog.product(call.id)
    if product is None and "start.not-found" in call.shop.broken:
        return Answer(None)
    return _shown(call.shop, _known(call))


@operation(OPERATIONS, "GET", "/variants", "products", "catalog:read")
def list_variants(call: Call) -> Answer:
    named = paging.skus(call)
    if not named:
        raise Problem("bad-request", "Name SKUs")
    found = {sku: call.shop.catalog.variant(sku) for sku in named}
    return Answer(
        {
            "data": [views.variant(call.shop, *one) for one in found.values() if one],
            "missing": [] if "products.missing" in call.shop.broken else [sku for sku, one in found.items() if not one],
        }
    )


@operation(OPERATIONS, "POST", "/products", "products_write", "catalog:write", keyed=True)
def create_product(call: Call) -> Answer:
    catalog, body = call.shop.catalog, call.body
    product = Product(catalog.next_ids("prd"), "", call.shop.now(), rev=0)
    _fill(call.shop, product, body)
    catalog.keep(product)
    call.shop.core.journal.effect("createProduct", product.id, {"title": product.title})
    call.shop.tell("product.created", id=product.id)
    location = {"Location": call.url(f"/products/{product.id}")}
    return Answer(views.product(call.shop, product), 201, location, product.rev)


@operation(OPERATIONS, "PUT", "/products/{id}", "products_write", "catalog:write")
def put_product(call: Call) -> Answer:
    return _replaced(call, {})


@operation(OPERATIONS, "PATCH", "/products/{id}", "products_write", "catalog:write")
def patch_product(call: Call) -> Answer:
    product = _known(call)
    return _replaced(call, {name: getattr(product, name) for name in ("title", "status", "brand", "url")})


@operation(OPERATIONS, "DELETE", "/products/{id}", "products_write", "catalog:write")
def delete_product(call: Call) -> Answer:
    product = _known(call)
    call.matched(product.rev)
    if any(
        line.product.sku in {one.sku for one in product.variants} for order in call.shop.orders for line in order.lines
    ):
        raise Problem("conflict", "It was ordered; archive it")
    call.shop.catalog.remove(product)
    for variant in product.variants:
        call.shop.stock.forget(variant.sku)
    call.shop.core.journal.effect("deleteProduct", product.id, {})
    call.shop.tell("product.deleted", id=product.id)
    return Answer(status=204)


@operation(OPERATIONS, "PATCH", "/variants:bulk", "prices", "catalog:write", keyed=True)
def patch_variants(call: Call) -> Answer:
    items = rows(call.body, "items", "")
    kept_to_limit(call.shop, items)
    tasks = [partial(set_price, call.shop, item, f"/items/{index}") for index, item in enumerate(items)]
    return carried_out(call.shop, tasks, items)


def set_price(shop: Shop, item: Mapping[str, Any], at: str) -> Result:
    """One item of a bulk, or one line of a job."""
    found = shop.catalog.variant(text(item, "sku", at))
    if found is None:
        raise Problem("unknown-sku")
    product, variant = found
    price = money(item, "price", at)
    compare_at = optional_money(item, "compare_at_price", at) if "compare_at_price" in item else variant.compare_at
    if compare_at is None and "prices.set" in shop.broken:
        compare_at = variant.compare_at
    if_rev = item.get("if_rev")
    if if_rev is not None and if_rev != str(variant.rev) and "prices.if-rev" not in shop.broken:
        raise Problem("stale-revision", f"It is at {variant.rev}")
    if (price, compare_at) != (variant.price, variant.compare_at):
        change_price(shop, "patchVariants", product, variant, price, compare_at)
    return Result(variant.rev)


def change_price(
    shop: Shop, by: str, product: Product, variant: Variant, price: Decimal, compare_at: Decimal | None
) -> None:
    """The variant has another price; the journal says so."""
    before = {"price": str(variant.price), "compareAtPrice": _text(variant.compare_at)}
    variant.price, variant.compare_at = price, compare_at
    shop.catalog.keep(product, variant)
    detail = {"price": str(price), "compareAtPrice": _text(compare_at), "from": before}
    shop.core.journal.effect(by, variant.sku, detail)
    shop.tell("product.updated", id=product.id)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _known(call: Call) -> Product:
    product = call.shop.catalog.product(call.id)
    if product is None:
        raise Problem("not-found", f"There is no product {call.id}")
    return product


def _shown(shop: Shop, product: Product) -> Answer:
    return Answer(views.product(shop, product), rev=product.rev)


def _replaced(call: Call, before: dict[str, Any]) -> Answer:
    product = _known(call)
    call.matched(product.rev)
    given = {**before, **call.body}
    _fill(call.shop, product, given, patch=bool(before))
    call.shop.catalog.keep(product, *product.variants)
    call.shop.core.journal.effect(call.request.method.lower() + "Product", product.id, {"title": product.title})
    call.shop.tell("product.updated", id=product.id)
    return _shown(call.shop, product)


def _fill(shop: Shop, product: Product, body: Mapping[str, Any], *, patch: bool = False) -> None:
    """Take a product over from what was sent; Problem changes nothing."""
    title, status = text(body, "title", "", 255), choice(body, "status", "", STATUSES, "draft")
    brand, url = optional_text(body, "brand", ""), optional_text(body, "url", "")
    # A patch may leave them out, whatever is new or replaced may not.
    variants = product.variants if patch and "variants" not in body else _variants(shop, product, body)
    gone = {one.sku for one in product.variants} - {one.sku for one in variants}
    product.title, product.status, product.brand, product.url, product.variants = title, status, brand, url, variants
    for sku in gone:
        shop.stock.forget(sku)


def _variants(shop: Shop, product: Product, body: Mapping[str, Any]) -> list[Variant]:
    given = rows(body, "variants", "")
    if not 1 <= len(given) <= 250:
        raise Problem("validation", "A product has 1 to 250 variants", "/variants")
    variants = [_variant(shop, product, row, f"/variants/{index}") for index, row in enumerate(given)]
    if len({one.sku for one in variants}) < len(variants):
        raise Problem("validation", "A SKU is named twice", "/variants")
    return variants


def _variant(shop: Shop, product: Product, row: Mapping[str, Any], at: str) -> Variant:
    sku = text(row, "sku", at)
    taken = shop.catalog.variant(sku)
    if taken is not None and taken[0].id != product.id:
        raise Problem("sku-exists", f"{sku} belongs to another product", f"{at}/sku")
    options = row.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise Problem("validation", "options are texts by name", f"{at}/options")
    mine = taken[1] if taken else None
    return Variant(
        id=mine.id if mine else shop.catalog.next_ids("var"),
        sku=sku,
        title=text(row, "title", at, 255),
        price=money(row, "price", at),
        updated_at=shop.now(),
        rev=mine.rev if mine else 0,
        compare_at=optional_money(row, "compare_at_price", at),
        unit_cost=optional_money(row, "unit_cost", at),
        barcode=optional_text(row, "barcode", at),
        tracked=flag(row, "tracked", at, default=True),
        options=options,
    )
