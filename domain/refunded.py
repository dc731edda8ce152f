"""What a shop's refund says of the units that come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from domain.chain import Piece, PieceKind
from domain.errors import Invalid
from domain.money import Money
from domain.order import Order, OrderLine
from domain.refund import Refund, RefundLine, Restock

REST = "rest"
"""What a refund's reference ends with for money that belongs to no line."""


@dataclass(frozen=True, slots=True)
class _Desk:
    order: Order
    refund: Refund
    by_shop: Callable[[str | None], bool]

    def piece(
        self, kind: PieceKind, name: str, sku: str, units: int, money: Money | None = None, *, expected: bool = True
    ) -> Piece:
        return Piece(
            channel=self.order.channel,
            kind=kind,
            reference=f"{self.refund.reference}:{name}",
            order=self.order.external_id,
            sku=sku,
            units=units,
            at=self.refund.created_at,
            money=money,
            expected=expected,
        )

    def line(self, place: int, told: RefundLine) -> list[Piece]:
        sku = _of(self.order, told).channel_sku
        name = f"{told.line_id}:{place}"
        never_left = told.restock is Restock.CANCEL
        pieces = [self.piece(PieceKind.REFUNDED, name, sku, told.quantity, told.amount, expected=not never_left)]
        if told.restock is Restock.RETURN:
            pieces.append(self.piece(PieceKind.ARRIVED, name, sku, told.quantity))
            if self.by_shop(told.place):
                pieces.append(self.piece(PieceKind.RESTOCKED, name, sku, told.quantity))
        return pieces


def pieces_of(order: Order, refund: Refund, by_shop: Callable[[str | None], bool]) -> list[Piece]:
    """The pieces of one refund: all of its units, and all of its money.

    Units that come back are restocked with it where the shop counts at that place (`by_shop`, of its name of a place, None
    where it tells none); else somebody here has to book them. Raises Invalid for a line that the order does not have.
    """
    desk = _Desk(order, refund, by_shop)
    pieces = [piece for place, told in enumerate(refund.lines) for piece in desk.line(place, told)]
    rest = _beyond(refund)
    if rest.amount or not pieces:
        pieces.append(desk.piece(PieceKind.REFUNDED, REST, "", 0, rest))
    return pieces


def _of(order: Order, told: RefundLine) -> OrderLine:
    found = next((line for line in order.lines if line.external_id == told.line_id), None)
    if found is None:
        raise Invalid(f"It refunds the line {told.line_id}, which the order {order.external_id} does not have.")
    return found


def _beyond(refund: Refund) -> Money:
    """What goes back beyond its lines, or less than they come to: all of it, where the channel tells no line's amount."""
    of_lines = [told.amount for told in refund.lines if told.amount is not None]
    return refund.amount + -sum(of_lines, Money(Decimal(0), refund.amount.currency))
