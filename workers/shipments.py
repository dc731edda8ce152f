"""The capability SHIPMENTS: confirm a parcel to its channel, exactly once in effect, and see it live.

What is done with an item follows from the status it was found in:

    PENDING   send it
    SENT      its outcome is unknown: look, and send again only what is provably absent
    ACCEPTED  look until it is seen

"Provably" is a matter of time, measured by the database alone: each record after the send waits before the next look, first as
long as the channel takes to show a change, then as long as it may still be carrying out a request whose connection is gone. A
look that finds nothing after both (`checks` of 2) is proof.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from adapters.port import OrderKey, Parcel, Port, Sighting
from domain.budget import Ask, Priority
from domain.errors import HouseError, MissingRole, OutcomeUnknown, Refused, Throttled, Transient, Unauthorized
from domain.exchange import about_item, about_operation, about_order
from domain.ids import ChannelId, OrderId
from domain.operation import ClaimedItem, ItemError, ItemStatus, Outcome
from domain.order import Order
from store import agenda
from workers.backoff import jittered
from workers.calls import ROLE_WAIT_S, as_house_error
from workers.crash import point
from workers.deps import Deps
from workers.lanes import Seen, Worked
from workers.mapping import with_our_skus

log = logging.getLogger(__name__)

SENDS = 8  # attempts that changed nothing, before the item fails
UNKNOWN_SENDS = 5  # attempts whose outcome stayed unknown, worker deaths included, before a person must look
LOOKS = 12  # looks at an unknown outcome, before a person must look
LOOK_WAIT_S = 1.0
PROVEN = 2


class _NotSentError(Exception):
    """The intent could not be made durable, so nothing left the house: the lease is lost or the database is away."""


@dataclass(frozen=True, slots=True)
class _Task:
    """An item of a lane as this capability reads it."""

    item: ClaimedItem
    port: Port
    order_id: OrderId
    key: OrderKey
    parcel: Parcel

    def ends(
        self,
        status: ItemStatus,
        due_in_s: float = 0.0,
        error: ItemError | None = None,
        request_id: str | None = None,
    ) -> Outcome:
        """The item goes to `status`, or stays there and is due again."""
        return Outcome(self.item.id, self.item.fence, status, due_in_s, error, request_id)

    @property
    def about(self) -> tuple[str, ...]:
        """What its calls are about."""
        item = self.item
        return about_item(item.id), about_operation(item.operation), about_order(self.key.external_id)

    def settling_s(self, deps: Deps) -> float:
        """How long to wait before the next look at an unknown outcome."""
        match self.item.checks:
            case 0:
                return self.port.visibility_lag_s
            case 1:
                return deps.timing.settle_s
            case checks:
                return jittered(checks, first_s=2.0, most_s=60.0)


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one shipment. Raises nothing but cancellation."""
    try:
        task = _read(deps, item)
    except Exception as problem:
        log.exception("shipment.unreadable", extra={"item": item.id})
        error = ItemError("INTERNAL", f"The item cannot be read: {type(problem).__name__}. Please report this.")
        return Worked(Outcome(item.id, item.fence, ItemStatus.FAILED, error=error))
    match item.was:
        case ItemStatus.PENDING:
            return await _send(deps, task)
        case ItemStatus.SENT:
            return await _find_out(deps, task)
        case _:
            return await _verify(deps, task)


def _read(deps: Deps, item: ClaimedItem) -> _Task:
    payload: Mapping[str, Any] = item.payload
    return _Task(
        item,
        deps.ports[ChannelId(item.channel)],
        OrderId(payload["order_id"]),
        OrderKey(payload["external_id"], payload["marketplace"], payload["refs"]),
        Parcel(
            reference=str(item.id),
            carrier=payload["carrier"],
            tracking_number=payload["tracking_number"],
            shipped_at=datetime.fromisoformat(payload["shipped_at"]),
            lines=tuple((str(line), int(units)) for line, units in payload["lines"]),
        ),
    )


async def _send(deps: Deps, task: _Task) -> Worked:
    """Confirm the parcel, or what is not there of it. The intent is on its row before the request leaves."""
    item, sent = task.item, False

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

    ask = Ask(Priority.WRITE, time.monotonic() + deps.timing.budget_wait_s, about=task.about)
    try:
        async with asyncio.timeout(deps.timing.lease_s):
            receipt = await task.port.confirm_shipment(task.key, task.parcel, ask, before_send)
    except _NotSentError as problem:
        log.warning("shipment.not_sent", extra={"item": item.id, "reason": str(problem.__cause__ or "lease lost")})
        return Worked(None)
    except HouseError as problem:
        return _send_failed(task, problem, sent)
    except Exception as problem:
        if not isinstance(problem, TimeoutError):
            log.exception("shipment.unexpected", extra={"item": item.id})
        return _send_failed(task, as_house_error(problem, sent), sent)
    point("after_send")
    due_in_s = task.port.visibility_lag_s
    return Worked(task.ends(ItemStatus.ACCEPTED, due_in_s, request_id=receipt.upstream_request_id))


def _send_failed(task: _Task, problem: HouseError, sent: bool) -> Worked:
    error, request_id = _told(problem), problem.upstream_request_id
    attempts = task.item.attempts + sent
    # Nothing was changed; but a parcel that is half there must not look as if it could still be cancelled.
    back = task.item.was
    match problem:
        case Throttled():
            wait_s = max(0.1, problem.retry_after_s)
            return Worked(task.ends(back, wait_s, error, request_id), hold_s=wait_s)
        case OutcomeUnknown():
            return Worked(task.ends(ItemStatus.SENT, task.port.visibility_lag_s, error, request_id))
        case MissingRole():
            return Worked(task.ends(back, ROLE_WAIT_S, error, request_id))
        case Unauthorized():
            return Worked(task.ends(back, 0.0, error, request_id), pause=problem.message)
        case Refused():
            if task.item.attempts:
                return _refused_again(task, error, request_id)
            return Worked(task.ends(ItemStatus.FAILED, 0.0, error, request_id))
        case _:
            if attempts >= SENDS:
                return Worked(task.ends(ItemStatus.FAILED, 0.0, error, request_id), failing=True)
            wait_s = jittered(max(1, attempts), first_s=0.2, most_s=60.0, growth=4.0)
            return Worked(task.ends(back, wait_s, error, request_id), failing=True)


def _refused_again(task: _Task, error: ItemError, request_id: str | None) -> Worked:
    """A refusal after an earlier attempt may be the echo of our own success: it is looked for before the refusal is believed."""
    refusal = json.dumps({"code": error.code, "message": error.message})
    outcome = task.ends(ItemStatus.SENT, task.port.visibility_lag_s, error, request_id)
    return Worked(replace(outcome, detail={"refusal": refusal}))


async def _find_out(deps: Deps, task: _Task) -> Worked:
    """Look at an unknown outcome. Found: taken. Provably absent: to be sent again, or parked after too many tries."""
    item, seen = task.item, await _look(deps, task)
    point("after_look")
    if isinstance(seen, HouseError):
        return _unreadable(task, ItemStatus.SENT, seen, task.settling_s(deps), parked=item.checks >= LOOKS)
    if seen.found:
        return Worked(task.ends(ItemStatus.ACCEPTED, 0.0, request_id=seen.upstream_request_id))
    if item.checks < PROVEN:
        return Worked(task.ends(ItemStatus.SENT, task.settling_s(deps), request_id=seen.upstream_request_id))
    refusal = _refusal(item)
    if refusal is not None:
        return Worked(task.ends(ItemStatus.FAILED, 0.0, refusal, seen.upstream_request_id))
    if item.attempts < UNKNOWN_SENDS:
        if seen.partly:
            return await _send(deps, task)
        return Worked(task.ends(ItemStatus.PENDING, request_id=seen.upstream_request_id))
    there = "only a part of the parcel" if seen.partly else "no such parcel"
    words = (
        f"It was tried {item.attempts} times, the outcome was never told, and {item.channel} shows {there}. "
        "Look at the order there; retryOperation looks again, then sends."
    )
    error = ItemError(OutcomeUnknown.code, words)
    return Worked(task.ends(ItemStatus.PARKED, 0.0, error, seen.upstream_request_id))


async def _verify(deps: Deps, task: _Task) -> Worked:
    """Look until what was taken is seen live; park what never is."""
    item, seen = task.item, await _look(deps, task)
    point("after_verify_read")
    age = deps.clock() - item.accepted_at if item.accepted_at is not None else timedelta(0)
    late = age > timedelta(seconds=deps.timing.unseen_s)
    wait_s = jittered(item.checks + 1, first_s=1.0, most_s=60.0)
    if isinstance(seen, HouseError):
        return _unreadable(task, ItemStatus.ACCEPTED, seen, wait_s, parked=late)
    if seen.found:
        order = await _order_as_seen(deps, task, seen)
        if isinstance(order, Throttled | Transient) and not late:
            return _unreadable(task, ItemStatus.ACCEPTED, order, wait_s, parked=False)
        pause = order.message if isinstance(order, Unauthorized) and order.pauses else None
        kept = None if isinstance(order, HouseError) else order
        outcome = task.ends(ItemStatus.VERIFIED, request_id=seen.upstream_request_id)
        return Worked(outcome, pause=pause, seen=Seen(task.order_id, task.parcel, kept))
    if not late:
        return Worked(task.ends(ItemStatus.ACCEPTED, wait_s, request_id=seen.upstream_request_id))
    words = f"{item.channel} accepted it, but it is not seen live {age.total_seconds() / 60:.0f} minutes later."
    error = ItemError(OutcomeUnknown.code, words)
    return Worked(task.ends(ItemStatus.PARKED, 0.0, error, seen.upstream_request_id))


def _unreadable(task: _Task, status: ItemStatus, problem: HouseError, wait_s: float, *, parked: bool) -> Worked:
    """A look that told nothing. It is repeated; `parked` when it has been tried often enough."""
    error, request_id = _told(problem), problem.upstream_request_id
    match problem:
        case Throttled():
            # No look was made, so none has failed. A slot says when the next one may be.
            return Worked(task.ends(status, max(wait_s, problem.retry_after_s), error, request_id))
        case MissingRole():
            return Worked(task.ends(status, max(wait_s, ROLE_WAIT_S), error, request_id))
        case Unauthorized():
            return Worked(task.ends(status, wait_s, error, request_id), pause=problem.message)
        case _ if parked:
            return Worked(task.ends(ItemStatus.PARKED, 0.0, error, request_id))
        case _:
            return Worked(task.ends(status, wait_s, error, request_id), failing=isinstance(problem, Transient))


async def _look(deps: Deps, task: _Task) -> Sighting | HouseError:
    """Read the order back, or the reason why that was not possible."""
    # Waits only for a slot that is near: reads must not occupy the lane while sends could go out.
    ask = Ask(Priority.WRITE, time.monotonic() + LOOK_WAIT_S, about=task.about)
    try:
        async with asyncio.timeout(deps.timing.lease_s):
            return await task.port.parcel_seen(task.key, task.parcel, ask)
    except HouseError as problem:
        return problem
    except Exception as problem:
        if not isinstance(problem, TimeoutError):
            log.exception("shipment.unexpected", extra={"item": task.item.id})
        return as_house_error(problem, sent=False)


async def _order_as_seen(deps: Deps, task: _Task, seen: Sighting) -> Order | HouseError:
    """The order as it stands with the parcel, kept together with VERIFIED; or the reason why it cannot be read."""
    try:
        async with asyncio.timeout(deps.timing.lease_s):
            ask = Ask(Priority.WRITE, time.monotonic() + LOOK_WAIT_S, about=task.about)
            order = seen.order or await task.port.order(task.key, ask)
        return replace(order, lines=with_our_skus(deps.sku_map, order.channel, order.lines))
    except HouseError as problem:
        return problem
    except TimeoutError as problem:
        return as_house_error(problem, sent=False)
    except Exception as problem:
        log.exception("shipment.order_unreadable", extra={"item": task.item.id})
        return HouseError(f"An unexpected {type(problem).__name__} came up.")


def _refusal(item: ClaimedItem) -> ItemError | None:
    """The refusal that the last attempt met. No other follows it until people revive the item, which forgets it."""
    kept = json.loads(str(item.payload.get("refusal", "null")))
    return None if kept is None else ItemError(kept["code"], kept["message"])


def _told(problem: HouseError) -> ItemError:
    """Our code, and the platform's own words."""
    return ItemError(problem.code, problem.words)
