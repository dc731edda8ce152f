"""FBA stock out of a report: some four calls for any number of SKUs, minutes later.

The report tells less than getInventorySummaries: what is reserved only as a sum, and what is researched only in newer files. Its
counts are at least as young as the asking for it, and so they are dated.

Sources: Reports 2021-06-30; GET_FBA_MYI_UNSUPPRESSED_INVENTORY_DATA ("Fulfillment by Amazon (FBA) Reports").
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.amazon import reports
from adapters.amazon.client import Client
from adapters.amazon.inventory import stock_pages
from adapters.amazon.waiting import PAUSES_S
from adapters.budget import Budgets
from adapters.port import Page
from adapters.wire import Unclear
from domain.budget import Ask, Plan
from domain.channel import Location
from domain.errors import MissingRole, OutcomeUnknown, Refused, Throttled, Transient
from domain.ids import ChannelId, ChannelSku
from domain.product import Rejected
from domain.route import Route, Step, Way
from domain.stock import PoolUnits, Reading

log = logging.getLogger(__name__)

TYPE = reports.FBA_STOCK
SEASON = reports.SEASONS[TYPE]

# What Amazon takes to make one, before one of this account has shown it.
EXPECTED_S = 180.0
# Looks at a report: at once, when it should be ready, and a little later.
LOOKS = 3
CALL_S = 0.3
# Reading a file of stock, by its rows.
ROW_S = 0.00003
# Shares of the usual time: when to look first, and how long to wait after each look.
SHARES = (1.0, 0.03, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
LATER_S = (60.0, 120.0)
# A report that takes so many times the usual is given up, and the pool is walked through.
PATIENCE, PATIENCE_S = 4.0, 900.0

ROWS = 500
FULFILLABLE, UNSELLABLE, RESERVED = "afn-fulfillable-quantity", "afn-unsellable-quantity", "afn-reserved-quantity"
INBOUND = ("afn-inbound-working-quantity", "afn-inbound-shipped-quantity", "afn-inbound-receiving-quantity")
WAREHOUSE, TOTAL = "afn-warehouse-quantity", "afn-total-quantity"
RESEARCHING = "afn-researching-quantity"
NEEDED = ("sku", "fnsku", FULFILLABLE, UNSELLABLE, RESERVED, WAREHOUSE, TOTAL, *INBOUND)


def route(plans: Mapping[str, Plan], pools: int, known: int, usual_s: float | None) -> Route:
    """What a report of each of `pools` takes, with so many known SKUs each; `usual_s` is what the last ones took."""
    made_s = EXPECTED_S if usual_s is None else usual_s
    steps = (
        Step(SEASON, 1, made=False),
        Step(plans["createReport"], 1, call_s=CALL_S, then_s=made_s),
        Step(plans["getReport"], LOOKS, call_s=CALL_S),
        Step(plans["getReportDocument"], 1, call_s=CALL_S, then_s=known * ROW_S),
    )
    return Route(Way.REPORT, pools * steps, whole=True, age_s=made_s)


async def stock_pages_by_report(
    client: Client, budgets: Budgets, locations: Sequence[Location], ask: Ask
) -> AsyncIterator[Page[Reading]]:
    """Every SKU of each pool, once. A pool whose report Amazon does not give, or not whole, is walked through instead."""
    started_at = datetime.now(UTC)
    for place, location in enumerate(locations, start=1):
        told: set[ChannelSku] = set()
        async for page in _pool(client, budgets, location, ask):
            new = [one for one in page.items if one.channel_sku not in told]
            told.update(one.channel_sku for one in new)
            yield Page(new, page.rejected)
        if place == len(locations):
            yield Page([], until=started_at)


async def _pool(client: Client, budgets: Budgets, location: Location, ask: Ask) -> AsyncIterator[Page[Reading]]:
    try:
        async for page in _reported(client, budgets, location, ask):
            yield page
    except (Refused, Transient, Throttled, OutcomeUnknown, MissingRole, Unclear) as problem:
        extra = {"channel": client.channel, "location": location.code, "reason": str(problem)}
        log.warning("stock.report_failed", extra=extra)
    else:
        return
    async for page in stock_pages(client, [location], ask):
        yield page


async def _reported(client: Client, budgets: Budgets, location: Location, ask: Ask) -> AsyncIterator[Page[Reading]]:
    """The readings of one pool out of one report. Raises Unclear for a file that is none, and Transient for none at all: an empty
    pool cannot be told from a report that Amazon did not want to make."""
    as_of, asked_at = datetime.now(UTC), time.monotonic()
    usual_s = await budgets.usual.seconds(client.channel, TYPE)
    found = await reports.run(
        client,
        TYPE,
        [location.external_id],
        ask,
        _without_intent,
        pauses_s=PAUSES_S if usual_s is None else (*(share * usual_s for share in SHARES), *LATER_S),
        patience_s=max(PATIENCE_S, PATIENCE * (usual_s or 0.0)),
    )
    if isinstance(found, reports.NoData):
        raise Transient("Amazon cancelled the report.")
    await budgets.usual.took(client.channel, TYPE, _took_s(found.report, time.monotonic() - asked_at))
    desk = _Desk(client.channel, location, as_of)
    refused: list[Rejected] = []

    def refuse(number: int, reason: str, line: str) -> None:
        refused.append(Rejected(client.channel, "stock", f"{TYPE} line {number}", reason, line))

    page: Page[Reading] = Page([], refused)
    async for row in reports.rows(
        reports.lines(client, found, location.external_id, ask), needed=NEEDED, refuse=refuse
    ):
        if row.get("afn-listing-exists") == "No":  # an offer that is ours to fulfill
            continue
        try:
            page.items.append(desk.reading(row))
        except Unclear as problem:
            raw = "\t".join(row.values())
            page.rejected.append(Rejected(client.channel, "stock", row["sku"] or "?", str(problem), raw))
        if len(page.items) == ROWS:
            yield page
            refused = []
            page = Page([], refused)
    yield page


def _took_s(report: reports.Report, waited_s: float) -> float:
    """What it took to make: by Amazon's clock where it says so, for we only see that it is ready when we look."""
    if report.processing_end_time is None:
        return waited_s
    return min(waited_s, max(0.0, (report.processing_end_time - report.created_time).total_seconds()))


async def _without_intent() -> None:
    """A report that was asked for and forgotten costs a slot, no more."""


@dataclass(frozen=True, slots=True)
class _Desk:
    """Reads the rows of one pool's report."""

    channel: ChannelId
    location: Location
    as_of: datetime

    def reading(self, row: Mapping[str, str]) -> Reading:
        """Raises Unclear for what is no count, and for counts that are not the parts of their sums."""
        if not row["sku"].strip():
            raise Unclear("the row has no SKU")
        fulfillable, unsellable, reserved = (_count(row, name) for name in (FULFILLABLE, UNSELLABLE, RESERVED))
        inbound = [_count(row, name) for name in INBOUND]
        warehouse = fulfillable + unsellable + reserved
        if (_count(row, WAREHOUSE), _count(row, TOTAL)) != (warehouse, warehouse + sum(inbound)):
            raise Unclear(f"{WAREHOUSE} or {TOTAL} is not the sum of its parts")
        return Reading(
            location=self.location.code,
            channel=self.channel,
            channel_sku=ChannelSku(row["sku"]),
            on_hand=fulfillable + reserved,
            reserved=reserved,
            inbound=sum(inbound),
            as_of=self.as_of,
            units=PoolUnits(
                fn_sku=row["fnsku"] or None,
                fulfillable=fulfillable,
                inbound_working=inbound[0],
                inbound_shipped=inbound[1],
                inbound_receiving=inbound[2],
                reserved_orders=None,
                reserved_transshipment=None,
                reserved_processing=None,
                researching=_count(row, RESEARCHING) if row.get(RESEARCHING) else None,
                unfulfillable=unsellable,
            ),
        )


def _count(row: Mapping[str, str], name: str) -> int:
    text = row[name].strip()
    if not (text.isascii() and text.isdigit()):
        raise Unclear(f"{name} is no count")
    return int(text)
