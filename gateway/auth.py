"""Who asks: API keys of 256 random bits, kept as SHA-256, sent as `Authorization: Bearer acorn_…`."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import metrics
from gateway.body import BadRequest
from resolvers.context import Caller
from store import api_key
from store.api_key import ApiKey
from store.session import UNAVAILABLE, Store

log = logging.getLogger(__name__)

PREFIX = "acorn_"
KEPT_S = 5.0
KEPT = 1_000
# Longer than any key of ours; what is longer is not hashed.
LONGEST = 200
FAILURES = 30
WINDOW_S = 60


def new_secret() -> str:
    """A key to hand out: shown once, kept nowhere."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """What is kept of a key. It has 256 bits of its own, so a slow hash would protect nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(slots=True)
class _Kept:
    key: ApiKey
    until: float


class Keys:
    """Looks keys up; one that was found is believed for five seconds, so that a revoked one is soon refused everywhere."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self._store = store
        self._redis = redis
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def caller(self, authorization: str | None, address: str) -> Caller:
        """Whose key it is. Raises BadRequest with 401 for none or an unknown one, 429 after many of those from one address,
        503 while the database is away."""
        secret = _bearer(authorization)
        if secret is None:
            metrics.AUTH_FAILURES.labels("missing").inc()
            raise unauthenticated("Send an API key: `Authorization: Bearer acorn_…`. `acorn keys create` makes one.")
        key = await self._found(hash_secret(secret), address)
        return Caller(key.name, key.scopes, key.expires_at, key.points_per_minute, key.calls_per_minute)

    async def still_valid(self, authorization: str | None) -> bool:
        """Whether a key that was good still is; true while the database cannot be asked."""
        secret = _bearer(authorization)
        if secret is None:
            return False
        try:
            async with self._store.begin() as tx:
                return await api_key.by_hash(tx, hash_secret(secret)) is not None
        except UNAVAILABLE:
            return True

    async def _found(self, secret_hash: str, address: str) -> ApiKey:
        kept = self._kept.get(secret_hash)
        if kept is not None and kept.until > time.monotonic() and not _expired(kept.key):
            self._kept.move_to_end(secret_hash)
            return kept.key
        self._kept.pop(secret_hash, None)
        try:
            async with self._store.begin() as tx:
                key = await api_key.by_hash(tx, secret_hash)
        except UNAVAILABLE:
            raise BadRequest(
                "The database does not answer; try again in a moment.",
                status=503,
                code="UNAVAILABLE",
                headers={"retry-after": "1"},
            ) from None
        if key is None:
            # Only now: behind the address of one bad client others may hold good keys.
            await self._check_failures(address)
            await self._note_failure(address)
            raise unauthenticated("This API key is unknown, expired or revoked.")
        self._kept[secret_hash] = _Kept(key, time.monotonic() + KEPT_S)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return key

    async def _check_failures(self, address: str) -> None:
        """Without Redis nobody is counted: 2^256 keys guard themselves, this only tells a client that is out of order to wait."""
        try:
            count = await self._redis.get(_failures(address))
        except (RedisError, OSError):
            return
        if count is not None and int(count) >= FAILURES:
            metrics.AUTH_FAILURES.labels("limited").inc()
            raise BadRequest(
                "Too many requests with unknown keys came from this address; wait a minute.",
                status=429,
                code="TOO_MANY_FAILURES",
                headers={"retry-after": str(WINDOW_S)},
            )

    async def _note_failure(self, address: str) -> None:
        metrics.AUTH_FAILURES.labels("unknown").inc()
        log.warning("auth.unknown_key", extra={"address": address})
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.incr(_failures(address))
            pipe.expire(_failures(address), WINDOW_S, nx=True)
            await pipe.execute()
        except (RedisError, OSError):
            return


def unauthenticated(message: str) -> BadRequest:
    """The answer to who has no valid key."""
    return BadRequest(message, status=401, code="UNAUTHENTICATED", headers={"www-authenticate": 'Bearer realm="acorn"'})


def _bearer(authorization: str | None) -> str | None:
    scheme, _, secret = (authorization or "").partition(" ")
    secret = secret.strip()
    return secret if scheme.lower() == "bearer" and 0 < len(secret) <= LONGEST else None


def _expired(key: ApiKey) -> bool:
    return key.expires_at is not None and key.expires_at <= datetime.now(UTC)


def _failures(address: str) -> str:
    """Where an address is counted; an IPv6 customer has a whole /64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return f"acorn:auth:{address}"
    if ip.version == 6:
        return f"acorn:auth:{ipaddress.ip_network((ip, 64), strict=False)}"
    return f"acorn:auth:{ip}"
