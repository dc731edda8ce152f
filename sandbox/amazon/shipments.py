"""Orders v0: confirmShipment. 204 means taken; the parcel shows in getOrder after the lag."""

import re
from datetime import datetime, timedelta
from typing import Any

from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure, invalid
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.news import order_changed
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.orders import find
from sandbox.amazon.query import instant
from sandbox.amazon.state import Amazon, Order, Package
from sandbox.journal import iso

_DETAIL = (
    "packageReferenceId",
    "carrierCode",
    "carrierName",
    "shippingMethod",
    "trackingNumber",
    "shipDate",
    "shipFromSupplySourceId",
    "orderItems",
)
_NEEDED = ("packageReferenceId", "carrierCode", "trackingNumber", "shipDate", "orderItems")


def confirm(amazon: Amazon, account: Account, order_id: str, body: object, feed: str | None = None) -> None:
    """Take one parcel, by itself or out of a feed. The same packageReferenceId again edits that parcel instead of shipping more.

    Raises 400 with the reason, 404 for an unknown order. Source: Orders v0, confirmShipment.
    """
    detail = _detail(account, body)
    order = find(amazon, account, order_id)
    _check_order(order, body)
    package = _package(amazon, order, detail)
    edit = package.reference in order.packages
    _check_units(order, package)
    order.packages[package.reference] = package
    amazon.journal.effect(
        "confirmShipment",
        order.id,
        {
            "packageReferenceId": package.reference,
            "trackingNumber": package.tracking,
            "carrierCode": detail["carrierCode"],
            "items": [{"orderItemId": item, "quantity": units} for item, units in package.items.items()],
            "shipDate": iso(package.shipped_at),
            "edit": edit,
        }
        | ({} if feed is None else {"feedId": feed}),
    )

    def show() -> None:
        order.visible[package.reference] = package
        order.updated_at = amazon.clock.now()
        order_changed(amazon, order)

    amazon.later(show)


def _wrong(details: str) -> Failure:
    return invalid(details, "Invalid Input", details)


def _detail(account: Account, body: object) -> dict[str, Any]:
    """The packageDetail of a well-formed body."""
    if not isinstance(body, dict):
        raise invalid("The body is not a JSON object.", "Invalid Input")
    if strange := set(body) - {"packageDetail", "codCollectionMethod", "marketplaceId"}:
        raise _wrong(f"{min(strange)}: is not a member of the request.")
    if not isinstance(body.get("marketplaceId"), str):
        raise _wrong("MarketplaceId: is required.")
    if body["marketplaceId"] not in {MARKETPLACES[code].id for code in account.marketplaces}:
        raise _wrong("MarketplaceId: is invalid for this seller.")
    cod = body.get("codCollectionMethod")
    if cod is not None and (cod != "DirectPayment" or body["marketplaceId"] != MARKETPLACES["JP"].id):
        raise _wrong("CodCollectionMethod: only DirectPayment, and only in Japan.")
    detail = body.get("packageDetail")
    if not isinstance(detail, dict):
        raise _wrong("PackageDetail: is required.")
    if strange := set(detail) - set(_DETAIL):
        raise _wrong(f"{min(strange)}: is not a member of the package detail.")
    for name in _NEEDED:
        if detail.get(name) in (None, "", []):
            raise _wrong(f"{name[0].upper()}{name[1:]}: is required.")
    reference = detail["packageReferenceId"]
    if not isinstance(reference, str) or not re.fullmatch(r"0*[1-9][0-9]*", reference, re.ASCII):
        raise _wrong("PackageReferenceId: is invalid, must be a positive numeric value.")
    for name in _DETAIL[1:-1]:
        if name in detail and not isinstance(detail[name], str):
            raise _wrong(f"{name[0].upper()}{name[1:]}: must be a string.")
    if detail["carrierCode"] == "Other" and not detail.get("carrierName"):
        raise _wrong("CarrierName: is required when CarrierCode is Other.")
    return detail


def _check_order(order: Order, body: Any) -> None:
    if body["marketplaceId"] != MARKETPLACES[order.marketplace].id:
        raise _wrong("MarketplaceId: is not the order's.")
    if order.fulfilled_by != "MERCHANT":
        raise _wrong("The order is fulfilled by Amazon.")
    if order.fixed:
        raise _wrong(f"The order cannot be shipped, its status is {order.fixed}.")


def _package(amazon: Amazon, order: Order, detail: dict[str, Any]) -> Package:
    now = amazon.clock.now()
    reference = detail["packageReferenceId"]
    known = order.packages.get(reference)
    return Package(
        reference=reference,
        carrier=detail.get("carrierName") or detail["carrierCode"],
        service=detail.get("shippingMethod", ""),
        tracking=detail["trackingNumber"],
        shipped_at=_ship_date(detail["shipDate"], order, now, amazon.clock.ahead_s),
        created_at=known.created_at if known else now,
        shown_at=known.shown_at if known else amazon.shown_from,
        items=_items(order, detail["orderItems"]),
    )


def _ship_date(text: str, order: Order, now: datetime, ahead_s: float) -> datetime:
    at = instant(text) if "T" in text else None
    if at is None:
        raise invalid("ShipDate: must be in ISO 8601 format.", "Invalid Input")
    # A clock that was advanced or runs fast lies ahead of the client's; that is no fault of the client, nor is a date
    # cut to whole seconds.
    if at < order.created_at - timedelta(seconds=1 + ahead_s):
        raise _wrong("ShipDate: is before the order was placed.")
    if at > now + timedelta(days=1):
        raise _wrong("ShipDate: is too far in the future.")
    return at


def _items(order: Order, entries: object) -> dict[str, int]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _wrong("OrderItems: must be an array, also for one item.")
    known = {line.id for line in order.lines}
    items: dict[str, int] = {}
    for entry in entries:
        item, units = entry.get("orderItemId"), entry.get("quantity")
        if strange := set(entry) - {"orderItemId", "quantity", "transparencyCodes"}:
            raise _wrong(f"{min(strange)}: is not a member of an order item.")
        if not isinstance(item, str) or item not in known:
            raise _wrong("OrderItemId is invalid, please obtain the value from getOrderItems.")
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise _wrong("Quantity: must be a whole number of 1 or more.")
        if item in items:
            raise _wrong("OrderItemId: is given twice.")
        items[item] = units
    return items


def _check_units(order: Order, package: Package) -> None:
    for line in order.lines:
        left = order.unshipped(line, apart_from=package.reference)
        if package.items.get(line.id, 0) > left:
            raise _wrong(f"Quantity: {package.items[line.id]} is more than the {left} not yet shipped of {line.id}.")


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""
    path = "/orders/v0/orders/{orderId}/shipmentConfirmation"

    def taken(asked: Asked) -> None:
        confirm(amazon, asked.account, asked.path["orderId"], asked.body)

    return [Operation("confirmShipment", "POST", path, taken, code="Invalid Input", status=204)]
