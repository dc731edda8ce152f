"""Lists as files, written here and now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import BinaryIO, TypeVar

from domain.errors import Invalid
from domain.export import ExportFormat, ExportList, ExportWanted, Writer
from domain.ids import ChannelId
from domain.profit import Dimension
from store import export_rows
from store.profit import Place
from store.session import Store

PART_CHARS = 1024 * 1024

W = TypeVar("W", bound=Enum)


def wanted(
    of: str,
    format: str,
    channel: str | None,
    since: str | None,
    until: str | None,
    by: Iterable[str],
    currency: str | None,
) -> ExportWanted:
    """What words of the command line ask for. Raises Invalid with words for people."""
    return ExportWanted(
        _word(ExportList, of.upper().replace("-", "_")),
        _word(ExportFormat, format.upper()),
        None if channel is None else ChannelId(channel),
        None if since is None else _day(since),
        None if until is None else _day(until),
        by=tuple(_word(Dimension, one.upper()) for one in by),
        currency=currency,
    )


async def export(
    store: Store, asked: ExportWanted, places: list[Place], out: BinaryIO, tell: Callable[[int], object]
) -> int:
    """Write a list as it is now; how many rows it has, which `tell` is told meanwhile. Raises Invalid where profit cannot be
    told."""
    count = 0
    async with store.begin() as tx:
        rows = await export_rows.read(tx, asked, places)
        writer = Writer(asked.format, rows.columns)
        async for batch in rows.batches:
            for row in batch:
                writer.write(row)
            count += len(batch)
            if writer.size >= PART_CHARS:
                out.write(writer.taken())
                tell(count)
        out.write(writer.taken())
    return count


def _word(words: type[W], told: str) -> W:
    try:
        return words(told)
    except ValueError:
        raise Invalid(f"There is no {told}; there are {', '.join(one.value for one in words)}.") from None


def _day(told: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(told), time(), UTC)
    except ValueError:
        raise Invalid(f"{told!r} is no day; write one such as 2026-11-01.") from None
