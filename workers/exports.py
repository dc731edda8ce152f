"""The capability EXPORTS: a list is read to its end and made a file of, part by part.

PENDING begins, ACCEPTED writes; it is VERIFIED in the transaction that says that the file is whole. Whoever dies over it leaves
parts of which nobody tells, and the next begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from domain.errors import Refused
from domain.export import ExportWanted, Writer, read_export
from domain.operation import ClaimedItem, ItemError, ItemStatus, Outcome
from store import channel, export, export_rows, profit
from store.profit import Place
from store.session import UNAVAILABLE, Store
from workers.deps import Deps
from workers.lanes import Worked
from workers.lease import held
from workers.price_files import apart

log = logging.getLogger(__name__)

PART_CHARS = 1024 * 1024
# Of the file as it is fetched. Packed it is about a tenth of that.
MOST_BYTES = 2_000_000_000


class TooLong(Exception):
    """More than a file may hold."""


class Lost(Exception):
    """Somebody else has the item in hand."""


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one file. Raises nothing but cancellation."""
    if item.was is ItemStatus.PENDING:
        return Worked(Outcome(item.id, item.fence, ItemStatus.ACCEPTED))
    wanted = read_export(item.payload)
    try:
        async with held(deps, item):
            async with deps.store.begin() as tx:
                places = profit.places((await channel.ever(tx, deps.channels)).values())
            await apart(deps.store, partial(write, item=item.id, fence=item.fence, wanted=wanted, places=places))
    except Lost:
        return Worked(None)
    except TooLong:
        words = (
            f"The file would be longer than {MOST_BYTES // 1_000_000_000} GB; ask for fewer days, or for one channel."
        )
        return _failed(item, "EXPORT_TOO_LONG", words)
    except Refused as problem:
        return _failed(item, "EXPORT_REFUSED", problem.message)
    except UNAVAILABLE as problem:
        # It is begun anew when its lease has run out.
        log.warning("export.broken_off", extra={"item": item.id, "reason": type(problem).__name__})
        return Worked(None)
    except Exception as problem:
        log.exception("export.unexpected", extra={"item": item.id})
        words = f"The file could not be written ({type(problem).__name__}); retryOperation tries again."
        return _failed(item, "EXPORT_FAILED", words)
    return Worked(Outcome(item.id, item.fence, ItemStatus.VERIFIED), keep=partial(export.finish, item=item.id))


async def write(
    store: Store,
    *,
    item: int,
    fence: int,
    wanted: ExportWanted,
    places: Sequence[Place] = (),
    part_chars: int = PART_CHARS,
) -> None:
    """Write the file of an item. It takes one more connection than `store`, which reads. Raises Lost, TooLong, and Refused where
    the list cannot be told."""
    writing = store.alone()
    try:
        async with writing.begin() as tx:
            if not await export.begin(tx, item, fence):
                raise Lost
        async with store.begin() as reading:
            rows = await export_rows.read(reading, wanted, places)
            file = _File(writing, item, fence, Writer(wanted.format, rows.columns))
            async for batch in rows.batches:
                for row in batch:
                    file.writer.write(row)
                file.rows += len(batch)
                if file.writer.size >= part_chars:
                    await file.turn()
            await file.turn()
    finally:
        await writing.close()


@dataclass(slots=True)
class _File:
    """A file that is being written: what is not kept yet is in `writer`, with so many `rows`."""

    store: Store
    item: int
    fence: int
    writer: Writer
    rows: int = 0
    bytes: int = 0
    parts: int = 0

    async def turn(self) -> None:
        """Keep what was written as the next part. Raises Lost, TooLong."""
        part = export.packed(self.parts, self.rows, self.writer.taken())
        self.bytes += part.size
        if self.bytes > MOST_BYTES:
            raise TooLong
        async with self.store.begin() as tx:
            if not await export.add(tx, self.item, self.fence, part):
                raise Lost
        self.parts, self.rows = self.parts + 1, 0


def _failed(item: ClaimedItem, code: str, words: str) -> Worked:
    return Worked(Outcome(item.id, item.fence, ItemStatus.FAILED, error=ItemError(code, words)))
