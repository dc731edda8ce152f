"""Orders out of a report: some four calls for any number of them, minutes later.

The report tells less than searchOrders: of each line the SKU and not the item's id, nothing of parcels and promises, and prices
of which nobody says whether their tax is in them. So what it tells is a sketch (`Order.whole`), whose lines are its SKUs, without
money; the order itself is read before anything needs more.

Sources: Reports 2021-06-30; GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL ("Order reports attributes").
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from adapters.amazon import orders, reports
from adapters.amazon.client import Client
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.rows import Row, instant
from adapters.amazon.waiting import PAUSES_S
from adapters.budget import Budgets
from adapters.port import Page
from adapters.wire import Unclear
from domain.budget import Ask, Plan
from domain.errors import MissingRole, OutcomeUnknown, Refused, Throttled, Transient
from domain.ids import ChannelId, ChannelSku, line_id, order_id
from domain.order import Order, OrderLine, OrderStatus
from domain.person import Destination, Recipient
from domain.product import FulfilledBy, Rejected
from domain.route import Route, Step, Way

log = logging.getLogger(__name__)

TYPE = reports.ORDERS

# Amazon makes none of a longer range. Source: "Order reports attributes".
LONGEST = timedelta(days=30)
# What changed later is not in every answer yet; searchOrders has the same margin.
SETTLED = timedelta(minutes=2)
# What Amazon takes to make one, before one of this account has shown it.
EXPECTED_S = 180.0
# Looks at a report: at once, when it should be ready, and a little later.
LOOKS = 3
CALL_S = 0.3
# Reading a file and keeping what it tells, by its orders.
ORDER_S = 0.002
# Shares of the usual time: when to look first, and how long to wait after each look.
SHARES = (1.0, 0.03, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
LATER_S = (60.0, 120.0)
# A report that takes so many times the usual is given up, and searchOrders is asked instead.
PATIENCE, PATIENCE_S = 4.0, 900.0
# searchOrders: what an answer takes.
SEARCH_S = 0.5

ORDERS = 500
NEEDED = (
    "amazon-order-id",
    "purchase-date",
    "last-updated-date",
    "order-status",
    "fulfillment-channel",
    "sales-channel",
    "ship-service-level",
    "product-name",
    "sku",
    "item-status",
    "quantity",
    "ship-country",
    "ship-postal-code",
)

STATUSES = {
    "PendingAvailability": OrderStatus.PENDING,
    "Pending": OrderStatus.PENDING,
    "Unshipped": OrderStatus.UNSHIPPED,
    "PartiallyShipped": OrderStatus.PARTIALLY_SHIPPED,
    "Shipped": OrderStatus.SHIPPED,
    "Cancelled": OrderStatus.CANCELLED,
    "Canceled": OrderStatus.CANCELLED,
    "Unfulfillable": OrderStatus.ON_HOLD,
}
FULFILLED_BY = {"Merchant": FulfilledBy.MERCHANT, "Amazon": FulfilledBy.CHANNEL}
# An own shop's order that Amazon only ships; in some stores with the country behind it.
FOREIGN = "non-amazon"


def routes(plans: Mapping[str, Plan], span_s: float, changes: int, named: int, usual_s: float | None) -> list[Route]:
    """The ways to read so many `changes` of the last `span_s` seconds, the one that tells more first: searchOrders page by page,
    a report for each 30 days, or getOrder for those that are `named`. `usual_s` is what the last reports took."""
    pages = Step(plans["searchOrders"], max(1, math.ceil(changes / orders.PAGE)), call_s=SEARCH_S)
    made_s = EXPECTED_S if usual_s is None else usual_s
    steps = (
        Step(plans["createReport"], 1, call_s=CALL_S, then_s=made_s),
        Step(plans["getReport"], LOOKS, call_s=CALL_S),
        Step(plans["getReportDocument"], 1, call_s=CALL_S),
    )
    parts = max(1, math.ceil(span_s / LONGEST.total_seconds()))
    kept = Step(plans["getReportDocument"], 0, then_s=changes * ORDER_S)
    return [
        Route(Way.PAGES, (pages,), whole=True),
        Route(Way.REPORT, (*(parts * steps), kept), whole=True, age_s=made_s),
        Route(Way.SINGLE, (Step(plans["getOrder"], named, call_s=CALL_S),)),
    ]


async def order_pages_by_report(
    client: Client, budgets: Budgets, codes: Mapping[str, str], since: datetime, ask: Ask
) -> AsyncIterator[Page[Order]]:
    """Sketches of the orders that changed since then, oldest change first. A report that Amazon does not give, or not whole, is
    replaced by the pages of searchOrders from where it began, to the end."""
    begins, ends = since, datetime.now(UTC) - SETTLED
    while begins < ends:
        part = min(begins + LONGEST, ends)
        try:
            async for page in reported(client, budgets, codes, begins, part, ask):
                yield page
        except (Refused, Transient, Throttled, OutcomeUnknown, MissingRole, Unclear) as problem:
            log.warning("orders.report_failed", extra={"channel": client.channel, "reason": str(problem)})
            async for page in orders.order_pages(client, codes, begins, ask):
                yield page
            return
        yield Page([], until=part)
        begins = part


async def reported(
    client: Client, budgets: Budgets, codes: Mapping[str, str], start: datetime, end: datetime, ask: Ask
) -> AsyncIterator[Page[Order]]:
    """What one report tells of the orders that changed within a range of 30 days at most.

    Raises Unclear for a file that is none, and Transient for none at all: that nothing has changed cannot be told from a report
    that Amazon did not want to make.
    """
    asked_at = time.monotonic()
    usual_s = await budgets.usual.seconds(client.channel, TYPE)
    found = await reports.run(
        client,
        TYPE,
        list(codes.values()),
        ask,
        _without_intent,
        start=start,
        end=end,
        pauses_s=PAUSES_S if usual_s is None else (*(share * usual_s for share in SHARES), *LATER_S),
        patience_s=max(PATIENCE_S, PATIENCE * (usual_s or 0.0)),
    )
    if isinstance(found, reports.NoData):
        raise Transient("Amazon cancelled the report.")
    await budgets.usual.took(client.channel, TYPE, time.monotonic() - asked_at)
    refused: list[Rejected] = []

    def refuse(number: int, reason: str, _: str) -> None:
        # The line itself may hold where a buyer lives.
        refused.append(Rejected(client.channel, "order", f"{TYPE} line {number}", reason, ""))

    lines = reports.lines(client, found, next(iter(codes.values())), ask)
    desk = _Desk(client.channel, {marketplace(code).domain: code for code in codes.values()})
    async for page in desk.pages(reports.rows(lines, needed=NEEDED, refuse=refuse)):
        page.rejected.extend(refused)
        refused.clear()
        yield page


async def _without_intent() -> None:
    """A report that was asked for and forgotten costs a slot, no more."""


@dataclass(slots=True)
class _Desk:
    """Reads the rows of one report, an order's at a time. `codes` are country codes by the store's address; `told` the ids of the
    orders that were read, which is all that grows with the file."""

    channel: ChannelId
    codes: Mapping[str, str]
    told: set[str] = field(default_factory=set)

    async def pages(self, rows: AsyncIterator[Row]) -> AsyncIterator[Page[Order]]:
        """Some hundred orders at a time; the last page may be empty."""
        page: Page[Order] = Page([])
        together: list[Row] = []
        async for row in rows:
            if together and row["amazon-order-id"] != together[0]["amazon-order-id"]:
                self._keep(page, together)
                together = []
                if len(page.items) == ORDERS:
                    yield page
                    page = Page([])
            together.append(row)
        if together:
            self._keep(page, together)
        yield page

    def _keep(self, page: Page[Order], rows: Sequence[Row]) -> None:
        id = rows[0]["amazon-order-id"]
        try:
            found = self._order(id, rows)
        except Unclear as problem:
            page.rejected.append(Rejected(self.channel, "order", id or "?", str(problem), _discreet(rows)))
            return
        self.told.add(id)
        if found is not None:
            page.items.append(found)

    def _order(self, id: str, rows: Sequence[Row]) -> Order | None:
        """None for an own shop's order that Amazon only ships. Raises Unclear."""
        first = rows[0]
        if first["sales-channel"].lower().startswith(FOREIGN):
            return None
        if not id:
            raise Unclear("the row has no order")
        if id in self.told:
            raise Unclear("its rows do not stand together")
        code = self.codes.get(first["sales-channel"].lower())
        if code is None:
            raise Unclear(f"sales-channel: {first['sales-channel']!r} is none of this channel's")
        word, party = first["order-status"], FULFILLED_BY.get(first["fulfillment-channel"])
        status = STATUSES.get(word)
        if status is None:
            raise Unclear(f"order-status: {word!r} is not known")
        if party is None:
            raise Unclear(f"fulfillment-channel: {first['fulfillment-channel']!r} is not known")
        lines = _lines(self.channel, id, status, rows)
        if status is OrderStatus.UNSHIPPED and any(line.quantity_shipped for line in lines):
            status = OrderStatus.PARTIALLY_SHIPPED
        return Order(
            id=order_id(self.channel, id),
            channel=self.channel,
            marketplace=code,
            external_id=id,
            status=status,
            channel_status=word,
            fulfilled_by=party,
            placed_at=instant(first, "purchase-date"),
            updated_at=instant(first, "last-updated-date"),
            lines=lines,
            service=first["ship-service-level"] or None,
            destination=_destination(first),
            whole=False,
        )


def _lines(channel: ChannelId, order: str, status: OrderStatus, rows: Sequence[Row]) -> list[OrderLine]:
    """One for each SKU, in the order of the file. What is cancelled is not wanted; a row is shipped as a whole or not at all."""
    lines: dict[str, OrderLine] = {}
    for row in rows:
        sku = row["sku"]
        if not sku.strip():
            raise Unclear("a row has no SKU")
        ordered, word = _count(row, "quantity"), STATUSES.get(row["item-status"], status)
        wanted = 0 if OrderStatus.CANCELLED in (word, status) else ordered
        shipped = wanted if OrderStatus.SHIPPED in (word, status) else 0
        name = f"sku={sku}"
        line = lines.setdefault(
            sku,
            OrderLine(
                id=line_id(order_id(channel, order), name),
                external_id=name,
                channel_sku=ChannelSku(sku),
                quantity=0,
                quantity_shipped=0,
                title=row["product-name"] or None,
            ),
        )
        line.quantity += wanted
        line.quantity_cancelled += ordered - wanted
        line.quantity_shipped += shipped
    return list(lines.values())


def _destination(row: Row) -> Destination | None:
    country = row["ship-country"].strip().upper()
    if len(country) != 2:
        return None
    return Recipient(country, postal_code=row["ship-postal-code"]).destination


def _count(row: Row, name: str) -> int:
    text = row[name].strip()
    if not (text.isascii() and text.isdigit()):
        raise Unclear(f"{name} is no count")
    return int(text)


def _discreet(rows: Sequence[Row]) -> str:
    """What may be kept of an order that cannot be read: nothing of where it goes."""
    names = (
        "order-status",
        "item-status",
        "fulfillment-channel",
        "sales-channel",
        "sku",
        "quantity",
        "last-updated-date",
    )
    return "\n".join("\t".join(row[name] for name in names) for row in rows)
