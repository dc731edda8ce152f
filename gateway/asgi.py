"""ASGI, as far as we speak it: read a body, send an answer, notice that the client went away."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, MutableMapping
from random import getrandbits
from typing import Any, TypeVar

from gateway.begun import Begun, within
from gateway.body import BadRequest
from workers.watch import end

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# What our own server offers by name (see `WHOLE`).
Whole = Mapping[str, Callable[..., Any]]

T = TypeVar("T")

# The scope's extension by which our server drops a client that does not read; its `call` takes the last words.
CUT = "acorn.cut"

# The scope's extension by which our server hands over a body that has arrived as a whole, and takes a whole answer of status 200
# at once: `body` is None, and `answer` False, where it has to be done in the usual way. In the moment in which there is a body an
# answer is taken too.
WHOLE = "acorn.whole"

# The scope's extension by which our server writes a text frame at once; its `call` takes the text in UTF-8, and is False, with
# nothing written, where that has to be done in the usual way.
TEXT = "acorn.text"

# Where the application leaves in a scope what it wants to know again of a request: when the very bytes of one that was answered
# at once come once more, our server does not read them again, and what was noted stands in the new scope too.
NOTED = "acorn.noted"

# Where a scope keeps its first headers by name, and its request's id, once they were asked for.
NAMED = "acorn.named"
ID = "acorn.id"

# Headers that decide who asks for what: where one is given twice, somebody on the way may have read the other.
ONCE = (b"authorization", b"content-type", b"origin")

BODY_S = 10.0

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

# Nothing of ours is framed, sniffed, cached or referred to; pages that show something loosen the policy for themselves.
SECURITY: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}


class ClientLeft(Exception):
    """The client went away before its answer."""


def header(scope: Scope, name: str) -> str | None:
    """The first header of this name, in lower case."""
    value = named(scope).get(name.encode())
    return None if value is None else value.decode("latin-1")


def listed(scope: Scope, name: str) -> str | None:
    """All headers of this name, in lower case, as the one list that they are together."""
    if len(named(scope)) == len(scope["headers"]):
        return header(scope, name)
    wanted = name.encode()
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == wanted]
    return ", ".join(values) if values else None


def named(scope: Scope) -> Mapping[bytes, bytes]:
    """The first header of each name, in lower case."""
    found: dict[bytes, bytes] | None = scope.get(NAMED)
    if found is None:
        found = scope[NAMED] = dict(reversed(scope["headers"]))
    return found


def request_id(scope: Scope) -> str:
    """The client's own id of the request where it is a sane one, else a new one."""
    id: str | None = scope.get(ID)
    if id is None:
        said = named(scope).get(b"x-request-id")
        given = None if said is None else said.decode("latin-1")
        id = scope[ID] = given if given is not None and _SANE_ID.fullmatch(given) else new_id()
    return id


def new_id() -> str:
    """An id that no other request has, and that need not be hard to guess."""
    return getrandbits(128).to_bytes(16, "big").hex()


def address(scope: Scope) -> str:
    """Where the request comes from; uvicorn has put a trusted proxy's word there."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def accepted_origin(scope: Scope, allowed: tuple[str, ...]) -> bool:
    """Whether a browser's page may speak to us: our own, an allowed one; programs send no origin."""
    origin = header(scope, "origin")
    if origin is None or origin in allowed:
        return True
    host = origin.partition("://")[2]
    return bool(host) and host == header(scope, "host")


def check_origin(scope: Scope, allowed: tuple[str, ...]) -> None:
    """Raises BadRequest for a page that may not speak to us."""
    if not accepted_origin(scope, allowed):
        raise BadRequest(
            "Pages of this origin may not ask here; ACORN_ALLOWED_ORIGINS names those that may.",
            status=403,
            code="ORIGIN_NOT_ALLOWED",
        )


def check_once(scope: Scope) -> None:
    """Raises BadRequest for two different headers of which one alone can be meant."""
    first = named(scope)
    if len(first) == len(scope["headers"]):
        return
    for name, value in scope["headers"]:
        if name in ONCE and value != first[name]:
            raise BadRequest(f"The header `{name.decode().title()}` is given twice; which one is meant?")


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises BadRequest with 413 beyond `limit` bytes and with 408 after ten seconds, and ClientLeft."""
    whole = our_server(scope)
    body: bytes | None = None if whole is None else whole["body"]()
    if body is not None and len(body) <= limit:
        return body
    try:
        return await within(BODY_S, _read_body(scope, receive, limit))
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


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T] | Begun[T]) -> T:
    """What `work` answers. When the client leaves first, the work is cancelled and ClientLeft raised.

    Work that has to wait for something is watched; most of it is done before that.
    """
    begun = work if isinstance(work, Begun) else Begun(work)
    if begun.done:
        value: T = begun.value
        return value
    task, gone = asyncio.current_task(), asyncio.ensure_future(left(receive))
    assert task is not None
    watching, cut = True, False

    def cancel(_: object) -> None:
        nonlocal cut
        if watching and not gone.cancelled():
            cut = True
            task.cancel()

    gone.add_done_callback(cancel)
    try:
        answer = await begun
    except asyncio.CancelledError:
        if cut and not task.uncancel():
            raise ClientLeft from None
        raise
    finally:
        watching = False
        await end([gone])
    if cut:  # and the work would not end for that
        task.uncancel()
        raise ClientLeft
    return answer


async def emptied(open: Collection[object], within_s: float) -> None:
    """Returns when nothing is open any more, or the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while open:  # noqa: ASYNC110  a set tells nobody, and a process stops once
                await asyncio.sleep(0.01)


def our_server(scope: Scope) -> Whole | None:
    """What our own server offers for a request that is answered as a whole; None from others (see `WHOLE`)."""
    offered: Whole | None = (scope.get("extensions") or {}).get(WHOLE)
    return offered


def head_lines(headers: Mapping[str, str]) -> str:
    """The header lines of an answer; `headers` go over our security headers."""
    return "".join([f"{name}: {value}\r\n" for name, value in {**SECURITY, **headers}.items()])


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """The head of an answer; `headers` go over our security headers."""
    told = {**SECURITY, **headers}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


async def respond(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """A whole answer."""
    await start(send, status, {**headers, "content-length": str(len(body))})
    await send({"type": "http.response.body", "body": body})
