"""A shop's failures, turned into our tree: by status, and where one status has several meanings by the problem's `type`.

Source: RFC 9457 for the form, docs/rest/openapi.yaml for the catalog. `type` is a URI of the shop's own; its last part decides,
and one that we do not know goes by its status alone. `POLICIES` is all that can be met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from adapters.transport import Answer, NothingSent, Unreadable, lost, parse_json
from domain.errors import (
    Conflict,
    HouseError,
    Invalid,
    MissingRole,
    NotFound,
    OutcomeUnknown,
    Refused,
    Throttled,
    Transient,
    Unauthorized,
)

WITHOUT_WORD_S = 1.0  # how long to wait where the shop does not say
LONGEST_WAIT_S = 3600.0

IN_PROGRESS = "idempotency-in-progress"
MISMATCH = "idempotency-mismatch"
STALE_QUANTITY = "stale-quantity"
STALE_REVISION = "stale-revision"
INVALID_CURSOR = "invalid-cursor"
NOT_OFFERED = "not-offered"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done about one kind of failure: the error that a read and a write end with, and what is done before. `status` and
    `problem` are those of the answer, None where there is none or it does not matter."""

    met: str
    status: int | None
    problem: str | None
    read: type[HouseError]
    write: type[HouseError]
    first: str = "nothing"


def _refused(met: str, status: int, kind: type[Refused], problem: str | None = None) -> Policy:
    return Policy(met, status, problem, kind, kind)


def _lost(met: str, status: int | None, problem: str | None = None) -> Policy:
    return Policy(met, status, problem, Transient, OutcomeUnknown)


POLICIES = (
    _refused("400", 400, Invalid, "bad-request"),
    _refused("400, a cursor that is broken or too old", 400, Invalid, INVALID_CURSOR),
    _refused("400, no idempotency key", 400, Invalid, "idempotency-key-missing"),
    Policy(
        "401", 401, "unauthorized", Unauthorized, Unauthorized, "a new token, where tokens are bought, and once more"
    ),
    Policy("403, a scope is missing", 403, "forbidden-scope", MissingRole, MissingRole),
    _refused("404", 404, NotFound, "not-found"),
    _refused("404, no such SKU", 404, NotFound, "unknown-sku"),
    _refused("404, no such location", 404, NotFound, "unknown-location"),
    _refused("405", 405, Invalid, "method-not-allowed"),
    _lost("408", 408),
    _refused("409", 409, Conflict, "conflict"),
    _refused("409, a SKU that there is already", 409, Conflict, "sku-exists"),
    _refused("409, more units than are left", 409, Conflict, "over-shipment"),
    _refused("409, a parcel is on its way", 409, Conflict, "already-shipped"),
    _refused("409, the order is canceled", 409, Conflict, "order-cancelled"),
    _refused("409, fewer units than that", 409, Conflict, "insufficient-stock"),
    Policy(
        "409, an earlier attempt is still under way",
        409,
        IN_PROGRESS,
        Transient,
        OutcomeUnknown,
        "it is waited for, ten seconds at most, and asked again under the same key, five times",
    ),
    _refused("410", 410, NotFound, "gone"),
    _refused("412, changed meanwhile", 412, Conflict, STALE_REVISION),
    _refused("412, another number than expected", 412, Conflict, STALE_QUANTITY),
    _refused("413", 413, Invalid, "payload-too-large"),
    _refused("415", 415, Invalid),
    _refused("422", 422, Invalid, "validation"),
    _refused("422, more than was paid", 422, Invalid, "exceeds-captured"),
    _refused("422, the key stands for another request", 422, Conflict, MISMATCH),
    _refused("428", 428, Invalid, "precondition-required"),
    Policy("429", 429, "rate-limited", Throttled, Throttled, "the budget is emptied"),
    _refused("any other 4xx", 418, Refused),
    _refused("a redirect", 301, Invalid),
    # What many servers answer to a form that was carried out.
    Policy("302", 302, None, Invalid, OutcomeUnknown),
    Policy("303", 303, None, Invalid, OutcomeUnknown),
    _lost("500", 500, "internal"),
    _refused("501, a part that the shop does not have", 501, Refused, NOT_OFFERED),
    _lost("502", 502),
    Policy("503, maintenance: nothing was done", 503, "maintenance", Throttled, Throttled),
    _lost("503 from something else than the shop", 503),
    _lost("504", 504),
    Policy("no connection", None, None, NothingSent, NothingSent),
    _lost("a timeout", None),
    _lost("a reset", None),
    _lost("a body cut short", 200),
    _lost("200 with HTML instead of JSON", 200),
)
_BY_PROBLEM = {(one.status, one.problem): one for one in POLICIES if one.problem}
# A problem that we do not know goes by its status: a 503 of whatever stands before the shop proves nothing.
_BY_STATUS = {
    one.status: one for one in reversed(POLICIES) if one.status not in (None, 200) and one.problem != "maintenance"
}


def table() -> str:
    """`POLICIES` as a table of Markdown."""
    rows = [f"| {one.met} | {_names(one)} | {one.first} |" for one in POLICIES]
    return "\n".join(("| met | a read, a write ends with | before that |", "| --- | --- | --- |", *rows))


def _names(one: Policy) -> str:
    return ", ".join(dict.fromkeys(f"`{kind.__name__}`" for kind in (one.read, one.write)))


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document: the last part of its `type` ("" where there is none), and its words for people."""

    name: str
    words: str
    members: Mapping[str, Any]


def problem_of(raw: object) -> Problem:
    """From a parsed document; anything else is a problem without a name."""
    if not isinstance(raw, dict):
        return Problem("", "no reason given", {})
    kind = str(raw.get("type") or "")
    name = "" if kind == "about:blank" else kind.rstrip("/").rpartition("/")[2].rpartition("#")[2]
    errors = raw.get("errors")
    faults = [
        f"{one.get('pointer', '')} {one.get('detail', '')}".strip()
        for one in (errors if isinstance(errors, list) else [])[:3]
        if isinstance(one, dict)
    ]
    told = [str(raw[member]) for member in ("title", "detail") if raw.get(member)]
    return Problem(name, _cut("; ".join([*dict.fromkeys(told), *faults])) or "no reason given", raw)


def problem_in(body: bytes) -> Problem:
    """From an answer's body, whatever it is."""
    try:
        return problem_of(parse_json(body))
    except Unreadable:
        return Problem("", "no reason given", {})


def failure(answer: Answer, shop: str, operation: str, *, write: bool) -> HouseError:
    """The error for an answer that is no success."""
    said = problem_in(answer.body)
    return refusal(said, answer.status, f"{shop}'s {operation}", answer.request_id, write=write, headers=answer.headers)


def refusal(
    said: Problem,
    status: int,
    who: str,
    request_id: str | None,
    *,
    write: bool,
    headers: Mapping[str, str] | None = None,
) -> HouseError:
    """The error for a problem, of a whole answer or of one item of it."""
    policy = _BY_PROBLEM.get((status, said.name)) or _BY_STATUS.get(status)
    if policy is None:
        kind: type[HouseError] = Refused if 400 <= status < 500 else Invalid if 300 <= status < 400 else OutcomeUnknown
    else:
        kind = policy.write if write else policy.read
    about: dict[str, Any] = {"upstream_request_id": request_id, "upstream_code": said.name or str(status)}
    if kind is Throttled:
        return Throttled(f"{who} asks to wait: {said.words}.", retry_after_s=retry_after_s(headers or {}), **about)
    if kind in (Transient, OutcomeUnknown):
        problem = lost(write, f"{who}: HTTP {status}, {said.words}", request_id)
        problem.upstream_code = said.name or str(status)
        return problem
    if 300 <= status < 400:
        return Invalid(f"{who} answers from another address (HTTP {status}); put that one into `url`.", **about)
    if kind is Unauthorized:
        return Unauthorized(f"{who} does not take our token: {said.words}.", **about)
    if kind is MissingRole:
        return MissingRole(f"{who} is refused to our token: {said.words}. Give it the scope.", **about)
    return kind(f"{who} was refused: {said.words}.", **about)


def login_failure(answer: Answer, shop: str) -> HouseError:
    """Why no access token was given."""
    if answer.status == 429:
        return Throttled(f"{shop} gives no access token just now.", retry_after_s=retry_after_s(answer.headers))
    if answer.status >= 500 or answer.status < 400:
        return Transient(f"{shop} gave no access token (HTTP {answer.status}).", upstream_request_id=answer.request_id)
    return Unauthorized(
        f"{shop} gives no access token for this client_id and client_secret (HTTP {answer.status}). Check both.",
        upstream_request_id=answer.request_id,
        upstream_code=str(answer.status),
    )


def retry_after_s(headers: Mapping[str, str], otherwise_s: float = WITHOUT_WORD_S) -> float:
    """`Retry-After`, in seconds or as a date (RFC 9110), an hour at most."""
    told = headers.get("Retry-After", "").strip()
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(told)))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return otherwise_s
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(LONGEST_WAIT_S, max(0.0, (at - datetime.now(UTC)).total_seconds()))


def _cut(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 300 else f"{line[:299]}…"
