"""Reports that people ask for: kept as Amazon has written them, found again when the answer was lost, and nothing of buyers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.amazon import report_files, reports
from adapters.amazon.platform import AmazonPort
from adapters.reports import Reports
from domain.budget import Ask
from domain.errors import OutcomeUnknown, Refused
from domain.report import ReportFile, ReportWanted, read_wanted
from tests.adapters.amazon.bench import Desk, Line, Sandbox, go
from tests.adapters.amazon.test_documents import stored
from tests.adapters.amazon.test_reports import ADDRESS, DONE, OPERATIONS, answer, lift, paths, told

WANTED = ReportWanted(reports.LISTINGS, "US")


def port_of(desk: Desk) -> AmazonPort:
    assert isinstance(desk.port, AmazonPort)
    assert isinstance(desk.port, Reports)
    return desk.port


@pytest.fixture
async def quick(desk: Desk) -> Desk:
    await lift(desk)
    return desk


def test_no_type_that_may_be_asked_for_tells_of_buyers_or_is_for_amazon_alone() -> None:
    words = ("ORDER", "RETURN", "SHIPMENT", "TAX", "SETTLEMENT", "CUSTOMER", "FEEDBACK", "INVOICE")
    assert [name for name in report_files.TYPES if any(word in name for word in words)] == []
    assert any(word in reports.ORDERS for word in words), "the check can find one"


def test_what_is_wanted_reads_as_it_was_told() -> None:
    whole = ReportWanted("R", None, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, 1, 2, 3, 4, tzinfo=UTC))
    assert [read_wanted(one.told()) for one in (WANTED, whole)] == [WANTED, whole]


async def test_a_lost_answer_is_unknown_at_once_and_asked_for_once(quick: Desk, line: Line) -> None:
    line.answers.append(httpx.ReadTimeout("nothing came"))
    with pytest.raises(OutcomeUnknown):
        await port_of(quick).ask_report(WANTED, Ask(), go)
    assert paths(line) == ["POST reports"]


async def test_the_report_that_was_asked_for_is_found_among_others(quick: Desk, line: Line) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    ranged: dict[str, Any] = {"dataStartTime": start.isoformat(), "dataEndTime": start.isoformat()}
    there = [
        told("CANCELLED", reportId="R4"),
        told(reportId="R3", marketplaceIds=["A1PA6795UKMFR9"]),
        told("DONE", reportId="R2", **ranged),
        told("FATAL", reportId="R1"),
    ]
    line.answers.append(answer({"reports": there}))
    port, now = port_of(quick), datetime.now(UTC)
    assert await port.report_asked(WANTED, now, (), Ask()) == "R2"
    assert await port.report_asked(WANTED, now, {"R2"}, Ask()) == "R4"
    assert await port.report_asked(WANTED, now, {"R1", "R2", "R4"}, Ask()) is None
    assert await port.report_asked(replace(WANTED, start=start), now, (), Ask()) == "R2"
    assert await port.report_asked(replace(WANTED, start=start + timedelta(days=1)), now, (), Ask()) is None


async def test_an_address_that_has_died_is_renewed_and_a_cancelled_report_is_refused(quick: Desk, line: Line) -> None:
    port = port_of(quick)
    line.answers.extend([answer(told("IN_PROGRESS")), answer(DONE), answer(ADDRESS), answer({}, 403)])
    line.answers.extend([answer(ADDRESS), stored(b"a\tb", content_type="text/plain")])
    assert await port.report_file("R1", Ask()) is None
    assert await port.report_file("R1", Ask()) == ReportFile(b"a\tb", "text/plain")
    line.answers.clear()
    line.answers.append(answer(told("CANCELLED")))
    with pytest.raises(Refused, match="nothing to tell, was asked for again too soon"):
        await port.report_file("R1", Ask())


async def test_a_file_that_is_too_long_is_refused(quick: Desk, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_files, "MOST_BYTES", 4)
    line.answers.extend([answer(DONE), answer(ADDRESS), stored(b"abc", b"de")])
    with pytest.raises(Refused, match="shorter time"):
        await port_of(quick).report_file("R1", Ask())


@pytest.fixture
async def making(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """A sandbox that makes reports at once, with slots enough."""
    plans, before = await sandbox.get("plans"), await sandbox.get("reports")
    await sandbox.generous(*OPERATIONS)
    await sandbox.post("reports", {"queueSeconds": 0, "progressSeconds": 0})
    yield sandbox
    await sandbox.post("reports", {name: before[name] for name in ("queueSeconds", "progressSeconds")})
    await sandbox.post("plans", {operation: plans[operation] for operation in OPERATIONS})


async def test_the_sandboxs_report_is_asked_for_found_and_fetched_in_its_own_letters(
    making: Sandbox, open_desk: Callable[..., Desk]
) -> None:
    desk = open_desk(making, "fe")
    await lift(desk)
    port, wanted, at = port_of(desk), ReportWanted(reports.LISTINGS, "JP"), datetime.now(UTC)
    receipt = await port.ask_report(wanted, Ask(), go)
    assert await port.report_asked(wanted, at, (), Ask()) == receipt.reference is not None
    found = None
    while found is None:
        found = await port.report_file(receipt.reference, Ask())
    assert "seller-sku" in found.content.decode("cp932").partition("\n")[0]
