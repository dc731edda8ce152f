"""Files of settlements become books: kept as they came, read and staged a batch at a time, then settled in one transaction.

Who dies over one loses nothing: what had not come to its end is forgotten, what had is read on from the last batch. The same
bytes again change nothing.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from uuid import uuid4

from sqlalchemy import text

from adapters.gzipped import MAGIC, Broken, Unpacking
from adapters.settlement import Read, Reader
from domain.channel import Channel
from domain.errors import Refused
from domain.money_words import Classify
from domain.settlement import Statement, StatementRow
from store import finance_file, money_word, settlement
from store.finance_file import PART_BYTES, FileState, FinanceFile, NewFile, OutOfHand
from store.session import Store, take_time
from store.settlement import Kept

log = logging.getLogger(__name__)

# What is at hand in the processor's cache is read half as fast again as a mebibyte at once.
BITE = 64 * 1024
MOST_BYTES = 4 * 1024**3
LOOK_EVERY_S = 0.5

Tell: TypeAlias = Callable[[str, int, int], None]
"""Told what is done now, and how far: bytes behind, and bytes in all (0 where nobody knows)."""


def _nobody(_what: str, _done: int, _total: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file; `fresh`: just now, and not before. `kept` is there where just now it became books."""

    file: FinanceFile
    fresh: bool
    kept: Kept | None = None


async def import_settlement(
    store: Store,
    channel: Channel,
    read: Read,
    new: NewFile,
    chunks: AsyncIterator[bytes],
    *,
    again: bool = False,
    tell: Tell = _nobody,
) -> Imported:
    """A file from its bytes, packed by gzip or not, to books: `bring`, then `take`.

    What is wrong with the file refuses it, and is its `reason`; raises what `chunks` raises, and then nothing is kept.
    """
    file = await bring(store, new, chunks, tell=tell)
    return await take(store, channel, read, file.id, again=again, tell=tell)


async def bring(store: Store, new: NewFile, chunks: AsyncIterator[bytes], *, tell: Tell = _nobody) -> FinanceFile:
    """Keep the bytes of a file: the file that holds them now, which may be one that came before. One that cannot be unpacked is
    REFUSED. Raises what `chunks` raises, and then nothing is kept."""
    async with store.begin() as tx:
        file = await finance_file.begin(tx, new)
    coming = Coming()
    try:
        await _keep_parts(store, file, coming, chunks, tell)
    except Broken as problem:
        async for chunk in chunks:
            coming.pass_over(chunk)
        async with store.begin() as tx:
            words = f"The file {problem} Fetch it once more."
            return await finance_file.unreadable(tx, file.id, coming.sha256_as_it_came, coming.size_as_it_came, words)
    except Exception:
        async with store.begin() as tx:
            await finance_file.forget(tx, file.id)
        raise
    async with store.begin() as tx:
        # Should the same bytes be there already, whoever makes books of them holds that file as long as it takes.
        await take_time(tx)
        return await finance_file.arrived(tx, file.id, coming.sha256, coming.size, utf8=coming.utf8)


async def take(
    store: Store, channel: Channel, read: Read, file: str, *, again: bool = False, tell: Tell = _nobody
) -> Imported:
    """Make a file books that is here to its last byte, once, whoever else is at it; `again`: one that was refused before too.
    Computes for seconds at a time: where others wait for the event loop, run it by `workers.price_files.apart`."""
    while True:
        async with store.begin() as tx:
            # Whoever makes books of it holds it as long as it takes.
            await take_time(tx)
            mine = await finance_file.claim(tx, file, again=again)
            there = mine or await finance_file.by_id(tx, file)
        assert there is not None, "what has arrived is never forgotten"
        if mine is not None:
            try:
                return await _taken(store, channel, read, mine, tell)
            except OutOfHand:
                log.warning("settlement_file.out_of_hand", extra={"file": file})
                continue
        if there.state is not FileState.READING:
            return Imported(there, fresh=False)
        await asyncio.sleep(LOOK_EVERY_S)


async def rehearse(
    store: Store, channel: Channel, read: Read, chunks: Callable[[], Iterator[bytes]]
) -> tuple[Kept, Statement]:
    """What would become of a file, by doing all of it and taking it back. `chunks` are its bytes, asked for twice. Raises
    Refused."""
    try:
        first, again = Coming(), Coming()
        for chunk in chunks():
            deque(first.feed(chunk), maxlen=0)
        first.close()
        reader = read(utf8=first.utf8)
        async with store.begin() as tx, tx.begin_nested() as tried:
            await take_time(tx)
            file = f"rehearsal:{uuid4()}"
            rows = Rows(reader, (await money_word.dictionary(tx)).of(reader.words), file, 0)
            for content in (piece for chunk in chunks() for piece in again.feed(chunk)):
                await settlement.stage(tx, rows.next(content).written)
            await settlement.stage(tx, rows.last().written)
            statement = reader.statement(channel)
            kept = await settlement.settle(tx, channel, statement, file)
            await tried.rollback()
    except Broken as problem:
        raise Refused(f"The file {problem}") from problem
    return kept, statement


class Coming:
    """The bytes of a file while they come: unpacked where they are packed, counted and summed up."""

    def __init__(self) -> None:
        self.size = self.size_as_it_came = 0
        self.utf8 = True
        self._sum, self._sum_as_it_came = hashlib.sha256(), hashlib.sha256()
        self._letters = codecs.getincrementaldecoder("utf-8")()
        self._unpacking: Unpacking | None = None
        self._begun = False
        self._start = b""

    @property
    def sha256(self) -> str:
        """Of what was unpacked."""
        return self._sum.hexdigest()

    @property
    def sha256_as_it_came(self) -> str:
        """Of what came."""
        return self._sum_as_it_came.hexdigest()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What lies in the next bytes. Raises Broken."""
        self.pass_over(chunk)
        if not self._begun:
            self._start += chunk
            if len(self._start) < len(MAGIC):
                return
            self._begun, chunk = True, self._start
            self._unpacking = Unpacking() if chunk.startswith(MAGIC) else None
        for piece in [chunk] if self._unpacking is None else self._unpacking.feed(chunk):
            self._take(piece)
            yield piece

    def pass_over(self, chunk: bytes) -> None:
        """Bytes that nobody unpacks."""
        self.size_as_it_came += len(chunk)
        self._sum_as_it_came.update(chunk)

    def close(self) -> bytes:
        """The last bytes, where there are hardly any. Raises Broken."""
        if self._unpacking is not None:
            self._unpacking.close()
        last = b"" if self._begun else self._start
        self._take(last, end=True)
        return last

    def _take(self, piece: bytes, *, end: bool = False) -> None:
        self.size += len(piece)
        if self.size > MOST_BYTES:
            raise Broken(f"has more than {MOST_BYTES} bytes, which no settlement has.")
        self._sum.update(piece)
        if self.utf8:
            try:
                self._letters.decode(piece, end)
            except UnicodeDecodeError:
                self.utf8 = False


async def _keep_parts(
    store: Store, file: FinanceFile, coming: Coming, chunks: AsyncIterator[bytes], tell: Tell
) -> None:
    """Keep the bytes, each part as soon as it is full."""
    part, number = bytearray(), 0

    async def keep() -> None:
        packed = await asyncio.to_thread(finance_file.pack, bytes(part[:PART_BYTES]))
        async with store.begin() as tx:
            await finance_file.add_part(tx, file.id, number, packed)
        del part[:PART_BYTES]

    async for chunk in chunks:
        for piece in coming.feed(chunk):
            part += piece
            while len(part) >= PART_BYTES:
                await keep()
                number += 1
                tell("kept as it came", coming.size_as_it_came, 0)
    part += coming.close()
    if part or not number:
        await keep()
    tell("kept as it came", coming.size_as_it_came, 0)


async def _taken(store: Store, channel: Channel, read: Read, file: FinanceFile, tell: Tell) -> Imported:
    """A file that we have in hand, made books or refused."""
    reader: Reader | None = None
    try:
        reader = read(file.content_type, utf8=file.utf8)
        await _staged(store, file, reader, tell)
        statement = reader.statement(channel, file.marketplace)
        async with store.begin() as tx:
            # Held until the end, so that nobody takes a file for given up whose books take long.
            await finance_file.read(tx, file, reader.rows, reader.rows)
            kept = await settlement.settle(tx, channel, statement, file.id)
            await finance_file.kept(tx, file, kept.settlement, reader.rows, reader.dialect)
    except OutOfHand:
        raise
    except Refused as problem:
        async with store.begin() as tx:
            await finance_file.refused(tx, file, problem.message, reader.dialect if reader else {})
            await settlement.unstage(tx, file.id)
        log.warning("settlement_file.refused", extra={"file": file.id, "channel": channel.id, "why": problem.message})
        kept = None
    except Exception:
        async with store.begin() as tx:
            await finance_file.lay_down(tx, file)
        raise
    async with store.begin() as tx:
        there = await finance_file.by_id(tx, file.id)
    assert there is not None, "what has arrived is never forgotten"
    return Imported(there, fresh=True, kept=kept)


async def _staged(store: Store, file: FinanceFile, reader: Reader, tell: Tell) -> None:
    """Stage all rows of a file that are not staged yet: while the database takes one batch, the next is read. Raises Refused."""
    async with store.begin() as tx:
        there = await settlement.staged(tx, file.id)
        if there != file.rows_read:
            await settlement.unstage(tx, file.id)
            await finance_file.read(tx, file, file.rows_read, 0)
            there = 0
        meaning = (await money_word.dictionary(tx)).of(reader.words)
    rows, done = Rows(reader, meaning, file.id, there), 0
    batch = Batch(there, there, b"")
    async for content in finance_file.content(store, file.id):
        _, batch = await asyncio.gather(_stage(store, file, batch), asyncio.to_thread(rows.next, content))
        done += len(content)
        tell("read", done, file.size)
    await _stage(store, file, batch)
    await _stage(store, file, rows.last())


class Batch(NamedTuple):
    """Rows as they are staged: those behind the first `before`, up to the number `last`."""

    before: int
    last: int
    written: bytes


@dataclass(slots=True)
class Rows:
    """The rows of a file as they are staged, but for the first so many, which are `there`."""

    reader: Reader
    meaning: Classify
    file: str
    there: int

    def next(self, content: bytes) -> Batch:
        """The rows that end in the next bytes. Raises Refused."""
        bites = (content[at : at + BITE] for at in range(0, len(content), BITE))
        return self._batch(self.reader.feed(bite) for bite in bites)

    def last(self) -> Batch:
        """The last rows, when there are no more bytes. Raises Refused."""
        return self._batch(self.reader.close() for _ in range(1))

    def _batch(self, read: Iterable[Sequence[StatementRow]]) -> Batch:
        before, written = self.there, []
        for rows in read:
            rows = [row for row in rows if row.number > self.there] if rows and rows[0].number <= self.there else rows
            if rows:
                written.append(settlement.written(self.file, rows, self.meaning))
                self.there = rows[-1].number
        return Batch(before, self.there, b"".join(written))


async def _stage(store: Store, file: FinanceFile, batch: Batch) -> None:
    """Raises OutOfHand."""
    if not batch.written:
        return
    async with store.begin() as tx:
        # What is staged is lost with the database's memory anyway, and then begun anew.
        await tx.execute(_LOSABLE)
        await settlement.stage(tx, batch.written)
        await finance_file.read(tx, file, batch.before, batch.last)


_LOSABLE = text("set local synchronous_commit = off")
