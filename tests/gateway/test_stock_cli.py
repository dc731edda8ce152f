"""`acorn stock`: files in and out, told row by row, safe to repeat."""

from __future__ import annotations

import asyncio
import csv
import errno
import io
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from typer.testing import Result

from domain.feed import FeedKind
from domain.ids import LocationCode, Sku
from domain.ledger import EntryKind, NewEntry
from gateway import stock
from store import ledger
from store.session import Store
from tests.gateway.conftest import CHANNELS, Acorn, plain
from tests.gateway.test_feeds import FEEDS, SECRET, products
from tests.store.bench import give_places

T = TypeVar("T")


@pytest.fixture
def within(acorn: Acorn, tmp_path: Path, database_url: str) -> Callable[[Callable[[Store], Coroutine[Any, Any, T]]], T]:
    """Runs something in the database of a house with two places and three products."""
    (tmp_path / "acorn.toml").write_text(CHANNELS + FEEDS, encoding="utf-8")

    def run(work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        async def once() -> T:
            store = Store(database_url)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(once())

    run(lambda store: products(store, "A", "B", "C"))
    return run


Within = Callable[[Callable[[Store], Coroutine[Any, Any, Any]]], Any]


def lying(within: Within) -> dict[str, int]:
    """What is on hand, by "SKU place"."""

    async def read(store: Store) -> dict[str, int]:
        return {f"{one.sku} {one.location}": one.on_hand async for one in stock.exported(store, None)}

    found: dict[str, int] = within(read)
    return found


def entries(within: Within) -> list[NewEntry]:
    async def read(store: Store) -> list[NewEntry]:
        async with store.begin() as tx:
            found, _ = await ledger.entries(tx, first=100)
        return [one.entry for one in reversed(found)]

    told: list[NewEntry] = within(read)
    return told


def reported(told: Result) -> list[tuple[str, ...]]:
    """The rows of a report on the standard output."""
    head, *rows = csv.reader(io.StringIO(told.stdout))
    assert head == ["row", "sku", "location", "result", "before", "after", "reason"]
    return [tuple(row) for row in rows]


def written(path: Path, *lines: str, encoding: str = "utf-8") -> str:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return str(path)


def test_a_file_of_counts_is_told_row_by_row_and_changes_nothing_the_second_time(
    acorn: Acorn,
    within: Within,
    tmp_path: Path,
) -> None:
    file = written(tmp_path / "counts.csv", "sku,quantity,location,reason", "A,5,BER,", "B,3,RNO,inventory")
    told = acorn("stock", "import", file)
    assert told.exit_code == 0, told.output
    assert reported(told) == [
        ("2", "A", "BER", "changed", "0", "5", "import of counts.csv"),
        ("3", "B", "RNO", "changed", "0", "3", "inventory"),
    ]
    assert told.stderr == "2 changed.\n"
    assert lying(within) == {"A BER": 5, "B RNO": 3}
    one = entries(within)[0]
    assert (one.kind, one.source, one.key) == (EntryKind.COUNT, "import", None)
    assert one.actor.endswith("(acorn stock)")
    again = acorn("stock", "import", file)
    assert (again.exit_code, again.stderr) == (0, "2 same.\n")
    assert reported(again)[0] == ("2", "A", "BER", "same", "5", "5", "")
    assert len(entries(within)) == 2


@pytest.mark.parametrize(
    ("name", "lines", "encoding"),
    [
        ("a.csv", ["sku,quantity", '"A",5', "", "B, 3"], "utf-8-sig"),
        ("a.csv", ["SKU;Quantity;Reason", "A;5;gezählt", "B;3;"], "utf-8"),
        ("a.tsv", ["quantity\tsku", "5\tA", "3\tB"], "utf-8"),
        ("a.jsonl", ['{"sku": "A", "quantity": 5}', "", '{"sku": "B", "quantity": "3"}'], "utf-8"),
        ("a.txt", ['{"sku": "A", "quantity": 5}', '{"sku": "B", "quantity": 3}'], "utf-8-sig"),
    ],
)
def test_files_are_read_as_they_come(
    acorn: Acorn,
    within: Within,
    tmp_path: Path,
    name: str,
    lines: list[str],
    encoding: str,
) -> None:
    file = written(tmp_path / name, *lines, encoding=encoding)
    told = acorn("stock", "import", file, "--location", "BER")
    assert told.exit_code == 0, told.output
    assert lying(within) == {"A BER": 5, "B BER": 3}


def test_a_dry_run_says_what_would_happen_and_does_nothing(acorn: Acorn, within: Within, tmp_path: Path) -> None:
    file = written(tmp_path / "moves.csv", "sku,quantity", "A,5", "A,-2", "A,-4", "A,1")
    told = acorn("stock", "import", file, "--location", "BER", "--delta", "--dry-run")
    assert reported(told) == [
        ("2", "A", "BER", "changed", "0", "5", "import of moves.csv"),
        ("3", "A", "BER", "changed", "5", "3", "import of moves.csv"),
        ("4", "A", "BER", "rejected", "3", "", "3 are there; -4 cannot be"),
        ("5", "A", "BER", "changed", "3", "4", "import of moves.csv"),
    ]
    assert (told.exit_code, told.stderr) == (1, "3 changed, 1 rejected. Nothing was booked: this was a dry run.\n")
    assert entries(within) == []
    # And the wet one says the same, though its movements meet in one transaction.
    assert reported(acorn("stock", "import", file, "--location", "BER", "--delta")) == reported(told)
    assert lying(within) == {"A BER": 4}


def test_movements_are_booked_once_unless_they_happened_again(acorn: Acorn, within: Within, tmp_path: Path) -> None:
    file = written(tmp_path / "moves.csv", "sku,quantity,kind", "A,5,RECEIPT", "B,2,")
    import_ = ("stock", "import", file, "--location", "BER", "--delta")
    assert acorn(*import_).exit_code == 0
    again = acorn(*import_)
    assert (again.exit_code, "was imported before" in again.stderr) == (1, True)
    assert lying(within) == {"A BER": 5, "B BER": 2}
    assert acorn(*import_, "--again").exit_code == 0
    assert lying(within) == {"A BER": 10, "B BER": 4}
    # Elsewhere it is another import.
    assert acorn("stock", "import", file, "--location", "RNO", "--delta").exit_code == 0
    assert [one.kind for one in entries(within)][:2] == [EntryKind.RECEIPT, EntryKind.ADJUSTMENT]


def test_an_import_that_was_interrupted_goes_on_where_it_stopped(
    acorn: Acorn,
    within: Within,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stock, "BATCH", 2)
    file = written(tmp_path / "moves.csv", "sku,quantity", "A,5", "B,2", "C,1", "A,1")

    content = Path(file).read_bytes()

    async def begin(store: Store) -> None:
        ours = frozenset({LocationCode("BER")})
        wanted = stock.Import(FeedKind.DELTA, ours, LocationCode("BER"), "x", "me")

        def stop(done: int, all: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await stock.run_import(store, io.BytesIO(content), wanted, lambda outcome: None, stop)

    within(begin)
    assert lying(within) == {"A BER": 5, "B BER": 2}
    told = acorn("stock", "import", file, "--location", "BER", "--delta")
    assert [row[3] for row in reported(told)] == ["already", "already", "changed", "changed"]
    assert lying(within) == {"A BER": 6, "B BER": 2, "C BER": 1}


def test_a_full_file_empties_what_it_does_not_name(acorn: Acorn, within: Within, tmp_path: Path) -> None:
    acorn("stock", "import", written(tmp_path / "a.csv", "sku,quantity", "A,1", "B,2", "C,3"), "--location", "BER")
    acorn("stock", "import", written(tmp_path / "b.csv", "sku,quantity", "C,9"), "--location", "RNO")
    part = written(tmp_path / "part.csv", "sku,quantity", "A,1")
    for more in ((), ("--dry-run",)):
        refused = acorn("stock", "import", part, "--location", "BER", "--full", *more)
        assert (refused.exit_code, "2 of the 3 SKUs that lie at BER" in refused.stderr) == (1, True)
    most = written(tmp_path / "most.csv", "sku,quantity", "A,1", "B,x")
    for more in (("--dry-run",), ()):
        told = acorn("stock", "import", most, "--location", "BER", "--full", *more)
        assert reported(told) == [
            ("2", "A", "BER", "same", "1", "1", ""),
            ("3", "B", "", "rejected", "", "", "`quantity` must be a whole number, not 'x'"),
            ("", "C", "BER", "changed", "3", "0", "not named by a full feed"),
        ]
    assert lying(within) == {"A BER": 1, "B BER": 2, "C BER": 0, "C RNO": 9}
    # Nobody can tell what the last row is about; it may be B.
    unread = written(tmp_path / "unread.csv", "sku,quantity", "A,1", ",2")
    assert [row[3] for row in reported(acorn("stock", "import", unread, "--location", "BER", "--full"))] == [
        "same",
        "rejected",
    ]
    assert lying(within) == {"A BER": 1, "B BER": 2, "C BER": 0, "C RNO": 9}
    assert acorn("stock", "import", part, "--location", "BER", "--full", "--confirm").exit_code == 0
    assert lying(within) == {"A BER": 1, "B BER": 0, "C BER": 0, "C RNO": 9}


BROKEN = "a quotation mark has no other end; cells with line breaks are not taken"


@pytest.mark.parametrize("kind", ["--count", "--delta", "--full"])
def test_a_quotation_mark_without_its_end_spoils_its_own_row_alone(
    acorn: Acorn, within: Within, tmp_path: Path, kind: str
) -> None:
    """And since it may be any SKU's, a full file empties nothing."""
    within(lambda store: products(store, "D", "E"))
    skus = ("A", "B", "C", "D", "E")
    acorn(
        "stock",
        "import",
        written(tmp_path / "a.csv", "sku,quantity", *(f"{sku},9" for sku in skus)),
        "--location",
        "BER",
    )
    rows = ("A,5,BER", 'B,"7,BER', "C,3,BER", 'D,"4",BER', "E,1,BER")
    file = written(tmp_path / "b.csv", "sku,quantity,location", *rows)
    for more in (("--dry-run",), ()):
        told = acorn("stock", "import", file, kind, *more)
        assert [(row[0], row[1], row[3]) for row in reported(told)] == [
            ("2", "A", "changed"),
            ("3", "", "rejected"),
            ("4", "C", "changed"),
            ("5", "D", "changed"),
            ("6", "E", "changed"),
        ]
        assert (reported(told)[1][6], told.exit_code) == (BROKEN, 1)
    old = 9 if kind == "--delta" else 0
    assert lying(within) == {"A BER": 5 + old, "B BER": 9, "C BER": 3 + old, "D BER": 4 + old, "E BER": 1 + old}


def test_a_full_file_empties_nothing_while_a_row_is_not_split_as_it_was_meant(
    acorn: Acorn, within: Within, tmp_path: Path
) -> None:
    """Its SKU may be another one than its first cell says."""
    acorn("stock", "import", written(tmp_path / "a.csv", "sku,quantity", "A,1", "B,2", "C,3"), "--location", "BER")
    file = written(tmp_path / "b.csv", "sku,quantity", "A,1", '"B,2"', "C,3", ",", ",,")
    told = acorn("stock", "import", file, "--location", "BER", "--full")
    assert [row[:4] for row in reported(told)] == [
        ("2", "A", "BER", "same"),
        ("3", "", "", "rejected"),
        ("4", "C", "BER", "same"),
    ]
    assert lying(within) == {"A BER": 1, "B BER": 2, "C BER": 3}
    # Cells without a single value are no row, so this file is full.
    file = written(tmp_path / "c.csv", "sku,quantity", "A,1", ",", ",,", "C,3")
    assert acorn("stock", "import", file, "--location", "BER", "--full").exit_code == 0
    assert lying(within) == {"A BER": 1, "B BER": 0, "C BER": 3}


def test_what_begins_like_a_formula_may_be_a_movement(acorn: Acorn, within: Within, tmp_path: Path) -> None:
    rows = ("A,+5,- damaged ones are back", "A,-2,@home", "A,=1+1,")
    file = written(tmp_path / "a.csv", "sku,quantity,reason", *rows)
    told = acorn("stock", "import", file, "--location", "BER", "--delta")
    assert [(row[3], row[6]) for row in reported(told)] == [
        ("changed", "- damaged ones are back"),
        ("changed", "@home"),
        ("rejected", "`quantity` must be a whole number, not '=1+1'"),
    ]
    assert lying(within) == {"A BER": 3}


def test_rows_with_mistakes_are_told_and_the_others_count(acorn: Acorn, within: Within, tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.csv",
        "sku,quantity,location",
        "A,5,BER",
        "nobody's,1,BER",
        "B,-1,BER",
        "C,1,HAM",
        "C,1",
        "A,6,BER",
    )
    report = tmp_path / "report.csv"
    told = acorn("stock", "import", file, "--report", str(report))
    assert (told.exit_code, told.stdout, told.stderr) == (1, "", "1 changed, 5 rejected.\n")
    rows = [tuple(row) for row in csv.reader(io.StringIO(report.read_text(encoding="utf-8")))][1:]
    assert [(row[0], row[3], row[6]) for row in rows] == [
        ("2", "changed", "import of a.csv"),
        ("3", "rejected", "no product of ours has this SKU"),
        ("4", "rejected", "a count cannot be below zero"),
        ("5", "rejected", "HAM is no place that may be told here; there is BER, RNO"),
        ("6", "rejected", "2 values stand under 3 columns"),
        ("7", "rejected", "this SKU is counted there in row 2 already; which one is meant?"),
    ]
    assert lying(within) == {"A BER": 5}
    long = written(tmp_path / "long.csv", "sku,quantity", '"' + "A" * 200_000 + '",5', "B,2")
    told = acorn("stock", "import", long, "--location", "BER")
    assert [(row[0], row[3], row[6]) for row in reported(told)] == [
        ("2", "rejected", "the line is longer than 64 KiB"),
        ("3", "changed", "import of long.csv"),
    ]
    lines = written(
        tmp_path / "a.jsonl",
        '{"sku": "A", "quantity": 7}',
        "{",
        "[1]",
        '{"sku": "A\\u0000", "quantity": 1}',
        '{"sku": "A\\ud800"}',
    )
    told = acorn("stock", "import", lines, "--location", "BER")
    assert [row[3] for row in reported(told)] == ["changed", *["rejected"] * 4]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"sku,qantity\nA,5\n", "The column `qantity` is none of ours. Did you mean `quantity`?"),
        ("a.csv", b"sku,color,quantity\nA,red,5\n", "The column `color` is none of ours. There are sku,"),
        ("a.csv", b"sku,sku,quantity\nA,A,5\n", "The column `sku` stands there twice."),
        ("a.csv", b"quantity\n5\n", "The first line must name the columns, `sku` among them."),
        ("a.csv", b"", "holds no row."),
        ("a.csv", b"sku,quantity\n", "holds no row."),
        ("a.jsonl", b"\n", "holds no row."),
        ("a.csv", "sku,quantity\nÄ,5\n".encode("latin-1"), "is not UTF-8. Save it as UTF-8"),
        ("a.csv", "sku,quantity\nA,5\n".encode("utf-16"), "The file is UTF-16. Save it as UTF-8"),
        (None, b"", "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_none_changes_nothing(
    acorn: Acorn,
    within: Within,
    tmp_path: Path,
    name: str | None,
    content: bytes,
    said: str,
) -> None:
    if name is not None:
        (tmp_path / name).write_bytes(content)
    refused = acorn("stock", "import", str(tmp_path / (name or "nothing.csv")), "--location", "BER")
    assert (refused.exit_code, said in refused.stderr) == (1, True), refused.stderr
    assert entries(within) == []


def test_what_makes_no_sense_is_refused_before_the_file_is_read(acorn: Acorn, within: Within) -> None:
    refused = acorn("stock", "import", "a.csv", "--location", "HAM")
    assert refused.stderr == "HAM is no place that the ledger counts; there is BER, RNO.\n"
    assert "Say one of" in acorn("stock", "import", "a.csv", "--full", "--delta").stderr
    assert "HAM is no place" in acorn("stock", "export", "--location", "HAM").stderr
    assert "csv or jsonl" in acorn("stock", "export", "--format", "xml").stderr


def test_what_is_exported_can_be_read_by_others(
    acorn: Acorn,
    within: Within,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stock, "PAGE", 2)
    acorn("stock", "import", written(tmp_path / "a.csv", "sku,quantity", "A,1", "B,2", "C,3"), "--location", "BER")
    acorn("stock", "import", written(tmp_path / "b.csv", "sku,quantity", "B,9"), "--location", "RNO")

    async def promise(store: Store) -> None:
        async with store.begin() as tx:
            new = NewEntry(Sku("B"), LocationCode("RNO"), EntryKind.ALLOCATION, "x", "me", "order", reserved=4)
            await ledger.post(tx, [new])

    within(promise)
    assert acorn("stock", "export").stdout.splitlines() == [
        "sku,location,on_hand,reserved,inbound,available",
        "A,BER,1,0,0,1",
        "B,BER,2,0,0,2",
        "B,RNO,9,4,0,5",
        "C,BER,3,0,0,3",
    ]
    lines = acorn("stock", "export", "--format", "jsonl", "--location", "RNO").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"sku": "B", "location": "RNO", "on_hand": 9, "reserved": 4, "inbound": 0, "available": 5}
    ]


def test_the_check_proves_the_ledger_and_finds_what_is_wrong(acorn: Acorn, within: Within, tmp_path: Path) -> None:
    acorn("stock", "import", written(tmp_path / "a.csv", "sku,quantity", "A,1", "B,2"), "--location", "BER")
    told = acorn("stock", "check")
    assert (told.exit_code, told.stdout) == (0, "2 balances, 2 entries. All are right.\n")

    async def spoil(store: Store) -> None:
        async with store.begin() as tx:
            await tx.execute(text("alter table stock_balance disable trigger user"))
            await tx.execute(text("update stock_balance set on_hand = 7 where sku = 'B'"))
            await tx.execute(text("alter table stock_balance enable trigger user"))

    within(spoil)
    told = acorn("stock", "check")
    assert told.exit_code == 1
    said = "B at BER: the balance is 7 on hand, 0 reserved, 0 inbound, the entries sum to 2 on hand, 0 reserved, 0 inbound."
    assert said in told.stdout


def test_a_number_is_explained(acorn: Acorn, within: Within, tmp_path: Path) -> None:
    acorn("stock", "import", written(tmp_path / "a.csv", "sku,quantity", "A,5"), "--location", "BER")
    told = plain(acorn("stock", "explain", "A"))
    assert "A: 5 available to sell" in told
    assert "+5  on hand at Berlin" in told
    refused = acorn("stock", "explain", "nobody's")
    assert (refused.exit_code, refused.stderr) == (1, "No product of ours has the SKU nobody's.\n")


def test_whoever_stops_reading_is_not_told_that_the_database_is_away(
    acorn: Acorn, within: Within, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> dict[str, object]:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    acorn("stock", "import", written(tmp_path / "a.csv", "sku,quantity", "A,5"), "--location", "BER")
    monkeypatch.setattr(stock, "export_row", gone)
    told = acorn("stock", "export")
    assert (told.exit_code, told.stderr) == (1, "")


def test_doctor_tells_of_shops_that_show_nothing(acorn: Acorn, within: Within) -> None:
    assert "note  places: shop shows no place of the ledger" in plain(acorn("doctor"))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "note  feed planning: no worker has begun to tell it"),
        ("(0, 0, null)", "ok  feed planning: takes what it is told"),
        (
            "(0, 3, 'It answered 500.')",
            "note  feed planning: 3 times in a row not taken; the last time it was: never. It answered 500.",
        ),
        ("(-2, 0, null)", "note  feed planning: it was away for longer than events are kept"),
    ],
)
def test_doctor_tells_how_a_feed_goes(
    acorn: Acorn, within: Within, tmp_path: Path, state: str | None, said: str
) -> None:
    feed = f'[[feeds_out]]\nid = "planning"\nurl = "https://planning.example"\nsecret = "{SECRET}"\n'
    (tmp_path / "acorn.toml").write_text(CHANNELS + FEEDS + feed, encoding="utf-8")

    async def happen(store: Store) -> None:
        async with store.begin() as tx:
            await ledger.post(
                tx, [NewEntry(Sku("A"), LocationCode("BER"), EntryKind.COUNT, "x", "me", "test", on_hand=1)]
            )
        await give_places(store)
        async with store.begin() as tx:
            if state is not None:
                values = f"(feed, seq, failures, last_error) select 'planning', * from (values {state}) told"
                await tx.execute(text(f"insert into feed_cursor {values}"))

    within(happen)
    assert said in plain(acorn("doctor"))
