"""Reading a platform's JSON: field names in camelCase, unknown fields left aside, money as decimal strings."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from domain.errors import Invalid
from domain.money import Money


class Unclear(Exception):
    """A thing that says something we do not understand; the text is the reason, for people."""


class Wire(BaseModel):
    """Base of everything read from a platform. What is wrong with one is told without showing it, also in the error behind an
    Unclear: it may hold people."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, hide_input_in_errors=True)


def _text_only(value: object) -> object:
    # A JSON number has lost its decimals already.
    if not isinstance(value, str):
        raise ValueError("should be a decimal number in a string")
    return value


Amount = Annotated[Decimal, BeforeValidator(_text_only)]


class Price(Wire):
    """An amount and its currency."""

    amount: Amount
    currency_code: str

    def money(self) -> Money:
        """Raises Unclear for what is no money."""
        return money(self.amount, self.currency_code)


def money(amount: Decimal, currency: str) -> Money:
    """Raises Unclear for what is no money."""
    try:
        return Money(amount, currency)
    except Invalid as problem:
        raise Unclear(problem.message) from problem


W = TypeVar("W", bound=BaseModel)


def read(model: type[W], raw: object) -> W:
    """`raw` as a `model`. Raises Unclear, naming the first fields that are wrong, never their contents."""
    try:
        return model.model_validate(raw)
    except ValidationError as problem:
        faults = problem.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults[:3])
        raise Unclear(told + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")) from problem
