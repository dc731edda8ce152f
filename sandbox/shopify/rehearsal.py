"""What the control plane tells and changes of a shop: its world, and state set from outside."""

import random
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any

from sandbox import staging
from sandbox.buying import Wanted
from sandbox.moods import Moods
from sandbox.sale import asked, popular
from sandbox.shopify import ids
from sandbox.shopify.catalog import style_by_id
from sandbox.shopify.money import price
from sandbox.shopify.orders import Order
from sandbox.shopify.prices import set_terms
from sandbox.shopify.seeding import place_order
from sandbox.shopify.state import Shop
from sandbox.world import WAREHOUSES, Product, Warehouse

BUYER = ("email", "first_name", "last_name", "address1", "city", "zip", "country_code_v2", "phone")
STATUSES = ("ACTIVE", "ARCHIVED", "DRAFT", "UNLISTED")


def world(shop: Shop, limit: int, offset: int) -> dict[str, Any]:
    """SKUs and open orders, each at most `limit` from `offset` on; open is what can be shipped now."""
    shop.finish_jobs()
    last = min(shop.core.world.size, offset + limit)
    open_orders = (order for order in shop.orders if order.open)
    return {
        "skus": [_sku(shop, shop.core.world.product(item)) for item in range(offset, last)],
        "locations": [{"id": ids.gid("Location", house.number), "name": house.name} for house in WAREHOUSES],
        "orders": [_order(order, shop) for order in islice(open_orders, offset, offset + limit)],
    }


def _sku(shop: Shop, product: Product) -> dict[str, Any]:
    return {
        "sku": product.sku,
        "marketplaces": list(product.marketplaces),
        "fulfilledBy": product.fulfilled_by,
        "inventoryItemId": ids.gid("InventoryItem", product.index),
        "productVariantId": ids.gid("ProductVariant", product.index),
        "productId": ids.gid("Product", product.style),
        "price": price(shop.terms_of(product).price),
        "stock": {
            house.name: {"available": level.available, "committed": level.committed, "onHand": level.on_hand}
            for house in WAREHOUSES
            for level in (shop.level(product.index, house),)
        },
    }


def _order(order: Order, shop: Shop) -> dict[str, Any]:
    return {
        "id": order.id,
        "name": order.name,
        "status": order.fulfillment_status(shop.now()),
        "financialStatus": order.financial,
        "lines": [
            {"id": line.id, "sku": line.product.sku, "quantity": line.quantity, "removed": line.removed_quantity}
            for line in order.lines
        ],
        "fulfillmentOrders": [
            {
                "id": work.id,
                "status": work.status,
                "location": work.warehouse.name,
                "locationId": ids.gid("Location", work.warehouse.number),
                "lines": [
                    {"id": line.id, "sku": line.line.product.sku, "quantity": line.remaining} for line in work.lines
                ],
            }
            for work in order.works
        ],
    }


def set_state(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Sets stock and prices, places orders; everything is read before anything changes. ValueError says what is wrong."""
    stock, orders, prices = staging.state(
        body, shop.core.world, _house, lambda entry: _read_order(shop, entry), least=-1_000_000_000
    )
    for product, house, quantity, stocked in stock:
        _set_stock(shop, product, house, quantity, stocked=stocked)
    for product, amount in prices:
        set_terms(shop, "state", product.index, {"price": amount})
    placed = [_place(shop, wanted, number, entry) for wanted, number, entry in orders]
    return staging.done(stock, [order.id for order in placed], prices)


def buy(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """An order as a buyer places it: all of it, or nothing where the shop does not have it. A line is sold from one location.

    Of an item that may be sold when it is out of stock (inventoryPolicy CONTINUE) a buyer gets whatever is wanted.
    """
    wanted, number, entry = _read_order(shop, body)
    refused = staging.refused(wanted, lambda want: _to_buy(shop, want))
    order = None if refused else _place(shop, wanted, number, entry)
    return {"order": None if order is None else order.id, "refused": refused}


def sale(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Let buyers come for a while."""
    orders, seconds = asked(body)
    world = shop.core.world

    def buyer(dice: random.Random) -> bool:
        products = {popular(world, dice).sku for _ in range(dice.choice((1, 1, 2)))}
        lines = [{"sku": sku, "quantity": dice.choice((1, 1, 1, 2))} for sku in sorted(products)]
        return buy(shop, {"lines": lines})["order"] is not None

    shop.sale.begin(world.seed, orders, seconds, buyer, lambda: shop.webhooks.kick(shop))
    return shop.sale.shown()


def _to_buy(shop: Shop, want: Wanted) -> int:
    """Units that one buyer can get: at most what all locations together have, at most what the fullest of them has; as many
    as are wanted where it is sold when out of stock."""
    if shop.terms_of(want.product).inventory_policy == "CONTINUE":
        return want.quantity
    item = want.product.index
    houses = [house for house in WAREHOUSES if shop.stocks(item, house) and want.house in (None, house)]
    fullest = max((shop.level(item, house).available for house in houses), default=0)
    return max(0, min(fullest, shop.available(item)))


def set_status(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """The status of a product (by `productId`). Its variants do not change by it."""
    staging.only(body, ("productId", "status"))
    style = style_by_id(shop, str(body["productId"]))
    if style is None:
        raise ValueError(f"there is no product {body['productId']!r}")
    if body["status"] not in STATUSES:
        raise ValueError(f"status is one of {', '.join(STATUSES)}")
    shop.statuses[style.place] = body["status"]
    shop.touched_styles[style.place] = shop.now()
    return {"productId": style.id, "status": style.status}


def moods(shop: Shop) -> dict[str, Any]:
    """How stock misleads."""
    now = shop.moods
    return {"lag": now.lag_s, "ignore": now.ignore, "skus": None if now.skus is None else sorted(now.skus)}


def set_moods(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Replaces all moods: what `body` leaves out is off."""
    staging.only(body, ("lag", "ignore", "skus"))
    ignore, skus = staging.units(body.get("ignore", 0), 0), staging.skus(shop.core.world, body.get("skus"))
    shop.moods = Moods(staging.seconds(body, "lag"), ignore, skus)
    return moods(shop)


def _house(given: object) -> Warehouse | None:
    """A location by its name or its gid."""
    return next((house for house in WAREHOUSES if given in (house.name, ids.gid("Location", house.number))), None)


def _read_order(shop: Shop, entry: Mapping[str, Any]) -> tuple[list[Wanted], int | None, Mapping[str, Any]]:
    staging.only(
        entry, ("id", "lines", "financialStatus", "tags", "note", "attributes", "buyer", "addedRate", "discount", "tip")
    )
    staging.only(entry.get("buyer", {}), BUYER)
    attributes = entry.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise ValueError("attributes are texts by name")
    wanted = staging.lines(entry, shop.core.world, _house)
    return wanted, _read_id(shop, entry.get("id")), entry


def _read_id(shop: Shop, given: object) -> int | None:
    if given is None:
        return None
    tail = str(given).removeprefix("gid://shopify/Order/")
    if not tail.isascii() or not tail.isdigit():
        raise ValueError(f"an order id is gid://shopify/Order/<number>, not {given!r}")
    number = int(tail)
    # Above the base the shop gives numbers itself.
    if number in shop.order_by_number or number >= ids.BASES["Order"]:
        raise ValueError(f"order id {given!r} is taken; give one below {ids.BASES['Order']}")
    return number


def _place(shop: Shop, wanted: list[Wanted], number: int | None, entry: Mapping[str, Any]) -> Order:
    dice = shop.core.world.random("placed", len(shop.orders))
    order = place_order(
        shop,
        wanted,
        shop.now(),
        dice,
        number=number,
        financial=entry.get("financialStatus", "PAID"),
        seen_at=shop.seen_at(),
    )
    for line, off in zip(order.lines, entry.get("discount", ()), strict=False):
        line.discount = Decimal(str(off))
    order.tip = Decimal(str(entry.get("tip", 0)))
    order.added_rate = None if entry.get("addedRate") is None else Decimal(str(entry["addedRate"]))
    told = dict(entry.get("buyer", {}))
    order.email = told.pop("email", order.email)
    order.address = replace(order.address, **told)
    order.tags += [str(tag) for tag in entry.get("tags", ())]
    order.note = entry.get("note")
    order.attributes |= entry.get("attributes", {})
    lines = [{"id": line.id, "sku": line.product.sku, "quantity": line.quantity} for line in order.lines]
    shop.core.journal.effect("state", order.id, {"name": order.name, "lines": lines})
    return order


def _set_stock(shop: Shop, product: Product, house: Warehouse, quantity: int, *, stocked: bool) -> None:
    """Sets what is available; committed units stay committed."""
    if stocked:
        shop.unstocked.discard((product.index, house.number))
    else:
        shop.unstocked.add((product.index, house.number))
    before = shop.level(product.index, house).available
    if before == quantity:
        return
    shop.change(product.index, house, available=quantity - before)
    detail = {"location": house.name, "name": "available", "from": before, "to": quantity}
    shop.core.journal.effect("state", product.sku, detail)
