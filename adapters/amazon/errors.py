"""Amazon's failures, turned into our tree: by status first, by the platform's code and words for people only.

Codes differ from API to API and messages change, so neither decides anything; the one exception is the expired access token,
which comes as a 403 like any other and is told by its words. Source: SP-API documentation, "Resolve Common HTTP Errors".
`POLICIES` is all that can be met, and what is done about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.policy import Again, Pauses, Policy, in_doubt, refused, shut
from adapters.transport import Answer, NothingSent, Unreadable, lost, parse_json
from domain.budget import Plan
from domain.errors import (
    Conflict,
    HouseError,
    Invalid,
    MissingRole,
    NotFound,
    Refused,
    Throttled,
    Transient,
    Unauthorized,
)

INVALID_CLIENT = "invalid_client"
INVALID_GRANT = "invalid_grant"


POLICIES = (
    refused("400, an envelope of errors", 400, Invalid),
    refused("400, a page of HTML from in front of the API", 400, Invalid),
    shut("401, no token or a malformed one", 401, Unauthorized, Pauses.ACCOUNT),
    Policy("403, the access token has expired", 403, MissingRole, MissingRole, Again.RENEWED),
    shut("403 with a fresh token: a missing role", 403, MissingRole, Pauses.OPERATION),
    shut("403 with a fresh token: another region or seller", 403, MissingRole, Pauses.OPERATION),
    shut("403, then login's `invalid_grant`: consent revoked or run out", 400, Unauthorized, Pauses.ACCOUNT),
    shut("login's `invalid_client`: a wrong secret", 401, Unauthorized, Pauses.ACCOUNT),
    refused("404", 404, NotFound),
    refused("409", 409, Conflict),
    refused("413", 413, Invalid),
    refused("415", 415, Invalid),
    refused("422", 422, Invalid),
    refused("any other 4xx but 408", 418, Refused),
    Policy("429", 429, Throttled, Throttled, Again.SLOT),
    in_doubt("408", 408),
    in_doubt("500", 500),
    in_doubt("503", 503),
    in_doubt("any other status", 502),
    Policy("no connection", None, NothingSent, NothingSent, Again.LATER),
    in_doubt("a timeout", None),
    in_doubt("a reset", None),
    in_doubt("a body cut short", 200),
    in_doubt("200 with HTML instead of JSON", 200),
    in_doubt("200 in a wrong charset", 200),
)
# By status alone; what has several meanings under one status is told apart above by what is asked first.
_REFUSED = {one.status: one.read for one in POLICIES if issubclass(one.read, Refused)}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What Amazon says went wrong: its first code, and all its words."""

    code: str | None
    words: str


def complaint(body: bytes) -> Complaint:
    """From the envelope {"errors": [{"code", "message", "details"}]}; of a body without one, its beginning."""
    try:
        entries = _entries(parse_json(body))
    except Unreadable:
        entries = []
    if not entries:
        return Complaint(None, body[:200].decode("utf-8", "replace").strip() or "no reason given")
    told = [_words(entry) for entry in entries[:5]]
    code = entries[0].get("code")
    return Complaint(str(code) if code else None, " ".join(told))


def expired(answer: Answer) -> bool:
    """Is it only the access token that is too old?"""
    return answer.status in (401, 403) and "expired" in complaint(answer.body).words.lower()


def failure(answer: Answer, plan: Plan, *, write: bool) -> HouseError:
    """The error for an answer that is no success. A 403 is taken to be one to a token that is fresh."""
    said = complaint(answer.body)
    about: dict[str, Any] = {"upstream_request_id": answer.request_id, "upstream_code": said.code}
    if answer.status == 429:
        return Throttled(f"Amazon's {plan.operation}: {said.words}", retry_after_s=1 / plan.rate, **about)
    if answer.status == 403:
        return MissingRole(
            f"Amazon refuses {plan.operation} although the token is fresh: {said.words} Give the application the role for it "
            "and let the account consent again; if it refuses everything, check region and seller id.",
            **about,
        )
    if answer.status == 401:
        return Unauthorized(f"Amazon does not take our token for {plan.operation}: {said.words}", **about)
    kind = _REFUSED.get(answer.status) or (Refused if 400 <= answer.status < 500 and answer.status != 408 else None)
    if kind is not None:
        return kind(f"Amazon refuses {plan.operation}: {said.words}", **about)
    problem = lost(write, f"{plan.operation}: {answer.status} {said.words}", answer.request_id)
    problem.upstream_code = said.code
    return problem


def login_failure(answer: Answer) -> HouseError:
    """The error for an answer of Login with Amazon that holds no access token."""
    try:
        body = answer.json()
    except Unreadable:
        body = None
    code = str(body.get("error")) if isinstance(body, dict) and body.get("error") else None
    words = str(body.get("error_description") or "") if isinstance(body, dict) else ""
    about: dict[str, Any] = {"upstream_request_id": answer.request_id, "upstream_code": code}
    if code == INVALID_CLIENT:
        return Unauthorized(
            f"Login with Amazon does not know this client id and secret: {words}. The secret may have been rotated; put the "
            "new one into the settings.",
            **about,
        )
    if code == INVALID_GRANT:
        return Unauthorized(
            f"Login with Amazon refuses the consent: {words} The seller has withdrawn the consent, it has run out, or "
            "it was given to another application; `acorn channels authorize amazon CHANNEL` asks for it again.",
            **about,
        )
    if 400 <= answer.status < 500 and answer.status not in (408, 429):
        return Unauthorized(f"Login with Amazon refuses the request: {code or answer.status} {words}".rstrip(), **about)
    return Transient(f"Login with Amazon is not to be had just now ({answer.status} {code or ''}).", **about)


def _entries(body: Any) -> list[dict[str, Any]]:
    errors = body.get("errors") if isinstance(body, dict) else None
    return [entry for entry in errors if isinstance(entry, dict)] if isinstance(errors, list) else []


def _words(entry: dict[str, Any]) -> str:
    parts = [str(entry[name]).strip() for name in ("message", "details") if entry.get(name)]
    return " ".join(dict.fromkeys(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts))
