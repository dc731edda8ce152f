"""Confirming many parcels by one file, where their channel takes files and the line is long.

The lane SHIPMENTS goes on beside it. What a file would bring there sooner than the lane is taken from the end of the line, where
the least urgent parcels are, and sent together; everything after that is the lane's: whether it was taken, whether the order
shows it, and what an attempt without an answer has come to (`workers.shipments`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select

from adapters.bulk_shipments import BulkShipments
from domain.budget import Ask, Priority
from domain.errors import HouseError, MissingRole, OutcomeUnknown, Throttled, Unauthorized
from domain.ids import ChannelId
from domain.operation import Capability, ClaimedItem, ItemStatus, Outcome
from store import agenda, channel, locks
from store.session import UNAVAILABLE
from workers.calls import Hold, as_house_error
from workers.crash import point
from workers.deps import Deps
from workers.lanes import RECORD_AGAIN_S, Worked
from workers.shipments import ASKED_AT, Confirmation, confirmation
from workers.watch import AWAY
from workers.writes import ends, send_failed

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
# A file is made, uploaded and announced within it, and its record written within the lease.
SENT_WITHIN_S = 40.0
LEASE_S = 90.0
# How long no file is tried after one that was not taken, at the least, and after one without an answer: as long as nobody
# knows what became of it, no more parcels are to share its doubts.
REST_S = 120.0
DOUBT_S = 600.0
# How long what came of a file is offered to a database that is away.
RECORDED_WITHIN_S = 40.0
# After these the same look a little later is the cure.
PUT_OFF: tuple[type[Exception], ...] = (HouseError, *AWAY)
# How soon the first of them are looked for: a file takes minutes.
LOOK_AFTER_S = 60.0


class _NotSentError(Exception):
    """The intent could not be kept for all of them, so nothing has left the house."""


@dataclass(slots=True)
class ShipmentFiles:
    """The files of all channels that take some. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever; a channel that answers slowly holds up no other."""
        async with asyncio.TaskGroup() as group:
            for id, port in self.deps.ports.items():
                if isinstance(port, BulkShipments):
                    group.create_task(self._run(id, port), name=f"shipment files {id}")

    async def _run(self, id: ChannelId, port: BulkShipments) -> None:
        hold = Hold()
        while True:
            if hold.over:
                await self._look(id, port, hold)
            self.pulse()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, id: ChannelId, port: BulkShipments, hold: Hold) -> None:
        """What stops one channel's files must not cut off those of another that are under way."""
        try:
            await self.once(id, port, hold)
        except PUT_OFF as problem:
            log.warning("shipment_file.put_off", extra={"channel": id, "reason": type(problem).__name__})
            hold.mind(failing=True, hold_s=0.0, done=False)
        except Exception:
            log.exception("shipment_file.broken", extra={"channel": id})
            hold.at_least(REST_S)

    async def once(self, id: ChannelId, port: BulkShipments, hold: Hold) -> int:
        """One look at a channel's line: how many parcels left in a file."""
        claimed = await self._claim(id, port)
        hold.mind(failing=False, hold_s=0.0, done=True)
        if not claimed:
            return 0
        self.pulse()
        point("after_claim")
        writes = [write for one in claimed if (write := confirmation(self.deps, one)) is not None]
        results = await self._send(port, writes)
        point("before_record")
        await self._record(id, results)
        point("after_record")
        hold.at_least(max((worked.hold_s for worked in results), default=0.0))
        return sum(one.outcome is not None and one.outcome.status is ItemStatus.ACCEPTED for one in results)

    async def _claim(self, id: ChannelId, port: BulkShipments) -> list[ClaimedItem]:
        async with self.deps.store.begin() as tx:
            waiting = await agenda.waiting(tx, id, Capability.SHIPMENTS)
        limit = await port.for_bulk(waiting) if waiting else 0
        if not limit:
            return []
        async with self.deps.store.begin() as tx:
            # Two that count the same line would both take its end, and with it what the lane would bring there sooner.
            if not await tx.scalar(select(func.pg_try_advisory_xact_lock(locks.SHIPMENT_FEEDS, func.hashtext(id)))):
                return []
            taken = max(0, waiting - await agenda.waiting(tx, id, Capability.SHIPMENTS))
            if taken >= limit:
                return []
            return await agenda.claim_patient(
                tx, id, Capability.SHIPMENTS, limit=limit - taken, lease_s=LEASE_S, worker=self.deps.worker
            )

    async def _send(self, port: BulkShipments, writes: Sequence[Confirmation]) -> list[Worked]:
        """One file, and what came of each parcel in it."""
        deps, sent = self.deps, False
        asked = {write.item.id: {ASKED_AT: deps.clock().isoformat()} for write in writes}

        async def before_send() -> None:
            nonlocal sent
            point("before_intent")
            try:
                async with deps.store.begin() as tx:
                    items = [write.item for write in writes]
                    ours = await agenda.mark_sent_together(tx, items, LEASE_S, asked, newest_only=False)
                    _all_of(ours, items)
            except Exception as problem:
                raise _NotSentError from problem
            sent = True
            point("after_intent")

        ask = Ask(Priority.WRITE, time.monotonic() + deps.timing.budget_wait_s)
        try:
            async with asyncio.timeout(SENT_WITHIN_S):
                receipt = await port.confirm_in_bulk([(one.key, one.parcel) for one in writes], ask, before_send)
        except _NotSentError as problem:
            return self._left_to_the_lane(writes, problem.__cause__ or problem)
        except HouseError as problem:
            return self._failed(writes, problem, sent)
        except Exception as problem:
            if not isinstance(problem, TimeoutError):
                log.exception("shipment_file.unexpected", extra={"parcels": len(writes)})
            return self._failed(writes, as_house_error(problem, sent), sent)
        point("after_send")
        log.info("shipment_file.sent", extra={"parcels": len(writes), "file": receipt.reference})
        return [Worked(_taken(write, receipt.reference, receipt.upstream_request_id)) for write in writes]

    def _failed(self, writes: Sequence[Confirmation], problem: HouseError, sent: bool) -> list[Worked]:
        if isinstance(problem, OutcomeUnknown):
            log.warning("shipment_file.unknown", extra={"parcels": len(writes), "reason": problem.words})
            return [replace(send_failed(write, problem, sent), hold_s=DOUBT_S) for write in writes]
        if isinstance(problem, Unauthorized) and not isinstance(problem, MissingRole):
            return [send_failed(write, problem, sent) for write in writes]
        return self._left_to_the_lane(writes, problem)

    def _left_to_the_lane(self, writes: Sequence[Confirmation], problem: BaseException) -> list[Worked]:
        """Nothing has changed, and what is said against a file is not said against its parcels."""
        log.warning("shipment_file.not_sent", extra={"parcels": len(writes), "reason": str(problem)})
        hold_s = max(REST_S, problem.retry_after_s) if isinstance(problem, Throttled) else REST_S
        return [Worked(replace(ends(write, ItemStatus.PENDING), untried=True), hold_s=hold_s) for write in writes]

    async def _record(self, id: ChannelId, results: Sequence[Worked]) -> None:
        outcomes = [worked.outcome for worked in results if worked.outcome is not None]
        pause = next((worked.pause for worked in results if worked.pause is not None), None)
        until = time.monotonic() + RECORDED_WITHIN_S
        while True:
            self.pulse()
            try:
                async with self.deps.store.begin() as tx:
                    await agenda.record(tx, outcomes)
                    if pause is not None:
                        await channel.pause(tx, id, pause, self.deps.timing.pause_s)
                break
            except UNAVAILABLE as problem:
                # What is never recorded is looked for like any lost answer.
                if time.monotonic() >= until:
                    raise
                log.warning("shipment_file.record_again", extra={"channel": id, "reason": type(problem).__name__})
                await asyncio.sleep(RECORD_AGAIN_S)


def _all_of(ours: set[int], items: Sequence[ClaimedItem]) -> None:
    """The file holds all of them or does not leave."""
    if len(ours) < len(items):
        raise _NotSentError(f"{len(items) - len(ours)} are somebody else's by now")


def _taken(write: Confirmation, file: str | None, request_id: str | None) -> Outcome:
    outcome = ends(write, ItemStatus.ACCEPTED, LOOK_AFTER_S, request_id=request_id)
    return replace(outcome, detail={} if file is None else {agenda.SENT_AS: file})
