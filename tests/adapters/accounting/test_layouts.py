"""Journals in the layouts of others: every amount on the right side, nothing that a spreadsheet would run, and no guess."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from adapters.accounting import datev, plain, quickbooks
from domain.chart import Datev, built_in
from domain.errors import Invalid
from domain.ids import ChannelId
from domain.journal import Booked, Goods, Journal, Period, Settled, entries
from domain.money import Money
from domain.money_class import Event, MoneyClass

NOVEMBER = Period(date(2026, 11, 1), date(2026, 11, 30))
CHART = replace(built_in("skr04"), datev=Datev(consultant=29098, client=55003))


def euros(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def journal(currency: str = "EUR") -> Journal:
    def money(amount: str) -> Money:
        return Money(Decimal(amount), currency)

    whole = Settled(
        "s-1", ChannelId("amazon"), "=cmd|12345", "DE", money("85.45"), date(2026, 11, 14), date(2026, 11, 16)
    )
    rows = [
        Booked("s-1", Event.SALE, MoneyClass.SALE, money("100.00"), 4),
        Booked("s-1", Event.SALE, MoneyClass.REFERRAL_FEE, money("-15.00"), 4),
        Booked("s-1", Event.SALE, MoneyClass.TAX_COLLECTED, money("0.45"), 1, open=True),
    ]
    made = entries(NOVEMBER, [whole], rows, [Goods(ChannelId("amazon"), "s-1", money("40.005"), 4, 4)], CHART)
    known_at = datetime(2026, 12, 1, 8, 30, 15, 123_456, tzinfo=UTC)
    return Journal(NOVEMBER, (), known_at, CHART.name, made, dict(CHART.accounts), number=12)


def rows_of(body: bytes, encoding: str = "utf-8", mark: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode(encoding), newline=""), delimiter=mark))


def test_plain_csv_has_both_sides_with_the_way_back_to_the_lines() -> None:
    head, *rows = rows_of(plain.write(journal()))
    told = [dict(zip(head, row, strict=True)) for row in rows]
    assert tuple(head) == plain.COLUMNS
    assert sum(Decimal(one["debit"]) for one in told) == sum(Decimal(one["credit"]) for one in told)
    sale = next(one for one in told if one["class"] == "SALE")
    assert (sale["account"], sale["credit"], sale["lines"], sale["settlementId"]) == ("4200", "100.00", "4", "s-1")
    assert {one["settlement"] for one in told} == {"'=cmd|12345"}
    cost = next(one for one in told if one["kind"] == "GOODS" and one["units"])
    assert (cost["debit"], cost["units"], cost["rounded"]) == ("40.00", "4", "0.005")
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_quickbooks_has_names_of_accounts_and_either_side() -> None:
    head, *rows = rows_of(quickbooks.write(journal()))
    assert tuple(head) == quickbooks.COLUMNS
    assert rows[-1] == ["12-3", "11/16/2026", "Durchlaufende Posten", "", "85.45", "Payout amazon DE =cmd|12345", "EUR"]
    by_entry: dict[str, Decimal] = {}
    for row in rows:
        assert bool(row[3]) != bool(row[4])
        by_entry[row[0]] = by_entry.get(row[0], Decimal(0)) + Decimal(row[3] or 0) - Decimal(row[4] or 0)
    assert by_entry == {"12-1": 0, "12-2": 0, "12-3": 0}
    with pytest.raises(Invalid, match="close this one first"):
        quickbooks.write(replace(journal(), number=None))


def test_datev_has_its_header_all_columns_and_pairs_of_accounts() -> None:
    body = datev.write(journal(), CHART, lambda *_: None)
    assert body.endswith(b"\r\n")
    first, head, *rows = rows_of(body, "cp1252", ";")
    assert body.split(b"\r\n")[0].decode("cp1252") == (
        '"EXTF";700;21;"Buchungsstapel";13;20261201093015123;;"RE";"ACORN";"";29098;55003;20260101;4;20261114;20261116;'
        '"Journal 12";"";1;0;0;"EUR";;"";;;"";;;"";""'
    )
    assert (len(first), len(head), {len(row) for row in rows}) == (31, 125, {125})
    assert head[:2] == ["Umsatz (ohne Soll/Haben-Kz)", "Soll/Haben-Kennzeichen"]
    told = [dict(zip(head, row, strict=True)) for row in rows]
    pairs = [
        (one[head[0]], one[head[1]], one["Konto"], one["Gegenkonto (ohne BU-Schlüssel)"], one["Belegdatum"])
        for one in told
    ]
    assert sorted(pairs) == [
        ("0,45", "H", "3630", "1370", "1411"),
        ("100,00", "H", "4200", "1370", "1411"),
        ("15,00", "S", "6770", "1370", "1411"),
        ("40,00", "S", "5880", "1140", "1411"),
        ("85,45", "S", "1460", "1370", "1611"),
    ]
    assert {one["Belegfeld 1"] for one in told} == {"cmd12345"}
    assert {one["Festschreibung"] for one in told} == {"0"}


def test_datev_converts_by_the_rate_of_the_day_and_refuses_without_one() -> None:
    dollars = journal("USD")
    with pytest.raises(Invalid, match=r"1 EUR was worth in USD on 2026-11-14. Tell one with `acorn fx import`"):
        datev.write(dollars, CHART, lambda *_: None)
    head, *rows = rows_of(datev.write(dollars, CHART, lambda *_: Decimal("1.25")), "cp1252", ";")[1:]
    sale = next(row for row in rows if row[0] == "100,00")
    assert sale[:6] == ["100,00", "H", "USD", "1,250000", "80,00", "EUR"]
    with pytest.raises(Invalid, match="does not fit into DATEV's 4 digits"):
        datev.write(dollars, CHART, lambda *_: Decimal("17000"))
    assert len(head) == 125


@pytest.mark.parametrize(
    ("chart", "one", "words"),
    [
        (built_in("skr04"), journal(), "no table"),
        (replace(CHART, datev=Datev(29098, 55003, digits=6)), journal(), "no number of 6"),
        (replace(CHART, datev=Datev(29098, 55003, year_begins=12)), None, "two business years"),
    ],
)
def test_what_datev_cannot_take_is_refused_with_what_to_do(chart: object, one: Journal | None, words: str) -> None:
    told = journal() if one is None else one
    if one is None:
        later = replace(told.entries[0], day=date(2026, 12, 1))
        told = replace(told, entries=(*told.entries, later))
    with pytest.raises(Invalid, match=words):
        datev.write(told, chart, lambda *_: None)  # type: ignore[arg-type]
