"""Settlements: each account is paid every fourteen days for each of its marketplaces, and a file says what the sum is made of.

What orders and refunds bring is `money_flow`'s; beside it stand the fees of the account, parcel labels, units that Amazon lost
and paid for, and the reserve that goes from one settlement to the next. Source: SP-API documentation, "Settlement reports
attributes".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from starlette.routing import BaseRoute, Route

from sandbox.amazon.auth import Account
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.money_flow import Flow, Part, account_flows, period
from sandbox.amazon.settlement_files import Entry, Summary, file_of
from sandbox.amazon.state import Amazon, money
from sandbox.control import answer, endpoint
from sandbox.journal import iso

KIND = "GET_V2_SETTLEMENT_REPORT_DATA_FLAT_FILE_V2"
HISTORY = timedelta(days=31)
"""The orders that a world begins with are at most so old."""
_RESERVED_FOR = timedelta(days=7)
_RESERVED_PERCENT = 20
_DEPOSITED_AFTER = timedelta(days=2)

AMOUNTS: dict[Part, tuple[str, str]] = {
    "PRINCIPAL": ("ItemPrice", "Principal"),
    "TAX": ("ItemPrice", "Tax"),
    "SHIPPING": ("ItemPrice", "Shipping"),
    "SHIPPING_PROMOTION": ("Promotion", "Shipping"),
    "TAX_WITHHELD": ("ItemWithheldTax", "MarketplaceFacilitatorTax-Principal"),
    "REFERRAL_FEE": ("ItemFees", "Commission"),
    "FBA_FEE": ("ItemFees", "FBAPerUnitFulfillmentFee"),
    "REFUND_FEE": ("ItemFees", "RefundCommission"),
}
SUBSCRIPTION = {"US": "Subscription Fee", "DE": "Abonnementgebühr", "FR": "Frais d'abonnement", "JP": "月額登録料"}
STORAGE = {"US": "Storage Fee", "DE": "Lagergebühr", "FR": "Frais de stockage prépayés", "JP": "在庫保管手数料"}
_MONTHLY = {"USD": Decimal("39.99"), "EUR": Decimal("39.00"), "JPY": Decimal(4900)}
_LABEL = {"USD": Decimal("5.85"), "EUR": Decimal("4.49"), "JPY": Decimal(620)}


@dataclass(frozen=True, slots=True)
class Settlement:
    """One that is closed. `reserve` is held back of it and comes with the next one, `before` came with it from the last one."""

    id: str
    account: Account
    marketplace: str
    start: datetime
    end: datetime
    total: Decimal
    before: Decimal
    reserve: Decimal
    orders: int
    document_id: str

    @property
    def shown(self) -> dict[str, Any]:
        return {
            "settlementId": self.id,
            "sellerId": self.account.seller,
            "marketplace": self.marketplace,
            "start": iso(self.start),
            "end": iso(self.end),
            "total": str(self.total),
            "currency": MARKETPLACES[self.marketplace].currency,
            "previousReserve": str(self.before),
            "reserve": str(self.reserve),
            "orders": self.orders,
            "documentId": self.document_id,
        }


@dataclass(slots=True)
class Book:
    """What of one account in one marketplace is not settled yet: all from `since` on, but for the `settled` flows."""

    account: Account
    marketplace: str
    since: datetime
    reserve: Decimal = Decimal(0)
    settled: set[str] = field(default_factory=set)
    reversals: list[Entry] = field(default_factory=list)


class Settlements:
    """All settlements of a sandbox; closed ones stay as they are."""

    def __init__(self, amazon: Amazon) -> None:
        self._amazon = amazon
        self.closed: list[Settlement] = []
        oldest = amazon.clock.start - HISTORY
        self._books = [
            Book(account, code, period(account, code, oldest).start)
            for account in amazon.accounts
            for code in account.marketplaces
        ]

    def settle(self) -> None:
        """Close all periods that have ended by now."""
        self._amazon.settle()
        now = self._amazon.clock.now()
        for book in self._books:
            while (end := period(book.account, book.marketplace, book.since).end) <= now:
                self._close(book, end)

    def close_now(self, marketplace: str) -> Settlement:
        """End the period of a marketplace at this moment; the next one begins with it and ends when this one would have."""
        self.settle()
        book = next((one for one in self._books if one.marketplace == marketplace), None)
        if book is None:
            raise ValueError(f"no account sells in {marketplace!r}")
        now = self._amazon.clock.now()
        if now <= book.since:
            raise ValueError("the period has only just begun")
        book.account.cuts.append((marketplace, now))
        return self._close(book, now)

    def _close(self, book: Book, end: datetime) -> Settlement:
        flows = [flow for flow in self._due(book, end) if flow.id not in book.settled]
        identity = period(book.account, book.marketplace, book.since).id
        entries = [*_flow_entries(flows, book.since), *self._labels(flows, book)]
        entries += self._charges(book, end, identity)
        entries = sorted(entries, key=lambda entry: entry.posted_at)
        before, book.reserve = book.reserve, _reserved(flows, end, book.marketplace)
        entries += _carried(before, book.reserve, book.since, end)
        total = sum((entry.amount for entry in entries), Decimal(0))
        summary = Summary(identity, book.marketplace, book.since, end, end + _DEPOSITED_AFTER, total)
        content, hand = file_of(summary, entries)
        orders = len({flow.order.id for flow in flows})
        document_id = self._amazon.documents.put(content, hand.content_type, gzip=hand.gzip)
        closed = Settlement(
            identity, book.account, book.marketplace, book.since, end, total, before, book.reserve, orders, document_id
        )
        book.settled |= {flow.id for flow in flows}
        book.since = end
        self.closed.append(closed)
        self._amazon.journal.effect("settlement", identity, closed.shown)
        return closed

    def _due(self, book: Book, end: datetime) -> Iterator[Flow]:
        """What counts for the seller before `end`. What was held back until then comes with the period it is released in."""
        return (
            flow
            for flow in account_flows(self._amazon, book.account)
            if flow.order.marketplace == book.marketplace and flow.released_at < end
        )

    def _labels(self, flows: list[Flow], book: Book) -> Iterator[Entry]:
        """Some parcels go out with labels bought of Amazon: such a line has the shipment's id and no order's."""
        cost = _LABEL[MARKETPLACES[book.marketplace].currency]
        for flow in flows:
            bought = self._amazon.world.random("label", flow.id).random() < 0.35
            if flow.kind == "SHIPMENT" and flow.order.fulfilled_by == "MERCHANT" and bought:
                yield Entry(
                    "other-transaction",
                    "other-transaction",
                    "Shipping label purchase",
                    -cost,
                    max(flow.released_at, book.since),
                    shipment=flow.reference,
                )

    def _charges(self, book: Book, end: datetime, identity: str) -> list[Entry]:
        """What Amazon takes and gives beside any order: such lines have no id at all, or an adjustment's."""
        code, dice = book.marketplace, self._amazon.world.random("settlement", identity)
        monthly = _MONTHLY[MARKETPLACES[code].currency]
        charges, book.reversals = book.reversals, []
        charges = [_moved(entry, book.since) for entry in charges]
        for at in _days(book.since, end, 1):
            if code == book.account.marketplaces[0]:
                charges.append(Entry("other-transaction", "other-transaction", SUBSCRIPTION[code], -monthly, at))
        for at in _days(book.since, end, 10):
            stored = money(monthly * dice.randint(20, 90) / 100, code)
            charges.append(Entry("other-transaction", "other-transaction", STORAGE[code], -stored, at))
        if dice.random() < 0.6:
            spent = money(monthly * dice.randint(30, 200) / 100, code)
            charges.append(Entry("ServiceFee", "CostOfAdvertising", "TransactionTotalAmount", -spent, book.since))
        if dice.random() < 0.7:
            charges += self._lost(book, dice.randrange(10**12), identity)
        return charges

    def _lost(self, book: Book, number: int, identity: str) -> Iterator[Entry]:
        """A unit that Amazon lost and pays for. Half of them turn up, and the next settlement takes the money back."""
        world, code = self._amazon.world, book.marketplace
        held = [i for i in range(min(world.size, 50)) if code in world.marketplaces_of(i)]
        held = [index for index in held if world.fulfilled_by(index) == "AMAZON"]
        if not held:
            return
        product = world.product(world.random("lost", identity).choice(held))
        paid = Entry(
            "other-transaction",
            "FBA Inventory Reimbursement",
            "WAREHOUSE_DAMAGE",
            money(product.prices[MARKETPLACES[code].currency] * 4 / 5, code),
            book.since,
            adjustment=f"{number:012d}",
            sku=product.sku,
            quantity=1,
        )
        if number % 2:
            book.reversals.append(_reversed(paid))
        yield paid


def _flow_entries(flows: list[Flow], since: datetime) -> Iterator[Entry]:
    for flow in flows:
        order = flow.order
        refund = flow.kind == "REFUND"
        for line in flow.lines:
            for part, amount in line.parts.items():
                kind, description = AMOUNTS[part]
                yield Entry(
                    "Refund" if refund else "Order",
                    kind,
                    description,
                    amount,
                    max(flow.released_at, since),
                    order=order.id,
                    # Of what is only shipped: the seller's own id of it.
                    merchant_order=order.seller_order,
                    adjustment=flow.reference if refund else "",
                    shipment="" if refund else flow.reference,
                    store=MARKETPLACES[order.marketplace].name if order.channel == "AMAZON" else "Non-Amazon",
                    network="AFN" if order.fulfilled_by == "AMAZON" else "MFN",
                    item=line.line.id,
                    merchant_item=line.merchant_id,
                    sku=line.line.product.sku,
                    quantity=line.units if part == "PRINCIPAL" else None,
                )


def _reserved(flows: list[Flow], end: datetime, marketplace: str) -> Decimal:
    """A fifth of what the last week brought stays with Amazon until the next settlement."""
    late = sum((flow.total for flow in flows if flow.released_at >= end - _RESERVED_FOR), Decimal(0))
    return money(max(late, Decimal(0)) * _RESERVED_PERCENT / 100, marketplace)


def _carried(before: Decimal, reserve: Decimal, start: datetime, end: datetime) -> Iterator[Entry]:
    last = end - timedelta(seconds=1)
    for description, amount, at in (
        ("Previous Reserve Amount Balance", before, start),
        ("Current Reserve Amount", -reserve, max(start, last)),
    ):
        if amount:
            yield Entry("other-transaction", "other-transaction", description, amount, at)


def _reversed(paid: Entry) -> Entry:
    return paid.with_(description="REVERSAL_REIMBURSEMENT", amount=-paid.amount)


def _moved(entry: Entry, at: datetime) -> Entry:
    return entry.with_(posted_at=at)


def _days(start: datetime, end: datetime, day: int) -> list[datetime]:
    """The instants within [start, end) at which a `day` of a month begins."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    every = (midnight + timedelta(days=number) for number in range((end - midnight).days + 1))
    return [at for at in every if at.day == day and start <= at < end]


def routes(settlements: Settlements) -> list[BaseRoute]:
    """Settlements as the control plane shows and closes them."""

    def shown(_: object) -> dict[str, Any]:
        settlements.settle()
        return {"settlements": [one.shown for one in settlements.closed]}

    def close(body: dict[str, Any]) -> dict[str, Any]:
        if set(body) != {"marketplace"}:
            raise ValueError('send {"marketplace": "US"}: its period is closed now')
        return settlements.close_now(str(body["marketplace"])).shown

    return [
        Route("/settlements", endpoint(shown), methods=["GET"]),
        Route("/settlements", answer(close), methods=["POST"]),
    ]
