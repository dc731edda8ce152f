"""The Selling Partner API's front: paths, tokens, usage plans, headers. One port serves every region; the access token
says whose account it is."""

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.amazon import buyers, desk, inventory, listings, orders, patches, search, seed, sellers, shipments
from sandbox.amazon.auth import Account, Refused
from sandbox.amazon.errors import Failure, broken, denied, throttled
from sandbox.amazon.plans import PLANS
from sandbox.amazon.query import Query
from sandbox.amazon.state import Amazon
from sandbox.control import Core, assemble
from sandbox.options import Options

TOKEN = "getToken"  # noqa: S105  the journal's name for the token endpoint
_TOKEN_PATH = "/auth/o2/token"  # noqa: S105  a path
_ID_PARAMETERS = ("sellerSkus", "sellerSku", "identifiers")


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that has passed its token and its plan. `path` holds the decoded path parameters."""

    account: Account
    path: dict[str, str]
    query: Query
    body: object = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One published operation. `do` answers the body, None for 204."""

    name: str
    method: str
    pattern: re.Pattern[str]
    parameters: tuple[str, ...]
    do: Callable[[Asked], dict[str, Any] | None]
    code: str = "InvalidInput"


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("^" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "$")


def operations(amazon: Amazon) -> list[Operation]:
    """Everything that is served."""
    listed = search.Search(amazon)

    def own(asked: Asked) -> Account:
        if asked.path["sellerId"] != asked.account.seller:
            raise denied()
        return asked.account

    def patch(asked: Asked) -> dict[str, Any]:
        return patches.patch(amazon, own(asked), asked.path["sku"], asked.query, asked.body)

    def confirm(asked: Asked) -> None:
        shipments.confirm(amazon, asked.account, asked.path["orderId"], asked.body)

    def order(asked: Asked) -> dict[str, Any]:
        return orders.get(amazon, asked.account, asked.path["orderId"], asked.query)

    items = "/listings/2021-08-01/items/{sellerId}"
    item = items + "/{sku}"
    confirmation = "/orders/v0/orders/{orderId}/shipmentConfirmation"
    return [
        Operation(
            "getInventorySummaries",
            "GET",
            _pattern("/fba/inventory/v1/summaries"),
            inventory.PARAMETERS,
            lambda asked: inventory.summaries(amazon, asked.account, asked.query),
        ),
        Operation(
            "searchListingsItems",
            "GET",
            _pattern(items),
            search.PARAMETERS,
            lambda asked: listed.answer(own(asked), asked.query),
            "BAD_REQUEST",
        ),
        Operation(
            "getListingsItem",
            "GET",
            _pattern(item),
            listings.GET_PARAMETERS,
            lambda asked: listings.get(amazon, own(asked), asked.path["sku"], asked.query),
            "BAD_REQUEST",
        ),
        Operation("patchListingsItem", "PATCH", _pattern(item), patches.PARAMETERS, patch, "BAD_REQUEST"),
        Operation(
            "searchOrders",
            "GET",
            _pattern("/orders/2026-01-01/orders"),
            orders.SEARCH_PARAMETERS,
            lambda asked: orders.search(amazon, asked.account, asked.query),
        ),
        Operation("getOrder", "GET", _pattern("/orders/2026-01-01/orders/{orderId}"), orders.GET_PARAMETERS, order),
        Operation("confirmShipment", "POST", _pattern(confirmation), (), confirm, "Invalid Input"),
        Operation(
            "getMarketplaceParticipations",
            "GET",
            _pattern("/sellers/v1/marketplaceParticipations"),
            (),
            lambda asked: sellers.participations(asked.account),
        ),
    ]


class Front:
    """The ASGI app of the API, and what the control plane needs of it."""

    operations = (TOKEN, *PLANS)

    def __init__(self, amazon: Amazon) -> None:
        self.amazon = amazon
        self._served = operations(amazon)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        self.amazon.settle()
        response = self._token(request, body) if scope["path"] == _TOKEN_PATH else self._answer(request, body)
        response.headers.setdefault("x-amzn-RequestId", str(uuid.uuid4()))
        await response(scope, receive, send)

    def describe(self, scope: Scope, body: bytes) -> tuple[str, list[str]]:
        """The operation's name ("unknown" for none), and the SKUs or the order id in path and query."""
        if scope["path"] == _TOKEN_PATH:
            return TOKEN, []
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
        return [*desk.routes(self.amazon), *buyers.routes(self.amazon)]

    def _find(self, scope: Scope) -> tuple[Operation | None, dict[str, str]]:
        # The raw path: a SKU may hold an encoded slash.
        raw = scope["raw_path"].decode("latin-1").partition("?")[0]
        for operation in self._served:
            match = operation.pattern.match(raw)
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
            account = self.amazon.login.seller(request.headers.get("x-amz-access-token"))
            if not self.amazon.plans.take(account.seller, operation.name):
                raise throttled()
            response = self._done(operation, account, path, request, body)
        except Failure as failure:
            response = _failed(failure)
        if operation and response.status_code in (200, 204, 400, 404) and self.amazon.clock.speed:
            response.headers["x-amzn-RateLimit-Limit"] = self.amazon.plans.header(operation.name)
        return response

    def _done(
        self, operation: Operation, account: Account, path: dict[str, str], request: Request, body: bytes
    ) -> Response:
        query = Query(request.scope["query_string"].decode("latin-1"), operation.parameters, operation.code)
        if len(request.headers.get("user-agent", "")) > 500:
            raise query.wrong("The user agent is longer than 500 characters.")
        parsed = None if request.method == "GET" else _json(request.headers, body, query)
        answer = operation.do(Asked(account, path, query, parsed))
        return Response(status_code=204) if answer is None else JSONResponse(answer)


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
