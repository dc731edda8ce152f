"""What a channel owes us and has taken, one transaction after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from domain.ids import derived_id
from domain.money import Money

HALF_A_CENT = Decimal("0.005")

DEFERRED, DEFERRED_RELEASED, RELEASED = "DEFERRED", "DEFERRED_RELEASED", "RELEASED"


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One branch of the tree that an amount is made of; `kind` is the channel's name. A leaf has no parts."""

    kind: str
    amount: Money
    parts: tuple[Breakdown, ...] = ()

    def leaves(self) -> Iterator[Breakdown]:
        """The amounts that may be added up: a branch repeats what its parts say."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()


@dataclass(frozen=True, slots=True)
class Context:
    """What the channel adds to a transaction or an item: `kind`, and its facts by the channel's names."""

    kind: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TransactionItem:
    """One line; `sku` and `asin` where the channel says which product it is about."""

    description: str | None
    total: Money | None
    sku: str | None = None
    asin: str | None = None
    units: int | None = None
    network: str | None = None
    related: tuple[tuple[str, str], ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    contexts: tuple[Context, ...] = ()


@dataclass(frozen=True, slots=True)
class Transaction:
    """One movement of money, signed as we see it. `related` are pairs of the channel's names and values: ORDER_ID,
    SHIPMENT_ID, REFUND_ID, SETTLEMENT_ID…

    The same movement comes again under another status: held back (DEFERRED), then DEFERRED_RELEASED beside a new one that is
    RELEASED. `id` is None where the channel gives none.
    """

    id: str | None
    status: str | None
    kind: str
    posted_at: datetime
    total: Money
    description: str | None = None
    marketplace: str | None = None
    marketplace_name: str | None = None
    seller: str | None = None
    account_type: str | None = None
    seller_marketplace: str | None = None
    related: tuple[tuple[str, str], ...] = ()
    items: tuple[TransactionItem, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    contexts: tuple[Context, ...] = ()

    @property
    def key(self) -> str:
        """What an upsert goes by: id and status; of one without an id, all that it says."""
        return f"{self.id or derived_id('transaction', repr(self))}:{self.status or ''}"

    def values(self, name: str) -> tuple[str, ...]:
        """The values of one related identifier."""
        return tuple(value for one, value in self.related if one == name)


def imbalance(total: Money | None, breakdowns: Iterable[Breakdown], what: str = "the total") -> str | None:
    """Why an amount is not what its tree adds up to, to the cent and in every branch; None when it is, or has no tree."""
    parts = tuple(breakdowns)
    if not parts:
        return None
    if total is not None:
        if strange := [part for part in parts if part.amount.currency != total.currency]:
            return f"{what} is in {total.currency}, its part {strange[0].kind} in {strange[0].amount.currency}"
        added = sum((part.amount.amount for part in parts), Decimal(0))
        if abs(added - total.amount) >= HALF_A_CENT:
            return f"{what} is {total.amount} {total.currency}, its parts add up to {added}"
    return next((told for part in parts if (told := imbalance(part.amount, part.parts, part.kind))), None)


def counted_once(transactions: Iterable[Transaction]) -> list[Transaction]:
    """Of all that has been told of the same movements, in any order, what counts: each movement once.

    What was held back counts as DEFERRED until it is told again as DEFERRED_RELEASED, and that until the RELEASED one is
    there that it names, or that names it.
    """
    latest = {one.key: one for one in transactions}
    released = {one.id for one in latest.values() if one.status == DEFERRED_RELEASED}
    there = {one.id for one in latest.values() if one.status == RELEASED}
    origins = {
        value for one in latest.values() if one.status == RELEASED for value in one.values("DEFERRED_TRANSACTION_ID")
    }

    def replaced(one: Transaction) -> bool:
        if one.id is None or one.status not in (DEFERRED, DEFERRED_RELEASED):
            return False
        followed = (
            one.id in origins
            or one.id in there
            or any(value in there for value in one.values("RELEASE_TRANSACTION_ID"))
        )
        return followed or (one.status == DEFERRED and one.id in released)

    return [one for one in latest.values() if not replaced(one)]
