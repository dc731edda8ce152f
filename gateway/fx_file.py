"""Files of rates of exchange: the European Central Bank's XML and CSV, and a CSV of one's own with a rate in each row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import BinaryIO

from adapters import ecb
from adapters.wire import Unclear
from domain.errors import Invalid
from domain.price_inputs import FxRate
from gateway.rows import FileProblem, Row, csv_rows, rewind
from store import fx
from store.session import Store

COLUMNS = ("base", "quote", "day", "rate", "source")
NEEDED = ("base", "quote", "day", "rate")
BATCH = 5_000
_CODE = re.compile(r"[A-Z]{3}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_RATE = re.compile(r"[0-9]{1,10}(\.[0-9]{1,20})?")


async def run(
    store: Store, file: BinaryIO, source: str | None, actor: str, *, dry_run: bool = False
) -> tuple[int, int]:
    """(the file's rates, those that are new or mended), kept in one transaction. `source` names what rows without one come from.

    Raises FileProblem, with the row, for a file that is not understood as a whole: a hole in a history of rates goes unseen.
    """
    rates = read(file, source)
    fresh = 0
    async with store.begin() as tx, tx.begin_nested() as tried:
        for some in _batches(iter(rates)):
            try:
                fresh += len(await fx.keep(tx, some, actor))
            except Invalid as problem:
                raise FileProblem(problem.message) from None
        if dry_run:
            await tried.rollback()
    return len(rates), fresh


def read(file: BinaryIO, source: str | None) -> list[FxRate]:
    """The rates of a file, by day. Raises FileProblem."""
    rewind(file)
    head = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    file.seek(0)
    if head.startswith((b"<", b"Date")):
        try:
            rates = ecb.read(file.read())
        except Unclear as problem:
            raise FileProblem(f"It looks like a file of the European Central Bank's, but {problem}.") from None
    else:
        rates = [_rate(row, source) for row in csv_rows(file, COLUMNS, NEEDED)]
    if not rates:
        raise FileProblem("The file holds no rate.")
    return sorted(rates, key=lambda one: (one.day, one.source, one.base, one.quote))


def _batches(rates: Iterator[FxRate]) -> Iterator[list[FxRate]]:
    while some := list(islice(rates, BATCH)):
        yield some


def _rate(row: Row, source: str | None) -> FxRate:
    told = row.fields
    named = told.get("source") or source
    if row.reason:
        raise FileProblem(f"Row {row.number}: {row.reason}.")
    if not named:
        raise FileProblem(f"Row {row.number} names no source. Add the column `source`, or say --source.")
    base, quote = told["base"], told["quote"]
    if not (_CODE.fullmatch(base) and _CODE.fullmatch(quote)) or base == quote:
        raise FileProblem(
            f"Row {row.number}: {base[:10]!r} and {quote[:10]!r} are not two currencies such as EUR and USD."
        )
    wrong = FileProblem(f"Row {row.number} needs a day such as 2026-11-27 and a rate above 0 such as 1.0850.")
    if not (_DAY.fullmatch(told["day"]) and _RATE.fullmatch(told["rate"])) or not Decimal(told["rate"]):
        raise wrong
    try:
        return FxRate(base, quote, Decimal(told["rate"]), date.fromisoformat(told["day"]), named)
    except ValueError:
        raise wrong from None
