"""Settlement files: balanced to the cent, chained, every order in one of them, each store in its own manner."""

import gzip
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.amazon import finances, seed, shipments
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.money_flow import account_flows, period
from sandbox.amazon.query import Query
from sandbox.amazon.reports import reports_of
from sandbox.amazon.settlement_files import COLUMNS
from sandbox.amazon.settlements import Settlement
from sandbox.amazon.state import Amazon
from sandbox.amazon.visit import FE, NA, Seller, confirmation, error, to_ship
from sandbox.control import Core
from sandbox.options import Options
from sandbox.visit import advance
from tests.sandbox.amazon.reads import leaves, related

PATH = "/reports/2021-06-30/reports"
KIND = "GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE_V2"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHARSETS = {"US": "utf-8", "DE": "cp1252", "FR": "utf-8-sig", "JP": "cp932"}
INSTANTS = {code: "%d.%m.%Y %H:%M:%S %Z" if code in ("DE", "FR") else "%Y-%m-%d %H:%M:%S %Z" for code in CHARSETS}
DATES = {"US": "%m/%d/%Y", "DE": "%d.%m.%Y", "FR": "%d.%m.%Y", "JP": "%Y/%m/%d"}
Line = dict[str, str]
DAY_S = 86_400
stores = st.sampled_from(list(CHARSETS))
# What Finances calls the amounts of the files.
LEAVES = {
    ("ItemPrice", "Principal"): "ProductCharges",
    ("ItemPrice", "Tax"): "Tax",
    ("ItemPrice", "Shipping"): "Shipping",
    ("Promotion", "Shipping"): "ShippingPromotion",
    ("ItemWithheldTax", "MarketplaceFacilitatorTax-Principal"): "MarketplaceFacilitatorTax",
    ("ItemFees", "Commission"): "Commission",
    ("ItemFees", "FBAPerUnitFulfillmentFee"): "FBAPerUnitFulfillmentFee",
    ("ItemFees", "RefundCommission"): "RefundCommission",
}


def world(number: int, orders: int = 120) -> Amazon:
    options = Options(seed=number, products=40, orders=orders, speed=0, start=START)
    amazon = Amazon(Core.of(options))
    seed.fill(amazon)
    return amazon


def closed(amazon: Amazon) -> list[Settlement]:
    reports = reports_of(amazon)
    reports.settle()
    return reports.settlements.closed


def lines(amazon: Amazon, settlement: Settlement) -> list[Line]:
    stored = amazon.documents.stored(settlement.document_id)
    assert stored is not None
    return table(stored.text.decode(CHARSETS[settlement.marketplace]))


def table(text: str) -> list[Line]:
    first, *rest = text.splitlines()
    return [dict(zip(first.split("\t"), line.split("\t"), strict=True)) for line in rest]


def amount(text: str, marketplace: str) -> Decimal:
    """Read by hand, in the manner of the store alone."""
    if marketplace in ("DE", "FR"):
        assert "." not in text
        return Decimal(text.replace(",", "."))
    assert "," not in text
    assert marketplace != "JP" or "." not in text
    return Decimal(text)


def instant(text: str, form: str) -> datetime:
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def chained(settlements: list[Settlement]) -> Iterator[tuple[Settlement, Settlement]]:
    for code in CHARSETS:
        mine = [one for one in settlements if one.marketplace == code]
        yield from pairwise(mine)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 80))
def test_every_file_adds_up_to_its_total_and_goes_on_where_the_last_one_ended(number: int, days: int) -> None:
    amazon = world(number)
    amazon.clock.advance(days * 86_400)
    settlements = closed(amazon)
    assert len(settlements) >= 8
    reserves = {}
    for settlement in settlements:
        code = settlement.marketplace
        summary, *details = lines(amazon, settlement)
        assert amount(summary["total-amount"], code) == settlement.total
        assert sum((amount(line["amount"], code) for line in details), Decimal(0)) == settlement.total
        assert {line["settlement-id"] for line in details} <= {settlement.id}
        carried = {line["amount-description"]: amount(line["amount"], code) for line in details}
        reserves[settlement.id] = (
            carried.get("Previous Reserve Amount Balance", Decimal(0)),
            -carried.get("Current Reserve Amount", Decimal(0)),
        )
    assert len(reserves) == len(settlements)
    pairs = list(chained(settlements))
    assert len(pairs) == len(settlements) - 4
    for before, after in pairs:
        assert after.start == before.end
        assert reserves[after.id][0] == reserves[before.id][1]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_what_was_sold_is_settled_once_its_time_has_come_and_only_once(number: int) -> None:
    amazon = world(number)
    first = closed(amazon)
    told = Counter(
        line["shipment-id"] for one in first for line in lines(amazon, one) if line["transaction-type"] == "Order"
    )
    due = [flow for account in amazon.accounts for flow in account_flows(amazon, account) if flow.kind == "SHIPMENT"]
    ends = {one.marketplace: one.end for one in first}
    assert {flow.reference for flow in due if flow.released_at < ends[flow.order.marketplace]} == set(told)
    amazon.clock.advance(60 * 86_400)
    where: dict[tuple[str, str], set[str]] = {}
    sums: Counter[str] = Counter()
    for settlement in closed(amazon):
        for line in lines(amazon, settlement):
            if line["order-id"]:
                where.setdefault((line["order-id"], line["shipment-id"] or line["adjustment-id"]), set()).add(
                    settlement.id
                )
                sums[line["order-id"]] += amount(line["amount"], settlement.marketplace)  # type: ignore[assignment]
    flows = [flow for account in amazon.accounts for flow in account_flows(amazon, account)]
    assert where.keys() == {(flow.order.id, flow.reference) for flow in flows}
    for flow in flows:
        # The very one that Finances names.
        named = period(flow.order.account, flow.order.marketplace, flow.released_at).id
        assert where[flow.order.id, flow.reference] == {named}
    shipped = {order.id for order in amazon.orders.values() if order.status == "SHIPPED"}
    assert shipped <= sums.keys()
    for order_id, total in sums.items():
        assert total == sum(flow.total for flow in flows if flow.order.id == order_id)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.tuples(st.sampled_from([1, 3, 3600, 5 * DAY_S]), stores), max_size=6))
def test_finances_and_the_files_tell_the_same_of_each_order_to_the_cent(
    number: int, steps: list[tuple[int, str]]
) -> None:
    """Whatever is confirmed, given back and closed in the meantime; by settlement, order, product and part."""
    amazon = world(number)
    reports = reports_of(amazon)
    for seconds, code in steps:
        change_something(amazon, code)
        amazon.clock.advance(seconds)
        reports.settle()
        with suppress(ValueError):  # it has only just begun
            reports.settlements.close_now(code)
    amazon.clock.advance(30 * DAY_S)
    in_files: Counter[tuple[str, ...]] = Counter()
    for one in closed(amazon):
        for line in lines(amazon, one):
            if line["order-id"]:
                leaf = LEAVES[line["amount-type"], line["amount-description"]]
                part = (line["settlement-id"], line["order-id"], line["sku"], leaf)
                in_files[part] += amount(line["amount"], one.marketplace)  # type: ignore[assignment]
    in_finances: Counter[tuple[str, ...]] = Counter()
    for one_told in told_by_finances(amazon):
        settlement, order_id = related(one_told, "SETTLEMENT_ID"), related(one_told, "ORDER_ID")
        if settlement and order_id:
            for item in one_told["items"]:
                for leaf, cents in leaves(item["breakdowns"]).items():
                    in_finances[settlement, order_id, item["contexts"][0]["sku"], leaf] += cents  # type: ignore[assignment]
    assert in_files == in_finances
    assert {amazon.orders[order_id].marketplace for _, order_id, *_ in in_files} <= set(CHARSETS)


def test_yen_are_whole_numbers_in_finances() -> None:
    amazon = world(3)
    amounts = [one["totalAmount"] for one in told_by_finances(amazon)]
    yen = {type(one["currencyAmount"]) for one in amounts if one["currencyCode"] == "JPY"}
    others = {type(one["currencyAmount"]) for one in amounts if one["currencyCode"] != "JPY"}
    assert (yen, others) == ({int}, {float})


def change_something(amazon: Amazon, code: str) -> None:
    """A parcel of one order of a store leaves, and a unit of another comes back."""
    mine = [order for order in amazon.orders.values() if order.marketplace == code]
    ready = [one for one in mine if one.status == "UNSHIPPED" and one.fixed is None]
    for order in ready[:1]:
        place, sent_at = MARKETPLACES[code].id, order.created_at.isoformat()
        detail = {"packageReferenceId": "7", "carrierCode": "UPS", "trackingNumber": "1Z", "shipDate": sent_at}
        items = [{"orderItemId": order.lines[0].id, "quantity": 1}]
        body = {"marketplaceId": place, "packageDetail": {**detail, "orderItems": items}}
        shipments.confirm(amazon, order.account, order.id, body)
    for order in [one for one in mine if one.status == "SHIPPED" and not one.refunds][:1]:
        finances.refund(amazon, {"order": order.id, "lines": [{"id": order.lines[0].id, "quantity": 1}]})


def told_by_finances(amazon: Amazon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for account in amazon.accounts:
        token = ""
        while True:
            asked = f"postedAfter={START - timedelta(days=60):%Y-%m-%dT%H:%M:%SZ}{token}"
            payload = finances.transactions(amazon, account, Query(asked, finances.PARAMETERS))["payload"]
            found += payload["transactions"]
            if "nextToken" not in payload:
                break
            token = f"&nextToken={quote(payload['nextToken'], safe='')}"
    return found


def test_each_store_has_its_own_manner_and_every_kind_of_line() -> None:
    amazon = world(7, orders=600)
    amazon.clock.advance(90 * 86_400)
    seen: dict[str, list[Line]] = {code: [] for code in CHARSETS}
    for settlement in closed(amazon):
        summary, *details = lines(amazon, settlement)
        code = settlement.marketplace
        ends = [instant(summary[f"settlement-{end}-date"], INSTANTS[code]) for end in ("start", "end")]
        assert ends == [settlement.start, settlement.end]
        for line in details:
            at = instant(line["posted-date-time"], INSTANTS[code])
            assert at.date() == instant(line["posted-date"], DATES[code]).date()
            assert settlement.start <= at <= settlement.end
        assert tuple(summary) == (*COLUMNS, "promotion-id") if code == "US" else COLUMNS
        assert {name for name, value in summary.items() if value} == set(COLUMNS[:6])
        seen[code] += details
    for code, told in seen.items():
        ids = ("order-id", "adjustment-id", "shipment-id")
        kinds = {tuple(bool(line[name]) for name in ids) for line in told}
        # An order's, a refund's, one of a parcel alone, one of an adjustment alone, and one of nothing at all.
        wanted = {(True, False, True), (False, False, True), (False, True, False), (False, False, False)}
        assert wanted <= kinds, code
        assert (True, True, False) in kinds or code == "JP"
        withheld = [line for line in told if line["amount-type"] == "ItemWithheldTax"]
        assert bool(withheld) == (code == "US")
    everything = [line for told in seen.values() for line in told]
    reversed_ = [line for line in everything if line["amount-description"] == "REVERSAL_REIMBURSEMENT"]
    assert reversed_
    paid = {
        line["adjustment-id"]: line["amount"] for line in everything if line["amount-description"] == "WAREHOUSE_DAMAGE"
    }
    assert {line["adjustment-id"]: line["amount"] for line in reversed_} == {
        line["adjustment-id"]: f"-{paid[line['adjustment-id']]}" for line in reversed_
    }
    descriptions = {line["amount-description"] for line in everything}
    assert {
        "月額登録料",
        "Lagergebühr",
        "Frais de stockage prépayés",
        "Storage Fee",
        "RefundCommission",
    } <= descriptions


async def settlement_reports(seller: Seller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await seller.get(PATH, reportTypes=KIND, pageSize=100)).json()["reports"]
    return found


async def test_settlements_are_found_and_never_asked_for(client: httpx.AsyncClient, na: Seller) -> None:
    reports = await settlement_reports(na)
    shown = (await client.get("/_sandbox/settlements")).json()["settlements"]
    assert [one["createdTime"] for one in reports] == [one["end"] for one in shown if one["marketplace"] == "US"][::-1]
    assert {one["processingStatus"] for one in reports} == {"DONE"}
    document = (await na.get(f"/reports/2021-06-30/documents/{reports[0]['reportDocumentId']}")).json()
    raw = await client.get(document["url"])
    summary, *details = table(gzip.decompress(raw.content).decode())
    assert sum(Decimal(line["amount"]) for line in details) == Decimal(summary["total-amount"])
    body = {"reportType": KIND, "marketplaceIds": ["ATVPDKIKX0DER"]}
    assert error(await client.post(PATH, headers=na.headers, json=body)) == (400, "InvalidInput")
    await advance(client, timedelta(days=14).total_seconds())
    assert len(await settlement_reports(await Seller.login(client, NA))) == len(reports) + 1


async def test_a_parcel_is_in_the_settlement_that_is_closed_after_it(client: httpx.AsyncClient, na: Seller) -> None:
    order = await to_ship(client)
    (await na.confirm(order["id"], confirmation(order))).raise_for_status()
    await advance(client, 60)

    async def close() -> tuple[dict[str, Any], list[Line]]:
        answer = await client.post("/_sandbox/settlements", json={"marketplace": "US"})
        assert answer.status_code == 200, answer.text
        newest = (await settlement_reports(await Seller.login(client, NA)))[0]
        document = await na.get(f"/reports/2021-06-30/documents/{newest['reportDocumentId']}")
        raw = await client.get(document.json()["url"])
        return answer.json(), table(gzip.decompress(raw.content).decode())

    first, told = await close()
    await advance(client, 7.5 * 86_400)
    na = await Seller.login(client, NA)
    second, later = await close()
    assert second["start"] == first["end"]
    assert second["settlementId"] != first["settlementId"]
    assert second["previousReserve"] == first["reserve"]
    of_both = [[line for line in lines_ if line["order-id"] == order["id"]] for lines_ in (told, later)]
    # Some orders are held back for a week; they come with the next one.
    assert sorted(map(bool, of_both)) == [False, True]
    (await client.get("/_sandbox/settlements")).raise_for_status()
    assert (await client.post("/_sandbox/settlements", json={"marketplace": "US"})).status_code == 400
    assert (await client.post("/_sandbox/settlements", json={"marketplace": "IT"})).status_code == 400


async def test_yen_have_no_decimals(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/_sandbox/settlements")).json()["settlements"]
    totals = [one["total"] for one in shown if one["marketplace"] == "JP"]
    assert len(totals) == len(await settlement_reports(await Seller.login(client, FE)))
    assert all("." not in total for total in totals)
