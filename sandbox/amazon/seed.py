"""The orders a world starts with, and how an order gets its numbers."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random

from sandbox.amazon.auth import Account
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.state import Amazon, Line, Order, Package, Refund, money
from sandbox.clock import to_ms
from sandbox.world import Product

CARRIERS = {"NA": ("UPS", "Ground", "1Z"), "EU": ("DHL", "DHL Paket", "0034"), "FE": ("YAMATO", "TA-Q-BIN", "48")}

_SHARES = {"NA": 4, "EU": 4, "FE": 1}

_KINDS = (
    *(["UNSHIPPED MERCHANT"] * 9),
    *(["PARTIALLY_SHIPPED MERCHANT"] * 2),
    *(["SHIPPED MERCHANT"] * 2),
    *(["SHIPPED AMAZON"] * 3),
    "UNSHIPPED AMAZON",
    "PENDING",
    "CANCELLED",
    "RARE",
)
"""Of each twenty orders of an account."""


def fill(amazon: Amazon) -> None:
    """Put the world's orders in place."""
    for number, account in enumerate(_turns(amazon)):
        order = _order(amazon, account, number)
        amazon.orders[order.id] = order


def order_id(number: int, account: Account) -> str:
    """3-7-7 digits, another for each number."""
    first = {"NA": 112, "EU": 304, "FE": 250}[account.region]
    digits = f"{_spread(number):014d}"
    return f"{first}-{digits[:7]}-{digits[7:]}"


def item_id(number: int, place: int) -> str:
    """14 digits, another for each line of each order."""
    return f"{_spread(number * 100 + place + 50_000_000_017):014d}"


def _spread(number: int) -> int:
    # One to one modulo 10^14: the factor shares no divisor with it.
    return (number * 48_271_000_003 + 31_415_926_535) % 10**14


def _turns(amazon: Amazon) -> Iterator[Account]:
    present = [account for account in amazon.accounts if account.marketplaces]
    cycle = [account for account in present for _ in range(_SHARES[account.region])]
    return (cycle[number % len(cycle)] for number in range(amazon.world.amazon_orders))


def _order(amazon: Amazon, account: Account, number: int) -> Order:
    dice = amazon.world.random("amazon order", number)
    status, _, party = _kind(amazon, account, number).partition(" ")
    if status == "RARE":
        status, party = ("PENDING_AVAILABILITY", "MERCHANT") if number % 2 else ("UNFULFILLABLE", "AMAZON")
    party = party or dice.choice(("MERCHANT", "AMAZON"))
    marketplace = dice.choice(account.marketplaces)
    lines = _lines(amazon, dice, number, marketplace, party, status)
    created = amazon.clock.start - timedelta(seconds=dice.randint(900, 30 * 86_400))
    fixed = None if party == "MERCHANT" and status in ("UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED") else status
    order = Order(
        id=order_id(number, account),
        account=account,
        marketplace=marketplace,
        fulfilled_by=party,
        lines=lines,
        created_at=created,
        updated_at=to_ms(created + (amazon.clock.start - created) * dice.random()),
        fixed=fixed,
        service_level=dice.choice(("STANDARD", "STANDARD", "EXPEDITED", "SECOND_DAY", "NEXT_DAY")),
        programs=("PRIME",) if dice.random() < 0.2 else ("AMAZON_BUSINESS",) if dice.random() < 0.1 else (),
        channel="NON_AMAZON" if status == "UNFULFILLABLE" else "AMAZON",
        buyer=number,
        cancelled_by=dice.choice(("BUYER", "MERCHANT", "AMAZON")),
    )
    if status in ("SHIPPED", "PARTIALLY_SHIPPED") and party == "MERCHANT":
        _pack(order, dice, partly=status == "PARTIALLY_SHIPPED")
    if status == "SHIPPED":
        _refund(amazon, order)
    return order


def _kind(amazon: Amazon, account: Account, number: int) -> str:
    """The kind by the order's place among its account's, each twenty shuffled by themselves."""
    shares = [(one.region, _SHARES[one.region]) for one in amazon.accounts if one.marketplaces]
    before = 0
    for region, share in shares:
        if region == account.region:
            break
        before += share
    turn, place = divmod(number, sum(share for _, share in shares))
    mine = turn * _SHARES[account.region] + place - before
    deck = list(_KINDS)
    amazon.world.random("amazon kinds", account.region, mine // len(deck)).shuffle(deck)
    return deck[mine % len(deck)]


def _lines(amazon: Amazon, dice: Random, number: int, marketplace: str, party: str, status: str) -> list[Line]:
    count = dice.choice((1, 1, 1, 2, 2, 3, 4))
    chosen: dict[int, Product] = {}
    for _ in range(50):
        product = amazon.world.listed(dice, marketplace)
        if party == "MERCHANT" or product.fulfilled_by == "AMAZON":
            chosen.setdefault(product.index, product)
        if len(chosen) == count:
            break
    priced = status not in ("PENDING", "PENDING_AVAILABILITY")
    lines = []
    for place, product in enumerate(chosen.values()):
        price = money(product.prices[MARKETPLACES[marketplace].currency], marketplace)
        least = 2 if status == "PARTIALLY_SHIPPED" and not place else 1
        quantity = max(least, dice.choice((1, 1, 1, 2, 3)))
        lines.append(Line(item_id(number, place), product, quantity, price if priced else None))
    return lines


def _pack(order: Order, dice: Random, *, partly: bool) -> None:
    items = {line.id: line.quantity for line in order.lines}
    if partly:
        # The first line has two units at least, so one of them leaves something to ship.
        items = {order.lines[0].id: 1}
    carrier, service, prefix = CARRIERS[order.account.region]
    package = Package(
        reference="1",
        carrier=carrier,
        service=service,
        tracking=f"{prefix}{dice.randrange(10**14):014d}",
        shipped_at=order.updated_at,
        created_at=order.updated_at,
        shown_at=order.updated_at,
        items=items,
    )
    order.packages["1"] = order.visible["1"] = package


def _refund(amazon: Amazon, order: Order) -> None:
    """A unit of each fifth shipped order comes back, some of them only in the days to come."""
    dice = amazon.world.random("amazon refund", order.id)
    if dice.random() < 0.2:
        back_at = to_ms(order.updated_at + timedelta(seconds=dice.randint(86_400, 14 * 86_400)))
        order.refunds.append(Refund(back_at, {order.lines[0].id: 1}))
