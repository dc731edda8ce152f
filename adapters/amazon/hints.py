"""Amazon's notifications, turned into hints. Source: the notification schemas in Amazon's models.

Two families differ in the case of their names alone, so names are read without regard to it. Of what was sent only ids, times and
units are kept: ORDER_CHANGE tells where a buyer lives.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

import orjson

from adapters.amazon.marketplaces import BY_ID
from adapters.notices import Delivered, NewSecret
from adapters.wire import Unclear
from domain.hint import Hint, HintKind
from domain.ids import ChannelId, ChannelSku
from domain.product import Rejected

Body: TypeAlias = Mapping[str, Any]
# The longest names that Amazon gives things are SKUs of 40 characters; an index takes no endless ones.
LONGEST = 200
# More of one SKU in one order is a mistake.
MOST_UNITS = 10_000
# Event, envelope, payload, wrapped object, summary: the ids lie no deeper.
DEEP = 6
# Times near the ends of what a datetime holds cannot be reckoned with, and one such hint would stop those behind it.
_YEARS = range(2000, 2200)

NOT_OURS = frozenset(
    {
        # Hourly figures and the texts of catalogs, which nothing here is made of.
        "BRANDED_ITEM_CONTENT_CHANGE",
        "DETAIL_PAGE_TRAFFIC_EVENT",
        "FEE_PROMOTION",
        "ITEM_INVENTORY_EVENT_CHANGE",
        "ITEM_PRODUCT_TYPE_CHANGE",
        "ITEM_SALES_EVENT_CHANGE",
        "PRODUCT_TYPE_DEFINITIONS_CHANGE",
        # Parcels that others send to Amazon, or for it.
        "EXTERNAL_FULFILLMENT_SHIPMENT_STATUS_CHANGE",
        "SHIPMENT_TRACKING_MILESTONE_CHANGED",
    }
)
"""Types that we know and do nothing about."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a type of notification says what, below the object that tells it. Names are in small letters."""

    kind: HintKind
    subject: tuple[str, ...]
    marketplace: tuple[str, ...] = ()


_ORDER = Shape(HintKind.ORDER, ("amazonorderid",), ("summary", "marketplaceid"))
# Of such an order nothing is left to be shipped.
_NOT_OPEN = ("Shipped", "Canceled", "Unfulfillable")
_LISTING = Shape(HintKind.LISTING, ("sku",), ("marketplaceid",))
_OFFERS = Shape(HintKind.OFFER, ("offerchangetrigger", "asin"), ("offerchangetrigger", "marketplaceid"))

SHAPES: Mapping[str, Shape] = {
    "ORDER_CHANGE": _ORDER,
    "FBA_OUTBOUND_SHIPMENT_STATUS": _ORDER,
    "FBA_INVENTORY_AVAILABILITY_CHANGES": Shape(HintKind.STOCK, ("sku",)),
    "LISTINGS_ITEM_STATUS_CHANGE": _LISTING,
    "LISTINGS_ITEM_ISSUES_CHANGE": _LISTING,
    "LISTINGS_ITEM_MFN_QUANTITY_CHANGE": _LISTING,
    "ANY_OFFER_CHANGED": _OFFERS,
    "B2B_ANY_OFFER_CHANGED": _OFFERS,
    "PRICING_HEALTH": _OFFERS,
    "REPORT_PROCESSING_FINISHED": Shape(HintKind.REPORT, ("reportid",)),
    "FEED_PROCESSING_FINISHED": Shape(HintKind.FEED, ("feedid",)),
    "DATA_KIOSK_QUERY_PROCESSING_FINISHED": Shape(HintKind.QUERY, ("queryid",)),
    "FULFILLMENT_ORDER_STATUS": Shape(HintKind.FULFILLMENT, ("sellerfulfillmentorderid",)),
    # Version 2021-01-01 of its payload, in camelCase: only the two states, and not whose.
    "ACCOUNT_STATUS_CHANGED": Shape(HintKind.ACCOUNT, ("currentaccountstatus",)),
    "APPLICATION_OAUTH_CLIENT_SECRET_EXPIRY": Shape(HintKind.APPLICATION, ("clientid",)),
}
# Spellings that Amazon's documents and schemas disagree on.
ALSO = {
    "LISTINGS_ITEM_STATUS_CHANGED": "LISTINGS_ITEM_STATUS_CHANGE",
    "FBA_INVENTORY_AVAILABILITY_CHANGE": "FBA_INVENTORY_AVAILABILITY_CHANGES",
}
# Movements of money name their order among other things; a refund is of more than money.
MONEY = "TRANSACTION_UPDATE"
REFUND = "Refund"
# Their notifications do not say whose they are.
UNNAMED = (HintKind.ACCOUNT, HintKind.APPLICATION)
NEW_SECRET = "APPLICATION_OAUTH_CLIENT_NEW_SECRET"  # noqa: S105  a type of notification


@dataclass(frozen=True, slots=True)
class Account:
    """A selling account of ours that notifications may be about."""

    channel: ChannelId
    seller_id: str
    client_id: str
    marketplaces: tuple[str, ...]


def understood(accounts: Sequence[Account], raw: bytes) -> Delivered | None:
    """What one notification says to us; None where it is of a type that we do nothing about.

    `raw` is the message of a queue, or an event of EventBridge, which carries the notification in `detail`. `accounts` are those
    that share the queue; of none but theirs is anything taken. What is not understood comes back Rejected, without its contents.
    """
    kind, key = "?", _digest(raw)
    try:
        body = _opened(raw)
        kind = _type(body)
        key = _id(body) or key
        if kind in NOT_OURS:
            return None
        if kind == MONEY:
            return _moved(accounts, key, body)
        return _new_secret(accounts, body) if kind == NEW_SECRET else _hint(accounts, kind, key, body)
    except Unclear as problem:
        return Rejected(accounts[0].channel, "notification", key, f"{kind}: {problem}", "")


def _opened(raw: bytes) -> Body:
    """The envelope with names in small letters. Raises Unclear."""
    try:
        told = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Unclear("it is no JSON") from None
    body = _small(told)
    if not isinstance(body, dict):
        raise Unclear("it is no object")
    detail = body.get("detail")
    return detail if isinstance(detail, dict) and "notificationtype" not in body else body


def _small(told: object, deep: int = DEEP) -> Any:
    """Names in small letters, as deep as the ids lie; lists hold none of these."""
    if isinstance(told, dict) and deep:
        return {str(name).lower(): _small(value, deep - 1) for name, value in told.items()}
    return told


def _type(body: Body) -> str:
    named = body.get("notificationtype")
    if not isinstance(named, str) or not named:
        raise Unclear("notificationType: is missing")
    return ALSO.get(named, named)[:LONGEST]


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _id(body: Body) -> str | None:
    """Amazon's id of the notification; the schema of one type does not list any."""
    found = _at(body, ("notificationmetadata", "notificationid"))
    return found[:LONGEST] if isinstance(found, str) and found else None


def _at(body: object, path: Sequence[str]) -> object:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _text(body: object, path: Sequence[str]) -> str:
    found = _at(body, path)
    if not isinstance(found, str) or not found.strip() or len(found) > LONGEST:
        raise Unclear(f"{'.'.join(path)}: names nothing")
    return found


def _instant(body: object, path: Sequence[str]) -> datetime:
    found = _at(body, path)
    try:
        at = datetime.fromisoformat(found) if isinstance(found, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Unclear(f"{'.'.join(path)}: is no time with a zone")
    if at.year not in _YEARS:
        raise Unclear(f"{'.'.join(path)}: lies in another age")
    return at


def _told(body: Body) -> Body:
    """The object that tells: the payload, or the one object that some types wrap in it. Raises Unclear."""
    payload = body.get("payload")
    if not isinstance(payload, dict):
        raise Unclear("payload: is missing")
    inner = list(payload.values())
    return inner[0] if len(inner) == 1 and isinstance(inner[0], dict) else payload


def _hint(accounts: Sequence[Account], kind: str, id: str, body: Body) -> Hint | None:
    shape = SHAPES.get(kind)
    if shape is None:
        raise Unclear("notificationType: is unknown")
    told = _told(body)
    subject, at = _text(told, shape.subject), _instant(body, ("eventtime",))
    place = _at(told, shape.marketplace) if shape.marketplace else None
    code = BY_ID.get(place) if isinstance(place, str) else None
    theirs = accounts[:1] if shape.kind in UNNAMED else _of_the_seller(accounts, told)
    # Whose units they are says the marketplace alone.
    sold = _open(told.get("summary")) if shape is _ORDER and code is not None else {}
    return _there(theirs, Hint(theirs[0].channel, id, kind, shape.kind, subject, at, code, sold))


def _open(summary: object) -> dict[ChannelSku, int]:
    """Units by SKU that the seller has to ship of an order; what is not plainly that is left for the order itself to tell."""
    items = _at(summary, ("orderitems",))
    if _at(summary, ("fulfillmenttype",)) != "MFN" or not isinstance(items, list):
        return {}
    if _at(summary, ("orderstatus",)) in _NOT_OPEN:
        return {}
    units: defaultdict[ChannelSku, int] = defaultdict(int)
    for one in map(_small, items):
        sku, ordered, shipped = (_at(one, (name,)) for name in ("sellersku", "quantity", "quantityshipped"))
        if isinstance(sku, str) and 0 < len(sku) <= LONGEST and type(ordered) is int and type(shipped) is int:
            units[ChannelSku(sku)] += max(0, ordered - max(0, shipped))
    return {sku: min(count, MOST_UNITS) for sku, count in units.items() if count}


def _there(theirs: Sequence[Account], hint: Hint) -> Hint | None:
    """One seller may have an account in each region: the marketplace tells them apart, and may be one where we sell nothing."""
    there = theirs if hint.marketplace is None else [one for one in theirs if hint.marketplace in one.marketplaces]
    return replace(hint, channel=there[0].channel) if there else None


def _moved(accounts: Sequence[Account], id: str, body: Body) -> Hint | None:
    """Which order money moved for; "" where it was for none."""
    told = _told(body)
    kind = HintKind.REFUND if _text(told, ("transactiontype",)) == REFUND else HintKind.MONEY
    related = told.get("relatedidentifiers")
    named = [_small(one) for one in related] if isinstance(related, list) else []
    # Spelled ORDER_ID where movements are listed, OrderId in the example of this notification.
    orders = [one for one in named if str(_at(one, ("relatedidentifiername",))).replace("_", "").lower() == "orderid"]
    subject = _text(orders[0], ("relatedidentifiervalue",)) if orders else ""
    at = _instant(body, ("eventtime",))
    place = _at(told, ("sellingpartnermetadata", "marketplaceid"))
    theirs = _of_the_seller(accounts, {"sellerid": _at(told, ("sellingpartnermetadata", "sellingpartnerid"))})
    code = BY_ID.get(place) if isinstance(place, str) else None
    return _there(theirs, Hint(theirs[0].channel, id, MONEY, kind if orders else HintKind.MONEY, subject, at, code))


def _of_the_seller(accounts: Sequence[Account], told: Body) -> Sequence[Account]:
    """The accounts of the seller that is meant; some types put `amzn1.merchant.o.` before its id. Raises Unclear without any."""
    seller = told.get("sellerid") or str(told.get("accountid") or "").removeprefix("amzn1.merchant.o.")
    theirs = [one for one in accounts if one.seller_id == seller]
    if not theirs:
        raise Unclear("sellerId: is no account of ours")
    return theirs


def _new_secret(accounts: Sequence[Account], body: Body) -> NewSecret:
    root = _told(body)
    client = _text(root, ("clientid",))
    if client not in {one.client_id for one in accounts}:
        raise Unclear("clientId: is not an application of ours")
    return NewSecret(
        channel=next(one.channel for one in accounts if one.client_id == client),
        client_id=client,
        secret=_text(root, ("newclientsecret",)),
        expires_at=_instant(root, ("newclientsecretexpirytime",)),
        old_expires_at=_instant(root, ("oldclientsecretexpirytime",)),
    )
