"""A payment in the parts of its order, a refund in the parts that it gives back: to the minor unit, and tax apart.

What a provider moves is one amount; what it is for stands in the order. Of several payments each has the parts in proportion, and
those that come to the whole order have exactly its parts, whichever of them came to be known first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import floor

from domain.chain import Piece, PieceKind
from domain.charge import ChargeKind
from domain.ids import LineId
from domain.money import Money
from domain.order import Order, OrderLine
from domain.order_parts import OrderPart, split
from domain.refunded import REST

NOTHING = "the order has no parts that anything could be for"
CURRENCIES = "the order was paid in several currencies"


@dataclass(frozen=True, slots=True)
class Share:
    """So much of a payment or refund is for a part of the order; for none where the order has no part for it. `units` are sold or
    given back with it: on shares of goods alone, None where nobody tells."""

    part: OrderPart | None
    amount: Money
    units: int | None = None


@dataclass(frozen=True, slots=True)
class Refunded:
    """A refund as its channel told it, and what each piece of it is of: a line of the order, or none."""

    reference: str
    at: datetime
    pieces: tuple[tuple[OrderLine | None, int, Money], ...]

    @property
    def total(self) -> Decimal:
        """What goes back in all."""
        return sum((money.amount for _, _, money in self.pieces), Decimal(0))


def payments(parts: Sequence[OrderPart], paid: Sequence[Money]) -> list[list[Share]]:
    """The shares of each payment of an order, in the order in which they were made.

    Raises ValueError for parts that come to nothing, and for payments in several currencies, which cannot be added up.
    """
    if len({one.currency for one in paid}) > 1:
        raise ValueError(CURRENCIES)
    whole = _whole(parts, paid)
    if whole is None or whole <= 0:
        raise ValueError(NOTHING)
    shares: list[list[Share]] = []
    before = Decimal(0)
    for one in paid:
        after = before + one.amount
        low, high = _within(before, whole), _within(after, whole)
        found = _between(parts, low, high, whole, one.currency)
        beyond = one.amount - (high - low)
        shares.append([*found, Share(None, Money(beyond, one.currency))] if beyond else found)
        before = after
    return shares


def _whole(parts: Sequence[OrderPart], paid: Sequence[Money]) -> Decimal | None:
    """What all payments come to in the end; of an order in another currency than they are in, what they come to so far."""
    if not parts or not paid:
        return None
    worth = sum((one.amount.amount for one in parts), Decimal(0))
    if worth <= 0 or parts[0].amount.currency == paid[0].currency:
        return worth
    return sum((one.amount for one in paid), Decimal(0))


def _within(amount: Decimal, whole: Decimal) -> Decimal:
    return min(max(amount, Decimal(0)), whole)


def _between(parts: Sequence[OrderPart], low: Decimal, high: Decimal, whole: Decimal, currency: str) -> list[Share]:
    """What lies between two amounts of the whole: so shares that follow each other come to the parts exactly."""
    weights = [one.amount.amount for one in parts]
    before, after = (split(Money(amount, currency), weights) for amount in (low, high))
    shares = []
    for part, first, last in zip(parts, before, after, strict=True):
        amount = Money(last.amount - first.amount, currency)
        units = _units(part, high, whole) - _units(part, low, whole) if part.kind is ChargeKind.GOODS else None
        if amount.amount or units:
            shares.append(Share(part, amount, units if part.line is not None else None))
    return shares


def _units(part: OrderPart, paid: Decimal, whole: Decimal) -> int:
    """The units of a line that are paid when so much of the whole is; those that were canceled are not sold."""
    return 0 if part.line is None else floor(Fraction(paid) / Fraction(whole) * part.line.quantity)


def refunds(
    parts: Sequence[OrderPart], told: Sequence[Refunded], moved: Sequence[tuple[Money, str | None]]
) -> list[list[Share]]:
    """The shares of each refund's payment, in the order in which they were made: an amount below zero, or above where it came
    back, and the channel's id of its refund, where it has one. One that no refund is told for has the parts of the order in
    proportion.

    Raises ValueError as `payments` does.
    """
    if sum((one.amount.amount for one in parts), Decimal(0)) <= 0:
        raise ValueError(NOTHING)
    every = sorted(told, key=lambda one: (one.at, one.reference))
    left = list(every)
    found: list[Refunded | None] = []
    for amount, reference in moved:
        again = amount.amount > 0
        one = next((each for each in (every if again else left) if _is(each, amount, reference)), None)
        if one is not None and not again:
            left.remove(one)
        found.append(one)
    others = [-amount for (amount, _), one in zip(moved, found, strict=True) if one is None]
    rest = iter(payments(parts, others) if others else [])
    return [
        [Share(each.part, -each.amount) for each in next(rest)] if one is None else _given_back(parts, one, amount)
        for (amount, _), one in zip(moved, found, strict=True)
    ]


def _is(one: Refunded, amount: Money, reference: str | None) -> bool:
    if reference is not None:
        return one.reference == reference
    return one.total == abs(amount.amount) and {each.currency for _, _, each in one.pieces} == {amount.currency}


def _given_back(parts: Sequence[OrderPart], one: Refunded, amount: Money) -> list[Share]:
    """The parts of a refund's own lines, and for what is of no line the order's shipping and the like. Of one whose money came
    back the goods may be gone all the same."""
    back = amount.amount < 0
    pieces = (
        [each for each in one.pieces if each[2].amount]
        if one.total > 0
        else [(None, 0, Money(Decimal(1), amount.currency))]
    )
    weights = [each[2].amount for each in pieces]
    shares: list[Share] = []
    for (line, units, _), money in zip(pieces, split(amount, weights), strict=True):
        shares += _of_piece(parts, line, units if back else 0, money)
    return shares


def _of_piece(parts: Sequence[OrderPart], line: OrderLine | None, units: int, amount: Money) -> list[Share]:
    of_line = [each for each in parts if _id(each.line) == _id(line)]
    if sum((each.amount.amount for each in of_line), Decimal(0)) <= 0:
        # Nothing that it could be of: it is of all that was bought.
        of_line, units = list(parts), 0
    amounts = split(amount, [each.amount.amount for each in of_line])
    shares = [
        Share(part, money, units if part.kind is ChargeKind.GOODS and part.line is not None else None)
        for part, money in zip(of_line, amounts, strict=True)
    ]
    return [each for each in shares if each.amount.amount or each.units]


def _id(line: OrderLine | None) -> LineId | None:
    return None if line is None else line.id


def refunds_of(order: Order, pieces: Iterable[Piece]) -> list[Refunded]:
    """The refunds that were kept of an order (`domain.refunded.pieces_of`). One whose money, or whose lines, are not told in full
    is left out."""
    found: defaultdict[str, list[tuple[OrderLine | None, int, Money]]] = defaultdict(list)
    at: dict[str, datetime] = {}
    unclear: set[str] = set()
    for one in pieces:
        if one.kind is not PieceKind.REFUNDED:
            continue
        above, _, name = one.reference.rpartition(":")
        line = None if name == REST else _line_of(order, above)
        reference = above if line is None else above.removesuffix(f":{line.external_id}")
        if one.money is None or (line is None and name != REST):
            unclear.add(reference)
        else:
            # Units that never left are not given back.
            found[reference].append((line, one.units if one.expected else 0, one.money))
            at[reference] = one.at
    return [
        Refunded(name, at[name], tuple(told))
        for name, told in found.items()
        if not any(one == name or one.startswith(f"{name}:") for one in unclear)
    ]


def _line_of(order: Order, above: str) -> OrderLine | None:
    return next((each for each in order.lines if above.endswith(f":{each.external_id}")), None)
