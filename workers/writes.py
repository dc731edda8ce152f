"""One write to a platform, exactly once in effect, and seen live: what every capability of the lanes has in common.

What is done with an item follows from the status it was found in:

    PENDING   send it
    SENT      its outcome is unknown: look, and send again only what is provably absent
    ACCEPTED  look until it is seen

"Provably" is a matter of time, measured by the database alone: each record after the send waits before the next look, first as
long as the channel takes to show a change, then as long as it may still be carrying out a request whose connection is gone. A
look that finds nothing after both (`checks` of 2) is proof. Where the adapter itself looks before it sends once more
(`Write.looks_first`), an unknown outcome is given to it again after the same time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from adapters.port import BeforeSend
from domain.budget import Ask, Priority
from domain.errors import HouseError, MissingRole, OutcomeUnknown, Refused, Throttled, Transient, Unauthorized
from domain.ids import OrderId
from domain.operation import ClaimedItem, ItemError, ItemStatus, Outcome
from domain.order import Order
from store import agenda
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S, as_house_error
from workers.crash import point
from workers.deps import Deps
from workers.lanes import Keep, Seen, Worked, without_order

log = logging.getLogger(__name__)

SENDS = 8  # attempts that changed nothing, before the item fails
UNKNOWN_SENDS = 5  # attempts whose outcome stayed unknown, worker deaths included, before a person must look
LOOKS = 12  # looks at an unknown outcome, before a person must look
LOOK_WAIT_S = 1.0
URGENT_WAIT_S = 0.1
PROVEN = 2


@dataclass(frozen=True, slots=True)
class Sent:
    """The platform took it. `live`: its answer shows the thing itself, so that no look is needed. `keep` is written with it, and
    `detail` comes along in the payload when it is looked for. `locks` are the orders that `keep` locks."""

    upstream_request_id: str | None
    live: bool = False
    keep: Keep | None = None
    detail: Mapping[str, str] = field(default_factory=dict)
    locks: frozenset[OrderId] = frozenset()


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found: all of it, or (`partly`) some, or nothing. `missing` says what is not there, in words for people.

    `seen`, `order` (as it was read) and `keep` are written when it is VERIFIED, and `detail` comes along in the payload when an
    unknown outcome was found. `refused` is what the platform said against it
    after it had taken it. `again_s`: the platform works in its own time, and nothing can be told before so many seconds have
    passed.
    """

    found: bool
    upstream_request_id: str | None = None
    partly: bool = False
    missing: str = "nothing of it"
    seen: Seen | None = None
    keep: Keep | None = None
    order: Order | None = None
    refused: Refused | None = None
    again_s: float | None = None
    locks: frozenset[OrderId] = frozenset()
    detail: Mapping[str, str] = field(default_factory=dict)


class Carried(Protocol):
    """One item on its way, alone or with others.

    `lag_s` is how long the platform takes to show a change. `looks_first`: sending finds by itself what an earlier attempt has
    left there, or puts the same in its place.
    """

    @property
    def item(self) -> ClaimedItem:
        """The item under its lease."""
        ...

    @property
    def lag_s(self) -> float:
        """Seconds."""
        ...

    @property
    def looks_first(self) -> bool:
        """Whether it may be sent again with an unknown outcome."""
        ...


class Write(Carried, Protocol):
    """One item, as its capability reads it; `about` is what the calls are about."""

    @property
    def about(self) -> tuple[str, ...]:
        """What its calls are about, as `domain.exchange` names it."""
        ...

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        """Have it done. Raises what `Port.confirm_shipment` raises; `sent_before`: an earlier attempt may have reached the
        platform."""
        ...

    async def look(self, ask: Ask) -> Looked:
        """Look for it. A `HouseError` is a look that told nothing."""
        ...

    async def whole(self, looked: Looked, ask: Ask) -> Looked:
        """What was found, with all that is to be kept of it. A HouseError where that could not be read."""
        ...


class _NotSentError(Exception):
    """The intent could not be made durable, so nothing left the house: the lease is lost or the database is away."""


async def carry(deps: Deps, item: ClaimedItem, read: Callable[[Deps, ClaimedItem], Write]) -> Worked:
    """One step of one item, as `read` understands it. Raises nothing but cancellation."""
    try:
        write = read(deps, item)
    except Exception as problem:
        log.exception("write.unreadable", extra={"item": item.id})
        error = ItemError("INTERNAL", f"The item cannot be read: {type(problem).__name__}. Please report this.")
        return Worked(Outcome(item.id, item.fence, ItemStatus.FAILED, error=error))
    match item.was:
        case ItemStatus.PENDING:
            return await _send(deps, write)
        case ItemStatus.SENT:
            return await _find_out(deps, write)
        case _:
            return await _verify(deps, write)


def ends(
    write: Carried,
    status: ItemStatus,
    due_in_s: float = 0.0,
    error: ItemError | None = None,
    request_id: str | None = None,
) -> Outcome:
    """The item goes to `status`, or stays there and is due again."""
    return Outcome(write.item.id, write.item.fence, status, due_in_s, error, request_id)


def settling_s(deps: Deps, write: Carried) -> float:
    """How long to wait before the next look at an unknown outcome."""
    match write.item.checks:
        case 0:
            return write.lag_s
        case 1:
            return deps.timing.settle_s
        case checks:
            return jittered(checks, first_s=2.0, most_s=60.0)


async def _send(deps: Deps, write: Write) -> Worked:
    """Have it done, or what is not there of it. The intent is on its row before the request leaves."""
    item, sent = write.item, False

    async def before_send() -> None:
        nonlocal sent
        point("before_intent")
        try:
            async with deps.store.begin() as tx:
                ours = await agenda.mark_sent(tx, item.id, item.fence, deps.timing.lease_s)
        except Exception as problem:
            raise _NotSentError from problem
        if not ours:
            raise _NotSentError
        sent = True
        point("after_intent")

    # What has a deadline goes before what has none, also where both are paid from one budget.
    priority = Priority.WRITE if item.deadline_at is None else Priority.URGENT
    ask = Ask(priority, time.monotonic() + deps.timing.budget_wait_s, about=write.about)
    before = item.was is ItemStatus.SENT or item.attempts > 0
    try:
        async with asyncio.timeout(deps.timing.lease_s):
            taken = await write.send(ask, before_send, sent_before=before)
    except _NotSentError as problem:
        log.warning("write.not_sent", extra={"item": item.id, "reason": str(problem.__cause__ or "lease lost")})
        return Worked(None)
    except HouseError as problem:
        return send_failed(write, problem, sent)
    except Exception as problem:
        if not isinstance(problem, TimeoutError):
            log.exception("write.unexpected", extra={"item": item.id})
        return send_failed(write, as_house_error(problem, sent), sent)
    point("after_send")
    if taken.live:
        return Worked(
            ends(write, ItemStatus.VERIFIED, request_id=taken.upstream_request_id), keep=taken.keep, locks=taken.locks
        )
    outcome = ends(write, ItemStatus.ACCEPTED, write.lag_s, request_id=taken.upstream_request_id)
    return Worked(replace(outcome, detail=taken.detail), keep=taken.keep, locks=taken.locks)


def send_failed(write: Carried, problem: HouseError, sent: bool) -> Worked:
    error, request_id = _told(problem), problem.upstream_request_id
    attempts = write.item.attempts + sent
    # Nothing was changed; but what is half there must not look as if it could still be cancelled.
    back = write.item.was
    match problem:
        case Throttled():
            wait_s = max(0.1, problem.retry_after_s)
            # The lane waits for the slot; what is urgent waits for the lane alone, or something less urgent would be there first.
            due_in_s = wait_s if write.item.deadline_at is None else min(wait_s, URGENT_WAIT_S)
            return Worked(ends(write, back, due_in_s, error, request_id), hold_s=wait_s)
        case OutcomeUnknown():
            return Worked(ends(write, ItemStatus.SENT, write.lag_s, error, request_id))
        case MissingRole():
            return Worked(ends(write, back, ROLE_WAIT_S, error, request_id))
        case Unauthorized():
            return Worked(ends(write, back, 0.0, error, request_id), pause=problem.message)
        case Refused():
            if write.item.attempts and not write.looks_first:
                return _refused_again(write, error, request_id)
            return Worked(ends(write, ItemStatus.FAILED, 0.0, error, request_id))
        case _ if back is ItemStatus.SENT and write.looks_first:
            # The attempt before is as unknown as it was.
            return Worked(ends(write, back, _waiting_s(attempts), error, request_id), failing=True)
        case _:
            if attempts >= SENDS:
                return Worked(ends(write, ItemStatus.FAILED, 0.0, error, request_id), failing=True)
            return Worked(ends(write, back, _waiting_s(attempts), error, request_id), failing=True)


def _waiting_s(attempts: int) -> float:
    return jittered(max(1, attempts), first_s=0.2, most_s=60.0, growth=4.0)


def _refused_again(write: Carried, error: ItemError, request_id: str | None) -> Worked:
    """A refusal after an earlier attempt may be the echo of our own success: it is looked for before the refusal is believed."""
    refusal = json.dumps({"code": error.code, "message": error.message})
    outcome = ends(write, ItemStatus.SENT, write.lag_s, error, request_id)
    return Worked(replace(outcome, detail={"refusal": refusal}))


async def _find_out(deps: Deps, write: Write) -> Worked:
    """Look at an unknown outcome. Found: taken. Provably absent: to be sent again, or parked after too many tries."""
    item = write.item
    if write.looks_first:
        if item.checks < PROVEN:
            return Worked(ends(write, ItemStatus.SENT, settling_s(deps, write)))
        if item.attempts < UNKNOWN_SENDS and item.checks < LOOKS:
            return await _send(deps, write)
        return parked(write, "what became of it cannot be told")
    looked = await _look(deps, write)
    point("after_look")
    if isinstance(looked, HouseError):
        return unreadable(write, ItemStatus.SENT, looked, settling_s(deps, write), parked=item.checks >= LOOKS)
    if looked.found:
        outcome = ends(write, ItemStatus.ACCEPTED, 0.0, request_id=looked.upstream_request_id)
        return Worked(replace(outcome, detail=looked.detail))
    if looked.refused is not None:
        return refused_later(write, looked.refused)
    if looked.again_s is not None:
        return Worked(ends(write, ItemStatus.SENT, looked.again_s, request_id=looked.upstream_request_id))
    if item.checks < PROVEN:
        return Worked(ends(write, ItemStatus.SENT, settling_s(deps, write), request_id=looked.upstream_request_id))
    refusal = _refusal(item)
    if refusal is not None:
        return Worked(ends(write, ItemStatus.FAILED, 0.0, refusal, looked.upstream_request_id))
    if item.attempts < UNKNOWN_SENDS:
        if looked.partly:
            return await _send(deps, write)
        return Worked(ends(write, ItemStatus.PENDING, request_id=looked.upstream_request_id))
    return parked(write, f"{item.channel} shows {looked.missing}", looked.upstream_request_id)


def parked(write: Carried, found: str, request_id: str | None = None) -> Worked:
    words = (
        f"It was tried {write.item.attempts} times, the outcome was never told, and {found}. "
        "Look at the order there; retryOperation looks again, then sends."
    )
    return Worked(ends(write, ItemStatus.PARKED, 0.0, ItemError(OutcomeUnknown.code, words), request_id))


async def _verify(deps: Deps, write: Write) -> Worked:
    """Look until what was taken is seen live; park what never is."""
    item, looked = write.item, await _look(deps, write)
    point("after_verify_read")
    age = deps.clock() - item.accepted_at if item.accepted_at is not None else timedelta(0)
    late = age > timedelta(seconds=deps.timing.unseen_s)
    wait_s = jittered(item.checks + 1, first_s=1.0, most_s=60.0)
    if isinstance(looked, HouseError):
        return unreadable(write, ItemStatus.ACCEPTED, looked, wait_s, parked=late)
    if looked.found:
        whole = await _whole(deps, write, looked)
        if isinstance(whole, Throttled | Transient) and not late:
            return unreadable(write, ItemStatus.ACCEPTED, whole, wait_s, parked=False)
        pause = whole.message if isinstance(whole, Unauthorized) and whole.pauses else None
        kept = replace(looked, seen=without_order(looked.seen)) if isinstance(whole, HouseError) else whole
        outcome = ends(write, ItemStatus.VERIFIED, request_id=looked.upstream_request_id)
        return Worked(outcome, pause=pause, seen=kept.seen, keep=kept.keep, order=kept.order, locks=kept.locks)
    if looked.refused is not None:
        return refused_later(write, looked.refused)
    if looked.again_s is not None:
        return Worked(ends(write, ItemStatus.ACCEPTED, looked.again_s, request_id=looked.upstream_request_id))
    if not late:
        return Worked(ends(write, ItemStatus.ACCEPTED, wait_s, request_id=looked.upstream_request_id))
    words = f"{item.channel} accepted it, but it is not seen live {age.total_seconds() / 60:.0f} minutes later."
    error = ItemError(OutcomeUnknown.code, words)
    return Worked(ends(write, ItemStatus.PARKED, 0.0, error, looked.upstream_request_id))


def refused_later(write: Carried, refused: Refused) -> Worked:
    """The platform had taken it, and did not carry it out."""
    return Worked(ends(write, ItemStatus.FAILED, 0.0, _told(refused), refused.upstream_request_id))


def unreadable(write: Carried, status: ItemStatus, problem: HouseError, wait_s: float, *, parked: bool) -> Worked:
    """A look that told nothing. It is repeated; `parked` when it has been tried often enough."""
    error, request_id = _told(problem), problem.upstream_request_id
    match problem:
        case Throttled():
            # No look was made, so none has failed. A slot says when the next one may be.
            return Worked(ends(write, status, max(wait_s, problem.retry_after_s), error, request_id))
        case MissingRole():
            return Worked(ends(write, status, max(wait_s, ROLE_WAIT_S), error, request_id))
        case Unauthorized():
            return Worked(ends(write, status, wait_s, error, request_id), pause=problem.message)
        case _ if parked:
            return Worked(ends(write, ItemStatus.PARKED, 0.0, error, request_id))
        case _:
            return Worked(ends(write, status, wait_s, error, request_id), failing=isinstance(problem, Transient))


async def _look(deps: Deps, write: Write) -> Looked | HouseError:
    """Look for it, or the reason why that was not possible."""
    # Waits only for a slot that is near: reads must not occupy the lane while sends could go out.
    ask = Ask(Priority.WRITE, time.monotonic() + LOOK_WAIT_S, about=write.about)
    try:
        async with asyncio.timeout(deps.timing.lease_s):
            return await write.look(ask)
    except HouseError as problem:
        return problem
    except Exception as problem:
        if not isinstance(problem, TimeoutError):
            log.exception("write.unexpected", extra={"item": write.item.id})
        return as_house_error(problem, sent=False)


async def _whole(deps: Deps, write: Write, looked: Looked) -> Looked | HouseError:
    """What is kept together with VERIFIED; or the reason why it cannot be read."""
    ask = Ask(Priority.WRITE, time.monotonic() + LOOK_WAIT_S, about=write.about)
    try:
        async with asyncio.timeout(deps.timing.lease_s):
            return await write.whole(looked, ask)
    except HouseError as problem:
        return problem
    except TimeoutError as problem:
        return as_house_error(problem, sent=False)
    except Exception as problem:
        log.exception("write.unreadable_when_seen", extra={"item": write.item.id})
        return HouseError(f"An unexpected {type(problem).__name__} came up.")


def _refusal(item: ClaimedItem) -> ItemError | None:
    """The refusal that the last attempt met. No other follows it until people revive the item, which forgets it."""
    kept = json.loads(str(item.payload.get("refusal", "null")))
    return None if kept is None else ItemError(kept["code"], kept["message"])


def _told(problem: HouseError) -> ItemError:
    """Our code, and the platform's own words."""
    return ItemError(problem.code, problem.words)
