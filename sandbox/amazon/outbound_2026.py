"""Fulfillment Outbound 2026-07-04: previews and orders, and what Amazon's own sandbox lets one set. Some orders are answered at
once (200), the others only accepted (202)."""

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.responses import JSONResponse

from sandbox.amazon.errors import Failure, not_found
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.outbound_store import (
    ACTIONS,
    NO_DELIVERY,
    NO_UNITS,
    OPEN,
    POLICIES,
    SPEEDS,
    FulfillmentOrder,
    Line,
    Store,
)
from sandbox.journal import iso

PATH = "/fulfillment/outbound/2026-07-04"
_ORDERS = PATH + "/orders"

_STATUSES = ("PROCESSING", "COMPLETE", "COMPLETE_PARTIAL", "CANCELLED", "UNFULFILLABLE", "INVALID")
_PACKAGE = ("PROCESSING", "IN_TRANSIT", "DELAYED", "OUT_FOR_DELIVERY", "DELIVERED", "UNDELIVERABLE", "EXPIRED")


def operations(store: Store) -> list[Operation]:
    """What of this version is served."""

    def preview(asked: Asked) -> dict[str, Any]:
        return _preview(store, asked)

    def create(asked: Asked) -> Any:
        order = _order(store, asked)
        store.create(order, "createOrder", _wrong)
        if sum(map(ord, order.id)) % 2:
            return JSONResponse({"orderId": order.id, "status": "PROCESSING"}, 202)
        return {"order": _shown(order, shipments=False)}

    def get(asked: Asked) -> dict[str, Any]:
        shipments = asked.query.one_of("shipments", ("INCLUDE", "EXCLUDE"), "EXCLUDE") == "INCLUDE"
        return {"order": _shown(store.find(asked.account, asked.path["orderId"]), shipments=shipments)}

    def listed(asked: Asked) -> dict[str, Any]:
        since = asked.query.instant("updatedAfter") or store.amazon.clock.start - timedelta(days=365)
        shipments = asked.query.one_of("shipments", ("INCLUDE", "EXCLUDE"), "INCLUDE") == "INCLUDE"
        found, token = store.changed(asked.account, since, asked.query.text("pageToken"), _wrong)
        orders = [_shown(order, shipments=shipments) for order in found]
        return {"orders": orders, "pagination": {"nextToken": token} if token else {}}

    def cancel(asked: Asked) -> dict[str, Any]:
        store.cancel(store.find(asked.account, asked.path["orderId"]), "cancelOrder", _wrong)
        return {}

    def put(asked: Asked) -> None:
        order = store.find(asked.account, asked.path["orderId"])
        status = _one_of(_object(asked.body), "status", _STATUSES)
        store.put(order, status.replace("_PARTIAL", "_PARTIALLED"), "updateOrderStatus")

    def put_package(asked: Asked) -> None:
        order = store.find(asked.account, asked.path["orderId"])
        if order.parcel is None or asked.path["packageId"] != str(order.parcel.number):
            raise not_found(f"The package '{asked.path['packageId']}' does not exist.")
        store.put_parcel(order, _one_of(_object(asked.body), "status", _PACKAGE), "updatePackage")

    one, code = _ORDERS + "/{orderId}", "InvalidRequest"
    return [
        Operation("getOrderPreview", "POST", PATH + "/previews", preview, code=code),
        Operation("createOrder", "POST", _ORDERS, create, code=code),
        Operation("listOrders", "GET", _ORDERS, listed, ("updatedAfter", "pageToken", "shipments"), code=code),
        Operation("getOutboundOrder", "GET", one, get, ("shipments",), code=code),
        Operation("cancelOrder", "PUT", one + "/cancel", cancel, code=code, status=202),
        Operation("updateOrderStatus", "PUT", one + "/status", put, code=code, status=204),
        Operation("updatePackage", "PUT", one + "/packages/{packageId}", put_package, code=code, status=204),
    ]


def _wrong(details: str) -> Failure:
    return Failure(400, "InvalidRequest", "The request is not valid.", details)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("An object is missing.")
    return value


def _one_of(body: dict[str, Any], name: str, among: tuple[str, ...], default: str | None = None) -> str:
    word = body.get(name, default)
    if not isinstance(word, str) or word not in among:
        raise _wrong(f"{name} is one of {', '.join(among)}.")
    return word


def _tiers(body: dict[str, Any]) -> list[str]:
    level = body.get("fulfillmentConfiguration", {}).get("serviceLevel", {})
    tiers = level.get("serviceTiers") or ["STANDARD"]
    return [_one_of({"serviceTiers": tier}, "serviceTiers", SPEEDS) for tier in tiers]


def _begun(asked: Asked, body: dict[str, Any]) -> FulfillmentOrder:
    address = _object(_object(body.get("destination")).get("deliveryAddress"))
    for name in ("name", "addressLine1", "postalCode", "countryCode"):
        if not isinstance(address.get(name), str) or not address[name]:
            raise _wrong(f"{name} of the address is required.")
    country = body.get("origin", {}).get("countryCode", asked.account.marketplaces[0])
    if country not in asked.account.marketplaces:
        raise _wrong(f"Nothing is shipped from '{country}'.")
    packaging = body.get("fulfillmentConfiguration", {}).get("services", {}).get("packaging", {})
    return FulfillmentOrder(
        id="",
        account=asked.account,
        marketplace=country,
        address=address,
        lines=[],
        features=("BLANK_BOX",) if packaging.get("packagingOption") == "UNBRANDED" else (),
        slip=packaging.get("packingSlip", {}).get("templateAttributes", {}),
    )


def _order(store: Store, asked: Asked) -> FulfillmentOrder:
    body = _object(asked.body)
    order = _begun(asked, body)
    if not isinstance(body.get("orderId"), str) or not 1 <= len(body["orderId"]) <= 40:
        raise _wrong("orderId has 1 to 40 characters.")
    configuration = body.get("fulfillmentConfiguration", {})
    order.id, order.speed = body["orderId"], _tiers(body)[0]
    order.action = _one_of(configuration, "action", ACTIONS, "SHIP")
    order.policy = _one_of(configuration, "policy", POLICIES, "FILL_OR_KILL")
    order.lines += _lines(store, order, body, named=True)
    return order


def _lines(store: Store, order: FulfillmentOrder, body: dict[str, Any], *, named: bool) -> list[Line]:
    entries = body.get("lineItems")
    if not isinstance(entries, list) or not 1 <= len(entries) <= 100:
        raise _wrong("lineItems are 1 to 100.")
    lines: list[Line] = []
    for number, entry in enumerate(map(_object, entries)):
        name = entry.get("lineItemId") if named else str(number)
        if not isinstance(name, str) or not name or name in {line.id for line in lines}:
            raise _wrong("lineItemId is required and not given twice.")
        product = _object(entry.get("product"))
        sku = _object(product.get("productIdentifier")).get("amazonSku")
        units = _units(_object(entry.get("amount")))
        lines.append(Line(name, store.product(order, sku, _wrong), units, product.get("perUnitDeclaredValue")))
    return lines


def _units(amount: dict[str, Any]) -> int:
    try:
        value = Decimal(amount["value"]) if isinstance(amount.get("value"), str) else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if (
        not value.is_finite()
        or value != value.to_integral_value()
        or value < 1
        or amount.get("unit", "EACHES") != "EACHES"
    ):
        raise _wrong("amount is a whole number of EACHES, as text.")
    return int(value)


def _eaches(units: int) -> dict[str, str]:
    return {"unit": "EACHES", "value": f"{units}.0"}


def _preview(store: Store, asked: Asked) -> dict[str, Any]:
    body = _object(asked.body)
    order = _begun(asked, body)
    order.lines += _lines(store, order, body, named=False)
    missing = store.short(order)
    items = [
        {
            "productIdentifier": {"amazonSku": line.product.sku},
            "amount": _eaches(line.quantity - missing.get(line.id, 0)),
        }
        for line in order.lines
        if missing.get(line.id, 0) < line.quantity
    ]
    tiers = _tiers(body)
    offers = [_offer(store, order, tier) for tier in tiers if store.delivered(order, tier)]
    constraints = []
    if missing:
        constraints.append(_constraint(NO_UNITS, "There are not enough units.", [order.lines[int(n)] for n in missing]))
    if len(offers) < len(tiers):
        constraints.append(_constraint(NO_DELIVERY, "It cannot be delivered so fast.", []))
    return {"plannedShipments": [{"items": items, "offers": offers}] if items else [], "constraints": constraints}


def _constraint(code: str, message: str, lines: list[Line]) -> dict[str, Any]:
    details = [{"type": "amazonSku", "value": line.product.sku} for line in lines]
    return {"message": message, "type": "ValidationError", "code": code, "details": details}


def _offer(store: Store, order: FulfillmentOrder, tier: str) -> dict[str, Any]:
    currency = MARKETPLACES[order.marketplace].currency
    fees = store.fees(order, tier)
    ships, ships_by, arrives, arrives_by = store.windows(tier)
    return {
        "estimatedPrice": {
            "rollupPrices": [
                {"type": name, "value": {"currencyCode": currency, "amount": str(amount)}}
                for name, amount in fees.items()
            ],
            "totalPrice": {"currencyCode": currency, "amount": str(sum(fees.values()))},
        },
        "fulfillmentConfiguration": {
            "serviceLevel": {
                "serviceTier": tier,
                "deliveryInterval": {"startTime": iso(arrives), "endTime": iso(arrives_by)},
                "shipInterval": {"startTime": iso(ships), "endTime": iso(ships_by)},
            }
        },
    }


def _shown(order: FulfillmentOrder, *, shipments: bool) -> dict[str, Any]:
    assert order.received_at is not None
    assert order.updated_at is not None
    status = "PROCESSING" if order.status in OPEN else order.status.replace("_PARTIALLED", "_PARTIAL")
    packaging: dict[str, Any] = {"packagingOption": "UNBRANDED"} if "BLANK_BOX" in order.features else {}
    if order.slip:
        packaging["packingSlip"] = {"templateAttributes": order.slip}
    shown: dict[str, Any] = {
        "orderId": order.id,
        "receiveTime": iso(order.received_at),
        "status": status,
        "statusUpdateTime": iso(order.updated_at),
        "fulfillmentConfiguration": {
            "serviceLevel": {"serviceTiers": [order.speed]},
            "action": order.action,
            "policy": order.policy,
            "services": {"packaging": packaging},
        },
        "origin": {"countryCode": order.marketplace},
        "destination": {"deliveryAddress": order.address},
        "lineItems": [_line(line) for line in order.lines],
    }
    if shipments and order.parcel is not None:
        shown["shipments"] = [_shipment(order)]
    return shown


def _line(line: Line) -> dict[str, Any]:
    product: dict[str, Any] = {"productIdentifier": {"amazonSku": line.product.sku}}
    if line.declared:
        amount = line.declared.get("amount") or line.declared.get("value")
        product["perUnitDeclaredValue"] = {"currencyCode": line.declared["currencyCode"], "amount": amount}
    return {
        "lineItemId": line.id,
        "product": product,
        "amount": _eaches(line.quantity),
        "cancelledAmount": _eaches(line.cancelled),
        "unfulfillableAmount": _eaches(line.unfulfillable),
    }


def _shipment(order: FulfillmentOrder) -> dict[str, Any]:
    parcel = order.parcel
    assert parcel is not None
    package: dict[str, Any] = {
        "packageId": str(parcel.number),
        "status": parcel.status,
        "tracking": {"carrier": {"carrierCode": parcel.carrier, "trackingNumber": parcel.tracking}},
        "shipmentItemIds": [f"SI{number}" for number, line in enumerate(order.lines) if line.taken],
    }
    if parcel.arrives_at:
        package["deliveryTime"] = iso(parcel.arrives_at)
    return {
        "amazonShipmentId": f"D{parcel.number}",
        "amazonFacility": {"facilityId": "RNO4"},
        "status": "SHIPPED" if parcel.shipped_at else "PROCESSING",
        **({"shipTime": iso(parcel.shipped_at)} if parcel.shipped_at else {}),
        "items": [
            {
                "shipmentItemId": f"SI{number}",
                "productIdentifier": {"amazonSku": line.product.sku},
                "lineItemId": line.id,
                "amount": _eaches(line.taken),
            }
            for number, line in enumerate(order.lines)
            if line.taken
        ],
        "packages": [package],
    }
