"""Money in two columns: `<name>_amount` and `<name>_currency`."""

from __future__ import annotations

from decimal import Decimal

from domain.money import Money


def columns(name: str, value: Money | None) -> dict[str, Decimal | str | None]:
    """`value` as the two columns."""
    return {
        f"{name}_amount": None if value is None else value.amount,
        f"{name}_currency": None if value is None else value.currency,
    }


def value(amount: Decimal | None, currency: str | None) -> Money | None:
    """The two columns as one value."""
    return None if amount is None or currency is None else Money(amount, currency)
