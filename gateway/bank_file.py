"""Files of banks: CAMT.053, and CSV whose columns somebody names. A file is kept whole or not at all; again, it adds nothing."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from typing import BinaryIO

from adapters.bank.camt053 import MOST_LINES, Reader
from adapters.wire import Unclear
from domain.bank import BankLine, Keys, account_of
from domain.errors import Invalid
from domain.money import Money, minor_digits
from gateway.rows import FileProblem, rewind
from store import bank
from store.session import Store, take_time

BATCH = 1_000
COLUMNS = ("date", "amount", "side", "credit", "debit", "currency", "text", "party", "reference", "valued")
_SIDES = dict.fromkeys(("C", "CR", "CRDT", "CREDIT", "H", "HABEN", "+"), 1)
_SIDES |= dict.fromkeys(("D", "DR", "DBIT", "DEBIT", "S", "SOLL", "-"), -1)
_GROUPED = r"[+-]?([0-9]{{1,15}}|[0-9]{{1,3}}([{0}'’ \u00a0\u202f])[0-9]{{3}}(\2[0-9]{{3}}){{0,3}})([{1}][0-9]{{1,3}})?"
# The mark is said, so groups of three digits have one meaning, however they are set apart.
_PLAIN = {mark: re.compile(_GROUPED.format(other, mark)) for mark, other in ((".", ","), (",", "."))}
_SET_APART = re.compile("['’ \u00a0\u202f]")
_PACKED = ((b"PK\x03\x04", "a ZIP archive"), (b"\x1f\x8b", "packed with gzip"))


@dataclass(frozen=True, slots=True)
class Mapped:
    """How a bank writes its CSV: which of its columns is which of ours (`COLUMNS`), its decimal mark, how it writes days
    (`strptime`), its encoding, and how many lines stand above the one that names the columns. `currency` is meant where no column
    tells one."""

    columns: Mapping[str, str] = field(default_factory=dict)
    decimal: str = "."
    day: str = "%Y-%m-%d"
    encoding: str = "utf-8-sig"
    skip: int = 0
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked: of which account the file is (CAMT.053 tells it itself), and of which lines alone: those in whose words one
    of `containing` stands."""

    account: str | None = None
    containing: tuple[str, ...] = ()
    dry_run: bool = False
    mapped: Mapped = Mapped()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a file: its lines, those that are new, those that were left out (not booked yet; not asked for), and how
    many payouts have found their line by it."""

    lines: int
    fresh: int
    pending: int
    others: int
    matched: int


async def run(store: Store, file: BinaryIO, wanted: Wanted, done: Callable[[int], None] = lambda _: None) -> Result:
    """Keep the file's lines and look for payouts among them, in one transaction. Raises FileProblem, and nothing has changed."""
    rewind(file)
    head = file.read(256).lstrip(b"\xef\xbb\xbf \r\n\t")
    file.seek(0)
    for sign, words in _PACKED:
        if head.startswith(sign):
            raise FileProblem(f"It is {words}: unpack it, and import what is in it.")
    reader = Reader(wanted.account)
    # In UTF-16 its first sign stands between NULs.
    camt = head.replace(b"\0", b"").lstrip(b"\xff\xfe").startswith(b"<")
    lines = reader.lines(file) if camt else csv_lines(file, wanted)
    total = fresh = others = 0
    try:
        async with store.begin() as tx, tx.begin_nested() as tried:
            await take_time(tx)
            before = await bank.matched_count(tx)
            while some := list(islice(lines, BATCH)):
                kept = [one for one in some if _wanted(one, wanted.containing)]
                total, others = total + len(kept), others + len(some) - len(kept)
                fresh += await bank.keep(tx, kept)
                done(file.tell())
            await bank.rematch(tx)
            matched = await bank.matched_count(tx) - before
            if wanted.dry_run:
                await tried.rollback()
    except Unclear as problem:
        raise FileProblem(f"Nothing was kept: {problem}.") from None
    return Result(total, fresh, reader.pending, others, matched)


def _wanted(one: BankLine, containing: Sequence[str]) -> bool:
    told = f"{one.words} {one.party or ''}".casefold()
    return not containing or any(each.casefold() in told for each in containing)


def csv_lines(file: BinaryIO, wanted: Wanted) -> Iterator[BankLine]:
    """The lines of a CSV file. Raises Unclear, naming row and column, for what cannot be read just as it was said."""
    if not wanted.account or not wanted.account.strip():
        raise FileProblem("A CSV file does not say of which account it is: say --account.")
    mapped = wanted.mapped
    _check_mapped(mapped)
    text = io.TextIOWrapper(file, mapped.encoding, newline="")
    try:
        yield from _rows(text, account_of(wanted.account), mapped)
        text.detach()
    except UnicodeDecodeError as problem:
        words = f"byte {problem.start + 1} of a part of it is not {mapped.encoding}; say --encoding, such as cp1252"
        raise Unclear(words) from None


def _rows(text: io.TextIOWrapper, account: str, mapped: Mapped) -> Iterator[BankLine]:
    for _ in range(mapped.skip):
        text.readline(64 * 1024)
    first = text.readline(64 * 1024)
    mark = max(",;\t", key=first.count)
    try:
        head = next(csv.reader([first], delimiter=mark, strict=True), [])
        names = [one.strip() for one in head]
        at = {ours: _place(names, theirs) for ours, theirs in mapped.columns.items()}
        keys = Keys()
        rows = csv.reader(text, delimiter=mark, strict=True)
        for count, cells in enumerate(rows):
            if count == MOST_LINES:
                raise Unclear(f"it holds more than {MOST_LINES:,} lines; ask your bank for a shorter time")
            if not any(one.strip() for one in cells):
                continue
            number = mapped.skip + 1 + rows.line_num
            if len(cells) != len(names):
                raise Unclear(f"line {number}: {len(cells)} values stand under {len(names)} columns")
            told = {ours: cells[place].strip() for ours, place in at.items()}
            try:
                yield _line(account, told, mapped, keys)
            except (Unclear, Invalid) as problem:
                words = problem.message if isinstance(problem, Invalid) else str(problem)
                raise Unclear(f"line {number}: {words}") from None
    except csv.Error as problem:
        raise Unclear(f"it is no whole CSV: {problem}") from None


def _check_mapped(mapped: Mapped) -> None:
    unknown = mapped.columns.keys() - set(COLUMNS)
    if unknown:
        raise FileProblem(f"`{min(unknown)}` is none of {', '.join(COLUMNS)}.")
    if "date" not in mapped.columns or not ("amount" in mapped.columns or {"credit", "debit"} <= mapped.columns.keys()):
        raise FileProblem(
            "Say which columns hold the date and the amount (or credit and debit), such as --column date=Buchungstag "
            "--column amount=Betrag."
        )
    try:
        "".encode(mapped.encoding)
    except (LookupError, UnicodeError):  # unknown, or of bytes, or of nothing at all
        raise FileProblem(f"{mapped.encoding!r} is no encoding; there are utf-8, cp1252 and others.") from None
    if mapped.decimal not in _PLAIN:
        raise FileProblem("The decimal mark is a point or a comma: --decimal . or --decimal ,")
    if mapped.currency is None and "currency" not in mapped.columns:
        raise FileProblem("Say the currency, or the column that tells it: --currency EUR, --column currency=Währung.")


def _place(names: Sequence[str], theirs: str) -> int:
    if names.count(theirs) != 1:
        some = ", ".join(names[:20])
        raise Unclear(f"the column {theirs!r} stands there {names.count(theirs)} times; there are {some}")
    return names.index(theirs)


def _line(account: str, told: Mapping[str, str], mapped: Mapped, keys: Keys) -> BankLine:
    currency = told.get("currency") or mapped.currency or ""
    money = Money(_value(told, mapped), currency)
    if round(money.amount, minor_digits(currency)) != money.amount:
        raise Unclear(f"{money.amount} has more decimals than {currency}")
    day = _day(told["date"], mapped.day)
    words = " ".join(" ".join((told.get("reference", ""), told.get("text", ""))).split())
    party = told.get("party") or None
    reference = told.get("reference", "")
    key = keys.of(reference, words, party, day, money)
    valued = told.get("valued")
    return BankLine(account, key, day, money, words[:4_000], party, _day(valued, mapped.day) if valued else None)


def _value(told: Mapping[str, str], mapped: Mapped) -> Decimal:
    if "amount" in told:
        value = _number(told["amount"], mapped.decimal, "amount")
        if "side" not in told:
            return value
        if (side := _SIDES.get(told["side"].upper())) is None or value < 0:
            raise Unclear(
                f"`side` is {told['side'][:30]!r} beside {value}; it says credit or debit of an amount without a sign"
            )
        return side * value
    sides = {name: _number(told[name], mapped.decimal, name) for name in ("credit", "debit") if told[name]}
    if len(sides) == 2:  # many banks write a 0 on the other side
        sides = {name: value for name, value in sides.items() if value} or {"credit": Decimal(0)}
    if len(sides) != 1:
        raise Unclear("one of `credit` and `debit` has a value, and the other none")
    [(name, value)] = sides.items()
    return -abs(value) if name == "debit" else value


def _number(text: str, decimal: str, name: str) -> Decimal:
    told = text
    if text.endswith("-") and text[:1] not in ("+", "-"):  # some banks write the sign behind
        text = f"-{text[:-1]}"
    if not _PLAIN[decimal].fullmatch(text):
        raise Unclear(f"`{name}` is {told[:30]!r}, and no amount with {decimal!r} as its decimal mark; say --decimal")
    groups = "," if decimal == "." else "."
    return Decimal(_SET_APART.sub("", text.replace(groups, "")).replace(decimal, "."))


def _day(text: str, form: str) -> date:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC).date()
    except ValueError:
        raise Unclear(f"{text[:30]!r} is no day written as {form}; say --day, such as %d.%m.%Y") from None
