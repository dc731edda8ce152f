"""What a shop's JSON has of its own: global ids, connections, prices in two currencies, the search syntax."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel

from adapters.wire import Price, Unclear, Wire
from domain.errors import Invalid
from domain.ids import ChannelId
from domain.money import Money
from domain.product import Rejected


def _in_utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]

W = TypeVar("W", bound=BaseModel)

# Currencies whose smallest coin is the unit itself.
WHOLE = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF")
)
CENT, UNIT = Decimal("0.01"), Decimal(1)

# Statuses of fulfillments that are, or will be, a parcel; the others never left.
SENT = frozenset({"SUCCESS", "OPEN", "PENDING"})


class MoneyBag(Wire):
    """One price twice; the shop's own currency is the one that books are kept in."""

    shop_money: Price

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


def rejected(channel: ChannelId, what: str, raw: object, reason: str) -> Rejected:
    """`raw` for the quarantine, by its global id."""
    key = raw.get("id") if isinstance(raw, dict) else None
    return Rejected(channel, what, str(key or "?"), reason, orjson.dumps(raw, default=str).decode())


def coin(currency: str) -> Decimal:
    """The smallest amount of it."""
    return UNIT if currency in WHOLE else CENT


def exact(money: Money, what: str) -> Decimal:
    """The amount with the decimals that its currency has, never rounded. Raises Invalid, calling it `what`."""
    try:
        amount = money.amount.quantize(coin(money.currency))
    except InvalidOperation:
        raise Invalid(f"{what} is {money.amount} {money.currency}, which is more than anything costs.") from None
    if amount != money.amount:
        places = "no decimals" if money.currency in WHOLE else "two decimals"
        raise Invalid(f"{what} is {money.amount}; {money.currency} has {places}.")
    return amount


def number_of(gid: str) -> int:
    """The number at the end of a global id. Raises Unclear for another form."""
    tail = gid.rpartition("/")[2].partition("?")[0]
    if not (tail.isascii() and tail.isdigit()):
        raise Unclear(f"{gid!r} is no global id")
    return int(tail)


def quoted(text: str) -> str:
    """`text` as one value of the search syntax: hyphens, colons and spaces in it then mean nothing."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def literal(text: str) -> str:
    """`text` as a string of a GraphQL document: such as bulk operations take, which have no variables."""
    return json.dumps(text)


def stamp(at: datetime) -> str:
    """`at` as the search syntax wants it, to be quoted: its colons would be read as fields."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
