"""What the control plane tells and changes of a shop: its world, and state set from outside."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from sandbox.shopify import ids, money
from sandbox.shopify.money import price
from sandbox.shopify.orders import Order
from sandbox.shopify.prices import set_terms
from sandbox.shopify.seeding import Wanted, place_order
from sandbox.shopify.state import Moods, Shop
from sandbox.world import WAREHOUSES, Product, Warehouse

FINANCIAL = ("AUTHORIZED", "PAID", "PENDING")


def world(shop: Shop, limit: int, offset: int) -> dict[str, Any]:
    """SKUs and open orders, each at most `limit` from `offset` on; open is what can be shipped now."""
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
        "lines": [{"id": line.id, "sku": line.product.sku, "quantity": line.quantity} for line in order.lines],
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
    _only(body, ("stock", "orders", "prices"))
    stock = [_read_stock(shop, entry) for entry in body.get("stock", ())]
    orders = [_read_order(shop, entry) for entry in body.get("orders", ())]
    prices = [_read_price(shop, entry) for entry in body.get("prices", ())]
    numbers = [number for _, number, _ in orders if number is not None]
    if len(set(numbers)) < len(numbers):
        raise ValueError("an order id is asked for twice")
    for product, house, quantity, stocked in stock:
        _set_stock(shop, product, house, quantity, stocked=stocked)
    for product, amount in prices:
        set_terms(shop, "state", product.index, {"price": amount})
    placed = [_place(shop, wanted, number, entry) for wanted, number, entry in orders]
    return {
        "stock": [
            {"sku": product.sku, "location": house.name, "quantity": quantity} for product, house, quantity, _ in stock
        ],
        "orders": [order.id for order in placed],
        "prices": [{"sku": product.sku, "amount": price(amount)} for product, amount in prices],
    }


def buy(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """An order as a buyer places it: all of it, or nothing where the shop does not have it. A line is sold from one location.

    Of an item that may be sold when it is out of stock (inventoryPolicy CONTINUE) a buyer gets whatever is wanted.
    """
    wanted, number, entry = _read_order(shop, body)
    skus = [want.product.sku for want in wanted]
    if len(set(skus)) < len(skus):
        raise ValueError("a buyer names a SKU once")
    refused = [
        {"sku": want.product.sku, "quantity": want.quantity, "available": available}
        for want in wanted
        for available in (_to_buy(shop, want),)
        if available < want.quantity and shop.terms_of(want.product).inventory_policy == "DENY"
    ]
    order = None if refused else _place(shop, wanted, number, entry)
    return {"order": None if order is None else order.id, "refused": refused}


def _to_buy(shop: Shop, want: Wanted) -> int:
    """Units that one buyer can get: at most what all locations together have, at most what the fullest of them has."""
    item = want.product.index
    houses = [house for house in WAREHOUSES if shop.stocks(item, house) and want.warehouse in (None, house)]
    fullest = max((shop.level(item, house).available for house in houses), default=0)
    return max(0, min(fullest, shop.available(item)))


def moods(shop: Shop) -> dict[str, Any]:
    """How stock misleads."""
    now = shop.moods
    skus = None if now.items is None else [shop.core.world.product(item).sku for item in sorted(now.items)]
    return {"lag": now.lag_s, "ignore": now.ignore, "skus": skus}


def set_moods(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Replaces all moods: what `body` leaves out is off."""
    _only(body, ("lag", "ignore", "skus"))
    lag = body.get("lag", 0)
    if isinstance(lag, bool) or not isinstance(lag, int | float) or lag < 0:
        raise ValueError("lag is a number of seconds")
    skus = body.get("skus")
    items = None if skus is None else frozenset(_product(shop, {"sku": sku}).index for sku in skus)
    shop.moods = Moods(float(lag), _units(body.get("ignore", 0), 0), items)
    return moods(shop)


def _only(entry: Mapping[str, Any], names: Sequence[str]) -> None:
    if unknown := [name for name in entry if name not in names]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(names)}")


def _product(shop: Shop, entry: Mapping[str, Any]) -> Product:
    product = shop.core.world.find(str(entry["sku"]))
    if product is None:
        raise ValueError(f"there is no SKU {entry['sku']!r}")
    return product


def _house(given: object) -> Warehouse:
    """A location by its name or its gid."""
    for house in WAREHOUSES:
        if given in (house.name, ids.gid("Location", house.number)):
            return house
    raise ValueError(f"there is no location {given!r}")


def _units(value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"a quantity is a whole number of at least {least}")
    return value


def _read_stock(shop: Shop, entry: Mapping[str, Any]) -> tuple[Product, Warehouse, int, bool]:
    """What is to be available of a product, and whether it is stocked there at all, with no units if not."""
    _only(entry, ("sku", "location", "quantity", "stocked"))
    stocked = entry.get("stocked", True)
    if not isinstance(stocked, bool):
        raise ValueError("stocked is true or false")
    quantity = _units(entry["quantity"], -1_000_000_000) if stocked else 0
    return _product(shop, entry), _house(entry["location"]), quantity, stocked


def _read_price(shop: Shop, entry: Mapping[str, Any]) -> tuple[Product, Decimal]:
    _only(entry, ("sku", "amount"))
    amount = money.parse(entry["amount"]).quantize(money.CENT)
    if amount < 0:
        raise ValueError("a price is not negative")
    return _product(shop, entry), amount


def _read_order(shop: Shop, entry: Mapping[str, Any]) -> tuple[list[Wanted], int | None, Mapping[str, Any]]:
    _only(entry, ("id", "lines", "financialStatus", "tags", "note", "attributes"))
    if entry.get("financialStatus", "PAID") not in FINANCIAL:
        raise ValueError(f"financialStatus is one of {', '.join(FINANCIAL)}")
    attributes = entry.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise ValueError("attributes are texts by name")
    if not entry["lines"]:
        raise ValueError("an order has at least one line")
    wanted = []
    for line in entry["lines"]:
        _only(line, ("sku", "quantity", "location", "price"))
        house = _house(line["location"]) if line.get("location") is not None else None
        amount = money.parse(line["price"]) if line.get("price") is not None else None
        wanted.append(Wanted(_product(shop, line), _units(line.get("quantity", 1), 1), house, amount))
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
