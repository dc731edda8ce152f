"""Money: an exact amount and its currency. Never a float, never two currencies in one sum."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from domain.errors import Invalid


@dataclass(slots=True, unsafe_hash=True)
class Money:
    """`amount` in major units of the ISO 4217 `currency`, with as many decimals as the source gave."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not self.amount.is_finite():
            raise Invalid(f"{self.amount} is not an amount of money.")
        if len(self.currency) != 3 or not self.currency.isascii() or not self.currency.isupper():
            raise Invalid(f"{self.currency!r} is not an ISO 4217 currency code such as USD.")

    def __add__(self, other: Money) -> Money:
        if self.currency != other.currency:
            raise Invalid(f"{self.currency} and {other.currency} cannot be added; convert one of them first.")
        return Money(self.amount + other.amount, self.currency)

    def __neg__(self) -> Money:
        # Of 0 it is 0, and not a -0 that would be shown as one.
        return Money(0 - self.amount, self.currency)

    def __mul__(self, quantity: int) -> Money:
        return Money(self.amount * quantity, self.currency)


def parse_money(amount: str, currency: str) -> Money:
    """Money from the platform's decimal string. Raises Invalid for anything that is not a plain decimal number."""
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise Invalid(f"{amount!r} is not a decimal number.") from None
    return Money(value, currency)


_WHOLE = frozenset(
    (
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    )
)
_THOUSANDTHS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))


def minor_digits(currency: str) -> int:
    """The decimals of a currency's minor unit, by ISO 4217."""
    return 0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2
