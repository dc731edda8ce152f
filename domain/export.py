"""Lists as files: what is wanted of which, and how a row is written.

Amounts are plain decimals with a point, their currency stands in a column of its own, instants are UTC. In CSV a text that a
spreadsheet would take for a formula begins with an apostrophe; a number never does.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from domain.ids import ChannelId
from domain.profit import Dimension, nearest_day


class ExportList(Enum):
    """What can be had as a file."""

    PROFIT = "PROFIT"
    MONEY_LINES = "MONEY_LINES"
    SETTLEMENTS = "SETTLEMENTS"
    SETTLEMENT_LINES = "SETTLEMENT_LINES"
    RESIDUALS = "RESIDUALS"
    TRANSACTIONS = "TRANSACTIONS"
    BANK_LINES = "BANK_LINES"
    ORDERS = "ORDERS"
    RETURNS = "RETURNS"
    UNIT_COSTS = "UNIT_COSTS"
    PRICE_HISTORY = "PRICE_HISTORY"


class ExportFormat(Enum):
    """CSV with the columns' names in the first line, or a JSON object a line."""

    CSV = "CSV"
    JSONL = "JSONL"

    @property
    def content_type(self) -> str:
        """As the file is sent."""
        return "text/csv; charset=utf-8" if self is ExportFormat.CSV else "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class ExportWanted:
    """A list in a format; None wants all. [`start`, `end`) is of the instant or the day of business that the list goes by.
    `known_at`: as it was known then. `settlement` is our id of one. Profit is told `by` dimensions, in `currency` or in each of
    its own."""

    list: ExportList
    format: ExportFormat = ExportFormat.CSV
    channel: ChannelId | None = None
    start: datetime | None = None
    end: datetime | None = None
    known_at: datetime | None = None
    settlement: str | None = None
    by: tuple[Dimension, ...] = ()
    currency: str | None = None

    @property
    def first(self) -> date | None:
        """The first day of business that is wanted."""
        return None if self.start is None else nearest_day(self.start)

    @property
    def until(self) -> date | None:
        """The day of business behind the last one."""
        return None if self.end is None else nearest_day(self.end)

    def told(self) -> dict[str, object]:
        """As JSON values; `read_export` reads them."""
        return {
            "list": self.list.value,
            "format": self.format.value,
            "of_channel": self.channel,
            "start": _told(self.start),
            "end": _told(self.end),
            "known_at": _told(self.known_at),
            "settlement": self.settlement,
            "by": [one.value for one in self.by],
            "currency": self.currency,
        }


def read_export(told: Mapping[str, object]) -> ExportWanted:
    """What `ExportWanted.told` has told."""
    channel, settlement, currency = told["of_channel"], told["settlement"], told["currency"]
    by = told["by"]
    assert isinstance(by, list)
    return ExportWanted(
        ExportList(told["list"]),
        ExportFormat(told["format"]),
        None if channel is None else ChannelId(str(channel)),
        _instant(told["start"]),
        _instant(told["end"]),
        _instant(told["known_at"]),
        None if settlement is None else str(settlement),
        tuple(map(Dimension, by)),
        None if currency is None else str(currency),
    )


@dataclass(frozen=True, slots=True)
class KeptExport:
    """How far the file of an item has come: rows and bytes so far; `done_at` is None until all of it is there."""

    item: int
    rows: int
    bytes: int
    wanted: ExportWanted
    done_at: datetime | None

    @property
    def done(self) -> bool:
        """Whether all of it is there."""
        return self.done_at is not None


Cell = str | int | bool | Decimal | date | None
"""What a row holds; instants are dates too."""


class Writer:
    """Writes rows; `taken` gives what was written since the last time."""

    def __init__(self, format: ExportFormat, columns: Sequence[str]) -> None:
        self._text = io.StringIO()
        self._csv = csv.writer(self._text, lineterminator="\r\n") if format is ExportFormat.CSV else None
        self._columns = columns
        if self._csv is not None:
            self._csv.writerow(columns)

    def write(self, row: Sequence[Cell]) -> None:
        """Add a row, in the order of the columns."""
        if self._csv is not None:
            self._csv.writerow(_cells(row, _CSV))
        else:
            told = dict(zip(self._columns, _cells(row, _JSON), strict=True))
            self._text.write(json.dumps(told, ensure_ascii=False, separators=(",", ":")))
            self._text.write("\n")

    @property
    def size(self) -> int:
        """How much was written since the last time, in characters."""
        return self._text.tell()

    def taken(self) -> bytes:
        """What was written since the last time, in UTF-8."""
        written = self._text.getvalue().encode("utf-8", "replace")
        self._text.seek(0)
        self._text.truncate()
        return written


_FORMULA = frozenset("=+-@\t\r")


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in _FORMULA else text


def _decimal(one: Decimal) -> str:
    return f"{one:f}"


def _boolean(one: bool) -> str:
    return "true" if one else "false"


# By type: a file has as many cells as a list has rows and columns. What is not named here is written as it is.
_JSON: Mapping[type, Callable[[Any], object]] = {
    Decimal: _decimal,
    datetime: lambda at: _told(at),
    date: date.isoformat,
}
_CSV: Mapping[type, Callable[[Any], object]] = {**_JSON, str: harmless, bool: _boolean}


def _cells(row: Sequence[Cell], by: Mapping[type, Callable[[Any], object]]) -> list[object]:
    return [one if (write := by.get(type(one))) is None else write(one) for one in row]


def _told(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _instant(told: object) -> datetime | None:
    return None if told is None else datetime.fromisoformat(str(told))
