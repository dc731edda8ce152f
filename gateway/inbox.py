"""Where deliveries become durable before they are answered: rows, many deliveries in one transaction, or Redis where PostgreSQL
takes longer than a platform waits gladly (docs/decisions/0022)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from adapters.notices import Kept
from domain.privacy import PrivacyRequest
from gateway import metrics
from store.session import UNAVAILABLE, Store
from workers import spill
from workers.hints import take

PATIENCE_S = 0.02
# What the law speaks of is answered once it is a row. Platforms wait for five seconds.
LONGEST_S = 4.0
REDIS_S = 1.0
AT_ONCE = 500


@dataclass(slots=True, eq=False)
class _Parcel:
    """What one delivery told, and what became of it: kept, or why not."""

    told: Sequence[Kept]
    ended: asyncio.Future[Exception | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Inbox:
    """One for each process. While one transaction is under way, what comes waits for the next; and once it has taken longer than
    PATIENCE_S, nobody waits for it any more."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis = redis
        self._waiting: list[_Parcel] = []
        self._writer: asyncio.Task[None] | None = None
        self._began: float | None = None

    async def keep(self, told: Sequence[Kept]) -> None:
        """Durable when it returns. Raises one of UNAVAILABLE, RedisError or Full when it is nowhere."""
        if not told:
            return
        if any(isinstance(one, PrivacyRequest) for one in told):
            problem = await self._rows(told, LONGEST_S)
            if problem is not None:
                raise problem
            metrics.DELIVERIES.labels("rows").inc()
            return
        problem = TimeoutError() if self._slow else await self._rows(told, PATIENCE_S)
        if problem is None:
            metrics.DELIVERIES.labels("rows").inc()
            return
        if not isinstance(problem, UNAVAILABLE):
            raise problem
        async with asyncio.timeout(REDIS_S):
            await spill.put(self._redis, told)
        metrics.DELIVERIES.labels("redis").inc()

    async def close(self) -> None:
        """What is under way ends."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    @property
    def _slow(self) -> bool:
        return self._began is not None and time.monotonic() - self._began > PATIENCE_S

    async def _rows(self, told: Sequence[Kept], patience_s: float) -> Exception | None:
        """None once they are rows; why not, or TimeoutError when nobody knows yet: then they may become rows all the same."""
        parcel = _Parcel(told)
        self._waiting.append(parcel)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="inbox")
        done, _ = await asyncio.wait([parcel.ended], timeout=patience_s)
        if done:
            return parcel.ended.result()
        if parcel in self._waiting:
            self._waiting.remove(parcel)
        return TimeoutError()

    async def _write(self) -> None:
        """One transaction after the other until nobody waits."""
        try:
            while self._waiting:
                parcels, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                self._began = time.monotonic()
                problem = await self._together(parcels)
                if problem is not None and len(parcels) > 1 and not isinstance(problem, UNAVAILABLE):
                    # One that no table takes shall spoil no other.
                    for one in parcels:
                        _end([one], await self._together([one]))
                else:
                    _end(parcels, problem)
        finally:
            self._began = self._writer = None

    async def _together(self, parcels: Sequence[_Parcel]) -> Exception | None:
        try:
            async with self._store.begin() as tx:
                await take(tx, [one for parcel in parcels for one in parcel.told])
        except Exception as problem:
            return problem
        return None


def _end(parcels: Sequence[_Parcel], problem: Exception | None) -> None:
    for one in parcels:
        if not one.ended.done():
            one.ended.set_result(problem)
