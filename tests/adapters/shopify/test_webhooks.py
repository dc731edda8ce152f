"""A delivery is believed to come from the shop by the signature of its bytes, and to name something; nothing else is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notices import Delivery
from adapters.shopify.subscriptions import FIELDS, wanted
from adapters.shopify.webhooks import OLD_SECRET_FOR, OLDEST, TOPICS, OldSecret, ShopWebhook
from domain.errors import Invalid
from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from domain.privacy import PrivacyKind, PrivacyRequest
from domain.product import Rejected

SHOP = "acorn.myshopify.com"
WEBHOOK = ShopWebhook(ChannelId("shop"), SHOP, "hush")
NOW = datetime(2026, 11, 23, 12, 0, 7, tzinfo=UTC)
ORDER = b'{"id":820982911946154508,"name":"#1001"}'
ORDER_GID = "gid://shopify/Order/820982911946154508"


def delivery(
    body: bytes = ORDER,
    topic: str = "orders/updated",
    secret: str = "hush",
    at: datetime = NOW,
    **headers: str,
) -> Delivery:
    told = {
        "x-shopify-topic": topic,
        "x-shopify-shop-domain": SHOP,
        "x-shopify-hmac-sha256": base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode(),
        "x-shopify-webhook-id": "w-1",
        "x-shopify-triggered-at": at.strftime("%Y-%m-%dT%H:%M:%S.877041743Z"),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return Delivery(told, body, NOW)


def taken(one: Delivery, webhook: ShopWebhook = WEBHOOK) -> bool:
    return webhook.expected(one.headers) and webhook.proven(one)


def test_the_published_vector_is_good() -> None:
    made = delivery(x_shopify_hmac_sha256="Mkf2s8BiWQBb/dlay3RDP15QWaH8IejS3UDTmBxVmfo=")
    assert taken(made)


@pytest.mark.parametrize("body", [ORDER + b" ", ORDER[:-1], json.dumps(json.loads(ORDER)).encode(), b""])
def test_a_body_that_was_written_anew_on_the_way_is_not_proven(body: bytes) -> None:
    good = delivery()
    assert taken(good)
    assert not taken(Delivery(good.headers, body, NOW))


@given(st.binary(max_size=60), st.integers(0, 300), st.integers(1, 255))
def test_no_changed_byte_is_proven(body: bytes, place: int, change: int) -> None:
    good = delivery(body)
    assert taken(good)
    changed = bytearray(body or b"\0")
    changed[place % len(changed)] ^= change
    assert not taken(Delivery(good.headers, bytes(changed), NOW))


@pytest.mark.parametrize(
    "headers",
    [
        {"x_shopify_hmac_sha256": ""},
        {"x_shopify_hmac_sha256": "Mkf2s8BiWQBb"},
        {"x_shopify_hmac_sha256": "äöü"},
        {"x_shopify_hmac_sha256": "!" * 44},
        {"x_shopify_shop_domain": "other.myshopify.com"},
        {"x_shopify_shop_domain": ""},
        {"x_shopify_topic": ""},
    ],
)
def test_what_headers_alone_show_to_be_wrong_is_not_read(headers: Mapping[str, Any]) -> None:
    assert not WEBHOOK.expected(delivery(**headers).headers)
    assert WEBHOOK.expected(delivery(x_shopify_shop_domain=SHOP.upper()).headers)


def test_another_secret_is_not_good_and_the_old_one_is_for_an_hour() -> None:
    assert not taken(delivery(secret="other"))
    made = NOW - OLD_SECRET_FOR + timedelta(seconds=1)
    rotated = ShopWebhook(ChannelId("shop"), SHOP, "new", OldSecret("hush", made + OLD_SECRET_FOR))
    assert taken(delivery(secret="new"), rotated)
    assert taken(delivery(), rotated)
    late = ShopWebhook(ChannelId("shop"), SHOP, "new", OldSecret("hush", NOW))
    assert taken(delivery(secret="new"), late)
    assert not taken(delivery(), late)


@pytest.mark.parametrize(
    ("at", "good"),
    [
        (NOW - timedelta(hours=4, minutes=30), True),  # the last of eight retries
        (NOW - OLDEST - timedelta(seconds=2), False),
        (NOW + timedelta(minutes=4), True),
        (NOW + timedelta(minutes=6), False),
    ],
)
def test_retries_of_four_hours_are_in_time_and_older_ones_are_not(at: datetime, good: bool) -> None:
    assert taken(delivery(at=at)) is good


def test_a_delivery_without_a_time_is_not_proven() -> None:
    assert not taken(delivery(x_shopify_triggered_at=""))
    assert not taken(delivery(x_shopify_triggered_at="2026-11-23T12:00:00"))


def only(one: Delivery) -> Any:
    (told,) = WEBHOOK.understood(one)
    return told


@pytest.mark.parametrize(
    ("topic", "body", "kind", "subject"),
    [
        ("orders/updated", {"id": 820982911946154508}, HintKind.ORDER, ORDER_GID),
        ("orders/create", {"id": 2**63 + 1}, HintKind.ORDER, f"gid://shopify/Order/{2**63 + 1}"),
        ("orders/edited", {"order_edit": {"id": 1, "order_id": 7}}, HintKind.ORDER, "gid://shopify/Order/7"),
        ("refunds/create", {"id": 1, "order_id": 7}, HintKind.ORDER, "gid://shopify/Order/7"),
        ("fulfillments/update", {"id": 1, "order_id": "7"}, HintKind.ORDER, "gid://shopify/Order/7"),
        (
            "fulfillment_orders/moved",
            {"original_fulfillment_order": {"id": "gid://shopify/FulfillmentOrder/9"}, "moved_fulfillment_order": None},
            HintKind.WORK,
            "gid://shopify/FulfillmentOrder/9",
        ),
        (
            "inventory_levels/update",
            {"inventory_item_id": 271878346596884015, "location_id": 24826418, "available": 0},
            HintKind.ITEM,
            "gid://shopify/InventoryItem/271878346596884015",
        ),
        (
            "inventory_levels/disconnect",
            {"inventory_item_id": 5, "location_id": 2},
            HintKind.ITEM,
            "gid://shopify/InventoryItem/5",
        ),
        ("products/delete", {"id": 788032119674292922}, HintKind.PRODUCT, "gid://shopify/Product/788032119674292922"),
        ("inventory_items/update", {"id": 5}, HintKind.PRODUCT, "gid://shopify/InventoryItem/5"),
        (
            "bulk_operations/finish",
            {"admin_graphql_api_id": "gid://shopify/BulkOperation/3"},
            HintKind.QUERY,
            "gid://shopify/BulkOperation/3",
        ),
        ("app/uninstalled", {"id": 1}, HintKind.ACCESS, "app/uninstalled"),
        ("app/scopes_update", {"current": ["read_orders"]}, HintKind.ACCESS, "app/scopes_update"),
    ],
)
def test_topics_name_what_to_ask_for_and_ids_stay_exact(
    topic: str, body: dict[str, Any], kind: HintKind, subject: str
) -> None:
    told = only(delivery(json.dumps(body).encode(), topic))
    assert isinstance(told, Hint)
    assert (told.id, told.type, told.kind, told.subject, told.marketplace) == ("w-1", topic, kind, subject, None)


def test_every_topic_that_is_subscribed_to_is_understood() -> None:
    known = {topic.replace("/", "_").upper() for topic in TOPICS}
    others = {one for one in FIELDS if one not in known}
    assert {one for one in others if not one.startswith("FULFILLMENT_ORDERS_")} == {
        "APP_SCOPES_UPDATE",
        "APP_UNINSTALLED",
        "SHOP_UPDATE",
    }


def test_a_time_of_theirs_means_the_whole_second() -> None:
    told = only(delivery(b'{"id":1,"updated_at":"2026-11-23T03:59:58-08:00"}'))
    assert told.event_at == datetime(2026, 11, 23, 11, 59, 58, 999_999, tzinfo=UTC)
    assert only(delivery(b'{"id":1}')).event_at == NOW.replace(microsecond=999_999)
    for strange in ('"yesterday"', '"2026-11-23T03:59:58"', '"9999-12-31T23:59:59-23:59"', "7"):
        assert only(delivery(b'{"id":1,"updated_at":%s}' % strange.encode())).event_at.year == NOW.year


def test_headers_of_the_newer_events_are_taken() -> None:
    body = b'{"id":5}'
    signature = base64.b64encode(hmac.digest(b"hush", body, hashlib.sha256)).decode()
    headers = {
        "shopify-topic": "Products",
        "shopify-action": "update",
        "shopify-handle": "acorn",
        "shopify-shop-domain": SHOP,
        "shopify-hmac-sha256": signature,
        "shopify-triggered-at": NOW.isoformat(),
        "shopify-event-id": "e-1",
    }
    made = Delivery(headers, body, NOW)
    assert taken(made)
    told = only(made)
    assert (told.kind, told.subject) == (HintKind.PRODUCT, "gid://shopify/Product/5")
    assert len(told.id) == 64
    assert only(Delivery(headers, b'{"id":6}', NOW)).id != told.id


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        ("orders/updated", b"\xff", "is no JSON"),
        ("orders/updated", b'{"id":1', "is no JSON"),
        ("orders/updated", b"[" * 100_000, "is no JSON"),
        ("orders/updated", b"[1]", "is no JSON object"),
        ("orders/updated", b"{}", "names no Order"),
        ("orders/updated", b'{"id":1.5}', "names no Order"),
        ("orders/updated", b'{"id":-1}', "names no Order"),
        ("orders/updated", b'{"id":true}', "names no Order"),
        ("orders/updated", b'{"id":"gid://shopify/Product/1"}', "names no Order"),
        ("orders/updated", b'{"id":' + b"9" * 50 + b"}", "names no Order"),
        ("fulfillment_orders/split", b'{"id":1}', "names no fulfillment order"),
        ("carts/update", b'{"id":1}', "topic: is unknown"),
    ],
)
def test_what_is_not_understood_is_put_aside_without_its_contents(topic: str, body: bytes, reason: str) -> None:
    assert WEBHOOK.understood(delivery(body, topic)) == [Rejected(ChannelId("shop"), "notification", topic, reason, "")]


NAMES = st.sampled_from(["id", "order_id", "updated_at", "customer", "x"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
BODIES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@given(BODIES, st.sampled_from([*TOPICS, "fulfillment_orders/x", "customers/redact", "shop/redact", "x"]))
def test_no_signed_body_whatever_stops_us(body: Any, topic: str) -> None:
    (told,) = WEBHOOK.understood(delivery(json.dumps(body).encode(), topic))
    assert told.channel == "shop"


BUYER = {"id": 191167, "email": "john@example.com", "phone": "555-625-1199"}


@pytest.mark.parametrize(
    ("topic", "more", "kind", "days"),
    [
        ("customers/data_request", {"orders_requested": [299938, 2**60]}, PrivacyKind.DATA_REQUEST, 30),
        ("customers/redact", {"orders_to_redact": [299938, 2**60]}, PrivacyKind.BUYER_REDACT, 30),
    ],
)
def test_requests_of_buyers_keep_ids_and_a_date(topic: str, more: dict[str, Any], kind: PrivacyKind, days: int) -> None:
    body = {"shop_id": 954889, "shop_domain": SHOP, "customer": BUYER, **more}
    told = only(delivery(json.dumps(body).encode(), topic))
    assert isinstance(told, PrivacyRequest)
    assert told.kind is kind
    assert told.buyer == "gid://shopify/Customer/191167"
    assert told.orders == ("gid://shopify/Order/299938", f"gid://shopify/Order/{2**60}")
    assert told.due_at - told.asked_at == timedelta(days=days)
    assert not [word for word in ("john", "555") if word in repr(told)]


def test_a_shop_that_left_is_to_be_erased_within_two_days() -> None:
    told = only(delivery(json.dumps({"shop_id": 954889, "shop_domain": SHOP}).encode(), "shop/redact"))
    assert (told.kind, told.buyer, told.orders) == (PrivacyKind.SHOP_REDACT, None, ())
    assert told.due_at - told.asked_at == timedelta(hours=48)


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        # Bodies that the shop signed for another topic or another shop.
        ("shop/redact", {"id": 820982911946154508, "updated_at": "2026-11-23T03:59:58-08:00"}),
        ("shop/redact", {"shop_domain": SHOP, "customer": BUYER, "orders_to_redact": [1]}),
        ("shop/redact", {"shop_domain": "other.myshopify.com"}),
        ("customers/redact", {"shop_domain": SHOP}),
        ("customers/redact", {"shop_domain": SHOP, "customer": BUYER, "orders_to_redact": "all"}),
    ],
)
def test_a_body_of_another_topic_erases_nothing(topic: str, body: dict[str, Any]) -> None:
    assert isinstance(only(delivery(json.dumps(body).encode(), topic)), Rejected)


def test_secrets_are_shown_to_nobody() -> None:
    made = ShopWebhook(ChannelId("shop"), SHOP, "hush", OldSecret("hush-hush", NOW))
    assert "hush" not in repr(made)
    assert "1001" not in repr(delivery())


def test_only_topics_that_we_read_can_be_wanted() -> None:
    assert wanted(()) == tuple(FIELDS)
    assert wanted(("ORDERS_UPDATED",)) == ("ORDERS_UPDATED",)
    with pytest.raises(Invalid, match="CARTS_UPDATE is no topic"):
        wanted(("CARTS_UPDATE",))
