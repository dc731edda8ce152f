"""What comes back of orders: its chains, and the units that people put back or write off."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.chain import PUT_BACK, Chain, Piece, PieceKind
from domain.channel import LEDGER
from domain.errors import Conflict, Invalid, NotFound, Refused
from domain.ids import ChannelId, LineId, LocationCode, OperationId, OrderId, Sku
from domain.ledger import EntryKind
from domain.operation import Capability, Kind, NewItem
from domain.order import Order, OrderLine
from domain.product import FulfilledBy
from resolvers import adjustment
from resolvers.adjustment import Adjustment
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_moment_cursor, write_cursor
from resolvers.request import Accepted, check_key, check_word, contents_hash
from resolvers.shelf import Shelf
from store import chain, kit, ledger, operation, order

MOST_LINES = 100
LONGEST_CONDITION = 60


@dataclass(frozen=True, slots=True)
class ChainFilter:
    """What is wanted; None wants all. `channel_sku` is the channel's."""

    open_only: bool = True
    channel: ChannelId | None = None
    channel_sku: str | None = None


@dataclass(frozen=True, slots=True)
class ReturnedLine:
    """Units of an order line that are put back at a place of ours, or (`location` None) written off. `condition` is in words."""

    line: LineId
    quantity: int
    location: LocationCode | None
    condition: str | None = None


async def page(shelf: Shelf, first: int | None, after: str | None, wanted: ChainFilter) -> Connection[Chain]:
    """Chains, the oldest first: what has been open for the longest."""
    start = read_moment_cursor("returnChains", after, str)
    async with shelf.store.begin() as tx:
        found, has_next = await chain.page(tx, first=page_size(first), after=start, **asdict(wanted))

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await chain.count(tx, **asdict(wanted))

    return connect(found, has_next, after, _cursor, count)


def _cursor(one: Chain) -> str:
    return write_cursor("returnChains", one.started_at.isoformat(), one.id)


async def by_orders(shelf: Shelf, ids: Collection[OrderId]) -> dict[OrderId, list[Chain]]:
    """The chains of each order; an order without any is missing."""
    async with shelf.store.begin() as tx:
        return await chain.by_orders(tx, ids)


async def restock(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    id: OrderId,
    lines: Sequence[ReturnedLine],
    *,
    reason: str,
    idempotency_key: str | None,
) -> Accepted:
    """Book what came back of an order, all lines or none, as an operation that has succeeded; its chains close by it.

    Of a kit its components are put back. A repeated idempotency key answers the first operation; with other contents it is a
    Conflict.
    """
    try:
        _check_request(lines, reason, idempotency_key)
        told = contents_hash("restock", id, reason, [asdict(one) for one in lines])
        async with shelf.store.begin() as tx:
            one = (await order.by_ids(tx, [id])).get(id)
            if one is None:
                raise NotFound(f"There is no order Order:{id}.", field=("orderId",))
            await chain.lock(tx, [(one.channel, one.external_id)])
            first = await operation.by_key(tx, requested_by, idempotency_key, told)
            if first is not None:
                return Accepted(first, [])
            found = _found(one, lines)
            _check_units(one, found, lines, (await chain.by_orders(tx, [id])).get(id, []))
            desk = _Desk(shelf, one, found, lines, await _parts(tx, found), operation.new_id(), requested_by, reason)
            items, problems = await desk.book(tx)
            if problems:
                return Accepted(None, problems)
            await chain.keep(tx, desk.pieces(shelf.clock()))
            kept = await adjustment.done(
                tx,
                desk.id,
                requested_by,
                correlation_id,
                items,
                request_hash=told,
                key=idempotency_key,
                kind=Kind.RESTOCK_RETURN,
            )
    except Refused as problem:
        return Accepted(None, [problem])
    shelf.stock_cache.wrote(desk.skus)
    return Accepted(kept, [])


def _check_request(lines: Sequence[ReturnedLine], reason: str, idempotency_key: str | None) -> None:
    if not 1 <= len(lines) <= MOST_LINES:
        raise Invalid(f"Put back 1 to {MOST_LINES} lines at a time; these are {len(lines)}.", field=("lines",))
    for number, one in enumerate(lines):
        if one.quantity < 1:
            raise Invalid("`quantity` is 1 unit or more.", field=("lines", str(number), "quantity"))
        if one.condition is not None:
            check_word("condition", one.condition, ("lines", str(number)), LONGEST_CONDITION)
    check_word("reason", reason, longest=adjustment.LONGEST_REASON)
    check_key(idempotency_key)


def _found(one: Order, lines: Sequence[ReturnedLine]) -> list[OrderLine]:
    """The order's line of each. Raises NotFound, and Conflict for what does not come back to us or has no SKU of ours."""
    if one.fulfilled_by is not FulfilledBy.MERCHANT:
        raise Conflict(
            f"{one.channel} ships {one.external_id} and takes back what comes of it; nothing of it lies here.",
            field=("orderId",),
        )
    known = {line.id: line for line in one.lines}
    for number, wanted in enumerate(lines):
        at = ("lines", str(number), "orderLineId")
        if wanted.line not in known:
            raise NotFound(f"The order {one.external_id} has no line OrderLine:{wanted.line}.", field=at)
        if wanted.location is not None and known[wanted.line].sku is None:
            sku = known[wanted.line].channel_sku
            raise Conflict(f"{sku!r} is no SKU of ours yet: map it first, or write the units off.", field=at)
    return [known[wanted.line] for wanted in lines]


def _check_units(
    order: Order, found: Sequence[OrderLine], lines: Sequence[ReturnedLine], chains: Sequence[Chain]
) -> None:
    """Raises Conflict where more would have come back than has left. Once it was refunded, a channel may tell of fewer units."""
    for number, line in enumerate(found):
        same = [one for one in chains if one.sku == line.channel_sku]
        shipped = sum(one.quantity_shipped for one in order.lines if one.channel_sku == line.channel_sku)
        left = max(shipped, *(sum(one.units(kind) for one in same) for kind in _LEFT))
        settled = sum(one.units(PieceKind.RESTOCKED, PieceKind.WRITTEN_OFF) for one in same)
        wanted = sum(lines[place].quantity for place, one in enumerate(found) if one.channel_sku == line.channel_sku)
        if wanted > left - settled:
            raise Conflict(
                f"Of {line.channel_sku} {left} have left, and {settled} were put back or written off before: "
                f"{wanted} more cannot be.",
                field=("lines", str(number), "quantity"),
            )


_LEFT = (PieceKind.ANNOUNCED, PieceKind.ARRIVED, PieceKind.REFUNDED)


async def _parts(tx: AsyncConnection, found: Sequence[OrderLine]) -> Mapping[Sku, Sequence[tuple[Sku, int]]]:
    """What kits among the lines are made of."""
    return await kit.components(tx, {line.sku for line in found if line.sku is not None})


@dataclass(slots=True)
class _Desk:
    """One request, its order locked. `found` are the order's lines of `lines`."""

    shelf: Shelf
    order: Order
    found: Sequence[OrderLine]
    lines: Sequence[ReturnedLine]
    parts: Mapping[Sku, Sequence[tuple[Sku, int]]]
    id: OperationId
    actor: str
    reason: str

    @property
    def skus(self) -> set[Sku]:
        """Those whose stock changes."""
        return {one.sku for _, one in self._adjustments()}

    async def book(self, tx: AsyncConnection) -> tuple[list[NewItem], list[Refused]]:
        """Post what can be sold again; the items of all lines, or what is wrong."""
        asked = self._adjustments()
        await ledger.lock(tx, {one.sku for _, one in asked})
        entries, items, problems = await adjustment.book(
            tx, self.shelf, [one for _, one in asked], reason=self.reason, actor=self.actor, id=self.id
        )
        if problems:
            return [], [_of_line(problem, [number for number, _ in asked]) for problem in problems]
        lines = [self.found[number].id for number, _ in asked]
        await ledger.post(tx, [replace(entry, order_line=line) for entry, line in zip(entries, lines, strict=True)])
        return [*items, *self._written_off()], []

    def pieces(self, now: datetime) -> list[Piece]:
        """One of each line."""
        return [
            Piece(
                channel=self.order.channel,
                kind=PieceKind.WRITTEN_OFF if told.location is None else PieceKind.RESTOCKED,
                reference=f"{PUT_BACK}{self.id}:{number}",
                order=self.order.external_id,
                sku=line.channel_sku,
                units=told.quantity,
                at=now,
                condition=told.condition,
            )
            for number, (line, told) in enumerate(zip(self.found, self.lines, strict=True))
        ]

    def _adjustments(self) -> list[tuple[int, Adjustment]]:
        """What is booked, with the number of the line that it is for."""
        return [
            (number, Adjustment(sku, told.location, delta=told.quantity * units, kind=EntryKind.RETURN))
            for number, (line, told) in enumerate(zip(self.found, self.lines, strict=True))
            if told.location is not None and line.sku is not None
            for sku, units in self.parts.get(line.sku, [(line.sku, 1)])
        ]

    def _written_off(self) -> list[NewItem]:
        return [
            NewItem(
                channel=LEDGER,
                capability=Capability.LEDGER,
                resource=f"return:{self.order.id}",
                key=f"{self.order.external_id}/{line.channel_sku}",
                payload={"written_off": told.quantity},
            )
            for line, told in zip(self.found, self.lines, strict=True)
            if told.location is None
        ]


def _of_line(problem: Refused, numbers: Sequence[int]) -> Refused:
    """What is wrong with an adjustment, as what is wrong with the line that asked for it."""
    _, number, *rest = problem.field or ("adjustments", "0")
    problem.field = ("lines", str(numbers[int(number)]), *rest)
    return problem
