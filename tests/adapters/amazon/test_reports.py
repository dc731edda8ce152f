"""Reports: asked for once, waited for with patience, found, and read to the last row or not at all."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from adapters.amazon import reports
from adapters.amazon.reports import Document, NoData, Report, Stuck
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.errors import Invalid, NotFound, OutcomeUnknown, Refused, Throttled, Transient
from tests.adapters.amazon.bench import Desk, Line, Sandbox, go
from tests.adapters.amazon.test_documents import client_of, stored

OPERATIONS = ("searchListingsItems", "createReport", "getReport", "getReports", "getReportDocument", "cancelReport")
QUICK = (0.02,)
NOW = datetime.now(UTC)


def told(status: str = "IN_QUEUE", **more: Any) -> dict[str, Any]:
    return {
        "reportId": "R1",
        "reportType": reports.LISTINGS,
        "createdTime": NOW.isoformat(),
        "processingStatus": status,
        "marketplaceIds": ["ATVPDKIKX0DER"],
        **more,
    }


def answer(body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


CREATED = {"reportId": "R1"}
DONE = told("DONE", reportDocumentId="D1")
ADDRESS = {"reportDocumentId": "D1", "url": "https://store.test/D1?X-Amz-Signature=s"}


async def lift(desk: Desk) -> None:
    for operation in OPERATIONS:
        await desk.budgets.states([(desk.channel, desk.port.plans[operation])])
        await desk.budgets.adopt(desk.channel, operation, rate=1000)


@pytest.fixture
async def quick(desk: Desk) -> Desk:
    """The account, with slots enough."""
    await lift(desk)
    return desk


def paths(line: Line) -> list[str]:
    return [f"{call.method} {call.url.path.rpartition('2021-06-30/')[2]}" for call in line.calls]


async def listed_rows(desk: Desk, found: Document | NoData, store: str) -> list[dict[str, str]]:
    assert isinstance(found, Document)
    client = client_of(desk)
    return [row async for row in reports.rows(reports.lines(client, found, store, Ask()))]


async def test_a_report_is_asked_for_waited_for_and_found(quick: Desk, line: Line) -> None:
    line.answers.extend(answer(body) for body in (CREATED, told(), told("IN_PROGRESS"), DONE, ADDRESS))
    found = await reports.run(
        client_of(quick),
        reports.LISTINGS,
        ["US"],
        Ask(),
        go,
        options={"preferredReportDocumentLocale": "en_US"},
        start=datetime(2026, 3, 1, tzinfo=UTC),
        pauses_s=QUICK,
    )
    assert isinstance(found, Document)
    assert (found.report.report_id, found.id, found.url, found.gzipped) == ("R1", "D1", ADDRESS["url"], False)
    assert paths(line) == ["POST reports", *["GET reports/R1"] * 3, "GET documents/D1"]
    assert line.calls[0].read() == (
        b'{"reportType":"GET_MERCHANT_LISTINGS_ALL_DATA","marketplaceIds":["ATVPDKIKX0DER"],'
        b'"reportOptions":{"preferredReportDocumentLocale":"en_US"},"dataStartTime":"2026-03-01T00:00:00.000Z"}'
    )


@pytest.mark.parametrize(
    ("report_type", "pause_s"),
    [(reports.FBA_STOCK, 1800), ("GET_RESERVED_INVENTORY_DATA", 1800), ("GET_LEDGER_SUMMARY_VIEW_DATA", 14_400)],
)
async def test_a_report_that_amazon_makes_only_so_often_is_not_asked_for_sooner(
    quick: Desk, line: Line, report_type: str, pause_s: float
) -> None:
    line.answers.append(answer(CREATED, 202))
    client = client_of(quick)
    assert await reports.create(client, report_type, ["US"], Ask(), go) == "R1"
    with pytest.raises(Throttled) as caught:
        await reports.create(client, report_type, ["US"], Ask(deadline=time.monotonic() + 60), go)
    # Of a bucket we use a part alone, so that ours is never the one that is full.
    assert pause_s * 0.9 < caught.value.retry_after_s <= pause_s * 1.2
    assert paths(line) == ["POST reports"]
    for _ in range(2):
        assert await reports.create(client, reports.LISTINGS, ["US"], Ask(deadline=time.monotonic() + 60), go) == "R1"


async def test_a_cancelled_report_is_no_data_and_not_an_empty_document(quick: Desk, line: Line) -> None:
    line.answers.extend(answer(body) for body in (CREATED, told("CANCELLED")))
    found = await reports.run(client_of(quick), reports.ORDERS, ["US"], Ask(), go, pauses_s=QUICK)
    assert isinstance(found, NoData)
    assert found.report.report_id == "R1"


async def test_a_failed_report_is_refused_with_the_words_of_its_document(quick: Desk, line: Line) -> None:
    fatal = told("FATAL", reportDocumentId="D1")
    line.answers.extend([*(answer(body) for body in (fatal, ADDRESS)), stored(b"Too long\na range.")])
    with pytest.raises(Refused, match="Too long a range"):
        await reports.wait(client_of(quick), "R1", Ask(), pauses_s=QUICK)
    line.answers.clear()
    line.answers.append(answer(told("FATAL")))
    with pytest.raises(Refused, match="no reason given"):
        await reports.wait(client_of(quick), "R1", Ask(), pauses_s=QUICK)
    line.answers.clear()
    line.answers.extend([answer(fatal), answer(ADDRESS), httpx.Response(500)])
    with pytest.raises(Refused, match="cannot be read"):
        await reports.wait(client_of(quick), "R1", Ask(), pauses_s=QUICK)
    for status in (403, 404, 429):
        line.answers.clear()
        line.answers.extend([answer(fatal), httpx.Response(status)])
        with pytest.raises(Refused, match=r"Amazon could not make .* cannot be read"):
            await reports.wait(client_of(quick), "R1", Ask(), pauses_s=QUICK)


async def test_patience_ends_and_names_the_report_to_wait_for(quick: Desk, line: Line) -> None:
    line.answers.append(answer(told("IN_QUEUE")))
    with pytest.raises(Stuck) as caught:
        await reports.wait(client_of(quick), "R1", Ask(), pauses_s=QUICK, patience_s=0.1)
    assert caught.value.report_id == "R1"
    assert len(line.calls) > 1
    looks = len(line.calls)
    with pytest.raises(Stuck):
        await reports.wait(client_of(quick), "R1", Ask(deadline=time.monotonic() + 5))
    assert len(line.calls) == looks + 1


async def test_a_lost_answer_finds_the_report_that_is_being_made(quick: Desk, line: Line) -> None:
    mine = told(reportId="R7", createdTime=datetime.now(UTC).isoformat(), dataStartTime="2026-03-01T00:00:00Z")
    other = told(reportId="R8", marketplaceIds=["A2EUQ1WTGCTBG2"])
    line.answers.extend([httpx.Response(500), answer({"reports": []}), answer({"reports": [other, mine]})])
    start = datetime(2026, 3, 1, tzinfo=UTC)
    found = await reports.create(client_of(quick), reports.LISTINGS, ["US"], Ask(), go, start=start, looks_s=(0, 0))
    assert found == "R7"
    assert paths(line) == ["POST reports", "GET reports", "GET reports"]
    assert line.calls[1].url.params["reportTypes"] == reports.LISTINGS


async def test_options_are_not_in_the_list_so_a_report_that_has_some_is_not_recognized(quick: Desk, line: Line) -> None:
    mine, client = told(reportId="R7"), client_of(quick)
    line.answers.extend([httpx.Response(500), answer({"reports": [mine]})])
    with pytest.raises(OutcomeUnknown):
        await reports.create(client, reports.LISTINGS, ["US"], Ask(), go, options={"a": "b"}, looks_s=(0,))
    assert paths(line) == ["POST reports", "GET reports"]
    line.answers.clear()
    line.answers.extend([httpx.Response(500), answer({"reports": []}), answer(CREATED)])
    assert await reports.create(client, reports.LISTINGS, ["US"], Ask(), go, options={"a": "b"}, looks_s=(0,)) == "R1"


@pytest.mark.parametrize("failed", [httpx.Response(500), httpx.Response(429), httpx.ReadTimeout("late")])
async def test_a_look_that_fails_does_not_end_the_waiting(
    quick: Desk, line: Line, failed: httpx.Response | Exception
) -> None:
    line.answers.extend([failed, answer(told()), failed, answer(DONE), answer(ADDRESS)])
    found = await reports.wait(client_of(quick), "R1", Ask(), pauses_s=QUICK, patience_s=30)
    assert isinstance(found, Document)
    line.answers.clear()
    line.answers.extend([answer(told()), failed])
    with pytest.raises(Stuck):
        await reports.wait(client_of(quick), "R1", Ask(), pauses_s=QUICK, patience_s=0.1)
    line.answers.clear()
    line.answers.append(failed)
    with pytest.raises((Transient, Throttled)) as caught:
        await reports.wait(client_of(quick), "R1", Ask(), pauses_s=QUICK, patience_s=0.1)
    assert not isinstance(caught.value, Stuck)


async def test_a_report_that_is_nowhere_is_asked_for_once_more(quick: Desk, line: Line) -> None:
    line.answers.extend([httpx.Response(503), answer({"reports": []}), answer({"reports": []}), answer(CREATED, 202)])
    sent = 0

    async def noted() -> None:
        nonlocal sent
        sent += 1

    assert await reports.create(client_of(quick), reports.LISTINGS, ["US"], Ask(), noted, looks_s=(0, 0)) == "R1"
    assert paths(line) == ["POST reports", "GET reports", "GET reports", "POST reports"]
    assert sent == 2


async def test_while_nobody_can_tell_whether_it_is_made_no_other_is_asked_for(quick: Desk, line: Line) -> None:
    for status in (500, 400, 403):
        line.calls.clear()
        line.answers.clear()
        line.answers.extend([httpx.Response(500), httpx.Response(status)])
        with pytest.raises(OutcomeUnknown):
            await reports.create(client_of(quick), reports.LISTINGS, ["US"], Ask(), go, looks_s=(0, 0))
        assert paths(line)[0] == "POST reports"
        assert set(paths(line)[1:]) <= {"GET reports"}


async def test_what_amazon_refuses_and_settlements_are_not_asked_for_again(quick: Desk, line: Line) -> None:
    line.answers.append(answer({"errors": [{"code": "400", "message": "Invalid input"}]}, 400))
    with pytest.raises(Invalid):
        await reports.create(client_of(quick), reports.LISTINGS, ["US"], Ask(), go, looks_s=(0,))
    with pytest.raises(Invalid, match="only be found"):
        await reports.create(client_of(quick), reports.SETTLEMENTS, ["US"], Ask(), go, looks_s=(0,))
    assert paths(line) == ["POST reports"]


async def test_the_pages_of_a_list_are_asked_for_by_their_token_alone(quick: Desk, line: Line) -> None:
    line.answers.extend([answer({"reports": [told()], "nextToken": "x+/="}), answer({"reports": [DONE]})])
    found = [
        one
        async for one in reports.listed(
            client_of(quick),
            [reports.LISTINGS, reports.ORDERS],
            Ask(),
            since=NOW,
            marketplaces=["US"],
            statuses=["DONE"],
        )
    ]
    assert [one.processing_status for one in found] == ["IN_QUEUE", "DONE"]
    assert dict(line.calls[0].url.params) == {
        "reportTypes": f"{reports.LISTINGS},{reports.ORDERS}",
        "pageSize": "100",
        "processingStatuses": "DONE",
        "marketplaceIds": "ATVPDKIKX0DER",
        "createdSince": NOW.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    assert dict(line.calls[1].url.params) == {"nextToken": "x+/="}


async def test_an_address_that_died_is_renewed_once(quick: Desk, line: Line) -> None:
    found = Document(read(Report, DONE), "D1", "https://store.test/old", gzipped=False)
    line.answers.extend([httpx.Response(403), answer(ADDRESS), stored(b"a\nb\n")])
    assert [text async for text in reports.lines(client_of(quick), found, "US", Ask())] == ["a", "b"]
    assert [call.url.host for call in line.calls] == ["store.test", "amazon.test", "store.test"]
    line.answers.clear()
    line.answers.extend([httpx.Response(403), answer(ADDRESS), httpx.Response(403)])
    with pytest.raises(Transient):
        [text async for text in reports.lines(client_of(quick), found, "US", Ask())]


async def test_a_word_that_amazon_never_used_is_not_taken_for_another(quick: Desk, line: Line) -> None:
    for body in (told("PAUSED"), {**DONE, "createdTime": "yesterday"}):
        line.answers.clear()
        line.answers.append(answer(body))
        with pytest.raises(Transient):
            await reports.status(client_of(quick), "R1", Ask())
    line.answers.clear()
    line.answers.append(answer({**ADDRESS, "compressionAlgorithm": "ZIP"}))
    with pytest.raises(Transient):
        await reports.document(client_of(quick), read(Report, DONE), Ask())


async def texts(*lines: str) -> AsyncIterator[str]:
    for line in lines:
        yield line


async def table(*lines: str, **how: Any) -> list[dict[str, str]]:
    return [row async for row in reports.rows(texts(*lines), **how)]


async def test_rows_go_by_the_names_of_the_first_line() -> None:
    assert await table("sku\tqty\tnew column", "A\t1\t", 'B "5"\t2\tx', "", needed=["qty"]) == [
        {"sku": "A", "qty": "1", "new column": ""},
        {"sku": 'B "5"', "qty": "2", "new column": "x"},
    ]
    assert await table('"sku"\t"qty"', '"A ""5"""\t1') == [{"sku": 'A "5"', "qty": "1"}]
    assert await table("sku\tqty\t", "A\t1\t\t") == [{"sku": "A", "qty": "1"}]


async def test_a_row_of_another_width_is_told_with_its_number_and_never_guessed() -> None:
    refused: list[tuple[int, str, str]] = []
    lines = ("sku\tqty", "A\t1", "B", "C\t1\t2", "D\t4")
    rows = await table(*lines, refuse=lambda *one: refused.append(one))
    assert [row["sku"] for row in rows] == ["A", "D"]
    assert [(number, line) for number, _, line in refused] == [(3, "B"), (4, "C\t1\t2")]
    with pytest.raises(Unclear, match="line 3 has 1 cells where the first line has 2"):
        await table(*lines)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "empty"),
        (("sku\tprice",), "no column qty"),
        (("sku\tqty\tsku",), "same name"),
        (("sku\t\tqty",), "same name, or one has none"),
    ],
)
async def test_a_first_line_that_is_none_is_refused(lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(Unclear, match=why):
        await table(*lines, needed=["qty"])


# In front of the sandbox.


@pytest.fixture
async def making(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """A sandbox that makes reports at once, with slots enough."""
    plans, before = await sandbox.get("plans"), await sandbox.get("reports")
    await sandbox.generous(*OPERATIONS)
    await sandbox.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    yield sandbox
    await sandbox.post("reports", {name: before[name] for name in ("queueSeconds", "progressSeconds")})
    await sandbox.post("plans", {operation: plans[operation] for operation in OPERATIONS})


@pytest.mark.parametrize(("region", "store"), [("na", "US"), ("eu", "DE"), ("eu", "FR"), ("fe", "JP")])
async def test_the_sandboxs_listings_arrive_in_the_letters_of_each_store(
    making: Sandbox, open_desk: Callable[..., Desk], region: str, store: str
) -> None:
    desk = open_desk(making, region)
    await lift(desk)
    found = await reports.run(client_of(desk), reports.LISTINGS, [store], Ask(), go, pauses_s=QUICK)
    rows = await listed_rows(desk, found, store)
    pages = [page async for page in desk.port.listing_pages(None, Ask())]
    titles = {one.channel_sku: one.title for page in pages for one in page.items if one.marketplace == store}
    told = {row["seller-sku"]: row["item-name"] for row in rows}
    assert told == titles != {}


async def amounts(desk: Desk, report: Report, store: str) -> tuple[Decimal, Decimal]:
    """(what the first line says, what the others add up to)."""
    client = client_of(desk)
    rows = await listed_rows(desk, await reports.document(client, report, Ask()), store)
    point = str.maketrans(",", ".") if store in ("DE", "FR") else {}
    first, *others = rows
    total = Decimal(first["total-amount"].translate(point))
    return total, sum((Decimal(row["amount"].translate(point)) for row in others), Decimal(0))


@pytest.mark.parametrize(("region", "store"), [("na", "US"), ("eu", "DE"), ("eu", "FR"), ("fe", "JP")])
async def test_settlements_are_found_and_their_rows_add_up_in_each_dialect(
    making: Sandbox, open_desk: Callable[..., Desk], region: str, store: str
) -> None:
    desk = open_desk(making, region)
    await lift(desk)
    ask, client = Ask(), client_of(desk)
    since = datetime.now(UTC) - timedelta(days=60)
    listed = reports.listed(client, [reports.SETTLEMENTS], ask, since=since, marketplaces=[store], statuses=["DONE"])
    found = [report async for report in listed]
    shown = (await making.get("settlements"))["settlements"]
    assert [Decimal(one["total"]) for one in shown if one["marketplace"] == store][::-1] == [
        (await amounts(desk, report, store))[0] for report in found
    ]
    assert len(found) >= 2
    for report in found:
        total, rows = await amounts(desk, report, store)
        assert rows == total
        assert total != 0


async def test_the_sandbox_says_why_a_report_failed_and_when_there_is_none(
    making: Sandbox, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk(making)
    await lift(desk)
    client = client_of(desk)
    start = datetime.now(UTC) - timedelta(days=40)
    with pytest.raises(Refused, match="longer than 30 days"):
        await reports.run(client, reports.ORDERS, ["US"], Ask(), go, start=start, pauses_s=QUICK)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    none = await reports.run(
        client, reports.ORDERS, ["US"], Ask(), go, start=long_ago, end=long_ago + timedelta(days=1), pauses_s=QUICK
    )
    assert isinstance(none, NoData)
    with pytest.raises(NotFound):
        await reports.status(client, "nobody's", Ask())


async def test_a_created_report_whose_answer_was_lost_is_made_once(
    making: Sandbox, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk(making)
    await lift(desk)
    since = await making.mark()
    fault = {"operation": "createReport", "kind": "apply_then_status", "status": 503, "count": 1}
    await making.post("faults", {"faults": [fault]})
    start = datetime.now(UTC) - timedelta(days=3)
    report_id = await reports.create(client_of(desk), reports.ORDERS, ["US"], Ask(), go, start=start, looks_s=(0, 0.1))
    made = [effect["key"] for effect in await making.effects(since) if effect["operation"] == "createReport"]
    assert made == [report_id]


async def test_a_report_that_waits_can_be_cancelled(making: Sandbox, open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(making)
    await lift(desk)
    await making.post("reports", {"queueSeconds": 3600})
    client = client_of(desk)
    report_id = await reports.create(client, reports.LISTINGS, ["US"], Ask(), go)
    await reports.cancel(client, report_id, Ask(), go)
    assert isinstance(await reports.wait(client, report_id, Ask()), NoData)
    with pytest.raises(Invalid):
        await reports.cancel(client, report_id, Ask(), go)
