"""Reports: files that a platform makes in its own time, and that we keep for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ReportWanted:
    """A report of a type, by the platform's own name, of one marketplace (a country code). Without `start` and `end` of the
    time that the platform has as its usual one, which of what only is as it is now is none."""

    report_type: str
    marketplace: str | None
    start: datetime | None = None
    end: datetime | None = None

    def told(self) -> dict[str, object]:
        """As JSON values; `read_wanted` reads them."""
        return {
            "report_type": self.report_type,
            "marketplace": self.marketplace,
            "start": None if self.start is None else self.start.isoformat(),
            "end": None if self.end is None else self.end.isoformat(),
        }


def read_wanted(told: Mapping[str, object]) -> ReportWanted:
    """What `ReportWanted.told` has told."""
    marketplace = told["marketplace"]
    return ReportWanted(
        str(told["report_type"]),
        None if marketplace is None else str(marketplace),
        _instant(told["start"]),
        _instant(told["end"]),
    )


def _instant(told: object) -> datetime | None:
    return None if told is None else datetime.fromisoformat(str(told))


@dataclass(frozen=True, slots=True)
class ReportFile:
    """What a report tells, as the platform has written it; `content_type` names its letters, where the platform does."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A file that is kept for the item that asked for it: how long it is in bytes, and since when."""

    item: int
    content_type: str
    bytes: int
    kept_at: datetime
