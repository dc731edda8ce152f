"""Reports that are asked for by people and kept as Amazon has written them. Source: Reports 2021-06-30.

Only types without anything of buyers: neither order reports, which tell where orders go, nor those of returns, which tell what
buyers wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from adapters.amazon import reports
from adapters.amazon.client import Client
from adapters.amazon.documents import Expired, opened
from adapters.amazon.reports import Document
from adapters.port import BeforeSend, Receipt
from domain.budget import Ask
from domain.errors import Refused
from domain.report import ReportFile, ReportWanted

TYPES: Mapping[str, str] = {
    reports.LISTINGS: "all listings, inactive ones too",
    "GET_FLAT_FILE_OPEN_LISTINGS_DATA": "active listings with price and quantity",
    reports.FBA_STOCK: "FBA stock of each SKU by its state",
    "GET_AFN_INVENTORY_DATA": "FBA units that can be sent",
    "GET_RESERVED_INVENTORY_DATA": "FBA units that are reserved, and for what",
    "GET_LEDGER_SUMMARY_VIEW_DATA": "movements of FBA stock, in sums",
    "GET_LEDGER_DETAIL_VIEW_DATA": "movements of FBA stock, one by one",
    "GET_FBA_REIMBURSEMENTS_DATA": "what Amazon paid for lost and damaged units",
    "GET_SALES_AND_TRAFFIC_REPORT": "sales and page views by day and by ASIN, as JSON",
}
"""Sources: "Inventory Reports", "Fulfillment by Amazon (FBA) Reports", "Analytics Reports"."""

MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The reports of an account."""

    client: Client

    async def ask(self, wanted: ReportWanted, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Source: createReport. A lost answer is an unknown outcome at once: whoever asked looks for it later."""
        id = await reports.create(
            self.client,
            wanted.report_type,
            _stores(wanted),
            ask,
            before_send,
            start=wanted.start,
            end=wanted.end,
            looks_s=(),
        )
        return Receipt(None, id)

    async def asked(self, wanted: ReportWanted, asked_at: datetime, but: Collection[str], ask: Ask) -> str | None:
        """Source: getReports."""
        return await reports.made(
            self.client,
            wanted.report_type,
            _stores(wanted),
            asked_at,
            ask,
            start=wanted.start,
            end=wanted.end,
            but=but,
        )

    async def file(self, report_id: str, ask: Ask) -> ReportFile | None:
        """Sources: getReport, getReportDocument, and Amazon's store."""
        report = await reports.status(self.client, report_id, ask)
        if report.processing_status not in reports.ENDED:
            return None
        found = await reports.outcome(self.client, report, ask)
        if not isinstance(found, Document):
            raise Refused(
                f"Amazon cancelled report {report_id}: it had nothing to tell, was asked for again too soon, or somebody "
                "cancelled it. Amazon does not say which."
            )
        try:
            return await self._read(found, ask)
        except Expired:
            return await self._read(await reports.document(self.client, report, ask), ask)

    async def _read(self, found: Document, ask: Ask) -> ReportFile:
        content = bytearray()
        async with opened(self.client, found.url, gzipped=found.gzipped, ask=ask) as body:
            async for chunk in body.chunks:
                content += chunk
                if len(content) > MOST_BYTES:
                    words = f"The report has more than {MOST_BYTES} bytes, which are not kept; ask for a shorter time."
                    raise Refused(words)
            return ReportFile(bytes(content), body.content_type)


def _stores(wanted: ReportWanted) -> list[str]:
    assert wanted.marketplace is not None, "at Amazon each report is of a marketplace"
    return [wanted.marketplace]
