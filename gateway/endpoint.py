"""GraphQL over HTTP: POST one operation, get JSON, or a stream of events.

Refusals follow the GraphQL-over-HTTP specification: what is not GraphQL over HTTP, or comes without a valid key, gets a 4xx in
any case; an operation that is refused before it runs gets one only where the client takes application/graphql-response+json,
since clients of the older type read errors from a 200, and those of event streams from the stream.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphql import GraphQLError

from domain.budget import Bill
from gateway import metrics
from gateway.accept import Form, chosen_form, first_form, plain_form
from gateway.admission import Admission
from gateway.asgi import (
    ClientLeft,
    Receive,
    Scope,
    Send,
    accepted_origin,
    address,
    header,
    read_body,
    request_id,
    respond,
    unless_left,
)
from gateway.auth import Keys
from gateway.body import BadRequest, check_content_type, parse_request
from gateway.errors import tell
from gateway.execution import Answer, Executor, Run
from gateway.plan import Rejected
from gateway.stream import Streams

log = logging.getLogger(__name__)

LONGEST_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms operations are taken."""

    body_limit: int = 100 * 1024
    deadline_s: float = 10.0
    allowed_origins: tuple[str, ...] = ()


@dataclass(slots=True)
class _Exchange:
    """One request as it is worked on; what is known of it ends up in the log."""

    scope: Scope
    id: str
    began: float
    status: int = 0
    operation: str = ""
    kind: str = ""
    caller: str = ""
    cost: int = 0
    budget: Mapping[str, str] = field(default_factory=dict)


class Endpoint:
    """Answers POST /graphql."""

    def __init__(self, admission: Admission, executor: Executor, keys: Keys, streams: Streams, terms: Terms) -> None:
        self._admission = admission
        self._executor = executor
        self._keys = keys
        self._streams = streams
        self._terms = terms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(scope, request_id(scope), time.monotonic())
        try:
            await self._answer(exchange, receive, send)
        except ClientLeft:
            metrics.LEFT.inc()
        except BadRequest as problem:
            await self._refuse(exchange, send, problem)
        finally:
            self._log(exchange)

    async def _answer(self, exchange: _Exchange, receive: Receive, send: Send) -> None:
        scope = exchange.scope
        if not accepted_origin(scope, self._terms.allowed_origins):
            raise BadRequest(
                "Pages of this origin may not ask here; ACORN_ALLOWED_ORIGINS names those that may.",
                status=403,
                code="ORIGIN_NOT_ALLOWED",
            )
        check_content_type(header(scope, "content-type"))
        caller = await self._keys.caller(header(scope, "authorization"), address(scope))
        exchange.caller = caller.name
        request = parse_request(await read_body(scope, receive, self._terms.body_limit))
        accept = header(scope, "accept")
        form = first_form(accept)
        try:
            plan = await self._admission.plan(request, caller)
            exchange.kind, exchange.operation = plan.kind.value, plan.name
            form = chosen_form(accept, plan.kind)
            admitted = await self._admission.admit(plan, request.variables, caller)
            exchange.cost, exchange.budget = admitted.points, admitted.headers
        except Rejected as problem:
            await self._reject(exchange, send, form, problem)
            return
        run = Run(plan, request.variables, caller, exchange.id, self._deadline(scope), self._wants_bill(exchange))
        if form is Form.STREAM:
            exchange.status = 200
            source = self._executor.stream(run)
            await self._streams.serve(scope, receive, send, source, self._headers(exchange))
            return
        answer = await unless_left(receive, self._executor.once(run))
        await self._send(exchange, send, form, answer)

    async def _send(self, exchange: _Exchange, send: Send, form: Form, answer: Answer, status: int = 400) -> None:
        """`status` is for answers of operations that were not executed."""
        exchange.status = 200 if answer.executed or form is Form.JSON else status
        headers = {"content-type": f"{form.value}; charset=utf-8", **self._headers(exchange)}
        await respond(send, exchange.status, answer.body, headers)

    async def _reject(self, exchange: _Exchange, send: Send, form: Form, problem: Rejected) -> None:
        """An operation that is refused before it runs."""
        metrics.REJECTED.labels((problem.error.extensions or {}).get("code", "")).inc()
        answer = self._refusal(exchange, problem.error)
        if form is Form.STREAM:
            exchange.status = 200
            await self._streams.send_one(send, answer.body, self._headers(exchange))
        else:
            await self._send(exchange, send, form, answer, problem.status)

    async def _refuse(self, exchange: _Exchange, send: Send, problem: BadRequest) -> None:
        """What is not even a GraphQL request is refused with its status in any form."""
        exchange.status = problem.status
        error = GraphQLError(problem.message, extensions={"code": problem.code})
        form = plain_form(header(exchange.scope, "accept"))
        headers = {
            "content-type": f"{form.value}; charset=utf-8",
            **self._headers(exchange),
            **problem.headers,
        }
        await respond(send, problem.status, self._refusal(exchange, error).body, headers)

    def _refusal(self, exchange: _Exchange, error: GraphQLError) -> Answer:
        """What is refused costs nothing."""
        return Answer.failure(tell(error, exchange.id), Bill() if self._wants_bill(exchange) else None)

    def _headers(self, exchange: _Exchange) -> Mapping[str, str]:
        return {"x-request-id": exchange.id, **exchange.budget, **cors(exchange.scope, self._terms.allowed_origins)}

    def _wants_bill(self, exchange: _Exchange) -> bool:
        return header(exchange.scope, "x-acorn-bill") == "1"

    def _deadline(self, scope: Scope) -> float:
        """Seconds; a client may ask for more or less within bounds. Raises BadRequest."""
        asked = header(scope, "x-acorn-deadline-ms")
        if asked is None:
            return self._terms.deadline_s
        # Short before it is a number: int() refuses some long ones and float() others.
        sane = asked.isascii() and asked.isdigit() and len(asked) <= 6
        if not sane or not 1 <= int(asked) <= LONGEST_DEADLINE_S * 1000:
            raise BadRequest(f"`X-Acorn-Deadline-Ms` must be 1 to {LONGEST_DEADLINE_S * 1000:.0f}.")
        return int(asked) / 1000

    def _log(self, exchange: _Exchange) -> None:
        metrics.REQUESTS.labels("/graphql", exchange.status).inc()
        log.info(
            "graphql.answered",
            extra={
                "request_id": exchange.id,
                "status": exchange.status,
                "seconds": round(time.monotonic() - exchange.began, 4),
                "kind": exchange.kind,
                "operation": exchange.operation,
                "caller": exchange.caller,
                "cost": exchange.cost,
            },
        )


def cors(scope: Scope, allowed: tuple[str, ...]) -> Mapping[str, str]:
    """What lets the pages of an allowed origin read the answer; `Vary` keeps caches apart."""
    origin = header(scope, "origin")
    if origin is None or origin not in allowed:
        return {}
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "x-request-id, retry-after",
        "vary": "origin",
    }


def preflight(scope: Scope, allowed: tuple[str, ...]) -> Mapping[str, str]:
    """The answer to a browser that asks before it posts; empty when it may not."""
    granted = cors(scope, allowed)
    if not granted:
        return {}
    return {
        **granted,
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "authorization, content-type, x-acorn-bill, x-acorn-deadline-ms, x-request-id",
        "access-control-max-age": "600",
    }
