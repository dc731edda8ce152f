"""Fulfillment Outbound 2020-07-01: previews, orders, parcels, and the status that Amazon's own sandbox lets one set."""

from datetime import timedelta
from typing import Any

from sandbox.amazon.errors import Failure, denied, not_found
from sandbox.amazon.marketplaces import BY_ID, MARKETPLACES
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.outbound_returns import REASONS, announce, authorization_shown, item_shown
from sandbox.amazon.outbound_store import (
    ACTIONS,
    NO_DELIVERY,
    NO_UNITS,
    POLICIES,
    SPEEDS,
    STATUSES,
    FulfillmentOrder,
    Line,
    Store,
)
from sandbox.amazon.query import instant
from sandbox.journal import iso

PATH = "/fba/outbound/2020-07-01"
_ORDERS = PATH + "/fulfillmentOrders"

_SPEED = dict(zip(("Standard", "Expedited", "Priority", "ScheduledDelivery"), SPEEDS, strict=True))
_ACTION = dict(zip(("Ship", "Hold"), ACTIONS, strict=True))
_POLICY = dict(zip(("FillOrKill", "FillAll", "FillAllAvailable"), POLICIES, strict=True))
_STATUS = dict(
    zip(
        (
            "New",
            "Received",
            "Planning",
            "Processing",
            "Cancelled",
            "Complete",
            "CompletePartialled",
            "Unfulfillable",
            "Invalid",
        ),
        STATUSES,
        strict=True,
    )
)
_FEATURES = ("BLANK_BOX", "BLOCK_AMZL", "OVERBOX", "PACKING_SLIP", "SIGNATURE_CONFIRMATION", "DELIVER_TOGETHER")
_REASONS_ASKED = ("sellerSku", "marketplaceId", "sellerFulfillmentOrderId", "language")
# From when on orders are listed where nobody says.
_RECENT = timedelta(hours=36)
_WHERE = {"PROCESSING": "UNKNOWN", "EXPIRED": "UNKNOWN"}


def operations(store: Store) -> list[Operation]:
    """What of this version is served."""

    def preview(asked: Asked) -> dict[str, Any]:
        return _preview(store, asked)

    def create(asked: Asked) -> dict[str, Any]:
        store.create(_order(store, asked, asked.body), "createFulfillmentOrder", _wrong)
        return {}

    def get(asked: Asked) -> dict[str, Any]:
        return {"payload": _shown(store.find(asked.account, asked.path["sellerFulfillmentOrderId"]))}

    def listed(asked: Asked) -> dict[str, Any]:
        since = asked.query.instant("queryStartDate") or store.amazon.clock.now() - _RECENT
        found, token = store.changed(asked.account, since, asked.query.text("nextToken"), _wrong)
        orders = [_shown(order)["fulfillmentOrder"] for order in found]
        return {"payload": {"fulfillmentOrders": orders, **({"nextToken": token} if token else {})}}

    def announced(asked: Asked) -> dict[str, Any]:
        order = store.find(asked.account, asked.path["sellerFulfillmentOrderId"])
        return {"payload": announce(store, order, _return_items(asked.body))}

    def reasons(asked: Asked) -> dict[str, Any]:
        asked.query.needed("sellerSku")
        codes = [{"returnReasonCode": code, "description": words} for code, words in REASONS.items()]
        return {"payload": {"reasonCodeDetails": codes}}

    def cancel(asked: Asked) -> dict[str, Any]:
        order = store.find(asked.account, asked.path["sellerFulfillmentOrderId"])
        store.cancel(order, "cancelFulfillmentOrder", _wrong)
        return {}

    def put(asked: Asked) -> dict[str, Any]:
        order = store.find(asked.account, asked.path["sellerFulfillmentOrderId"])
        status = _one_of(_body(asked.body), "fulfillmentOrderStatus", _STATUS)
        store.put(order, status, "submitFulfillmentOrderStatusUpdate")
        return {}

    def track(asked: Asked) -> dict[str, Any]:
        return {"payload": _tracked(store, asked)}

    one = _ORDERS + "/{sellerFulfillmentOrderId}"
    return [
        Operation("getFulfillmentPreview", "POST", _ORDERS + "/preview", preview),
        Operation("createFulfillmentOrder", "POST", _ORDERS, create),
        Operation("listAllFulfillmentOrders", "GET", _ORDERS, listed, ("queryStartDate", "nextToken")),
        Operation("getFulfillmentOrder", "GET", one, get),
        Operation("createFulfillmentReturn", "PUT", one + "/return", announced),
        Operation("listReturnReasonCodes", "GET", PATH + "/returnReasonCodes", reasons, _REASONS_ASKED),
        Operation("cancelFulfillmentOrder", "PUT", one + "/cancel", cancel),
        Operation("getPackageTrackingDetails", "GET", PATH + "/tracking", track, ("packageNumber",)),
        Operation("submitFulfillmentOrderStatusUpdate", "PUT", one + "/status", put),
    ]


def _wrong(details: str) -> Failure:
    return Failure(400, "InvalidInput", details)


def _body(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise _wrong("The body is not a JSON object.")
    return body


def _return_items(body: object) -> list[dict[str, Any]]:
    entries = _body(body).get("items")
    if not isinstance(entries, list) or not entries:
        raise _wrong("items are required.")
    for entry in map(_body, entries):
        for name in ("sellerReturnItemId", "sellerFulfillmentOrderItemId", "amazonShipmentId", "returnReasonCode"):
            if not isinstance(entry.get(name), str) or not 1 <= len(entry[name]) <= 80:
                raise _wrong(f"{name} has 1 to 80 characters.")
        if len(str(entry.get("returnComment", ""))) > 1000:
            raise _wrong("returnComment has at most 1000 characters.")
    return entries


def _one_of(body: dict[str, Any], name: str, table: dict[str, str], default: str | None = None) -> str:
    word = body.get(name, default)
    if not isinstance(word, str) or word not in table:
        raise _wrong(f"{name} is one of {', '.join(table)}.")
    return table[word]


def _order(store: Store, asked: Asked, body: object, *, previewed: bool = False) -> FulfillmentOrder:
    """The order that a well-formed body describes; a preview's has no names of its own yet."""
    body = _body(body)
    address = _body(body.get("address" if previewed else "destinationAddress"))
    for name in ("name", "addressLine1", "postalCode", "countryCode"):
        if not isinstance(address.get(name), str) or not address[name]:
            raise _wrong(f"{name} of the address is required.")
    if not previewed:
        for name, most in (
            ("sellerFulfillmentOrderId", 40),
            ("displayableOrderId", 40),
            ("displayableOrderComment", 750),
        ):
            if not isinstance(body.get(name), str) or not 1 <= len(body[name]) <= most:
                raise _wrong(f"{name} has 1 to {most} characters.")
        if instant(str(body.get("displayableOrderDate"))) is None:
            raise _wrong("displayableOrderDate is an ISO 8601 time.")
    order = FulfillmentOrder(
        id="" if previewed else body["sellerFulfillmentOrderId"],
        account=asked.account,
        marketplace=_marketplace(asked, body.get("marketplaceId")),
        address=address,
        lines=[],
        speed="STANDARD" if previewed else _one_of(body, "shippingSpeedCategory", _SPEED),
        action=_one_of(body, "fulfillmentAction", _ACTION, "Ship"),
        policy=_one_of(body, "fulfillmentPolicy", _POLICY, "FillOrKill"),
        features=_features(body.get("featureConstraints", [])),
        slip={}
        if previewed
        else {
            "orderId": body["displayableOrderId"],
            "orderTime": body["displayableOrderDate"],
            "orderText": body["displayableOrderComment"],
        },
    )
    order.lines += _lines(store, order, body.get("items"))
    return order


def _marketplace(asked: Asked, marketplace_id: object) -> str:
    if marketplace_id is None:
        return asked.account.marketplaces[0]
    known = BY_ID.get(str(marketplace_id))
    if known is None or known.code not in asked.account.marketplaces:
        raise denied()
    return known.code


def _features(entries: object) -> tuple[str, ...]:
    if not isinstance(entries, list):
        raise _wrong("featureConstraints is a list.")
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("featureName") not in _FEATURES:
            raise _wrong(f"featureName is one of {', '.join(_FEATURES)}.")
    return tuple(entry["featureName"] for entry in entries if entry.get("featureFulfillmentPolicy") == "Required")


def _lines(store: Store, order: FulfillmentOrder, entries: object) -> list[Line]:
    if not isinstance(entries, list) or not 1 <= len(entries) <= 100:
        raise _wrong("items are 1 to 100.")
    lines: list[Line] = []
    for entry in map(_body, entries):
        units, name = entry.get("quantity"), entry.get("sellerFulfillmentOrderItemId")
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise _wrong("quantity is a whole number of 1 or more.")
        if not isinstance(name, str) or not 1 <= len(name) <= 50 or name in {line.id for line in lines}:
            raise _wrong("sellerFulfillmentOrderItemId has 1 to 50 characters and is not given twice.")
        lines.append(
            Line(name, store.product(order, entry.get("sellerSku"), _wrong), units, entry.get("perUnitDeclaredValue"))
        )
    return lines


def _preview(store: Store, asked: Asked) -> dict[str, Any]:
    body = _body(asked.body)
    order = _order(store, asked, body, previewed=True)
    speeds = body.get("shippingSpeedCategories") or ["Standard", "Expedited"]
    if not isinstance(speeds, list):
        raise _wrong("shippingSpeedCategories is a list.")
    words = [(word, _one_of({"speed": word}, "speed", _SPEED)) for word in speeds]
    return {"payload": {"fulfillmentPreviews": [_previewed(store, order, word, speed) for word, speed in words]}}


def _previewed(store: Store, order: FulfillmentOrder, word: str, speed: str) -> dict[str, Any]:
    missing, delivered = store.short(order), store.delivered(order, speed)
    currency = MARKETPLACES[order.marketplace].currency
    fees = store.fees(order, speed)
    ships, ships_by, arrives, arrives_by = store.windows(speed)
    shipment = {
        "earliestShipDate": iso(ships),
        "latestShipDate": iso(ships_by),
        "earliestArrivalDate": iso(arrives),
        "latestArrivalDate": iso(arrives_by),
        "fulfillmentPreviewItems": [
            {
                "sellerSku": line.product.sku,
                "quantity": line.quantity - missing.get(line.id, 0),
                "sellerFulfillmentOrderItemId": line.id,
            }
            for line in order.lines
            if missing.get(line.id, 0) < line.quantity
        ],
    }
    return {
        "shippingSpeedCategory": word,
        "isFulfillable": delivered and not missing,
        "isCODCapable": False,
        "marketplaceId": MARKETPLACES[order.marketplace].id,
        "estimatedFees": [
            {"name": name, "amount": {"currencyCode": currency, "value": str(amount)}} for name, amount in fees.items()
        ]
        if delivered
        else [],
        "fulfillmentPreviewShipments": [shipment] if delivered and shipment["fulfillmentPreviewItems"] else [],
        "unfulfillablePreviewItems": [
            {
                "sellerSku": line.product.sku,
                "quantity": missing[line.id],
                "sellerFulfillmentOrderItemId": line.id,
                "itemUnfulfillableReasons": [NO_UNITS],
            }
            for line in order.lines
            if line.id in missing
        ],
        "orderUnfulfillableReasons": [] if delivered else [NO_DELIVERY],
        "featureConstraints": [
            {"featureName": name, "featureFulfillmentPolicy": "Required"} for name in order.features
        ],
    }


def _word(table: dict[str, str], ours: str) -> str:
    return next(word for word, value in table.items() if value == ours)


def _shown(order: FulfillmentOrder) -> dict[str, Any]:
    assert order.received_at is not None
    assert order.updated_at is not None
    shown: dict[str, Any] = {
        "fulfillmentOrder": {
            "sellerFulfillmentOrderId": order.id,
            "marketplaceId": MARKETPLACES[order.marketplace].id,
            "displayableOrderId": order.slip.get("orderId", order.id),
            "displayableOrderDate": order.slip.get("orderTime", iso(order.received_at)),
            "displayableOrderComment": order.slip.get("orderText", ""),
            "shippingSpeedCategory": _word(_SPEED, order.speed),
            "destinationAddress": {name: value for name, value in order.address.items() if name != "email"},
            "fulfillmentAction": _word(_ACTION, order.action),
            "fulfillmentPolicy": _word(_POLICY, order.policy),
            "receivedDate": iso(order.received_at),
            "fulfillmentOrderStatus": _word(_STATUS, order.status),
            "statusUpdatedDate": iso(order.updated_at),
            "featureConstraints": [
                {"featureName": name, "featureFulfillmentPolicy": "Required"} for name in order.features
            ],
        },
        "fulfillmentOrderItems": [
            {
                "sellerSku": line.product.sku,
                "sellerFulfillmentOrderItemId": line.id,
                "quantity": line.quantity,
                "cancelledQuantity": line.cancelled,
                "unfulfillableQuantity": line.unfulfillable,
                **({"perUnitDeclaredValue": _value(line.declared)} if line.declared else {}),
            }
            for line in order.lines
        ],
        "returnItems": [item_shown(order, item) for item in order.returns],
        "returnAuthorizations": [authorization_shown(order, id) for id in order.authorizations],
    }
    if order.parcel is not None:
        shown["fulfillmentShipments"] = [_shipment(order)]
    return shown


def _value(declared: dict[str, Any]) -> dict[str, Any]:
    return {"currencyCode": declared["currencyCode"], "value": declared.get("value") or declared.get("amount")}


def _shipment(order: FulfillmentOrder) -> dict[str, Any]:
    parcel = order.parcel
    assert parcel is not None
    items = [
        {
            "sellerSku": line.product.sku,
            "sellerFulfillmentOrderItemId": line.id,
            "quantity": line.taken,
            "packageNumber": parcel.number,
        }
        for line in order.lines
        if line.taken
    ]
    package = {"packageNumber": parcel.number, "carrierCode": parcel.carrier, "trackingNumber": parcel.tracking}
    if parcel.arrives_at:
        package["estimatedArrivalDate"] = iso(parcel.arrives_at)
    return {
        "amazonShipmentId": f"D{parcel.number}",
        "fulfillmentCenterId": "RNO4",
        "fulfillmentShipmentStatus": "SHIPPED" if parcel.shipped_at else "PENDING",
        **({"shippingDate": iso(parcel.shipped_at)} if parcel.shipped_at else {}),
        "fulfillmentShipmentItem": items,
        "fulfillmentShipmentPackage": [package],
    }


def _tracked(store: Store, asked: Asked) -> dict[str, Any]:
    number = asked.query.needed("packageNumber")
    if not number.isdigit():
        raise _wrong("packageNumber is a number.")
    for order in store.orders.values():
        parcel = order.parcel
        if parcel is not None and order.account is asked.account and parcel.number == int(number) and parcel.shipped_at:
            return {
                "packageNumber": parcel.number,
                "trackingNumber": parcel.tracking,
                "carrierCode": parcel.carrier,
                "shipDate": iso(parcel.shipped_at),
                "currentStatus": _WHERE.get(parcel.status, parcel.status),
                "shipToAddress": {
                    "city": str(order.address.get("city") or "-"),
                    "state": str(order.address.get("stateOrRegion") or "-"),
                    "country": str(order.address["countryCode"]),
                },
                **({"estimatedArrivalDate": iso(parcel.arrives_at)} if parcel.arrives_at else {}),
            }
    raise not_found(f"The package '{number}' does not exist.")
