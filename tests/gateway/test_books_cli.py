"""`acorn finance journal`, `chart` and `bank import`: what settlements come to, as files for others, and statements of banks."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId
from domain.money import Money
from domain.settlement import SettlementKind, Statement
from store import settlement
from tests.adapters.amazon.settlements import entries, file_in
from tests.adapters.bank.camt import document, entry, payment, statement
from tests.gateway.conftest import Acorn, in_store
from tests.schema.test_settlement import ENDED, line

SHOP = """
[journals]
chart = "books.toml"

[[channels]]
id = "shop"
platform = "shopify"
name = "Shop"
shop = "shop.myshopify.com"
access_token = "t"
endpoint = "http://127.0.0.1:9"
"""
ACCOUNT = """
[[channels]]
id = "amazon-de"
platform = "amazon"
name = "Amazon"
seller_id = "A1"
region = "eu"
marketplaces = ["DE"]
client_id = "c"
client_secret = "s"
refresh_token = "r"
endpoint = "http://127.0.0.1:9"
"""
DAYS = ("--from", "2026-11-01", "--to", "2026-11-30")


@pytest.fixture
def folder(acorn: Acorn, tmp_path: Path, database_url: str) -> Path:
    """A house with a chart of its own and one payout of 61.00."""
    chart = acorn("finance", "chart", "skr04").stdout
    own = "\n[datev]\nconsultant = 29098\nclient = 55003\n"
    (tmp_path / "books.toml").write_text(chart + own, encoding="utf-8")
    (tmp_path / "acorn.toml").write_text(SHOP, encoding="utf-8")

    async def keep(tx: AsyncConnection) -> None:
        whole = Statement(
            ChannelId("shop"),
            SettlementKind.PAYOUT,
            "PO12345",
            None,
            ENDED - timedelta(days=14),
            ENDED,
            datetime(2026, 11, 16, tzinfo=UTC),
            Money(Decimal(61), "EUR"),
        )
        rows = [replace(line("100.00"), row=1), replace(line("-39.00"), row=2)]
        await settlement.keep(tx, whole, rows)

    in_store(database_url, keep)
    return tmp_path


def test_a_journal_is_shown_closed_and_written_with_the_same_bytes_again(acorn: Acorn, folder: Path) -> None:
    shown = acorn("finance", "journal", *DAYS)
    assert (shown.exit_code, shown.stdout.splitlines()[1].split(",")[:6]) == (
        0,
        ["", "1", "2026-11-14", "LINES", "6770", "Verkaufsprovisionen"],
    )
    first = acorn("finance", "journal", *DAYS, "--close", "--layout", "datev")
    assert "Journal 1 is closed." in first.stderr
    assert first.stdout.startswith('"EXTF";700;21;"Buchungsstapel";13;')
    again = acorn("finance", "journal", *DAYS, "--close", "--layout", "datev")
    assert ("Nothing has changed since journal 1." in again.stderr, again.stdout) == (True, first.stdout)
    assert acorn("finance", "journal", "--number", "1", "--layout", "datev").stdout == first.stdout
    for arguments, words in (
        (("--number", "2"), "There is no closed journal 2."),
        ((), "Say --from and --to, or --number."),
        (("--number", "1", "--close"), "leave --from, --to, --channel and --close out"),
        ((*DAYS, "--layout", "sap"), "There is no layout sap"),
        ((*DAYS, "--channel", "other"), "There is no channel other; there is shop."),
        (("--from", "soon", "--to", "2026-11-30"), "--from is 'soon'"),
        ((*DAYS[:2], "--to", "2026-12-31", "--close"), "Journal 1 has 2026-11-01 to 2026-11-30"),
    ):
        refused = acorn("finance", "journal", *arguments)
        assert (refused.exit_code, words in refused.stderr) == (1, True), (arguments, refused.stderr)


def test_statements_are_tried_taken_and_known_again(acorn: Acorn, folder: Path) -> None:
    details = f"<NtryDtls>{payment('E2E', 'Payout PO12345')}</NtryDtls>"
    (folder / "good.xml").write_bytes(document(statement(entry("61.00", details=details, reference="R1"))))
    (folder / "bad.xml").write_bytes(document(statement(entry("61,00"))))
    tried = acorn("finance", "bank", "import", "good.xml", "--dry-run")
    assert tried.stdout == "good.xml: 1 lines, 1 new; 1 more payouts have their line.\n"
    told = acorn("finance", "bank", "import", "bad.xml", "good.xml")
    assert (told.exit_code, "Nothing was kept: entry 1 of statement ST-1: '61,00' is no amount." in told.stderr) == (
        1,
        True,
    )
    assert told.stdout == tried.stdout
    again = acorn("finance", "bank", "import", "good.xml", "--account", "DE02120300000000202051")
    assert again.stdout == "good.xml: 1 lines, 0 new; 0 more payouts have their line.\n"
    (folder / "bank.csv").write_text("Tag;Betrag\n17.11.2026;-5,00\n", encoding="utf-8")
    options = ("--account", "DE02", "--column", "date=Tag", "--column", "amount=Betrag", "--currency", "EUR")
    told = acorn("finance", "bank", "import", "bank.csv", *options, "--decimal", ",", "--day", "%d.%m.%Y")
    assert told.stdout == "bank.csv: 1 lines, 1 new; 0 more payouts have their line.\n"
    wrong = acorn("finance", "bank", "import", "bank.csv", "--column", "date")
    assert (wrong.exit_code, "write ours=theirs" in wrong.stderr) == (1, True)


def test_a_chart_that_is_wrong_is_named_with_its_line(acorn: Acorn, folder: Path) -> None:
    (folder / "books.toml").write_text("name = 1\n", encoding="utf-8")
    told = acorn("finance", "journal", *DAYS)
    assert (told.exit_code, "line 3: books.toml: The chart has no table [accounts]" in told.stderr) == (1, True)
    (folder / "books.toml").unlink()
    assert "there is no file books.toml that can be read" in acorn("finance", "journal", *DAYS).stderr
    assert "There is no chart 'sap'" in acorn("finance", "chart", "sap").stderr


def test_a_settlement_file_of_amazon_becomes_a_batch_of_postings_that_come_to_its_total(
    acorn: Acorn, folder: Path
) -> None:
    (folder / "acorn.toml").write_text(ACCOUNT + SHOP, encoding="utf-8")
    (folder / "DE.txt").write_bytes(file_in("DE", entries("DE"), id="DE1")[0])
    kept = acorn("finance", "import", "DE.txt")
    assert (kept.exit_code, "kept" in kept.stdout) == (0, True), kept.output
    total = sum((one.amount for one in entries("DE")), Decimal(0))
    told = acorn("finance", "journal", "--from", "2026-01-01", "--to", "2026-12-31", "--channel", "amazon-de")
    head, *rows = csv.reader(told.stdout.splitlines())
    lines = [dict(zip(head, row, strict=True)) for row in rows]
    sides = [Decimal(one["debit"]) - Decimal(one["credit"]) for one in lines]
    clearing = [
        side for one, side in zip(lines, sides, strict=True) if (one["kind"], one["account"]) == ("LINES", "1370")
    ]
    assert (sum(sides), clearing) == (0, [total])
    written = acorn("finance", "journal", "--from", "2026-01-01", "--to", "2026-12-31", "--layout", "datev", "--close")
    assert "Of 3 units nobody has said what they cost." in written.stderr
    booked = [row.split(";") for row in written.stdout.splitlines()[2:]]
    # What is of orders stands in suspense: nobody knows them. Account, contra account and side:
    assert {(row[6], row[7], row[1]) for row in booked} >= {("3630", "1370", '"H"'), ("6770", "1370", '"S"')}
