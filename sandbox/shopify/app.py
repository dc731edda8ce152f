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
from starlette.types import ASGIApp, Scope

from sandbox.bucket import Bucket
from sandbox.control import Core, answer, assemble, number
from sandbox.options import Options
from sandbox.shopify import errors, ids, rehearsal, seeding
from sandbox.shopify.api import Api, request_id
from sandbox.shopify.documents import arguments, parsed
from sandbox.shopify.schema import VERSIONS, schema_of
from sandbox.shopify.state import CLIENT_ID, CLIENT_SECRET, SCOPES, TOKEN_LIFE_S, Grant, Shop

TOKEN_PATH = "/admin/oauth/access_token"  # noqa: S105  a path
GRAPHQL_PATH = re.compile(r"/admin/api/(?:([^/]+)/)?graphql\.json")
TOKEN_CALL = "access_token"  # noqa: S105  the operation's name in the journal
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
    operations: Sequence[str]

    def describe(self, scope: Scope, body: bytes) -> tuple[str, list[str]]:
        """The root fields joined by "+", and the SKUs and gids that their arguments name."""
        if scope["path"] == TOKEN_PATH:
            return TOKEN_CALL, []
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
            Route("/internal-errors", answer(self._set_broken), methods=["POST"]),
            Route("/buy", answer(lambda body: rehearsal.buy(self.shop, body)), methods=["POST"]),
            Route("/moods", answer(lambda _: rehearsal.moods(self.shop)), methods=["GET"]),
            Route("/moods", answer(lambda body: rehearsal.set_moods(self.shop, body)), methods=["POST"]),
        ]

    def _plan(self) -> dict[str, Any]:
        bucket = self.shop.bucket
        return {
            "maximumAvailable": bucket.burst,
            "currentlyAvailable": bucket.remaining,
            "restoreRate": bucket.rate,
        }

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
        token, scopes = str(body["token"]), body.get("scopes") or []
        if unknown := [scope for scope in scopes if scope not in SCOPES]:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(SCOPES)}")
        self.shop.tokens.pop(token, None)
        if scopes:
            self.shop.tokens[token] = Grant(frozenset(scopes))
        return {"token": token, "scopes": scopes}

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
    operations = [TOKEN_CALL, *schema.query_type.fields, *schema.mutation_type.fields]
    api = Api(shop)
    app = Starlette(
        routes=[
            Route(TOKEN_PATH, _token_endpoint(shop), methods=["POST"]),
            Route("/admin/api/graphql.json", _graphql_endpoint(api), methods=["POST"]),
            Route("/admin/api/{version}/graphql.json", _graphql_endpoint(api), methods=["POST"]),
        ]
    )
    return assemble(core, Platform(core, shop, api, operations), app)


def _graphql_endpoint(api: Api) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        asked = request.path_params.get("version", "")
        version = asked if asked in VERSIONS else VERSIONS[0]
        headers = {"X-Shopify-API-Version": version, "X-Request-Id": request_id()}
        grant = api.shop.granted(request.headers.get("X-Shopify-Access-Token", ""))
        if grant is None:
            return _answered({"errors": errors.UNAUTHORIZED}, 401, headers)
        body = _json(await request.body())
        if body is None or not isinstance(body.get("query"), str):
            return _answered({"errors": {"query": "Required parameter missing or invalid"}}, 400, headers)
        if not isinstance(body.get("variables") or {}, dict):
            return _answered({"errors": {"variables": "Variables must be a hash"}}, 400, headers)
        return _answered(api.answer(version, grant, body, headers["X-Request-Id"]), 200, headers)

    return endpoint


def _token_endpoint(shop: Shop) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        # Form-encoded as documented; JSON is taken too.
        given = _json(raw) or dict(parse_qsl(raw.decode("utf-8", "replace")))
        headers = {"X-Request-Id": request_id()}
        if given.get("client_id") != CLIENT_ID or given.get("client_secret") != CLIENT_SECRET:
            body = {"error": "invalid_client", "error_description": "Client authentication failed"}
            return _answered(body, 401, headers)
        if given.get("grant_type") != "client_credentials":
            body = {"error": "unsupported_grant_type", "error_description": "Only client_credentials is granted here"}
            return _answered(body, 400, headers)
        token, _ = shop.grant()
        return _answered({"access_token": token, "scope": ",".join(SCOPES), "expires_in": TOKEN_LIFE_S}, 200, headers)

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
