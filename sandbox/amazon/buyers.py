"""Buyers at Amazon, and what goes wrong there on demand: under /_sandbox."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox import staging
from sandbox.amazon import desk
from sandbox.amazon.listings import status
from sandbox.amazon.news import fba_shipped, order_changed
from sandbox.amazon.state import Amazon, Order, pool_of
from sandbox.control import answer, endpoint
from sandbox.sale import asked, popular
from sandbox.world import Product


class SoldOut(Exception):
    """A buyer wants more than is offered; `short` says of which SKUs, how many, and how many are left."""

    def __init__(self, short: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(f"{one['left']} of {one['sku']} can be bought, not {one['asked']}" for one in short))
        self.short = short


def buy(amazon: Amazon, body: dict[str, Any]) -> dict[str, Any]:
    """Place a buyer's order against what the listing shows at this moment. Raises SoldOut, which changes nothing.

    The units leave the offer at once, also while the order is pending.
    """
    amazon.settle()
    if strange := set(body) - {"id", "marketplace", "lines", "pending", "shipWithin"}:
        raise ValueError(f"a buyer's order has no {min(strange)!r}")
    pending = _truth(body, "pending", False)
    marketplace = str(body.get("marketplace"))
    parties = {desk.product_in(amazon, entry, marketplace).fulfilled_by for entry in desk.entries_of(body, "lines")}
    if len(parties) > 1:
        raise ValueError("Amazon splits such an order: either Amazon fulfills all of its SKUs or the merchant does")
    entry = {name: value for name, value in body.items() if name != "pending"}
    order = desk.new_order(amazon, {**entry, "fulfilledBy": next(iter(parties), "MERCHANT")})
    if short := _short(amazon, order):
        raise SoldOut(short)
    if pending:
        order.fixed = "PENDING"
        order.lines = [replace(line, unit_price=None) for line in order.lines]
    desk.place(amazon, order, "buy")
    return {
        "order": order.id,
        "status": order.status,
        "left": {line.product.sku: _left(amazon, order, line.product) for line in order.lines},
    }


def sale(amazon: Amazon, body: dict[str, Any]) -> dict[str, Any]:
    """Let buyers come for a while. Of them the share `merchant` wants what the merchant sends, within `shipWithin` seconds."""
    orders, seconds = asked(body, "merchant", "shipWithin")
    share, world = body.get("merchant", 0.1), amazon.world
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError("merchant is a share from 0 to 1")
    if world.size < 10:
        raise ValueError("a sale wants ten products at least")
    within = {"shipWithin": staging.seconds(body, "shipWithin")}

    def buyer(dice: random.Random) -> bool:
        marketplace, ours = dice.choice(world.marketplaces), dice.random() < share
        tens = popular(world, dice).index // 10 * 10
        # Of each ten, the last is sent by the merchant, and the fourth and ninth are Amazon's in every marketplace.
        nth = 9 if ours else dice.choice((3, 8))
        product = world.product(min(tens, (world.size // 10 - 1) * 10) + nth)
        lines = [{"sku": product.sku, "quantity": dice.choice((1, 1, 1, 2))}]
        try:
            buy(amazon, {"marketplace": marketplace, "lines": lines, **within})
        except SoldOut:
            return False
        return True

    amazon.sale.begin(world.seed, orders, seconds, buyer, amazon.notices.kick)
    return amazon.sale.shown()


def move(amazon: Amazon, body: dict[str, Any]) -> dict[str, Any]:
    """A pending order is paid (UNSHIPPED), one that Amazon fulfills leaves (SHIPPED), or an order of which nothing was shipped is
    CANCELLED. With CANCELLATION_WANTED its buyer asks for a cancellation, and nothing else changes.

    A cancelled order's units are offered again; with "restock" false they are not, as when the merchant has none to send.
    """
    amazon.settle()
    if strange := set(body) - {"id", "status", "restock"}:
        raise ValueError(f"there is no {min(strange)!r} to change of an order")
    order = amazon.orders.get(str(body.get("id")))
    if order is None:
        raise ValueError(f"there is no order {body.get('id')!r}")
    was, restock = order.status, _truth(body, "restock", True)
    match body.get("status"), was:
        case "UNSHIPPED", "PENDING":
            order.fixed = "UNSHIPPED" if order.fulfilled_by == "AMAZON" else None
            order.lines = [
                replace(line, unit_price=amazon.price(order.account, line.product, order.marketplace))
                for line in order.lines
            ]
        case "SHIPPED", "UNSHIPPED" if order.fulfilled_by == "AMAZON":
            order.fixed = "SHIPPED"
            for line in order.lines:
                pool = pool_of(order.marketplace)
                reserved = amazon.stock(line.product, pool)[0].reserved_orders
                amazon.put_stock(line.product, pool, reserved_orders=max(0, reserved - line.quantity))
        case "CANCELLATION_WANTED", "UNSHIPPED":
            order.cancellation_wanted = True
        case "CANCELLED", "PENDING" | "UNSHIPPED" if not order.packages:
            order.fixed = "CANCELLED"
            if restock:
                for line in order.lines:
                    desk.take(amazon, order, line, -line.quantity)
        case wanted, _:
            raise ValueError(f"order {order.id} is {was} and cannot become {wanted!r}")
    order.updated_at = amazon.clock.now()
    order_changed(amazon, order)
    if order.status == "SHIPPED":
        fba_shipped(amazon, order)
    amazon.journal.effect("state", order.id, {"order": order.status, "was": was})
    return {"id": order.id, "status": order.status}


def _short(amazon: Amazon, order: Order) -> list[dict[str, Any]]:
    asked = Counter[str]()
    for line in order.lines:
        asked[line.product.sku] += line.quantity
    left = {line.product.sku: _left(amazon, order, line.product) for line in order.lines}
    return [{"sku": sku, "asked": asked[sku], "left": units} for sku, units in left.items() if units < asked[sku]]


def _left(amazon: Amazon, order: Order, product: Product) -> int:
    """Units that a buyer can take now; none of a listing that cannot be bought."""
    if "BUYABLE" not in status(amazon, order.account, product, order.marketplace):
        return 0
    if order.fulfilled_by == "AMAZON":
        return amazon.stock(product, pool_of(order.marketplace))[0].fulfillable
    return amazon.merchant_units(order.account, product) or 0


def _truth(body: dict[str, Any], name: str, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false")
    return value


def disagree(amazon: Amazon, body: dict[str, Any]) -> dict[str, Any]:
    """Let marketplaces report other numbers than the pool they share; replaces all such orders."""
    if set(body) != {"disagreements"}:
        raise ValueError('send "disagreements", a list')
    changed: dict[tuple[str, int], int] = {}
    for entry in desk.entries_of(body, "disagreements"):
        marketplace, units = str(entry.get("marketplace")), entry.get("units")
        product = desk.product_in(amazon, entry, marketplace)
        if product.fulfilled_by != "AMAZON":
            raise ValueError(f"{product.sku} lies in no pool: the merchant fulfills it")
        if isinstance(units, bool) or not isinstance(units, int):
            raise ValueError("units is a whole number, also below 0")
        changed[marketplace, product.index] = units
    amazon.disagreements = changed
    return disagreements(amazon)


def disagreements(amazon: Amazon) -> dict[str, Any]:
    """Those in force."""
    return {
        "disagreements": [
            {"sku": amazon.world.product(index).sku, "marketplace": marketplace, "units": units}
            for (marketplace, index), units in amazon.disagreements.items()
        ]
    }


def ignore(amazon: Amazon, body: dict[str, Any]) -> dict[str, int]:
    """The next `count` patches, of one SKU where named, are accepted and have no effect."""
    if set(body) - {"sku", "count"}:
        raise ValueError('send "count", and a "sku" to mean only its patches')
    sku, count = str(body.get("sku", "*")), body["count"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError("count is a whole number of 0 or more")
    if sku != "*" and amazon.world.find(sku) is None:
        raise ValueError(f"there is no SKU {sku!r}")
    amazon.ignored[sku] = count
    return ignored(amazon)


def ignored(amazon: Amazon) -> dict[str, int]:
    """How many patches are still to be ignored, by SKU; "*" is any."""
    return {sku: count for sku, count in amazon.ignored.items() if count}


def routes(amazon: Amazon) -> list[BaseRoute]:
    """Buyers, disagreements and patches without effect."""
    bought = answer(lambda body: buy(amazon, body))

    async def sold(request: Request) -> Response:
        try:
            return await bought(request)
        except SoldOut as refused:
            return JSONResponse({"error": str(refused), "short": refused.short}, status_code=409)

    return [
        Route("/buy", sold, methods=["POST"]),
        Route("/orders", answer(lambda body: move(amazon, body)), methods=["POST"]),
        Route("/sale", endpoint(lambda _: amazon.sale.shown()), methods=["GET"]),
        Route("/sale", answer(lambda body: sale(amazon, body)), methods=["POST"]),
        Route("/disagreements", endpoint(lambda _: disagreements(amazon)), methods=["GET"]),
        Route("/disagreements", answer(lambda body: disagree(amazon, body)), methods=["POST"]),
        Route("/ignored-patches", endpoint(lambda _: ignored(amazon)), methods=["GET"]),
        Route("/ignored-patches", answer(lambda body: ignore(amazon, body)), methods=["POST"]),
    ]
