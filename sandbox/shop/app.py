"""The stand-in of a self-built shop as an ASGI app: docs/rest/openapi.yaml under /api/v1, and the control plane."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Scope

from sandbox.control import Core, answer, assemble, number, scopes
from sandbox.options import Options
from sandbox.shop import catalog_calls, hook_calls, order_calls, rehearsal, seeding, stock_calls
from sandbox.shop.api import (
    PREFIX,
    TITLES,
    Answer,
    Call,
    Operation,
    Problem,
    answered,
    expired_keys,
    operation,
    refused,
    request_id,
)
from sandbox.shop.broken import POINTS
from sandbox.shop.bulk import MOST_ITEMS
from sandbox.shop.jobs import MOST_LINES
from sandbox.shop.paging import MOST_ROWS
from sandbox.shop.state import (
    CLIENT_ID,
    CLIENT_SECRET,
    CURRENCY,
    NEEDS,
    PARTS,
    SCOPES,
    TOKEN_LIFE_S,
    Grant,
    Quota,
    Shop,
)

OWN: list[Operation] = []
TOKEN_PATH, LIVE_PATH, READY_PATH = f"{PREFIX}/oauth/token", f"{PREFIX}/health/live", f"{PREFIX}/health/ready"
_REHEARSED = 2
_BY_STATUS = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden-scope",
    404: "not-found",
    409: "conflict",
    412: "stale-revision",
    422: "validation",
    429: "rate-limited",
    503: "maintenance",
}


@operation(OWN, "GET", "/", "", "")
def get_shop(call: Call) -> Answer:
    shop = call.shop
    parts = [part for part in PARTS if part in shop.parts and not (part == "webhooks" and "start.parts" in shop.broken)]
    body: dict[str, Any] = {
        "contract": "1.0",
        "name": "Sandbox shop",
        "currency": CURRENCY,
        "parts": parts,
        "limits": {"page": MOST_ROWS, "bulk": MOST_ITEMS, "job": MOST_LINES},
        "scopes": [scope for scope in SCOPES if scope in call.grant.scopes],
        "rehearsal": {
            "skus": [shop.core.world.product(item).sku for item in range(min(_REHEARSED, shop.core.world.size))],
            "orders": _rehearsed(shop),
        },
    }
    if "start.shop" in shop.broken:
        del body["contract"]
    return Answer(body)


OPERATIONS = [
    *OWN,
    *catalog_calls.OPERATIONS,
    *stock_calls.OPERATIONS,
    *order_calls.OPERATIONS,
    *hook_calls.OPERATIONS,
]


@dataclass(slots=True)
class Platform:
    """The shop as the core sees it."""

    core: Core
    shop: Shop
    routes: list[tuple[Route, str]]

    @property
    def operations(self) -> Sequence[str]:
        return [name for _, name in self.routes]

    def describe(self, scope: Scope, body: bytes) -> tuple[str, list[str]]:
        """The operation by its id in the contract, and the ids and SKUs that it names."""
        for route, name in self.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                named = [str(value) for value in found.get("path_params", {}).values()]
                query = parse_qs(scope["query_string"].decode("latin-1"))
                return name, [*named, *(sku for text in query.get("sku", ()) for sku in text.split(",")), *_skus(body)]
        return "unknown", []

    def fault_answer(self, operation: str, status: int) -> Response:
        named = _BY_STATUS.get(status)
        problem = Problem(named if named else "internal")
        problem.status = problem.body["status"] = status
        headers = {"X-Request-Id": "req_fault"}
        if status == 429:
            headers["Retry-After"] = "2"
        return refused(self.shop, problem, headers)

    def world_answer(self, limit: int, offset: int) -> dict[str, Any]:
        return rehearsal.world(self.shop, limit, offset)

    def set_state(self, body: dict[str, Any]) -> dict[str, Any]:
        return rehearsal.set_state(self.shop, body)

    def extra_routes(self) -> list[BaseRoute]:
        shop = self.shop
        return [
            Route("/plans", answer(lambda _: self._plan()), methods=["GET"]),
            Route("/plans", answer(self._set_plan), methods=["POST"]),
            Route("/tokens", answer(self._set_token), methods=["POST"]),
            Route("/buy", answer(lambda body: rehearsal.buy(shop, body)), methods=["POST"]),
            Route("/payout", answer(lambda body: rehearsal.pay_out(shop, body)), methods=["POST"]),
            Route("/moods", answer(lambda _: rehearsal.moods(shop)), methods=["GET"]),
            Route("/moods", answer(lambda body: rehearsal.set_moods(shop, body)), methods=["POST"]),
            Route("/webhooks", answer(lambda _: rehearsal.travel(shop)), methods=["GET"]),
            Route("/webhooks", answer(lambda body: rehearsal.set_travel(shop, body)), methods=["POST"]),
            Route("/broken", answer(lambda _: {"points": POINTS, "now": sorted(shop.broken)}), methods=["GET"]),
        ]

    def _plan(self) -> dict[str, Any]:
        quota = self.shop.quota
        return {"q": quota.q, "w": quota.w, "remaining": quota.bucket.remaining}

    def _set_plan(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new quota, full or with `remaining` requests in it: `q` in `w` sandbox seconds."""
        if not body or set(body) - {"q", "w", "remaining"}:
            raise ValueError("send some of q, w, remaining")
        given = {name: number(body, name) for name in body}
        if min(given.values()) < 0 or given.get("q", 1) < 1 or given.get("w", 1) < 1:
            raise ValueError("q and w are at least 1, remaining at least 0")
        old = self.shop.quota
        quota = Quota.of(int(given.get("q", old.q)), int(given.get("w", old.w)), self.core)
        quota.bucket.take(quota.q - min(quota.q, given.get("remaining", quota.q)))
        self.shop.quota = quota
        return self._plan()

    def _set_token(self, body: dict[str, Any]) -> dict[str, Any]:
        """A token with exactly these scopes; no scopes at all take the token away."""
        token, wanted = scopes(body, SCOPES)
        self.shop.tokens.pop(token, None)
        if wanted:
            self.shop.tokens[token] = Grant("static", frozenset(wanted))
        return {"token": token, "scopes": wanted}


def build(options: Options, without: Sequence[str] = (), broken: Sequence[str] = ()) -> ASGIApp:
    """The whole sandbox, its world filled. ValueError for parts and points that there are none of."""
    if unknown := [part for part in without if part not in PARTS]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    if unknown := [point for point in broken if point not in POINTS]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(POINTS)}")
    core = Core.of(options)
    shop = Shop(core, _offered(without), frozenset(broken))
    seeding.seed(shop)
    routes = [*_own_routes(shop), *((_route(shop, each), each.name) for each in OPERATIONS)]
    app = Starlette(routes=[route for route, _ in routes], exception_handlers={404: _none, 405: _none})
    return assemble(core, Platform(core, shop, routes), app)


def _offered(without: Sequence[str]) -> frozenset[str]:
    """All parts but those, and but what makes no sense without them."""
    parts = set(PARTS) - set(without)
    parts -= {part for part, needed in NEEDS.items() if needed not in parts}
    if not parts & {"stock_write", "prices"}:
        parts.discard("jobs")
    return frozenset(parts)


def _route(shop: Shop, chosen: Operation) -> Route:
    async def endpoint(request: Request) -> Response:
        stock_calls.run_due(shop)
        expired_keys(shop)
        return await answered(shop, chosen, request)

    path = PREFIX + chosen.path
    return Route(path, endpoint, methods=[chosen.method])


def _own_routes(shop: Shop) -> list[tuple[Route, str]]:
    async def live(request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers={"X-Request-Id": request_id(shop, request)})

    async def ready(request: Request) -> Response:
        if "start.health" in shop.broken and "Authorization" not in request.headers:
            return refused(shop, Problem("unauthorized"), {"X-Request-Id": request_id(shop, request)})
        return await live(request)

    async def token(request: Request) -> Response:
        headers = {"X-Request-Id": request_id(shop, request)}
        if "token" not in shop.parts:
            return refused(shop, Problem("not-offered", "This shop hands its tokens out"), headers)
        return _token(shop, (await request.body()).decode("utf-8", "replace"), headers)

    return [
        (Route(TOKEN_PATH, token, methods=["POST"]), "postToken"),
        (Route(LIVE_PATH, live, methods=["GET"]), "getLive"),
        (Route(READY_PATH, ready, methods=["GET"]), "getReady"),
    ]


def _token(shop: Shop, form: str, headers: dict[str, str]) -> Response:
    given = dict(parse_qsl(form))
    known = given.get("client_id") == CLIENT_ID and (
        given.get("client_secret") == CLIENT_SECRET or "token.refused" in shop.broken
    )
    if not known:
        return JSONResponse({"error": "invalid_client"}, 401, headers)
    if given.get("grant_type") != "client_credentials":
        return JSONResponse({"error": "unsupported_grant_type"}, 400, headers)
    scopes = given.get("scope", "").split() or list(SCOPES)
    if any(scope not in SCOPES for scope in scopes):
        return JSONResponse({"error": "invalid_scope"}, 400, headers)
    body = {
        "access_token": shop.grant(CLIENT_ID, frozenset(scopes)),
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFE_S,
        "scope": " ".join(scopes),
    }
    cached = {} if "token.grant" in shop.broken else {"Cache-Control": "no-store"}
    return JSONResponse(body, 200, {**headers, **cached})


async def _none(request: Request, problem: Exception) -> Response:
    """Paths and methods that there are none of."""
    status = getattr(problem, "status_code", 404)
    name, title = ("method-not-allowed", "Not allowed here") if status == 405 else ("not-found", TITLES["not-found"][1])
    headers = {"X-Request-Id": request.headers.get("X-Request-Id", "req_none")}
    body = {"type": f"https://shop.example/problems/{name}", "title": title, "status": status}
    return JSONResponse(body, status, headers, "application/problem+json")


def _rehearsed(shop: Shop) -> list[str]:
    """The newest orders that are paid, and of which nothing was shipped or given back."""
    fit = (
        order.id for order in reversed(shop.orders) if order.to_ship and order.payment == "paid" and not order.shipments
    )
    return [id for _, id in zip(range(_REHEARSED), fit, strict=False)]


_SKU = re.compile(rb'"sku"\s*:\s*("(?:[^"\\]|\\.)*")')


def _skus(body: bytes) -> list[str]:
    """The SKUs that a body names, a list or lines of JSON alike."""
    return [json.loads(found) for found in _SKU.findall(body)]
