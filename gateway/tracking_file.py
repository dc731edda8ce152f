"""Files of tracking numbers: CSV and JSON Lines, read line by line, so that a line that is wrong spoils no other.

A CSV file names its columns in the first line; a parcel with several SKUs takes several lines, one below the other. A line of
JSON Lines is a parcel as POST /tracking/<source> takes it. Nothing is guessed: what may have two meanings is refused with words
for who made the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import groupby, islice
from typing import Any, BinaryIO

from domain.channel import Platform
from domain.ids import ChannelId
from domain.tracking import MOST_LINES, Became, NewRow, RowKind, read_row
from gateway import rows
from gateway.rows import FileProblem, Row, digest_of
from store import tracking
from store.session import Store

BATCH = 200
REPORT = ("row", "order", "tracking_number", "result", "reason")
COLUMNS = (
    "order",
    "channel",
    "carrier",
    "service",
    "trackingNumber",
    "shippedAt",
    "sku",
    "lineId",
    "quantity",
    "location",
)
NEEDED = ("order", "carrier", "trackingNumber", "shippedAt")
_OF_A_LINE = ("sku", "lineId", "quantity")


class Result(Enum):
    """What becomes of a row. WAITING: it is kept, and tried again when its order comes or changes."""

    CONFIRMED = "confirmed"
    ALREADY = "already"
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a line of the file."""

    number: int
    order: str
    tracking_number: str
    result: Result
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A parcel of the file: the lines that tell of it, by number, and what they come to."""

    numbers: tuple[int, ...]
    order: str
    tracking_number: str
    row: NewRow


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked: who asks, and whether it is only to be told what would happen."""

    actor: str
    dry_run: bool = False
    json_lines: bool = False


Batch = list[Parcel]


async def run(
    store: Store,
    platforms: Mapping[ChannelId, Platform],
    file: BinaryIO,
    wanted: Wanted,
    tell: Callable[[Outcome], None],
    done: Callable[[int], None] = lambda _: None,
) -> Counter[Result]:
    """Take the file, 200 parcels a transaction; `tell` is given each line's outcome, `done` how many bytes are behind.

    What was done stays done when it is interrupted, and the same file again goes on from there: a row counts once. Raises
    FileProblem before anything has changed.
    """
    digest = digest_of(file)
    file.seek(0)
    found: Counter[Result] = Counter()
    parcels = read(file, json_lines=wanted.json_lines)
    while batch := list(islice(parcels, BATCH)):
        for outcome in await _take(store, platforms, digest, wanted, batch):
            found[outcome.result] += 1
            tell(outcome)
        done(file.tell())
    if not found:
        raise FileProblem("The file holds no row.")
    return found


async def _take(
    store: Store, platforms: Mapping[ChannelId, Platform], digest: str, wanted: Wanted, batch: Batch
) -> list[Outcome]:
    good = [one.row for one in batch if one.row.told is not None]
    async with store.begin() as tx, tx.begin_nested() as tried:
        kept = await tracking.take_rows(tx, digest, wanted.actor, good)
        became = {row.number: Became(already=True) for row, done in kept if done}
        fresh = [row for row, done in kept if not done]
        settled = await tracking.settle(tx, fresh, platforms, datetime.now(UTC))
        became |= {row.number: settled[row.id] for row in fresh}
        if wanted.dry_run:
            await tried.rollback()
    return [outcome for one in batch for outcome in _outcomes(one, became.get(one.row.number))]


def _outcomes(one: Parcel, became: Became | None) -> Iterator[Outcome]:
    match became:
        case None:
            result, reason = Result.REFUSED, one.row.reason
        case Became(already=True):
            result, reason = Result.ALREADY, "this parcel was told before"
        case Became(code=None):
            result, reason = Result.CONFIRMED, ""
        case Became(code=tracking.INVALID):
            result, reason = Result.REFUSED, became.reason
        case _:
            result, reason = Result.WAITING, became.reason
    for number in one.numbers:
        yield Outcome(number, one.order, one.tracking_number, result, reason)


def read(file: BinaryIO, *, json_lines: bool) -> Iterator[Parcel]:
    """The parcels of a file, numbered as an editor numbers its lines. Raises FileProblem, before the first of them."""
    return _json(file) if json_lines else _csv(file)


def _json(file: BinaryIO) -> Iterator[Parcel]:
    for number, fields, reason in rows.json_rows(file):
        if reason:
            yield _refused((number,), fields, reason)
        else:
            yield _parcel((number,), fields, read_row(number, RowKind.PARCEL, fields, None))


def _csv(file: BinaryIO) -> Iterator[Parcel]:
    # A parcel's lines stand one below the other.
    for _, group in groupby(rows.csv_rows(file, COLUMNS, NEEDED), key=_whose):
        yield from _of_group(group)


def _whose(one: Row) -> tuple[object, ...]:
    """What lines of one parcel have in common; a line that tells nothing is alone."""
    number, fields, _ = one
    known = tuple(fields.get(name, "") for name in ("order", "channel", "trackingNumber"))
    return known if known[0] and known[2] else (number,)


def _of_group(group: Iterator[Row]) -> Iterator[Parcel]:
    """The parcel that the lines tell of; no more of them are held at a time than a parcel may have."""
    few = list(islice(group, MOST_LINES))
    rest = list(islice(group, MOST_LINES))
    yield _too_many(few) if rest else _of_lines(few)
    while rest:
        yield _too_many(rest)
        rest = list(islice(group, MOST_LINES))


def _of_lines(told: Sequence[Row]) -> Parcel:
    numbers = tuple(number for number, _, _ in told)
    first = told[0][1]
    wrong = next(((number, reason) for number, _, reason in told if reason), None)
    if wrong is not None:
        number, reason = wrong
        return _refused(numbers, first, reason if len(told) == 1 else f"row {number} of this parcel: {reason}")
    for number, fields, _ in told[1:]:
        other = next((name for name in fields if name not in _OF_A_LINE and fields[name] != first[name]), None)
        if other is not None:
            return _refused(
                numbers, first, f"rows {numbers[0]} and {number} differ in `{other}` and tell of one parcel"
            )
    whole: dict[str, Any] = {name: value for name, value in first.items() if value and name not in _OF_A_LINE}
    inside = [{name: fields[name] for name in _OF_A_LINE if fields.get(name)} for _, fields, _ in told]
    if len(told) > 1 or inside[0]:
        whole["lines"] = inside
    return _parcel(numbers, first, read_row(numbers[0], RowKind.PARCEL, whole, None))


def _too_many(told: Sequence[Row]) -> Parcel:
    return _refused(tuple(number for number, _, _ in told), told[0][1], f"a parcel has {MOST_LINES} lines at the most")


def _refused(numbers: tuple[int, ...], fields: Mapping[str, Any], reason: str) -> Parcel:
    return _parcel(numbers, fields, NewRow(numbers[0], RowKind.PARCEL, None, reason))


def _parcel(numbers: tuple[int, ...], fields: Mapping[str, Any], row: NewRow) -> Parcel:
    return Parcel(numbers, rows.shown(fields.get("order")), rows.shown(fields.get("trackingNumber")), row)


def report_row(one: Outcome) -> list[object]:
    """A line of the report, under REPORT."""
    return [one.number, one.order, one.tracking_number, one.result.value, one.reason]
