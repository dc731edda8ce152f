"""Files of settlements become books: kept as they came, then read and written in one transaction, a batch at a time.

Who dies over one loses nothing: what had not come to its end is forgotten, what had is read anew. The same bytes again change
nothing.
"""

from __future__ import annotations

import asyncio
import codecs
import gzip
import hashlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.gzipped import MAGIC, Broken, Unpacking
from adapters.settlement import Read, Reader
from domain.channel import Channel
from domain.errors import Refused
from domain.settlement import Statement, StatementRow
from store import finance_file, money_word, settlement, settlement_rows
from store.finance_file import PART_BYTES, FinanceFile, NewFile
from store.session import Store, take_time
from store.settlement import Kept, Opened
from store.settlement_rows import Batch, Written

log = logging.getLogger(__name__)

# What is at hand in the processor's cache is read half as fast again as a mebibyte at once.
BITE = 64 * 1024
PARTS = 4
"""So many parts of a file are read while the database writes what was read of those before."""
MOST_BYTES = 4 * 1024**3

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
    kept: Kept | None = None
    async with store.begin() as tx:
        # Whoever makes books of it holds it as long as it takes, and waits for them before that.
        await settlement.turn(tx)
        mine = await finance_file.claim(tx, file, again=again)
        if mine is not None:
            kept = await _taken(tx, channel, read, mine, tell)
        there = await finance_file.by_id(tx, file)
    assert there is not None, "what has arrived is never forgotten"
    return Imported(there, fresh=mine is not None, kept=kept)


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
        pieces = (piece for chunk in chunks() for piece in again.feed(chunk))
        async with store.begin() as tx, tx.begin_nested() as tried:
            await settlement.turn(tx)
            kept, statement = await _made(tx, channel, read(utf8=first.utf8), None, _together(pieces))
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
    """Keep the bytes, each part as soon as it is full: while one is packed, the next comes."""
    part, number = bytearray(), 0
    packing: deque[asyncio.Future[bytes]] = deque()

    def begin() -> None:
        full = bytes(part[:PART_BYTES])
        packing.append(asyncio.get_running_loop().run_in_executor(None, finance_file.pack, full))
        del part[:PART_BYTES]

    async def keep() -> None:
        nonlocal number
        packed = await packing.popleft()
        async with store.begin() as tx:
            await finance_file.add_part(tx, file.id, number, packed)
        number += 1
        tell("kept as it came", coming.size_as_it_came, 0)

    async for chunk in chunks:
        for piece in coming.feed(chunk):
            part += piece
            while len(part) >= PART_BYTES:
                begin()
                if len(packing) > 1:
                    await keep()
    part += coming.close()
    while part or not (number or packing):
        begin()
    while packing:
        await keep()


async def _taken(tx: AsyncConnection, channel: Channel, read: Read, file: FinanceFile, tell: Tell) -> Kept | None:
    """A file that we have in hand, made books; None where it is refused."""
    reader: Reader | None = None

    async def pieces() -> AsyncIterator[Iterable[bytes]]:
        done = 0
        async for parts in finance_file.parts(tx, file.id, PARTS):
            yield map(gzip.decompress, parts)
            done += len(parts) * PART_BYTES
            tell("read", min(done, file.size), file.size)

    try:
        async with tx.begin_nested():
            reader = read(file.content_type, utf8=file.utf8)
            kept, _ = await _made(tx, channel, reader, file.marketplace, pieces())
            await finance_file.kept(tx, file.id, kept.settlement, reader.rows, reader.dialect)
    except Refused as problem:
        await finance_file.refused(tx, file.id, problem.message, reader.dialect if reader else {})
        log.warning("settlement_file.refused", extra={"file": file.id, "channel": channel.id, "why": problem.message})
        return None
    return kept


async def _made(
    tx: AsyncConnection,
    channel: Channel,
    reader: Reader,
    marketplace: str | None,
    pieces: AsyncIterator[Iterable[bytes]],
) -> tuple[Kept, Statement]:
    """A file read from its first byte to its last, and made books. Raises Refused; what was written is to be taken back then."""
    meaning = (await money_word.dictionary(tx)).of(reader.words)
    books, batch = _Books(tx, channel, reader), Batch(b"", b"", b"")
    async for several in _rows(reader, pieces):
        async with books.writing(batch):
            batch = settlement_rows.written(several, meaning)
    async with books.writing(batch):
        statement = reader.statement(channel, marketplace)
    return await settlement.settle(tx, await books.open(), statement, books.written), statement


@dataclass(slots=True)
class _Books:
    """The books, open for the settlement of a file as soon as its first rows come. `written` is what they come to so far."""

    tx: AsyncConnection
    channel: Channel
    reader: Reader
    written: Written = field(default_factory=lambda: Written(0, Decimal(0)))
    _opened: Opened | None = None

    async def open(self) -> Opened:
        """Open them, if they are not yet: rows stand behind the head of their file."""
        if self._opened is None:
            head = self.reader.head
            assert head is not None, "a file without one is refused"
            self._opened = await settlement.open_books(self.tx, self.channel, head.external_id, head.total.currency)
        return self._opened

    @asynccontextmanager
    async def writing(self, batch: Batch) -> AsyncIterator[None]:
        """The database writes a batch while the block computes, which says nothing to it."""
        if not batch.rows:
            yield
            return
        opened = await self.open()
        await settlement_rows.send(self.tx, batch)
        task = asyncio.create_task(settlement.write(self.tx, opened))
        try:
            # One turn of the loop to say it, one to send it off: then it is under way, however long we compute.
            for _ in range(2):
                await asyncio.sleep(0)
            yield
        finally:
            rows, added = await task
            self.written = Written(self.written.rows + rows, self.written.added + added)


async def _rows(
    reader: Reader, pieces: AsyncIterator[Iterable[bytes]]
) -> AsyncIterator[Iterable[Sequence[StatementRow]]]:
    """The rows of a file, a batch at a time, read when they are asked for. Raises Refused."""
    async for piece in pieces:
        yield (reader.feed(part[at : at + BITE]) for part in piece for at in range(0, len(part), BITE))
    yield (reader.close() for _ in range(1))


async def _together(pieces: Iterator[bytes]) -> AsyncIterator[Iterable[bytes]]:
    """So many of them as are written at once."""
    found, size = list[bytes](), 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size >= PARTS * PART_BYTES:
            yield found
            found, size = [], 0
    yield found
