"""Rows of files from outside: CSV and JSON Lines, read line by line, so that a line that is wrong spoils no other.

A CSV file names its columns in the first line. Nothing is guessed: what may have two meanings is refused with words for who made
the file.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, BinaryIO, NamedTuple

from domain.export import harmless
from gateway.body import BadRequest, parse_json

LONGEST_LINE = 64 * 1024
JSON_LINES = (".jsonl", ".ndjson", ".json")
NOT_UTF8 = "the line is not UTF-8; save the file as UTF-8"
FORMULA = ("=", "+", "-", "@")
_WIDE = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


class FileProblem(Exception):
    """A file that is not read at all; the message says why and what to do."""


class Line(NamedTuple):
    """A line as an editor numbers it; `text` is None where it has none that can be read, and `reason` says why."""

    number: int
    text: str | None
    reason: str


class Row(NamedTuple):
    """What a line tells, by name: texts from CSV, JSON values from JSON Lines. `reason` says what is wrong with it."""

    number: int
    fields: dict[str, Any]
    reason: str


def is_json_lines(name: str | PurePath) -> bool:
    """Whether a file is called as those of JSON Lines are."""
    return PurePath(name).suffix.lower() in JSON_LINES


def rewind(file: BinaryIO) -> None:
    """Go back to its beginning. Raises FileProblem for what can be read only once."""
    if not file.seekable():
        raise FileProblem("It can be read only once, as a pipe. Write it to a file, and give that.")
    file.seek(0)


def digest_of(file: BinaryIO, before: bytes = b"") -> str:
    """The file's name for its contents, whatever it is called; read from its beginning to its end. `before` counts as if it
    stood in front. Raises FileProblem."""
    rewind(file)
    digest = hashlib.sha256(before)
    while part := file.read(1024 * 1024):
        digest.update(part)
    return digest.hexdigest()


def lines(file: BinaryIO) -> Iterator[Line]:
    """The lines that are not blank. Raises FileProblem for a file in another encoding than UTF-8."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1:
            _check_encoding(line)
        if len(line) > LONGEST_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE)
            yield Line(number, None, f"the line is longer than {LONGEST_LINE // 1024} KiB")
            continue
        try:
            text = line.decode().removeprefix("\ufeff") if number == 1 else line.decode()
        except UnicodeDecodeError:
            yield Line(number, None, NOT_UTF8)
            continue
        if text.strip():
            yield Line(number, text.rstrip("\r\n"), "")


def _check_encoding(line: bytes) -> None:
    for mark, name in _WIDE:
        if line.startswith(mark):
            raise FileProblem(f"The file is {name}. Save it as UTF-8 (in Excel: CSV UTF-8) and send it again.")
    if b"\0" in line:
        raise FileProblem(
            "The first line holds NUL characters: it is UTF-16, or no text. Save it as UTF-8 and send it again."
        )


def json_rows(file: BinaryIO) -> Iterator[Row]:
    """The objects of JSON Lines. Raises FileProblem."""
    for number, text, reason in lines(file):
        if text is None:
            yield Row(number, {}, reason)
            continue
        try:
            told = parse_json(text.encode())
        except BadRequest as problem:
            yield Row(number, {}, problem.message.replace("The body", "The line"))
            continue
        yield Row(number, told, "") if isinstance(told, dict) else Row(number, {}, "a row must be a JSON object")


def csv_rows(file: BinaryIO, columns: Sequence[str], needed: Sequence[str], *, formulas: bool = False) -> Iterator[Row]:
    """The rows under the line that names the columns, each under our names of `columns`; one of empty cells is none.
    With `formulas` values may begin like one, as -5 does. Raises FileProblem, before the first."""
    told = lines(file)
    head = next(told, None)
    if head is None:
        return
    if head.text is None:
        raise FileProblem(f"The first line must name the columns: {head.reason}.")
    mark = max(",;\t", key=head.text.count)
    names = _names(_cells(head.text, mark) or [], columns, needed)
    for line in told:
        row = _row(line, names, mark, formulas=formulas)
        if any(row.fields.values()) or not row.fields:
            yield row


def _row(line: Line, names: Sequence[str], mark: str, *, formulas: bool) -> Row:
    number, text, reason = line
    cells = None if text is None else _cells(text, mark)
    if cells is None:
        return Row(number, {}, reason or "a quotation mark has no other end; cells with line breaks are not taken")
    fields = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
    if len(cells) != len(names):
        return Row(number, fields, f"{len(cells)} values stand under {len(names)} columns")
    formula = next((name for name, cell in fields.items() if cell.startswith(FORMULA)), None)
    if formula is not None and not formulas:
        return Row(number, fields, f"`{formula}` begins like a formula; write its value")
    return Row(number, fields, "")


def _cells(text: str, mark: str) -> list[str] | None:
    """The cells of a line; None where it cannot be told where they end."""
    try:
        return next(csv.reader([text], delimiter=mark, strict=True), [])
    except csv.Error:
        return None


def _names(told: Sequence[str], columns: Sequence[str], needed: Sequence[str]) -> list[str]:
    """The columns by our names. Raises FileProblem."""
    ours = {_folded(name): name for name in columns}
    names: list[str] = []
    for one in told:
        name = ours.get(_folded(one))
        if name is None:
            near = get_close_matches(_folded(one), ours, n=1)
            hint = f"Did you mean `{ours[near[0]]}`?" if near else f"There are {', '.join(columns)}; leave others out."
            raise FileProblem(f"The column `{one[:40]}` is none of ours. {hint}")
        if name in names:
            raise FileProblem(f"The column `{name}` stands there twice.")
        names.append(name)
    missing = [name for name in needed if name not in names]
    if missing:
        raise FileProblem(
            f"The first line must name the columns, `{missing[0]}` among them. There are {', '.join(columns)}."
        )
    return names


def _folded(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum())


def shown(told: object) -> str:
    """A cell as a report may show it again: short, and no formula to whoever opens it."""
    return harmless("".join(sign for sign in told[:60] if sign.isprintable())) if isinstance(told, str) else ""
