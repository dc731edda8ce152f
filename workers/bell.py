"""The bell: an arq job that wakes a lane in some worker. Losing one costs a sweep, never the work, so every failure is counted
and ignored.

arq 0.28 is only trusted with that. A job carries two words as JSON, keeps no result, and is over as soon as the lane in its
process has been told, so that neither arq's retries nor its five minutes of limbo after a killed worker ever hold a write up.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from domain.ids import ChannelId
from domain.operation import Capability
from workers.crash import point
from workers.watch import end

log = logging.getLogger(__name__)

QUEUE = "acorn:lanes"
JOB = "drain"
# A mutation has been committed and its caller waits: a ring that is not through by then goes on behind its back.
PATIENCE_S = 0.25
MOST_RINGING = 100


def write_json(job: dict[str, Any]) -> bytes:
    """arq's serializer; the default, pickle, would let whoever can write to Redis run code in every worker."""
    return json.dumps(job).encode()


def read_json(job: bytes) -> dict[str, Any]:
    """arq's deserializer."""
    read = json.loads(job)
    if not isinstance(read, dict):
        raise TypeError("a job is a JSON object")
    return read


def arq_redis(url: str) -> ArqRedis:
    """arq's Redis client with the timeouts that arq's own settings cannot express: a silent connection is noticed in 5 s."""
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=10,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
        # One repeat over a fresh connection: the pooled one may have died of old age.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
    )
    return ArqRedis(pool, job_serializer=write_json, job_deserializer=read_json, default_queue_name=QUEUE)


@dataclass(slots=True)
class ArqBell:
    """Rings through arq. `lost` counts the rings that did not get through."""

    redis: ArqRedis
    lost: int = 0
    _ringing: set[asyncio.Task[None]] = field(default_factory=set)

    async def ring(self, channel: ChannelId, capability: Capability) -> None:
        """Wake the lane. Never raises, and takes no longer than a quarter of a second."""
        point("before_ring")
        if len(self._ringing) >= MOST_RINGING:
            self.lost += 1
            return
        task = asyncio.create_task(self._ring(channel, capability))
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)
        await asyncio.wait({task}, timeout=PATIENCE_S)

    async def _ring(self, channel: ChannelId, capability: Capability) -> None:
        try:
            # None means that the same ring is still waiting to be heard, which is as good.
            job_id = f"{JOB}:{channel}:{capability.value}"
            await self.redis.enqueue_job(JOB, channel, capability.value, _job_id=job_id)
        except Exception as problem:
            self.lost += 1
            log.warning("bell.lost", extra={"channel": channel, "reason": type(problem).__name__})

    async def close(self) -> None:
        """Let the last rings through, and close the connections."""
        if self._ringing:
            await asyncio.wait(set(self._ringing), timeout=PATIENCE_S)
        await end(self._ringing)
        await self.redis.aclose(close_connection_pool=True)


class SilentBell:
    """Rings nobody: lanes are drained by the sweep alone."""

    lost = 0

    async def ring(self, channel: ChannelId, capability: Capability) -> None:
        """Nothing happens."""

    async def close(self) -> None:
        """Nothing to close."""
