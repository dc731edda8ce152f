"""Shopify Payments: what the provider owes the shop, movement by movement, and the payouts that it is put into.

A movement follows from each payment and each refund of an order, and is booked when somebody looks. What was booked and not paid
out yet goes into the next payout, once; a payout is issued at each midnight (UTC) where anything is open.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import ClassVar

from sandbox.shopify import ids
from sandbox.shopify.money import CENT
from sandbox.shopify.orders import Order, Payment

RATE, FLAT = Decimal("0.029"), Decimal("0.30")
"""What is kept of a charge; nothing of it is given back with a refund."""
DAY = timedelta(days=1)
SETTLES = timedelta(days=2)
"""From issuing a payout to its arrival at the bank."""
MOVES = {"SALE": "CHARGE", "CAPTURE": "CHARGE", "REFUND": "REFUND"}


def fee_of(payment: Payment) -> Decimal:
    """What the provider keeps of one payment."""
    if MOVES.get(payment.kind) != "CHARGE" or payment.order.test:
        return Decimal(0)
    return (payment.amount * RATE + FLAT).quantize(CENT)


@dataclass(slots=True, eq=False)
class Movement:
    """A balance transaction: signed as the shop sees it, net = amount - fee."""

    typename: ClassVar[str] = "ShopifyPaymentsBalanceTransaction"
    place: int
    kind: str
    at: datetime
    amount: Decimal
    fee: Decimal = Decimal(0)
    payment: Payment | None = None
    reason: str | None = None
    payout: "Payout | None" = None

    @property
    def id(self) -> str:
        return ids.gid("ShopifyPaymentsBalanceTransaction", self.place)

    @property
    def net(self) -> Decimal:
        return self.amount - self.fee


@dataclass(slots=True, eq=False)
class Payout:
    """A transfer to the bank, or from it where `net` is negative."""

    typename: ClassVar[str] = "ShopifyPaymentsPayout"
    place: int
    issued_at: datetime
    movements: list[Movement]

    @property
    def id(self) -> str:
        return ids.gid("ShopifyPaymentsPayout", self.place)

    @property
    def net(self) -> Decimal:
        return sum((each.net for each in self.movements), Decimal(0))

    def status(self, now: datetime) -> str:
        return "PAID" if now - self.issued_at >= SETTLES else "SCHEDULED"

    def total(self, kind: str) -> tuple[Decimal, Decimal]:
        """The amounts and the fees of its charges, its refunds, or (ADJUSTMENT) all others."""
        own = [each for each in self.movements if (each.kind if each.kind in MOVES.values() else "ADJUSTMENT") == kind]
        return sum((each.amount for each in own), Decimal(0)), sum((each.fee for each in own), Decimal(0))


@dataclass(slots=True)
class Payments:
    """The account. `enabled` False: the shop uses another provider."""

    enabled: bool = True
    movements: list[Movement] = field(default_factory=list)
    payouts: list[Payout] = field(default_factory=list)
    booked: set[str] = field(default_factory=set)
    closed: datetime | None = None

    @property
    def open(self) -> list[Movement]:
        """What is in no payout yet."""
        return [each for each in self.movements if each.payout is None]

    def book(self, orders: Iterable[Order], now: datetime) -> None:
        """Take in what has moved since the last time, and issue the payouts of all midnights that have passed."""
        fresh = [
            each
            for order in orders
            if not order.test
            for each in order.payments
            if each.kind in MOVES and each.id not in self.booked
        ]
        for each in sorted(fresh, key=lambda each: (each.at, each.id)):
            self.booked.add(each.id)
            amount = -each.amount if each.kind == "REFUND" else each.amount
            self.move(MOVES[each.kind], each.at, amount, fee_of(each), payment=each)
        if self.movements and self.closed is None:
            self.closed = _midnight(self.movements[0].at)
        while self.closed is not None and self.closed + DAY <= now:
            self.closed += DAY
            self.issue(self.closed, [each for each in self.open if each.at < self.closed])

    def move(
        self,
        kind: str,
        at: datetime,
        amount: Decimal,
        fee: Decimal = Decimal(0),
        *,
        payment: Payment | None = None,
        reason: str | None = None,
    ) -> Movement:
        """Book one movement."""
        made = Movement(len(self.movements), kind, at, amount, fee, payment, reason)
        self.movements.append(made)
        return made

    def issue(self, at: datetime, movements: Sequence[Movement]) -> Payout | None:
        """One payout of these movements, and the transfer that takes it from the balance; None where there is nothing."""
        if not movements:
            return None
        payout = Payout(len(self.payouts), at, list(movements))
        for each in movements:
            each.payout = payout
        self.payouts.append(payout)
        self.move("TRANSFER", at, -payout.net).payout = payout
        return payout


def _midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
