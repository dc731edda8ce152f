"""`acorn stock`: files of counts in and out, and what a number is made of."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, BinaryIO
from uuid import uuid4

from domain import policy
from domain.booking import Line, Outcome, Places, Result, counted
from domain.channel import Location
from domain.errors import NotFound
from domain.feed import FIELDS, FeedKind, Rejection, Row, named_at, names_sku, read_rows, repeated
from domain.ids import LocationCode, Sku
from domain.ledger import Balance, EntryKind
from domain.policy import Exposure, Facts, Number
from gateway.rows import NOT_UTF8, FileProblem, csv_rows, digest_of, json_rows, rewind
from store import channel_numbers, facts, ledger
from store import feed as feed_store
from store.channel_numbers import ChannelNumber
from store.feed import NOT_NAMED, Posting
from store.session import Store

BATCH = 500
PAGE = 5000
SOURCE = "import"
NEEDED = ("sku", "quantity")
REPORT = ("row", "sku", "location", "result", "before", "after", "reason")
EXPORT = ("sku", "location", "on_hand", "reserved", "inbound", "available")


@dataclass(frozen=True, slots=True)
class Import:
    """What is asked of an import. `locations` are the places that the ledger counts; `location` is meant by rows that name none.
    `again`: a file of deltas that was imported before counts once more. `confirm`: a full file may empty most of a place."""

    kind: FeedKind
    locations: frozenset[LocationCode]
    location: LocationCode | None
    reason: str
    actor: str
    json_lines: bool = False
    dry_run: bool = False
    again: bool = False
    confirm: bool = False


@dataclass(slots=True)
class _Survey:
    """What a first reading of the file finds: its fingerprint, its rows, and which SKUs a full one names at which place."""

    digest: str
    rows: int = 0
    named: dict[LocationCode, set[Sku]] = field(default_factory=dict)


async def run_import(
    store: Store,
    file: BinaryIO,
    wanted: Import,
    tell: Callable[[Outcome], None],
    progress: Callable[[int, int], None],
) -> Counter[Result]:
    """Import the file, 500 rows a transaction; `tell` is given each row's outcome, `progress` (rows done, rows in all).

    What was done stays done when it is interrupted; the same file again goes on from there. Raises FileProblem and Invalid before
    anything has changed.
    """
    survey = _surveyed(file, wanted)
    async with store.begin() as tx:
        if wanted.kind is FeedKind.DELTA and not wanted.again and await feed_store.imported(tx, survey.digest):
            raise FileProblem(
                "The file was imported before, and its movements are booked. If the same movements happened once more, say "
                "--again."
            )
        for place, named in survey.named.items():
            await feed_store.absent(tx, place, named, confirm=wanted.confirm)
    found: Counter[Result] = Counter()
    posting = Posting(wanted.actor, SOURCE, _key(wanted, survey))
    seen: dict[tuple[Sku, LocationCode], int] = {}
    imagined = counted(())
    done = 0
    for batch in _batches(read(file, json_lines=wanted.json_lines)):
        outcomes = await _import(store, wanted, posting, batch, seen, imagined)
        for outcome in outcomes:
            found[outcome.result] += 1
            tell(outcome)
        done += len(batch)
        progress(done, survey.rows)
    if wanted.kind is FeedKind.FULL:
        async for outcome in _emptied(store, wanted, posting, survey, imagined):
            found[outcome.result] += 1
            tell(outcome)
    if wanted.kind is FeedKind.DELTA and not wanted.dry_run:
        async with store.begin() as tx:
            await feed_store.note_import(tx, survey.digest)
    return found


async def _import(
    store: Store,
    wanted: Import,
    posting: Posting,
    batch: Sequence[Row | Rejection],
    seen: dict[tuple[Sku, LocationCode], int],
    imagined: Places,
) -> list[Outcome]:
    """What becomes of a batch, by row."""
    lines, rejected = _read(wanted, batch)
    doubled: list[Outcome] = []
    if wanted.kind is not FeedKind.DELTA:
        lines, doubled = repeated(lines, seen)
    applied = await _apply(store, wanted, posting, lines, imagined)
    refused = [Outcome(one.number, one.sku, "", Result.REJECTED, reason=one.reason) for one in rejected]
    return sorted([*applied, *doubled, *refused], key=lambda one: one.number)


async def _emptied(
    store: Store, wanted: Import, posting: Posting, survey: _Survey, imagined: Places
) -> AsyncIterator[Outcome]:
    """What a full file does not name lies there no more."""
    for place, named in survey.named.items():
        async with store.begin() as tx:
            missing = await feed_store.absent(tx, place, named, confirm=True)
        gone = [Line(0, sku, place, 0, EntryKind.COUNT, NOT_NAMED) for sku in missing]
        for batch in _batches(iter(gone)):
            for outcome in await _apply(store, wanted, posting, batch, imagined):
                yield outcome


async def _apply(
    store: Store, wanted: Import, posting: Posting, lines: Sequence[Line], imagined: Places
) -> list[Outcome]:
    async with store.begin() as tx:
        return await feed_store.apply(tx, lines, posting, imagined=imagined if wanted.dry_run else None)


def _read(wanted: Import, rows: Sequence[Row | Rejection]) -> tuple[list[Line], list[Rejection]]:
    """The lines of rows, and what is wrong with the others."""
    lines, rejected = read_rows(
        [one for one in rows if isinstance(one, Row)],
        wanted.kind,
        wanted.locations,
        default_location=wanted.location,
        default_reason=wanted.reason,
    )
    return lines, [*rejected, *(one for one in rows if isinstance(one, Rejection))]


def _surveyed(file: BinaryIO, wanted: Import) -> _Survey:
    """Read the file once; raises FileProblem for one that is none."""
    survey = _Survey(digest_of(file, f"{wanted.location}\n".encode()))
    doubtful: set[Sku] = set()
    for batch in _batches(read(file, json_lines=wanted.json_lines)):
        survey.rows += len(batch)
        if wanted.kind is FeedKind.FULL:
            lines, rejected = _read(wanted, batch)
            doubtful |= {Sku(one.sku) for one in rejected}
            for place, named in named_at(lines, []).items():
                survey.named.setdefault(place, set()).update(named)
    # As in `named_at`, which sees only a batch.
    full = all(map(names_sku, doubtful))
    survey.named = {place: survey.named[place] | doubtful for place in sorted(survey.named) if full}
    if not survey.rows:
        raise FileProblem("The file holds no row.")
    return survey


def _key(wanted: Import, survey: _Survey) -> str | None:
    """Only movements count once; a count may be right again later."""
    if wanted.kind is not FeedKind.DELTA:
        return None
    return f"{SOURCE}:{survey.digest[:32]}" + (f":{uuid4().hex[:8]}" if wanted.again else "")


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def read(file: BinaryIO, *, json_lines: bool) -> Iterator[Row | Rejection]:
    """The rows of a file, numbered as an editor numbers its lines. Of a line that is broken nobody can tell which SKU it is
    about. Raises FileProblem."""
    rewind(file)
    json_lines = json_lines or file.read(4).removeprefix(BOM_UTF8).startswith(b"{")
    file.seek(0)
    told = json_rows(file) if json_lines else csv_rows(file, FIELDS, NEEDED, formulas=True)
    for number, fields, reason in told:
        if reason == NOT_UTF8:
            # Saved anew it is another file: of deltas, the rows that are good now would count twice.
            raise FileProblem("The file is not UTF-8. Save it as UTF-8 and import it again.")
        yield Rejection(number, "", reason) if reason else Row(number, fields)


def report_row(outcome: Outcome) -> list[object]:
    """A line of the report, under REPORT."""
    blank = ["" if value is None else value for value in (outcome.before, outcome.after)]
    return [outcome.number or "", outcome.sku, outcome.location, outcome.result.value, *blank, outcome.reason]


async def exported(store: Store, location: LocationCode | None) -> AsyncIterator[Balance]:
    """Everything that lies at places of ours, by SKU and place."""
    after: tuple[Sku, LocationCode] | None = None
    while True:
        async with store.begin() as tx:
            page = await ledger.balance_page(tx, first=PAGE, after=after, location=location)
        for one in page:
            yield one
        if len(page) < PAGE:
            return
        after = (page[-1].sku, page[-1].location)


def export_row(one: Balance) -> dict[str, object]:
    """A line of an export, under EXPORT."""
    values = (one.sku, one.location, one.on_hand, one.reserved, one.inbound, one.free)
    return dict(zip(EXPORT, values, strict=True))


@dataclass(frozen=True, slots=True)
class Explained:
    """What is known of one SKU: the number, and what each channel is to show of it."""

    facts: Facts
    available: Number
    exposure: Exposure
    channels: list[ChannelNumber]


async def explain(
    store: Store, sku: Sku, locations: Sequence[Location], safety_stock: int, max_age: timedelta
) -> Explained:
    """Everything behind the number of one SKU, from the rows alone. Raises NotFound."""
    now = datetime.now(UTC)
    async with store.begin() as tx:
        found = await facts.facts(
            tx,
            [sku],
            locations=locations,
            now=now,
            default_safety_stock=safety_stock,
            max_age=max_age,
            with_shown=True,
        )
        if sku not in found:
            raise NotFound(f"No product of ours has the SKU {sku}.")
        numbers = (await channel_numbers.numbers(tx, [sku])).get(sku, [])
    known = found[sku]
    return Explained(known, policy.available(known, now), policy.exposure(known, now), numbers)
