"""Prices on their way to their channels, thousands at once: told, read back until they are seen, told again where that is right.

Nothing leaves the house that the guards do not let pass at that very moment: they are asked in the transaction that makes the
intent durable. A price is absolute, so that one whose outcome is unknown may be sent again; yet only when nothing of it shows
after the time that the channel takes to show a change, and that it may still be at work on it.
What one row meets stands with that row alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import Port, Receipt
from adapters.prices import IN_DOUBT, PriceKey, Prices, PriceSent, PriceVerdict, PriceVerdicts, PriceWrite, ShownPrice
from domain.budget import Ask, Priority
from domain.errors import HouseError, OutcomeUnknown, Refused, Throttled, Transient
from domain.exchange import about_sku
from domain.ids import ChannelId
from domain.operation import Capability, ClaimedItem, ItemError, ItemStatus, Outcome
from domain.price import JudgedWish, Price, PriceWish
from store import agenda, operation, price, price_desk, price_guard
from store.agenda import OVER, SENDING, SENT_AS
from workers.backoff import jittered
from workers.calls import as_house_error, batches
from workers.crash import point
from workers.deps import Deps
from workers.lanes import BatchHandlers, Hand, KeepAll, Worked
from workers.watch import end
from workers.writes import (
    LOOKS,
    PROVEN,
    UNKNOWN_SENDS,
    ends,
    refused_later,
    send_failed,
    settling_s,
    unreadable,
)

log = logging.getLogger(__name__)

LIMIT = 5_000
# A batch waits for the slots of all its calls; one piece of work of it ends within this.
TELL_WAIT_S = 300.0
TELL_S = 900.0
LOOK_PART = 1_000
LOOK_WAIT_S = 60.0
LOOK_S = 120.0
# A batch that is refused as a whole is halved, so that the row that causes it is alone; beyond this it is not about one row.
HALVED = 250
FAILURES = "failures"
"""In the payload: how often in a row a row alone could not be sent, with nothing of it having left the house."""
# So many SKUs at the most are named with a call.
NAMED = 250
# How soon one looks again for the outcome of what goes first, and for the end of a file that is worked through.
IN_LINE_S = 5.0
FILE_LINE_S = 15.0
# A feed may be listed a moment later than it was asked for; names older than this are no help.
NAMES_SINCE = timedelta(hours=1)
# What a platform still works at after so long wants a person.
NEVER_ENDS = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Row:
    """One price on its way. It may be sent again: the same price takes its place."""

    item: ClaimedItem
    wish: PriceWish
    lag_s: float
    looks_first: bool = True

    @property
    def key(self) -> PriceKey:
        wish = self.wish
        return PriceKey(wish.channel_sku, tuple(sorted(wish.refs.items())), wish.marketplace)

    def write(self, keeps_sales: bool, at: datetime) -> PriceWrite:
        """As its channel is told it at that instant."""
        wanted = self.wish.price if keeps_sales else self.wish.price.showing(at)
        return PriceWrite(self.key, wanted, str(self.item.id))

    def shown_by(self, shown: ShownPrice, keeps_sales: bool) -> bool:
        """Whether the channel shows just this, and asks of buyers what it should."""
        wanted = self.wish.price
        if shown.paid is not None and shown.paid != wanted.at(shown.as_of):
            return False
        return shown.price in self._right(keeps_sales, shown.as_of)

    def _right(self, keeps_sales: bool, at: datetime) -> list[Price]:
        if keeps_sales:
            return [self.wish.price]
        # A sale that has begun or ended since is told by itself.
        return [self.wish.price.showing(one) for one in (at, self.item.sent_at) if one is not None]

    @property
    def sent(self) -> PriceSent:
        """As its verdict is asked for."""
        name, detail = self.item.payload.get(SENT_AS), self.item.payload.get(SENDING)
        told = {str(key): str(value) for key, value in detail.items()} if isinstance(detail, Mapping) else {}
        write = PriceWrite(self.key, self.wish.price, str(self.item.id))
        return PriceSent(write, None if name is None else str(name), told)


class _FewerError(Exception):
    """Some of the rows may not be sent: `gone` are no longer ours, `refused` are kept back by a guard. Nothing has left."""

    def __init__(self, gone: Collection[int], refused: Mapping[int, JudgedWish]) -> None:
        super().__init__()
        self.gone = gone
        self.refused = refused


class _NotSentError(Exception):
    """The intent could not be made durable, so nothing left the house."""


# ── Telling ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def tell(deps: Deps, hand: Hand) -> None:
    """Send what waits; each marketplace by itself."""
    port, rows = await _taken_up(deps, hand)
    if port is None:
        return
    rows = await _first(deps, port, hand, rows)
    by_marketplace: defaultdict[str | None, list[Row]] = defaultdict(list)
    for row in rows:
        by_marketplace[row.wish.marketplace].append(row)
    going_on = True
    for marketplace in by_marketplace.values():
        for part in batches(marketplace, port.prices.price_batch):
            if going_on and not hand.closing:
                going_on = await _tell(deps, port, hand, part)
            else:
                await _give_back(hand, part)


async def _first(deps: Deps, port: _Channel, hand: Hand, rows: list[Row]) -> list[Row]:
    """Without those whose listing is in a file that the channel is still at: its older price would come last. They wait."""
    if not isinstance(port.prices, PriceVerdicts):
        return rows
    async with deps.store.begin() as tx:
        behind = await agenda.in_line(tx, [row.item for row in rows], IN_DOUBT)
    await _give_back(hand, [row for row in rows if row.item.id in behind], FILE_LINE_S)
    return [row for row in rows if row.item.id not in behind]


async def _tell(deps: Deps, port: _Channel, hand: Hand, rows: Sequence[Row]) -> bool:
    """Until there is an answer for each; False where the rest has to wait."""
    left = rows
    while left:
        piece = _Piece(deps, port, hand, left)
        left, going_on = await piece.tell()
        if left and (not going_on or hand.closing):
            await _give_back(hand, left)
            return False
        if not going_on:
            return False
    return True


async def _give_back(hand: Hand, rows: Sequence[Row], wait_s: float = 1.0) -> None:
    """These have not been begun."""
    await hand.record([Worked(ends(row, ItemStatus.PENDING, wait_s)) for row in rows])


@dataclass(frozen=True, slots=True)
class _Channel:
    """A port that has prices."""

    id: ChannelId
    lag_s: float
    prices: Prices


@dataclass(slots=True)
class _Piece:
    """One asking of the port: the rows, and those of them whose intent is kept."""

    deps: Deps
    port: _Channel
    hand: Hand
    rows: Sequence[Row]
    sent: set[int] = field(default_factory=set)

    async def tell(self) -> tuple[Sequence[Row], bool]:
        """What is left to be told, and whether to go on with it now."""
        deps, prices, rows = self.deps, self.port.prices, self.rows
        at = deps.clock()
        writes = [row.write(prices.keeps_sales, at) for row in rows]
        try:
            async with asyncio.timeout(TELL_S):
                answers = await prices.tell_prices(writes, _ask(rows, TELL_WAIT_S), self.intend)
        except _FewerError as fewer:
            return await self._fewer(fewer)
        except _NotSentError as problem:
            reason = type(problem.__cause__).__name__
            log.warning("prices.not_sent", extra={"channel": self.port.id, "rows": len(rows), "reason": reason})
            self.hand.let_go([row.item for row in rows])
            return [], False
        except Exception as problem:
            return await self._failed(problem)
        assert 0 < len(answers) <= len(rows), "an answer for each of the first writes"
        point("after_prices_sent")
        told = [self._told(row, answer) for row, answer in zip(rows, answers, strict=False)]
        await self.hand.record(told, _kept(told, {}))
        held = any(one.pause for one in told) or all(one.failing or one.hold_s for one in told)
        return rows[len(answers) :], not held

    async def intend(self, details: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """See `adapters.prices.Intend`."""
        if details is None and self.sent:
            return
        rows = self.rows if details is None else [row for row in self.rows if str(row.item.id) in details]
        known = {row.item.id: (details or {}).get(str(row.item.id), {}) for row in rows}
        point("before_prices_intent")
        try:
            async with self.deps.store.begin() as tx:
                await self._intend(tx, rows, known)
        except (_FewerError, HouseError):
            raise
        except Exception as problem:
            raise _NotSentError from problem
        self.sent |= set(known)
        point("after_prices_intent")

    async def _intend(self, tx: AsyncConnection, rows: Sequence[Row], details: Mapping[int, Mapping[str, str]]) -> None:
        await price_desk.lock(tx, [self.port.id])
        by_file = any(IN_DOUBT in detail for detail in details.values())
        if by_file and await agenda.in_doubt(tx, rows[0].item, IN_DOUBT, self.hand.held):
            words = f"What became of an earlier file of prices for {rows[0].wish.marketplace} is not known yet."
            raise Throttled(words, retry_after_s=IN_LINE_S)
        ours = await agenda.mark_sent_together(tx, [row.item for row in rows], self.hand.lease_s, details)
        refused = await _refused(tx, [row for row in rows if row.item.id in ours], self.deps.clock())
        gone = set(details) - ours
        if gone or refused:
            raise _FewerError(gone, refused)

    async def _fewer(self, fewer: _FewerError) -> tuple[Sequence[Row], bool]:
        kept_back = [row for row in self.rows if row.item.id in fewer.refused]
        self.hand.let_go([row.item for row in self.rows if row.item.id in fewer.gone])
        failed = [Worked(ends(row, ItemStatus.FAILED, error=_guarded(fewer.refused[row.item.id]))) for row in kept_back]
        async with self.deps.store.begin() as tx:
            await price_guard.note(tx, [hit for one in fewer.refused.values() for hit in one.hits])
        await self.hand.record(failed, _kept(failed, {}))
        over = {*fewer.gone, *fewer.refused}
        return [row for row in self.rows if row.item.id not in over], True

    async def _failed(self, problem: Exception) -> tuple[Sequence[Row], bool]:
        """What stops all of them."""
        rows = self.rows
        if isinstance(problem, Refused) and 1 < len(rows) <= HALVED:
            middle = len(rows) // 2
            first = await _tell(self.deps, self.port, self.hand, rows[:middle])
            return rows[middle:], first
        if not isinstance(problem, HouseError):
            if not isinstance(problem, TimeoutError):
                log.exception("prices.unexpected", extra={"channel": self.port.id, "rows": len(rows)})
            problem = as_house_error(problem, bool(self.sent))
        failed = [self._answered(row, problem) for row in rows]
        await self.hand.record(failed, _kept(failed, {}))
        return [], isinstance(problem, Refused)

    def _told(self, row: Row, answer: Receipt | HouseError) -> Worked:
        """What a row met alone. What keeps it from being sent counts, or it would be tried for ever beside those that go well."""
        if not isinstance(answer, Transient) or row.item.id in self.sent:
            return self._answered(row, answer)
        failures = int(str(row.item.payload.get(FAILURES, 0))) + 1
        worked = self._answered(replace(row, item=replace(row.item, attempts=failures)), answer)
        assert worked.outcome is not None, "a failure is told"
        return replace(worked, outcome=replace(worked.outcome, detail={FAILURES: failures}))

    def _answered(self, row: Row, answer: Receipt | HouseError) -> Worked:
        if isinstance(answer, HouseError):
            return send_failed(row, answer, row.item.id in self.sent)
        outcome = ends(row, ItemStatus.ACCEPTED, row.lag_s, request_id=answer.upstream_request_id)
        return Worked(replace(outcome, detail={SENT_AS: answer.reference} if answer.reference else {}))


async def _refused(tx: AsyncConnection, rows: Sequence[Row], at: datetime) -> dict[int, JudgedWish]:
    """What the guards keep back now; what they hold passes where a second person has approved it, and they held it then."""
    if not rows:
        return {}
    judged = await price_desk.weigh(tx, [row.wish for row in rows], at, single=True)
    approved = await operation.approved(tx, {row.item.operation for row in rows})
    return {
        row.item.id: now
        for row, now in zip(rows, judged.rows, strict=True)
        if now.refused or (now.held and (row.item.operation not in approved or price_desk.news(row.item.payload, now)))
    }


def _guarded(now: JudgedWish) -> ItemError:
    more = (
        ""
        if now.refused
        else " It would have to be approved, and was not when it was about to be sent: ask for it anew."
    )
    return ItemError(price_desk.GUARD, now.words + more)


# ── Looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def look(deps: Deps, hand: Hand) -> None:
    """Find out what became of what has left."""
    port, rows = await _taken_up(deps, hand)
    if port is None:
        return
    verdicts = await _verdicts(deps, port, rows)
    told: list[Worked] = []
    unsaid: list[tuple[Row, PriceVerdict | HouseError]] = []
    for row, verdict in zip(rows, verdicts, strict=True):
        worked = _by_verdict(deps, row, verdict)
        if worked is None:
            unsaid.append((row, verdict))
        else:
            told.append(worked)
    point("after_prices_look")
    await hand.record(told, _kept(told, {}))
    # While what was seen is kept, the next is read.
    keeping: list[asyncio.Task[None]] = []
    try:
        for part in batches(unsaid, min(LOOK_PART, port.prices.price_batch)):
            if hand.closing:
                break
            told, live = await _look(deps, port, part)
            await asyncio.gather(*keeping)
            keeping = [asyncio.create_task(hand.record(told, _kept(told, live)))]
        await asyncio.gather(*keeping)
    except Exception:
        # What was seen before is kept all the same.
        await asyncio.gather(*keeping, return_exceptions=True)
        raise
    finally:
        await end(keeping)


async def _verdicts(deps: Deps, port: _Channel, rows: Sequence[Row]) -> Sequence[PriceVerdict | HouseError]:
    if not isinstance(port.prices, PriceVerdicts) or not any(IN_DOUBT in row.sent.detail for row in rows):
        return [PriceVerdict()] * len(rows)
    known: set[str] = set()
    nameless = [row.item.sent_at for row in rows if row.sent.sent_as is None and row.item.sent_at is not None]
    if nameless:
        async with deps.store.begin() as tx:
            known = await agenda.names_sent(tx, port.id, Capability.PRICES, min(nameless) - NAMES_SINCE)
    try:
        async with asyncio.timeout(LOOK_S):
            sent = [row.sent for row in rows]
            return await port.prices.price_verdicts(sent, known, _ask(rows, LOOK_WAIT_S))
    except Exception as problem:
        return [_understood(port, problem)] * len(rows)


def _by_verdict(deps: Deps, row: Row, verdict: PriceVerdict | HouseError) -> Worked | None:
    """What follows from it; None where what is shown has to tell."""
    if isinstance(verdict, OutcomeUnknown):
        return None
    if isinstance(verdict, HouseError):
        return _unreadable(deps, row, verdict)
    if verdict.refused is not None:
        return refused_later(row, verdict.refused)
    if verdict.again_s is not None:
        taken_at = row.item.accepted_at
        if taken_at is not None and deps.clock() - taken_at > NEVER_ENDS:
            # Newer prices of the listing wait for its end: a person has to decide.
            hours = NEVER_ENDS.total_seconds() / 3600
            words = f"{row.item.channel} has not worked through what it took in {hours:.0f} hours. Look there; "
            error = ItemError(OutcomeUnknown.code, f"{words}retryOperation looks again, then sends.")
            return Worked(ends(row, ItemStatus.PARKED, error=error))
        outcome = ends(row, ItemStatus.ACCEPTED, verdict.again_s)
        return Worked(replace(outcome, detail={SENT_AS: verdict.sent_as} if verdict.sent_as else {}))
    return None


async def _look(
    deps: Deps, port: _Channel, part: Sequence[tuple[Row, PriceVerdict | HouseError]]
) -> tuple[list[Worked], dict[int, datetime]]:
    """What came of each, and when those that are live were seen."""
    rows = [row for row, _ in part]
    shown: Sequence[ShownPrice | HouseError]
    try:
        async with asyncio.timeout(LOOK_S):
            shown = await port.prices.shown_prices([row.key for row in rows], _ask(rows, LOOK_WAIT_S))
    except Exception as problem:
        shown = [_understood(port, problem)] * len(rows)
    live: dict[int, datetime] = {}
    told: list[Worked] = []
    for (row, verdict), there in zip(part, shown, strict=True):
        worked = _over(row, verdict, _by_shown(deps, port, row, verdict, there))
        told.append(worked)
        if worked.outcome is not None and worked.outcome.status is ItemStatus.VERIFIED:
            assert isinstance(there, ShownPrice), "only what was read is seen"
            live[row.item.id] = there.as_of
    point("after_prices_look")
    return told, live


def _by_shown(
    deps: Deps, port: _Channel, row: Row, verdict: PriceVerdict | HouseError, shown: ShownPrice | HouseError
) -> Worked:
    if isinstance(shown, HouseError):
        return _unreadable(deps, row, shown)
    item, request_id = row.item, shown.upstream_request_id
    there = row.shown_by(shown, port.prices.keeps_sales)
    # What stood against the offer before may take a moment to go.
    if shown.refused is not None and (item.checks >= PROVEN if there else _late(deps, row)):
        return refused_later(row, shown.refused)
    if there and shown.refused is None:
        return Worked(ends(row, ItemStatus.VERIFIED, request_id=request_id))
    if isinstance(verdict, HouseError):
        return _unreadable(deps, row, verdict)
    if item.was is ItemStatus.SENT:
        if verdict.sent_as is not None:
            outcome = ends(row, ItemStatus.ACCEPTED, row.lag_s, request_id=request_id)
            return Worked(replace(outcome, detail={SENT_AS: verdict.sent_as}))
        if item.checks < PROVEN:
            return Worked(ends(row, ItemStatus.SENT, settling_s(deps, row), request_id=request_id))
        if item.attempts < UNKNOWN_SENDS:
            return Worked(ends(row, ItemStatus.PENDING, request_id=request_id))
        return _parked(row, f"It was sent {item.attempts} times, and what became of it was never told", shown)
    if not _late(deps, row):
        return Worked(ends(row, ItemStatus.ACCEPTED, _wait_s(row), request_id=request_id))
    return _parked(row, f"{item.channel} took it", shown)


def _over(row: Row, verdict: PriceVerdict | HouseError, worked: Worked) -> Worked:
    """With it that the channel has come to the end of the file, so that nothing waits for that any more."""
    outcome = worked.outcome
    if outcome is None or isinstance(verdict, HouseError) or verdict.sent_as is None or OVER in row.sent.detail:
        return worked
    ended = {SENDING: {**row.sent.detail, OVER: verdict.sent_as}}
    return replace(worked, outcome=replace(outcome, detail={**outcome.detail, **ended}))


def _parked(row: Row, what: str, shown: ShownPrice) -> Worked:
    there = "no price" if shown.price is None else f"{shown.price.regular.amount} {shown.price.regular.currency}"
    words = f"{what}; {row.wish.key} shows {there}. Look there; retryOperation looks again, then sends."
    error = ItemError(OutcomeUnknown.code, words)
    return Worked(ends(row, ItemStatus.PARKED, error=error, request_id=shown.upstream_request_id))


def _unreadable(deps: Deps, row: Row, problem: HouseError) -> Worked:
    unknown = row.item.was is ItemStatus.SENT
    wait_s = settling_s(deps, row) if unknown else _wait_s(row)
    parked = row.item.checks >= LOOKS if unknown else _late(deps, row)
    return unreadable(row, row.item.was, problem, wait_s, parked=parked)


def _late(deps: Deps, row: Row) -> bool:
    taken_at = row.item.accepted_at
    return taken_at is not None and deps.clock() - taken_at > timedelta(seconds=deps.timing.unseen_s)


def _wait_s(row: Row) -> float:
    return jittered(row.item.checks + 1, first_s=1.0, most_s=60.0)


# ── What both have in common ─────────────────────────────────────────────────────────────────────────────────────────────


async def _taken_up(deps: Deps, hand: Hand) -> tuple[_Channel | None, list[Row]]:
    """The channel, and the rows as they are read; what cannot be read or told there fails. None where nothing is left."""
    port: Port | None = deps.ports.get(ChannelId(hand.items[0].channel))
    rows: list[Row] = []
    failed: list[Worked] = []
    for item in hand.items:
        try:
            wish = price.wish_of(item.payload)
        except Exception as problem:
            log.exception("prices.unreadable", extra={"item": item.id})
            words = f"The item cannot be read: {type(problem).__name__}. Please report this."
            failed.append(_fails(item, "INTERNAL", words))
        else:
            rows.append(Row(item, wish, 0.0 if port is None else port.visibility_lag_s))
    if not isinstance(port, Prices):
        words = f"Prices of {hand.items[0].channel} cannot be set."
        failed += [_fails(row.item, Refused.code, words) for row in rows]
        rows = []
    await hand.record(failed)
    if port is None or not isinstance(port, Prices) or not rows:
        return None, []
    return _Channel(port.channel.id, port.visibility_lag_s, port), rows


def _fails(item: ClaimedItem, code: str, words: str) -> Worked:
    return Worked(Outcome(item.id, item.fence, ItemStatus.FAILED, error=ItemError(code, words)))


def _ask(rows: Sequence[Row], wait_s: float) -> Ask:
    about = tuple(about_sku(row.wish.channel_sku) for row in rows) if len(rows) <= NAMED else ()
    return Ask(Priority.WRITE, time.monotonic() + wait_s, about=about)


def _understood(port: _Channel, problem: Exception) -> HouseError:
    """A look that told nothing."""
    if isinstance(problem, HouseError):
        return problem
    if not isinstance(problem, TimeoutError):
        log.exception("prices.unexpected", extra={"channel": port.id})
    return as_house_error(problem, sent=False)


def _kept(told: Iterable[Worked], live: Mapping[int, datetime]) -> KeepAll:
    """What is written with these outcomes: what was seen `live`, and what did not come about."""
    failed = {one.outcome.item for one in told if one.outcome is not None and one.outcome.status is ItemStatus.FAILED}

    async def keep(tx: AsyncConnection, recorded: Collection[int]) -> None:
        counted = set(recorded)
        await price.seen_live(tx, {item: at for item, at in live.items() if item in counted})
        await price.failed(tx, failed & counted)

    return keep


HANDLERS = BatchHandlers(tell, look, LIMIT)
