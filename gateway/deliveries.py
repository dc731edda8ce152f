"""How what others deliver to us by POST is answered, whoever it is: feeds of warehouses, notifications of platforms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from gateway import metrics
from gateway.asgi import ClientLeft, Receive, Scope, Send, head_lines, our_server, request_id, respond
from gateway.body import BadRequest
from gateway.execution import write_json

JSON = "application/json; charset=utf-8"
RETRY_AFTER_S = 5

Told: TypeAlias = tuple[int, Any, Mapping[str, str]]
"""Status, body and headers of an answer."""


async def deliver(
    route: str, answer: Callable[[Scope, Receive], Awaitable[Told]], scope: Scope, receive: Receive, send: Send
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


def database_away() -> Told:
    """Nothing could be kept, so nothing was taken."""
    retry = {"retry-after": str(RETRY_AFTER_S)}
    return 503, {"error": "The database is away. Nothing was taken; send it again."}, retry
