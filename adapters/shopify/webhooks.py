"""What a shop's deliveries prove and say. Source: Shopify's webhooks, whose bodies are those of its REST API.

The signature covers the body and none of the headers: whoever catches a body can send it again under another topic, id or time.
So a delivery is believed to name something, and nothing more. Of a body, ids and times are kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from adapters.notices import Delivery, Kept
from adapters.wire import Unclear
from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from domain.privacy import PrivacyKind, PrivacyRequest
from domain.product import Rejected

Body: TypeAlias = Mapping[str, Any]

# Retries go on for four hours and tell the time of the first try; the fifth is for clocks and for what waits at their side.
OLDEST = timedelta(hours=5)
AHEAD = timedelta(minutes=5)
# After a new client secret, deliveries may be signed with the old one for so long.
OLD_SECRET_FOR = timedelta(hours=1)
# Theirs are cut to seconds: what we read within the same second may lack the change.
WHOLE_SECOND = timedelta(microseconds=999_999)
LONGEST = 200
SIGNATURE_BYTES = hashlib.sha256().digest_size
# No id has more digits; they go beyond 2^53, which only whole numbers hold.
ID_DIGITS = 20
DEEP = 5
_YEARS = range(2000, 2200)
_TIMES = ("updated_at", "completed_at", "created_at")


@dataclass(frozen=True, slots=True)
class Topic:
    """What a delivery of some topic is about: a hint's kind, the kind of its global id, and where in the body that stands."""

    kind: HintKind
    gid: str
    path: tuple[str, ...] = ("id",)


_ORDER = Topic(HintKind.ORDER, "Order")
_OF_ORDER = Topic(HintKind.ORDER, "Order", ("order_id",))
_PRODUCT = Topic(HintKind.PRODUCT, "Product")
_ITEM = Topic(HintKind.PRODUCT, "InventoryItem")
_LEVEL = Topic(HintKind.ITEM, "InventoryItem", ("inventory_item_id",))
_ACCESS = ("app/scopes_update", "app/uninstalled", "shop/update")

TOPICS: Mapping[str, Topic] = {
    **dict.fromkeys(
        (
            "orders/cancelled",
            "orders/create",
            "orders/delete",
            "orders/fulfilled",
            "orders/paid",
            "orders/partially_fulfilled",
            "orders/updated",
        ),
        _ORDER,
    ),
    "orders/edited": Topic(HintKind.ORDER, "Order", ("order_edit", "order_id")),
    **dict.fromkeys(
        ("fulfillments/create", "fulfillments/update", "order_transactions/create", "refunds/create"), _OF_ORDER
    ),
    **dict.fromkeys(("products/create", "products/delete", "products/update"), _PRODUCT),
    **dict.fromkeys(("inventory_items/create", "inventory_items/delete", "inventory_items/update"), _ITEM),
    **dict.fromkeys(("inventory_levels/connect", "inventory_levels/disconnect", "inventory_levels/update"), _LEVEL),
    "bulk_operations/finish": Topic(HintKind.QUERY, "BulkOperation", ("admin_graphql_api_id",)),
}
"""Topics by what stands in the header. Those of fulfillment orders, of access and of privacy are read in their own ways."""
_PRIVACY = {
    "customers/data_request": PrivacyKind.DATA_REQUEST,
    "customers/redact": PrivacyKind.BUYER_REDACT,
    "shop/redact": PrivacyKind.SHOP_REDACT,
}


@dataclass(frozen=True, slots=True)
class OldSecret:
    """A client secret that another has taken the place of."""

    secret: str = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True)
class ShopWebhook:
    """The webhook of one shop. One application may be installed in many shops, whose deliveries the same secret signs."""

    channel: ChannelId
    shop: str
    secret: str = field(repr=False)
    old: OldSecret | None = None
    limit: int = 1024 * 1024

    def expected(self, headers: Mapping[str, str]) -> bool:
        """Of this shop, with a topic, and with something that may be a signature."""
        return (
            _told(headers, "shop-domain").lower() == self.shop.lower()
            and bool(_topic(headers))
            and _signature(headers) is not None
        )

    def proven(self, delivery: Delivery) -> bool:
        """By the signature of the body as it came: whoever writes it anew in between breaks it."""
        given = _signature(delivery.headers) or b""
        secrets = [self.secret]
        if self.old is not None and delivery.received_at < self.old.until:
            secrets.append(self.old.secret)
        made = [hmac.digest(one.encode(), delivery.body, hashlib.sha256) for one in secrets]
        good = [hmac.compare_digest(given, one) for one in made]
        return any(good) and _recent(delivery)

    def understood(self, delivery: Delivery) -> Sequence[Kept]:
        """What it names."""
        topic = _topic(delivery.headers)
        try:
            return self._understood(topic, delivery)
        except Unclear as problem:
            # By its topic: a shop sends thousands of one that nobody reads.
            return [Rejected(self.channel, "notification", topic[:LONGEST], str(problem), "")]

    def _understood(self, topic: str, delivery: Delivery) -> Sequence[Kept]:
        body = _read(delivery.body)
        if topic in _PRIVACY:
            return [self._asked(_PRIVACY[topic], body, delivery)]
        kind, subject = _named(topic, body)
        return [Hint(self.channel, _id(delivery, topic), topic, kind, subject, _happened(topic, body, delivery))]

    def _asked(self, kind: PrivacyKind, body: Body, delivery: Delivery) -> PrivacyRequest:
        """Raises Unclear, also for a body of another topic or shop: the header is not signed, the body is."""
        if str(body.get("shop_domain", "")).lower() != self.shop.lower():
            raise Unclear("shop_domain: is not this shop's")
        if (kind is PrivacyKind.SHOP_REDACT) is ("customer" in body):
            raise Unclear("customer: stands there for another topic")
        orders = body.get(
            {PrivacyKind.DATA_REQUEST: "orders_requested", PrivacyKind.BUYER_REDACT: "orders_to_redact"}.get(kind, ""),
            [],
        )
        if not isinstance(orders, list):
            raise Unclear("orders: are no list")
        return PrivacyRequest(
            channel=self.channel,
            id=_id(delivery, kind.value),
            kind=kind,
            buyer=None if kind is PrivacyKind.SHOP_REDACT else _gid("Customer", _at(body, ("customer", "id"))),
            orders=tuple(_gid("Order", one) for one in orders),
            asked_at=_triggered(delivery) or delivery.received_at,
        )


def _told(headers: Mapping[str, str], name: str) -> str:
    """A header in its own spelling or in that of the newer Events, which leave out the X-; "" where there is none."""
    return (headers.get(f"x-shopify-{name}") or headers.get(f"shopify-{name}") or "").strip()


def _topic(headers: Mapping[str, str]) -> str:
    """As in `orders/updated`; Events tell the two halves apart."""
    topic, action = _told(headers, "topic").lower(), _told(headers, "action").lower()
    return f"{topic}/{action}" if topic and action and "/" not in topic else topic


def _signature(headers: Mapping[str, str]) -> bytes | None:
    try:
        given = base64.b64decode(_told(headers, "hmac-sha256"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return given if len(given) == SIGNATURE_BYTES else None


def _recent(delivery: Delivery) -> bool:
    at = _triggered(delivery)
    return at is not None and delivery.received_at - OLDEST <= at <= delivery.received_at + AHEAD


def _triggered(delivery: Delivery) -> datetime | None:
    return _instant(_told(delivery.headers, "triggered-at"))


def _instant(told: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None or at.year not in _YEARS else at.astimezone(UTC)


def _id(delivery: Delivery, topic: str) -> str:
    """The same in every copy of one delivery."""
    given = _told(delivery.headers, "webhook-id")
    if 0 < len(given) <= LONGEST:
        return given
    return hashlib.sha256(topic.encode() + b"\n" + delivery.body).hexdigest()


def _read(raw: bytes) -> Body:
    try:
        # The standard library's: others make floats of numbers that need more than 64 bits.
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise Unclear("is no JSON") from None
    if not isinstance(body, dict):
        raise Unclear("is no JSON object")
    return body


def _named(topic: str, body: Body) -> tuple[HintKind, str]:
    """What a body is about. Raises Unclear."""
    if topic in _ACCESS:
        return HintKind.ACCESS, topic
    if topic.startswith("fulfillment_orders/"):
        # Where it stands differs from topic to topic; several that stand there are of one order.
        found = next(_work(body, DEEP), None)
        if found is None:
            raise Unclear("names no fulfillment order")
        return HintKind.WORK, found
    shape = TOPICS.get(topic)
    if shape is None:
        raise Unclear("topic: is unknown")
    return shape.kind, _gid(shape.gid, _at(body, shape.path))


def _work(body: object, depth: int) -> Iterator[str]:
    if isinstance(body, str) and body.startswith("gid://shopify/FulfillmentOrder/"):
        yield _gid("FulfillmentOrder", body)
    elif isinstance(body, dict | list) and depth:
        for one in body.values() if isinstance(body, dict) else body:
            yield from _work(one, depth - 1)


def _at(body: object, path: Sequence[str]) -> object:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _gid(kind: str, told: object) -> str:
    """A global id, from one or from its number. Raises Unclear."""
    start = f"gid://shopify/{kind}/"
    number = told.removeprefix(start) if isinstance(told, str) else str(told) if type(told) is int else ""
    if not (number.isascii() and number.isdigit() and len(number) <= ID_DIGITS):
        raise Unclear(f"names no {kind}")
    return start + number


def _happened(topic: str, body: Body, delivery: Delivery) -> datetime:
    """When what is meant was changed for the last time, as late as that may have been."""
    told = next((at for name in _TIMES if (at := _instant(body.get(name))) is not None), None)
    at = told or _triggered(delivery) or delivery.received_at
    return at.replace(microsecond=0) + WHOLE_SECOND
