"""What buyers want of a shop: the very same orders in each shop's sandbox, "of all kinds", with more than half to be shipped."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sandbox.control import Core
from sandbox.world import WAREHOUSES, Product, Warehouse, World

KINDS = (
    # kind, its share in a hundred
    ("paid", 36),
    ("split", 10),
    ("pending", 6),
    ("partial", 8),
    ("on_hold", 5),
    ("fulfilled", 25),
    ("cancelled", 7),
    ("refunded", 3),
)
DAYS = 30
_CARRIERS = ("DHL Express", "UPS", "FedEx", "USPS")

Free = Callable[[Product, Warehouse], int]
"""Units that can be bought of a product in a warehouse."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One line of an order that comes in; `house` None lets the shop choose."""

    product: Product
    quantity: int
    house: Warehouse | None = None
    price: Decimal | None = None


def past_orders(core: Core) -> Iterator[tuple[random.Random, str, datetime]]:
    """Dice, kind and instant of each order that a shop starts with: oldest first, all before the clock's start."""
    count = core.world.shopify_orders
    kinds, shares = [kind for kind, _ in KINDS], [share for _, share in KINDS]
    for place in range(count):
        dice = core.world.random("shopify-order", place)
        age = timedelta(days=DAYS) * (1 - (place + dice.random()) / max(1, count))
        yield dice, dice.choices(kinds, shares)[0], core.clock.start - age


def basket(world: World, dice: random.Random, kind: str, free: Free) -> list[Wanted]:
    """The lines of an order of that kind, each of another product."""
    count = dice.choice((1, 1, 1, 2, 2, 3, 5)) if kind != "split" else dice.choice((2, 2, 3, 4))
    wanted: dict[int, Wanted] = {}
    for turn in range(count):
        units = dice.choice((2, 3)) if kind == "partial" and not turn else dice.choice((1, 1, 1, 2, 3))
        want = _want(world, dice, units, WAREHOUSES[turn % len(WAREHOUSES)] if kind == "split" else None, free)
        wanted.setdefault(want.product.index, want)
    return list(wanted.values())


def houses(dice: random.Random, wanted: Sequence[Wanted], free: Free) -> Iterator[Warehouse]:
    """Where each line is sold from: where it is wanted, else where there is enough of it, else anywhere."""
    first = dice.randrange(len(WAREHOUSES))
    choice = [*WAREHOUSES[first:], *WAREHOUSES[:first]]
    for want in wanted:
        able = (house for house in choice if free(want.product, house) >= want.quantity)
        yield want.house or next(able, choice[0])


def later(dice: random.Random, at: datetime, start: datetime) -> datetime:
    """When an order of `at` has come on: hours after it, and before `start`."""
    return max(at, min(at + timedelta(hours=dice.uniform(2, 40)), start - timedelta(minutes=1)))


def tracking(dice: random.Random) -> tuple[str, str, str]:
    """Carrier, tracking number and its page."""
    number = f"{dice.choice(('JD', '1Z', 'CX'))}{dice.randrange(10**9):09d}"
    return dice.choice(_CARRIERS), number, f"https://track.example.test/{number}"


def _want(world: World, dice: random.Random, units: int, house: Warehouse | None, free: Free) -> Wanted:
    """Something the shop still has enough of, in `house` or anywhere; in a very small shop perhaps not."""
    there = WAREHOUSES if house is None else (house,)
    for _ in range(30):
        product = world.listed(dice)
        if any(free(product, each) >= units for each in there):
            break
    return Wanted(product, units, house)
