"""Journals as plain CSV: a row for each side of each entry, with the settlement and the number of lines it is made of."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from decimal import Decimal

from domain.export import harmless
from domain.journal import Entry, Journal, Side, sides
from domain.money import minor_digits

COLUMNS = (
    "journal",
    "entry",
    "date",
    "kind",
    "account",
    "accountName",
    "debit",
    "credit",
    "currency",
    "channel",
    "marketplace",
    "settlement",
    "settlementId",
    "event",
    "class",
    "lines",
    "units",
    "rounded",
    "text",
)


def write(one: Journal) -> bytes:
    """UTF-8, with decimal points and days by ISO 8601. The debits of an entry are its credits."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for number, entry in enumerate(one.entries, start=1):
        rows.writerows(_row(one, number, entry, side) for side in sides(entry))
    return out.getvalue().encode()


def amount(value: Decimal, currency: str) -> str:
    """With just the decimals that the currency has."""
    return f"{value:.{minor_digits(currency)}f}"


def _row(one: Journal, number: int, entry: Entry, side: Side) -> Sequence[str]:
    posting = side.posting
    lines = sum(each.lines for each in entry.postings) if posting is None else posting.lines
    event, of = (None, None) if posting is None else (posting.event, posting.money_class)
    return (
        "" if one.number is None else str(one.number),
        str(number),
        entry.day.isoformat(),
        entry.kind.value,
        harmless(side.account),
        harmless(one.accounts.get(side.account, "")),
        amount(side.debit, entry.currency),
        amount(side.credit, entry.currency),
        entry.currency,
        harmless(entry.channel),
        harmless(entry.marketplace or ""),
        harmless(entry.reference or ""),
        entry.settlement or "",
        "" if event is None else event.value,
        "" if of is None else of.value,
        str(lines),
        "" if posting is None or posting.units is None else str(posting.units),
        "" if posting is None or not posting.rounded else f"{posting.rounded.normalize():f}",
        harmless(entry.words),
    )
