"""What things usually take at a platform, in seconds or points, learned from what they took, shared by all processes through
Redis.

Only for forecasts: without Redis nothing has been learned.
"""

from __future__ import annotations

import math

from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.ids import ChannelId

NEW_SHARE = 0.3  # of the newest in the average
LIFE_S = 30 * 86400

LEARN = """
local before = tonumber(redis.call('GET', KEYS[1]))
local now = tonumber(ARGV[1])
local learned = before and before + (now - before) * tonumber(ARGV[2]) or now
redis.call('SET', KEYS[1], string.format('%.3f', learned), 'EX', ARGV[3])
"""


class Usual:
    """Averages by channel and name, in which the newest weighs most."""

    def __init__(self, redis: Redis, *, prefix: str = "acorn:usual") -> None:
        self._redis = redis
        self._prefix = prefix
        self._learn = redis.register_script(LEARN)

    async def seconds(self, channel: ChannelId, name: str) -> float | None:
        """What it usually takes; None where nobody knows."""
        return await self.amount(channel, name)

    async def took(self, channel: ChannelId, name: str, seconds: float) -> None:
        """It took so long this time."""
        await self.learn(channel, name, seconds)

    async def amount(self, channel: ChannelId, name: str) -> float | None:
        """As `seconds`, of whatever is counted."""
        try:
            told = await self._redis.get(f"{self._prefix}:{channel}:{name}")
        except (RedisError, OSError):
            return None
        return None if told is None else float(told)

    async def learn(self, channel: ChannelId, name: str, amount: float, *, new_share: float = NEW_SHARE) -> None:
        """It took so much this time; `new_share` is what that weighs in the average, 1 to forget all that was before."""
        if not (math.isfinite(amount) and amount >= 0):
            return
        try:
            await self._learn(keys=[f"{self._prefix}:{channel}:{name}"], args=[amount, new_share, LIFE_S])
        except (RedisError, OSError):
            return  # it will be learned from the next one
