"""Requests for GraphQL that were answered, counted and logged together at the end of the loop's turn: one by one that would take
longer than the quickest of them."""

from __future__ import annotations

import asyncio
import logging

from gateway import logs, metrics

log = logging.getLogger("gateway.endpoint")


class Answered:
    """What was answered in this turn of the loop."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._statuses: list[int] = []
        self._again = 0

    def tell(
        self,
        id: str,
        status: int,
        seconds: float,
        told: str,
        caller: str,
        cost: int,
        age: int,
        *,
        again: bool = False,
    ) -> None:
        """Count and log one. `id` needs no escapes; `told` are the members that name its operation (`Plan.told`); `again` counts
        it among those that were given again."""
        self._lines.append(
            f'"request_id":"{id}","status":{status},"seconds":{seconds:.4f},{told},'
            f'"caller":{logs.word(caller)},"cost":{cost},"age":{age}'
        )
        self._statuses.append(status)
        self._again += again
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self._tell_all)

    def _tell_all(self) -> None:
        lines, statuses, again = self._lines, self._statuses, self._again
        self._lines, self._statuses, self._again = [], [], 0
        metrics.ANSWERS_AGAIN.inc(again)
        for status in set(statuses):
            metrics.requests("/graphql", status).inc(statuses.count(status))
        logs.tell_many(log, "graphql.answered", lines)
