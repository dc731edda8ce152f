"""Housekeeping of stock: nothing becomes wrong without it, only longer and slower."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import Sku
from store import ledger, locks

# The tables are read from end to end, once a day.
_LONGEST_S = 300


async def my_turn(tx: AsyncConnection) -> bool:
    """Whether nobody else does the nightly work; it stays so until `tx` ends."""
    return bool(await tx.scalar(select(func.pg_try_advisory_xact_lock(locks.NIGHTLY))))


async def end_expired(tx: AsyncConnection, limit: int = 200) -> list[Sku]:
    """End the holds of at most `limit` SKUs whose time is over, and tell of these; returns them.

    They have held nothing since. A SKU whose row somebody has in hand comes again: nobody waits for us, nor we for anybody.
    """
    skus = [Sku(sku) for sku in await tx.scalars(_EXPIRED, {"limit": limit})]
    if skus:
        await tx.execute(_END, {"skus": skus})
        await ledger.tell(tx, skus)
    return skus


async def forget_pushes(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` sent numbers that were replaced before then; returns how many. What was told last before that
    instant stays."""
    return await _forget(tx, _PUSHES, before, limit)


async def forget_history(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` readings that were replaced before then; returns how many. What was last told before that instant
    stays."""
    return await _forget(tx, _HISTORY, before, limit)


async def forget_reservations(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` reservations, with their holds, that ended before then; returns how many. One that holds something,
    or for which units are still allocated, stays."""
    return await _forget(tx, _RESERVATIONS, before, limit)


async def _forget(tx: AsyncConnection, statement: str, before: datetime, limit: int) -> int:
    await tx.execute(select(func.set_config("statement_timeout", f"{_LONGEST_S}s", True)))
    return (await tx.execute(text(statement), {"before": before, "limit": limit})).rowcount


_EXPIRED = text(
    """
    select sku from sku_stock
    where sku in (
        select sku from reservation_hold
        where ended_at is null and expires_at <= clock_timestamp()
        group by sku order by min(expires_at) limit :limit
    )
    order by sku for update skip locked
    """
)

_END = text(
    """
    update reservation_hold set ended_at = expires_at
    where sku = any(cast(:skus as text[])) and ended_at is null and expires_at <= clock_timestamp()
    """
)

_PUSHES = """
    delete from stock_push where id in (
        select old.id from stock_push old
        where old.sent_at < :before and exists (
            select from stock_push newer
            where newer.sku = old.sku and newer.channel = old.channel and newer.channel_sku = old.channel_sku
                and newer.place = old.place and newer.id > old.id and newer.sent_at < :before
        )
        limit :limit
    )
"""

_HISTORY = """
    delete from stock_level_history where (location, channel, channel_sku, as_of) in (
        select location, channel, channel_sku, as_of from stock_level_history old
        where as_of < :before and exists (
            select from stock_level_history newer
            where newer.location = old.location and newer.channel = old.channel and newer.channel_sku = old.channel_sku
                and newer.as_of > old.as_of and newer.as_of < :before
        )
        limit :limit
    )
"""

# The foreign key is asked at the end of the statement: by then the holds are gone.
_RESERVATIONS = """
    with old as (
        select id from reservation made
        where made.created_at < :before
            and not exists (
                select from reservation_hold hold
                where hold.reservation_id = made.id and coalesce(hold.ended_at >= :before, true)
            )
            and (made.committed_at is null or 0 = (
                select coalesce(sum(entry.reserved), 0) from stock_entry entry where entry.reservation_id = made.id
            ))
        limit :limit
    ),
    holds as (
        delete from reservation_hold where reservation_id in (select id from old)
    )
    delete from reservation where id in (select id from old)
"""
