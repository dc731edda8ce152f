"""Failures in the platform's own envelope."""

from typing import Any


class Failure(Exception):
    """An answer other than success; carries what goes over the wire."""

    def __init__(self, status: int, code: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        return {"errors": [{"code": self.code, "message": self.message, "details": self.details}]}


def invalid(details: str, code: str = "InvalidInput", message: str = "Invalid Input") -> Failure:
    """400; `details` says what is wrong. Listings Items spells its code BAD_REQUEST."""
    return Failure(400, code, message, details)


def denied() -> Failure:
    """403: wrong path, a seller or marketplace that is not this account's, or a token that is worth nothing."""
    return Failure(403, "Unauthorized", "Access to requested resource is denied.")


def expired() -> Failure:
    """403, not 401: an access token past its hour."""
    return Failure(
        403,
        "Unauthorized",
        "Access to requested resource is denied.",
        "The access token you provided has expired.",
    )


def not_found(details: str) -> Failure:
    return Failure(404, "NotFound", "The specified resource does not exist.", details)


def throttled() -> Failure:
    return Failure(429, "QuotaExceeded", "You exceeded your quota for the requested resource.")


_BY_ITSELF = {
    400: ("InvalidInput", "Invalid Input"),
    401: ("Unauthorized", "Access to requested resource is denied."),
    403: ("Unauthorized", "Access to requested resource is denied."),
    404: ("NotFound", "The specified resource does not exist."),
    429: ("QuotaExceeded", "You exceeded your quota for the requested resource."),
    503: ("ServiceUnavailable", "Service is temporarily unavailable."),
}


def broken(status: int) -> Failure:
    """What the platform says with this status when nothing was wrong with the request."""
    code, message = _BY_ITSELF.get(status, ("InternalFailure", "We encountered an internal error. Please try again."))
    return Failure(status, code, message)
