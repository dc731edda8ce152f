"""Reports: asked for, waited for, found and read. Source: Reports 2021-06-30.

Buyers' data is never asked for: the report types that need a restricted data token are not for this file.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal
from urllib.parse import quote

from adapters.amazon.client import Client
from adapters.amazon.documents import Expired, decoded, opened
from adapters.amazon.listings import iso
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.paging import Tokens
from adapters.amazon.waiting import LOOKS_S, PATIENCE_S, PAUSES_S, reason
from adapters.amazon.wire import Instant
from adapters.port import BeforeSend
from adapters.waiting import at_last, sought
from adapters.wire import Unclear, Wire
from domain.budget import Ask, Plan
from domain.errors import Invalid, OutcomeUnknown, Refused, Transient

log = logging.getLogger(__name__)

PATH = "/reports/2021-06-30/reports"
DOCUMENTS = "/reports/2021-06-30/documents"
PAGE = 100
TYPES = 10

FBA_STOCK = "GET_FBA_MYI_UNSUPPRESSED_INVENTORY_DATA"
LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"
ORDERS = "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL"
SETTLEMENTS = "GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE_V2"

# Of Amazon's warehouses: one that is asked for again within half an hour, of those that tell of whole days within four hours, is
# CANCELLED or FATAL. Source: "Fulfillment by Amazon (FBA) Reports".
_NEAR_S, _DAILY_S = 1800, 14_400
SEASONS: Mapping[str, Plan] = {
    kind: Plan(kind, rate=1 / pause_s, burst=1)
    for kind, pause_s in {
        FBA_STOCK: _NEAR_S,
        "GET_AFN_INVENTORY_DATA": _NEAR_S,
        "GET_RESERVED_INVENTORY_DATA": _NEAR_S,
        "GET_FBA_FULFILLMENT_CUSTOMER_RETURNS_DATA": _DAILY_S,
        "GET_LEDGER_DETAIL_VIEW_DATA": _DAILY_S,
        "GET_LEDGER_SUMMARY_VIEW_DATA": _DAILY_S,
    }.items()
}
"""How often a type may be asked for, beside the plan of createReport; types that are not here as often as that allows."""

SKEW = timedelta(minutes=2)
"""Between our clock and Amazon's."""

Status = Literal["IN_QUEUE", "IN_PROGRESS", "DONE", "CANCELLED", "FATAL"]
VAIN: frozenset[Status] = frozenset({"CANCELLED", "FATAL"})
ENDED: frozenset[Status] = VAIN | {"DONE"}


class Report(Wire):
    """One report. Its range is what Amazon took, which for some types is not what was asked for."""

    report_id: str
    report_type: str
    processing_status: Status
    created_time: Instant
    marketplace_ids: tuple[str, ...] = ()
    data_start_time: Instant | None = None
    data_end_time: Instant | None = None
    processing_start_time: Instant | None = None
    processing_end_time: Instant | None = None
    report_schedule_id: str | None = None
    report_document_id: str | None = None


class Created(Wire):
    """The answer of createReport."""

    report_id: str


class Listed(Wire):
    """One page of getReports."""

    reports: tuple[Report, ...]
    next_token: str | None = None


class Address(Wire):
    """Where a document can be read, for five minutes."""

    report_document_id: str
    url: str
    compression_algorithm: Literal["GZIP"] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """What a report has told. Read it by `lines`, which asks for a new address when this one has died."""

    report: Report
    id: str
    url: str
    gzipped: bool


@dataclass(frozen=True, slots=True)
class NoData:
    """A report that Amazon cancelled: it had nothing to tell, was asked for again too soon, or somebody cancelled it. Amazon does
    not say which."""

    report: Report


class Stuck(Transient):
    """The report is not ready after all patience; wait for `report_id` again instead of asking for another one."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"Report {report.report_id} ({report.report_type}) is still {report.processing_status}.")
        self.report_id = report.report_id


async def run(
    client: Client,
    report_type: str,
    marketplaces: Sequence[str],
    ask: Ask,
    before_send: BeforeSend,
    *,
    options: Mapping[str, str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    pauses_s: Sequence[float] = PAUSES_S,
    patience_s: float = PATIENCE_S,
) -> Document | NoData:
    """Ask for a report and wait until there is one. `marketplaces` are country codes, `start` and `end` its range.

    Raises Refused with Amazon's reason for one that failed, Stuck for one that takes too long, and what `create` raises.
    """
    report_id = await create(client, report_type, marketplaces, ask, before_send, options=options, start=start, end=end)
    return await wait(client, report_id, ask, pauses_s=pauses_s, patience_s=patience_s)


async def create(
    client: Client,
    report_type: str,
    marketplaces: Sequence[str],
    ask: Ask,
    before_send: BeforeSend,
    *,
    options: Mapping[str, str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    looks_s: Sequence[float] = LOOKS_S,
) -> str:
    """The id of a new report. Source: createReport, which knows no idempotency key.

    Waits for the turn of a type that Amazon makes only so often (`SEASONS`): hours, or Throttled at once where it comes after the
    deadline of `ask`.

    When its answer is lost, the report is looked for among those there are, and only one that is nowhere is asked for again,
    once. Raises OutcomeUnknown when that is lost too, and when one is found that may have been asked for with other `options`,
    which Amazon does not repeat; Invalid for settlements, which only Amazon makes.
    """
    if report_type == SETTLEMENTS:
        raise Invalid("Amazon makes settlement reports by itself; they can only be found.")
    body = _body(report_type, marketplaces, options, start, end)
    if report_type in SEASONS:
        await client.pay(SEASONS[report_type], ask)
    sent_at = datetime.now(UTC)
    try:
        return await _create(client, body, ask, before_send)
    except OutcomeUnknown as problem:
        log.warning("report.outcome_unknown", extra={"channel": client.channel, "report_type": report_type})
        found, told = await sought(partial(_made, client, body, sent_at, ask), looks_s)
        if found is not None and not options:
            return found
        if found is not None or not told:
            raise
        log.warning("report.asked_again", extra={"channel": client.channel, "why": problem.message})
    return await _create(client, body, ask, before_send)


async def made(
    client: Client,
    report_type: str,
    marketplaces: Sequence[str],
    asked_at: datetime,
    ask: Ask,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    but: Collection[str] = (),
) -> str | None:
    """The id of a report of these contents, without options, asked for since `asked_at` or a moment before, however it stands;
    one that has not come to nothing rather than one that has, and none of those named in `but`. Source: getReports."""
    body = _body(report_type, marketplaces, None, start, end)
    vain: str | None = None
    async for report in _alike(client, body, asked_at, ask):
        if report.report_id in but:
            continue
        if report.processing_status not in VAIN:
            return report.report_id
        vain = vain or report.report_id
    return vain


def _body(
    report_type: str,
    marketplaces: Sequence[str],
    options: Mapping[str, str] | None,
    start: datetime | None,
    end: datetime | None,
) -> dict[str, object]:
    body: dict[str, object] = {
        "reportType": report_type,
        "marketplaceIds": [marketplace(code).id for code in marketplaces],
    }
    if options:
        body["reportOptions"] = dict(options)
    if start is not None:
        body["dataStartTime"] = iso(start)
    if end is not None:
        body["dataEndTime"] = iso(end)
    return body


async def _create(client: Client, body: Mapping[str, object], ask: Ask, before_send: BeforeSend) -> str:
    created, _ = await client.change("createReport", "POST", PATH, ask, before_send, Created, body=body)
    return created.report_id


async def _made(client: Client, body: Mapping[str, object], sent_at: datetime, ask: Ask) -> str | None:
    """The id of the report that `body` asked for since `sent_at`. Any one of the same contents will do."""
    async for report in _alike(client, body, sent_at, ask):
        if report.processing_status not in VAIN:
            return report.report_id
    return None


async def _alike(client: Client, body: Mapping[str, object], sent_at: datetime, ask: Ask) -> AsyncIterator[Report]:
    """The reports of the contents of `body` since `sent_at`, newest first."""
    wanted = (body["marketplaceIds"], body.get("dataStartTime"), body.get("dataEndTime"))
    async for report in listed(client, [str(body["reportType"])], ask, since=sent_at - SKEW):
        start = "dataStartTime" in body and report.data_start_time
        end = "dataEndTime" in body and report.data_end_time
        seen = (list(report.marketplace_ids), iso(start) if start else None, iso(end) if end else None)
        if seen == wanted:
            yield report


async def status(client: Client, report_id: str, ask: Ask) -> Report:
    """How a report stands. Source: getReport."""
    return await client.get("getReport", f"{PATH}/{quote(report_id, safe='')}", {}, ask, Report)


async def wait(
    client: Client,
    report_id: str,
    ask: Ask,
    *,
    pauses_s: Sequence[float] = PAUSES_S,
    patience_s: float = PATIENCE_S,
) -> Document | NoData:
    """Look at a report, less and less often, until it has ended. Raises Refused with Amazon's reason when it failed, Stuck when
    it has not ended after `patience_s` or would not before the deadline of `ask`."""
    report = await at_last(
        partial(status, client, report_id, ask),
        lambda seen: seen.processing_status in ENDED,
        pauses_s=pauses_s,
        patience_s=patience_s,
        deadline=ask.deadline,
    )
    if report.processing_status not in ENDED:
        raise Stuck(report)
    return await outcome(client, report, ask)


async def outcome(client: Client, report: Report, ask: Ask) -> Document | NoData:
    """What has become of a report that has ended. Raises Refused, with what Amazon's document says, for one that failed."""
    if report.processing_status == "CANCELLED":
        return NoData(report)
    if report.processing_status == "FATAL":
        raise Refused(f"Amazon could not make {report.report_type}: {await _reason(client, report, ask)}")
    if report.processing_status != "DONE" or report.report_document_id is None:
        raise Transient(f"Report {report.report_id} is {report.processing_status} and has no document.")
    return await document(client, report, ask)


async def _reason(client: Client, report: Report, ask: Ask) -> str:
    """The words in the document of a failed report, if it has any."""
    if report.report_document_id is None:
        return "no reason given; it may have been asked for too soon, or for too long a range."

    async def said() -> AsyncIterator[str]:
        async for line in lines(client, await document(client, report, ask), None, ask):
            yield line

    return await reason(said())


async def document(client: Client, report: Report, ask: Ask) -> Document:
    """Where the document of a report can be read. Source: getReportDocument."""
    if report.report_document_id is None:
        raise Invalid(f"Report {report.report_id} has no document.")
    found = await address(client, report.report_document_id, ask)
    return Document(report, found.report_document_id, found.url, found.compression_algorithm == "GZIP")


async def address(client: Client, id: str, ask: Ask) -> Address:
    """Where a document can be read now. Source: getReportDocument."""
    return await client.get("getReportDocument", f"{DOCUMENTS}/{quote(id, safe='')}", {}, ask, Address)


async def cancel(client: Client, report_id: str, ask: Ask, before_send: BeforeSend) -> None:
    """Cancel a report that waits in the queue. Raises Invalid for one that has begun. Source: cancelReport."""
    path = f"{PATH}/{quote(report_id, safe='')}"
    await client.change_unanswered("cancelReport", "DELETE", path, ask, before_send, status=200)


async def listed(
    client: Client,
    report_types: Sequence[str],
    ask: Ask,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    marketplaces: Sequence[str] = (),
    statuses: Sequence[Status] = (),
) -> AsyncIterator[Report]:
    """The reports there are of some types, 10 at most, created from `since` (default: 90 days ago, which is as long as Amazon
    keeps them) to `until`. Settlements are found only like this. Source: getReports."""
    if not 1 <= len(report_types) <= TYPES:
        raise Invalid(f"getReports takes 1 to {TYPES} report types; {len(report_types)} were given.")
    query: dict[str, str | Sequence[str]] = {"reportTypes": report_types, "pageSize": str(PAGE)}
    if statuses:
        query["processingStatuses"] = statuses
    if marketplaces:
        query["marketplaceIds"] = [marketplace(code).id for code in marketplaces]
    if since is not None:
        query["createdSince"] = iso(since)
    if until is not None:
        query["createdUntil"] = iso(until)
    tokens = Tokens("getReports")
    while True:
        page = await client.get("getReports", PATH, query, ask, Listed)
        for report in page.reports:
            yield report
        if (token := tokens.next(page.next_token)) is None:
            return
        # A token goes alone: Amazon refuses it beside what it stands for.
        query = {"nextToken": token}


async def lines(client: Client, found: Document, store: str | None, ask: Ask) -> AsyncIterator[str]:
    """The lines of a document of the store `store` (a country code). An address that has died is renewed once.

    Raises Unclear for a text that cannot be read, Transient for a file that was cut.
    """
    try:
        async for line in _lines(client, found, store, ask):
            yield line
    except Expired:
        # It is refused before its first byte, so nothing has been told twice.
        async for line in _lines(client, await document(client, found.report, ask), store, ask):
            yield line


async def _lines(client: Client, found: Document, store: str | None, ask: Ask) -> AsyncIterator[str]:
    async with opened(client, found.url, gzipped=found.gzipped, ask=ask) as body:
        async for line in decoded(body.chunks, body.content_type, store):
            yield line


async def rows(
    lines: AsyncIterator[str],
    *,
    needed: Collection[str] = (),
    refuse: Callable[[int, str, str], None] | None = None,
) -> AsyncIterator[dict[str, str]]:
    """The rows of a tab-separated file, by the names in its first line; columns that nobody knows are kept.

    Raises Unclear when a `needed` column is missing or a name is given twice. A row of another width than the first line's is
    told to `refuse` as (its line's number from 1, the reason, the line) and left out; without `refuse` it raises Unclear. Quotes
    are letters like any others, but in files whose names are all quoted. Blank lines, and blank cells beyond the last column,
    mean nothing.
    """
    names: list[str] = []
    quoted = False
    number = 0
    async for line in lines:
        number += 1
        cells = line.split("\t")
        if not names:
            quoted = all(_is_quoted(cell) for cell in cells)
            names = _names([_unquoted(cell) for cell in cells] if quoted else cells, needed)
            continue
        if not line.strip():
            continue
        while len(cells) > len(names) and not cells[-1]:
            cells.pop()
        if len(cells) != len(names):
            reason = f"line {number} has {len(cells)} cells where the first line has {len(names)}"
            if refuse is None:
                raise Unclear(reason)
            refuse(number, reason, line)
            continue
        yield dict(zip(names, (_unquoted(cell) for cell in cells) if quoted else cells, strict=True))
    if not names:
        raise Unclear("the file is empty: not even its first line with the names of the columns is there")


def _names(cells: list[str], needed: Collection[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    if missing := [name for name in needed if name not in names]:
        raise Unclear(f"the file has no column {missing[0]}")
    if len(set(names)) != len(names) or not all(names):
        raise Unclear("two columns have the same name, or one has none")
    return names


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _is_quoted(cell) else cell
