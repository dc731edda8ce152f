"""Giving buyers' money back: what was asked is checked against what was paid, and large amounts wait for a second person."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.storefront import Refunds, RefundVerdicts
from domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused
from domain.ids import LineId, OperationId, OrderId
from domain.money import Money, minor_digits
from domain.operation import Capability, Kind, NewItem
from domain.order import Order, OrderStatus
from domain.refund import Restock
from domain.shipment import resource
from resolvers.request import Accepted, Asked, Made, check_word, contents_hash, keep
from resolvers.shelf import Shelf
from store import agenda, order

MOST_REFUNDS = 100


@dataclass(frozen=True, slots=True)
class RefundedLine:
    """Units of a line that the refund is for, and what becomes of them."""

    line: LineId
    quantity: int
    restock: Restock = Restock.NONE


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Money of one order that goes back: `amount` in all, of which `shipping` is for the way, taxes included."""

    order: OrderId
    amount: Money
    reason: str
    lines: tuple[RefundedLine, ...] = ()
    shipping: Decimal | None = None


async def refund(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    requests: Sequence[RefundRequest],
    *,
    idempotency_key: str | None,
    dry_run: bool,
) -> Accepted:
    """Keep an operation that gives the money back, all or none, and wake its lanes.

    It awaits an approval where more than `Shelf.refund_approval` of an order would have gone back. A repeated idempotency key
    answers the first operation as it stands; with other contents it is a Conflict.
    """
    if not 1 <= len(requests) <= MOST_REFUNDS:
        problem = Invalid(f"Make 1 to {MOST_REFUNDS} refunds at a time; these are {len(requests)}.", field=("refunds",))
        return Accepted(None, [problem])
    contents = contents_hash("refund", dry_run, [_contents(one) for one in requests])

    async def lock(tx: AsyncConnection) -> dict[OrderId, Order]:
        return await order.lock(tx, {one.order for one in requests})

    async def make(tx: AsyncConnection, orders: Mapping[OrderId, Order]) -> Made:
        return _items(shelf, requested_by, requests, orders, await _given(tx, orders))

    def waits(items: Sequence[NewItem]) -> bool:
        return any(item.payload["approval"] for item in items)

    asked = Asked(requested_by, correlation_id, contents, idempotency_key, dry_run)
    return await keep(shelf, asked, Kind.REFUND_ORDERS, lock, make, waits=waits)


async def recheck(tx: AsyncConnection, one: OperationId, by: str) -> None:
    """What waits holds no money: before it goes, there must still be as much. Raises Conflict; Forbidden for who asked for an
    amount that needs a second person."""
    payloads = await agenda.payloads(tx, one)
    orders = await order.lock(tx, {OrderId(str(payload["order_id"])) for payload in payloads})
    given = await _given(tx, orders)
    for payload in payloads:
        if payload["approval"] and payload["by"] == by:
            raise Forbidden("You have asked for this refund yourself: somebody else has to approve it.", field=("id",))
        found = orders.get(OrderId(str(payload["order_id"])))
        amount = Money(Decimal(str(payload["amount"])), str(payload["currency"]))
        if found is None:
            raise Conflict(f"Order {payload['external_id']} is there no more.", field=("id",))
        try:
            _check_left(found, amount, given)
        except Refused as problem:
            raise Conflict(problem.message, field=("id",)) from None
        given[found.id] += amount.amount


async def _given(tx: AsyncConnection, orders: Mapping[OrderId, Order]) -> defaultdict[OrderId, Decimal]:
    """What has gone back of each order through us, or may yet."""
    given: defaultdict[OrderId, Decimal] = defaultdict(Decimal)
    resources = [one for id in orders for one in (resource(id), _apart(id))]
    for payload in await agenda.not_in_vain(tx, Capability.REFUNDS, resources):
        given[OrderId(str(payload["order_id"]))] += Decimal(str(payload["amount"]))
    return given


def _items(
    shelf: Shelf,
    by: str,
    requests: Sequence[RefundRequest],
    orders: Mapping[OrderId, Order],
    given: defaultdict[OrderId, Decimal],
) -> tuple[list[NewItem], list[Refused]]:
    items: list[NewItem] = []
    problems: list[Refused] = []
    for index, one in enumerate(requests):
        at = ("refunds", str(index))
        try:
            found = orders.get(one.order)
            if found is None:
                raise NotFound(f"There is no order {one.order}.", field=("orderId",))
            _check(shelf, found, one)
            _check_left(found, one.amount, given)
            given[found.id] += one.amount.amount
            least = shelf.refund_approval.get(one.amount.currency)
            approval = least is not None and given[found.id] > least
            items.append(_item(shelf, found, one, by, approval=approval))
        except Refused as problem:
            problem.field = (*at, *(problem.field or ("orderId",)))
            problems.append(problem)
    return items, problems


def _check(shelf: Shelf, found: Order, one: RefundRequest) -> None:
    name = found.external_id
    if not isinstance(shelf.ports.get(found.channel), Refunds):
        raise Invalid(f"{found.channel} takes no refunds from us: give the money of order {name} back there.")
    if found.status is OrderStatus.PENDING:
        raise Conflict(f"Order {name} is PENDING: nothing has been paid, so cancel it instead.")
    check_word("reason", one.reason, longest=200)
    if one.amount.amount <= 0:
        raise Invalid("A refund is of more than 0.", field=("amount",))
    decimals = minor_digits(one.amount.currency)
    for field, amount in (("amount", one.amount.amount), ("shipping", one.shipping)):
        if amount is not None and round(amount, decimals) != amount:
            raise Invalid(f"{one.amount.currency} has {decimals} decimals; {amount} has more.", field=(field,))
    if one.shipping is not None and not 0 < one.shipping <= one.amount.amount:
        raise Invalid("`shipping` is a part of the amount, and more than 0.", field=("shipping",))
    known = {line.id: line for line in found.lines}
    for position, line in enumerate(one.lines):
        if line.line not in known:
            raise NotFound(f"Order {name} has no line {line.line}.", field=("lines", str(position), "orderLineId"))
        if line.quantity < 1:
            raise Invalid("A line is refunded for 1 unit or more.", field=("lines", str(position), "quantity"))


def _check_left(found: Order, amount: Money, given: Mapping[OrderId, Decimal]) -> None:
    """Raises Refused where more would go back than was paid."""
    paid, gone = found.charged or found.total, given.get(found.id, Decimal(0))
    if paid is None:
        raise Conflict(f"What was paid for order {found.external_id} is not known yet.", field=("amount",))
    if paid.currency != amount.currency:
        words = f"Order {found.external_id} was paid in {paid.currency}, and goes back in {paid.currency}."
        raise Invalid(words, field=("amount",))
    if gone + amount.amount > paid.amount:
        raise Invalid(
            f"{amount.amount} {amount.currency} are more than is left of order {found.external_id}: {paid.amount} were "
            f"paid, and {gone} have gone back through us or are about to.",
            field=("amount",),
        )


def _apart(order: OrderId) -> str:
    """What refunds wait in line for where the channel takes days to show one: no parcel of the order shall wait with them."""
    return f"refund:{order}"


def _item(shelf: Shelf, found: Order, one: RefundRequest, by: str, *, approval: bool) -> NewItem:
    slow = isinstance(shelf.ports.get(found.channel), RefundVerdicts)
    external = {line.id: line.external_id for line in found.lines}
    return NewItem(
        channel=found.channel,
        capability=Capability.REFUNDS,
        resource=_apart(found.id) if slow else resource(found.id),
        key=f"{found.channel}/{found.external_id}",
        payload={
            "order_id": found.id,
            "external_id": found.external_id,
            "marketplace": found.marketplace,
            "refs": dict(found.refs),
            "amount": str(one.amount.amount),
            "currency": one.amount.currency,
            "shipping": None if one.shipping is None else str(one.shipping),
            "lines": [
                {"line": external[line.line], "quantity": line.quantity, "restock": line.restock.value}
                for line in one.lines
            ],
            "reason": one.reason,
            "by": by,
            "approval": approval,
        },
        after=json.dumps({"amount": str(one.amount.amount), "currency": one.amount.currency, "reason": one.reason}),
    )


def _contents(one: RefundRequest) -> dict[str, object]:
    return {
        "order": one.order,
        "amount": [str(one.amount.amount), one.amount.currency],
        "reason": one.reason,
        "lines": [[line.line, line.quantity, line.restock.value] for line in one.lines],
        "shipping": None if one.shipping is None else str(one.shipping),
    }
