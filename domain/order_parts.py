"""An order's charges as parts of a profit: each net of the tax that it holds, and the tax beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.charge import Charge, ChargeKind
from domain.errors import Invalid
from domain.money import Money, minor_digits
from domain.money_class import MoneyClass
from domain.order import Order, OrderLine

CLASSES: Mapping[ChargeKind, MoneyClass] = {
    ChargeKind.GOODS: MoneyClass.SALE,
    ChargeKind.DISCOUNT: MoneyClass.PROMOTION,
    ChargeKind.SHIPPING: MoneyClass.SHIPPING,
    ChargeKind.SHIPPING_DISCOUNT: MoneyClass.PROMOTION,
    ChargeKind.GIFT_WRAP: MoneyClass.GIFT_WRAP,
    ChargeKind.CASH_ON_DELIVERY: MoneyClass.SURCHARGE,
    ChargeKind.DUTY: MoneyClass.SURCHARGE,
    ChargeKind.TIP: MoneyClass.SURCHARGE,
    ChargeKind.OTHER: MoneyClass.SURCHARGE,
    ChargeKind.TAX: MoneyClass.TAX_COLLECTED,
    ChargeKind.DISCOUNT_TAX: MoneyClass.TAX_COLLECTED,
    ChargeKind.SHIPPING_TAX: MoneyClass.TAX_COLLECTED,
    ChargeKind.GIFT_WRAP_TAX: MoneyClass.TAX_COLLECTED,
    ChargeKind.OTHER_TAX: MoneyClass.TAX_COLLECTED,
}
"""What each charge is when it is money."""

_HOLDS: Mapping[ChargeKind, ChargeKind] = {
    ChargeKind.TAX: ChargeKind.GOODS,
    ChargeKind.DISCOUNT_TAX: ChargeKind.DISCOUNT,
    ChargeKind.SHIPPING_TAX: ChargeKind.SHIPPING,
    ChargeKind.GIFT_WRAP_TAX: ChargeKind.GIFT_WRAP,
    ChargeKind.OTHER_TAX: ChargeKind.OTHER,
}


@dataclass(frozen=True, slots=True)
class OrderPart:
    """What an order brings by one line, or by none, of one kind; of all units that were ordered."""

    line: OrderLine | None
    kind: ChargeKind
    amount: Money

    @property
    def money_class(self) -> MoneyClass:
        """What it is when it is money."""
        return CLASSES[self.kind]


def parts_of(order: Order) -> list[OrderPart]:
    """The parts of an order, which add up to what it costs its buyer; none where its channel tells no charges (yet).

    A tax that is contained is taken out of the part that holds it. Where it is told for the whole order, and no part of that
    holds it, the goods of the lines do, each by what it costs. Raises Invalid where no part can hold it, or it is told in
    another currency.
    """
    sums = [_summed(line.charges) for line in order.lines]
    whole = _summed(order.charges)
    for charges, of in [*zip((line.charges for line in order.lines), sums, strict=True), (order.charges, whole)]:
        for one in charges:
            if one.contained:
                _take_out(one, of, sums)
    every: list[tuple[OrderLine | None, dict[ChargeKind, Money]]]
    every = [*zip(order.lines, sums, strict=True), (None, whole)]
    return [
        OrderPart(line, kind, amount)
        for line, of in every
        for kind, amount in of.items()
        # Goods that are given away are sold all the same, for nothing.
        if amount.amount != 0 or (line is not None and kind is ChargeKind.GOODS)
    ]


def _summed(charges: Iterable[Charge]) -> dict[ChargeKind, Money]:
    sums: dict[ChargeKind, Money] = {}
    for one in charges:
        sums[one.kind] = sums[one.kind] + one.amount if one.kind in sums else one.amount
    return sums


def _take_out(tax: Charge, sums: dict[ChargeKind, Money], lines: Sequence[dict[ChargeKind, Money]]) -> None:
    """Take a tax out of what holds it."""
    holder = _HOLDS[tax.kind] if _HOLDS[tax.kind] in sums else ChargeKind.GOODS
    if holder in sums:
        sums[holder] = sums[holder] + -tax.amount
        return
    holding = [one for one in lines if ChargeKind.GOODS in one]
    weights = [
        sum((one[kind].amount for kind in (ChargeKind.GOODS, ChargeKind.DISCOUNT) if kind in one), Decimal(0))
        for one in holding
    ]
    if sum(weights) <= 0:
        raise Invalid("A tax is said to be contained, and there is nothing that holds it.")
    for one, share in zip(holding, split(tax.amount, weights), strict=True):
        one[ChargeKind.GOODS] = one[ChargeKind.GOODS] + -share


def split(amount: Money, weights: Sequence[Decimal]) -> list[Money]:
    """An amount in parts that are in proportion to `weights`, whose sum is above zero: whole minor units, or as many decimals as
    the amount has, that add up to it. What is left over goes to the largest remainders, the first of equals."""
    digits = max(minor_digits(amount.currency), -int(amount.amount.as_tuple().exponent))
    unit = Decimal(1).scaleb(-digits)
    whole = sum(weights, Decimal(0))
    exact = [amount.amount * one / whole for one in weights]
    down = [(one / unit).to_integral_value(rounding="ROUND_FLOOR") * unit for one in exact]
    left = int((amount.amount - sum(down, Decimal(0))) / unit)
    first = sorted(range(len(exact)), key=lambda at: (down[at] - exact[at], at))[:left]
    return [Money(one + unit if at in first else one, amount.currency) for at, one in enumerate(down)]
