"""The stand-in of one shop's Admin API as an ASGI app: token endpoint, GraphQL endpoint, control plane."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.bucket import Bucket
from sandbox.control import Core, answer, assemble, number, scopes
from sandbox.options import Options
from sandbox.shopify import bulk, errors, ids, rehearsal, seeding, subscriptions, till
from sandbox.shopify.api import Api, request_id
from sandbox.shopify.documents import arguments, parsed
from sandbox.shopify.login import AUTHORIZE_PATH, Login, Refused
from sandbox.shopify.schema import VERSIONS, schema_of
from sandbox.shopify.state import SCOPES, Grant, Shop

TOKEN_PATH = "/admin/oauth/access_token"  # noqa: S105  a path
GRAPHQL_PATH = re.compile(r"/admin/api/(?:([^/]+)/)?graphql\.json")
TOKEN_CALL = "access_token"  # noqa: S105  the operation's name in the journal
PAGE_CALL = "authorize"
_SKU_TERM = re.compile(r"sku:\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|([^\s()]+))")
_STATUS_TEXT = {
    401: errors.UNAUTHORIZED,
    402: "This shop is currently frozen",
    403: "[API] This action requires merchant approval",
    404: "Not Found",
    423: "Locked",
    429: "Exceeded request limit. Reduce request rates to resume uninterrupted service.",
    430: "Shopify Security Rejection",
}


@dataclass(slots=True)
class Platform:
    """Shopify as the core sees it."""

    core: Core
    shop: Shop
    api: Api
    login: Login
    operations: Sequence[str]

    def describe(self, scope: Scope, body: bytes) -> tuple[str, list[str]]:
        """The root fields joined by "+", and the SKUs and gids that their arguments name."""
        if scope["path"] == TOKEN_PATH:
            return TOKEN_CALL, []
        if scope["path"] == bulk.UPLOAD_PATH:
            return "upload", []
        if scope["path"].startswith(bulk.FILE_PATH):
            return "download", []
        if scope["path"] == AUTHORIZE_PATH:
            return PAGE_CALL, []
        if not GRAPHQL_PATH.fullmatch(scope["path"]):
            return "unknown", []
        request = _json(body)
        if request is None:
            return "graphql", []
        name, variables = request.get("operationName"), request.get("variables")
        roots = parsed(str(request.get("query"))).roots(name if isinstance(name, str) else None)
        named: list[str] = []
        for node in roots:
            for _, value in arguments(node, variables if isinstance(variables, dict) else {}):
                named += _named(self.shop, value)
        return "+".join(dict.fromkeys(node.name.value for node in roots)) or "graphql", named

    def fault_answer(self, operation: str, status: int) -> Response:
        if status >= 500:
            page = f"<!DOCTYPE html><html><head><title>{status}</title></head><body>Something went wrong</body></html>"
            return HTMLResponse(page, status, {"X-Request-Id": request_id()})
        headers = {"X-Request-Id": request_id()}
        if status == 429:
            headers["Retry-After"] = "2.0"
        return _answered({"errors": _STATUS_TEXT.get(status, "Bad Request")}, status, headers)

    def world_answer(self, limit: int, offset: int) -> dict[str, Any]:
        return rehearsal.world(self.shop, limit, offset)

    def set_state(self, body: dict[str, Any]) -> dict[str, Any]:
        return rehearsal.set_state(self.shop, body)

    def extra_routes(self) -> list[BaseRoute]:
        return [
            Route("/plans", answer(lambda _: self._plan()), methods=["GET"]),
            Route("/plans", answer(self._set_plan), methods=["POST"]),
            Route("/tokens", answer(self._set_token), methods=["POST"]),
            *self.login.routes(),
            Route("/internal-errors", answer(self._set_broken), methods=["POST"]),
            Route("/approval", answer(self._set_approval), methods=["POST"]),
            Route("/buy", answer(lambda body: rehearsal.buy(self.shop, body)), methods=["POST"]),
            Route("/sale", answer(lambda _: self.shop.sale.shown()), methods=["GET"]),
            Route("/sale", answer(lambda body: rehearsal.sale(self.shop, body)), methods=["POST"]),
            Route("/points", answer(lambda _: self._points()), methods=["GET"]),
            Route("/bulk", answer(lambda _: bulk.course(self.shop)), methods=["GET"]),
            Route("/bulk", answer(lambda body: bulk.set_course(self.shop, body)), methods=["POST"]),
            Route("/moods", answer(lambda _: rehearsal.moods(self.shop)), methods=["GET"]),
            Route("/moods", answer(lambda body: rehearsal.set_moods(self.shop, body)), methods=["POST"]),
            Route("/webhooks", answer(lambda _: subscriptions.shown(self.shop)), methods=["GET"]),
            Route("/webhooks", answer(lambda body: subscriptions.set_travel(self.shop, body)), methods=["POST"]),
            Route("/webhooks/held", answer(lambda _: subscriptions.held(self.shop)), methods=["GET"]),
            Route("/webhooks/raise", answer(lambda body: subscriptions.raised(self.shop, body)), methods=["POST"]),
            Route("/webhooks/drop", answer(lambda body: subscriptions.dropped(self.shop, body)), methods=["POST"]),
            Route("/payouts", answer(lambda _: till.payouts(self.shop)), methods=["GET"]),
            Route("/payouts", answer(lambda body: till.pay_out(self.shop, body)), methods=["POST"]),
            Route("/refunds", answer(lambda body: till.refund(self.shop, body)), methods=["POST"]),
            Route("/products", answer(lambda body: rehearsal.set_status(self.shop, body)), methods=["POST"]),
            Route("/places", answer(lambda body: till.places(self.shop, body)), methods=["POST"]),
        ]

    def _plan(self) -> dict[str, Any]:
        bucket = self.shop.bucket
        return {
            "maximumAvailable": bucket.burst,
            "currentlyAvailable": bucket.remaining,
            "restoreRate": bucket.rate,
        }

    def _points(self) -> dict[str, Any]:
        """What documents have cost so far, and how many found the bucket too empty."""
        return {"spent": self.shop.points, "throttled": self.shop.throttled}

    def _set_plan(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new bucket, full or with `currentlyAvailable` points in it; rates are per sandbox second."""
        allowed = ("maximumAvailable", "restoreRate", "currentlyAvailable")
        if not body or set(body) - set(allowed):
            raise ValueError(f"send some of {', '.join(allowed)}")
        old = self.shop.bucket
        given = {name: number(body, name) for name in allowed if name in body}
        if any(value < 0 for value in given.values()):
            raise ValueError("a plan has no negative numbers")
        burst = given.get("maximumAvailable", old.burst)
        bucket = Bucket(given.get("restoreRate", old.rate), burst, self.core.clock)
        bucket.take(burst - min(burst, given.get("currentlyAvailable", burst)))
        self.shop.bucket = bucket
        return self._plan()

    def _set_token(self, body: dict[str, Any]) -> dict[str, Any]:
        """A token with exactly these scopes; no scopes at all take the token away."""
        token, wanted = scopes(body, SCOPES)
        self.shop.tokens.pop(token, None)
        if wanted:
            self.shop.tokens[token] = Grant(frozenset(wanted))
        return {"token": token, "scopes": wanted}

    def _set_approval(self, body: dict[str, Any]) -> dict[str, Any]:
        """Whether the app may have customers' data."""
        if set(body) != {"approved"} or not isinstance(body["approved"], bool):
            raise ValueError('send "approved", true or false')
        self.shop.approved = body["approved"]
        return {"approved": self.shop.approved}

    def _set_broken(self, body: dict[str, Any]) -> dict[str, Any]:
        """The next `count` answers of a root field are lost as INTERNAL_SERVER_ERROR after they were carried out."""
        if body.get("operation") not in self.operations:
            raise ValueError(f"operation is one of {', '.join(self.operations)}")
        self.api.broken[body["operation"]] = int(body.get("count", 1))
        return {"counts": self.api.broken}


def build(options: Options) -> ASGIApp:
    """The whole sandbox, its world filled."""
    core = Core.of(options)
    shop = Shop.open(core)
    seeding.seed(shop)
    schema = schema_of(VERSIONS[0])
    assert schema.query_type is not None
    assert schema.mutation_type is not None
    operations = [TOKEN_CALL, PAGE_CALL, *schema.query_type.fields, *schema.mutation_type.fields]
    api, login = Api(shop), Login(shop)
    app = Starlette(
        routes=[
            Route(AUTHORIZE_PATH, login.page, methods=["GET"]),
            Route(TOKEN_PATH, _token_endpoint(login), methods=["POST"]),
            Route(bulk.UPLOAD_PATH, _upload_endpoint(shop), methods=["POST"]),
            Route(bulk.FILE_PATH + "{secret}.jsonl", _file_endpoint(shop), methods=["GET"]),
            Route("/admin/api/graphql.json", _graphql_endpoint(api, login), methods=["POST"]),
            Route("/admin/api/{version}/graphql.json", _graphql_endpoint(api, login), methods=["POST"]),
        ]
    )
    shop.webhooks.settle = lambda: bulk.settle(shop)
    return _telling(shop, assemble(core, Platform(core, shop, api, login, operations), app))


def _telling(shop: Shop, app: ASGIApp) -> ASGIApp:
    """The same, and after each request those are told who want to know what it has changed."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        if scope["type"] == "http" and scope["method"] == "POST":
            shop.webhooks.kick(shop)

    return run


def _graphql_endpoint(api: Api, login: Login) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        api.shop.home = str(request.base_url).rstrip("/")
        asked = request.path_params.get("version", "")
        version = asked if asked in VERSIONS else VERSIONS[0]
        headers = {"X-Shopify-API-Version": version, "X-Request-Id": request_id()}
        grant = login.opened(request.headers.get("X-Shopify-Access-Token", ""))
        if grant is None:
            return _answered({"errors": errors.UNAUTHORIZED}, 401, headers)
        if grant.expires_at is None and login.must_expire:
            return _answered({"errors": errors.MUST_EXPIRE}, 403, headers)
        body = _json(await request.body())
        if body is None or not isinstance(body.get("query"), str):
            return _answered({"errors": {"query": "Required parameter missing or invalid"}}, 400, headers)
        if not isinstance(body.get("variables") or {}, dict):
            return _answered({"errors": {"variables": "Variables must be a hash"}}, 400, headers)
        return _answered(api.answer(version, grant, body, headers["X-Request-Id"]), 200, headers)

    return endpoint


def _upload_endpoint(shop: Shop) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return await bulk.upload(shop, request)

    return endpoint


def _file_endpoint(shop: Shop) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return bulk.file(shop, request.path_params["secret"])

    return endpoint


def _token_endpoint(login: Login) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        # Form-encoded as documented; JSON is taken too.
        given = _json(raw) or dict(parse_qsl(raw.decode("utf-8", "replace")))
        headers = {"X-Request-Id": request_id()}
        try:
            return _answered(login.token(given), 200, headers)
        except Refused as problem:
            return _answered(problem.body, problem.status, headers)

    return endpoint


def _answered(body: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(body), status, dict(headers), "application/json; charset=utf-8")


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _named(shop: Shop, value: Any) -> Iterable[str]:
    """SKUs and gids anywhere in an argument; an item's or variant's gid becomes its SKU, work also names its order."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _named(shop, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(shop, inner)
    elif isinstance(value, str) and value.startswith("gid://shopify/"):
        yield from _translated(shop, value)
    elif isinstance(value, str):
        for match in _SKU_TERM.finditer(value):
            yield next(group for group in match.groups() if group is not None)


def _translated(shop: Shop, given: str) -> Iterable[str]:
    kind = ids.kind_of(given)
    if kind == "FulfillmentOrder":
        work = shop.work(ids.place(kind, given))
        return (given,) if work is None else (work.order.id, given)
    if kind in ("InventoryItem", "ProductVariant"):
        place = ids.place(kind, given)
        if 0 <= place < shop.core.world.size:
            return (shop.core.world.product(place).sku,)
    if kind in ("FulfillmentOrderLineItem", "Location"):
        return ()
    return (given,)
