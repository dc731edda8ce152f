"""What is told of orders that Amazon ships, of money, of offers to businesses and of an account's standing; and the question that
each notification becomes with us."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import httpx

from adapters.amazon.hints import Account, understood
from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from sandbox.amazon.visit import Seller, confirmation, to_ship
from sandbox.visit import advance, world
from tests.adapters.amazon.notifications import notification_faults
from tests.contracts.spapi import FOLDER
from tests.sandbox.amazon.reads import lift_plans, related, transactions
from tests.sandbox.amazon.test_labels import buy, sealed, services
from tests.sandbox.amazon.test_notifications import US, _destination, _held, _ordered, _skus, _subscribe
from tests.sandbox.amazon.test_outbound import OLD, body, create, fresh, held, put

OURS = Account(ChannelId("amazon-us"), "A1SANDBOXNA", "amzn1.application-oa2-client.sandbox", ("US",))
DAY_S = 86_400


async def _wanting(app: httpx.AsyncClient, seller: Seller, *types: str, **more: Any) -> None:
    """The seller wants these, and they are kept to be looked at."""
    place = (await _destination(app)).json()["payload"]["destinationId"]
    for type in types:
        assert (await _subscribe(seller, type, place, **more)).status_code == 200
    await _ordered(seller.client)


async def _told(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    """All notifications, which are so many, each in the published form."""
    assert (await client.get("/_sandbox/notifications")).json()["counts"].get("made", 0) == count
    found = await _held(client, count)
    # Of an account's standing there is no published schema.
    published = [one for one in found if one.get("notificationType") != "ACCOUNT_STATUS_CHANGED"]
    if FOLDER is not None:
        assert [notification_faults(one) for one in published] == [[]] * len(published)
    return found


def _hints(found: list[dict[str, Any]]) -> list[tuple[HintKind, str, str | None]]:
    hints = [understood([OURS], json.dumps(one).encode()) for one in found]
    return [(one.kind, one.subject, one.marketplace) for one in hints if isinstance(one, Hint)]


async def _fulfillments(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    found = await _told(client, count)
    assert _hints(found) == [(HintKind.FULFILLMENT, "shop-1", None)] * count
    return [one["Payload"]["FulfillmentOrderStatusNotification"] for one in found]


async def test_a_fulfillment_order_tells_of_each_step_and_of_its_shipment(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    sku = await held(client)
    await _wanting(app, na, "FULFILLMENT_ORDER_STATUS")
    assert (await create(na, body(sku))).status_code == 200
    await advance(client, 5 * DAY_S)
    found = await _fulfillments(client, 6)
    shipment = [(one["FulfillmentShipment"]["FulfillmentShipmentStatus"], one["EventType"]) for one in found]
    assert [(one["FulfillmentOrderStatus"], *told) for one, told in zip(found, shipment, strict=True)] == [
        ("RECEIVED", "", "Order"),
        ("PLANNING", "", "Order"),
        ("PLANNING", "PENDING", "Shipment"),
        ("PROCESSING", "PENDING", "Order"),
        ("PROCESSING", "SHIPPED", "Shipment"),
        ("COMPLETE", "SHIPPED", "Order"),
    ]
    na = await fresh(na)
    read = (await na.get(f"{OLD}/shop-1")).json()["payload"]["fulfillmentShipments"][0]
    last = found[-1]["FulfillmentShipment"]
    assert last["AmazonShipmentId"] == read["amazonShipmentId"]
    (package,) = last["FulfillmentShipmentPackages"]
    assert package["TrackingNumber"] == read["fulfillmentShipmentPackage"][0]["trackingNumber"]


async def test_a_fulfillment_order_that_is_cancelled_or_set_from_outside_tells_so_once(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    sku = await held(client)
    await _wanting(app, na, "FULFILLMENT_ORDER_STATUS")
    await create(na, body(sku))
    await advance(client, 2)
    assert (await put(na, f"{OLD}/shop-1/cancel")).status_code == 200
    assert (await put(na, f"{OLD}/shop-1/cancel")).status_code == 200
    await advance(client, DAY_S)
    assert [one["FulfillmentOrderStatus"] for one in await _fulfillments(client, 1)] == ["CANCELLED"]


async def test_an_order_of_amazons_own_fulfillment_leaves_and_tells_of_its_shipment(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    sku = await held(client)
    await _wanting(app, na, "ORDER_CHANGE", "FBA_OUTBOUND_SHIPMENT_STATUS")
    (reserved,) = [one["pools"]["US"]["reserved"] for one in (await world(client))["skus"] if one["sku"] == sku]
    bought = {"marketplace": "US", "lines": [{"sku": sku, "quantity": 2}]}
    id = (await client.post("/_sandbox/buy", json=bought)).json()["order"]
    moved = await client.post("/_sandbox/orders", json={"id": id, "status": "SHIPPED"})
    assert moved.json() == {"id": id, "status": "SHIPPED"}
    again = await client.post("/_sandbox/orders", json={"id": id, "status": "SHIPPED"})
    assert again.status_code == 400
    found = await _told(client, 3)
    assert _hints(found) == [(HintKind.ORDER, id, "US"), (HintKind.ORDER, id, "US"), (HintKind.ORDER, id, None)]
    shipment = found[2]["Payload"]["FBAOutboundShipmentStatusNotification"]
    assert (shipment["AmazonOrderId"], shipment["ShipmentStatus"]) == (id, "Created")
    assert (await na.order(id, "FULFILLMENT")).json()["order"]["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    (pool,) = [one["pools"]["US"] for one in (await world(client))["skus"] if one["sku"] == sku]
    assert (pool["fulfillable"], pool["reserved"]) == (8, reserved)


async def test_the_merchants_own_order_is_shipped_by_the_merchant_alone(client: httpx.AsyncClient) -> None:
    _, own = await _skus(client)
    order = {"marketplace": "US", "lines": [{"sku": own, "quantity": 1}]}
    (id,) = (await client.post("/_sandbox/state", json={"orders": [order]})).json()["orders"]
    refused = await client.post("/_sandbox/orders", json={"id": id, "status": "SHIPPED"})
    assert refused.status_code == 400
    assert f"{id} is UNSHIPPED" in refused.text


async def test_what_ships_an_order_tells_that_it_changed_be_it_a_confirmation_or_a_label(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    await _wanting(app, na, "ORDER_CHANGE")
    confirmed = await to_ship(client)
    assert (await na.confirm(confirmed["id"], confirmation(confirmed))).status_code == 204
    await advance(client, 2)
    labeled = await to_ship(client)
    service = (await services(na, labeled))[0]
    assert (await buy(na, labeled, service, await sealed(na, "POST", "/mfn/v0/shipments"))).status_code == 200
    await advance(client, 2)
    told = [one["Payload"]["OrderChangeNotification"] for one in await _told(client, 2)]
    assert [(one["AmazonOrderId"], one["Summary"]["OrderStatus"]) for one in told] == [
        (confirmed["id"], "Shipped"),
        (labeled["id"], "Shipped"),
    ]


async def test_an_account_that_stands_otherwise_is_told_of_without_a_name(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    await _wanting(app, na, "ACCOUNT_STATUS_CHANGED", payloadVersion="2021-01-01")
    for standing in ("AT_RISK", "AT_RISK", "NORMAL"):
        answer = await client.post("/_sandbox/accounts", json={"sellerId": na.id, "standing": standing})
        assert {one["sellerId"]: one["standing"] for one in answer.json()["accounts"]}[na.id] == standing
    found = await _told(client, 2)
    assert [one["payload"]["accountStatusChangeNotification"] for one in found] == [
        {"previousAccountStatus": "NORMAL", "currentAccountStatus": "AT_RISK"},
        {"previousAccountStatus": "AT_RISK", "currentAccountStatus": "NORMAL"},
    ]
    assert na.id not in json.dumps(found)
    assert _hints(found) == [(HintKind.ACCOUNT, "AT_RISK", None), (HintKind.ACCOUNT, "NORMAL", None)]
    wrong = await client.post("/_sandbox/accounts", json={"sellerId": na.id, "standing": "FINE", "revoked": True})
    assert wrong.status_code == 400
    assert not any(one["revoked"] for one in (await client.get("/_sandbox/accounts")).json()["accounts"])


async def test_an_offer_to_businesses_is_told_apart_from_the_one_to_all(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    await _wanting(app, na, "ANY_OFFER_CHANGED", "B2B_ANY_OFFER_CHANGED")
    _, own = await _skus(client)
    shown = (await na.listing("US", own, includedData="productTypes,attributes,summaries")).json()
    (entry,) = [one for one in shown["attributes"]["purchasable_offer"] if one["marketplace_id"] == US]
    business = {**entry, "audience": "B2B", "our_price": [{"schedule": [{"value_with_tax": 17.5}]}]}
    for entries in ([entry, business], [entry, business], [entry]):
        patch = {"op": "replace", "path": "/attributes/purchasable_offer", "value": entries}
        sent = {"productType": shown["productTypes"][0]["productType"], "patches": [patch]}
        assert (await na.patch("US", own, sent)).json()["status"] == "ACCEPTED"
        await advance(client, 900)
    found = await _told(client, 2)
    assert [one["NotificationType"] for one in found] == ["B2B_ANY_OFFER_CHANGED"] * 2
    told = [one["Payload"]["B2BAnyOfferChangedNotification"] for one in found]
    assert [[one["ListingPrice"]["Amount"] for one in each["Offers"]] for each in told] == [[17.5], []]
    assert [one["OfferType"] for one in told[0]["Summary"]["BuyBoxPrices"]] == ["B2B"]
    asin = shown["summaries"][0]["asin"]
    assert _hints(found) == [(HintKind.OFFER, asin, "US")] * 2


async def _postings(seller: Seller) -> Counter[tuple[str | None, str, Decimal]]:
    """All transactions that show, by order, time and amount; a deferred one once, whatever it has come to."""
    await advance(seller.client, 180)
    found = {one["transactionId"]: one for one in await transactions(await fresh(seller))}
    return Counter(
        (related(one, "ORDER_ID"), one["postedDate"], Decimal(str(one["totalAmount"]["currencyAmount"])))
        for one in found.values()
    )


async def test_each_transaction_is_told_when_it_shows_and_again_when_it_is_released(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    await lift_plans(client)
    before = await _postings(na)
    await _wanting(app, await fresh(na), "TRANSACTION_UPDATE")
    _, own = await _skus(client)
    orders = [{"marketplace": "US", "lines": [{"sku": own, "quantity": 1}]}] * 4
    ids = (await client.post("/_sandbox/state", json={"orders": orders})).json()["orders"]
    shown = {one["id"]: one for one in (await world(client))["orders"]}
    na = await fresh(na)
    for id in ids:
        assert (await na.confirm(id, confirmation(shown[id]))).status_code == 204
    await advance(client, 2)
    line = shown[ids[0]]["lines"][0]["id"]
    refund = {"order": ids[0], "lines": [{"id": line, "quantity": 1}]}
    (await client.post("/_sandbox/refunds", json=refund)).raise_for_status()
    for _ in range(3):
        await advance(client, 3 * DAY_S)
    new = await _postings(na) - before
    found = [one["Payload"]["TransactionUpdateNotification"] for one in await _told(client, new.total())]
    told = Counter(
        (
            {one["RelatedIdentifierName"]: one["RelatedIdentifierValue"] for one in each["RelatedIdentifiers"]}[
                "ORDER_ID"
            ],
            each["PostedDate"],
            Decimal(str(each["TotalAmount"]["CurrencyAmount"])),
        )
        for each in found
    )
    assert told == new
    mine = Counter(order for order, *_ in told.elements() if order in ids)
    # The first comes back, one of four is held back and released: told twice each. What came before adds its releases.
    assert sorted(mine.values()) == [1, 1, 2, 2]
    assert len(found) > 6
    assert {each["SellingPartnerMetadata"]["SellingPartnerId"] for each in found} == {na.id}


async def test_of_money_an_order_is_named_and_a_refund_is_told_apart(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    """What moved is asked for, and never taken from the notification."""
    await _wanting(app, na, "TRANSACTION_UPDATE")
    sku = await held(client)
    bought = {"marketplace": "US", "lines": [{"sku": sku, "quantity": 2}]}
    id = (await client.post("/_sandbox/buy", json=bought)).json()["order"]
    await client.post("/_sandbox/orders", json={"id": id, "status": "SHIPPED"})
    await advance(client, 2 * DAY_S)
    made = (await client.get("/_sandbox/notifications")).json()["counts"]["made"]
    found = await _told(client, made)
    assert (HintKind.MONEY, id, "US") in (told := _hints(found))
    assert {kind for kind, *_ in told} == {HintKind.MONEY}
    line = (await (await fresh(na)).order(id)).json()["order"]["orderItems"][0]["orderItemId"]
    refund = {"order": id, "lines": [{"id": line, "quantity": 1}]}
    (await client.post("/_sandbox/refunds", json=refund)).raise_for_status()
    await advance(client, 2 * DAY_S)
    assert _hints(await _told(client, made + 1)) == [(HintKind.REFUND, id, "US")]


async def test_without_a_subscription_nothing_of_this_is_made(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller, eu: Seller
) -> None:
    types = ("FULFILLMENT_ORDER_STATUS", "FBA_OUTBOUND_SHIPMENT_STATUS", "TRANSACTION_UPDATE")
    await _wanting(app, eu, *types)
    sku = await held(client)
    await create(na, body(sku))
    bought = {"marketplace": "US", "lines": [{"sku": sku, "quantity": 2}]}
    id = (await client.post("/_sandbox/buy", json=bought)).json()["order"]
    await client.post("/_sandbox/orders", json={"id": id, "status": "SHIPPED"})
    await advance(client, 60)
    assert (await client.get("/_sandbox/notifications")).json()["counts"] == {}
