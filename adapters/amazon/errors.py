"""Amazon's failures, turned into our tree: by status first, by the platform's code and words for people only.

Codes differ from API to API and messages change, so neither decides anything; the one exception is the expired access token,
which comes as a 403 like any other and is told by its words. Source: SP-API documentation, "Resolve Common HTTP Errors".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.transport import Answer, Unreadable, lost, parse_json
from domain.budget import Plan
from domain.errors import Conflict, HouseError, Invalid, NotFound, Refused, Throttled, Transient, Unauthorized

REFUSED: dict[int, type[Refused]] = {
    400: Invalid,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


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
    """The error for an answer that is no success."""
    said = complaint(answer.body)
    about: dict[str, Any] = {"upstream_request_id": answer.request_id, "upstream_code": said.code}
    if answer.status == 429:
        return Throttled(f"Amazon's {plan.operation}: {said.words}", retry_after_s=1 / plan.rate, **about)
    if answer.status in (401, 403):
        return Unauthorized(
            f"Amazon refuses {plan.operation}: {said.words} Check that the account's consent stands, that the application "
            "has the role for it, and that the region is right.",
            **about,
        )
    kind = REFUSED.get(answer.status) or (Refused if 400 <= answer.status < 500 and answer.status != 408 else None)
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
    if code == "invalid_client":
        return Unauthorized(
            f"Login with Amazon does not know this client id and secret: {words}. The secret may have been rotated; put the "
            "new one into the settings.",
            **about,
        )
    if code == "invalid_grant":
        return Unauthorized(
            f"Login with Amazon refuses the refresh token: {words} The seller has withdrawn the consent, it has run out, or "
            "the token belongs to another application; authorize the application again.",
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
