"""The capability REPORTS: ask a platform for a report, once, wait until it has been made, and keep its file.

PENDING asks for it, and its id stands on the row from then on: whoever finds it ACCEPTED looks at that report and at no other. An
unknown outcome is looked for among the reports there are, and asked for again only when it is nowhere. It is VERIFIED in the
transaction that keeps the file.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from adapters.port import BeforeSend, Port
from adapters.reports import Reports
from domain.budget import Ask, Priority
from domain.errors import HouseError, Refused
from domain.exchange import about_item, about_operation
from domain.ids import ChannelId
from domain.operation import ClaimedItem, ItemError, ItemStatus
from domain.report import ReportFile, ReportWanted, read_wanted
from store import agenda, report
from workers.calls import as_house_error
from workers.crash import point
from workers.deps import Deps
from workers.lanes import Worked
from workers.lease import held
from workers.writes import Looked, Sent, carry, ends, refused_later, unreadable

log = logging.getLogger(__name__)

# Reports wait for hours in a platform's queue at times.
PATIENCE = timedelta(hours=6)


async def work(deps: Deps, item: ClaimedItem) -> Worked:
    """One step of one report. Raises nothing but cancellation."""
    if item.was is ItemStatus.ACCEPTED:
        return await _fetched(deps, _read(deps, item))
    worked = await carry(deps, item, _read)
    # A type that is made only every few hours waits by itself, and holds up no other.
    return replace(worked, hold_s=0.0)


@dataclass(frozen=True, slots=True)
class _Report:
    """A report that is wanted."""

    item: ClaimedItem
    channel: Port
    wanted: ReportWanted
    looks_first: bool = False

    @property
    def port(self) -> Reports:
        """Raises Refused where the channel makes none (any more)."""
        if not isinstance(self.channel, Reports) or self.wanted.report_type not in self.channel.report_types:
            raise Refused(f"{self.item.channel} may not be asked for {self.wanted.report_type}.")
        return self.channel

    @property
    def lag_s(self) -> float:
        return self.channel.report_pauses_s[0] if isinstance(self.channel, Reports) else 0.0

    @property
    def about(self) -> tuple[str, ...]:
        return about_item(self.item.id), about_operation(self.item.operation)

    @property
    def sent_as(self) -> str | None:
        """The platform's id of it, where that is known."""
        told = self.item.payload.get(agenda.SENT_AS)
        return None if told is None else str(told)

    async def send(self, ask: Ask, before_send: BeforeSend, *, sent_before: bool) -> Sent:
        receipt = await self.port.ask_report(self.wanted, ask, before_send)
        assert receipt.reference is not None
        return Sent(receipt.upstream_request_id, detail={agenda.SENT_AS: receipt.reference})

    async def look(self, ask: Ask) -> Looked:
        """Whether it was asked for after all."""
        if self.sent_as is not None:
            return Looked(True)
        assert self.item.sent_at is not None
        before = self.item.payload.get(agenda.SENT_BEFORE_AS)
        but = set() if before is None else {str(before)}
        found = await self.port.report_asked(self.wanted, self.item.sent_at, but, ask)
        return Looked(found is not None, missing="no such report", detail={agenda.SENT_AS: found} if found else {})

    async def whole(self, looked: Looked, ask: Ask) -> Looked:
        return looked


def _read(deps: Deps, item: ClaimedItem) -> _Report:
    return _Report(item, deps.ports[ChannelId(item.channel)], read_wanted(item.payload))


async def _fetched(deps: Deps, one: _Report) -> Worked:
    """Look at a report that was asked for, and keep its file once there is one."""
    item = one.item
    found = await _file(deps, one)
    point("after_verify_read")
    if isinstance(found, Refused):
        return refused_later(one, found)
    late = item.accepted_at is not None and deps.clock() - item.accepted_at > PATIENCE
    wait_s = one.port.report_pauses_s[min(item.checks, len(one.port.report_pauses_s) - 1)]
    if isinstance(found, HouseError):
        return unreadable(one, ItemStatus.ACCEPTED, found, wait_s, parked=late)
    if found is not None:
        packed = await asyncio.to_thread(report.packed, found)
        return Worked(ends(one, ItemStatus.VERIFIED), keep=partial(report.keep, item=item.id, file=packed))
    if not late:
        return Worked(ends(one, ItemStatus.ACCEPTED, wait_s))
    hours = PATIENCE.total_seconds() / 3600
    words = f"{item.channel} has not made report {one.sent_as} within {hours:.0f} hours; retryOperation looks again."
    return Worked(ends(one, ItemStatus.PARKED, 0.0, ItemError("REPORT_STUCK", words)))


async def _file(deps: Deps, one: _Report) -> ReportFile | HouseError | None:
    ask = Ask(Priority.BACKGROUND, time.monotonic() + deps.timing.budget_wait_s, about=one.about)
    try:
        async with held(deps, one.item):
            return await one.port.report_file(str(one.sent_as), ask)
    except HouseError as problem:
        return problem
    except Exception as problem:
        log.exception("report.unexpected", extra={"item": one.item.id})
        return as_house_error(problem, sent=False)
