"""How rows are written into files."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.export import Cell, ExportFormat, ExportList, ExportWanted, Writer, harmless, read_export
from domain.ids import ChannelId

AT = datetime(2026, 11, 3, 23, 30, tzinfo=UTC)
ROW: list[Cell] = ["=cmd|' /C calc'!A0", Decimal("-1E+2"), 3, None, date(2026, 11, 4), AT, True, 'a;b,"c"\nd']
NAMES = list("abcdefgh")


def written(format: ExportFormat) -> str:
    writer = Writer(format, NAMES)
    writer.write(ROW)
    return writer.taken().decode()


def test_a_spreadsheet_runs_nothing_and_numbers_stay_numbers() -> None:
    [names, row] = csv.reader(io.StringIO(written(ExportFormat.CSV), newline=""))
    assert names == NAMES
    assert row == [
        "'=cmd|' /C calc'!A0",
        "-100",
        "3",
        "",
        "2026-11-04",
        "2026-11-03T23:30:00Z",
        "true",
        'a;b,"c"\nd',
    ]


def test_objects_tell_texts_as_they_are_and_amounts_without_a_float() -> None:
    told = json.loads(written(ExportFormat.JSONL))
    assert told == dict(
        zip(NAMES, [ROW[0], "-100", 3, None, "2026-11-04", "2026-11-03T23:30:00Z", True, ROW[7]], strict=True)
    )


def test_what_was_taken_is_not_told_again() -> None:
    writer = Writer(ExportFormat.CSV, ["a"])
    writer.write(["1"])
    assert writer.size == len("a\r\n1\r\n")
    assert writer.taken() == b"a\r\n1\r\n"
    writer.write(["2"])
    assert (writer.taken(), writer.taken(), writer.size) == (b"2\r\n", b"", 0)


@given(st.text())
def test_no_text_is_a_formula(text: str) -> None:
    shown = harmless(text)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert shown.removeprefix("'") in (text, text.removeprefix("'"))


@given(
    st.builds(
        ExportWanted,
        st.sampled_from(ExportList),
        st.sampled_from(ExportFormat),
        st.none() | st.just(ChannelId("shop")),
        st.none() | st.datetimes(timezones=st.just(UTC)),
        st.none() | st.datetimes(timezones=st.just(UTC)),
        st.none() | st.datetimes(timezones=st.just(UTC)),
        st.none() | st.text(),
    )
)
def test_what_is_wanted_comes_back_as_it_was_told(wanted: ExportWanted) -> None:
    assert read_export(json.loads(json.dumps(wanted.told()))) == wanted
