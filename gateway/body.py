"""A GraphQL request, read strictly: a body of one JSON object, or the parameters of an address."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

# Bodies that are read once for all who send the same.
REMEMBERED = 256
REMEMBERED_BYTES = 4 * 1024
# Lists and objects within each other; what reads and writes JSON further in may go no deeper than some 250.
DEEPEST = 100


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
    """What a client asks to be executed: a document, or the id of one that is kept here, or both to have it kept.

    The id is the document's SHA-256 in hexadecimal, or a name of the client's own; `automatic` says that it came as clients of
    automatic persisted queries send it. `explain` asks what the operation would cost, instead of running it.
    """

    query: str = ""
    variables: dict[str, Any] = field(default_factory=dict)
    operation_name: str | None = None
    document_id: str | None = None
    automatic: bool = False
    explain: bool = False


def parse_json(body: bytes) -> Any:
    """JSON, strictly. Raises BadRequest for what other readers let pass, each in its own way: a byte order mark, bytes that are
    not UTF-8, NaN, numbers beyond 64 bits, lone surrogates, a name given twice; for what nests too deep; and for NUL, which
    PostgreSQL has no text for."""
    try:
        orjson.loads(body)
        read = json.loads(body.decode(), object_pairs_hook=_object, parse_int=_integer, parse_float=_float)
    except BadRequest:
        raise
    except (ValueError, RecursionError):
        raise BadRequest("The body must be JSON in UTF-8, without a byte order mark.") from None
    if body.count(b"[") + body.count(b"{") > DEEPEST and _is_deep(read):
        raise BadRequest(f"The body nests lists and objects more than {DEEPEST} deep.")
    if b"\\u0000" in body and _holds_nul(read):
        raise BadRequest("The body holds a NUL character, which no text here can.")
    return read


_HOLDERS = frozenset({dict, list})


def _is_deep(value: Any) -> bool:
    """Whether lists and objects of parsed JSON stand more than DEEPEST within each other."""
    level = [value] if type(value) in _HOLDERS else []
    for _ in range(DEEPEST):
        if not level:
            return False
        below = [one.values() if type(one) is dict else one for one in level]
        level = [inner for one in below for inner in one if type(inner) in _HOLDERS]
    return bool(level)


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
    return _remembered(body) if len(body) <= REMEMBERED_BYTES else read_request(parse_json(body))


@lru_cache(maxsize=REMEMBERED)
def _remembered(body: bytes) -> Request:
    return read_request(parse_json(body))


# What an address may say; anything else in it is not for us.
_PARAMETERS = frozenset({"query", "variables", "operationName", "extensions", "documentId"})
# A percent sign that begins no escape.
_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parse_parameters(query_string: bytes) -> Request:
    """The request in the query part of an address, where an empty parameter is none. Raises BadRequest."""
    if _STRAY.search(query_string):
        raise BadRequest("The address holds a percent sign that escapes nothing; write it as %25.")
    given: dict[str, str] = {}
    for pair in query_string.split(b"&"):
        name, _, value = (_unescaped(part) for part in pair.partition(b"="))
        if name in given:
            raise BadRequest(f"The address gives `{name}` twice; which one is meant?")
        if name in _PARAMETERS:
            given[name] = value
    data: dict[str, Any] = {name: value for name, value in given.items() if value}
    for name in {"variables", "extensions"} & data.keys():
        try:
            data[name] = parse_json(data[name].encode())
        except BadRequest as problem:
            raise BadRequest(f"`{name}`: {problem.message.replace('The body', 'It')}") from None
    return read_request(data)


def _unescaped(text: bytes) -> str:
    try:
        read = unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise BadRequest("The address must be UTF-8, percent-encoded.") from None
    if "\0" in read:
        raise BadRequest("The address holds a NUL character, which no text here can.")
    return read


def read_request(data: Any) -> Request:
    """The request in parsed JSON. Raises BadRequest."""
    if isinstance(data, list):
        raise BadRequest("The body must be one JSON object; batches are not accepted.")
    if not isinstance(data, dict):
        raise BadRequest('The body must be a JSON object such as {"query": "{ channels { name } }"}.')
    extensions = data.get("extensions")
    if not isinstance(extensions, dict | None):
        raise BadRequest("`extensions` must be an object or null.")
    extensions = extensions or {}
    document_id, automatic = _document_id(data, extensions)
    query = data.get("query")
    if document_id is not None and query in (None, ""):
        query = ""
    elif not isinstance(query, str) or not query.strip():
        raise BadRequest("`query` must be the GraphQL document, as a string.")
    variables = data.get("variables")
    if not isinstance(variables, dict | None):
        raise BadRequest("`variables` must be an object or null.")
    name = data.get("operationName")
    if not isinstance(name, str | None):
        raise BadRequest("`operationName` must be a string or null.")
    if document_id is not None and query and id_of(query) != document_id:
        raise BadRequest("The document's id is not the SHA-256 of `query` in hexadecimal.", code="DOCUMENT_ID_MISMATCH")
    explain = extensions.get("explain") is True
    return Request(query, variables or {}, name or None, document_id, automatic, explain)


# As the appendix on persisted documents has it.
_ID = re.compile(r"[A-Za-z0-9._~-][A-Za-z0-9._~:-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _document_id(data: Mapping[str, Any], extensions: Mapping[str, Any]) -> tuple[str | None, bool]:
    """(the id of a document, whether it came as automatic persisted queries do). Raises BadRequest."""
    persisted = extensions.get("persistedQuery")
    if persisted is not None:
        if not isinstance(persisted, dict) or persisted.get("version") != 1:
            raise BadRequest('`persistedQuery` must be {"version": 1, "sha256Hash": "…"}; we know no other version.')
        id = persisted.get("sha256Hash")
    else:
        id = data.get("documentId")
        if id is None:
            return None, False
    return read_id(id), persisted is not None


def id_of(text: str) -> str:
    """The id by which anybody may ask for a document: its SHA-256, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_id(id: Any) -> str:
    """The id of a document, without the prefix of a SHA-256. Raises BadRequest."""
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise BadRequest("The id of a document is 1 to 200 letters, digits and `-._~:`, such as sha256:… .")
    prefix, _, payload = id.rpartition(":")
    if prefix == "sha256":
        if not _SHA256.fullmatch(payload):
            raise BadRequest("After `sha256:` an id has 64 hexadecimal digits in lower case.")
        return payload
    return id


_JSON = re.compile(r"\s*application/json\s*(;.*)?", re.IGNORECASE | re.DOTALL)
_USUAL = ("application/json", "application/json; charset=utf-8")
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s";]*)', re.IGNORECASE)


def check_content_type(value: str | None, encoding: str | None = None) -> None:
    """Raises BadRequest unless it is JSON in UTF-8, not compressed. No form can send that across sites, so no page can speak for
    its visitor."""
    if value in _USUAL and encoding is None:
        return
    if value is None or not _JSON.fullmatch(value):
        raise _unsupported("Send the request with `Content-Type: application/json`.")
    if any(one.lower() not in ("utf-8", "utf8") for one in _CHARSET.findall(value)):
        raise _unsupported("Send the request in UTF-8.")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise _unsupported("Send the request as it is, not compressed.", {"accept-encoding": "identity"})


def _unsupported(message: str, headers: Mapping[str, str] | None = None) -> BadRequest:
    return BadRequest(message, status=415, code="UNSUPPORTED_MEDIA_TYPE", headers=headers)
