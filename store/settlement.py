"""Settlements become books: in one transaction, a batch of rows at a time, or not at all.

Every line is tied as far as it can be (`store/money_match.py`); what it replaces (the channel's transactions that it covers, what
we had reckoned) stands no more from the same transaction on, so that nothing counts twice. A settlement that is kept is never
changed: the same contents again change nothing, others are refused. Writers of books take turns (`locks.BOOKS`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel
from domain.errors import Conflict, Refused
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, OrderId, derived_id, order_id
from domain.money import Money
from domain.money_line import MoneyLine, Source, Stage
from domain.residual import Missing, Tie
from domain.settlement import Statement
from domain.settlement_chain import Link, missing
from store import event, locks, money_line, money_match, money_transaction, settlement_rows
from store.session import take_time
from store.settlement_rows import Written
from store.tables import settlement

c = settlement.c


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a settlement: its id with us; `fresh`, or kept before with the same contents; its rows, those of them that
    are wholly tied out, and what the others hold of its total."""

    settlement: str
    fresh: bool
    rows: int
    matched_rows: int
    difference: Money


def settlement_id(channel: ChannelId, external_id: str) -> str:
    """Our id of a channel's settlement or payout."""
    return derived_id("settlement", channel, external_id)


@dataclass(frozen=True, slots=True)
class Opened:
    """The books, open for a settlement of this id with us; `known`: it was kept before."""

    channel: Channel
    settlement: str
    currency: str
    known: bool


async def turn(tx: AsyncConnection) -> None:
    """Nobody else writes books until `tx` ends. Call it before anything is written: as long as who has written waits, nobody is
    told of any event."""
    await take_time(tx)
    await tx.execute(select(func.pg_advisory_xact_lock(locks.BOOKS)))


async def alone(tx: AsyncConnection) -> bool:
    """The same without waiting: whether nobody else does, until `tx` ends."""
    return bool(await tx.scalar(select(func.pg_try_advisory_xact_lock(locks.BOOKS))))


async def open_books(tx: AsyncConnection, channel: Channel, external_id: str, currency: str) -> Opened:
    """Open the books for the rows of a settlement, which come to `write` and end with `settle`. Call it behind `turn`."""
    await tx.execute(_WORK_MEM)
    await tx.execute(_BY_INDEX)
    await settlement_rows.begin(tx)
    id = settlement_id(channel.id, external_id)
    known = await tx.scalar(select(c.id).where(c.id == id)) is not None
    return Opened(channel, id, currency, known)


async def write(tx: AsyncConnection, opened: Opened) -> Written:
    """Take the rows that `settlement_rows.send` has put in place, and say what they come to."""
    if opened.known:
        return await settlement_rows.keep_back(tx)
    return await settlement_rows.write(tx, opened.channel, opened.settlement, opened.currency)


async def settle(tx: AsyncConnection, opened: Opened, statement: Statement, written: Written) -> Kept:
    """Keep the settlement whose rows were all written; `written` is what they come to together. Whoever cannot has to take back
    `tx`, since lines are there already.

    What was kept before under the same id stays as it is. Raises Refused for rows that do not come to the total, Conflict for
    other contents than those that were kept.
    """
    if written.added != statement.total.amount:
        raise Refused(
            f"The rows of settlement {statement.external_id} come to {written.added:f}, its total is "
            f"{statement.total.amount:f} {statement.total.currency}: the difference is "
            f"{written.added - statement.total.amount:f}."
        )
    if opened.known:
        values = {"settlement": opened.settlement}
        await _refuse_others(tx, statement, await tx.scalar(_OTHER_ROWS, values) or 0)
    else:
        await _open(tx, statement, written.rows)
        # Or the planner takes a million rows for a few hundred.
        await tx.execute(_ANALYZE)
        await money_match.tie(tx, opened.channel, statement.marketplace, "select * from settlement_left", {})
        await settlement_rows.write_left(tx, opened.channel, opened.settlement, opened.currency)
        await money_transaction.cover(tx, opened.settlement)
        # As `money_line.billed`, without the orders' names passing through here.
        await tx.execute(_ESTIMATE_ANEW)
        await tx.execute(_ESTIMATES, {"why": _told_by(statement)})
    return await _kept(tx, statement, fresh=not opened.known)


async def keep(tx: AsyncConnection, statement: Statement, lines: Sequence[MoneyLine]) -> Kept:
    """Keep a settlement, such as a payout, of lines that are made and tied already. Each has its `row`; several may share one.

    The settlement, source and stage of the lines are set here. Raises what `settle` raises; the same rows, split or tied
    otherwise than before, are the same contents.
    """
    await turn(tx)
    added = sum((one.amount.amount for one in lines), Decimal(0))
    if added != statement.total.amount or any(one.amount.currency != statement.total.currency for one in lines):
        raise Refused(
            f"The movements of payout {statement.external_id} come to {added:f}, its total is {statement.total.amount:f} "
            f"{statement.total.currency}: the difference is {added - statement.total.amount:f}."
        )
    id = await _open(tx, statement, len({one.row for one in lines}))
    if id is None:
        await _same_lines(tx, statement, lines)
    else:
        await money_line.add(
            tx,
            [replace(one, settlement=id, source=Source.SETTLEMENT, stage=Stage.SETTLED, reference="") for one in lines],
        )
        await money_transaction.cover(tx, id)
        # Those too that were not known when the lines were made: they may have come meanwhile, and are looked at anew then.
        orders = {one.order_id for one in lines if one.order_id is not None}
        orders |= {
            order_id(statement.channel, one.order_external_id) for one in lines if one.order_external_id is not None
        }
        await money_line.billed(tx, orders, _told_by(statement))
    return await _kept(tx, statement, fresh=id is not None)


async def open_settlements(tx: AsyncConnection) -> list[tuple[str, ChannelId, str | None]]:
    """Settlements of marketplaces with lines that might be tied out when an order, a line of one, or a SKU comes to be known: id,
    channel and marketplace, the oldest first."""
    rows = await tx.execute(_OPEN_SETTLEMENTS)
    return [(row.id, ChannelId(row.channel), row.marketplace) for row in rows]


async def rematch(
    tx: AsyncConnection, channel: Channel, marketplace: str | None, id: str, after: int, limit: int
) -> tuple[int, int | None]:
    """Look at the next `limit` such lines of a settlement, behind the line `after`, and let better ones stand for those that what
    they lacked has come for. How many those are, and the last line that was looked at: None where there are no more, or somebody
    else writes books.

    What nobody can tie yet stays as it is, and what people have tied. The new lines are known from now on; how long a row has
    been open is told by when its settlement was kept.
    """
    if not await alone(tx):
        return 0, None
    asked = {"settlement": id, "after": after, "limit": limit}
    ids = list(await tx.scalars(_OPEN_LINES, asked))
    if not ids:
        return 0, None
    await money_match.tie(tx, channel, marketplace, _LINES_AGAIN, {"ids": ids})
    orders = list(await tx.scalars(_REMATCH, {"ids": ids}))
    await money_line.billed(tx, {OrderId(one) for one in orders if one is not None}, _TOLD_BEFORE)
    return len(orders), ids[-1]


async def differences(tx: AsyncConnection, ids: Collection[str]) -> dict[str, Tie]:
    """How far each settlement is tied out. Those that there are not are missing."""
    rows = await tx.execute(_DIFFERENCES, {"ids": list(ids)})
    return {row.id: Tie(row.line_count - row.open_rows, Money(row.difference, row.currency)) for row in rows}


async def gaps(tx: AsyncConnection, channel: ChannelId | None = None) -> list[Missing]:
    """Settlements of marketplaces that must be there and are not, by channel, oldest first: of one channel, or of all. Payouts of
    shops make no chain."""
    rows = await tx.execute(_LINKS, {"channel": channel})
    return missing(
        Link(
            ChannelId(row.channel),
            row.marketplace,
            row.starts_at,
            row.ends_at,
            Money(row.came_in, row.currency),
            Money(row.went_out, row.currency),
        )
        for row in rows
    )


async def _open(tx: AsyncConnection, one: Statement, rows: int) -> str | None:
    """The new settlement's id; None where one of this name is kept already."""
    fresh = insert(settlement).values(
        id=settlement_id(one.channel, one.external_id),
        channel=one.channel,
        kind=one.kind.value,
        external_id=one.external_id,
        marketplace=one.marketplace,
        currency=one.total.currency,
        starts_at=one.starts_at,
        ends_at=one.ends_at,
        deposited_at=one.deposited_at,
        total=one.total.amount,
        reference=one.reference,
        line_count=rows,
    )
    new: str | None = await tx.scalar(fresh.on_conflict_do_nothing().returning(c.id))
    return new


async def _same_lines(tx: AsyncConnection, one: Statement, lines: Sequence[MoneyLine]) -> None:
    kept = await tx.scalars(_FIRST_SUMS, {"settlement": settlement_id(one.channel, one.external_id)})
    by_row: defaultdict[int | None, Decimal] = defaultdict(Decimal)
    for line in lines:
        by_row[line.row] += line.amount.amount
    before, now = Counter(kept), Counter(by_row.values())
    await _refuse_others(tx, one, (before - now).total() + (now - before).total())


async def _refuse_others(tx: AsyncConnection, one: Statement, others: int) -> None:
    """Raise Conflict for a statement with other contents than those that were kept under its name."""
    row = (
        await tx.execute(
            select(c.total, c.currency, c.kept_at).where(c.id == settlement_id(one.channel, one.external_id))
        )
    ).one()
    if others or (row.total, row.currency) != (one.total.amount, one.total.currency):
        raise Conflict(
            f"Settlement {one.external_id} was kept on {row.kept_at:%Y-%m-%d} with other contents: a total of {row.total:f} "
            f"{row.currency}, now {one.total.amount:f} {one.total.currency}; {others} rows differ. What is in the books stays as "
            "it is; ask the channel which of the two holds."
        )


def _told_by(one: Statement) -> str:
    return f"Settlement {one.external_id} tells it."


async def _kept(tx: AsyncConnection, one: Statement, *, fresh: bool) -> Kept:
    id = settlement_id(one.channel, one.external_id)
    rows = await tx.scalar(select(c.line_count).where(c.id == id)) or 0
    if fresh:
        await event.append(tx, [NewEvent(EventKind.SETTLEMENT_KEPT, id, {"channel": one.channel})])
    tie = (await differences(tx, [id]))[id]
    return Kept(id, fresh, rows, tie.matched_rows, tie.difference)


# For this transaction alone: a million rows are joined in memory.
_WORK_MEM = text("set local work_mem = '128MB'")
# A few thousand orders are looked for in each batch: reading all there are costs more on any disk of today.
_BY_INDEX = text("set local random_page_cost = 1.1")
_ANALYZE = text("analyze settlement_left (key)")
_TOLD_BEFORE = "A settlement told it before its order was known."
_CAN_BE_TIED = """
    line.settlement_id is not null and line.cause in ('ORDER_UNKNOWN', 'LINE_UNKNOWN', 'SKU_UNMAPPED')
    and line.replaced_at is null
"""
_OPEN_SETTLEMENTS = text(
    f"""
    select s.id, s.channel, s.marketplace from settlement s
    where s.kind = 'SETTLEMENT' and s.id in (select line.settlement_id from money_line line where {_CAN_BE_TIED})
    order by s.kept_at, s.id
    """  # noqa: S608 - words of ours
)
_OPEN_LINES = text(
    f"""
    select line.id from money_line line
    where line.settlement_id = :settlement and line.id > :after and line.cause is not null and {_CAN_BE_TIED}
    order by line.id limit :limit
    """  # noqa: S608 - words of ours
)
_LINES_AGAIN = f"""
    select id as key, order_external_id, extra ->> '{money_match.MERCHANT_ORDER_ID}' merchant_order_id, adjustment_id,
        shipment_id, item_id, channel_sku, marketplace
    from money_line where id = any(cast(:ids as bigint[]))
"""  # noqa: S608 - words of ours
# An order that is not kept any more, or a SKU that is not mapped any more, unties nothing.
_REMATCH = text(
    f"""
    with again as (
        select s.id, t.marketplace, {money_match.DAY} as day, t.order_id, t.order_line_id, t.sku,
            {money_match.MATCHED_BY} matched_by, {money_match.CAUSE} cause
        from money_line s join money_tie t on t.key = s.id
        where s.id = any(cast(:ids as bigint[]))
    )
    , gone as (
        update money_line line set replaced_at = now(), replaced_why = case
            when line.order_id is distinct from again.order_id then 'Its order became known.'
            when line.order_line_id is distinct from again.order_line_id then 'The line of its order became known.'
            when line.sku is distinct from again.sku then 'Its SKU became known.'
            else 'What it belongs to became known.' end
        from again
        where line.id = again.id and line.replaced_at is null
            and (line.order_id is null or again.order_id is not null) and (line.sku is null or again.sku is not null)
            and (line.order_id, line.order_line_id, line.sku, line.matched_by, line.cause)
                is distinct from (again.order_id, again.order_line_id, again.sku, again.matched_by, again.cause)
        returning line.*
    )
    insert into money_line ({money_match.COLUMNS})
    select gone.channel, again.marketplace, gone.source, gone.stage, gone.event, gone.class, gone.part, gone.kind,
        gone.amount_kind, gone.description, gone.amount, gone.currency, gone.units, gone.posted_at, again.day,
        gone.settlement_id, gone.row, gone.order_external_id, gone.shipment_id, gone.adjustment_id, gone.item_id,
        gone.channel_sku, again.order_id, again.order_line_id, again.sku, again.matched_by, again.cause, gone.extra
    from gone join again using (id) order by id
    returning order_id
    """  # noqa: S608 - words of ours
)
# What was kept first of it, whatever it was tied to since; the order of the rows is no matter.
_OTHER_ROWS = text(
    """
    select count(*) + (
        select abs(line_count - (select count(*) from settlement_left)) from settlement where id = :settlement
    )
    from (
        select kind, amount_kind, description, amount, posted_at, order_external_id, shipment_id, adjustment_id, item_id,
            channel_sku
        from settlement_left
        except all
        select kind, amount_kind, description, amount, posted_at, order_external_id, shipment_id, adjustment_id, item_id,
            channel_sku
        from money_line
        where settlement_id = :settlement and known_at = (select kept_at from settlement where id = :settlement)
    ) others
    """
)
_FIRST_SUMS = text(
    """
    select sum(amount) from money_line
    where settlement_id = :settlement and known_at = (select kept_at from settlement where id = :settlement)
    group by row
    """
)
_ESTIMATES = text(
    """
    update money_line set replaced_at = now(), replaced_why = :why where id in (
        select id from money_line
        where source = 'ESTIMATE' and replaced_at is null
            and order_id in (select order_id from settlement_order union select order_id from money_tie)
        order by id for update
    )
    """
)
_ESTIMATE_ANEW = text(
    """
    insert into estimate_due (order_id, since)
    select order_id, now() from (select order_id from settlement_order union select order_id from money_tie) billed
    where order_id is not null order by order_id
    on conflict (order_id) do update set since = excluded.since
    """
)
_DIFFERENCES = text(
    """
    select s.id, s.currency, s.line_count, count(distinct line.row) open_rows, coalesce(sum(line.amount), 0) difference
    from settlement s
    left join money_line line on line.settlement_id = s.id and line.cause is not null and line.replaced_at is null
    where s.id = any(cast(:ids as text[]))
    group by s.id
    """
)
# What is held back of one settlement is negative in it, and positive in the next.
_LINKS = text(
    """
    select s.channel, s.marketplace, s.currency, s.starts_at, s.ends_at,
        coalesce(sum(line.amount) filter (where line.amount > 0), 0) came_in,
        coalesce(-sum(line.amount) filter (where line.amount < 0), 0) went_out
    from settlement s
    left join money_line line on line.settlement_id = s.id and line.class = 'RESERVE' and line.replaced_at is null
    where s.kind = 'SETTLEMENT' and (cast(:channel as text) is null or s.channel = :channel)
    group by s.id
    """
)
