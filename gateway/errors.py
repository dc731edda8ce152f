"""How failures reach clients: ours in our words, everything else masked, with the detail in the log under the request's id."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError

from domain.errors import Exhausted, HouseError, Refused, Throttled
from store.session import UNAVAILABLE

log = logging.getLogger(__name__)

Told = dict[str, Any]


def tell(error: GraphQLError, request_id: str) -> Told:
    """An entry of `errors`. What nobody planned is logged and told as an internal error."""
    cause = _cause(error)
    entry: Told = {"message": error.message}
    if error.locations:
        entry["locations"] = [{"line": one.line, "column": one.column} for one in error.locations]
    if error.path is not None:
        entry["path"] = list(error.path)
    if isinstance(cause, HouseError):
        return {**entry, **tell_house_error(cause)}
    if cause is None or error.path is None:
        # Written by graphql-core or by us for the client; a failed coercion carries the exception of our own scalar.
        return {**entry, "extensions": {"code": "BAD_USER_INPUT", **(error.extensions or {})}}
    if isinstance(cause, UNAVAILABLE):
        log.warning("graphql.unavailable", extra={"request_id": request_id, "reason": type(cause).__name__})
        return {**entry, **unavailable()}
    log.error("graphql.failed", exc_info=cause, extra={"request_id": request_id, "path": entry.get("path")})
    return {**entry, **internal(request_id)}


def tell_house_error(problem: HouseError, path: Sequence[str | int] | None = None) -> Told:
    """One of our errors, with its code and what helps to act on it."""
    extensions: dict[str, Any] = {"code": problem.code}
    if isinstance(problem, Throttled):
        extensions["retryAfterMs"] = round(problem.retry_after_s * 1000)
    if isinstance(problem, Exhausted):
        extensions |= {"unit": problem.unit, "cost": problem.cost, "left": problem.left, "limit": problem.limit}
        if problem.retry_after_s is not None:
            extensions["retryAfterMs"] = round(problem.retry_after_s * 1000)
    if isinstance(problem, Refused) and problem.field:
        extensions["field"] = list(problem.field)
    if problem.upstream_request_id:
        extensions["upstreamRequestId"] = problem.upstream_request_id
    if problem.upstream_code:
        extensions["upstreamCode"] = problem.upstream_code
    entry: Told = {"message": problem.message, "extensions": extensions}
    if path is not None:
        entry["path"] = list(path)
    return entry


def unavailable() -> Told:
    """The database is away."""
    return {
        "message": "The database does not answer; try again in a moment.",
        "extensions": {"code": "UNAVAILABLE", "retryAfterMs": 1000},
    }


def internal(request_id: str) -> Told:
    """A mistake of ours."""
    return {
        "message": f"Internal error. Tell support the request id {request_id}.",
        "extensions": {"code": "INTERNAL", "requestId": request_id},
    }


def tell_exception(problem: BaseException, request_id: str) -> Told:
    """What was raised outside of any field, such as by the source of a subscription."""
    if isinstance(problem, GraphQLError):
        return tell(problem, request_id)
    if isinstance(problem, HouseError):
        return tell_house_error(problem)
    if isinstance(problem, UNAVAILABLE):
        return unavailable()
    log.error("graphql.failed", exc_info=problem, extra={"request_id": request_id})
    return internal(request_id)


def _cause(error: GraphQLError) -> BaseException | None:
    """What was raised in the first place; GraphQL errors wrap each other."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause
