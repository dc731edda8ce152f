"""The newest reading of each place and channel SKU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, delete, exists, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import FromClause

from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.product import PRODUCT_REF
from domain.stock import Reading
from store import ledger, product
from store.session import AnyRow, among, as_table
from store.tables import listing, stock_level

_KEY = ("location", "channel", "channel_sku")
_TOLD = ("on_hand", "reserved", "inbound", "as_of", "upstream_request_id")


async def readings(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[Reading]]:
    """What every place told of `skus`, by place; a SKU no place told of is missing.

    A channel SKU listed in several marketplaces lies in one pool and is counted once.
    """
    mapped = (
        select(listing.c.sku, listing.c.channel, listing.c.channel_sku)
        .where(among(listing.c.sku, skus))
        .distinct()
        .subquery()
    )
    c = stock_level.c
    rows = await tx.execute(
        select(mapped.c.sku, stock_level)
        .join_from(mapped, stock_level, and_(mapped.c.channel == c.channel, mapped.c.channel_sku == c.channel_sku))
        .order_by(mapped.c.sku, c.location, c.channel, c.channel_sku)
    )
    found: defaultdict[Sku, list[Reading]] = defaultdict(list)
    for row in rows:
        found[Sku(row.sku)].append(_reading(row))
    return dict(found)


async def of_channel_skus(
    tx: AsyncConnection, channel: ChannelId, channel_skus: Collection[ChannelSku]
) -> dict[ChannelSku, list[Reading]]:
    """What every place of one channel told of its SKUs; a SKU no place told of is missing."""
    c = stock_level.c
    rows = await tx.execute(select(stock_level).where(c.channel == channel, among(c.channel_sku, channel_skus)))
    found: defaultdict[ChannelSku, list[Reading]] = defaultdict(list)
    for row in rows:
        found[ChannelSku(row.channel_sku)].append(_reading(row))
    return dict(found)


class Untold(NamedTuple):
    """A channel SKU that was not told of lately: since when, whether it still counts for something at a place that did not tell
    of it, and the channel's product that still offers it where none of the places did."""

    channel_sku: ChannelSku
    as_of: datetime
    counts: bool
    product: str | None


async def untold(
    tx: AsyncConnection, channel: ChannelId, locations: Collection[LocationCode], before: datetime, limit: int
) -> list[Untold]:
    """At most `limit` of the channel's SKUs that these places last told of before then and that count or are offered still; the
    longest untold first."""
    c, later = stock_level.c, stock_level.alias()
    something = or_(c.on_hand != 0, c.reserved != 0, c.inbound != 0)
    old = (
        select(c.channel_sku, func.min(c.as_of).label("as_of"), func.bool_or(something).label("counts"))
        .where(c.channel == channel, among(c.location, locations), c.as_of < before)
        .group_by(c.channel_sku)
        .subquery()
    )
    told = exists().where(
        later.c.channel == channel,
        later.c.channel_sku == old.c.channel_sku,
        among(later.c.location, locations),
        later.c.as_of >= before,
    )
    offers = func.min(listing.c.refs[PRODUCT_REF].astext)
    offered = and_(
        listing.c.channel == channel, listing.c.channel_sku == old.c.channel_sku, listing.c.status != product.WITHDRAWN
    )
    offering = select(offers).where(offered, ~told).scalar_subquery()
    every = select(old, offering.label("product")).subquery()
    query = select(every).where(or_(every.c.counts, every.c.product.is_not(None)))
    rows = await tx.execute(query.order_by(every.c.as_of, every.c.channel_sku).limit(limit))
    return [Untold(ChannelSku(row.channel_sku), row.as_of, row.counts, row.product) for row in rows]


async def keep(tx: AsyncConnection, readings: Sequence[Reading]) -> list[tuple[ChannelId, ChannelSku]]:
    """Keep each reading unless a newer one is kept; returns those whose numbers changed, the first ones included."""
    newest = {(one.location, one.channel, one.channel_sku): one for one in sorted(readings, key=lambda one: one.as_of)}
    if not newest:
        return []
    ordered = [newest[key] for key in sorted(newest)]
    # Rows that are not there cannot be locked: whoever brings some is alone, or would wait for others behind the locks of SKUs.
    all_there = await _kept(tx, ordered) == len(ordered)
    await product.lock_mapping(tx, {one.channel for one in ordered}, shared=all_there)
    before = await _locked(tx, ordered)
    # A trigger counts what changes in sku_stock, whose rows come last and in their order.
    await ledger.lock(tx, set((await skus_of(tx, {(one.channel, one.channel_sku) for one in ordered})).values()))
    fresh = insert(stock_level)
    statement = fresh.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={name: fresh.excluded[name] for name in _TOLD},
        where=stock_level.c.as_of < fresh.excluded.as_of,
    ).returning(stock_level)
    rows = await tx.execute(statement, [_row(one) for one in ordered])
    changed = {
        (one.channel, one.channel_sku)
        for one in map(_reading, rows)
        if before.get((one.location, one.channel, one.channel_sku)) != (one.on_hand, one.reserved, one.inbound)
    }
    return sorted(changed)


async def keep_and_tell(tx: AsyncConnection, readings: Sequence[Reading]) -> list[Sku]:
    """Keep the newest readings, and tell of each SKU of ours whose numbers changed; returns these."""
    return await _tell(tx, await keep(tx, readings))


async def forget_places(tx: AsyncConnection, keepers: Mapping[LocationCode, ChannelId], limit: int = 500) -> int:
    """Forget at most `limit` readings that no place with such a keeper has now told, and tell of their SKUs; returns how many.

    For places that became ours to count, changed their keeper or are gone: what was read there would count for ever.
    """
    c = stock_level.c
    kept = as_table(location=list(keepers), channel=list(keepers.values()))
    key = tuple_(*(c[name] for name in _KEY))
    rows = await tx.execute(
        select(stock_level)
        .where(tuple_(c.location, c.channel).not_in(select(kept.c.location, kept.c.channel)))
        .order_by(*(c[name] for name in _KEY))
        .limit(limit)
        .with_for_update()
    )
    gone = [_reading(row) for row in rows]
    if not gone:
        return 0
    pairs = {(one.channel, one.channel_sku) for one in gone}
    await ledger.lock(tx, set((await skus_of(tx, pairs)).values()))
    asked = _asked(gone).c
    await tx.execute(delete(stock_level).where(key.in_(select(*(asked[name] for name in _KEY)))))
    await _tell(tx, pairs)
    return len(gone)


async def _tell(tx: AsyncConnection, pairs: Collection[tuple[ChannelId, ChannelSku]]) -> list[Sku]:
    skus = sorted(set((await skus_of(tx, pairs)).values()))
    await ledger.tell(tx, skus)
    return skus


async def skus_of(
    tx: AsyncConnection, pairs: Collection[tuple[ChannelId, ChannelSku]]
) -> dict[tuple[ChannelId, ChannelSku], Sku]:
    """Our SKU of each (channel, channel SKU) that a listing maps to one."""
    asked = as_table(channel=[pair[0] for pair in pairs], channel_sku=[pair[1] for pair in pairs])
    c = listing.c
    rows = await tx.execute(
        select(c.channel, c.channel_sku, c.sku)
        .join_from(asked, listing, and_(c.channel == asked.c.channel, c.channel_sku == asked.c.channel_sku))
        .where(c.sku.is_not(None))
        .order_by(c.as_of)
    )
    return {(ChannelId(row.channel), ChannelSku(row.channel_sku)): Sku(row.sku) for row in rows}


async def _kept(tx: AsyncConnection, readings: Sequence[Reading]) -> int:
    """How many of the readings' keys there are rows of."""
    asked, c = _asked(readings), stock_level.c
    there = tuple_(c.location, c.channel, c.channel_sku).in_(select(*(asked.c[name] for name in _KEY)))
    return await tx.scalar(select(func.count()).select_from(stock_level).where(there)) or 0


async def _locked(tx: AsyncConnection, readings: Sequence[Reading]) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """The numbers kept so far, locked in the order of their keys so that two writers never wait for each other."""
    asked = _asked(readings)
    c = stock_level.c
    rows = await tx.execute(
        select(stock_level)
        .where(tuple_(c.location, c.channel, c.channel_sku).in_(select(*(asked.c[name] for name in _KEY))))
        .order_by(c.location, c.channel, c.channel_sku)
        .with_for_update()
    )
    return {
        (one.location, one.channel, one.channel_sku): (one.on_hand, one.reserved, one.inbound)
        for one in map(_reading, rows)
    }


def _asked(readings: Sequence[Reading]) -> FromClause:
    """The keys of the readings as a table."""
    return as_table(
        location=[one.location for one in readings],
        channel=[one.channel for one in readings],
        channel_sku=[one.channel_sku for one in readings],
    )


def _row(one: Reading) -> dict[str, Any]:
    return {
        "location": one.location,
        "channel": one.channel,
        "channel_sku": one.channel_sku,
        "on_hand": one.on_hand,
        "reserved": one.reserved,
        "inbound": one.inbound,
        "as_of": one.as_of,
        "upstream_request_id": one.upstream_request_id,
    }


def _reading(row: AnyRow) -> Reading:
    return Reading(
        location=LocationCode(row.location),
        channel=ChannelId(row.channel),
        channel_sku=ChannelSku(row.channel_sku),
        on_hand=row.on_hand,
        reserved=row.reserved,
        inbound=row.inbound,
        as_of=row.as_of,
        upstream_request_id=row.upstream_request_id,
    )
