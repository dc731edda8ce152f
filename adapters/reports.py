"""Ports whose platform makes reports. What has none of this is asked for none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from adapters.port import BeforeSend, Receipt
from domain.budget import Ask
from domain.report import ReportFile, ReportWanted


@runtime_checkable
class Reports(Protocol):
    """Makes reports in its own time. Failures are those of the tree in `domain.errors`."""

    report_types: Mapping[str, str]
    """What may be asked for, and what it holds, for people. Nothing here holds anything of buyers."""
    report_pauses_s: Sequence[float]
    """How long to wait before each look at one, in seconds; the last again and again."""

    async def ask_report(self, wanted: ReportWanted, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Ask for one of `report_types`; the receipt's reference is its id. Raises OutcomeUnknown where the answer was lost,
        Throttled where the platform makes this type only so often."""
        ...

    async def report_asked(
        self, wanted: ReportWanted, asked_at: datetime, but: Collection[str], ask: Ask
    ) -> str | None:
        """The id of a report of these contents that was asked for at about `asked_at` or since, however it stands; None where
        there is none but those named in `but`."""
        ...

    async def report_file(self, report_id: str, ask: Ask) -> ReportFile | None:
        """The file of a report, None while it is being made. Raises Refused where there is none and will be none."""
        ...
