"""Rows of a settlement on their way into its lines, a batch at a time, in tables of the connection that last as long as its
transaction.

Most rows name an order and a line of it that we know: these are lines at once (`write`). The others wait in `settlement_left`
for what the rest of the file says, and for the rules of `store/money_match.py`. Rows that stand together name the same, and words
are few: each is sent once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel
from domain.errors import Invalid
from domain.money_class import Event, MoneyClass, part_of
from domain.money_words import Classify
from domain.settlement import StatementRow
from store import copying, money_match


class Batch(NamedTuple):
    """Rows as `send` takes them: for COPY, with the words and names that they point to, by the first row that has them."""

    words: bytes
    names: bytes
    rows: bytes


class Written(NamedTuple):
    """How many rows there were, and what they come to."""

    rows: int
    added: Decimal


def written(several: Iterable[Sequence[StatementRow]], meaning: Classify) -> Batch:
    """The next rows of a file, with what their words mean. Raises Invalid for one that no database can hold."""
    words: dict[tuple[str, str, str], tuple[int, bool, bool]] = {}
    told: list[str] = []
    names: list[str] = []
    lines: list[str] = []
    named: tuple[str | None, ...] = ()
    name, when = 0, ""
    since: datetime | None = None
    for row in (row for rows in several for row in rows):
        (number, kind, amount_kind, description, amount, at, order, merchants, adjustment, shipment, marketplace, _, item, _, _,
         sku, units, extra) = row  # fmt: skip
        known = words.get((kind, amount_kind, description))
        if known is None:
            event, of = meaning(kind, amount_kind, description)
            known = words[kind, amount_kind, description] = number, of is MoneyClass.SALE, event is Event.SALE
            told.append(
                _line(str(number), event.value, of.value, part_of(of, event).value, kind, amount_kind, description)
            )
        word, sold, sale = known
        if (these := (order, merchants, adjustment, shipment, marketplace, item, sku)) != named or not names:
            named, name = these, number
            other = merchants if merchants != order else None
            names.append(_line(str(number), order, other, adjustment, shipment, marketplace, item, sku))
        if at is not since:
            since, when = at, at.isoformat()
        if sold and units and amount < 0 and sale:
            # What takes a sale back takes back its units: they are sold once.
            units = -abs(units)
        counted = units if sold and units is not None else ""
        more = _cell(orjson.dumps(extra).decode()) if extra else ""
        lines.append(f"{number}\t{word}\t{name}\t{amount!s}\t{when}\t{counted}\t{more}\n")
    return Batch(_bytes(told), _bytes(names), _bytes(lines))


async def begin(tx: AsyncConnection) -> None:
    """Make room for the rows of one file, until `tx` ends."""
    for table in (*_TABLES, money_match.WRITTEN):
        await tx.execute(table)
    await tx.execute(_EMPTY)


async def send(tx: AsyncConnection, batch: Batch) -> None:
    """Put the next rows where `write` and `keep_back` find them."""
    await copying.plain(tx, "settlement_word", _WORD, batch.words)
    await copying.plain(tx, "settlement_name", _NAME, batch.names)
    await copying.plain(tx, "settlement_row", _ROW, batch.rows)


async def write(tx: AsyncConnection, channel: Channel, settlement: str, currency: str) -> Written:
    """Let the rows that were sent be lines of a settlement, where they name a line of an order that we know, or an order and no
    line; keep back the others."""
    values = {"channel": channel.id, "settlement": settlement, "currency": currency, **money_match.clocks(channel)}
    row = (await tx.execute(_WRITE, values)).one()
    await tx.execute(_NEXT)
    return Written(row.rows, row.added)


async def keep_back(tx: AsyncConnection) -> Written:
    """Keep back all rows that were sent."""
    row = (await tx.execute(_KEEP_BACK)).one()
    await tx.execute(_NEXT)
    return Written(row.rows, row.added)


async def write_left(tx: AsyncConnection, channel: Channel, settlement: str, currency: str) -> None:
    """Let what was kept back be lines too, as far as `money_match.tie` has tied it by now."""
    await tx.execute(_WRITE_LEFT, {"channel": channel.id, "settlement": settlement, "currency": currency})


def _line(*cells: str | None) -> str:
    """A line of cells as COPY reads it."""
    line = "\t".join([cell or "" for cell in cells])
    if line.count("\t") != len(cells) - 1 or "\\" in line or "\n" in line or "\r" in line:
        line = "\t".join([_cell(cell or "") for cell in cells])
    return line + "\n"


def _cell(cell: str) -> str:
    return cell.translate(_ESCAPES)


def _bytes(lines: Sequence[str]) -> bytes:
    content = "".join(lines)
    if "\0" in content:
        raise Invalid("A row has a NUL character, which no database can hold.")
    return content.encode()


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

_WORD = ("number", "event", "class", "part", "kind", "amount_kind", "description")
_NAME = (
    "number",
    "order_external_id",
    "merchant_order_id",
    "adjustment_id",
    "shipment_id",
    "marketplace",
    "item_id",
    "channel_sku",
)
_ROW = ("row", "word", "name", "amount", "posted_at", "units", "extra")
# What is blank in the file is null.
_TABLES = [
    text(f"create temporary table if not exists {name} ({columns}) on commit delete rows")
    for name, columns in {
        "settlement_word": """
            number integer, event text, class text, part text, kind text, amount_kind text, description text
        """,
        "settlement_name": """
            number integer, order_external_id text, merchant_order_id text, adjustment_id text, shipment_id text,
            marketplace text, item_id text, channel_sku text
        """,
        "settlement_row": """
            row integer, word integer, name integer, amount numeric, posted_at timestamptz, units integer, extra jsonb
        """,
        # `key` is the same for rows that name the same.
        "settlement_left": """
            row integer, key bigint, event text, class text, part text, kind text, amount_kind text, description text,
            amount numeric, posted_at timestamptz, order_external_id text, merchant_order_id text, adjustment_id text,
            shipment_id text, marketplace text, item_id text, channel_sku text, units integer, extra jsonb
        """,
    }.items()
]
_NEXT = text("truncate settlement_word, settlement_name, settlement_row")
_EMPTY = text("truncate settlement_word, settlement_name, settlement_row, settlement_left, settlement_order")

_SENT = """
    select r.row, cast(r.name as bigint) as key, w.event, w.class, w.part, coalesce(w.kind, '') kind,
        coalesce(w.amount_kind, '') amount_kind, coalesce(w.description, '') description, r.amount, r.posted_at,
        n.order_external_id, n.merchant_order_id, n.adjustment_id, n.shipment_id, n.marketplace, n.item_id, n.channel_sku,
        r.units, r.extra
    from settlement_row r join settlement_name n on n.number = r.name join settlement_word w on w.number = r.word
"""
_COUNTED = "select count(*) as rows, coalesce(sum(amount), 0) as added from settlement_row"
_KEEP_BACK = text(f"with left_over as (insert into settlement_left {_SENT}) {_COUNTED}")


def _lines(rows: str, ties: str) -> str:
    """Lines of money of `rows`, as `ties` has them tied."""
    return f"""
        insert into money_line ({money_match.COLUMNS})
        select cast(:channel as text), t.marketplace, 'SETTLEMENT', 'SETTLED', s.event, s.class, s.part, s.kind, s.amount_kind,
            s.description, s.amount, cast(:currency as text), s.units, s.posted_at, {money_match.DAY},
            cast(:settlement as text), s.row, s.order_external_id, s.shipment_id, s.adjustment_id, s.item_id, s.channel_sku,
            t.order_id, t.order_line_id, t.sku, {money_match.MATCHED_BY}, {money_match.CAUSE},
            case when s.merchant_order_id is null then s.extra
                else coalesce(s.extra, '{{}}') || jsonb_build_object('{money_match.MERCHANT_ORDER_ID}', s.merchant_order_id) end
        from {rows} s join {ties} t on t.key = s.key
    """  # noqa: S608 - words of ours


# The first rules alone, and of them what no other could tell better; an order that tells no marketplace is for the others too.
_WRITE = text(
    f"""
    with tied as materialized (
        select cast(n.number as bigint) as key, n.order_external_id, n.merchant_order_id, n.adjustment_id, n.shipment_id,
            n.item_id, n.channel_sku, o.id order_id, {money_match.LINE_ID} order_line_id, {money_match.LINE_SKU} sku,
            o.marketplace, {money_match.MATCHED_FIRST} matched_by, clock.zone,
            (o.placed_at at time zone clock.zone)::date sale_day
        from settlement_name n
        join "order" o on o.channel = :channel and o.external_id = n.order_external_id
        {money_match.ITS_LINE.format(named="n")}
        cross join lateral (select coalesce(cast(:zones as jsonb) ->> o.marketplace, :zone) zone) clock
        where o.marketplace is not null
            and ({money_match.LINE_SKU} is not null or coalesce(n.item_id, n.channel_sku) is null)
    )
    , lines as ({_lines(f"({_SENT})", "tied")})
    , left_over as (
        insert into settlement_left
        select * from ({_SENT}) s where not exists (select from tied where tied.key = s.key)
    )
    , orders as (insert into settlement_order select distinct order_id, shipment_id from tied)
    {_COUNTED}
    """  # noqa: S608 - words of ours
)
_WRITE_LEFT = text(_lines("settlement_left", "money_tie"))
