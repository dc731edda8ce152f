"""What the control plane tells and changes of a shop: its world, and state set from outside."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from decimal import ROUND_HALF_UP, Decimal
from itertools import islice
from typing import Any

from sandbox import staging
from sandbox.buying import Wanted
from sandbox.shop import till
from sandbox.shop.catalog_calls import change_price
from sandbox.shop.orders import Order
from sandbox.shop.seeding import place_order
from sandbox.shop.state import CENT, Shop
from sandbox.shop.stock import Moods, house_of, location_id
from sandbox.shop.webhooks import Travel
from sandbox.world import WAREHOUSES, Product, Warehouse


def world(shop: Shop, limit: int, offset: int) -> dict[str, Any]:
    """SKUs and open orders, each at most `limit` from `offset` on; open is what can be shipped now."""
    last = min(shop.core.world.size, offset + limit)
    to_ship = (order for order in shop.orders if order.to_ship)
    return {
        "skus": [_sku(shop, shop.core.world.product(item)) for item in range(offset, last)],
        "locations": [{"id": location_id(house), "name": house.name} for house in WAREHOUSES],
        "orders": [_order(order) for order in islice(to_ship, offset, offset + limit)],
    }


def _sku(shop: Shop, product: Product) -> dict[str, Any]:
    found = shop.catalog.variant(product.sku)
    return {
        "sku": product.sku,
        "marketplaces": list(product.marketplaces),
        "fulfilledBy": product.fulfilled_by,
        "productId": found[0].id if found else None,
        "price": str(found[1].price) if found else None,
        "stock": {
            house.name: {"available": level.available, "committed": level.reserved, "onHand": level.on_hand}
            for house in WAREHOUSES
            for level in (shop.stock.level(product.sku, house),)
        },
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "name": f"#{order.number}",
        "status": order.fulfilment.upper(),
        "financialStatus": order.payment.upper(),
        "lines": [
            {
                "id": line.id,
                "sku": line.product.sku,
                "quantity": line.quantity,
                "unshipped": line.left,
                "location": line.house.name,
            }
            for line in order.lines
        ],
    }


def set_state(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Sets stock and prices, places orders; everything is read before anything changes. ValueError says what is wrong."""
    stock, orders, prices = staging.state(
        body, shop.core.world, house_of, lambda entry: _read_order(shop, entry), least=0
    )
    for product, house, quantity, stocked in stock:
        _set_stock(shop, product, house, quantity, stocked=stocked)
    for product, amount in prices:
        found = shop.catalog.variant(product.sku)
        if found is not None and found[1].price != amount:
            change_price(shop, "state", found[0], found[1], amount, found[1].compare_at)
    placed = [_place(shop, wanted, id, entry) for wanted, id, entry in orders]
    return staging.done(stock, [order.id for order in placed], prices)


def buy(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """An order as a buyer places it: all of it, or nothing where the shop does not have it. A line is sold from one location."""
    wanted, id, entry = _read_order(shop, body)
    refused = staging.refused(wanted, lambda want: _to_buy(shop, want))
    order = None if refused else _place(shop, wanted, id, entry)
    return {"order": None if order is None else order.id, "refused": refused}


def _to_buy(shop: Shop, want: Wanted) -> int:
    """Units that one buyer can get: what the fullest location has."""
    sku = want.product.sku
    houses = [house for house in WAREHOUSES if shop.stock.stocks(sku, house) and want.house in (None, house)]
    return max((shop.stock.level(sku, house).available for house in houses), default=0)


def pay_out(shop: Shop, _: dict[str, Any]) -> dict[str, Any]:
    """Pay out everything that is not paid out yet."""
    at = shop.stamp()
    payout = till.pay_out(shop, at, at)
    if payout is None:
        return {"payout": None}
    till.settle(shop, payout)
    shop.tell("payout.paid", id=payout.id)
    return {"payout": payout.id}


def moods(shop: Shop) -> dict[str, Any]:
    """How stock misleads, and how slow the shop is."""
    now = shop.stock.moods
    skus = None if now.skus is None else sorted(now.skus)
    return {"lag": now.lag_s, "ignore": now.ignore, "skus": skus, "slow": now.slow_s, "job": now.job_s}


def set_moods(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Replaces all moods: what `body` leaves out is off."""
    staging.only(body, ("lag", "ignore", "skus", "slow", "job"))
    lag, slow, job = (staging.seconds(body, name) for name in ("lag", "slow", "job"))
    skus = staging.skus(shop.core.world, body.get("skus"))
    shop.stock.moods = Moods(lag, staging.units(body.get("ignore", 0), 0), skus, slow, job)
    return moods(shop)


def travel(shop: Shop) -> dict[str, Any]:
    """How webhooks travel, and how many are under way."""
    return {**asdict(shop.webhooks.travel), "pending": shop.webhooks.pending}


def set_travel(shop: Shop, body: dict[str, Any]) -> dict[str, Any]:
    """Replaces how webhooks travel: what `body` leaves out is usual."""
    staging.only(body, [one.name for one in fields(Travel)])
    usual = asdict(Travel())
    for name, value in body.items():
        if isinstance(value, bool) != isinstance(usual[name], bool) or not isinstance(value, int | float) or value < 0:
            raise ValueError(f"{name} is {type(usual[name]).__name__}")
    shop.webhooks.travel = Travel(**{**usual, **body})
    return travel(shop)


def _read_order(shop: Shop, entry: Mapping[str, Any]) -> tuple[list[Wanted], str | None, Mapping[str, Any]]:
    staging.only(entry, ("id", "lines", "financialStatus", "reservation", "buyer", "shipTo", "addedRate", "service"))
    if not isinstance(entry.get("reservation", ""), str):
        raise ValueError("reservation is a text")
    wanted = staging.lines(entry, shop.core.world, house_of)
    given = entry.get("id")
    if given is not None and (not str(given).startswith("ord_x") or given in shop.order_by_id):
        raise ValueError(f"an order id begins with ord_x and is not taken; {given!r} does not, or is")
    return wanted, None if given is None else str(given), entry


def _place(shop: Shop, wanted: list[Wanted], id: str | None, entry: Mapping[str, Any]) -> Order:
    payment = str(entry.get("financialStatus", "PAID")).lower()
    dice = shop.core.world.random("placed", len(shop.orders))
    order = place_order(shop, wanted, shop.stamp(), dice, id=id, payment=payment)
    order.reservation = entry.get("reservation")
    order.buyer, order.ship_to = dict(entry.get("buyer", {})), dict(entry.get("shipTo", {}))
    order.service = entry.get("service")
    if entry.get("addedRate") is not None:
        order.added_rate = Decimal(str(entry["addedRate"]))
        for line in order.lines:
            net = line.price * line.quantity - line.discount
            line.tax = (net * order.added_rate).quantize(CENT, ROUND_HALF_UP)
    shop.order_feed.touch(order.id, order.updated_at)
    for line in order.lines:
        level = shop.stock.level(line.product.sku, line.house)
        taken = min(line.quantity, level.available)
        shop.stock.change(line.product.sku, line.house, available=-taken, reserved=line.quantity)
        shop.tell("stock.updated", sku=line.product.sku, location_id=location_id(line.house))
    if order.captured:
        till.charged(shop, order, shop.stamp())
    lines = [{"id": line.id, "sku": line.product.sku, "quantity": line.quantity} for line in order.lines]
    shop.core.journal.effect("state", order.id, {"name": f"#{order.number}", "lines": lines})
    shop.tell("order.created", id=order.id)
    return order


def _set_stock(shop: Shop, product: Product, house: Warehouse, quantity: int, *, stocked: bool) -> None:
    """Sets what is available; reserved units stay reserved."""
    key = (product.sku, house.number)
    if stocked:
        shop.stock.unstocked.discard(key)
    else:
        shop.stock.unstocked.add(key)
    before = shop.stock.level(product.sku, house).available
    if before == quantity:
        return
    shop.stock.change(product.sku, house, available=quantity - before)
    detail = {"location": house.name, "name": "available", "from": before, "to": quantity}
    shop.core.journal.effect("state", product.sku, detail)
    shop.tell("stock.updated", sku=product.sku, location_id=location_id(house))
