"""From what a shop answers to our tree of errors.

Success is HTTP 200, no `errors`, and no `userErrors`: the status alone says nothing, for throttling, refused access and even
server faults come as 200, the last with part of the data. `POLICIES` is all that can be met, and what is done about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.policy import Again, Pauses, Policy, in_doubt, refused, shut
from adapters.shopify.cost import Cost
from adapters.transport import Answer, NothingSent, Unreadable, lost
from domain.errors import HouseError, Invalid, MissingRole, NotFound, Refused, Throttled, Transient, Unauthorized

WITHOUT_WORD_S = 1.0  # how long to wait when the platform does not say
INVALID_CLIENT = "invalid_client"

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
# What a public app is told that still comes with a token without an end.
_MUST_EXPIRE = "non-expiring access tokens"
_EXPIRE = (
    'Set grant = "expiring" for this channel in acorn.toml, without an access_token, and run `acorn channels authorize shopify '
    "CHANNEL`."
)

POLICIES = (
    refused("400", 400, Invalid),
    Policy("401, the access token has run out", 401, Unauthorized, Unauthorized, Again.RENEWED),
    shut("401 to a token that lasts, or to a new one: revoked", 401, Unauthorized, Pauses.ACCOUNT),
    shut("401, then the login refuses: the app was uninstalled", 401, Unauthorized, Pauses.ACCOUNT),
    shut("the login's `invalid_client`: a wrong secret", 401, Unauthorized, Pauses.ACCOUNT),
    shut("402, the shop is frozen", 402, Unauthorized, Pauses.ACCOUNT),
    shut("403, tokens without an end are no longer taken", 403, Unauthorized, Pauses.ACCOUNT),
    shut("403, anything else", 403, Unauthorized, Pauses.ACCOUNT),
    shut("404, no such shop", 404, Unauthorized, Pauses.ACCOUNT),
    shut("423, the shop is locked", 423, Unauthorized, Pauses.ACCOUNT),
    Policy("429", 429, Throttled, Throttled, Again.SLOT),
    Policy("430, turned away as a risk", 430, Throttled, Throttled, Again.SLOT),
    refused("any other 4xx", 406, Invalid),
    in_doubt("500", 500),
    in_doubt("502, with a page of HTML", 502),
    in_doubt("any other status", 301),
    Policy("200, `THROTTLED`", 200, Throttled, Throttled, Again.SLOT),
    shut("200, `ACCESS_DENIED`: a missing scope", 200, MissingRole, Pauses.OPERATION),
    shut("200, `SHOP_INACTIVE`", 200, Unauthorized, Pauses.ACCOUNT),
    refused("200, `RESOURCE_NOT_FOUND`", 200, NotFound),
    refused("200, the document or a variable is not taken", 200, Invalid),
    refused("200, `MAX_COST_EXCEEDED`, `MAX_INPUT_SIZE_EXCEEDED`", 200, Invalid),
    in_doubt("200, `INTERNAL_SERVER_ERROR`, with part of the data", 200),
    in_doubt("200, `errors` is a string", 200),
    in_doubt("200, any other error", 200),
    in_doubt("200 without data", 200),
    in_doubt("200 with HTML instead of JSON", 200),
    Policy("no connection", None, NothingSent, NothingSent, Again.LATER),
    in_doubt("a timeout", None),
    in_doubt("a reset", None),
)


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
        do = f" {_EXPIRE}" if status == 403 and _MUST_EXPIRE in words.lower() else ""
        return Unauthorized(f"{shop} {_LOCKED_OUT[status]} ({said}).{do}", **told)
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
    telling = [problem for problem in found if isinstance(problem, (Throttled, Unauthorized))]
    if telling:
        # A slot first, then what stops everything, then what stops this document.
        return min(telling, key=lambda one: (not isinstance(one, Throttled), isinstance(one, MissingRole)))
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
    if code == "ACCESS_DENIED" and not (write and len(error.get("path") or ()) > 1):
        # Refused at the root nothing was carried out; inside what a mutation answers, it was.
        scope = extensions.get("requiredAccess")
        wanted = "" if not scope or str(scope) in message else f" Required access: {scope}"
        return MissingRole(f"{shop}: {message}{wanted}", **told)
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


def login_failure(answer: Answer, shop: str, *, again: str = "acorn doctor") -> HouseError:
    """Why no access token was given; `again` is the command that asks for the shop's consent."""
    if answer.status == 429:
        return Throttled(f"{shop} gives no access token just now.", retry_after_s=_retry_after(answer.headers))
    if answer.status >= 500 or answer.status < 400:
        return Transient(f"{shop} gave no access token (HTTP {answer.status}).", upstream_request_id=answer.request_id)
    try:
        body = answer.json()
    except Unreadable:
        body = None
    code = str(body.get("error") or "") if isinstance(body, dict) else ""
    words = _cut(str(body.get("error_description") or "")) if isinstance(body, dict) else ""
    said = f"HTTP {answer.status}" + "".join(f", {one}" for one in (code, words) if one)
    why = (
        "Check both, and that they are those of the app that is installed."
        if code == INVALID_CLIENT
        else f"Is the app still installed? If it was uninstalled, run `{again}`."
    )
    return Unauthorized(
        f"{shop} gives no access token for this client_id and client_secret ({said}). {why}",
        upstream_request_id=answer.request_id,
        upstream_code=code or str(answer.status),
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
