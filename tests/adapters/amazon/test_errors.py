"""Each row of Amazon's table of answers, for reads and for writes."""

import json

import pytest

from adapters.amazon.errors import complaint, expired, failure, login_failure
from adapters.transport import Answer
from domain.budget import Plan
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

PLAN = Plan("getOrder", 0.5, 30)


def said(status: int, code: str, message: str, details: str = "") -> Answer:
    body = {"errors": [{"code": code, "message": message, "details": details}]}
    return Answer(status, {}, json.dumps(body).encode(), "req-7")


@pytest.mark.parametrize(
    ("answer", "for_read", "for_write"),
    [
        (said(400, "InvalidInput", "Invalid Input"), Invalid, Invalid),
        (said(400, "BAD_REQUEST", "Invalid input"), Invalid, Invalid),
        (Answer(400, {}, b"<html>Bad Request</html>", None), Invalid, Invalid),
        (said(401, "Unauthorized", "Access to requested resource is denied."), Unauthorized, Unauthorized),
        (said(403, "Unauthorized", "Access to requested resource is denied."), MissingRole, MissingRole),
        (said(403, "AccessDeniedException", "No."), MissingRole, MissingRole),
        (said(404, "NotFound", "The specified resource does not exist."), NotFound, NotFound),
        (said(409, "Conflict", "It is there already."), Conflict, Conflict),
        (said(413, "RequestEntityTooLarge", "Too large."), Invalid, Invalid),
        (said(415, "UnsupportedMediaType", "Not JSON."), Invalid, Invalid),
        (said(422, "Unprocessable", "No."), Invalid, Invalid),
        (said(418, "Teapot", "No."), Refused, Refused),
        (said(429, "QuotaExceeded", "You exceeded your quota."), Throttled, Throttled),
        (said(408, "RequestTimeout", "Too slow."), Transient, OutcomeUnknown),
        (said(500, "InternalFailure", "We encountered an internal error."), Transient, OutcomeUnknown),
        (said(503, "ServiceUnavailable", "Service is temporarily unavailable."), Transient, OutcomeUnknown),
        (Answer(502, {}, b"", None), Transient, OutcomeUnknown),
        (Answer(302, {}, b"", None), Transient, OutcomeUnknown),
    ],
)
def test_the_status_decides(answer: Answer, for_read: type[HouseError], for_write: type[HouseError]) -> None:
    assert type(failure(answer, PLAN, write=False)) is for_read
    assert type(failure(answer, PLAN, write=True)) is for_write


def test_the_platforms_words_code_and_request_id_go_along() -> None:
    problem = failure(said(404, "NotFound", "No such order", "Order '1' does not exist."), PLAN, write=False)
    assert problem.message == "Amazon refuses getOrder: No such order. Order '1' does not exist."
    assert problem.upstream_code == "NotFound"
    assert problem.upstream_request_id == "req-7"
    lost = failure(said(500, "InternalFailure", "Oh."), PLAN, write=True)
    assert (lost.upstream_code, lost.upstream_request_id) == ("InternalFailure", "req-7")


def test_a_throttled_call_says_when_the_next_token_comes() -> None:
    problem = failure(said(429, "QuotaExceeded", "You exceeded your quota."), PLAN, write=False)
    assert isinstance(problem, Throttled)
    assert problem.retry_after_s == 2.0


def test_only_an_expired_token_counts_as_expired() -> None:
    denied = "Access to requested resource is denied."
    old = "The access token you provided has expired."
    assert expired(said(403, "Unauthorized", denied, old))
    assert expired(said(403, "Unauthorized", old))
    assert not expired(said(403, "Unauthorized", denied))
    assert not expired(said(400, "InvalidInput", "Invalid Input", "'nextToken' has expired."))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no reason given"),
        (b"<html>no</html>", "<html>no</html>"),
        (b'{"errors": []}', '{"errors": []}'),
        (b'{"errors": ["odd"]}', '{"errors": ["odd"]}'),
        (b'{"errors": [{"code": "A", "message": "One"}, {"code": "B", "message": "Two!"}]}', "One. Two!"),
    ],
)
def test_words_are_found_in_every_kind_of_body(body: bytes, words: str) -> None:
    assert complaint(body).words == words


def oauth(status: int, error: str, description: str) -> Answer:
    return Answer(status, {}, json.dumps({"error": error, "error_description": description}).encode(), None)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (oauth(401, "invalid_client", "Client authentication failed"), Unauthorized, "does not know this client"),
        (oauth(400, "invalid_grant", "User may have revoked the permission."), Unauthorized, "withdrawn the consent"),
        (oauth(400, "invalid_request", "Missing."), Unauthorized, "refuses the request: invalid_request Missing."),
        (Answer(429, {}, b"", None), Transient, "not to be had just now (429"),
        (Answer(500, {}, b"", None), Transient, "not to be had just now (500"),
        (Answer(503, {}, b"<html>", None), Transient, "not to be had just now (503"),
    ],
)
def test_login_failures_are_told_apart_in_words(answer: Answer, kind: type[HouseError], words: str) -> None:
    problem = login_failure(answer)
    assert type(problem) is kind
    assert words in problem.message
