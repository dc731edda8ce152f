"""What the control plane's requests ask of a shop, read and checked before anything changes. Each raises ValueError, saying
what is wrong, and KeyError for what is missing."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from sandbox.buying import Wanted
from sandbox.world import Product, Warehouse, World

PAYMENTS = ("AUTHORIZED", "PAID", "PENDING")
CENT = Decimal("0.01")

Id = TypeVar("Id")
Entry = Mapping[str, Any]
House = Callable[[object], Warehouse | None]
"""A location by its name or its id."""
Order = tuple[list[Wanted], Id | None, Entry]
"""Its lines, its id where one is asked for, and the entry itself."""
Stock = tuple[Product, Warehouse, int, bool]
"""What is to be available of a product, and whether it is kept there at all, with no units if not."""
Price = tuple[Product, Decimal]


def only(entry: Entry, names: Sequence[str]) -> None:
    if unknown := [name for name in entry if name not in names]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(names)}")


def seconds(body: Entry, name: str) -> float:
    """0 where it is left out."""
    value = body.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{name} is a number of seconds")
    return float(value)


def units(value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"a quantity is a whole number of at least {least}")
    return value


def product(world: World, sku: object) -> Product:
    found = world.find(str(sku))
    if found is None:
        raise ValueError(f"there is no SKU {sku!r}")
    return found


def skus(world: World, given: Sequence[object] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(product(world, sku).sku for sku in given)


def amount(given: object) -> Decimal:
    """A price, to the cent."""
    try:
        found = Decimal(str(given)).quantize(CENT)
    except InvalidOperation as problem:
        raise ValueError(f"{given!r} is no amount") from problem
    if not found.is_finite():
        raise ValueError(f"{given!r} is no amount")
    if found < 0:
        raise ValueError("a price is not negative")
    return found


def state(
    body: Entry, world: World, house: House, order: Callable[[Entry], Order[Id]], *, least: int
) -> tuple[list[Stock], list[Order[Id]], list[Price]]:
    """Stock (of at least `least` units), orders and prices that are to be."""
    only(body, ("stock", "orders", "prices"))
    stock = [_stock(entry, world, house, least) for entry in body.get("stock", ())]
    orders = [order(entry) for entry in body.get("orders", ())]
    prices = [_price(entry, world) for entry in body.get("prices", ())]
    ids = [id for _, id, _ in orders if id is not None]
    if len(set(ids)) < len(ids):
        raise ValueError("an order id is asked for twice")
    return stock, orders, prices


def done(stock: Sequence[Stock], orders: Sequence[str], prices: Sequence[Price]) -> dict[str, Any]:
    """What was made of it; orders by their ids."""
    return {
        "stock": [{"sku": each.sku, "location": house.name, "quantity": units} for each, house, units, _ in stock],
        "orders": list(orders),
        "prices": [{"sku": each.sku, "amount": str(amount)} for each, amount in prices],
    }


def lines(entry: Entry, world: World, house: House) -> list[Wanted]:
    """What an order that is to be placed has in it, and that it is paid in a way that there is."""
    if entry.get("financialStatus", "PAID") not in PAYMENTS:
        raise ValueError(f"financialStatus is one of {', '.join(PAYMENTS)}")
    if not entry["lines"]:
        raise ValueError("an order has at least one line")
    wanted = []
    for line in entry["lines"]:
        only(line, ("sku", "quantity", "location", "price"))
        at = _house(line["location"], house) if line.get("location") is not None else None
        price = amount(line["price"]) if line.get("price") is not None else None
        wanted.append(Wanted(product(world, line["sku"]), units(line.get("quantity", 1), 1), at, price))
    return wanted


def refused(wanted: Sequence[Wanted], available: Callable[[Wanted], int]) -> list[dict[str, Any]]:
    """What a buyer wants and cannot get; `available` are the units that one buyer can get."""
    if len({want.product.sku for want in wanted}) < len(wanted):
        raise ValueError("a buyer names a SKU once")
    return [
        {"sku": want.product.sku, "quantity": want.quantity, "available": there}
        for want in wanted
        if (there := available(want)) < want.quantity
    ]


def _house(given: object, house: House) -> Warehouse:
    found = house(given)
    if found is None:
        raise ValueError(f"there is no location {given!r}")
    return found


def _stock(entry: Entry, world: World, house: House, least: int) -> Stock:
    only(entry, ("sku", "location", "quantity", "stocked"))
    stocked = entry.get("stocked", True)
    if not isinstance(stocked, bool):
        raise ValueError("stocked is true or false")
    quantity = units(entry["quantity"], least) if stocked else 0
    return product(world, entry["sku"]), _house(entry["location"], house), quantity, stocked


def _price(entry: Entry, world: World) -> Price:
    only(entry, ("sku", "amount"))
    return product(world, entry["sku"]), amount(entry["amount"])
