"""Exact, of one currency, and finite."""

from decimal import Decimal

import pytest

from domain.errors import Invalid
from domain.money import Money, parse_money


def test_amounts_keep_every_digit() -> None:
    assert parse_money("0.10", "EUR") + parse_money("0.20", "EUR") == Money(Decimal("0.30"), "EUR")
    assert str(parse_money("1980", "JPY").amount) == "1980"
    assert (parse_money("19.99", "USD") * 3).amount == Decimal("59.97")


def test_two_currencies_are_never_added() -> None:
    with pytest.raises(Invalid, match="EUR and USD cannot be added"):
        parse_money("1", "EUR") + parse_money("1", "USD")


@pytest.mark.parametrize("amount", ["", "1,5", "NaN", "Infinity", "1.234,56", "abc"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(Invalid):
        parse_money(amount, "EUR")


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "€"])
def test_what_is_no_currency_is_refused(currency: str) -> None:
    with pytest.raises(Invalid, match="ISO 4217"):
        parse_money("1", currency)
