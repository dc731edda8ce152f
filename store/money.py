"""Money in two columns: `<name>_amount` and `<name>_currency`; and the parts of a price in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from domain.charge import Charge, ChargeKind
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


def parts(charges: Iterable[Charge]) -> list[list[object]]:
    """As JSON values: kind, amount and currency, and true behind them for a tax that other parts contain."""
    return [
        [one.kind.value, f"{one.amount.amount:f}", one.amount.currency, *([True] if one.contained else [])]
        for one in charges
    ]


def charges(parts: Sequence[Sequence[str]]) -> tuple[Charge, ...]:
    """The same again."""
    return tuple(
        Charge(ChargeKind(kind), Money(Decimal(amount), currency), contained=bool(contained))
        for kind, amount, currency, *contained in parts
    )
