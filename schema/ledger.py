"""The ledger of own places, and the proof that it adds up."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import ledger as domain
from domain.ids import node_id
from schema.connection import Page
from schema.enums import EntryKind
from schema.payload import UserError


@strawberry.type(description="A signed entry of the ledger: units that moved at one of our own places, and why.")
class LedgerEntry:
    id: strawberry.ID = strawberry.field(description="Grows with each entry.")
    at: datetime
    sku: str
    location: str = strawberry.field(description="The place's code.")
    kind: EntryKind
    on_hand: int = strawberry.field(description="Units that lie there from then on, more or less.")
    reserved: int = strawberry.field(description="Promised units of them, more or less.")
    inbound: int = strawberry.field(description="Announced units, more or less.")
    reason: str
    actor: str = strawberry.field(description="Who decided: a key's name, or acorn.")
    source: str = strawberry.field(description="By which way it came: mutation, import, webhook:…, order, opening:…")
    reference: str | None = strawberry.field(description="What it belongs to: an operation, a delivery, an order.")
    reservation_id: strawberry.ID | None
    order_line_id: strawberry.ID | None

    @classmethod
    def of(cls, posted: domain.Entry) -> LedgerEntry:
        """As clients see it."""
        entry = posted.entry
        return cls(
            id=strawberry.ID(str(posted.id)),
            at=posted.at,
            sku=entry.sku,
            location=entry.location,
            kind=entry.kind,
            on_hand=entry.on_hand,
            reserved=entry.reserved,
            inbound=entry.inbound,
            reason=entry.reason,
            actor=entry.actor,
            source=entry.source,
            reference=entry.reference,
            reservation_id=_id("Reservation", entry.reservation),
            order_line_id=_id("OrderLine", entry.order_line),
        )


def _id(kind: str, key: str | None) -> strawberry.ID | None:
    return None if key is None else strawberry.ID(node_id(kind, key))


@strawberry.type
class LedgerEntryEdge:
    cursor: str
    node: LedgerEntry


@strawberry.type(description="A page of entries.")
class LedgerEntryConnection(Page):
    edges: list[LedgerEntryEdge]
    nodes: list[LedgerEntry]


@strawberry.type(description="Units.")
class StockCounts:
    on_hand: int
    reserved: int
    inbound: int

    @classmethod
    def of(cls, counts: tuple[int, int, int]) -> StockCounts:
        """(on hand, reserved, inbound)."""
        on_hand, reserved, inbound = counts
        return cls(on_hand=on_hand, reserved=reserved, inbound=inbound)


@strawberry.type(description="A balance that its entries do not sum to.")
class LedgerDiscrepancy:
    sku: str
    location: str = strawberry.field(
        description="The place's code; * for what is promised in all (inbound: held), elsewhere for what others keep."
    )
    balance: StockCounts = strawberry.field(description="What is kept.")
    entries: StockCounts = strawberry.field(description="What it should be.")


@strawberry.type(description="The proof, at one instant, that every balance is the sum of its entries.")
class LedgerCheck:
    at: datetime
    balances: int = strawberry.field(description="Balances that were proved.")
    entries: int = strawberry.field(description="Entries that they are the sums of.")
    wrong: list[LedgerDiscrepancy] = strawberry.field(description="Empty when the ledger adds up.")

    @classmethod
    def of(cls, check: domain.Check) -> LedgerCheck:
        """As clients see it."""
        wrong = [
            LedgerDiscrepancy(
                sku=one.sku,
                location=one.location,
                balance=StockCounts.of(one.balance),
                entries=StockCounts.of(one.entries),
            )
            for one in check.wrong
        ]
        return cls(at=check.at, balances=check.balances, entries=check.entries, wrong=wrong)


@strawberry.type(description="The proof.")
class LedgerCheckPayload:
    check: LedgerCheck | None
    user_errors: list[UserError]
