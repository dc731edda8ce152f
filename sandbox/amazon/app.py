"""The Selling Partner API's front: paths, tokens, usage plans, headers. One port serves every region; the access token
says whose account it is."""

import json
import uuid
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.amazon import (
    buyers,
    catalog,
    consent,
    desk,
    feeds,
    fees,
    finances,
    inventory,
    kiosk,
    labels,
    listings,
    notifications,
    orders,
    outbound,
    patches,
    pricing,
    reports,
    return_rows,
    rotation,
    search,
    seed,
    sellers,
    shipments,
    tokens,
)
from sandbox.amazon.auth import Account, Refused
from sandbox.amazon.documents import DOWNLOAD, PREFIX, UPLOAD, named
from sandbox.amazon.errors import Failure, broken, denied, throttled
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.plans import PLANS, SANDBOX_ONLY
from sandbox.amazon.query import Query
from sandbox.amazon.state import Amazon
from sandbox.control import Core, assemble
from sandbox.options import Options

TOKEN = "getToken"  # noqa: S105  the journal's name for the token endpoint
_TOKEN_PATH = "/auth/o2/token"  # noqa: S105  a path
_ID_PARAMETERS = ("sellerSkus", "sellerSku", "identifiers")


AREAS = (
    catalog,
    feeds,
    fees,
    finances,
    inventory,
    kiosk,
    labels,
    listings,
    notifications,
    orders,
    outbound,
    patches,
    pricing,
    reports,
    rotation,
    search,
    sellers,
    shipments,
    tokens,
)
"""Everything that is served: each area tells its own operations."""


class Front:
    """The ASGI app of the API, and what the control plane needs of it."""

    operations = (TOKEN, DOWNLOAD, UPLOAD, *PLANS, *SANDBOX_ONLY)

    def __init__(self, amazon: Amazon) -> None:
        self.amazon = amazon
        self._consent = consent.Consent(amazon.login)
        self._served = [(one, one.pattern) for area in AREAS for one in area.operations(amazon)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        self.amazon.settle()
        self.amazon.documents.base = f"{request.url.scheme}://{request.url.netloc}"
        if scope["path"].startswith(PREFIX):
            await self.amazon.documents.answer(request, body)(scope, receive, send)
            return
        if scope["path"] == consent.PATH:
            await self._consent.page(request)(scope, receive, send)
            return
        response = self._token(request, body) if scope["path"] == _TOKEN_PATH else self._answer(request, body)
        response.headers.setdefault("x-amzn-RequestId", str(uuid.uuid4()))
        await response(scope, receive, send)

    def describe(self, scope: Scope, body: bytes) -> tuple[str, list[str]]:
        """The operation's name ("unknown" for none), and the SKUs or the order id in path and query."""
        if scope["path"] == _TOKEN_PATH:
            return TOKEN, []
        if scope["path"].startswith(PREFIX):
            return named(scope["method"]), [scope["path"].removeprefix(PREFIX)]
        operation, path = self._find(scope)
        if operation is None:
            return "unknown", []
        ids = [path[name] for name in ("sku", "orderId") if name in path]
        try:
            query = Query(scope["query_string"].decode("latin-1"), operation.parameters)
            ids += [one for name in _ID_PARAMETERS for one in query.csv(name)]
        except Failure:
            pass
        return operation.name, ids

    def fault_answer(self, operation: str, status: int) -> Response:
        response = _failed(broken(status))
        response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
        return response

    def world_answer(self, limit: int, offset: int) -> dict[str, Any]:
        return desk.world_answer(self.amazon, limit, offset)

    def set_state(self, body: dict[str, Any]) -> dict[str, Any]:
        self.amazon.settle()
        return desk.set_state(self.amazon, body)

    def extra_routes(self) -> list[BaseRoute]:
        controlled = (desk, rotation, buyers, reports, kiosk, notifications, feeds, finances, return_rows)
        return [*self._consent.routes(), *(route for area in controlled for route in area.routes(self.amazon))]

    def _find(self, scope: Scope) -> tuple[Operation | None, dict[str, str]]:
        # The raw path: a SKU may hold an encoded slash.
        raw = scope["raw_path"].decode("latin-1").partition("?")[0]
        for operation, pattern in self._served:
            match = pattern.match(raw)
            if match and operation.method == scope["method"]:
                return operation, {name: unquote(value) for name, value in match.groupdict().items()}
        return None, {}

    def _token(self, request: Request, body: bytes) -> Response:
        if request.method != "POST":
            return JSONResponse({"error": "invalid_request", "error_description": "Use POST"}, 405)
        try:
            return JSONResponse(
                self.amazon.login.token(request.headers.get("content-type", ""), body),
                headers={"cache-control": "no-store"},
            )
        except Refused as refused:
            return JSONResponse(refused.body, refused.status)

    def _answer(self, request: Request, body: bytes) -> Response:
        if request.method == "GET" and body:
            # The content network in front refuses these before the API sees them.
            words = "<html><head><title>400 Bad Request</title></head><body><h1>400 Bad Request</h1></body></html>"
            return Response(words, 400, media_type="text/html")
        operation, path = self._find(request.scope)
        try:
            if operation is None:
                raise denied()
            account = self.amazon.login.opened(request.headers.get("x-amz-access-token"), operation, request.url.path)
            if not self.amazon.plans.take(account.seller, operation.name):
                raise throttled()
            response = self._done(operation, account, path, request, body)
        except Failure as failure:
            response = _failed(failure)
        if operation and response.status_code in (200, 201, 202, 204, 400, 404) and self.amazon.clock.speed:
            response.headers["x-amzn-RateLimit-Limit"] = self.amazon.plans.header(operation.name)
        return response

    def _done(
        self, operation: Operation, account: Account, path: dict[str, str], request: Request, body: bytes
    ) -> Response:
        query = Query(request.scope["query_string"].decode("latin-1"), operation.parameters, operation.code)
        if len(request.headers.get("user-agent", "")) > 500:
            raise query.wrong("The user agent is longer than 500 characters.")
        parsed = _json(request.headers, body, query) if body else None
        answer = operation.do(Asked(account, path, query, parsed, dict(request.headers)))
        if isinstance(answer, Response):
            return answer
        if answer is None:
            return Response(status_code=operation.status)
        return JSONResponse(answer, operation.status)


def _json(headers: Headers, body: bytes, query: Query) -> object:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Failure(415, "UnsupportedMediaType", "The content type of the body is not application/json.")
    try:
        return json.loads(body, parse_constant=_no_number)
    except ValueError as problem:
        raise query.wrong("The body is not JSON.") from problem


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _failed(failure: Failure) -> Response:
    return JSONResponse(failure.body, failure.status, headers={"x-amzn-ErrorType": failure.code})


def build(options: Options) -> ASGIApp:
    """The whole sandbox: API, control plane, faults and journal."""
    amazon = Amazon(Core.of(options))
    seed.fill(amazon)
    front = Front(amazon)
    return assemble(amazon.core, front, front)
