"""Files of prices: CSV and JSON Lines, a row for what one SKU is to be sold for.

Nothing is guessed: 1,234 is one number to some and another to others, so it is refused with words until the file says that its
decimals stand behind a comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, BinaryIO

from domain.ids import ChannelId, ChannelSku, Sku
from domain.money import Money
from domain.price import Price, Sale
from domain.price_target import Asked, flaw_of
from gateway.rows import FileProblem, Row, csv_rows, digest_of, json_rows, shown
from store import price_file
from store.price_file import FileRow, NewFile, PriceFile, Result
from store.session import Store

MOST_ROWS = 100_000
BLOCK = 500
COLUMNS = ("sku", "channel", "marketplace", "channelSku", "amount", "currency", "saleAmount", "saleFrom", "saleTo")
PLACE = ("sku", "channel", "marketplace", "channelSku")
NEEDED = ("sku", "amount", "currency")
LONGEST_NAME = 200

REPORT = ("row", "sku", "channel", "marketplace", "channel_sku", "result", "reason")

_POINT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?")
_COMMA = re.compile(r"([0-9]{1,15}|[0-9]{1,3}(\.[0-9]{3}){1,4}(?=,))(,[0-9]{1,6})?")
_SHORTENED = re.compile(r"[0-9]+([.,][0-9]+)?[Ee]\+?[0-9]+")
_TIME = re.compile(r"[0-9][T ][0-9]")
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked: who asks, under which name of its own for the file, and whether it is only to be told what would happen.
    With `comma`, decimals stand behind one."""

    actor: str
    key: str | None = None
    dry_run: bool = False
    json_lines: bool = False
    comma: bool = False


async def keep(store: Store, file: BinaryIO, wanted: Wanted) -> tuple[PriceFile, bool]:
    """Keep the file's rows for workers, all or none; or find the file as it was kept before (False).

    Raises FileProblem, and Conflict for a key that was another file's.
    """
    digest = f"{digest_of(file)}{' json' if wanted.json_lines else ''}{' comma' if wanted.comma else ''}"
    new = NewFile(wanted.actor, wanted.key or digest, digest, wanted.dry_run)
    file.seek(0)
    async with store.begin() as tx:
        made, fresh = await price_file.begin(tx, new)
        if not fresh:
            return made, False
        rows, count = read(file, json_lines=wanted.json_lines, comma=wanted.comma), 0
        while block := list(islice(rows, BLOCK)):
            await price_file.add_rows(tx, made.id, block)
            count += len(block)
        if not count:
            raise FileProblem("The file holds no row.")
    return replace(made, rows=count), True


def read(file: BinaryIO, *, json_lines: bool, comma: bool = False) -> Iterator[FileRow]:
    """The rows of a file, numbered as an editor numbers its lines. With `comma`, decimals stand behind one.

    Raises FileProblem: before the first of them, or behind the 100,000th.
    """
    told = json_rows(file) if json_lines else csv_rows(file, COLUMNS, NEEDED)
    for count, row in enumerate(told, 1):
        if count > MOST_ROWS:
            raise FileProblem(f"A file has {MOST_ROWS:,} rows at the most. Split this one, and send its parts.")
        yield _file_row(row, comma=comma)


def _file_row(row: Row, *, comma: bool) -> FileRow:
    number, fields, reason = row
    try:
        asked = None if reason else _asked(fields, comma=comma)
    except ValueError as problem:
        asked, reason = None, str(problem)
    if asked is None:
        sku, channel, marketplace, channel_sku = (shown(fields.get(name)) for name in PLACE)
        return FileRow(number, sku, channel, marketplace, channel_sku, None, reason)
    place = asked.sku, asked.channel or "", asked.marketplace or "", asked.channel_sku or ""
    return FileRow(number, *place, asked.price, "")


def _asked(fields: Mapping[str, Any], *, comma: bool) -> Asked:
    """Raises ValueError."""
    strange = next((name for name in fields if name not in COLUMNS), None)
    if strange is not None:
        raise ValueError(f"`{shown(strange)}` is no name of ours; there are {', '.join(COLUMNS)}")
    sku = _needed(fields, "sku")
    if _SHORTENED.fullmatch(sku):
        raise ValueError(f"`sku` {sku} was shortened by a spreadsheet; format its column as text")
    currency = _needed(fields, "currency")
    if not _CURRENCY.fullmatch(currency):
        raise ValueError("`currency` must be a code of ISO 4217 such as EUR")
    price = Price(_amount(fields, "amount", currency, comma=comma), _sale(fields, currency, comma=comma))
    flaw = flaw_of(price)
    if flaw is not None:
        raise ValueError(f"`{_NAMES[flaw.field]}`: {flaw.words}")
    channel, channel_sku = _text(fields, "channel"), _text(fields, "channelSku")
    return Asked(
        Sku(sku),
        price,
        None if channel is None else ChannelId(channel.removeprefix("Channel:")),
        _text(fields, "marketplace"),
        None if channel_sku is None else ChannelSku(channel_sku),
    )


_NAMES = {
    "amount": "amount",
    "currency": "currency",
    "sale": "saleAmount",
    "sale_from": "saleFrom",
    "sale_to": "saleTo",
}


def _sale(fields: Mapping[str, Any], currency: str, *, comma: bool) -> Sale | None:
    if _text(fields, "saleAmount") is None:
        early = next((name for name in ("saleFrom", "saleTo") if _text(fields, name) is not None), None)
        if early is not None:
            raise ValueError(f"`{early}` is told and `saleAmount` is missing")
        return None
    return Sale(_amount(fields, "saleAmount", currency, comma=comma), _at(fields, "saleFrom"), _at(fields, "saleTo"))


def _at(fields: Mapping[str, Any], name: str) -> datetime | None:
    """A date and a time, in UTC or without a zone. Raises ValueError for any other form: 03/04/2026 has two meanings."""
    told = _text(fields, name)
    if told is None:
        return None
    try:
        found = datetime.fromisoformat(told)
        if _TIME.search(told):
            return found if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"`{name}` must be a date and a time such as 2026-11-28T09:30:00+01:00, or without a zone as clocks there show it"
    )


def _amount(fields: Mapping[str, Any], name: str, currency: str, *, comma: bool) -> Money:
    told = _needed(fields, name)
    if not told.isascii() or not (_COMMA if comma else _POINT).fullmatch(told):
        raise ValueError(_no_amount(name, told, comma=comma))
    return Money(Decimal(told.replace(".", "").replace(",", ".") if comma else told), currency)


def _no_amount(name: str, told: str, *, comma: bool) -> str:
    if comma:
        return f"`{name}` {shown(told)} is no number such as 1234,50 or 1.234,50, as a file with decimal=comma has them"
    if "," in told:
        return f"`{name}` {shown(told)} may mean two numbers; write 1234.50, or send the file with decimal=comma"
    return f"`{name}` {shown(told)} is no number such as 1234.50, without signs and currencies"


def _needed(fields: Mapping[str, Any], name: str) -> str:
    told = _text(fields, name)
    if told is None:
        raise ValueError(f"`{name}` is missing")
    return told


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    told = fields.get(name)
    if told is None or told == "":
        return None
    if not isinstance(told, str):
        raise ValueError(f"`{name}` must be a text" + (', such as "12.50"' if name in ("amount", "saleAmount") else ""))
    if len(told) > LONGEST_NAME or not told.isprintable() or not told.strip():
        raise ValueError(f"`{name}` must be a text of 1 to {LONGEST_NAME} printable characters")
    return told.strip()


def report_row(told: tuple[FileRow, Result, str]) -> list[object]:
    """A line of the report, under REPORT."""
    row, result, reason = told
    names = (shown(one) for one in (row.sku, row.channel, row.marketplace, row.channel_sku))
    return [row.number, *names, result.value.lower(), reason]
