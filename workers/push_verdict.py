"""What an answer of a channel means for a number that was told, or looked at: pure, the loop in `workers.push` acts by it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from adapters.port import Port, Shown
from domain.errors import (
    HouseError,
    MissingRole,
    NotFound,
    OtherNumber,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unauthorized,
)
from store.channel_stock import SOLD
from store.stock_push import UNSEEN_SALE, Claimed, Outcome, Record, Write
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S

log = logging.getLogger(__name__)

# Looks that saw another number, and times the visibility lag, before a write that was taken is held to be lost.
LOOKS = 5
LAGS = 3
REFUSED_FROM_S, REFUSED_TO_S = 600.0, 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Worked:
    """What came of some numbers. `hold_s` keeps this process from claiming more of the errand for so long; `failing` says that
    the channel could not be reached, which holds longer each time in a row; `pause` stops all work of the channel and says why.
    """

    records: list[Record]
    hold_s: float = 0.0
    failing: bool = False
    pause: str | None = None


def failed_call(port: Port, writes: Sequence[Write], problem: HouseError, sent: bool) -> Worked:
    """A whole call that came to nothing, or of which nobody knows."""
    records = [failure(port, write, problem, sent=sent) for write in writes]
    match problem:
        case Throttled():
            return Worked(records, hold_s=max(0.1, problem.retry_after_s))
        case MissingRole():
            return Worked(records)
        case Unauthorized():
            return Worked(records, pause=problem.message)
        case Refused():
            return Worked(records)
        case _:
            return Worked(records, failing=True)


def failure(port: Port, write: Write, problem: HouseError, *, sent: bool) -> Record:
    """One write that was not taken."""
    attempts = write.claimed.attempts + 1
    failed = replace(
        record_of(write, Outcome.UNCHANGED, jittered(attempts, first_s=0.5, most_s=60.0)),
        push=write.id if sent else None,
        error_code=problem.code,
        error_message=problem.words,
        upstream_request_id=problem.upstream_request_id,
    )
    match problem:
        case Throttled():
            return replace(failed, due_in_s=max(0.1, problem.retry_after_s), counted=False)
        case OutcomeUnknown() if sent:
            return replace(failed, outcome=Outcome.IN_DOUBT)
        case MissingRole():
            return replace(failed, due_in_s=ROLE_WAIT_S)
        case Unauthorized():
            return replace(failed, due_in_s=0.0)
        case Refused():
            return replace(failed, due_in_s=min(REFUSED_TO_S, REFUSED_FROM_S * 2 ** (min(attempts, 16) - 1)))
        case _:
            return failed


def met_other(port: Port, write: Write, answer: OtherNumber, shown: int | None, now: datetime) -> Record:
    """The channel shows another number than expected. It may be the one we want; one that is higher, or that we know of, is
    written over; a lower one may have been sold."""
    one = write.claimed
    failed = replace(
        record_of(write, Outcome.UNCHANGED, jittered(one.attempts + 1, first_s=2.0, most_s=60.0)),
        error_code=answer.code,
        error_message=answer.message,
        upstream_request_id=answer.upstream_request_id,
    )
    if shown is None:
        return failed
    seen = replace(failed, shown=shown, shown_at=now)
    if shown == write.quantity:
        return replace(seen, outcome=Outcome.CONFIRMED, error_code=None, error_message=None)
    # A write of ours may have arrived without our knowing, or not at all.
    doubtful = (one.shown, one.last.quantity) if one.last is not None and one.last.in_doubt else ()
    known = shown == one.told or shown in doubtful
    if write.quantity < shown or known:
        # At once, unless the number runs away from us each time.
        return replace(seen, due_in_s=0.0) if one.attempts < LOOKS else seen
    return _unseen_sale(seen, port)


def _unseen_sale(seen: Record, port: Port) -> Record:
    """A lower number that nobody has explained must not be raised before the channel's orders have been read."""
    one = seen.claimed
    extra = {"channel": one.key.channel, "sku": one.sku, "target": one.target, "shown": seen.shown}
    log.warning("stock.unseen_sale", extra=extra)
    words = f"It shows {seen.shown}, fewer than it was told: its orders are read before it is told more."
    return replace(seen, error_code=UNSEEN_SALE, error_message=words, due_in_s=port.visibility_lag_s)


def looked(port: Port, one: Claimed, shown: Shown) -> Record:
    """What a look at a number says of the write that the channel took."""
    told = one.target
    wait_s = jittered(one.looks + 1, first_s=max(1.0, port.visibility_lag_s), most_s=60.0)
    push = None if one.last is None else one.last.id
    seen = Record(one, Outcome.DIFFERENT, told, push, wait_s, shown.quantity, shown.as_of)
    if shown.quantity is None:
        words = f"{one.key.channel} does not offer {one.key.channel_sku} there: list it, or stock it at that place."
        return replace(seen, error_code=NotFound.code, error_message=words, due_in_s=REFUSED_FROM_S)
    if one.looks == SOLD and shown.quantity != told:
        # Its order is known and taken from somewhere; what it shows is no part of that.
        again = replace(seen, outcome=Outcome.LOST, due_in_s=0.0)
        return _unseen_sale(again, port) if shown.quantity < told else again
    if _arrived(one, told, shown.quantity):
        return replace(seen, outcome=Outcome.CONFIRMED)
    accepted_s_ago = 0.0 if one.last is None else one.last.accepted_s_ago or 0.0
    if one.looks + 1 < LOOKS or accepted_s_ago < LAGS * port.visibility_lag_s:
        return seen
    lost = replace(seen, outcome=Outcome.LOST, due_in_s=0.0)
    return _unseen_sale(lost, port) if shown.quantity < told else lost


def _arrived(one: Claimed, told: int, shown: int) -> bool:
    """Whether the channel shows no more than it was told, because it was told so: what is lower still has been bought since.

    A raise has not arrived while no more than the number before it is shown.
    """
    before = None if one.last is None else one.last.expected
    if shown >= told or before is None:
        return shown == told
    return told <= before or shown > before


def unreadable(port: Port, claimed: Sequence[Claimed], problem: HouseError) -> Worked:
    """A look that told nothing."""
    match problem:
        case Throttled():
            wait_s = max(0.1, problem.retry_after_s)
            return Worked([_looks_again(one, wait_s) for one in claimed], hold_s=wait_s)
        case MissingRole():
            return Worked([_looks_again(one, ROLE_WAIT_S) for one in claimed])
        case Unauthorized():
            return Worked([_looks_again(one, 0.0) for one in claimed], pause=problem.message)
        case Refused():
            log.warning("push.unreadable", extra={"channel": port.channel.id, "reason": problem.message})
            return Worked([_looks_again(one, REFUSED_FROM_S) for one in claimed])
        case _:
            waits = [jittered(one.looks + 1, first_s=2.0, most_s=60.0) for one in claimed]
            records = [_looks_again(one, wait_s) for one, wait_s in zip(claimed, waits, strict=True)]
            return Worked(records, failing=True)


def _looks_again(one: Claimed, wait_s: float) -> Record:
    return Record(one, Outcome.WAITING, one.target, due_in_s=wait_s)


def record_of(write: Write, outcome: Outcome, due_in_s: float) -> Record:
    return Record(write.claimed, outcome, write.quantity, write.id, due_in_s)
