"""Settlement reports, which Amazon makes by itself every week or two. Source: Reports 2021-06-30; "Settlement Reports".

They can be found and not asked for, are there for about 90 days, and there is one for each marketplace and currency.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from adapters.amazon import reports
from adapters.amazon.client import Client
from adapters.amazon.documents import Body, Expired, opened
from adapters.amazon.marketplaces import BY_ID
from adapters.finances import SettlementBytes, SettlementReport
from domain.budget import Ask

log = logging.getLogger(__name__)

# As far back as getReports looks; a little less, since its clock is not ours.
KEPT_FOR = timedelta(days=90) - timedelta(hours=1)


async def settlement_reports(client: Client, since: datetime, ask: Ask) -> list[SettlementReport]:
    """Those created since then, oldest first: a seller has some hundreds at the most. Source: getReports."""
    found = []
    first = max(since, datetime.now(UTC) - KEPT_FOR)
    async for report in reports.listed(client, [reports.SETTLEMENTS], ask, since=first):
        if report.processing_status in reports.VAIN:
            extra = {"channel": client.channel, "report": report.report_id, "status": report.processing_status}
            log.warning("settlement.not_made", extra=extra)
            continue
        places = report.marketplace_ids
        found.append(
            SettlementReport(
                id=report.report_id,
                created_at=report.created_time.astimezone(UTC),
                marketplace=BY_ID.get(places[0]) if len(places) == 1 else None,
                document=report.report_document_id,
                ended=report.processing_status == "DONE",
            )
        )
    return sorted(found, key=lambda one: (one.created_at, one.id))


@asynccontextmanager
async def settlement_file(client: Client, report: SettlementReport, ask: Ask) -> AsyncIterator[SettlementBytes]:
    """Its bytes, packed or not: who keeps them unpacks them, and so knows what is damaged for good from what was only cut on its
    way. An address that has died is renewed once. Sources: getReportDocument, and Amazon's store."""
    assert report.document is not None, "only a report that has ended has a file"
    async with AsyncExitStack() as stack:
        try:
            body = await _opened(client, report.document, ask, stack)
        except Expired:
            body = await _opened(client, report.document, ask, stack)
        yield SettlementBytes(body.content_type, body.chunks)


async def _opened(client: Client, document: str, ask: Ask, stack: AsyncExitStack) -> Body:
    found = await reports.address(client, document, ask)
    return await stack.enter_async_context(opened(client, found.url, gzipped=False, ask=ask))
