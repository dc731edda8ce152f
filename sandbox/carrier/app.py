"""The stand-in of a carriers' aggregator as an ASGI app: docs/carrier/openapi.yaml under /v1, and the control plane."""

import base64
import hashlib
import json
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Scope

from sandbox.bucket import Bucket
from sandbox.carrier.store import (
    CURRENCY,
    FORMATS,
    MOST_CM,
    MOST_GRAMS,
    QUOTA,
    READ_TOKEN,
    SERVICES,
    STATUSES,
    TOKEN,
    WINDOW_S,
    Carrier,
    Label,
    Service,
    document,
    stamp,
)
from sandbox.control import Core, answer, assemble, number
from sandbox.options import Options

PREFIX = "/v1"
PROBLEMS = "https://carrier.example/problems/"
TITLES = {
    "bad-request": (400, "The request cannot be read"),
    "idempotency-key-missing": (400, "Idempotency-Key is missing"),
    "unauthorized": (401, "No token, or one that is over"),
    "forbidden-scope": (403, "The token may not do this"),
    "not-found": (404, "Not found"),
    "conflict": (409, "Conflict"),
    "price-rose": (409, "It costs more by now"),
    "reference-taken": (409, "The reference stands for another label"),
    "too-late": (409, "The carrier has the parcel"),
    "validation": (422, "Not acceptable"),
    "no-service": (422, "This service does not carry the parcel"),
    "idempotency-mismatch": (422, "The key stands for another request"),
    "rate-limited": (429, "Too many requests"),
    "internal": (500, "The carrier failed"),
    "maintenance": (503, "Down for maintenance"),
}
_BY_STATUS = {401: "unauthorized", 403: "forbidden-scope", 404: "not-found", 409: "conflict", 422: "validation"} | {
    429: "rate-limited",
    503: "maintenance",
}
_NEEDED = ("name", "line1", "city", "postal_code", "country")
_PAGE = 100


class Problem(Exception):
    """A failure by its name."""

    def __init__(self, name: str, detail: str = "", status: int | None = None) -> None:
        super().__init__(name)
        self.status, title = TITLES[name]
        self.status = status or self.status
        self.body = {"type": PROBLEMS + name, "title": title, "status": self.status} | (
            {"detail": detail} if detail else {}
        )


@dataclass(slots=True)
class Call:
    """What an operation gets."""

    carrier: Carrier
    request: Request
    raw: bytes
    id: str

    @property
    def body(self) -> dict[str, Any]:
        try:
            value = json.loads(self.raw, parse_float=Decimal)
        except ValueError:
            raise Problem("bad-request", "The body is no JSON") from None
        if not isinstance(value, dict):
            raise Problem("bad-request", "The body is no JSON object")
        return value

    @property
    def label(self) -> Label:
        found = self.carrier.labels.get(self.id)
        if found is None:
            raise Problem("not-found")
        return found


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    method: str
    path: str
    handler: Callable[[Call], tuple[int, Any]]
    write: bool = False


def get_account(call: Call) -> tuple[int, Any]:
    carriers = list(dict.fromkeys(each.carrier for each in SERVICES))
    return 200, {"contract": "1.0", "name": "Sandbox parcels", "currency": CURRENCY, "carriers": carriers}


def post_rates(call: Call) -> tuple[int, Any]:
    body, now = call.body, call.carrier.core.clock.now()
    leaves = _moment(body.get("ship_at")) or now
    return 200, {
        "data": [
            {
                "carrier": each.carrier,
                "carrier_name": each.carrier_name,
                "service": each.service,
                "service_name": each.service_name,
                "price": {"amount": str(price), "currency": CURRENCY},
                "arrives_until": stamp(leaves + timedelta(days=each.days)),
                "formats": list(each.formats),
            }
            for each in SERVICES
            if (price := _price(call.carrier, each, body)) is not None
        ]
    }


def buy_label(call: Call) -> tuple[int, Any]:
    carrier, key = call.carrier, call.request.headers.get("Idempotency-Key", "")
    if not (len(key) > 2 and key[0] == key[-1] == '"'):
        raise Problem("idempotency-key-missing", 'Send Idempotency-Key: "…", a quoted string')
    body, fingerprint = call.body, hashlib.sha256(call.raw).hexdigest()
    if (known := carrier.keys.get(key)) is not None:
        if known[1] != fingerprint:
            raise Problem("idempotency-mismatch")
        return 201, carrier.labels[known[0]].told()
    reference = _text(body, "reference")
    if reference in carrier.by_reference:
        raise Problem("reference-taken")
    format = str(body.get("format"))
    service = next(
        (each for each in SERVICES if (each.carrier, each.service) == (body.get("carrier"), body.get("service"))), None
    )
    if service is None or format not in service.formats:
        raise Problem("no-service", "No such service, or it does not print this format")
    price = _price(carrier, service, body)
    if price is None:
        raise Problem("no-service", "It does not go there")
    most = body.get("most")
    if not isinstance(most, dict) or most.get("currency") != CURRENCY:
        raise Problem("validation", f"most is an amount in {CURRENCY}")
    if price > _decimal(most.get("amount")):
        raise Problem("price-rose", f"It costs {price} {CURRENCY}")
    label = carrier.buy(reference, service, price, format)
    carrier.keys[key] = label.id, fingerprint
    carrier.documents[label.id] = document(format, label.tracking, str(body["ship_to"]["name"]))
    return 201, label.told()


def list_labels(call: Call) -> tuple[int, Any]:
    query = call.request.query_params
    found = list(call.carrier.labels.values())
    if "reference" in query:
        found = [one for one in found if one.reference == query["reference"]]
    since = _moment(query.get("bought_since"))
    if since is not None:
        found = [one for one in found if one.bought_at >= since]
    if "cursor" in query:
        found = [one for one in found if one.id > query["cursor"]]
    page, more = found[:_PAGE], len(found) > _PAGE
    return 200, {"data": [one.told() for one in page], "next_cursor": page[-1].id if more else None}


def get_label(call: Call) -> tuple[int, Any]:
    return 200, call.label.told()


def void_label(call: Call) -> tuple[int, Any]:
    if not call.carrier.void(call.label):
        raise Problem("too-late")
    return 200, call.label.told()


def get_document(call: Call) -> tuple[int, Any]:
    label, data = call.label, call.carrier.documents[call.id]
    return 200, {
        "format": label.format,
        "media_type": FORMATS[label.format],
        "sha256": hashlib.sha256(data).hexdigest(),
        "content": base64.b64encode(data).decode(),
    }


OPERATIONS = (
    Operation("getAccount", "GET", "/", get_account),
    Operation("rates", "POST", "/rates", post_rates),
    Operation("buyLabel", "POST", "/labels", buy_label, write=True),
    Operation("listLabels", "GET", "/labels", list_labels),
    Operation("getLabel", "GET", "/labels/{id}", get_label),
    Operation("voidLabel", "POST", "/labels/{id}/void", void_label, write=True),
    Operation("getDocument", "GET", "/labels/{id}/document", get_document),
)


def _price(carrier: Carrier, service: Service, body: Mapping[str, Any]) -> Decimal | None:
    """What it costs; None where the service does not go there. Raises Problem for a parcel that nobody takes."""
    home, there, box = (_object(body, name) for name in ("ship_from", "ship_to", "box"))
    for name, address in (("ship_from", home), ("ship_to", there)):
        for part in _NEEDED:
            if not isinstance(address.get(part), str) or not address[part].strip():
                raise Problem("validation", f"{name} needs its {part}")
    sizes = [_decimal(box.get(name)) for name in ("length_cm", "width_cm", "height_cm")]
    grams = _decimal(box.get("weight_g"))
    if min(*sizes, grams) <= 0 or max(sizes) > MOST_CM or grams > MOST_GRAMS:
        raise Problem("validation", f"A parcel has at most {MOST_CM} cm and {MOST_GRAMS} g")
    return carrier.price(
        service, grams, (home["country"], home["postal_code"]), (there["country"], there["postal_code"])
    )


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise Problem("validation", f"{name} is an object")
    return value


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 100:
        raise Problem("validation", f"{name} is a text of 1 to 100 characters")
    return value


def _decimal(value: object) -> Decimal:
    try:
        found = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        found = None
    if found is None or not found.is_finite():
        raise Problem("validation", "Numbers are decimals in strings")
    return found


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Problem("validation", "Times are RFC 3339")
    return found


@dataclass(slots=True)
class Platform:
    """The aggregator as the core sees it."""

    core: Core
    carrier: Carrier
    routes: list[tuple[Route, str]] = field(default_factory=list)

    @property
    def operations(self) -> Sequence[str]:
        return [each.name for each in OPERATIONS]

    def describe(self, scope: Scope, body: bytes) -> tuple[str, list[str]]:
        for route, name in self.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                query = parse_qs(scope["query_string"].decode("latin-1"))
                named = [str(value) for value in found.get("path_params", {}).values()]
                return name, [*named, *query.get("reference", ())]
        return "unknown", []

    def fault_answer(self, operation: str, status: int) -> Response:
        return _refused(Problem(_BY_STATUS.get(status, "internal"), status=status), {"X-Request-Id": "req_fault"})

    def world_answer(self, limit: int, offset: int) -> dict[str, Any]:
        """The labels there are, and what the account owes."""
        self.carrier.settle()
        labels = [one.told() for one in self.carrier.labels.values()][offset : offset + limit]
        return {"labels": labels, "balance": {"amount": str(self.carrier.balance), "currency": CURRENCY}}

    def set_state(self, body: dict[str, Any]) -> dict[str, Any]:
        """Where parcels are: {"parcels": [{"trackingNumber", "status"}]}."""
        by_number = {one.tracking: one for one in self.carrier.labels.values()}
        wanted = [(str(one["trackingNumber"]), str(one["status"])) for one in body["parcels"]]
        for tracking, status in wanted:
            if tracking not in by_number or status not in STATUSES:
                raise ValueError(f"there is no parcel {tracking!r}, or no status {status!r}")
        for tracking, status in wanted:
            by_number[tracking].where, by_number[tracking].where_at = status, self.core.clock.now()
        return {"parcels": len(wanted)}

    def extra_routes(self) -> list[BaseRoute]:
        return [
            Route("/plans", answer(lambda _: self._plan()), methods=["GET"]),
            Route("/plans", answer(self._set_plan), methods=["POST"]),
        ]

    def _plan(self) -> dict[str, Any]:
        bucket = self.carrier.bucket
        return {"q": bucket.burst, "rate": bucket.rate, "remaining": bucket.remaining}

    def _set_plan(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new quota: `q` requests in `w` sandbox seconds, of which `remaining` are left."""
        q, w = number(body, "q"), number(body, "w")
        if q < 1 or w < 1:
            raise ValueError("q and w are at least 1")
        self.carrier.bucket = Bucket(q / w, q, self.core.clock)
        self.carrier.bucket.take(q - min(q, number(body, "remaining") if "remaining" in body else q))
        return self._plan()


def build(options: Options) -> ASGIApp:
    """The whole sandbox; nothing is bought yet."""
    core = Core.of(options)
    platform = Platform(core, Carrier(core))
    platform.routes = [(_route(platform.carrier, each), each.name) for each in OPERATIONS]
    app = Starlette(routes=[route for route, _ in platform.routes], exception_handlers={404: _none, 405: _none})
    return assemble(core, platform, app)


def _route(carrier: Carrier, chosen: Operation) -> Route:
    async def endpoint(request: Request) -> Response:
        headers = {"X-Request-Id": request.headers.get("X-Request-Id") or f"req_{secrets.token_hex(8)}"}
        carrier.settle()
        try:
            _admit(carrier, chosen, request, headers)
            call = Call(carrier, request, await request.body(), request.path_params.get("id", ""))
            status, body = chosen.handler(call)
        except Problem as problem:
            return _refused(problem, headers)
        return Response(orjson.dumps(body), status, headers, "application/json")

    return Route(PREFIX + chosen.path, endpoint, methods=[chosen.method])


def _admit(carrier: Carrier, chosen: Operation, request: Request, headers: dict[str, str]) -> None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or token.strip() not in (TOKEN, READ_TOKEN):
        raise Problem("unauthorized", "Send Authorization: Bearer with a token of this account")
    taken, bucket = carrier.bucket.take(), carrier.bucket
    headers["RateLimit-Policy"] = f'"default";q={bucket.burst:.0f};w={bucket.burst / bucket.rate:.0f}'
    missing = (bucket.burst - bucket.remaining) / bucket.rate
    headers["RateLimit"] = f'"default";r={math.floor(bucket.remaining + 1e-9)};t={math.ceil(missing)}'
    if not taken:
        headers["Retry-After"] = str(max(1, math.ceil((1 - bucket.remaining) / bucket.rate)))
        raise Problem("rate-limited", f"{QUOTA} requests in {WINDOW_S} s")
    if chosen.write and token.strip() == READ_TOKEN:
        raise Problem("forbidden-scope", "The token may only read")


def _refused(problem: Problem, headers: dict[str, str]) -> Response:
    wait = {"Retry-After": "1"} if problem.status in (429, 503) and "Retry-After" not in headers else {}
    return Response(orjson.dumps(problem.body), problem.status, {**headers, **wait}, "application/problem+json")


async def _none(request: Request, problem: Exception) -> Response:
    return _refused(Problem("not-found", status=getattr(problem, "status_code", 404)), {"X-Request-Id": "req_none"})
