"""Files of prices: what is read, what is refused with words, and what becomes of the rest."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from gateway import price_file
from gateway.rows import FileProblem
from store.price_file import FileRow

HEAD = "sku,amount,currency,sale_amount,sale_from,sale_to\n"
GOOD = "TEE-1,12.50,EUR,,,"


def read(text: str | bytes, *, json_lines: bool = False, comma: bool = False) -> list[FileRow]:
    content = text.encode() if isinstance(text, str) else text
    return list(price_file.read(BytesIO(content), json_lines=json_lines, comma=comma))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            'TEE-1,"1,234",EUR,,,',
            "`amount` 1,234 may mean two numbers; write 1234.50, or send the file with decimal=comma",
        ),
        ('TEE-1,"1.234,56",EUR,,,', "`amount` 1.234,56 may mean two numbers"),
        ('TEE-1,"1,234.56",EUR,,,', "`amount` 1,234.56 may mean two numbers"),
        ("TEE-1,12.505,EUR,,,", "`amount`: EUR has 2 decimals; 12.505 has more."),
        ("TEE-1,1250.5,JPY,,,", "`amount`: JPY has no decimals; 1250.5 has more."),
        ("TEE-1,€12.50,EUR,,,", "`amount` €12.50 is no number such as 1234.50"),
        ("TEE-1,1E+3,EUR,,,", "`amount` 1E+3 is no number"),
        ("TEE-1,١٢,EUR,,,", "`amount` ١٢ is no number"),
        ("TEE-1,0,EUR,,,", "`amount`: A price lies above 0"),
        ("TEE-1,-5,EUR,,,", "`amount` begins like a formula; write its value"),
        ("=HYPERLINK(1),5,EUR,,,", "`sku` begins like a formula; write its value"),
        ("1.23E+17,5,EUR,,,", "`sku` 1.23E+17 was shortened by a spreadsheet; format its column as text"),
        ("TEE-1,5,eur,,,", "`currency` must be a code of ISO 4217 such as EUR"),
        ("TEE-1,5,,,,", "`currency` is missing"),
        (",5,EUR,,,", "`sku` is missing"),
        ("TEE\x00-1,5,EUR,,,", "`sku` must be a text of 1 to 200 printable characters"),
        ("TEE-1,5,EUR", "3 values stand under 6 columns"),
        ('TEE-1,"5,EUR,,,', "a quotation mark has no other end"),
        ("TEE-1,5,EUR,5,,", "`saleAmount`: A sale lies below the price"),
        ("TEE-1,5,EUR,,2026-12-01T00:00:00Z,", "`saleFrom` is told and `saleAmount` is missing"),
        ("TEE-1,5,EUR,4,01/12/2026,", "`saleFrom` must be a date and a time such as"),
        ("TEE-1,5,EUR,4,2026-12-01,", "`saleFrom` must be a date and a time such as"),
        ("TEE-1,5,EUR,4,2026-12-02T00:00:00Z,2026-12-01T00:00:00Z", "`saleTo`: A sale ends after it has begun."),
        ("9" * 70_000, "the line is longer than 64 KiB"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_its_reason_and_spoils_no_other(row: str, reason: str) -> None:
    found = read(f"{HEAD}{GOOD}\n{row}\n{GOOD}\n")
    assert [(one.number, one.price is not None) for one in found] == [(2, True), (3, False), (4, True)]
    assert found[1].reason.startswith(reason)


@pytest.mark.parametrize(
    ("told", "amount"),
    [
        ("12,50", "12.50"),
        ("1234,5", "1234.5"),
        ("1.234,56", "1234.56"),
        ("12.345.678,9", "12345678.9"),
        ("12", "12"),
        ("1.234", None),
        ("12.50", None),
        ("1.23,50", None),
        ("1,234.50", None),
        ("1,,2", None),
    ],
)
def test_a_comma_stands_before_decimals_only_where_the_file_says_so(told: str, amount: str | None) -> None:
    [one] = read(f"sku;amount;currency\nTEE-1;{told};EUR\n", comma=True)
    assert (None if one.price is None else str(one.price.regular.amount)) == amount
    assert bool(one.reason) == (amount is None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sku,amount\n", "`currency` among them"),
        ("sku,amonut,currency\n", "Did you mean `amount`?"),
        ("sku,sku,amount,currency\n", "stands there twice"),
        ("sku,weight,amount,currency\n", "The column `weight` is none of ours"),
        (HEAD.encode("utf-16"), "is UTF-16"),
        (HEAD.encode("utf-32"), "is UTF-32"),
        (HEAD.encode("utf-16-be"), "holds NUL characters"),
    ],
)
def test_a_file_whose_columns_are_not_understood_is_not_read_at_all(text: str | bytes, reason: str) -> None:
    with pytest.raises(FileProblem, match=reason):
        read(text)


def test_marks_before_the_text_semicolons_and_other_encodings_are_told_apart() -> None:
    text = "\ufeffSKU;Amount;Currency;Channel SKU\r\nTÉÉ-1;5;EUR;X\r\n".encode()
    [one] = read(text)
    assert (one.sku, one.channel_sku, one.reason) == ("TÉÉ-1", "X", "")
    [latin] = read(HEAD.encode() + "TÉÉ-1,5,EUR,,,".encode("latin-1"))
    assert latin.reason == "the line is not UTF-8; save the file as UTF-8"


def test_one_row_too_many_refuses_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_file, "MOST_ROWS", 3)
    assert len(read(HEAD + f"{GOOD}\n" * 3)) == 3
    with pytest.raises(FileProblem, match="A file has 3 rows at the most"):
        read(HEAD + f"{GOOD}\n" * 4)


def test_json_lines_take_texts_and_known_names_only() -> None:
    told: list[Any] = [
        {"sku": "TEE-1", "amount": "12.50", "currency": "EUR", "channel": "Channel:shop"},
        {"sku": "TEE-1", "amount": 12.5, "currency": "EUR"},
        {"sku": "TEE-1", "amount": "12.50", "currency": "EUR", "price": "1"},
        ["TEE-1"],
    ]
    found = read("\n".join(map(json.dumps, told)) + '\n{"sku":"a","sku":"b"}\n', json_lines=True)
    assert [one.reason.partition(";")[0] for one in found] == [
        "",
        '`amount` must be a text, such as "12.50"',
        "`price` is no name of ours",
        "a row must be a JSON object",
        "The line gives a name twice in one object",
    ]
    assert found[0].channel == "shop"


@given(st.binary(max_size=300), st.booleans(), st.booleans(), st.booleans())
@example(b"\x00\n" * 9, True, False, False)
def test_a_hostile_file_is_refused_row_by_row_or_as_a_whole_and_nothing_else_happens(
    content: bytes, json_lines: bool, headed: bool, comma: bool
) -> None:
    before = HEAD.encode() if headed and not json_lines else b""
    try:
        found = read(before + content, json_lines=json_lines, comma=comma)
    except FileProblem:
        return
    assert [one.number for one in found] == sorted({one.number for one in found})
    for one in found:
        assert (one.price is None) == bool(one.reason)
        assert (one.sku + one.channel + one.marketplace + one.channel_sku).isprintable()


@trying(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[A-Z][A-Z0-9-]{0,15}", fullmatch=True),
            st.decimals(min_value="1", max_value="99999", places=2),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_what_is_written_as_csv_with_point_or_comma_and_as_json_lines_is_read_as_the_same(
    told: list[tuple[str, Any, bool]],
) -> None:
    point, comma, lines = HEAD, HEAD.replace(",", ";"), ""
    for sku, amount, sale in told:
        begins = "2026-12-01T00:00:00+01:00" if sale else ""
        low = f"{amount - 1 if amount > 1 else amount / 2:.2f}" if sale else ""
        point += f"{sku},{amount},EUR,{low},{begins},\n"
        comma += f"{sku};{str(amount).replace('.', ',')};EUR;{low.replace('.', ',')};{begins};\n"
        whole = {"sku": sku, "amount": str(amount), "currency": "EUR", "saleAmount": low, "saleFrom": begins}
        lines += json.dumps(whole) + "\n"
    prices = [one.price for one in read(point)]
    assert None not in prices
    assert prices == [one.price for one in read(comma, comma=True)]
    assert prices == [one.price for one in read(lines, json_lines=True)]
