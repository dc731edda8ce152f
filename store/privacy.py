"""What people asked of a shop by law, until it is done; and the end of all that is kept of a channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, any_, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, Sku
from domain.privacy import PrivacyKind, PrivacyRequest
from store import ledger, product, tables
from store.session import AnyRow, among, storable
from store.tables import privacy_request

c = privacy_request.c


@dataclass(frozen=True, slots=True)
class Kept:
    """A request by its number, and when it was done."""

    number: int
    request: PrivacyRequest
    due_at: datetime
    done_at: datetime | None
    note: str | None


async def keep(tx: AsyncConnection, requests: Sequence[PrivacyRequest]) -> None:
    """Keep each, once."""
    if not requests:
        return
    rows = [
        {
            "channel": one.channel,
            "delivery_id": storable(one.id),
            "kind": one.kind.value,
            "buyer": one.buyer,
            "orders": list(one.orders),
            "asked_at": one.asked_at,
            "due_at": one.due_at,
        }
        for one in sorted(requests, key=lambda one: (one.channel, one.id))
    ]
    await tx.execute(insert(privacy_request).on_conflict_do_nothing(), rows)


async def all_of(tx: AsyncConnection, channel: ChannelId | None = None, *, unfinished: bool = True) -> list[Kept]:
    """Requests, those due first first; of one channel where given; `unfinished` leaves out what is done."""
    query = select(privacy_request).order_by(c.due_at, c.id)
    if channel is not None:
        query = query.where(c.channel == channel)
    if unfinished:
        query = query.where(c.done_at.is_(None))
    return [_kept(row) for row in await tx.execute(query)]


async def by_number(tx: AsyncConnection, number: int) -> Kept | None:
    """One request."""
    row = (await tx.execute(select(privacy_request).where(c.id == number))).one_or_none()
    return None if row is None else _kept(row)


async def done(tx: AsyncConnection, number: int, note: str | None) -> bool:
    """It is done; False where it was, or where there is none of that number."""
    values = {"done_at": func.now(), "note": None if note is None else storable(note)}
    return (
        await tx.execute(update(privacy_request).where(c.id == number, c.done_at.is_(None)).values(**values))
    ).rowcount > 0


# What only mirrors a channel, or opens it.
ERASED = (
    tables.account_grant,
    tables.channel_state,
    tables.channel_stock,
    tables.consent_request,
    tables.exchange,
    tables.hint,
    tables.mapping_task,
    tables.missing_role,
    tables.order_compare,
    tables.order_difference,
    tables.quarantine,
    tables.stock_drift,
    tables.stock_level_history,
    tables.stock_push,
    tables.sync_stream,
)


# What a transaction takes of each table: well within the time that a statement has.
AT_ONCE = 2_000


async def erase(tx: AsyncConnection, channel: ChannelId) -> dict[str, int]:
    """Erase some of what is kept of a channel, by table how many rows; {} once nothing is left. For one that nobody asks any
    more, or it comes back.

    What the seller's own books are made of stays: orders, operations and the ledger name no person.
    """
    gone = await _erase_listings(tx, channel)
    theirs = select(tables.order.c.id).where(tables.order.c.channel == channel).scalar_subquery()
    people = tables.order_person.c
    some_people = select(people.order_id).where(people.order_id.in_(theirs)).limit(AT_ONCE).scalar_subquery()
    erased = delete(tables.order_person).where(people.order_id == any_(func.array(some_people)))
    gone[tables.order_person.name] = (await tx.execute(erased)).rowcount
    gone["documents of labels"] = await _erase_documents(tx, channel)
    # Where PostgreSQL has put it: not each table has one column that names a row.
    row: ColumnElement[Any] = literal_column("ctid")
    for table in (tables.stock_level, *ERASED):
        found = select(row).select_from(table).where(table.c.channel == channel).limit(AT_ONCE)
        some = delete(table).where(row == any_(func.array(found.scalar_subquery())))
        gone[table.name] += (await tx.execute(some)).rowcount
    return {name: count for name, count in gone.items() if count}


async def _erase_documents(tx: AsyncConnection, channel: ChannelId) -> int:
    """Labels show where buyers live; what was paid for them stays."""
    kept, orders = tables.label, tables.order
    some = (
        select(kept.c.id)
        .join(orders, orders.c.id == kept.c.order_id)
        .where(orders.c.channel == channel, kept.c.sealed.is_not(None))
        .limit(AT_ONCE)
    )
    statement = (
        update(kept).where(kept.c.id == any_(func.array(some.scalar_subquery()))).values(sealed=None, missing=None)
    )
    return (await tx.execute(statement)).rowcount


async def _erase_listings(tx: AsyncConnection, channel: ChannelId) -> Counter[str]:
    await product.lock_mapping(tx, {channel})
    listing, level = tables.listing, tables.stock_level
    few = select(listing.c.id, listing.c.channel_sku, listing.c.sku).where(listing.c.channel == channel).limit(AT_ONCE)
    found = (await tx.execute(few)).all()
    skus = {Sku(row.sku) for row in found if row.sku is not None}
    await ledger.lock(tx, skus)
    these = among(listing.c.id, [row.id for row in found])
    # In this order the triggers count anew what the SKUs have elsewhere.
    await tx.execute(update(listing).where(these).values(sku=None))
    counted = among(level.c.channel_sku, [row.channel_sku for row in found])
    gone = Counter(
        {
            level.name: (await tx.execute(delete(level).where(level.c.channel == channel, counted))).rowcount,
            listing.name: (await tx.execute(delete(listing).where(these))).rowcount,
        }
    )
    await ledger.tell(tx, skus)
    return gone


def _kept(row: AnyRow) -> Kept:
    request = PrivacyRequest(
        channel=ChannelId(row.channel),
        id=row.delivery_id,
        kind=PrivacyKind(row.kind),
        buyer=row.buyer,
        orders=tuple(row.orders),
        asked_at=row.asked_at,
    )
    return Kept(row.id, request, row.due_at, row.done_at, row.note)
