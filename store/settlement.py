"""Settlements become books: staged a batch at a time, then kept in one transaction, or not at all.

Every line is tied as far as it can be (`store/money_match.py`); what it replaces (the channel's transactions that it covers, what
we had reckoned) stands no more from the same transaction on, so that nothing counts twice. A settlement that is kept is never
changed: the same contents again change nothing, others are refused. Writers of books take turns (`locks.BOOKS`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b

import orjson
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel
from domain.errors import Conflict, Invalid, Refused
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, OrderId, derived_id, order_id
from domain.money import Money
from domain.money_class import Event, MoneyClass, part_of
from domain.money_line import MoneyLine, Source, Stage
from domain.money_words import Classify
from domain.residual import Missing, Tie
from domain.settlement import Statement, StatementRow
from domain.settlement_chain import Link, missing
from store import copying, event, locks, money_line, money_match, money_transaction
from store.session import take_time
from store.tables import money_staged, settlement

c = settlement.c
s = money_staged.c

_STAGED = (
    "file",
    "row",
    "event",
    "class",
    "part",
    "kind",
    "amount_kind",
    "description",
    "amount",
    "posted_at",
    "key",
    "order_external_id",
    "merchant_order_id",
    "adjustment_id",
    "shipment_id",
    "item_id",
    "channel_sku",
    "units",
    "extra",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a settlement: its id with us; `fresh`, or kept before with the same contents; its rows, those of them that
    are wholly tied out, and what the others hold of its total."""

    settlement: str
    fresh: bool
    rows: int
    matched_rows: int
    difference: Money


def settlement_id(one: Statement) -> str:
    """Our id of a channel's settlement or payout."""
    return derived_id("settlement", one.channel, one.external_id)


async def stage(tx: AsyncConnection, content: bytes) -> None:
    """Put rows of a file, as `written` made them, on their way. They stay until `settle` or `unstage`, or until the database
    crashes: see `staged`."""
    await copying.plain(tx, "money_staged", _STAGED, content)


def written(file: str, rows: Sequence[StatementRow], meaning: Classify) -> bytes:
    """Rows as they are staged, with what their words mean. Raises Invalid for one that no database can hold."""
    lines: list[str] = []
    # Words are few, and rows of one item stand together: what has been written out is not written out again.
    words: dict[tuple[str, str, str], tuple[Event, bool, str]] = {}
    names: tuple[object, ...] = ()
    named = when = ""
    since: datetime | None = None
    for row in rows:
        (number, kind, amount_kind, description, amount, at, order, merchants, adjustment, shipment, _, _, item, _, _, sku,
         units, extra) = row  # fmt: skip
        told = words.get((kind, amount_kind, description))
        if told is None:
            event, of = meaning(kind, amount_kind, description)
            telling = _cells(event.value, of.value, part_of(of, event).value, kind, amount_kind, description)
            told = words[kind, amount_kind, description] = event, of is MoneyClass.SALE, telling
        event, sold, telling = told
        if (these := (event, order, merchants, adjustment, shipment, item, sku)) != names:
            names, key = these, _key(event, order, merchants, adjustment, shipment, item, sku)
            other = merchants if merchants != order else None
            named = _cells(key, order, other, adjustment, shipment, item, sku)
        if at is not since:
            since, when = at, at.isoformat()
        if sold and units and amount < 0 and event is Event.SALE:
            # What takes a sale back takes back its units: they are sold once.
            units = -abs(units)
        counted = units if sold and units is not None else ""
        more = _cells(orjson.dumps(extra).decode()) if extra else ""
        lines.append(f"{file}\t{number}\t{telling}\t{amount!s}\t{when}\t{named}\t{counted}\t{more}\n")
    content = "".join(lines)
    if "\0" in content:
        raise Invalid("A row has a NUL character, which no database can hold.")
    return content.encode()


async def staged(tx: AsyncConnection, file: str) -> int:
    """How many rows of a file are staged: the first so many, since they come in their order. 0 too where a crash of the database
    has emptied them."""
    return await tx.scalar(select(func.count()).where(s.file == file)) or 0


async def unstage(tx: AsyncConnection, file: str) -> None:
    """Forget what is staged of a file."""
    await tx.execute(delete(money_staged).where(s.file == file))


async def settle(tx: AsyncConnection, channel: Channel, statement: Statement, file: str) -> Kept:
    """Keep a settlement of the rows that are staged of a file: all of it, or nothing. Afterwards none of them is staged.

    What was kept before under the same id stays as it is. Raises Refused for rows that do not come to the total, Conflict for
    other contents than those that were kept.
    """
    await _turn(tx)
    await tx.execute(_WORK_MEM)
    # Or the planner takes a million rows for a few hundred.
    await tx.execute(_ANALYZE)
    added, rows = (await tx.execute(_STAGED_SUM, {"file": file})).one()
    if added != statement.total.amount:
        raise Refused(
            f"The rows of settlement {statement.external_id} come to {added:f}, its total is {statement.total.amount:f} "
            f"{statement.total.currency}: the difference is {added - statement.total.amount:f}."
        )
    id = await _open(tx, statement, rows)
    if id is None:
        values = {"file": file, "settlement": settlement_id(statement)}
        await _refuse_others(tx, statement, await tx.scalar(_OTHER_ROWS, values) or 0)
    else:
        await money_match.tie(tx, channel, statement.marketplace, _ROWS, {"file": file})
        values = {
            "file": file,
            "channel": statement.channel,
            "currency": statement.total.currency,
            "settlement": id,
        }
        await tx.execute(_KEEP, values)
        await money_transaction.cover(tx, id)
        # As `money_line.billed`, without the orders' names passing through here.
        await tx.execute(_ESTIMATE_ANEW)
        await tx.execute(_ESTIMATES, {"why": _told_by(statement)})
    await unstage(tx, file)
    return await _kept(tx, statement, fresh=id is not None)


async def keep(tx: AsyncConnection, statement: Statement, lines: Sequence[MoneyLine]) -> Kept:
    """Keep a settlement, such as a payout, of lines that are made and tied already. Each has its `row`; several may share one.

    The settlement, source and stage of the lines are set here. Raises what `settle` raises; the same rows, split or tied
    otherwise than before, are the same contents.
    """
    await _turn(tx)
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
    if not await tx.scalar(select(func.pg_try_advisory_xact_lock(locks.BOOKS))):
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


async def _turn(tx: AsyncConnection) -> None:
    await take_time(tx)
    await tx.execute(select(func.pg_advisory_xact_lock(locks.BOOKS)))


async def _open(tx: AsyncConnection, one: Statement, rows: int) -> str | None:
    """The new settlement's id; None where one of this name is kept already."""
    fresh = insert(settlement).values(
        id=settlement_id(one),
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
    kept = await tx.scalars(_FIRST_SUMS, {"settlement": settlement_id(one)})
    by_row: defaultdict[int | None, Decimal] = defaultdict(Decimal)
    for line in lines:
        by_row[line.row] += line.amount.amount
    before, now = Counter(kept), Counter(by_row.values())
    await _refuse_others(tx, one, (before - now).total() + (now - before).total())


async def _refuse_others(tx: AsyncConnection, one: Statement, others: int) -> None:
    """Raise Conflict for a statement with other contents than those that were kept under its name."""
    row = (await tx.execute(select(c.total, c.currency, c.kept_at).where(c.id == settlement_id(one)))).one()
    if others or (row.total, row.currency) != (one.total.amount, one.total.currency):
        raise Conflict(
            f"Settlement {one.external_id} was kept on {row.kept_at:%Y-%m-%d} with other contents: a total of {row.total:f} "
            f"{row.currency}, now {one.total.amount:f} {one.total.currency}; {others} rows differ. What is in the books stays as "
            "it is; ask the channel which of the two holds."
        )


def _told_by(one: Statement) -> str:
    return f"Settlement {one.external_id} tells it."


async def _kept(tx: AsyncConnection, one: Statement, *, fresh: bool) -> Kept:
    id = settlement_id(one)
    rows = await tx.scalar(select(c.line_count).where(c.id == id)) or 0
    if fresh:
        await event.append(tx, [NewEvent(EventKind.SETTLEMENT_KEPT, id, {"channel": one.channel})])
    tie = (await differences(tx, [id]))[id]
    return Kept(id, fresh, rows, tie.matched_rows, tie.difference)


def _cells(*cells: str | None) -> str:
    """Cells of a line as COPY reads them."""
    line = "\t".join([cell or "" for cell in cells])
    if line.count("\t") != len(cells) - 1 or "\\" in line or "\n" in line or "\r" in line:
        return "\t".join([(cell or "").translate(_ESCAPES) for cell in cells])
    return line


def _key(event: Event, *names: str | None) -> str:
    """Of all that a row names; the same for the rows of one item."""
    named = "\x1f".join([event.value, *[name or "" for name in names]])
    return blake2b(named.encode(), digest_size=16).hexdigest()


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

# For this transaction alone: a million rows are joined in memory.
_WORK_MEM = text("set local work_mem = '128MB'")
_ANALYZE = text("analyze money_staged (file, key)")
_STAGED_SUM = text("select coalesce(sum(amount), 0) added, count(*) rows from money_staged where file = :file")
_ROWS = "select * from money_staged where file = :file"
_KEEP = text(
    f"""
    insert into money_line (
        channel, marketplace, source, stage, event, class, part, kind, amount_kind, description, amount, currency, units,
        posted_at, day, settlement_id, row, order_external_id, shipment_id, adjustment_id, item_id, channel_sku,
        order_id, order_line_id, sku, matched_by, cause, extra
    )
    select
        cast(:channel as text), t.marketplace, 'SETTLEMENT', 'SETTLED', s.event, s.class, s.part,
        coalesce(s.kind, ''), coalesce(s.amount_kind, ''), coalesce(s.description, ''), s.amount, cast(:currency as text),
        s.units, s.posted_at, {money_match.DAY}, cast(:settlement as text), s.row, s.order_external_id, s.shipment_id,
        s.adjustment_id, s.item_id, s.channel_sku, t.order_id, t.order_line_id, t.sku,
        {money_match.MATCHED_BY}, {money_match.CAUSE},
        case when s.merchant_order_id is null then s.extra
            else coalesce(s.extra, '{{}}') || jsonb_build_object('{money_match.MERCHANT_ORDER_ID}', s.merchant_order_id) end
    from money_staged s join money_tie t on t.key = s.key
    where s.file = :file
    """  # noqa: S608 - words of ours
)
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
    select cast(md5(cast(id as text)) as uuid) as key, order_external_id,
        extra ->> '{money_match.MERCHANT_ORDER_ID}' merchant_order_id, adjustment_id, shipment_id, item_id, channel_sku, event
    from money_line where id = any(cast(:ids as bigint[]))
"""  # noqa: S608 - words of ours
# An order that is not kept any more, or a SKU that is not mapped any more, unties nothing.
_REMATCH = text(
    f"""
    with again as (
        select s.id, t.marketplace, {money_match.DAY} as day, t.order_id, t.order_line_id, t.sku,
            {money_match.MATCHED_BY} matched_by, {money_match.CAUSE} cause
        from money_line s join money_tie t on t.key = cast(md5(cast(s.id as text)) as uuid)
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
    insert into money_line (
        channel, marketplace, source, stage, event, class, part, kind, amount_kind, description, amount, currency, units,
        posted_at, day, settlement_id, row, order_external_id, shipment_id, adjustment_id, item_id, channel_sku,
        order_id, order_line_id, sku, matched_by, cause, extra
    )
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
        select abs(line_count - (select count(*) from money_staged where file = :file))
        from settlement where id = :settlement
    )
    from (
        select coalesce(kind, ''), coalesce(amount_kind, ''), coalesce(description, ''), amount, posted_at, order_external_id,
            shipment_id, adjustment_id, item_id, channel_sku
        from money_staged where file = :file
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
        where source = 'ESTIMATE' and replaced_at is null and order_id in (select order_id from money_tie)
        order by id for update
    )
    """
)
_ESTIMATE_ANEW = text(
    """
    insert into estimate_due (order_id, since)
    select distinct order_id, now() from money_tie where order_id is not null order by order_id
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
