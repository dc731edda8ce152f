"""Who asks: API keys of 256 random bits, kept as SHA-256, and tokens of an issuer (gateway/jwt.py) where one is set. Both are
sent as `Authorization: Bearer …`."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import math
import secrets
import time
from collections import OrderedDict
from datetime import UTC, datetime

from redis.asyncio import Redis

from gateway import jwt, metrics
from gateway.body import BadRequest
from gateway.patience import Patience
from resolvers.context import Caller
from store import api_key
from store.session import UNAVAILABLE, Store

log = logging.getLogger(__name__)

PREFIX = "acorn_"
KEPT_S = 5.0
# A token ends by itself, and is read again when its issuer's keys may have changed.
TOKEN_KEPT_S = 60.0
KEPT = 1_000
# Longer than any key of ours; what is longer is not hashed.
LONGEST = 200
# A header that is longer is padded with something, and looked at each time.
MOST_KEPT = len("Bearer ") + jwt.LONGEST
FAILURES = 30
WINDOW_S = 60
NOBODY_TO_ASK: tuple[type[Exception], ...] = (jwt.Away, *UNAVAILABLE)
INVALID = ', error="invalid_token"'


def new_secret() -> str:
    """A key to hand out: shown once, kept nowhere."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """What is kept of a key. It has 256 bits of its own, so a slow hash would protect nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Keys:
    """Says who asks. A key that was found is believed for five seconds, so that a revoked one is soon refused everywhere; a token
    that was read for a minute. Neither is believed beyond its own end."""

    def __init__(self, store: Store, redis: Redis, tokens: jwt.Tokens | None = None) -> None:
        self._store = store
        self._redis = redis
        self._tokens = tokens
        self._patience = Patience()
        # By the header's own text: (who, until when in seconds of the monotonic clock).
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[None]] = {}  # by the same: settled when somebody has looked

    async def close(self) -> None:
        """Give back every connection to an issuer."""
        if self._tokens is not None:
            await self._tokens.close()

    def known(self, authorization: str | None) -> Caller | None:
        """Whose header it is, when that was found out a moment ago; None when `caller` has to look."""
        kept = self._known.get(authorization or "")
        return kept[0] if kept is not None and kept[1] > time.monotonic() else None

    async def caller(self, authorization: str | None, address: str) -> Caller:
        """Whose header it is. Raises BadRequest with 401 for none, an unknown key or a bad token, 429 after many of those from
        one address, 503 while the database or the issuer is away."""
        known = self.known(authorization)
        if known is not None:
            return known
        secret = self._secret(authorization)
        if secret is None or authorization is None:
            metrics.AUTH_FAILURES.labels("missing").inc()
            raise unauthenticated("Send an API key: `Authorization: Bearer acorn_…`. `acorn keys create` makes one.")
        if (asked := self._asked.get(authorization)) is not None:
            # One of a crowd looks for all; where nothing good comes of that, each goes on alone.
            await asyncio.wait({asked})
            return self.known(authorization) or await self._looked_up(authorization, secret, address)
        asked = self._asked[authorization] = asyncio.get_running_loop().create_future()
        try:
            return await self._looked_up(authorization, secret, address)
        finally:
            del self._asked[authorization]
            asked.set_result(None)

    async def _looked_up(self, authorization: str, secret: str, address: str) -> Caller:
        if self._tokens is not None and jwt.looks_like(secret):
            return self._keep(authorization, await self._proven(self._tokens, secret, address), TOKEN_KEPT_S)
        return self._keep(authorization, await self._found(secret, address), KEPT_S)

    async def still_valid(self, authorization: str | None) -> bool:
        """Whether a key or token that was good still is; true while the database, or the issuer, cannot be asked."""
        secret = self._secret(authorization)
        if secret is None:
            return False
        try:
            if self._tokens is not None and jwt.looks_like(secret):
                await self._tokens.caller(secret)
                return True
            async with self._store.begin() as tx:
                return await api_key.by_hash(tx, hash_secret(secret)) is not None
        except jwt.Untrusted:
            return False
        except NOBODY_TO_ASK:
            return True

    def _secret(self, authorization: str | None) -> str | None:
        """What follows `Bearer`, unless it is longer than any that is good."""
        scheme, _, secret = (authorization or "").partition(" ")
        secret = secret.strip()
        longest = jwt.LONGEST if self._tokens is not None and jwt.looks_like(secret) else LONGEST
        return secret if scheme.lower() == "bearer" and 0 < len(secret) <= longest else None

    def _keep(self, authorization: str, caller: Caller, seconds: float) -> Caller:
        if len(authorization) > MOST_KEPT:
            return caller
        self._known[authorization] = caller, time.monotonic() + min(seconds, _left_s(caller))
        self._known.move_to_end(authorization)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return caller

    async def _found(self, secret: str, address: str) -> Caller:
        """Whose API key it is."""
        try:
            async with self._store.begin() as tx:
                key = await api_key.by_hash(tx, hash_secret(secret))
        except UNAVAILABLE:
            raise _unavailable("The database does not answer; try again in a moment.") from None
        if key is None:
            # Only now: behind the address of one bad client others may hold good keys.
            await self._check_failures(address)
            await self._note_failure(address, "unknown")
            raise unauthenticated("This API key is unknown, expired or revoked.", INVALID)
        return Caller(key.name, key.scopes, key.expires_at, key.points_per_minute, key.calls_per_minute)

    async def _proven(self, tokens: jwt.Tokens, token: str, address: str) -> Caller:
        """Whom a token speaks for. What is wrong with a bad one is for the log alone."""
        try:
            return await tokens.caller(token)
        except jwt.Away:
            raise _unavailable("The issuer's keys cannot be had; try again in a moment.") from None
        except jwt.Untrusted as problem:
            log.info("auth.bad_token", extra={"address": address, "reason": str(problem)})
            await self._check_failures(address)
            await self._note_failure(address, "token")
            raise unauthenticated("This token has ended, or was never good here.", INVALID) from None

    async def _check_failures(self, address: str) -> None:
        """Without Redis nobody is counted: 2^256 keys guard themselves, this only tells a client that is out of order to wait."""
        count = await self._patience.wait(lambda: self._redis.get(_failures(address)))
        if count is not None and int(count) >= FAILURES:
            metrics.AUTH_FAILURES.labels("limited").inc()
            raise BadRequest(
                "Too many requests with unknown keys came from this address; wait a minute.",
                status=429,
                code="TOO_MANY_FAILURES",
                headers={"retry-after": str(WINDOW_S)},
            )

    async def _note_failure(self, address: str, reason: str) -> None:
        metrics.AUTH_FAILURES.labels(reason).inc()
        log.warning("auth.failed", extra={"address": address, "reason": reason})
        pipe = self._redis.pipeline(transaction=False)
        pipe.incr(_failures(address))
        pipe.expire(_failures(address), WINDOW_S, nx=True)
        await self._patience.wait(pipe.execute)


def unauthenticated(message: str, told: str = "") -> BadRequest:
    """The answer to who has no valid key; `told` is what the challenge says beside its realm."""
    challenge = {"www-authenticate": f'Bearer realm="acorn"{told}'}
    return BadRequest(message, status=401, code="UNAUTHENTICATED", headers=challenge)


def _unavailable(message: str) -> BadRequest:
    return BadRequest(message, status=503, code="UNAVAILABLE", headers={"retry-after": "1"})


def _left_s(caller: Caller) -> float:
    """Seconds until the caller is nobody any more."""
    return math.inf if caller.expires_at is None else (caller.expires_at - datetime.now(UTC)).total_seconds()


def _failures(address: str) -> str:
    """Where an address is counted; an IPv6 customer has a whole /64. On a socket of both kinds IPv4 comes within IPv6."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return f"acorn:auth:{address}"
    if isinstance(ip, ipaddress.IPv6Address):
        return f"acorn:auth:{ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False)}"
    return f"acorn:auth:{ip}"
