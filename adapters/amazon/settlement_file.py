"""Settlement files (flat file V2): the whole in the first line under the names of the columns, then a line for each amount.

How a file is written (charset, decimals, dates) differs by its store, and is found out for each file from what can have one
meaning only; what could have two, or differs within a file, refuses the file. So does a sum that is not the total, to the cent.
Sources: SP-API documentation, "Settlement reports attributes"; files of sellers.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import TypeVar

from adapters.amazon.documents import charsets
from adapters.amazon.marketplaces import BY_DOMAIN, marketplace
from adapters.settlement import FileRefused, Head
from adapters.wire import Unclear
from domain.channel import Channel
from domain.money import Money, minor_digits
from domain.money_words import AMAZON
from domain.settlement import SettlementKind, Statement, StatementRow

T = TypeVar("T")

WHOLE = ("settlement-id", "settlement-start-date", "settlement-end-date", "deposit-date", "total-amount", "currency")
COLUMNS = (
    *WHOLE,
    "transaction-type",
    "order-id",
    "merchant-order-id",
    "adjustment-id",
    "shipment-id",
    "marketplace-name",
    "amount-type",
    "amount-description",
    "amount",
    "fulfillment-id",
    "posted-date",
    "posted-date-time",
    "order-item-code",
    "merchant-order-item-id",
    "merchant-adjustment-item-id",
    "sku",
    "quantity-purchased",
)
MAY_LACK = frozenset(
    {
        "deposit-date",
        "merchant-order-id",
        "adjustment-id",
        "shipment-id",
        "marketplace-name",
        "fulfillment-id",
        "posted-date",
        "posted-date-time",
        "order-item-code",
        "merchant-order-item-id",
        "merchant-adjustment-item-id",
    }
)
"""What rows can be understood without; one of both posted dates has to be there."""

LINE_BYTES = 1024 * 1024
REMEMBERED = 20_000
"""So many amounts are not looked at twice."""
NAMES = 100
UNKNOWN, LONGEST_NAME = 50, 100
"""So many columns that we do not know are kept with each row, under names of so many letters."""
_AROUND = timedelta(days=1)
"""Days are local."""

_PLAIN = re.compile(r"(-?[0-9]{1,15})(?:([.,])([0-9]{1,15}))?")
# Two signs that differ, the last of them before decimals, leave one meaning only.
_GROUPED = re.compile(
    r"(?P<whole>-?[0-9]{1,3}(?P<group>[., '\u00a0\u202f])[0-9]{3}(?:(?P=group)[0-9]{3}){0,4})"
    r"(?P<mark>[.,])(?P<decimals>[0-9]{1,15})"
)
# Twice as fast as the class itself, which takes a fifth of the time otherwise.
_new = tuple.__new__
_UNITS = re.compile(r"-?[0-9]{1,9}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_UTC = (" UTC", "UTC", "Z", "+00:00")
_TIME = r"[ T](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?: ?UTC|Z|\+00:00)"
_DAYS = {
    "YYYY-MM-DD": r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})",
    "YYYY/MM/DD": r"(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<day>[0-9]{2})",
    "DD.MM.YYYY": r"(?P<day>[0-9]{2})\.(?P<month>[0-9]{2})\.(?P<year>[0-9]{4})",
}
_INSTANT = {name: re.compile(day + _TIME) for name, day in _DAYS.items()}
# With slashes, the year last, either of the others may be the month.
_DAY = {name: re.compile(day) for name, day in _DAYS.items()} | {
    "MM/DD/YYYY": re.compile(r"(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{2}|[0-9]{4})"),
    "DD/MM/YYYY": re.compile(r"(?P<day>[0-9]{1,2})/(?P<month>[0-9]{1,2})/(?P<year>[0-9]{2}|[0-9]{4})"),
}
_ANEW = "Fetch the file from Amazon once more, as it is there, without opening it in a spreadsheet."


class SettlementFile:
    """A `adapters.settlement.Reader` of one file."""

    words = AMAZON

    def __init__(self, content_type: str = "", *, utf8: bool = True) -> None:
        self.head: Head | None = None
        self.rows = 0
        self._line = 0
        self._rest = b""
        self._begun = self._crlf = self._quoted = False
        self._charset = _charset(content_type, utf8=utf8)
        # Of the first line: names, how many, and which of them are ours.
        self._names: list[str] = []
        self._pick: Callable[[list[str]], tuple[str, ...]] = tuple
        self._unknown: list[tuple[str, int]] = []
        # Of the second line, as it stands there.
        self._whole: tuple[str, ...] = ()
        self._sum = Decimal(0)
        # What rows have named so far, with the marketplace's code; what the seller sold elsewhere is of none.
        self._stores: dict[str, str | None] = {}
        self._mark = self._instants = self._days = ""
        self._amounts: dict[str, Decimal] = {}
        self._day: dict[str, str] = {}
        self._units: dict[str, int] = {}

    def feed(self, chunk: bytes) -> list[StatementRow]:
        """See `Reader.feed`."""
        block, end, rest = (self._rest + chunk).rpartition(b"\n")
        # A charset that nobody has told of is that of the store, which the second line names.
        if not end or (not self._charset and b"\n" not in block):
            self._rest += chunk
            if len(self._rest) > LINE_BYTES:
                self._line += 1
                raise self._refused(f"it is longer than {LINE_BYTES // 1024} KiB. {_ANEW}")
            return []
        self._rest = rest
        return self._read(block)

    def close(self) -> list[StatementRow]:
        """See `Reader.close`."""
        rows = self._read(self._rest) if self._rest else []
        if not self._names:
            raise FileRefused(f"The file is empty: not even the line with the names of its columns is there. {_ANEW}")
        if self.head is None:
            raise FileRefused(
                f"The file ends behind the names of its columns: the line of the whole is missing. {_ANEW}"
            )
        total = self.head.total
        if self._sum != total.amount:
            raise FileRefused(
                f"The {self.rows} rows come to {self._sum} {total.currency}, and `total-amount` is {total.amount}: the "
                f"difference is {total.amount - self._sum} {total.currency}. Rows are missing, or were changed. {_ANEW}"
            )
        return rows

    def statement(self, channel: Channel, marketplace: str | None = None) -> Statement:
        """See `Reader.statement`. Where nobody knows the marketplace, it is the one that rows name, or the channel's only one in
        that currency; else None. Raises FileRefused for one of another region's account."""
        head = self.head
        assert head is not None, "the file was read to its end"
        self._refuse_of_another_region(channel)
        return Statement(
            channel=channel.id,
            kind=SettlementKind.SETTLEMENT,
            external_id=head.external_id,
            marketplace=marketplace or self._marketplace(channel, head.total.currency),
            starts_at=head.starts_at,
            ends_at=head.ends_at,
            deposited_at=head.deposited_at,
            total=head.total,
        )

    @property
    def dialect(self) -> Mapping[str, object]:
        """See `Reader.dialect`."""
        return {
            "charset": self._charset,
            "lineEnd": "CRLF" if self._crlf else "LF",
            "quoted": self._quoted,
            "decimalMark": self._mark or None,
            "instants": self._instants or None,
            "dates": self._days or None,
            "marketplaces": sorted(self._stores),
            "unknownColumns": [name for name, _ in self._unknown],
        }

    @property
    def marketplaces(self) -> set[str]:
        """Those that its rows have named so far."""
        return {code for code in self._stores.values() if code is not None}

    def _refuse_of_another_region(self, channel: Channel) -> None:
        """A channel is an account in one region. Books are never changed, so nothing of another account may get there."""
        named = self.marketplaces
        own = {marketplace(code).region for code in channel.marketplaces}
        if named and own and not any(marketplace(code).region in own for code in named):
            raise FileRefused(
                f"The rows are of {', '.join(sorted(named))}, and channel {channel.id} sells in another region: in "
                f"{', '.join(channel.marketplaces)}. Import it for the channel whose settlement it is."
            )

    def _marketplace(self, channel: Channel, currency: str) -> str | None:
        named = {code for code in self.marketplaces if marketplace(code).currency == currency}
        if not named:
            named = {code for code in channel.marketplaces if marketplace(code).currency == currency}
        return next(iter(named)) if len(named) == 1 else None

    def _read(self, block: bytes) -> list[StatementRow]:
        """The rows of whole lines; the end of the last one may be missing."""
        lines = self._text(block).split("\n")
        if not self._names:
            self._line += 1
            self._name(self._cells(lines.pop(0)))
        while lines and self.head is None:
            if not lines[0].strip():
                self._line += 1
                del lines[0]
                continue
            self._line += 1
            if self._begin(self._cells(lines[0])):
                self._line -= 1
            else:
                del lines[0]
        return self._rows(lines) if lines else []

    def _text(self, block: bytes) -> str:
        if not self._begun:
            self._begun = True
            block = self._without_mark(block)
            self._crlf = b"\r\n" in block or block.endswith(b"\r")
        self._charset = self._charset or _legacy(block)
        try:
            text = block.decode(self._charset)
        except UnicodeDecodeError as problem:
            self._line += block.count(b"\n", 0, problem.start) + 1
            place = problem.start - block.rfind(b"\n", 0, problem.start)
            words = f"byte {place} is not {self._charset}, in which the file is written. {_ANEW}"
            raise self._refused(words) from problem
        if "\0" in text:
            self._line += text.count("\n", 0, text.index("\0")) + 1
            raise self._refused(f"it holds a NUL character, which no text has. {_ANEW}")
        return text.replace("\r\n", "\n").removesuffix("\r")

    def _without_mark(self, block: bytes) -> bytes:
        if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise FileRefused(f"The file is written in UTF-16, which Amazon writes no file in. {_ANEW}")
        if block.startswith(codecs.BOM_UTF8):
            self._charset = "utf-8"
            return block.removeprefix(codecs.BOM_UTF8)
        return block

    def _cells(self, line: str) -> list[str]:
        cells = line.split("\t")
        if not self._names:
            self._quoted = all(_is_quoted(cell) for cell in cells)
        return [cell[1:-1] if _is_quoted(cell) else cell for cell in cells] if self._quoted else cells

    def _name(self, cells: list[str]) -> None:
        names = [cell.strip().lower() for cell in cells]
        while names and not names[-1]:
            names.pop()
        for name in COLUMNS:
            if name not in names and name not in MAY_LACK:
                raise FileRefused(
                    f"The file has no column `{name}`: it is no settlement of the second version (flat file V2), or was not "
                    f"written with tabs. {_ANEW}"
                )
        if "posted-date-time" not in names and "posted-date" not in names:
            raise FileRefused(f"The file has neither `posted-date-time` nor `posted-date`. {_ANEW}")
        if len(set(names)) != len(names) or not all(names):
            twice = next((name for name in names if names.count(name) > 1), "")
            raise FileRefused(
                f"The file has {f'the column `{_shown(twice)}` twice' if twice else 'a column without a name'}. {_ANEW}"
            )
        self._names = names
        # Each row gets a blank cell more, which stands for the columns that the file has not.
        self._pick = itemgetter(*(names.index(name) if name in names else len(names) for name in COLUMNS))
        self._unknown = [(name, place) for place, name in enumerate(names) if name not in COLUMNS]
        if len(self._unknown) > UNKNOWN or any(len(name) > LONGEST_NAME for name in names):
            raise FileRefused(
                f"The file has {len(self._unknown)} columns that no settlement has, or names of columns that are longer than "
                f"{LONGEST_NAME} letters: it is another kind of file. {_ANEW}"
            )

    def _fitted(self, cells: list[str]) -> list[str]:
        """As many cells as there are columns; blank ones beyond mean nothing."""
        while len(cells) > len(self._names) and not cells[-1]:
            cells.pop()
        if len(cells) != len(self._names):
            raise self._refused(f"{len(cells)} cells stand under {len(self._names)} columns. {_ANEW}")
        return cells

    def _begin(self, cells: list[str]) -> bool:
        """Take what a line says of the whole; whether it is one of an amount too."""
        picked = self._pick([*self._fitted(cells), ""])
        named = dict(zip(COLUMNS, picked, strict=True))
        for name in WHOLE:
            if not named[name] and name != "deposit-date":
                raise self._refused("the line of the whole comes first, and has to say it", name, "")
        currency = named["currency"]
        if not _CURRENCY.fullmatch(currency):
            raise self._refused("write a currency such as EUR", "currency", currency)
        self._whole = picked[: len(WHOLE)]
        starts_at = self._instant(named["settlement-start-date"], "settlement-start-date")
        ends_at = self._instant(named["settlement-end-date"], "settlement-end-date")
        if ends_at < starts_at:
            raise self._refused(
                f"the period ends before it begins, at {starts_at}", "settlement-end-date", str(ends_at)
            )
        deposited = named["deposit-date"]
        self.head = Head(
            named["settlement-id"],
            starts_at,
            ends_at,
            self._instant(deposited, "deposit-date") if deposited else None,
            Money(self._amount(named["total-amount"], "total-amount", currency), currency),
        )
        return any(picked[len(WHOLE) :])

    def _rows(self, lines: list[str]) -> list[StatementRow]:
        assert self.head is not None
        width, pick, unknown, quoted = len(self._names), self._pick, self._unknown, self._quoted
        amounts, units, stores = self._amounts, self._units, self._stores
        posted, at = "\n", self.head.ends_at  # as no cell is
        own, currency = self.head.external_id, self.head.total.currency
        made: list[StatementRow] = []
        for line in lines:
            self._line += 1
            cells = self._cells(line) if quoted else line.split("\t")
            if len(cells) != width:
                if not line.strip():
                    continue
                cells = self._fitted(cells)
            cells.append("")
            (
                settlement, starts, ends, deposited, total, told, kind, order, merchant_order, adjustment, shipment, store,
                amount_kind, description, amount, network, day, instant, item, merchant_item, adjustment_item, sku, count,
            ) = pick(cells)  # fmt: skip
            if settlement != own:
                if not line.strip():
                    continue
                raise self._refused(
                    f"this file is of settlement {own}; one file holds one", "settlement-id", settlement
                )
            if total or starts or ends or deposited or told:
                self._repeats((settlement, starts, ends, deposited, total, told))
            value = amounts.get(amount)
            if value is None:
                value = self._amount(amount, "amount", currency)
                _remember(amounts, amount, value)
            # Lines of one order stand together.
            if (instant or day) != posted:
                at = self._instant(instant, "posted-date-time") if instant else self._on(day)
                posted = instant or day
            number = units.get(count)
            if number is None and count:
                number = self._count(count)
                _remember(units, count, number)
            if store not in stores:
                self._store(store)
            code = stores[store]
            self.rows += 1
            self._sum += value
            made.append(
                _new(StatementRow, (
                    self.rows, kind, amount_kind, description, value, at, order or None, merchant_order or None,
                    adjustment or None, shipment or None, code, network or None, item or None,
                    merchant_item or None, adjustment_item or None, sku or None, number,
                    {name: cells[place] for name, place in unknown if cells[place]} or None if unknown else None,
                ))
            )  # fmt: skip
        return made

    def _repeats(self, whole: tuple[str, ...]) -> None:
        """A line of an amount may say again what holds for the whole, and nothing else."""
        for name, first, told in zip(WHOLE, self._whole, whole, strict=True):
            if told and told != first:
                raise self._refused(
                    f"the line of the whole says {_shown(first)!r}; one file holds one settlement", name, told
                )

    def _amount(self, cell: str, column: str, currency: str) -> Decimal:
        plain = _PLAIN.fullmatch(cell)
        grouped = None if plain else _GROUPED.fullmatch(cell)
        if plain:
            whole, mark, decimals = plain.groups()
        elif grouped and grouped["group"] != grouped["mark"]:
            whole, mark, decimals = grouped["whole"].replace(grouped["group"], ""), grouped["mark"], grouped["decimals"]
        else:
            raise self._refused(_no_number(cell), column, cell)
        if mark is None:
            return Decimal(whole)
        self._decimals(mark, decimals, column, cell, minor_digits(currency))
        return Decimal(f"{whole}.{decimals}")

    def _decimals(self, mark: str, decimals: str, column: str, cell: str, places: int) -> None:
        """What stands behind the mark are decimals, as in the rest of the file."""
        if len(decimals) == 3 and not (places == 3 and self._mark):
            raise self._refused(
                f"thousands or decimals may stand behind `{mark}`, and nobody guesses. {_ANEW}", column, cell
            )
        if len(decimals) > places and decimals.strip("0"):
            raise self._refused(f"these are more decimals than the {places} of its currency. {_ANEW}", column, cell)
        self._mark = self._mark or mark
        if mark != self._mark:
            raise self._refused(
                f"elsewhere in this file `{self._mark}` stands before decimals, and here `{mark}`. {_ANEW}",
                column,
                cell,
            )

    def _instant(self, cell: str, column: str) -> datetime:
        """An instant, written as all of the file."""
        # A file has few days and many instants.
        day = self._day.get(cell[:10])
        if day is not None and cell[13:17:3] == "::" and cell[10] in " T" and cell[19:] in _UTC:
            with suppress(ValueError):
                return datetime.fromisoformat(f"{day}{cell[10:19]}+00:00")
        for name, pattern in _INSTANT.items():
            found = pattern.fullmatch(cell) if self._instants in ("", name) else None
            if found and (at := _at(found, found["time"])):
                self._instants = name
                _remember(self._day, cell[:10], f"{at:%Y-%m-%d}")
                return at
        wanted = self._instants or " or ".join(_INSTANT)
        raise self._refused(
            f"it should be an instant such as {wanted} 23:59:59 UTC, as all of the file. {_ANEW}", column, cell
        )

    def _on(self, cell: str) -> datetime:
        """The beginning (UTC) of a day that stands without an instant, written as all such days of the file. Where the month
        could be either number, it is the one by which the day lies in the settlement's period: in two weeks never both do."""
        assert self.head is not None
        first, last = self.head.starts_at - _AROUND, self.head.ends_at + _AROUND
        fits: dict[str, datetime] = {}
        for name, pattern in _DAY.items():
            found = pattern.fullmatch(cell) if self._days in ("", name) else None
            if found and (at := _at(found)):
                fits[name] = at
        if len(set(fits.values())) > 1:
            fits = {name: at for name, at in fits.items() if first <= at <= last}
        if len(set(fits.values())) != 1:
            raise self._refused(
                f"it should be a day that can be read in one way only, as all of the file. {_ANEW}", "posted-date", cell
            )
        if len(fits) == 1:
            self._days = next(iter(fits))
        return next(iter(fits.values()))

    def _count(self, cell: str) -> int:
        if not _UNITS.fullmatch(cell):
            raise self._refused(f"it should be a whole number. {_ANEW}", "quantity-purchased", cell)
        return int(cell)

    def _store(self, name: str) -> None:
        self._stores[name] = BY_DOMAIN.get(name.lower())
        if len(self._stores) > NAMES:
            raise self._refused(
                f"more than {NAMES} marketplaces are named, which no settlement has", "marketplace-name", name
            )

    def _refused(self, words: str, column: str = "", cell: str | None = None) -> FileRefused:
        """What is wrong with the line that is read now."""
        where = f"Line {self._line}, column `{column}`" if column else f"Line {self._line}"
        stands = "" if cell is None else f"{_shown(cell)!r} stands there; " if cell else "it is blank; "
        return FileRefused(f"{where}: {stands}{words}{'' if words.endswith('.') else '.'}")


def _charset(content_type: str, *, utf8: bool) -> str:
    """The charset that is told, or that all bytes are in; "" where only the store tells."""
    try:
        told = charsets(content_type, None)
    except Unclear as problem:
        raise FileRefused(f"This file cannot be read: {problem}.") from problem
    if len(told) == 1:
        return told[0]
    return "utf-8" if utf8 else ""


def _legacy(block: bytes) -> str:
    """What files of the store were always written in: yen are Japan's."""
    names, _, rest = block.partition(b"\n")
    columns = [name.strip(b'"\r ').lower() for name in names.split(b"\t")]
    cells = [cell.strip(b'"\r') for cell in rest.lstrip(b"\r\n\t ").partition(b"\n")[0].split(b"\t")]
    return charsets("", "JP" if dict(zip(columns, cells, strict=False)).get(b"currency") == b"JPY" else None)[1]


def _at(found: re.Match[str], time: str = "00:00:00") -> datetime | None:
    year, month, day = found["year"], found["month"], found["day"]
    try:
        return datetime.fromisoformat(f"{year if len(year) == 4 else '20' + year}-{month:0>2}-{day:0>2}T{time}+00:00")
    except ValueError:
        return None


def _no_number(cell: str) -> str:
    """Why that is no amount."""
    if not cell:
        return f"each line has an amount. {_ANEW}"
    if cell.startswith(("=", "+", "@")):
        return f"it begins like a formula. {_ANEW}"
    return f"it should be a number such as -12.50, or -12,50, without signs between thousands. {_ANEW}"


def _shown(cell: str) -> str:
    """A cell as a message may show it: short, and in letters that can be seen."""
    told = "".join(sign if sign.isprintable() else "\ufffd" for sign in cell[:40])
    return told + "…" if len(cell) > 40 else told


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell.startswith('"') and cell.endswith('"')


def _remember(known: dict[str, T], cell: str, value: T) -> None:
    if len(known) >= REMEMBERED:
        known.clear()
    known[cell] = value
