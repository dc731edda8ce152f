"""Files of settlements: kept as they came, made books once and whole, or refused with nothing of them in the books."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.amazon.settlement_file import SettlementFile
from adapters.gzipped import Broken
from domain.channel import Channel, Platform
from domain.errors import Refused, Transient
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId
from domain.money_line import Source, Stage
from store import event, finance_file, settlement_rows
from store import settlement as settlement_store
from store.finance_file import FileState, NewFile
from store.money_line import line_of
from store.session import Store
from store.tables import finance_file as finance_file_table
from store.tables import finance_file_part, money_line, settlement
from tests.adapters.amazon.settlements import STORES, entries, file_in, is_utf8
from tests.store.test_event import all_relayed
from workers import settlement_files
from workers.settlement_files import Coming, Imported, bring, import_settlement, rehearse, take

EU = Channel(ChannelId("eu"), Platform.AMAZON, "EU", sandbox=True, marketplaces=("US", "DE", "FR", "JP"))
NEW = NewFile(EU.id, "settlement.txt", "somebody")
TABLES = (settlement, money_line, finance_file_part)


async def chunks(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def imported(store: Store, content: bytes, **more: Any) -> Imported:
    return await import_settlement(store, EU, SettlementFile, NEW, chunks(content), **more)


async def counts(store: Store) -> tuple[int, ...]:
    """Settlements, lines of money, parts of files."""
    async with store.begin() as tx:
        return tuple([await tx.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES])


async def bytes_of(store: Store, file: str) -> bytes:
    return b"".join([part async for part in finance_file.content(store, file)])


@pytest.mark.parametrize("name", STORES)
async def test_a_file_becomes_books_to_the_cent_and_stays_as_it_came(store: Store, name: str) -> None:
    wanted = entries(name)
    content, content_type = file_in(name, wanted)
    new = NewFile(EU.id, "a.txt", "stream", "R1", content_type, name)
    done = await import_settlement(store, EU, SettlementFile, new, chunks(content))
    file, kept = done.file, done.kept
    assert done.fresh
    assert kept is not None
    assert (file.state, file.settlement, file.rows_read, file.size) == (
        FileState.KEPT, kept.settlement, len(wanted), len(content),
    )  # fmt: skip
    assert (file.reports, file.brought_by, file.marketplace) == (("R1",), "stream", name)
    assert file.dialect is not None
    assert file.dialect["unknownColumns"] == (["promotion-id"] if name == "US" else [])
    async with store.begin() as tx:
        lines = list(map(line_of, await tx.execute(select(money_line).order_by(money_line.c.row))))
        total = await tx.scalar(select(settlement.c.total))
    assert [(one.row, one.amount.amount, one.description) for one in lines] == [
        (number, one.amount, one.description) for number, one in enumerate(wanted, 1)
    ]
    assert {(one.source, one.stage, one.settlement) for one in lines} == {
        (Source.SETTLEMENT, Stage.SETTLED, kept.settlement)
    }
    assert total == sum((one.amount for one in wanted), Decimal(0))
    assert await counts(store) == (1, len(wanted), 1)
    assert await bytes_of(store, file.id) == content
    packed = b"".join([part async for part in finance_file.packed(store, file.id)])
    assert gzip.decompress(packed) == content


async def test_the_same_bytes_again_change_nothing_packed_or_not(store: Store) -> None:
    content, _ = file_in("DE", entries("DE"))
    first = await imported(store, content)
    before = await counts(store)
    for again in (content, gzip.compress(content), gzip.compress(content[:100]) + gzip.compress(content[100:])):
        told = await imported(store, again)
        assert (told.fresh, told.kept, told.file) == (False, None, first.file)
    assert await counts(store) == before
    report = NewFile(EU.id, "report", "stream", "R7")
    told = await import_settlement(store, EU, SettlementFile, report, chunks(content))
    assert told.file.reports == ("R7",)
    async with store.begin() as tx:
        assert await finance_file.known_reports(tx, EU.id, ["R6", "R7"]) == {"R7"}
        assert await finance_file.of_settlements(tx, [first.file.settlement or "", "other"]) == {
            first.file.settlement: told.file
        }


async def test_two_at_once_are_one(store: Store) -> None:
    content, _ = file_in("US", entries("US"))
    done = await asyncio.gather(*(imported(store, content) for _ in range(4)))
    assert sorted(one.fresh for one in done) == [False, False, False, True]
    assert len({one.file.id for one in done}) == 1
    assert {one.file.state for one in done} == {FileState.KEPT}
    assert await counts(store) == (1, len(entries("US")), 1)


async def test_who_brings_what_becomes_books_waits_for_it_however_long(store: Store, database_url: str) -> None:
    """Not only as long as a statement may take: the books of a million rows take longer."""
    content, _ = file_in("DE", entries("DE"))
    impatient = Store(database_url, statement_timeout_s=2.0)
    waiting = text(
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock' and now() - xact_start > '2.5 s'"
    )
    try:
        there = (await imported(store, content)).file
        async with store.begin() as tx:
            await tx.execute(
                select(finance_file_table.c.id).where(finance_file_table.c.id == there.id).with_for_update()
            )
            late = asyncio.create_task(imported(impatient, content))
            while not late.done():
                async with store.begin() as looking:
                    if await looking.scalar(waiting):
                        break
        again = await late
    finally:
        await impatient.close()
    assert (again.file.id, again.fresh) == (there.id, False)


class Killed(BaseException):
    """What no handler answers: as if the process were gone."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files come in many parts, each of them written by itself."""
    monkeypatch.setattr(settlement_files, "PART_BYTES", 2_000)
    monkeypatch.setattr(settlement_files, "PARTS", 1)


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.usefixtures("small")
async def test_who_dies_at_any_row_leaves_what_the_next_ends_with_the_same_totals(
    store: Store, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    wanted = [one for number in range(5) for one in entries("DE", number)]
    file = await bring(store, NEW, chunks(file_in("DE", wanted)[0]))
    write, written = settlement_store.write, 0

    async def dying(tx: AsyncConnection, opened: settlement_store.Opened) -> settlement_rows.Written:
        nonlocal written
        done = await write(tx, opened)
        assert done.rows < len(wanted)
        written += 1
        if written == at:
            raise Killed
        return done

    with monkeypatch.context() as mocked:
        mocked.setattr(settlement_store, "write", dying)
        with pytest.raises(Killed):
            await take(store, EU, SettlementFile, file.id)
    assert (await counts(store))[:2] == (0, 0)
    async with store.begin() as tx:
        assert await finance_file.unfinished(tx, EU.id) == [file.id]
    done = await take(store, EU, SettlementFile, file.id)
    assert done.kept is not None
    assert done.kept.rows == len(wanted)
    assert (await counts(store))[:2] == (1, len(wanted))
    async with store.begin() as tx:
        assert await tx.scalar(select(func.sum(money_line.c.amount))) == sum((one.amount for one in wanted), Decimal(0))
        assert await finance_file.unfinished(tx, EU.id) == []


@pytest.mark.usefixtures("small")
async def test_who_has_a_file_in_hand_has_it_to_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [one for number in range(5) for one in entries("DE", number)]
    file = await bring(store, NEW, chunks(file_in("DE", wanted)[0]))
    write = settlement_store.write
    others: list[asyncio.Task[Imported]] = []

    async def slow(tx: AsyncConnection, opened: settlement_store.Opened) -> settlement_rows.Written:
        if not others:
            async with store.begin() as looking:
                assert await finance_file.unfinished(looking, EU.id) == []
            others.append(asyncio.create_task(take(store, EU, SettlementFile, file.id)))
            waiting = text(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            )
            while True:
                async with store.begin() as looking:
                    if await looking.scalar(waiting):
                        break
        return await write(tx, opened)

    monkeypatch.setattr(settlement_store, "write", slow)
    mine = await take(store, EU, SettlementFile, file.id)
    theirs = await others[0]
    assert (mine.fresh, theirs.fresh, theirs.kept) == (True, False, None)
    assert mine.file == theirs.file
    assert (await counts(store))[:2] == (1, len(wanted))


async def test_events_are_told_while_a_file_waits_for_the_books(store: Store) -> None:
    file = await bring(store, NEW, chunks(CONTENT))
    waiting = text(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with store.begin() as tx:
        await settlement_store.turn(tx)
        taking = asyncio.create_task(take(store, EU, SettlementFile, file.id))
        while True:
            async with store.begin() as looking:
                if await looking.scalar(waiting):
                    break
        async with store.begin() as other:
            await event.append(other, [NewEvent(EventKind.SETTLEMENT_KEPT, "another", {"channel": "eu"})])
        assert await all_relayed(store, 1) == [(1, "another")]
    assert (await taking).kept is not None


@given(st.binary(max_size=5_000), st.integers(1, 3_000), st.integers(1, 3_000))
def test_the_same_bytes_are_the_same_file_however_they_come(content: bytes, size: int, other: int) -> None:
    def come(sent: bytes, size: int) -> Coming:
        coming = Coming()
        told = [piece for at in range(0, len(sent), size) for piece in coming.feed(sent[at : at + size])]
        assert b"".join([*told, coming.close()]) == content
        return coming

    plain, packed = come(content, size), come(gzip.compress(content), other)
    assert (plain.sha256, plain.size, plain.utf8) == (packed.sha256, packed.size, packed.utf8)
    assert plain.sha256 == plain.sha256_as_it_came == hashlib.sha256(content).hexdigest()
    assert plain.utf8 == is_utf8(content)


def test_a_packed_file_that_was_cut_is_never_whole_wherever_it_was_cut() -> None:
    packed = gzip.compress(file_in("DE", [one for number in range(20) for one in entries("DE", number)])[0])
    places = range(2, len(packed))
    assert len(places) > 200
    for place in places:
        coming = Coming()
        deque(coming.feed(packed[:place]), maxlen=0)
        with pytest.raises(Broken, match="was cut"):
            coming.close()


async def test_a_packed_file_that_was_cut_is_refused_and_is_not_the_whole_one(store: Store) -> None:
    for place in range(10, len(PACKED), len(PACKED) // 8):
        done = await imported(store, PACKED[:place])
        assert done.file.state is FileState.REFUSED
        assert "was cut" in (done.file.reason or "")
    assert await counts(store) == (0, 0, 0)
    assert (await imported(store, PACKED)).kept is not None


def bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(24)) + packer.flush()


CONTENT, _ = file_in("DE", entries("DE"))
PACKED = gzip.compress(CONTENT)
BROKEN = {
    "bomb": (bomb(), "unpacks to more than 200 times its size"),
    "more": (PACKED + b"more", "behind the end of its gzip file stands something"),
    "flipped": (PACKED[:-6] + bytes([PACKED[-6] ^ 1]) + PACKED[-5:], "is damaged"),
    "no gzip": (b"\x1f\x8b" + bytes(100), "cannot be read"),
    "packed twice": (gzip.compress(PACKED), "Line 1: byte"),
    "empty": (b"", "The file is empty"),
    "empty, packed": (gzip.compress(b""), "The file is empty"),
    "plain, cut": (CONTENT[:-3], "cells stand under"),
    "a cent": (file_in("DE", entries("DE"), Decimal("-3.92"))[0], "the difference is 0.01 EUR"),
    "a number": (CONTENT.replace(b"41,00", b"NaN"), "column `amount`: 'NaN'"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_hostile_file_is_refused_whole_and_says_why(store: Store, name: str) -> None:
    content, words = BROKEN[name]
    done = await imported(store, content)
    assert done.fresh or done.file.size == 0
    assert (done.kept, done.file.state, done.file.settlement) == (None, FileState.REFUSED, None)
    assert words in (done.file.reason or "")
    assert (await counts(store))[:2] == (0, 0)
    again = await imported(store, content)
    assert (again.fresh, again.file) == (False, done.file)
    # What can be unpacked can be looked at, and is read once more for who asks.
    if (await counts(store))[2]:
        assert await bytes_of(store, done.file.id) == (
            gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        )
        assert (await imported(store, content, again=True)).fresh


async def test_what_stops_coming_is_no_file(store: Store) -> None:
    async def stopping() -> AsyncIterator[bytes]:
        yield CONTENT[:100]
        raise Transient("The line is dead.")

    with pytest.raises(Transient, match="The line is dead"):
        await import_settlement(store, EU, SettlementFile, NewFile(EU.id, "a", "stream", "R1"), stopping())
    async with store.begin() as tx:
        assert await tx.scalar(text("select count(*) from finance_file")) == 0
        assert await finance_file.known_reports(tx, EU.id, ["R1"]) == set()
        # And one whose reader died without a word is forgotten when the next comes.
        await finance_file.begin(tx, NEW)
        await tx.execute(text("update finance_file set due_at = now()"))
        await finance_file.begin(tx, NEW)
        assert await tx.scalar(text("select count(*) from finance_file")) == 1


async def test_a_corrected_file_of_the_same_settlement_is_refused_and_the_books_stay(store: Store) -> None:
    assert (await imported(store, CONTENT)).kept is not None
    before = await counts(store)
    other = await imported(store, file_in("DE", entries("DE")[:-1])[0])
    assert other.file.state is FileState.REFUSED
    assert "12345678901" in (other.file.reason or "")
    assert (await counts(store))[:2] == before[:2]


async def test_a_rehearsal_tells_what_would_be_and_leaves_nothing(store: Store) -> None:
    def told() -> Iterator[bytes]:
        yield from (PACKED[:50], PACKED[50:])

    kept, statement = await rehearse(store, EU, SettlementFile, told)
    assert (kept.fresh, kept.rows) == (True, len(entries("DE")))
    assert statement.marketplace == "DE"
    assert await counts(store) == (0, 0, 0)
    done = await imported(store, CONTENT)
    assert done.kept is not None
    assert (done.kept.rows, done.kept.matched_rows, done.kept.difference) == (
        kept.rows, kept.matched_rows, kept.difference,
    )  # fmt: skip
    with pytest.raises(Refused, match="was cut"):
        await rehearse(store, EU, SettlementFile, lambda: iter([PACKED[:-20]]))


async def test_a_settlement_of_nothing_is_one_too(store: Store) -> None:
    done = await imported(store, file_in("JP", [])[0])
    assert done.kept is not None
    assert (done.file.state, done.kept.rows, done.kept.difference.amount) == (FileState.KEPT, 0, Decimal(0))
    assert await counts(store) == (1, 0, 1)
