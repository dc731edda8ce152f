"""What the JSON of the contract has of its own: names in snake_case, instants of RFC 3339 in UTC, money as text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from adapters.wire import money
from domain.ids import ChannelId
from domain.money import Money
from domain.product import Rejected

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
# Longer ones no shop has; what is multiplied with units and kept stays exact.
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,8})?")
MOST_UNITS = 1_000_000_000


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("should be an instant that there is in UTC") from None


def _instant(value: object) -> object:
    # A number, also one in a string, would be taken for seconds of the epoch.
    if not (isinstance(value, str) and _DATE.match(value)):
        raise ValueError("should be an instant as RFC 3339 writes it")
    return value


def _amount(value: object) -> object:
    # A JSON number has lost its decimals already.
    if not (isinstance(value, str) and _AMOUNT.fullmatch(value)):
        raise ValueError("should be a decimal number in a string, such as 26.90")
    return value


def _number(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("should be a whole number")
    return value


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc), BeforeValidator(_instant)]
Amount = Annotated[Decimal, BeforeValidator(_amount)]
# A number of units, which may be owed; and one of things that there are.
Units = Annotated[int, Field(ge=-MOST_UNITS, le=MOST_UNITS), BeforeValidator(_number)]
Count = Annotated[int, Field(ge=0, le=MOST_UNITS), BeforeValidator(_number)]
# Ids and SKUs: an index holds some 2,700 bytes of one, and a character may take four.
Name = Annotated[str, Field(max_length=500)]


class Body(BaseModel):
    """Base of everything read from a shop; members that we do not know are left aside. What is wrong with one is told without
    showing it: it may hold people."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, value: object) -> object:
        # No table takes a NUL, and one row must not stop all others by it.
        if isinstance(value, str) and "\x00" in value:
            raise ValueError("should be without NUL")
        return value


class Price(Body):
    """An amount, as text, and its currency."""

    amount: Amount
    currency: str

    def money(self) -> Money:
        """Raises Unclear for what is no money."""
        return money(self.amount, self.currency)


def told(one: Money) -> dict[str, str]:
    """Money as the contract writes it."""
    return {"amount": f"{one.amount:f}", "currency": one.currency}


def stamp(at: datetime) -> str:
    """An instant as the contract writes it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def rejected(channel: ChannelId, what: str, raw: object, reason: str, key: str = "id") -> Rejected:
    """`raw` for the quarantine, by its id."""
    name = raw.get(key) if isinstance(raw, dict) else None
    # Not by orjson, which writes no number of more than 64 bits.
    return Rejected(channel, what, str(name or "?"), reason, json.dumps(raw, default=str, ensure_ascii=False))
