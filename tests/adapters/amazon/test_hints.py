"""Notifications become hints: both casings, all types, and nothing of a buyer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amazon.hints import MONEY, NOT_OURS, SHAPES, Account, understood
from adapters.notices import NewSecret
from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from domain.product import Rejected
from tests.adapters.amazon.notifications import CHANNEL, SELLER, example, published_types
from tests.contracts.spapi import published

AT = datetime(2026, 3, 1, 12, 0, 0, 284000, tzinfo=UTC)
US = Account(CHANNEL, SELLER, "amzn1.application-oa2-client.test", ("US", "CA"))
EU = Account(ChannelId("amazon-eu"), SELLER, "amzn1.application-oa2-client.test", ("DE",))


def _pascal(type: str, payload: dict[str, Any], id: str | None = "n-1") -> bytes:
    body: dict[str, Any] = {
        "NotificationVersion": "1.0",
        "NotificationType": type,
        "PayloadVersion": "1.0",
        "EventTime": "2026-03-01T12:00:00.284Z",
        "Payload": payload,
    }
    if id is not None:
        body["NotificationMetadata"] = {"ApplicationId": "a", "SubscriptionId": "s", "NotificationId": id}
    return json.dumps(body).encode()


def _camel(type: str, payload: dict[str, Any]) -> bytes:
    told = json.loads(_pascal(type, payload))
    told = {name[0].lower() + name[1:]: value for name, value in told.items()}
    told["notificationMetadata"] = {"notificationId": "n-1"}
    return json.dumps(told).encode()


def _order(seller: str = SELLER, marketplace: str = "ATVPDKIKX0DER") -> dict[str, Any]:
    summary = {"MarketplaceId": marketplace, "DestinationPostalCode": "48110", "OrderStatus": "Unshipped"}
    told = {"SellerId": seller, "AmazonOrderId": "903-8868176-2219830", "Summary": summary}
    return {"OrderChangeNotification": told}


def _fba(seller: str = SELLER) -> dict[str, Any]:
    return {"SellerId": seller, "SKU": "ACN-1", "ASIN": "B1", "FulfillmentInventoryByMarketplace": []}


def _money(kind: str, *related: tuple[str, str]) -> dict[str, Any]:
    told = {
        "SellingPartnerMetadata": {"SellingPartnerId": SELLER, "MarketplaceId": "ATVPDKIKX0DER"},
        "RelatedIdentifiers": [
            {"RelatedIdentifierName": name, "RelatedIdentifierValue": value} for name, value in related
        ],
        "TransactionType": kind,
        "PostedDate": "2026-03-01T11:59:00Z",
        "TotalAmount": {"CurrencyCode": "USD", "CurrencyAmount": -12.5},
    }
    return {"TransactionUpdateNotification": told}


OFFER = {"marketplaceId": "ATVPDKIKX0DER", "asin": "B007"}
CASES = [
    (_pascal("ORDER_CHANGE", _order()), HintKind.ORDER, "903-8868176-2219830", "US"),
    (
        _pascal(
            "FBA_OUTBOUND_SHIPMENT_STATUS",
            {"FBAOutboundShipmentStatusNotification": {"SellerId": SELLER, "AmazonOrderId": "113-1-1"}},
        ),
        HintKind.ORDER,
        "113-1-1",
        None,
    ),
    (
        _pascal(MONEY, _money("Refund", ("REFUND_ID", "17"), ("ORDER_ID", "113-1-2"))),
        HintKind.REFUND,
        "113-1-2",
        "US",
    ),
    (_pascal(MONEY, _money("Refund", ("OrderId", "113-1-3"))), HintKind.REFUND, "113-1-3", "US"),
    (
        _pascal(MONEY, _money("Shipment", ("SHIPMENT_ID", "9"), ("ORDER_ID", "113-1-2"))),
        HintKind.MONEY,
        "113-1-2",
        "US",
    ),
    (_pascal(MONEY, _money("ServiceFee")), HintKind.MONEY, "", "US"),
    (_pascal(MONEY, _money("Refund", ("REFUND_ID", "17"))), HintKind.MONEY, "", "US"),
    (_pascal("FBA_INVENTORY_AVAILABILITY_CHANGES", _fba()), HintKind.STOCK, "ACN-1", None),
    (
        _pascal(
            "LISTINGS_ITEM_STATUS_CHANGED", {"SellerId": SELLER, "MarketplaceId": "A2EUQ1WTGCTBG2", "Sku": "ACN-2"}
        ),
        HintKind.LISTING,
        "ACN-2",
        "CA",
    ),
    (
        _pascal("LISTINGS_ITEM_MFN_QUANTITY_CHANGE", {"SellerId": SELLER, "Sku": "ACN-3", "Quantity": 4}),
        HintKind.LISTING,
        "ACN-3",
        None,
    ),
    (_camel("PRICING_HEALTH", {"sellerId": SELLER, "offerChangeTrigger": OFFER}), HintKind.OFFER, "B007", "US"),
    (
        _camel(
            "REPORT_PROCESSING_FINISHED",
            {"reportProcessingFinishedNotification": {"sellerId": SELLER, "reportId": "54517018502"}},
        ),
        HintKind.REPORT,
        "54517018502",
        None,
    ),
    (
        _camel(
            "DATA_KIOSK_QUERY_PROCESSING_FINISHED",
            {"accountId": f"amzn1.merchant.o.{SELLER}", "queryId": "77", "query": "{}"},
        ),
        HintKind.QUERY,
        "77",
        None,
    ),
    (
        _camel(
            "ACCOUNT_STATUS_CHANGED",
            {"accountStatusChangeNotification": {"previousAccountStatus": "NORMAL", "currentAccountStatus": "AT_RISK"}},
        ),
        HintKind.ACCOUNT,
        "AT_RISK",
        None,
    ),
]


@pytest.mark.parametrize(("raw", "kind", "subject", "marketplace"), CASES)
def test_each_casing_says_what_changed_and_when(
    raw: bytes, kind: HintKind, subject: str, marketplace: str | None
) -> None:
    found = understood([US], raw)
    assert isinstance(found, Hint)
    assert (found.kind, found.subject, found.marketplace, found.event_at) == (kind, subject, marketplace, AT)
    assert (found.channel, found.id) == (CHANNEL, "n-1")


@pytest.mark.parametrize(
    ("said", "open"),
    [
        ({}, {"ACN-1": 3, "ACN-2": 1}),
        ({"OrderStatus": "Pending"}, {"ACN-1": 3, "ACN-2": 1}),
        ({"FulfillmentType": "AFN"}, {}),  # out of Amazon's own stock
        ({"FulfillmentType": None}, {}),
        ({"OrderStatus": "Canceled"}, {}),
        ({"OrderItems": None}, {}),
        ({"OrderItems": [{"SellerSKU": "ACN-1", "Quantity": "2", "QuantityShipped": 0}, 7, {"Quantity": 1}]}, {}),
        ({"OrderItems": [{"SellerSKU": "ACN-1", "Quantity": 10**9, "QuantityShipped": -1}]}, {"ACN-1": 10_000}),
    ],
)
def test_an_order_says_what_we_have_to_ship_of_it(said: dict[str, Any], open: dict[str, int]) -> None:
    told = _order()
    items = [("ACN-1", 2, 1), ("ACN-1", 2, 0), ("ACN-2", 1, 0), ("ACN-3", 1, 1)]
    told["OrderChangeNotification"]["Summary"] |= {
        "FulfillmentType": "MFN",
        "OrderItems": [{"SellerSKU": sku, "Quantity": all_, "QuantityShipped": sent} for sku, all_, sent in items],
    } | said
    found = understood([US], _pascal("ORDER_CHANGE", told))
    assert isinstance(found, Hint)
    assert found.open == open
    told["OrderChangeNotification"]["Summary"]["MarketplaceId"] = "A-NEW-ONE"
    found = understood([US], _pascal("ORDER_CHANGE", told))
    assert isinstance(found, Hint)
    assert found.open == {}, "nobody knows whose"


def test_an_event_of_eventbridge_carries_the_notification_inside() -> None:
    detail = json.loads(_pascal("ORDER_CHANGE", _order()))
    event = {"version": "0", "id": "e-1", "detail-type": "ORDER_CHANGE", "account": "437568002678", "detail": detail}
    found = understood([US], json.dumps(event).encode())
    assert isinstance(found, Hint)
    assert (found.id, found.subject) == ("n-1", "903-8868176-2219830")


def test_without_an_id_of_amazons_the_same_message_has_the_same_one() -> None:
    raw = _pascal("FBA_INVENTORY_AVAILABILITY_CHANGES", _fba(), id=None)
    first, again = understood([US], raw), understood([US], raw)
    other = understood([US], raw.replace(b"ACN-1", b"ACN-9"))
    assert isinstance(first, Hint)
    assert isinstance(other, Hint)
    assert first == again
    assert first.id.startswith("sha256:")
    assert first.id != other.id


def test_nothing_of_a_buyer_is_kept() -> None:
    told = repr(understood([US], _pascal("ORDER_CHANGE", _order())))
    assert "903-8868176-2219830" in told
    assert "48110" not in told
    assert "48110" not in repr(understood([US], _pascal("ORDER_CHANGE", _order(seller="SOMEBODY"))))


def test_accounts_that_share_a_queue_are_told_apart_by_seller_and_marketplace() -> None:
    german = understood([US, EU], _pascal("ORDER_CHANGE", _order(marketplace="A1PA6795UKMFR9")))
    assert isinstance(german, Hint)
    assert (german.channel, german.marketplace) == ("amazon-eu", "DE")
    # Sold from a store that is not set up here.
    assert understood([US, EU], _pascal("ORDER_CHANGE", _order(marketplace="A1VC38T7YXB528"))) is None


WRONG = [
    (b"\xff<html>", "?: it is no JSON"),
    (b"[]", "?: it is no object"),
    (b"{}", "?: notificationType: is missing"),
    (_pascal("NEW_TYPE_OF_2027", {"SellerId": SELLER}), "NEW_TYPE_OF_2027: notificationType: is unknown"),
    (_pascal("ORDER_CHANGE", _order(seller="SOMEBODY")), "ORDER_CHANGE: sellerId: is no account of ours"),
    (_pascal("FBA_INVENTORY_AVAILABILITY_CHANGES", {"SellerId": SELLER}), "sku: names nothing"),
    (_pascal("ORDER_CHANGE", _order()).replace(b".284Z", b""), "eventtime: is no time with a zone"),
    (_pascal("ORDER_CHANGE", _order()).replace(b'"2026-03-01T12:00:00.284Z"', b"1700000000"), "is no time with a zone"),
    (_pascal("ORDER_CHANGE", _order()).replace(b"2026", b"9999"), "eventtime: lies in another age"),
    (_pascal("ORDER_CHANGE", _order()).replace(b"2026", b"0001"), "eventtime: lies in another age"),
]


@pytest.mark.parametrize(("raw", "reason"), WRONG)
def test_what_is_not_understood_is_rejected_with_its_reason_and_without_its_contents(raw: bytes, reason: str) -> None:
    found = understood([US], raw)
    assert isinstance(found, Rejected)
    assert found.reason.endswith(reason)
    assert (found.what, found.raw) == ("notification", "")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_json_comes_is_told_and_nothing_raised(told: Any) -> None:
    assert isinstance(
        understood([US], json.dumps(told, allow_nan=False, default=str).encode() if _plain(told) else b"x"), Rejected
    )
    wrapped = _pascal("ORDER_CHANGE", {"OrderChangeNotification": told if _plain(told) else None})
    assert isinstance(understood([US], wrapped), Rejected)


def _plain(told: Any) -> bool:
    try:
        json.dumps(told, allow_nan=False)
    except ValueError:
        return False
    return True


def test_a_body_nested_without_end_is_rejected() -> None:
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    assert isinstance(understood([US], deep), Rejected)


def _new_secret(client: str) -> bytes:
    payload = {
        "clientId": client,
        "newClientSecret": "amzn1.oa2-cs.v1.new",
        "newClientSecretExpiryTime": "2026-09-01T00:00:00Z",
        "oldClientSecretExpiryTime": "2026-03-08T00:00:00Z",
    }
    return _camel("APPLICATION_OAUTH_CLIENT_NEW_SECRET", {"applicationOAuthClientNewSecret": payload})


def test_a_new_secret_is_handed_on_and_shown_to_nobody() -> None:
    found = understood([US], _new_secret(US.client_id))
    assert isinstance(found, NewSecret)
    assert (found.channel, found.secret) == (CHANNEL, "amzn1.oa2-cs.v1.new")
    assert found.old_expires_at == datetime(2026, 3, 8, tzinfo=UTC)
    assert "v1.new" not in repr(found)
    foreign = understood([US], _new_secret("amzn1.application-oa2-client.foreign"))
    assert isinstance(foreign, Rejected)
    assert "v1.new" not in repr(foreign)


def test_a_movement_of_money_of_somebody_else_or_of_an_order_without_a_name_is_not_taken() -> None:
    foreign = _money("Refund", ("ORDER_ID", "113-1-2"))
    foreign["TransactionUpdateNotification"]["SellingPartnerMetadata"]["SellingPartnerId"] = "SOMEBODY"
    assert isinstance(understood([US], _pascal(MONEY, foreign)), Rejected)
    broken = _money("Refund", ("ORDER_ID", ""))
    assert isinstance(understood([US], _pascal(MONEY, broken)), Rejected)


@published
def test_every_published_type_is_understood_or_named_as_not_ours() -> None:
    types = published_types()
    assert len(types) >= 20
    assert set(types) <= {*SHAPES, *NOT_OURS, MONEY}


@published
def test_amazons_own_examples_and_instances_of_its_schemas_are_understood_without_loss() -> None:
    for type in published_types():
        for body in example(type):
            seller = _seller(body)
            found = understood([Account(CHANNEL, seller, "c", US.marketplaces)], json.dumps(body).encode())
            if type in NOT_OURS:
                assert found is None, type
                continue
            assert isinstance(found, Hint), (type, found)
            assert found.type == type
            assert found.subject in json.dumps(body)


def _seller(body: Any) -> str:
    """The seller that an example names, wherever."""
    if isinstance(body, dict):
        for name, value in body.items():
            if name.lower() in ("sellerid", "accountid", "sellingpartnerid"):
                return str(value).removeprefix("amzn1.merchant.o.")
            if found := _seller(value):
                return found
    return ""
