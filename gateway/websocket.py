"""GraphQL over WebSocket, the graphql-transport-ws protocol and no other.

Each operation is a task of its own and writes its events itself, one at a time: a client that does not read holds up its own
operations and nothing else, and is let go once one of them has fallen a whole queue behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from gateway import metrics
from gateway.admission import Admission
from gateway.asgi import (
    CUT,
    TEXT,
    ClientLeft,
    Receive,
    Scope,
    Send,
    accepted_origin,
    address,
    emptied,
    header,
    request_id,
)
from gateway.auth import Keys
from gateway.body import BadRequest, Request, parse_json, read_request
from gateway.errors import Told, tell, tell_house_error, unavailable
from gateway.events import ON_OVERFLOW, stopping
from gateway.execution import Executor, Run, write_json
from gateway.expiry import Expiry, Watched
from gateway.plan import Rejected
from gateway.turns import Turns
from resolvers.context import Caller
from workers.watch import end

log = logging.getLogger(__name__)

PROTOCOL = "graphql-transport-ws"
OPENING = 20  # connections that are accepted in one turn of the loop
INIT_S = 5.0
PING_S = 20.0
MOST_OPERATIONS = 100
LONGEST_ID = 256
# So many turns of the loop after a limit, whatever had arrived by then has been read.
TURNS = 3
# A close frame has room for so many bytes.
LONGEST_REASON = 123
LAST_WORD_S = 1.0
DRAIN_S = 2.0
GOING_AWAY = 1001
INTERNAL = 4500
CUT_OFF = 4900


@dataclass(frozen=True, slots=True)
class Pace:
    """The protocol's clocks, in seconds."""

    init_s: float = INIT_S
    ping_s: float = PING_S  # between two pings, and for the answer to each


def _nothing() -> None:
    """Nothing is expected."""


class Close(Exception):
    """The connection ends with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason.encode()[:LONGEST_REASON].decode(errors="ignore")


def _going_away() -> Close:
    return Close(GOING_AWAY, "The gateway is stopping; connect again")


def _forbidden() -> Close:
    return Close(4403, "Forbidden: the key is no longer valid")


def malformed(reason: str) -> Close:
    """A frame that is not of the protocol."""
    return Close(4400, reason)


class Sockets:
    """All connections of a process."""

    def __init__(
        self,
        admission: Admission,
        executor: Executor,
        keys: Keys,
        expiry: Expiry,
        *,
        deadline_s: float = 10.0,
        allowed_origins: tuple[str, ...] = (),
        pace: Pace = Pace(),
    ) -> None:
        self.admission = admission
        self.executor = executor
        self.keys = keys
        self.expiry = expiry
        self.deadline_s = deadline_s
        self.pace = pace
        self._allowed_origins = allowed_origins
        self._open: set[_Connection] = set()
        self._closing = False
        self._turns = Turns(OPENING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        await self._turns.next()
        if not accepted_origin(scope, self._allowed_origins):
            await send({"type": "websocket.close", "code": 1008})  # before the handshake: a 403
            return
        if PROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4406, "reason": f"Speak {PROTOCOL}"})
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        connection = _Connection(self, scope, receive, send)
        self._open.add(connection)
        if self._closing:
            connection.end(_going_away())
        metrics.SOCKETS.inc()
        try:
            await connection.run()
        finally:
            self._open.discard(connection)
            metrics.SOCKETS.dec()

    async def close(self) -> None:
        """Close every connection; clients with a cursor resume elsewhere. Waits a moment for their last words."""
        self._closing = True
        for one in self._open:
            one.end(_going_away())
        await emptied(self._open, DRAIN_S)


class _Connection:
    def __init__(self, house: Sockets, scope: Scope, receive: Receive, send: Send) -> None:
        self._house = house
        self._scope = scope
        self._receive = receive
        self._send_raw = send
        self._authorization: str | None = header(scope, "authorization")
        self._wants_bill = header(scope, "x-acorn-bill") == "1"
        self._init_seen = False
        self._acknowledged = False
        self._text: Callable[[bytes], bool] | None = (scope.get("extensions") or {}).get(TEXT, {}).get("call")
        self._due: asyncio.Handle | None = None
        self._watched: Watched | None = None
        self._ping: asyncio.Task[None] | None = None
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._line = asyncio.Lock()
        self._ended: asyncio.Future[Close | None] = asyncio.get_running_loop().create_future()
        self._id = request_id(scope)

    async def run(self) -> None:
        """Until one side ends it."""
        self._expect(self._house.pace.init_s, self._late, self._uninitialized)
        reader = asyncio.create_task(self._guarded(self._read))
        try:
            close = await self._ended
        finally:
            operations = dict(self._operations)
            try:
                await end([reader, *([] if self._ping is None else [self._ping]), *operations.values()])
            finally:
                self._expect(None)
                if self._watched is not None:
                    self._house.expiry.forget(self._watched)
        if close is not None:
            await self._close(close, list(operations))

    def end(self, close: Close | None) -> None:
        """End the connection, at the first call; None when the client is gone already."""
        if not self._ended.done():
            self._ended.set_result(close)

    def _cut_off(self) -> None:
        """An operation's queue has run over."""
        self.end(Close(CUT_OFF, "resume after your last cursor"))

    def _expired(self) -> None:
        self.end(_forbidden())

    def _uninitialized(self) -> None:
        self.end(Close(4408, "Connection initialisation timeout"))

    def _unanswered(self) -> None:
        self.end(Close(4408, "No pong came in time"))

    def _expect(self, within_s: float | None, otherwise: Callable[..., None] = _nothing, *told: object) -> None:
        """What happens in so many seconds unless something else is expected first; None for nothing."""
        if self._due is not None:
            self._due.cancel()
        self._due = None if within_s is None else asyncio.get_running_loop().call_later(within_s, otherwise, *told)

    def _late(self, otherwise: Callable[[], None], turns: int = TURNS) -> None:
        """A client has let its time pass, unless what it sent in time waits to be read, since this process was busy."""
        if turns == 0:
            otherwise()
        else:
            self._due = asyncio.get_running_loop().call_soon(self._late, otherwise, turns - 1)

    async def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            await work()
        except Close as problem:
            self.end(problem)
        except ClientLeft as problem:
            log.debug("socket.left", extra={"request_id": self._id, "reason": type(problem.__cause__).__name__})
            self.end(None)
        except Exception:
            log.exception("socket.failed", extra={"request_id": self._id})
            self.end(Close(INTERNAL, "Internal server error"))

    async def _close(self, close: Close, running: list[str]) -> None:
        """Say why. Where the client does not read, our server puts the frame behind what it has not read yet, and leaves it a
        moment before it drops the connection."""
        log.info("socket.closed", extra={"request_id": self._id, "code": close.code})
        if close.code == CUT_OFF:
            metrics.CUT_OFF.labels("websocket").inc()
            cut = (self._scope.get("extensions") or {}).get(CUT)
            if cut is not None:
                cut["call"](close.code, close.reason)
                return
        # No `complete`, which clients take for the end of the matter.
        why = [tell_house_error(stopping())]
        frames = [_text({"id": id, "type": "error", "payload": why}) for id in running if close.code == GOING_AWAY]
        frames.append({"type": "websocket.close", "code": close.code, "reason": close.reason})
        words = asyncio.create_task(self._last_words(frames))
        await asyncio.wait({words}, timeout=LAST_WORD_S)
        await end([words])

    async def _last_words(self, frames: list[dict[str, Any]]) -> None:
        try:
            for frame in frames:
                await self._send_raw(frame)
        except Exception as problem:
            log.debug("socket.last_word_lost", extra={"reason": type(problem).__name__})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(write_json(message))

    async def _send_text(self, text: bytes) -> None:
        try:
            if self._text is None or self._line.locked() or not self._text(text):
                async with self._line:
                    await self._send_raw({"type": "websocket.send", "text": text.decode()})
        except (OSError, RuntimeError) as problem:
            # uvicorn's own exception for it is private and an OSError; behind a close frame it is a RuntimeError, as is uvloop's.
            raise ClientLeft from problem

    async def _read(self) -> None:
        while True:
            frame = await self._receive()
            if frame["type"] == "websocket.disconnect":
                self.end(None)
                return
            await self._take(_message(frame))

    async def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connection_init":
                await self._init(message)
            case "ping":
                payload = _payload(message)
                await self._send({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})
            case "pong":
                _payload(message)
                if self._ping is not None and self._ping.done():
                    self._ping = None
                    self._expect(self._house.pace.ping_s, self._start_ping)
            case "subscribe":
                self._subscribe(message)
            case "complete":
                task = self._operations.pop(_id(message), None)
                if task is not None:
                    await end([task])
            case _:
                raise malformed("Unknown message type")

    async def _init(self, message: dict[str, Any]) -> None:
        if self._init_seen:
            raise Close(4429, "Too many initialisation requests")
        self._init_seen = True
        self._expect(None)
        payload = _payload(message) or {}
        given = payload.get("Authorization", payload.get("authorization"))
        if isinstance(given, str):
            self._authorization = given
        if payload.get("X-Acorn-Bill") in ("1", 1):
            self._wants_bill = True
        try:
            caller = await self._house.keys.caller(self._authorization, address(self._scope))
        except BadRequest as problem:
            if problem.status == HTTPStatus.UNAUTHORIZED:
                code, reason = (4403, "Forbidden") if self._authorization else (4401, "Unauthorized")
                raise Close(code, reason) from None
            raise Close(1013, problem.message) from None
        await self._send({"type": "connection_ack"})
        self._acknowledged = True
        self._watched = self._house.expiry.watch(self._authorization, caller, self._expired)
        self._expect(self._house.pace.ping_s, self._start_ping)

    def _start_ping(self) -> None:
        """Keeps the connection alive in the eyes of everything between, and finds clients that live no more behind a proxy that
        does."""
        self._expect(self._house.pace.ping_s, self._late, self._unanswered)
        self._ping = asyncio.create_task(self._guarded(lambda: self._send({"type": "ping"})))

    def _subscribe(self, message: dict[str, Any]) -> None:
        if not self._acknowledged:
            raise Close(4401, "Unauthorized")
        id = _id(message)
        if id in self._operations:
            raise Close(4409, f"Subscriber for {id} already exists")
        try:
            request = read_request(message.get("payload"))
        except BadRequest as problem:
            raise malformed(problem.message) from None
        if len(self._operations) >= MOST_OPERATIONS:
            raise Close(4429, f"More than {MOST_OPERATIONS} operations on one connection")
        task = asyncio.create_task(self._guarded(lambda: self._operate(id, request)))
        self._operations[id] = task
        task.add_done_callback(lambda done: self._over(id, done))

    def _over(self, id: str, task: asyncio.Task[None]) -> None:
        if self._operations.get(id) is task:
            del self._operations[id]

    async def _operate(self, id: str, request: Request) -> None:
        caller = await self._still_caller()
        if caller is None:
            await self._finish(id, "error", [unavailable()])
            return
        try:
            plan = await self._house.admission.plan(request, caller)
            charge = await self._house.admission.admit(plan, request.variables, caller, explain=request.explain)
        except Rejected as problem:
            await self._finish(id, "error", [tell(problem.error, self._id)])
            return
        run = Run(plan, request.variables, caller, self._id, self._house.deadline_s, self._wants_bill, charge=charge)
        ON_OVERFLOW.set(self._cut_off)
        begin = write_json({"id": id, "type": "next"})[:-1] + b',"payload":'
        async with aclosing(self._house.executor.stream(run)) as source:
            async for answer in source:
                if not answer.executed:
                    # That has a message type of its own, and is the end.
                    await self._finish(id, "error", answer.errors)
                    return
                await self._send_text(b"%b%b}" % (begin, answer.body))
        await self._finish(id, "complete")

    async def _still_caller(self) -> Caller | None:
        """Whose key it is, asked anew for each operation; None while the database is away. Raises Close for a key gone bad."""
        try:
            return await self._house.keys.caller(self._authorization, address(self._scope))
        except BadRequest as problem:
            if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
                return None
            raise _forbidden() from None

    async def _finish(self, id: str, type: str, payload: Sequence[Told] | None = None) -> None:
        """The operation's id is free again before the client reads that it has ended."""
        self._operations.pop(id, None)
        await self._send({"id": id, "type": type, **({} if payload is None else {"payload": payload})})


def _text(message: dict[str, Any]) -> dict[str, Any]:
    return {"type": "websocket.send", "text": write_json(message).decode()}


def _message(frame: Any) -> dict[str, Any]:
    """A frame as a message of the protocol. Raises Close 4400."""
    text = frame.get("text")
    if text is None:
        raise malformed("Frames must be text")
    try:
        message = parse_json(text.encode())
    except (BadRequest, UnicodeEncodeError):
        raise malformed("The frame must be JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise malformed("The frame must be an object with a type")
    return message


def _id(message: dict[str, Any]) -> str:
    """The operation's id. Raises Close 4400."""
    id = message.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID:
        raise malformed(f"The message must have an id of 1 to {LONGEST_ID} characters")
    return id


def _payload(message: dict[str, Any]) -> dict[str, Any] | None:
    """What comes with a message of the connection itself. Raises Close 4400."""
    payload = message.get("payload")
    if not isinstance(payload, dict | None):
        raise malformed(f"The payload of {message['type']} must be an object")
    return payload
