"""Reports 2021-06-30: asked for, made over sandbox time, kept for 90 days. Settlements come by themselves."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from starlette.routing import BaseRoute, Route

from sandbox.amazon import settlements
from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure, denied, invalid, not_found
from sandbox.amazon.flat_files import HANDS, written
from sandbox.amazon.marketplaces import ALL_IDS, BY_ID, MARKETPLACES
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query, instant, seal, unseal
from sandbox.amazon.report_rows import KINDS, Wanted
from sandbox.amazon.settlements import Settlement, Settlements
from sandbox.amazon.state import Amazon
from sandbox.control import answer, endpoint, number
from sandbox.journal import iso

STATUSES = ("CANCELLED", "DONE", "FATAL", "IN_PROGRESS", "IN_QUEUE")
ENDS = ("CANCELLED", "DONE", "FATAL")
PARAMETERS = (
    "reportTypes",
    "processingStatuses",
    "marketplaceIds",
    "pageSize",
    "createdSince",
    "createdUntil",
    "nextToken",
)
CODE = "400"
KEPT = timedelta(days=90)
_MEMBERS = {"reportType", "marketplaceIds", "dataStartTime", "dataEndTime", "reportOptions"}
# What Amazon calls them when it refuses to make one on demand.
_SETTLEMENT_NUMBERS = {
    "GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE": "1117",
    settlements.KIND: "1118",
}


@dataclass(slots=True)
class Fate:
    """What a report will come to, and what the document of a failed one says; None for whatever its contents make of it."""

    status: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class Report:
    """One report. `created_s` is the clock's at its creation; `status` is None until it has ended."""

    id: str
    kind: str
    wanted: Wanted
    created_at: datetime
    created_s: float
    queue_s: float = 0.0
    fate: Fate = field(default_factory=Fate)
    status: str | None = None
    ended_at: datetime | None = None
    document_id: str | None = None


class Reports:
    """All reports of a sandbox. One waits `queue_s` and is then made in `progress_s`, in sandbox seconds."""

    def __init__(self, amazon: Amazon) -> None:
        self._amazon = amazon
        self.settlements = Settlements(amazon)
        self.queue_s, self.progress_s = 10.0, 20.0
        self.fates: list[tuple[str, Fate]] = []
        self._reports: dict[str, Report] = {}
        self._told = 0

    def settle(self) -> None:
        """Take up the settlements that have been closed by now."""
        self.settlements.settle()
        for settlement in self.settlements.closed[self._told :]:
            self._keep_settlement(settlement)
        self._told = len(self.settlements.closed)

    def create(self, account: Account, body: object) -> dict[str, str]:
        """{"reportId"}. Source: createReport."""
        kind, wanted = self._asked(account, body)
        fate = self._fate(kind, wanted)
        now = self._amazon.clock.now()
        report = Report(self._new_id(), kind, wanted, now, self._amazon.clock.seconds(), self.queue_s, fate)
        self._reports[report.id] = report
        self._amazon.journal.effect("createReport", report.id, {"reportType": kind, "sellerId": account.seller})
        self._amazon.later(lambda: self._end(report), self.queue_s + self.progress_s)
        return {"reportId": report.id}

    def finish(self, report: Report, status: str | None = None, reason: str | None = None) -> None:
        """End a report: as it must, or with a status from outside."""
        report.ended_at = self._amazon.clock.now()
        report.status = status or report.fate.status
        reason = reason or report.fate.reason
        if report.status in (None, "DONE"):
            self._make(report)
        elif report.status == "FATAL" and reason:
            report.document_id = self._amazon.documents.put(reason.encode(), "text/plain; charset=UTF-8", gzip=True)
        self._tell(report)

    def found(self, account: Account, report_id: str) -> Report:
        report = self._reports.get(report_id)
        if report is None or report.wanted.account is not account or self._gone(report):
            raise not_found(f"Report '{report_id}' does not exist.")
        return report

    def by_id(self, report_id: str) -> Report:
        if report_id not in self._reports:
            raise ValueError(f"there is no report {report_id!r}")
        return self._reports[report_id]

    def cancel(self, account: Account, report_id: str) -> None:
        """Only while it waits. Source: cancelReport."""
        report = self.found(account, report_id)
        if self.status(report) != "IN_QUEUE":
            raise invalid(f"Report '{report_id}' is {self.status(report)}.", CODE, "Invalid input")
        report.status, report.ended_at = "CANCELLED", self._amazon.clock.now()
        self._tell(report)
        self._amazon.journal.effect("cancelReport", report.id, {"reportType": report.kind})

    def of_document(self, account: Account, document_id: str) -> str:
        """`document_id`, if it is one of a report of the account's."""
        for report in self._reports.values():
            if report.document_id == document_id and report.wanted.account is account and not self._gone(report):
                return document_id
        raise not_found(f"Document '{document_id}' does not exist.")

    def newest_first(self, account: Account) -> Iterable[Report]:
        kept = (one for one in self._reports.values() if one.wanted.account is account and not self._gone(one))
        return sorted(kept, key=lambda report: (report.created_at, int(report.id)), reverse=True)

    def status(self, report: Report) -> str:
        if report.status is not None:
            return report.status
        age_s = self._amazon.clock.seconds() - report.created_s
        return "IN_QUEUE" if age_s < report.queue_s else "IN_PROGRESS"

    def shown(self, report: Report) -> dict[str, Any]:
        """As a read shows it."""
        began = report.created_at + timedelta(seconds=report.queue_s)
        shown: dict[str, Any] = {
            "reportId": report.id,
            "reportType": report.kind,
            "marketplaceIds": [MARKETPLACES[code].id for code in report.wanted.marketplaces],
            "dataStartTime": iso(report.wanted.start),
            "dataEndTime": iso(report.wanted.end),
            "createdTime": iso(report.created_at),
            "processingStatus": self.status(report),
        }
        if shown["processingStatus"] not in ("IN_QUEUE", "CANCELLED"):
            shown["processingStartTime"] = iso(min(began, report.ended_at or began))
        if report.ended_at is not None:
            shown["processingEndTime"] = iso(report.ended_at)
        if report.document_id is not None:
            shown["reportDocumentId"] = report.document_id
        return shown

    def _end(self, report: Report) -> None:
        if report.status is None:
            self.finish(report)

    def _tell(self, report: Report) -> None:
        seller, status = report.wanted.account.seller, self.status(report)
        self._amazon.notices.finished(seller, "report", report.id, report.kind, status, report.document_id)

    def _make(self, report: Report) -> None:
        """Write the report of the world as it is. One without rows is CANCELLED: there is no data to return."""
        kind, wanted = KINDS[report.kind], report.wanted
        rows = list(kind.rows(self._amazon, wanted))
        report.status = "DONE" if rows else "CANCELLED"
        if rows:
            hand = HANDS[wanted.marketplaces[0]]
            content = written(hand, kind.columns, rows)
            report.document_id = self._amazon.documents.put(content, hand.content_type, gzip=hand.gzip)

    def _keep_settlement(self, settlement: Settlement) -> None:
        wanted = Wanted(settlement.account, (settlement.marketplace,), settlement.start, settlement.end)
        report = Report(self._new_id(), settlements.KIND, wanted, settlement.end, 0.0)
        report.status, report.ended_at, report.document_id = "DONE", settlement.end, settlement.document_id
        self._reports[report.id] = report
        if settlement.end >= self._amazon.clock.start:
            self._tell(report)

    def _fate(self, kind: str, wanted: Wanted) -> Fate:
        for place, (named, fate) in enumerate(self.fates):
            if named in (kind, "*"):
                del self.fates[place]
                return fate
        limits = KINDS[kind]
        if limits.range_days and wanted.end - wanted.start > timedelta(days=limits.range_days):
            return Fate("FATAL", f"The date range is longer than {limits.range_days} days.")
        now = self._amazon.clock.seconds()
        for report in self._reports.values():
            same = report.kind == kind and report.wanted.account is wanted.account
            counts = same and report.wanted.marketplaces == wanted.marketplaces and report.status in (None, "DONE")
            if counts and report.fate.status is None and now - report.created_s < limits.interval_s:
                return Fate("CANCELLED")
        return Fate()

    def _asked(self, account: Account, body: object) -> tuple[str, Wanted]:
        if not isinstance(body, dict) or set(body) - _MEMBERS:
            raise _wrong("The body has other members than a report's specification.")
        kind = str(body.get("reportType"))
        if kind in _SETTLEMENT_NUMBERS:
            words = f"Request for report type {_SETTLEMENT_NUMBERS[kind]} is not allowed at this time"
            raise Failure(400, "InvalidInput", words)
        if kind not in KINDS:
            raise _wrong(f"Report type {kind!r} is invalid.")
        options = body.get("reportOptions", {})
        if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
            raise _wrong("'reportOptions' holds strings.")
        now = self._amazon.clock.now()
        start, end = (_time(body, name, now) for name in ("dataStartTime", "dataEndTime"))
        if start > end:
            raise _wrong("'dataStartTime' is after 'dataEndTime'.")
        return kind, Wanted(account, _marketplaces(account, body.get("marketplaceIds")), start, end)

    def _gone(self, report: Report) -> bool:
        return report.created_at < self._amazon.clock.now() - KEPT

    def _new_id(self) -> str:
        return str(50_000_018_000 + len(self._reports))


def reports_of(amazon: Amazon) -> Reports:
    """The reports of a sandbox, the same at each asking."""
    kept: Reports | None = amazon.areas.get(Reports)
    if kept is None:
        kept = amazon.areas[Reports] = Reports(amazon)
    return kept


def _wrong(details: str) -> Failure:
    return invalid(details, CODE, "Invalid input")


def _time(body: dict[str, Any], name: str, default: datetime) -> datetime:
    if name not in body:
        return default
    at = instant(body[name]) if isinstance(body[name], str) else None
    if at is None:
        raise _wrong(f"'{name}' is not in ISO 8601 format.")
    return at


def _marketplaces(account: Account, ids: object) -> tuple[str, ...]:
    if not isinstance(ids, list) or not 1 <= len(ids) <= 25 or any(str(one) not in ALL_IDS for one in ids):
        raise _wrong("'marketplaceIds' holds 1 to 25 marketplaces.")
    codes = tuple(BY_ID[one].code for one in dict.fromkeys(ids) if one in BY_ID)
    if len(codes) < len(set(ids)) or any(code not in account.marketplaces for code in codes):
        raise denied()
    return codes


def page(reports: Reports, account: Account, query: Query, now: datetime) -> dict[str, Any]:
    """One page of getReports. A token goes alone, and stands for the whole request that it came with."""
    token = query.text("nextToken")
    if token is not None and any(query.has(name) for name in PARAMETERS if name != "nextToken"):
        raise query.wrong("'nextToken' is given with other parameters.")
    wanted = _filters(query, now) if token is None else unseal(token)
    if wanted is None or wanted.get("to") != "reports" or wanted.setdefault("of", account.seller) != account.seller:
        raise query.wrong("'nextToken' is invalid.")
    found = [report for report in reports.newest_first(account) if _fits(reports, report, wanted)]
    first, size = wanted["first"], wanted["size"]
    shown: dict[str, Any] = {"reports": [reports.shown(report) for report in found[first : first + size]]}
    if len(found) > first + size:
        shown["nextToken"] = seal({**wanted, "first": first + size})
    return shown


def _filters(query: Query, now: datetime) -> dict[str, Any]:
    types = query.csv("reportTypes", most=10)
    if not types:
        raise query.wrong("Either 'reportTypes' or 'nextToken' is required.")
    ids = query.csv("marketplaceIds", most=10)
    if any(one not in ALL_IDS for one in ids):
        raise query.wrong("'marketplaceIds' holds what is no marketplace.")
    until = query.instant("createdUntil") or now
    return {
        "to": "reports",
        "types": types,
        "statuses": query.csv("processingStatuses", among=STATUSES),
        "ids": ids,
        "since": iso(query.instant("createdSince") or now - KEPT),
        "until": iso(until),
        "first": 0,
        "size": query.count("pageSize", 1, 100, 10),
    }


def _fits(reports: Reports, report: Report, wanted: dict[str, Any]) -> bool:
    ids = {MARKETPLACES[code].id for code in report.wanted.marketplaces}
    return (
        report.kind in wanted["types"]
        and (not wanted["statuses"] or reports.status(report) in wanted["statuses"])
        and (not wanted["ids"] or bool(ids & set(wanted["ids"])))
        and wanted["since"] <= iso(report.created_at) <= wanted["until"]
    )


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""

    def reports() -> Reports:
        reports_of(amazon).settle()
        return reports_of(amazon)

    def create(asked: Asked) -> dict[str, str]:
        return reports().create(asked.account, asked.body)

    def one(asked: Asked) -> dict[str, Any]:
        there = reports()
        return there.shown(there.found(asked.account, asked.path["reportId"]))

    def listed(asked: Asked) -> dict[str, Any]:
        return page(reports(), asked.account, asked.query, amazon.clock.now())

    def cancel(asked: Asked) -> None:
        reports().cancel(asked.account, asked.path["reportId"])

    def document(asked: Asked) -> dict[str, Any]:
        document_id = reports().of_document(asked.account, asked.path["reportDocumentId"])
        encoded = asked.query.one_of("enableContentEncodingUrlHeader", ("true", "false")) == "true"
        stored = amazon.documents.stored(document_id)
        gzip = {"compressionAlgorithm": "GZIP"} if stored and stored.gzipped else {}
        return {"reportDocumentId": document_id, "url": amazon.documents.address(document_id, encoded=encoded), **gzip}

    path = "/reports/2021-06-30/reports"
    single, documents = path + "/{reportId}", "/reports/2021-06-30/documents/{reportDocumentId}"
    return [
        Operation("createReport", "POST", path, create, code=CODE, status=202),
        Operation("getReports", "GET", path, listed, PARAMETERS, code=CODE),
        Operation("getReport", "GET", single, one, code=CODE),
        Operation("cancelReport", "DELETE", single, cancel, code=CODE),
        Operation("getReportDocument", "GET", documents, document, ("enableContentEncodingUrlHeader",), code=CODE),
    ]


def routes(amazon: Amazon) -> list[BaseRoute]:
    """Reports on demand: how long they take, what becomes of the next ones, and an end to one that is being made."""
    reports = reports_of(amazon)

    def shown(_: object = None) -> dict[str, Any]:
        reports.settle()
        return {
            "queueSeconds": reports.queue_s,
            "progressSeconds": reports.progress_s,
            "reports": [
                {"sellerId": account.seller, **reports.shown(report)}
                for account in amazon.accounts
                for report in reports.newest_first(account)
            ],
        }

    def change(body: dict[str, Any]) -> dict[str, Any]:
        if not body or set(body) - {"queueSeconds", "progressSeconds", "next", "finish"}:
            raise ValueError('send "queueSeconds", "progressSeconds", "next" or "finish"')
        reports.settle()
        queue_s = number(body, "queueSeconds") if "queueSeconds" in body else reports.queue_s
        progress_s = number(body, "progressSeconds") if "progressSeconds" in body else reports.progress_s
        fates = [(str(entry.get("reportType", "*")), _end_of(entry)) for entry in body.get("next", [])]
        ended = body.get("finish")
        report = reports.by_id(ended["reportId"]) if ended else None
        if report is not None and report.status is not None:
            raise ValueError(f"report {report.id} has ended already")
        if min(queue_s, progress_s) < 0:
            raise ValueError("seconds are not negative")
        reports.queue_s, reports.progress_s = queue_s, progress_s
        reports.fates += fates
        if ended and report is not None:
            end = _end_of(ended)
            reports.finish(report, end.status, end.reason)
        return shown()

    return [
        Route("/reports", endpoint(shown), methods=["GET"]),
        Route("/reports", answer(change), methods=["POST"]),
        *settlements.routes(reports.settlements),
    ]


def _end_of(entry: dict[str, Any]) -> Fate:
    if entry.get("status") not in ENDS:
        raise ValueError(f"status is one of {', '.join(ENDS)}")
    return Fate(entry["status"], entry.get("reason"))
