"""Responses that follow each other in one answer: written as events (the "distinct connections" mode of the graphql-sse protocol)
or as parts (gateway/multipart.py)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway import metrics
from gateway.asgi import CUT, Receive, Scope, Send, emptied, left, start
from gateway.errors import Told, tell_house_error
from gateway.events import ON_OVERFLOW, stopping, too_slow
from gateway.execution import Answer, write_json
from gateway.expiry import Expiry
from resolvers.context import Caller
from workers.watch import end

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
LAST_WORD_S = 1.0
DRAIN_S = 2.0
EXPIRED: Told = {"message": "This API key is no longer valid.", "extensions": {"code": "UNAUTHENTICATED"}}


class Framing(Protocol):
    """How responses are written. `silence` goes out after `silence_s` without any, so that nobody on the way takes the stream for
    dead; empty where clients could not read it."""

    content_type: str
    opening: bytes
    silence: bytes
    silence_s: float
    complete: bytes

    def each(self, body: bytes) -> bytes:
        """One response."""

    def last(self, error: Told, *, resumable: bool) -> bytes:
        """The end before its time; `resumable` where the client is to ask again."""


class Events:
    """Server-sent events."""

    content_type = "text/event-stream; charset=utf-8"
    opening = b""
    silence = b":\n\n"
    silence_s = HEARTBEAT_S
    complete = b"event: complete\ndata:\n\n"

    def each(self, body: bytes) -> bytes:
        """Our JSON has no line breaks."""
        return b"event: next\ndata: " + body + b"\n\n"

    def last(self, error: Told, *, resumable: bool) -> bytes:
        """No `complete`, which clients take for the end of the matter, where there is something to resume."""
        told = self.each(write_json({"errors": [error]}))
        return told if resumable else told + self.complete


EVENTS = Events()


@dataclass(eq=False, slots=True)
class Stream:
    """One stream, and whose it is. `stop` ends it from outside; `why` is what its client is then told."""

    framing: Framing
    caller: Caller
    authorization: str | None
    stop: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    why: bytes = b""
    slow: bool = False

    def cut_off(self) -> None:
        """Its queue has run over."""
        self.slow = True
        self.end(tell_house_error(too_slow()))

    def expired(self) -> None:
        """Its caller is nobody any more."""
        self.end(EXPIRED)

    def end(self, error: Told, *, resumable: bool = False) -> None:
        """End it, at the first call."""
        if not self.stop.done():
            self.why = self.framing.last(error, resumable=resumable)
            self.stop.set_result(None)

    def leave(self) -> None:
        """The server stops."""
        self.end(tell_house_error(stopping()), resumable=True)


class Streams:
    """All streams of a process. `silence_s` goes over the framings' own."""

    def __init__(self, expiry: Expiry, *, silence_s: float | None = None) -> None:
        self._expiry = expiry
        self._silence_s = silence_s
        self._open: set[Stream] = set()
        self._closing = False

    async def close(self) -> None:
        """End every stream; clients with a cursor resume elsewhere. Waits a moment for their last words."""
        self._closing = True
        for one in self._open:
            one.leave()
        await emptied(self._open, DRAIN_S)

    async def send_one(self, send: Send, body: bytes, headers: Mapping[str, str]) -> None:
        """A stream of one answer. Readers of event streams do not see the body of a 4xx, so refusals come this way too."""
        await _head(send, EVENTS, headers)
        await send({"type": "http.response.body", "body": EVENTS.each(body) + EVENTS.complete})

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        source: AsyncGenerator[Answer, None],
        headers: Mapping[str, str],
        one: Stream,
    ) -> None:
        """Stream what `source` gives until it ends, the client leaves, its key ends, or it reads too slowly."""
        self._open.add(one)
        if self._closing:
            one.leave()
        flow = asyncio.create_task(self._flow(one, send, source, headers))
        gone = asyncio.create_task(left(receive))
        watched = self._expiry.watch(one.authorization, one.caller, one.expired)
        try:
            await asyncio.wait({flow, gone, one.stop}, return_when=asyncio.FIRST_COMPLETED)
            if flow.done() and not one.stop.done():
                flow.result()
            elif not gone.done():
                await end([flow])
                await self._last_word(one, scope, send)
            else:
                metrics.LEFT.inc()
        finally:
            self._expiry.forget(watched)
            self._open.discard(one)
            await end([flow, gone])

    async def _flow(
        self, one: Stream, send: Send, source: AsyncGenerator[Answer, None], headers: Mapping[str, str]
    ) -> None:
        """Write responses as they come."""
        framing = one.framing
        silence_s = framing.silence_s if self._silence_s is None else self._silence_s
        await _head(send, framing, headers)
        ON_OVERFLOW.set(one.cut_off)
        line = _Line(send)
        breaking = asyncio.create_task(line.break_silence(framing.silence, silence_s))
        try:
            async with aclosing(source):
                async for answer in source:
                    await line.write(framing.each(answer.body))
        finally:
            await end([breaking])
        await send({"type": "http.response.body", "body": framing.complete})

    async def _last_word(self, one: Stream, scope: Scope, send: Send) -> None:
        """Say why the stream ends. Where the client does not read, our server puts it behind what it has not read yet, and
        leaves it a moment before it drops the connection."""
        if one.slow:
            metrics.CUT_OFF.labels("sse").inc()
            log.info("stream.cut_off")
            cut = (scope.get("extensions") or {}).get(CUT)
            if cut is not None:
                cut["call"](one.why)
                return
        message: dict[str, Any] = {"type": "http.response.body", "body": one.why}
        word = asyncio.create_task(_quietly(send, message))
        await asyncio.wait({word}, timeout=LAST_WORD_S)
        await end([word])


class _Line:
    """What is written to one client, one thing at a time, and when that was last."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._free = asyncio.Lock()
        self._written_at = time.monotonic()

    async def write(self, body: bytes) -> None:
        """Write it, after what is being written."""
        async with self._free:
            await _write(self._send, body)
        self._written_at = time.monotonic()

    async def break_silence(self, silence: bytes, silence_s: float) -> None:
        """Write it whenever nothing has been written for so long, for ever."""
        while True:
            left_s = self._written_at + silence_s - time.monotonic()
            if left_s > 0:
                await asyncio.sleep(left_s)
            else:
                await self.write(silence)


async def _quietly(send: Send, message: dict[str, Any]) -> None:
    """A last word to somebody who may have gone."""
    try:
        await send(message)
    except Exception as problem:
        log.debug("stream.last_word_lost", extra={"reason": type(problem).__name__})


async def _head(send: Send, framing: Framing, headers: Mapping[str, str]) -> None:
    told = {
        "content-type": framing.content_type,
        "x-accel-buffering": "no",  # else nginx keeps events until its buffer is full
        **headers,
    }
    await start(send, 200, told)
    await _write(send, framing.opening)


async def _write(send: Send, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})
