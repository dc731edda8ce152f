"""ASGI, as far as we speak it: read a body, send an answer, notice that the client went away."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, MutableMapping
from typing import Any, TypeVar
from uuid import uuid4

from gateway.body import BadRequest
from workers.watch import end

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

T = TypeVar("T")

# The scope's extension by which our server drops a client that does not read; its `call` takes the last words.
CUT = "acorn.cut"

BODY_S = 10.0

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

# Nothing of ours is framed, sniffed, cached or referred to; pages that show something loosen the policy for themselves.
SECURITY: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


class ClientLeft(Exception):
    """The client went away before its answer."""


def header(scope: Scope, name: str) -> str | None:
    """The first header of this name, in lower case."""
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == wanted), None)


def request_id(scope: Scope) -> str:
    """The client's own id of the request where it is a sane one, else a new one."""
    given = header(scope, "x-request-id")
    return given if given is not None and _SANE_ID.fullmatch(given) else uuid4().hex


def address(scope: Scope) -> str:
    """Where the request comes from; uvicorn has put a trusted proxy's word there."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def accepted_origin(scope: Scope, allowed: tuple[str, ...]) -> bool:
    """Whether a browser's page may speak to us: our own, an allowed one; programs send no origin."""
    origin = header(scope, "origin")
    if origin is None or origin in allowed:
        return True
    return origin.partition("://")[2] == header(scope, "host")


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises BadRequest with 413 beyond `limit` bytes and with 408 after ten seconds, and ClientLeft."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _read_body(scope, receive, limit)
    except TimeoutError:
        raise BadRequest(
            f"The body did not arrive within {BODY_S:g} s.",
            status=408,
            code="BODY_TOO_SLOW",
            headers={"connection": "close"},
        ) from None


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    told = header(scope, "content-length") or ""
    if told.isascii() and told.isdigit() and (len(told) > 18 or int(told) > limit):
        raise _too_large(limit)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(limit: int) -> BadRequest:
    return BadRequest(
        f"The body is larger than {limit // 1024} KiB. Send less at a time.",
        status=413,
        code="BODY_TOO_LARGE",
        headers={"connection": "close"},
    )


async def left(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` answers. When the client leaves first, the work is cancelled and ClientLeft raised."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(left(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        return task.result()
    finally:
        await end([task, gone])


async def emptied(open: Collection[object], within_s: float) -> None:
    """Returns when nothing is open any more, or the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while open:  # noqa: ASYNC110  a set tells nobody, and a process stops once
                await asyncio.sleep(0.01)


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """The head of an answer; `headers` go over our security headers."""
    told = {**SECURITY, **headers}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


async def respond(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """A whole answer."""
    await start(send, status, {**headers, "content-length": str(len(body))})
    await send({"type": "http.response.body", "body": body})
