"""The body of a GraphQL request: one JSON object, read strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson


class BadRequest(Exception):
    """A request that is not GraphQL over HTTP. Answered with `status` and GraphQL JSON, whatever the client accepts."""

    def __init__(
        self, message: str, *, status: int = 400, code: str = "BAD_REQUEST", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks to be executed."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict)
    operation_name: str | None = None


def parse_json(body: bytes) -> Any:
    """JSON, strictly. Raises BadRequest for what other readers let pass, each in its own way: a byte order mark, bytes that are
    not UTF-8, NaN, numbers beyond 64 bits, lone surrogates, a name given twice; and for NUL, which PostgreSQL has no text for."""
    try:
        orjson.loads(body)
        read = json.loads(body.decode(), object_pairs_hook=_object, parse_int=_integer, parse_float=_float)
    except BadRequest:
        raise
    except (ValueError, RecursionError):
        raise BadRequest("The body must be JSON in UTF-8, without a byte order mark.") from None
    if b"\\u0000" in body and _holds_nul(read):
        raise BadRequest("The body holds a NUL character, which no text here can.")
    return read


def _holds_nul(value: Any) -> bool:
    """Whether any text in parsed JSON holds a NUL."""
    if isinstance(value, dict):
        return any("\0" in name or _holds_nul(one) for name, one in value.items())
    if isinstance(value, list):
        return any(_holds_nul(one) for one in value)
    return isinstance(value, str) and "\0" in value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadRequest("The body gives a name twice in one object; which one is meant?")
    return members


def _integer(digits: str) -> int:
    # A shorter digit string is below 2^63 for sure; int() of a very long one would take its time.
    if len(digits) > 19 or not -(2**63) <= (value := int(digits)) < 2**63:
        raise BadRequest("The body holds a number beyond 64 bits; send such numbers as strings.")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise BadRequest("The body holds a number that is too large; send such numbers as strings.")
    return value


def parse_request(body: bytes) -> Request:
    """The request in a body. Raises BadRequest."""
    return read_request(parse_json(body))


def read_request(data: Any) -> Request:
    """The request in parsed JSON. Raises BadRequest."""
    if isinstance(data, list):
        raise BadRequest("The body must be one JSON object; batches are not accepted.")
    if not isinstance(data, dict):
        raise BadRequest('The body must be a JSON object such as {"query": "{ channels { name } }"}.')
    query = data.get("query")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("`query` must be the GraphQL document, as a string.")
    variables = data.get("variables")
    if not isinstance(variables, dict | None):
        raise BadRequest("`variables` must be an object or null.")
    name = data.get("operationName")
    if not isinstance(name, str | None):
        raise BadRequest("`operationName` must be a string or null.")
    if not isinstance(data.get("extensions"), dict | None):
        raise BadRequest("`extensions` must be an object or null.")
    return Request(query, variables or {}, name or None)


_JSON = re.compile(r'\s*application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)


def check_content_type(value: str | None) -> None:
    """Raises BadRequest unless it is JSON. No form can send that across sites, so no page can speak for its visitor."""
    if value is None or not _JSON.fullmatch(value):
        raise BadRequest(
            "Send the request with `Content-Type: application/json`.", status=415, code="UNSUPPORTED_MEDIA_TYPE"
        )
