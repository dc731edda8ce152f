"""Units of orders that their buyers send back to the pools that shipped them: checked against what was delivered, then kept as an
operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.fulfillment import Ships
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.ids import ChannelId, LineId, OperationId, OrderId, derived_id
from domain.operation import Kind
from domain.order import Order
from domain.outbound import Followed
from domain.outbound_return import LONGEST_COMMENT, LONGEST_REASON, ReturnUnit, ReturnWanted
from domain.shipment import ShippedLine
from resolvers.request import Accepted, Asked, Made, check_word, contents_hash, keep
from resolvers.shelf import Shelf
from store import operation, order, outbound, outbound_return


@dataclass(frozen=True, slots=True)
class ReturnRequest:
    """Units of an order to come back to the pools that shipped them; no `lines` means all that were delivered. `reason` is a code
    of the platform, `comment` is for it and holds nothing of a buyer."""

    order: OrderId
    reason: str
    comment: str = ""
    lines: tuple[ShippedLine, ...] | None = None


async def announce(
    shelf: Shelf, requested_by: str, correlation_id: str, one: ReturnRequest, *, idempotency_key: str | None
) -> Accepted:
    """Keep an operation that announces units to the pools that shipped them, all or none, and wake its lanes.

    A repeated idempotency key answers the first operation as it stands; with other contents it is a Conflict.
    """
    contents = contents_hash("returnOutbound", [asdict(one)])
    id = operation.new_id()
    try:
        check_word("reason", one.reason, longest=LONGEST_REASON)
        if len(one.comment) > LONGEST_COMMENT:
            raise Invalid(f"`comment` has at most {LONGEST_COMMENT} characters.", field=("comment",))
    except Refused as problem:
        return Accepted(None, [problem])

    async def lock(tx: AsyncConnection) -> Order | None:
        return (await order.lock(tx, [one.order])).get(one.order)

    async def make(tx: AsyncConnection, found: Order | None) -> Made:
        if found is None:
            raise NotFound(f"There is no order Order:{one.order}.", field=("orderId",))
        followed = (await outbound.by_orders(tx, [one.order])).get(one.order, [])
        wanted = _returned(one, id, found, followed, await outbound_return.under_way(tx, [one.order]))
        by_id = {each.wanted.id: each for each in followed}
        _check_returns(shelf, {by_id[each.order_id].wanted.channel for each in wanted})
        return [outbound_return.returning(found, by_id[each.order_id], each) for each in wanted], []

    asked = Asked(requested_by, correlation_id, contents, idempotency_key)
    return await keep(shelf, asked, Kind.RETURN_OUTBOUND, lock, make, id=id)


def _check_returns(shelf: Shelf, channels: Collection[ChannelId]) -> None:
    for id in sorted(channels):
        port: object = shelf.ports.get(id)
        if not isinstance(port, Ships):
            raise NotFound(f"{id}, which shipped it, is configured no more.", field=("orderId",))
        if port.outbound.no_returns:
            raise Invalid(port.outbound.no_returns, field=("orderId",))


def _returned(
    one: ReturnRequest, id: OperationId, found: Order, followed: Sequence[Followed], waiting: Sequence[ReturnWanted]
) -> list[ReturnWanted]:
    """The units, by the outbound order that each left with, the oldest first. Raises Refused for more than were delivered."""
    asked: Counter[tuple[str, str]] = Counter()
    known = {each.unit.id for its in followed for each in its.returns}
    for earlier in waiting:
        asked.update((earlier.order_id, unit.line_id) for unit in earlier.units if unit.id not in known)
    free = {
        (each.wanted.id, line): max(0, units - asked[each.wanted.id, line])
        for each in followed
        for line, units in each.returnable.items()
    }
    taken: dict[str, list[ReturnUnit]] = {}
    for line, units in _lines_back(one, found, free):
        left = units
        for (outbound_id, of), there in free.items():
            for _ in range(min(left, there) if of == line else 0):
                its = taken.setdefault(outbound_id, [])
                its.append(ReturnUnit(derived_id("return", id, outbound_id, str(len(its))), line))
                left -= 1
    return [ReturnWanted(outbound_id, tuple(its), one.reason, one.comment) for outbound_id, its in taken.items()]


def _lines_back(one: ReturnRequest, found: Order, free: Mapping[tuple[str, LineId], int]) -> list[tuple[LineId, int]]:
    """(line, units) of what is to come back."""
    there: Counter[LineId] = Counter()
    for (_, line), units in free.items():
        there[line] += units
    if one.lines is None:
        if not there.total():
            raise Conflict(
                f"Nothing of order {found.external_id} that a pool shipped was delivered and is not announced yet; "
                "`Order.outbound` tells where it is.",
                field=("orderId",),
            )
        return [(line, units) for line, units in there.items() if units]
    wanted: Counter[LineId] = Counter()
    for number, asked in enumerate(one.lines):
        at = ("lines", str(number))
        if asked.line not in {each.id for each in found.lines}:
            raise NotFound(f"Order {found.external_id} has no line {asked.line}.", field=(*at, "orderLineId"))
        wanted[asked.line] += asked.quantity
        if asked.quantity < 1 or wanted[asked.line] > there[asked.line]:
            raise Invalid(
                f"{asked.quantity} units cannot come back: {there[asked.line]} of this line were delivered from a pool and "
                "are not announced yet.",
                field=(*at, "quantity"),
            )
    if not wanted:
        raise Invalid("Name at least one line, or leave `lines` out for all that was delivered.", field=("lines",))
    return list(wanted.items())
