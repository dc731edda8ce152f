"""Who asks, by the word of an issuer: JSON Web Tokens signed with one of the issuer's published keys (JWKS).

A token's header is written by whoever sends it. It is asked for the name of a key and nothing else: where keys are and how they
sign is settled here, so `jku`, `x5u` and `jwk` are never read.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from jwt import PyJWK, PyJWTError

from adapters.transport import Limits, Transport, Unreadable, parse_json
from domain.errors import Transient
from gateway.settings import MOST_CALLS, MOST_POINTS, Settings
from resolvers.context import Caller
from schema.scopes import ALL
from workers.watch import end

log = logging.getLogger(__name__)

# No API key's name may begin so, which keeps the two apart in budgets and signatures.
NAME = "jwt:"
LONGEST = 8 * 1024
LONGEST_NAME = 200
LEEWAY_S = 30
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})

FRESH_S = 300.0
LEAST_FRESH_S = 60.0
MOST_FRESH_S = 86_400.0
# Between two questions to the issuer, whatever it answered and however many unknown keys are named meanwhile.
PAUSE_S = 10.0
# How long its keys are believed while it does not answer.
KEPT_S = 86_400.0
LIMITS = Limits(total_s=5.0, connections=2, connections_per_host=2, body_bytes=256 * 1024)

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})", re.IGNORECASE)


class Untrusted(Exception):
    """A token that opens nothing. The message is for the log, and holds nothing of the token."""


class Away(Exception):
    """The issuer's keys cannot be had, so nothing can be said about a token."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are believed. `jwks` is where its keys are: an address, or a file."""

    name: str
    audience: str
    jwks: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")

    @classmethod
    def of(cls, settings: Settings) -> Issuer | None:
        """The issuer that is set, if one is."""
        if not settings.jwt_issuer:
            return None
        return cls(settings.jwt_issuer, settings.jwt_audience, settings.jwt_jwks, settings.jwt_algorithms)


def looks_like(secret: str) -> bool:
    """Whether it has a token's three parts; no API key has a dot in it."""
    return secret.count(".") == 2


class Tokens:
    """Reads the tokens of one issuer."""

    def __init__(self, issuer: Issuer, transport: Transport | None = None) -> None:
        self._issuer = issuer
        self._transport = transport or Transport(limits=LIMITS)
        self._keys = PublishedKeys(issuer.jwks, issuer.algorithms, self._transport)

    async def caller(self, token: str) -> Caller:
        """Whom a token speaks for, until it ends. Raises Untrusted and Away."""
        key = await self._keys.named(self._key_of(token))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[*self._issuer.algorithms],
                audience=self._issuer.audience,
                issuer=self._issuer.name,
                leeway=LEEWAY_S,
                options={"require": ["exp", "sub"], "enforce_minimum_key_length": True},
            )
            return _caller(claims)
        except (PyJWTError, ValueError, OverflowError, OSError, RecursionError) as problem:
            raise Untrusted(type(problem).__name__) from None

    async def count_keys(self) -> int:
        """How many keys the issuer publishes that its tokens may be signed with. Raises Away."""
        return await self._keys.count()

    async def close(self) -> None:
        """Give back every connection."""
        await self._keys.close()
        await self._transport.close()

    def _key_of(self, token: str) -> str | None:
        """The name of its key; None where it names none. Raises Untrusted for what needs no key to be refused."""
        if len(token) > LONGEST:
            raise Untrusted("too long")
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError) as problem:
            raise Untrusted(type(problem).__name__) from None
        if header.get("alg") not in self._issuer.algorithms:
            raise Untrusted("algorithm")
        if "crit" in header:
            raise Untrusted("critical extension")
        if str(header.get("typ", "JWT")).lower() not in TYPES:
            raise Untrusted("type")
        kid: str | None = header.get("kid")
        return kid


class PublishedKeys:
    """The issuer's public keys by name, asked for anew when they are no longer fresh, or lack one that a token names."""

    def __init__(self, source: str, algorithms: Collection[str], transport: Transport) -> None:
        self._source = source
        self._algorithms = algorithms
        self._transport = transport
        self._keys: Mapping[str | None, PyJWK] = {}
        self._fresh_until = self._told_at = self._asked_at = -math.inf
        self._asking: asyncio.Task[None] | None = None

    async def named(self, kid: str | None) -> PyJWK:
        """The key of this name; for None the only one there is. Raises Untrusted, and Away while the issuer has told nothing.

        A key that is known is answered at once, even while its successors are asked for.
        """
        key = self._keys.get(kid)
        if key is None or time.monotonic() >= self._fresh_until:
            self._ask()
        if key is None and self._asking is not None:
            await asyncio.wait({self._asking})
            key = self._keys.get(kid)
        if time.monotonic() - self._told_at > KEPT_S:
            raise Away
        if key is None:
            raise Untrusted("unknown key")
        return key

    async def count(self) -> int:
        """How many there are. Raises Away while the issuer has told nothing."""
        self._ask()
        if self._asking is not None:
            await asyncio.wait({self._asking})
        if self._told_at == -math.inf:
            raise Away
        return len({id(one) for one in self._keys.values()})

    async def close(self) -> None:
        """Ask no longer."""
        if self._asking is not None:
            await end([self._asking])

    def _ask(self) -> None:
        """One question at a time, for all that wait, and none too soon after the last."""
        if self._asking is None and time.monotonic() - self._asked_at >= PAUSE_S:
            self._asked_at = time.monotonic()
            self._asking = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        try:
            body, fresh_s = await self._read()
            self._keys = read_keys(body, self._algorithms)
        except (Transient, OSError, Unreadable) as problem:
            log.warning("jwt.keys_not_read", extra={"reason": type(problem).__name__})
        else:
            self._told_at = time.monotonic()
            self._fresh_until = self._told_at + fresh_s
            log.info("jwt.keys_read", extra={"keys": len({id(one) for one in self._keys.values()})})
        finally:
            self._asking = None

    async def _read(self) -> tuple[bytes, float]:
        """(the key set as it is published, seconds it is fresh)."""
        if "://" not in self._source:
            return await asyncio.to_thread(Path(self._source).read_bytes), LEAST_FRESH_S
        answer = await self._transport.send("GET", self._source, write=False, headers={"accept": "application/json"})
        if answer.status != 200:
            raise Transient(f"The issuer answered {answer.status}.")
        return answer.body, fresh_for_s(answer.headers.get("cache-control", ""))


def fresh_for_s(cache_control: str) -> float:
    """How long an answer's keys are fresh: its max-age, from a minute to a day."""
    told = _MAX_AGE.search(cache_control)
    return min(max(float(told[1]), LEAST_FRESH_S), MOST_FRESH_S) if told else FRESH_S


def read_keys(body: bytes, algorithms: Collection[str]) -> Mapping[str | None, PyJWK]:
    """The keys of a set that sign by one of `algorithms`, by name; where there is only one, it is found under None too. Keys of
    other kinds are left out. Raises Unreadable."""
    told = parse_json(body)
    entries = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(entries, list):
        raise Unreadable("no key set")
    keys: list[PyJWK] = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = PyJWK(entry)
        except (PyJWTError, ValueError, TypeError, LookupError):
            continue
        if key.algorithm_name in algorithms and key.key_type != "oct":
            keys.append(key)
    named: dict[str | None, PyJWK] = {key.key_id: key for key in keys if isinstance(key.key_id, str)}
    return {**named, None: keys[0]} if len(keys) == 1 else named


def _caller(claims: Mapping[str, Any]) -> Caller:
    """Raises ValueError for claims that make no caller, and OverflowError or OSError for an end that no calendar has."""
    name = claims["sub"]
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise ValueError("sub")
    if "cnf" in claims:
        raise ValueError("a token that is bound to a key of its holder is no bearer token")
    return Caller(
        NAME + name,
        _scopes(claims),
        datetime.fromtimestamp(int(claims["exp"]) + LEEWAY_S, UTC),
        _budget(claims, "points_per_minute", MOST_POINTS),
        _budget(claims, "calls_per_minute", MOST_CALLS),
    )


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Our scopes among those that the claims name, in whichever way issuers write them."""
    found: set[str] = set()
    for claim in ("scope", "scp", "permissions"):
        told = claims.get(claim)
        words = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        found.update(one for one in words if isinstance(one, str))
    return frozenset(found & ALL)


def _budget(claims: Mapping[str, Any], claim: str, most: int) -> int | None:
    told = claims.get(claim)
    if told is None:
        return None
    if type(told) is not int or told < 1:
        raise ValueError(claim)
    return min(told, most)
