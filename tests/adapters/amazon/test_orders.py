"""Orders and parcels out of written answers."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from adapters.amazon.orders import INCLUDED, STATUSES
from adapters.port import OrderKey, Page
from domain.budget import Ask
from domain.errors import Invalid, NotFound, Transient
from domain.ids import line_id, order_id
from domain.money import Money
from domain.order import Order, OrderStatus, Shipment
from domain.product import FulfilledBy
from tests.adapters.amazon.bench import IDS, Desk, Line, go, make_parcel

ID = "114-9876543-1234567"
KEY = OrderKey(ID, "US")
SINCE = datetime(2026, 11, 1, tzinfo=UTC)


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currencyCode": "USD"}


def order_item(id: str = "1", ordered: int = 2, **changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "orderItemId": id,
        "quantityOrdered": ordered,
        "product": {
            "asin": "B09V3KXJPB",
            "title": "Fire HD 10",
            "sellerSku": f"SKU-{id}",
            "price": {"unitPrice": usd("62.50")},
        },
        "proceeds": {
            "proceedsTotal": usd("135.00"),
            "breakdowns": [{"type": "ITEM", "subtotal": usd("125.00")}, {"type": "TAX", "subtotal": usd("10.00")}],
        },
        "fulfillment": {"quantityFulfilled": 0, "quantityUnfulfilled": ordered},
    }
    return whole | changes


def order(status: str = "UNSHIPPED", party: str = "MERCHANT", **changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "orderId": ID,
        "createdTime": "2026-11-20T10:30:00Z",
        "lastUpdatedTime": "2026-11-20T12:00:00.5+01:00",
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": IDS["US"], "marketplaceName": "Amazon.com"},
        "proceeds": {"grandTotal": usd("135.00")},
        "fulfillment": {
            "fulfillmentStatus": status,
            "fulfilledBy": party,
            "fulfillmentServiceLevel": "STANDARD",
            "shipByWindow": {"earliestDateTime": "2026-11-21T00:00:00Z", "latestDateTime": "2026-11-22T23:59:59Z"},
        },
        "orderItems": [order_item()],
    }
    return whole | changes


def package(reference: str = "701", *items: tuple[str, int], **changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "packageReferenceId": reference,
        "createdTime": "2026-11-21T09:00:00Z",
        "packageStatus": {"status": "SHIPPED"},
        "carrier": "DHL",
        "shipTime": "2026-11-21T08:00:00Z",
        "trackingNumber": "00340434161094021501",
        "packageItems": [{"orderItemId": id, "quantity": units} for id, units in items or (("1", 2),)],
    }
    return whole | changes


def page(*orders: Any, token: str | None = None, before: str = "2026-11-25T00:00:00Z") -> httpx.Response:
    body: dict[str, Any] = {"orders": list(orders), "lastUpdatedBefore": before}
    if token is not None:
        body["pagination"] = {"nextToken": token}
    return httpx.Response(200, json=body)


def found(one: Any) -> httpx.Response:
    return httpx.Response(200, json={"order": one}, headers={"x-amzn-RequestId": "req-5"})


async def pages(desk: Desk) -> list[Page[Order]]:
    return [page async for page in desk.port.order_pages(SINCE, Ask())]


async def only(desk: Desk, line: Line, one: dict[str, Any]) -> Order:
    line.answers.append(page(one))
    (single,) = await pages(desk)
    assert single.rejected == []
    return single.items[0]


async def test_an_order_as_it_stands(desk: Desk, line: Line) -> None:
    one = await only(desk, line, order())
    assert one.id == order_id(desk.channel, ID)
    assert (one.channel, one.marketplace, one.external_id) == (desk.channel, "US", ID)
    assert (one.status, one.channel_status) == (OrderStatus.UNSHIPPED, "UNSHIPPED")
    assert one.fulfilled_by is FulfilledBy.MERCHANT
    assert one.placed_at == datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
    assert one.updated_at == datetime(2026, 11, 20, 11, 0, 0, 500_000, tzinfo=UTC)
    assert one.ship_by == datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC)
    assert one.total == Money(Decimal("135.00"), "USD")
    assert one.shipments == []
    (row,) = one.lines
    assert row.id == line_id(one.id, "1")
    assert (row.external_id, row.channel_sku, row.title, row.sku) == ("1", "SKU-1", "Fire HD 10", None)
    assert (row.quantity, row.quantity_shipped, row.quantity_open) == (2, 0, 2)
    assert row.unit_price == Money(Decimal("62.50"), "USD")
    assert row.total == Money(Decimal("135.00"), "USD")


async def test_a_pending_order_has_no_prices(desk: Desk, line: Line) -> None:
    bare = {"orderItemId": "1", "quantityOrdered": 1, "product": {"sellerSku": "A1"}}
    raw = order("PENDING", orderItems=[bare])
    del raw["proceeds"]
    one = await only(desk, line, raw)
    assert (one.status, one.total) == (OrderStatus.PENDING, None)
    assert (one.lines[0].unit_price, one.lines[0].total) == (None, None)
    assert (one.lines[0].quantity, one.lines[0].quantity_shipped) == (1, 0)


@pytest.mark.parametrize(("word", "status"), STATUSES.items())
async def test_every_published_status_is_known(desk: Desk, line: Line, word: str, status: OrderStatus) -> None:
    one = await only(desk, line, order(word))
    assert (one.status, one.channel_status) == (status, word)


@pytest.mark.parametrize(
    ("word", "counts", "wanted", "shipped"),
    [
        ("PARTIALLY_SHIPPED", (2, 1), 3, 2),
        ("SHIPPED", (3, 0), 3, 3),
        ("CANCELLED", (0, 0), 0, 0),
        # A unit that was canceled is neither fulfilled nor unfulfilled.
        ("UNSHIPPED", (0, 2), 2, 0),
        ("UNSHIPPED", None, 3, 0),
        ("SHIPPED", None, 3, 3),
        ("CANCELLED", None, 0, 0),
    ],
)
async def test_units_wanted_and_shipped(
    desk: Desk, line: Line, word: str, counts: tuple[int, int] | None, wanted: int, shipped: int
) -> None:
    told = {"quantityFulfilled": counts[0], "quantityUnfulfilled": counts[1]} if counts else {}
    one = await only(desk, line, order(word, orderItems=[order_item(ordered=3, fulfillment=told)]))
    assert (one.lines[0].quantity, one.lines[0].quantity_shipped) == (wanted, shipped)


async def test_an_order_that_amazon_ships_is_the_channels(desk: Desk, line: Line) -> None:
    assert (await only(desk, line, order(party="AMAZON"))).fulfilled_by is FulfilledBy.CHANNEL


async def test_a_parcel_is_a_shipment(desk: Desk, line: Line) -> None:
    one = await only(desk, line, order("SHIPPED", packages=[package()]))
    assert one.status is OrderStatus.SHIPPED
    assert one.shipments == [
        Shipment(
            reference="701",
            carrier="DHL",
            tracking_number="00340434161094021501",
            shipped_at=datetime(2026, 11, 21, 8, 0, tzinfo=UTC),
            channel_confirmed_at=datetime(2026, 11, 21, 9, 0, tzinfo=UTC),
        )
    ]


async def test_a_parcel_that_never_left_is_none(desk: Desk, line: Line) -> None:
    canceled = package("1", packageStatus={"status": "CANCELLED"})
    waiting = package("2", packageStatus={"status": "PENDING"}, shipTime=None)
    assert (await only(desk, line, order(packages=[canceled, waiting]))).shipments == []


async def test_an_order_is_delivered_once_all_its_parcels_are(desk: Desk, line: Line) -> None:
    arrived = package("1", packageStatus={"status": "DELIVERED"})
    canceled = package("2", packageStatus={"status": "CANCELLED"})
    line.answers.extend(
        [page(order("SHIPPED", packages=[arrived, canceled])), page(order("SHIPPED", packages=[arrived, package("3")]))]
    )
    assert [(await pages(desk))[0].items[0].status for _ in range(2)] == [OrderStatus.DELIVERED, OrderStatus.SHIPPED]


def without(name: str) -> dict[str, Any]:
    raw = order()
    del raw[name]
    return raw


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (order("INVOICE_UNCONFIRMED"), "fulfillment.fulfillmentStatus: 'INVOICE_UNCONFIRMED' is not known"),
        (order(party="MOON"), "fulfillment.fulfilledBy: 'MOON' is not known"),
        (without("fulfillment"), "fulfillment: Field required"),
        (without("salesChannel"), "salesChannel: Field required"),
        (order(createdTime="2026-11-20T10:30:00"), "createdTime: Input should have timezone info"),
        (order(salesChannel={"channelName": "AMAZON", "marketplaceId": IDS["JP"]}), "A1VC38T7YXB528 is none of this"),
        (order(orderItems=[order_item(product={})]), "orderItems: 1 has no seller SKU"),
        (order(orderItems=[order_item(ordered=-1)]), "orderItems.0.quantityOrdered"),
        (
            order("PARTIALLY_SHIPPED", orderItems=[order_item(fulfillment={})]),
            "orderItems: 1 does not say how many units were shipped",
        ),
        (order(proceeds={"grandTotal": {"amount": "1,50", "currencyCode": "USD"}}), "proceeds.grandTotal.amount"),
        ("odd", "Input should be"),
    ],
)
async def test_what_is_not_understood_goes_to_quarantine(desk: Desk, line: Line, broken: Any, words: str) -> None:
    line.answers.append(page(broken, order(orderId="114-0000000-0000001")))
    (single,) = await pages(desk)
    assert [one.external_id for one in single.items] == ["114-0000000-0000001"]
    (entry,) = single.rejected
    assert (entry.channel, entry.what) == (desk.channel, "order")
    assert entry.key == (ID if isinstance(broken, dict) else "?")
    assert words in entry.reason


async def test_the_quarantine_keeps_nothing_of_the_buyer(desk: Desk, line: Line) -> None:
    private = order("MOON", buyer={"buyerName": "Mara Lindner"}, recipient={"deliveryAddress": {"name": "Mara"}})
    private["orderItems"][0]["fulfillment"]["packing"] = {"giftOption": {"giftMessage": "Love, Mara"}}
    private["orderItems"][0]["product"]["customization"] = {"customizedUrl": "https://mara.test"}
    private["orderItems"][0]["cancellation"] = {"cancellationRequest": {"cancelReason": "Mara changed her mind"}}
    line.answers.append(page(private))
    (single,) = await pages(desk)
    raw = single.rejected[0].raw
    assert "mara" not in raw.lower()
    assert json.loads(raw)["orderItems"][0]["product"]["sellerSku"] == "SKU-1"


async def test_orders_of_an_own_shop_that_amazon_ships_are_skipped(desk: Desk, line: Line) -> None:
    foreign = {"orderId": "S01", "salesChannel": {"channelName": "NON_AMAZON"}}
    line.answers.append(page(foreign, order()))
    (single,) = await pages(desk)
    assert [one.external_id for one in single.items] == [ID]
    assert single.rejected == []


async def test_orders_are_asked_page_by_page_without_buyers(desk: Desk, line: Line) -> None:
    line.answers.extend(
        [page(order(), token="t/1", before="2026-11-25T00:00:05Z"), page(before="2026-11-25T00:00:00Z")]
    )
    first, second = await pages(desk)
    assert first.until is None
    assert second.until == datetime(2026, 11, 25, tzinfo=UTC)
    queries = [parse_qs(urlsplit(str(call.url)).query) for call in line.calls]
    assert queries[0] == {
        "lastUpdatedAfter": ["2026-11-01T00:00:00.000Z"],
        "marketplaceIds": [IDS["US"]],
        "includedData": ["PROCEEDS,FULFILLMENT,PACKAGES,CANCELLATION"],
        "maxResultsPerPage": ["100"],
    }
    assert queries[1] == queries[0] | {"paginationToken": ["t/1"]}
    assert {"BUYER", "RECIPIENT"}.isdisjoint(INCLUDED)


async def test_an_answer_without_the_end_of_its_window_is_not_used(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.Response(200, json={"orders": []}))
    with pytest.raises(Transient, match="lastUpdatedBefore"):
        await pages(desk)


async def test_one_order(desk: Desk, line: Line) -> None:
    line.answers.append(found(order()))
    one = await desk.port.order(KEY, Ask())
    assert one.external_id == ID
    assert line.calls[0].url.path == f"/orders/2026-01-01/orders/{ID}"


async def test_an_order_that_is_not_there(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.Response(404, json={"errors": [{"code": "NotFound", "message": "None."}]}))
    with pytest.raises(NotFound):
        await desk.port.order(KEY, Ask())


async def test_an_own_shops_order_is_not_ours_to_read(desk: Desk, line: Line) -> None:
    line.answers.append(found(order(salesChannel={"channelName": "NON_AMAZON"})))
    with pytest.raises(NotFound):
        await desk.port.order(KEY, Ask())


async def test_one_order_that_is_not_understood(desk: Desk, line: Line) -> None:
    line.answers.append(found(order("MOON")))
    with pytest.raises(Transient, match="'MOON' is not known") as caught:
        await desk.port.order(KEY, Ask())
    assert caught.value.upstream_request_id == "req-5"


@pytest.mark.parametrize(
    ("carrier", "code"),
    [("DHL", "DHL"), ("FedEx", "FedEx"), ("Deutsche Post", "Deutsche Post"), ("Two Cousins Couriers", "Other")],
)
async def test_the_body_of_a_confirmation(desk: Desk, line: Line, carrier: str, code: str) -> None:
    line.answers.append(httpx.Response(204))
    shipped_at = datetime(2026, 11, 21, 8, 0, 0, 123_456, tzinfo=UTC)
    parcel = make_parcel(("1", 2), ("2", 1), carrier=carrier, shipped_at=shipped_at, service="Paket")
    await desk.port.confirm_shipment(KEY, parcel, Ask(), go)
    assert line.calls[0].url.path == f"/orders/v0/orders/{ID}/shipmentConfirmation"
    assert json.loads(line.calls[0].content) == {
        "marketplaceId": IDS["US"],
        "packageDetail": {
            "packageReferenceId": "701",
            "carrierCode": code,
            "carrierName": carrier,
            "shippingMethod": "Paket",
            "trackingNumber": "00340434161094021501",
            "shipDate": "2026-11-21T08:00:00.123Z",
            "orderItems": [{"orderItemId": "1", "quantity": 2}, {"orderItemId": "2", "quantity": 1}],
        },
    }


async def test_a_confirmation_needs_the_orders_marketplace(desk: Desk, line: Line) -> None:
    with pytest.raises(Invalid, match="marketplace"):
        await desk.port.confirm_shipment(OrderKey(ID, None), make_parcel(("1", 2)), Ask(), go)
    assert line.calls == []


@pytest.mark.parametrize(
    ("packages", "seen"),
    [
        ([], False),
        ([package("701", ("1", 2))], True),
        ([package("702", ("1", 2))], False),
        ([package("701", ("1", 1))], False),
        ([package("701", ("1", 1), ("1", 1))], True),
        ([package("701", ("1", 2), ("2", 1))], True),
        ([package("701", ("2", 1))], False),
        ([package("701", ("1", 2), trackingNumber="other")], False),
        ([package("701", ("1", 2), packageStatus={"status": "CANCELLED"})], False),
        ([package("9"), package("701", ("1", 2))], True),
    ],
)
async def test_a_parcel_is_seen_when_all_of_it_is(
    desk: Desk, line: Line, packages: list[dict[str, Any]], seen: bool
) -> None:
    line.answers.append(found({"packages": packages}))
    sighting = await desk.port.parcel_seen(KEY, make_parcel(("1", 2)), Ask())
    assert (sighting.found, sighting.upstream_request_id) == (seen, "req-5")
    assert parse_qs(urlsplit(str(line.calls[0].url)).query) == {"includedData": [",".join(INCLUDED)]}
    assert sighting.order is None, "this answer is no whole order, and the parcel can be told all the same"


async def test_parcels_that_cannot_be_read(desk: Desk, line: Line) -> None:
    line.answers.append(found({"packages": [package("701", ("1", -2))]}))
    with pytest.raises(Transient, match=f"{ID} cannot be read: order.packages.0.packageItems.0.quantity") as caught:
        await desk.port.parcel_seen(KEY, make_parcel(("1", 2)), Ask())
    assert caught.value.upstream_request_id == "req-5"
