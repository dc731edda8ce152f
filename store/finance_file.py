"""Files of settlements: kept as they came before anybody understands them, and for ever.

Whoever reads one has it in hand as long as the transaction lasts that makes it books. Files of the books are never pruned.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Text, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import HouseError
from domain.ids import ChannelId
from store.session import AnyRow, Store, among, from_now, storable
from store.tables import finance_file, finance_file_part

f = finance_file.c
p = finance_file_part.c

PART_BYTES = 1024 * 1024
# A store may be slow; whoever died over a file that was coming leaves nothing but its parts.
COMING_S = 3600.0


class FileState(Enum):
    """READING: it is read, or will be. KEPT: its settlement is in the books. REFUSED: nothing of it is."""

    READING = "READING"
    KEPT = "KEPT"
    REFUSED = "REFUSED"


class OutOfHand(HouseError):
    """The file was given up while it came; who is told so stops."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that begins to come. `report` is the channel's own id of it, where it has one; `content_type` and `marketplace` are
    what was told along with it."""

    channel: ChannelId
    name: str
    brought_by: str
    report: str | None = None
    content_type: str = ""
    marketplace: str | None = None


@dataclass(frozen=True, slots=True)
class FinanceFile:
    """A file that is kept. `sha256` is of its `size` bytes, unpacked; None while it is coming. `rows_read` of its rows are
    in the books."""

    id: str
    channel: ChannelId
    name: str
    brought_by: str
    reports: tuple[str, ...]
    content_type: str
    marketplace: str | None
    sha256: str | None
    size: int
    utf8: bool
    state: FileState
    reason: str | None
    rows_read: int
    dialect: Mapping[str, Any] | None
    settlement: str | None
    at: datetime
    ended_at: datetime | None


async def begin(tx: AsyncConnection, new: NewFile) -> FinanceFile:
    """A file without bytes yet. Those of the channel that stopped coming are forgotten."""
    await tx.execute(
        delete(finance_file).where(
            f.channel == new.channel, _reading(), f.sha256.is_(None), f.due_at <= func.clock_timestamp()
        )
    )
    values = {
        "id": str(uuid4()),
        "channel": new.channel,
        "name": storable(new.name),
        "brought_by": storable(new.brought_by),
        "reports": [] if new.report is None else [new.report],
        "content_type": storable(new.content_type),
        "marketplace": new.marketplace,
        "due_at": from_now(COMING_S),
    }
    return _file((await tx.execute(insert(finance_file).values(**values).returning(finance_file))).one())


async def add_part(tx: AsyncConnection, file: str, number: int, packed: bytes) -> None:
    """Keep the next bytes of a file that is coming, packed by `pack`. Raises OutOfHand when it is forgotten."""
    still = update(finance_file).where(f.id == file, _reading(), f.sha256.is_(None)).values(due_at=from_now(COMING_S))
    if not (await tx.execute(still)).rowcount:
        raise OutOfHand(f"File {file} was given up while it came; bring it once more.")
    await tx.execute(insert(finance_file_part).values(file=file, number=number, packed=packed))


def pack(part: bytes) -> bytes:
    """Bytes as a part is kept."""
    # Beyond the first levels it takes twice the time for a sixth of the size.
    return gzip.compress(part, 3)


async def forget(tx: AsyncConnection, file: str) -> None:
    """Forget a file that will not come to its end."""
    await tx.execute(delete(finance_file).where(f.id == file, _reading(), f.sha256.is_(None)))


async def arrived(tx: AsyncConnection, file: str, sha256: str, size: int, *, utf8: bool) -> FinanceFile:
    """All of it has come. The file that holds these bytes: where they came before, that one, and nothing is kept of this one but
    its report."""
    values = {"sha256": sha256, "bytes": size, "utf8": utf8}
    try:
        async with tx.begin_nested():
            row = (
                await tx.execute(
                    update(finance_file)
                    .where(f.id == file, _reading(), f.sha256.is_(None))
                    .values(**values)
                    .returning(finance_file)
                )
            ).one_or_none()
    except IntegrityError:
        return await _the_first(tx, file, sha256)
    if row is None:
        raise OutOfHand(f"File {file} was given up while it came; bring it once more.")
    return _file(row)


async def unreadable(tx: AsyncConnection, file: str, sha256: str, size: int, reason: str) -> FinanceFile:
    """What came cannot be unpacked: it is refused, and its bytes are not kept. `sha256` and `size` are of what came."""
    one = await arrived(tx, file, sha256, size, utf8=False)
    if one.id != file:
        return one
    await tx.execute(delete(finance_file_part).where(p.file == file))
    done = _ended(FileState.REFUSED) | {"reason": reason, "bytes": 0}
    return _file(
        (await tx.execute(update(finance_file).where(f.id == file).values(**done).returning(finance_file))).one()
    )


async def claim(tx: AsyncConnection, file: str, *, again: bool = False) -> FinanceFile | None:
    """Take a file in hand that waits to be read, until `tx` ends, as soon as nobody else has it; `again`: one that was refused
    too. None where nothing is to be done."""
    waits = _reading() if not again else f.state.in_([FileState.READING.value, FileState.REFUSED.value])
    # What could not be unpacked has no bytes to be read.
    there = select(p.number).where(p.file == f.id).exists()
    row = (
        await tx.execute(
            update(finance_file)
            .where(f.id == file, waits, f.sha256.is_not(None), there)
            .values(state=FileState.READING.value, reason=None, ended_at=None)
            .returning(finance_file)
        )
    ).one_or_none()
    return None if row is None else _file(row)


async def kept(tx: AsyncConnection, file: str, settlement: str, rows: int, dialect: Mapping[str, Any]) -> None:
    """The settlement of a file in hand is in the books."""
    values = {"settlement_id": settlement, "rows_read": rows, "dialect": dict(dialect)}
    await tx.execute(update(finance_file).where(f.id == file).values(**_ended(FileState.KEPT), **values))


async def refused(tx: AsyncConnection, file: str, reason: str, dialect: Mapping[str, Any]) -> None:
    """Nothing of a file in hand is in the books."""
    values = {"reason": storable(reason), "dialect": dict(dialect)}
    await tx.execute(update(finance_file).where(f.id == file).values(**_ended(FileState.REFUSED), **values))


async def by_id(tx: AsyncConnection, id: str) -> FinanceFile | None:
    """The file, if there is one of that id."""
    row = (await tx.execute(select(finance_file).where(f.id == id))).one_or_none()
    return None if row is None else _file(row)


async def page(
    tx: AsyncConnection,
    *,
    first: int,
    after: tuple[datetime, str] | None = None,
    channel: ChannelId | None = None,
    state: FileState | None = None,
) -> tuple[list[FinanceFile], bool]:
    """The next `first` files, the last come first, and whether there are more."""
    query = select(finance_file).where(*_wanted(channel, state)).order_by(f.at.desc(), f.id.desc()).limit(first + 1)
    if after is not None:
        query = query.where(tuple_(f.at, f.id) < after)
    rows = (await tx.execute(query)).all()
    return list(map(_file, rows[:first])), len(rows) > first


async def count(tx: AsyncConnection, *, channel: ChannelId | None = None, state: FileState | None = None) -> int:
    """How many `page` would give in all."""
    return await tx.scalar(select(func.count()).select_from(finance_file).where(*_wanted(channel, state))) or 0


async def refused_counts(tx: AsyncConnection) -> dict[ChannelId, int]:
    """How many files of each channel are refused; those without any are missing."""
    rows = await tx.execute(
        select(f.channel, func.count().label("files"))
        .where(f.state == FileState.REFUSED.value)
        .group_by(f.channel)
        .order_by(f.channel)
    )
    return {ChannelId(row.channel): row.files for row in rows}


async def read_again(tx: AsyncConnection, file: str) -> FinanceFile | None:
    """Let a refused file wait to be read once more; None for one that is not refused, or whose bytes are not kept."""
    there = select(p.number).where(p.file == f.id).exists()
    values = {"state": FileState.READING.value, "reason": None, "ended_at": None}
    row = (
        await tx.execute(
            update(finance_file)
            .where(f.id == file, f.state == FileState.REFUSED.value, there)
            .values(**values)
            .returning(finance_file)
        )
    ).one_or_none()
    return None if row is None else _file(row)


async def of_settlements(tx: AsyncConnection, ids: Collection[str]) -> dict[str, FinanceFile]:
    """The file that each settlement was kept from: the first, where Amazon wrote it in several ways. Payouts have none."""
    rows = await tx.execute(select(finance_file).where(among(f.settlement_id, ids)).order_by(f.at.desc(), f.id.desc()))
    return {row.settlement_id: _file(row) for row in rows}


async def known_reports(tx: AsyncConnection, channel: ChannelId, reports: Collection[str]) -> set[str]:
    """Which of a channel's reports are here to their last byte, whatever became of them since."""
    told = (
        select(func.unnest(f.reports, type_=Text).label("report"))
        .where(f.channel == channel, f.sha256.is_not(None))
        .subquery()
    )
    return set(await tx.scalars(select(told.c.report).where(among(told.c.report, reports))))


async def unfinished(tx: AsyncConnection, channel: ChannelId) -> list[str]:
    """The files of a channel that are all here and that nobody has in hand, though they are not read to their end."""
    waits = select(f.id).where(f.channel == channel, _reading(), f.sha256.is_not(None)).order_by(f.at, f.id)
    return list(await tx.scalars(waits.with_for_update(skip_locked=True)))


async def parts(tx: AsyncConnection, file: str, at_once: int) -> AsyncIterator[list[bytes]]:
    """The bytes of a file, so many parts at a time, each as `pack` packed it."""
    first = 0
    while True:
        among = (p.file == file, p.number >= first, p.number < first + at_once)
        found = list(await tx.scalars(select(p.packed).where(*among).order_by(p.number)))
        if not found:
            return
        yield found
        first += at_once


async def content(store: Store, file: str) -> AsyncIterator[bytes]:
    """The bytes of a file, a mebibyte at a time."""
    async for part in packed(store, file):
        yield gzip.decompress(part)


async def packed(store: Store, file: str) -> AsyncIterator[bytes]:
    """The bytes of a file as they lie there: one behind the other, a gzip file."""
    number = 0
    while True:
        async with store.begin() as tx:
            part = await tx.scalar(select(p.packed).where(p.file == file, p.number == number))
        if part is None:
            return
        yield part
        number += 1


async def _the_first(tx: AsyncConnection, file: str, sha256: str) -> FinanceFile:
    """The file that had these bytes before; the reports of this one are its reports too."""
    gone = (await tx.execute(delete(finance_file).where(f.id == file).returning(f.channel, f.reports))).one()
    same = (f.channel == gone.channel) & (f.sha256 == sha256)
    row = (await tx.execute(select(finance_file).where(same).with_for_update())).one()
    if more := [one for one in gone.reports if one not in row.reports]:
        added = update(finance_file).where(same).values(reports=[*row.reports, *more]).returning(finance_file)
        row = (await tx.execute(added)).one()
    return _file(row)


def _wanted(channel: ChannelId | None, state: FileState | None) -> list[ColumnElement[bool]]:
    wanted = [] if channel is None else [f.channel == channel]
    return wanted if state is None else [*wanted, f.state == state.value]


def _reading() -> ColumnElement[bool]:
    return f.state == FileState.READING.value


def _ended(state: FileState) -> dict[str, Any]:
    return {"state": state.value, "ended_at": func.now()}


def _file(row: AnyRow) -> FinanceFile:
    return FinanceFile(
        id=row.id,
        channel=ChannelId(row.channel),
        name=row.name,
        brought_by=row.brought_by,
        reports=tuple(row.reports),
        content_type=row.content_type,
        marketplace=row.marketplace,
        sha256=row.sha256,
        size=row.bytes,
        utf8=row.utf8,
        state=FileState(row.state),
        reason=row.reason,
        rows_read=row.rows_read,
        dialect=row.dialect,
        settlement=row.settlement_id,
        at=row.at,
        ended_at=row.ended_at,
    )
