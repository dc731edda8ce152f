"""One request: who asks, may they, is there any of their quota left, was it asked before; then the operation, and its answer."""

import asyncio
import hashlib
import json
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sandbox.shop.state import KEY_LIFE, READ_TOKEN, Done, Grant, Shop

PROBLEMS = "https://shop.example/problems/"
JSON, PROBLEM, NDJSON = "application/json; charset=utf-8", "application/problem+json", "application/x-ndjson"
MOST_BYTES = 16_000_000
TITLES = {
    "bad-request": (400, "The request cannot be read"),
    "invalid-cursor": (400, "The cursor is broken or too old"),
    "idempotency-key-missing": (400, "Idempotency-Key is missing"),
    "unauthorized": (401, "No token, or one that is over"),
    "forbidden-scope": (403, "The token may not do this"),
    "not-found": (404, "Not found"),
    "unknown-sku": (404, "Unknown SKU"),
    "unknown-location": (404, "Unknown location"),
    "conflict": (409, "Conflict"),
    "sku-exists": (409, "The SKU is taken"),
    "over-shipment": (409, "Quantity exceeds what is left"),
    "already-shipped": (409, "A parcel is on its way"),
    "order-cancelled": (409, "The order is cancelled"),
    "insufficient-stock": (409, "There are not so many"),
    "idempotency-in-progress": (409, "The first request with this key is under way"),
    "gone": (410, "It is no more"),
    "stale-revision": (412, "It has changed"),
    "stale-quantity": (412, "Quantity changed"),
    "payload-too-large": (413, "Too much at once"),
    "validation": (422, "Not acceptable"),
    "exceeds-captured": (422, "More than was paid"),
    "idempotency-mismatch": (422, "The key stands for another request"),
    "precondition-required": (428, "If-Match is missing"),
    "rate-limited": (429, "Too many requests"),
    "internal": (500, "The shop failed"),
    "not-offered": (501, "This shop does not have the part"),
    "maintenance": (503, "Down for maintenance"),
}


class Problem(Exception):
    """A failure by its name; `more` are further members."""

    def __init__(self, name: str, detail: str = "", pointer: str | None = None, **more: object) -> None:
        super().__init__(name)
        self.name = name
        self.status, title = TITLES[name]
        self.body: dict[str, Any] = {"type": PROBLEMS + name, "title": title, "status": self.status}
        if detail:
            self.body["detail"] = detail
        if pointer is not None:
            self.body["errors"] = [{"pointer": f"#{pointer}", "detail": detail or title}]
        self.body |= more


@dataclass(slots=True)
class Answer:
    """`body` becomes JSON unless it is bytes; `rev` makes the ETag."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    rev: int | None = None
    media: str = JSON


@dataclass(slots=True)
class Call:
    """What an operation gets: `id` is the one of the path, "" where there is none."""

    shop: Shop
    request: Request
    grant: Grant
    raw: bytes
    id: str = ""

    def query(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent."""
        try:
            value = json.loads(self.raw)
        except ValueError as problem:
            raise Problem("bad-request", "The body is no JSON") from problem
        if not isinstance(value, dict):
            raise Problem("bad-request", "The body is no JSON object")
        return value

    def matched(self, rev: int) -> None:
        """`If-Match` names this revision."""
        given = self.request.headers.get("If-Match")
        if given is None and "locking.required" not in self.shop.broken:
            raise Problem("precondition-required", "Send If-Match with the ETag that the change is based on")
        if given is not None and given != f'"{rev}"' and "locking.stale" not in self.shop.broken:
            raise Problem("stale-revision", f'It is at "{rev}"')

    def url(self, path: str) -> str:
        """An absolute address of this shop."""
        return f"{str(self.request.base_url).rstrip('/')}{PREFIX}{path}"


PREFIX = "/api/v1"
Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `keyed` ones need an Idempotency-Key; `scope` "" needs any token."""

    name: str
    method: str
    path: str
    part: str
    scope: str
    handler: Handler
    keyed: bool = False


def operation(
    table: list[Operation], method: str, path: str, part: str, scope: str, *, keyed: bool = False
) -> Callable[[Handler], Handler]:
    """Enter a handler in a table, under its own name in camel case."""

    def entered(handler: Handler) -> Handler:
        first, *rest = handler.__name__.split("_")
        name = first + "".join(word.capitalize() for word in rest)
        table.append(Operation(name, method, path, part, scope, handler, keyed))
        return handler

    return entered


async def answered(shop: Shop, chosen: Operation, request: Request) -> Response:
    """Carry one request out, up to the bytes."""
    headers = {"X-Request-Id": request_id(shop, request)}
    try:
        call = await _admitted(shop, chosen, request, headers)
        answer = await _once(call, chosen) if chosen.keyed else await _done(call, chosen)
    except Problem as problem:
        return refused(shop, problem, headers)
    return _made(call, answer, headers)


async def _admitted(shop: Shop, chosen: Operation, request: Request, headers: dict[str, str]) -> Call:
    """The call, once its token, its part, the quota and its scope let it pass."""
    grant = _granted(shop, request)
    if chosen.part and chosen.part not in shop.parts and not _unnamed(shop, chosen):
        raise Problem("not-offered", f"This shop has no {chosen.part}")
    _paid(shop, headers)
    if chosen.scope and chosen.scope not in grant.scopes and "token.scopes" not in shop.broken:
        raise Problem("forbidden-scope", f"The token lacks {chosen.scope}", scope=chosen.scope)
    raw = await request.body()
    if len(raw) > MOST_BYTES:
        raise Problem("payload-too-large", "At most 16 MB")
    return Call(shop, request, grant, raw, request.path_params.get("id", ""))


def refused(shop: Shop, problem: Problem, headers: Mapping[str, str]) -> Response:
    """A failure as its answer."""
    media = "application/json" if "start.problems" in shop.broken else PROBLEM
    body = {**problem.body, "instance": f"/requests/{headers['X-Request-Id']}"}
    more = {}
    if problem.status == 503:
        more["Retry-After"] = "2"
    return Response(orjson.dumps(body), problem.status, {**headers, **more}, media)


def request_id(shop: Shop, request: Request) -> str:
    given = request.headers.get("X-Request-Id")
    return given if given and "start.request-id" not in shop.broken else f"req_{secrets.token_hex(8)}"


def _granted(shop: Shop, request: Request) -> Grant:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    found = shop.granted(token.strip()) if kind.lower() == "bearer" else None
    if found is None and "start.token" in shop.broken:
        return shop.tokens[READ_TOKEN]
    if found is None:
        raise Problem("unauthorized", "Send Authorization: Bearer with a token of this shop")
    return found


def _unnamed(shop: Shop, chosen: Operation) -> bool:
    """A part that is there although the shop does not name it."""
    return chosen.part == "webhooks" and "start.parts" in shop.broken


def _paid(shop: Shop, headers: dict[str, str]) -> None:
    """Take one request from the quota, and say what remains."""
    quota = shop.quota
    taken = quota.bucket.take()
    remaining = max(0, math.floor(quota.bucket.remaining + 1e-9))
    whole_s = math.ceil((quota.q - quota.bucket.remaining) / quota.bucket.rate) if quota.bucket.rate else quota.w
    if "start.rate-limit" not in shop.broken:
        headers["RateLimit-Policy"] = f'"default";q={quota.q};w={quota.w}'
        headers["RateLimit"] = f'"default";r={remaining};t={max(0, whole_s)}'
    if not taken:
        wait_s = (1 - quota.bucket.remaining) / quota.bucket.rate if quota.bucket.rate else quota.w
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
        raise Problem("rate-limited", f"{quota.q} requests in {quota.w} s")


async def _done(call: Call, chosen: Operation) -> Answer:
    if chosen.method != "GET" and call.shop.stock.moods.slow_s:
        await asyncio.sleep(call.shop.stock.moods.slow_s)
    return chosen.handler(call)


async def _once(call: Call, chosen: Operation) -> Answer:
    """Carry it out unless its key stands for an answer already. What failed without doing anything is not kept."""
    shop, given = call.shop, call.request.headers.get("Idempotency-Key", "")
    if not (len(given) > 2 and given[0] == given[-1] == '"'):
        if "once.required" in shop.broken:
            return await _done(call, chosen)
        raise Problem("idempotency-key-missing", 'Send Idempotency-Key: "…", a quoted string')
    key = (call.grant.client, chosen.method, call.request.url.path, given)
    fingerprint = hashlib.sha256(call.raw + call.request.url.query.encode()).hexdigest()
    now = shop.now()
    found = shop.done.get(key)
    if found is not None and (now - found.at > KEY_LIFE or _forgetful(shop, chosen)):
        found = None
    if found is not None:
        return _replayed(shop, found, fingerprint)
    late = "once.at-once" in shop.broken
    if not late:
        shop.done[key] = Done(fingerprint, now)
    else:
        await asyncio.sleep(0.05)
    try:
        answer = await _done(call, chosen)
    except Problem as problem:
        if problem.status >= 500:
            shop.done.pop(key, None)
            raise
        shop.done[key] = Done(fingerprint, now, problem.status, orjson.dumps(problem.body), (("media", PROBLEM),))
        raise
    except BaseException:
        shop.done.pop(key, None)
        raise
    body = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
    kept = (("media", answer.media), ("rev", "" if answer.rev is None else str(answer.rev)), *answer.headers.items())
    shop.done[key] = Done(fingerprint, now, answer.status, body, kept)
    return answer


def _forgetful(shop: Shop, chosen: Operation) -> bool:
    """Whether this shop keeps no keys of the operation."""
    return ("shipments.once" if chosen.part == "shipments" else "once.replay") in shop.broken


def _replayed(shop: Shop, found: Done, fingerprint: str) -> Answer:
    if found.fingerprint != fingerprint and "once.mismatch" not in shop.broken:
        raise Problem("idempotency-mismatch", "The same key with another body")
    if found.body is None:
        raise Problem("idempotency-in-progress", "Ask again with the same key")
    headers = dict(found.headers)
    media, rev = headers.pop("media"), headers.pop("rev", "")
    headers["Idempotency-Replayed"] = "true"
    return Answer(found.body, found.status, headers, int(rev) if rev else None, media)


def _made(call: Call, answer: Answer, headers: dict[str, str]) -> Response:
    headers |= answer.headers
    broken = call.shop.broken
    if answer.rev is not None:
        headers["ETag"] = f'W/"{answer.rev}"' if "locking.etag" in broken else f'"{answer.rev}"'
        asked = call.request.headers.get("If-None-Match")
        known = asked is not None and f'"{answer.rev}"' in [part.strip() for part in asked.split(",")]
        if known and call.request.method == "GET" and "locking.not-modified" not in broken:
            return Response(None, 304, headers)
    if answer.body is None and answer.status in (202, 204):
        return Response(None, answer.status, headers)
    body = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
    return Response(body, answer.status, headers, answer.media)


def expired_keys(shop: Shop) -> None:
    """Forget what keys stood for when their life is over."""
    edge = shop.now() - KEY_LIFE - timedelta(minutes=1)
    for key in [key for key, kept in shop.done.items() if kept.at < edge]:
        del shop.done[key]


# reading what was sent


def text(body: Mapping[str, Any], name: str, at: str, most: int = 128) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise Problem("validation", f"{name} is a text of 1 to {most} characters", f"{at}/{name}")
    return value


def optional_text(body: Mapping[str, Any], name: str, at: str, most: int = 500) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > most):
        raise Problem("validation", f"{name} is a text of at most {most} characters", f"{at}/{name}")
    return value


def units(body: Mapping[str, Any], name: str, at: str, least: int | None = None) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        bound = "" if least is None else f" of at least {least}"
        raise Problem("validation", f"{name} is a whole number{bound}", f"{at}/{name}")
    return value


def choice(body: Mapping[str, Any], name: str, at: str, words: Sequence[str], default: str | None = None) -> str:
    value = body.get(name, default)
    if value not in words:
        raise Problem("validation", f"{name} is one of {', '.join(words)}", f"{at}/{name}")
    return str(value)


def flag(body: Mapping[str, Any], name: str, at: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise Problem("validation", f"{name} is true or false", f"{at}/{name}")
    return value


def rows(body: Mapping[str, Any], name: str, at: str) -> list[dict[str, Any]]:
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Problem("validation", f"{name} is a list of objects", f"{at}/{name}")
    return value
