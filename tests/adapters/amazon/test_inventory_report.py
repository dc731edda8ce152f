"""FBA stock out of a report, from written answers."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from adapters.amazon import inventory_report
from adapters.amazon.inventory_report import EXPECTED_S, NEEDED, SEASON
from adapters.port import Page
from domain.budget import Ask, Priority
from domain.errors import Unauthorized
from domain.route import Way, choose
from domain.stock import PoolUnits, Reading
from tests.adapters.amazon.bench import Desk, Line, make_pool
from tests.adapters.amazon.test_inventory import page, summary

HEADER = (*NEEDED, "afn-listing-exists", "afn-researching-quantity", "afn-future-supply-buyable")
URL = "https://store.test/report?signed=1"


def row(named: str, **changes: str) -> str:
    """5 can be sold, 3 are promised, 7 come, 2 are broken."""
    cells = {
        "sku": named,
        "fnsku": "X001",
        "afn-fulfillable-quantity": "5",
        "afn-unsellable-quantity": "2",
        "afn-reserved-quantity": "3",
        "afn-warehouse-quantity": "10",
        "afn-total-quantity": "17",
        "afn-inbound-working-quantity": "1",
        "afn-inbound-shipped-quantity": "2",
        "afn-inbound-receiving-quantity": "4",
        "afn-listing-exists": "Yes",
        "afn-researching-quantity": "8",
        "afn-future-supply-buyable": "99",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    return "\t".join(cells[name] for name in HEADER)


def report(status: str, **more: Any) -> httpx.Response:
    body = {
        "reportId": "R1",
        "reportType": "GET_FBA_MYI_UNSUPPRESSED_INVENTORY_DATA",
        "processingStatus": status,
        "createdTime": "2026-11-28T10:00:00Z",
        **more,
    }
    return httpx.Response(200, json=body)


def made() -> list[httpx.Response]:
    """The way to a document."""
    return [
        httpx.Response(202, json={"reportId": "R1"}),
        report("DONE", reportDocumentId="D1", processingEndTime="2026-11-28T10:02:00Z"),
        httpx.Response(200, json={"reportDocumentId": "D1", "url": URL, "compressionAlgorithm": "GZIP"}),
    ]


class Coming(httpx.AsyncByteStream):
    """A file as the network brings it."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content


def file(content: bytes) -> httpx.Response:
    return httpx.Response(200, stream=Coming(content), headers={"content-type": "text/plain; charset=UTF-8"})


def packed(*rows: str) -> bytes:
    return gzip.compress("\r\n".join(["\t".join(HEADER), *rows, ""]).encode())


def told(*rows: str) -> httpx.Response:
    return file(packed(*rows))


async def sweep(desk: Desk) -> list[Page[Reading]]:
    pool = make_pool(desk.config)
    return [page async for page in desk.port.stock_pages([pool], Ask(Priority.BACKGROUND), Way.REPORT)]


def skus(pages: Sequence[Page[Reading]]) -> list[str]:
    return [one.channel_sku for page in pages for one in page.items]


async def test_a_report_tells_the_same_reading_as_the_api_with_what_it_can_tell_apart(desk: Desk, line: Line) -> None:
    line.answers.extend([*made(), told(row("A1"), row("B2", fnsku=""))])
    pages = await sweep(desk)
    first, second = (one for page in pages for one in page.items)
    pool = make_pool(desk.config)
    assert (first.location, first.channel, first.channel_sku) == (pool.code, desk.channel, "A1")
    assert (first.on_hand, first.reserved, first.inbound) == (8, 3, 7)
    assert first.units == PoolUnits("X001", 5, 1, 2, 4, None, None, None, 8, 2)
    assert second.units is not None
    assert second.units.fn_sku is None
    assert [page.until is not None for page in pages] == [False] * (len(pages) - 1) + [True]
    assert [(call.method, call.url.path) for call in line.calls] == [
        ("POST", "/reports/2021-06-30/reports"),
        ("GET", "/reports/2021-06-30/reports/R1"),
        ("GET", "/reports/2021-06-30/documents/D1"),
        ("GET", "/report"),
    ]


async def test_what_is_ours_to_fulfill_is_left_out(desk: Desk, line: Line) -> None:
    line.answers.extend([*made(), told(row("A1", afn_listing_exists="No"), row("B2"))])
    assert skus(await sweep(desk)) == ["B2"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"afn_fulfillable_quantity": "4"}, "is not the sum of its parts"),
        ({"afn_total_quantity": "18"}, "is not the sum of its parts"),
        ({"afn_reserved_quantity": ""}, "afn-reserved-quantity is no count"),
        ({"afn_reserved_quantity": "3.0"}, "afn-reserved-quantity is no count"),
        ({"sku": " "}, "the row has no SKU"),
    ],
)
async def test_a_row_that_is_not_understood_goes_to_quarantine(
    desk: Desk, line: Line, broken: dict[str, str], reason: str
) -> None:
    line.answers.extend([*made(), told(row("A1"), row("B2", **broken), row("C3"), "odd\twidth")])
    pages = await sweep(desk)
    assert skus(pages) == ["A1", "C3"]
    first, second = (one for page in pages for one in page.rejected)
    assert reason in first.reason
    assert (second.what, second.key) == ("stock", "GET_FBA_MYI_UNSUPPRESSED_INVENTORY_DATA line 5")


@pytest.mark.parametrize("ended", ["CANCELLED", "FATAL"])
async def test_a_pool_whose_report_is_not_given_is_walked_through(desk: Desk, line: Line, ended: str) -> None:
    """Cancelled may mean that there is nothing, or that it was asked for too soon: an empty pool is not taken from it."""
    line.answers.extend([httpx.Response(202, json={"reportId": "R1"}), report(ended), page(summary("A1"))])
    pages = await sweep(desk)
    assert skus(pages) == ["A1"]
    assert pages[-1].until is not None


async def test_a_file_that_was_cut_is_made_whole_by_a_walk_without_telling_twice(
    desk: Desk, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory_report, "ROWS", 1)
    whole = packed(*(row(f"S{number:05}") for number in range(9000)))
    line.answers.extend([*made(), file(whole[: len(whole) // 2]), page(summary("S00000"), summary("S99999"))])
    told_skus = skus(await sweep(desk))
    assert len(told_skus) == len(set(told_skus))
    assert {"S00000", "S99999"} <= set(told_skus)
    assert line.calls[-1].url.path == "/fba/inventory/v1/summaries"


async def test_a_file_without_its_columns_is_none(desk: Desk, line: Line) -> None:
    line.answers.extend([*made(), file(gzip.compress(b"sku\tother\nA1\t1\n")), page(summary("A1"))])
    assert skus(await sweep(desk)) == ["A1"]


async def test_an_application_without_the_role_for_reports_walks(desk: Desk, line: Line) -> None:
    error = {"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": ""}]}
    line.answers.extend([httpx.Response(403, json=error), page(summary("A1"))])
    assert skus(await sweep(desk)) == ["A1"]


async def test_refused_credentials_are_not_walked_around(desk: Desk, line: Line) -> None:
    line.login = lambda _: httpx.Response(400, json={"error": "invalid_grant", "error_description": "revoked"})
    with pytest.raises(Unauthorized):
        await sweep(desk)
    assert line.calls == []


async def test_what_a_report_took_is_what_the_next_one_is_expected_to_take(desk: Desk, line: Line) -> None:
    pool = make_pool(desk.config)
    before = next(one for one in await desk.port.stock_routes([pool], None, 10) if one.way is Way.REPORT)
    assert before.age_s == EXPECTED_S
    line.answers.extend([*made(), told(row("A1"))])
    await sweep(desk)
    after = next(one for one in await desk.port.stock_routes([pool], None, 10) if one.way is Way.REPORT)
    # Amazon says two minutes; that it was there at our first look counts more.
    assert after.age_s < 60


async def test_the_half_hour_after_a_report_belongs_to_the_walk(desk: Desk, line: Line) -> None:
    pool = make_pool(desk.config)
    routes = await desk.port.stock_routes([pool], None, 100_000)
    plans = [step.plan for route in routes for step in route.steps]

    async def way() -> Way:
        walks = [one for one in routes if one.whole]
        purses = await desk.budgets.purses(desk.channel, plans, Priority.BACKGROUND)
        return choose(walks, purses).taken.route.way

    assert await way() is Way.REPORT
    line.answers.extend([*made(), told(row("A1"))])
    await sweep(desk)
    assert await way() is Way.PAGES
    (season,) = await desk.budgets.states([(desk.channel, SEASON)])
    assert season.remaining < 0.5
