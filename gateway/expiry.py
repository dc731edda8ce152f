"""Ends what stays open for callers that are nobody any more: at the instant they expire, and soon after a key was revoked."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.auth import Keys
from resolvers.context import Caller

log = logging.getLogger(__name__)

RECHECK_S = 60.0


@dataclass(eq=False, slots=True)
class Watched:
    """One connection. `over` is called at most once, when its caller is nobody any more."""

    authorization: str | None
    over: Callable[[], None]
    timer: asyncio.TimerHandle | None = None


class Expiry:
    """Looks at the callers of all connections of a process: at each key once, however many connections it has opened."""

    def __init__(self, keys: Keys, *, recheck_s: float = RECHECK_S) -> None:
        self._keys = keys
        self._recheck_s = recheck_s
        self._watched: set[Watched] = set()
        self._looking: asyncio.Task[None] | None = None

    def watch(self, authorization: str | None, caller: Caller, over: Callable[[], None]) -> Watched:
        """Call `over` when the caller has expired or its key was revoked, unless `forget` comes first."""
        one = Watched(authorization, over)
        self._watched.add(one)
        if caller.expires_at is not None:
            left_s = (caller.expires_at - datetime.now(UTC)).total_seconds()
            one.timer = asyncio.get_running_loop().call_later(max(0.0, left_s), self._end, one)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return one

    def forget(self, one: Watched) -> None:
        """The connection has ended."""
        self._watched.discard(one)
        if one.timer is not None:
            one.timer.cancel()
        if not self._watched and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def _end(self, one: Watched) -> None:
        if one in self._watched:
            self.forget(one)
            one.over()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._recheck_s)
            by_key = defaultdict(list)
            for one in self._watched:
                by_key[one.authorization].append(one)
            for authorization, all_of_it in by_key.items():
                try:
                    valid = await self._keys.still_valid(authorization)
                except Exception:
                    log.exception("expiry.unknown")
                    continue
                for one in [] if valid else all_of_it:
                    self._end(one)
