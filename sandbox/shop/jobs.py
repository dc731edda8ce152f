"""Many rows at once: carried out at the first request after they are due."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

MOST_LINES = 100_000
KINDS = ("stock_set", "stock_adjust", "prices")


@dataclass(slots=True)
class Job:
    """`lines` are what was sent, None for one that is no JSON object; `results` are what became of them."""

    id: str
    kind: str
    lines: list[dict[str, Any] | None]
    created_at: datetime
    updated_at: datetime
    due: datetime
    results: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False

    @property
    def failed(self) -> int:
        return sum(result["status"] >= 300 for result in self.results)

    @property
    def state(self) -> str:
        if not self.ended:
            return "queued"
        if not self.failed:
            return "succeeded"
        return "failed" if self.failed == len(self.results) else "partial"
