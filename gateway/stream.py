"""Server-sent events, one operation per connection (the "distinct connections" mode of the graphql-sse protocol)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from gateway import metrics
from gateway.asgi import CUT, Receive, Scope, Send, emptied, header, left, start
from gateway.auth import Keys
from gateway.errors import Told, tell_house_error
from gateway.events import ON_OVERFLOW, stopping, too_slow
from gateway.execution import Answer, write_json
from workers.watch import end

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
RECHECK_S = 60.0
LAST_WORD_S = 1.0
DRAIN_S = 2.0
COMPLETE = b"event: complete\ndata:\n\n"


def event(body: bytes) -> bytes:
    """One response as an event. Our JSON has no line breaks."""
    return b"event: next\ndata: " + body + b"\n\n"


def _error(error: Told) -> bytes:
    """An event that tells an error and nothing else."""
    return event(write_json({"errors": [error]}))


@dataclass(eq=False, slots=True)
class _Open:
    """One stream. `stop` ends it from outside; `why` are the last events that it is then told.

    Unless something else is wrong that is the server's own stop, and then no `complete`, which clients take for the end of the
    matter, where there is something to resume.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    why: bytes = field(default_factory=lambda: _error(tell_house_error(stopping())))
    slow: bool = False

    def cut_off(self) -> None:
        """Its queue has run over."""
        self.slow = True
        self.why = _error(tell_house_error(too_slow())) + COMPLETE
        self.stop.set()


class Streams:
    """All streams of a process."""

    def __init__(self, keys: Keys, *, heartbeat_s: float = HEARTBEAT_S, recheck_s: float = RECHECK_S) -> None:
        self._keys = keys
        self._heartbeat_s = heartbeat_s
        self._recheck_s = recheck_s
        self._open: set[_Open] = set()
        self._closing = False

    async def close(self) -> None:
        """End every stream; clients with a cursor resume elsewhere. Waits a moment for their last words."""
        self._closing = True
        for one in self._open:
            one.stop.set()
        await emptied(self._open, DRAIN_S)

    async def send_one(self, send: Send, body: bytes, headers: Mapping[str, str]) -> None:
        """A stream of one answer. Readers of event streams do not see the body of a 4xx, so refusals come this way too."""
        await _head(send, headers)
        await send({"type": "http.response.body", "body": event(body) + COMPLETE})

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        source: AsyncGenerator[Answer, None],
        headers: Mapping[str, str],
    ) -> None:
        """Stream what `source` gives until it ends, the client leaves, its key is revoked, or it reads too slowly."""
        one = _Open()
        self._open.add(one)
        if self._closing:
            one.stop.set()
        flow = asyncio.create_task(self._flow(one, send, source, headers))
        gone = asyncio.create_task(left(receive))
        stopped = asyncio.create_task(one.stop.wait())
        watch = asyncio.create_task(self._watch(one, header(scope, "authorization")))
        try:
            await asyncio.wait({flow, gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if flow.done() and not one.stop.is_set():
                flow.result()
            elif not gone.done():
                await end([flow])
                await self._last_word(one, scope, send)
            else:
                metrics.LEFT.inc()
        finally:
            self._open.discard(one)
            await end([flow, gone, stopped, watch])

    async def _flow(
        self, one: _Open, send: Send, source: AsyncGenerator[Answer, None], headers: Mapping[str, str]
    ) -> None:
        """Write events as they come, and a comment where none comes, so that nobody on the way takes the stream for dead."""
        await _head(send, headers)
        ON_OVERFLOW.set(one.cut_off)
        async with aclosing(source):
            pull: asyncio.Task[Answer] | None = None
            try:
                while True:
                    pull = pull or asyncio.create_task(_pulled(source))
                    done, _ = await asyncio.wait({pull}, timeout=self._heartbeat_s)
                    if not done:
                        await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
                        continue
                    try:
                        answer = pull.result()
                    except _Ended:
                        break
                    pull = None
                    await send({"type": "http.response.body", "body": event(answer.body), "more_body": True})
            finally:
                if pull is not None:
                    await end([pull])
        await send({"type": "http.response.body", "body": COMPLETE})

    async def _last_word(self, one: _Open, scope: Scope, send: Send) -> None:
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

    async def _watch(self, one: _Open, authorization: str | None) -> None:
        """A key may be revoked while its stream runs."""
        while True:
            await asyncio.sleep(self._recheck_s)
            if not await self._keys.still_valid(authorization):
                error = {"message": "This API key is no longer valid.", "extensions": {"code": "UNAUTHENTICATED"}}
                one.why = _error(error) + COMPLETE
                one.stop.set()
                return


class _Ended(Exception):
    """The source has no more. StopAsyncIteration cannot leave a task."""


async def _pulled(source: AsyncGenerator[Answer, None]) -> Answer:
    try:
        return await anext(source)
    except StopAsyncIteration:
        raise _Ended from None


async def _quietly(send: Send, message: dict[str, Any]) -> None:
    """A last word to somebody who may have gone."""
    try:
        await send(message)
    except Exception as problem:
        log.debug("stream.last_word_lost", extra={"reason": type(problem).__name__})


async def _head(send: Send, headers: Mapping[str, str]) -> None:
    await start(
        send,
        200,
        {
            "content-type": "text/event-stream; charset=utf-8",
            "x-accel-buffering": "no",  # else nginx keeps events until its buffer is full
            **headers,
        },
    )
