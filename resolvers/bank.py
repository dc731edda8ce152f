"""What banks book, which payout each line is, and payouts that no bank shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.bank import Awaited, KeptLine, LineFilter
from domain.errors import Invalid
from domain.ids import ChannelId
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_moment_cursor, write_cursor
from resolvers.request import check_word
from resolvers.shelf import Shelf
from store import bank

LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person says of a line: just one of a payout, that it is none, and that the rules shall decide."""

    line: str
    reason: str
    payout: str | None = None
    no_payout: bool = False
    by_rules: bool = False


async def lines(shelf: Shelf, first: int | None, after: str | None, wanted: LineFilter) -> Connection[KeptLine]:
    """Lines, the last booked first. Raises Invalid."""
    place = read_moment_cursor("bankLines", after, str)
    start = None if place is None else (place[0].date(), place[1])
    async with shelf.store.begin() as tx:
        found, has_next = await bank.page(tx, wanted, first=page_size(first), after=start)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await bank.count(tx, wanted)

    return connect(found, has_next, after, _cursor, count)


def _cursor(one: KeptLine) -> str:
    return write_cursor("bankLines", f"{one.line.booked_on.isoformat()}T00:00:00+00:00", one.id)


async def awaited(shelf: Shelf, first: int | None, after: str | None, channel: ChannelId | None) -> Connection[Awaited]:
    """Payouts that no line of a bank is, the oldest first. Raises Invalid."""
    start: tuple[datetime, str] | None = read_moment_cursor("unmatchedPayouts", after, str)
    async with shelf.store.begin() as tx:
        found, has_next = await bank.awaited(tx, first=page_size(first), after=start, channel=channel)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await bank.awaited_count(tx, channel)

    return connect(
        found,
        has_next,
        after,
        lambda one: write_cursor("unmatchedPayouts", one.paid_at.isoformat(), one.payout.id),
        count,
    )


async def decide(shelf: Shelf, by: str, verdict: Verdict) -> KeptLine:
    """Keep what a person says of a line. Raises Refused."""
    check_word("reason", verdict.reason, longest=LONGEST_REASON)
    if [verdict.payout is not None, verdict.no_payout, verdict.by_rules].count(True) != 1:
        words = "Say one of `settlementId` (it is that payout), `noPayout` (it is none) and `byRules` (the rules shall decide)."
        raise Invalid(words, field=("settlementId",))
    async with shelf.store.begin() as tx:
        if verdict.by_rules:
            return await bank.take_back(tx, verdict.line, by, verdict.reason)
        return await bank.decide(tx, verdict.line, verdict.payout, by, verdict.reason)


async def by_settlements(shelf: Shelf, ids: Collection[str]) -> Mapping[str, KeptLine]:
    """The line that each payout is; missing where none is known."""
    async with shelf.store.begin() as tx:
        return await bank.by_settlements(tx, ids)
