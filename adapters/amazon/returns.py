"""What comes back of Amazon's orders: refunds out of the movements of money, returns and reimbursements out of reports.

Returns to Amazon's own warehouses are told once a day and up to the midnight before; movements of money may be two days late. So
whoever goes on from `until` asks for the last three days again, and what is told again has the same reference.

Sources: Finances 2024-06-19 (listTransactions); Reports 2021-06-30: GET_FBA_FULFILLMENT_CUSTOMER_RETURNS_DATA,
GET_FLAT_FILE_RETURNS_DATA_BY_RETURN_DATE, GET_FBA_REIMBURSEMENTS_DATA ("FBA Reports", "Returns reports").
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from adapters.amazon import finances, reports
from adapters.amazon.client import Client
from adapters.amazon.rows import Row, instant
from adapters.port import Page
from adapters.wire import Unclear
from domain.budget import Ask
from domain.chain import Piece, PieceKind
from domain.errors import Invalid
from domain.finance import Transaction, TransactionItem
from domain.ids import ChannelId, derived_id
from domain.money import Money, parse_money
from domain.product import Rejected

FBA = "GET_FBA_FULFILLMENT_CUSTOMER_RETURNS_DATA"
OURS = "GET_FLAT_FILE_RETURNS_DATA_BY_RETURN_DATE"
PAID = "GET_FBA_REIMBURSEMENTS_DATA"

ROWS = 500
# The turn of a report that is made every four hours is not waited for: the stream comes again then.
TURN_S = 60.0
REFUND = "Refund"
# What of a refund the buyer gets; the rest is between Amazon and the seller.
TO_BUYER = frozenset({"Sales", "PromotionalRebates"})
BY_CHANNEL = {"AFN": True, "MFN": False}

# Whether Amazon broke the units. Source: "FBA customer returns report", detailed-disposition.
DISPOSITIONS = {
    "SELLABLE": False,
    "CUSTOMER_DAMAGED": False,
    "DEFECTIVE": False,
    "EXPIRED": False,
    "DAMAGED": True,
    "CARRIER_DAMAGED": True,
}
# Whether the units are to come back. The contract names no words for it; another one than these is kept for people to see.
REQUESTS = {"Approved": True, "Pending": True, "Completed": True, "Closed": True, "Denied": False, "Rejected": False}

# An order that Amazon only ships, whose returns its outbound order tells of; those sold at Amazon have digits alone.
FOREIGN = re.compile(r"S\d{2}-")


async def return_pages(
    client: Client, marketplaces: Sequence[str], since: datetime, ask: Ask
) -> AsyncIterator[Page[Piece]]:
    """Refunds, then returns to us, reimbursements, and returns to Amazon's warehouses. `marketplaces` are country codes.

    Raises Throttled when the report of the last is not made again yet; what was told by then stays.
    """
    now = datetime.now(UTC)
    async for told in finances.transaction_pages(client, since, ask):
        yield refunds(client.channel, told.items)
    for desk in (
        _Desk(
            OURS,
            _returned_to_us,
            ("Order ID", "Return request date", "Amazon RMA ID", "Merchant SKU", "Return quantity"),
        ),
        _Desk(
            PAID,
            _reimbursed,
            ("approval-date", "reimbursement-id", "amazon-order-id", "sku", "quantity-reimbursed-total"),
        ),
        _Desk(FBA, _returned_to_amazon, ("return-date", "order-id", "sku", "quantity", "detailed-disposition")),
    ):
        async for page in desk.pages(client, marketplaces, since, now, ask):
            yield page
    yield Page([], until=max(since, now - finances.GAP))


@dataclass(frozen=True, slots=True)
class _Desk:
    """Reads one type of report. `read` raises Unclear or Invalid for a row that it does not understand."""

    kind: str
    read: Callable[[ChannelId, Row], list[Piece]]
    needed: tuple[str, ...]

    async def pages(
        self, client: Client, marketplaces: Sequence[str], start: datetime, end: datetime, ask: Ask
    ) -> AsyncIterator[Page[Piece]]:
        """A few hundred rows at a time. A report that Amazon cancels has nothing to tell."""
        patient = replace(ask, deadline=time.monotonic() + TURN_S) if self.kind in reports.SEASONS else ask
        id = await reports.create(client, self.kind, marketplaces, patient, _without_intent, start=start, end=end)
        found = await reports.wait(client, id, ask)
        if isinstance(found, reports.NoData):
            return
        refused: list[Rejected] = []

        def refuse(number: int, reason: str, _: str) -> None:
            # The line itself may hold what a buyer wrote.
            refused.append(Rejected(client.channel, "return", f"{self.kind} line {number}", reason, ""))

        page: Page[Piece] = Page([], refused)
        lines = reports.lines(client, found, marketplaces[0], ask)
        async for row in reports.rows(lines, needed=self.needed, refuse=refuse):
            try:
                page.items += self.read(client.channel, row)
            except (Unclear, Invalid) as problem:
                raw = "\t".join(row[name] for name in self.needed)
                page.rejected.append(Rejected(client.channel, "return", f"{self.kind} {raw}", str(problem), raw))
            if len(page.items) >= ROWS:
                yield page
                refused = []
                page = Page([], refused)
        yield page


async def _without_intent() -> None:
    """A report that was asked for and forgotten costs a slot, no more."""


async def refunds_of(client: Client, order_id: str, ask: Ask) -> Page[Piece]:
    """The refunds of one order, at any time."""
    told = await finances.order_transactions(client, order_id, ask)
    page = refunds(client.channel, told.items)
    page.rejected += told.rejected
    return page


def refunds(channel: ChannelId, told: Iterable[Transaction]) -> Page[Piece]:
    """What of these movements are refunds, as pieces whose references begin with Amazon's id of the refund and a colon."""
    page: Page[Piece] = Page([])
    for one in told:
        if one.kind != REFUND:
            continue
        try:
            page.items += _refunded(channel, one)
        except (Unclear, Invalid) as problem:
            page.rejected.append(Rejected(channel, "refund", one.id or "?", str(problem), one.key))
    return page


def _refunded(channel: ChannelId, one: Transaction) -> list[Piece]:
    """A piece of each item. The same refund under another status has the same references."""
    orders, names = one.values("ORDER_ID"), one.values("REFUND_ID")
    if len(orders) != 1:
        raise Unclear(f"the refund names {len(orders)} orders")
    reference = names[0] if names else one.id
    if reference is None:
        raise Unclear("the refund has no id")
    seen: Counter[str] = Counter()
    pieces = []
    for item in one.items:
        name = f"{reference}:{item.sku or ''}"
        seen[name] += 1
        pieces.append(_item(channel, orders[0], f"{name}:{seen[name]}", one.posted_at, item))
    return pieces


def _item(channel: ChannelId, order: str, reference: str, at: datetime, item: TransactionItem) -> Piece:
    if item.sku is not None and (item.units is None or item.network not in BY_CHANNEL):
        raise Unclear(f"of {item.sku} it is not told how many units were refunded, or who shipped them")
    return Piece(
        channel=channel,
        kind=PieceKind.REFUNDED,
        reference=reference,
        order=order,
        sku=item.sku or "",
        units=item.units if item.sku is not None and item.units else 0,
        at=at,
        money=_to_buyer(item),
        by_channel=BY_CHANNEL.get(item.network or "", False),
    )


def _to_buyer(item: TransactionItem) -> Money | None:
    given = [branch.amount for branch in item.breakdowns if branch.kind in TO_BUYER]
    return -sum(given[1:], given[0]) if given else None


def _returned_to_amazon(channel: ChannelId, row: Row) -> list[Piece]:
    condition = row["detailed-disposition"].strip()
    if condition not in DISPOSITIONS:
        raise Unclear(f"detailed-disposition: {condition!r} is not known")
    order, sku = _named(row, "order-id"), _named(row, "sku")
    if FOREIGN.match(order):
        return []
    plate = row.get("license-plate-number", "").strip() or derived_id(*(row[name] for name in sorted(row)))
    return [
        Piece(
            channel=channel,
            kind=PieceKind.ARRIVED,
            reference=f"{plate}:{order}",
            order=order,
            sku=sku,
            units=_count(row, "quantity"),
            at=instant(row, "return-date"),
            by_channel=True,
            owed=DISPOSITIONS[condition],
            condition=condition,
        )
    ]


def _returned_to_us(channel: ChannelId, row: Row) -> list[Piece]:
    """Announced, and arrived where the carrier has delivered it."""
    status = row.get("Return request status", "").strip()
    if status not in REQUESTS:
        raise Unclear(f"Return request status: {status!r} is not known")
    if not REQUESTS[status]:
        return []
    sku = _named(row, "Merchant SKU")
    announced = Piece(
        channel=channel,
        kind=PieceKind.ANNOUNCED,
        reference=f"{_named(row, 'Amazon RMA ID')}:{sku}",
        order=_named(row, "Order ID"),
        sku=sku,
        units=_count(row, "Return quantity"),
        at=_day(row, "Return request date"),
    )
    if not row.get("Return delivery date", "").strip():
        return [announced]
    return [announced, replace(announced, kind=PieceKind.ARRIVED, at=_day(row, "Return delivery date"))]


def _reimbursed(channel: ChannelId, row: Row) -> list[Piece]:
    sku = _named(row, "sku")
    amount = row.get("amount-total", "").strip()
    paid = parse_money(amount, row.get("currency-unit", "").strip()) if amount else None
    return [
        Piece(
            channel=channel,
            kind=PieceKind.REIMBURSED,
            reference=f"{_named(row, 'reimbursement-id')}:{sku}",
            order=row["amazon-order-id"].strip() or None,
            sku=sku,
            units=_count(row, "quantity-reimbursed-total"),
            at=instant(row, "approval-date"),
            # Units may be given back instead of money.
            money=paid if paid is not None and paid.amount else None,
            by_channel=True,
            condition=row.get("reason", "").strip() or None,
        )
    ]


def _named(row: Row, name: str) -> str:
    text = row[name].strip()
    if not text:
        raise Unclear(f"{name} is missing")
    return text


def _count(row: Row, name: str) -> int:
    text = row[name].strip()
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise Unclear(f"{name} is no count of units")
    return int(text)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _day(row: Row, name: str) -> datetime:
    """A day such as 05-Mar-2026, as its first moment in UTC: the file names no time."""
    day, _, rest = row[name].strip().partition("-")
    month, _, year = rest.partition("-")
    try:
        return datetime(int(year), _MONTHS.index(month) + 1, int(day), tzinfo=UTC)
    except ValueError:
        raise Unclear(f"{name} is no day") from None
