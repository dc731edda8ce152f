"""From what a shop answers to our tree of errors.

Success is HTTP 200, no `errors`, and no `userErrors`: the status alone says nothing, for throttling, refused access and even
server faults come as 200, the last with part of the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.shopify.cost import Cost
from adapters.transport import Answer, lost
from domain.errors import HouseError, Invalid, NotFound, Refused, Throttled, Transient, Unauthorized

WITHOUT_WORD_S = 1.0  # how long to wait when the platform does not say

# Refused before anything was carried out. Codes of the static validation ("undefinedField") begin small.
_REFUSED = {
    "BAD_REQUEST",
    "GRAPHQL_PARSE_FAILED",
    "INVALID_FIELD_ARGUMENTS",
    "INVALID_VARIABLE",
    "MAX_COST_EXCEEDED",
    "MAX_INPUT_SIZE_EXCEEDED",
}
_LOCKED_OUT = {
    401: "refuses the access token",
    402: "is frozen until its owner pays",
    403: "forbids the call",
    404: "does not exist under this address or API version",
    423: "is locked",
}


def http_failure(answer: Answer, body: object, shop: str, *, write: bool) -> HouseError | None:
    """What the HTTP status says; None for 200. `body` is the parsed body, None when it is no JSON."""
    status, words = answer.status, _words(body)
    said = f"HTTP {status}" + (f": {words}" if words else "")
    told: dict[str, Any] = {"upstream_request_id": answer.request_id, "upstream_code": str(status)}
    if status == 200:
        return None
    if status in (429, 430):
        return Throttled(f"{shop} asks to wait ({said}).", retry_after_s=_retry_after(answer.headers), **told)
    if status in _LOCKED_OUT:
        return Unauthorized(f"{shop} {_LOCKED_OUT[status]} ({said}).", **told)
    if 400 <= status < 500:
        return Invalid(f"{shop} does not accept the request ({said}).", **told)
    return lost(write, f"{shop} answered {said}", answer.request_id)


def graphql_failure(
    errors: object, cost: Cost | None, shop: str, request_id: str | None, *, write: bool
) -> HouseError | None:
    """What the `errors` of a GraphQL answer say, the most telling one first; None when there are none."""
    if not errors:
        return None
    listed = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    if not listed:
        return lost(write, f"{shop}: {_words({'errors': errors})}", request_id)
    found = [_of_error(each, cost, shop, request_id, write=write) for each in listed]
    for kind in (Throttled, Unauthorized):
        for problem in found:
            if isinstance(problem, kind):
                return problem
    # A server fault beside anything else leaves the outcome open.
    return next((problem for problem in found if not isinstance(problem, Refused)), found[0])


def _of_error(
    error: Mapping[str, Any], cost: Cost | None, shop: str, request_id: str | None, *, write: bool
) -> HouseError:
    extensions = error.get("extensions") or {}
    code = str(extensions.get("code") or "")
    message = _cut(str(error.get("message") or "no reason given"))
    told: dict[str, Any] = {
        "upstream_request_id": extensions.get("requestId") or request_id,
        "upstream_code": code or None,
    }
    if code == "THROTTLED":
        wait_s = WITHOUT_WORD_S if cost is None else cost.wait_s(WITHOUT_WORD_S)
        return Throttled(f"{shop} has no points left; {wait_s:.1f} s until it has.", retry_after_s=wait_s, **told)
    if code == "ACCESS_DENIED":
        scope = extensions.get("requiredAccess")
        wanted = "" if not scope or str(scope) in message else f" Required access: {scope}"
        return Unauthorized(f"{shop}: {message}{wanted}", **told)
    if code == "SHOP_INACTIVE":
        return Unauthorized(f"{shop} is not active: {message}", **told)
    if code == "RESOURCE_NOT_FOUND":
        return NotFound(f"{shop} knows no such thing: {message}.", **told)
    if code in _REFUSED or code[:1].islower():
        return Invalid(f"{shop} does not accept the document: {message}", **told)
    return lost(write, f"{shop}: {code or 'error'}: {message}", told["upstream_request_id"])


def refusal(data: Mapping[str, Any], request_id: str | None) -> Invalid | None:
    """The first broken business rule that a mutation tells of in its `userErrors`, in the platform's words."""
    for payload in data.values():
        told = payload.get("userErrors") if isinstance(payload, dict) else None
        if told:
            first = told[0]
            more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
            return Invalid(
                f"{_cut(str(first['message']))}{more}",
                field=tuple(first.get("field") or ()) or None,
                upstream_request_id=request_id,
                upstream_code=first.get("code"),
            )
    return None


def search_warning(extensions: Mapping[str, Any], shop: str, request_id: str | None) -> Invalid | None:
    """A warning about a `query:` argument. The rows then came unfiltered, so it is as good as an error."""
    for search in extensions.get("search") or ():
        for warning in search.get("warnings") or ():
            words = f"{warning.get('field')}: {warning.get('message')}"
            return Invalid(
                f"{shop} did not understand the search {_cut(str(search.get('query')))!r}: {words}",
                upstream_request_id=request_id,
                upstream_code=warning.get("code"),
            )
    return None


def login_failure(answer: Answer, shop: str) -> HouseError:
    """Why no access token was given."""
    if answer.status == 429:
        return Throttled(f"{shop} gives no access token just now.", retry_after_s=_retry_after(answer.headers))
    if answer.status >= 500 or answer.status < 400:
        return Transient(f"{shop} gave no access token (HTTP {answer.status}).", upstream_request_id=answer.request_id)
    return Unauthorized(
        f"{shop} gives no access token for this client_id and client_secret (HTTP {answer.status}). "
        "Check both, and that the app is still installed.",
        upstream_request_id=answer.request_id,
        upstream_code=str(answer.status),
    )


def _words(body: object) -> str:
    """The `errors` of a body, which are a string, a list or an object; "" when there are none."""
    errors = body.get("errors") if isinstance(body, dict) else None
    if isinstance(errors, list):
        errors = "; ".join(str(each.get("message") if isinstance(each, dict) else each) for each in errors)
    return _cut(str(errors)) if errors else ""


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return WITHOUT_WORD_S
