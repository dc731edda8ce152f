"""Amounts as the platform writes them: `Money` keeps two decimals ("26.90"), `MoneyV2.amount` drops zeros ("26.9")."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

SHOP_CURRENCY = "USD"
RATES = {"USD": Decimal(1), "EUR": Decimal("0.92"), "JPY": Decimal(150)}
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class MoneyV2:
    amount: str
    currency_code: str


@dataclass(frozen=True, slots=True)
class MoneyBag:
    shop_money: MoneyV2
    presentment_money: MoneyV2


def bag(amount: Decimal, presentment: str) -> MoneyBag:
    """`amount` in the shop's currency, and what the buyer saw."""
    shown = amount * RATES[presentment]
    return MoneyBag(money(amount, SHOP_CURRENCY), money(shown, presentment))


def money(amount: Decimal, currency: str) -> MoneyV2:
    rounded = amount.quantize(Decimal(1) if currency == "JPY" else CENT)
    text = f"{rounded:f}"
    whole, _, part = text.partition(".")
    return MoneyV2(f"{whole}.{part.rstrip('0') or '0'}", currency)


def price(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount.quantize(CENT):f}"


def parse(value: object) -> Decimal:
    """A `Money` or `Decimal` input, string or number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("an amount is a string or a number")
    try:
        amount = Decimal(str(value))
    except InvalidOperation as problem:
        raise ValueError(f"{value!r} is no amount") from problem
    if not amount.is_finite() or abs(amount) >= Decimal(10) ** 16:
        raise ValueError(f"{value!r} is no amount")
    return amount
