"""GraphQL over HTTP: POST one operation, or GET a query, and get JSON, or a stream of events.

Refusals follow the GraphQL-over-HTTP specification: what is not GraphQL over HTTP, or comes without a valid key, gets a 4xx in
any case; an operation that is refused before it runs gets one only where the client takes application/graphql-response+json,
since clients of the older type read errors from a 200, and those of event streams from the stream.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from graphql import GraphQLError, OperationType
from msgspec import Struct, field

from domain.budget import Bill
from gateway import metrics
from gateway.accept import Form, chosen_form, first_form, plain_form, takes
from gateway.admission import Admission
from gateway.answered import Answered
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
    start,
    unless_left,
)
from gateway.auth import Keys
from gateway.begun import Begun
from gateway.body import BadRequest, Request, check_content_type, parse_parameters, parse_request
from gateway.charge import Charge
from gateway.cors import cors
from gateway.documents import AUTOMATIC_NOT_FOUND
from gateway.errors import tell
from gateway.execution import Answer, Executor, Run
from gateway.front import HEARD, Asked, Heard, moment, usual_head
from gateway.multipart import DeferredParts, EventParts, chosen_parts
from gateway.plan import Plan, Rejected
from gateway.stream import EVENTS, Stream, Streams
from resolvers.context import Caller

LONGEST_DEADLINE_S = 30.0
LONGEST_ADDRESS = 16 * 1024
BUDGET = frozenset({"ratelimit", "ratelimit-policy"})
METHODS = "GET, HEAD, POST"
# What the answer to a GET depends on, which caches on the way may keep.
VARY_OF_GET = "accept, authorization, origin, x-acorn-bill"
# What the log says of an operation that never had a plan.
UNKNOWN = '"kind":"","operation":""'
# Where a scope holds what `Endpoint.begin` has begun.
BEGUN = "acorn.begun"


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms operations are taken. `public_max_age_s` is how long caches on the way may keep what anybody may see."""

    body_limit: int = 100 * 1024
    deadline_s: float = 10.0
    allowed_origins: tuple[str, ...] = ()
    public_max_age_s: int = 0


class _Exchange(Struct, eq=False):
    """One request as it is worked on; what is known of it ends up in the log. `begun` is its answer, or what is left of it, where
    that has begun and is to be sent in `form`."""

    scope: Scope
    id: str
    caller: Caller | None = None
    plan: Plan | None = None
    charge: Charge | None = None
    form: Form = Form.JSON
    begun: Answer | Begun[Answer] | None = None
    status: int = 0
    age: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def safe(self) -> bool:
        """Whether the method promises that nothing is changed."""
        return bool(self.scope["method"] != "POST")

    @property
    def accept(self) -> str | None:
        """The forms that the client takes."""
        return listed(self.scope, "accept")

    @property
    def wants_bill(self) -> bool:
        """Whether the answer is to say what it cost."""
        return header(self.scope, "x-acorn-bill") == "1"


class Endpoint:
    """Answers GET and POST of /graphql."""

    def __init__(
        self,
        admission: Admission,
        executor: Executor,
        keys: Keys,
        streams: Streams,
        terms: Terms,
        answered: Answered,
    ) -> None:
        self._admission = admission
        self._executor = executor
        self._keys = keys
        self._streams = streams
        self._terms = terms
        self._answered = answered

    def begin(self, scope: Scope) -> bool:
        """Whether a request that was understood before (`gateway/front.py`) has been answered without waiting for anything. What
        may have changed since is asked anew: document, plan and budget. What has to wait has begun, and goes on in `__call__`."""
        heard: Heard | None = scope.get(HEARD)
        if heard is None or (asked := heard.asked) is None:
            return False
        plan = self._admission.plan_again(asked.request)
        charge = None if plan is None else self._admission.admit_as_before(heard.caller, asked.points)
        if plan is None or charge is None:
            return False
        exchange = _Exchange(scope, request_id(scope), heard.caller, plan, charge, asked.form)
        variables, compiled = asked.request.variables, plan.compiled
        if compiled is not None and (asked.read is None or asked.read.plan is not compiled.identity):
            asked.read = compiled.read(variables)
        run = Run(
            plan, variables, heard.caller, exchange.id, asked.within_s, asked.wants_bill, False, charge, asked.read
        )
        answer = self._executor.begin(run)
        scope[BEGUN] = exchange  # whatever comes now, it is not run again
        if not isinstance(answer, Answer):
            exchange.begun = begun = Begun(answer)
            if not begun.done:
                return False
            answer = begun.value
        exchange.begun, exchange.age = answer, answer.age
        if not self._sent_at_once(exchange, asked.form, answer):
            return False
        del scope[BEGUN]  # each holds the other, and Python would have to search for them
        if answer.kept is not None:
            self._remember(exchange, asked.form, answer)
        self._tell(exchange)
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if BEGUN not in scope and self.begin(scope):  # where there was no task to begin it in
            return
        exchange = scope.pop(BEGUN, None) or _Exchange(scope, request_id(scope))
        try:
            if exchange.begun is None:
                await self._answer(exchange, receive, send)
            else:
                await self._send_begun(exchange, receive, send, exchange.begun)
        except ClientLeft:
            metrics.LEFT.inc()
        except BadRequest as problem:
            await self._refuse(exchange, send, problem)
        finally:
            self._tell(exchange)

    async def _answer(self, exchange: _Exchange, receive: Receive, send: Send) -> None:
        scope = exchange.scope
        caller, request = await self._received(exchange, receive)
        within_s, wants_bill = deadline_s(scope, self._terms.deadline_s), exchange.wants_bill
        form = first_form(exchange.accept)
        try:
            exchange.plan = plan = await self._admission.plan(request, caller)
            form, parts = _chosen(exchange, request, plan)
            charge = await self._admission.admit(plan, request.variables, caller, explain=request.explain)
        except Rejected as problem:
            if problem.code == AUTOMATIC_NOT_FOUND and takes(exchange.accept, Form.JSON):
                form = Form.JSON  # some clients of these ask again only after a 200
            await self._reject(exchange, send, form, problem)
            return
        exchange.charge = charge
        run = Run(
            plan,
            request.variables,
            caller,
            exchange.id,
            within_s,
            wants_bill,
            anew=exchange.safe and plan.public,  # a cache on the way adds an age of its own
            charge=charge,
        )
        if parts is not None or form is Form.STREAM:
            exchange.status = 200
            source = (
                self._executor.parts(run, parts.wire)
                if isinstance(parts, DeferredParts)
                else self._executor.stream(run)
            )
            stream = Stream(parts or EVENTS, caller, header(scope, "authorization"))
            await self._streams.serve(scope, receive, send, source, self._headers(exchange), stream)
            return
        answer = await unless_left(receive, self._executor.once(run))
        if exchange.safe and answer.executed and not answer.errors and not request.explain:
            await self._send_cacheable(exchange, send, form, answer, plan)
            return
        heard: Heard | None = scope.get(HEARD)
        if heard is not None and not request.explain:
            heard.understood(Asked(request, within_s, wants_bill, form, charge.points))
        await self._send_whole(exchange, send, form, answer)

    async def _send_begun(
        self, exchange: _Exchange, receive: Receive, send: Send, begun: Answer | Begun[Answer]
    ) -> None:
        answer = begun if isinstance(begun, Answer) else await unless_left(receive, begun)
        await self._send_whole(exchange, send, exchange.form, answer)

    async def _send_whole(self, exchange: _Exchange, send: Send, form: Form, answer: Answer) -> None:
        """The whole answer of a run, which may be given again."""
        exchange.age = answer.age
        await self._send(exchange, send, form, answer, answer.status)
        self._remember(exchange, form, answer)

    def _remember(self, exchange: _Exchange, form: Form, answer: Answer) -> None:
        """Of an answer that is kept, how it was asked for."""
        heard: Heard | None = exchange.scope.get(HEARD)
        if answer.kept is not None and heard is not None and exchange.plan is not None and exchange.charge is not None:
            heard.answered(answer.kept, form, exchange.plan.told, exchange.charge.points)

    async def _received(self, exchange: _Exchange, receive: Receive) -> tuple[Caller, Request]:
        """Who asks for what, in the address or in the body. Raises BadRequest."""
        scope = exchange.scope
        check_once(scope)
        check_origin(scope, self._terms.allowed_origins)
        if not exchange.safe:
            check_content_type(header(scope, "content-type"), header(scope, "content-encoding"))
        exchange.caller = caller = await self._keys.caller(header(scope, "authorization"), address(scope))
        if not exchange.safe:
            return caller, parse_request(await read_body(scope, receive, self._terms.body_limit))
        if len(scope["query_string"]) > LONGEST_ADDRESS:
            raise BadRequest(
                f"The address is longer than {LONGEST_ADDRESS // 1024} KiB; send this by POST.",
                status=414,
                code="ADDRESS_TOO_LONG",
            )
        return caller, parse_parameters(scope["query_string"])

    async def _send(self, exchange: _Exchange, send: Send, form: Form, answer: Answer, status: int = 400) -> None:
        """`status` is for answers of operations that were not executed. Who has spent its budget is told so in any form."""
        if not self._sent_at_once(exchange, form, answer):
            lenient = form is Form.JSON and status != HTTPStatus.TOO_MANY_REQUESTS
            exchange.status = 200 if answer.executed or lenient else status
            headers = {**self._told(exchange, form), **_retry_after(answer)}
            await respond(send, exchange.status, answer.body, headers)

    def _sent_at_once(self, exchange: _Exchange, form: Form, answer: Answer) -> bool:
        """Whether our own server has taken the answer as one piece. The head of usual ones is put together of ready lines."""
        heard: Heard | None = exchange.scope.get(HEARD)
        purse = None if exchange.charge is None else exchange.charge.purse
        if heard is None or purse is None or not answer.executed:
            return False
        exchange.status = 200
        head = usual_head(form, answer.body) + moment(exchange.id, exchange.age, purse)
        taken: bool = heard.whole["answer"](head, answer.body)
        return taken

    def _told(self, exchange: _Exchange, form: Form) -> Mapping[str, str]:
        return {"content-type": f"{form.value}; charset=utf-8", **self._headers(exchange), **_age(exchange)}

    async def _send_cacheable(self, exchange: _Exchange, send: Send, form: Form, answer: Answer, plan: Plan) -> None:
        """The whole answer of a GET, or word that the client holds it already. What anybody may see may be kept on the way, for
        the same key: nobody is answered without one."""
        exchange.age = answer.age
        tag = f'W/"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
        headers = {**self._headers(exchange), **_age(exchange), "etag": tag, "vary": VARY_OF_GET}
        if plan.public and self._terms.public_max_age_s and not exchange.wants_bill:
            headers = {name: value for name, value in headers.items() if name not in BUDGET}
            headers["cache-control"] = f"public, max-age={self._terms.public_max_age_s}"
        if _holds(listed(exchange.scope, "if-none-match"), tag):
            exchange.status = 304
            await start(send, 304, headers)
            await send({"type": "http.response.body", "body": b""})
            return
        exchange.status = 200
        await respond(send, 200, answer.body, {"content-type": f"{form.value}; charset=utf-8", **headers})

    async def _reject(self, exchange: _Exchange, send: Send, form: Form, problem: Rejected) -> None:
        """An operation that is refused before it runs."""
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
        form = plain_form(exchange.accept)
        headers = {
            "content-type": f"{form.value}; charset=utf-8",
            **self._headers(exchange),
            **problem.headers,
        }
        await respond(send, problem.status, self._refusal(exchange, error).body, headers)

    def _refusal(self, exchange: _Exchange, error: GraphQLError) -> Answer:
        """What is refused costs nothing."""
        return Answer.failure(tell(error, exchange.id), Bill() if exchange.wants_bill else None)

    def _headers(self, exchange: _Exchange) -> Mapping[str, str]:
        budget = {} if exchange.caller is None else self._admission.budget_headers(exchange.caller)
        return {"x-request-id": exchange.id, **budget, **cors(exchange.scope, self._terms.allowed_origins)}

    def _tell(self, exchange: _Exchange) -> None:
        plan, caller, charge = exchange.plan, exchange.caller, exchange.charge
        self._answered.tell(
            exchange.id,
            exchange.status,
            time.monotonic() - exchange.began,
            UNKNOWN if plan is None else plan.told,
            "" if caller is None else caller.name,
            0 if charge is None else charge.points,
            exchange.age,
        )


def _age(exchange: _Exchange) -> Mapping[str, str]:
    """How old an answer is that is given again."""
    return {"age": str(exchange.age)} if exchange.age else {}


def deadline_s(scope: Scope, usual_s: float) -> float:
    """The time an operation has, in seconds; a client may ask for more or less within bounds. Raises BadRequest."""
    asked = header(scope, "x-acorn-deadline-ms")
    if asked is None:
        return usual_s
    # Short before it is a number: int() refuses some long ones and float() others.
    sane = asked.isascii() and asked.isdigit() and len(asked) <= 6
    if not sane or not 1 <= int(asked) <= LONGEST_DEADLINE_S * 1000:
        raise BadRequest(f"`X-Acorn-Deadline-Ms` must be 1 to {LONGEST_DEADLINE_S * 1000:.0f}.")
    return int(asked) / 1000


def _chosen(exchange: _Exchange, request: Request, plan: Plan) -> tuple[Form, EventParts | DeferredParts | None]:
    """In what form, or in what parts, the client takes the answer. Raises BadRequest for none, and for what goes by POST only."""
    if exchange.safe and plan.kind is not OperationType.QUERY:
        raise BadRequest(
            f"A {plan.word} is sent by POST.", status=405, code="METHOD_NOT_ALLOWED", headers={"allow": "POST"}
        )
    accept = exchange.accept
    kind = OperationType.QUERY if request.explain else plan.kind  # an explanation is one answer at once
    parts = chosen_parts(accept, kind, deferred=plan.deferred is not None and not request.explain)
    return (chosen_form(accept, kind) if parts is None else plain_form(accept)), parts


def _retry_after(answer: Answer) -> Mapping[str, str]:
    """When an operation that was not executed may be sent again, in whole seconds."""
    if answer.executed or not answer.errors:
        return {}
    wait_ms = answer.errors[0].get("extensions", {}).get("retryAfterMs")
    return {} if wait_ms is None else {"retry-after": str(max(1, math.ceil(wait_ms / 1000)))}


def _holds(if_none_match: str | None, tag: str) -> bool:
    """Whether the client holds the answer of this tag."""
    held = [one.strip() for one in (if_none_match or "").split(",")]
    return "*" in held or any(one.removeprefix("W/") == tag.removeprefix("W/") for one in held)
