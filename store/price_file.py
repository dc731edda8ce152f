"""Files of prices, kept row by row before anything comes of them.

Whoever has one in hand does so for a while; when that is over and it is not done, the next begins it anew: nothing of it has been
kept until all of it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import key_used
from domain.ids import ChannelId, ChannelSku, ListingId, OperationId, Sku
from domain.operation import ItemStatus
from domain.price import Price, read_price
from domain.price_target import Asked
from store import copying
from store.session import AnyRow, from_now, take_time
from store.tables import operation_item, price_file, price_file_row

f = price_file.c
r = price_file_row.c
i = operation_item.c

MOST_TRIES = 5
_COLUMNS = ("file", "number", "sku", "channel", "marketplace", "channel_sku", "price", "result", "reason")
_FIELDS = (
    copying.text,
    copying.integer,
    copying.text,
    copying.text,
    copying.text,
    copying.text,
    copying.jsonb,
    copying.text,
    copying.text,
)


class FileState(Enum):
    """WAITING: it is worked, or will be. FAILED: it could not be, as often as it was tried; nothing of it was kept."""

    WAITING = "WAITING"
    DONE = "DONE"
    FAILED = "FAILED"


class Result(Enum):
    """What becomes of a row. HELD: a guard wants a second person to look at it; UNCHANGED: the price is that already."""

    TAKEN = "TAKEN"
    HELD = "HELD"
    UNCHANGED = "UNCHANGED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row as its file tells it; empty where it names no channel, marketplace or SKU of a channel. `price` is None where
    `reason` says why it cannot be read."""

    number: int
    sku: str
    channel: str
    marketplace: str
    channel_sku: str
    price: Price | None
    reason: str = ""

    @property
    def asked(self) -> Asked | None:
        """What it asks for."""
        if self.price is None:
            return None
        channel = ChannelId(self.channel) if self.channel else None
        channel_sku = ChannelSku(self.channel_sku) if self.channel_sku else None
        return Asked(Sku(self.sku), self.price, channel, self.marketplace or None, channel_sku)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row."""

    number: int
    result: Result
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is told of. `key` is the caller's own name for it; `digest` says what is in it and how that is meant."""

    requested_by: str
    key: str
    digest: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class PriceFile:
    """A file that is kept. `looked` of its `rows` were looked at so far; `counts` are rows by what became of them, once DONE."""

    id: str
    requested_by: str
    digest: str
    dry_run: bool
    state: FileState
    rows: int
    looked: int
    created_at: datetime
    counts: Mapping[Result, int] = field(default_factory=dict)
    operation: OperationId | None = None
    problem: str | None = None


async def begin(tx: AsyncConnection, new: NewFile) -> tuple[PriceFile, bool]:
    """A file without rows yet, or the one that the caller told before by this key (False).

    Raises Conflict when the key was used with other contents.
    """
    made = await tx.execute(
        upsert(price_file)
        .values(
            id=str(uuid4()),
            requested_by=new.requested_by,
            key=new.key,
            digest=new.digest,
            dry_run=new.dry_run,
            due_at=func.now(),
        )
        .on_conflict_do_nothing(index_elements=["requested_by", "key", "dry_run"])
        .returning(price_file)
    )
    row = made.one_or_none()
    if row is not None:
        return _file(row), True
    first = await tx.execute(
        select(price_file).where(f.requested_by == new.requested_by, f.key == new.key, f.dry_run == new.dry_run)
    )
    found = _file(first.one())
    if found.digest != new.digest:
        raise key_used(new.key)
    return found, False


async def add_rows(tx: AsyncConnection, id: str, told: Sequence[FileRow]) -> None:
    """Keep rows of a file; those that cannot be read are refused at once."""
    await copying.into(tx, price_file_row.name, _COLUMNS, _FIELDS, (_values(id, one) for one in told))
    await tx.execute(update(price_file).where(f.id == id).values(rows=f.rows + len(told)))


async def by_id(tx: AsyncConnection, id: str) -> PriceFile | None:
    """The file, if there is one of that id."""
    row = (await tx.execute(select(price_file).where(f.id == id))).one_or_none()
    return None if row is None else _file(row)


async def claim(tx: AsyncConnection, hand_s: float, only: str | None = None) -> PriceFile | None:
    """The file that waits longest and that nobody has in hand, or the one that is meant; nobody else takes it for `hand_s`. One
    that was begun too often has FAILED."""
    waiting = select(f.id).where(f.state == FileState.WAITING.value, f.due_at <= func.clock_timestamp())
    if only is not None:
        waiting = waiting.where(f.id == only)
    id = await tx.scalar(waiting.order_by(f.due_at).limit(1).with_for_update(skip_locked=True))
    if id is None:
        return None
    taken = {"tries": f.tries + 1, "looked": 0, "due_at": from_now(hand_s)}
    row = (await tx.execute(update(price_file).where(f.id == id).values(**taken).returning(price_file))).one()
    if row.tries <= MOST_TRIES:
        return _file(row)
    words = (
        f"It was begun {MOST_TRIES} times and never came to an end; nothing of it was kept. The workers' log says why."
    )
    ended = {"state": FileState.FAILED.value, "problem": words, "ended_at": func.now()}
    await tx.execute(update(price_file).where(f.id == id).values(**ended))
    return await claim(tx, hand_s, only)


async def rows(tx: AsyncConnection, id: str, after: int, limit: int) -> list[FileRow]:
    """The next `limit` rows after the row of that number."""
    found = await tx.execute(
        select(r.number, r.sku, r.channel, r.marketplace, r.channel_sku, r.price, r.reason)
        .where(r.file == id, r.number > after)
        .order_by(r.number)
        .limit(limit)
    )
    return [_row(row) for row in found]


async def looked(tx: AsyncConnection, id: str, count: int, hand_s: float) -> None:
    """So many of its rows were looked at; nobody else takes it for `hand_s`."""
    await tx.execute(update(price_file).where(f.id == id).values(looked=count, due_at=from_now(hand_s)))


async def hold(tx: AsyncConnection, id: str) -> bool:
    """Whether the file still waits; nobody else ends it until `tx` does. What follows may take minutes."""
    await take_time(tx)
    state = await tx.scalar(select(f.state).where(f.id == id).with_for_update())
    return bool(state == FileState.WAITING.value)


async def told_by_items(tx: AsyncConnection, operation: OperationId) -> dict[ListingId, tuple[Result, str]]:
    """What became of the operation's items that were not simply taken, and why, by their listings."""
    listing, hits = i.payload["listing"].astext, i.payload["hits"]
    # What is released and yet to be sent has its reasons, though it is what was asked for before.
    idle = ~i.released & (i.before == i.after)
    more = (i.status != ItemStatus.PENDING.value) | (func.jsonb_array_length(hits) > 0) | idle
    found = await tx.execute(select(listing, i.status, i.error_message, hits).where(i.operation_id == operation, more))
    return {ListingId(id): _told(ItemStatus(status), message, hits) for id, status, message, hits in found}


def _told(status: ItemStatus, message: str | None, hits: Sequence[Sequence[str]]) -> tuple[Result, str]:
    match status:
        case ItemStatus.FAILED:
            return Result.REFUSED, message or ""
        case _ if not hits:
            return Result.UNCHANGED, ""
        case _:
            return Result.HELD, " ".join(words for _, _, words in hits)


async def finish(
    tx: AsyncConnection, id: str, operation: OperationId | None, outcomes: Sequence[Outcome], rows: int
) -> None:
    """The file is done, all its `rows` looked at; rows without an outcome were taken, or refused when the file was read."""
    await tx.execute(
        _TELL,
        {
            "file": id,
            "numbers": [one.number for one in outcomes],
            "results": [None if one.result is Result.TAKEN else one.result.value for one in outcomes],
            "reasons": [one.reason for one in outcomes],
        },
    )
    result = func.coalesce(r.result, Result.TAKEN.value)
    counted = await tx.execute(select(result, func.count()).where(r.file == id).group_by(result))
    done = {
        "state": FileState.DONE.value,
        "operation": operation,
        "counts": {row[0]: row[1] for row in counted},
        "looked": rows,
        "ended_at": func.now(),
    }
    await tx.execute(update(price_file).where(f.id == id).values(**done))


async def report(
    tx: AsyncConnection, id: str, *, after: int = 0, limit: int, taken: bool
) -> list[tuple[FileRow, Result, str]]:
    """The next `limit` rows after the row of that number, with what became of them; without `taken`, of which there is a word."""
    query = select(price_file_row).where(r.file == id, r.number > after).order_by(r.number).limit(limit)
    found = await tx.execute(query if taken else query.where(r.result.is_not(None) | (r.reason != "")))
    return [(_row(row), Result(row.result or Result.TAKEN.value), row.reason) for row in found]


async def forget(tx: AsyncConnection, before: datetime, limit: int = 5) -> int:
    """Forget at most `limit` files that came before then and have ended, with their rows; returns how many."""
    old = select(f.id).where(f.created_at < before, f.state != FileState.WAITING.value).limit(limit)
    return (await tx.execute(delete(price_file).where(f.id.in_(old)))).rowcount


_TELL = text(
    """
    update price_file_row told set result = became.result, reason = became.reason
    from unnest(cast(:numbers as int[]), cast(:results as text[]), cast(:reasons as text[])) as became(number, result, reason)
    where told.file = :file and told.number = became.number
    """
)


def _values(id: str, one: FileRow) -> tuple[Any, ...]:
    price = None if one.price is None else orjson.dumps(one.price.told())
    result = Result.REFUSED.value if one.price is None else None
    return id, one.number, one.sku, one.channel, one.marketplace, one.channel_sku, price, result, one.reason


def _row(row: AnyRow) -> FileRow:
    price = None if row.price is None else read_price(row.price)
    return FileRow(row.number, row.sku, row.channel, row.marketplace, row.channel_sku, price, row.reason)


def _file(row: AnyRow) -> PriceFile:
    return PriceFile(
        id=row.id,
        requested_by=row.requested_by,
        digest=row.digest,
        dry_run=row.dry_run,
        state=FileState(row.state),
        rows=row.rows,
        looked=row.looked,
        created_at=row.created_at,
        counts={Result(name): count for name, count in row.counts.items()},
        operation=None if row.operation is None else OperationId(row.operation),
        problem=row.problem,
    )
