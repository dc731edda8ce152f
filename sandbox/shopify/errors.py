"""The platform's error shapes. All but a bad token travel as HTTP 200."""

from collections.abc import Mapping, Sequence
from typing import Any

from graphql import GraphQLError

UNAUTHORIZED = "[API] Invalid API key or access token (unrecognized login or wrong password)"
MUST_EXPIRE = "[API] Non-expiring access tokens are no longer accepted for the Admin API"
SCOPES_PAGE = "https://shopify.dev/api/usage/access-scopes"
PROTECTED_PAGE = "https://shopify.dev/docs/apps/launch/protected-customer-data"
LIMITS_PAGE = "https://shopify.dev/api/usage/rate-limits"


def denied(field: str, required: str) -> GraphQLError:
    """`required` in the platform's words, e.g. "`read_orders` access scope."."""
    return GraphQLError(
        f"Access denied for {field} field. Required access: {required}",
        extensions={"code": "ACCESS_DENIED", "documentation": SCOPES_PAGE, "requiredAccess": required},
    )


def unapproved(field: str) -> GraphQLError:
    """A field of customers' data, asked for by an app that the platform has not approved for it."""
    return GraphQLError(
        f"This app is not approved to use the {field} field. See {PROTECTED_PAGE} for more details.",
        extensions={"code": "ACCESS_DENIED", "documentation": PROTECTED_PAGE},
    )


def invalid_id() -> GraphQLError:
    """A malformed global id, or one of another kind of object."""
    return GraphQLError("invalid id", extensions={"code": "RESOURCE_NOT_FOUND"})


def bad_request(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})


def missing_field(input_type: str, name: str) -> GraphQLError:
    """An input field that is nullable in the schema and yet must be present."""
    return GraphQLError(
        f"{input_type} must include the following argument: {name}.",
        extensions={"code": "INVALID_FIELD_ARGUMENTS"},
    )


def throttled() -> dict[str, Any]:
    return {"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": LIMITS_PAGE}}


def too_dear(cost: int, maximum: int) -> dict[str, Any]:
    return {
        "message": f"Query cost is {cost}, which exceeds the single query max cost limit ({maximum}).",
        "extensions": {"code": "MAX_COST_EXCEEDED", "cost": cost, "maxCost": maximum, "documentation": LIMITS_PAGE},
    }


def too_long(size: int, maximum: int, path: Sequence[str]) -> dict[str, Any]:
    return {
        "message": f"The input array size of {size} is greater than the maximum allowed of {maximum}.",
        "path": list(path),
        "extensions": {"code": "MAX_INPUT_SIZE_EXCEEDED"},
    }


def internal(request_id: str) -> dict[str, Any]:
    return {
        "message": "Internal error. Looks like something went wrong on our end.\n"
        f"Request ID: {request_id} (include this in support requests).",
        "extensions": {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id},
    }


def user_error(field: Sequence[str] | None, message: str, code: str | None = None) -> Mapping[str, Any]:
    """A broken business rule; the payload says which input broke it. Indexes in `field` are strings."""
    return {"field": None if field is None else list(field), "message": message, "code": code}
