"""The points that an answer says it cost, and how the shop's bucket stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """Points. `actual` is None where nothing was carried out; the three of the bucket are None where the answer is silent."""

    requested: float
    actual: float | None
    burst: float | None
    remaining: float | None
    rate: float | None

    def wait_s(self, otherwise_s: float) -> float:
        """Seconds until the bucket holds what was requested; `otherwise_s` where the answer does not tell."""
        if self.remaining is None or not self.rate:
            return otherwise_s
        return max(0.0, self.requested - self.remaining) / self.rate


def cost_of(extensions: Mapping[str, Any]) -> Cost | None:
    """`extensions.cost`; None where there is none, as on documents that fail the static validation."""
    told = extensions.get("cost")
    if not isinstance(told, dict) or told.get("requestedQueryCost") is None:
        return None
    bucket = told.get("throttleStatus") or {}
    return Cost(
        requested=float(told["requestedQueryCost"]),
        actual=_number(told.get("actualQueryCost")),
        burst=_number(bucket.get("maximumAvailable")),
        remaining=_number(bucket.get("currentlyAvailable")),
        rate=_number(bucket.get("restoreRate")),
    )


def _number(told: Any) -> float | None:
    return None if told is None else float(told)
