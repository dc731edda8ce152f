"""Reports: their life, their limits, their contents, and how they are found."""

import asyncio
import gzip
from datetime import timedelta
from typing import Any

import httpx
import pytest

from sandbox.amazon.report_rows import KINDS, LISTING_COLUMNS, ORDER_COLUMNS, STOCK_COLUMNS
from sandbox.amazon.return_rows import RETURN_COLUMNS
from sandbox.amazon.visit import EU, FE, Seller, error, form
from sandbox.visit import advance, effects, world
from tests.adapters.amazon.notifications import notification_faults
from tests.contracts import spapi

PATH = "/reports/2021-06-30/reports"
US, DE, FR, JP = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A13V1IB3VIYZZH", "A1VC38T7YXB528"
STOCK = "GET_FBA_MYI_UNSUPPRESSED_INVENTORY_DATA"
LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"
ORDERS = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
AFN, RESERVED = "GET_AFN_INVENTORY_DATA", "GET_RESERVED_INVENTORY_DATA"
RETURNS = "GET_FBA_FULFILLMENT_CUSTOMER_RETURNS_DATA"
SELLABLE = "SELLABLE"
DAY_S = 86_400
SETTLEMENTS = "GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE_V2"


async def create(seller: Seller, kind: str = STOCK, *places: str, **more: Any) -> httpx.Response:
    body = {"reportType": kind, "marketplaceIds": list(places) or [US], **more}
    return await seller.client.post(PATH, headers=seller.headers, json=body)


async def made(seller: Seller, kind: str, *places: str, **more: Any) -> dict[str, Any]:
    """The report as it ends."""
    created = await create(seller, kind, *places, **more)
    assert created.status_code == 202, created.text
    await advance(seller.client, 30)
    report: dict[str, Any] = (await seller.get(f"{PATH}/{created.json()['reportId']}")).json()
    return report


async def contents(seller: Seller, report: dict[str, Any]) -> bytes:
    document = (await seller.get(f"/reports/2021-06-30/documents/{report['reportDocumentId']}")).json()
    raw = (await seller.client.get(document["url"])).content
    return gzip.decompress(raw) if document.get("compressionAlgorithm") == "GZIP" else raw


def table(text: str) -> list[dict[str, str]]:
    first, *lines = text.splitlines()
    return [dict(zip(first.split("\t"), line.split("\t"), strict=True)) for line in lines]


async def test_a_report_waits_is_made_and_is_done(client: httpx.AsyncClient, na: Seller) -> None:
    report_id = (await create(na)).json()["reportId"]
    seen = []
    for seconds in (0, 10, 19, 1):
        await advance(client, seconds)
        seen.append((await na.get(f"{PATH}/{report_id}")).json())
    assert [one["processingStatus"] for one in seen] == ["IN_QUEUE", "IN_PROGRESS", "IN_PROGRESS", "DONE"]
    assert ["reportDocumentId" in one for one in seen] == [False, False, False, True]
    assert seen[-1]["processingEndTime"] == "2026-03-01T12:00:30.000Z"
    made_here = [one for one in await effects(client) if one["operation"] == "createReport"]
    assert [one["key"] for one in made_here] == [report_id]


async def test_the_stock_report_tells_what_the_inventory_api_tells(client: httpx.AsyncClient, na: Seller) -> None:
    rows = table((await contents(na, await made(na, STOCK))).decode())
    known = [sku for sku in (await world(client))["skus"] if sku["fulfilledBy"] == "AMAZON"]
    assert [row["sku"] for row in rows] == [sku["sku"] for sku in known]
    for row, sku in zip(rows, known, strict=True):
        pool = sku["pools"]["US"]
        inbound = sum(int(row[f"afn-inbound-{name}-quantity"]) for name in ("working", "shipped", "receiving"))
        assert int(row["afn-fulfillable-quantity"]) == pool["fulfillable"]
        assert int(row["afn-reserved-quantity"]) == pool["reserved"]
        assert int(row["afn-unsellable-quantity"]) == pool["unfulfillable"]
        assert int(row["afn-researching-quantity"]) == pool["researching"]
        assert inbound == pool["inbound"]
        assert row["your-price"] == sku["prices"]["US"]
    assert tuple(rows[0]) == STOCK_COLUMNS


async def test_the_listings_report_has_no_quantity_for_what_amazon_fulfills(
    client: httpx.AsyncClient, na: Seller
) -> None:
    rows = table((await contents(na, await made(na, LISTINGS))).decode())
    known = {sku["sku"]: sku for sku in (await world(client))["skus"]}
    assert [row["seller-sku"] for row in rows] == list(known)
    assert {row["quantity"] for row in rows if row["fulfillment-channel"] == "AMAZON_NA"} == {""}
    merchants = [row for row in rows if row["fulfillment-channel"] == "DEFAULT"]
    assert len(merchants) == 20
    for row in merchants:
        assert int(row["quantity"]) == known[row["seller-sku"]]["merchantQuantity"]["NA"]
        assert row["status"] == ("Active" if row["quantity"] != "0" else "Inactive")
    assert tuple(rows[0]) == LISTING_COLUMNS


async def test_the_orders_report_has_each_line_of_what_changed_in_its_range(na: Seller) -> None:
    span = {"dataStartTime": "2026-02-20T00:00:00Z", "dataEndTime": "2026-02-28T00:00:00Z"}
    rows = table((await contents(na, await made(na, ORDERS, **span))).decode())
    window = {"lastUpdatedAfter": span["dataStartTime"], "lastUpdatedBefore": span["dataEndTime"]}
    found = (await na.orders(**window, includedData="PROCEEDS")).json()["orders"]
    wanted = [(order["orderId"], item["orderItemId"]) for order in found for item in order["orderItems"]]
    assert [row["amazon-order-id"] for row in rows] == [order_id for order_id, _ in wanted]
    items = [item for order in found for item in order["orderItems"]]
    for row, item in zip(rows, items, strict=True):
        assert (row["sku"], int(row["quantity"])) == (item["product"]["sellerSku"], item["quantityOrdered"])
        net = next((part["subtotal"]["amount"] for part in item.get("proceeds", {}).get("breakdowns", [])), "")
        assert row["item-price"] == net
    assert len(rows) > 20
    assert tuple(rows[0]) == ORDER_COLUMNS


@pytest.mark.parametrize(
    ("account", "place", "charset", "mark"),
    [(EU, DE, "cp1252", b""), (EU, FR, "utf-8-sig", b"\xef\xbb\xbf"), (FE, JP, "cp932", b"")],
)
async def test_each_store_writes_in_its_own_charset(
    client: httpx.AsyncClient, account: str, place: str, charset: str, mark: bytes
) -> None:
    raw = await contents(seller := await Seller.login(client, account), await made(seller, LISTINGS, place))
    assert raw.startswith(mark + b"item-name\t")
    assert not raw.isascii()
    titles = {row["item-name"] for row in table(raw.decode(charset))}
    told = await seller.listings({DE: "DE", FR: "FR", JP: "JP"}[place], pageSize=20)
    assert {one["summaries"][0]["itemName"] for one in told.json()["items"]} <= titles


async def test_stock_asked_for_again_within_half_an_hour_is_cancelled(client: httpx.AsyncClient, na: Seller) -> None:
    assert (await made(na, STOCK))["processingStatus"] == "DONE"
    assert (await made(na, STOCK))["processingStatus"] == "CANCELLED"
    assert (await made(na, LISTINGS))["processingStatus"] == "DONE"
    assert (await made(na, LISTINGS))["processingStatus"] == "DONE"
    await advance(client, 1800 - 120)
    assert (await made(na, STOCK))["processingStatus"] == "DONE"
    assert KINDS[STOCK].interval_s == 1800


async def returned(client: httpx.AsyncClient, seller: Seller) -> tuple[str, str]:
    """(order, SKU) of which two units came back to Amazon just now."""
    sku = next(one["sku"] for one in (await world(client))["skus"] if one["fulfilledBy"] == "AMAZON")
    order = {"marketplace": "US", "fulfilledBy": "AMAZON", "lines": [{"sku": sku, "quantity": 3}]}
    (id,) = (await client.post("/_sandbox/state", json={"orders": [order]})).json()["orders"]
    (await client.post("/_sandbox/orders", json={"id": id, "status": "SHIPPED"})).raise_for_status()
    (item,) = (await seller.order(id)).json()["order"]["orderItems"]
    refund = {"order": id, "lines": [{"id": item["orderItemId"], "quantity": 2}]}
    (await client.post("/_sandbox/refunds", json=refund)).raise_for_status()
    return id, sku


SPAN = {"dataStartTime": "2026-03-01T00:00:00Z", "dataEndTime": "2026-03-03T00:00:00Z"}


async def test_what_came_back_to_amazon_is_told_up_to_the_last_midnight(client: httpx.AsyncClient, na: Seller) -> None:
    id, sku = await returned(client, na)
    assert (await made(na, RETURNS, **SPAN))["processingStatus"] == "CANCELLED"
    await advance(client, DAY_S / 2)
    na = await Seller.login(client)
    rows = table((await contents(na, await made(na, RETURNS, **SPAN))).decode())
    assert [(row["sku"], row["quantity"]) for row in rows if row["order-id"] == id] == [(sku, "2")]
    assert tuple(rows[0]) == RETURN_COLUMNS
    assert {row["customer-comments"] for row in rows} == {""}


async def test_whole_days_are_told_once_in_four_hours(client: httpx.AsyncClient, na: Seller) -> None:
    await returned(client, na)
    await advance(client, DAY_S / 2)
    na = await Seller.login(client)
    assert (await made(na, RETURNS, **SPAN))["processingStatus"] == "DONE"
    await advance(client, 1800)
    assert (await made(na, RETURNS, **SPAN))["processingStatus"] == "CANCELLED"
    # Four hours after it was asked for, less the second in which the next one is asked for.
    await advance(client, 4 * 3600 - 1860 - 1)
    na = await Seller.login(client)
    early = await create(na, RETURNS, **SPAN)
    await advance(client, 1)
    late = await create(na, RETURNS, **SPAN)
    await advance(client, 30)
    ids = [one.json()["reportId"] for one in (early, late)]
    assert [(await na.get(f"{PATH}/{id}")).json()["processingStatus"] for id in ids] == ["CANCELLED", "DONE"]


async def test_what_can_be_sold_and_what_is_reserved_agree_with_the_pools(
    client: httpx.AsyncClient, na: Seller
) -> None:
    known = {sku["sku"]: sku["pools"]["US"] for sku in (await world(client))["skus"] if sku["fulfilledBy"] == "AMAZON"}
    held = table((await contents(na, await made(na, AFN))).decode())
    sellable = {row["seller-sku"]: int(row["Quantity Available"]) for row in held if SELLABLE in row.values()}
    assert sellable == {sku: pool["fulfillable"] for sku, pool in known.items()}
    broken = {row["seller-sku"]: int(row["Quantity Available"]) for row in held if SELLABLE not in row.values()}
    assert broken == {sku: pool["unfulfillable"] for sku, pool in known.items() if pool["unfulfillable"]}
    reserved = table((await contents(na, await made(na, RESERVED))).decode())
    reasons = ("reserved_customerorders", "reserved_fc-transfers", "reserved_fc-processing")
    assert all(int(row["reserved_qty"]) == sum(int(row[name]) for name in reasons) for row in reserved)
    told = {row["sku"]: int(row["reserved_qty"]) for row in reserved}
    assert told == {sku: pool["reserved"] for sku, pool in known.items() if pool["reserved"]}


async def test_no_data_is_cancelled_and_too_long_a_range_fails_with_its_reason(na: Seller) -> None:
    long_ago = {"dataStartTime": "2025-01-01T00:00:00Z", "dataEndTime": "2025-01-31T00:00:00Z"}
    assert (await made(na, ORDERS, **long_ago))["processingStatus"] == "CANCELLED"
    report = await made(na, ORDERS, dataStartTime="2026-01-01T00:00:00Z")
    assert report["processingStatus"] == "FATAL"
    assert await contents(na, report) == b"The date range is longer than 30 days."


async def test_only_what_waits_can_be_cancelled(client: httpx.AsyncClient, na: Seller) -> None:
    waiting, running = [(await create(na, LISTINGS)).json()["reportId"] for _ in range(2)]
    gone = await client.delete(f"{PATH}/{waiting}", headers=na.headers)
    assert (gone.status_code, gone.content) == (200, b"")
    await advance(client, 10)
    assert error(await client.delete(f"{PATH}/{running}", headers=na.headers)) == (400, "400")
    await advance(client, 20)
    told = [(await na.get(f"{PATH}/{one}")).json()["processingStatus"] for one in (waiting, running)]
    assert told == ["CANCELLED", "DONE"]


async def test_reports_end_on_demand(client: httpx.AsyncClient, na: Seller) -> None:
    fate = {"reportType": LISTINGS, "status": "FATAL", "reason": "Out of order."}
    (await client.post("/_sandbox/reports", json={"next": [fate]})).raise_for_status()
    report = await made(na, LISTINGS)
    assert (report["processingStatus"], await contents(na, report)) == ("FATAL", b"Out of order.")
    report_id = (await create(na, LISTINGS)).json()["reportId"]
    finish = {"finish": {"reportId": report_id, "status": "DONE"}}
    (await client.post("/_sandbox/reports", json=finish)).raise_for_status()
    assert (await na.get(f"{PATH}/{report_id}")).json()["processingStatus"] == "DONE"
    assert (await client.post("/_sandbox/reports", json=finish)).status_code == 400
    (await client.post("/_sandbox/reports", json={"queueSeconds": 0, "progressSeconds": 0})).raise_for_status()
    report_id = (await create(na, LISTINGS)).json()["reportId"]
    assert (await na.get(f"{PATH}/{report_id}")).json()["processingStatus"] == "DONE"


async def test_reports_are_found_newest_first_page_by_page(client: httpx.AsyncClient, na: Seller) -> None:
    await client.post("/_sandbox/plans", json={"getReports": {"rate": 100, "burst": 100}})
    made_ids = []
    for _ in range(5):
        made_ids.append((await create(na, LISTINGS)).json()["reportId"])
        await advance(client, 60)
    await create(na, STOCK)
    body = (await na.get(PATH, reportTypes=LISTINGS, pageSize=2)).json()
    found = [one["reportId"] for one in body["reports"]]
    while token := body.get("nextToken"):
        assert error(await na.get(PATH, nextToken=token, pageSize=2)) == (400, "400")
        body = (await na.get(PATH, nextToken=token)).json()
        found += [one["reportId"] for one in body["reports"]]
    assert found == made_ids[::-1]
    newer = await na.get(PATH, reportTypes=LISTINGS, createdSince="2026-03-01T12:02:00Z", processingStatuses="DONE")
    assert [one["reportId"] for one in newer.json()["reports"]] == made_ids[:1:-1]
    eu = await Seller.login(client, EU)
    assert (await eu.get(PATH, reportTypes=LISTINGS)).json() == {"reports": []}
    assert error(await eu.get(PATH, nextToken="bm9uc2Vuc2U=")) == (400, "400")
    assert error(await na.get(PATH)) == (400, "400")


async def test_a_report_and_its_document_are_the_accounts_own_and_gone_after_ninety_days(
    client: httpx.AsyncClient, na: Seller
) -> None:
    report = await made(na, LISTINGS)
    eu = await Seller.login(client, EU)
    document = f"/reports/2021-06-30/documents/{report['reportDocumentId']}"
    assert error(await eu.get(f"{PATH}/{report['reportId']}")) == (404, "NotFound")
    assert error(await eu.get(document)) == (404, "NotFound")
    assert (await na.get(document)).status_code == 200
    await advance(client, timedelta(days=91).total_seconds())
    later = await Seller.login(client)
    assert error(await later.get(f"{PATH}/{report['reportId']}")) == (404, "NotFound")
    assert (await later.get(PATH, reportTypes=LISTINGS)).json() == {"reports": []}


async def subscribed(seller: Seller, kind: str, version: str) -> None:
    """The seller is told of `kind`; what is sent stays here to be fetched."""
    client = seller.client
    grant = form("", grant_type="client_credentials", scope="sellingpartnerapi::notifications")
    token = (await client.post("/auth/o2/token", data=grant)).json()["access_token"]
    body = {"name": "acorn", "resourceSpecification": {"sqs": {"arn": "arn:aws:sqs:us-east-1:444455556666:acorn"}}}
    made = await client.post("/notifications/v1/destinations", headers={"x-amz-access-token": token}, json=body)
    wanted = {"payloadVersion": version, "destinationId": made.json()["payload"]["destinationId"]}
    path = f"/notifications/v1/subscriptions/{kind}"
    (await client.post(path, headers=seller.headers, json=wanted)).raise_for_status()
    (await client.post("/_sandbox/notifications", json={"held": True})).raise_for_status()


async def notices(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    """What was sent, once there are `count`."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            await asyncio.sleep(0.01)
            found += (await client.get("/_sandbox/notifications/held")).json()["notifications"]
    return found


async def test_a_report_that_has_ended_is_told(client: httpx.AsyncClient, na: Seller) -> None:
    await subscribed(na, "REPORT_PROCESSING_FINISHED", "2020-09-04")
    done, cancelled = await made(na, LISTINGS), (await create(na, ORDERS)).json()["reportId"]
    (await client.delete(f"{PATH}/{cancelled}", headers=na.headers)).raise_for_status()
    told = await notices(client, 2)
    reports = [one["payload"]["reportProcessingFinishedNotification"] for one in told]
    assert [(one["reportId"], one["processingStatus"], one.get("reportDocumentId")) for one in reports] == [
        (done["reportId"], "DONE", done["reportDocumentId"]),
        (cancelled, "CANCELLED", None),
    ]
    if spapi.FOLDER is not None:
        assert [notification_faults(one) for one in told] == [[], []]


async def test_what_cannot_be_asked_for_is_refused(client: httpx.AsyncClient, na: Seller) -> None:
    refused = await create(na, SETTLEMENTS)
    assert error(refused) == (400, "InvalidInput")
    words = "Request for report type 1118 is not allowed at this time"
    assert refused.json()["errors"][0]["message"] == words
    assert error(await create(na, "GET_NOTHING")) == (400, "400")
    assert error(await create(na, STOCK, "NOWHERE")) == (400, "400")
    assert error(await create(na, STOCK, DE)) == (403, "Unauthorized")
    assert error(await create(na, STOCK, dataStartTime="yesterday")) == (400, "400")
    assert error(await create(na, STOCK, days=3)) == (400, "400")
    assert error(await create(na, STOCK, reportType=[])) == (400, "400")
    assert error(await create(na, STOCK, marketplaceIds=[[US]])) == (400, "400")
    assert [one for one in await effects(client) if one["operation"] == "createReport"] == []


@spapi.published
async def test_each_answer_is_one_that_amazon_publishes(client: httpx.AsyncClient, na: Seller) -> None:
    created = await create(na, LISTINGS, dataStartTime="2026-02-01T00:00:00Z")
    report_id = created.json()["reportId"]
    answers = {"createReport": [created, await create(na, "NONE"), await create(na, SETTLEMENTS)]}
    answers["getReport"] = [await na.get(f"{PATH}/{report_id}"), await na.get(f"{PATH}/1")]
    second = (await create(na, ORDERS)).json()["reportId"]
    answers["cancelReport"] = [await client.delete(f"{PATH}/{second}", headers=na.headers) for _ in range(2)]
    await advance(client, 30)
    answers["getReport"].append(await na.get(f"{PATH}/{report_id}"))
    answers["getReports"] = [
        await na.get(PATH, reportTypes=f"{LISTINGS},{SETTLEMENTS}", pageSize=1),
        await na.get(PATH, pageSize=1),
    ]
    document_id = answers["getReport"][-1].json()["reportDocumentId"]
    documents = "/reports/2021-06-30/documents/"
    answers["getReportDocument"] = [await na.get(documents + document_id), await na.get(documents + "none")]
    for name, told in answers.items():
        for one in told:
            assert spapi.answer_faults(name, one) == [], (name, one.text)
            assert spapi.request_faults(one.request) == [] or one.status_code >= 400, (name, one.request.url)
    assert {one.status_code for told in answers.values() for one in told} == {200, 202, 400, 404}


async def test_what_never_comes_back_is_in_no_report_of_returns_and_is_paid_for(
    client: httpx.AsyncClient, na: Seller
) -> None:
    id, sku = await returned(client, na)
    (item,) = (await na.order(id)).json()["order"]["orderItems"]
    lost = {"order": id, "lines": [{"id": item["orderItemId"], "quantity": 1}], "condition": None}
    (await client.post("/_sandbox/refunds", json=lost)).raise_for_status()
    paid = {"order": id, "line": item["orderItemId"], "quantity": 1, "reason": "CustomerReturn"}
    (await client.post("/_sandbox/reimbursements", json=paid)).raise_for_status()
    assert (await client.post("/_sandbox/reimbursements", json=paid | {"quantity": 9})).status_code == 400
    assert (await client.post("/_sandbox/refunds", json=lost | {"condition": "EATEN"})).status_code == 400
    await advance(client, DAY_S / 2)
    na = await Seller.login(client)
    rows = table((await contents(na, await made(na, RETURNS, **SPAN))).decode())
    found = [(row["quantity"], row["detailed-disposition"]) for row in rows if row["order-id"] == id]
    assert found == [("2", "SELLABLE")]
    rows = table((await contents(na, await made(na, "GET_FBA_REIMBURSEMENTS_DATA", **SPAN))).decode())
    assert [(row["amazon-order-id"], row["sku"], row["quantity-reimbursed-total"]) for row in rows] == [(id, sku, "1")]
