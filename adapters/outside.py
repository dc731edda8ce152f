"""Calls to addresses that others gave us: the machine that is connected to is the very one that was judged.

A name is looked up by us, each of its addresses is judged (`domain.target`), and the connection is made to these addresses and to
no other, under the name's own certificate. One that leads elsewhere a moment later changes nothing. Nothing is followed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from adapters.redact import redacted
from adapters.transport import Answer, Call, Limits, Made, NothingSent, Spoken, Transport
from domain.errors import Invalid
from domain.target import Reach, Target, read_target, refusal

ANSWER_BYTES = 64 * 1024
KEPT_CHARS = 1_024
LOOKUP_S = 5.0
# Threads of their own: names whose servers never answer hold up nothing else. Each of those takes one until the system gives up
# on it; there are as many as there can be names being called at once, and none before it is needed.
_LOOKUPS = ThreadPoolExecutor(500, thread_name_prefix="lookup")

Lookup: TypeAlias = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host; raises OSError where it has none."""


class _Refused(OSError):
    """An address that is not called."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Guard(AbstractResolver):
    """Judges addresses, when they are given and whenever they are connected to."""

    def __init__(self, reach: Reach, lookup: Lookup | None = None) -> None:
        self.reach = reach
        self._lookup = lookup or _addresses
        # By host: who asks for one that is being looked up waits for the same answer.
        self._looking: dict[str, asyncio.Future[list[str]]] = {}
        # By host: why the last look refused it.
        self.refused: dict[str, str] = {}

    async def check(self, url: str) -> Target:
        """What `url` says, once all that it leads to now may be called. Raises Invalid."""
        target = read_target(url, self.reach)
        try:
            async with asyncio.timeout(LOOKUP_S):
                await self._judged(target.host, target.port)
        except _Refused as problem:
            raise _told(problem.why) from None
        except (OSError, TimeoutError, UnicodeError):
            raise _told(f"{target.host} leads to no address just now") from None
        return target

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """For aiohttp, which connects to nothing else. Raises OSError."""
        self.refused.pop(host, None)
        try:
            found = await self._judged(host, port)
        except _Refused as problem:
            self.refused[host] = problem.why
            raise
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for one in found
        ]

    async def close(self) -> None:
        """Nothing is held."""

    async def _judged(self, host: str, port: int) -> list[str]:
        found = await self._found(host, port)
        for one in found:
            # One bad address is enough: who sets such a name up means no good.
            if (why := refusal(one, self.reach, host, port)) is not None:
                raise _Refused(why)
        if not found:
            raise OSError(f"{host} has no address")
        return found

    async def _found(self, host: str, port: int) -> list[str]:
        look = self._looking.get(host)
        if look is None:
            look = self._looking[host] = asyncio.ensure_future(self._lookup(host, port))
            look.add_done_callback(partial(self._looked, host))
        # It goes on when who asked has given up: a thread cannot be stopped, and the next takes it up.
        return await asyncio.shield(look)

    def _looked(self, host: str, look: asyncio.Future[list[str]]) -> None:
        del self._looking[host]
        if not look.cancelled():
            look.exception()


class Outside:
    """Posts to addresses that others gave us, each once."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        # Who posts says how many at once; those that hang must not take up the connections of others.
        limits = Limits(connections=0, connections_per_host=0, body_bytes=ANSWER_BYTES)
        self._transport = Transport(limits=limits, resolver=guard, strangers=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        """What was answered; `timeout_s` bounds all of it. Raises Invalid for what is not called, NothingSent, OutcomeUnknown."""
        target = read_target(url, self._guard.reach)
        sent = {**headers, "accept-encoding": "identity"}
        try:
            return await self._transport.send("POST", url, write=True, headers=sent, content=body, timeout_s=timeout_s)
        except NothingSent:
            if (why := self._guard.refused.get(target.host)) is not None:
                raise _told(why) from None
            raise

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()


def excerpt(answer: Answer) -> str | None:
    """The beginning of what a failure said, redacted as the log of calls is."""
    made = Made(Call("webhook", "deliver"), "POST", "", 0.0, answer.status, None, None)
    # Strangers may write anything into a header.
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in answer.headers.items()]
    said = redacted(Spoken(made, 0.0, True, "https://outside/", (), None, headers, answer.body)).response
    return None if said is None else said[:KEPT_CHARS]


def retry_after_s(headers: Mapping[str, str], most_s: float) -> float:
    """`Retry-After`, in seconds or as a date (RFC 9110), `most_s` at most; 0 without one that can be read."""
    told = headers.get("Retry-After", "").strip()
    try:
        seconds = float(told) if told.isascii() and told.isdigit() else _until(told)
    except (ValueError, OverflowError):
        return 0.0
    return min(most_s, max(0.0, seconds))


def _until(told: str) -> float:
    at = parsedate_to_datetime(told)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


async def _addresses(host: str, port: int) -> list[str]:
    look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _told(why: str) -> Invalid:
    return Invalid(f"This address is not called: {why}.", field=("url",))
