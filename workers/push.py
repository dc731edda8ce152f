"""Numbers told to the channels, and read back until they are seen.

What a channel shows is a state to be reached, so nothing here is a job: whatever differs from its target is sent, the newest
number only, and sent again when its answer was lost, since an absolute number does no harm twice.

Where the channel compares, a write names the number that should be there. Meets it another one, a lower target is written over
that at once. A higher one waits: what was taken away may be a sale that we have not seen, so the channel's orders are read first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import Port, Receipt, Shown, ShownKey, StockWrite
from domain.budget import Ask, Priority
from domain.channel import StreamName
from domain.errors import (
    HouseError,
    OtherNumber,
    Refused,
    Unauthorized,
)
from domain.exchange import about_sku
from domain.ids import ChannelId
from store import channel, marks, stock_push, stream
from store.channel_stock import NumberKey
from store.stock_push import UNSEEN_SALE, Claimed, Errand, Outcome, Record, Write
from workers.calls import Hold, as_house_error, batches
from workers.crash import point
from workers.deps import Deps
from workers.push_verdict import Worked, failed_call, failure, looked, met_other, record_of, unreadable
from workers.watch import end

log = logging.getLogger(__name__)

IDLE_S = 0.2
BUSY_S = 0.05
# Calls of one channel at a time; its budget says how many really go out.
WIDTH = {Errand.TELL: 4, Errand.LOOK: 2}
# What a call could have taken along waits for its end, but no longer than this: an answer may be lost.
GATHER_S = 2.0
# A read-back waits only for a slot that is near.
LOOK_WAIT_S = 1.0
# A raise over a number that nobody expected waits until the channel's orders have been read, and no longer than this until what
# they sold is in its target.
COUNTED_WITHIN = timedelta(seconds=60)
ORDERS_LOOK_S = 0.5
ORDERS_LATER_LOOK_S = 5.0
BROKEN_S = 1.0

Key: TypeAlias = tuple[ChannelId, Errand]


class _NotSentError(Exception):
    """The intent could not be made durable, so nothing left the house: a lease is lost, a number fell, the database is away."""


@dataclass(slots=True)
class Push:
    """Tells and looks, for each channel by itself. `pulse` is called at each look at the rows; `woken` is set by whoever has just
    made numbers due, so that nobody has to wait for the next one."""

    deps: Deps
    pulse: Callable[[], None]
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    _running: dict[Key, asyncio.Task[None]] = field(default_factory=dict)
    _holds: dict[Key, Hold] = field(default_factory=dict)
    _asked_orders: dict[ChannelId, datetime] = field(default_factory=dict)
    _closed: bool = False

    async def run(self) -> None:
        """For ever."""
        while True:
            self.woken.clear()
            started = time.monotonic()
            await self.once()
            self.pulse()
            # Where very much is due, a look takes its time and shall not be all that the database does.
            rest_s = max(BUSY_S if self._running else IDLE_S, 4 * (time.monotonic() - started))
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self.woken.wait()

    async def once(self) -> None:
        """One look at the rows: take up what is due and not being worked at here."""
        async with self.deps.store.begin() as tx:
            due = await stock_push.due(tx)
        for key in due:
            if key not in self._running and key[0] in self.deps.ports and self._open(key):
                name = f"push {key[0]}:{key[1].value}"
                self._running[key] = asyncio.create_task(self._run(key), name=name)

    async def idle(self) -> None:
        """Wait until nothing is in hand."""
        while self._running:
            await asyncio.wait(set(self._running.values()))

    async def close(self, within_s: float) -> None:
        """Claim nothing more, and wait for what is in hand; what is not done by then is left to its lease."""
        self._closed = True
        if self._running:
            _, late = await asyncio.wait(set(self._running.values()), timeout=within_s)
            await end(late)

    def _open(self, key: Key) -> bool:
        return not self._closed and self._hold(key).over

    def _hold(self, key: Key) -> Hold:
        return self._holds.setdefault(key, Hold())

    async def _run(self, key: Key) -> None:
        try:
            await self._drain(key)
        except Exception:
            # The rows are looked at again in a moment, those in hand when their leases are over.
            log.exception("push.broken", extra={"channel": key[0], "errand": key[1].value})
            self._hold(key).until = time.monotonic() + BROKEN_S
        finally:
            del self._running[key]

    async def _drain(self, key: Key) -> None:
        """Until nothing is left to be claimed now, or the channel has to be left alone for a while."""
        port, errand = self.deps.ports[key[0]], key[1]
        take, batch = (self._to_tell, port.tell_batch) if errand is Errand.TELL else (self._to_look, port.shown_batch)
        working: set[asyncio.Task[None]] = set()
        taken_at = time.monotonic()
        try:
            while True:
                room = WIDTH[errand] - len(working)
                if batch > 1 and working and time.monotonic() - taken_at < GATHER_S:
                    room = 0
                calls = await take(port, room) if room and self._open(key) else []
                taken_at = time.monotonic() if calls else taken_at
                working |= {asyncio.create_task(call) for call in calls}
                if not working:
                    return
                # A call may wait for its slot: what becomes due meanwhile does not wait with it.
                done, working = await asyncio.wait(working, timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            await end(working)

    # ── Telling ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _to_tell(self, port: Port, room: int) -> list[Coroutine[Any, Any, None]]:
        """Claim what at most `room` calls can tell."""
        limit, lease_s = port.tell_batch * room, self.deps.timing.lease_s
        async with self.deps.store.begin() as tx:
            claimed = await stock_push.claim(tx, port.channel.id, Errand.TELL, limit=limit, lease_s=lease_s)
            waiting, asked_at = await self._for_orders(tx, port, claimed)
            writes = await stock_push.writes(tx, [one for one in claimed if one.key not in waiting])
            await stock_push.record(tx, list(waiting.values()))
        if asked_at is not None:
            self._asked_orders[port.channel.id] = asked_at
        return [self._send_and_record(port, batch) for batch in batches(writes, port.tell_batch)]

    async def _for_orders(
        self, tx: AsyncConnection, port: Port, claimed: Sequence[Claimed]
    ) -> tuple[dict[NumberKey, Record], datetime | None]:
        """Those that may not be raised before the channel's orders have been read, and counted in their targets; and when `tx`
        has asked for these orders, if it has.

        What was read before this process asked may have been read too early, so it asks: a second run costs less than a sale.
        """
        doubtful = [one for one in claimed if one.error_code == UNSEEN_SALE and one.target > (one.shown or 0)]
        if not doubtful:
            return {}, None
        id, now = port.channel.id, self.deps.clock()
        read = await stream.read_at(tx, id, StreamName.ORDERS) is not None
        asked_at = self._asked_orders.get(id)
        uncounted = await marks.waiting(tx, {one.sku for one in doubtful})
        ask = False
        waiting: dict[NumberKey, Record] = {}
        for one in doubtful:
            seen_at = one.shown_at or now
            # A platform lists a sale a moment after it has lowered the number.
            ready_at = seen_at + timedelta(seconds=port.visibility_lag_s)
            asked = asked_at is not None and asked_at >= ready_at
            late = now >= seen_at + COUNTED_WITHIN
            if not (asked and read) or (one.sku in uncounted and not late):
                due_in_s = ORDERS_LATER_LOOK_S if late else ORDERS_LOOK_S
                waiting[one.key] = Record(one, Outcome.WAITING, one.target, due_in_s=due_in_s)
                ask = ask or (not asked and now >= ready_at)
        if ask:
            await stream.force(tx, id, StreamName.ORDERS)
        return waiting, now if ask else None

    async def _send_and_record(self, port: Port, writes: Sequence[Write]) -> None:
        worked = await self._send(port, writes)
        if worked is None:
            async with self.deps.store.begin() as tx:
                await stock_push.release(tx, [write.claimed for write in writes])
            return
        point("after_tell")
        await self._record((port.channel.id, Errand.TELL), worked)

    async def _send(self, port: Port, writes: Sequence[Write]) -> Worked | None:
        """One call; None when nothing was sent and all can be claimed anew."""
        deps, sent = self.deps, False

        async def before_send() -> None:
            nonlocal sent
            if sent:
                return
            point("before_tell")
            try:
                async with deps.store.begin() as tx:
                    ours = await stock_push.intend(tx, writes, deps.timing.lease_s)
            except Exception as problem:
                raise _NotSentError from problem
            if not ours:
                raise _NotSentError
            sent = True

        about = tuple(about_sku(write.claimed.key.channel_sku) for write in writes)
        ask = Ask(Priority.WRITE, time.monotonic() + deps.timing.budget_wait_s, about=about)
        try:
            async with asyncio.timeout(deps.timing.lease_s):
                answers = await port.tell_stock([_wire(write) for write in writes], ask, before_send)
        except _NotSentError as problem:
            reason = type(problem.__cause__).__name__ if problem.__cause__ else "no longer what is wanted"
            log.info("push.not_sent", extra={"channel": port.channel.id, "reason": reason})
            return None
        except HouseError as problem:
            if isinstance(problem, Refused) and len(writes) > 1:
                return await self._send_halves(port, writes)
            return failed_call(port, writes, problem, sent)
        except Exception as problem:
            if not isinstance(problem, TimeoutError):
                log.exception("push.unexpected", extra={"channel": port.channel.id})
            return failed_call(port, writes, as_house_error(problem, sent), sent)
        assert len(answers) == len(writes), "one answer per write"
        return await self._answered(port, list(zip(writes, answers, strict=True)))

    async def _send_halves(self, port: Port, writes: Sequence[Write]) -> Worked:
        """One of them may be what the channel refuses; the others shall not suffer for it."""
        middle = len(writes) // 2
        for half in (writes[:middle], writes[middle:]):
            await self._send_and_record(port, half)
        return Worked([])

    async def _answered(self, port: Port, answers: Sequence[tuple[Write, Receipt | HouseError]]) -> Worked:
        """What became of each write."""
        unsaid = [write for write, answer in answers if isinstance(answer, OtherNumber) and answer.shown is None]
        shown = await self._shown_instead(port, unsaid)
        records: list[Record] = []
        for write, answer in answers:
            match answer:
                case Receipt():
                    taken = record_of(write, Outcome.TAKEN, port.visibility_lag_s)
                    records.append(replace(taken, upstream_request_id=answer.upstream_request_id))
                case OtherNumber():
                    there = shown.get(write.claimed.key) if answer.shown is None else answer.shown
                    records.append(met_other(port, write, answer, there, self.deps.clock()))
                case _:
                    records.append(failure(port, write, answer, sent=True))
        shut = (answer for _, answer in answers if isinstance(answer, Unauthorized) and answer.pauses)
        pause = next((answer.message for answer in shut), None)
        return Worked(records, pause=pause)

    async def _shown_instead(self, port: Port, writes: Sequence[Write]) -> dict[NumberKey, int]:
        """What the channel shows where it only said that it is not what we expected; without those that cannot be read."""
        found: dict[NumberKey, int] = {}
        for batch in batches(writes, port.shown_batch):
            answers = await self._ask(port, [write.claimed for write in batch])
            if isinstance(answers, list):
                for write, answer in zip(batch, answers, strict=True):
                    if answer.quantity is not None:
                        found[write.claimed.key] = answer.quantity
        return found

    # ── Looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _to_look(self, port: Port, room: int) -> list[Coroutine[Any, Any, None]]:
        """Claim what at most `room` calls can read back."""
        limit, lease_s = port.shown_batch * room, self.deps.timing.lease_s
        async with self.deps.store.begin() as tx:
            claimed = await stock_push.claim(tx, port.channel.id, Errand.LOOK, limit=limit, lease_s=lease_s)
        return [self._look_and_record(port, batch) for batch in batches(claimed, port.shown_batch)]

    async def _look_and_record(self, port: Port, claimed: Sequence[Claimed]) -> None:
        answers = await self._ask(port, claimed)
        if isinstance(answers, HouseError):
            worked = unreadable(port, claimed, answers)
        else:
            worked = Worked([looked(port, one, shown) for one, shown in zip(claimed, answers, strict=True)])
        point("before_shown_record")
        await self._record((port.channel.id, Errand.LOOK), worked)

    async def _ask(self, port: Port, claimed: Sequence[Claimed]) -> list[Shown] | HouseError:
        """What the channel shows, one answer each in their order; or why that cannot be read."""
        keys = [_wire_key(one) for one in claimed]
        ask = Ask(Priority.WRITE, time.monotonic() + LOOK_WAIT_S)
        try:
            async with asyncio.timeout(self.deps.timing.lease_s):
                answers = {shown.key: shown for shown in await port.shown_stock(keys, ask)}
                return [answers[key] for key in keys]
        except HouseError as problem:
            return problem
        except Exception as problem:
            if not isinstance(problem, TimeoutError):
                log.exception("push.unexpected", extra={"channel": port.channel.id})
            return as_house_error(problem, sent=False)

    # ── Recording ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _record(self, key: Key, worked: Worked) -> None:
        """One transaction for one call. What cannot be recorded is left to its lease and done again."""
        id, errand = key
        async with self.deps.store.begin() as tx:
            seen = await stock_push.record(tx, worked.records)
            if worked.pause is not None:
                await channel.pause(tx, id, worked.pause, self.deps.timing.pause_s)
        if worked.pause is not None:
            log.error("channel.paused", extra={"channel": id, "reason": worked.pause})
        for send in seen:
            extra = {"channel": id, "channel_sku": send.key.channel_sku, "place": send.key.place, "push": send.push}
            log.debug("number.confirmed", extra=extra | {"quantity": send.quantity, "lag_s": send.lag_s})
        if seen:
            slowest_s = max((send.lag_s for send in seen if send.lag_s is not None), default=None)
            log.info("stock.confirmed", extra={"channel": id, "count": len(seen), "slowest_s": slowest_s})
        _log(id, worked.records)
        self._hold((id, errand)).mind(failing=worked.failing, hold_s=worked.hold_s, done=bool(worked.records))


def _wire(write: Write) -> StockWrite:
    return StockWrite(_wire_key(write.claimed), write.quantity, write.expected, str(write.id))


def _wire_key(one: Claimed) -> ShownKey:
    return ShownKey(one.key.channel_sku, one.key.place, tuple(sorted(one.refs.items())))


def _log(channel: ChannelId, records: Sequence[Record]) -> None:
    """What became of the sends of one call, in a line for all that were told and one for each reason why others were not; looks
    are told of when they see."""
    not_told: defaultdict[tuple[str | None, str | None], list[Record]] = defaultdict(list)
    told = 0
    for one in records:
        log.debug("number.recorded", extra=_words(one) | {"outcome": one.outcome.value, "error_code": one.error_code})
        match one.outcome:
            case Outcome.TAKEN:
                told += 1
            case Outcome.IN_DOUBT | Outcome.UNCHANGED:
                not_told[one.error_code, one.error_message].append(one)
            case Outcome.LOST:
                log.warning("stock.lost", extra=_words(one) | {"shown": one.shown})
            case _:
                pass
    if told:
        log.info("stock.told", extra={"channel": channel, "count": told})
    for (code, reason), failed in not_told.items():
        first = failed[0]
        extra = {"channel": channel, "count": len(failed), "error_code": code, "reason": reason}
        extra |= {"first": f"{first.claimed.key.channel_sku}@{first.claimed.key.place}"}
        log.warning("stock.not_told", extra=extra | {"upstream_request_id": first.upstream_request_id})


def _words(one: Record) -> dict[str, object]:
    key = one.claimed.key
    return {
        "channel": key.channel,
        "channel_sku": key.channel_sku,
        "place": key.place,
        "sku": one.claimed.sku,
        "quantity": one.quantity,
        "push": one.push,
        "upstream_request_id": one.upstream_request_id,
    }
