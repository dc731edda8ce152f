"""Shipping v2: rates for a parcel, one label for an idempotency key, its documents, its way, and the money back."""

import base64
from decimal import Decimal
from typing import Any

from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure, not_found
from sandbox.amazon.label_store import MOST_GRAMS, Bought, Labels, Rate, document, moment
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.state import Order

_GRAMS = {
    "GRAM": Decimal(1),
    "KILOGRAM": Decimal(1000),
    "OUNCE": Decimal("28.349523125"),
    "POUND": Decimal("453.59237"),
}
_BUSINESSES = {"US": "AmazonShipping_US", "FR": "AmazonShipping_FR", "JP": "AmazonShipping_JP"}
_DAY_S = 86_400


def operations(labels: Labels) -> list[Operation]:
    """What of this API is served."""

    def rates(asked: Asked) -> dict[str, Any]:
        found = _rates(labels, asked)
        return {"payload": {"requestToken": found[0].token, "rates": [_rate(rate) for rate in found]}}

    def buy(asked: Asked) -> dict[str, Any]:
        return {"payload": _purchase(_buy(labels, asked))}

    def documents(asked: Asked) -> dict[str, Any]:
        bought = _find(labels, asked)
        if asked.query.needed("packageClientReferenceId") != bought.rate.reference:
            raise _wrong("packageClientReferenceId is not one of the shipment's.")
        format = asked.query.one_of("format", ("PDF", "PNG", "ZPL"), bought.format) or bought.format
        asked.query.text("dpi")
        return {"payload": {"shipmentId": bought.id, "packageDocumentDetail": _papers(bought, format)}}

    def track(asked: Asked) -> dict[str, Any]:
        return {"payload": _tracked(labels, asked)}

    def cancel(asked: Asked) -> dict[str, Any]:
        bought = _find(labels, asked)
        if bought.status == "Purchased" and labels.late(bought):
            raise _wrong("The carrier has the parcel; it cannot be cancelled any more.")
        labels.refund(bought, "cancelPurchase")
        return {}

    one, code = "/shipping/v2/shipments/{shipmentId}", "InvalidRequest"
    asked_for = ("packageClientReferenceId", "format", "dpi")
    return [
        Operation("getRates", "POST", "/shipping/v2/shipments/rates", rates, code=code),
        Operation("purchaseShipment", "POST", "/shipping/v2/shipments", buy, code=code),
        Operation("getShipmentDocuments", "GET", one + "/documents", documents, asked_for, code=code),
        Operation("getTracking", "GET", "/shipping/v2/tracking", track, ("trackingId", "carrierId"), code=code),
        Operation("cancelPurchase", "PUT", one + "/cancel", cancel, code=code),
    ]


def _wrong(details: str, code: str = "InvalidRequest") -> Failure:
    return Failure(400, code, "Request is missing or has invalid parameters", details)


def _object(value: object, name: str = "The body") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(f"{name} is required.")
    return value


def _marketplace(asked: Asked) -> str:
    """By the business, which is the United Kingdom's where none is named."""
    business = asked.headers.get("x-amzn-shipping-business-id", "AmazonShipping_UK")
    code = next((code for code, one in _BUSINESSES.items() if one == business), None)
    if code is None or code not in asked.account.marketplaces:
        raise _wrong(f"The shipping business {business} is not one of this account's.")
    return code


def _order(labels: Labels, account: Account, body: dict[str, Any]) -> Order | None:
    details = _object(body.get("channelDetails"), "ChannelDetails object")
    if details.get("channelType") == "EXTERNAL":
        if not isinstance(body.get("shipTo"), dict):
            raise _wrong("ShipTo is required for an external channel.")
        return None
    if details.get("channelType") != "AMAZON":
        raise _wrong("ChannelType is AMAZON or EXTERNAL.")
    order = labels.amazon.orders.get(
        str(_object(details.get("amazonOrderDetails"), "AmazonOrderDetails").get("orderId"))
    )
    if order is None or order.account is not account or order.fulfilled_by != "MERCHANT" or order.fixed:
        raise _wrong("OrderId is not an order that this seller ships.")
    return order


def _rates(labels: Labels, asked: Asked) -> list[Rate]:
    body = _object(asked.body)
    marketplace, order = _marketplace(asked), _order(labels, asked.account, body)
    from_, packages = _object(body.get("shipFrom"), "ShipFrom"), body.get("packages")
    for name in ("name", "addressLine1", "city", "postalCode", "countryCode"):
        if not from_.get(name):
            raise _wrong(f"ShipFrom.{name} is required.")
    if not isinstance(packages, list) or len(packages) != 1:
        raise _wrong("Packages holds one package here.")
    package = _object(packages[0], "Package")
    weight = _object(package.get("weight"), "Weight")
    if weight.get("unit") not in _GRAMS or not isinstance(weight.get("value"), int | float) or weight["value"] <= 0:
        raise _wrong("Weight is above 0.")
    if Decimal(str(weight["value"])) * _GRAMS[weight["unit"]] > MOST_GRAMS:
        raise _wrong(f"Nobody carries that much from '{from_['addressLine1']}'.")
    if not isinstance(package.get("packageClientReferenceId"), str):
        raise _wrong("PackageClientReferenceId is required.")
    items = {str(item.get("itemIdentifier")): item.get("quantity") for item in package.get("items") or []}
    if order is not None:
        for line in order.lines:
            if items.get(line.id, 0) > order.unshipped(line):
                raise _wrong(f"Only {order.unshipped(line)} of the item {line.id} are not shipped yet.")
        if not items or set(items) - {line.id for line in order.lines}:
            raise _wrong("Items names an item that the order does not have.")
    to = body.get("shipTo") or {"postalCode": "97205"}
    return labels.offer(
        asked.account,
        marketplace,
        Decimal(str(weight["value"])) * _GRAMS[weight["unit"]],
        (str(from_["postalCode"]), str(to.get("postalCode"))),
        order=order,
        items=items,
        reference=package["packageClientReferenceId"],
    )


def _rate(rate: Rate) -> dict[str, Any]:
    window = {"start": moment(rate.arrives_at), "end": moment(rate.arrives_at)}
    option = {
        "supportedDPIs": [203, 300],
        "supportedPageLayouts": ["DEFAULT"],
        "supportedFileJoiningOptions": [False],
        "supportedDocumentDetails": [{"name": "LABEL", "isMandatory": True}],
    }
    return {
        "rateId": rate.id,
        "carrierId": rate.service.carrier_id,
        "carrierName": rate.service.carrier,
        "serviceId": rate.service.id,
        "serviceName": rate.service.name,
        "totalCharge": {"value": float(rate.price), "unit": rate.currency},
        "promise": {"deliveryWindow": window},
        "supportedDocumentSpecifications": [
            {"format": format, "size": {"width": 4, "length": 6, "unit": "INCH"}, "printOptions": [option]}
            for format in ("PDF", "PNG", "ZPL")
        ],
        "requiresAdditionalInputs": False,
    }


def _buy(labels: Labels, asked: Asked) -> Bought:
    body = _object(asked.body)
    key = (asked.account.seller, asked.headers.get("x-amzn-idempotencykey", ""))
    # Whoever repeats a key hears what was said the first time, however old the rates are by now.
    if key[1] and key in labels.by_key:
        return labels.by_key[key]
    rate = labels.rates.get(str(body.get("rateId")))
    if rate is None or rate.account is not asked.account or rate.token != body.get("requestToken"):
        raise _wrong("RateId is not one of the request token's.")
    if labels.dead(rate):
        raise _wrong("The request token has expired; get the rates again.", "TOKEN_EXPIRED")
    wanted = _object(body.get("requestedDocumentSpecification"), "RequestedDocumentSpecification")
    if wanted.get("format") not in ("PDF", "PNG", "ZPL") or wanted.get("size") != {
        "width": 4,
        "length": 6,
        "unit": "INCH",
    }:
        raise _wrong("The document specification is not one of those offered.")
    bought = labels.buy(rate, wanted["format"], "purchaseShipment", body)
    if key[1]:
        labels.by_key[key] = bought
    return bought


def _find(labels: Labels, asked: Asked) -> Bought:
    bought = labels.bought.get(asked.path["shipmentId"])
    if bought is None or bought.rate.account is not asked.account or not bought.rate.reference:
        raise not_found("The shipment does not exist.")
    return bought


def _purchase(bought: Bought) -> dict[str, Any]:
    window = {"start": moment(bought.rate.arrives_at), "end": moment(bought.rate.arrives_at)}
    return {
        "shipmentId": bought.id,
        "packageDocumentDetails": [_papers(bought, bought.format)],
        "promise": {"deliveryWindow": window},
    }


def _papers(bought: Bought, format: str) -> dict[str, Any]:
    contents = base64.b64encode(document(format, bought.tracking)).decode()
    return {
        "packageClientReferenceId": bought.rate.reference,
        "packageDocuments": [{"type": "LABEL", "format": format, "contents": contents}],
        "trackingId": bought.tracking,
    }


def _tracked(labels: Labels, asked: Asked) -> dict[str, Any]:
    tracking, carrier = asked.query.needed("trackingId"), asked.query.needed("carrierId")
    for bought in labels.bought.values():
        rate = bought.rate
        if (bought.tracking, rate.service.carrier_id, rate.account) != (tracking, carrier, asked.account):
            continue
        days = (labels.amazon.clock.seconds() - bought.bought_s) / _DAY_S
        status = "PreTransit" if days < 1 else "InTransit" if days < rate.service.days else "Delivered"
        return {
            "trackingId": tracking,
            "alternateLegTrackingId": "",
            "eventHistory": [],
            "promisedDeliveryDate": moment(rate.arrives_at),
            "summary": {"status": status},
        }
    raise not_found("The tracking id is not known.")
