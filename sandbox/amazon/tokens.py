"""Restricted data tokens. Source: Tokens API 2021-03-01, createRestrictedDataToken, and its use case guide."""

import re
from typing import TYPE_CHECKING, Any

from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure, denied
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.roles import DELIVERY, INVOICING, REMITTANCE

if TYPE_CHECKING:
    from sandbox.amazon.state import Amazon

MOST = 50
ELEMENTS = {"buyerInfo": DELIVERY, "shippingAddress": DELIVERY, "buyerTaxInformation": INVOICING}
# With data elements, which must be named.
_WITH_ELEMENTS = (
    ("GET", "/orders/v0/orders"),
    ("GET", "/orders/v0/orders/{orderId}"),
    ("GET", "/orders/v0/orders/{orderId}/orderItems"),
)
_REPORT = ("GET", "/reports/2021-06-30/documents/{reportDocumentId}")
_WHOLE = (
    ("GET", "/orders/v0/orders/{orderId}/buyerInfo"),
    ("GET", "/orders/v0/orders/{orderId}/address"),
    ("GET", "/orders/v0/orders/{orderId}/orderItems/buyerInfo"),
    ("GET", "/orders/v0/orders/{orderId}/regulatedInfo"),
    ("GET", "/mfn/v0/shipments/{shipmentId}"),
    ("DELETE", "/mfn/v0/shipments/{shipmentId}"),
    ("POST", "/mfn/v0/shipments"),
    ("GET", "/shipping/v1/shipments/{shipmentId}"),
    ("GET", "/fba/outbound/brazil/v0/shipments/{shipmentId}"),
    _REPORT,
)
_PATTERNS = [
    (method, path, re.compile(re.sub(r"\{\w+\}", "[^/{}?]+", path))) for method, path in (*_WITH_ELEMENTS, *_WHOLE)
]


def operations(amazon: "Amazon") -> list[Operation]:
    """createRestrictedDataToken."""

    def create(asked: Asked) -> dict[str, Any]:
        body = asked.body if isinstance(asked.body, dict) else {}
        resources = body.get("restrictedResources")
        if not isinstance(resources, list) or not 1 <= len(resources) <= MOST:
            raise _wrong("restrictedResources must hold 1 to 50 resources.")
        calls = frozenset(_call(amazon, asked.account, one) for one in resources)
        return amazon.login.restrict(asked.account, calls)

    path = "/tokens/2021-03-01/restrictedDataToken"
    return [Operation("createRestrictedDataToken", "POST", path, create, code="InvalidRequest")]


def _call(amazon: "Amazon", account: Account, resource: object) -> tuple[str, str]:
    """The (method, path) that a resource names. 400 for what is no restricted one, 403 when any role for it is missing."""
    if not isinstance(resource, dict) or not resource.get("method") or not resource.get("path"):
        raise _wrong("Resource not provided.")
    method, path = str(resource["method"]), str(resource["path"])
    template = next(
        (one for verb, one, pattern in _PATTERNS if verb == method and (path == one or pattern.fullmatch(path))), None
    )
    if template is None or path == _REPORT[1]:
        raise _wrong(f"{method} {path} is not a restricted resource.")
    elements = resource.get("dataElements", [])
    if not isinstance(elements, list) or not set(map(str, elements)) <= set(ELEMENTS):
        raise _wrong(f"dataElements holds some of {', '.join(ELEMENTS)}.")
    if bool(elements) != ((method, template) in _WITH_ELEMENTS):
        raise _wrong("dataElements is for getOrders, getOrder and getOrderItems, which need it.")
    held = {role for role in (DELIVERY, INVOICING, REMITTANCE) if amazon.login.holds(account, role)}
    if not {ELEMENTS[str(one)] for one in elements} <= held or not held:
        raise denied()
    if "/mfn/" in path and DELIVERY not in held:
        raise denied()
    return method, path


def _wrong(details: str) -> Failure:
    return Failure(400, "InvalidRequest", "Request is missing or has invalid parameters", details)
