"""Data Kiosk: queries over sandbox time, their documents, and numbers that are those of the orders."""

import json
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.amazon.kiosk_data import spans
from sandbox.amazon.visit import EU, Seller, error
from sandbox.visit import advance
from tests.adapters.amazon.notifications import notification_faults
from tests.contracts import spapi
from tests.sandbox.amazon.test_reports import notices, subscribed

PATH = "/dataKiosk/2023-11-15/queries"
DOCUMENTS = "/dataKiosk/2023-11-15/documents/"
US = "ATVPDKIKX0DER"
SALES = "unitsOrdered totalOrderItems orderedProductSales { amount currencyCode }"


def by_date(granularity: str, start: str, end: str, fields: str = SALES) -> str:
    window = f'aggregateBy: {granularity}, startDate: "{start}", endDate: "{end}", marketplaceIds: ["{US}"]'
    inner = f"salesAndTrafficByDate({window}) {{ startDate endDate marketplaceId sales {{ {fields} }} }}"
    return f"query {{ analytics_salesAndTraffic_2024_04_24 {{ {inner} }} }}"


def by_sku(start: str, end: str) -> str:
    window = f'aggregateBy: SKU, startDate: "{start}", endDate: "{end}", marketplaceIds: ["{US}"]'
    inner = f"salesAndTrafficByAsin({window}) {{ parentAsin childAsin sku sales {{ {SALES} }} }}"
    return f"query {{ analytics_salesAndTraffic_2024_04_24 {{ {inner} }} }}"


ECONOMICS = f"""query {{ analytics_economics_2024_03_15 {{
  economics(startDate: "2026-01-01", endDate: "2026-03-01", marketplaceIds: ["{US}"]) {{
    msku sales {{ netProductSales {{ amount }} netUnitsSold }}
    fees {{ feeTypeName charges {{ aggregatedDetail {{ totalAmount {{ amount }} }} }} }}
    netProceeds {{ total {{ amount }} }}
  }}
}} }}"""


async def create(seller: Seller, query: str, **more: str) -> httpx.Response:
    return await seller.client.post(PATH, headers=seller.headers, json={"query": query, **more})


async def ended(seller: Seller, query: str, **more: str) -> dict[str, Any]:
    created = await create(seller, query, **more)
    assert created.status_code == 202, created.text
    await advance(seller.client, 30)
    found: dict[str, Any] = (await seller.get(f"{PATH}/{created.json()['queryId']}")).json()
    return found


async def records(seller: Seller, query: dict[str, Any]) -> list[dict[str, Any]]:
    document = (await seller.get(DOCUMENTS + query["dataDocumentId"])).json()
    answer = await seller.client.get(document["documentUrl"])
    assert answer.headers["content-encoding"] == "gzip"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_query_waits_is_answered_and_adds_up_to_the_orders(client: httpx.AsyncClient, na: Seller) -> None:
    query_id = (await create(na, by_date("DAY", "2026-01-30", "2026-03-01"))).json()["queryId"]
    seen = []
    for seconds in (0, 10, 20):
        await advance(client, seconds)
        seen.append((await na.get(f"{PATH}/{query_id}")).json())
    assert [one["processingStatus"] for one in seen] == ["IN_QUEUE", "IN_PROGRESS", "DONE"]
    days = await records(na, seen[-1])
    assert [one["startDate"] for one in days[:2]] == ["2026-01-30", "2026-01-31"]
    assert len(days) == 31
    orders: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        asked = {"createdAfter": "2026-01-01T00:00:00Z", "includedData": "PROCEEDS,FULFILLMENT", **token}
        body = (await na.orders(**asked)).json()
        orders += body["orders"]
        if "pagination" not in body:
            break
        token = {"paginationToken": body["pagination"]["nextToken"]}
    sold = [
        order
        for order in orders
        if order["salesChannel"]["channelName"] == "AMAZON"
        and order["fulfillment"]["fulfillmentStatus"] not in ("PENDING", "PENDING_AVAILABILITY", "CANCELLED")
    ]
    items = [item for order in sold for item in order["orderItems"]]
    assert sum(one["sales"]["unitsOrdered"] for one in days) == sum(item["quantityOrdered"] for item in items) > 0
    assert sum(one["sales"]["totalOrderItems"] for one in days) == len(items)
    net = sum(float(item["proceeds"]["breakdowns"][0]["subtotal"]["amount"]) for item in items)
    assert sum(one["sales"]["orderedProductSales"]["amount"] for one in days) == pytest.approx(net)
    by_skus = await records(na, await ended(na, by_sku("2026-01-30", "2026-03-01")))
    assert sum(one["sales"]["unitsOrdered"] for one in by_skus) == sum(item["quantityOrdered"] for item in items)
    assert {item["product"]["sellerSku"] for item in items} <= {one["sku"] for one in by_skus}


async def test_net_proceeds_are_sales_without_fees(na: Seller) -> None:
    found = await records(na, await ended(na, ECONOMICS))
    assert any(one["fees"] for one in found)
    for one in found:
        details = [charge["aggregatedDetail"] for fee in one["fees"] for charge in fee["charges"]]
        fees = sum(detail["totalAmount"]["amount"] for detail in details)
        sales = one["sales"]["netProductSales"]["amount"]
        assert one["netProceeds"]["total"]["amount"] == pytest.approx(sales - fees)


@given(st.dates(date(2024, 1, 1), date(2026, 12, 31)), st.integers(0, 200), st.sampled_from(["DAY", "WEEK", "MONTH"]))
def test_only_whole_periods_are_told(start: date, days: int, granularity: str) -> None:
    end = start + timedelta(days=days)
    found = spans(start, end, granularity)
    for first, last in found:
        assert start <= first <= last <= end
        if granularity == "WEEK":
            assert (first.isoweekday(), last - first) == (7, timedelta(days=6))
        if granularity == "MONTH":
            assert (first.day, (last + timedelta(days=1)).day, first.month) == (1, 1, last.month)
    assert all(after[0] == before[1] + timedelta(days=1) for before, after in pairwise(found))
    if granularity == "DAY":
        assert len(found) == days + 1
    longest = {"DAY": 1, "WEEK": 7, "MONTH": 31}[granularity]
    told = sum((last - first).days + 1 for first, last in found)
    assert days + 1 - told <= 2 * (longest - 1)


async def test_what_fills_more_than_one_document_is_asked_for_by_further_queries(
    client: httpx.AsyncClient, na: Seller
) -> None:
    (await client.post("/_sandbox/kiosk", json={"records": 4})).raise_for_status()
    text = by_date("DAY", "2026-02-01", "2026-02-10")
    told: list[list[str]] = []
    more: dict[str, str] = {}
    while True:
        query = await ended(na, text, **more)
        told.append([one["startDate"][-2:] for one in await records(na, query)])
        if "pagination" not in query:
            break
        more = {"paginationToken": query["pagination"]["nextToken"]}
    assert told == [["01", "02", "03", "04"], ["05", "06", "07", "08"], ["09", "10"]]
    other = by_date("DAY", "2026-02-01", "2026-02-09")
    assert error(await create(na, other, **more)) == (400, "InvalidInput")


async def test_a_query_that_has_ended_is_told(client: httpx.AsyncClient, na: Seller) -> None:
    await subscribed(na, "DATA_KIOSK_QUERY_PROCESSING_FINISHED", "2023-11-15")
    done = await ended(na, by_sku("2026-02-01", "2026-03-01"))
    (told,) = await notices(client, 1)
    names = ("queryId", "query", "processingStatus", "dataDocumentId")
    assert told["payload"] == {"accountId": f"amzn1.merchant.o.{na.id}", **{name: done[name] for name in names}}
    if spapi.FOLDER is not None:
        assert notification_faults(told) == []


async def test_no_data_has_no_document_and_a_failure_says_why(na: Seller) -> None:
    nothing = await ended(na, by_sku("2025-01-01", "2025-01-02"))
    assert nothing["processingStatus"] == "DONE"
    assert "dataDocumentId" not in nothing
    failed = await ended(na, by_date("DAY", "2020-01-01", "2020-02-01"))
    assert failed["processingStatus"] == "FATAL"
    document = (await na.get(DOCUMENTS + failed["errorDocumentId"])).json()
    words = "The start date is more than two years ago."
    assert (await na.client.get(document["documentUrl"])).json() == {"errors": [{"message": words}]}


async def test_words_about_the_schema_are_no_records(na: Seller) -> None:
    for text in (
        "{ __typename }",
        "{ __schema { types { name } } }",
        "{ analytics_economics_2024_03_15 { __typename } }",
    ):
        told = await ended(na, text)
        assert (told["processingStatus"], told.get("dataDocumentId")) == ("DONE", None)


async def test_queries_that_are_none_are_refused(na: Seller) -> None:
    for text in ("query {", "query { sampleQuery { a } }", by_date("YEAR", "2026-01-01", "2026-01-02")):
        assert error(await create(na, text)) == (400, "InvalidInput")
    assert error(await create(na, by_date("DAY", "2026-01-01", "2026-01-02", "traffic"))) == (400, "InvalidInput")
    long = by_date("DAY", "2026-01-01", "2026-01-02", " ".join(f"a{n}: unitsOrdered" for n in range(600)))
    assert error(await create(na, long)) == (400, "InvalidInput")
    assert error(await na.client.post(PATH, headers=na.headers, json={"text": "a"})) == (400, "InvalidInput")


async def test_queries_are_listed_cancelled_and_the_accounts_own(client: httpx.AsyncClient, na: Seller) -> None:
    texts = [by_date("DAY", "2026-02-01", f"2026-02-0{day}") for day in (1, 2, 3)]
    ids = [(await create(na, text)).json()["queryId"] for text in texts]
    gone = [await client.delete(f"{PATH}/{ids[1]}", headers=na.headers) for _ in range(2)]
    assert [(one.status_code, one.content) for one in gone] == [(204, b"")] * 2
    await advance(client, 30)
    assert error(await client.delete(f"{PATH}/{ids[0]}", headers=na.headers)) == (400, "InvalidInput")
    first = (await na.get(PATH, pageSize=2)).json()
    token = first["pagination"]["nextToken"]
    second = (await na.get(PATH, pageSize=2, paginationToken=token)).json()
    told = [(one["queryId"], one["processingStatus"]) for one in (*first["queries"], *second["queries"])]
    assert told == [(ids[2], "DONE"), (ids[1], "CANCELLED"), (ids[0], "DONE")]
    assert "pagination" not in second
    assert error(await na.get(PATH, paginationToken=token, processingStatuses="DONE")) == (400, "InvalidInput")
    eu = await Seller.login(client, EU)
    assert (await eu.get(PATH)).json() == {"queries": []}
    assert error(await eu.get(f"{PATH}/{ids[0]}")) == (404, "NotFound")
    assert error(await eu.get(DOCUMENTS + first["queries"][0]["dataDocumentId"])) == (404, "NotFound")


@spapi.published
async def test_each_answer_is_one_that_amazon_publishes(client: httpx.AsyncClient, na: Seller) -> None:
    created = await create(na, by_date("DAY", "2026-02-01", "2026-02-03"))
    path = f"{PATH}/{created.json()['queryId']}"
    answers = {"createQuery": [created, await create(na, "query { a }")], "getQuery": [await na.get(path)]}
    await advance(client, 30)
    answers["getQuery"] += [await na.get(path), await na.get(f"{PATH}/1")]
    document_id = answers["getQuery"][1].json()["dataDocumentId"]
    answers["getDocument"] = [await na.get(DOCUMENTS + document_id), await na.get(f"{DOCUMENTS}none")]
    other = (await create(na, by_sku("2026-02-01", "2026-02-03"))).json()["queryId"]
    answers["getQueries"] = [await na.get(PATH, pageSize=1), await na.get(PATH, processingStatuses="GONE")]
    answers["cancelQuery"] = [
        await client.delete(one, headers=na.headers) for one in (f"{PATH}/{other}", path, f"{PATH}/1")
    ]
    for name, told in answers.items():
        for one in told:
            assert spapi.answer_faults(name, one) == [], (name, one.text)
    assert {one.status_code for told in answers.values() for one in told} == {200, 202, 204, 400, 404}
