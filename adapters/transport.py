"""The one HTTP client for upstreams: httpx in front, aiohttp's connections behind.

It makes each request exactly once and says what is known afterward: an answer; that nothing left the house; or that the
request was sent and its answer lost, which for a write means that nobody knows whether it happened.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import aiohttp
import httpx
import orjson
import yarl
from aiohttp.abc import AbstractResolver
from httpx_aiohttp import AiohttpTransport

from domain.errors import HouseError, OutcomeUnknown, Transient

log = logging.getLogger(__name__)

REQUEST_IDS = ("x-amzn-requestid", "x-request-id", "x-amz-rid")


class NothingSent(Transient):
    """No byte of the request left the house: no call was made, nothing counts against a limit."""


class Unreadable(ValueError):
    """A body that is not the JSON it should be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status. `request_id` is the platform's own name for the call."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    request_id: str | None

    def json(self) -> Any:
        """The body, parsed; see `parse_json`."""
        return parse_json(self.body)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and sizes. `pool_s` is the wait for a free connection, `total_s` bounds a request as a whole."""

    connect_s: float = 5.0
    pool_s: float = 10.0
    read_s: float = 30.0
    total_s: float = 60.0
    connections: int = 100
    connections_per_host: int = 50
    keepalive_s: float = 15.0
    body_bytes: int = 32 * 1024 * 1024


@dataclass(slots=True)
class _Attempt:
    """The request that this task is making: its URL, letter for letter; was it handed to aiohttp, did bytes of it leave?"""

    url: str
    made: bool = False
    sent: bool = False


_ATTEMPT: ContextVar[_Attempt] = ContextVar("_ATTEMPT")


@dataclass(frozen=True, slots=True)
class Call:
    """What a request is: whose operation, how many seconds it waited for its budget, and what it is known to be about."""

    channel: str
    operation: str
    waited_s: float = 0.0
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A call that has ended, for whoever watches: nothing of its address or its contents. `failure` is why there is no answer."""

    call: Call
    method: str
    host: str
    seconds: float
    status: int | None
    request_id: str | None
    failure: str | None


@dataclass(slots=True)
class Spoken:
    """All that was said in a call that has ended, tokens and buyers included: for whoever redacts it, and for nobody else.

    `at` is when it began, in seconds of the epoch. Headers are pairs as they went over the wire; those of an answer that never
    began are empty. `received` is None where no answer came to its end.
    """

    made: Made
    at: float
    write: bool
    url: str
    request_headers: Sequence[tuple[bytes, bytes]]
    sent: bytes | None
    response_headers: Sequence[tuple[bytes, bytes]]
    received: bytes | None


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body is still coming: `chunks` are its bytes as they are on the wire, neither unpacked nor kept."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport:
    """Shared by all channels of a process; keeps no cookies, follows no redirects, repeats nothing.

    `watch` is told of each call that has ended, and `hear` of all that was said in it. `resolver` looks names up. `wire` takes
    the place of the network in tests (`httpx.MockTransport`). `strangers` are called at addresses that others gave: the paths
    are secrets and not logged; answers are never unpacked, and what is beyond `body_bytes` of them is not read.
    """

    def __init__(
        self,
        *,
        limits: Limits = Limits(),
        watch: Callable[[Made], None] | None = None,
        hear: Callable[[Spoken], None] | None = None,
        wire: httpx.AsyncBaseTransport | None = None,
        resolver: AbstractResolver | None = None,
        strangers: bool = False,
    ) -> None:
        self._strangers = strangers
        self._watch = watch
        self._hear = hear
        # httpx logs whole URLs at INFO, and a query can name a buyer's order.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._limits = limits
        self._http = httpx.AsyncClient(
            transport=wire or _wire(limits, resolver),
            timeout=httpx.Timeout(limits.read_s, connect=limits.connect_s, pool=limits.pool_s),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
            trust_env=False,  # else a .netrc could put its own Authorization on a request
        )

    async def send(
        self,
        method: str,
        url: str,
        *,
        write: bool,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout_s: float | None = None,
        call: Call | None = None,
    ) -> Answer:
        """Make the request once. `url` comes with its query, percent-encoded, and goes out as it stands.

        `write`: does it change anything? `timeout_s` bounds the whole exchange. A request that is no `call` is watched by nobody.
        Raises NothingSent, which is Transient; Transient for reads whose answer was lost, OutcomeUnknown for such writes. Any
        status is an answer.
        """
        request = self._http.build_request(method, url, headers=headers, content=content)
        at, began = time.time(), time.monotonic()
        status: int | None = None
        request_id: str | None = None
        failure: str | None = "CancelledError"
        response_headers: Sequence[tuple[bytes, bytes]] = ()
        body: bytes | None = None
        attempt = _Attempt(str(request.url))
        token = _ATTEMPT.set(attempt)
        try:
            async with asyncio.timeout(timeout_s or self._limits.total_s):
                response = await self._http.send(request, stream=True)
                try:
                    status = response.status_code
                    response_headers = response.headers.raw
                    request_id = next(
                        (response.headers[name] for name in REQUEST_IDS if name in response.headers), None
                    )
                    body = await self._read(response)
                finally:
                    await response.aclose()
            failure = None
            return Answer(status, response.headers, body, request_id)
        except (httpx.HTTPError, aiohttp.ClientError, OSError, Unreadable) as problem:
            failure = type(problem).__name__
            # Their texts hold whole URLs, so only their names go on.
            if status is None and _nothing_left(attempt, problem):
                raise NothingSent(f"{request.url.host} cannot be reached ({type(problem).__name__}).") from None
            raise lost(write, f"{request.url.host}: {type(problem).__name__}", request_id) from None
        finally:
            _ATTEMPT.reset(token)
            seconds = time.monotonic() - began
            if call is not None and (self._watch is not None or self._hear is not None):
                made = Made(call, method, request.url.host, seconds, status, request_id, failure)
                if self._watch is not None:
                    self._watch(made)
                if self._hear is not None:
                    self._hear(
                        Spoken(made, at, write, attempt.url, request.headers.raw, content, response_headers, body)
                    )
            self._log(request, status, seconds, request_id)

    @asynccontextmanager
    async def stream(self, url: str, *, call: Call | None = None) -> AsyncIterator[Stream]:
        """GET `url`, which goes out as it stands and with no header of ours, and read its body as it comes, however long it is.

        Each piece may take `read_s`. Raises NothingSent and Transient, the latter out of `chunks` too. `hear` is not told of
        the body.
        """
        request = self._http.build_request("GET", url, headers={"accept": "*/*", "accept-encoding": "identity"})
        at, began = time.time(), time.monotonic()
        response: httpx.Response | None = None
        failure: str | None = "CancelledError"
        attempt = _Attempt(str(request.url))
        # Not for longer than the sending: whoever reads the body may do so from another task.
        token = _ATTEMPT.set(attempt)
        try:
            try:
                response = await self._http.send(request, stream=True)
            finally:
                _ATTEMPT.reset(token)
            yield Stream(response.status_code, response.headers, response.aiter_raw())
            failure = None
        except HouseError:
            failure = None  # the reader's own verdict on what came
            raise
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as problem:
            failure = type(problem).__name__
            if response is None and _nothing_left(attempt, problem):
                raise NothingSent(f"{request.url.host} cannot be reached ({failure}).") from None
            raise lost(False, f"{request.url.host}: {failure}") from None
        finally:
            if response is not None:
                await response.aclose()
            seconds, status = time.monotonic() - began, None if response is None else response.status_code
            if call is not None:
                made = Made(call, "GET", request.url.host, seconds, status, None, failure)
                if self._watch is not None:
                    self._watch(made)
                if self._hear is not None:
                    headers = () if response is None else response.headers.raw
                    self._hear(Spoken(made, at, False, attempt.url, request.headers.raw, None, headers, None))
            self._log(request, status, seconds, None)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _read(self, response: httpx.Response) -> bytes:
        body, most = bytearray(), self._limits.body_bytes
        async for part in response.aiter_raw() if self._strangers else response.aiter_bytes():
            body += part
            if len(body) > most:
                if not self._strangers:
                    raise Unreadable
                break
        return bytes(body[:most])

    def _log(self, request: httpx.Request, status: int | None, seconds: float, request_id: str | None) -> None:
        path = None if self._strangers else request.url.raw_path.partition(b"?")[0].decode("ascii")
        log.info(
            "upstream.called",
            extra={
                "method": request.method,
                "host": request.url.host,
                "path": path,
                "status": status,
                "seconds": round(seconds, 4),
                "upstream_request_id": request_id,
            },
        )


def lost(write: bool, what: str, request_id: str | None = None) -> OutcomeUnknown | Transient:
    """The error for a request that was sent and has no usable answer: a lost or cut one, a 5xx, a 2xx that makes no sense."""
    if write:
        return OutcomeUnknown(
            f"The write was sent and its outcome is unknown ({what}).", upstream_request_id=request_id
        )
    return Transient(f"There was no usable answer ({what}).", upstream_request_id=request_id)


def parse_json(body: bytes) -> Any:
    """JSON with every number that is not whole as Decimal. Raises Unreadable for anything else, and for a name given twice."""
    try:
        orjson.loads(body)  # refuses what the standard library lets pass: NaN, lone surrogates, bad UTF-8
        return json.loads(body, parse_float=Decimal, object_pairs_hook=_object)
    except (ValueError, RecursionError) as problem:
        raise Unreadable(f"not the JSON it should be: {type(problem).__name__}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Unreadable("a name is given twice")
    return members


def _nothing_left(attempt: _Attempt, problem: Exception) -> bool:
    """Is it certain that no byte of the request was sent? In doubt, no.

    Errors do not tell: the bridge to aiohttp calls a connection that was closed before the answer a ConnectTimeout.
    """
    if attempt.made:
        return not attempt.sent
    return isinstance(
        problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol
    )


def _wire(limits: Limits, resolver: AbstractResolver | None) -> AiohttpTransport:
    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=limits.connections,
            limit_per_host=limits.connections_per_host,
            keepalive_timeout=limits.keepalive_s,
            ttl_dns_cache=60,
            resolver=resolver,
            ssl=wire.ssl_context,
        )
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_sent)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_once,),
            trace_configs=[trace],
        )

    wire = AiohttpTransport(client=session)
    return wire


async def _note_sent(*_: object) -> None:
    """Called by aiohttp on a ready connection, just before the first byte is written."""
    _ATTEMPT.get().sent = True


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Undo two kindnesses of aiohttp.

    It sends a GET, PUT or DELETE again by itself when a kept connection turns out to be closed: a call the budget never
    granted, and a write done twice. And it writes `%2C` as `,`, which splits a SKU that holds a comma.
    """
    attempt = _ATTEMPT.get()
    if attempt.made:
        raise aiohttp.ServerDisconnectedError
    attempt.made = True
    request.url = yarl.URL(attempt.url, encoded=True)
    return await handler(request)
