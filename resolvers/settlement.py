"""Settlements, tied out: what each is made of, what is left, and what people say about that."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.cost import CostLayer, in_force
from domain.errors import Conflict, Invalid, Throttled
from domain.ids import ChannelId, OrderId, Sku
from domain.money import Money, minor_digits
from domain.money_line import Cause
from domain.residual import (
    ClassSum,
    KeptLine,
    LineFilter,
    Missing,
    Residual,
    ResidualFilter,
    ResidualSum,
    SettlementFilter,
    Target,
    Tie,
)
from domain.settlement import Settlement
from domain.settlement_compare import Replaced, Views
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_cursor, read_moment_cursor, write_cursor
from resolvers.request import check_word
from resolvers.shelf import Shelf
from store import cost, money_assign, money_transaction, settlement, settlement_view

LONGEST_REASON = 400
TRIES, REST_S = 30, 0.1
# An order's lines as they stand (None), or stood by what was known then.
Then = tuple[OrderId, datetime | None]
CostDay = tuple[Sku, date]


async def page(shelf: Shelf, first: int | None, after: str | None, wanted: SettlementFilter) -> Connection[Settlement]:
    """Settlements, the last ended first."""
    start = read_moment_cursor("settlements", after, str)
    async with shelf.store.begin() as tx:
        found, has_next = await settlement_view.page(tx, wanted, first=page_size(first), after=start)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await settlement_view.count(tx, wanted)

    return connect(
        found, has_next, after, lambda one: write_cursor("settlements", one.ends_at.isoformat(), one.id), count
    )


async def lines(
    shelf: Shelf, of: Settlement, first: int | None, after: str | None, wanted: LineFilter
) -> Connection[KeptLine]:
    """The lines of a settlement, by row."""
    start = None if after is None else _read_row(after)
    async with shelf.store.begin() as tx:
        found, has_next = await settlement_view.lines(tx, of.id, wanted, first=page_size(first), after=start)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await settlement_view.line_count(tx, of.id, wanted)

    return connect(found, has_next, after, lambda one: write_cursor("settlementLines", one.row or 0, one.id), count)


async def residuals(
    shelf: Shelf,
    first: int | None,
    after: str | None,
    *,
    channel: ChannelId | None,
    cause: Cause | None,
    older_than: timedelta | None,
) -> Connection[Residual]:
    """What is not tied out, the longest open first. Raises Invalid."""
    if older_than is not None and older_than < timedelta(0):
        raise Invalid("`olderThan` is no time before now.", field=("filter", "olderThan"))
    wanted = ResidualFilter(channel, cause, None if older_than is None else shelf.clock() - older_than)
    start = read_moment_cursor("residuals", after, int)
    async with shelf.store.begin() as tx:
        found, has_next = await settlement_view.residuals(tx, wanted, first=page_size(first), after=start)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await settlement_view.residual_count(tx, wanted)

    return connect(
        found, has_next, after, lambda one: write_cursor("residuals", one.since.isoformat(), one.line.id), count
    )


async def residual_sums(shelf: Shelf, channel: ChannelId | None) -> Sequence[ResidualSum]:
    """All of it, added up by channel, currency, cause and age."""
    async with shelf.store.begin() as tx:
        found = await settlement_view.residual_sums(tx, shelf.clock(), channel)
    return [replace(one, amount=_in_full(one.amount)) for one in found]


async def assign(shelf: Shelf, by: str, line: int, target: Target, reason: str) -> KeptLine:
    """Tie a line as a person says. Raises Refused; Throttled while others write books for long."""
    check_word("reason", reason, longest=LONGEST_REASON)

    def zone(channel: ChannelId, marketplace: str | None) -> ZoneInfo:
        if channel not in shelf.channels:
            raise Conflict(f"The channel {channel} is configured no more.", field=("lineId",))
        return shelf.channels[channel].zone(marketplace)

    for _ in range(TRIES):
        async with shelf.store.begin() as tx:
            if await settlement.alone(tx):
                return await money_assign.assign(tx, line, target, zone, by, reason)
        await asyncio.sleep(REST_S)
    raise Throttled("A settlement is being kept; ask again in a moment.", retry_after_s=2.0)


async def by_ids(shelf: Shelf, ids: Collection[str]) -> Mapping[str, Settlement]:
    """Settlements by their ids."""
    async with shelf.store.begin() as tx:
        return await settlement_view.by_ids(tx, ids)


async def line(shelf: Shelf, key: str) -> KeptLine | None:
    """A line, even one that was replaced; None where there is none."""
    if not is_number(key):
        return None
    async with shelf.store.begin() as tx:
        return (await settlement_view.lines_by_ids(tx, [int(key)])).get(int(key))


def is_number(key: str) -> bool:
    """Whether a line can have that key."""
    return key.isascii() and key.isdigit() and len(key) < 19


async def ties(shelf: Shelf, ids: Collection[str]) -> Mapping[str, Tie]:
    """How far each settlement is tied out."""
    async with shelf.store.begin() as tx:
        found = await settlement.differences(tx, ids)
    return {id: replace(one, difference=_in_full(one.difference)) for id, one in found.items()}


async def neighbors(shelf: Shelf, ids: Collection[str]) -> Mapping[str, tuple[Settlement | None, Settlement | None]]:
    """Of each settlement the one before and the one behind it."""
    async with shelf.store.begin() as tx:
        beside = await settlement_view.neighbors(tx, ids)
        found = await settlement_view.by_ids(tx, {id for pair in beside.values() for id in pair if id is not None})
    return {id: (found.get(before or ""), found.get(behind or "")) for id, (before, behind) in beside.items()}


async def comparisons(shelf: Shelf, ids: Collection[str], first: int) -> Mapping[str, list[Views]]:
    """Where each settlement and the transactions that it holds do not tell the same, the greatest differences first."""
    async with shelf.store.begin() as tx:
        return {id: await money_transaction.compare(tx, id, first) for id in ids}


async def replaced(shelf: Shelf, ids: Collection[str]) -> Mapping[str, Replaced]:
    """What each settlement took the place of; one that took none's is missing."""
    async with shelf.store.begin() as tx:
        return await money_transaction.replaced(tx, ids)


async def missing(shelf: Shelf, channel: ChannelId | None) -> Sequence[Missing]:
    """Settlements that must be there and are not."""
    async with shelf.store.begin() as tx:
        return await settlement.gaps(tx, channel)


async def class_sums(shelf: Shelf, ids: Collection[str]) -> Mapping[str, list[ClassSum]]:
    """What each settlement is made of."""
    async with shelf.store.begin() as tx:
        found = await settlement_view.class_sums(tx, ids)
    return {id: [replace(one, amount=_in_full(one.amount)) for one in sums] for id, sums in found.items()}


async def of_orders(shelf: Shelf, keys: Collection[Then]) -> Mapping[Then, list[KeptLine]]:
    """The lines that stand of each order."""
    wanted: defaultdict[datetime | None, list[OrderId]] = defaultdict(list)
    for order, known_at in keys:
        wanted[known_at].append(order)
    told: dict[Then, list[KeptLine]] = {}
    async with shelf.store.begin() as tx:
        for known_at, orders in wanted.items():
            found = await settlement_view.lines_by_orders(tx, orders, known_at)
            told |= {(order, known_at): found.get(order, []) for order in orders}
    return told


async def cost_layers(shelf: Shelf, keys: Collection[CostDay]) -> Mapping[CostDay, CostLayer]:
    """What a unit cost on that day; missing where no layer had begun."""
    async with shelf.store.begin() as tx:
        said = await cost.revisions(tx, {sku for sku, _ in keys})
    found = {(sku, day): in_force(said.get(sku, ()), day) for sku, day in keys}
    return {key: layer for key, layer in found.items() if layer is not None}


def _in_full(amount: Money) -> Money:
    """The same with all decimals of its currency, where it has fewer."""
    digits = max(minor_digits(amount.currency), -int(amount.amount.as_tuple().exponent))
    return Money(round(amount.amount, digits), amount.currency)


def _read_row(after: str) -> tuple[int, int]:
    place = read_cursor("settlementLines", after)
    try:
        return int(place[0]), int(place[1])
    except (ValueError, IndexError):
        raise Invalid("`after` is not a cursor of this list.", field=("after",)) from None
