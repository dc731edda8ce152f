"""Journals as QuickBooks Online imports them: CSV, accounts by their names, days as MM/DD/YYYY, debits and credits apart.

Account numbers are turned off there while a file is imported, and each number of a journal entry is taken once. Source:
QuickBooks help, "Import journal entries".
"""

from __future__ import annotations

import csv
import io

from adapters.accounting.plain import amount
from domain.errors import Invalid
from domain.export import harmless
from domain.journal import Journal, sides

COLUMNS = ("Journal No.", "Journal Date", "Account Name", "Debits", "Credits", "Description", "Currency")


def write(one: Journal) -> bytes:
    """The journal in UTF-8; sides that come to nothing are left out. Raises Invalid for one that is not closed: nothing would
    keep its numbers from being another one's."""
    if one.number is None:
        raise Invalid("QuickBooks takes closed journals: close this one first.")
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for number, entry in enumerate(one.entries, start=1):
        for side in sides(entry):
            if not side.debit and not side.credit:
                continue
            of = (
                "" if side.posting is None or side.posting.money_class is None else f" {side.posting.money_class.value}"
            )
            rows.writerow(
                (
                    f"{one.number}-{number}",
                    f"{entry.day:%m/%d/%Y}",
                    harmless(one.accounts.get(side.account, side.account)),
                    amount(side.debit, entry.currency) if side.debit else "",
                    amount(side.credit, entry.currency) if side.credit else "",
                    harmless(f"{entry.words}{of}"),
                    entry.currency,
                )
            )
    return out.getvalue().encode()
