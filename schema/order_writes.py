"""Holding, cancelling and refunding orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import strawberry

from domain.errors import NotFound, Refused
from domain.ids import LineId, OrderId, node_key
from domain.money import Money
from resolvers.cancel import CancelRequest
from resolvers.refund import RefundedLine, RefundRequest
from schema.enums import CancelReason, HoldReason, Restock
from schema.order import Order
from schema.payload import UserError


@strawberry.type(description="The orders as they stand now; each that could not be is named by its place.")
class HoldPayload:
    orders: list[Order]
    user_errors: list[UserError]


@strawberry.input(description="Orders to hold, each for itself; at most 500.")
class HoldOrdersInput:
    order_ids: list[strawberry.ID]
    reason: HoldReason
    words: str = strawberry.field(description="What people are told; nothing of a buyer.")
    until: datetime | None = strawberry.field(
        default=None,
        description="From then on others may have their units; left out: they keep them as long as they are held.",
    )
    approval: bool = strawberry.field(default=False, description="Only approveOrders ends it, called by somebody else.")


@strawberry.input(description="Orders that shall go on, each for itself; at most 500.")
class ReleaseOrdersInput:
    order_ids: list[strawberry.ID]
    words: str = strawberry.field(default="released", description="What people are told; nothing of a buyer.")


@strawberry.input(description="A whole order to cancel at its channel.")
class CancelOrderInput:
    order_id: strawberry.ID
    reason: CancelReason
    restock: bool = strawberry.field(default=True, description="A shop puts the units back into its own count.")
    refund: bool = strawberry.field(default=True, description="A shop gives back what was paid. Amazon always does.")
    despite_hold: bool = strawberry.field(default=False, description="Although we hold it.")


@strawberry.input(description="Orders to cancel; all or none is kept, at most 500.")
class CancelOrdersInput:
    orders: list[CancelOrderInput]
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )
    dry_run: bool | None = strawberry.field(
        default=False, description="True: keep a PREVIEW, which approveOperation can apply as it stands."
    )

    def to_domain(self) -> tuple[list[CancelRequest], list[Refused]]:
        """The requests, and what was wrong with their ids."""
        places = [("orders", str(index), "orderId") for index in range(len(self.orders))]
        keys, problems = order_keys([one.order_id for one in self.orders], places)
        if problems:
            return [], problems
        return [
            CancelRequest(key, one.reason, one.restock, one.refund, one.despite_hold)
            for key, one in zip(keys, self.orders, strict=True)
        ], []


@strawberry.input(description="Units of a line that are refunded, and what becomes of them.")
class RefundLineInput:
    order_line_id: strawberry.ID
    quantity: int
    restock: Restock = Restock.NONE


@strawberry.input(description="Money of one order that goes back by the way it came, taxes included.")
class RefundInput:
    order_id: strawberry.ID
    amount: Decimal
    currency: str
    reason: str = strawberry.field(description="What people are told; nothing of a buyer.")
    lines: list[RefundLineInput] | None = None
    shipping: Decimal | None = strawberry.field(default=None, description="The part of the amount that is for the way.")

    def to_domain(self, at: tuple[str, ...]) -> RefundRequest:
        """As the resolver takes it. Raises Refused, with the field."""
        lines = []
        for position, line in enumerate(self.lines or ()):
            key = _key("OrderLine", line.order_line_id, (*at, "lines", str(position), "orderLineId"))
            lines.append(RefundedLine(LineId(key), line.quantity, line.restock))
        try:
            amount = Money(self.amount, self.currency)
        except Refused as problem:
            problem.field = (*at, "currency")
            raise
        order = OrderId(_key("Order", self.order_id, (*at, "orderId")))
        return RefundRequest(order, amount, self.reason, tuple(lines), self.shipping)


@strawberry.input(description="Refunds to make; all or none is kept, at most 100.")
class RefundOrdersInput:
    refunds: list[RefundInput]
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )
    dry_run: bool | None = strawberry.field(
        default=False, description="True: keep a PREVIEW, which approveOperation can apply as it stands."
    )

    def to_domain(self) -> tuple[list[RefundRequest], list[Refused]]:
        """The requests, and what was wrong with them."""
        requests: list[RefundRequest] = []
        problems: list[Refused] = []
        for index, one in enumerate(self.refunds):
            try:
                requests.append(one.to_domain(("refunds", str(index))))
            except Refused as problem:
                problems.append(problem)
        return requests, problems


def order_keys(ids: Sequence[str], at: Sequence[tuple[str, ...]]) -> tuple[list[OrderId], list[Refused]]:
    """The keys of orders' ids, and what is wrong with the others: `at` are their places in the input."""
    keys: list[OrderId] = []
    problems: list[Refused] = []
    for id, field in zip(ids, at, strict=True):
        try:
            keys.append(OrderId(_key("Order", id, field)))
        except Refused as problem:
            problems.append(problem)
    return keys, problems


def _key(kind: str, node: str, field: tuple[str, ...]) -> str:
    try:
        return node_key(kind, node)
    except NotFound as problem:
        raise NotFound(problem.message, field=field) from None
