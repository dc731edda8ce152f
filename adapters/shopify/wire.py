"""Reading a shop's JSON: field names in camelCase, ids as global ids, money as decimal strings, unknown fields left aside."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from domain.errors import Invalid
from domain.ids import ChannelId
from domain.money import Money
from domain.product import Rejected


class Unreadable(Exception):
    """A thing that says something we do not understand; the text is the reason, for people."""


class Wire(BaseModel):
    """Base of everything read from a shop."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


def _text_only(value: object) -> object:
    # A JSON number has lost its decimals already.
    if not isinstance(value, str):
        raise ValueError("should be a decimal number in a string")
    return value


def _in_utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


Amount = Annotated[Decimal, BeforeValidator(_text_only)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]

W = TypeVar("W", bound=BaseModel)


class MoneyV2(Wire):
    """An amount and its currency."""

    amount: Amount
    currency_code: str

    def money(self) -> Money:
        """Raises Unreadable for what is no money."""
        return money(self.amount, self.currency_code)


class MoneyBag(Wire):
    """One price twice; the shop's own currency is the one that books are kept in."""

    shop_money: MoneyV2

    def money(self) -> Money:
        """In the shop's currency."""
        return self.shop_money.money()


class Ref(Wire):
    """An object of which only the id is wanted."""

    id: str


class PageInfo(Wire):
    """Whether and where a connection goes on."""

    has_next_page: bool
    end_cursor: str | None


class Connection(Wire, Generic[W]):
    """One page of a connection whose rows are all of interest, or none."""

    nodes: list[W]
    page_info: PageInfo


class Rows(Wire):
    """One page of a connection whose rows are read one by one, so that a bad one spoils no other."""

    nodes: list[Any]
    page_info: PageInfo


def money(amount: Decimal, currency: str) -> Money:
    """Raises Unreadable for what is no money."""
    try:
        return Money(amount, currency)
    except Invalid as problem:
        raise Unreadable(problem.message) from problem


def read(model: type[W], raw: object) -> W:
    """`raw` as a `model`. Raises Unreadable, naming the first fields that are wrong, never their contents."""
    try:
        return model.model_validate(raw)
    except ValidationError as problem:
        faults = problem.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults[:3])
        raise Unreadable(told + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")) from problem


def rejected(channel: ChannelId, what: str, raw: object, reason: str) -> Rejected:
    """`raw` for the quarantine, by its global id."""
    key = raw.get("id") if isinstance(raw, dict) else None
    return Rejected(channel, what, str(key or "?"), reason, orjson.dumps(raw, default=str).decode())


def number_of(gid: str) -> int:
    """The number at the end of a global id. Raises Unreadable for another form."""
    tail = gid.rpartition("/")[2].partition("?")[0]
    if not (tail.isascii() and tail.isdigit()):
        raise Unreadable(f"{gid!r} is no global id")
    return int(tail)


def quoted(text: str) -> str:
    """`text` as one value of the search syntax: hyphens, colons and spaces in it then mean nothing."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def stamp(at: datetime) -> str:
    """`at` as the search syntax wants it, to be quoted: its colons would be read as fields."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
