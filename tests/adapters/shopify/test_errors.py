"""What an answer means: one table for HTTP, one for GraphQL."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.shopify.cost import cost_of
from adapters.shopify.errors import graphql_failure, http_failure, login_failure, refusal, search_warning
from adapters.transport import Answer
from domain.errors import (
    HouseError,
    Invalid,
    MissingRole,
    NotFound,
    OutcomeUnknown,
    Throttled,
    Transient,
    Unauthorized,
)

SHOP = "acorn.myshopify.com"
UNRECOGNIZED = "[API] Invalid API key or access token (unrecognized login or wrong password)"


def answer(status: int, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, headers or {}, b"", "req-1")


@pytest.mark.parametrize(
    ("status", "read", "write"),
    [
        (400, Invalid, Invalid),
        (401, Unauthorized, Unauthorized),
        (402, Unauthorized, Unauthorized),
        (403, Unauthorized, Unauthorized),
        (404, Unauthorized, Unauthorized),
        (406, Invalid, Invalid),
        (423, Unauthorized, Unauthorized),
        (429, Throttled, Throttled),
        (430, Throttled, Throttled),
        (301, Transient, OutcomeUnknown),
        (500, Transient, OutcomeUnknown),
        (502, Transient, OutcomeUnknown),
        (503, Transient, OutcomeUnknown),
        (504, Transient, OutcomeUnknown),
    ],
)
def test_http_status(status: int, read: type[HouseError], write: type[HouseError]) -> None:
    assert type(http_failure(answer(status), None, SHOP, write=False)) is read
    assert type(http_failure(answer(status), None, SHOP, write=True)) is write


def test_http_200_is_no_failure() -> None:
    assert http_failure(answer(200), {"data": {}}, SHOP, write=False) is None


def test_errors_may_be_a_string() -> None:
    problem = http_failure(answer(401), {"errors": UNRECOGNIZED}, SHOP, write=False)
    assert problem is not None
    assert problem.message == f"{SHOP} refuses the access token (HTTP 401: {UNRECOGNIZED})."
    assert problem.upstream_request_id == "req-1"
    assert problem.upstream_code == "401"


@pytest.mark.parametrize(
    ("headers", "wait_s"), [({"Retry-After": "2.0"}, 2.0), ({}, 1.0), ({"Retry-After": "soon"}, 1.0)]
)
def test_http_429_says_when(headers: dict[str, str], wait_s: float) -> None:
    problem = http_failure(answer(429, headers), None, SHOP, write=False)
    assert isinstance(problem, Throttled)
    assert problem.retry_after_s == wait_s


def error(code: str | None, message: str = "no", **more: Any) -> dict[str, Any]:
    return {"message": message, "extensions": {"code": code, **more} if code else {}}


@pytest.mark.parametrize(
    ("code", "read", "write"),
    [
        ("THROTTLED", Throttled, Throttled),
        ("ACCESS_DENIED", MissingRole, MissingRole),
        ("SHOP_INACTIVE", Unauthorized, Unauthorized),
        ("INTERNAL_SERVER_ERROR", Transient, OutcomeUnknown),
        ("TIMEOUT", Transient, OutcomeUnknown),
        (None, Transient, OutcomeUnknown),
        ("RESOURCE_NOT_FOUND", NotFound, NotFound),
        ("BAD_REQUEST", Invalid, Invalid),
        ("INVALID_VARIABLE", Invalid, Invalid),
        ("INVALID_FIELD_ARGUMENTS", Invalid, Invalid),
        ("MAX_COST_EXCEEDED", Invalid, Invalid),
        ("MAX_INPUT_SIZE_EXCEEDED", Invalid, Invalid),
        ("undefinedField", Invalid, Invalid),
        ("missingRequiredArguments", Invalid, Invalid),
    ],
)
def test_graphql_code(code: str | None, read: type[HouseError], write: type[HouseError]) -> None:
    assert type(graphql_failure([error(code)], None, SHOP, "req-1", write=False)) is read
    assert type(graphql_failure([error(code)], None, SHOP, "req-1", write=True)) is write


def test_no_errors_is_no_failure() -> None:
    assert graphql_failure(None, None, SHOP, None, write=True) is None
    assert graphql_failure([], None, SHOP, None, write=True) is None


def test_throttled_waits_for_what_is_missing() -> None:
    cost = cost_of(
        {
            "cost": {
                "requestedQueryCost": 752,
                "actualQueryCost": None,
                "throttleStatus": {"maximumAvailable": 1000.0, "currentlyAvailable": 666, "restoreRate": 50.0},
            }
        }
    )
    problem = graphql_failure([error("THROTTLED", "Throttled")], cost, SHOP, "req-1", write=False)
    assert isinstance(problem, Throttled)
    assert problem.retry_after_s == pytest.approx((752 - 666) / 50)


def test_throttled_without_a_status_waits_a_second() -> None:
    cost = cost_of({"cost": {"requestedQueryCost": 752, "actualQueryCost": None}})
    assert cost is not None
    assert (cost.rate, cost.burst, cost.remaining) == (None, None, None)
    problem = graphql_failure([error("THROTTLED")], cost, SHOP, None, write=False)
    assert isinstance(problem, Throttled)
    assert problem.retry_after_s == 1.0


def test_a_missing_scope_is_named() -> None:
    told = error("ACCESS_DENIED", "Access denied for orders field.", requiredAccess="`read_orders` access scope.")
    problem = graphql_failure([told], None, SHOP, None, write=False)
    assert problem is not None
    assert problem.message == f"{SHOP}: Access denied for orders field. Required access: `read_orders` access scope."


def test_the_most_telling_error_decides() -> None:
    internal, denied, missing = error("INTERNAL_SERVER_ERROR"), error("ACCESS_DENIED"), error("RESOURCE_NOT_FOUND")
    frozen = error("SHOP_INACTIVE")
    assert type(graphql_failure([missing, denied], None, SHOP, None, write=True)) is MissingRole
    assert type(graphql_failure([denied, frozen], None, SHOP, None, write=True)) is Unauthorized
    assert type(graphql_failure([missing, internal], None, SHOP, None, write=True)) is OutcomeUnknown
    assert type(graphql_failure([internal, error("THROTTLED")], None, SHOP, None, write=True)) is Throttled


def test_what_is_denied_inside_the_answer_of_a_write_was_carried_out() -> None:
    denied = error("ACCESS_DENIED", "Access denied for order field.")
    inside = denied | {"path": ["fulfillmentCreate", "fulfillment", "order"]}
    assert type(graphql_failure([inside], None, SHOP, None, write=True)) is OutcomeUnknown
    assert type(graphql_failure([inside], None, SHOP, None, write=False)) is MissingRole
    at_root = denied | {"path": ["fulfillmentCreate"]}
    assert type(graphql_failure([at_root], None, SHOP, None, write=True)) is MissingRole


def test_the_request_id_of_a_server_fault_is_kept() -> None:
    problem = graphql_failure([error("INTERNAL_SERVER_ERROR", requestId="req-9")], None, SHOP, "req-1", write=False)
    assert problem is not None
    assert problem.upstream_request_id == "req-9"


def test_user_errors_are_told_in_the_platforms_words() -> None:
    told = [
        {"field": ["fulfillment", "0", "quantity"], "message": "Quantity must be greater than 0"},
        {"field": None, "message": "Another"},
    ]
    problem = refusal({"fulfillmentCreate": {"fulfillment": None, "userErrors": told}}, "req-1")
    assert problem is not None
    assert problem.message == "Quantity must be greater than 0 (and 1 more)"
    assert problem.field == ("fulfillment", "0", "quantity")
    assert problem.upstream_request_id == "req-1"
    assert refusal({"fulfillmentCreate": {"fulfillment": {"id": "1"}, "userErrors": []}}, "req-1") is None


def test_a_search_warning_is_an_error() -> None:
    told = {
        "search": [{"query": "foo:1", "warnings": [{"field": "foo", "message": "Invalid", "code": "invalid_field"}]}]
    }
    problem = search_warning(told, SHOP, "req-1")
    assert problem is not None
    assert problem.message == f"{SHOP} did not understand the search 'foo:1': foo: Invalid"
    assert problem.upstream_code == "invalid_field"
    assert search_warning({"search": [{"query": "sku:1", "warnings": []}]}, SHOP, None) is None


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"error": "invalid_client", "error_description": "No."}, "invalid_client", "Check both"),
        ({"error": "invalid_grant"}, "invalid_grant", "acorn channels authorize shopify shop"),
        ({"errors": "Not found"}, "400", "Is the app still installed?"),
        (None, "400", "Is the app still installed?"),
    ],
)
def test_a_refused_login_says_what_to_do(body: Any, code: str, words: str) -> None:
    told = Answer(400, {}, b"<html>" if body is None else orjson.dumps(body), "req-1")
    problem = login_failure(told, SHOP, again="acorn channels authorize shopify shop")
    assert (problem.upstream_code, words in problem.message) == (code, True)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Unauthorized), (401, Unauthorized), (429, Throttled), (302, Transient), (503, Transient)]
)
def test_no_access_token(status: int, kind: type[HouseError]) -> None:
    assert type(login_failure(answer(status), SHOP)) is kind
