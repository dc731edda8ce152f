"""The stream SETTLEMENTS: files that a platform writes when it pays, which become books as they come.

A file is kept as it came before anybody reads it. One that cannot be fetched holds up no other, and is asked for again by the
next run: the cursor stays before it. One that is here and refused is not fetched again; people may have it read again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from adapters.finances import SettlementReport, Settlements
from adapters.port import Page, Port
from domain.budget import Ask
from domain.channel import StreamName
from domain.errors import HouseError, Throttled, Unauthorized
from store import finance_file, settlement, stream
from store.finance_file import NewFile
from store.session import UNAVAILABLE, Store
from workers.deps import Deps
from workers.price_files import apart
from workers.settlement_files import bring, take

log = logging.getLogger(__name__)

BROUGHT_BY = "the stream settlements"
# Reports may be listed a while after they say that they were made.
OVERLAP = timedelta(days=1)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def tells_of_settlements(port: Port) -> bool:
    """Whether there is anything to read."""
    return StreamName.SETTLEMENTS in port.every and isinstance(port, Settlements)


async def changed(deps: Deps, port: Port, since: datetime | None, ask: Ask) -> AsyncIterator[Page[str]]:
    """Bring in what was written since then (None: all there is), oldest first; the settlements that each file became. What
    stopped a file is raised when all others are in."""
    assert isinstance(port, Settlements)
    started_at = deps.clock()
    reports = await port.settlement_reports(LONG_AGO if since is None else since - OVERLAP, ask)
    async with deps.store.begin() as tx:
        here = await finance_file.known_reports(tx, port.channel.id, [one.id for one in reports])
        begun = await finance_file.unfinished(tx, port.channel.id)
    missing = [one for one in reports if one.ended and one.id not in here]
    problems: list[Exception] = []
    fresh = False
    # What is here already was left by whoever died over it.
    work: list[str | SettlementReport] = [*begun, *missing]
    for one in work:
        try:
            file = one if isinstance(one, str) else await _bring(deps, port, one, ask)
            kept = await _take(deps, port, file)
        except Exception as problem:
            if isinstance(problem, (Unauthorized, Throttled, *UNAVAILABLE)):
                raise
            words = problem.words if isinstance(problem, HouseError) else f"Unexpected {type(problem).__name__}."
            name = one if isinstance(one, str) else one.id
            extra = {"channel": port.channel.id, "report": name, "reason": words}
            log.warning("settlement.put_off", extra=extra, exc_info=not isinstance(problem, HouseError))
            problems.append(problem)
        else:
            fresh = fresh or bool(kept)
            yield Page(kept, expected=len(work))
    if fresh:
        # What was released for it may not have been told yet.
        async with deps.store.begin() as tx:
            await stream.force(tx, port.channel.id, StreamName.TRANSACTIONS)
    if problems:
        raise problems[0]
    await _tell_of_gaps(deps, port)
    yield Page([], until=min([started_at, *(one.created_at for one in reports if not one.ended)]))


async def _tell_of_gaps(deps: Deps, port: Port) -> None:
    """Settlements that must be there and did not come, once in each run."""
    async with deps.store.begin() as tx:
        gaps = await settlement.gaps(tx, port.channel.id)
    if gaps:
        periods = [f"{one.marketplace or ''} {one.starts_at:%Y-%m-%d} {one.ends_at:%Y-%m-%d}".strip() for one in gaps]
        log.warning("settlements.missing", extra={"channel": port.channel.id, "periods": periods})


async def _bring(deps: Deps, port: Settlements, report: SettlementReport, ask: Ask) -> str:
    """The id of its file, which is kept to the last byte then."""
    async with port.settlement_file(report, ask) as coming:
        new = NewFile(
            channel=port.channel.id,
            name=f"settlement-report-{report.id}.txt",
            brought_by=BROUGHT_BY,
            report=report.id,
            content_type=coming.content_type,
            marketplace=report.marketplace,
        )
        return (await bring(deps.store, new, coming.chunks)).id


async def _take(deps: Deps, port: Settlements, file: str) -> list[str]:
    """The settlement that it became just now; none where it is refused, or was in the books before."""
    kept: list[str] = []

    async def run(store: Store) -> None:
        done = await take(store, port.channel, port.read_settlement, file)
        if done.kept is not None and done.kept.fresh:
            kept.append(done.kept.settlement)

    await apart(deps.store, run)
    return kept
