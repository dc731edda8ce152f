"""Reading Amazon's JSON: field names in camelCase, unknown fields left aside, money as decimal strings."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, NonNegativeInt, ValidationError
from pydantic.alias_generators import to_camel

from domain.errors import Invalid
from domain.ids import ChannelId
from domain.money import Money
from domain.product import Rejected

# What a buyer wrote or ordered to be made, wherever it stands: not ours to keep, not even in quarantine.
PRIVATE = frozenset({"buyer", "recipient", "giftMessage", "customization", "cancelReason"})


class Unclear(Exception):
    """An item that says something we do not understand; the text is the reason, for people."""


class Wire(BaseModel):
    """Base of everything read from Amazon."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


def _text_only(value: object) -> object:
    # A JSON number has lost its decimals already.
    if not isinstance(value, str):
        raise ValueError("should be a decimal number in a string")
    return value


Count = NonNegativeInt
Instant = AwareDatetime
Amount = Annotated[Decimal, BeforeValidator(_text_only)]


class Price(Wire):
    """Amazon's Money."""

    amount: Amount
    currency_code: str

    def money(self) -> Money:
        """Raises Unclear for what is no currency."""
        try:
            return Money(self.amount, self.currency_code)
        except Invalid as problem:
            raise Unclear(problem.message) from problem


class Pagination(Wire):
    """Missing, null and empty tokens all mean the last page."""

    next_token: str | None = None


W = TypeVar("W", bound=Wire)


def read(model: type[W], raw: object) -> W:
    """`raw` as a `model`. Raises Unclear, naming the first fields that are wrong, never their contents."""
    try:
        return model.model_validate(raw)
    except ValidationError as problem:
        faults = problem.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults[:3])
        raise Unclear(told + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")) from problem


def rejected(channel: ChannelId, what: str, key_field: str, raw: object, problem: Unclear) -> Rejected:
    """`raw` for the quarantine, by what stands in its `key_field`; without what belongs to the buyer."""
    key = raw.get(key_field) if isinstance(raw, dict) else None
    return Rejected(
        channel, what, str(key or "?"), str(problem), json.dumps(_public(raw), default=str, ensure_ascii=False)
    )


def _public(raw: object) -> object:
    if isinstance(raw, dict):
        return {name: _public(value) for name, value in raw.items() if name not in PRIVATE}
    if isinstance(raw, list):
        return [_public(value) for value in raw]
    return raw
