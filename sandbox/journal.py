"""What was asked of the sandbox, and what it truly changed."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sandbox.clock import Clock


class Journal:
    """Calls and effects under one counter. A call is written whatever its answer; an effect only for a true change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0
        self._calls: list[dict[str, Any]] = []
        self._effects: list[dict[str, Any]] = []

    def call(self, operation: str, method: str, path: str, query: str, status: int, ids: Iterable[str] = ()) -> None:
        """One request. `path` has no query string; `status` is what went over the wire, 0 when nothing did."""
        self._calls.append(
            {
                **self._stamp(operation),
                "method": method,
                "path": path,
                "query": query,
                "status": status,
                "ids": list(dict.fromkeys(ids)),
            }
        )

    def effect(self, operation: str, key: str, detail: Mapping[str, Any]) -> None:
        """One true change; `key` is the order id or SKU changed."""
        self._effects.append({**self._stamp(operation), "key": key, "detail": dict(detail)})

    def since(self, seq: int) -> dict[str, Any]:
        """{"next", "calls", "effects"} after `seq`; 0 gives all, `next` is what to ask with the next time."""
        return {"next": self._last, "calls": _after(self._calls, seq), "effects": _after(self._effects, seq)}

    def _stamp(self, operation: str) -> dict[str, Any]:
        self._last += 1
        return {"seq": self._last, "at": iso(self._clock.now()), "operation": operation}


def iso(at: datetime) -> str:
    """RFC 3339 with milliseconds and Z, as both platforms' clocks write it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _after(entries: list[dict[str, Any]], seq: int) -> list[dict[str, Any]]:
    # Rehearsals poll this often and write a lot: walk back from the end instead of through everything.
    start = len(entries)
    while start and entries[start - 1]["seq"] > seq:
        start -= 1
    return entries[start:]
