"""Orders out of a report: sketches of what the API tells in full."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.amazon.order_reports import LONGEST, NEEDED, TYPE
from adapters.order_paths import OrderDays, OrderPaths, OrdersToShip
from adapters.port import OrderKey, Page
from domain.budget import Ask, Priority
from domain.order import SHIPPABLE, Order, OrderStatus
from domain.person import Destination, Recipient
from domain.product import FulfilledBy
from domain.route import Way
from tests.adapters.amazon.bench import Desk, Line, Sandbox
from tests.adapters.amazon.test_inventory_report import file, made, report

OpenDesk = Callable[..., Desk]
SINCE = datetime.now(UTC) - timedelta(days=3)
ID = "114-9876543-1234567"


def row(sku: str = "A1", **changes: str) -> str:
    cells = {
        "amazon-order-id": ID,
        "purchase-date": "2026-11-20T10:30:00+00:00",
        "last-updated-date": "2026-11-20T12:00:00+01:00",
        "order-status": "Unshipped",
        "fulfillment-channel": "Merchant",
        "sales-channel": "Amazon.com",
        "ship-service-level": "Standard",
        "product-name": f"Thing {sku}",
        "sku": sku,
        "item-status": "Unshipped",
        "quantity": "2",
        "ship-country": "US",
        "ship-postal-code": "97205-1234",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    return "\t".join(cells[name] for name in NEEDED)


def told(*rows: str) -> httpx.Response:
    return file(gzip.compress("\n".join(["\t".join(NEEDED), *rows, ""]).encode()))


async def swept(desk: Desk, since: datetime = SINCE) -> list[Page[Order]]:
    assert isinstance(desk.port, OrderPaths)
    return [page async for page in desk.port.order_pages_by(Way.REPORT, since, Ask(Priority.BACKGROUND))]


def items(pages: Sequence[Page[Order]]) -> list[Order]:
    return [one for page in pages for one in page.items]


async def test_a_report_tells_roughly_where_it_goes_as_every_path_does(desk: Desk, line: Line) -> None:
    line.answers.extend([*made(), told(row(ship_country="pl", ship_postal_code="00-950"))])
    (one,) = items(await swept(desk))
    assert one.destination == Recipient("PL", postal_code="00-950").destination == Destination("PL", "009")


async def test_a_report_tells_sketches_whose_lines_are_skus(desk: Desk, line: Line) -> None:
    line.answers.extend([*made(), told(row("A1"), row("B2", quantity="1", item_status="Shipped"), row("A1"))])
    pages = await swept(desk)
    (one,) = items(pages)
    assert not one.whole
    assert (one.external_id, one.marketplace, one.fulfilled_by) == (ID, "US", FulfilledBy.MERCHANT)
    assert (one.status, one.channel_status) == (OrderStatus.PARTIALLY_SHIPPED, "Unshipped")
    assert one.updated_at == datetime(2026, 11, 20, 11, tzinfo=UTC)
    assert one.destination == Destination("US", "972")
    found = [(each.external_id, each.channel_sku, each.quantity, each.quantity_shipped) for each in one.lines]
    assert found == [("sku=A1", "A1", 4, 0), ("sku=B2", "B2", 1, 1)]
    # What nobody says whether its tax is in it is no money of ours.
    assert (one.total, one.lines[0].unit_price) == (None, None)
    assert [page.until is not None for page in pages] == [False] * (len(pages) - 1) + [True]
    assert line.calls[0].url.path == "/reports/2021-06-30/reports"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"order_status": "Hovering"}, "order-status: 'Hovering' is not known"),
        ({"fulfillment_channel": "Robot"}, "fulfillment-channel: 'Robot' is not known"),
        ({"sales_channel": "Amazon.de"}, "sales-channel: 'Amazon.de' is none of this channel's"),
        ({"quantity": "two"}, "quantity is no count"),
        ({"purchase_date": "yesterday"}, "purchase-date is no instant"),
        ({"last_updated_date": "2026-11-20T12:00:00"}, "last-updated-date has no time zone"),
        ({"sku": " "}, "a row has no SKU"),
    ],
)
async def test_what_is_not_understood_hides_no_other_and_nobody_s_address_is_kept(
    desk: Desk, line: Line, wrong: dict[str, str], reason: str
) -> None:
    line.answers.extend(
        [*made(), told(row(**({"sku": "A1"} | wrong)), row("B2", amazon_order_id="114-1"), "odd\twidth")]
    )
    pages = await swept(desk)
    assert [one.external_id for one in items(pages)] == ["114-1"]
    first, second = (one for page in pages for one in page.rejected)
    assert {(first.key, first.reason), (second.key, second.reason)} == {
        (ID, reason),
        (f"{TYPE} line 4", "line 4 has 2 cells where the first line has 13"),
    }
    assert "97205" not in first.raw + second.raw


async def test_rows_of_one_order_that_lie_apart_are_not_taken_for_two_orders(desk: Desk, line: Line) -> None:
    line.answers.extend([*made(), told(row("A1"), row("B2", amazon_order_id="114-1"), row("C3"))])
    pages = await swept(desk)
    assert [one.external_id for one in items(pages)] == [ID, "114-1"]
    assert [one.reason for page in pages for one in page.rejected] == ["its rows do not stand together"]


async def test_orders_of_own_shops_that_amazon_only_ships_are_none_of_the_channel_s(desk: Desk, line: Line) -> None:
    line.answers.extend([*made(), told(row("A1", sales_channel="Non-Amazon US"), row("B2", amazon_order_id="114-1"))])
    assert [one.external_id for one in items(await swept(desk))] == ["114-1"]


@pytest.mark.parametrize("ended", ["CANCELLED", "FATAL"])
async def test_where_there_is_no_report_the_pages_are_read(desk: Desk, line: Line, ended: str) -> None:
    empty = httpx.Response(200, json={"orders": [], "lastUpdatedBefore": "2026-11-28T10:00:00Z"})
    line.answers.extend([httpx.Response(202, json={"reportId": "R1"}), report(ended), empty])
    pages = await swept(desk)
    assert items(pages) == []
    assert pages[-1].until == datetime(2026, 11, 28, 10, tzinfo=UTC)


async def test_a_long_time_is_asked_for_in_parts_that_amazon_makes(sandbox: Sandbox, open_desk: OpenDesk) -> None:
    await sandbox.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    desk = open_desk(sandbox)
    since = await sandbox.mark()
    pages = await swept(desk, datetime.now(UTC) - LONGEST - timedelta(days=1))
    assert len([page for page in pages if page.until is not None]) == 2
    calls = [call["operation"] for call in await sandbox.calls(since)]
    assert calls.count("createReport") == 2
    assert "searchOrders" not in calls


def sketched(whole: Order) -> dict[str, Any]:
    """What a report can tell of an order."""
    units: dict[str, int] = {}
    for each in whole.lines:
        units[each.channel_sku] = units.get(each.channel_sku, 0) + each.quantity
    return {
        "status": whole.status,
        "party": whole.fulfilled_by,
        "marketplace": whole.marketplace,
        "placed_at": whole.placed_at.replace(microsecond=0),
        "updated_at": whole.updated_at.replace(microsecond=0),
        "units": units,
    }


@pytest.mark.parametrize("region", ["na", "eu", "fe"])
async def test_all_paths_tell_the_same_of_every_store_as_far_as_a_report_goes(
    sandbox: Sandbox, open_desk: OpenDesk, region: str
) -> None:
    await sandbox.generous("searchOrders", "getOrder", "createReport", "getReport", "getReportDocument")
    await sandbox.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    desk = open_desk(sandbox, region)
    since, ask = datetime.now(UTC) - timedelta(days=29), Ask(Priority.BACKGROUND)
    assert isinstance(desk.port, OrderDays)
    by_pages = {one.id: one for one in items([page async for page in desk.port.order_pages(since, ask)])}
    by_report = {one.id: one for one in items(await swept(desk, since))}
    # What other tests have just changed is told by the one that is asked later.
    settled = {id for id, one in by_pages.items() if one.updated_at < datetime.now(UTC) - timedelta(minutes=30)}
    assert settled <= by_report.keys()
    assert len(settled) > 40
    for id, one in by_report.items():
        if id not in settled:
            continue
        whole = by_pages[id]
        if whole.status is OrderStatus.PARTIALLY_SHIPPED:  # a report does not tell it of a part of a line
            whole = replace(whole, status=one.status)
        assert sketched(one) == sketched(whole)
        assert (whole.whole, one.whole) == (True, False)
    last = max(by_pages.values(), key=lambda one: one.updated_at)
    alone = await desk.port.order(OrderKey(last.external_id, last.marketplace), ask)
    assert alone == last
    start = max(by_pages.values(), key=lambda one: one.placed_at).placed_at - timedelta(days=2)
    end = start + timedelta(days=1)
    placed = items([page async for page in desk.port.orders_placed(start, end, ask)])
    assert {one.id for one in placed} == {id for id, one in by_pages.items() if start <= one.placed_at < end}
    assert isinstance(desk.port, OrdersToShip)
    to_ship = {one.id: one for one in items([page async for page in desk.port.orders_to_ship(since, ask)])}
    ours = {id for id in settled if by_pages[id].fulfilled_by is FulfilledBy.MERCHANT}
    assert to_ship.keys() & settled == {id for id in ours if by_pages[id].status in SHIPPABLE}
    assert len(ours) > len(to_ship.keys() & settled) > 0
    assert all(to_ship[id] == by_pages[id] for id in to_ship.keys() & settled)
