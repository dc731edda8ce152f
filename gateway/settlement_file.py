"""Settlement files that people bring: whose they are, and what becomes of each in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from adapters.amazon.marketplaces import told_of_stores
from adapters.amazon.settlement_file import SettlementFile
from adapters.gzipped import Broken
from adapters.settlement import FileRefused
from domain.channel import Channel, Platform
from domain.errors import Refused
from domain.ids import ChannelId, node_id
from gateway.rows import FileProblem, shown
from store import settlement
from store.finance_file import FileState, NewFile
from store.session import Store
from store.settlement import Kept
from workers.settlement_files import Coming, Imported, Tell, import_settlement, rehearse

PIECE = 256 * 1024
REPORT = ("file", "result", "channel", "settlement", "rows", "matched", "residual", "currency", "reason")


class Result(Enum):
    """What becomes of a file. KNOWN: its settlement was in the books before."""

    KEPT = "kept"
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file; `kept` is there unless it was refused, with the reason."""

    name: str
    channel: ChannelId
    result: Result
    kept: Kept | None = None
    reason: str = ""

    @property
    def words(self) -> str:
        """For people."""
        if self.kept is None:
            return f"{self.name}: refused. {self.reason}"
        rest = self.kept.difference
        first = "known already" if self.result is Result.KNOWN else "kept"
        return (
            f"{self.name}: {first}, {self.kept.rows:,} rows at {self.channel}: {self.kept.matched_rows:,} are tied out, the "
            f"residual is {rest.amount} {rest.currency}."
        )


def report_row(one: Outcome) -> Sequence[object]:
    """As the report shows it."""
    kept = one.kept
    said: Sequence[object] = ("", "", "", "", "")
    if kept is not None:
        rest = kept.difference
        said = (node_id("Settlement", kept.settlement), kept.rows, kept.matched_rows, rest.amount, rest.currency)
    return shown(one.name), one.result.value, one.channel, *said, one.reason


def sellers(channels: Iterable[Channel]) -> list[Channel]:
    """The channels whose settlements come as files, with what is known of their stores."""
    return [told_of_stores(one) for one in channels if one.platform is Platform.AMAZON]


def channel_of(file: Path, channels: Sequence[Channel], named: str | None) -> Channel:
    """Whose a file is: who was named, or the only one that sells where the file is of. Raises FileProblem."""
    if named is not None:
        channels = [one for one in channels if one.id == named]
        if not channels:
            raise FileProblem(f"There is no Amazon channel {named} in acorn.toml.")
        return channels[0]
    currency, stores, flaw = _whereabouts(file)
    fits = [one for one in channels if _sells(one, currency, stores)]
    if len(fits) != 1 and flaw:
        raise FileProblem(f"This is no settlement file. {flaw}")
    if len(fits) != 1:
        others = ", ".join(one.id for one in fits or channels) or "none"
        raise FileProblem(
            f"{'More than one' if fits else 'No'} channel of acorn.toml sells where this file is of. Say --channel: {others}."
        )
    return fits[0]


async def take(store: Store, channel: Channel, file: Path, by: str, tell: Tell) -> Outcome:
    """Bring a file into the books, if it is not there yet; one that was refused before is read once more. Raises
    FileProblem."""
    new = NewFile(channel.id, file.name, by)
    done = await import_settlement(store, channel, SettlementFile, new, _chunks(file), again=True, tell=tell)
    if done.file.state is FileState.REFUSED:
        return Outcome(file.name, channel.id, Result.REFUSED, reason=done.file.reason or "")
    kept = done.kept or await _kept(store, done)
    return Outcome(file.name, channel.id, Result.KEPT if kept.fresh else Result.KNOWN, kept)


async def rehearsed(store: Store, channel: Channel, file: Path) -> Outcome:
    """What would become of it. Raises FileProblem."""
    try:
        kept, _ = await rehearse(store, channel, SettlementFile, lambda: _pieces(file))
    except Refused as problem:
        return Outcome(file.name, channel.id, Result.REFUSED, reason=problem.message)
    return Outcome(file.name, channel.id, Result.KEPT if kept.fresh else Result.KNOWN, kept)


async def _kept(store: Store, done: Imported) -> Kept:
    """What the books say of a file that is there already."""
    file = done.file
    assert file.settlement is not None, "it is not refused"
    async with store.begin() as tx:
        tie = (await settlement.differences(tx, [file.settlement]))[file.settlement]
    return Kept(file.settlement, False, file.rows_read, tie.matched_rows, tie.difference)


def _sells(channel: Channel, currency: str, stores: set[str]) -> bool:
    there = {code for code in channel.marketplaces if currency in ("", channel.currencies[code])}
    return bool(there & stores if stores else there)


def _whereabouts(file: Path) -> tuple[str, set[str], str]:
    """The currency of a file and the marketplaces that its first rows name; where these cannot be read, why not."""
    flaw = ""
    for utf8 in (True, False):
        reader, coming = SettlementFile(utf8=utf8), Coming()
        try:
            for piece in coming.feed(next(_pieces(file), b"")):
                reader.feed(piece)
            if reader.head is None:
                reader.close()
        except FileRefused as problem:
            flaw = problem.message
        except Broken as problem:
            flaw = f"It {problem}"
        if reader.head is not None:
            return reader.head.total.currency, reader.marketplaces, ""
    return "", set(), flaw


def _pieces(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as opened:
            while piece := opened.read(PIECE):
                yield piece
    except OSError as problem:
        raise FileProblem(f"It cannot be read: {problem.strerror}.") from problem


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    pieces = _pieces(file)
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
