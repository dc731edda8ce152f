"""Settlement files: every store's manner is found out, every row is told as it stands, and what is doubtful is refused whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon.settlement_file import SettlementFile
from adapters.settlement import FileRefused
from domain.channel import Channel, Platform
from domain.ids import ChannelId
from domain.money import Money
from domain.settlement import StatementRow
from tests.adapters.amazon.settlements import END, START, STORES, SUBSCRIPTIONS, entries, file_in, read

EU = Channel(ChannelId("eu"), Platform.AMAZON, "EU", sandbox=True, marketplaces=("DE", "FR", "UK"))
MARKS = {"US": ".", "DE": ",", "FR": ",", "JP": None}
CHARSETS = {"US": "utf-8", "DE": "cp1252", "FR": "utf-8", "JP": "cp932"}
AT = START + timedelta(days=3, seconds=1)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("told", [True, False])
def test_each_store_s_manner_is_found_out(store: str, told: bool) -> None:
    wanted = entries(store)
    content, content_type = file_in(store, wanted)
    reader, rows = read(content, content_type if told else "")
    assert [row.number for row in rows] == list(range(1, len(wanted) + 1))
    assert [(row.kind, row.amount_kind, row.description, row.amount) for row in rows] == [
        (one.transaction, one.kind, one.description, one.amount) for one in wanted
    ]
    assert {row.posted_at for row in rows} == {AT}
    assert rows[-1] == StatementRow(
        len(wanted), "other-transaction", "other-transaction", SUBSCRIPTIONS[store], wanted[-1].amount, AT
    )
    assert rows[5] == StatementRow(
        6, "Refund", "ItemPrice", "Principal", wanted[5].amount, AT, wanted[5].order, None, "A1", "S1", store,
        "AFN", "2", None, None, "SKU-2", 1,
    )  # fmt: skip
    head = reader.head
    assert head is not None
    assert (head.external_id, head.starts_at, head.ends_at) == ("12345678901", START, END)
    assert head.deposited_at == END + timedelta(days=2)
    assert head.total.amount == sum((row.amount for row in rows), Decimal(0))
    assert reader.dialect["decimalMark"] == MARKS[store]
    assert reader.dialect["charset"] == CHARSETS[store]


def test_a_british_file_has_days_as_in_europe_and_decimals_as_in_america() -> None:
    wanted = entries("DE")
    content, _ = file_in("DE", wanted)
    for there, here in ((b",", b"."), (b"EUR", b"GBP"), (b"Amazon.de", b"Amazon.co.uk"), (b"b\xfchr", b"uhr")):
        assert there in content
        content = content.replace(there, here)
    reader, rows = read(content)
    assert [row.amount for row in rows] == [one.amount for one in wanted]
    assert {row.posted_at for row in rows} == {AT}
    assert {row.marketplace for row in rows} == {"UK", None}
    assert (reader.dialect["decimalMark"], reader.dialect["instants"]) == (".", "DD.MM.YYYY")
    assert reader.statement(EU).marketplace == "UK"
    assert reader.statement(EU).total == Money(sum((one.amount for one in wanted), Decimal(0)), "GBP")


def test_a_row_names_its_marketplace_by_its_code_where_it_is_one_of_amazon_s() -> None:
    wanted = entries("DE")
    elsewhere = [wanted[0].with_(store="Amazon.fr"), wanted[1].with_(store="Non-Amazon"), *wanted[2:]]
    reader, rows = read(file_in("DE", elsewhere)[0])
    assert [row.marketplace for row in rows[:3]] == ["FR", None, "DE"]
    assert reader.marketplaces == {"DE", "FR"}
    assert reader.statement(EU).marketplace is None, "euros are of both"


@given(st.sampled_from(STORES), st.integers(1, 400))
def test_rows_are_the_same_however_the_bytes_come(store: str, size: int) -> None:
    content, _ = file_in(store, [one for number in range(3) for one in entries(store, number)])
    whole, rows = read(content)
    pieces, again = read(content, size=size)
    assert again == rows
    assert pieces.dialect == whole.dialect
    assert pieces.head == whole.head


@given(st.lists(st.decimals(-9999, 9999, places=2), max_size=30), st.sampled_from(["US", "DE"]))
def test_whatever_the_amounts_their_sum_is_the_total_or_the_file_is_refused(amounts: list[Decimal], store: str) -> None:
    rows = [entries(store)[0].with_(amount=amount) for amount in amounts]
    content, _ = file_in(store, rows)
    assert [row.amount for row in read(content)[1]] == amounts
    wrong, _ = file_in(store, rows, sum(amounts, Decimal("0.01")))
    with pytest.raises(FileRefused, match=r"the difference is 0\.01 "):
        read(wrong)


def test_the_marketplace_is_the_one_that_rows_name_and_else_the_only_one_of_the_currency() -> None:
    named, _ = read(file_in("FR", entries("FR"))[0])
    assert named.statement(EU).marketplace == "FR"
    assert named.statement(EU, "DE").marketplace == "DE"
    unnamed, _ = read(file_in("FR", entries("FR")[-1:])[0])
    assert unnamed.statement(EU).marketplace is None
    pounds, _ = read(changed(file_in("FR", entries("FR")[-1:])[0], "EUR", "GBP"))
    told = pounds.statement(EU)
    assert (told.marketplace, told.total) == ("UK", Money(Decimal("-39.00"), "GBP"))
    assert (told.channel, told.external_id, told.starts_at, told.ends_at) == (EU.id, "12345678901", START, END)


def test_a_file_of_another_region_s_account_is_refused() -> None:
    """What is once in the books of a channel stays there."""
    ours, _ = read(file_in("DE", entries("DE"))[0])
    assert ours.statement(EU).marketplace == "DE"
    theirs, _ = read(file_in("US", entries("US"))[0])
    with pytest.raises(FileRefused, match="The rows are of US, and channel eu sells in another region: in DE, FR, UK"):
        theirs.statement(EU)


def test_british_files_have_points_before_pence_and_days_first() -> None:
    content, _ = file_in("FR", entries("FR"))
    for before, after in ((",", "."), ("EUR", "GBP"), ("Amazon.fr", "Amazon.co.uk")):
        content = changed(content, before, after)
    reader, rows = read(content)
    assert [row.amount for row in rows] == [one.amount for one in entries("FR")]
    assert (reader.dialect["decimalMark"], reader.dialect["instants"]) == (".", "DD.MM.YYYY")
    assert (reader.statement(EU).marketplace, rows[0].posted_at) == ("UK", AT)


def lines_of(store: str) -> list[list[str]]:
    content, _ = file_in(store, entries(store))
    return [line.split("\t") for line in content.decode(CHARSETS[store]).removeprefix("\ufeff").splitlines()]


def bytes_of(lines: list[list[str]], end: str = "\n") -> bytes:
    return "".join("\t".join(line) + end for line in lines).encode()


def changed(content: bytes, before: str, after: str) -> bytes:
    assert before.encode() in content
    return content.replace(before.encode(), after.encode())


def test_a_file_that_says_the_whole_again_on_each_line_is_the_same_file() -> None:
    lines = lines_of("DE")
    repeated = [lines[0], *([*lines[1][:6], *line[6:]] for line in lines[2:])]
    assert read(bytes_of(repeated))[1] == read(bytes_of(lines))[1]
    repeated[3][4] = "1,00"
    with pytest.raises(
        FileRefused, match=r"Line 4, column `total-amount`: '1,00' stands there; the line of the whole says"
    ):
        read(bytes_of(repeated))


def test_quoted_files_blank_columns_and_blank_lines_mean_the_same() -> None:
    lines = lines_of("US")
    wanted = read(bytes_of(lines))[1]
    assert read(bytes_of([[f'"{cell}"' for cell in line] for line in lines], "\r\n"))[1] == wanted
    assert read(bytes_of([*([*line, "", ""] for line in lines), [""], ["\t" * 30]], "\r\n"))[1] == wanted
    assert read(bytes_of(lines).rstrip(b"\n"))[1] == wanted
    assert read(b"\xef\xbb\xbf" + bytes_of(lines))[1] == wanted


def test_quotes_are_letters_and_unknown_columns_are_kept_as_they_are() -> None:
    lines = lines_of("US")
    place, extra = lines[0].index("sku"), lines[0].index("promotion-id")
    lines[2][place], lines[2][extra] = 'a "wide" mug\\', "=1+1"
    row = read(bytes_of(lines))[1][0]
    assert row.sku == 'a "wide" mug\\'
    assert row.extra == {"promotion-id": "=1+1"}
    assert read(bytes_of(lines))[1][1].extra is None


@pytest.mark.parametrize("written", ["3/11/2026", "11/03/26", "2026-11-03", "2026/11/03", "03.11.2026"])
def test_a_day_that_stands_alone_is_read_where_it_can_be_one_day_only(written: str) -> None:
    lines = lines_of("US")
    day, instant = lines[0].index("posted-date"), lines[0].index("posted-date-time")
    for line in lines[2:]:
        line[day], line[instant] = written, ""
    rows = read(bytes_of(lines))[1]
    assert {row.posted_at for row in rows} == {datetime(2026, 11, 3, tzinfo=UTC)}
    # The other way round in another line of the same file.
    lines[3][day] = {"3/11/2026": "11/13/2026", "11/03/26": "13/11/26"}.get(written, "11/03/2026")
    with pytest.raises(FileRefused, match="Line 4, column `posted-date`"):
        read(bytes_of(lines))
    # Neither way within the period.
    lines[2][day] = "7/8/2026"
    with pytest.raises(FileRefused, match="Line 3, column `posted-date`"):
        read(bytes_of(lines))


AMOUNTS = {
    "1,234": "thousands or decimals",
    "1.234": "thousands or decimals",
    "1.5": "a number such as",
    "NaN": "a number such as",
    "Infinity": "a number such as",
    "-inf": "a number such as",
    "1e3": "a number such as",
    "1_000": "a number such as",
    "٣": "a number such as",
    " 1,00": "a number such as",
    "(1,00)": "a number such as",
    "1,00-": "a number such as",
    "1.234.567": "a number such as",
    "1,234,50": "a number such as",
    "9" * 40: "a number such as",
    "=1+1": "begins like a formula",
    "+1,00": "begins like a formula",
    "@SUM(A1)": "begins like a formula",
    "0,005": "thousands or decimals",
    "0,00501": "more decimals than the 2",
    "": "each line has an amount",
}


@pytest.mark.parametrize("amount", AMOUNTS)
def test_an_amount_that_could_be_another_refuses_the_file_with_its_place(amount: str) -> None:
    lines = lines_of("DE")
    lines[4][lines[0].index("amount")] = amount
    words = "elsewhere in this file `,`" if amount == "1.5" else AMOUNTS[amount]
    with pytest.raises(FileRefused, match=r"^Line 5, column `amount`: .*" + re.escape(words)) as problem:
        read(bytes_of(lines))
    assert len(problem.value.message) < 400


@pytest.mark.parametrize(
    ("store", "written", "meant"), [("DE", "1.041,00", "1041"), ("US", "1,041.00", "1041"), ("JP", "41.00", "41")]
)
def test_signs_between_thousands_are_understood_beside_decimals_alone(store: str, written: str, meant: str) -> None:
    lines = lines_of(store)
    amount, more = lines[0].index("amount"), Decimal(meant) - entries(store)[0].amount
    total = Decimal(lines[1][4].replace(",", ".")) + more
    lines[2][amount], lines[1][4] = written, str(total).replace(".", MARKS[store] or ".")
    assert read(bytes_of(lines))[1][0].amount == Decimal(meant)


HOSTILE: dict[str, tuple[Callable[[list[list[str]]], object], str]] = {
    "empty": (list.clear, "The file is empty"),
    "only names": (lambda lines: lines.__delitem__(slice(1, None)), "the line of the whole is missing"),
    "no whole": (lambda lines: lines.__delitem__(1), "Line 2, column `settlement-start-date`: it is blank"),
    "two wholes": (lambda lines: lines.insert(4, lines[1]), "Line 5, column `amount`: it is blank"),
    "another's": (lambda lines: lines[3].__setitem__(0, "999"), "Line 4, column `settlement-id`: '999' stands there"),
    "short row": (lambda lines: lines[6].pop(), "Line 7: 23 cells stand under 24 columns"),
    "long row": (lambda lines: lines[6].append("x"), "Line 7: 25 cells stand under 24 columns"),
    "missing": (lambda lines: lines[0].__setitem__(14, "betrag"), "no column `amount`"),
    "many": (lambda lines: lines[0].extend(f"x{n}" for n in range(50)), "51 columns that no settlement has"),
    "long": (lambda lines: lines[0].append("x" * 101), "longer than 100 letters"),
    "twice": (lambda lines: lines[0].__setitem__(8, "amount"), "column `amount` twice"),
    "currency": (lambda lines: lines[1].__setitem__(5, "Euro"), "Line 2, column `currency`: 'Euro'"),
    "no day": (lambda lines: lines[5].__setitem__(17, "2026-02-30 00:00:00 UTC"), "Line 6, column `posted-date-time`"),
    "never": (lambda lines: lines[2].__setitem__(slice(16, 18), ["", ""]), "Line 3, column `posted-date`: it is blank"),
    "never, later": (
        lambda lines: lines[5].__setitem__(slice(16, 18), ["", ""]),
        "Line 6, column `posted-date`: it is blank",
    ),
    "zone": (lambda lines: lines[5].__setitem__(17, "2026-11-03 00:00:00 PST"), "Line 6, column `posted-date-time`"),
    "other order": (
        lambda lines: lines[5].__setitem__(17, "03.11.2026 00:00:00 UTC"),
        "Line 6, column `posted-date-time`",
    ),
    "backwards": (lambda lines: lines[1].__setitem__(2, "2026-10-01 00:00:00 UTC"), "ends before it begins"),
    "units": (lambda lines: lines[2].__setitem__(22, "1.0"), "Line 3, column `quantity-purchased`"),
    "nul": (lambda lines: lines[4].__setitem__(21, "a\0b"), "Line 5: it holds a NUL character"),
    "endless": (lambda lines: lines[4].__setitem__(21, "a" * 2_000_000), "Line 5: it is longer than 1024 KiB"),
    "commas": (
        lambda lines: lines.__setitem__(slice(None), [[",".join(line)] for line in lines]),
        "no column `settlement-id`",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_was_tampered_with_is_refused_and_says_where(name: str) -> None:
    spoil, words = HOSTILE[name]
    lines = lines_of("US")
    spoil(lines)
    with pytest.raises(FileRefused, match=re.escape(words)):
        read(bytes_of(lines), size=64 * 1024)


def test_what_is_in_another_charset_than_it_says_is_refused() -> None:
    german, _ = file_in("DE", entries("DE"))
    with pytest.raises(FileRefused, match=r"Line 12: byte \d+ is not utf-8"):
        read(german, "text/plain; charset=UTF-8")
    with pytest.raises(FileRefused, match="UTF-16"):
        read(german.decode("cp1252").encode("utf-16"))
    with pytest.raises(FileRefused, match="klingon"):
        SettlementFile("text/plain; charset=klingon")
    japanese, _ = file_in("JP", entries("JP"))
    with pytest.raises(FileRefused, match="is not cp932"):
        read(japanese + b"\x81")


@given(st.binary(max_size=2_000))
def test_no_bytes_whatever_end_in_anything_but_a_refusal(content: bytes) -> None:
    with pytest.raises(FileRefused):
        read(content)


@given(st.data())
def test_no_change_of_a_file_ends_in_anything_but_rows_that_come_to_the_total_or_a_refusal(data: st.DataObject) -> None:
    content = bytearray(file_in(data.draw(st.sampled_from(STORES)), entries("US")[:4])[0])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        reader, rows = read(bytes(content))
    except FileRefused:
        return
    assert reader.head is not None
    assert sum((row.amount for row in rows), Decimal(0)) == reader.head.total.amount
