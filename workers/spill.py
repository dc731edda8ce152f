"""Deliveries that PostgreSQL had no time for: a stream of Redis, until they are rows.

Only what may be lost goes there: a hint is a reason to ask, and whatever it names the streams ask for as well. What becomes rows
twice is there once, so nobody has to be alone at it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapters.notices import Kept
from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from domain.product import Rejected
from store import quarantine
from store.session import UNAVAILABLE, Store, storable
from workers.deps import Deps
from workers.hints import take

log = logging.getLogger(__name__)

KEY = "acorn:deliveries"
# Some 400 bytes each: more of them are not to crowd out what else lies in Redis.
MOST = 200_000
AT_ONCE = 500
LOOK_EVERY_S = 0.5
REST_S = 2.0
AWAY: tuple[type[Exception], ...] = (*UNAVAILABLE, RedisError)

_PUT = """
if redis.call('xlen', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('xadd', KEYS[1], '*', 'told', ARGV[2])
return 1
"""

Waiting: TypeAlias = list[tuple[bytes, Mapping[bytes, bytes]]]


class Full(Exception):
    """So much waits already that no more is taken."""


async def put(redis: Redis, told: Sequence[Kept]) -> None:
    """Keep what one delivery told. Raises RedisError and Full."""
    if not await redis.register_script(_PUT)(keys=[KEY], args=[MOST, written(told)]):
        raise Full


async def drain(redis: Redis, store: Store) -> int:
    """Make rows of what has waited longest, and only then forget it; how many deliveries those were. Raises one of AWAY."""
    waiting: Waiting = await redis.xrange(KEY, count=AT_ONCE)
    if not waiting:
        return 0
    told = [(id, read(next(iter(fields.values()), b""))) for id, fields in waiting]
    try:
        async with store.begin() as tx:
            await take(tx, [one for _, found in told for one in found])
    except UNAVAILABLE:
        raise
    except Exception:
        # One that no table takes shall hold up no other.
        for _, found in told:
            await _alone(store, found)
    await redis.xdel(KEY, *(id for id, _ in waiting))
    return len(waiting)


async def _alone(store: Store, told: Sequence[Kept]) -> None:
    try:
        async with store.begin() as tx:
            await take(tx, told)
    except UNAVAILABLE:
        raise
    except Exception as problem:
        log.exception("spill.broken")
        words = f"Unexpected {type(problem).__name__}; see the log."
        async with store.begin() as tx:
            await quarantine.keep(
                tx, [Rejected(ChannelId(storable(one.channel)), "delivery", "?", words, "") for one in told]
            )


@dataclass(slots=True)
class Drain:
    """Makes rows of what waits in Redis. `pulse` is called at each look."""

    deps: Deps
    pulse: Callable[[], None]

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                found = await drain(self.deps.redis, self.deps.store)
                rest_s = 0.0 if found else LOOK_EVERY_S
            except AWAY as problem:
                log.warning("spill.put_off", extra={"reason": type(problem).__name__})
                rest_s = REST_S
            self.pulse()
            await asyncio.sleep(rest_s)


def _written(one: Kept) -> dict[str, object]:
    match one:
        case Hint():
            return {
                "hint": one.kind.value,
                "channel": one.channel,
                "id": one.id,
                "type": one.type,
                "subject": one.subject,
                "event_at": one.event_at.isoformat(),
                "marketplace": one.marketplace,
            }
        case Rejected():
            return {
                "rejected": one.what,
                "channel": one.channel,
                "key": one.key,
                "reason": one.reason,
                "raw": one.raw,
            }
        case _:
            raise TypeError(f"{type(one).__name__} is not to be lost.")


def written(told: Sequence[Kept]) -> bytes:
    """What one delivery told. Raises TypeError for what may not be lost."""
    return json.dumps([_written(one) for one in told]).encode()


def read(raw: bytes) -> list[Kept]:
    """What was written; what cannot be read, as a newer house may have written it, goes to the quarantine."""
    try:
        return [_one(told) for told in json.loads(raw)]
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        words = f"It cannot be read back ({type(problem).__name__})."
        return [Rejected(ChannelId("?"), "delivery", "?", words, raw.decode("utf-8", "replace"))]


def _one(told: dict[str, Any]) -> Kept:
    if not all(isinstance(value, str) for name, value in told.items() if (name, value) != ("marketplace", None)):
        raise TypeError("all that is written is text")
    channel = ChannelId(told["channel"])
    if "rejected" in told:
        return Rejected(channel, told["rejected"], told["key"], told["reason"], told["raw"])
    at = datetime.fromisoformat(told["event_at"])
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return Hint(channel, told["id"], told["type"], HintKind(told["hint"]), told["subject"], at, told["marketplace"])
