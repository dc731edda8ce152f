"""Merchant Fulfillment v0: services for an order of Amazon's, a label, the label again, and the money back."""

import base64
import gzip
import hashlib
from decimal import Decimal
from typing import Any

from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure, not_found
from sandbox.amazon.label_store import MOST_GRAMS, Bought, Labels, Rate, moment
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.state import Order

_TYPES = {
    "PDF": "application/pdf",
    "PNG": "image/png",
    "ZPL203": "application/zpl",
    "ZPL300": "application/zpl",
}
_GRAMS = {"g": Decimal(1), "oz": Decimal("28.349523125")}
_EXPERIENCES = (
    "DeliveryConfirmationWithAdultSignature",
    "DeliveryConfirmationWithSignature",
    "DeliveryConfirmationWithoutSignature",
    "NoTracking",
)


def operations(labels: Labels) -> list[Operation]:
    """What of this API is served."""

    def services(asked: Asked) -> dict[str, Any]:
        details = _object(_object(asked.body).get("ShipmentRequestDetails"), "ShipmentRequestDetails")
        found = [_service(rate, details) for rate in _offers(labels, asked.account, details)]
        return {"payload": {"ShippingServiceList": found}}

    def create(asked: Asked) -> dict[str, Any]:
        return {"payload": _shown(_buy(labels, asked), label=True)}

    def get(asked: Asked) -> dict[str, Any]:
        return {"payload": _shown(_find(labels, asked), label=True)}

    def cancel(asked: Asked) -> dict[str, Any]:
        bought = _find(labels, asked)
        labels.refund(bought, "cancelShipment")
        return {"payload": _shown(bought, label=False)}

    one = "/mfn/v0/shipments/{shipmentId}"
    return [
        Operation("getEligibleShipmentServices", "POST", "/mfn/v0/eligibleShippingServices", services),
        Operation("createShipment", "POST", "/mfn/v0/shipments", create, restricted=True),
        Operation("getShipment", "GET", one, get, restricted=True),
        Operation("cancelShipment", "DELETE", one, cancel, restricted=True),
    ]


def _wrong(message: str) -> Failure:
    return Failure(400, "InvalidInput", message)


def _object(value: object, name: str = "The body") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(f"{name} is required.")
    return value


def _order(labels: Labels, account: Account, details: dict[str, Any]) -> tuple[Order, dict[str, int]]:
    """The order and the units that go into the parcel."""
    order = labels.amazon.orders.get(str(details.get("AmazonOrderId")))
    if order is None or order.account is not account:
        raise _wrong("AmazonOrderId is not an order of this seller.")
    if order.fulfilled_by != "MERCHANT" or order.fixed:
        raise _wrong("The order cannot be shipped by the merchant.")
    items: dict[str, int] = {}
    for entry in details.get("ItemList") or []:
        line = next((line for line in order.lines if line.id == entry.get("OrderItemId")), None)
        units = entry.get("Quantity")
        if line is None or isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise _wrong("ItemList names an item that the order does not have.")
        if units > order.unshipped(line):
            raise _wrong(f"Only {order.unshipped(line)} of the item {line.id} are not shipped yet.")
        items[line.id] = units
    if not items:
        raise _wrong("ItemList is required.")
    return order, items


def _grams(details: dict[str, Any]) -> Decimal:
    weight = _object(details.get("Weight"), "Weight")
    if isinstance(weight.get("Value"), bool) or not isinstance(weight.get("Value"), int | float):
        raise _wrong("Weight.Value is a number.")
    if weight.get("Unit") not in _GRAMS or weight["Value"] <= 0:
        raise _wrong("Weight is above 0, in g or oz.")
    return Decimal(str(weight["Value"])) * _GRAMS[weight["Unit"]]


def _offers(labels: Labels, account: Account, details: dict[str, Any]) -> list[Rate]:
    order, items = _order(labels, account, details)
    address = _object(details.get("ShipFromAddress"), "ShipFromAddress")
    for name in ("Name", "AddressLine1", "Email", "City", "PostalCode", "CountryCode", "Phone"):
        if not address.get(name):
            raise _wrong(f"ShipFromAddress.{name} is required.")
    if len(address["CountryCode"]) != 2:
        raise _wrong("ShipFromAddress.CountryCode has two letters.")
    if _grams(details) > MOST_GRAMS:
        raise _wrong(f"Nobody carries that much from '{address['AddressLine1']}'.")
    options = _object(details.get("ShippingServiceOptions"), "ShippingServiceOptions")
    if options.get("DeliveryExperience") not in _EXPERIENCES or not isinstance(options.get("CarrierWillPickUp"), bool):
        raise _wrong("ShippingServiceOptions needs DeliveryExperience and CarrierWillPickUp.")
    if options.get("LabelFormat", "PDF") not in _TYPES:
        raise _wrong("LabelFormat is not offered.")
    to = _to(order)["PostalCode"]
    return labels.offer(
        account, order.marketplace, _grams(details), (str(address["PostalCode"]), to), order=order, items=items
    )


def _buy(labels: Labels, asked: Asked) -> Bought:
    body = _object(asked.body)
    details = _object(body.get("ShipmentRequestDetails"), "ShipmentRequestDetails")
    order, items = _order(labels, asked.account, details)
    rate = labels.rates.get(str(body.get("ShippingServiceOfferId")))
    if rate is None or rate.account is not asked.account or rate.service.id != body.get("ShippingServiceId"):
        raise _wrong("ShippingServiceOfferId is not an offer of this service.")
    if rate.order is not order or rate.items != items:
        raise _wrong("ShippingServiceOfferId was offered for another parcel.")
    if labels.dead(rate):
        raise _wrong("ShippingServiceOfferId has expired.")
    format = details.get("ShippingServiceOptions", {}).get("LabelFormat", "PDF")
    return labels.buy(rate, format, "createShipment", details)


def _find(labels: Labels, asked: Asked) -> Bought:
    bought = labels.bought.get(asked.path["shipmentId"])
    if bought is None or bought.rate.account is not asked.account or bought.rate.order is None:
        raise not_found("The shipment does not exist.")
    return bought


def _amount(rate: Rate) -> dict[str, Any]:
    return {"CurrencyCode": rate.currency, "Amount": float(rate.price)}


def _service(rate: Rate, details: dict[str, Any]) -> dict[str, Any]:
    return {
        "ShippingServiceName": rate.service.name,
        "CarrierName": rate.service.carrier,
        "ShippingServiceId": rate.service.id,
        "ShippingServiceOfferId": rate.id,
        "ShipDate": moment(rate.ships_at),
        "EarliestEstimatedDeliveryDate": moment(rate.arrives_at),
        "LatestEstimatedDeliveryDate": moment(rate.arrives_at),
        "Rate": _amount(rate),
        "RateWithAdjustments": _amount(rate),
        "ShippingServiceOptions": details["ShippingServiceOptions"],
        "AvailableLabelFormats": list(_TYPES),
        "RequiresAdditionalSellerInputs": False,
    }


def _to(order: Order) -> dict[str, str]:
    """Whom the parcel goes to: an invented person."""
    us = order.marketplace == "US"
    return {
        "Name": f"Buyer {order.buyer}",
        "AddressLine1": f"{order.buyer + 1} Juniper Road",
        "Email": "",
        "City": "Portland",
        "StateOrProvinceCode": "OR" if us else "",
        "PostalCode": "97205",
        "CountryCode": order.marketplace,
        "Phone": "",
    }


def _shown(bought: Bought, *, label: bool) -> dict[str, Any]:
    rate, order = bought.rate, bought.rate.order
    assert order is not None
    packed = gzip.compress(bought.file, mtime=0)
    # A label that is given back has no file, and says so with empty words; the checksum is the document's.
    file = {
        "Contents": base64.b64encode(packed).decode() if label else "",
        "FileType": _TYPES[bought.format],
        "Checksum": base64.b64encode(hashlib.md5(bought.file, usedforsecurity=False).digest()).decode(),
    }
    return {
        "ShipmentId": bought.id,
        "AmazonOrderId": order.id,
        "ItemList": bought.asked["ItemList"],
        "ShipFromAddress": bought.asked["ShipFromAddress"],
        "ShipToAddress": _to(order),
        "PackageDimensions": bought.asked["PackageDimensions"],
        "Weight": bought.asked["Weight"],
        "Insurance": {"CurrencyCode": MARKETPLACES[order.marketplace].currency, "Amount": 0.0},
        "ShippingService": _service(rate, bought.asked),
        "Label": {
            "Dimensions": {"Length": 6.0, "Width": 4.0, "Unit": "inches"},
            "FileContents": file,
            "LabelFormat": bought.format,
        },
        "Status": bought.status,
        "TrackingId": bought.tracking,
        "CreatedDate": moment(bought.bought_at),
        "LastUpdatedDate": moment(bought.updated_at),
    }
