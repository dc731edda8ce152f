"""`acorn finance`: settlements from files, whole or not at all, safe to repeat, and the files again as they came."""

from __future__ import annotations

import csv
import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from store.tables import finance_file, money_line
from tests.adapters.amazon.settlements import entries, file_in
from tests.gateway.conftest import Acorn, in_store

CHANNELS = "".join(
    f"""
[[channels]]
id = "{id}"
platform = "amazon"
name = "{id}"
seller_id = "A1"
region = "{region}"
marketplaces = [{stores}]
client_id = "c"
client_secret = "s"
refresh_token = "r"
endpoint = "http://127.0.0.1:9"
"""
    for id, region, stores in (
        ("amazon-us", "na", '"US"'),
        ("amazon-de", "eu", '"DE", "FR"'),
        ("second-de", "eu", '"DE"'),
    )
)
CHANNELS += '[[channels.pools]]\ncode = "second"\nname = "The second"\nmarketplaces = ["DE"]\n'


@pytest.fixture
def folder(acorn: Acorn, tmp_path: Path) -> Path:
    """A house of three accounts, and files of three stores."""
    (tmp_path / "acorn.toml").write_text(CHANNELS, encoding="utf-8")
    for name in ("US", "DE", "FR"):
        (tmp_path / f"{name}.txt").write_bytes(file_in(name, entries(name), id=name)[0])
    return tmp_path


def test_files_are_tried_kept_and_known_again_with_a_report(acorn: Acorn, folder: Path, database_url: str) -> None:
    packed = folder / "FR.txt.gz"
    packed.write_bytes(gzip.compress((folder / "FR.txt").read_bytes()))
    wrong = folder / "wrong.txt"
    wrong.write_bytes(file_in("US", entries("US"), Decimal("1.00"), id="wrong")[0])
    tried = acorn("finance", "import", "US.txt", str(packed), "--dry-run")
    assert (tried.exit_code, "Nothing was kept" in tried.stderr) == (0, True)
    told = acorn("finance", "import", "US.txt", str(packed), "wrong.txt", "--report", "report.csv")
    assert told.exit_code == 1
    first, second, third = told.stdout.splitlines()
    assert tried.stdout.splitlines() == [first, second]
    assert first.startswith("US.txt: kept, 10 rows at amazon-us: ")
    assert second.startswith("FR.txt.gz: kept, 10 rows at amazon-de: ")
    assert third.startswith("wrong.txt: refused. The 10 rows come to -3.93 USD, and `total-amount` is 1.00: ")
    with (folder / "report.csv").open(encoding="utf-8", newline="") as opened:
        assert [[*row[:3], row[3].partition(":")[0]] for row in csv.reader(opened)] == [
            ["file", "result", "channel", "settlement"],
            ["US.txt", "kept", "amazon-us", "Settlement"],
            ["FR.txt.gz", "kept", "amazon-de", "Settlement"],
            ["wrong.txt", "refused", "amazon-us", ""],
        ]
    again = acorn("finance", "import", "US.txt", "FR.txt")
    assert again.exit_code == 0
    assert again.stdout == f"{first}\n{second}\n".replace("kept", "known already").replace(".gz", "")
    assert in_store(database_url, lambda tx: tx.scalar(select(func.count()).select_from(money_line))) == 20
    id = in_store(database_url, lambda tx: tx.scalar(select(finance_file.c.id).where(finance_file.c.name == "US.txt")))
    assert acorn("finance", "file", id).stdout_bytes == (folder / "US.txt").read_bytes()
    packed_again = acorn("finance", "file", f"SettlementFile:{id}", "--gzip").stdout_bytes
    assert gzip.decompress(packed_again) == (folder / "US.txt").read_bytes()
    assert "There is no file other" in acorn("finance", "file", "other").stderr


def test_whose_a_file_is_is_asked_where_it_could_be_two_accounts_and_nothing_is_taken_before(
    acorn: Acorn, folder: Path, database_url: str
) -> None:
    told = acorn("finance", "import", "US.txt", "DE.txt")
    assert told.exit_code == 1
    assert (
        "DE.txt: More than one channel of acorn.toml sells where this file is of. Say --channel: amazon-de, second-de."
        in told.stderr
    )
    for name, contents, flaw in (
        ("empty.txt", b"", "The file is empty"),
        ("list.csv", b"sku,amount\nMUG,1.00\n", "The file has no column `settlement-id`"),
        ("broken.txt.gz", b"\x1f\x8b\x09\x00no gzip at all", "It is damaged"),
    ):
        (folder / name).write_bytes(contents)
        assert f"{name}: This is no settlement file. {flaw}" in acorn("finance", "import", name).stderr
    assert in_store(database_url, lambda tx: tx.scalar(select(func.count()).select_from(finance_file))) == 0
    (folder / "JP.txt").write_bytes(file_in("JP", entries("JP"))[0])
    assert "JP.txt: No channel of acorn.toml sells" in acorn("finance", "import", "JP.txt").stderr
    assert "There is no Amazon channel shop" in acorn("finance", "import", "DE.txt", "--channel", "shop").stderr
    assert "no.txt cannot be read: No such file" in acorn("finance", "import", "no.txt").stderr
    assert acorn("finance", "import", "DE.txt", "--channel", "second-de").stdout.startswith(
        "DE.txt: kept, 10 rows at second-de: "
    )
