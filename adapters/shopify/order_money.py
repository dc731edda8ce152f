"""What an order costs at a shop, in the shop's own currency. Source: Order, LineItem, ShippingLine, TaxLine, DiscountAllocation.

All of it is as the order was placed, or edited: units that were taken out or refunded later are in it. Whether prices hold their
tax is the order's own `taxesIncluded`.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.shopify.wire import MoneyBag
from adapters.wire import Unclear, Wire
from domain.charge import Charge, ChargeKind
from domain.money import Money


class Tax(Wire):
    """One tax on a line or on the shipping."""

    price_set: MoneyBag


class Allocation(Wire):
    """What a discount takes off a line, whether it was for the line or for the whole order."""

    allocated_amount_set: MoneyBag


class MoneyOfLine(Wire):
    """What is told of a line's money."""

    original_total_set: MoneyBag
    discount_allocations: list[Allocation]
    tax_lines: list[Tax]


class Shipping(Wire):
    """All shipping of an order in one."""

    title: str
    original_price_set: MoneyBag
    discounted_price_set: MoneyBag
    tax_lines: list[Tax]


def of_line(line: MoneyOfLine, *, contained: bool) -> tuple[Charge, ...]:
    """The parts of one line; `contained` says whether taxes are in the others. Raises Unclear for what is no money."""
    return (
        Charge(ChargeKind.GOODS, line.original_total_set.money()),
        *(Charge(ChargeKind.DISCOUNT, -one.allocated_amount_set.money()) for one in line.discount_allocations),
        *_taxes(ChargeKind.TAX, line.tax_lines, contained=contained),
    )


def of_order(shipping: Shipping | None, tip: MoneyBag, *, contained: bool) -> tuple[Charge, ...]:
    """What belongs to no line. Raises Unclear likewise."""
    found: list[Charge] = []
    if shipping is not None:
        regular = shipping.original_price_set.money()
        found.append(Charge(ChargeKind.SHIPPING, regular))
        discounted = shipping.discounted_price_set.money()
        if discounted.currency != regular.currency:
            raise Unclear(f"the shipping is told in {regular.currency}, and discounted in {discounted.currency}")
        if (off := discounted + -regular).amount:
            found.append(Charge(ChargeKind.SHIPPING_DISCOUNT, off))
        found += _taxes(ChargeKind.SHIPPING_TAX, shipping.tax_lines, contained=contained)
    if (given := tip.money()).amount:
        found.append(Charge(ChargeKind.TIP, given))
    return tuple(found)


def _taxes(kind: ChargeKind, taxes: Sequence[Tax], *, contained: bool) -> list[Charge]:
    told: Sequence[Money] = [one.price_set.money() for one in taxes]
    return [Charge(kind, one, contained=contained) for one in told]
