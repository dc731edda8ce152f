"""Money: what each order moved, and the payouts that carry it to the bank."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sandbox.shop.orders import Order, Refund

if TYPE_CHECKING:
    from sandbox.shop.state import Shop

_CENT = Decimal("0.01")
_SHARE, _FIXED = Decimal("0.029"), Decimal("0.30")


@dataclass(slots=True)
class Transaction:
    """One movement; the fee is what the provider keeps of it."""

    id: str
    kind: str
    amount: Decimal
    fee: Decimal
    occurred_at: datetime
    updated_at: datetime
    order_id: str | None = None
    refund_id: str | None = None
    payout_id: str | None = None

    @property
    def net(self) -> Decimal:
        return self.amount - self.fee


@dataclass(slots=True)
class Payout:
    id: str
    issued_at: datetime
    updated_at: datetime
    transactions: list[Transaction] = field(default_factory=list)
    status: str = "paid"

    @property
    def net(self) -> Decimal:
        return sum((one.net for one in self.transactions), Decimal(0))

    @property
    def reference(self) -> str:
        return f"SHOP-{self.id.removeprefix('pay_'):0>6}"

    @property
    def totals(self) -> dict[str, Decimal]:
        """Sums of the amounts by kind, and of the fees."""
        sums: dict[str, Decimal] = {}
        for one in self.transactions:
            sums[f"{one.kind}s"] = sums.get(f"{one.kind}s", Decimal(0)) + one.amount
        return {**sums, "fees": -sum((one.fee for one in self.transactions), Decimal(0))}


def charged(shop: "Shop", order: Order, at: datetime) -> None:
    """The buyer has paid."""
    fee = (order.grand * _SHARE + _FIXED).quantize(_CENT)
    _book(shop, "charge", order.grand, fee, at, order.id, None)


def refunded(shop: "Shop", order: Order, refund: Refund, at: datetime) -> None:
    """The buyer got something back; the provider keeps its fee."""
    _book(shop, "refund", -refund.amount, Decimal(0), at, order.id, refund.id)


def pay_out(shop: "Shop", at: datetime, before: datetime) -> Payout | None:
    """Pay out all that happened before and is not paid out; None where there is nothing."""
    due = [one for one in shop.transactions.values() if one.payout_id is None and one.occurred_at < before]
    if not due:
        return None
    payout = Payout(f"pay_{len(shop.payouts) + 1}", at, at, due)
    shop.payouts[payout.id] = payout
    shop.payout_feed.touch(payout.id, at)
    return payout


def settle(shop: "Shop", payout: Payout) -> None:
    """Its transactions say that they are in it."""
    for one in payout.transactions:
        one.payout_id = payout.id
        one.updated_at = shop.stamp()
        shop.transaction_feed.touch(one.id, one.updated_at)


def _book(shop: "Shop", kind: str, amount: Decimal, fee: Decimal, at: datetime, order: str, refund: str | None) -> None:
    one = Transaction(f"txn_{len(shop.transactions) + 1}", kind, amount, fee, at, at, order, refund)
    shop.transactions[one.id] = one
    shop.transaction_feed.touch(one.id, at)
