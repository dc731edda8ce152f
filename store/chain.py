"""What comes back of orders: pieces as they were told, and the chains that they make.

Pieces are facts, each kept once by its channel's id of it. Whoever keeps one holds its order's lock and writes the chains of its
SKU anew, so that they are the same whichever piece came last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.chain import Chain, Piece, PieceKind, chains, is_open
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, OrderId, order_id
from store import event, locks, money, money_line, restock
from store.session import AnyRow, among, as_table, storable
from store.tables import order, return_chain, return_piece

c, p = return_chain.c, return_piece.c

_Key = tuple[ChannelId, str, str]
"""(channel, kind, reference) of a piece."""

_LOCK = text("select pg_advisory_xact_lock(:class, key) from unnest(cast(:keys as integer[])) key")
_KEYS = text("select distinct hashtext(name) key from unnest(cast(:names as text[])) name order by key")


async def lock(tx: AsyncConnection, orders: Collection[tuple[ChannelId, str | None]]) -> None:
    """Hold the chains of these orders, each a channel and its own id of it, until `tx` ends. Comes before the locks of stock."""
    names = {"names": [f"{channel}\x1f{one or ''}" for channel, one in orders]}
    keys = list((await tx.scalars(_KEYS, names)).all())
    await tx.execute(_LOCK, {"class": locks.RETURNS, "keys": keys})


async def keep(tx: AsyncConnection, pieces: Sequence[Piece]) -> int:
    """Keep the pieces, write their chains anew and tell of their orders, each once; how many of the pieces were new or told
    otherwise than before."""
    told = {(one.channel, one.kind.value, storable(one.reference)): one for one in pieces}
    if not told:
        return 0
    before = [_piece(row) for row in await tx.execute(_of_keys(told))]
    await lock(tx, {(one.channel, one.order) for one in (*told.values(), *before)})
    fresh = insert(return_piece)
    rows = [_row(told[key]) for key in sorted(told)]
    values = {name: fresh.excluded[name] for name in rows[0] if name not in ("channel", "kind", "reference")}
    changes = or_(*(p[name].is_distinct_from(fresh.excluded[name]) for name in values))
    statement = fresh.on_conflict_do_update(
        index_elements=["channel", "kind", "reference"], set_=values, where=changes
    ).returning(p.channel, p.kind, p.reference)
    changed = {(ChannelId(row.channel), row.kind, row.reference) for row in await tx.execute(statement, rows)}
    if not changed:
        return 0
    # What is told to be of another order or SKU now is missing where it was.
    left = [one for one in before if (one.channel, one.kind.value, one.reference) in changed]
    touched = [*(told[key] for key in changed), *left]
    await _chains_anew(tx, changed, touched)
    await restock.note(tx, [told[key] for key in changed])
    refunded = [one for one in touched if one.kind is PieceKind.REFUNDED]
    await money_line.estimate(tx, {order_id(one.channel, one.order) for one in refunded if one.order is not None})
    await _tell(tx, {order_id(one.channel, one.order) for one in touched if one.order is not None})
    return len(changed)


async def by_orders(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, list[Chain]]:
    """The chains of each order, the first begun first; an order without any is missing."""
    rows = (await tx.execute(select(return_chain).where(among(c.order_id, ids)).order_by(c.started_at, c.id))).all()
    found: defaultdict[OrderId, list[Chain]] = defaultdict(list)
    for row, chain in zip(rows, await _chains(tx, rows), strict=True):
        found[OrderId(row.order_id)].append(chain)
    return dict(found)


async def page(
    tx: AsyncConnection,
    *,
    first: int,
    after: tuple[datetime, str] | None = None,
    open_only: bool = True,
    channel: ChannelId | None = None,
    channel_sku: str | None = None,
) -> tuple[list[Chain], bool]:
    """The next `first` chains, the oldest first, and whether there are more; `after` is (`started_at`, `id`) of the last seen."""
    query = select(return_chain).where(*_filter(open_only, channel, channel_sku)).order_by(c.started_at, c.id)
    if after is not None:
        query = query.where(tuple_(c.started_at, c.id) > after)
    rows = (await tx.execute(query.limit(first + 1))).all()
    return await _chains(tx, rows[:first]), len(rows) > first


async def count(
    tx: AsyncConnection,
    *,
    open_only: bool = True,
    channel: ChannelId | None = None,
    channel_sku: str | None = None,
) -> int:
    """How many chains `page` would give in all."""
    query: Select[int] = select(func.count()).select_from(return_chain)
    return await tx.scalar(query.where(*_filter(open_only, channel, channel_sku))) or 0


async def refunded(
    tx: AsyncConnection, channel: ChannelId, since: datetime, after: tuple[datetime, OrderId] | None, limit: int
) -> list[tuple[datetime, OrderId]]:
    """(changed at, id) of at most `limit` kept orders of a shop that changed since then and that its own word calls refunded, in
    part or as a whole; the oldest change first."""
    o = order.c
    query = (
        select(o.updated_at, o.id)
        .where(o.channel == channel, o.updated_at >= since, o.channel_status.icontains("refunded"))
        .order_by(o.updated_at, o.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(o.updated_at, o.id) > after)
    return [(row.updated_at, OrderId(row.id)) for row in await tx.execute(query)]


async def _tell(tx: AsyncConnection, ids: Collection[OrderId]) -> None:
    """That these orders changed; one that has not come in yet is told of when it does."""
    rows = await tx.execute(select(order.c.id, order.c.channel).where(among(order.c.id, ids)).order_by(order.c.id))
    await event.append(
        tx, [NewEvent(EventKind.ORDER_CHANGED, row.id, {"id": row.id, "channel": row.channel}) for row in rows]
    )


def _filter(open_only: bool, channel: ChannelId | None, channel_sku: str | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [c.open] if open_only else []
    if channel is not None:
        wanted.append(c.channel == channel)
    return wanted if channel_sku is None else [*wanted, c.channel_sku == channel_sku]


async def _chains_anew(tx: AsyncConnection, keys: Collection[_Key], pieces: Sequence[Piece]) -> None:
    """The chains of all that is of one order and SKU with any of `pieces`; what is of no order, those of `keys`, stands alone."""
    groups = sorted({(one.channel, one.order, one.sku) for one in pieces if one.order is not None})
    rows = {(row.channel, row.kind, row.reference): row for row in await tx.execute(_of_groups(groups))}
    rows |= {(row.channel, row.kind, row.reference): row for row in await tx.execute(_of_keys(keys))}
    made = chains(map(_piece, rows.values()))
    fresh = insert(return_chain)
    await tx.execute(
        fresh.on_conflict_do_update(
            index_elements=["id"], set_={name: fresh.excluded[name] for name in ("started_at", "open")}
        ),
        sorted(map(_chain_row, made), key=lambda row: str(row["id"])),
    )
    at = [(each.channel, each.kind.value, each.reference, one.id) for one in made for each in one.pieces]
    names = ("channel", "kind", "reference", "chain")
    asked = as_table(**dict(zip(names, map(list, zip(*at, strict=True)), strict=True)))
    its = [p[name] == asked.c[name] for name in names[:3]]
    await tx.execute(
        update(return_piece).where(*its, p.chain_id.is_distinct_from(asked.c.chain)).values(chain_id=asked.c.chain)
    )
    gone = {row.chain_id for row in rows.values() if row.chain_id is not None} - {one.id for one in made}
    if gone:
        await tx.execute(delete(return_chain).where(among(c.id, gone)))


def _of_keys(keys: Collection[_Key]) -> Select[Any]:
    channels, kinds, references = ([key[part] for key in keys] for part in range(3))
    asked = as_table(channel=channels, kind=kinds, reference=references)
    same = (p[name] == asked.c[name] for name in ("channel", "kind", "reference"))
    return select(return_piece).join(asked, and_(*same))


def _of_groups(groups: Collection[tuple[ChannelId, str | None, str]]) -> Select[Any]:
    channels, orders, skus = ([str(group[part]) for group in groups] for part in range(3))
    asked = as_table(channel=channels, order_external_id=orders, channel_sku=skus)
    same = (p[name] == asked.c[name] for name in ("channel", "order_external_id", "channel_sku"))
    return select(return_piece).join(asked, and_(*same))


async def _chains(tx: AsyncConnection, rows: Sequence[AnyRow]) -> list[Chain]:
    """The rows with their pieces, in the same order."""
    pieces: defaultdict[str, list[Piece]] = defaultdict(list)
    query = select(return_piece).where(among(p.chain_id, [row.id for row in rows])).order_by(p.at, p.kind, p.reference)
    for row in await tx.execute(query):
        pieces[row.chain_id].append(_piece(row))
    return [
        Chain(row.id, ChannelId(row.channel), pieces[row.id][0].order, row.channel_sku, tuple(pieces[row.id]))
        for row in rows
    ]


def _chain_row(one: Chain) -> dict[str, Any]:
    return {
        "id": one.id,
        "channel": one.channel,
        "order_id": None if one.order is None else order_id(one.channel, one.order),
        "channel_sku": one.sku,
        "started_at": one.started_at,
        "open": is_open(one),
    }


def _row(one: Piece) -> dict[str, Any]:
    return {
        "channel": one.channel,
        "kind": one.kind.value,
        "reference": storable(one.reference),
        "order_external_id": None if one.order is None else storable(one.order),
        "channel_sku": storable(one.sku),
        "units": one.units,
        "at": one.at,
        "amount": None if one.money is None else one.money.amount,
        "currency": None if one.money is None else one.money.currency,
        "by_channel": one.by_channel,
        "expected": one.expected,
        "owed": one.owed,
        "condition": None if one.condition is None else storable(one.condition),
    }


def _piece(row: AnyRow) -> Piece:
    return Piece(
        channel=ChannelId(row.channel),
        kind=PieceKind(row.kind),
        reference=row.reference,
        order=row.order_external_id,
        sku=row.channel_sku,
        units=row.units,
        at=row.at,
        money=money.value(row.amount, row.currency),
        by_channel=row.by_channel,
        expected=row.expected,
        owed=row.owed,
        condition=row.condition,
    )
