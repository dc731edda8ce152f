"""Server-sent events for many operations over one connection (the "single connection mode" of the graphql-sse protocol), for
browsers, which allow few connections to a server that speaks HTTP/1.1.

PUT reserves a stream and answers its token; GET with the token opens it, once; POST starts an operation whose responses come by
the stream, under the id that it names; DELETE ends one. A stream lives in one process, and as long as its connection.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from graphql import GraphQLError

from domain.budget import Bill
from gateway import metrics
from gateway.accept import plain_form
from gateway.admission import Admission
from gateway.asgi import (
    ClientLeft,
    Receive,
    Scope,
    Send,
    address,
    check_once,
    check_origin,
    header,
    listed,
    read_body,
    request_id,
    respond,
)
from gateway.auth import Keys
from gateway.body import BadRequest, check_content_type, parse_json, read_request
from gateway.cors import cors
from gateway.endpoint import Endpoint, Terms, deadline_s
from gateway.errors import Told, tell, tell_exception
from gateway.events import ON_OVERFLOW
from gateway.execution import Answer, Executor, Run, write_json
from gateway.plan import Rejected
from gateway.stream import Events, Stream, Streams
from resolvers.context import Caller
from workers.watch import end

log = logging.getLogger(__name__)

PATH = "/graphql/stream"
METHODS = "GET, HEAD, POST, PUT, DELETE"
TICKET = "x-graphql-event-stream-token"
RESERVED_S = 30.0
MOST_RESERVED = 100  # by one caller, and not opened yet
MOST_OPERATIONS = 100
LONGEST_ID = 256
QUEUE = 16


def _event(name: str, told: bytes) -> bytes:
    return f"event: {name}\ndata: ".encode() + told + b"\n\n"


class _Events(Events):
    """Events that name their operation, and so are written by whoever runs it. `operations` are those that run."""

    opening = b":\n\n"  # some browsers take a stream for open only then
    complete = b""

    def __init__(self, operations: dict[str, asyncio.Task[None] | None]) -> None:
        self._operations = operations

    def each(self, body: bytes) -> bytes:
        """They are events already."""
        return body

    def last(self, error: Told, *, resumable: bool) -> bytes:
        """Every operation is told; see Events about the end."""
        told = write_json({"errors": [error]})
        ends = b"".join(
            _next(id, told) + (b"" if resumable else _event("complete", write_json({"id": id})))
            for id in self._operations
        )
        return ends or super().each(told)


def _next(id: str, payload: bytes) -> bytes:
    return _event("next", write_json({"id": id})[:-1] + b',"payload":' + payload + b"}")


@dataclass(eq=False, slots=True)
class _Line:
    """One reserved stream. An operation is None while it is being admitted."""

    stream: Stream
    operations: dict[str, asyncio.Task[None] | None]
    lapse: asyncio.TimerHandle | None = None
    opened: bool = False
    # As far as the client has fallen behind; then the operations wait, and overflow on their own.
    events: asyncio.Queue[Answer] = field(default_factory=lambda: asyncio.Queue(QUEUE))

    async def run(self, id: str, responses: AsyncGenerator[Answer, None], request_id: str) -> None:
        """Write the responses of one operation, and in any case that it has ended. Its id is free again before the client reads
        that."""
        ON_OVERFLOW.set(self.stream.cut_off)
        try:
            async with aclosing(responses):
                async for answer in responses:
                    await self.events.put(Answer(_next(id, answer.body)))
        except Exception as problem:
            await self.events.put(Answer(_next(id, Answer.failure(tell_exception(problem, request_id)).body)))
        self.operations.pop(id, None)
        await self.events.put(Answer(_event("complete", write_json({"id": id}))))

    async def source(self) -> AsyncGenerator[Answer, None]:
        """All that is written, for ever."""
        while True:
            yield await self.events.get()


class SingleStreams:
    """Answers PUT, GET, POST and DELETE of /graphql/stream. An operation without a token is answered by itself (`endpoint`)."""

    def __init__(
        self,
        admission: Admission,
        executor: Executor,
        keys: Keys,
        streams: Streams,
        endpoint: Endpoint,
        terms: Terms,
        *,
        reserved_s: float = RESERVED_S,
    ) -> None:
        self._admission = admission
        self._executor = executor
        self._keys = keys
        self._streams = streams
        self._endpoint = endpoint
        self._terms = terms
        self._reserved_s = reserved_s
        self._lines: dict[str, _Line] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = header(scope, TICKET) or _parameter(scope, "token")
        if token is None and scope["method"] in ("GET", "HEAD", "POST"):
            await self._endpoint(scope, receive, send)
            return
        try:
            check_once(scope)
            check_origin(scope, self._terms.allowed_origins)
            match scope["method"]:
                case "PUT":
                    await self._reserve(scope, send)
                case "GET":
                    await self._open(scope, receive, send, token or "")
                case "POST":
                    await self._start(scope, receive, send, token or "")
                case "HEAD":
                    error = GraphQLError("Open a stream by GET.", extensions={"code": "METHOD_NOT_ALLOWED"})
                    await self._refuse(scope, send, 405, error, allow="GET, POST, DELETE")
                case _:
                    await self._end(scope, send, token or "")
        except ClientLeft:
            metrics.LEFT.inc()
        except BadRequest as problem:
            error = GraphQLError(problem.message, extensions={"code": problem.code})
            await self._refuse(scope, send, problem.status, error, **problem.headers)

    async def close(self) -> None:
        """Forget every stream; those that are open have been ended by then."""
        for token in list(self._lines):
            await self._forget(token)

    async def _caller(self, scope: Scope) -> Caller:
        return await self._keys.caller(header(scope, "authorization"), address(scope))

    async def _line(self, scope: Scope, token: str) -> tuple[_Line, Caller]:
        """The caller's stream of this token. Raises BadRequest."""
        caller = await self._caller(scope)
        line = self._lines.get(token)
        if line is None or line.stream.caller.name != caller.name:
            raise _unknown()
        return line, caller

    async def _reserve(self, scope: Scope, send: Send) -> None:
        caller = await self._caller(scope)
        waiting = [one for one in self._lines.values() if not one.opened and one.stream.caller.name == caller.name]
        if len(waiting) >= MOST_RESERVED:
            raise BadRequest("Too many streams are reserved and not opened.", status=429, code="TOO_MANY_STREAMS")
        token = secrets.token_urlsafe(32)
        operations: dict[str, asyncio.Task[None] | None] = {}
        line = _Line(Stream(_Events(operations), caller, header(scope, "authorization")), operations)
        line.lapse = asyncio.get_running_loop().call_later(self._reserved_s, self._lapsed, token)
        self._lines[token] = line
        await self._answer(scope, send, 201, token.encode())

    def _lapsed(self, token: str) -> None:
        """Nobody has come to open it."""
        task = asyncio.create_task(self._forget(token))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _forget(self, token: str) -> None:
        line = self._lines.pop(token, None)
        if line is None:
            return
        if line.lapse is not None:
            line.lapse.cancel()
        await end([task for task in line.operations.values() if task is not None])

    async def _open(self, scope: Scope, receive: Receive, send: Send, token: str) -> None:
        """The token is the ticket: a browser's EventSource can send no key."""
        line = self._lines.get(token)
        if line is None:
            raise _unknown()
        if line.opened:
            raise BadRequest("This stream is open already.", status=409, code="CONFLICT")
        line.opened = True
        if line.lapse is not None:
            line.lapse.cancel()
        metrics.REQUESTS.labels(PATH, 200).inc()
        try:
            await self._streams.serve(scope, receive, send, line.source(), self._headers(scope), line.stream)
        finally:
            await self._forget(token)

    async def _start(self, scope: Scope, receive: Receive, send: Send, token: str) -> None:
        check_content_type(header(scope, "content-type"), header(scope, "content-encoding"))
        line, caller = await self._line(scope, token)
        data = parse_json(await read_body(scope, receive, self._terms.body_limit))
        request = read_request(data)
        within_s = deadline_s(scope, self._terms.deadline_s)
        id = _operation_id(data)
        if id in line.operations:
            raise BadRequest(f"The operation {id} runs already.", status=409, code="CONFLICT")
        if len(line.operations) >= MOST_OPERATIONS:
            message = f"More than {MOST_OPERATIONS} operations run on this stream."
            raise BadRequest(message, status=429, code="TOO_MANY_OPERATIONS")
        line.operations[id] = None
        try:
            plan = await self._admission.plan(request, caller)
            charge = await self._admission.admit(plan, request.variables, caller, explain=request.explain)
        except Rejected as problem:
            # Never with 200: clients of this mode take that for an operation that will be answered.
            headers = self._admission.budget_headers(caller)
            await self._refuse(scope, send, problem.status, problem.error, **headers)
            return
        finally:
            # The client may have ended it meanwhile, or its stream.
            wanted = id in line.operations and self._lines.get(token) is line
            line.operations.pop(id, None)
        if wanted:
            bill = header(scope, "x-acorn-bill") == "1"
            run = Run(plan, request.variables, caller, request_id(scope), within_s, bill, charge=charge)
            line.operations[id] = asyncio.create_task(line.run(id, self._executor.stream(run), run.request_id))
        else:
            charge.settle(0, Bill())
        await self._answer(scope, send, 202, b"", **self._admission.budget_headers(caller))

    async def _end(self, scope: Scope, send: Send, token: str) -> None:
        line, _ = await self._line(scope, token)
        id = _parameter(scope, "operationId")
        if id is None:
            raise BadRequest("Name the operation to end: `?operationId=…`.")
        task = line.operations.pop(id, None)
        if task is not None:
            await end([task])
        await self._answer(scope, send, 200, b"")

    def _headers(self, scope: Scope) -> dict[str, str]:
        return {"x-request-id": request_id(scope), **cors(scope, self._terms.allowed_origins)}

    async def _answer(self, scope: Scope, send: Send, status: int, body: bytes, **more: str) -> None:
        metrics.REQUESTS.labels(PATH, status).inc()
        told = {"request_id": request_id(scope), "status": status, "method": scope["method"]}
        log.info("stream.answered", extra=told)
        headers = {"content-type": "text/plain; charset=utf-8", **self._headers(scope), **more}
        await respond(send, status, body, headers)

    async def _refuse(self, scope: Scope, send: Send, status: int, error: GraphQLError, **more: str) -> None:
        told = Answer.failure(tell(error, request_id(scope)))
        form = plain_form(listed(scope, "accept"))
        content_type = f"{form.value}; charset=utf-8"
        await self._answer(scope, send, status, told.body, **{"content-type": content_type, **more})


def _unknown() -> BadRequest:
    return BadRequest("There is no such stream: reserve one with PUT.", status=404, code="NOT_FOUND")


def _parameter(scope: Scope, name: str) -> str | None:
    """What the address says, None where it does not or says it twice."""
    values = parse_qs(scope["query_string"].decode("latin-1")).get(name, [])
    return values[0] if len(values) == 1 else None


def _operation_id(data: Any) -> str:
    """The id in a request that was read. Raises BadRequest."""
    id = (data.get("extensions") or {}).get("operationId")
    if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID:
        raise BadRequest(f"Give the operation an id of 1 to {LONGEST_ID} characters: `extensions.operationId`.")
    return id
