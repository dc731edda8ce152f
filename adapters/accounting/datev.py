"""Journals as DATEV imports them: the "DATEV-Format", category 21 "Buchungsstapel", format version 13, header version 700.

A line is a pair: an amount above 0, S (debit) or H (credit) for the account, and the contra account on the other side, which is
just what a posting is. Texts stand in quotes, numbers have a decimal comma, days are TTMM within one business year, the file is
in Windows-1252 with CR LF. Source: DATEV developer portal, "DATEV-Format", pages Header and Buchungsstapel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import chain

from domain.chart import Chart, Datev
from domain.errors import Invalid
from domain.journal import Entry, Journal, Posting
from domain.money import minor_digits

Rate = Callable[[str, date], Decimal | None]
"""What one unit of the books' currency was worth in another one on a day; None where nobody has told."""

_NUMBER, _TEXT = False, True


def _columns() -> Iterator[tuple[str, bool]]:
    """All 125 columns in their order, and which are texts."""
    for name in ("Umsatz (ohne Soll/Haben-Kz)", "Soll/Haben-Kennzeichen", "WKZ Umsatz", "Kurs", "Basis-Umsatz"):
        yield name, name in ("Soll/Haben-Kennzeichen", "WKZ Umsatz")
    yield "WKZ Basis-Umsatz", _TEXT
    for name in ("Konto", "Gegenkonto (ohne BU-Schlüssel)"):
        yield name, _NUMBER
    yield "BU-Schlüssel", _TEXT
    yield "Belegdatum", _NUMBER
    yield "Belegfeld 1", _TEXT
    yield "Belegfeld 2", _TEXT
    yield "Skonto", _NUMBER
    yield "Buchungstext", _TEXT
    yield "Postensperre", _NUMBER
    yield "Diverse Adressnummer", _TEXT
    for name in ("Geschäftspartnerbank", "Sachverhalt", "Zinssperre"):
        yield name, _NUMBER
    yield "Beleglink", _TEXT
    for number in range(1, 9):
        yield f"Beleginfo - Art {number}", _TEXT
        yield f"Beleginfo - Inhalt {number}", _TEXT
    yield "KOST1 - Kostenstelle", _TEXT
    yield "KOST2 - Kostenstelle", _TEXT
    yield "Kost-Menge", _NUMBER
    yield "EU-Land u. UStID (Bestimmung)", _TEXT
    yield "EU-Steuersatz (Bestimmung)", _NUMBER
    yield "Abw. Versteuerungsart", _TEXT
    for name in ("Sachverhalt L+L", "Funktionsergänzung L+L", "BU 49 Hauptfunktionstyp", "BU 49 Hauptfunktionsnummer"):
        yield name, _NUMBER
    yield "BU 49 Funktionsergänzung", _NUMBER
    for number in range(1, 21):
        yield f"Zusatzinformation - Art {number}", _TEXT
        yield f"Zusatzinformation - Inhalt {number}", _TEXT
    for name in ("Stück", "Gewicht", "Zahlweise"):
        yield name, _NUMBER
    yield "Forderungsart", _TEXT
    for name in ("Veranlagungsjahr", "Zugeordnete Fälligkeit", "Skontotyp"):
        yield name, _NUMBER
    yield "Auftragsnummer", _TEXT
    yield "Buchungstyp", _TEXT
    yield "USt-Schlüssel (Anzahlungen)", _NUMBER
    yield "EU-Land (Anzahlungen)", _TEXT
    for name in ("Sachverhalt L+L (Anzahlungen)", "EU-Steuersatz (Anzahlungen)", "Erlöskonto (Anzahlungen)"):
        yield name, _NUMBER
    yield "Herkunft-Kz", _TEXT
    yield "Buchungs GUID", _TEXT
    yield "KOST-Datum", _NUMBER
    yield "SEPA-Mandatsreferenz", _TEXT
    yield "Skontosperre", _NUMBER
    yield "Gesellschaftername", _TEXT
    yield "Beteiligtennummer", _NUMBER
    yield "Identifikationsnummer", _TEXT
    yield "Zeichnernummer", _TEXT
    yield "Postensperre bis", _NUMBER
    yield "Bezeichnung SoBil-Sachverhalt", _TEXT
    for name in (
        "Kennzeichen SoBil-Buchung",
        "Festschreibung",
        "Leistungsdatum",
        "Datum Zuord. Steuerperiode",
        "Fälligkeit",
    ):
        yield name, _NUMBER
    yield "Generalumkehr (GU)", _TEXT
    yield "Steuersatz", _NUMBER
    yield "Land", _TEXT
    yield "Abrechnungsreferenz", _TEXT
    yield "BVV-Position", _NUMBER
    yield "EU-Land u. UStID (Ursprung)", _TEXT
    yield "EU-Steuersatz (Ursprung)", _NUMBER
    yield "Abw. Skontokonto", _NUMBER


COLUMNS = tuple(_columns())
_MOST = Decimal("9999999999.99")
_RATES = Decimal("0.000001"), Decimal("9999.999999")
_RECEIPT = re.compile(r"[^A-Za-z0-9$&%*/]+")


def write(one: Journal, chart: Chart, rate: Rate) -> bytes:
    """The journal as a batch that is not locked. Amounts in other currencies than the chart's carry the rate of their day.

    Raises Invalid, saying what to do, for what DATEV cannot take: a chart without the numbers of consultant and client, accounts
    that are no numbers of the right length, two business years, a currency without a rate.
    """
    told = chart.datev
    if told is None:
        raise Invalid(
            "The chart has no table [datev] with `consultant` and `client`: DATEV wants to know whose books they are. "
            "Write one into the chart that `journals.chart` names; `acorn finance chart skr04` prints one to begin with."
        )
    days = [entry.day for entry in one.entries] or [one.period.last]
    years = {told.year_of(day) for day in days}
    if len(years) > 1:
        raise Invalid(f"Days from {min(days)} to {max(days)} lie in two business years, and DATEV takes one at a time.")
    rows = chain.from_iterable(_rows(entry, chart, told, rate) for entry in one.entries)
    lines = [_header(one, chart, told, years.pop(), (min(days), max(days))), [name for name, _ in COLUMNS], *rows]
    text = "".join(f"{';'.join(cells)}\r\n" for cells in lines)
    return text.encode("cp1252", "replace")


def _header(one: Journal, chart: Chart, told: Datev, year: date, days: tuple[date, date]) -> list[str]:
    made = one.known_at.astimezone(chart.zone)
    title = "Journal" if one.number is None else f"Journal {one.number}"
    return [
        _quoted("EXTF"),
        "700",
        "21",
        _quoted("Buchungsstapel"),
        "13",
        f"{made:%Y%m%d%H%M%S}{made.microsecond // 1000:03}",
        "",
        _quoted("RE"),
        _quoted("ACORN"),
        _quoted(""),
        str(told.consultant),
        str(told.client),
        f"{year:%Y%m%d}",
        str(told.digits),
        f"{days[0]:%Y%m%d}",
        f"{days[1]:%Y%m%d}",
        _quoted(title),
        _quoted(""),
        "1",  # of the financial accounts
        "0",  # for tax and commercial law alike
        "0",  # not locked
        _quoted(chart.currency),
        "",
        _quoted(""),
        "",
        "",
        _quoted(""),
        "",
        "",
        _quoted(""),
        _quoted(""),
    ]


def _rows(entry: Entry, chart: Chart, told: Datev, rate: Rate) -> Iterator[list[str]]:
    for posting in entry.postings:
        if posting.amount:
            cells = _cells(entry, posting, chart, told, rate)
            yield [_quoted(cells.get(name, "")) if text else cells.get(name, "") for name, text in COLUMNS]


def _cells(entry: Entry, posting: Posting, chart: Chart, told: Datev, rate: Rate) -> dict[str, str]:
    amount = abs(posting.amount)
    if minor_digits(entry.currency) > 2 or amount > _MOST:
        raise Invalid(f"{entry.words}: {amount:f} {entry.currency} does not fit into DATEV's 10 digits and 2 decimals.")
    of = entry.kind.value if posting.money_class is None else posting.money_class.value
    cells = {
        "Umsatz (ohne Soll/Haben-Kz)": _number(amount, 2),
        "Soll/Haben-Kennzeichen": "S" if posting.amount > 0 else "H",
        "WKZ Umsatz": entry.currency,
        "Konto": _account(posting.account, told),
        "Gegenkonto (ohne BU-Schlüssel)": _account(entry.contra, told),
        "Belegdatum": f"{entry.day:%d%m}",
        "Belegfeld 1": _RECEIPT.sub("", entry.reference or "")[-36:],
        "Buchungstext": f"{of} {entry.words}"[:60],
        "Beleginfo - Art 1": "Abrechnung" if entry.settlement else "",
        "Beleginfo - Inhalt 1": (entry.settlement or "")[:210],
        "Beleginfo - Art 2": "Zeilen" if posting.lines else "",
        "Beleginfo - Inhalt 2": str(posting.lines) if posting.lines else "",
        "Festschreibung": "0",
    }
    if entry.currency != chart.currency:
        worth = rate(entry.currency, entry.day)
        if worth is None:
            raise Invalid(
                f"No rate tells what 1 {chart.currency} was worth in {entry.currency} on {entry.day}. Tell one with "
                "`acorn fx import`."
            )
        if not _RATES[0] <= worth <= _RATES[1]:
            raise Invalid(f"The rate {worth:f} of {entry.currency} does not fit into DATEV's 4 digits and 6 decimals.")
        base = (amount / worth).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
        cells |= {"Kurs": _number(worth, 6), "Basis-Umsatz": _number(base, 2), "WKZ Basis-Umsatz": chart.currency}
    return cells


def _account(code: str, told: Datev) -> str:
    # Accounts of people and firms have one digit more.
    if not code.isdecimal() or not code.isascii() or len(code) not in (told.digits, told.digits + 1):
        raise Invalid(
            f"The account {code} is no number of {told.digits} (or, of a debtor or creditor, {told.digits + 1}) digits."
        )
    return code


def _number(value: Decimal, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace(".", ",")


def _quoted(text: str) -> str:
    clean = "".join(sign if sign.isprintable() else " " for sign in text)
    return '"' + clean.replace('"', '""') + '"'
