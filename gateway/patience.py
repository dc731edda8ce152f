"""Questions to Redis that are worth a moment and no more: whoever asks can do without an answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 0.25
REST_S = 1.0  # after Redis did not answer


class Patience:
    """Waits a moment for each answer, and after one that did not come asks nothing for a while: one that hangs holds up few."""

    def __init__(self) -> None:
        self._away_until = -math.inf

    async def wait(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What `ask` answers; None while Redis does not."""
        if time.monotonic() < self._away_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await ask()
        except (RedisError, OSError) as problem:  # a TimeoutError is an OSError
            log.warning("redis.away", extra={"reason": type(problem).__name__})
            self._away_until = time.monotonic() + REST_S
            return None
