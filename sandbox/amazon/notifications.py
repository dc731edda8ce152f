"""Notifications v1: destinations belong to the application, subscriptions to a seller."""

import re
import uuid
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from sandbox.amazon.errors import Failure, invalid, not_found
from sandbox.amazon.finances import TRANSACTION_UPDATE, follow
from sandbox.amazon.notices import APPLICATION, QUEUE_ARN, Destination, Notices, Subscription
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import seal, unseal
from sandbox.amazon.state import Amazon
from sandbox.control import answer, endpoint, number

SCOPE = "sellingpartnerapi::notifications"
_SQS, _BUS = "sqs", "eventBridge"
VERSIONS = {
    **dict.fromkeys(
        (
            "ORDER_CHANGE",
            "ANY_OFFER_CHANGED",
            "B2B_ANY_OFFER_CHANGED",
            "PRICING_HEALTH",
            "FBA_INVENTORY_AVAILABILITY_CHANGES",
            "LISTINGS_ITEM_STATUS_CHANGE",
            "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
            "FULFILLMENT_ORDER_STATUS",
            "FBA_OUTBOUND_SHIPMENT_STATUS",
            "TRANSACTION_UPDATE",
            "FEE_PROMOTION",
            "EXTERNAL_FULFILLMENT_SHIPMENT_STATUS_CHANGE",
            "BRANDED_ITEM_CONTENT_CHANGE",
            "ITEM_PRODUCT_TYPE_CHANGE",
            "PRODUCT_TYPE_DEFINITIONS_CHANGE",
        ),
        "1.0",
    ),
    **dict.fromkeys(
        (
            "REPORT_PROCESSING_FINISHED",
            "FEED_PROCESSING_FINISHED",
            "ITEM_INVENTORY_EVENT_CHANGE",
            "DETAIL_PAGE_TRAFFIC_EVENT",
            "ITEM_SALES_EVENT_CHANGE",
        ),
        "2020-09-04",
    ),
    "ACCOUNT_STATUS_CHANGED": "2021-01-01",
    "LISTINGS_ITEM_ISSUES_CHANGE": "2023-12-13",
    "DATA_KIOSK_QUERY_PROCESSING_FINISHED": "2023-11-15",
    "SHIPMENT_TRACKING_MILESTONE_CHANGED": "2026-01-30",
}
"""The types there are and the version of their payload."""
BUS_ONLY = (
    "LISTINGS_ITEM_STATUS_CHANGE",
    "LISTINGS_ITEM_ISSUES_CHANGE",
    "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
    "BRANDED_ITEM_CONTENT_CHANGE",
    "ITEM_PRODUCT_TYPE_CHANGE",
    "PRODUCT_TYPE_DEFINITIONS_CHANGE",
)
_FILTERED = ("ANY_OFFER_CHANGED", "ORDER_CHANGE", "SHIPMENT_TRACKING_MILESTONE_CHANGED")
_DIRECTIVE = ("eventFilter", "filterExpression")


def _conflict(details: str) -> Failure:
    return Failure(409, "Conflict", "The resource exists already.", details)


def _object(value: object, name: str, members: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"'{name}' is not an object.")
    if strange := set(value) - set(members):
        raise invalid(f"'{min(strange)}' is not a member of '{name}'.")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise invalid(f"'{name}' is required.")
    return value


def destination_shown(one: Destination) -> dict[str, Any]:
    return {"destinationId": one.id, "name": one.name, "resource": one.resource}


def subscription_shown(one: Subscription) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "subscriptionId": one.id,
        "payloadVersion": one.version,
        "destinationId": one.destination,
    }
    return shown if one.directive is None else {**shown, "processingDirective": one.directive}


def create_destination(notices: Notices, body: object) -> dict[str, Any]:
    """One resource each; 409 for a resource that has a destination."""
    told = _object(body, "body", ("name", "resourceSpecification"))
    name = _text(told.get("name"), "name")
    if len(name) > 256:
        raise invalid("'name' is longer than 256 characters.")
    specified = _object(told.get("resourceSpecification"), "resourceSpecification", (_SQS, _BUS))
    if len(specified) != 1:
        raise invalid("'resourceSpecification' names exactly one resource.")
    resource = {_SQS: _queue(specified[_SQS])} if _SQS in specified else {_BUS: _bus(specified[_BUS])}
    if known := [one for one in notices.destinations.values() if one.resource == resource]:
        raise _conflict(f"Destination '{known[0].id}' has this resource.")
    made = Destination(str(uuid.uuid4()), name, resource)
    notices.destinations[made.id] = made
    return {"payload": destination_shown(made)}


def _queue(specified: object) -> dict[str, Any]:
    arn = _text(_object(specified, _SQS, ("arn",)).get("arn"), "arn")
    if len(arn) > 1000 or not re.fullmatch(QUEUE_ARN, arn):
        raise invalid("'arn' is not the ARN of a queue.")
    if arn.endswith(".fifo"):
        raise invalid("FIFO queues are not supported.")
    return {"arn": arn}


def _bus(specified: object) -> dict[str, Any]:
    told = _object(specified, _BUS, ("accountId", "region"))
    account, region = _text(told.get("accountId"), "accountId"), _text(told.get("region"), "region")
    name = f"aws.partner/sellingpartnerapi.amazon.com/{account}/{APPLICATION}"
    return {"name": name, "accountId": account, "region": region}


def delete_destination(notices: Notices, id: str) -> dict[str, Any]:
    """404 for none; 409 while subscriptions point there."""
    if id not in notices.destinations:
        raise not_found(f"Destination '{id}' does not exist.")
    if any(one.destination == id for one in notices.subscriptions.values()):
        raise _conflict(f"Subscriptions point to destination '{id}'.")
    del notices.destinations[id]
    return {}


def create_subscription(notices: Notices, seller: str, type: str, body: object) -> dict[str, Any]:
    """409 for a seller, type and version that have one."""
    _known(type)
    told = _object(body, "body", ("payloadVersion", "destinationId", "processingDirective"))
    version = _text(told.get("payloadVersion"), "payloadVersion")
    if version != VERSIONS[type]:
        raise invalid(f"'{version}' is no payload version of {type}.")
    place = notices.destinations.get(_text(told.get("destinationId"), "destinationId"))
    if place is None:
        raise invalid("'destinationId' is no destination of this application.")
    if (type in BUS_ONLY) != (_BUS in place.resource):
        raise invalid(f"{type} is not sent to this kind of destination.")
    directive = _directive(type, told.get("processingDirective"))
    if any(one.version == version for one in notices.wanted(seller, type)):
        raise _conflict(f"There is a subscription to {type} {version}.")
    made = Subscription(str(uuid.uuid4()), seller, type, version, place.id, directive)
    notices.subscriptions[made.id] = made
    return {"payload": subscription_shown(made)}


def _known(type: str) -> None:
    if type not in VERSIONS:
        raise invalid(f"'{type}' is no notification type.")


def _directive(type: str, told: object) -> dict[str, Any] | None:
    if told is None:
        return None
    directive = _object(told, "processingDirective", _DIRECTIVE)
    if len(directive) != 1:
        raise invalid("'processingDirective' holds an event filter or a filter expression, not both.")
    if type not in _FILTERED:
        raise invalid(f"{type} has no processing directive.")
    if "eventFilter" in directive:
        members = ("eventFilterType", "marketplaceIds", "orderChangeTypes", "aggregationSettings", "trackingIdentifier")
        event_filter = _object(directive["eventFilter"], "eventFilter", members)
        if event_filter.get("eventFilterType") != type:
            raise invalid(f"'eventFilterType' is not {type}.")
        if "aggregationSettings" in event_filter and type != "ANY_OFFER_CHANGED":
            raise invalid(f"{type} is not aggregated.")
    return directive


def subscription(notices: Notices, seller: str, type: str, version: str | None) -> dict[str, Any]:
    """The one of a type, and of a version where it is named; 404 for none."""
    _known(type)
    found = [one for one in notices.wanted(seller, type) if version in (None, one.version)]
    if not found:
        raise not_found(f"There is no subscription to {type}.")
    return {"payload": subscription_shown(found[0])}


def subscriptions(notices: Notices, asked: Asked) -> dict[str, Any]:
    """All of one type."""
    query = asked.query
    types = query.csv("notificationTypes", most=1, among=VERSIONS)
    if not types:
        raise query.wrong("'notificationTypes' is required.")
    size, version = query.count("pageSize", 30, 100, 30), query.text("payloadVersion")
    start = 0
    if (token := query.text("nextToken")) is not None:
        opened = unseal(token)
        if opened is None or opened.get("to") != "subscriptions" or opened["of"] != asked.account.seller:
            raise query.wrong("'nextToken' is invalid.")
        start = opened["at"]
    found = [one for one in notices.wanted(asked.account.seller, types[0]) if version in (None, one.version)]
    payload: dict[str, Any] = {"subscriptions": [subscription_shown(one) for one in found[start : start + size]]}
    if len(found) > start + size:
        payload["nextToken"] = seal({"to": "subscriptions", "of": asked.account.seller, "at": start + size})
    return {"payload": payload}


def delete_subscription(notices: Notices, type: str, id: str) -> dict[str, Any]:
    """404 for none."""
    found = notices.subscriptions.get(id)
    if found is None or found.type != type:
        raise not_found(f"Subscription '{id}' does not exist.")
    del notices.subscriptions[id]
    return {}


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""
    notices = amazon.notices
    places, kinds = "/notifications/v1/destinations", "/notifications/v1/subscriptions"

    def listed(_: Asked) -> dict[str, Any]:
        return {"payload": [destination_shown(one) for one in notices.destinations.values()]}

    def subscribed(asked: Asked) -> dict[str, Any]:
        made = create_subscription(notices, asked.account.seller, asked.path["notificationType"], asked.body)
        if asked.path["notificationType"] == TRANSACTION_UPDATE:
            for order in [one for one in amazon.orders.values() if one.account is asked.account]:
                follow(amazon, order, anew=True)
        return made

    def shown(asked: Asked) -> dict[str, Any]:
        version = asked.query.text("payloadVersion")
        return subscription(notices, asked.account.seller, asked.path["notificationType"], version)

    def ended(asked: Asked) -> dict[str, Any]:
        return delete_subscription(notices, asked.path["notificationType"], asked.path["subscriptionId"])

    return [
        Operation("getDestinations", "GET", places, listed, scope=SCOPE),
        Operation("createDestination", "POST", places, lambda a: create_destination(notices, a.body), scope=SCOPE),
        Operation(
            "deleteDestination",
            "DELETE",
            places + "/{destinationId}",
            lambda a: delete_destination(notices, a.path["destinationId"]),
            scope=SCOPE,
        ),
        Operation(
            "getSubscriptions",
            "GET",
            kinds,
            lambda a: subscriptions(notices, a),
            ("notificationTypes", "payloadVersion", "pageSize", "nextToken"),
        ),
        Operation("getSubscription", "GET", kinds + "/{notificationType}", shown, ("payloadVersion",)),
        Operation("createSubscription", "POST", kinds + "/{notificationType}", subscribed),
        Operation(
            "deleteSubscriptionById", "DELETE", kinds + "/{notificationType}/{subscriptionId}", ended, scope=SCOPE
        ),
    ]


def order(notices: Notices, body: dict[str, Any]) -> dict[str, Any]:
    """Say how notifications travel; what is not named stays. ValueError changes nothing."""
    known = {"lost", "copies", "delay", "shuffle", "held", "http", "key", "sqs"}
    if strange := set(body) - known:
        raise ValueError(f"no {min(strange)!r}; there are {', '.join(sorted(known))}")
    numbers = {name: number(body, name) for name in ("lost", "copies", "delay") if name in body}
    if not 0 <= numbers.get("lost", 0) <= 1 or numbers.get("copies", 1) not in range(1, 101):
        raise ValueError("lost lies between 0 and 1, copies between 1 and 100")
    if not 0 <= numbers.get("delay", 0) <= 1e7:
        raise ValueError("delay lies between 0 and 10000000 seconds")
    if not all(isinstance(body.get(name, False), bool) for name in ("shuffle", "held")):
        raise ValueError("shuffle and held are true or false")
    if not all(isinstance(body.get(name, ""), str) for name in ("http", "key", "sqs")):
        raise ValueError("http and sqs are addresses, key is text")
    orders = notices.orders
    orders.lost = numbers.get("lost", orders.lost)
    orders.copies = int(numbers.get("copies", orders.copies))
    orders.delay_s = numbers.get("delay", orders.delay_s)
    for name in ("shuffle", "held", "http", "key", "sqs"):
        if name in body:
            setattr(orders, name, body[name].rstrip("/") if name in ("http", "sqs") else body[name])
    return shown(notices)


def shown(notices: Notices) -> dict[str, Any]:
    """How they travel, what became of them so far, and how many are under way."""
    orders = notices.orders
    return {
        "lost": orders.lost,
        "copies": orders.copies,
        "delay": orders.delay_s,
        "shuffle": orders.shuffle,
        "held": orders.held,
        "http": orders.http,
        "sqs": orders.sqs,
        "counts": dict(notices.counts),
        "pending": notices.pending,
        "destinations": len(notices.destinations),
        "subscriptions": len(notices.subscriptions),
    }


def fetched(notices: Notices) -> dict[str, Any]:
    """What was held, once."""
    found, notices.outbox = notices.outbox, []
    return {"notifications": found}


def routes(amazon: Amazon) -> list[BaseRoute]:
    """How notifications travel, and those that are held."""
    notices = amazon.notices

    def held(_: Request) -> dict[str, Any]:
        return fetched(notices)

    def now(_: Request) -> dict[str, Any]:
        amazon.settle()
        return shown(notices)

    return [
        Route("/notifications", endpoint(now), methods=["GET"]),
        Route("/notifications", answer(lambda body: order(notices, body)), methods=["POST"]),
        Route("/notifications/held", endpoint(held), methods=["GET"]),
    ]
