"""The smallest shop that keeps the contract: three mugs, in Starlette. `uvicorn smallest:app --port 8040` starts it."""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "mugs-secret"  # noqa: S105  an example
SHOP = {
    "contract": "1.0",
    "name": "Mugs",
    "currency": "EUR",
    "parts": ["products"],
    "limits": {"page": 250, "bulk": 250},
    "scopes": ["catalog:read"],
}


def mug(number: int, color: str) -> dict[str, Any]:
    changed = f"2026-11-2{number}T08:00:00Z"
    price = {"amount": "26.90", "currency": "EUR"}
    variant = {
        "id": f"var_{number}",
        "rev": "1",
        "sku": f"MUG-{color}",
        "title": color,
        "price": price,
        "tracked": True,
    }
    variant |= {"options": {"color": color}, "updated_at": changed}
    product = {"id": f"prd_{number}", "rev": "1", "title": f"Mug, {color}", "status": "active"}
    return product | {"updated_at": changed, "variants": [variant]}


MUGS = [mug(1, "red"), mug(2, "green"), mug(3, "black")]


async def shop(_: Request) -> Response:
    return JSONResponse(SHOP)


async def healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def products(request: Request) -> Response:
    asked = request.query_params
    limit = int(asked.get("limit", "50")) if asked.get("limit", "50").isdecimal() else 0
    if not 1 <= limit <= 250:
        raise HTTPException(400, "bad-request")
    rows = sorted((row for row in MUGS if wanted(row, asked)), key=place)
    if "cursor" in asked:
        after = read(asked["cursor"])
        rows = [row for row in rows if place(row) > after]
    page, more = rows[:limit], len(rows) > limit
    cursor = base64.urlsafe_b64encode(json.dumps(place(page[-1])).encode()).decode() if more else None
    link = {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'} if more else {}
    return JSONResponse({"data": page, "next_cursor": cursor}, headers=link)


def wanted(row: dict[str, Any], asked: Any) -> bool:
    """`q`, the words of the title, is left as an exercise."""
    since = asked.get("updated_since", row["updated_at"])
    # Times are compared as times: "08:00:00Z" and "08:00:00.000Z" are one.
    return at(row["updated_at"]) >= at(since) and asked.get("status", row["status"]) == row["status"]


def at(text: str) -> datetime:
    if not text.endswith("Z"):
        raise HTTPException(400, "bad-request")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise HTTPException(400, "bad-request") from None


def place(row: dict[str, Any]) -> list[str]:
    """What a cursor holds: the place of a row in the list, and never a count of rows."""
    return [row["updated_at"], row["id"]]


def read(cursor: str) -> list[str]:
    try:
        changed, id = json.loads(base64.urlsafe_b64decode(cursor))
    except ValueError:
        raise HTTPException(400, "invalid-cursor") from None
    return [str(changed), str(id)]


async def product(request: Request) -> Response:
    for row in MUGS:
        if row["id"] == request.path_params["id"]:
            etag = f'"{row["rev"]}"'
            if request.headers.get("If-None-Match") == etag:
                return Response(status_code=304, headers={"ETag": etag})
            return JSONResponse(row, headers={"ETag": etag})
    raise HTTPException(404, "not-found")


async def variants(request: Request) -> Response:
    # In a SKU a comma comes as %2C once more, so that it is none between two.
    skus = [unquote(sku) for sku in request.query_params.get("sku", "").split(",") if sku]
    if not 1 <= len(skus) <= 100:
        raise HTTPException(400, "bad-request")
    known = {variant["sku"]: variant for row in MUGS for variant in row["variants"]}
    found, missing = [known[sku] for sku in skus if sku in known], [sku for sku in skus if sku not in known]
    return JSONResponse({"data": found, "missing": missing})


def refused(_: Request, problem: Exception) -> Response:
    """Every failure looks the same; programs look at the last segment of `type`."""
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    name = problem.detail if isinstance(problem, HTTPException) else "internal"
    name = {"Not Found": "not-found", "Method Not Allowed": "method-not-allowed"}.get(name, name)
    told = {"type": f"https://mugs.example/problems/{name}", "title": name, "status": status}
    return JSONResponse(told, status, media_type="application/problem+json")


async def every(request: Request, answer: RequestResponseEndpoint) -> Response:
    """What all answers have, and the token that all but health want."""
    health = request.url.path.startswith("/health/")
    good = hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {TOKEN}".encode())
    response = await answer(request) if health or good else refused(request, HTTPException(401, "unauthorized"))
    response.headers["X-Request-Id"] = request.headers.get("X-Request-Id", uuid.uuid4().hex)
    if not health:
        # Nothing is counted here: the shop says that there is always room.
        response.headers["RateLimit-Policy"] = '"default";q=600;w=60'
        response.headers["RateLimit"] = '"default";r=600;t=0'
    return response


app = Starlette(
    routes=[
        Route("/", shop),
        Route("/health/live", healthy),
        Route("/health/ready", healthy),
        Route("/products", products),
        Route("/products/{id}", product),
        Route("/variants", variants),
    ],
    middleware=[Middleware(BaseHTTPMiddleware, dispatch=every)],
    exception_handlers={HTTPException: refused, 500: refused},
)
