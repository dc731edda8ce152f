"""How what others deliver to us by POST is answered, whoever it is: feeds of warehouses, notifications of platforms."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar

from domain.feed import FeedIn, sane_id, signed
from domain.tracking import TrackingSource
from gateway import metrics
from gateway.asgi import (
    ClientLeft,
    Receive,
    Scope,
    Send,
    head_lines,
    header,
    our_server,
    read_body,
    request_id,
    respond,
)
from gateway.body import BadRequest
from gateway.execution import write_json

JSON = "application/json; charset=utf-8"
RETRY_AFTER_S = 5
BODY_LIMIT = 1024 * 1024

S = TypeVar("S", FeedIn, TrackingSource)

Reply: TypeAlias = tuple[int, Any, Mapping[str, str]]
"""Status, body and headers of an answer."""


async def deliver(
    route: str, answer: Callable[[Scope, Receive], Awaitable[Reply]], scope: Scope, receive: Receive, send: Send
) -> None:
    """Send what `answer` says, or why it refuses, and count it under `route`; nothing to a client that has left."""
    id = request_id(scope)
    try:
        status, body, headers = await answer(scope, receive)
    except ClientLeft:
        metrics.LEFT.inc()
        return
    except BadRequest as problem:
        status, body, headers = problem.status, {"error": problem.message}, problem.headers
    metrics.REQUESTS.labels(route, status).inc()
    told, lines = write_json(body), {"content-type": JSON, "x-request-id": id, **headers}
    whole = our_server(scope) if status == HTTPStatus.OK else None
    if whole is None or not whole["answer"](head_lines({**lines, "content-length": str(len(told))}), told):
        await respond(send, status, told, lines)


async def proven(sender: S | None, kind: str, scope: Scope, receive: Receive) -> tuple[S, str, bytes]:
    """(the sender, the delivery's id, its body), once its signature, as of Standard Webhooks, has been found good.

    Raises BadRequest, without a word on what is wrong: an unknown sender, an old delivery and a forged one look alike.
    """
    id = header(scope, "webhook-id") or ""
    body = await read_body(scope, receive, BODY_LIMIT)
    good = signed(
        () if sender is None else sender.secrets,
        id,
        header(scope, "webhook-timestamp") or "",
        body,
        header(scope, "webhook-signature") or "",
        time.time(),
    )
    if sender is None or not good or not sane_id(id):
        metrics.AUTH_FAILURES.labels(kind).inc()
        raise BadRequest("The signature is not good.", status=401)
    return sender, id, body


def database_away() -> Reply:
    """Nothing could be kept, so nothing was taken."""
    retry = {"retry-after": str(RETRY_AFTER_S)}
    return 503, {"error": "The database is away. Nothing was taken; send it again."}, retry
