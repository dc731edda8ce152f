"""Destinations and subscriptions as published, and what is sent because of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from sandbox.amazon.auth import CLIENT_ID, CLIENT_SECRET
from sandbox.amazon.visit import Seller, error
from sandbox.visit import advance, world
from tests.adapters.amazon.notifications import notification_faults
from tests.contracts.spapi import FOLDER, answer_faults, published

ARN = "arn:aws:sqs:us-east-1:444455556666:acorn"
US = "ATVPDKIKX0DER"
PLACES, KINDS = "/notifications/v1/destinations", "/notifications/v1/subscriptions"


def sound(operation: str, answer: httpx.Response) -> httpx.Response:
    """`answer`, as Amazon's model has it."""
    if FOLDER is not None:
        assert answer_faults(operation, answer) == []
    return answer


async def _destination(app: httpx.AsyncClient, resource: dict[str, Any] | None = None) -> httpx.Response:
    body = {"name": "acorn", "resourceSpecification": resource or {"sqs": {"arn": ARN}}}
    return sound("createDestination", await app.post(PLACES, json=body))


async def _made(app: httpx.AsyncClient, resource: dict[str, Any] | None = None) -> str:
    answer = await _destination(app, resource)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["payload"]["destinationId"])


async def _subscribe(seller: Seller, type: str, destination: str, **more: Any) -> httpx.Response:
    body = {"payloadVersion": "1.0", "destinationId": destination, **more}
    return sound("createSubscription", await seller.client.post(f"{KINDS}/{type}", headers=seller.headers, json=body))


BUS = {"eventBridge": {"accountId": "444455556666", "region": "us-east-1"}}


async def test_destinations_belong_to_the_application(app: httpx.AsyncClient, na: Seller) -> None:
    made = await _made(app)
    (shown,) = sound("getDestinations", await app.get(PLACES)).json()["payload"]
    assert shown == {"destinationId": made, "name": "acorn", "resource": {"sqs": {"arn": ARN}}}
    refused = [
        await na.get(PLACES),
        await na.client.post(PLACES, headers=na.headers, json={}),
        await na.client.delete(f"{PLACES}/{made}", headers=na.headers),
    ]
    assert [error(one) for one in refused] == [(403, "Unauthorized")] * 3
    assert sound("deleteDestination", await app.delete(f"{PLACES}/{made}")).status_code == 200
    assert (await app.get(PLACES)).json() == {"payload": []}


async def test_subscriptions_belong_to_a_seller(app: httpx.AsyncClient, na: Seller, eu: Seller) -> None:
    place = await _made(app)
    body = {"payloadVersion": "1.0", "destinationId": place}
    assert error(await app.post(f"{KINDS}/ORDER_CHANGE", json=body)) == (403, "Unauthorized")
    assert error(await app.get(f"{KINDS}/ORDER_CHANGE")) == (403, "Unauthorized")
    made = (await _subscribe(na, "ORDER_CHANGE", place)).json()["payload"]
    assert sound("getSubscription", await na.get(f"{KINDS}/ORDER_CHANGE")).json()["payload"] == made
    listed = sound("getSubscriptions", await na.get(KINDS, notificationTypes="ORDER_CHANGE")).json()
    assert listed == {"payload": {"subscriptions": [made]}}
    assert sound("getSubscription", await eu.get(f"{KINDS}/ORDER_CHANGE")).status_code == 404
    path = f"{KINDS}/ORDER_CHANGE/{made['subscriptionId']}"
    assert error(await na.client.delete(path, headers=na.headers)) == (403, "Unauthorized")
    assert sound("deleteDestination", await app.delete(f"{PLACES}/{place}")).status_code == 409
    assert sound("deleteSubscriptionById", await app.delete(path)).status_code == 200
    assert sound("deleteSubscriptionById", await app.delete(path)).status_code == 404
    assert (await na.get(f"{KINDS}/ORDER_CHANGE")).status_code == 404


async def test_what_is_there_is_a_conflict(app: httpx.AsyncClient, na: Seller, eu: Seller) -> None:
    place = await _made(app)
    assert (await _destination(app)).status_code == 409
    assert (await _subscribe(na, "ORDER_CHANGE", place)).status_code == 200
    assert (await _subscribe(na, "ORDER_CHANGE", place)).status_code == 409
    assert (await _subscribe(eu, "ORDER_CHANGE", place)).status_code == 200


@pytest.mark.parametrize(
    "resource",
    [
        {"sqs": {"arn": f"{ARN}.fifo"}},
        {"sqs": {"arn": "acorn"}},
        {"sqs": {"arn": ARN}, **BUS},
        {"eventBridge": {"accountId": "444455556666"}},
        {"kafka": {}},
    ],
)
async def test_a_resource_that_cannot_be_is_refused(app: httpx.AsyncClient, resource: dict[str, Any]) -> None:
    assert (await _destination(app, resource)).status_code == 400
    assert (await app.get(PLACES)).json() == {"payload": []}


async def test_a_subscription_that_cannot_be_is_refused(app: httpx.AsyncClient, na: Seller) -> None:
    place, bus = await _made(app), await _made(app, BUS)
    event_filter = {"eventFilterType": "ORDER_CHANGE", "marketplaceIds": ["ATVPDKIKX0DER"]}
    wrong: list[tuple[str, str, dict[str, Any]]] = [
        ("ORDER_STATUS_CHANGE", place, {}),
        ("ORDER_CHANGE", "nowhere", {}),
        ("ORDER_CHANGE", place, {"payloadVersion": "2.0"}),
        ("ORDER_CHANGE", bus, {}),
        ("LISTINGS_ITEM_STATUS_CHANGE", place, {}),
        ("PRICING_HEALTH", place, {"processingDirective": {"filterExpression": "true"}}),
        ("ORDER_CHANGE", place, {"processingDirective": {"eventFilter": event_filter, "filterExpression": "true"}}),
        ("ANY_OFFER_CHANGED", place, {"processingDirective": {"eventFilter": event_filter}}),
    ]
    for type, to, more in wrong:
        assert (await _subscribe(na, type, to, **more)).status_code == 400, (type, more)
    good = {"processingDirective": {"eventFilter": event_filter}}
    answer = await _subscribe(na, "ORDER_CHANGE", place, **good)
    assert answer.json()["payload"]["processingDirective"] == good["processingDirective"]


async def _ordered(client: httpx.AsyncClient, **how: Any) -> None:
    (await client.post("/_sandbox/notifications", json={"held": True, **how})).raise_for_status()


async def _until(condition: Callable[[dict[str, Any]], bool], client: httpx.AsyncClient) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while not condition(state := (await client.get("/_sandbox/notifications")).json()):
            await asyncio.sleep(0.01)
    return dict(state)


async def _held(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    await _until(lambda state: state["counts"].get("held", 0) == count and state["pending"] == 0, client)
    return list((await client.get("/_sandbox/notifications/held")).json()["notifications"])


async def _all_kinds(app: httpx.AsyncClient, na: Seller) -> None:
    place, bus = await _made(app), await _made(app, BUS)
    for type in ("ORDER_CHANGE", "FBA_INVENTORY_AVAILABILITY_CHANGES", "PRICING_HEALTH"):
        assert (await _subscribe(na, type, place)).status_code == 200
    assert (await _subscribe(na, "LISTINGS_ITEM_MFN_QUANTITY_CHANGE", bus)).status_code == 200


async def _skus(client: httpx.AsyncClient) -> tuple[str, str]:
    """(one that Amazon fulfills, one that the merchant does), both sold in the US."""
    found = [one for one in (await world(client))["skus"] if "US" in one["marketplaces"]]
    kinds = {one["fulfilledBy"]: one["sku"] for one in reversed(found)}
    return kinds["AMAZON"], kinds["MERCHANT"]


async def test_every_true_change_is_told_in_the_published_form(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    await _all_kinds(app, na)
    await _ordered(client)
    fba, own = await _skus(client)
    body = {
        "stock": [{"sku": fba, "pool": "US", "quantity": 77}, {"sku": own, "marketplace": "US", "quantity": 3}],
        "prices": [{"sku": own, "marketplace": "US", "amount": "19.99"}],
        "orders": [{"marketplace": "US", "lines": [{"sku": own, "quantity": 1}]}],
    }
    made = (await client.post("/_sandbox/state", json=body)).json()
    found = await _held(client, 5)
    types = sorted(str(_told(one)["notificationtype"]) for one in found)
    assert types == [
        "FBA_INVENTORY_AVAILABILITY_CHANGES",
        "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
        "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
        "ORDER_CHANGE",
        "PRICING_HEALTH",
    ]
    order = next(one for one in found if one.get("NotificationType") == "ORDER_CHANGE")
    assert order["Payload"]["OrderChangeNotification"]["AmazonOrderId"] == made["orders"][0]
    in_events = [one for one in found if "detail" in one]
    assert [one["detail"]["Payload"]["Quantity"] for one in in_events] == [3, 2]
    if FOLDER is not None:
        assert [notification_faults(one.get("detail", one)) for one in found] == [[]] * 5


async def test_a_listing_tells_who_offers_it_how_it_stands_and_what_is_wrong_with_it(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller, clean_sku: str
) -> None:
    place, bus = await _made(app), await _made(app, BUS)
    aggregated = {
        "eventFilter": {
            "eventFilterType": "ANY_OFFER_CHANGED",
            "aggregationSettings": {"aggregationTimePeriod": "FiveMinutes"},
        }
    }
    for type, to, more in (
        ("ANY_OFFER_CHANGED", place, {"processingDirective": aggregated}),
        ("LISTINGS_ITEM_STATUS_CHANGE", bus, {}),
        ("LISTINGS_ITEM_ISSUES_CHANGE", bus, {"payloadVersion": "2023-12-13"}),
    ):
        assert (await _subscribe(na, type, to, **more)).status_code == 200
    await _ordered(client)
    us = {"sku": clean_sku, "marketplace": "US"}
    for body in (
        {"stock": [{**us, "quantity": 9}]},
        {"prices": [{**us, "amount": "21.00"}]},
        {"prices": [{**us, "amount": "19.99"}]},
        {"stock": [{**us, "quantity": 0}]},
        {"stock": [{**us, "quantity": 4}]},
    ):
        (await client.post("/_sandbox/state", json=body)).raise_for_status()
    price = [{"schedule": [{"value_with_tax": 19.99}]}]
    low = [{"schedule": [{"value_with_tax": 25}]}]
    entry = {"marketplace_id": US, "currency": "USD", "audience": "ALL", "our_price": price}
    for changed in ({**entry, "minimum_seller_allowed_price": low}, entry):
        shown = await na.listing("US", clean_sku, includedData="productTypes")
        patch = {"op": "replace", "path": "/attributes/purchasable_offer", "value": [changed]}
        body = {"productType": shown.json()["productTypes"][0]["productType"], "patches": [patch]}
        assert (await na.patch("US", clean_sku, body)).json()["status"] == "ACCEPTED"
        await advance(client, 900)
    found = [one.get("detail", one) for one in await _held(client, 8)]
    told = [(one["NotificationType"], one["Payload"]) for one in found]
    assert [one["Status"] for type, one in told if type == "LISTINGS_ITEM_STATUS_CHANGE"] == [
        ["DISCOVERABLE"],
        ["BUYABLE", "DISCOVERABLE"],
        [],
        ["BUYABLE", "DISCOVERABLE"],
    ]
    problems = [one for type, one in told if type == "LISTINGS_ITEM_ISSUES_CHANGE"]
    assert [(one["Severities"], one["EnforcementActions"]) for one in problems] == [
        (["ERROR"], ["LISTING_SUPPRESSED"]),
        (["NONE"], []),
    ]
    prices = [
        next(one["ListingPrice"]["Amount"] for one in offers["Offers"] if one["SellerId"] == "A1SANDBOXNA")
        for type, payload in told
        if type == "ANY_OFFER_CHANGED"
        for offers in [payload["AnyOfferChangedNotification"]]
    ]
    assert prices == [21.00, 19.99]
    if FOLDER is not None:
        assert [notification_faults(one) for one in found] == [[]] * 8


@pytest.fixture
async def clean_sku(client: httpx.AsyncClient, na: Seller) -> str:
    """One that the merchant fulfills in the US, with nothing wrong with it."""
    await client.post("/_sandbox/plans", json={"getListingsItem": {"rate": 1000, "burst": 1000}})
    for one in (await world(client))["skus"]:
        if one["fulfilledBy"] == "MERCHANT" and "US" in one["marketplaces"]:
            shown = (await na.listing("US", one["sku"], includedData="issues")).json()
            if not shown["issues"]:
                return str(one["sku"])
    raise AssertionError("there is none")


async def test_an_fba_listing_that_is_sold_out_is_told(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    await _subscribe(na, "LISTINGS_ITEM_STATUS_CHANGE", await _made(app, BUS))
    fba, _ = await _skus(client)
    await _ordered(client)
    for units in (5, 4, 0):
        await client.post("/_sandbox/state", json={"stock": [{"sku": fba, "pool": "US", "quantity": units}]})
    found = [one["detail"]["Payload"] for one in await _held(client, 1)]
    assert [(one["Sku"], one["Status"]) for one in found] == [(fba, ["DISCOVERABLE"])]


async def test_a_new_secret_goes_to_the_queue_that_the_console_registers(client: httpx.AsyncClient) -> None:
    await client.post("/_sandbox/rotation", json={"enrolled": True, "queue": ARN})
    for wrong in ({"enrolled": True, "queue": "acorn"}, {"queue": ARN}):
        assert (await client.post("/_sandbox/rotation", json=wrong)).status_code == 400
    await _ordered(client)
    scope = {"grant_type": "client_credentials", "scope": "sellingpartnerapi::client_credential:rotation"}
    who = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    token = (await client.post("/auth/o2/token", data={**scope, **who})).json()["access_token"]
    path = "/applications/2023-11-30/clientSecret"
    assert (await client.post(path, headers={"x-amz-access-token": token})).status_code == 204
    (found,) = await _held(client, 1)
    assert found["notificationType"] == "APPLICATION_OAUTH_CLIENT_NEW_SECRET"
    rotations = (await client.get("/_sandbox/rotation")).json()["rotations"]
    assert [found["payload"]["applicationOAuthClientNewSecret"]] == rotations


async def test_the_end_of_a_report_is_told(client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller) -> None:
    await _subscribe(na, "REPORT_PROCESSING_FINISHED", await _made(app), payloadVersion="2020-09-04")
    await _ordered(client)
    body = {"reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "marketplaceIds": ["ATVPDKIKX0DER"]}
    made = await na.client.post("/reports/2021-06-30/reports", headers=na.headers, json=body)
    await advance(client, 60)
    (found,) = await _held(client, 1)
    told = found["payload"]["reportProcessingFinishedNotification"]
    assert (told["processingStatus"], told["reportId"]) == ("DONE", made.json()["reportId"])
    if FOLDER is not None:
        assert notification_faults(found) == []


@published
async def test_the_check_of_published_forms_finds_a_fault() -> None:
    body = {"NotificationVersion": "1.0", "NotificationType": "ORDER_CHANGE", "PayloadVersion": "1.0", "Payload": {}}
    assert notification_faults(body)


async def test_what_nobody_wants_is_not_made(client: httpx.AsyncClient, app: httpx.AsyncClient, eu: Seller) -> None:
    place = await _made(app)
    await _subscribe(eu, "ORDER_CHANGE", place)
    await _ordered(client)
    _, own = await _skus(client)
    order = {"marketplace": "US", "lines": [{"sku": own, "quantity": 1}]}
    await client.post("/_sandbox/state", json={"orders": [order]})
    assert (await client.get("/_sandbox/notifications")).json()["counts"] == {}


async def test_they_are_lost_copied_and_late_as_ordered(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    await _subscribe(na, "FBA_INVENTORY_AVAILABILITY_CHANGES", await _made(app))
    await _ordered(client, lost=0.5, copies=3, delay=86_400, shuffle=True)
    fba, _ = await _skus(client)
    for units in range(1000, 1040):
        await client.post("/_sandbox/state", json={"stock": [{"sku": fba, "pool": "US", "quantity": units}]})
    state = (await client.get("/_sandbox/notifications")).json()
    sent = 40 - state["counts"]["lost"]
    assert 5 <= sent <= 35
    assert state["pending"] == 3 * sent
    await advance(client, 86_400)
    found = await _held(client, 3 * sent)
    ids = [one["NotificationMetadata"]["NotificationId"] for one in found]
    assert sorted(ids) == sorted([*set(ids)] * 3)
    assert len(set(ids)) == sent
    times = [one["EventTime"] for one in found]
    assert (await client.get("/_sandbox/notifications/held")).json() == {"notifications": []}
    assert len(times) == 3 * sent


@asynccontextmanager
async def _listening(statuses: list[int]) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """An address that answers with these statuses, the last one for ever; what came there, as (key, body)."""
    came: list[tuple[str, bytes]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        came.append((headers["x-api-key"], await reader.readexactly(int(headers["content-length"]))))
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks/amazon/us", came


async def test_an_address_that_fails_is_tried_again(
    client: httpx.AsyncClient, app: httpx.AsyncClient, na: Seller
) -> None:
    await _subscribe(na, "LISTINGS_ITEM_MFN_QUANTITY_CHANGE", await _made(app, BUS))
    _, own = await _skus(client)
    async with _listening([503, 200]) as (url, came):
        await client.post("/_sandbox/notifications", json={"http": url, "key": "k-1"})
        await client.post("/_sandbox/state", json={"stock": [{"sku": own, "marketplace": "US", "quantity": 9}]})
        await _until(lambda state: state["counts"].get("failed") == 1, client)
        await advance(client, 2)
        await _until(lambda state: state["counts"].get("delivered") == 1, client)
    assert [key for key, _ in came] == ["k-1", "k-1"]
    assert came[0] != came[1] or b"LISTINGS_ITEM_MFN_QUANTITY_CHANGE" in came[0][1]


@pytest.mark.parametrize(
    "body", [{"lost": 1.5}, {"copies": 0}, {"delay": -1}, {"shuffle": 1}, {"http": 5}, {"speed": 1}]
)
async def test_nonsense_is_refused_and_changes_nothing(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    before = (await client.get("/_sandbox/notifications")).json()
    assert (await client.post("/_sandbox/notifications", json={"copies": 5, **body})).status_code == 400
    assert (await client.get("/_sandbox/notifications")).json() == before


def _told(one: dict[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in one.get("detail", one).items()}
