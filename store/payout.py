"""Payouts of shops: kept as settlements, with the movements that they are made of, whose lines follow from what is known.

What a buyer paid is split over the parts of the order. Whenever an order, its refunds or another of its payments is known better,
other lines stand for its movements: with the same sum, so that a payout always comes to what was paid out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Integer, cast, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.apportion import refunds_of
from domain.channel import Channel
from domain.ids import ChannelId, OrderId, order_id
from domain.money import Money
from domain.money_class import MoneyClass
from domain.money_line import MoneyLine, Source
from domain.money_words import source_of
from domain.payout import Movement
from domain.payout_lines import AMOUNT, Known, Place, lines_of
from domain.residual import PERSON
from domain.settlement import SettlementKind, Statement
from store import chain, money_word, order, settlement
from store import money_line as lines
from store.money_line import standing
from store.session import AnyRow, among, as_table
from store.settlement import Kept, settlement_id
from store.tables import money_line, payout_movement
from store.tables import order as order_table
from store.tables import settlement as settlement_table

p, c, s = payout_movement.c, money_line.c, settlement_table.c

WHY = "its order, what was refunded of it, or its other payments are known better"


async def total(tx: AsyncConnection, channel: ChannelId, id: str) -> Money | None:
    """What a payout of a channel, by its id, was kept with; None where it is not kept."""
    of = s.channel == channel, s.kind == SettlementKind.PAYOUT.value, s.external_id == id
    row = (await tx.execute(select(s.total, s.currency).where(*of))).one_or_none()
    return None if row is None else Money(row.total, row.currency)


async def came_back(tx: AsyncConnection, channel: Channel, net: Money, since: datetime) -> bool:
    """Whether just that sum was moved between accounts since then, in a payout that is kept: so a payout that failed came back to
    the balance as one sum, and what it was made of is in no other."""
    rows = await tx.execute(
        select(p.kind, p.reason)
        .distinct()
        .where(
            p.channel == channel.id,
            p.at >= since,
            p.amount - p.fee == net.amount,
            p.currency == net.currency,
            p.order_external_id.is_(None),
            ~p.again,
        )
    )
    meaning = (await money_word.dictionary(tx)).of(source_of(channel.platform, Source.SETTLEMENT) or "")
    return any(meaning(row.kind, AMOUNT, row.reason)[1] is MoneyClass.TRANSFER for row in rows)


async def before(tx: AsyncConnection, channel: ChannelId, currency: str, at: datetime) -> datetime | None:
    """When the payout before `at` was issued; None for the first one."""
    found: datetime | None = await tx.scalar(
        select(func.max(s.ends_at)).where(
            s.channel == channel,
            s.kind == SettlementKind.PAYOUT.value,
            s.currency == currency,
            s.ends_at < at,
        )
    )
    return found


async def keep(tx: AsyncConnection, channel: Channel, statement: Statement, movements: Sequence[Movement]) -> Kept:
    """Keep a payout with its movements, which come to its total. One that an earlier payout has, which failed after it was paid,
    is paid again: it is not of its order a second time. Raises Refused where they do not come to the total, Conflict for another
    one than was kept under its name."""
    id = settlement_id(statement.channel, statement.external_id)
    again = await _in_others(tx, channel.id, id, movements)
    placed = {(id, row): replace(one, again=one.id in again) for row, one in enumerate(movements, 1)}
    orders = {one.order for one in placed.values() if one.order is not None and not one.again}
    held = await _movements(tx, channel.id, orders)
    made = lines_of(await _known(tx, channel, orders), {**held, **placed})
    kept = await settlement.keep(tx, statement, [line for place in placed for line in made[place]])
    if kept.fresh:
        await tx.execute(insert(payout_movement), [_row(channel.id, place, one) for place, one in placed.items()])
    return kept


async def split_anew(tx: AsyncConnection, channels: Mapping[ChannelId, Channel], ids: Collection[OrderId]) -> int:
    """Let those lines stand for the movements of these orders that follow from what is known now; how many are new. What people
    have tied stays as it is. The caller has made sure that nobody else does it for one of these orders at the same time."""
    o = order_table.c
    rows = await tx.execute(
        select(p.channel, p.order_external_id)
        .distinct()
        .join(order_table, (o.channel == p.channel) & (o.external_id == p.order_external_id))
        .where(among(o.id, ids), among(p.channel, channels))
    )
    names: defaultdict[ChannelId, set[str]] = defaultdict(set)
    for row in rows:
        names[ChannelId(row.channel)].add(row.order_external_id)
    made: dict[Place, list[MoneyLine]] = {}
    for id, orders in names.items():
        made |= lines_of(await _known(tx, channels[id], orders), await _movements(tx, id, orders))
    return await _renew(tx, made) if made else 0


async def _known(tx: AsyncConnection, channel: Channel, names: Collection[str]) -> Known:
    """What is known of orders of a channel, by its ids."""
    orders = await order.by_ids(tx, {order_id(channel.id, name) for name in names})
    chains = await chain.by_orders(tx, orders)
    source = source_of(channel.platform, Source.SETTLEMENT) or ""
    return Known(
        channel.id,
        channel.zone(None),
        (await money_word.dictionary(tx)).of(source),
        {one.external_id: one for one in orders.values()},
        {
            one.external_id: refunds_of(one, [piece for each in chains.get(id, ()) for piece in each.pieces])
            for id, one in orders.items()
        },
    )


async def _movements(tx: AsyncConnection, channel: ChannelId, orders: Collection[str]) -> dict[Place, Movement]:
    """All movements of these orders of a channel that are kept, each once."""
    of = p.channel == channel, among(p.order_external_id, orders), ~p.again
    rows = await tx.execute(select(payout_movement).where(*of))
    return {(row.settlement_id, row.row): _movement(row) for row in rows}


async def _in_others(tx: AsyncConnection, channel: ChannelId, id: str, movements: Sequence[Movement]) -> set[str]:
    """Those of these movements, by the provider's ids, that another payout has which is kept."""
    names = {one.id for one in movements}
    return set(
        await tx.scalars(
            select(p.external_id).where(p.channel == channel, among(p.external_id, names), p.settlement_id != id)
        )
    )


async def _renew(tx: AsyncConnection, made: Mapping[Place, Iterable[MoneyLine]]) -> int:
    asked = as_table(settlement=[id for id, _ in made], row=[str(row) for _, row in made])
    rows = await tx.execute(
        select(money_line)
        .join(asked, (asked.c.settlement == c.settlement_id) & (cast(asked.c.row, Integer) == c.row))
        .where(standing())
        .with_for_update(of=money_line)
    )
    held: defaultdict[Place, list[AnyRow]] = defaultdict(list)
    for row in rows:
        held[row.settlement_id, row.row].append(row)
    gone: list[int] = []
    fresh: list[MoneyLine] = []
    for place, before in held.items():
        if any(row.matched_by == PERSON for row in before):
            continue
        wanted = list(made[place])
        for row in before:
            if (one := lines.line_of(row)) in wanted:
                wanted.remove(one)
            else:
                gone.append(row.id)
        fresh += wanted
    if gone:
        await tx.execute(update(money_line).where(among(c.id, gone)).values(replaced_at=func.now(), replaced_why=WHY))
    await lines.add(tx, fresh)
    return len(fresh)


def _movement(row: AnyRow) -> Movement:
    return Movement(
        row.external_id,
        row.kind,
        Money(row.amount, row.currency),
        Money(row.fee, row.currency),
        row.at,
        row.order_external_id,
        row.refund_external_id,
        row.reason,
        row.again,
    )


def _row(channel: ChannelId, place: Place, one: Movement) -> dict[str, object]:
    return {
        "settlement_id": place[0],
        "row": place[1],
        "channel": channel,
        "external_id": one.id,
        "kind": one.kind,
        "reason": one.reason,
        "order_external_id": one.order,
        "refund_external_id": one.refund,
        "amount": one.amount.amount,
        "fee": one.fee.amount,
        "currency": one.amount.currency,
        "at": one.at,
        "again": one.again,
    }
