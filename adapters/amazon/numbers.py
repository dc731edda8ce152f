"""Money as pricing, fees and finances write it: JSON numbers, where other parts of Amazon's API write text. They are read digit
by digit, so that no amount goes through a float on its way in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Annotated

import orjson
from pydantic import BeforeValidator, ConfigDict
from pydantic.alias_generators import to_pascal

from adapters.wire import Wire
from domain.errors import Invalid
from domain.money import Money
from domain.offer import Points
from domain.product import FulfilledBy

# Currencies without decimals: 1200.0 is how a JSON number says 1200.
_WHOLE = frozenset({"JPY"})
_BY = {"AFN": FulfilledBy.CHANNEL, "Amazon": FulfilledBy.CHANNEL}
_BY |= {"MFN": FulfilledBy.MERCHANT, "Merchant": FulfilledBy.MERCHANT}


class Pascal(Wire):
    """Base of what Amazon writes LikeThis."""

    model_config = ConfigDict(alias_generator=to_pascal, frozen=True)


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("should be a number")
    return Decimal(value)


def _cash(raw: object) -> Money:
    if not isinstance(raw, Mapping):
        raise ValueError("should be an amount with its currency")
    amount = _number(_first(raw, ("amount", "Amount", "currencyAmount")))
    currency = _first(raw, ("currencyCode", "CurrencyCode"))
    if currency in _WHOLE and amount == amount.to_integral_value():
        amount = amount.to_integral_value()
    try:
        return Money(amount, str(currency))
    except Invalid as problem:
        raise ValueError(problem.message) from problem


def _points(raw: object) -> Points:
    if not isinstance(raw, Mapping):
        raise ValueError("should be points")
    count, value = (
        _first(raw, ("pointsNumber", "PointsNumber")),
        _first(raw, ("pointsMonetaryValue", "PointsMonetaryValue")),
    )
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError("should be a number of points")
    return Points(count, None if value is None else _cash(value))


def _fulfilled_by(word: object) -> FulfilledBy:
    if word not in _BY:
        raise ValueError("should say fulfillment by Amazon (AFN) or by the merchant (MFN)")
    return _BY[str(word)]


def _first(raw: Mapping[str, object], names: Iterable[str]) -> object:
    return next((raw[name] for name in names if name in raw), None)


Number = Annotated[Decimal, BeforeValidator(_number)]
# An amount and its currency, under each of the names that Amazon has for the two.
Cash = Annotated[Money, BeforeValidator(_cash)]
# Amazon Points, which are a thing of Japan.
PointsGiven = Annotated[Points, BeforeValidator(_points)]
Fulfillment = Annotated[FulfilledBy, BeforeValidator(_fulfilled_by)]


def sent(amount: Decimal) -> float:
    """`amount` as JSON has it. Raises Invalid for one that would not arrive digit by digit."""
    told = float(amount)
    if not isfinite(told) or Decimal(orjson.dumps(told).decode()) != amount:
        raise Invalid(f"{amount} cannot be written as a JSON number without changing it.")
    return told
