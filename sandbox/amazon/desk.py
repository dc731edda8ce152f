"""What the control plane shows and changes at Amazon."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from starlette.routing import BaseRoute, Route

from sandbox.amazon.auth import Account
from sandbox.amazon.inventory import reserved_units
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.query import instant
from sandbox.amazon.seed import item_id, order_id
from sandbox.amazon.state import SHIP_WITHIN, Amazon, Line, Order, money, number, pool_of
from sandbox.control import answer, endpoint
from sandbox.journal import iso
from sandbox.staging import seconds
from sandbox.world import POOLS, Product

Change = Callable[[], None]


def world_answer(amazon: Amazon, limit: int, offset: int) -> dict[str, Any]:
    """SKUs by their number, FBA pools, and open orders by their age."""
    amazon.settle()
    world = amazon.world
    listed = range(world.size) if "US" in world.marketplaces else [i for i in range(world.size) if world.everywhere(i)]
    orders = sorted((order for order in amazon.orders.values() if order.open), key=lambda order: order.created_at)
    pools = dict.fromkeys(pool_of(code) for code in amazon.world.marketplaces)
    return {
        "skus": [_sku(amazon, world.product(index)) for index in listed[offset : offset + limit]],
        "locations": [
            {
                "name": pool,
                "kind": "FBA",
                "marketplaces": [code for code in amazon.world.marketplaces if pool_of(code) == pool],
            }
            for pool in pools
        ],
        "orders": [_order(order) for order in orders[offset : offset + limit]],
        "openOrders": len(orders),
    }


def _sku(amazon: Amazon, product: Product) -> dict[str, Any]:
    accounts = [account for account in amazon.accounts if amazon.listed(account, product)]
    shown: dict[str, Any] = {
        "sku": product.sku,
        "asin": product.asin,
        "ean": product.ean,
        "title": product.title,
        "marketplaces": list(product.marketplaces),
        "fulfilledBy": product.fulfilled_by,
        "prices": {
            code: None if (price := amazon.price(account, product, code)) is None else str(price)
            for account in accounts
            for code in amazon.listed(account, product)
        },
    }
    if product.fulfilled_by == "AMAZON":
        shown["pools"] = {}
        for pool in dict.fromkeys(pool_of(code) for code in product.marketplaces):
            stock = amazon.stock(product, pool)[0]
            shown["pools"][pool] = {
                "fulfillable": stock.fulfillable,
                "reserved": reserved_units(stock),
                "inbound": stock.inbound_working + stock.inbound_shipped + stock.inbound_receiving,
                "researching": stock.researching,
                "unfulfillable": stock.unfulfillable,
            }
    else:
        shown["merchantQuantity"] = {account.region: amazon.merchant_units(account, product) for account in accounts}
    return shown


def _order(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "status": order.status,
        "sellerId": order.account.seller,
        "marketplace": order.marketplace,
        "fulfilledBy": order.fulfilled_by,
        "createdTime": iso(order.created_at),
        "lines": [
            {
                "id": line.id,
                "sku": line.product.sku,
                "quantity": line.quantity,
                "unshipped": line.quantity - order.shipped(line),
            }
            for line in order.lines
        ],
    }


def set_state(amazon: Amazon, body: dict[str, Any]) -> dict[str, Any]:
    """Everything is checked before anything changes; the answer names what was made."""
    if not body or set(body) - {"stock", "orders", "prices"}:
        raise ValueError('send "stock", "orders" or "prices", each a list')
    changes: list[Change] = [_stock(amazon, entry) for entry in entries_of(body, "stock")]
    changes += [_price(amazon, entry) for entry in entries_of(body, "prices")]
    orders = [new_order(amazon, entry, number) for number, entry in enumerate(entries_of(body, "orders"))]
    if len({order.id for order in orders}) < len(orders):
        raise ValueError("two of the orders have the same id")
    for change in changes:
        change()
    for order in orders:
        place(amazon, order)
    return {
        "stock": len(entries_of(body, "stock")),
        "prices": len(entries_of(body, "prices")),
        "orders": [o.id for o in orders],
    }


def entries_of(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects in a control request; ValueError for anything else."""
    entries = body.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{name} is a list of objects")
    return entries


def product_in(amazon: Amazon, entry: dict[str, Any], marketplace: str) -> Product:
    """The product of an entry's "sku". ValueError where it is not listed."""
    product = amazon.world.find(str(entry.get("sku")))
    if product is None or marketplace not in product.marketplaces:
        raise ValueError(f"SKU {entry.get('sku')!r} is not listed in {marketplace}")
    return product


def _account(amazon: Amazon, marketplace: object) -> Account:
    for account in amazon.accounts:
        if marketplace in account.marketplaces:
            return account
    raise ValueError(f"no account sells in {marketplace!r}; there are {', '.join(amazon.world.marketplaces)}")


def _units(entry: dict[str, Any], least: int) -> int:
    units = entry.get("quantity")
    if isinstance(units, bool) or not isinstance(units, int) or units < least:
        raise ValueError(f"quantity is a whole number of {least} or more, not {units!r}")
    return units


def _stock(amazon: Amazon, entry: dict[str, Any]) -> Change:
    """Sets what is fulfillable in an FBA pool, or the merchant quantity of a listing that Amazon does not fulfil."""
    if "location" in entry:
        raise ValueError('own warehouses are not Amazon\'s: name a "marketplace" or a "pool"')
    marketplace = entry.get("marketplace")
    if marketplace is None:
        there = [code for code in amazon.world.marketplaces if POOLS[code] == entry.get("pool")]
        if not there:
            raise ValueError(f'no pool {entry.get("pool")!r}: name a "pool" (US, EU, JP) or a "marketplace"')
        marketplace = there[0]
    account = _account(amazon, marketplace)
    product, units = product_in(amazon, entry, marketplace), _units(entry, 0)

    def change() -> None:
        if product.fulfilled_by == "AMAZON":
            amazon.put_stock(product, pool_of(marketplace), fulfillable=units)
            place = {"pool": pool_of(marketplace)}
        else:
            amazon.put_units(account, product, units)
            place = {"sellerId": account.seller}
        amazon.journal.effect("state", product.sku, {"stock": units, **place})

    return change


def _price(amazon: Amazon, entry: dict[str, Any]) -> Change:
    marketplace = entry.get("marketplace")
    account = _account(amazon, marketplace)
    product = product_in(amazon, entry, str(marketplace))
    try:
        amount = money(entry.get("amount"), str(marketplace))
    except ArithmeticError as problem:
        raise ValueError(f"amount is a number, not {entry.get('amount')!r}") from problem
    if not amount.is_finite() or amount <= 0:
        raise ValueError("amount is above 0")

    def change() -> None:
        place = MARKETPLACES[str(marketplace)]
        offers = amazon.listing(account, product).accepted.get("purchasable_offer", [])
        mine = [o for o in offers if o.get("marketplace_id") == place.id and o.get("audience", "ALL") == "ALL"]
        offer = {
            **(mine[0] if mine else {"marketplace_id": place.id, "currency": place.currency, "audience": "ALL"}),
            "our_price": [{"schedule": [{"value_with_tax": number(amount, str(marketplace))}]}],
        }
        kept = [one for one in offers if one not in mine]
        amazon.put_attribute(account, product, "purchasable_offer", [*kept, offer])
        amazon.journal.effect("state", product.sku, {"price": str(amount), "marketplace": place.code})

    return change


def new_order(amazon: Amazon, entry: dict[str, Any], nth: int = 0) -> Order:
    """An order that is not placed yet, the `nth` of several. ValueError, saying why."""
    if strange := set(entry) - {"id", "marketplace", "fulfilledBy", "lines", "createdTime", "buyer", "shipWithin"}:
        raise ValueError(f"an order has no {min(strange)!r}")
    marketplace = str(entry.get("marketplace"))
    account = _account(amazon, marketplace)
    party = entry.get("fulfilledBy", "MERCHANT")
    if party not in ("MERCHANT", "AMAZON"):
        raise ValueError("fulfilledBy is MERCHANT or AMAZON")
    number = len(amazon.orders) + nth
    chosen = str(entry.get("id") or order_id(number, account))
    if chosen in amazon.orders:
        raise ValueError(f"there is an order {chosen} already")
    now = amazon.clock.now()
    created = instant(str(entry["createdTime"])) if "createdTime" in entry else now
    if created is None or created > now:
        raise ValueError("createdTime is an ISO 8601 time that is not in the future")
    entries = entries_of(entry, "lines")
    if not entries:
        raise ValueError("an order has one line at least")
    lines = []
    for count, line in enumerate(entries):
        product = product_in(amazon, line, marketplace)
        if party == "AMAZON" and product.fulfilled_by != "AMAZON":
            raise ValueError(f"Amazon does not fulfill {product.sku}")
        price = amazon.price(account, product, marketplace)
        extras = {str(name): Decimal(str(shown)) for name, shown in line.get("extras", {}).items()}
        lines.append(Line(item_id(number, count), product, _units(line, 1), price, extras))
    return Order(
        id=chosen,
        account=account,
        marketplace=marketplace,
        fulfilled_by=party,
        lines=lines,
        created_at=created,
        updated_at=created,
        fixed="UNSHIPPED" if party == "AMAZON" else None,
        buyer=number,
        person={str(name): str(told) for name, told in entry.get("buyer", {}).items()},
        ship_within=timedelta(seconds=seconds(entry, "shipWithin")) or SHIP_WITHIN,
    )


def place(amazon: Amazon, order: Order, operation: str = "state") -> None:
    """The order, and its units out of what can be sold: reserved where Amazon holds them, gone where the merchant does."""
    amazon.orders[order.id] = order
    for line in order.lines:
        take(amazon, order, line, line.quantity)
    amazon.notices.order_changed(order)
    amazon.journal.effect(
        operation,
        order.id,
        {
            "order": "placed",
            "marketplace": order.marketplace,
            "fulfilledBy": order.fulfilled_by,
            "lines": [{"id": line.id, "sku": line.product.sku, "quantity": line.quantity} for line in order.lines],
        },
    )


def take(amazon: Amazon, order: Order, line: Line, units: int) -> None:
    """Units of a line out of what can be sold, as far as there are any; a negative number puts them back."""
    if order.fulfilled_by == "AMAZON":
        pool = pool_of(order.marketplace)
        stock = amazon.stock(line.product, pool)[0]
        taken = min(units, stock.fulfillable)
        amazon.put_stock(
            line.product,
            pool,
            fulfillable=stock.fulfillable - taken,
            reserved_orders=max(0, stock.reserved_orders + taken),
        )
    elif (there := amazon.merchant_units(order.account, line.product)) is not None:
        amazon.put_units(order.account, line.product, max(0, there - units))


def _restand(amazon: Amazon, account: Account, before: str) -> None:
    """Tell that an account stands otherwise; the notification does not say whose it is."""
    told = {"previousAccountStatus": before, "currentAccountStatus": account.standing}
    payload = {"accountStatusChangeNotification": told}
    amazon.notices.tell(account.seller, "ACCOUNT_STATUS_CHANGED", payload, camel=True)
    amazon.journal.effect("state", account.seller, {"standing": account.standing, "was": before})


def routes(amazon: Amazon) -> list[BaseRoute]:
    """Accounts and plans, which only Amazon has."""

    def set_plans(body: dict[str, Any]) -> dict[str, Any]:
        amazon.plans.replace(body)
        return amazon.plans.shown()

    def change_account(body: dict[str, Any]) -> dict[str, Any]:
        before = {account.seller: account.standing for account in amazon.accounts}
        shown = amazon.login.change(body)
        for account in amazon.accounts:
            if account.standing != before[account.seller]:
                _restand(amazon, account, before[account.seller])
        return shown

    return [
        Route("/accounts", endpoint(lambda _: amazon.login.shown()), methods=["GET"]),
        Route("/accounts", answer(change_account), methods=["POST"]),
        Route("/plans", endpoint(lambda _: amazon.plans.shown()), methods=["GET"]),
        Route("/plans", answer(set_plans), methods=["POST"]),
    ]
