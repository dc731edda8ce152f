"""Access tokens of the platforms, shared by all processes through Redis.

A token is encrypted under a key derived from the credential that buys it: who can read Redis but not the credential reads
nothing, and a changed credential makes its old tokens unreadable, hence forgotten. Refresh tokens never come here. Age is
counted by Redis alone, as what is left of the key's life; no clock of ours is compared with any other.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import orjson
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapters.errands import Errands
from domain.errors import Transient

log = logging.getLogger(__name__)

T = TypeVar("T")

# Buys a token: the token, and its life in seconds.
Refresh = Callable[[], Awaitable[tuple[str, float]]]

RENEW_AT = 0.8
# A token this near to its end could die on its way; whoever finds it waits for the new one.
LAST_SECONDS = 5.0
LOCK_S = 30.0
LOOK_AGAIN_S = 0.05

# Kept only by the process that still holds the lock: one that lost it was slow, and another's token is there.
KEEP = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'sealed', ARGV[2], 'life', ARGV[3], 'mark', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return redis.call('DEL', KEYS[2])
"""
UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
FORGET = "if redis.call('HGET', KEYS[1], 'mark') == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@dataclass(frozen=True, slots=True)
class _Held:
    """A token that can be used for `left_s` more of its `life_s` seconds."""

    token: str
    life_s: float
    left_s: float

    @property
    def fresh(self) -> bool:
        return self.left_s > (1 - RENEW_AT) * self.life_s


class TokenStore:
    """Tokens by name, e.g. of a channel. One process at a time renews one, at 80 % of its life."""

    def __init__(self, redis: Redis, *, prefix: str = "acorn:token", lock_s: float = LOCK_S) -> None:
        self._redis = redis
        self._prefix = prefix
        self._lock_s = lock_s
        self._keep = redis.register_script(KEEP)
        self._unlock = redis.register_script(UNLOCK)
        self._forget = redis.register_script(FORGET)
        self._seals: dict[tuple[str, bytes], Fernet] = {}
        self._renewals: dict[tuple[str, bytes], asyncio.Task[str]] = {}
        self._errands = Errands()

    async def token(self, name: str, secret_material: str | bytes, refresh: Refresh) -> str:
        """The token `name`; `refresh` buys one when there is none, and in the background once it has passed 80 % of its life.

        `secret_material` is the credential that `refresh` uses. Raises what `refresh` raises, and Transient without Redis.
        """
        secret = secret_material.encode() if isinstance(secret_material, str) else secret_material
        held = await self._whole(self._read(name, secret))
        if held is not None and held.fresh:
            return held.token
        renewal = self._renewals.get((name, secret))
        if renewal is None:
            # Nobody's own: a caller that goes away must not waste what has been asked for. One that fails in the background is
            # tried again by the next caller.
            renewal = self._renewals[name, secret] = self._errands.start(self._renew(name, secret, refresh))
            renewal.add_done_callback(lambda _: self._renewals.pop((name, secret)))
        if held is not None and held.left_s > LAST_SECONDS:
            return held.token
        return await asyncio.shield(renewal)

    async def forget(self, name: str, token: str) -> None:
        """Forget `token`, which the platform has refused; a newer one under the same name stays."""
        await self._whole(self._forget(keys=[self._key(name)], args=[_mark(token)]))

    async def settle(self) -> None:
        """Wait for renewals in the background; before closing the Redis client."""
        await self._errands.settle()

    async def _renew(self, name: str, secret: bytes, refresh: Refresh) -> str:
        """Buy a token, or wait for the process that is buying it."""
        lock, owner = f"{self._key(name)}:lock", uuid4().hex
        try:
            while not await self._redis.set(lock, owner, nx=True, px=round(self._lock_s * 1000)):
                await asyncio.sleep(LOOK_AGAIN_S)
                held = await self._read(name, secret)
                if held is not None and held.fresh:
                    return held.token
            try:
                held = await self._read(name, secret)
                if held is not None and held.fresh:
                    return held.token
                token, life_s = await refresh()
                sealed = self._seal(name, secret).encrypt(orjson.dumps(token))
                life_ms = max(1, round(life_s * 1000))
                await self._keep(keys=[self._key(name), lock], args=[owner, sealed, life_s, _mark(token), life_ms])
            finally:
                await self._unlock(keys=[lock], args=[owner])
        except (RedisError, OSError) as problem:
            raise _unreachable(problem) from problem
        log.info("token.renewed", extra={"token": name, "life_s": life_s})
        return token

    async def _read(self, name: str, secret: bytes) -> _Held | None:
        key = self._key(name)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hmget(key, ["sealed", "life"])
            pipe.pttl(key)
            (sealed, life_s), left_ms = await pipe.execute()
        if sealed is None or left_ms <= 0:
            return None
        try:
            return _Held(orjson.loads(self._seal(name, secret).decrypt(sealed)), float(life_s), left_ms / 1000)
        except InvalidToken:
            return None

    def _seal(self, name: str, secret: bytes) -> Fernet:
        seal = self._seals.get((name, secret))
        if seal is None:
            key = HKDF(SHA256(), 32, salt=b"acorn access token", info=name.encode()).derive(secret)
            seal = self._seals[name, secret] = Fernet(base64.urlsafe_b64encode(key))
        return seal

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{{{name}}}"

    # A command on its way is never cancelled: redis-py would give its answer to the next one.

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await asyncio.shield(self._errands.start(work))
        except (RedisError, OSError) as problem:
            raise _unreachable(problem) from problem


def _mark(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _unreachable(problem: Exception) -> Transient:
    return Transient(
        f"Redis, which keeps the access tokens, cannot be reached ({type(problem).__name__}). "
        "Check that it runs and that ACORN_REDIS_URL names it."
    )
