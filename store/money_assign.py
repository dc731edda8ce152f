"""Lines of settlements that people tie by hand. What they say is another line, as all that is known better, and can be undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Conflict, NotFound
from domain.ids import ChannelId
from domain.money_line import MoneyLine
from domain.order import Order
from domain.residual import PERSON, KeptLine, Target, check_open, tied
from store import money_line as lines
from store import order, product
from store.session import storable
from store.settlement_view import kept_line_of, lines_by_ids
from store.tables import money_assignment, money_line

Zone = Callable[[ChannelId, str | None], ZoneInfo]
"""By which clock the days of a channel's marketplace begin."""

a, c = money_assignment.c, money_line.c


async def assign(tx: AsyncConnection, id: int, target: Target, zone: Zone, by: str, reason: str) -> KeptLine:
    """Tie a line as a person says, and answer the line that stands for it from now on; what is tied so already stays as it is.
    The caller is alone at the books (`settlement.alone`).

    Raises NotFound for what is not here, Conflict for a line that does not stand or is no residual.
    """
    before = (await lines_by_ids(tx, [id])).get(id)
    if before is None:
        raise NotFound(f"There is no line MoneyLine:{id}.", field=("lineId",))
    if before.replaced_at is not None:
        return await _followed(tx, before, target)
    if target.holds(before):
        return before
    check_open(before)
    after = await (_first(tx, before) if target.undo else _tied(tx, before.told, target, zone))
    why = storable(f"tied to {target.words} by {by}: {reason}")
    await tx.execute(update(money_line).where(c.id == id).values(replaced_at=func.now(), replaced_why=why))
    made = await lines.add_one(tx, after)
    # Estimates of an order give way to what is billed of it, and are worked out anew for one that loses a line.
    await lines.billed(tx, {one for one in (before.order_id, after.order_id) if one is not None}, why)
    await tx.execute(insert(money_assignment).values(line=made, before=id, by=by, reason=storable(reason)))
    return (await lines_by_ids(tx, [made]))[made]


async def _followed(tx: AsyncConnection, gone: KeptLine, target: Target) -> KeptLine:
    """The line that stands for one that was replaced, where people have tied it so already. Raises Conflict."""
    last: KeptLine | None = gone
    while last is not None and last.replaced_at is not None:
        last = await _behind(tx, last)
    if last is not None and target.holds(last):
        return last
    now = "" if last is None else f" MoneyLine:{last.id} stands for it now."
    raise Conflict(f"The line does not stand any more ({gone.replaced_why}).{now}", field=("lineId",))


async def _first(tx: AsyncConnection, one: KeptLine) -> MoneyLine:
    """What a line was before people tied it. Raises Conflict where that cannot be told any more."""
    last: KeptLine | None = one
    while last is not None and last.matched_by == PERSON:
        last = await _before(tx, last)
    if last is None:
        raise Conflict("What it was before cannot be told any more: tie it to something else.", field=("undo",))
    return last.told


async def _before(tx: AsyncConnection, one: KeptLine) -> KeptLine | None:
    """The line that this one stands for."""
    said = await tx.scalar(select(a.before).where(a.line == one.id))
    return (
        await _only(tx, c.id == said) if said is not None else await _only(tx, *_same(one, c.replaced_at, one.known_at))
    )


async def _behind(tx: AsyncConnection, one: KeptLine) -> KeptLine | None:
    """The line that stands for this one."""
    said = await tx.scalar(select(a.line).where(a.before == one.id))
    return (
        await _only(tx, c.id == said) if said is not None else await _only(tx, *_same(one, c.known_at, one.replaced_at))
    )


def _same(one: KeptLine, instant: ColumnElement[Any], at: datetime | None) -> tuple[ColumnElement[bool], ...]:
    """As what is known better replaces a line: in one moment, the same row and amount."""
    return c.settlement_id == one.settlement, c.row == one.row, c.amount == one.amount.amount, instant == at


async def _only(tx: AsyncConnection, *wanted: ColumnElement[bool]) -> KeptLine | None:
    rows = (await tx.execute(select(money_line).where(*wanted).limit(2))).all()
    return kept_line_of(rows[0]) if len(rows) == 1 else None


async def _tied(tx: AsyncConnection, before: MoneyLine, target: Target, zone: Zone) -> MoneyLine:
    found: Order | None = None
    if target.order is not None:
        found = (await order.by_ids(tx, [target.order])).get(target.order)
        if found is None:
            raise NotFound("There is no such order.", field=("orderId",))
    if target.sku is not None and target.sku not in await product.by_skus(tx, [target.sku]):
        raise NotFound(f"There is no product {target.sku}.", field=("sku",))
    return tied(before, target, found, zone(before.channel, before.marketplace))
