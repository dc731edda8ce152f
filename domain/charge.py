"""What an order costs its buyer, part by part, as its channel tells it: tax always apart, nothing rounded, no refunds in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from domain.money import Money


class ChargeKind(Enum):
    """What a part is for. The words that end in TAX are taxes, `TAX` that of the goods where a channel tells it apart."""

    GOODS = "GOODS"
    DISCOUNT = "DISCOUNT"
    SHIPPING = "SHIPPING"
    SHIPPING_DISCOUNT = "SHIPPING_DISCOUNT"
    GIFT_WRAP = "GIFT_WRAP"
    CASH_ON_DELIVERY = "CASH_ON_DELIVERY"
    DUTY = "DUTY"
    TIP = "TIP"
    OTHER = "OTHER"
    TAX = "TAX"
    DISCOUNT_TAX = "DISCOUNT_TAX"
    SHIPPING_TAX = "SHIPPING_TAX"
    GIFT_WRAP_TAX = "GIFT_WRAP_TAX"
    OTHER_TAX = "OTHER_TAX"

    @property
    def tax(self) -> bool:
        """Whether a state gets it."""
        return self in _TAXES


_TAXES = frozenset(
    {
        ChargeKind.TAX,
        ChargeKind.DISCOUNT_TAX,
        ChargeKind.SHIPPING_TAX,
        ChargeKind.GIFT_WRAP_TAX,
        ChargeKind.OTHER_TAX,
    }
)


@dataclass(frozen=True, slots=True)
class Charge:
    """One part. What the buyer pays less by it is below zero; `contained` says of a tax that the other parts hold it already."""

    kind: ChargeKind
    amount: Money
    contained: bool = False


def charged(charges: Iterable[Charge]) -> Money | None:
    """What the parts come to; None where there is none. Raises Invalid for two currencies."""
    parts = list(charges)
    if not parts:
        return None
    return sum((one.amount for one in parts if not one.contained), Money(Decimal(0), parts[0].amount.currency))


def tax_of(charges: Iterable[Charge]) -> Money | None:
    """The tax in or on the parts; None where there is no part at all, or they are in two currencies."""
    parts = list(charges)
    if len({one.amount.currency for one in parts}) != 1:
        return None
    taxes = [one.amount for one in parts if one.kind.tax]
    return sum(taxes, Money(Decimal(0), parts[0].amount.currency))


def difference(told: Money | None, charges: Iterable[Charge]) -> Money | None:
    """What a channel's own total says beyond the sum of the parts in its currency: zero where they agree to the last digit, None
    where one of both is not told."""
    parts = list(charges)
    if told is None or not parts:
        return None
    of_parts = charged(one for one in parts if one.amount.currency == told.currency)
    return told if of_parts is None else told + -of_parts
